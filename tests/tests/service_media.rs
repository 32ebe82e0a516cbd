//! Services on sound, on pictures, on text and on all together, each through a hand-off between edges.

use anyhow::{Context, ensure};
use gibbon_control::{
    portal::{HandoffOutcome, HandoffRequest},
    report::Report,
};
use gibbon_testbed::{Network, Player, PlayerOptions, Setup};
use gibbon_tests::{Recording, Run, ask_for, control, legs, running, with_control};

/// Plays a service through a hand-off, beside a control viewer; `check` is asked for what its report says.
fn through_a_handoff(
    list: &str,
    check: impl Fn(&Report) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    recorded_through_a_handoff(list, |report, _, _| check(report))
}

fn recorded_through_a_handoff(
    list: &str,
    check: impl Fn(&Report, &Network, &Player) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    with_control(|folder| {
        let edges = ["edge-a", "edge-b", "edge-z"];
        let network = Network::start(folder, Setup::bbb(&edges).workers(&["worker-1"]))?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/bbb", 24.0).at("edge-z"))?;
        let service = ask_for(&network, list, |_| {})?;
        let stream = running(&network, service.service)?.stream;
        let options = PlayerOptions::new(stream.as_str(), 16.0).at("edge-a");
        let mut player = network.play("viewer", &options)?;
        player.playing()?;
        legs(&network, player.session()?, |_| true)?;
        let request = HandoffRequest { to: Some("edge-b".parse()?), ..HandoffRequest::default() };
        let handoff = network.portal.handoff(player.session()?, &request)?.handoff;
        let over = network.handoff_over(handoff)?;
        let (status, report) = player.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        let text = serde_json::to_string(&report)?;
        ensure!(over.outcome == HandoffOutcome::Completed, "{over:?}");
        ensure!(status.success(), "{status}: {text}");
        let lost = report.frames.side + report.frames.frozen;
        ensure!(lost == 0 && report.audio.gap_ms == 0 && report.text.missed == 0, "{text}");
        check(&report, &network, &player).context(text)?;
        Ok(Run::Shown)
    })
}

#[test]
fn sound_alone() -> anyhow::Result<()> {
    through_a_handoff("only media=[audio] | mono | level", |report| {
        ensure!(report.frames.expected == 0, "there are pictures");
        ensure!(report.audio.expected_ms > 10_000, "{} ms of sound", report.audio.expected_ms);
        Ok(())
    })
}

#[test]
fn pictures_alone() -> anyhow::Result<()> {
    through_a_handoff("only media=[video] | scale height=180 | grayscale", |report| {
        ensure!(report.audio.expected_ms == 0 && report.text.cues == 0, "there is more");
        ensure!(report.frames.central > 240, "{} frames", report.frames.central);
        Ok(())
    })
}

#[test]
fn text_alone() -> anyhow::Result<()> {
    through_a_handoff("only media=[text] | case to=upper", |report| {
        ensure!(report.frames.expected == 0 && report.audio.expected_ms == 0, "there is more");
        ensure!(report.text.cues > 1, "{} cues", report.text.cues);
        Ok(())
    })
}

#[test]
fn all_together_and_in_sync() -> anyhow::Result<()> {
    let list = "scale height=180 | level | mono | case to=upper";
    recorded_through_a_handoff(list, |report, network, player| {
        ensure!(report.frames.central > 240, "{} frames", report.frames.central);
        ensure!(report.audio.expected_ms > 10_000, "{} ms of sound", report.audio.expected_ms);
        ensure!(report.text.cues > 1, "{} cues", report.text.cues);
        // The pictures are those of their time, to the frame, and so is the sound.
        let recording = Recording::of(network, player)?;
        let psnr = recording.psnr("scale=320:180:flags=bicubic")?;
        let (lag, likeness) = recording.sound_lag()?;
        eprintln!("pictures {psnr:.1} dB; sound {lag} ms late, likeness {likeness:.2}");
        ensure!(psnr > 33.0, "{psnr:.1} dB: other pictures");
        ensure!(likeness > 0.5, "another sound: {likeness:.2}");
        ensure!(lag.abs() <= 1000.0 / 24.0, "sound is {lag} ms late");
        Ok(())
    })
}
