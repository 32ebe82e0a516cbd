//! How long a hand-off takes, by the machines that carry it out in real processes (`gibbon_handoff`): a coordinator's
//! executor, a client's hands and the holdings of the new edges exchange their messages over links of a given delay.
//!
//! What happens depends on little (what moves, how far the current group has come, how the new edge behaves), so each case
//! is played once and remembered.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use gibbon_handoff::{
    Cause, FromEdge, InfoSender, Move, Outcome, Plan, Reason, Report, Source, Term, ToClient,
    ToEdge,
    client::{self, Hands, Start},
    coordinator::{self, Executor},
    edge::{self, Holding},
    timers::{ClientTimer, CoordinatorTimer},
};
use gibbon_media::{Description, GroupId, HandoffId, MediaTime, NodeId, SessionId, StreamName};

/// One way between any two, in ms: a metropolitan network, as in `docs/foresight.md`.
const ONE_WAY: Duration = Duration::from_millis(10);
/// Length of a group.
const GROUP: Duration = Duration::from_secs(1);
/// From the first frame of a group until two have come in time, as in the hand-off that `docs/handoff.md` shows.
const TWO_FRAMES: Duration = Duration::from_millis(60);
/// A leg that loses frames is found out after so long: more than 3 lost of the last 64.
const FOUND_OUT: Duration = Duration::from_millis(400);
/// What a hand-off may take at most before it is given up here: every wait of the machines is bounded by less.
const AT_MOST: Duration = Duration::from_secs(120);
/// The beginnings of hand-offs within a group are told apart as finely as this.
const PHASE: Duration = Duration::from_millis(50);

/// How the new edge turns out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// Frames come in time.
    Well,
    /// Frames come, but too many are lost or late for probation.
    Lossy,
    /// It has no room.
    Full,
    /// It does not answer.
    Gone,
}

/// A hand-off, from its order to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crossing {
    /// When the new edge began to fetch each description.
    pub fetched: [Option<Duration>; 2],
    /// When the client left the old edge for the new one, with each description.
    pub attached: [Option<Duration>; 2],
    /// When it ended.
    pub ends: Duration,
    /// Whether every leg is at its new edge then; else all are back.
    pub completed: bool,
}

/// The cases that were played.
#[derive(Debug, Default)]
pub(crate) struct Crossings(BTreeMap<([bool; 2], u64, Fate), Crossing>);

impl Crossings {
    /// What becomes of a hand-off of these descriptions that begins at `now`.
    pub fn of(&mut self, moves: [bool; 2], now: MediaTime, fate: Fate) -> Crossing {
        let phase = now.as_micros() % GROUP.as_micros() as u64 / PHASE.as_micros() as u64;
        let begin = MediaTime(GROUP.as_micros() as u64) + PHASE * phase as u32;
        *self.0.entry((moves, phase, fate)).or_insert_with(|| Play::begin(moves, begin, fate).run())
    }
}

enum Event {
    Timer(CoordinatorTimer, u64),
    ClientTimer(ClientTimer, u64),
    AtEdge(NodeId, edge::Event),
    FromEdge(FromEdge),
    Order(ToClient),
    AtClient(client::Event),
    Report(Report),
}

/// One hand-off under way.
struct Play {
    fate: Fate,
    began: MediaTime,
    now: MediaTime,
    executor: Option<Executor>,
    hands: Hands,
    holdings: BTreeMap<NodeId, Holding>,
    /// Events by time, then by number.
    due: BinaryHeap<Reverse<(MediaTime, u64)>>,
    events: BTreeMap<u64, Event>,
    count: u64,
    /// Timers that are armed, each with the number of its arming.
    armed: BTreeMap<CoordinatorTimer, u64>,
    client_armed: BTreeMap<ClientTimer, u64>,
    out: Crossing,
    over: bool,
}

/// Names are parsed here and nowhere else, of text that stands here.
#[allow(clippy::unwrap_used)]
fn named(old: bool, description: Description) -> NodeId {
    let name = if old { "old".to_owned() } else { format!("new-{}", description.index()) };
    name.parse().unwrap()
}

#[allow(clippy::unwrap_used)]
fn plan(moves: [bool; 2]) -> Plan {
    let moved = |description: Description| Move {
        description,
        from: named(true, description),
        to: named(false, description),
        fetch: Source::FirstEdge,
    };
    let both = [Description::One, Description::Zero].into_iter();
    Plan {
        handoff: HandoffId(1),
        session: SessionId(1),
        stream: "live/sim".parse::<StreamName>().unwrap(),
        term: Term(1),
        first_step: 0,
        cause: Cause::Operator,
        prefetch_info: InfoSender::Coordinator,
        moves: both.filter(|description| moves[description.index()]).map(moved).collect(),
    }
}

