//! Takes connections in and hands each stream to what serves it.

use std::sync::Arc;

use gibbon_media::Role;
use gibbon_net::{
    Endpoint, Identity, Peer, close, endpoint, message,
    message::{MessageError, Receiver, Sender},
    publish, serving,
    wire::{RejectCode, Rejected, StreamKind},
};

use crate::{edge::Edge, passing, shard::Visit, viewer};

/// Connections held at once, viewers and nodes together.
const MAX_CONNECTIONS: usize = 50_000;

/// Accepts the connections of one shard until its endpoint closes.
pub async fn run(edge: Arc<Edge>, shard: usize, endpoint: Endpoint) {
    // They are spread evenly.
    let limit = MAX_CONNECTIONS / edge.shards.len();
    let serve = move |connection| serve(edge.clone(), shard, connection);
    serving::connections(&endpoint, limit, serve).await;
}

async fn serve(edge: Arc<Edge>, shard: usize, connection: quinn::Connection) {
    match Peer::of(&connection) {
        Peer::Viewer => viewer::serve(edge, shard, connection).await,
        Peer::Node(peer) => {
            endpoint::welcome_node(&connection);
            edge.links.note(&peer, &connection);
            let visit = Visit::new(edge, shard, connection.clone());
            let serve = |send, recv| {
                let (visit, peer) = (visit.clone(), peer.clone());
                async move { node_stream(&visit, &peer, send, recv).await }
            };
            serving::streams(&connection, &peer.id, serve).await;
        }
    }
}

async fn node_stream(
    visit: &Visit,
    peer: &Identity,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
) -> Result<(), MessageError> {
    let (kind, sender, receiver) = message::accept(send, recv).await?;
    match (kind, peer.role) {
        (StreamKind::Description, Role::Edge) => downstream(visit, sender, receiver).await,
        (StreamKind::Handoff, Role::Edge) => {
            passing::take(&visit.edge.sessions, sender, receiver).await
        }
        _ => {
            let reason = format!("an edge serves no such stream to the {} {}", peer.role, peer.id);
            tracing::warn!(reason, "closed");
            visit.pump.connection().close(close::WRONG_ROLE, reason.as_bytes());
            Ok(())
        }
    }
}

/// Serves another edge. It pulls by way of this one only until it has moved on to its own upstream.
async fn downstream(
    Visit { edge, shard, pump }: &Visit,
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
    let tracks = demand.relay.tracks_on(*shard);
    publish::serve(pump, sender, receiver, request, &ready.catalog, tracks).await?;
    Ok(())
}
