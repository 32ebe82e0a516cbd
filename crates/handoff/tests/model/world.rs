//! The world of the model: the real machines, a lossy network between them, and what can befall both.

use std::{collections::BTreeSet, sync::Arc};

use gibbon_handoff::{
    FromEdge, Outcome, Plan, Reason, Report, Term, ToClient, ToEdge,
    client::{self, Hands, Start},
    coordinator::{self, Executor},
    edge::{self, Holding, Leg},
    timers::{ClientTimer, CoordinatorTimer},
};
use gibbon_media::{Description, GroupId, NodeId};

/// Group ids run from 0 to this one.
pub const LAST_GROUP: GroupId = GroupId(3);

/// The old edge.
pub const A: usize = 0;
/// The new edge.
pub const B: usize = 1;
/// And the client's standby.
pub const STANDBY: usize = 2;
pub const EDGES: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub plan: Arc<Plan>,
    /// None while the coordinator is down.
    pub coordinator: Option<Arc<Executor>>,
    pub client: Arc<Hands>,
    pub edges: [Site; EDGES],
    /// By link, and in order on each. Equal messages are one.
    pub flying: Vec<Flying>,
    pub timers: BTreeSet<Armed>,
    /// The newest report that the coordinator which is up has seen.
    pub seen: u64,
    /// The group at the live edge.
    pub now: GroupId,
    pub faults: u8,
    /// How often the edges may still wish for something.
    pub wishes: u8,
    /// Whether they have, so that the client has moved on its own account.
    pub moved_itself: bool,
    /// Whether a description was to be taken back.
    pub taken_back: bool,
    /// Whether a fault has befallen an edge or its legs, so that the client may act on its own.
    pub troubled: bool,
    /// Whether the coordinator that is up has missed a report.
    pub report_missed: bool,
    /// What a step did that no state shows.
    pub sins: BTreeSet<Sin>,
}

