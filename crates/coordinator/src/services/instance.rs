//! One instance of a component on a worker: what it is told and what it reports.

use std::{collections::BTreeSet, time::Duration};

use gibbon_control::work::{InstanceReport, InstanceSpec, InstanceState, segment};
use gibbon_media::{Catalog, InstanceId, MediaTime, NodeId, ServiceId, StreamName};
use gibbon_placement::assign::StepNeed;

use super::{Services, strike};

/// A predecessor is withdrawn once nobody has subscribed to it for this long after its successor took over: the
/// reports that say so are that old …
pub const LEAVES_AFTER: Duration = Duration::from_millis(1500);
/// … and in any case after this.
pub const LEAVES_WITHIN: Duration = Duration::from_secs(15);

/// An instance.
#[derive(Debug)]
pub struct Instance {
    /// All that its worker is told of it.
    pub spec: InstanceSpec,
    /// The stream that it makes.
    pub stream: StreamName,
    /// Where it runs.
    pub worker: NodeId,
    /// What it is there for.
    pub stand: Stand,
    /// Since when it stands so.
    pub since: MediaTime,
    /// When it was first ordered, and with which version of its worker's orders; none: it has not been.
    pub ordered: Option<(u64, MediaTime)>,
    /// Whether its worker has said that it runs it.
    pub accepted: bool,
    /// The newest report of it.
    pub report: Option<InstanceReport>,
    /// Since when it has run, if it ever has.
    pub runs_since: Option<MediaTime>,
    /// What it publishes, once it does.
    pub catalog: Option<Catalog>,
    /// Cores and memory (MiB) that it is expected to take, and what its stream takes (kbit/s).
    pub expected: Expected,
    /// If it could not be moved: when that may be tried again.
    pub rests_until: MediaTime,
}

/// What an instance is expected to take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// Cores, sockets included.
    pub cores: f64,
    /// In MiB.
    pub memory_mib: u64,
    /// In kbit/s.
    pub out_kbps: u64,
}

impl Expected {
    /// Of a component that needs this, by whether frames come to it and go on raw.
    pub fn of(need: &StepNeed, comes_raw: bool, goes_on_raw: bool) -> Self {
        let decode = if comes_raw { 0.0 } else { need.decode_cores };
        let encode = if goes_on_raw { 0.0 } else { need.encode_cores };
        let (memory_mib, out_kbps) = (need.memory_mib, need.out_kbps);
        Self { cores: need.cores + decode + encode, memory_mib, out_kbps }
    }
}

/// What an instance is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// The one that services use.
    Active,
    /// It is to take the place of the active one when it runs.
    Coming,
    /// Its successor has taken over.
    Leaving,
}

impl Instance {
    /// One that is to be started.
    pub fn new(
        now: MediaTime,
        spec: InstanceSpec,
        worker: NodeId,
        stand: Stand,
        expected: Expected,
    ) -> Self {
        Self {
            stream: spec.stream(),
            spec,
            worker,
            stand,
            since: now,
            ordered: None,
            accepted: false,
            report: None,
            runs_since: None,
            catalog: None,
            expected,
            rests_until: now,
        }
    }

    /// Its worker reports how it is, and what it publishes, if it does.
    pub fn is_reported(
        &mut self,
        now: MediaTime,
        report: &InstanceReport,
        catalog: Option<&Catalog>,
    ) {
        self.accepted = true;
        if let Some(catalog) = catalog.filter(|_| self.spec.publish) {
            self.catalog = Some(catalog.clone());
        }
        self.report = Some(report.clone());
        if self.is_running() {
            self.runs_since.get_or_insert(now);
        }
    }

    /// The name of its component.
    pub fn component(&self) -> &str {
        self.spec.chain.components.last().map_or("", |spec| &spec.component)
    }

    /// How it is, as far as its worker has said.
    pub fn state(&self) -> &InstanceState {
        self.report.as_ref().map_or(&InstanceState::Starting, |report| &report.state)
    }

    /// Whether it works; where it publishes, whether its stream is there.
    pub fn is_running(&self) -> bool {
        *self.state() == InstanceState::Running && (!self.spec.publish || self.catalog.is_some())
    }

    /// Whether it publishes, as its worker has said.
    pub fn is_published(&self) -> bool {
        self.spec.publish && self.catalog.is_some()
    }

    /// Whether it may be withdrawn now that its successor has taken over.
    fn may_leave(&self, now: MediaTime) -> bool {
        let age = now.since(self.since);
        let subscribers = self.report.as_ref().map_or(0, |report| report.output.subscribers);
        let unused = !self.spec.publish || subscribers == 0;
        age > LEAVES_WITHIN || age > LEAVES_AFTER && unused
    }

    pub(super) fn excuse(&mut self, time: Duration) {
        self.since = self.since + time;
        self.ordered = self.ordered.map(|(version, at)| (version, at + time));
        self.runs_since = self.runs_since.map(|at| at + time);
    }
}

impl Services {
    /// All instances, in order of id.
    pub fn instances(&self) -> impl Iterator<Item = (InstanceId, &Instance)> {
        self.instances.iter().map(|(id, instance)| (*id, instance))
    }

