//! Services, and the instances of components that work for them.
//!
//! What is wanted follows from the services: one active instance for each (prefix of a chain, replica) that any
//! of them needs. Equal prefixes are shared. While components are moved, successors are coming; afterwards their
//! predecessors are leaving until nobody subscribes to them any more. All that workers are told is made of this.

mod instance;
mod moves;
mod naming;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use gibbon_components::Chain;
use gibbon_control::{
    node::Location,
    services::{ComponentExplanation, ComponentMove, MoveWhy, ServiceState},
    work::{InstanceState, MAX_SERVICES as MAX_SHARED, ServiceRef},
};
use gibbon_media::{InstanceId, MediaTime, NodeId, Priority, ServiceId, StreamName};
use gibbon_placement::assign::StepNeed;

pub use instance::{Expected, Instance, LEAVES_AFTER, LEAVES_WITHIN, Stand};
pub use moves::{MAX_TRIES, Move, Moves, REST, RUN_WITHIN, Standing};

/// Services at once, failed ones included.
pub const MAX_SERVICES: usize = 1024;
/// A service that nobody watches ends after this …
pub const LINGER: Duration = Duration::from_secs(15);
/// … but not before it is this old.
pub const WATCH_WITHIN: Duration = Duration::from_secs(30);
/// A service that failed is remembered this long, to say why.
pub const FAILED_FOR: Duration = Duration::from_secs(60);
/// A service of which nothing has come by then has failed.
pub const BUILD_WITHIN: Duration = Duration::from_secs(60);
/// A worker that has refused or failed a component is not chosen for it again for this long.
pub const SHUN: Duration = Duration::from_secs(30);
/// Once it has run, a service that no worker has room for is tried again after this.
pub const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Refusals remembered of one service.
const MAX_REFUSALS: usize = 64;
/// Moves of components remembered of one service.
const MAX_MOVES: usize = 8;

/// A service.
#[derive(Debug)]
pub struct Service {
    /// The name it was asked for by, if it is one of the catalogue.
    pub name: Option<String>,
    /// Its components, every parameter spelt out.
    pub chain: Chain,
    /// The stream of each prefix of the chain, by replica; the last is what it makes.
    streams: [Vec<StreamName>; 2],
    /// What each component needs; empty if that has not been reckoned yet.
    pub needs: Vec<StepNeed>,
    /// How much it matters.
    pub priority: Priority,
    /// Whether it stays when nobody watches.
    pub keep: bool,
    /// Whether a second chain runs.
    pub standby: bool,
    /// Where its client is.
    pub location: Option<Location>,
    /// Why its components are where they are, by replica.
    pub explained: [Vec<ComponentExplanation>; 2],
    /// Moves of its components, the newest last.
    moves: VecDeque<MoveWhy>,
    /// When it was asked for, and when it was last watched.
    pub created: MediaTime,
    used: MediaTime,
    /// Whether its stream has been published, and whether all of it has run.
    ran: bool,
    whole: bool,
    /// Why it could not be built, and when that was clear.
    failed: Option<(String, MediaTime)>,
    /// What keeps it from being whole, if that is not an instance's.
    amiss: Option<String>,
    /// When building it may be tried again.
    pub retry_at: MediaTime,
    refusals: Vec<Refusal>,
    /// What was last told of it.
    told: Option<(ServiceState, Option<String>)>,
}

/// A worker would not, or could not.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Which.
    pub worker: NodeId,
    /// The component concerned, by its place from 0 on.
    pub step: usize,
    /// As in "worker-1 …".
    pub why: String,
    at: MediaTime,
}

impl Service {
    /// A service that is to be built.
    pub fn new(now: MediaTime, chain: Chain, reference: ServiceRef) -> Self {
        let ServiceRef { service: _, name, priority, keep, standby } = reference;
        let prefixes = || (1..=chain.components.len()).map(|length| chain.prefix(length));
        let streams =
            [0, 1].map(|replica| prefixes().map(|prefix| prefix.stream_of(replica)).collect());
        Self {
            name,
            chain,
            streams,
            needs: Vec::new(),
            priority,
            keep,
            standby,
            location: None,
            explained: Default::default(),
            moves: VecDeque::new(),
            created: now,
            used: now,
            ran: false,
            whole: false,
            failed: None,
            amiss: None,
            retry_at: now,
            refusals: Vec::new(),
            told: None,
        }
    }

    /// The stream that it makes.
    pub fn stream(&self) -> &StreamName {
        // A checked chain has a component.
        self.streams(0).last().unwrap_or(&self.chain.source)
    }

    /// What the first components make, for each number of them, in this replica.
    pub fn streams(&self, replica: u8) -> &[StreamName] {
        &self.streams[usize::from(replica.min(1))]
    }

    /// The same of both replicas, whether there is a standby or not: each stream once, with the place of the
    /// component that makes it, from 0 on.
    pub fn made(&self) -> impl Iterator<Item = (usize, &StreamName)> {
        let [first, second] = &self.streams;
        let apart = |(at, stream): &(usize, &StreamName)| first.get(*at) != Some(*stream);
        first.iter().enumerate().chain(second.iter().enumerate().filter(apart))
    }

