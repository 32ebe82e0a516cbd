//! Services over workers: what they show, where they decode and encode, how they are shared, moved and lost.

use std::path::Path;

use anyhow::{Context, ensure};
use gibbon_control::{
    portal::{HandoffOutcome, HandoffRequest},
    report::Report,
    services::ServiceInfo,
    work::ModuleInfo,
};
use gibbon_media::ServiceId;
use gibbon_testbed::{Network, Player, PlayerOptions, Setup, WAIT, wait_for};
use gibbon_tests::{
    Recording, Run, ask_for, control, end, gibbonctl, running, saw_nothing, stop, with_control,
    worker_of,
};

/// What the tests have done to the pictures, and the same in FFmpeg's words.
const CHAIN: &str =
    "scale height=180 | overlay text=GIBBON position=top-left size=12 colour=yellow | mdc";
const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
/// A picture that is at least this near to that of stock FFmpeg is the right one, in dB.
const RIGHT: f64 = 35.0;

/// Two workers of which neither can run the whole chain, and one that can take the place of the first.
fn divided() -> Setup {
    let first = ["--components", "scale,overlay"];
    Setup::bbb(&["edge-a", "edge-b", "edge-z"])
        .workers(&["worker-1", "worker-2", "worker-3"])
        .node_with("worker-1", &first)
        .node_with("worker-2", &["--components", "mdc"])
        .node_with("worker-3", &first)
}

fn module(info: &ServiceInfo, number: u32) -> anyhow::Result<&ModuleInfo> {
    let found = info.modules.iter().find(|module| module.number == number);
    found.with_context(|| format!("no module {number}"))
}

fn plays(network: &Network, name: &str, seconds: f64, list: &str) -> anyhow::Result<Player> {
    let options = PlayerOptions::new("live/bbb", seconds).at("edge-a").with(&["--service", list]);
    network.play(name, &options)
}

/// The displayed frames follow each other without one missing.
fn contiguous(player: &Player) -> anyhow::Result<()> {
    let frames = player.frames()?;
    for (frame, next) in frames.iter().zip(frames.iter().skip(1)) {
        let interval = next.0.saturating_sub(frame.0);
        ensure!((41_600..=41_700).contains(&interval), "{interval} µs after {}", frame.0);
    }
    ensure!(frames.len() > 100, "{} frames", frames.len());
    Ok(())
}

#[test]
fn a_chain_over_two_workers_through_a_handoff_and_the_drain_of_a_worker_shows_nothing()
-> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(folder, divided())?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/bbb", 40.0).at("edge-z"))?;
        let mut player = plays(&network, "viewer", 32.0, CHAIN)?;
        player.playing()?;
        let services = network.portal.services()?;
        let service = services.first().context("no service")?.service;
        let before = running(&network, service)?;
        ensure!(worker_of(&before, 3)? == "worker-2", "{before:?}");
        let first = worker_of(&before, 1)?.to_owned();
        let other = if first == "worker-1" { "worker-3" } else { "worker-1" };
        let request = HandoffRequest { to: Some("edge-b".parse()?), ..HandoffRequest::default() };
        let handoff = network.portal.handoff(player.session()?, &request)?.handoff;
        let over = network.handoff_over(handoff)?;
        ensure!(over.outcome == HandoffOutcome::Completed, "{over:?}");
        let (code, said) = gibbonctl(&network, &["drain", &first])?;
        ensure!(code == Some(0), "gibbonctl drain: {code:?}: {said}");
        let status = network.node(&first)?.wait(WAIT)?;
        ensure!(status.success(), "{first} ended with {status}");
        let after = running(&network, service)?;
        ensure!(worker_of(&after, 1)? == other && worker_of(&after, 2)? == other, "{after:?}");
        let (status, report) = player.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(status.success(), "{status}");
        saw_nothing(&report)?;
        contiguous(&player)?;
        let graph = format!(
            "scale=320:180:flags=bicubic,drawtext=fontfile={FONT}:text=GIBBON:fontsize=22:\
             fontcolor=yellow:x=7:y=7:borderw=1:bordercolor=black"
        );
        let psnr = Recording::of(&network, &player)?.psnr(&graph)?;
        eprintln!("mean PSNR against stock FFmpeg: {psnr:.1} dB");
        ensure!(psnr >= RIGHT, "{psnr:.1} dB");
        Ok(Run::Shown)
    })
}

/// Coders at the sockets of each component in order: of the input, of the output.
fn coders(info: &ServiceInfo) -> Vec<(u32, u32)> {
    info.modules.iter().map(|module| (module.input.coders, module.output.coders)).collect()
}

