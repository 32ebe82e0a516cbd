//! The sessions this edge knows of: their legs, what is prefetched and reserved for them, and how their
//! clients are reached. What to do about an event is decided by the pure [`Holding`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gibbon_control::{
    Grant,
    node::{NodeAddress, SessionReport},
    session::{Order, ToViewer},
};
use gibbon_handoff::{
    FromEdge, Reason, Source, ToEdge,
    edge::{Action, Event, Holding, Leg},
    timers::holding_ttl,
};
use gibbon_media::{Description, NodeId, SessionId, StreamName};
use tokio::sync::mpsc;

use crate::{
    network::Network,
    relay::{Demand, Relays},
};

/// Orders waiting for one client; more are a sign of a client that does not read.
const MAX_WAITING_ORDERS: usize = 16;
/// Sessions held at once, with and without a client.
const MAX_SESSIONS: usize = 100_000;

/// The length of a group that is assumed until the catalog is known.
const USUAL_GROUP: Duration = Duration::from_secs(1);

/// Answers to hand-off orders go back the way the order came.
pub type Reply = mpsc::Sender<(SessionId, FromEdge)>;

/// All sessions of this edge.
pub struct Sessions {
    relays: Arc<Relays>,
    network: Arc<Network>,
    held: Mutex<HashMap<SessionId, Session>>,
}

struct Session {
    stream: StreamName,
    holding: Holding,
    client: Option<Client>,
    /// The newest grant shown.
    grant: Option<Arc<Grant>>,
    first_edge: Option<NodeId>,
    reply: Option<Reply>,
    /// What keeps a description coming: for a prefetch, and for the capacity kept after a leg.
    prefetched: [Option<Demand>; 2],
    reserved: [Option<Demand>; 2],
    timer: u64,
}

#[derive(Clone)]
struct Client {
    orders: mpsc::Sender<ToViewer>,
    /// Tells a client's newer connection from its older one.
    connection: usize,
}

/// A session stream's hold on its session; letting go of it ends the session here.
pub struct ClientGuard {
    sessions: Arc<Sessions>,
    session: SessionId,
    connection: usize,
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.sessions.client_gone(self.session, self.connection);
    }
}

