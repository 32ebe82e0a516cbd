//! The edge's part in hand-offs. What to do about an event is decided by the pure
//! [`Holding`](gibbon_handoff::edge::Holding).

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use gibbon_handoff::{
    FromEdge, Reason, Source, ToEdge,
    edge::{Action, Event, Leg},
    timers::holding_ttl,
};
use gibbon_media::{Description, SessionId};
use tokio::time::Instant;

use super::{MAX_SESSIONS, Reply, Session, Sessions};
use crate::admission::Place;

/// The length of a group that is assumed until the catalog is known.
const USUAL_GROUP: Duration = Duration::from_secs(1);

impl Sessions {
    /// Takes an order of the coordinator's about a session. Answers go to `reply`.
    pub fn order_edge(self: &Arc<Self>, session: SessionId, order: ToEdge, reply: Reply) {
        let mut held = self.lock();
        match &order {
            ToEdge::Prefetch { stream, description, first_edge, fetch, .. } => {
                let kbps = self.relays.kbps(stream, *description);
                if !self.takes(&held, session, *description, kbps) {
                    let refused = FromEdge::Refused { order: order.order(), reason: Reason::Full };
                    let _ = reply.try_send((session, refused));
                    return;
                }
                tracing::info!(%session, %stream, %description, ?fetch, "prefetch information");
                let entry = held.entry(session).or_insert_with(|| Session::new(stream.clone()));
                entry.first_edge = Some(first_edge.clone());
                entry.reply = Some(reply);
            }
            ToEdge::Release { .. } => {
                if let Some(entry) = held.get_mut(&session) {
                    entry.reply = Some(reply);
                }
            }
        }
        if let Some(entry) = held.get_mut(&session) {
            entry.spans.ordered(&self.id, &order);
        }
        self.handle_in(&mut held, session, Event::Order(order));
    }

    /// Whether a description of a session is to be fetched ahead of it, or has been.
    fn takes(
        &self,
        held: &HashMap<SessionId, Session>,
        session: SessionId,
        description: Description,
        kbps: u64,
    ) -> bool {
        let entry = held.get(&session);
        let here = entry.is_some_and(|e| e.place(description, Instant::now()) != Place::None);
        let leaving = self.drain.is_draining() && !entry.is_some_and(Session::is_kept);
        let known = entry.is_some() || held.len() < MAX_SESSIONS;
        here || !leaving && known && self.has_room(held, session, description, kbps)
    }

    fn handle(self: &Arc<Self>, session: SessionId, event: Event) {
        self.handle_in(&mut self.lock(), session, event);
    }

    pub(super) fn handle_in(
        self: &Arc<Self>,
        held: &mut HashMap<SessionId, Session>,
        session: SessionId,
        event: Event,
    ) {
        let Some(entry) = held.get_mut(&session) else { return };
        let actions = entry.holding.handle(event);
        for action in actions {
            self.act(session, entry, action);
        }
        for description in Description::BOTH {
            if entry.holding.leg(description) != Leg::Reserved {
                entry.reserved[description.index()] = None;
                entry.spans.frees(description);
            }
            if !entry.holding.prefetches(description) {
                entry.prefetched[description.index()] = None;
            }
        }
        if entry.client.is_none() && entry.holding.is_empty() {
            held.remove(&session);
            tracing::info!(%session, "nothing of the session is held any more");
        }
    }

    /// Carries out what the holding wants. Nothing here waits: what takes time is a task that comes back
    /// with an event.
    fn act(self: &Arc<Self>, session: SessionId, entry: &mut Session, action: Action) {
        match action {
            Action::Fetch { description, source } => {
                self.fetch(session, entry, description, source)
            }
            Action::Settle { description } => self.settle(session, entry, description),
            // What is no longer prefetched is dropped after each event.
            Action::Drop { .. } => {}
            Action::Reply(answer) => {
                tracing::info!(%session, ?answer, "answering");
                entry.spans.answers(&self.id, session, &answer);
                let told = entry.reply.as_ref().map(|reply| reply.try_send((session, answer)));
                if !matches!(told, Some(Ok(()))) {
                    tracing::warn!(%session, "nobody takes the answer");
                }
            }
            Action::SetTimer => {
                // A number of its own among all: one that was armed before the session was forgotten is not taken for it.
                entry.timer = self.timers.fetch_add(1, Ordering::Relaxed) + 1;
                let (sessions, timer) = (Arc::downgrade(self), entry.timer);
                let ttl = holding_ttl(self.relays.group(&entry.stream).unwrap_or(USUAL_GROUP));
                tokio::spawn(async move {
                    tokio::time::sleep(ttl).await;
                    let Some(sessions) = sessions.upgrade() else { return };
                    let current = sessions.lock().get(&session).map(|s| s.timer);
                    if current == Some(timer) {
                        sessions.handle(session, Event::Expired);
                    }
                });
            }
        }
    }

    fn fetch(
        self: &Arc<Self>,
        session: SessionId,
        entry: &mut Session,
        description: Description,
        source: Source,
    ) {
        let bootstrap = match (source, &entry.first_edge) {
            (Source::FirstEdge, Some(first)) => self.network.edge(first),
            _ => None,
        };
        let (sessions, stream) = (self.clone(), entry.stream.clone());
        tokio::spawn(async move {
            let event = match sessions.relays.demand(&stream, description, bootstrap) {
                Ok(demand) => match demand.relay.ready().await {
                    Ok(ready) => {
                        let grid = ready.catalog.grid(description);
                        let next = grid.first_not_begun(demand.relay.tracks.live());
                        if let Some(entry) = sessions.lock().get_mut(&session) {
                            entry.prefetched[description.index()] = Some(demand);
                        }
                        Event::Fetched { description, group: ready.first.max(next) }
                    }
                    Err(_) => Event::NotFetched { description, reason: Reason::NoSource },
                },
                Err(_) => Event::NotFetched { description, reason: Reason::Full },
            };
            sessions.handle(session, event);
        });
    }

    fn settle(self: &Arc<Self>, session: SessionId, entry: &Session, description: Description) {
        let Some(demand) = &entry.prefetched[description.index()] else { return };
        let (sessions, relay) = (self.clone(), demand.relay.clone());
        tokio::spawn(async move {
            relay.settle().await;
            sessions.handle(session, Event::Settled { description });
        });
    }
}
