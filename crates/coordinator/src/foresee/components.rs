//! Components ahead of need: the decision for legs, made for components and workers.

mod grounds;

use std::{collections::BTreeMap, time::Duration};

use gibbon_control::portal::{DecidedBy, Grounds};
use gibbon_media::{InstanceId, MediaTime, NodeId, Priority, StreamName};
use gibbon_placement::{
    assign::WorkerState,
    foresight::{
        Link, NodeIndex, NodeOutlook, Pace, Policy, changes,
        components::{Component, pass},
    },
    predict::Load,
};

use super::{NOTE_EVERY, Picture};
use crate::{
    registry::MAX_NODES,
    services::{Instance, Services, Stand},
};

/// Beyond this share of its cores, what a worker runs comes late.
pub const LIMIT: f64 = 0.9;
/// How long a component's hand-off takes, from its order until its successor runs.
const LEAD: Duration = Duration::from_secs(10);
/// It is to move before more than this part of what it makes would come late.
const MARGIN: f64 = 0.05;
/// A load is more than so many deviations above its forecast in [`MARGIN`] of all cases (normal distribution).
const CAUTION: f64 = 1.645;
/// What is measured while a component starts says nothing of what it will take: until then only who must moves.
const SETTLES: Duration = Duration::from_secs(10);
/// What an idle component is taken to use at least, in cores: so that a move of it changes something.
const LEAST_CORES: f64 = 0.01;
/// What carries one of two replicas alone is missed so much.
const ONE_OF_TWO: f64 = 0.5;

/// A component, wherever it runs: what it makes, and for which replica.
type Key = (StreamName, u8);

/// What is kept of workers and components from pass to pass.
#[derive(Default)]
pub struct Components {
    workers: BTreeMap<NodeId, Load>,
    /// Workers by index: one keeps its place.
    names: Vec<NodeId>,
    components: BTreeMap<Key, Kept>,
    noted: MediaTime,
    looked: MediaTime,
}

struct Kept {
    /// When it was first seen to run.
    since: MediaTime,
    pace: Pace,
    /// Where it would be if nothing had ever been moved for load.
    home: NodeId,
}

/// A segment that is to move.
#[derive(Debug, Clone)]
pub struct Relocation {
    /// The instance that it begins with.
    pub root: InstanceId,
    /// Where it is to run.
    pub to: NodeId,
    /// Why.
    pub grounds: Grounds,
}

impl Components {
    /// Whether the next pass is due. If so, it is reckoned as done.
    pub fn is_due(&mut self, now: MediaTime, period: Duration) -> bool {
        let due = now.since(self.looked) >= period;
        if due {
            self.looked = now;
        }
        due
    }

    /// Notes how busy workers are, if it is time.
    pub fn note(&mut self, now: MediaTime, workers: &[WorkerState], services: &Services) {
        if now.since(self.noted) < NOTE_EVERY {
            return;
        }
        self.noted = now;
        self.workers.retain(|id, _| workers.iter().any(|worker| worker.id == *id));
        let (moved, starting) = (self.moved(services), self.starting(services, now));
        for worker in workers.iter().filter(|worker| worker.up && worker.cores > 0.0) {
            // Its past begins when what it takes is known.
            if !self.workers.contains_key(&worker.id) && starting.contains_key(&worker.id) {
                continue;
            }
            let moved = moved.get(&worker.id).copied().unwrap_or(0.0);
            let demand = ((worker.measured_cores + moved) / worker.cores).max(0.0);
            let load = self.workers.entry(worker.id.clone()).or_insert_with(|| Load::begin(now));
            load.update(now, demand);
        }
    }

    /// Cores that each worker would have to give if nothing had been moved, beyond what it gives.
    fn moved(&self, services: &Services) -> BTreeMap<NodeId, f64> {
        let mut moved: BTreeMap<NodeId, f64> = BTreeMap::new();
        for (root, instance) in roots(services) {
            let kept = self.components.get(&key(instance));
            let Some(Kept { home, .. }) = kept else { continue };
            if *home != instance.worker {
                let cores = cores(services, root);
                *moved.entry(home.clone()).or_default() += cores;
                *moved.entry(instance.worker.clone()).or_default() -= cores;
            }
        }
        moved
    }

