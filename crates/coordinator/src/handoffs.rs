//! Hand-offs under way and ended: runs the executors, keeps their timers, tells what happens.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use gibbon_control::{
    portal::{Event as PortalEvent, HandoffInfo, HandoffOutcome, HandoffWhy, ProgressInfo},
    viewing::HandoffGap,
};
use gibbon_handoff::{
    Cause, Move, Outcome, Plan, ToClient, ToEdge,
    coordinator::{Action, Event, Executor, Progress},
    timers::CoordinatorTimer,
};
use gibbon_media::{Description, HandoffId, MediaTime, NodeId, SessionId};
use gibbon_monitor::otlp;
use tracing::field::Empty;

use crate::why::Grounds;

/// Ended hand-offs that are remembered.
pub const MAX_HISTORY: usize = 1000;
/// Steps remembered of one hand-off. Its orders and their repetitions are bounded; this is above them.
pub const MAX_PROGRESS: usize = 128;

/// What the executors want done.
#[derive(Debug)]
pub enum Effect {
    /// Tell an edge something, through `via` if that is named.
    ToEdge {
        /// The session handed off.
        session: SessionId,
        /// The edge.
        edge: NodeId,
        /// The edge that passes it on.
        via: Option<NodeId>,
        /// What to tell it.
        order: ToEdge,
    },
    /// Tell a session's client something.
    ToClient {
        /// The session.
        session: SessionId,
        /// What to tell it.
        order: ToClient,
    },
    /// Tell those who watch.
    Event(PortalEvent),
    /// A hand-off has ended.
    Ended(Box<HandoffInfo>),
}

/// One that has ended.
#[derive(Debug)]
struct Past {
    info: HandoffInfo,
    grounds: Grounds,
    /// Whether all that it has cost the viewer has been told.
    settled: bool,
}

#[derive(Debug)]
struct Running {
    executor: Executor,
    info: HandoffInfo,
    grounds: Grounds,
    /// Length of a group of the stream: what the waits are made of.
    group: Duration,
    timer: Option<(CoordinatorTimer, MediaTime)>,
    span: tracing::Span,
    /// Of the crossing of each description.
    steps: [Option<tracing::Span>; 2],
}

/// All hand-offs; at most one per session is running.
#[derive(Debug, Default)]
pub struct Handoffs {
    running: BTreeMap<SessionId, Running>,
    ended: VecDeque<Past>,
    /// Above every step of every hand-off that has ended. So the steps of one session rise from hand-off
    /// to hand-off, also where the session was out of sight in between.
    next_step: u64,
}

impl Handoffs {
    /// The first step of a hand-off that is to begin now.
    pub fn next_step(&self) -> u64 {
        self.next_step
    }

    /// An order about a session that is no part of a hand-off takes a step, too: those of its next one come after it.
    pub fn take_step(&mut self) -> u64 {
        self.next_step += 1;
        self.next_step - 1
    }

    /// Takes up a hand-off that has just `begun`, decided on these grounds; `group` is the length of the stream's
    /// groups. The session has no other under way.
    pub fn start(
        &mut self,
        now: MediaTime,
        begun: (Executor, Vec<Action>),
        grounds: Grounds,
        group: Duration,
    ) -> (HandoffInfo, Vec<Effect>) {
        let (executor, actions) = begun;
        let plan = executor.plan();
        let (handoff, session) = (plan.handoff, plan.session);
        let span = tracing::info_span!(
            otlp::HANDOFF,
            %handoff, %session, stream = %plan.stream, cause = ?plan.cause, outcome = Empty
        );
        span.in_scope(|| {
            let (because, why) = (&grounds.told.because, &grounds.selection);
            tracing::info!(cause = ?plan.cause, because, why, "hand-off");
        });
        let info = describe(plan, grounds.selection.clone());
        let steps = [None, None];
        let mut running = Running { executor, info, grounds, group, timer: None, span, steps };
        let mut effects = Vec::new();
        running.carry_out(now, actions, &mut effects);
        let info = running.info.clone();
        self.running.insert(session, running);
        (info, effects)
    }

