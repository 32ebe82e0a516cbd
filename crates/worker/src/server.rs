//! Serves what the instances publish to edges and other workers.

use std::sync::Arc;

use gibbon_media::Role;
use gibbon_net::{
    Endpoint, Identity, Peer, close, endpoint, message,
    message::MessageError,
    publish::{self, Sent},
    wire::{RejectCode, Rejected, StreamKind},
};
use tokio::sync::Semaphore;

use crate::worker::Worker;

/// Connections of other nodes held at once.
const MAX_CONNECTIONS: usize = 4096;

/// Accepts connections until the endpoint closes.
pub async fn run(worker: Arc<Worker>, endpoint: Endpoint) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(place) = places.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let worker = worker.clone();
        tokio::spawn(async move {
            match incoming.await {
                Ok(connection) => serve(worker, connection).await,
                Err(error) => tracing::debug!(%error, "handshake failed"),
            }
            drop(place);
        });
    }
}

async fn serve(worker: Arc<Worker>, connection: quinn::Connection) {
    let peer = match Peer::of(&connection) {
        Peer::Node(peer) if matches!(peer.role, Role::Edge | Role::Worker) => peer,
        _ => {
            tracing::warn!(peer = %connection.remote_address(), "refused: neither edge nor worker");
            return connection.close(close::WRONG_ROLE, b"a worker serves edges and workers only");
        }
    };
    endpoint::welcome_node(&connection);
    worker.links.note(&peer, &connection);
    while let Ok((send, recv)) = connection.accept_bi().await {
        let (worker, connection, peer) = (worker.clone(), connection.clone(), peer.clone());
        tokio::spawn(async move {
            if let Err(error) = subscription(&worker, &connection, &peer, send, recv).await
                && error.is_malformed()
            {
                tracing::warn!(peer = %peer.id, %error, "closed: malformed");
                connection.close(close::MALFORMED, error.to_string().as_bytes());
            }
        });
    }
}

async fn subscription(
    worker: &Worker,
    connection: &quinn::Connection,
    peer: &Identity,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
) -> Result<(), MessageError> {
    let (kind, mut sender, mut receiver) = message::accept(send, recv).await?;
    if kind != StreamKind::Description {
        connection.close(close::WRONG_ROLE, b"a worker serves description streams only");
        return Ok(());
    }
    let Some(request) = publish::request(&mut receiver).await? else { return Ok(()) };
    let Some(output) = worker.outputs.stream(&request.stream) else {
        // Another worker may make it.
        let reason = format!("this worker does not publish {}", request.stream);
        let why = Rejected::new(RejectCode::Unavailable, reason);
        return publish::refuse(&mut sender, &why).await;
    };
    tracing::info!(
        peer = %peer.id, stream = %request.stream, description = %request.description,
        start = ?request.start, "subscribed"
    );
    let _counted = output.subscribers.enter();
    let tracks = output.tracks[request.description.index()].clone();
    let (connection, catalog, sent) = (connection.clone(), &output.catalog, Arc::<Sent>::default());
    tokio::select! {
        ended = publish::serve(connection, sender, receiver, request, catalog, tracks, sent) => ended.map(|_| ()),
        () = output.withdrawn() => Ok(()),
    }
}