    /// The instance of this id.
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.instances.get(&id)
    }

    /// The same, to be changed.
    pub fn instance_mut(&mut self, id: InstanceId) -> Option<&mut Instance> {
        self.instances.get_mut(&id)
    }

    /// Instances on `worker`.
    pub fn at(&self, worker: &NodeId) -> impl Iterator<Item = (InstanceId, &Instance)> {
        let there = self.workers.get(worker).into_iter().flatten();
        there.filter_map(|id| Some((*id, self.instances.get(id)?)))
    }

    /// The instance that makes `stream` for those who use it.
    pub fn active(&self, stream: &StreamName, replica: u8) -> Option<&Instance> {
        self.standing(stream, replica, Stand::Active)
    }

    /// The one that makes `stream` and stands so.
    pub fn standing(&self, stream: &StreamName, replica: u8, stand: Stand) -> Option<&Instance> {
        let of_the_stream = self.makers.get(stream).into_iter().flatten();
        let mut instances = of_the_stream.filter_map(|id| self.instances.get(id));
        instances.find(|instance| instance.stand == stand && instance.spec.replica == replica)
    }

    /// All that make `stream`, however they stand.
    pub fn makers(&self, stream: &StreamName) -> impl Iterator<Item = &Instance> {
        let of_the_stream = self.makers.get(stream).into_iter().flatten();
        of_the_stream.filter_map(|id| self.instances.get(id))
    }

    /// Reckons what the instances of a service that was taken up are expected to take.
    pub fn expect(&mut self, service: ServiceId) {
        let Some(service) = self.services.get(&service) else { return };
        for (step, stream) in service.made() {
            let Some(need) = service.needs.get(step) else { continue };
            for id in self.makers.get(stream).into_iter().flatten() {
                if let Some(instance) = self.instances.get_mut(id) {
                    let comes_raw = instance.spec.raw_from().is_some();
                    instance.expected = Expected::of(need, comes_raw, !instance.spec.publish);
                }
            }
        }
    }

    /// Takes an instance in.
    pub fn insert(&mut self, instance: Instance) {
        let id = instance.spec.instance;
        self.makers.entry(instance.stream.clone()).or_default().insert(id);
        self.workers.entry(instance.worker.clone()).or_default().insert(id);
        self.instances.insert(id, instance);
    }

    fn take_out(&mut self, id: InstanceId) -> Option<Instance> {
        let instance = self.instances.remove(&id)?;
        strike(&mut self.makers, &instance.stream, &id);
        strike(&mut self.workers, &instance.worker, &id);
        Some(instance)
    }

    /// Whether a service needs `instance`, and which do.
    pub fn used_by(&self, instance: &Instance) -> Vec<ServiceId> {
        self.users(&instance.stream, instance.spec.replica)
    }

    /// `root` and all that hang on it raw, each after what it hangs on.
    pub fn hanging_on(&self, root: InstanceId) -> Vec<InstanceId> {
        let Some(root) = self.instance(root) else { return Vec::new() };
        let there: Vec<_> = self.at(&root.worker).map(|(_, instance)| &instance.spec).collect();
        segment(&root.spec, &there).into_iter().map(|spec| spec.instance).collect()
    }

    /// The instance that the segment of `instance` begins with.
    pub fn root_of(&self, instance: InstanceId) -> InstanceId {
        let mut root = instance;
        // A chain is bounded, and so is the way up.
        while let Some(upstream) = self.instance(root).and_then(|i| i.spec.raw_from()) {
            root = upstream;
        }
        root
    }

    /// Removes an instance and all that hang on it raw.
    pub fn remove(&mut self, instance: InstanceId) -> Vec<Instance> {
        let all = self.hanging_on(instance);
        all.into_iter().filter_map(|id| self.take_out(id)).collect()
    }

    /// Removes what ran on a worker that is gone.
    pub fn worker_lost(&mut self, worker: &NodeId) -> Vec<Instance> {
        let there: Vec<_> = self.at(worker).map(|(id, _)| id).collect();
        there.into_iter().filter_map(|id| self.take_out(id)).collect()
    }

    /// Withdraws what no service needs and what has been succeeded, and says anew what each instance is told.
    pub fn settle(&mut self, now: MediaTime) {
        let unused = |(_, i): &(InstanceId, &Instance)| match i.stand {
            Stand::Leaving => i.may_leave(now),
            Stand::Active | Stand::Coming => self.used_by(i).is_empty(),
        };
        let mut unused: Vec<_> = self.instances().filter(unused).map(|(id, _)| id).collect();
        // What hangs on another goes before it; what is still needed keeps all that it hangs on.
        unused.sort_by_key(|id| {
            std::cmp::Reverse(self.instance(*id).map_or(0, |i| i.spec.chain.components.len()))
        });
        for id in unused {
            if self.hanging_on(id).len() == 1 {
                self.take_out(id);
            }
        }
        self.refresh();
    }

    /// Leaving ones stay as they are.
    fn refresh(&mut self) {
        let read: BTreeSet<_> = self.instances.values().filter_map(|i| i.spec.reads()).collect();
        let told = |instance: &Instance| {
            let users = self.used_by(instance);
            let ends_here = |id: &ServiceId| {
                let streams = self.get(*id).map(|service| service.streams(instance.spec.replica));
                streams.and_then(<[_]>::last) == Some(&instance.stream)
            };
            let publish = users.iter().any(ends_here) || read.contains(&instance.stream);
            let references = users.iter().filter_map(|id| Some(self.get(*id)?.reference(*id)));
            (publish, references.collect::<Vec<_>>())
        };
        let current = self.instances().filter(|(_, i)| i.stand != Stand::Leaving);
        let told: Vec<_> = current.map(|(id, instance)| (id, told(instance))).collect();
        for (id, (publish, services)) in told {
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            (instance.spec.publish, instance.spec.services) = (publish, services);
            if !publish {
                instance.catalog = None;
            }
        }
    }
}