/// A message in flight.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flying {
    pub message: Message,
    /// Timers may overtake it.
    pub delayed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    pub name: NodeId,
    pub up: bool,
    /// Whether it wants to be left: then it takes no legs of sessions it has nothing of.
    pub leaving: bool,
    pub holding: Holding,
    /// Whether the client has a connection to it.
    pub connected: bool,
    /// The client's view of its legs here, by description.
    pub flows: [Flow; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flow {
    None,
    Asked { from: GroupId },
    InTime { from: GroupId },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sin {
    EndedEarly,
    LeftGap,
    ClosedEarly,
    /// The new edge still depends on the old one, or a leg is elsewhere as far as is known.
    CompletedTooSoon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Armed {
    Coordinator(CoordinatorTimer),
    Client(ClientTimer),
    Edge(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    ToEdge {
        edge: usize,
        via: Option<usize>,
        message: ToEdge,
    },
    FromEdge {
        via: Option<usize>,
        message: FromEdge,
    },
    ToClient(ToClient),
    Report(Report),
    /// Within an edge: arrives unless it crashes.
    Fetched {
        edge: usize,
        description: Description,
    },
    Settled {
        edge: usize,
        description: Description,
    },
    /// Within the client: arrives.
    Closed {
        edge: usize,
    },
    Rejected {
        edge: usize,
        description: Description,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    Subscribe,
    End,
    Cancel,
    Close,
}

impl Message {
    /// Messages on one link arrive in order, unless one is delayed.
    pub fn link(&self) -> (u8, usize) {
        match self {
            Message::ToEdge { edge, via, .. } => (if via.is_some() { 1 } else { 0 }, *edge),
            Message::FromEdge { via, .. } => (2, usize::from(via.is_some())),
            Message::ToClient(_) => (3, 0),
            Message::Report(_) => (4, 0),
            Message::Fetched { edge, description } => (5, edge * 2 + description.index()),
            Message::Settled { edge, description } => (6, edge * 2 + description.index()),
            Message::Closed { edge } => (7, *edge),
            Message::Rejected { edge, description } => (8, edge * 2 + description.index()),
        }
    }

    /// Whether it crosses the network by itself.
    pub fn is_order_or_report(&self) -> bool {
        use Message::{FromEdge, Report, ToClient, ToEdge};
        matches!(self, ToEdge { .. } | FromEdge { .. } | ToClient(_) | Report(_))
    }
}

impl World {
    /// A session whose descriptions 0 and 1 are at the edges `at`.
    pub fn new(plan: Plan, names: [NodeId; EDGES], at: [usize; 2], faults: u8, wishes: u8) -> Self {
        let standbys = vec![names[STANDBY].clone()];
        let (mut client, _) = Hands::new(at.map(|edge| names[edge].clone()), standbys);
        let mut edges = names.map(Site::new);
        for (description, edge) in Description::BOTH.into_iter().zip(at) {
            let site = &mut edges[edge];
            let edge = site.name.clone();
            client.handle(client::Event::InTime { description, edge });
            site.connected = true;
            site.flows[description.index()] = Flow::InTime { from: GroupId(0) };
            site.holding.handle(edge::Event::Subscribed { description });
        }
        let (coordinator, actions) = Executor::new(plan.clone()).unwrap();
        let mut world = Self {
            plan: Arc::new(plan),
            coordinator: Some(Arc::new(coordinator)),
            client: Arc::new(client),
            edges,
            flying: Vec::new(),
            timers: BTreeSet::new(),
            seen: 0,
            now: GroupId(0),
            faults,
            wishes,
            moved_itself: false,
            taken_back: false,
            troubled: false,
            report_missed: false,
            sins: BTreeSet::new(),
        };
        world.coordinator_does(actions);
        // The session has been running for a while: its legs are known.
        world.deliver(Message::Report(world.client.report()));
        world
    }

    /// The end of the hand-off, as far as the coordinator that is up knows it.
    pub fn outcome(&self) -> Option<Outcome> {
        self.coordinator.as_ref().and_then(|executor| executor.outcome())
    }

    fn send(&mut self, message: Message) {
        // Sending a message again while it is in flight adds nothing.
        if !self.flying.iter().any(|flying| flying.message == message) {
            self.flying.push(Flying { message, delayed: false });
        }
    }

    /// Whether an armed timer may run out: only delayed messages are still in flight, a leg's start has
    /// begun, and an edge's time to live is longer than any hand-off.
    pub fn may_fire(&self, timer: Armed) -> bool {
        let due = match timer {
            Armed::Client(ClientTimer::Attach { start: Start::At(group), .. }) => group <= self.now,
            // They come last in the order of timers. What one edge lets go of concerns no other: the
            // order among them is of no account.
            Armed::Edge(_) => self.timers.first() == Some(&timer),
            _ => true,
        };
        due && self.flying.iter().all(|flying| flying.delayed)
    }

    /// Whether a timer that runs out now overtakes frames that could arrive: they are delayed.
    pub fn is_overtaking(&self, timer: Armed) -> bool {
        let Armed::Client(ClientTimer::Attach { description, .. }) = timer else { return false };
        (0..EDGES).any(|edge| self.can_arrive(edge, description))
    }

    /// Whether a party or a leg may still fail: not after the hand-off has ended.
    pub fn can_fail(&self) -> bool {
        self.faults > 0 && self.outcome().is_none()
    }

    /// No message in flight and no timer armed.
    pub fn is_quiet(&self) -> bool {
        self.coordinator.is_some() && self.flying.is_empty() && self.timers.is_empty()
    }

    fn index(&self, name: &NodeId) -> usize {
        self.edges.iter().position(|site| site.name == *name).unwrap()
    }

    /// A message arrives.
    pub fn deliver(&mut self, message: Message) {
        match message {
            Message::ToEdge { edge, via, message } => {
                if self.is_up(via) && self.edges[edge].up {
                    self.edge_event(edge, via, edge::Event::Order(message));
                }
            }
            Message::FromEdge { via, message } => {
                if self.is_up(via) {
                    self.coordinator_event(coordinator::Event::Edge(message));
                }
            }
            Message::ToClient(order) => {
                let next = self.next();
                self.client_event(client::Event::Order { order, next });
            }
            Message::Report(report) => {
                if self.coordinator.is_some() {
                    self.seen = self.seen.max(report.revision);
                }
                self.coordinator_event(coordinator::Event::Client(report));
            }
            Message::Fetched { edge, description } => {
                let group = self.next();
                self.edge_event(edge, None, edge::Event::Fetched { description, group });
            }
            Message::Settled { edge, description } => {
                self.edge_event(edge, None, edge::Event::Settled { description });
            }
            Message::Closed { edge } => {
                self.edges[edge].connected = false;
                self.edges[edge].flows = [Flow::None; 2];
                let edge = self.edges[edge].name.clone();
                self.client_event(client::Event::Closed { edge });
            }
            Message::Rejected { edge, description } => {
                self.edges[edge].flows[description.index()] = Flow::None;
                let edge = self.edges[edge].name.clone();
                self.client_event(client::Event::Rejected { description, edge });
            }
        }
    }

    fn is_up(&self, via: Option<usize>) -> bool {
        via.is_none_or(|edge| self.edges[edge].up)
    }

    /// The client asks something of an edge, on the stream of the leg. It arrives: where an edge crashes
    /// before that is told by the crash alone.
    fn request(&mut self, edge: usize, description: Description, request: Request) {
        let site = &self.edges[edge];
        let knows = Description::BOTH.iter().any(|d| site.holding.leg(*d) != Leg::None);
        if !site.up || request == Request::Subscribe && site.leaving && !knows {
            if request == Request::Subscribe {
                self.send(Message::Rejected { edge, description });
            }
            return;
        }
        let event = match request {
            Request::Subscribe => edge::Event::Subscribed { description },
            Request::End => edge::Event::Ended { description },
            Request::Cancel => edge::Event::Cancelled { description },
            Request::Close => edge::Event::Closed,
        };
        self.edge_event(edge, None, event);
    }

    /// A timer runs out.
    pub fn fire(&mut self, timer: Armed) {
        self.timers.remove(&timer);
        match timer {
            Armed::Coordinator(timer) => self.coordinator_event(coordinator::Event::Timer(timer)),
            Armed::Client(timer) => self.client_event(client::Event::Timer(timer)),
            Armed::Edge(edge) => {
                self.edge_event(edge, None, edge::Event::Expired);
            }
        }
    }

    /// The frames of a leg that is being added arrive in time.
    pub fn frames_arrive(&mut self, edge: usize, description: Description) {
        let flow = &mut self.edges[edge].flows[description.index()];
        if let Flow::Asked { from } = *flow {
            *flow = Flow::InTime { from };
        }
        let edge = self.edges[edge].name.clone();
        self.client_event(client::Event::InTime { description, edge });
    }

    /// Whether [`frames_arrive`](Self::frames_arrive) can happen.
    pub fn can_arrive(&self, edge: usize, description: Description) -> bool {
        let site = &self.edges[edge];
        matches!(site.flows[description.index()], Flow::Asked { from } if from <= self.now)
            && site.up
            && site.holding.leg(description) == Leg::Serving
    }

    /// The client finds a leg silent.
    pub fn starve(&mut self, edge: usize, description: Description) {
        let edge = self.edges[edge].name.clone();
        let reason = Reason::Starved;
        self.client_event(client::Event::Bad { description, edge, reason });
    }

    /// An edge says, perhaps again, that it wants to be left; or the client's shell repeats it.
    pub fn go_away(&mut self, edge: usize) {
        self.edges[edge].leaving = true;
        let event = self.goaway_of(edge);
        self.client_event(event);
    }

    pub fn goaway_of(&self, edge: usize) -> client::Event {
        client::Event::GoAway { edge: self.edges[edge].name.clone(), next: [self.next(); 2] }
    }

    /// A wish of an edge comes to the client, if it makes a difference.
    pub fn grant_wish(&mut self, wish: impl FnOnce(&mut Self)) -> Option<()> {
        let before = (self.client.clone(), self.edges.clone());
        wish(self);
        if before == (self.client.clone(), self.edges.clone()) {
            return None;
        }
        self.wishes -= 1;
        self.moved_itself = true;
        Some(())
    }

    /// And that it does not, after all.
    pub fn stay(&mut self, edge: usize) {
        self.edges[edge].leaving = false;
        let edge = self.edges[edge].name.clone();
        self.client_event(client::Event::Stays { edge });
    }

    pub fn crash_edge(&mut self, edge: usize, with_orders: bool) {
        let site = &mut self.edges[edge];
        site.up = false;
        site.holding = Holding::default();
        self.troubled = true;
        let is_report = |flying: &Flying| matches!(flying.message, Message::Report(_));
        self.report_missed |= with_orders && self.flying.iter().any(is_report);
        self.timers.remove(&Armed::Edge(edge));
        self.flying.retain(|flying| match &flying.message {
            Message::Fetched { edge: at, .. } | Message::Settled { edge: at, .. } => *at != edge,
            // They may have been on their way through it.
            Message::ToClient(_) | Message::Report(_) => !with_orders,
            _ => true,
        });
        if self.edges[edge].connected {
            self.send(Message::Closed { edge });
        }
    }

    pub fn crash_coordinator(&mut self) {
        self.coordinator = None;
        self.seen = 0;
        self.report_missed = true;
        self.timers.retain(|timer| !matches!(timer, Armed::Coordinator(_)));
    }

    pub fn restart_coordinator(&mut self) {
        let plan = Plan { term: Term(self.plan.term.0 + 1), ..(*self.plan).clone() };
        self.plan = Arc::new(plan.clone());
        let (executor, actions) = Executor::adopt(plan.term, plan).unwrap();
        self.coordinator = Some(Arc::new(executor));
        self.coordinator_does(actions);
    }

    /// The client's reporting interval passes.
    pub fn report(&mut self) {
        self.send(Message::Report(self.client.report()));
    }

    /// The first group that has not begun. The last group has always time to begin again.
    pub fn next(&self) -> GroupId {
        self.now.next().min(LAST_GROUP)
    }

    /// Whether time may go on to the next group: not while a leg is to be given up before.
    pub fn can_advance(&self) -> bool {
        self.now < LAST_GROUP
            && self.time_matters()
            && !self.timers.iter().any(|timer| match timer {
                Armed::Client(ClientTimer::Attach { start, .. }) => match start {
                    Start::Live => true,
                    Start::At(group) => *group <= self.now,
                },
                _ => false,
            })
    }

    /// Whether a group is waited for, or one that an order names can begin before it arrives.
    fn time_matters(&self) -> bool {
        let waits = |flow: &Flow| matches!(flow, Flow::Asked { from } if *from > self.now);
        let names = |flying: &Flying| matches!(flying.message, Message::ToClient(ToClient::Attach { start, .. }) if start > self.now);
        self.edges.iter().flat_map(|site| &site.flows).any(waits) || self.flying.iter().any(names)
    }

    /// Lets go of what is in flight and will be passed over whenever it arrives.
    pub fn forget_outdated(&mut self) {
        let mut flying = std::mem::take(&mut self.flying);
        flying.retain(|flying| !self.is_outdated(&flying.message));
        self.flying = flying;
    }

    fn is_outdated(&self, message: &Message) -> bool {
        match message {
            Message::ToClient(order) => {
                let newest = self.client.report().order.map(|newest| newest.order());
                let event = client::Event::Order { order: order.clone(), next: self.next() };
                newest > Some(order.order()) && Hands::clone(&self.client).handle(event).is_empty()
            }
            Message::FromEdge { message, .. } => {
                self.coordinator_passes_over(coordinator::Event::Edge(message.clone()))
            }
            // A coordinator that restarts would take it.
            Message::Report(report) => {
                report.revision < self.seen
                    && !self.can_fail()
                    && self.coordinator_passes_over(coordinator::Event::Client(report.clone()))
            }
            Message::ToEdge { edge, via, .. } => !self.edges[*edge].up || !self.is_up(*via),
            _ => false,
        }
    }

    fn coordinator_passes_over(&self, event: coordinator::Event) -> bool {
        let executor = self.coordinator.as_ref();
        executor.is_none_or(|executor| Executor::clone(executor).handle(event).is_empty())
    }

    fn coordinator_event(&mut self, event: coordinator::Event) {
        let Some(executor) = &mut self.coordinator else { return };
        let actions = Arc::make_mut(executor).handle(event);
        self.coordinator_does(actions);
    }

    fn coordinator_does(&mut self, actions: Vec<coordinator::Action>) {
        for action in actions {
            match action {
                coordinator::Action::SendToEdge { edge, via, message } => {
                    let (edge, via) = (self.index(&edge), via.map(|via| self.index(&via)));
                    self.send(Message::ToEdge { edge, via, message });
                }
                coordinator::Action::SendToClient(order) => {
                    self.send(Message::ToClient(order));
                }
                coordinator::Action::SetTimer(timer) => {
                    self.timers.insert(Armed::Coordinator(timer));
                }
                coordinator::Action::CancelTimer(timer) => {
                    self.timers.remove(&Armed::Coordinator(timer));
                }
                coordinator::Action::Finished(Outcome::Completed) => {
                    let unsettled = |f: &Flying| matches!(f.message, Message::Settled { .. });
                    let picture = self.coordinator.as_ref().map(|executor| executor.legs());
                    let moved = |legs: &[Option<NodeId>; 2]| {
                        let at = |d: Description| legs[d.index()].as_ref();
                        self.plan.moves.iter().all(|leg| at(leg.description) == Some(&leg.to))
                    };
                    if !picture.is_some_and(moved) || self.flying.iter().any(unsettled) {
                        self.sins.insert(Sin::CompletedTooSoon);
                    }
                }
                coordinator::Action::Progress(_) | coordinator::Action::Finished(_) => {}
            }
        }
    }

    fn edge_event(&mut self, edge: usize, via: Option<usize>, event: edge::Event) {
        for action in self.edges[edge].holding.handle(event) {
            match action {
                edge::Action::Fetch { description, .. } => {
                    self.send(Message::Fetched { edge, description });
                }
                edge::Action::Settle { description } => {
                    self.send(Message::Settled { edge, description });
                }
                edge::Action::Reply(message) => {
                    self.send(Message::FromEdge { via, message });
                }
                edge::Action::SetTimer => {
                    self.timers.insert(Armed::Edge(edge));
                }
                edge::Action::Drop { .. } => {}
            }
        }
        let site = &mut self.edges[edge];
        if site.holding.is_empty() && !site.connected {
            // Forgotten, and its timer with it.
            site.holding = Holding::default();
            self.timers.remove(&Armed::Edge(edge));
        }
    }

    pub fn client_event(&mut self, event: client::Event) {
        let actions = Arc::make_mut(&mut self.client).handle(event);
        for action in actions {
            self.client_does(action);
        }
    }

    pub fn client_does(&mut self, action: client::Action) {
        match action {
            client::Action::Subscribe { description, edge, start } => {
                let from = match start {
                    Start::Live => self.now,
                    Start::At(group) => group,
                };
                let edge = self.index(&edge);
                self.edges[edge].connected |= self.edges[edge].up;
                self.edges[edge].flows[description.index()] = Flow::Asked { from };
                self.request(edge, description, Request::Subscribe);
            }
            client::Action::End { description, edge, last } => {
                let edge = self.index(&edge);
                self.leave(edge, description, Some(last));
                self.request(edge, description, Request::End);
            }
            client::Action::Cancel { description, edge } => {
                let edge = self.index(&edge);
                self.leave(edge, description, None);
                self.request(edge, description, Request::Cancel);
            }
            client::Action::CloseConnection { edge } => {
                let edge = self.index(&edge);
                self.close(edge);
                self.request(edge, Description::Zero, Request::Close);
            }
            client::Action::Report(report) => self.send(Message::Report(report)),
            client::Action::SetTimer(timer) => {
                self.timers.insert(Armed::Client(timer));
            }
            client::Action::CancelTimer(timer) => {
                self.timers.remove(&Armed::Client(timer));
            }
            client::Action::Note(_) => {}
        }
    }

    /// Takes down a leg at the client, and notes whether that was right.
    fn leave(&mut self, edge: usize, description: Description, last: Option<GroupId>) {
        let flow = std::mem::replace(&mut self.edges[edge].flows[description.index()], Flow::None);
        if !matches!(flow, Flow::InTime { .. }) || !self.edges[edge].up {
            return;
        }
        let other = self.edges.iter().find_map(|site| match site.flows[description.index()] {
            Flow::InTime { from } => Some(from),
            _ => None,
        });
        match (other, last) {
            (None, _) if self.client.is_idle(description) => {}
            (None, _) => {
                self.sins.insert(Sin::EndedEarly);
            }
            (Some(from), Some(last)) if last.next() != from => {
                self.sins.insert(Sin::LeftGap);
            }
            _ => {}
        }
    }

    fn close(&mut self, edge: usize) {
        let served_elsewhere = |description: Description| {
            self.edges.iter().enumerate().any(|(at, site)| {
                at != edge && matches!(site.flows[description.index()], Flow::InTime { .. })
            })
        };
        let cuts = self.edges[edge].flows.iter().any(|flow| matches!(flow, Flow::InTime { .. }));
        // In trouble a silent edge is left that delivers nothing, wherever the other description is.
        let too_soon = !self.troubled
            && !Description::BOTH
                .into_iter()
                .all(|d| served_elsewhere(d) || self.client.is_idle(d));
        if cuts || too_soon {
            self.sins.insert(Sin::ClosedEarly);
        }
        self.edges[edge].connected = false;
        self.edges[edge].flows = [Flow::None; 2];
    }
}

impl Site {
    fn new(name: NodeId) -> Self {
        Self {
            name,
            up: true,
            leaving: false,
            holding: Holding::default(),
            connected: false,
            flows: [Flow::None; 2],
        }
    }
}
