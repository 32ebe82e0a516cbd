//! All segments of this worker.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gibbon_control::work::InstanceReport;
use gibbon_media::InstanceId;
use gibbon_relay::Relays;
use tokio::sync::{Notify, watch};

use crate::{
    orders::{Segment, Taken},
    outputs::Outputs,
    state::State,
    supervisor,
};

/// What segments work with.
pub struct Surroundings {
    /// Where their input comes from.
    pub relays: Arc<Relays>,
    /// Where their output goes.
    pub outputs: Arc<Outputs>,
    /// What this program is to be started with as a segment.
    pub arguments: Vec<String>,
    /// Folder with files that components may use.
    pub assets: PathBuf,
    /// Font for text in pictures.
    pub font: PathBuf,
    /// Something has changed that the coordinator should know at once.
    pub news: Arc<Notify>,
}

/// One segment. Dropped, it ends.
struct Running {
    wanted: watch::Sender<Segment>,
    state: Arc<State>,
}

/// All segments.
pub struct Segments {
    around: Arc<Surroundings>,
    running: Mutex<BTreeMap<InstanceId, Running>>,
}

impl Segments {
    pub fn new(around: Surroundings) -> Self {
        Self { around: Arc::new(around), running: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it so.
    pub fn obey(&self, taken: &Taken) {
        let mut running = self.lock();
        for root in &taken.stop {
            running.remove(root);
        }
        for segment in &taken.change {
            if let Some(running) = running.get(&segment.root()) {
                running.wanted.send_replace(segment.clone());
            }
        }
        for segment in &taken.start {
            let (wanted, receiver) = watch::channel(segment.clone());
            let state = Arc::<State>::default();
            tokio::spawn(supervisor::run(self.around.clone(), receiver, state.clone()));
            running.insert(segment.root(), Running { wanted, state });
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Reports on all instances.
    pub fn report(&self) -> Vec<InstanceReport> {
        let running = self.lock();
        let reports = running.values().map(|r| r.state.report(&r.wanted.borrow(), &self.around));
        reports.flatten().collect()
    }

    /// The processes that run.
    pub fn pids(&self) -> Vec<u32> {
        self.lock().values().filter_map(|running| running.state.pid()).collect()
    }
}
