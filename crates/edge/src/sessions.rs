//! The sessions this edge knows of: how their clients are reached, their legs, and what is prefetched and
//! reserved for them.

mod handoff;
mod legs;
mod trace;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use gibbon_control::{
    Grant,
    drain::Drain,
    node::{NodeAddress, SessionReport},
    session::{ClientReport, Order, ToViewer},
};
use gibbon_handoff::{
    FromEdge,
    edge::{Event, Holding},
};
use gibbon_media::{Description, NodeId, Priority, SessionId, StreamName};
use gibbon_net::close;
use gibbon_relay::{Demand, Network, Relays};
use tokio::sync::mpsc;

pub use legs::Leg;

use crate::admission::Capacity;

/// Messages waiting for one client; more are a sign of a client that does not read.
const MAX_WAITING_NEWS: usize = 16;
/// Sessions held at once, with and without a client.
const MAX_SESSIONS: usize = 100_000;

/// Answers to hand-off orders go back the way the order came.
pub type Reply = mpsc::Sender<(SessionId, FromEdge)>;

/// All sessions of this edge.
pub struct Sessions {
    id: NodeId,
    capacity: Capacity,
    relays: Arc<Relays>,
    network: Arc<Network>,
    drain: Arc<Drain>,
    held: Mutex<HashMap<SessionId, Session>>,
    /// Legs so far, and how many of them have ended.
    begun: AtomicU64,
    departed: AtomicU64,
    timers: AtomicU64,
}

struct Session {
    stream: StreamName,
    holding: Holding,
    client: Option<Client>,
    /// The newest grant shown.
    grant: Option<Arc<Grant>>,
    legs: [Option<legs::Serving>; 2],
    /// What other edges deliver, by the client's newest report.
    elsewhere: [bool; 2],
    first_edge: Option<NodeId>,
    reply: Option<Reply>,
    /// What keeps a description coming: for a prefetch, and for the capacity kept after a leg.
    prefetched: [Option<Demand>; 2],
    reserved: [Option<Demand>; 2],
    timer: u64,
    spans: trace::Spans,
}

#[derive(Clone)]
struct Client {
    /// Boxed: the channel has room for 32 of them from the start.
    news: mpsc::Sender<Box<ToViewer>>,
    connection: quinn::Connection,
}

/// A session stream's hold on its session; letting go of it ends the session here.
pub struct ClientGuard {
    sessions: Arc<Sessions>,
    session: SessionId,
    /// Tells a client's newer connection from its older one.
    connection: usize,
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.sessions.client_gone(self.session, self.connection);
    }
}

impl Sessions {
    pub fn new(
        id: NodeId,
        capacity: Capacity,
        relays: Arc<Relays>,
        network: Arc<Network>,
        drain: Arc<Drain>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            capacity,
            relays,
            network,
            drain,
            held: Mutex::default(),
            begun: AtomicU64::new(0),
            departed: AtomicU64::new(0),
            timers: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has shown a grant on `connection`, which replaces an older one. What it is to be told comes
    /// out of the receiver. None if there is no place for another session.
    pub fn client_came(
        self: &Arc<Self>,
        grant: Arc<Grant>,
        connection: &quinn::Connection,
    ) -> Option<(ClientGuard, mpsc::Receiver<Box<ToViewer>>)> {
        let session = grant.session;
        let (news, receiver) = mpsc::channel(MAX_WAITING_NEWS);
        let mut held = self.lock();
        if held.len() >= MAX_SESSIONS && !held.contains_key(&session) {
            return None;
        }
        let entry = held.entry(session).or_insert_with(|| Session::new(grant.stream.clone()));
        let client = Client { news, connection: connection.clone() };
        if let Some(older) = entry.client.replace(client) {
            older.connection.close(close::DONE, b"a newer connection has taken over");
        }
        entry.grant = Some(grant);
        let connection = connection.stable_id();
        Some((ClientGuard { sessions: self.clone(), session, connection }, receiver))
    }

    fn client_gone(self: &Arc<Self>, session: SessionId, connection: usize) {
        let mut held = self.lock();
        let Some(entry) = held.get_mut(&session) else { return };
        if entry.client.as_ref().is_none_or(|client| client.connection.stable_id() != connection) {
            return;
        }
        entry.client = None;
        let legs = entry.legs.iter_mut().filter_map(Option::take).count();
        self.departed.fetch_add(legs as u64, Ordering::Relaxed);
        self.handle_in(&mut held, session, Event::Closed);
    }

    /// Passes an order on to the session's client, if it is connected here.
    pub fn order_client(&self, session: SessionId, order: Order) {
        if let Some(entry) = self.lock().get_mut(&session) {
            entry.spans.passes_on(&self.id, &order.order);
            entry.tell(ToViewer::Order(order));
        }
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
        self.tell(session, ToViewer::Renewed { grant: text, standbys });
    }

    /// Tells the session's client something, if it is connected here.
    pub fn tell(&self, session: SessionId, message: ToViewer) {
        if let Some(entry) = self.lock().get(&session) {
            entry.tell(message);
        }
    }

    /// The client has said how things stand.
    pub fn client_reported(&self, session: SessionId, report: &ClientReport) {
        if let Some(entry) = self.lock().get_mut(&session) {
            let elsewhere =
                |leg: &Option<NodeId>| leg.as_ref().is_some_and(|edge| *edge != self.id);
            entry.elsewhere = report.hands.legs.each_ref().map(elsewhere);
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
                priority: session.priority(),
                legs: session.serving().collect(),
            })
            .collect();
        sessions.sort_by_key(|s| s.session);
        sessions
    }
}

impl Session {
    fn new(stream: StreamName) -> Self {
        Self {
            stream,
            holding: Holding::default(),
            client: None,
            grant: None,
            legs: [None, None],
            elsewhere: [false; 2],
            first_edge: None,
            reply: None,
            prefetched: [None, None],
            reserved: [None, None],
            timer: 0,
            spans: trace::Spans::default(),
        }
    }

    fn priority(&self) -> Priority {
        self.grant.as_ref().map(|grant| grant.priority).unwrap_or_default()
    }

    fn serving(&self) -> impl Iterator<Item = Description> {
        Description::BOTH.into_iter().filter(|d| self.legs[d.index()].is_some())
    }

    fn tell(&self, message: ToViewer) {
        let Some(client) = &self.client else { return };
        // What is repeated may be lost.
        let repeated = matches!(message, ToViewer::Stalled { .. } | ToViewer::GoAway { .. });
        if client.news.try_send(Box::new(message)).is_err() && !repeated {
            let peer = client.connection.remote_address();
            tracing::warn!(%peer, "the client does not read what it is told");
        }
    }
}