    /// Tells the executor of a session something, if a hand-off is under way.
    pub fn handle(&mut self, now: MediaTime, session: SessionId, event: Event) -> Vec<Effect> {
        let Some(running) = self.running.get_mut(&session) else { return Vec::new() };
        let mut effects = Vec::new();
        let actions = running.executor.handle(event);
        running.carry_out(now, actions, &mut effects);
        if running.info.outcome != HandoffOutcome::Running
            && let Some(ended) = self.running.remove(&session)
        {
            self.next_step = self.next_step.max(ended.executor.next_step());
            effects.push(Effect::Ended(Box::new(ended.info.clone())));
            if self.ended.len() == MAX_HISTORY {
                self.ended.pop_front();
            }
            let Running { info, grounds, .. } = ended;
            self.ended.push_back(Past { info, grounds, settled: false });
        }
        effects
    }

    /// Tells every executor that a node is lost.
    pub fn node_lost(&mut self, now: MediaTime, node: &NodeId) -> Vec<Effect> {
        let sessions: Vec<_> = self.running.keys().copied().collect();
        let lost = |session| self.handle(now, session, Event::NodeLost(node.clone()));
        sessions.into_iter().flat_map(lost).collect()
    }

    /// Fires the timers that are due.
    pub fn handle_time(&mut self, now: MediaTime) -> Vec<Effect> {
        let due = |r: &mut Running| r.timer.take_if(|(_, at)| *at <= now).map(|(timer, _)| timer);
        let due: Vec<_> =
            self.running.iter_mut().filter_map(|(id, r)| Some((*id, due(r)?))).collect();
        let fire = |(session, timer)| self.handle(now, session, Event::Timer(timer));
        due.into_iter().flat_map(fire).collect()
    }

    /// The hand-off of a session that is under way.
    pub fn of_session(&self, session: SessionId) -> Option<HandoffId> {
        self.running.get(&session).map(|running| running.info.handoff)
    }

    /// For how long the hand-off of a session has been under way; nothing if none is.
    pub fn under_way(&self, now: MediaTime, session: SessionId) -> Duration {
        let selected = self.running.get(&session).and_then(|r| r.info.progress.first());
        selected.map_or(Duration::ZERO, |step| now.since(MediaTime(step.at_us)))
    }

    /// How many are under way.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Legs on their way to each edge and not there yet, by description.
    pub fn legs_coming(&self) -> BTreeMap<NodeId, [u32; 2]> {
        let mut coming: BTreeMap<_, [u32; 2]> = BTreeMap::new();
        for (leg, legs) in self.moves() {
            let d = leg.description.index();
            if legs[d].as_ref() != Some(&leg.to) {
                coming.entry(leg.to.clone()).or_default()[d] += 1;
            }
        }
        coming
    }

    /// Legs on their way from each edge and still there.
    pub fn legs_leaving(&self) -> BTreeMap<NodeId, u32> {
        let mut leaving = BTreeMap::new();
        for (leg, legs) in self.moves() {
            if legs[leg.description.index()].as_ref().is_none_or(|at| *at == leg.from) {
                *leaving.entry(leg.from.clone()).or_default() += 1;
            }
        }
        leaving
    }

    /// Hand-offs under way from each edge, by the cause they have.
    pub fn running_from(&self) -> BTreeMap<NodeId, Vec<Cause>> {
        let mut running: BTreeMap<NodeId, Vec<Cause>> = BTreeMap::new();
        for info in self.running.values().map(|running| &running.info) {
            running.entry(info.from.clone()).or_default().push(info.cause);
        }
        running
    }

    /// Every move under way, and where its session's legs are as far as the client has told.
    fn moves(&self) -> impl Iterator<Item = (&Move, &[Option<NodeId>; 2])> {
        self.running.values().flat_map(|running| {
            let legs = running.executor.legs();
            running.executor.plan().moves.iter().map(move |leg| (leg, legs))
        })
    }

    /// One hand-off, running or remembered.
    pub fn find(&self, id: HandoffId) -> Option<&HandoffInfo> {
        self.iter().rev().find(|info| info.handoff == id)
    }

