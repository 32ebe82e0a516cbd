//! Takes connections in and hands each stream to what serves it.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use gibbon_control::{
    Grant, GrantVerifier,
    node::{FromNode, NodeReport, ToNode},
};
use gibbon_media::{MediaTime, NodeId, Role, SessionId};
use gibbon_net::{
    Endpoint, Identity, Peer, close, endpoint, message,
    message::{MessageError, Receiver, Sender},
    publish::{self, Sent},
    wire::{Malformed, RejectCode, Rejected, StreamKind, Subscribe, kind},
};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    network::Network,
    passing::{self, Passing},
    peers::Peers,
    relay::Relays,
    sessions::Sessions,
    viewer,
};

/// Connections held at once, viewers and nodes together.
const MAX_CONNECTIONS: usize = 50_000;
/// A peer that opens a stream must say what for by then.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(5);
const MAX_WAITING_ANSWERS: usize = 1024;

/// One edge.
pub struct Edge {
    pub id: NodeId,
    pub peers: Arc<Peers>,
    pub network: Arc<Network>,
    pub relays: Arc<Relays>,
    pub sessions: Arc<Sessions>,
    passing: Passing,
    grant_key: PathBuf,
    verifier: OnceLock<GrantVerifier>,
    coordinator: OnceLock<mpsc::Sender<FromNode>>,
    downstreams: AtomicU32,
}

impl Edge {
    pub fn new(id: NodeId, endpoint: Endpoint, network: Network, grant_key: PathBuf) -> Arc<Self> {
        let (peers, network) = (Arc::new(Peers::new(endpoint)), Arc::new(network));
        let relays = Relays::new(peers.clone(), network.clone());
        let sessions = Sessions::new(relays.clone(), network.clone());
        Arc::new(Self {
            id,
            peers,
            network,
            relays,
            sessions,
            passing: Passing::default(),
            grant_key,
            verifier: OnceLock::new(),
            coordinator: OnceLock::new(),
            downstreams: AtomicU32::new(0),
        })
    }

    /// What the grant `text` allows, or why it allows nothing.
    pub fn verify(&self, text: &str, now: MediaTime) -> Result<Grant, String> {
        let verifier = match self.verifier.get() {
            Some(verifier) => verifier,
            // The coordinator leaves its key on first start, which may be after ours.
            None => {
                let loaded = GrantVerifier::load(&self.grant_key).map_err(|e| {
                    tracing::error!(error = %e, "no key to check grants with");
                    "this edge cannot check grants yet".to_owned()
                })?;
                self.verifier.get_or_init(|| loaded)
            }
        };
        verifier.verify(text, now).map_err(|e| e.to_string())
    }

    /// Tells the coordinator something, if it is there to be told.
    pub fn tell_coordinator(&self, message: FromNode) {
        if let Some(coordinator) = self.coordinator.get() {
            let _ = coordinator.try_send(message);
        }
    }

    /// The whole of what this edge holds.
    pub fn report(&self) -> NodeReport {
        NodeReport {
            streams: Vec::new(),
            sessions: self.sessions.report(),
            upstreams: self.relays.report(),
            downstreams: self.downstreams.load(Ordering::Relaxed),
        }
    }

    /// Takes the coordinator's orders, as long as the process runs.
    pub async fn obey(
        self: Arc<Self>,
        to_coordinator: mpsc::Sender<FromNode>,
        mut orders: mpsc::Receiver<ToNode>,
    ) {
        let _ = self.coordinator.set(to_coordinator);
        let (reply, mut answers) = mpsc::channel::<(SessionId, _)>(MAX_WAITING_ANSWERS);
        loop {
            tokio::select! {
                Some((session, answer)) = answers.recv() => {
                    self.tell_coordinator(FromNode::Edge { session, answer });
                }
                order = orders.recv() => match order {
                    None => return,
                    Some(ToNode::Directory(directory)) => self.network.update(directory),
                    Some(ToNode::Client { session, order }) => {
                        self.sessions.order_client(session, order);
                    }
                    Some(ToNode::Edge { edge, session, order }) if edge.id == self.id => {
                        self.sessions.order_edge(session, order, reply.clone());
                    }
                    Some(ToNode::Edge { edge, session, order }) => {
                        self.passing.pass(&self, edge, session, order);
                    }
                    Some(ToNode::Registered { .. } | ToNode::Refused { .. }) => {}
                },
            }
        }
    }
}