#[test]
fn each_hop_decodes_and_encodes_once_and_neighbours_on_one_worker_not_at_all() -> anyhow::Result<()>
{
    with_control(|folder| {
        let network = Network::start(folder, divided())?;
        let mut player = plays(&network, "viewer", 8.0, CHAIN)?;
        player.playing()?;
        let service = network.portal.services()?.first().context("no service")?.service;
        let (status, report) = player.finish()?;
        ensure!(status.success(), "{status}");
        let info = running(&network, service)?;
        // A decoder for each description of the source; one encoder and one decoder for the hop; two encoders of
        // multiple description coding.
        ensure!(coders(&info) == [(2, 0), (0, 1), (1, 2)], "{:?}", coders(&info));
        let [scale, overlay, mdc] = [1, 2, 3].map(|number| module(&info, number));
        let (scale, overlay, mdc) = (scale?, overlay?, mdc?);
        let (sent, come) = (overlay.output.passed, mdc.input.passed);
        ensure!(
            overlay
                .output_address
                .ends_with(overlay.output.stream.as_ref().context("no stream")?.as_str()),
            "{info:?}"
        );
        ensure!(
            overlay.output.stream == mdc.input.stream
                && mdc.input.peer.as_ref() == Some(&overlay.worker),
            "{info:?}"
        );
        // What is under way between the two is less than two groups.
        ensure!(scale.input.passed.pictures > 24 * 6, "{info:?}");
        ensure!(scale.input.passed.pictures.abs_diff(sent.pictures) < 24, "{scale:?} {sent:?}");
        ensure!(sent.pictures.abs_diff(come.pictures) < 48, "{sent:?} {come:?}");
        ensure!(
            scale.output.passed.pictures == 0 && overlay.input.passed.pictures == 0,
            "{info:?}"
        );
        // Sound and text pass every hop as they are.
        ensure!(come.sounds == 0 && come.untouched > 50 * 6, "{come:?}");
        for module in [overlay, mdc] {
            let delay = module.output.delay_ms.context("no delay")?;
            eprintln!("{} adds {delay} ms", module.component.component);
            ensure!(delay < 1000.0, "{} adds {delay} ms", module.component.component);
        }
        ensure!(report.frames.frozen == 0, "{}", serde_json::to_string(&report)?);
        stop(network)?;
        Ok(Run::Shown)
    })
}

#[test]
fn two_services_share_an_equal_prefix_and_the_second_outlives_the_first() -> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(folder, Setup::bbb(&["edge-a"]).workers(&["worker-1"]))?;
        let first = ask_for(&network, "scale height=180 | grayscale", |_| {})?;
        let first = running(&network, first.service)?;
        let second = ask_for(&network, "scale height=180 | mdc", |_| {})?;
        let second = running(&network, second.service)?;
        let shared = module(&first, 1)?.instance;
        ensure!(module(&second, 1)?.instance == shared, "{first:?} {second:?}");
        ensure!(module(&second, 1)?.shared_with == [first.service], "{second:?}");
        let mut players = Vec::new();
        for (name, service) in [("first", &first), ("second", &second)] {
            players.push(network.play(name, &PlayerOptions::new(service.stream.as_str(), 120.0))?);
        }
        for player in &mut players {
            player.playing()?;
        }
        let before = end(&mut players[0])?;
        network.portal.end_service(first.service)?;
        wait_for("the first service to be gone", WAIT, || {
            let services = network.portal.services()?;
            Ok(services.iter().all(|s| s.service != first.service).then_some(()))
        })?;
        let frames = players[1].frames()?.len();
        wait_for("four seconds more of the second", WAIT, || {
            Ok((players[1].frames()?.len() > frames + 96).then_some(()))
        })?;
        let after = running(&network, second.service)?;
        ensure!(module(&after, 1)?.instance == shared, "{after:?}");
        ensure!(module(&after, 1)?.shared_with.is_empty() && after.modules.len() == 2, "{after:?}");
        let after = end(&mut players[1])?;
        if let Some(what) = gibbon_tests::saw(&before) {
            return Ok(Run::Void(format!("a viewer to whom nothing was done saw {what}")));
        }
        saw_nothing(&after)?;
        stop(network)?;
        Ok(Run::Shown)
    })
}

/// Kills the worker of a component (by its place in the chain) under a viewer, and says what the viewer saw.
fn killed(
    folder: &Path,
    setup: Setup,
    standby: bool,
    number: u32,
) -> anyhow::Result<(Option<String>, Report)> {
    let network = Network::start(folder, setup)?;
    let mut still = network.play("control", &PlayerOptions::new("live/bbb", 34.0).at("edge-z"))?;
    let service = ask_for(&network, "scale height=180 | mdc", |r| r.standby = standby)?;
    let info = running(&network, service.service)?;
    let options = PlayerOptions::new(info.stream.as_str(), 22.0).at("edge-a");
    let mut player = network.play("viewer", &options)?;
    player.playing()?;
    if standby {
        both_are_pulled(&network, service.service, &player)?;
    }
    let killed = worker_of(&network.portal.service(service.service)?, number)?.to_owned();
    network.kill(&killed)?;
    let (status, report) = player.finish()?;
    ensure!(status.success(), "{status}");
    let info = running(&network, service.service)?;
    ensure!(info.modules.iter().all(|m| m.worker.as_str() != killed), "{info:?}");
    Ok((control(&mut still)?, report))
}

