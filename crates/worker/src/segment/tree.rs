//! The instances of a segment: a tree, made to be as it was ordered without disturbing what stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use gibbon_components::{Format, Step, Work, catalogue};
use gibbon_control::work::{self, InstanceSpec};
use gibbon_media::{InstanceId, Scheme};

use super::{
    gauge::Gauge,
    input_socket::Needs,
    instance::{Input, Instance, Outlet},
    output_socket,
    stage::Stage,
};
use crate::ipc::{InstanceStatus, Setup, ToSegment};

/// How all instances are, to be read from any thread.
#[derive(Clone, Default)]
pub struct Gauges(Arc<Mutex<BTreeMap<InstanceId, Arc<Gauge>>>>);

impl Gauges {
    /// For the worker.
    pub fn status(&self) -> Vec<InstanceStatus> {
        self.all().iter().map(|(id, gauge)| gauge.status(*id)).collect()
    }

    /// An instance with a thread that has been at one item for longer than `limit`.
    pub fn hanging(&self, limit: Duration) -> Option<InstanceId> {
        self.all().iter().find(|(_, gauge)| gauge.hangs(limit)).map(|(id, _)| *id)
    }

    fn all(&self) -> BTreeMap<InstanceId, Arc<Gauge>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All that runs in a segment.
pub struct Tree {
    outlet: Outlet,
    began: Instant,
    setup: Option<Setup>,
    instances: BTreeMap<InstanceId, Instance>,
    input: Option<Input>,
    gauges: Gauges,
}

impl Tree {
    /// Nothing runs yet. What it says goes to `outlet`.
    pub fn new(outlet: Outlet) -> Self {
        let began = Instant::now();
        let (instances, gauges) = (BTreeMap::new(), Gauges::default());
        Self { outlet, began, setup: None, instances, input: None, gauges }
    }

    /// Takes the next message of the worker; waits while the segment is busy.
    pub fn take(&mut self, message: ToSegment) {
        match message {
            ToSegment::Set(setup) => self.set(setup),
            media => {
                if let Some(input) = &self.input {
                    input.feed(media);
                }
            }
        }
    }

    /// How all instances are, now and later.
    pub fn gauges(&self) -> Gauges {
        self.gauges.clone()
    }

    fn set(&mut self, setup: Setup) {
        let ordered = in_order(&setup.instances);
        let root = ordered.first().map(|spec| spec.instance);
        if self.setup.as_ref().is_some_and(|before| !goes_on(before, &setup)) {
            self.instances.clear();
            self.input = None;
        }
        self.drop_what_ends(&setup.instances);
        for spec in &ordered {
            if !self.instances.contains_key(&spec.instance) {
                let instance = self.start(&setup, spec);
                self.attach(instance);
            }
            self.publish(spec, &setup);
        }
        for spec in &setup.instances {
            let why = "what its media are to come from is not in this segment, or failed";
            let orphan = || Instance::failed(spec.clone(), &why);
            self.instances.entry(spec.instance).or_insert_with(orphan);
        }
        if self.input.is_none() {
            self.input = root.and_then(|root| self.start_input(root, &setup));
        }
        if let Some(input) = &self.input {
            input.set_needs(self.needs(setup.catalog.scheme));
        }
        let all = self.instances.iter().map(|(id, instance)| (*id, instance.gauge.clone()));
        *self.gauges.0.lock().unwrap_or_else(PoisonError::into_inner) = all.collect();
        self.setup = Some(setup);
    }

    /// Stops what is no longer wanted, or is wanted otherwise, and all that hangs on it.
    fn drop_what_ends(&mut self, wanted: &[InstanceSpec]) {
        let same = |running: &Instance| {
            wanted.iter().any(|spec| {
                let now = &running.spec;
                (spec.instance, &spec.chain, &spec.input) == (now.instance, &now.chain, &now.input)
            })
        };
        let mut over: BTreeSet<InstanceId> =
            self.instances.values().filter(|i| !same(i)).map(|i| i.spec.instance).collect();
        loop {
            let hangs = |i: &&Instance| {
                !over.contains(&i.spec.instance)
                    && i.spec.raw_from().is_some_and(|parent| over.contains(&parent))
            };
            let Some(next) = self.instances.values().find(hangs) else { break };
            over.insert(next.spec.instance);
        }
        for id in over {
            let Some(gone) = self.instances.remove(&id) else { continue };
            match gone.spec.raw_from() {
                Some(parent) => {
                    if let Some(parent) = self.instances.get(&parent) {
                        parent.detach(id);
                    }
                }
                None => self.input = None,
            }
        }
    }

