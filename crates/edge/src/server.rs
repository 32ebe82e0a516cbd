//! Takes connections in and hands each stream to what serves it.

use std::sync::Arc;

use gibbon_media::Role;
use gibbon_net::{
    Endpoint, Identity, Peer, close, endpoint, message,
    message::{MessageError, Receiver, Sender},
    publish::{self, Sent},
    wire::{RejectCode, Rejected, StreamKind},
};
use tokio::sync::Semaphore;

use crate::{edge::Edge, passing, viewer};

/// Connections held at once, viewers and nodes together.
const MAX_CONNECTIONS: usize = 50_000;

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
        (StreamKind::Handoff, Role::Edge) => passing::take(&edge.sessions, sender, receiver).await,
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
    let Some(request) = publish::request(&mut receiver).await? else { return Ok(()) };
    let opened = match edge.relays.demand(&request.stream, request.description, None) {
        Ok(demand) if demand.relay.silence.is_silent() => {
            Err(Rejected::new(RejectCode::Unavailable, "it stands still here, too"))
        }
        Ok(demand) => demand.relay.ready().await.map(|ready| (demand, ready)),
        Err(why) => Err(why),
    };
    let (demand, ready) = match opened {
        Ok(opened) => opened,
        Err(why) => {
            // An edge that cannot serve is no proof that the stream does not exist.
            let why = Rejected { code: RejectCode::Unavailable, ..why };
            return publish::refuse(&mut sender, &why).await;
        }
    };
    let _counted = edge.downstreams.enter();
    let tracks = demand.relay.tracks.clone();
    let sent = Arc::new(Sent::default());
    publish::serve(connection.clone(), sender, receiver, request, &ready.catalog, tracks, sent)
        .await?;
    Ok(())
}