    /// What a hand-off was decided from.
    pub fn why(&self, id: HandoffId) -> Option<HandoffWhy> {
        let ended = self.ended.iter().rev().map(|past| (&past.info, &past.grounds));
        let running = self.running.values().map(|running| (&running.info, &running.grounds));
        let (info, grounds) = ended.chain(running).find(|(info, _)| info.handoff == id)?;
        Some(grounds.told(info))
    }

    /// Of each hand-off under way, where the legs are as far as the client has told, and where they will be.
    pub fn shifts(&self) -> impl Iterator<Item = (&[Option<NodeId>; 2], [Option<NodeId>; 2])> {
        self.running.values().map(|running| {
            let legs = running.executor.legs();
            let mut to = legs.clone();
            for leg in &running.executor.plan().moves {
                to[leg.description.index()] = Some(leg.to.clone());
            }
            (legs, to)
        })
    }

    /// Legs that are at their new edge already, of hand-offs for load that are under way: from where, and where.
    pub fn relieved(&self) -> impl Iterator<Item = (&NodeId, &NodeId)> {
        let for_load = |info: &HandoffInfo| info.cause == Cause::Load;
        let arrived = |(leg, legs): &(&Move, &[Option<NodeId>; 2])| {
            legs[leg.description.index()].as_ref() == Some(&leg.to)
        };
        let running = self.running.values().filter(move |running| for_load(&running.info));
        running
            .flat_map(|running| {
                let legs = running.executor.legs();
                running.executor.plan().moves.iter().map(move |leg| (leg, legs))
            })
            .filter(arrived)
            .map(|(leg, _)| (&leg.from, &leg.to))
    }

    /// The client of `session` says what a hand-off has cost so far. Returns its cause, once: when it has ended and
    /// all that it has cost is known.
    pub fn costs(&mut self, session: SessionId, told: &HandoffGap) -> Option<Cause> {
        let is_meant = |info: &HandoffInfo| info.handoff == told.handoff && info.session == session;
        if let Some(running) = self.running.get_mut(&session).filter(|r| is_meant(&r.info)) {
            running.info.viewer_gap = Some(told.gap);
            return None;
        }
        let past = self.ended.iter_mut().rev().find(|past| is_meant(&past.info))?;
        past.info.viewer_gap = Some(told.gap);
        let settles = told.settled && !std::mem::replace(&mut past.settled, true);
        settles.then_some(past.info.cause)
    }

    /// All hand-offs, the newest ended last, then those running.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &HandoffInfo> {
        self.ended
            .iter()
            .map(|past| &past.info)
            .chain(self.running.values().map(|running| &running.info))
    }
}

impl Running {
    fn carry_out(&mut self, now: MediaTime, actions: Vec<Action>, out: &mut Vec<Effect>) {
        for action in actions {
            self.act(now, action, out);
        }
    }

    fn act(&mut self, now: MediaTime, action: Action, out: &mut Vec<Effect>) {
        let session = self.info.session;
        match action {
            Action::SendToEdge { edge, via, message } => {
                out.push(Effect::ToEdge { session, edge, via, order: message });
            }
            Action::SendToClient(order) => {
                self.tell(order_step(now, &order), out);
                out.push(Effect::ToClient { session, order });
            }
            Action::SetTimer(timer) => self.timer = Some((timer, now + timer.duration(self.group))),
            Action::CancelTimer(timer) => {
                self.timer.take_if(|(armed, _)| *armed == timer);
            }
            Action::Progress(progress) => {
                if let Some(step) = progress_step(now, progress) {
                    self.tell(step, out);
                }
            }
            Action::Finished(outcome) => {
                let (stands, reason) = match outcome {
                    Outcome::Completed => (HandoffOutcome::Completed, None),
                    Outcome::RolledBack { reason } => (HandoffOutcome::RolledBack, Some(reason)),
                    Outcome::Failed { reason } => (HandoffOutcome::Failed, Some(reason)),
                };
                (self.info.outcome, self.info.reason) = (stands, reason);
                self.span.record("outcome", stands.as_str());
                self.tell(ProgressInfo { reason, ..step(now, stands.as_str()) }, out);
            }
        }
    }