impl Sessions {
    pub fn new(relays: Arc<Relays>, network: Arc<Network>) -> Arc<Self> {
        Arc::new(Self { relays, network, held: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has shown a grant on `connection`. What it is to be told comes out of the receiver.
    pub fn client_came(
        self: &Arc<Self>,
        grant: Arc<Grant>,
        connection: usize,
    ) -> Option<(ClientGuard, mpsc::Receiver<ToViewer>)> {
        let session = grant.session;
        let (orders, receiver) = mpsc::channel(MAX_WAITING_ORDERS);
        let mut held = self.lock();
        if held.len() >= MAX_SESSIONS && !held.contains_key(&session) {
            return None;
        }
        let entry = held.entry(session).or_insert_with(|| Session::new(grant.stream.clone()));
        entry.client = Some(Client { orders, connection });
        entry.grant = Some(grant);
        Some((ClientGuard { sessions: self.clone(), session, connection }, receiver))
    }

    fn client_gone(self: &Arc<Self>, session: SessionId, connection: usize) {
        {
            let mut held = self.lock();
            let Some(entry) = held.get_mut(&session) else { return };
            if entry.client.as_ref().is_none_or(|client| client.connection != connection) {
                return;
            }
            entry.client = None;
        }
        self.handle(session, Event::Closed);
    }

    /// Passes an order on to the session's client, if it is connected here.
    pub fn order_client(&self, session: SessionId, order: Order) {
        self.tell_client(session, ToViewer::Order(order));
    }

    /// Takes in a renewed grant, and passes it on to the client as `text`.
    pub fn renewed(
        &self,
        session: SessionId,
        grant: Grant,
        text: String,
        standbys: Vec<NodeAddress>,
    ) {
        if grant.session != session {
            return tracing::warn!(%session, "a renewed grant is for another session");
        }
        if let Some(entry) = self.lock().get_mut(&session) {
            entry.grant = Some(Arc::new(grant));
        }
        self.tell_client(session, ToViewer::Renewed { grant: text, standbys });
    }

    fn tell_client(&self, session: SessionId, message: ToViewer) {
        let client = self.lock().get(&session).and_then(|s| s.client.clone());
        let Some(client) = client else { return };
        if client.orders.try_send(message).is_err() {
            tracing::warn!(%session, "the client does not read what it is told");
        }
    }

    /// Takes an order of the coordinator's about a session. Answers go to `reply`.
    pub fn order_edge(self: &Arc<Self>, session: SessionId, order: ToEdge, reply: Reply) {
        {
            let mut held = self.lock();
            match &order {
                ToEdge::Prefetch { stream, description, first_edge, fetch, .. } => {
                    if held.len() >= MAX_SESSIONS && !held.contains_key(&session) {
                        let refused =
                            FromEdge::Refused { order: order.order(), reason: Reason::Full };
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
        }
        self.handle(session, Event::Order(order));
    }

    /// A leg begins.
    pub fn leg_began(self: &Arc<Self>, session: SessionId, description: Description) {
        tracing::info!(%session, %description, "leg attached");
        self.handle(session, Event::Subscribed { description });
    }

    /// A leg has ended: with its last group delivered, in which case its capacity is kept until the
    /// hand-off ends, or broken off.
    pub fn leg_ended(
        self: &Arc<Self>,
        session: SessionId,
        description: Description,
        complete: bool,
        demand: Demand,
    ) {
        tracing::info!(%session, %description, complete, "leg detached");
        if complete {
            if let Some(entry) = self.lock().get_mut(&session) {
                entry.reserved[description.index()] = Some(demand);
            }
            self.handle(session, Event::Ended { description });
        } else {
            self.handle(session, Event::Cancelled { description });
        }
    }

    /// Sessions of which anything is held.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Sessions with a client here, and their legs.
    pub fn report(&self) -> Vec<SessionReport> {
        let held = self.lock();
        let mut sessions: Vec<_> = held
            .iter()
            .filter(|(_, session)| session.client.is_some())
            .map(|(id, session)| SessionReport {
                session: *id,
                stream: session.stream.clone(),
                placement: session.grant.as_ref().map(|g| g.placement).unwrap_or_default(),
                priority: session.grant.as_ref().map(|g| g.priority).unwrap_or_default(),
                legs: Description::BOTH
                    .into_iter()
                    .filter(|d| session.holding.leg(*d) == Leg::Serving)
                    .collect(),
            })
            .collect();
        sessions.sort_by_key(|s| s.session);
        sessions
    }

    fn handle(self: &Arc<Self>, session: SessionId, event: Event) {
        let mut held = self.lock();
        let Some(entry) = held.get_mut(&session) else { return };
        let actions = entry.holding.handle(event);
        for action in actions {
            self.act(session, entry, action);
        }
        for description in Description::BOTH {
            if entry.holding.leg(description) != Leg::Reserved {
                entry.reserved[description.index()] = None;
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
            Action::Drop { description } => entry.prefetched[description.index()] = None,
            Action::Reply(answer) => {
                tracing::info!(%session, ?answer, "answering");
                let told = entry.reply.as_ref().map(|reply| reply.try_send((session, answer)));
                if !matches!(told, Some(Ok(()))) {
                    tracing::warn!(%session, "nobody takes the answer");
                }
            }
            Action::SetTimer => {
                entry.timer += 1;
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

impl Session {
    fn new(stream: StreamName) -> Self {
        Self {
            stream,
            holding: Holding::default(),
            client: None,
            grant: None,
            first_edge: None,
            reply: None,
            prefetched: [None, None],
            reserved: [None, None],
            timer: 0,
        }
    }
}
