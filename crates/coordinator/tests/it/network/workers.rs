//! Scripted workers: each does as it is told, unless the test has it do otherwise.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_components::{Chain, parse};
use gibbon_control::{
    node::{Draining, FromNode, NodeReport, ToNode},
    portal::{Event, MaintenanceRequest},
    services::{MoveStep, MoveWhy, ServiceInfo, ServiceRequest, ServiceState},
    work::{
        Input, InstanceReport, InstanceSpec, InstanceState, Refused, SocketReport, WorkAnswer,
        WorkOrder, WorkReport, WorkerOffer,
    },
};
use gibbon_coordinator::manager::Refusal;
use gibbon_media::{Catalog, NodeId, Scheme, ServiceId, StreamName};

use super::{Network, SECOND, catalog, id, link, registration};

/// What a worker offers unless the test says otherwise: all components, and one core.
pub fn offer() -> WorkerOffer {
    let all = gibbon_components::catalogue::ALL.iter().map(|entry| entry.name.to_owned());
    WorkerOffer { components: all.collect(), cores: 1.0, memory_mib: 8192, uplink_kbps: None }
}

#[derive(Clone)]
pub struct Worker {
    pub order: Option<WorkOrder>,
    /// Whether it reports at all, and answers orders.
    pub up: bool,
    pub answers: bool,
    /// Whether what it runs puts anything out.
    pub puts_out: bool,
    /// Components that it refuses, and those that cannot run here.
    pub refuses: BTreeMap<String, String>,
    pub fails: BTreeSet<String>,
    pub draining: Option<Draining>,
    /// Cores that it keeps busy.
    pub busy: f64,
}

/// A network with workers.
pub struct Scene {
    pub network: Network,
    pub workers: BTreeMap<String, Worker>,
    /// Who subscribes to streams of workers: as many as this.
    pub subscribers: BTreeMap<(String, StreamName), u32>,
    services: u64,
}

pub fn request(list: &str) -> ServiceRequest {
    ServiceRequest {
        stream: "live/bbb".parse().unwrap(),
        service: None,
        components: if list.is_empty() { vec![] } else { parse(list).unwrap() },
        location: None,
        priority: Default::default(),
        keep: true,
        standby: false,
    }
}

/// The stream that a list makes of `live/bbb`.
pub fn made(list: &str) -> StreamName {
    let chain = Chain { source: "live/bbb".parse().unwrap(), components: parse(list).unwrap() };
    chain.canonical().unwrap().stream()
}

impl Scene {
    /// With these workers, after the coordinator has merely looked on.
    pub fn with(names: &[&str]) -> Self {
        let mut scene = Self::new(1);
        names.iter().for_each(|name| scene.add(name));
        scene.pass(4 * SECOND);
        scene.network.said.clear();
        scene.network.events.clear();
        scene
    }

    /// Without any, under a new start of the coordinator.
    pub fn new(term: u64) -> Self {
        let (workers, subscribers) = Default::default();
        Self { network: Network::started(term), workers, subscribers, services: 0 }
    }

    pub fn add(&mut self, name: &str) {
        self.add_with(name, |_| {});
    }

    /// A worker that registers with what it offers changed.
    pub fn add_with(&mut self, name: &str, change: impl FnOnce(&mut WorkerOffer)) {
        let mut register = registration(name);
        if let FromNode::Register { worker: Some(offer), .. } = &mut register {
            change(offer);
        }
        self.register(name, register);
    }

    pub fn register(&mut self, name: &str, register: FromNode) {
        let network = &mut self.network;
        let out = network.manager.register(network.now, link(name), register).unwrap();
        network.take(out);
        let worker = Worker {
            order: None,
            up: true,
            answers: true,
            puts_out: true,
            refuses: BTreeMap::new(),
            fails: BTreeSet::new(),
            draining: None,
            busy: 0.0,
        };
        self.workers.entry(name.to_owned()).or_insert(worker);
    }

    pub fn worker(&mut self, name: &str) -> &mut Worker {
        self.workers.get_mut(name).unwrap()
    }