    /// One pass; `present`: as if all stayed as it is, and nothing were announced. `may` says of a segment whether it
    /// can be moved now.
    pub fn pass(
        &mut self,
        picture: &Picture<'_>,
        workers: &[WorkerState],
        services: &Services,
        policy: &Policy,
        present: bool,
        may: impl Fn(InstanceId) -> bool,
    ) -> Vec<Relocation> {
        let now = picture.now;
        let by = if present { DecidedBy::Threshold } else { DecidedBy::Foresight };
        let caution = if present { policy.caution } else { CAUTION };
        let policy = Policy { lead: LEAD, margin: MARGIN, caution, ..policy.clone() };
        self.take_in(workers);
        self.follow(services, now);
        let starting = self.starting(services, now);
        let outlook = |id| self.outlook(picture, workers, &starting, id, present);
        let mut outlooks: Vec<_> = self.names.iter().map(outlook).collect();
        let (roots, mut components): (Vec<_>, Vec<_>) = roots(services)
            .filter_map(|root| Some((root, self.component(picture, workers, services, root)?)))
            .filter(|((root, instance), component)| {
                let moves = component.bound_for.is_some() || may(*root);
                let at = &outlooks[component.at.at()];
                let settled = at.leaves_at.is_some() || self.has_settled(&key(instance), now);
                moves && settled && !at.closed
            })
            .unzip();
        let decided = pass(&mut components, &mut outlooks, &policy, now);
        for (component, (_, instance)) in components.iter().zip(&roots) {
            if let Some(kept) = self.components.get_mut(&key(instance)) {
                kept.pace = component.pace.clone();
            }
        }
        let mut relocations = Vec::new();
        for relocation in decided {
            let (root, instance) = roots[relocation.component];
            let component = &components[relocation.component];
            let to = outlooks[relocation.to.at()].id.clone();
            let grounds = grounds::of(component, &relocation, &outlooks, &policy, now);
            let grounds = Grounds { decided_by: by, ..grounds };
            relocations.push(Relocation { root, to, grounds });
            if let Some(kept) = self.components.get_mut(&key(instance)) {
                kept.pace.moved([relocation.from; 2], [relocation.to; 2], &policy, now);
            }
        }
        relocations
    }

    /// Components that came or went.
    fn follow(&mut self, services: &Services, now: MediaTime) {
        let all: BTreeMap<_, _> = roots(services).map(|(_, i)| (key(i), &i.worker)).collect();
        self.components.retain(|known, _| all.contains_key(known));
        for (key, worker) in all {
            let new = || Kept { since: now, pace: Pace::default(), home: worker.clone() };
            self.components.entry(key).or_insert_with(new);
        }
    }

    /// Whether it has run for a while where it is.
    fn has_settled(&self, key: &Key, now: MediaTime) -> bool {
        let since = |kept: &Kept| kept.pace.last().unwrap_or(kept.since);
        self.components.get(key).is_some_and(|kept| now.since(since(kept)) >= SETTLES)
    }

