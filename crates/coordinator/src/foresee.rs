//! Foresight: from what is known of nodes, streams, clients and hand-offs to what is decided ahead of need.
//!
//! [`Foresee`] keeps what decisions need beside the coordinator's own tables: how load went on each node, and a session
//! of `gibbon_placement::foresight` for each session there is. At each pass it is shown the network as it is
//! ([`Picture`]), brings its tables up to date ([`nodes`], [`streams`], [`sessions`]), and has a sweep decide. It knows no
//! sockets and no clock, and moves nothing by itself: `Manager::foresee` carries out what it says.

pub mod components;
pub mod distance;
pub mod neighbourhood;
pub mod nodes;
pub mod rates;
pub mod sessions;
pub mod streams;

use std::{collections::BTreeMap, time::Duration};

use gibbon_control::portal::DecidedBy;
use gibbon_handoff::Cause;
use gibbon_media::{MediaTime, NodeId, SessionId};
use gibbon_placement::{
    foresight::{Index, NodeIndex, Plan, Policy, Shift, Sweep, witnesses},
    predict::Errors,
};

use crate::{
    drain::Drains,
    handoffs::Handoffs,
    maintenance::Maintenance,
    registry::Registry,
    sessions::Sessions,
    telemetry::{self, Heard, Measured, Reason, Source, Telemetry},
    why::{self, Grounds},
};
use nodes::Nodes;
use sessions::Known;
use streams::Streams;

/// How often load is noted, the finest that its predictors look at; more often where passes are closer together.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// Bounds of the time between passes.
pub const PERIODS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(250)..=Duration::from_secs(60);
/// How long hand-offs are taken to last: what the last ones took, and half as much again, within these.
const LEADS: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(20);
const LEAD_MARGIN: f64 = 1.5;
/// How much the newest hand-off counts in that.
const LEAD_SHARE: f64 = 0.2;
/// Moving clients have prefetch sent ahead of them where the need is no further off than a hand-off takes and so much.
const PREPARED_WITHIN: Duration = Duration::from_secs(15);

/// How the coordinator decides what nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Mode {
    /// By what is foreseen, before it hurts
    #[default]
    Ahead,
    /// By what is measured, once it has been bad for a while: for comparison
    Reactive,
    /// Only by what has already happened: drains, losses, complaints, full edges
    Off,
    /// Not at all but for drains and losses: for comparison
    Never,
}

/// Options of foresight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How it decides.
    pub mode: Mode,
    /// Time between passes.
    pub period: Duration,
    /// Of [`Mode::Reactive`]: for how long it has to have been bad.
    pub dwell: Duration,
}

impl Settings {
    /// Of this mode, as everywhere.
    pub fn of(mode: Mode) -> Self {
        Self { mode, period: Duration::from_secs(5), dwell: Duration::from_secs(5) }
    }
}

/// The network at one moment.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    /// The moment.
    pub now: MediaTime,
    /// Nodes and what they report.
    pub registry: &'a Registry,
    /// What was told besides.
    pub telemetry: &'a Telemetry,
    /// Sessions.
    pub sessions: &'a Sessions,
    /// Hand-offs under way.
    pub handoffs: &'a Handoffs,
    /// Nodes that are being emptied.
    pub drains: &'a Drains,
    /// Nodes that will go away.
    pub maintenance: &'a Maintenance,
}

impl Picture<'_> {
    /// When a node goes away, by the first of those who say so.
    pub fn leaves_at(&self, node: &NodeId) -> Option<MediaTime> {
        [self.maintenance.of(node), self.telemetry.maintenance(node)].into_iter().flatten().min()
    }
}

/// What is to be done about a session.
#[derive(Debug)]
pub struct Decided {
    /// Which.
    pub session: SessionId,
    /// Where its legs are to be, by description.
    pub to: [NodeId; 2],
    /// Why, in a word.
    pub cause: Cause,
    /// Why, in full.
    pub grounds: Grounds,
}