    /// 0, and 1 if there is a standby.
    pub fn replicas(&self) -> std::ops::Range<u8> {
        0..1 + u8::from(self.standby)
    }

    /// Whether it could not be built.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Whether anything of it has ever been published.
    pub fn has_run(&self) -> bool {
        self.ran
    }

    /// Whether its last component is known: that of a service taken up from reports may not be, yet.
    pub fn is_complete(&self) -> bool {
        self.chain.components.last().is_some_and(|spec| spec.component == crate::builder::LAST)
    }

    /// The same, asked for again.
    pub fn is_like(&self, chain: &Chain, asked: &ServiceRef) -> bool {
        !self.has_failed()
            && self.chain == *chain
            && (&self.name, self.priority, self.keep, self.standby)
                == (&asked.name, asked.priority, asked.keep, asked.standby)
    }

    /// How an instance remembers it.
    pub fn reference(&self, service: ServiceId) -> ServiceRef {
        let Self { name, priority, keep, standby, .. } = self;
        let (name, priority, keep, standby) = (name.clone(), *priority, *keep, *standby);
        ServiceRef { service, name, priority, keep, standby }
    }

    /// A worker would not run the component that makes `stream`, or could not.
    pub fn refused(&mut self, now: MediaTime, worker: &NodeId, stream: &StreamName, why: String) {
        let step = self.made().find_map(|(step, made)| (made == stream).then_some(step));
        let Some(step) = step else { return };
        self.refusals.retain(|refusal| (&refusal.worker, refusal.step) != (worker, step));
        if self.refusals.len() < MAX_REFUSALS {
            self.refusals.push(Refusal { worker: worker.clone(), step, why, at: now });
        }
    }

    /// Components of it begin to move. No others do: there is one move of a service at a time.
    pub fn move_begins(&mut self, begun: MoveWhy) {
        if self.moves.len() == MAX_MOVES {
            self.moves.pop_front();
        }
        self.moves.push_back(begun);
    }

    /// How that goes on.
    pub fn move_goes_on(&mut self, moved: &ComponentMove) {
        if let Some(newest) = self.moves.back_mut() {
            newest.moved = moved.clone();
        }
    }

    /// Moves of its components, the newest last, and why.
    pub fn moves(&self) -> Vec<MoveWhy> {
        self.moves.iter().cloned().collect()
    }

    /// Workers that would not, or could not, of late; of one that never ran, all of them.
    pub fn refusals(&self, now: MediaTime) -> impl Iterator<Item = &Refusal> {
        self.refusals.iter().filter(move |r| !self.ran || now.since(r.at) < SHUN)
    }

    /// No worker can be had for it. Whether it has failed by that: one that ran is tried again.
    pub fn cannot_be_built(&mut self, now: MediaTime, why: String) -> bool {
        self.retry_at = now + RETRY_AFTER;
        if !self.ran {
            self.failed = Some((why, now));
            return true;
        }
        self.amiss = Some(why);
        false
    }

    /// All of it has a worker.
    pub fn is_assigned(&mut self) {
        self.amiss = None;
    }

    fn is_over(&self, now: MediaTime) -> bool {
        if let Some((_, at)) = &self.failed {
            return now.since(*at) > FAILED_FOR;
        }
        let idle = now.since(self.used) > LINGER;
        let abandoned = !self.keep && now.since(self.created) > WATCH_WITHIN;
        idle && (abandoned || !self.is_complete())
    }
}

/// All services and instances.
#[derive(Debug, Default)]
pub struct Services {
    services: BTreeMap<ServiceId, Service>,
    instances: BTreeMap<InstanceId, Instance>,
    /// Services by the streams of the prefixes that they need.
    needing: BTreeMap<StreamName, BTreeSet<ServiceId>>,
    /// Instances by the stream that they make, and by their worker.
    makers: BTreeMap<StreamName, BTreeSet<InstanceId>>,
    workers: BTreeMap<NodeId, BTreeSet<InstanceId>>,
    /// Components that are being moved.
    pub moves: Moves,
}

impl Services {
    /// A new service, to be built.
    pub fn add(&mut self, id: ServiceId, service: Service) {
        for (_, stream) in service.made() {
            self.needing.entry(stream.clone()).or_default().insert(id);
        }
        self.services.insert(id, service);
    }

    /// Ends a service; what it alone needed is withdrawn at the next [`settle`](Self::settle).
    pub fn end(&mut self, id: ServiceId) -> Option<Service> {
        let service = self.services.remove(&id)?;
        service.made().for_each(|(_, stream)| strike(&mut self.needing, stream, &id));
        Some(service)
    }

    /// Whether there is room for one more.
    pub fn is_full(&self) -> bool {
        self.services.len() >= MAX_SERVICES
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.instances.is_empty()
    }

    /// The service of this id.
    pub fn get(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(&id)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: ServiceId) -> Option<&mut Service> {
        self.services.get_mut(&id)
    }

