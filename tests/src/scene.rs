//! The same scene played at the same time under three ways to decide, each in a network of its own: what the machine
//! does to one it does to all.
//!
//! ```text
//!  set up: network, viewers ──▶ all play ──▶ the scene begins, in all three at one moment, and ends ──▶ Played
//! ```

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use gibbon_control::{
    portal::{DecidedBy, HandoffInfo, HandoffOutcome, HandoffWhy},
    report::Report,
};
use gibbon_handoff::Reason;
use gibbon_mdc::Verdict;
use gibbon_testbed::{
    Network, Player, PlayerOptions, Setup,
    seen::{Span, on_the_wall, seen},
};

use crate::{Run, end, saw, saw_nothing, with_control};

/// The stream of every scene: small pictures, so that three networks fit on two cores.
pub const STREAM: &str = "live/session";
/// No scene lasts longer.
const LONGEST: Duration = Duration::from_secs(600);
/// Time between two looks ahead, where the setup does not say otherwise.
pub const PERIOD: &str = "1s";

/// How the coordinator decides, as in `--foresight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Before it hurts.
    Ahead,
    /// Once it has been bad for a while.
    Reactive,
    /// Not at all: the twin without hand-offs.
    Never,
}

impl Way {
    /// All three.
    pub const ALL: [Way; 3] = [Way::Ahead, Way::Reactive, Way::Never];

    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Ahead => "ahead",
            Way::Reactive => "reactive",
            Way::Never => "never",
        }
    }
}

/// A scene to be played.
pub struct Scene<S, A> {
    /// What each network consists of.
    pub setup: Setup,
    /// What the control viewer watches, where nothing befalls it, in the network without hand-offs: what starves one
    /// network starves all. Where paths are impaired, its edge has one, too: they are all in one process.
    pub control: PlayerOptions,
    /// Starts the viewers of a network.
    pub cast: S,
    /// What befalls a network from the moment at which the scene begins. With it the scene ends, and all who watch end.
    pub action: A,
}

/// One of the three networks.
#[derive(Debug)]
pub struct Stage {
    /// How its coordinator decides.
    pub way: Way,
    // Before the network: they are dropped in this order.
    control: Option<Player>,
    /// Its viewers. More may join during the scene.
    pub viewers: Vec<Player>,
    /// The network.
    pub network: Network,
}

/// What became of the scene in one network.
#[derive(Debug)]
pub struct Played {
    /// How its coordinator decided.
    pub way: Way,
    /// When the scene began, in µs since the epoch: the same in all three.
    pub began_us: u64,
    /// What each viewer reports, in the order of the cast.
    pub viewers: Vec<(String, Report)>,
    /// Each hand-off of theirs, and why.
    pub handoffs: Vec<(HandoffInfo, HandoffWhy)>,
}

/// The three networks' accounts.
#[derive(Debug)]
pub struct Outcome {
    /// Foresight.
    pub ahead: Played,
    /// Thresholds.
    pub reactive: Played,
    /// The twin without hand-offs.
    pub never: Played,
}

/// One origin that publishes [`STREAM`], and these edges.
pub fn small(edges: &[&str]) -> Setup {
    Setup::default().clip("origin-1", STREAM, "session.mp4").edges(edges)
}

/// A viewer of [`STREAM`], until the scene ends.
pub fn watches() -> PlayerOptions {
    watches_stream(STREAM)
}

/// A viewer of another stream, until the scene ends.
pub fn watches_stream(stream: &str) -> PlayerOptions {
    PlayerOptions::new(stream, LONGEST.as_secs_f64())
}