    /// Starts an instance whose input is there, not yet joined to it.
    fn start(&self, setup: &Setup, spec: &InstanceSpec) -> Instance {
        let input = match spec.raw_from() {
            None => root_format(setup, spec),
            Some(parent) => match self.instances.get(&parent).and_then(|i| i.format.clone()) {
                Some(format) => format,
                None => return Instance::failed(spec.clone(), &"what it hangs on has failed"),
            },
        };
        let started = plan(spec, &input).and_then(|step| {
            let output = step.output.clone();
            let stage = Stage::new(step, &input, &setup.font, &setup.assets);
            let stage = stage.map_err(|why| why.to_string())?;
            Instance::start(spec.clone(), output, stage).map_err(|why| why.to_string())
        });
        started.unwrap_or_else(|why| Instance::failed(spec.clone(), &why))
    }

    fn attach(&mut self, instance: Instance) {
        if let Some(parent) = instance.spec.raw_from().and_then(|id| self.instances.get(&id)) {
            parent.attach(&instance);
        }
        self.instances.insert(instance.spec.instance, instance);
    }

    fn publish(&mut self, spec: &InstanceSpec, setup: &Setup) {
        let Some(instance) = self.instances.get_mut(&spec.instance) else { return };
        let switched = instance.publish(spec.publish, &setup.catalog, self.began, &self.outlet);
        if let Err(why) = switched {
            instance.gauge.fail(&why);
        }
    }

    fn start_input(&self, root: InstanceId, setup: &Setup) -> Option<Input> {
        let root = self.instances.get(&root)?;
        let started = Input::start(setup.catalog.clone(), root, self.began);
        started.inspect_err(|why| root.gauge.fail(why)).ok()
    }

    /// What any component or output socket needs decoded of a stream that comes in this scheme.
    fn needs(&self, scheme: Scheme) -> Needs {
        let mut needs = Needs::default();
        for instance in self.instances.values() {
            let Some(format) = &instance.format else { continue };
            // The pictures of `temporal` come in two chains, which cannot be passed on as one.
            let recodes = output_socket::needs_pictures(format) || scheme == Scheme::Temporal;
            needs.pictures |= instance.needs.pictures || (instance.spec.publish && recodes);
            needs.sound |= instance.needs.sound;
        }
        needs
    }
}

/// Whether what runs may go on: all that it was made with is the same.
fn goes_on(before: &Setup, after: &Setup) -> bool {
    (&before.catalog, &before.assets, &before.font) == (&after.catalog, &after.assets, &after.font)
}

/// The tree that hangs on the first instance that takes a stream in: that first, each before those on it.
fn in_order(specs: &[InstanceSpec]) -> Vec<InstanceSpec> {
    let Some(root) = specs.iter().find(|spec| spec.reads().is_some()) else { return Vec::new() };
    let specs: Vec<_> = specs.iter().collect();
    work::segment(root, &specs).into_iter().cloned().collect()
}

/// What comes into a segment: what the catalog says, coded as components of the chain that have worked on it
/// elsewhere want it.
fn root_format(setup: &Setup, spec: &InstanceSpec) -> Format {
    let mut format = Format::of(&setup.catalog);
    let before = spec.chain.components.split_last().map_or(&[][..], |(_, before)| before);
    for component in before {
        if let Ok(Step { work: Work::Code, output, .. }) = catalogue::plan(component, &format) {
            format.coding = output.coding;
        }
    }
    format
}

/// What the component of an instance, the last of its chain, is to do.
fn plan(spec: &InstanceSpec, input: &Format) -> Result<Step, String> {
    let component = spec.chain.components.last().ok_or("there is no component in its chain")?;
    if input.divided {
        return Err("the stream has been divided into descriptions: mdc comes last".to_owned());
    }
    catalogue::plan(component, input).map_err(|why| format!("{}: {why}", component.component))
}
