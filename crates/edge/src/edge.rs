//! One edge: what it holds, and how it follows the coordinator.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use gibbon_control::{
    Grant, GrantVerifier,
    drain::Drain,
    links::Links,
    node::{FromNode, NodeReport, ToNode},
    process,
    vitals::Vitals,
};
use gibbon_media::{MediaTime, NodeId, SessionId};
use gibbon_net::{Endpoint, publish::Subscribers};
use gibbon_relay::{Network, Peers, Pulling, Relays};
use tokio::sync::mpsc;

use crate::{
    admission::Capacity, coordinator::Coordinator, metrics::Refusals, passing::Passing,
    sessions::Sessions, shard::Shard,
};

/// Answers to the coordinator's orders that wait to be sent.
const MAX_WAITING_ANSWERS: usize = 1024;

/// One edge.
pub struct Edge {
    pub id: NodeId,
    network: Arc<Network>,
    pub relays: Arc<Relays>,
    pub sessions: Arc<Sessions>,
    pub drain: Arc<Drain>,
    pub passing: Passing,
    grant_key: PathBuf,
    verifier: OnceLock<GrantVerifier>,
    pub coordinator: Arc<Coordinator>,
    /// Subscriptions that other edges have to this one.
    pub downstreams: Subscribers,
    pub shards: Vec<Shard>,
    pub refusals: Refusals,
    /// Connections to other nodes.
    pub links: Arc<Links>,
}

impl Edge {
    /// Makes connections to other nodes from `endpoint`, and serves on `shards`.
    pub fn new(
        id: NodeId,
        endpoint: Endpoint,
        shards: Vec<Shard>,
        network: Network,
        capacity: Capacity,
        grant_key: PathBuf,
    ) -> Arc<Self> {
        let links = Arc::<Links>::default();
        let peers = Arc::new(Peers::new(endpoint, links.clone()));
        let network = Arc::new(network);
        let readers = shards.iter().map(|shard| shard.readers.clone()).collect();
        let pulling = Pulling::FOR_VIEWERS;
        let relays = Relays::sharded(peers.clone(), network.clone(), pulling, readers);
        let drain = Arc::<Drain>::default();
        let sessions =
            Sessions::new(id.clone(), capacity, relays.clone(), network.clone(), drain.clone());
        let coordinator = Arc::<Coordinator>::default();
        Arc::new(Self {
            id,
            network,
            relays,
            sessions,
            drain,
            passing: Passing::new(peers, coordinator.clone()),
            coordinator,
            grant_key,
            verifier: OnceLock::new(),
            downstreams: Subscribers::default(),
            shards,
            refusals: Refusals::default(),
            links,
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

    /// The whole of what this edge holds.
    pub fn report(&self) -> NodeReport {
        NodeReport {
            sessions: self.sessions.report(),
            upstreams: self.relays.report(),
            downstreams: self.downstreams.count(),
            kbps: self.sessions.kbps(),
            draining: self.drain.report(),
            ..NodeReport::default()
        }
    }

    /// The same, with what `vitals` has to tell.
    pub fn report_with(&self, vitals: &Vitals) -> NodeReport {
        let mut report = self.report();
        let sent = self.shards.iter().map(|shard| shard.sent.bytes.load(Ordering::Relaxed));
        vitals.add_to(&mut report, vec![std::process::id()], sent.sum());
        report
    }

    /// Takes the coordinator's orders, as long as the process runs.
    pub async fn obey(
        self: Arc<Self>,
        to_coordinator: mpsc::Sender<FromNode>,
        mut orders: mpsc::Receiver<ToNode>,
    ) {
        self.coordinator.reach(to_coordinator);
        let (reply, mut answers) = mpsc::channel::<(SessionId, _)>(MAX_WAITING_ANSWERS);
        loop {
            tokio::select! {
                Some((session, answer)) = answers.recv() => {
                    self.coordinator.tell(FromNode::Edge { session, answer });
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
                        self.passing.pass(edge, session, order);
                    }
                    Some(ToNode::Renew { session, grant, standbys }) => {
                        match self.verify(&grant, process::now()) {
                            Ok(granted) => self.sessions.renewed(session, granted, grant, standbys),
                            Err(why) => tracing::warn!(%session, why, "a renewed grant is no good"),
                        }
                    }
                    Some(ToNode::Drain(given)) => self.drain.begin(given),
                    Some(ToNode::Undrain) => self.drain.take_back(),
                    Some(ToNode::Registered { .. } | ToNode::Refused { .. } | ToNode::Work(_)) => {}
                },
            }
        }
    }
}
