//! The manager with a clock, and the ways out: a bounded queue to each node, and the events.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gibbon_control::{
    failpoint,
    node::{FromNode, ToNode},
    portal::Event,
    process,
};
use gibbon_media::{MediaTime, NodeId};
use gibbon_net::close;
use tokio::sync::{broadcast, mpsc};

use crate::{
    manager::{Manager, Output},
    registry::{LinkId, NodeRefusal},
    store::Store,
};

/// Messages waiting for one node; a node that lets more pile up is disconnected.
pub const MAX_WAITING: usize = 4096;
/// Events kept for readers that are behind; a slower one is told how many it missed.
pub const MAX_EVENTS: usize = 1024;
/// How often timers are looked at: small beside the shortest of them.
const TICK: Duration = Duration::from_millis(50);

/// The running coordinator.
pub struct Service {
    state: Mutex<State>,
    store: Option<Mutex<Store>>,
    events: broadcast::Sender<Event>,
    clock: Clock,
}

struct State {
    manager: Manager,
    links: HashMap<NodeId, Link>,
    last_link: u64,
}

/// A node that is connected.
struct Link {
    id: LinkId,
    queue: mpsc::Sender<ToNode>,
    connection: quinn::Connection,
}

/// Wall-clock time that never jumps: a step of the system's clock must not lose every node at once.
struct Clock {
    epoch: MediaTime,
    started: Instant,
}

impl Clock {
    fn now(&self) -> MediaTime {
        self.epoch + self.started.elapsed()
    }
}

impl Service {
    /// Starts the clock; the rest is to be driven by [`keep_time`](Self::keep_time) and by what comes in.
    pub fn new(manager: Manager) -> Arc<Self> {
        Self::keeping(manager, None)
    }

    /// The same, with a place for what must not be forgotten.
    pub fn keeping(manager: Manager, store: Option<Store>) -> Arc<Self> {
        Arc::new(Self {
            store: store.map(Mutex::new),
            state: Mutex::new(State { manager, links: HashMap::new(), last_link: 0 }),
            events: broadcast::channel(MAX_EVENTS).0,
            clock: Clock { epoch: process::now(), started: Instant::now() },
        })
    }

    /// Looks at the manager's timers for as long as the process runs.
    pub async fn keep_time(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let mut state = self.lock();
            let out = state.manager.handle_time(self.clock.now());
            self.send(&mut state, out);
        }
    }

    /// Asks the manager something.
    pub fn ask<T>(&self, question: impl FnOnce(&Manager, MediaTime) -> T) -> T {
        question(&self.lock().manager, self.clock.now())
    }

    /// Has the manager do something, and sends what it says.
    pub fn tell<T, E>(
        &self,
        order: impl FnOnce(&mut Manager, MediaTime) -> Result<(T, Vec<Output>), E>,
    ) -> Result<T, E> {
        let mut state = self.lock();
        let (answer, out) = order(&mut state.manager, self.clock.now())?;
        self.send(&mut state, out);
        Ok(answer)
    }

    /// Writes down what must not be forgotten. Waits for the disk.
    pub fn keep(&self) -> anyhow::Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        // Before what is to be kept is looked at: so that the newest is written last.
        let store = store.lock().unwrap_or_else(PoisonError::into_inner);
        let maintenance = self.ask(|manager, _| manager.maintenance().clone());
        store.keep(&maintenance)
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// A node has connected and `register`s; an older connection of it is closed. Returns what is to be
    /// sent to it.
    pub fn connected(
        &self,
        register: FromNode,
        connection: quinn::Connection,
    ) -> Result<(LinkId, mpsc::Receiver<ToNode>), NodeRefusal> {
        let FromNode::Register { node, .. } = &register else {
            return Err(NodeRefusal::NotRegistered);
        };
        let node = node.id.clone();
        let mut state = self.lock();
        state.last_link += 1;
        let id = LinkId(state.last_link);
        let out = state.manager.register(self.clock.now(), id, register)?;
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        if let Some(older) = state.links.insert(node, Link { id, queue, connection }) {
            older.connection.close(close::DONE, b"the node has connected anew");
        }
        self.send(&mut state, out);
        Ok((id, waiting))
    }

    /// A node's connection has closed; `leaving` if the node has said that it exits.
    pub fn disconnected(&self, node: &NodeId, link: LinkId, leaving: bool) {
        let mut state = self.lock();
        let out = state.manager.link_closed(self.clock.now(), node, link, leaving);
        self.send(&mut state, out);
        if state.links.get(node).is_some_and(|known| known.id == link) {
            state.links.remove(node);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock, so that every node is told things in the order they were decided. Never waits.
    fn send(&self, state: &mut State, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Event(event) => {
                    log(&event);
                    kill_here(&event);
                    // Nobody may be watching.
                    let _ = self.events.send(event);
                }
                Output::ToNode { node, message } => {
                    let Some(link) = state.links.get(&node) else {
                        tracing::debug!(%node, "not connected; what it should be told is dropped");
                        continue;
                    };
                    if link.queue.try_send(message).is_err() {
                        tracing::warn!(%node, "does not read what it is told; disconnected");
                        link.connection.close(close::SILENT, b"you do not read what you are told");
                        state.links.remove(&node);
                    }
                }
            }
        }
    }
}

/// Lets tests end the process at a step of a hand-off, before what follows from the step is sent: the
/// failpoint `handoff.attached.1` is where description 1 is attached, `handoff.closed` has no description.
fn kill_here(event: &Event) {
    if let Event::Handoff { progress, .. } = event {
        failpoint::reach(|| match progress.description {
            Some(description) => format!("handoff.{}.{description}", progress.step),
            None => format!("handoff.{}", progress.step),
        });
    }
}

/// Hand-offs log their own steps, in their spans.
fn log(event: &Event) {
    match event {
        Event::Node { id, up: true } => tracing::info!(node = %id, "a node is here"),
        Event::Node { id, up: false } => tracing::warn!(node = %id, "a node is lost"),
        Event::Session { session, up } => tracing::info!(%session, up, "a session"),
        // Services log their own steps.
        Event::Handoff { .. } | Event::Service { .. } | Event::Lagged { .. } => {}
    }
}
