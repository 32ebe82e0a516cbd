//! Takes connections in and hands each stream to what serves it.

use std::sync::Arc;

use gibbon_media::Role;
use gibbon_net::{
    Endpoint, Identity, Peer, close, endpoint, message,
    message::{MessageError, Receiver, Sender},
    publish::{self, Sent},
    serving,
    wire::{RejectCode, Rejected, StreamKind},
};

use crate::{edge::Edge, passing, viewer};

/// Connections held at once, viewers and nodes together.
const MAX_CONNECTIONS: usize = 50_000;

/// Accepts connections until the endpoint closes.
pub async fn run(edge: Arc<Edge>, endpoint: Endpoint) {
    let serve = move |connection| serve(edge.clone(), connection);
    serving::connections(&endpoint, MAX_CONNECTIONS, serve).await;
}

async fn serve(edge: Arc<Edge>, connection: quinn::Connection) {
    match Peer::of(&connection) {
        Peer::Viewer => viewer::serve(edge, connection).await,
        Peer::Node(peer) => {
            endpoint::welcome_node(&connection);
            let serve = |send, recv| {
                let (edge, connection, peer) = (edge.clone(), connection.clone(), peer.clone());
                async move { node_stream(&edge, &connection, &peer, send, recv).await }
            };
            serving::streams(&connection, &peer.id, serve).await;
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
