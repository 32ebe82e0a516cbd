//! Serves what the sources publish to the network's nodes.

use std::{collections::HashMap, sync::Arc};

use gibbon_control::node::NodeReport;
use gibbon_media::{Role, StreamName};
use gibbon_net::{
    Endpoint, Identity, Peer, close, endpoint, message,
    message::MessageError,
    publish::{self, Sent, Subscribers},
    wire::{RejectCode, Rejected, StreamKind, kind},
};

use crate::source::Source;

/// What this origin publishes.
pub struct Origin {
    sources: HashMap<StreamName, Source>,
    downstreams: Subscribers,
}

impl Origin {
    pub fn new(sources: Vec<Source>) -> Arc<Self> {
        let sources = sources.into_iter().map(|s| (s.catalog.stream.clone(), s)).collect();
        Arc::new(Self { sources, downstreams: Subscribers::default() })
    }

    /// For the coordinator.
    pub fn report(&self) -> NodeReport {
        let mut streams: Vec<_> = self.sources.values().map(|s| s.catalog.clone()).collect();
        streams.sort_by(|a, b| a.stream.cmp(&b.stream));
        NodeReport { streams, downstreams: self.downstreams.count(), ..NodeReport::default() }
    }
}

/// Accepts connections until the endpoint closes.
pub async fn run(origin: Arc<Origin>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let origin = origin.clone();
        tokio::spawn(async move {
            match incoming.await {
                Ok(connection) => serve(origin, connection).await,
                Err(error) => tracing::debug!(%error, "handshake failed"),
            }
        });
    }
}

async fn serve(origin: Arc<Origin>, connection: quinn::Connection) {
    let peer = match Peer::of(&connection) {
        Peer::Node(peer) if matches!(peer.role, Role::Edge | Role::Worker) => peer,
        _ => {
            tracing::warn!(peer = %connection.remote_address(), "refused: neither edge nor worker");
            return connection.close(close::WRONG_ROLE, b"an origin serves edges and workers only");
        }
    };
    endpoint::welcome_node(&connection);
    tracing::info!(peer = %peer.id, role = %peer.role, "connected");
    while let Ok((send, recv)) = connection.accept_bi().await {
        let (origin, connection, peer) = (origin.clone(), connection.clone(), peer.clone());
        tokio::spawn(async move {
            if let Err(error) = subscription(&origin, &connection, &peer, send, recv).await
                && error.is_malformed()
            {
                tracing::warn!(peer = %peer.id, %error, "closed: malformed");
                connection.close(close::MALFORMED, error.to_string().as_bytes());
            }
        });
    }
    tracing::info!(peer = %peer.id, "disconnected");
}

async fn subscription(
    origin: &Origin,
    connection: &quinn::Connection,
    peer: &Identity,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
) -> Result<(), MessageError> {
    let (stream_kind, mut sender, mut receiver) = message::accept(send, recv).await?;
    if stream_kind != StreamKind::Description {
        connection.close(close::WRONG_ROLE, b"an origin serves description streams only");
        return Ok(());
    }
    let Some(request) = publish::request(&mut receiver).await? else { return Ok(()) };
    let Some(source) = origin.sources.get(&request.stream) else {
        let reason = format!("this origin does not publish {}", request.stream);
        let rejected = Rejected::new(RejectCode::UnknownStream, reason);
        sender.send(kind::REJECTED, &rejected.encode()).await?;
        sender.finish();
        return Ok(());
    };
    tracing::info!(
        peer = %peer.id, stream = %request.stream, description = %request.description,
        start = ?request.start, "subscribed"
    );
    let _counted = origin.downstreams.enter();
    let tracks = source.tracks[request.description.index()].clone();
    let (connection, catalog, sent) = (connection.clone(), &source.catalog, Arc::<Sent>::default());
    publish::serve(connection, sender, receiver, request, catalog, tracks, sent).await.map(|_| ())
}
