//! Serves what the source publishes, as an origin does.

use std::sync::Arc;

use gibbon_control::node::NodeReport;
use gibbon_media::Catalog;
use gibbon_net::{
    Endpoint,
    cache::Tracks,
    message::MessageError,
    publish::{self, Pump, Sent, Subscribers},
    serving::{self, MAX_NODE_CONNECTIONS},
    wire::{RejectCode, Rejected},
};

/// A stream being published.
pub struct Published {
    pub catalog: Catalog,
    pub tracks: [Arc<Tracks>; 2],
}

/// All that is published here.
pub struct Server {
    pub streams: Vec<Published>,
    pub downstreams: Subscribers,
    /// What has been sent to all of them.
    pub sent: Arc<Sent>,
}

const SOURCE: &str = "a synthetic source";

impl Server {
    /// For the coordinator.
    pub fn report(&self) -> NodeReport {
        let streams = self.streams.iter().map(|s| s.catalog.clone()).collect();
        NodeReport { streams, downstreams: self.downstreams.count(), ..NodeReport::default() }
    }

    /// Accepts connections until the endpoint closes.
    pub async fn run(self: Arc<Self>, endpoint: Endpoint) {
        let serve = move |connection| self.clone().serve(connection);
        serving::connections(&endpoint, MAX_NODE_CONNECTIONS, serve).await;
    }

    async fn serve(self: Arc<Self>, connection: quinn::Connection) {
        let Some(peer) = serving::subscriber(&connection, SOURCE) else { return };
        let pump = Pump::new(connection.clone(), self.sent.clone());
        let serve = |send, recv| {
            let (server, pump) = (self.clone(), pump.clone());
            async move { server.subscription(&pump, (send, recv)).await }
        };
        serving::streams(&connection, &peer.id, serve).await;
    }

    async fn subscription(
        &self,
        pump: &Pump,
        stream: (quinn::SendStream, quinn::RecvStream),
    ) -> Result<(), MessageError> {
        let asked = serving::request(pump.connection(), SOURCE, stream).await?;
        let Some((request, mut sender, receiver)) = asked else { return Ok(()) };
        let Some(found) = self.streams.iter().find(|s| s.catalog.stream == request.stream) else {
            let reason = format!("this source does not publish {}", request.stream);
            let why = Rejected::new(RejectCode::UnknownStream, reason);
            return publish::refuse(&mut sender, &why).await;
        };
        let _counted = self.downstreams.enter();
        let tracks = found.tracks[request.description.index()].clone();
        let ended = publish::serve(pump, sender, receiver, request, &found.catalog, tracks).await;
        ended.map(drop)
    }
}