    /// Somebody announces that a worker goes away in so long.
    pub fn maintain(&mut self, worker: &str, in_ms: u64) {
        let (manager, now) = (&mut self.network.manager, self.network.now);
        manager.maintain(now, &id(worker), &MaintenanceRequest { in_ms }).unwrap();
    }

    /// What is told of moves of a service's components.
    pub fn moves_explained(&self, service: ServiceId) -> Vec<MoveWhy> {
        let (manager, now) = (&self.network.manager, self.network.now);
        manager.explain_service(now, service).unwrap().moves
    }

    /// Asks for a list of components.
    pub fn ask(&mut self, list: &str) -> Result<ServiceId, Refusal> {
        self.ask_for(&request(list))
    }

    pub fn ask_for(&mut self, request: &ServiceRequest) -> Result<ServiceId, Refusal> {
        self.services += 1;
        let (manager, now) = (&mut self.network.manager, self.network.now);
        let asked = manager.create_service(now, ServiceId(self.services), request);
        let (info, out) = asked?;
        self.network.take(out);
        Ok(info.service)
    }

    /// The same, until it runs.
    pub fn running(&mut self, list: &str) -> ServiceId {
        let service = self.ask(list).unwrap();
        self.pass(SECOND);
        assert_eq!(self.state(service), ServiceState::Running, "{:?}", self.info(service));
        service
    }

    pub fn info(&self, service: ServiceId) -> ServiceInfo {
        self.network.manager.service(service).unwrap()
    }

    pub fn state(&self, service: ServiceId) -> ServiceState {
        self.info(service).state
    }

    /// The workers of a service's components, those of the standby after the others.
    pub fn at(&self, service: ServiceId) -> Vec<String> {
        self.info(service).modules.iter().map(|module| module.worker.to_string()).collect()
    }

    /// Time passes; who is up does as it is told.
    pub fn pass(&mut self, time: Duration) {
        let end = self.network.now + time;
        while self.network.now < end {
            self.take_orders();
            for name in self.workers.keys().cloned().collect::<Vec<_>>() {
                if self.workers[&name].up {
                    let report = self.report(&name);
                    self.network.report(&name, report).unwrap();
                }
            }
            self.network
                .pass(Duration::from_millis(100), &["studio", "edge-a", "edge-b", "edge-c"]);
        }
    }

    fn take_orders(&mut self) {
        let (orders, other) = std::mem::take(&mut self.network.said)
            .into_iter()
            .partition(|(_, message)| matches!(message, ToNode::Work(_)));
        self.network.said = other;
        let orders: Vec<(NodeId, ToNode)> = orders;
        for (node, message) in orders {
            let ToNode::Work(order) = message else { continue };
            let worker = self.workers.get_mut(node.as_str()).unwrap();
            if !worker.up || !worker.answers {
                continue;
            }
            let refused = order.instances.iter().filter_map(|spec| {
                let why = worker.refuses.get(&component(spec))?.clone();
                Some(Refused { instance: spec.instance, why })
            });
            let answer = WorkAnswer { version: order.version, refused: refused.collect() };
            let mut order = order;
            order.instances.retain(|s| answer.refused.iter().all(|r| r.instance != s.instance));
            worker.order = Some(order);
            self.network.says(node.as_str(), FromNode::Work(answer)).unwrap();
        }
    }

    /// What a worker reports now.
    pub fn report(&self, name: &str) -> NodeReport {
        let worker = &self.workers[name];
        let order = worker.order.clone();
        let instances = order.iter().flat_map(|order| &order.instances);
        let instances: Vec<_> = instances.map(|spec| self.instance(name, spec)).collect();
        let version = order.map_or(0, |order| order.version);
        let mut report = of(version, instances);
        report.draining = worker.draining;
        report.work.iter_mut().for_each(|work| work.busy_cores = worker.busy);
        report
    }

    fn instance(&self, name: &str, spec: &InstanceSpec) -> InstanceReport {
        let worker = &self.workers[name];
        let state = match (worker.fails.contains(&component(spec)), worker.puts_out) {
            (true, _) => InstanceState::Failed { why: "no such file".into() },
            (_, true) => InstanceState::Running,
            _ => InstanceState::Starting,
        };
        let stream = spec.stream();
        let subscribers = self.subscribers.get(&(name.to_owned(), stream)).copied().unwrap_or(0);
        instance(spec, state, subscribers)
    }