    /// Workers on which something has not run for long, and the cores that it is expected to keep busy.
    fn starting<'a>(&self, services: &'a Services, now: MediaTime) -> BTreeMap<&'a NodeId, f64> {
        let mut starting = BTreeMap::new();
        for (root, instance) in roots(services) {
            if !self.has_settled(&key(instance), now) {
                *starting.entry(&instance.worker).or_default() += cores(services, root);
            }
        }
        starting
    }

    /// A segment as it is weighed.
    fn component(
        &self,
        picture: &Picture<'_>,
        workers: &[WorkerState],
        services: &Services,
        (root, instance): (InstanceId, &Instance),
    ) -> Option<Component> {
        let places = places(picture, workers, services, (root, instance)).into_iter();
        let successor = services.standing(&instance.stream, instance.spec.replica, Stand::Coming);
        let kept = self.components.get(&key(instance));
        Some(Component {
            at: self.index(&instance.worker)?,
            priority: priority(services, instance),
            weight: cores(services, root),
            carries: carries(services, instance),
            lead: LEAD,
            places: places.filter_map(|(to, links)| Some((self.index(to)?, links))).collect(),
            bound_for: successor.and_then(|successor| self.index(&successor.worker)),
            pace: kept.map(|kept| kept.pace.clone()).unwrap_or_default(),
        })
    }

    fn index(&self, worker: &NodeId) -> Option<NodeIndex> {
        let at = self.names.iter().position(|name| name == worker)?;
        Some(NodeIndex(at as u32))
    }

    /// New workers get an index; one that is gone keeps it, until there are too many.
    fn take_in(&mut self, workers: &[WorkerState]) {
        if self.names.len() >= 2 * MAX_NODES {
            self.names.clear();
            self.components.values_mut().for_each(|kept| kept.pace = Pace::default());
        }
        for worker in workers {
            if !self.names.contains(&worker.id) {
                self.names.push(worker.id.clone());
            }
        }
    }

    fn outlook(
        &self,
        picture: &Picture<'_>,
        workers: &[WorkerState],
        starting: &BTreeMap<&NodeId, f64>,
        id: &NodeId,
        present: bool,
    ) -> NodeOutlook {
        let mut outlook = NodeOutlook::new(id.clone());
        let Some(worker) = workers.iter().find(|worker| worker.id == *id) else {
            outlook.closed = true;
            return outlook;
        };
        outlook.position = worker.position;
        // One that is lost is left by others, at once.
        outlook.closed = worker.draining || !worker.up || worker.cores <= 0.0;
        outlook.reported = picture.registry.reported(&worker.id).unwrap_or_default();
        outlook.limit = LIMIT;
        outlook.per_leg = if worker.cores > 0.0 { 1.0 / worker.cores } else { 0.0 };
        outlook.leaves_at =
            picture.leaves_at(&worker.id).filter(|at| !present || *at <= picture.now);
        let busy = worker.measured_cores * outlook.per_leg;
        match self.workers.get(&worker.id).filter(|_| !present) {
            Some(demand) => outlook.expect_all(changes(demand, busy, picture.now)),
            None => outlook.expect_flat(busy),
        }
        // What is measured does not show yet what starts; of all else it shows what that takes indeed.
        if let Some(starting) = starting.get(id) {
            let promised = worker.busy_cores.min(worker.measured_cores + starting);
            let promised = promised * outlook.per_leg;
            outlook.load.iter_mut().for_each(|at| at.load = at.load.max(promised));
        }
        outlook
    }
}

fn key(instance: &Instance) -> Key {
    (instance.stream.clone(), instance.spec.replica)
}

/// What moves: active segments, by the instance that each begins with.
fn roots(services: &Services) -> impl Iterator<Item = (InstanceId, &Instance)> {
    services.instances().filter(|(_, i)| i.spec.raw_from().is_none() && i.stand == Stand::Active)
}

/// The highest priority of those that it works for.
fn priority(services: &Services, instance: &Instance) -> Priority {
    let users = services.used_by(instance);
    let users = users.iter().filter_map(|id| services.get(*id));
    users.map(|service| service.priority).max().unwrap_or_default()
}

/// What is missed without it: half where all that it works for have a standby.
fn carries(services: &Services, instance: &Instance) -> f64 {
    let users = services.used_by(instance);
    let mut users = users.iter().filter_map(|id| services.get(*id));
    if users.all(|service| service.standby) { ONE_OF_TWO } else { 1.0 }
}

/// What a segment is expected to take.
fn cores(services: &Services, root: InstanceId) -> f64 {
    let segment = services.hanging_on(root);
    let instances = segment.iter().filter_map(|id| services.instance(*id));
    instances.map(|instance| instance.expected.cores).sum::<f64>().max(LEAST_CORES)
}

/// Where a segment might run, and the link there from whom it has its media.
fn places<'a>(
    picture: &Picture<'_>,
    workers: &'a [WorkerState],
    services: &Services,
    (root, instance): (InstanceId, &Instance),
) -> Vec<(&'a NodeId, Vec<Link>)> {
    let segment = services.hanging_on(root);
    let segment: Vec<_> = segment.iter().filter_map(|id| services.instance(*id)).collect();
    let memory: u64 = segment.iter().map(|instance| instance.expected.memory_mib).sum();
    let source = instance.report.as_ref().and_then(|report| report.input.peer.clone());
    let fits = |worker: &&WorkerState| {
        let offers = |i: &&Instance| worker.components.iter().any(|name| name == i.component());
        worker.id == instance.worker
            || worker.up
                && segment.iter().all(offers)
                && worker.used_memory_mib.saturating_add(memory) <= worker.memory_mib
    };
    let link = |to: &NodeId| {
        let link = source.as_ref().and_then(|from| picture.telemetry.link(picture.now, from, to));
        vec![link.unwrap_or_default()]
    };
    workers.iter().filter(fits).map(|worker| (&worker.id, link(&worker.id))).collect()
}
