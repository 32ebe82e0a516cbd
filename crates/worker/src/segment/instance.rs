//! A running instance: its threads, and the bounded channels between them.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use gibbon_components::Format;
use gibbon_control::work::InstanceSpec;
use gibbon_media::{Catalog, InstanceId};

use super::{
    gauge::{Gauge, Part},
    input_socket::{InputSocket, Needs},
    intake::{Intake, Moment},
    output_socket::{OutputSocket, catalog_of},
    raw::Raw,
    stage::Stage,
};
use crate::ipc::{FromSegment, ToSegment};

/// Items that wait for a component or an output socket. A slow one makes those before it wait.
const MAX_WAITING: usize = 8;
/// Coded frames that wait for the input socket.
const MAX_INPUT: usize = 64;
/// What is missing is looked for at least so often.
const TICK: Duration = Duration::from_millis(50);

/// Where what a segment says goes. It waits while the worker does not listen.
pub type Outlet = Arc<dyn Fn(FromSegment) + Send + Sync>;

/// All that takes what comes out of an instance: components that hang on it, and its output socket (under its own
/// name).
#[derive(Default)]
struct Consumers(Mutex<Vec<(InstanceId, SyncSender<Raw>)>>);

impl Consumers {
    fn add(&self, name: InstanceId, consumer: SyncSender<Raw>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((name, consumer));
    }

    fn remove(&self, name: InstanceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(n, _)| *n != name);
    }

    /// Waits for slow ones, without keeping others from being added or removed.
    fn send(&self, item: Raw) {
        let consumers = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut gone = Vec::new();
        for (name, consumer) in consumers {
            if consumer.send(item.clone()).is_err() {
                gone.push(name);
            }
        }
        gone.into_iter().for_each(|name| self.remove(name));
    }
}

/// An instance that runs, or that cannot.
pub struct Instance {
    /// As it was ordered.
    pub spec: InstanceSpec,
    /// What comes out of it; nothing where it cannot run.
    pub format: Option<Format>,
    /// What its component needs decoded.
    pub needs: Needs,
    /// How it is.
    pub gauge: Arc<Gauge>,
    consumers: Arc<Consumers>,
    to: Option<SyncSender<Raw>>,
}

impl Instance {
    /// One that cannot run.
    pub fn failed(spec: InstanceSpec, why: &impl ToString) -> Self {
        let gauge = Arc::<Gauge>::default();
        gauge.fail(why);
        let consumers = Arc::default();
        Self { spec, format: None, needs: Needs::default(), gauge, consumers, to: None }
    }

    /// Starts the work of a component, whose output is of `format`.
    pub fn start(spec: InstanceSpec, format: Format, mut stage: Stage) -> io::Result<Self> {
        let needs = Needs { pictures: stage.needs_pictures(), sound: stage.needs_sound() };
        let (gauge, consumers) = (Arc::<Gauge>::default(), Arc::<Consumers>::default());
        let (to, items) = sync_channel::<Raw>(MAX_WAITING);
        let (working, out, output) = (gauge.clone(), consumers.clone(), format.clone());
        spawn("work", spec.instance, move || {
            let mut made = Vec::new();
            for item in items {
                let done = working.working(Part::Work, || stage.process(item, &mut made));
                if let Err(why) = done {
                    return working.fail(&why);
                }
                made.retain(|item| item.is_of(&output));
                if !made.is_empty() {
                    working.figures().emitted = true;
                }
                made.drain(..).for_each(|item| out.send(item));
            }
        })?;
        Ok(Self { spec, format: Some(format), needs, gauge, consumers, to: Some(to) })
    }

    /// Has `child` take what comes out of this one.
    pub fn attach(&self, child: &Instance) {
        if let Some(to) = &child.to {
            self.consumers.add(child.spec.instance, to.clone());
        }
    }

    /// `child` takes no more.
    pub fn detach(&self, child: InstanceId) {
        self.consumers.remove(child);
    }

