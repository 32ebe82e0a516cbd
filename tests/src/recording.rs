//! What a viewer recorded, held against the clip it came from.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};
use gibbon_testbed::{Network, Player, media_folder};

use crate::began_us;

/// Pictures per second and pictures of the clip `bbb.mp4`, which is looped.
const RATE: u64 = 24;
const FRAMES: u64 = 720;
/// Sound is compared at this many samples per second …
const SAMPLES: usize = 8000;
/// … for this many seconds …
const SECONDS: usize = 4;
/// … and looked for up to this much earlier or later, in samples.
const REACH: usize = SAMPLES / 5;

/// The recording of a player of `live/bbb`, or of a service on it.
pub struct Recording<'a> {
    player: &'a Player,
    /// The clip's picture that it begins with, loops counted through.
    first: u64,
}

impl<'a> Recording<'a> {
    /// Of a player that has ended.
    pub fn of(network: &Network, player: &'a Player) -> anyhow::Result<Self> {
        let what = ["-count_packets", "-show_entries", "stream=nb_read_packets"];
        let packets = ffprobe(&player.folder.join("recording.mkv"), &what)?;
        let recorded: u64 = packets.parse().with_context(|| format!("{packets:?} packets"))?;
        let frames = player.frames()?;
        let (last, ..) = frames.last().context("nothing was displayed")?;
        let began_us = began_us(network, "live/bbb")?;
        let frame_at = |time: u64| (time * RATE + 500_000) / 1_000_000;
        // It ends with the last picture displayed.
        let first = (frame_at(*last) + 1).checked_sub(recorded + frame_at(began_us));
        Ok(Self { player, first: first.context("it begins before the stream")? })
    }

    fn file(&self) -> std::path::PathBuf {
        self.player.folder.join("recording.mkv")
    }

    /// Mean PSNR against the same pictures of the clip through `graph`, by stock FFmpeg.
    pub fn psnr(&self, graph: &str) -> anyhow::Result<f64> {
        let first = self.first;
        let graph = format!(
            "[1:v]trim=start_frame={first},setpts=PTS-STARTPTS,{graph},settb=1/{RATE},setpts=N[r];\
             [0:v]settb=1/{RATE},setpts=N[v];[v][r]psnr=shortest=1"
        );
        let output = Command::new("ffmpeg")
            .args(["-v", "info", "-i"])
            .arg(self.file())
            .args(["-stream_loop", "-1", "-i"])
            .arg(media_folder().join("bbb.mp4"))
            // Not the sound: that of the clip has no end here.
            .args(["-lavfi", &graph, "-an", "-sn", "-f", "null", "-"])
            .output()
            .context("ffmpeg is not installed")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let average = said.split("average:").nth(1).and_then(|rest| rest.split(' ').next());
        average.and_then(|text| text.parse().ok()).with_context(|| format!("no PSNR: {said}"))
    }

    /// How much later than the pictures, against the clip, sound is heard, in ms; and how like the clip's it is,
    /// 0 to 1.
    pub fn sound_lag(&self) -> anyhow::Result<(f64, f64)> {
        let clip_begins = (self.first % FRAMES) as f64 / RATE as f64;
        let loop_ends = FRAMES as f64 / RATE as f64;
        // Within one loop.
        let fits = clip_begins + (SECONDS + 1) as f64 <= loop_ends;
        let skip = if fits { 0.5 } else { loop_ends - clip_begins + 0.5 };
        let clip_at = if fits { clip_begins + 0.5 } else { 0.5 };
        let whole = samples(&self.file(), &[], "aresample=8000:async=1:first_pts=0")?;
        let seek = ["-ss".to_owned(), clip_at.to_string(), "-t".to_owned(), SECONDS.to_string()];
        let clip = samples(&media_folder().join("bbb.mp4"), &seek, "aresample=8000")?;
        let from = (skip * SAMPLES as f64) as usize;
        let clip = &clip[..clip.len().min(SAMPLES * SECONDS)];
        ensure!(clip.len() > SAMPLES && from >= REACH, "{} samples of the clip", clip.len());
        ensure!(whole.len() > from + clip.len() + REACH, "only {} samples", whole.len());
        let (best, likeness) = (0..=2 * REACH)
            .map(|shift| (shift, likeness(&whole[from + shift - REACH..][..clip.len()], clip)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .context("nothing to compare")?;
        Ok(((best as f64 - REACH as f64) * 1000.0 / SAMPLES as f64, likeness))
    }
}

/// Normalised correlation.
fn likeness(a: &[f64], b: &[f64]) -> f64 {
    let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let energy = |samples: &[f64]| samples.iter().map(|s| s * s).sum::<f64>();
    product / (energy(a) * energy(b)).sqrt().max(1.0)
}

/// The sound of a file, in mono.
fn samples(file: &Path, seek: &[String], filter: &str) -> anyhow::Result<Vec<f64>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(seek)
        .arg("-i")
        .arg(file)
        .args(["-map", "0:a", "-af", filter, "-ac", "1", "-ar", "8000", "-f", "s16le", "-"])
        .output()
        .context("ffmpeg is not installed")?;
    ensure!(output.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
    let pairs = output.stdout.chunks_exact(2);
    Ok(pairs.map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]]))).collect())
}

fn ffprobe(file: &Path, what: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(what)
        .arg(file)
        .output()
        .context("ffprobe is not installed")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches(['\n', ',']).to_owned())
}
