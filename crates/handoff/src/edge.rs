//! An edge's end: the [`Holding`] is what it keeps of one session.
//!
//! The new edge prefetches a description, says when it is ready, serves the client, and moves on to its
//! regular upstream. The old edge keeps the capacity of a leg that has ended reserved until it hears that
//! the hand-off is over, so that the description can come back.
//!
//! Holdings of several sessions prefetch the same track: the shell counts them, and fetches it once.

use gibbon_media::{Description, GroupId};

use crate::{FromEdge, OrderId, Reason, Source, ToEdge};

/// What the holding is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The coordinator's order, directly or through another edge.
    Order(ToEdge),
    /// A description that was asked for with [`Action::Fetch`] can be delivered.
    Fetched {
        /// Which.
        description: Description,
        /// The first group that will be received from its beginning and has not begun.
        group: GroupId,
    },
    /// It cannot be.
    NotFetched {
        /// Which.
        description: Description,
        /// Why not.
        reason: Reason,
    },
    /// The regular upstream carries a description.
    Settled {
        /// Which.
        description: Description,
    },
    /// The client subscribed to a description.
    Subscribed {
        /// Which.
        description: Description,
    },
    /// The client's leg has delivered the last group the client wanted.
    Ended {
        /// Which.
        description: Description,
    },
    /// The client cancelled its leg.
    Cancelled {
        /// Which.
        description: Description,
    },
    /// The client's connection has closed.
    Closed,
    /// [`holding_ttl`](crate::timers::holding_ttl) has passed since the timer was last armed.
    Expired,
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fetch a description. Answered with [`Event::Fetched`] or [`Event::NotFetched`].
    Fetch {
        /// Which.
        description: Description,
        /// From where.
        source: Source,
    },
    /// Move a description to its regular upstream at a group boundary. Answered with
    /// [`Event::Settled`].
    Settle {
        /// Which.
        description: Description,
    },
    /// This session no longer needs a description prefetched.
    Drop {
        /// Which.
        description: Description,
    },
    /// Answer, the way the order came.
    Reply(FromEdge),
    /// Arm the timer of the holding, anew if it is armed.
    SetTimer,
}

/// What one edge keeps of one session. The shell forgets it when it is [empty](Holding::is_empty) and no client is
/// connected: what comes late then is taken for new, and goes with its timer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Holding {
    newest: Option<OrderId>,
    descriptions: [Held; 2],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Held {
    leg: Leg,
    prefetch: Option<Prefetch>,
}

/// The delivery of a description to the session's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Leg {
    /// There is none.
    #[default]
    None,
    /// It is served.
    Serving,
    /// It has ended, and its capacity is kept until the hand-off ends.
    Reserved,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Prefetch {
    order: OrderId,
    ready: Option<GroupId>,
    upstream: Upstream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Upstream {
    Bootstrap,
    Changing,
    Regular,
}

impl Holding {
    /// How a description is delivered.
    pub fn leg(&self, description: Description) -> Leg {
        self.descriptions[description.index()].leg
    }

    /// Whether a description is fetched, or to be fetched, ahead of the client.
    pub fn prefetches(&self, description: Description) -> bool {
        self.descriptions[description.index()].prefetch.is_some()
    }

    /// Whether nothing is kept: neither legs nor capacity nor prefetches.
    pub fn is_empty(&self) -> bool {
        self.descriptions.iter().all(|held| *held == Held::default())
    }

    /// Takes an event.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Order(order) => self.obey(order, &mut out),
            Event::Fetched { description, group } => self.fetched(description, group, &mut out),
            Event::NotFetched { description, reason } => {
                if let Some(prefetch) = self.held(description).prefetch.take() {
                    out.push(Action::Reply(FromEdge::Refused { order: prefetch.order, reason }));
                }
            }
            Event::Settled { description } => {
                if let Some(prefetch) = &mut self.held(description).prefetch {
                    prefetch.upstream = Upstream::Regular;
                    prefetch.say(description, &mut out);
                }
            }
            Event::Subscribed { description } => {
                self.held(description).leg = Leg::Serving;
                self.settle(description, &mut out);
            }
            Event::Ended { description } => {
                self.held(description).leg = Leg::Reserved;
                out.push(Action::SetTimer);
            }
            Event::Cancelled { description } => self.held(description).leg = Leg::None,
            Event::Closed => self.descriptions.iter_mut().for_each(|held| held.leg = Leg::None),
            Event::Expired => self.release(&mut out),
        }
        out
    }

    fn obey(&mut self, order: ToEdge, out: &mut Vec<Action>) {
        if self.newest > Some(order.order()) {
            return;
        }
        self.newest = Some(order.order());
        // Anew with each order: what it asks for is kept for so long.
        out.push(Action::SetTimer);
        match order {
            ToEdge::Prefetch { order, description, fetch, .. } => {
                let prefetch = &mut self.held(description).prefetch;
                match prefetch {
                    Some(prefetch) => {
                        prefetch.order = order;
                        prefetch.say(description, out);
                    }
                    None => {
                        let upstream = match fetch {
                            Source::FirstEdge => Upstream::Bootstrap,
                            Source::Origin => Upstream::Regular,
                        };
                        *prefetch = Some(Prefetch { order, ready: None, upstream });
                        out.push(Action::Fetch { description, source: fetch });
                    }
                }
            }
            ToEdge::Release { .. } => self.release(out),
        }
    }

    fn fetched(&mut self, description: Description, group: GroupId, out: &mut Vec<Action>) {
        if let Some(prefetch) = &mut self.held(description).prefetch {
            prefetch.ready = Some(group);
            prefetch.say(description, out);
            self.settle(description, out);
        }
    }

    /// Moves on to the regular upstream as soon as the client is here: not sooner, for a hand-off that is
    /// rolled back should cost the upstream nothing.
    fn settle(&mut self, description: Description, out: &mut Vec<Action>) {
        let held = self.held(description);
        if let Some(prefetch) = &mut held.prefetch
            && held.leg == Leg::Serving
            && prefetch.ready.is_some()
            && prefetch.upstream == Upstream::Bootstrap
        {
            prefetch.upstream = Upstream::Changing;
            out.push(Action::Settle { description });
        }
    }

    fn release(&mut self, out: &mut Vec<Action>) {
        for description in Description::BOTH {
            let held = self.held(description);
            if held.leg == Leg::Reserved {
                held.leg = Leg::None;
            }
            if held.prefetch.take().is_some() {
                out.push(Action::Drop { description });
            }
        }
    }

    fn held(&mut self, description: Description) -> &mut Held {
        &mut self.descriptions[description.index()]
    }
}

impl Prefetch {
    /// Answers with how things stand.
    fn say(&self, description: Description, out: &mut Vec<Action>) {
        let Some(group) = self.ready else { return };
        let order = self.order;
        out.push(Action::Reply(FromEdge::Ready { order, description, group }));
        if self.upstream == Upstream::Regular {
            out.push(Action::Reply(FromEdge::Settled { order, description }));
        }
    }
}