    /// All services, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (ServiceId, &Service)> {
        self.services.iter().map(|(id, service)| (*id, service))
    }

    /// Services that make `stream`, the oldest first; failed ones do not.
    pub fn making<'a>(&'a self, stream: &StreamName) -> Vec<(ServiceId, &'a Service)> {
        let needing = self.needing.get(stream).into_iter().flatten();
        let services = needing.filter_map(|id| Some((*id, self.services.get(id)?)));
        let making = |(_, s): &(ServiceId, &Service)| s.stream() == stream && !s.has_failed();
        let mut services: Vec<_> = services.filter(making).collect();
        services.sort_by_key(|(id, service)| (service.created, *id));
        services
    }

    /// Services that need `replica` of what makes `stream`, in order of id.
    pub fn users(&self, stream: &StreamName, replica: u8) -> Vec<ServiceId> {
        let uses = |id: &&ServiceId| {
            let needs = |s: &Service| !s.has_failed() && s.replicas().contains(&replica);
            self.services.get(id).is_some_and(needs)
        };
        self.needing.get(stream).into_iter().flatten().filter(uses).copied().collect()
    }

    /// Whether all that a service needs may be shared by one more.
    pub fn may_share(&self, service: &Service) -> bool {
        // A standby is needed by no more than the first chain.
        service.streams(0).iter().all(|stream| self.users(stream, 0).len() < MAX_SHARED)
    }

    /// How a service is, and what is amiss.
    pub fn state(&self, service: &Service) -> (ServiceState, Option<String>) {
        if let Some((why, _)) = &service.failed {
            return (ServiceState::Failed, Some(why.clone()));
        }
        let (mut running, mut lacking, mut trouble) = (true, false, None);
        for replica in service.replicas() {
            for (at, stream) in service.streams(replica).iter().enumerate() {
                let instance = self.active(stream, replica);
                running &= instance.is_some_and(Instance::is_running);
                lacking |= instance.is_none();
                let why = || instance.and_then(|instance| amiss(at, instance));
                trouble = trouble.or_else(why);
            }
        }
        // What is lacking may have been brought by another service that shares it.
        let trouble = trouble.or_else(|| service.amiss.clone().filter(|_| lacking));
        let published = self.published(service.stream()).next().is_some();
        match (published, trouble) {
            (true, None) if running || !service.whole => (ServiceState::Running, None),
            (true, why) => (ServiceState::Impaired, Some(why.unwrap_or_else(mending))),
            (false, why) if service.ran => {
                (ServiceState::Impaired, Some(why.unwrap_or_else(mending)))
            }
            (false, why) => (ServiceState::Starting, why),
        }
    }

    /// Takes note of what has changed since it was last told. Returns what is to be told now.
    pub fn news(&mut self) -> Vec<(ServiceId, StreamName, ServiceState, Option<String>)> {
        let mut news = Vec::new();
        let states: Vec<_> = self.iter().map(|(id, service)| (id, self.state(service))).collect();
        for (id, state) in states {
            let Some(service) = self.services.get_mut(&id) else { continue };
            if service.told.as_ref() != Some(&state) {
                news.push((id, service.stream().clone(), state.0, state.1.clone()));
                service.told = Some(state);
            }
        }
        news
    }

    /// Notes what runs and which services are watched, `watched` telling how many sessions watch a stream.
    pub fn note(&mut self, now: MediaTime, watched: impl Fn(&StreamName) -> u32) {
        let runs = |s: &Service| {
            let all = |replica| {
                let running =
                    |stream| self.active(stream, replica).is_some_and(Instance::is_running);
                s.streams(replica).iter().all(running)
            };
            let published = self.published(s.stream()).next().is_some();
            (published, published && s.replicas().all(all))
        };
        let stands: Vec<_> = self.iter().map(|(id, service)| (id, runs(service))).collect();
        for (id, (published, whole)) in stands {
            let Some(service) = self.services.get_mut(&id) else { continue };
            service.ran |= published;
            service.whole |= whole;
            if watched(service.stream()) > 0 {
                service.used = now;
            }
        }
    }

    /// Services that are to end: nobody watches them, or they failed some time ago.
    pub fn over(&self, now: MediaTime) -> Vec<ServiceId> {
        self.iter().filter(|(_, service)| service.is_over(now)).map(|(id, _)| id).collect()
    }

    /// Nobody could be heard for `time`: it does not count.
    pub fn excuse(&mut self, time: Duration) {
        for service in self.services.values_mut() {
            service.created = service.created + time;
            service.used = service.used + time;
        }
        for instance in self.instances.values_mut() {
            instance.excuse(time);
        }
        self.moves.excuse(time);
    }
}

/// Takes `value` out of an index.
fn strike<K: Ord, V: Ord>(index: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(values) = index.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            index.remove(key);
        }
    }
}

fn mending() -> String {
    "components are being started anew".to_owned()
}

/// What is amiss with the component at this place, counted from 0.
fn amiss(at: usize, instance: &Instance) -> Option<String> {
    let (InstanceState::Restarting { why } | InstanceState::Failed { why }) = instance.state()
    else {
        return None;
    };
    Some(format!("component {}, {} on {}: {why}", at + 1, instance.component(), instance.worker))
}