    fn tell(&mut self, mut progress: ProgressInfo, out: &mut Vec<Effect>) {
        // Steps of one instant keep their order also where they are sorted by time.
        let last = self.info.progress.last().map_or(0, |last| last.at_us);
        progress.at_us = progress.at_us.max(last + 1);
        self.span.in_scope(|| {
            tracing::info!(
                step = progress.step,
                description = progress.description.map(u8::from),
                edge = progress.edge.as_ref().map(NodeId::as_str),
                group = progress.group.map(|group| group.0),
                reason = progress.reason.map(tracing::field::debug),
                "hand-off"
            );
        });
        self.trace(&progress);
        let (handoff, session) = (self.info.handoff, self.info.session);
        out.push(Effect::Event(PortalEvent::Handoff {
            handoff,
            session,
            progress: progress.clone(),
        }));
        if self.info.progress.len() < MAX_PROGRESS {
            self.info.progress.push(progress);
        }
    }

    /// The crossing of a description lasts until its client holds it and its edge has settled.
    fn trace(&mut self, progress: &ProgressInfo) {
        let (handoff, before) = (self.info.handoff, &self.info.progress);
        let Some(description) = progress.description else { return };
        let step = &mut self.steps[description.index()];
        let was = |name: &str| {
            before.iter().any(|p| p.step == name && p.description == Some(description))
        };
        match progress.step.as_str() {
            "prefetch_sent" if step.is_none() => {
                let edge = progress.edge.as_ref().map(NodeId::as_str);
                *step = Some(tracing::info_span!(otlp::STEP, %handoff, %description, edge));
            }
            "held" if was("settled") => *step = None,
            "settled" if was("held") => *step = None,
            _ => {}
        }
    }
}

fn describe(plan: &Plan, selection: String) -> HandoffInfo {
    // A plan that is carried out has a move.
    let first = &plan.moves[0];
    HandoffInfo {
        handoff: plan.handoff,
        session: plan.session,
        cause: plan.cause,
        from: first.from.clone(),
        to: first.to.clone(),
        moves: plan.moves.clone(),
        selection,
        prefetch_info: plan.prefetch_info,
        outcome: HandoffOutcome::Running,
        reason: None,
        viewer_gap: None,
        progress: Vec::new(),
    }
}

fn step(now: MediaTime, name: &str) -> ProgressInfo {
    ProgressInfo {
        step: name.to_owned(),
        description: None,
        edge: None,
        group: None,
        reason: None,
        at_us: now.as_micros(),
    }
}

fn order_step(now: MediaTime, order: &ToClient) -> ProgressInfo {
    match order.clone() {
        ToClient::Attach { description, to, start, .. } => ProgressInfo {
            description: Some(description),
            edge: Some(to),
            group: Some(start),
            ..step(now, "attach_sent")
        },
        ToClient::Return { description, to, .. } => ProgressInfo {
            description: Some(description),
            edge: Some(to),
            ..step(now, "return_sent")
        },
        ToClient::Finish { edge, .. } => {
            ProgressInfo { edge: Some(edge), ..step(now, "finish_sent") }
        }
    }
}

/// `None` for what is no step of a hand-off.
fn progress_step(now: MediaTime, progress: Progress) -> Option<ProgressInfo> {
    let of = |description: Description, name| ProgressInfo {
        description: Some(description),
        ..step(now, name)
    };
    Some(match progress {
        Progress::Selected { moves, .. } => {
            let edge = moves.first().map(|leg| leg.to.clone());
            ProgressInfo { edge, ..step(now, "selected") }
        }
        Progress::PrefetchSent { description, edge, .. } => {
            ProgressInfo { edge: Some(edge), ..of(description, "prefetch_sent") }
        }
        Progress::Ready { description, group } => {
            ProgressInfo { group: Some(group), ..of(description, "ready") }
        }
        Progress::Attached { description, edge, start } => {
            ProgressInfo { edge: Some(edge), group: Some(start), ..of(description, "attached") }
        }
        Progress::Held { description } => of(description, "held"),
        Progress::Settled { description } => of(description, "settled"),
        Progress::RollingBack { reason } => {
            ProgressInfo { reason: Some(reason), ..step(now, "rolling_back") }
        }
        Progress::Closed { edge } => ProgressInfo { edge: Some(edge), ..step(now, "closed") },
        Progress::Legs { .. } => return None,
    })
}
