//! The client's connections: one to each edge it has to do with, a session stream on each, and a
//! description stream for each leg. Turns all that happens on them into [`Event`]s.

mod connection;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use gibbon_control::{
    session::{ClientReport, FromViewer, ToViewer},
    telemetry::ClientTelemetry,
};
use gibbon_media::{Description, Frame, GroupHeader, GroupId, NodeId, Role, StreamName};
use gibbon_net::{
    Endpoint, Identity, close, message,
    message::{MessageError, Receiver, Sender},
    subscribe::{self, IncomingGroup, SubscribeError, Subscription},
    wire::{Accepted, MediaSet, RejectCode, Start, StreamKind, Subscribe},
};
use tokio::{
    sync::{OnceCell, mpsc},
    task::AbortHandle,
};

use crate::ears::Counted;
use connection::Connection;

/// Events waiting for the engine: beyond that QUIC holds the edges back.
const MAX_WAITING_EVENTS: usize = 4096;

/// One leg: a description from an edge, told from earlier ones of the same by a serial number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LegId {
    /// Which description.
    pub description: Description,
    /// From where.
    pub edge: NodeId,
    /// Counts the legs of the session.
    pub serial: u64,
}

/// What happened on the network, and when, counted from session start.
#[derive(Debug)]
pub enum Event {
    /// An edge said something on the session stream.
    Said { edge: NodeId, said: Box<ToViewer> },
    /// A leg was accepted.
    Accepted { leg: LegId, accepted: Box<Accepted>, at: Duration },
    /// A leg was refused or ended by its edge, or its edge cannot be reached.
    Rejected { leg: LegId, why: Failure },
    /// A frame arrived whole.
    Frame { leg: LegId, header: GroupHeader, index: u32, frame: Frame, at: Duration },
    /// A group arrived to its end.
    GroupEnd { leg: LegId, header: GroupHeader, frames: u32, at: Duration },
    /// A group broke off after `frames` frames.
    GroupBroken { leg: LegId, header: GroupHeader, frames: u32 },
    /// The edge has sent all that was asked for.
    Ended { leg: LegId },
    /// A connection is gone.
    Closed { edge: NodeId, connection: u64, why: String },
    /// The connection that was to be kept cannot be had.
    Unreachable { edge: NodeId },
}

/// Why a leg could not be had, or was lost.
#[derive(Debug)]
pub struct Failure {
    /// The edge's own word for it, if it refused.
    pub code: Option<RejectCode>,
    /// For people.
    pub why: String,
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self { code: None, why }
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        let code = match &error {
            SubscribeError::Rejected(rejected) => Some(rejected.code),
            _ => None,
        };
        Self { code, why: error.to_string() }
    }
}

type Place = Arc<OnceCell<Arc<Connection>>>;

/// All connections of one session.
pub struct Edges {
    shared: Arc<Shared>,
    legs: HashMap<LegId, Leg>,
    serial: u64,
    /// Counts what was told over one connection only.
    turn: usize,
}

struct Leg {
    ends: mpsc::Sender<GroupId>,
    task: AbortHandle,
}

struct Shared {
    endpoint: Endpoint,
    stream: StreamName,
    grant: Mutex<String>,
    /// How things stood last: what an edge is told first.
    reported: Mutex<Option<ClientReport>>,
    started: Instant,
    events: mpsc::Sender<Event>,
    addresses: Mutex<HashMap<NodeId, SocketAddr>>,
    places: Mutex<HashMap<NodeId, Place>>,
    serial: AtomicU64,
}

impl Edges {
    /// No connection yet; `grant` is shown on each. Times count from `started`.
    pub fn new(
        endpoint: Endpoint,
        stream: StreamName,
        grant: String,
        started: Instant,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(MAX_WAITING_EVENTS);
        let shared = Arc::new(Shared {
            endpoint,
            stream,
            grant: Mutex::new(grant),
            reported: Mutex::default(),
            started,
            events,
            addresses: Mutex::default(),
            places: Mutex::default(),
            serial: AtomicU64::new(0),
        });
        (Self { shared, legs: HashMap::new(), serial: 0, turn: 0 }, receiver)
    }

    /// Where an edge is reached.
    pub fn learn(&self, edge: &NodeId, address: SocketAddr) {
        lock(&self.shared.addresses).insert(edge.clone(), address);
    }

    /// Shows this grant from now on.
    pub fn renew(&self, grant: String) {
        *lock(&self.shared.grant) = grant;
    }