/// Waits until description 1 has come from the second chain for two seconds.
fn both_are_pulled(network: &Network, service: ServiceId, player: &Player) -> anyhow::Result<()> {
    wait_for("both chains to be pulled from", WAIT, || {
        let info = network.portal.service(service)?;
        let last = info.modules.iter().filter(|m| m.number == 2);
        let pulled = last.filter(|m| m.output.subscribers > 0).count();
        Ok((pulled == 2).then_some(()))
    })?;
    let frames = player.frames()?.len();
    wait_for("two seconds of both", WAIT, || {
        Ok((player.frames()?.len() > frames + 48).then_some(()))
    })
}

#[test]
fn a_killed_worker_is_replaced_and_the_freeze_is_told() -> anyhow::Result<()> {
    with_control(|folder| {
        let workers = ["worker-1", "worker-2", "worker-3"];
        let setup = Setup::bbb(&["edge-a", "edge-z"]).workers(&workers);
        let (void, report) = killed(folder, setup, false, 2)?;
        if let Some(why) = void {
            return Ok(Run::Void(why));
        }
        eprintln!("longest freeze without a standby: {} ms", report.freezes.longest_ms);
        // Missed reports (2 s), a new child, and the next whole group.
        ensure!(report.freezes.longest_ms < 8000, "{}", serde_json::to_string(&report)?);
        let ended = report.verdicts.iter().map(|span| span.to_ms).max().unwrap_or(0);
        ensure!(ended + 5000 < report.duration_ms, "it did not end: {:?}", report.verdicts);
        Ok(Run::Shown)
    })
}

#[test]
fn with_a_warm_standby_a_killed_worker_freezes_nothing() -> anyhow::Result<()> {
    with_control(|folder| {
        // Both chains go over two workers each, and one is left for each component.
        let (scale, mdc) = (["scale-1", "scale-2", "scale-3"], ["mdc-1", "mdc-2", "mdc-3"]);
        let mut setup = Setup::bbb(&["edge-a", "edge-z"]).workers(&scale).workers(&mdc);
        for (workers, components) in [(scale, "scale"), (mdc, "mdc")] {
            for worker in workers {
                setup = setup.node_with(worker, &["--components", components]);
            }
        }
        let (void, report) = killed(folder, setup, true, 1)?;
        if let Some(why) = void {
            return Ok(Run::Void(why));
        }
        ensure!(report.frames.frozen == 0, "{}", serde_json::to_string(&report)?);
        ensure!(report.audio.gap_ms == 0, "{}", serde_json::to_string(&report)?);
        Ok(Run::Shown)
    })
}

#[test]
fn the_coordinator_and_its_store_are_lost_and_a_component_is_moved_by_hand_and_nothing_shows()
-> anyhow::Result<()> {
    with_control(|folder| {
        let workers = ["worker-1", "worker-2"];
        let network = Network::start(folder, Setup::bbb(&["edge-a", "edge-z"]).workers(&workers))?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/bbb", 36.0).at("edge-z"))?;
        let mut player = plays(&network, "viewer", 28.0, "scale height=180")?;
        player.playing()?;
        let before = network.portal.services()?.pop().context("no service")?;
        let before = running(&network, before.service)?;
        network.kill(gibbon_testbed::COORDINATOR)?;
        network.delete_store()?;
        network.restart(gibbon_testbed::COORDINATOR)?;
        let after = running(&network, before.service)?;
        let instances = |info: &ServiceInfo| -> Vec<_> {
            info.modules.iter().map(|module| (module.instance, module.worker.clone())).collect()
        };
        ensure!(instances(&before) == instances(&after), "{before:?} became {after:?}");
        let from = worker_of(&after, 1)?.to_owned();
        let to = if from == "worker-1" { "worker-2" } else { "worker-1" };
        let id = after.service.to_string();
        // Refused until what the components need has been reckoned anew.
        wait_for("the components to be movable", WAIT, || {
            let (code, _) = gibbonctl(&network, &["service", "move", &id, "1", "--to", to])?;
            Ok((code == Some(0)).then_some(()))
        })?;
        let moved = wait_for("the components to be moved", WAIT, || {
            let info = running(&network, after.service)?;
            let there =
                info.modules.iter().all(|m| m.worker.as_str() == to && m.moving_to.is_none());
            Ok(there.then_some(info))
        })?;
        ensure!(moved.stream == before.stream, "{moved:?}");
        for command in [&["services", &id][..], &["explain", &id], &["components"], &["catalogue"]]
        {
            let (code, said) = gibbonctl(&network, command)?;
            ensure!(code == Some(0) && !said.is_empty(), "{command:?}: {code:?}: {said}");
        }
        let (status, report) = player.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(status.success(), "{status}");
        saw_nothing(&report)?;
        contiguous(&player)?;
        stop(network)?;
        Ok(Run::Shown)
    })
}
