//! One worker: what it runs, and how it follows the coordinator.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::Ordering},
    time::Duration,
};

use gibbon_control::{
    drain::Drain,
    links::Links,
    node::{FromNode, NodeReport, ToNode},
    vitals::Vitals,
    work::{WorkOrder, WorkReport, WorkerOffer},
};
use gibbon_media::{InstanceId, NodeId};
use gibbon_net::{Endpoint, publish::Sent};
use gibbon_relay::{Network, Peers, Pulling, Relays};
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};

use crate::{
    links,
    orders::{Means, Orders, Taken},
    outputs::Outputs,
    segments::{Segments, Surroundings},
    usage::{self, Usage},
};

/// News for the coordinator go out this far apart at least.
const NEWS_APART: Duration = Duration::from_millis(50);

/// What segments find on this machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What this program is to be started with as a segment.
    pub arguments: Vec<String>,
    /// Folder with files that components may use.
    pub assets: PathBuf,
    /// Font for text in pictures.
    pub font: PathBuf,
}

/// One worker.
pub struct Worker {
    pub id: NodeId,
    pub offer: WorkerOffer,
    components: BTreeSet<String>,
    assets: PathBuf,
    network: Arc<Network>,
    peers: Arc<Peers>,
    relays: Arc<Relays>,
    orders: Mutex<Orders>,
    pub segments: Arc<Segments>,
    pub outputs: Arc<Outputs>,
    /// What has been sent to edges and other workers.
    pub sent: Arc<Sent>,
    pub links: Arc<Links>,
    usage: Arc<Usage>,
    pub drain: Drain,
    /// Something has changed that the coordinator should know at once.
    pub news: Arc<Notify>,
    coordinator: OnceLock<mpsc::Sender<FromNode>>,
}

impl Worker {
    pub fn new(id: NodeId, endpoint: Endpoint, offer: WorkerOffer, machine: Machine) -> Arc<Self> {
        let network = Arc::new(Network::new(id.clone(), Vec::new()));
        let links = Arc::<Links>::default();
        let peers = Arc::new(Peers::new(endpoint, links.clone()));
        let relays = Relays::new(peers.clone(), network.clone(), Pulling::FOR_COMPONENTS);
        let news = Arc::<Notify>::default();
        let outputs = Arc::<Outputs>::default();
        let around = Surroundings {
            relays: relays.clone(),
            outputs: outputs.clone(),
            arguments: machine.arguments,
            assets: machine.assets.clone(),
            font: machine.font,
            news: news.clone(),
        };
        Arc::new(Self {
            id,
            components: offer.components.iter().cloned().collect(),
            offer,
            assets: machine.assets,
            network,
            peers,
            relays,
            orders: Mutex::default(),
            segments: Arc::new(Segments::new(around)),
            outputs,
            sent: Arc::default(),
            links,
            usage: Arc::default(),
            drain: Drain::default(),
            news,
            coordinator: OnceLock::new(),
        })
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what runs as long as the process.
    pub fn start(
        self: &Arc<Self>,
        to_coordinator: mpsc::Sender<FromNode>,
        orders: mpsc::Receiver<ToNode>,
    ) {
        let _ = self.coordinator.set(to_coordinator);
        let (peers, network) = (self.peers.clone(), self.network.clone());
        tokio::spawn(links::keep(self.id.clone(), peers, network));
        let (usage, segments, links) =
            (self.usage.clone(), self.segments.clone(), self.links.clone());
        tokio::spawn(usage::measure(usage, segments, links));
        tokio::spawn(self.clone().tell_news());
        tokio::spawn(self.clone().obey(orders));
    }

    /// The whole of what this worker does.
    pub fn report(&self) -> NodeReport {
        let used = self.usage.now();
        NodeReport {
            streams: self.outputs.catalogs(),
            upstreams: self.relays.report(),
            downstreams: self.outputs.subscribers(),
            draining: self.drain.report(),
            work: Some(WorkReport {
                version: self.orders().version(),
                busy_cores: used.busy_cores,
                machine_busy: used.machine_busy,
                memory_mib: used.memory_mib,
                sent_kbps: used.sent_kbps,
                instances: self.segments.report(),
            }),
            ..NodeReport::default()
        }
    }

    /// The same, with what `vitals` has to tell.
    pub fn report_with(&self, vitals: &Vitals) -> NodeReport {
        let mut report = self.report();
        let sent_bytes = self.sent.bytes.load(Ordering::Relaxed);
        vitals.add_to(&mut report, usage::pids(&self.segments), sent_bytes);
        report
    }

    /// Tells the coordinator something, if it is there to be told.
    fn tell(&self, message: FromNode) {
        if let Some(coordinator) = self.coordinator.get() {
            let _ = coordinator.try_send(message);
        }
    }

    async fn tell_news(self: Arc<Self>) {
        loop {
            self.news.notified().await;
            self.tell(FromNode::Report(self.report()));
            sleep(NEWS_APART).await;
        }
    }

    async fn obey(self: Arc<Self>, mut orders: mpsc::Receiver<ToNode>) {
        while let Some(order) = orders.recv().await {
            match order {
                ToNode::Directory(directory) => self.network.update(directory),
                ToNode::Work(order) => self.work(order),
                ToNode::Drain(given) => self.drain.begin(given),
                ToNode::Undrain => self.drain.take_back(),
                ToNode::Registered { .. }
                | ToNode::Refused { .. }
                | ToNode::Edge { .. }
                | ToNode::Renew { .. }
                | ToNode::Client { .. } => {}
            }
        }
    }

    fn work(&self, order: WorkOrder) {
        let (term, version) = (order.term.0, order.version);
        let means = Means {
            components: &self.components,
            memory_mib: self.offer.memory_mib,
            used_mib: self.usage.now().memory_mib,
            has_asset: &|name| has_file(&self.assets, name),
        };
        let mut orders = self.orders();
        let Some(taken) = orders.take(order, &means) else {
            return tracing::info!(term, version, "an order that is out of date");
        };
        self.make_so(&orders, &taken);
        drop(orders);
        for refused in &taken.answer.refused {
            tracing::warn!(instance = %refused.instance, why = refused.why, "refused");
        }
        self.tell(FromNode::Work(taken.answer));
        self.news.notify_one();
    }

    fn make_so(&self, orders: &Orders, taken: &Taken) {
        self.segments.obey(taken);
        let publish = orders.instances().filter(|spec| spec.publish);
        let publish: BTreeSet<InstanceId> = publish.map(|spec| spec.instance).collect();
        self.outputs.keep(&publish);
    }

    /// Stops all that runs here.
    pub fn drop_everything(&self) {
        let mut orders = self.orders();
        let stopped = orders.clear();
        self.make_so(&orders, &stopped);
    }
}

/// Whether a folder holds a file of this plain name.
fn has_file(folder: &Path, name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    plain && folder.join(name).is_file()
}

#[cfg(test)]
mod tests {
    #[test]
    fn assets_are_files_of_the_folder_itself() {
        let folder = tempfile::tempdir().unwrap();
        let assets = folder.path().join("assets");
        std::fs::create_dir_all(assets.join("inner")).unwrap();
        std::fs::write(assets.join("logo.png"), "").unwrap();
        std::fs::write(folder.path().join("secret"), "").unwrap();
        assert!(super::has_file(&assets, "logo.png"));
        for other in ["", "none.png", "inner", "../secret", "/etc/passwd", "inner/../logo.png"] {
            assert!(!super::has_file(&assets, other), "{other}");
        }
    }
}
