//! Serves what the sources publish to the network's nodes.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use gibbon_control::{links::Links, node::NodeReport, vitals::Vitals};
use gibbon_media::StreamName;
use gibbon_net::{
    Endpoint, Identity,
    message::MessageError,
    publish::{self, Pump, Sent, Subscribers},
    serving::{self, MAX_NODE_CONNECTIONS},
    wire::{RejectCode, Rejected},
};

use crate::source::Source;

/// What this origin publishes.
pub struct Origin {
    sources: HashMap<StreamName, Source>,
    downstreams: Subscribers,
    /// What has been sent to all.
    pub sent: Arc<Sent>,
    /// Connections to other nodes.
    pub links: Arc<Links>,
}

impl Origin {
    pub fn new(sources: Vec<Source>) -> Arc<Self> {
        let sources = sources.into_iter().map(|s| (s.catalog.stream.clone(), s)).collect();
        Arc::new(Self {
            sources,
            downstreams: Subscribers::default(),
            sent: Arc::default(),
            links: Arc::default(),
        })
    }

    /// What it publishes.
    pub fn sources(&self) -> impl Iterator<Item = &Source> + Clone {
        self.sources.values()
    }

    /// For the coordinator.
    pub fn report(&self) -> NodeReport {
        let mut streams: Vec<_> = self.sources.values().map(|s| s.catalog.clone()).collect();
        streams.sort_by(|a, b| a.stream.cmp(&b.stream));
        NodeReport { streams, downstreams: self.downstreams.count(), ..NodeReport::default() }
    }

    /// The same, with what `vitals` has to tell, and how publishing goes.
    pub fn report_with(&self, vitals: &Vitals) -> NodeReport {
        let mut report = self.report();
        let sent_bytes = self.sent.bytes.load(Ordering::Relaxed);
        if vitals.add_to(&mut report, vec![std::process::id()], sent_bytes) {
            report.publishing = self.sources.values().filter_map(Source::report).collect();
            report.publishing.sort_by(|a, b| a.stream.cmp(&b.stream));
        }
        report
    }
}

/// How an origin calls itself to those whom it does not serve.
const ORIGIN: &str = "an origin";

/// Accepts connections until the endpoint closes.
pub async fn run(origin: Arc<Origin>, endpoint: Endpoint) {
    let serve = move |connection| serve(origin.clone(), connection);
    serving::connections(&endpoint, MAX_NODE_CONNECTIONS, serve).await;
}

async fn serve(origin: Arc<Origin>, connection: quinn::Connection) {
    let Some(peer) = serving::subscriber(&connection, ORIGIN) else { return };
    tracing::info!(peer = %peer.id, role = %peer.role, "connected");
    origin.links.note(&peer, &connection);
    let pump = Pump::new(connection.clone(), origin.sent.clone());
    let serve = |send, recv| {
        let (origin, pump, peer) = (origin.clone(), pump.clone(), peer.clone());
        async move { subscription(&origin, &pump, &peer, (send, recv)).await }
    };
    serving::streams(&connection, &peer.id, serve).await;
    tracing::info!(peer = %peer.id, "disconnected");
}

async fn subscription(
    origin: &Origin,
    pump: &Pump,
    peer: &Identity,
    stream: (quinn::SendStream, quinn::RecvStream),
) -> Result<(), MessageError> {
    let asked = serving::request(pump.connection(), ORIGIN, stream).await?;
    let Some((request, mut sender, receiver)) = asked else { return Ok(()) };
    let Some(source) = origin.sources.get(&request.stream) else {
        let reason = format!("this origin does not publish {}", request.stream);
        let why = Rejected::new(RejectCode::UnknownStream, reason);
        return publish::refuse(&mut sender, &why).await;
    };
    tracing::info!(
        peer = %peer.id, stream = %request.stream, description = %request.description,
        start = ?request.start, "subscribed"
    );
    let _counted = origin.downstreams.enter();
    let tracks = source.tracks[request.description.index()].clone();
    let ended = publish::serve(pump, sender, receiver, request, &source.catalog, tracks).await;
    ended.map(|_| ())
}