    /// Begins a leg. Groups are of use while they are no further than `patience` past their end.
    pub fn subscribe(
        &mut self,
        description: Description,
        edge: &NodeId,
        start: Start,
        patience: Duration,
    ) -> LegId {
        self.serial += 1;
        let leg = LegId { description, edge: edge.clone(), serial: self.serial };
        let (ends, wanted) = mpsc::channel(1);
        let (shared, id) = (self.shared.clone(), leg.clone());
        let task = tokio::spawn(async move {
            if let Err(why) = shared.receive(&id, start, patience, wanted).await {
                shared.tell(Event::Rejected { leg: id, why }).await;
            }
        });
        self.legs.retain(|_, leg| !leg.task.is_finished());
        self.legs.insert(leg.clone(), Leg { ends, task: task.abort_handle() });
        leg
    }

    /// Lets a leg end after a group.
    pub fn end(&mut self, leg: &LegId, last: GroupId) {
        if let Some(leg) = self.legs.get(leg) {
            let _ = leg.ends.try_send(last);
        }
    }

    /// Cancels a leg at once.
    pub fn cancel(&mut self, leg: &LegId) {
        if let Some(leg) = self.legs.remove(leg) {
            leg.task.abort();
        }
    }

    /// Sends a report on every connection that is alive, and what there is to tell beside it on one of them, another
    /// one each time: it is worth less than its bytes, but must not depend on one edge.
    pub fn report(&mut self, report: &ClientReport, telemetry: Option<ClientTelemetry>) {
        *lock(&self.shared.reported) = Some(report.clone());
        let alive = self.shared.connections().filter(|(_, connection)| connection.has_session());
        let connections: Vec<_> = alive.collect();
        self.turn = self.turn.wrapping_add(usize::from(telemetry.is_some()));
        let turn = self.turn.checked_rem(connections.len());
        for (at, (_, connection)) in connections.into_iter().enumerate() {
            let told = telemetry.as_ref().filter(|_| turn == Some(at)).cloned();
            connection.report(match told {
                Some(told) => report.clone().with_telemetry(told),
                None => report.clone(),
            });
        }
    }

    /// Sends a report to one edge.
    pub fn report_to(&self, edge: &NodeId, report: ClientReport) {
        let mut connections = self.shared.connections();
        if let Some((_, connection)) = connections.find(|(to, _)| to == edge) {
            connection.report(report);
        }
    }

    /// Opens a connection that no leg needs yet.
    pub fn keep(&self, edge: &NodeId) {
        let (shared, edge) = (self.shared.clone(), edge.clone());
        tokio::spawn(async move {
            match shared.connection(&edge).await {
                // Nobody waits for it any more.
                Ok(connection) if !shared.is_current(&edge, connection.serial) => {
                    connection.goodbye().await;
                }
                Ok(_) => {}
                Err(why) => {
                    tracing::debug!(%edge, why, "no idle connection");
                    shared.tell(Event::Unreachable { edge }).await;
                }
            }
        });
    }

    /// Whether there is a connection to an edge.
    pub fn is_open(&self, edge: &NodeId) -> bool {
        let mut connections = self.shared.connections();
        connections.any(|(to, connection)| to == *edge && !connection.is_closed())
    }

    /// Whether a connection is still the one that its edge is reached by.
    pub fn is_current(&self, edge: &NodeId, connection: u64) -> bool {
        self.shared.is_current(edge, connection)
    }

    /// What has come over all connections.
    pub fn counted(&self) -> Vec<Counted> {
        let count = |(edge, connection): (NodeId, Arc<Connection>)| {
            let stats = connection.link.connection().stats();
            let (datagrams, bytes) = (stats.udp_rx.datagrams, stats.udp_rx.bytes);
            let (rtt, acks) = (stats.path.rtt, stats.frame_rx.acks);
            Counted { edge, connection: connection.serial, datagrams, bytes, rtt, acks }
        };
        self.shared.connections().filter(|(_, c)| c.has_session()).map(count).collect()
    }

    /// Forgets a connection on which nothing comes any more.
    pub fn abandon(&self, edge: &NodeId) {
        let place = lock(&self.shared.places).remove(edge);
        if let Some(connection) = place.and_then(|place| place.get().cloned()) {
            connection.link.connection().close(close::DONE, b"nothing was heard");
        }
    }

    /// Says goodbye to an edge and closes the connection to it.
    pub fn close(&self, edge: &NodeId) {
        let place = lock(&self.shared.places).remove(edge);
        let Some(connection) = place.and_then(|place| place.get().cloned()) else { return };
        tokio::spawn(connection.goodbye());
    }

