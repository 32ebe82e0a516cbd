//! Serves what the instances publish to edges and other workers.

use std::sync::Arc;

use gibbon_net::{
    Endpoint, Identity,
    message::MessageError,
    publish::{self, Pump},
    serving::{self, MAX_NODE_CONNECTIONS},
    wire::{RejectCode, Rejected},
};

use crate::worker::Worker;

/// How a worker calls itself to those whom it does not serve.
const WORKER: &str = "a worker";

/// Accepts connections until the endpoint closes.
pub async fn run(worker: Arc<Worker>, endpoint: Endpoint) {
    let serve = move |connection| serve(worker.clone(), connection);
    serving::connections(&endpoint, MAX_NODE_CONNECTIONS, serve).await;
}

async fn serve(worker: Arc<Worker>, connection: quinn::Connection) {
    let Some(peer) = serving::subscriber(&connection, WORKER) else { return };
    worker.links.note(&peer, &connection);
    let pump = Pump::new(connection.clone(), worker.sent.clone());
    let serve = |send, recv| {
        let (worker, pump, peer) = (worker.clone(), pump.clone(), peer.clone());
        async move { subscription(&worker, &pump, &peer, (send, recv)).await }
    };
    serving::streams(&connection, &peer.id, serve).await;
}

async fn subscription(
    worker: &Worker,
    pump: &Pump,
    peer: &Identity,
    stream: (quinn::SendStream, quinn::RecvStream),
) -> Result<(), MessageError> {
    let asked = serving::request(pump.connection(), WORKER, stream).await?;
    let Some((request, mut sender, receiver)) = asked else { return Ok(()) };
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
    tokio::select! {
        ended = publish::serve(pump, sender, receiver, request, &output.catalog, tracks) => ended.map(|_| ()),
        () = output.withdrawn() => Ok(()),
    }
}
