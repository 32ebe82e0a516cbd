//! What the end-to-end tests share: runs with a control viewer, and sentences about what a viewer saw.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail, ensure};
use gibbon_control::report::Report;
use gibbon_testbed::Player;

/// A run whose control viewer was not clean says nothing: the machine was starved.
const MAX_VOIDS: usize = 3;

/// How a run went.
pub enum Run {
    /// The control viewer was clean, and all that was to be shown was shown.
    Shown,
    /// The control viewer was not clean.
    Void(String),
}

/// Runs `run`, each time in a fresh folder, until its control viewer was clean. Three voids fail.
pub fn with_control(mut run: impl FnMut(&Path) -> anyhow::Result<Run>) -> anyhow::Result<()> {
    let mut voids = Vec::new();
    while voids.len() < MAX_VOIDS {
        let folder = tempfile::tempdir()?;
        let result = run(folder.path());
        if result.is_err() && std::env::var_os("GIBBON_KEEP").is_some() {
            eprintln!("kept: {}", folder.keep().display());
        }
        match result? {
            Run::Shown => return Ok(()),
            Run::Void(why) => voids.push(why),
        }
    }
    bail!("{MAX_VOIDS} runs were void: {voids:?}")
}

/// Waits for the control viewer's report; says why the run is void if it saw anything.
pub fn control(player: &mut Player) -> anyhow::Result<Option<String>> {
    let (status, report) = player.finish()?;
    ensure!(status.success(), "the control player ended with {status}");
    Ok(saw(&report).map(|what| format!("the control viewer saw {what}")))
}

/// What a viewer saw that it should not have, in words; `None` if nothing.
pub fn saw(report: &Report) -> Option<String> {
    let Report { frames, audio, text, display, .. } = report;
    let clean = frames.side == 0
        && frames.frozen == 0
        && audio.gap_ms == 0
        && text.missed == 0
        && display.failed == 0
        && frames.central > 0;
    (!clean).then(|| {
        format!(
            "central {} side {} frozen {} of {}, sound gaps {} ms, cues missed {}, pictures failed {}",
            frames.central, frames.side, frames.frozen, frames.expected, audio.gap_ms, text.missed,
            display.failed
        )
    })
}

/// Fails with what the viewer saw, unless that was nothing.
pub fn saw_nothing(report: &Report) -> anyhow::Result<()> {
    match saw(report) {
        None => Ok(()),
        Some(what) => {
            bail!("the viewer saw {what}; its report: {}", serde_json::to_string(report)?)
        }
    }
}

/// Frames by media time, each with its verdict and hash.
pub type Frames = BTreeMap<u64, (String, String)>;

/// As a map by media time; fails if a time comes twice.
pub fn by_time(frames: Vec<(u64, String, String)>) -> anyhow::Result<Frames> {
    let count = frames.len();
    let map: Frames =
        frames.into_iter().map(|(time, verdict, hash)| (time, (verdict, hash))).collect();
    ensure!(map.len() == count, "{} frames were displayed twice", count - map.len());
    Ok(map)
}

/// Compares two records of the same stream by media time. Returns how many frames both have; fails at the
/// first that differs.
pub fn same_pictures(left: &Frames, right: &Frames) -> anyhow::Result<usize> {
    let mut common = 0;
    for (time, (_, hash)) in left {
        if let Some((_, other)) = right.get(time) {
            ensure!(hash == other, "the pictures at {time} differ: {hash} and {other}");
            common += 1;
        }
    }
    Ok(common)
}

/// Decodes a file with stock ffmpeg; fails if that complains about anything.
pub fn stock_ffmpeg_decodes(file: &Path) -> anyhow::Result<()> {
    let output = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(file)
        .args(["-map", "0:v", "-map", "0:a", "-f", "null", "-"])
        .output()
        .context("ffmpeg is not installed")?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && complaints.is_empty(), "ffmpeg: {complaints}");
    Ok(())
}