impl Play {
    fn begin(moves: [bool; 2], now: MediaTime, fate: Fate) -> Self {
        let old = [Description::Zero, Description::One].map(|description| named(true, description));
        let mut play = Self {
            fate,
            began: now,
            now,
            executor: None,
            hands: Hands::new(old, Vec::new()).0,
            holdings: BTreeMap::new(),
            due: BinaryHeap::new(),
            events: BTreeMap::new(),
            count: 0,
            armed: BTreeMap::new(),
            client_armed: BTreeMap::new(),
            out: Crossing {
                fetched: [None; 2],
                attached: [None; 2],
                ends: AT_MOST,
                completed: false,
            },
            over: false,
        };
        for description in Description::BOTH {
            let edge = named(true, description);
            play.hands.handle(client::Event::InTime { description, edge });
        }
        // What is not to be moved is no hand-off: nothing happens.
        if let Ok((executor, actions)) = Executor::new(plan(moves)) {
            play.executor = Some(executor);
            play.coordinator_does(actions);
        }
        play
    }

    fn run(mut self) -> Crossing {
        while !self.over
            && let Some(Reverse((at, number))) = self.due.pop()
            && at.since(self.began) < AT_MOST
        {
            self.now = at;
            if let Some(event) = self.events.remove(&number) {
                self.take(event);
            }
        }
        self.out
    }