impl<S, A> Scene<S, A>
where
    S: Fn(&Network) -> anyhow::Result<Vec<Player>> + Sync,
    A: Fn(&mut Stage) -> anyhow::Result<()> + Sync,
{
    /// Plays it, again while the machine is starved, and judges.
    pub fn show(&self, shown: impl Fn(&Outcome) -> anyhow::Result<Run>) -> anyhow::Result<()> {
        with_control(|folder| {
            let mut stages = self.each(&Way::ALL, |way| self.set(*way, folder))?;
            let began_us = now_us();
            stages = self.each(stages, |mut stage| {
                (self.action)(&mut stage).with_context(|| stage.way.as_str())?;
                Ok(stage)
            })?;
            let played = self.each(stages, |stage| stage.end(began_us))?;
            let mut voids = Vec::new();
            let mut account = |(played, void): (Played, Option<String>)| {
                voids.extend(void);
                eprintln!("{}", played.told());
                played
            };
            let [ahead, reactive, never]: [_; 3] =
                played.try_into().ok().context("three networks")?;
            let outcome = Outcome {
                ahead: account(ahead),
                reactive: account(reactive),
                never: account(never),
            };
            match voids.pop() {
                Some(why) => Ok(Run::Void(why)),
                None => shown(&outcome),
            }
        })
    }

    /// Does the same for each at once.
    fn each<I: Send, O: Send>(
        &self,
        all: impl IntoIterator<Item = I>,
        one: impl Fn(I) -> anyhow::Result<O> + Sync,
    ) -> anyhow::Result<Vec<O>> {
        std::thread::scope(|scope| {
            let one = &one;
            let threads: Vec<_> =
                all.into_iter().map(|item| scope.spawn(move || one(item))).collect();
            let panicked = |_| anyhow::anyhow!("a scene panicked");
            threads.into_iter().map(|thread| thread.join().map_err(panicked)?).collect()
        })
    }

    fn set(&self, way: Way, folder: &Path) -> anyhow::Result<Stage> {
        let mut setup = self.setup.clone();
        let how = &mut setup.coordinator_arguments;
        how.extend(["--foresight", way.as_str()].map(str::to_owned));
        if !how.iter().any(|argument| argument == "--foresight-period") {
            how.extend(["--foresight-period", PERIOD].map(str::to_owned));
        }
        let network = Network::start(&folder.join(way.as_str()), setup)?;
        let mut viewers = (self.cast)(&network)?;
        viewers.iter_mut().try_for_each(Player::playing)?;
        let watched = (way == Way::Never).then(|| network.play("control", &self.control));
        let mut control = watched.transpose()?;
        control.iter_mut().try_for_each(Player::playing)?;
        Ok(Stage { way, network, viewers, control })
    }
}

impl Stage {
    /// The viewers have seen all. Says why the run is void, if it is.
    fn end(mut self, began_us: u64) -> anyhow::Result<(Played, Option<String>)> {
        let mut viewers = Vec::new();
        for player in &mut self.viewers {
            viewers.push((player.process.name().to_owned(), end(player)?));
        }
        let control = self.control.as_mut().map(end).transpose()?;
        let void = control.and_then(|report| disturbed(&report));
        let theirs = |handoff: &HandoffInfo| {
            viewers.iter().any(|(_, report): &(String, Report)| report.session == handoff.session)
        };
        let handoffs = self.network.portal.handoffs()?.into_iter().filter(theirs).map(|handoff| {
            let why = self.network.portal.why(handoff.handoff)?;
            Ok((handoff, why))
        });
        let handoffs = handoffs.collect::<anyhow::Result<_>>()?;
        Ok((Played { way: self.way, began_us, viewers, handoffs }, void))
    }
}

impl Played {
    /// When a viewer first saw something it should not have, since the scene began.
    pub fn first_harm(&self) -> Option<Duration> {
        let harm = self.viewers.iter().flat_map(|(_, report)| harm(report));
        let first = harm.map(|span| span.from_us).filter(|at| *at >= self.began_us).min();
        first.map(|at| self.since_begin(at))
    }

    /// The same of one viewer.
    pub fn first_harm_of(&self, name: &str) -> Option<Duration> {
        let (_, report) = self.viewers.iter().find(|(viewer, _)| viewer == name)?;
        let first = harm(report).into_iter().find(|span| span.from_us >= self.began_us)?;
        Some(self.since_begin(first.from_us))
    }

    /// Frames, over all viewers, that were not of full quality.
    pub fn harmed(&self) -> u64 {
        self.viewers.iter().map(|(_, r)| r.frames.side + r.frames.frozen).sum()
    }

    /// A time of day, since the scene began.
    pub fn since_begin(&self, at_us: u64) -> Duration {
        Duration::from_micros(at_us.saturating_sub(self.began_us))
    }

    /// Hand-offs that were completed, and when, since the scene began.
    pub fn completed(&self) -> Vec<(&HandoffInfo, &HandoffWhy, Duration)> {
        let completed = |h: &&(HandoffInfo, HandoffWhy)| h.0.outcome == HandoffOutcome::Completed;
        let ended = |handoff: &HandoffInfo| handoff.progress.last().map_or(0, |step| step.at_us);
        let all = self.handoffs.iter().filter(completed);
        all.map(|(info, why)| (info, why, self.since_begin(ended(info)))).collect()
    }

    /// Why a hand-off was rolled back because too little came from an edge that had not been told to be slow. The viewer sees
    /// nothing of that, and is handed off once more; but the machine was starved.
    fn failed_on_probation(&self) -> Option<Reason> {
        let rolled_back =
            |h: &&(HandoffInfo, HandoffWhy)| h.0.outcome == HandoffOutcome::RolledBack;
        let mut why = self.handoffs.iter().filter(rolled_back).filter_map(|(info, _)| info.reason);
        why.find(|why| {
            use Reason::{Jittery, Late, Lossy, NotInTime, Starved};
            matches!(why, Starved | Late | Jittery | Lossy | NotInTime)
        })
    }