    /// The components that a worker has been told to run, each with `(published)` if it is to publish.
    pub fn runs(&self, name: &str) -> Vec<String> {
        let order = self.workers[name].order.iter();
        let text = |spec: &InstanceSpec| {
            let published = if spec.publish { " (published)" } else { "" };
            let from = match spec.input {
                Input::Stream(_) => "",
                Input::Instance(_) => "raw ",
            };
            format!("{from}{}{published}", component(spec))
        };
        order.flat_map(|order| &order.instances).map(text).collect()
    }

    /// The workers that the directory names for a stream, in order.
    pub fn named(&self, stream: &StreamName) -> Vec<String> {
        let told = self.network.said.iter().rev();
        let directory = told.filter_map(|(_, message)| match message {
            ToNode::Directory(directory) => Some(directory),
            _ => None,
        });
        let newest = directory.into_iter().next().expect("no directory since");
        newest.origins(stream).map(|node| node.id.to_string()).collect()
    }

    /// The steps of moves told since.
    pub fn moves(&mut self) -> Vec<MoveStep> {
        let events = std::mem::take(&mut self.network.events);
        let step = |event| match event {
            Event::Service { moved, .. } => moved.map(|moved| moved.step),
            _ => None,
        };
        events.into_iter().filter_map(step).collect()
    }

    /// How many subscribe to what a worker publishes.
    pub fn subscribed(&mut self, name: &str, stream: &StreamName, subscribers: u32) {
        self.subscribers.insert((name.to_owned(), stream.clone()), subscribers);
    }

    /// A worker is no longer heard of.
    pub fn kill(&mut self, name: &str) {
        self.worker(name).up = false;
    }

    /// Forgets what was said, but not the orders to workers.
    pub fn forget_what_was_said(&mut self) {
        self.network.said.retain(|(_, message)| matches!(message, ToNode::Work(_)));
        self.network.events.clear();
    }

    pub fn drain(&mut self, name: &str) -> Result<(), Refusal> {
        let (manager, now) = (&mut self.network.manager, self.network.now);
        let (_, out) = manager.drain(now, &id(name), &Default::default())?;
        self.network.take(out);
        self.worker(name).draining = Some(Draining { within_ms: 60_000, rate: 20.0, stay: false });
        Ok(())
    }
}

pub fn component(spec: &InstanceSpec) -> String {
    spec.chain.components.last().unwrap().component.clone()
}

/// What a worker reports where all that it was told to run runs.
pub fn report(order: Option<&WorkOrder>) -> NodeReport {
    let specs = order.iter().flat_map(|order| &order.instances);
    let running = |spec: &InstanceSpec| instance(spec, InstanceState::Running, 0);
    let instances: Vec<_> = specs.map(running).collect();
    of(order.map_or(0, |order| order.version), instances)
}

fn instance(spec: &InstanceSpec, state: InstanceState, subscribers: u32) -> InstanceReport {
    InstanceReport {
        spec: spec.clone(),
        state,
        input: SocketReport::default(),
        output: SocketReport { subscribers, ..SocketReport::default() },
        cpu_ms: 0,
        memory_kib: 0,
        restarts: 0,
    }
}

/// What publishes and runs has put something out.
fn of(version: u64, instances: Vec<InstanceReport>) -> NodeReport {
    let published = |i: &&InstanceReport| i.spec.publish && i.state == InstanceState::Running;
    let streams = instances.iter().filter(published);
    let streams: BTreeMap<_, _> = streams.map(|i| (i.spec.stream(), made_of(&i.spec))).collect();
    NodeReport {
        streams: streams.into_values().collect(),
        work: Some(WorkReport { version, instances, ..WorkReport::default() }),
        ..NodeReport::default()
    }
}

fn made_of(spec: &InstanceSpec) -> Catalog {
    let scheme = if component(spec) == "mdc" { Scheme::Alternating } else { Scheme::Plain };
    Catalog { stream: spec.stream(), scheme, ..catalog("live/bbb") }
}