    fn at(&mut self, at: MediaTime, event: Event) {
        self.count += 1;
        self.events.insert(self.count, event);
        self.due.push(Reverse((at, self.count)));
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Timer(timer, number) => {
                if self.armed.get(&timer) == Some(&number) {
                    self.executor_takes(coordinator::Event::Timer(timer));
                }
            }
            Event::ClientTimer(timer, number) => {
                if self.client_armed.get(&timer) == Some(&number) {
                    self.hands_take(client::Event::Timer(timer));
                }
            }
            Event::AtEdge(edge, event) => self.holding_takes(edge, event),
            Event::FromEdge(message) => self.executor_takes(coordinator::Event::Edge(message)),
            Event::Order(order) => {
                let next = self.next_group();
                self.hands_take(client::Event::Order { order, next });
            }
            Event::AtClient(event) => self.hands_take(event),
            Event::Report(report) => self.executor_takes(coordinator::Event::Client(report)),
        }
    }

    /// The first that has not begun.
    fn next_group(&self) -> GroupId {
        GroupId(self.now.as_micros().div_ceil(GROUP.as_micros() as u64))
    }

    fn executor_takes(&mut self, event: coordinator::Event) {
        let actions =
            self.executor.as_mut().map(|executor| executor.handle(event)).unwrap_or_default();
        self.coordinator_does(actions);
    }

    fn coordinator_does(&mut self, actions: Vec<coordinator::Action>) {
        for action in actions {
            match action {
                coordinator::Action::SendToEdge { edge, message, .. } => {
                    self.tell_edge(edge, message)
                }
                coordinator::Action::SendToClient(order) => {
                    self.after(ONE_WAY, Event::Order(order))
                }
                coordinator::Action::SetTimer(timer) => {
                    self.armed.insert(timer, self.count + 1);
                    self.after(timer.duration(GROUP), Event::Timer(timer, self.count + 1));
                }
                coordinator::Action::CancelTimer(timer) => drop(self.armed.remove(&timer)),
                coordinator::Action::Progress(_) => {}
                coordinator::Action::Finished(outcome) => {
                    self.out.ends = self.now.since(self.began);
                    self.out.completed = outcome == Outcome::Completed;
                    self.over = true;
                }
            }
        }
    }

    fn tell_edge(&mut self, edge: NodeId, message: ToEdge) {
        if self.fate != Fate::Gone {
            self.after(ONE_WAY, Event::AtEdge(edge, edge::Event::Order(message)));
        }
    }

    fn holding_takes(&mut self, edge: NodeId, event: edge::Event) {
        let actions = self.holdings.entry(edge.clone()).or_default().handle(event);
        for action in actions {
            match action {
                edge::Action::Fetch { description, .. } => self.fetch(&edge, description),
                edge::Action::Settle { description } => {
                    let boundary = MediaTime(self.next_group().0 * GROUP.as_micros() as u64);
                    self.at(
                        boundary,
                        Event::AtEdge(edge.clone(), edge::Event::Settled { description }),
                    );
                }
                edge::Action::Reply(message) => self.after(ONE_WAY, Event::FromEdge(message)),
                edge::Action::Drop { .. } | edge::Action::SetTimer => {}
            }
        }
    }

    fn fetch(&mut self, edge: &NodeId, description: Description) {
        let event = match self.fate {
            Fate::Full => edge::Event::NotFetched { description, reason: Reason::Full },
            _ => {
                self.out.fetched[description.index()].get_or_insert(self.now.since(self.began));
                edge::Event::Fetched { description, group: self.next_group() }
            }
        };
        self.after(ONE_WAY * 2, Event::AtEdge(edge.clone(), event));
    }

    fn hands_take(&mut self, event: client::Event) {
        for action in self.hands.handle(event) {
            match action {
                client::Action::Subscribe { description, edge, start } => {
                    self.subscribe(description, edge, start);
                }
                client::Action::Cancel { description, edge } => {
                    let cancelled = edge::Event::Cancelled { description };
                    self.after(ONE_WAY, Event::AtEdge(edge, cancelled));
                }
                client::Action::CloseConnection { edge } => {
                    self.after(ONE_WAY, Event::AtEdge(edge, edge::Event::Closed));
                }
                client::Action::Report(report) => self.after(ONE_WAY, Event::Report(report)),
                client::Action::SetTimer(timer) => self.arm(timer),
                client::Action::CancelTimer(timer) => drop(self.client_armed.remove(&timer)),
                client::Action::Note(client::Note::Attached { description, edge, .. }) => {
                    if edge == named(false, description) {
                        self.out.attached[description.index()] = Some(self.now.since(self.began));
                    }
                }
                client::Action::End { .. } | client::Action::Note(_) => {}
            }
        }
    }

    fn arm(&mut self, timer: ClientTimer) {
        let begins = match timer {
            ClientTimer::Attach { start: Start::At(group), .. } => {
                self.start_of(group).max(self.now)
            }
            _ => self.now,
        };
        self.client_armed.insert(timer, self.count + 1);
        self.at(begins + timer.duration(GROUP, 0.5), Event::ClientTimer(timer, self.count + 1));
    }

    fn start_of(&self, group: GroupId) -> MediaTime {
        MediaTime(group.0 * GROUP.as_micros() as u64)
    }

    fn subscribe(&mut self, description: Description, edge: NodeId, start: Start) {
        let there = Event::AtEdge(edge.clone(), edge::Event::Subscribed { description });
        self.after(ONE_WAY, there);
        let first = match start {
            Start::Live => self.now + ONE_WAY,
            Start::At(group) => self.start_of(group).max(self.now + ONE_WAY),
        };
        let in_time = first + ONE_WAY + TWO_FRAMES;
        let bad = self.fate == Fate::Lossy && edge == named(false, description);
        self.at(
            in_time,
            Event::AtClient(client::Event::InTime { description, edge: edge.clone() }),
        );
        if bad {
            let event = client::Event::Bad { description, edge, reason: Reason::Lossy };
            self.at(in_time + FOUND_OUT, Event::AtClient(event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_phase(ms: u64) -> MediaTime {
        MediaTime(7_000_000 + ms * 1000)
    }

    #[test]
    fn a_hand_off_takes_as_long_as_between_real_processes() {
        // The one in docs/handoff.md began 745 ms into a group, on links of 1 ms: attached after 315 ms, held after
        // 1315, the other description attached after 2315, completed after 3316.
        let crossing = Crossings::default().of([true; 2], at_phase(745), Fate::Well);
        let ms = |time: Option<Duration>| time.unwrap().as_millis() as i64;
        assert!(crossing.completed);
        assert!((ms(crossing.attached[1]) - 315).abs() < 100, "{crossing:?}");
        assert!((ms(crossing.attached[0]) - 2315).abs() < 150, "{crossing:?}");
        assert!((crossing.ends.as_millis() as i64 - 3316).abs() < 250, "{crossing:?}");
    }

    #[test]
    fn one_leg_takes_half_as_long_as_two_and_nothing_takes_longer_than_a_few_groups() {
        let mut crossings = Crossings::default();
        for phase in (0..1000).step_by(50) {
            let one = crossings.of([false, true], at_phase(phase), Fate::Well);
            let two = crossings.of([true; 2], at_phase(phase), Fate::Well);
            assert!(one.completed && two.completed, "{phase}");
            assert!(one.attached[0].is_none() && one.attached[1] == two.attached[1]);
            assert!((1.0..=2.3).contains(&one.ends.as_secs_f64()), "{one:?}");
            assert!((3.0..=4.5).contains(&two.ends.as_secs_f64()), "{two:?}");
        }
    }

    #[test]
    fn a_bad_new_edge_ends_a_hand_off_without_completing_it() {
        let mut crossings = Crossings::default();
        let mut ends = |fate| {
            let crossing = crossings.of([true; 2], at_phase(300), fate);
            assert!(!crossing.completed, "{fate:?}");
            (crossing.ends.as_secs_f64(), crossing.fetched[1].is_some())
        };
        let (full, fetched) = ends(Fate::Full);
        assert!(full < 0.1 && !fetched, "told at once");
        let (gone, fetched) = ends(Fate::Gone);
        assert!((2.5..3.5).contains(&gone) && !fetched, "after three tries of a second: {gone}");
        let (lossy, fetched) = ends(Fate::Lossy);
        assert!((1.0..3.0).contains(&lossy) && fetched, "found out on probation: {lossy}");
    }
}