    /// Fails if any viewer saw anything, or any hand-off was not completed before its predicted time of need.
    pub fn is_ahead_of_need(&self) -> anyhow::Result<()> {
        for (name, report) in &self.viewers {
            saw_nothing(report).with_context(|| format!("{name}; {}", self.told()))?;
        }
        for (handoff, why) in &self.handoffs {
            let what = || format!("{handoff:?} {why:?}");
            ensure!(handoff.outcome == HandoffOutcome::Completed, "{}", what());
            ensure!(why.grounds.decided_by == DecidedBy::Foresight, "not foreseen: {}", what());
            let need =
                why.grounds.foreseen.with_context(|| format!("no need: {}", what()))?.need_us;
            let ended = handoff.progress.last().map_or(u64::MAX, |step| step.at_us);
            ensure!(
                ended < need,
                "completed {} ms after its predicted need: {}; {}",
                (ended - need) / 1000,
                what(),
                self.told()
            );
        }
        Ok(())
    }

    /// What happened, in words.
    pub fn told(&self) -> String {
        let seconds = |at: Duration| format!("{:.1} s", at.as_secs_f64());
        let viewers = self.viewers.iter().map(|(name, report)| {
            let harm: Vec<_> = harm(report)
                .iter()
                .map(|span| {
                    format!("{} for {} ms", seconds(self.since_begin(span.from_us)), span.ms())
                })
                .collect();
            let recovered = report.recoveries.iter().map(|recovery| {
                let at = self.since_begin(on_the_wall(report, recovery.detected_ms));
                format!("left {} ({}) at {}", recovery.from, recovery.cause, seconds(at))
            });
            format!(
                "{name}: {}; harm at {harm:?}; by itself: {:?}",
                saw(report).unwrap_or_else(|| "saw nothing".to_owned()),
                recovered.collect::<Vec<_>>()
            )
        });
        let handoffs = self.handoffs.iter().map(|(handoff, why)| {
            let at = |us: u64| seconds(self.since_begin(us));
            let ended = handoff.progress.last().map_or(0, |step| step.at_us);
            let need =
                why.grounds.foreseen.map_or("none".to_owned(), |foreseen| at(foreseen.need_us));
            format!(
                "{:?} {} to {} {:?} {:?} by {}: decided at {}, over at {}, need {need}: {}",
                handoff.cause,
                handoff.from,
                handoff.to,
                handoff.outcome,
                handoff.reason,
                why.grounds.decided_by.as_str(),
                at(why.grounds.decided_us),
                at(ended),
                why.grounds.because
            )
        });
        let lines: Vec<String> = viewers.chain(handoffs).collect();
        format!("{}:\n  {}", self.way.as_str(), lines.join("\n  "))
    }
}

impl Outcome {
    /// What is shown of every scene: under foresight nobody saw anything, and every hand-off was completed before its
    /// predicted time of need, the first before anything was missed in the twin without hand-offs; under thresholds
    /// something was missed. Where the twin got away by itself because the machine stood still, or a hand-off was rolled
    /// back because of that, the run says nothing.
    pub fn foresight_pays(&self) -> anyhow::Result<Run> {
        let fled = self.never.viewers.iter().any(|(_, report)| !report.recoveries.is_empty());
        if self.never.harmed() == 0 && fled {
            return Ok(Run::Void(format!("nobody was left to be hurt: {}", self.never.told())));
        }
        if let Some(failed) = self.ahead.failed_on_probation() {
            return Ok(Run::Void(format!("{failed:?}: {}", self.ahead.told())));
        }
        self.ahead.is_ahead_of_need()?;
        let completed = self.ahead.completed();
        let first = completed.iter().map(|(.., at)| *at).min();
        let first = first.with_context(|| format!("nothing was moved: {}", self.ahead.told()))?;
        let measured = self.never.first_harm();
        let measured =
            measured.with_context(|| format!("the scene hurts nobody: {}", self.never.told()))?;
        ensure!(
            first < measured,
            "completed {first:?} after the scene began, missed from {measured:?} on; {}\n{}",
            self.ahead.told(),
            self.never.told()
        );
        ensure!(self.reactive.harmed() > 0, "thresholds were as good: {}", self.reactive.told());
        Ok(Run::Shown)
    }
}

/// What the control viewer saw or had to run from, if anything.
fn disturbed(report: &Report) -> Option<String> {
    let fled = || report.recoveries.first().map(|recovery| format!("{recovery:?}"));
    saw(report).or_else(fled).map(|what| format!("the control viewer saw {what}"))
}

/// When a viewer saw side or frozen frames.
fn harm(report: &Report) -> Vec<Span> {
    let mut spans = seen(report, Verdict::Side);
    spans.extend(seen(report, Verdict::Frozen));
    spans.sort_by_key(|span| span.from_us);
    spans
}

/// Now, in µs since the epoch.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