/// Where prefetch is to go ahead of a client.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Of which session.
    pub session: SessionId,
    /// To which edges, the likeliest first.
    pub around: Vec<NodeId>,
}

/// What a pass has come to.
#[derive(Debug, Default)]
pub struct Foreseen {
    /// Hand-offs to begin now, in this order.
    pub moves: Vec<Decided>,
    /// Prefetch to send ahead.
    pub prepared: Vec<Prepared>,
}

/// What is kept from pass to pass.
pub struct Foresee {
    settings: Settings,
    policy: Policy,
    looked: MediaTime,
    noted: MediaTime,
    nodes: Nodes,
    streams: Streams,
    sessions: BTreeMap<SessionId, Known>,
    /// What a hand-off took, in s.
    took: f64,
    /// Components and workers.
    pub components: components::Components,
}

impl Foresee {
    /// Nothing is known yet.
    pub fn new(settings: Settings) -> Self {
        let period = settings.period.clamp(*PERIODS.start(), *PERIODS.end());
        let policy = Policy { period, ..Policy::default() };
        let policy = match settings.mode {
            // Each look stands by itself: for how long it was bad is counted here.
            Mode::Reactive => Policy { trigger: Duration::ZERO, urgent: f64::INFINITY, ..policy },
            _ => policy,
        };
        Self {
            settings,
            took: policy.lead.as_secs_f64() / LEAD_MARGIN,
            policy,
            looked: MediaTime::default(),
            noted: MediaTime::default(),
            nodes: Nodes::noted_every(NOTE_EVERY.min(period)),
            streams: Streams::default(),
            sessions: BTreeMap::new(),
            components: components::Components::default(),
        }
    }

    /// How it decides.
    pub fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// Its thresholds.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The same for components; where what is measured decides, a move is wanted for as long as the dwell time first.
    pub fn component_policy(&self) -> Policy {
        match self.settings.mode {
            Mode::Reactive => Policy { trigger: self.settings.dwell, ..self.policy.clone() },
            _ => self.policy.clone(),
        }
    }

    /// Whether it decides anything.
    pub fn decides(&self) -> bool {
        matches!(self.settings.mode, Mode::Ahead | Mode::Reactive)
    }

    /// A client told something that can be true.
    pub fn heard(
        &mut self,
        now: MediaTime,
        id: SessionId,
        heard: Heard,
        telemetry: &Telemetry,
    ) -> Vec<(Source, Reason)> {
        let mut refused = Vec::new();
        let found = |Measured { edge, with, sample }| {
            Some((self.nodes.find(&edge)?, self.nodes.find(&with)?, sample))
        };
        let samples: Vec<_> = heard.samples.into_iter().filter_map(found).collect();
        let known = self.sessions.entry(id).or_default();
        if let Some(whereabouts) = heard.whereabouts {
            known.told(now, whereabouts);
        }
        if let Some(most_slack_ms) = heard.most_slack_ms {
            known.session.playout_ms = most_slack_ms;
        }
        let there = known.session.whereabouts().at(0, now);
        for (node, with, mut sample) in samples {
            // Until a pass has seen its stream, it is not known what of its slack the stream has taken.
            let lag_ms = self.streams.lag_ms(now, telemetry, known.session.stream, with);
            let Some(lag_ms) = lag_ms else { continue };
            sample.slack_ms += lag_ms;
            if known.measured(node, sample).is_err() {
                refused.push((Source::Client, Reason::OutOfBounds));
            } else if let Some(there) = there {
                self.nodes.measured(node, there.position, sample.slack_ms);
            }
        }
        refused
    }

    /// A node is lost: the more often of late, the likelier it will be again.
    pub fn lost(&mut self, now: MediaTime, node: &NodeId) {
        self.nodes.lost(now, node);
    }

    /// Notes how loaded nodes are, if it is time.
    pub fn note(&mut self, picture: &Picture<'_>) {
        if picture.now.since(self.noted) >= self.nodes.noted_every {
            self.noted = picture.now;
            self.nodes.note(picture);
        }
    }

