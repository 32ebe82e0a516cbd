//! The phases as they are done, one after the other. What goes wrong in one is noted, and the run goes on.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use gibbon_control::portal::{
    DrainRequest, HandoffInfo, HandoffOutcome, HandoffRequest, SessionRequest,
};
use gibbon_media::{HandoffId, NodeId, Placement, Priority, SessionId};
use gibbon_testbed::{COORDINATOR, Fault, Impairment, Network, Partition, Plan, WAIT, schedule};

use super::{capacity::Search, ground::Ground, players::Players, stop::Stop};
use crate::{
    scenario::{Kind, Phase, Scenario},
    sessions::Audience,
};

/// How often it is looked whether something has come about.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// An edge that has drained exits, and is started again so long after.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// A number of sessions is let run for so long before it is measured.
const WARM_UP: Duration = Duration::from_secs(2);
/// Sessions that begin each second where a capacity is searched.
const ARRIVALS: f64 = 50.0;
/// A number of sessions that does not play within this time is above the capacity.
const PLAYING_WITHIN: Duration = Duration::from_secs(20);
/// Part of the frames that must be shown in full where a capacity is searched.
const WHOLE: f64 = 0.999;

/// What phases act on.
pub struct Act<'a> {
    pub scenario: &'a Scenario,
    pub ground: &'a Ground,
    pub audience: &'a Audience,
    pub players: &'a Players,
    pub stop: &'a Stop,
    /// What went wrong: which kind, and how.
    pub failures: RefCell<Vec<(String, String)>>,
    /// What a search has found.
    pub capacity: Cell<Option<u32>>,
    /// Whether ended edges are started again by themselves.
    pub supervised: Cell<bool>,
}