    /// Says goodbye to all edges and waits, for a bounded time, until they know.
    pub async fn close_all(mut self) {
        self.legs.drain().for_each(|(_, leg)| leg.task.abort());
        let places = std::mem::take(&mut *lock(&self.shared.places));
        let goodbyes = places.into_values().filter_map(|place| place.get().cloned());
        let goodbyes: Vec<_> = goodbyes.map(|c| tokio::spawn(c.goodbye())).collect();
        for goodbye in goodbyes {
            let _ = goodbye.await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn tell(&self, event: Event) {
        // The engine drops its end only when the session is over.
        let _ = self.events.send(event).await;
    }

    fn connections(&self) -> impl Iterator<Item = (NodeId, Arc<Connection>)> + use<> {
        let places = lock(&self.places);
        let made = |(edge, place): (&NodeId, &Place)| Some((edge.clone(), place.get()?.clone()));
        places.iter().filter_map(made).collect::<Vec<_>>().into_iter()
    }

    fn is_current(&self, edge: &NodeId, connection: u64) -> bool {
        self.connections().any(|(to, c)| to == *edge && c.serial == connection)
    }

    /// The connection to `edge`, opened if there is none.
    async fn connection(self: &Arc<Self>, edge: &NodeId) -> Result<Arc<Connection>, String> {
        let place = {
            let mut places = lock(&self.places);
            let place = places.entry(edge.clone()).or_default();
            if place.get().is_some_and(|connection| connection.is_closed()) {
                *place = Place::default();
            }
            place.clone()
        };
        place.get_or_try_init(|| self.connect(edge)).await.cloned()
    }

    async fn connect(self: &Arc<Self>, edge: &NodeId) -> Result<Arc<Connection>, String> {
        let address = lock(&self.addresses).get(edge).copied();
        let address = address.ok_or_else(|| format!("the address of {edge} is not known"))?;
        let identity = Identity { id: edge.clone(), role: Role::Edge };
        let connection =
            self.endpoint.connect(&identity, address).await.map_err(|e| e.to_string())?;
        let hello = self.hello(&connection).await;
        let session = hello.map_err(|error| match connection.close_reason() {
            // What the edge gave as its reason says more than that the stream broke.
            Some(reason) => reason.to_string(),
            None => error.to_string(),
        })?;
        Ok(Connection::begin(self.clone(), edge.clone(), connection, session))
    }

    async fn hello(
        &self,
        connection: &quinn::Connection,
    ) -> Result<(Sender, Receiver), MessageError> {
        let (mut sender, mut receiver) = message::open(connection, StreamKind::Session).await?;
        let grant = lock(&self.grant).clone();
        sender.send_json(&FromViewer::Hello { grant }).await?;
        // Before any leg is asked for: a full edge treats a first description otherwise than a second.
        let reported = lock(&self.reported).clone();
        if let Some(report) = reported {
            sender.send_json(&FromViewer::Report(report)).await?;
        }
        match receiver.receive_json::<ToViewer>().await? {
            Some(ToViewer::Welcome) => Ok((sender, receiver)),
            Some(ToViewer::Refused { reason }) => Err(MessageError::Broken(reason)),
            _ => Err(MessageError::Broken("the edge did not welcome us".into())),
        }
    }

    /// Receives one leg until it ends; an error says why it could not be had or was lost.
    async fn receive(
        self: &Arc<Self>,
        leg: &LegId,
        start: Start,
        patience: Duration,
        mut ends: mpsc::Receiver<GroupId>,
    ) -> Result<(), Failure> {
        let connection = self.connection(&leg.edge).await?;
        let request = Subscribe {
            stream: self.stream.clone(),
            description: leg.description,
            media: MediaSet::ALL,
            start,
            end: None,
            priority: 1,
            patience: Some(patience),
        };
        let mut subscription = Subscription::open(&connection.link, &request).await?;
        let accepted = Box::new(subscription.accepted.clone());
        self.tell(Event::Accepted { leg: leg.clone(), accepted, at: self.now() }).await;
        let mut groups = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                event = subscription.next() => match event {
                    subscribe::Event::Group(group) => {
                        groups.spawn(self.clone().receive_group(leg.clone(), group));
                    }
                    subscribe::Event::Ended => break,
                    subscribe::Event::Broken(why) => return Err(why.into()),
                },
                Some(last) = ends.recv() => {
                    subscription.end_after(last).await.map_err(|e| e.to_string())?;
                }
                Some(_) = groups.join_next() => {}
            }
        }
        while groups.join_next().await.is_some() {}
        self.tell(Event::Ended { leg: leg.clone() }).await;
        Ok(())
    }

    async fn receive_group(self: Arc<Self>, leg: LegId, mut group: IncomingGroup) {
        let header = group.start.header;
        loop {
            let (next, leg, at) = (group.next_frame().await, leg.clone(), self.now());
            let frames = group.frames();
            let event = match next {
                Ok(Some((index, frame))) => Event::Frame { leg, header, index, frame, at },
                Ok(None) => Event::GroupEnd { leg, header, frames, at },
                Err(_) => Event::GroupBroken { leg, header, frames },
            };
            let over = !matches!(event, Event::Frame { .. });
            self.tell(event).await;
            if over {
                return;
            }
        }
    }
}