    /// Sessions that are not there any more are forgotten.
    pub fn keep(&mut self, there: impl Fn(SessionId) -> bool) {
        self.sessions.retain(|id, _| there(*id));
    }

    /// Whether the next pass is due. If so, it is reckoned as done.
    pub fn is_due(&mut self, now: MediaTime) -> bool {
        let due = now.since(self.looked) >= self.policy.period;
        if due {
            self.looked = now;
        }
        due
    }

    /// One pass over all sessions.
    pub fn pass(&mut self, picture: &Picture<'_>) -> Foreseen {
        self.nodes.follow(picture);
        self.streams = streams::outlooks(picture, &mut self.nodes);
        self.follow_sessions(picture);
        let present = self.settings.mode == Mode::Reactive;
        self.nodes.expect(picture, present);
        if present {
            self.streams.stay(picture.now);
        }
        let shifts = self.under_way(picture);
        match self.settings.mode {
            Mode::Reactive => self.react(picture, &shifts),
            _ => self.sweep(picture, &shifts),
        }
    }

    fn sweep(&mut self, picture: &Picture<'_>, shifts: &[Shift]) -> Foreseen {
        let now = picture.now;
        let Self { policy, nodes, streams, sessions, .. } = self;
        let index = nodes.places();
        let all = sessions.values().map(|known| &known.session);
        witnesses::hear(&mut nodes.outlooks, all, policy, now);
        let mut sweep =
            Sweep::begin(policy, now, &mut nodes.outlooks, &streams.outlooks, &index, shifts);
        let free = sessions.iter_mut().filter(|(_, known)| known.is_free);
        let plan = sweep.pass(free.map(|(id, known)| (*id, &mut known.session)));
        let decided = decided(&sweep, now, sessions, &plan, DecidedBy::Foresight);
        let soon = now + policy.lead + PREPARED_WITHIN;
        let moves = |id: &SessionId| sessions.get(id).is_some_and(|known| known.moves());
        let prepared = plan.prepared.iter().filter(|p| p.need <= soon && moves(&p.session));
        let prepared = prepared.map(|prepared| Prepared {
            session: prepared.session,
            around: prepared.around.iter().map(|node| nodes.name(*node)).collect(),
        });
        let prepared = prepared.collect();
        Foreseen { moves: named(decided, nodes), prepared }
    }

    /// The same by what is measured now, once it has been so for as long as the dwell time.
    fn react(&mut self, picture: &Picture<'_>, shifts: &[Shift]) -> Foreseen {
        let (now, dwell) = (picture.now, self.settings.dwell);
        let Self { policy, nodes, streams, sessions, .. } = self;
        let index = nodes.places();
        let mut present: BTreeMap<_, _> = sessions
            .iter()
            .filter(|(_, known)| known.is_free)
            .map(|(id, known)| (*id, known.present(now)))
            .collect();
        let mut sweep =
            Sweep::begin(policy, now, &mut nodes.outlooks, &streams.outlooks, &index, shifts);
        let plan = sweep.pass(present.iter_mut().map(|(id, session)| (*id, session)));
        let wanted: BTreeMap<_, _> =
            plan.moves.iter().map(|move_| (move_.session, move_)).collect();
        // Of whoever cannot be moved just now, what was bad still is.
        for (id, known) in sessions.iter_mut().filter(|(_, known)| known.is_free) {
            let wants = wanted.get(id).filter(|decision| known.may(decision.to, policy, now));
            known.bad_since = wants.map(|_| known.bad_since.unwrap_or(now));
        }
        let long = |id: &SessionId| {
            let known = sessions.get(id).and_then(|known| known.bad_since);
            known.is_some_and(|since| now.since(since) >= dwell)
        };
        let mut plan = plan;
        plan.moves.retain(|decision| long(&decision.session));
        let decided = decided(&sweep, now, sessions, &plan, DecidedBy::Threshold);
        Foreseen { moves: named(decided, nodes), prepared: Vec::new() }
    }

