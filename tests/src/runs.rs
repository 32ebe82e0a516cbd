//! Runs with a control viewer, whom nothing befalls: where he sees anything, the machine was starved. So it was where much
//! of it was taken away by the machine that it runs on.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use gibbon_control::report::Report;
use gibbon_testbed::Player;

use crate::{
    machine::{self, Watch},
    saw,
};

/// A run on a starved machine says nothing: it is tried so often.
const MAX_VOIDS: usize = 5;
/// What starves one run starves the next: the machine is given so long to recover.
const RECOVERS_WITHIN: Duration = Duration::from_secs(90);
/// Where more than this was taken away within a quarter of a second, a run that failed is void: those under test may need
/// more than the control viewer does, who was clean.
const MUCH_TAKEN: Duration = Duration::from_millis(120);

/// How a run went.
pub enum Run {
    /// The control viewer was clean, and all that was to be shown was shown.
    Shown,
    /// The control viewer was not clean.
    Void(String),
}

/// Runs `run`, each time in a fresh folder, until its viewer called `control` was clean. Five voids fail.
pub fn with_control(run: impl FnMut(&Path) -> anyhow::Result<Run>) -> anyhow::Result<()> {
    until_shown(run, || machine::wait_until_calm(RECOVERS_WITHIN))
}

fn until_shown(
    mut run: impl FnMut(&Path) -> anyhow::Result<Run>,
    recover: impl Fn(),
) -> anyhow::Result<()> {
    let mut voids = Vec::new();
    while voids.len() < MAX_VOIDS {
        if !voids.is_empty() {
            recover();
        }
        let folder = tempfile::tempdir()?;
        let watch = Watch::start();
        let ran = run(folder.path());
        match (ran, watch.worst()) {
            (Ok(Run::Shown), _) => return Ok(()),
            (Ok(Run::Void(why)), _) => voids.push(why),
            // What a run failed by may have been the machine.
            (Err(error), worst) => match starved(folder.path(), worst) {
                Some(how) => voids.push(format!("{error:#}; {how}")),
                None => {
                    if std::env::var_os("GIBBON_KEEP").is_some() {
                        eprintln!("kept: {}", folder.keep().display());
                    }
                    return Err(error);
                }
            },
        }
    }
    bail!("{MAX_VOIDS} runs were void: {voids:?}")
}

/// How it shows that the machine was starved while the networks in `folder` ran: by the control viewer, or by what the
/// machine that this one runs on took away at worst.
fn starved(folder: &Path, worst: Duration) -> Option<String> {
    let seen = what_control_saw(folder).map(|what| format!("the control viewer saw {what}"));
    seen.or_else(|| (worst > MUCH_TAKEN).then(|| format!("{worst:?} were taken away at once")))
}

/// What the control viewer of the network in `folder`, or of one of several in it, reports that it should not have seen.
fn what_control_saw(folder: &Path) -> Option<String> {
    let inside = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut networks = inside.map(|entry| entry.path()).chain([folder.to_owned()]);
    networks.find_map(|network| {
        let report = std::fs::read(network.join("control/report.json")).ok()?;
        saw(&serde_json::from_slice(&report).ok()?)
    })
}

/// Waits for the control viewer's report; says why the run is void if it saw anything.
pub fn control(player: &mut Player) -> anyhow::Result<Option<String>> {
    let (status, report) = player.finish()?;
    ensure!(status.success(), "the control player ended with {status}");
    Ok(saw(&report).map(|what| format!("the control viewer saw {what}")))
}

/// Waits for the reports of `players`, which play to their end, and of the `still` control viewer. If that
/// saw nothing, each report must stand up to `check`.
pub fn judge(
    still: &mut Player,
    players: &mut [Player],
    check: impl Fn(&Report) -> anyhow::Result<()>,
) -> anyhow::Result<Run> {
    let ended: Vec<_> = players.iter_mut().map(Player::finish).collect::<Result<_, _>>()?;
    if let Some(why) = control(still)? {
        return Ok(Run::Void(why));
    }
    for (player, (status, report)) in players.iter().zip(&ended) {
        let name = player.process.name();
        ensure!(status.success(), "{name} ended with {status}");
        check(report).with_context(|| name.to_owned())?;
    }
    Ok(Run::Shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that writes what its control viewer saw, and is cut short by an error.
    fn cut_short(folder: &Path, frozen: u64) -> anyhow::Result<Run> {
        let report = serde_json::json!({
            "schema": 1, "stream": "live/bbb", "session": "0000000000000001",
            "scheme": "alternating", "placement": "together", "session_start_us": 0,
            "duration_ms": 1000, "startup_ms": 900,
            "playout_delay_ms": {"initial": 1000, "max": 1000, "final": 1000},
            "frames": {
                "expected": 24, "central": 24 - frozen, "side": 0, "side_chosen": 0, "frozen": frozen
            },
            "freezes": {"count": 0, "total_ms": 0, "longest_ms": 0},
            "audio": {"expected_ms": 0, "gap_ms": 0}, "text": {"cues": 0, "missed": 0},
            "latency_ms": null, "bytes": {"media": 0, "duplicate": 0},
            "display": {"late": 0, "worst_ms": 0, "failed": 0},
            "legs": [], "handoffs": [], "recoveries": [], "verdicts": []
        });
        std::fs::create_dir_all(folder.join("control"))?;
        std::fs::write(folder.join("control/report.json"), serde_json::to_vec(&report)?)?;
        bail!("what was waited for did not come")
    }

    #[test]
    fn a_run_that_is_cut_short_is_void_only_if_the_control_viewer_saw_anything() {
        let mut runs = 0;
        let at_once = || {};
        let shown = until_shown(
            |folder| {
                runs += 1;
                if runs == 1 { cut_short(&folder.join("never"), 2) } else { Ok(Run::Shown) }
            },
            at_once,
        );
        assert!(shown.is_ok() && runs == 2, "{runs} runs: {shown:?}");
        let failed = until_shown(|folder| cut_short(folder, 0), at_once).unwrap_err();
        assert!(failed.to_string().contains("did not come"), "{failed}");
        let starved = until_shown(|folder| cut_short(folder, 2), at_once).unwrap_err();
        assert!(starved.to_string().contains("5 runs were void"), "{starved}");
        let alone = until_shown(|_| bail!("no viewer was there yet"), at_once).unwrap_err();
        assert!(alone.to_string().contains("no viewer"), "{alone}");
    }

    #[test]
    fn a_machine_that_is_taken_away_is_starved_whatever_its_control_viewer_saw() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(starved(folder.path(), Duration::from_millis(50)), None);
        let how = starved(folder.path(), Duration::from_millis(200));
        assert_eq!(how.as_deref(), Some("200ms were taken away at once"));
    }
}