impl Act<'_> {
    /// Does a phase.
    pub fn perform(&self, phase: &Phase) {
        if let Err(error) = self.try_perform(&phase.kind) {
            self.fail(phase.name(), format!("{error:#}"));
        }
    }

    fn fail(&self, kind: &str, message: String) {
        tracing::warn!(kind, message, "failure");
        self.failures.borrow_mut().push((kind.to_owned(), message));
    }

    fn try_perform(&self, kind: &Kind) -> anyhow::Result<()> {
        match kind {
            Kind::Ramp { sessions, over_s, edge } => self.ramp(*sessions, *over_s, edge.as_ref()),
            Kind::Hold { for_s, anew } => {
                if *anew {
                    self.audience.reset_delays();
                }
                self.sleep(*for_s);
                Ok(())
            }
            Kind::Settle { within_s } => self.settle(*within_s),
            Kind::Storm { sessions, over_s, within_s, to } => {
                self.storm(*sessions, *over_s, *within_s, to.as_ref())
            }
            Kind::Drain { edge, deadline_s, rate } => self.drain(edge, *deadline_s, *rate),
            Kind::RollingRestart { edges, deadline_s } => self.rolling_restart(edges, *deadline_s),
            Kind::Kill { node, for_s } => self.kill(node, *for_s),
            Kind::CoordinatorDown { for_s } => self.kill(&COORDINATOR.parse()?, *for_s),
            Kind::Freeze { node, for_s } => {
                let node = || node.clone();
                self.span(Fault::Freeze { node: node() }, *for_s, Fault::Wake { node: node() })
            }
            Kind::Impair { node, path, direction, impairment, for_s } => {
                let impair = |impairment| Fault::Impair {
                    node: node.clone(),
                    path: *path,
                    direction: *direction,
                    impairment,
                };
                self.span(impair(impairment.clone()), *for_s, impair(Impairment::none()))
            }
            Kind::Partition { from, to, one_way, for_s } => {
                let partition = Partition { from: from.clone(), to: to.clone(), one_way: *one_way };
                self.span(Fault::Partition(partition.clone()), *for_s, Fault::Heal(partition))
            }
            Kind::AddressChange { sessions } => {
                let sessions = sessions.map_or(usize::MAX, |sessions| sessions as usize);
                self.audience.change_addresses(sessions)
            }
            Kind::Chaos { for_s, seed } => self.chaos(*for_s, *seed),
            Kind::Capacity { from, to, delay_p99_ms, for_s } => {
                self.capacity(Search::new(*from, *to), *delay_p99_ms, *for_s)
            }
        }
    }

    fn sleep(&self, seconds: f64) {
        self.stop.sleep(Duration::from_secs_f64(seconds));
    }

    /// Looks again and again whether `is_so`. The error says why it was not so in the end.
    fn wait(&self, within: Duration, is_so: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            match is_so() {
                Err(error) if begun.elapsed() > within => {
                    return Err(error.context(format!("not within {within:.0?}")));
                }
                Err(_) if !self.stop.is_told() => self.stop.sleep(LOOK_EVERY),
                _ => return Ok(()),
            }
        }
    }

    fn invite(&self, sessions: u32, per_second: f64, edge: Option<&NodeId>) {
        let streams = &self.scenario.sessions.streams;
        for (n, stream) in (0_u32..).zip(streams) {
            let others = streams.len() as u32;
            let share = sessions / others + u32::from(n < sessions % others);
            let request = SessionRequest {
                stream: stream.clone(),
                edge: edge.cloned(),
                location: None,
                placement: self.placement(),
                priority: Priority::default(),
            };
            self.audience.invite(request, share, per_second / f64::from(others));
        }
    }

    fn placement(&self) -> Option<Placement> {
        self.scenario.sessions.placement
    }

    fn ramp(&self, sessions: u32, over_s: f64, edge: Option<&NodeId>) -> anyhow::Result<()> {
        let after = self.audience.count().asked + u64::from(sessions);
        self.invite(sessions, f64::from(sessions) / over_s, edge);
        self.sleep(over_s);
        self.wait(WAIT, || {
            let asked = self.audience.count().asked;
            ensure!(asked >= after, "{} sessions have not come", after - asked);
            Ok(())
        })
    }

    /// Sessions that watch, decoding players among them.
    fn sessions(&self) -> Vec<SessionId> {
        self.players.sessions().chain(self.audience.sessions()).collect()
    }

    fn settle(&self, within_s: f64) -> anyhow::Result<()> {
        self.wait(Duration::from_secs_f64(within_s), || {
            let count = self.audience.count();
            let playing = count.playing + count.failed;
            ensure!(playing >= count.asked, "{} sessions do not play", count.asked - playing);
            let ours: BTreeSet<SessionId> = self.sessions().into_iter().collect();
            let known = self.ground.portal.sessions()?;
            let whole = known.iter().filter(|session| {
                let legs = session.edges.iter().all(Option::is_some);
                ours.contains(&session.session) && legs && session.handoff.is_none()
            });
            let missing = ours.len() - whole.count();
            ensure!(missing == 0, "{missing} sessions have not both legs, or are being handed off");
            Ok(())
        })
    }

    fn storm(
        &self,
        sessions: Option<u32>,
        over_s: f64,
        within_s: f64,
        to: Option<&NodeId>,
    ) -> anyhow::Result<()> {
        let all = self.sessions();
        let moved = &all[..sessions.map_or(all.len(), |s| (s as usize).min(all.len()))];
        let begun = Instant::now();
        let mut ordered = BTreeSet::new();
        for (n, session) in moved.iter().enumerate() {
            let due = Duration::from_secs_f64(over_s * n as f64 / moved.len().max(1) as f64);
            self.stop.sleep(due.saturating_sub(begun.elapsed()));
            if self.stop.is_told() {
                break;
            }
            let request = HandoffRequest { to: to.cloned(), ..HandoffRequest::default() };
            match self.ground.portal.handoff(*session, &request) {
                Ok(handoff) => drop(ordered.insert(handoff.handoff)),
                Err(error) => self.fail("handoff_refused", format!("{session}: {error:#}")),
            }
        }
        let within = Duration::from_secs_f64(within_s).saturating_sub(begun.elapsed());
        self.wait(within, || {
            let left = self.running(&ordered)?;
            ensure!(left == 0, "{left} of {} hand-offs are not over", ordered.len());
            Ok(())
        })
    }

    /// How many of these are still under way.
    fn running(&self, handoffs: &BTreeSet<HandoffId>) -> anyhow::Result<usize> {
        let known = self.ground.portal.handoffs()?;
        let runs = |h: &&HandoffInfo| {
            handoffs.contains(&h.handoff) && h.outcome == HandoffOutcome::Running
        };
        Ok(known.iter().filter(runs).count())
    }

    fn drain(&self, edge: &NodeId, deadline_s: f64, rate: f64) -> anyhow::Result<()> {
        let deadline = Duration::from_secs_f64(deadline_s);
        let request = DrainRequest { deadline_ms: deadline.as_millis() as u64, rate, stay: true };
        self.ground.portal.drain(edge, &request)?;
        let emptied = self.wait(deadline, || {
            let nodes = self.ground.portal.nodes()?;
            let node = nodes.iter().find(|node| node.id == *edge);
            let node = node.with_context(|| format!("{edge} is gone"))?;
            let (legs, downstreams) = (node.legs, node.downstreams);
            ensure!(
                legs == 0 && downstreams == 0,
                "{edge} has {legs} legs and {downstreams} downstreams"
            );
            Ok(())
        });
        self.ground.portal.undrain(edge)?;
        emptied
    }

    fn rolling_restart(&self, edges: &[NodeId], deadline_s: f64) -> anyhow::Result<()> {
        let network = self.ground.processes()?;
        let edges = if edges.is_empty() { &self.ground.edges[..] } else { edges };
        let deadline = Duration::from_secs_f64(deadline_s);
        for edge in edges {
            if self.stop.is_told() {
                break;
            }
            network.inflict(&Fault::Terminate { node: edge.clone() })?;
            self.wait(deadline, || {
                let ended = network.node(edge.as_str())?.ended()?;
                let status = ended.with_context(|| format!("{edge} has not drained"))?;
                if !status.success() {
                    self.fail("drain_cut", format!("{edge} ended with {status}"));
                }
                Ok(())
            })?;
            self.again(network, edge)?;
        }
        Ok(())
    }

    /// Starts a node again and waits until the coordinator counts on it.
    fn again(&self, network: &Network, node: &NodeId) -> anyhow::Result<()> {
        network.inflict(&Fault::Restart { node: node.clone() })?;
        self.wait(WAIT, || {
            let nodes = self.ground.portal.nodes()?;
            let up = |n: &gibbon_control::portal::NodeInfo| n.up && n.draining.is_none();
            let is_up =
                node.as_str() == COORDINATOR || nodes.iter().any(|n| n.id == *node && up(n));
            ensure!(is_up, "{node} is not back");
            Ok(())
        })
    }

    fn kill(&self, node: &NodeId, for_s: f64) -> anyhow::Result<()> {
        let network = self.ground.processes()?;
        network.inflict(&Fault::Kill { node: node.clone() })?;
        self.sleep(for_s);
        self.again(network, node)
    }

    /// Something that lasts. Its end comes even where the run is to end.
    fn span(&self, begin: Fault, for_s: f64, end: Fault) -> anyhow::Result<()> {
        let network = self.ground.processes()?;
        network.inflict(&begin)?;
        self.sleep(for_s);
        network.inflict(&end)
    }

    fn chaos(&self, for_s: f64, seed: u64) -> anyhow::Result<()> {
        let network = self.ground.processes()?;
        let plan = self.scenario.network.as_ref().context("chaos needs a [network]")?;
        let edges = plan.edge_ids();
        if !self.supervised.replace(true) {
            let names: Vec<&str> = edges.iter().map(String::as_str).collect();
            network.supervise(&names, RESTART_AFTER)?;
        }
        let sessions = self.sessions();
        let origin = plan.origin_ids().into_iter().next().context("nobody publishes")?;
        let steps = schedule(
            seed,
            &Plan {
                edges: self.ground.edges.clone(),
                origin: origin.parse()?,
                players: (0..sessions.len()).map(|n| n.to_string()).collect(),
                length: Duration::from_secs_f64(for_s),
            },
        );
        let begun = Instant::now();
        for step in steps {
            let due = Duration::from_millis(step.at_ms);
            self.stop.sleep(due.saturating_sub(begun.elapsed()));
            if self.stop.is_told() {
                break;
            }
            self.befall(network, &sessions, &step.fault)?;
        }
        network.heal_paths();
        self.stop.sleep(Duration::from_secs_f64(for_s).saturating_sub(begun.elapsed()));
        Ok(())
    }

    /// One fault. What the coordinator has against a hand-off or a drain is no failure: much is under way.
    fn befall(
        &self,
        network: &Network,
        sessions: &[SessionId],
        fault: &Fault,
    ) -> anyhow::Result<()> {
        tracing::info!(%fault, "fault");
        match fault {
            Fault::HandOff { player, to } => {
                let request = HandoffRequest { to: to.clone(), ..HandoffRequest::default() };
                let session = player.parse::<usize>().ok().and_then(|n| sessions.get(n));
                if let Some(Err(error)) =
                    session.map(|session| self.ground.portal.handoff(*session, &request))
                {
                    tracing::info!(%fault, %error, "refused");
                }
                Ok(())
            }
            Fault::Drain { .. } | Fault::Undrain { .. } => {
                if let Err(error) = network.inflict(fault) {
                    tracing::info!(%fault, %error, "refused");
                }
                Ok(())
            }
            _ => network.inflict(fault),
        }
    }

    fn capacity(&self, mut search: Search, delay_p99_ms: f64, for_s: f64) -> anyhow::Result<()> {
        while let Some(sessions) = search.next() {
            if self.stop.is_told() {
                break;
            }
            let within = self.serves(sessions, delay_p99_ms, for_s)?;
            search.measured(sessions, within);
            self.capacity.set(search.found());
        }
        search
            .found()
            .map(drop)
            .context("not even the least number of sessions is within the bound")
    }

    /// Whether so many sessions are served within the bound.
    fn serves(&self, sessions: u32, delay_p99_ms: f64, for_s: f64) -> anyhow::Result<bool> {
        let there = self.audience.sessions().len() as u32;
        match sessions.checked_sub(there) {
            Some(more) => self.invite(more, ARRIVALS, None),
            None => self.audience.dismiss((there - sessions) as usize),
        }
        let playing = self.wait(
            PLAYING_WITHIN
                + Duration::from_secs_f64(f64::from(sessions.saturating_sub(there)) / ARRIVALS),
            || {
                let playing = self.audience.count().playing;
                ensure!(playing == u64::from(sessions), "{playing} of {sessions} play");
                Ok(())
            },
        );
        if let Err(error) = playing {
            tracing::info!(sessions, %error, "above capacity");
            return Ok(false);
        }
        self.stop.sleep(WARM_UP);
        let before = self.audience.count();
        self.audience.reset_delays();
        self.sleep(for_s);
        let after = self.audience.count();
        let p99_ms = self.audience.latency().value_at_quantile(0.99) as f64 / 1000.0;
        let shown = |c: crate::sessions::Count| c.central + c.side + c.frozen;
        let due = (shown(after) - shown(before)) as f64;
        let whole = (after.central - before.central) as f64 >= WHOLE * due;
        tracing::info!(sessions, p99_ms, whole, "measured");
        Ok(p99_ms <= delay_p99_ms && whole)
    }
}