    /// Hand-offs under way, from where each leg is now to where it will be. Of those that are completed, reports tell
    /// already: each leg has been watched for a while where it is.
    fn under_way(&mut self, picture: &Picture<'_>) -> Vec<Shift> {
        let mut shifts = Vec::new();
        for (at, to) in picture.handoffs.shifts() {
            let index = |edge: &Option<NodeId>| edge.as_ref().and_then(|id| self.nodes.find(id));
            let (from, to) = (at.each_ref().map(index), to.each_ref().map(index));
            // A leg that is being recovered is nowhere: it counts where it goes to.
            let [Some(zero), Some(one)] = to else { continue };
            let from = [from[0].unwrap_or(zero), from[1].unwrap_or(one)];
            shifts.push(Shift { from, to: [zero, one], completed: None });
        }
        shifts
    }

    /// A hand-off that was decided here has begun.
    pub fn begun(&mut self, now: MediaTime, id: SessionId, to: &[NodeId; 2], cause: Cause) {
        let to = to.each_ref().map(|edge| self.nodes.find(edge));
        if let ([Some(zero), Some(one)], Some(known)) = (to, self.sessions.get_mut(&id)) {
            known.begins([zero, one], cause, &self.policy, now);
        }
    }

    /// A hand-off has ended, whoever began it. The session's legs are `at` these edges now.
    pub fn ended(
        &mut self,
        now: MediaTime,
        id: SessionId,
        at: [Option<&NodeId>; 2],
        completed: Option<Duration>,
    ) {
        let at = at.map(|edge| edge.and_then(|edge| self.nodes.find(edge)));
        let Some(known) = self.sessions.get_mut(&id) else { return };
        match (completed, at) {
            (Some(took), [Some(zero), Some(one)]) => {
                known.arrives(now, [zero, one], &mut self.nodes);
                self.took += LEAD_SHARE * (took.as_secs_f64() - self.took);
                let lead = Duration::from_secs_f64((self.took * LEAD_MARGIN).clamp(0.0, 60.0));
                self.policy.lead = lead.clamp(*LEADS.start(), *LEADS.end());
            }
            _ => known.stays(),
        }
    }

    /// How far off predictors were: of load in shares of what a node has, of paths in ms.
    pub fn errors(&self) -> (Errors, Errors) {
        let paths = telemetry::path_errors(self.sessions.values().map(|known| &known.session));
        (self.nodes.errors(), paths)
    }

    /// Sessions come, go, and are elsewhere now.
    fn follow_sessions(&mut self, picture: &Picture<'_>) {
        self.nodes.forget_moved();
        for (id, session) in picture.sessions.iter() {
            let known = self.sessions.entry(id).or_default();
            known.follow(picture, (id, session), &self.streams.names, &self.nodes);
            known.count_moved(&mut self.nodes);
        }
    }
}

/// Decisions, with their reasons.
fn decided(
    sweep: &Sweep<'_>,
    now: MediaTime,
    sessions: &BTreeMap<SessionId, Known>,
    plan: &Plan<SessionId>,
    by: DecidedBy,
) -> Vec<(SessionId, [NodeIndex; 2], Cause, Grounds)> {
    let decided = plan.moves.iter().filter_map(|decision| {
        let known = sessions.get(&decision.session)?;
        let grounds = Grounds::weighed(now, by, sweep.why(&known.session, decision));
        Some((decision.session, decision.to, why::cause(decision.cause), grounds))
    });
    decided.collect()
}

fn named(decided: Vec<(SessionId, [NodeIndex; 2], Cause, Grounds)>, nodes: &Nodes) -> Vec<Decided> {
    let name = |(session, to, cause, grounds): (_, [NodeIndex; 2], _, _)| Decided {
        session,
        to: to.map(|node| nodes.name(node)),
        cause,
        grounds,
    };
    decided.into_iter().map(name).collect()
}

/// Nodes by position.
fn places(outlooks: &[gibbon_placement::foresight::NodeOutlook]) -> Index {
    let places = outlooks.iter().enumerate();
    Index::new(places.filter_map(|(n, node)| Some((NodeIndex(n as u32), node.position?))))
}