/// Accepts connections until the endpoint closes.
pub async fn run(edge: Arc<Edge>, endpoint: Endpoint) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(place) = places.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let edge = edge.clone();
        tokio::spawn(async move {
            match incoming.await {
                Ok(connection) => serve(edge, connection).await,
                Err(error) => tracing::debug!(%error, "handshake failed"),
            }
            drop(place);
        });
    }
}

async fn serve(edge: Arc<Edge>, connection: quinn::Connection) {
    match Peer::of(&connection) {
        Peer::Viewer => viewer::serve(edge, connection).await,
        Peer::Node(peer) => {
            endpoint::welcome_node(&connection);
            while let Ok((send, recv)) = connection.accept_bi().await {
                let (edge, connection, peer) = (edge.clone(), connection.clone(), peer.clone());
                tokio::spawn(async move {
                    if let Err(error) = node_stream(&edge, &connection, &peer, send, recv).await
                        && error.is_malformed()
                    {
                        tracing::warn!(peer = %peer.id, %error, "closed: malformed");
                        connection.close(close::MALFORMED, error.to_string().as_bytes());
                    }
                });
            }
        }
    }
}

async fn node_stream(
    edge: &Arc<Edge>,
    connection: &quinn::Connection,
    peer: &Identity,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
) -> Result<(), MessageError> {
    let (kind, sender, receiver) = message::accept(send, recv).await?;
    match (kind, peer.role) {
        (StreamKind::Description, Role::Edge) => {
            downstream(edge, connection, sender, receiver).await
        }
        (StreamKind::Handoff, Role::Edge) => passing::take(edge, sender, receiver).await,
        _ => {
            let reason = format!("an edge serves no such stream to the {} {}", peer.role, peer.id);
            tracing::warn!(reason, "closed");
            connection.close(close::WRONG_ROLE, reason.as_bytes());
            Ok(())
        }
    }
}

/// Serves another edge. It pulls by way of this one only until it has moved on to its own upstream.
async fn downstream(
    edge: &Arc<Edge>,
    connection: &quinn::Connection,
    mut sender: Sender,
    mut receiver: Receiver,
) -> Result<(), MessageError> {
    let Some(message) = receiver.receive().await? else { return Ok(()) };
    let request = Subscribe::decode(message.body)?;
    let opened = match edge.relays.demand(&request.stream, request.description, None) {
        Ok(demand) => demand.relay.ready().await.map(|ready| (demand, ready)),
        Err(why) => Err(why),
    };
    let (demand, ready) = match opened {
        Ok(opened) => opened,
        Err(why) => {
            // An edge that cannot serve is no proof that the stream does not exist.
            let why = Rejected { code: RejectCode::Unavailable, ..why };
            sender.send(kind::REJECTED, &why.encode()).await?;
            sender.finish();
            return Ok(());
        }
    };
    let counted = Counted::new(&edge.downstreams);
    let tracks = demand.relay.tracks.clone();
    let sent = Arc::new(Sent::default());
    publish::serve(connection.clone(), sender, receiver, request, &ready.catalog, tracks, sent)
        .await?;
    drop(counted);
    Ok(())
}

struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The message that says what a JSON stream is about, within a bounded time.
pub async fn first_message<T: DeserializeOwned>(
    receiver: &mut Receiver,
) -> Result<T, MessageError> {
    match tokio::time::timeout(FIRST_MESSAGE_WITHIN, receiver.receive_json()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err(Malformed::Truncated("first message").into()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(MessageError::Broken(format!("silent for {FIRST_MESSAGE_WITHIN:?}"))),
    }
}