    /// Switches the output socket on or off. `input` is the catalog of the segment's input.
    pub fn publish(
        &mut self,
        on: bool,
        input: &Catalog,
        began: Instant,
        outlet: &Outlet,
    ) -> io::Result<()> {
        self.spec.publish = on;
        let Some(format) = self.format.as_ref().filter(|_| self.gauge.figures().publishes.0 != on)
        else {
            return Ok(());
        };
        let instance = self.spec.instance;
        let switched = {
            let mut figures = self.gauge.figures();
            figures.switched += 1;
            figures.publishes = (on, false);
            figures.output = Default::default();
            figures.switched
        };
        if !on {
            self.consumers.remove(instance);
            return Ok(());
        }
        let catalog = catalog_of(input, format, self.spec.stream());
        let socket = OutputSocket::new(instance, catalog, format);
        let (to, items) = sync_channel(MAX_WAITING);
        let (gauge, outlet) = (self.gauge.clone(), outlet.clone());
        spawn("out", instance, move || {
            run_output(socket, &items, (&gauge, switched), began, &outlet)
        })?;
        self.consumers.add(instance, to);
        Ok(())
    }
}

fn run_output(
    mut socket: OutputSocket,
    items: &Receiver<Raw>,
    (gauge, switched): (&Gauge, u64),
    began: Instant,
    outlet: &Outlet,
) {
    let mut made = Vec::new();
    for item in items {
        let done = gauge.working(Part::Output, || socket.process(began.elapsed(), item, &mut made));
        if let Err(why) = done {
            return gauge.fail(&why);
        }
        made.drain(..).for_each(|message| outlet(message));
        let mut figures = gauge.figures();
        if figures.switched == switched {
            figures.output = socket.report();
            figures.publishes.1 = socket.is_published();
        }
    }
}

/// The input socket of a segment.
pub struct Input {
    to: SyncSender<ToSegment>,
    needs: Arc<Mutex<Needs>>,
}

impl Input {
    /// Takes in the stream of `catalog` for `root`.
    pub fn start(catalog: Catalog, root: &Instance, began: Instant) -> io::Result<Self> {
        let (to, messages) = sync_channel(MAX_INPUT);
        let needs = Arc::<Mutex<Needs>>::default();
        let (asked, gauge, consumers) = (needs.clone(), root.gauge.clone(), Consumers::default());
        if let Some(to) = &root.to {
            consumers.add(root.spec.instance, to.clone());
        }
        spawn("in", root.spec.instance, move || {
            let (intake, socket) = (Intake::new(catalog.clone()), InputSocket::new(catalog));
            run_input(intake, socket, &messages, &asked, &gauge, &consumers, began);
        })?;
        Ok(Self { to, needs })
    }

    /// What the segment works on has changed.
    pub fn set_needs(&self, needs: Needs) {
        *self.needs.lock().unwrap_or_else(PoisonError::into_inner) = needs;
    }

    /// Passes on what came; waits while the segment is busy.
    pub fn feed(&self, message: ToSegment) {
        // Where its threads have ended their gauge tells why.
        let _ = self.to.send(message);
    }
}

fn run_input(
    mut intake: Intake,
    mut socket: InputSocket,
    messages: &Receiver<ToSegment>,
    needs: &Mutex<Needs>,
    gauge: &Gauge,
    consumers: &Consumers,
    began: Instant,
) {
    let mut idle = Duration::ZERO;
    loop {
        let waits = Instant::now();
        let message = match messages.recv_timeout(TICK) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        idle += waits.elapsed();
        let at = Moment { now: began.elapsed(), idle };
        if let Some(message) = message {
            intake.push(at, message);
        }
        while let Some(taken) = intake.next(at) {
            let needs = *needs.lock().unwrap_or_else(PoisonError::into_inner);
            match gauge.working(Part::Input, || socket.take(taken, needs)) {
                Ok(item) => item.into_iter().for_each(|item| consumers.send(item)),
                Err(step) => intake.damaged(&step),
            }
        }
        gauge.figures().input = socket.report(intake.missing());
    }
}

fn spawn(what: &str, instance: InstanceId, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // Linux shows 15 bytes of it.
    let name = format!("{what} {:.8}", instance.to_string());
    thread::Builder::new().name(name).spawn(body).map(drop)
}
