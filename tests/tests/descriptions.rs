//! Each description alone (H2, S8): it plays and records, and with one withheld the viewer goes on with
//! half of the pictures coarser, sound and cues whole.

use std::time::Duration;

use anyhow::ensure;
use gibbon_control::report::Report;
use gibbon_testbed::{Network, Player, PlayerOptions, Setup};
use gibbon_tests::{Run, control, stock_ffmpeg_decodes, with_control};

const SECONDS: f64 = 10.0;
const GROUP_FRAMES: u64 = 24;

fn one_description_withheld(scheme: &str, side: Option<u64>) -> anyhow::Result<()> {
    with_control(|folder| {
        let setup = Setup::bbb(&["edge-a", "edge-z"]).origin_arguments(&["--scheme", scheme]);
        let network = Network::start(folder, setup)?;
        // At its very beginning a stream is not whole: in `temporal` description 1 begins half a group
        // after description 0.
        network.await_history("origin-1", Duration::from_secs(3))?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/bbb", SECONDS + 2.0).at("edge-z"))?;
        let alone = |name, description| {
            let options = PlayerOptions::new("live/bbb", SECONDS).at("edge-a");
            network.play(name, &options.with(&["--descriptions", description]))
        };
        let players: [Player; 2] = [alone("only-0", "0")?, alone("only-1", "1")?];
        let mut reports = Vec::new();
        for mut player in players {
            let (status, report) = player.finish()?;
            reports.push((status, report, player));
        }
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        for (status, report, player) in &reports {
            ensure!(status.success(), "{status}");
            went_on_with_half(report, side)?;
            stock_ffmpeg_decodes(&player.folder.join("recording.mkv"))?;
        }
        network.stop()?;
        Ok(Run::Shown)
    })
}

/// `side`: how many of the frames are coarser; none: half of them, give or take a group.
fn went_on_with_half(report: &Report, side: Option<u64>) -> anyhow::Result<()> {
    let Report { frames, audio, text, .. } = report;
    let expected_side = side.unwrap_or(frames.expected / 2);
    let what = serde_json::to_string(report)?;
    ensure!(frames.frozen == 0 && audio.gap_ms == 0 && text.missed == 0, "{what}");
    ensure!(
        frames.side.abs_diff(expected_side) <= if side.is_some() { 0 } else { GROUP_FRAMES },
        "{what}"
    );
    ensure!(frames.side_chosen == frames.side, "{what}");
    ensure!(text.cues > 0, "{what}");
    Ok(())
}

#[test]
fn alternating_goes_on_with_every_other_group_coarser() -> anyhow::Result<()> {
    one_description_withheld("alternating", None)
}

#[test]
fn temporal_goes_on_with_every_other_frame_concealed() -> anyhow::Result<()> {
    one_description_withheld("temporal", None)
}

#[test]
fn duplicate_goes_on_as_if_nothing_were_missing() -> anyhow::Result<()> {
    one_description_withheld("duplicate", Some(0))
}
