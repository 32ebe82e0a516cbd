//! Keeps one segment going: finds its input, starts its child process, feeds it, publishes what it makes, and
//! starts it anew when it has crashed or stalled.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use gibbon_media::{Catalog, Description, InstanceId, StreamName};
use gibbon_net::wire::Rejected;
use gibbon_relay::{Demand, Relays};
use gibbon_worker::ipc::{FromSegment, Malformed, Message, Setup, ToSegment};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    child::Child, feeder, orders::Segment, outputs::Place, segments::Surroundings, state::State,
};

/// How often it is looked whether a segment has said something, and how often in a row it may not have: then it
/// is stuck. Counted in looks and not in time, so that a worker that was frozen does not take its own silence for
/// that of a segment.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const MAX_UNHEARD: u32 = 5;
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// A segment that ran for so long before it ended is started anew as soon as the first time.
const RAN_WELL: Duration = Duration::from_secs(10);
/// An input that is not there is looked for again after this long, or when the directory changes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Keeps a segment going until the sender of `wanted` is dropped, and ends it then.
pub async fn run(
    around: Arc<Surroundings>,
    mut wanted: watch::Receiver<Segment>,
    state: Arc<State>,
) {
    let (stream, root) = (wanted.borrow().input.clone(), wanted.borrow().root());
    let input = tokio::select! {
        input = Input::find(&around.relays, &stream) => input,
        () = unwanted(wanted.clone()) => return,
    };
    state.pulls(input.demands.iter().map(|demand| demand.relay.clone()).collect());
    let mut retry = FIRST_RETRY;
    loop {
        let began = Instant::now();
        let attended = Attendance { around: &around, input: &input, state: &state };
        let Some(why) = attended.until_its_end(&mut wanted).await else { return };
        tracing::warn!(%root, why, "segment lost; it is started anew");
        state.ended(why);
        around.news.notify_one();
        if began.elapsed() >= RAN_WELL {
            retry = FIRST_RETRY;
        }
        tokio::select! {
            () = sleep(retry) => {}
            () = unwanted(wanted.clone()) => return,
        }
        retry = (retry * 2).min(LAST_RETRY);
    }
}

async fn unwanted(mut wanted: watch::Receiver<Segment>) {
    while wanted.changed().await.is_ok() {}
}

/// What comes in: every description of a stream.
struct Input {
    catalog: Catalog,
    demands: Vec<Demand>,
}

impl Input {
    /// Waits until the stream is there.
    async fn find(relays: &Arc<Relays>, stream: &StreamName) -> Self {
        let (mut directory, mut said) = (relays.network.directory(), None);
        loop {
            directory.mark_unchanged();
            match Self::open(relays, stream).await {
                Ok(input) => return input,
                Err(why) => {
                    if said.as_ref() != Some(&why) {
                        tracing::info!(%stream, %why, "waiting for the input");
                    }
                    said = Some(why);
                }
            }
            tokio::select! {
                _ = directory.changed() => {}
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    async fn open(relays: &Arc<Relays>, stream: &StreamName) -> Result<Self, Rejected> {
        let first = relays.demand(stream, Description::Zero, None)?;
        let catalog = first.relay.ready().await?.catalog.clone();
        let mut demands = vec![first];
        for description in &catalog.scheme.descriptions()[1..] {
            let demand = relays.demand(stream, *description, None)?;
            // A relay that finds no source at first gives up.
            demand.relay.ready().await?;
            demands.push(demand);
        }
        Ok(Self { catalog, demands })
    }
}

/// How the life of a child ended.
enum End {
    /// It is not wanted any more.
    Unwanted,
    /// It closed its output.
    Left,
    /// It has to be killed.
    Fault(String),
}

/// One child process, from start to end.
struct Attendance<'a> {
    around: &'a Surroundings,
    input: &'a Input,
    state: &'a State,
}

impl Attendance<'_> {
    /// Starts a child and stays with it. Says why it is lost; `None` if it was ended.
    async fn until_its_end(&self, wanted: &mut watch::Receiver<Segment>) -> Option<String> {
        let mut child = match Child::start(&self.around.arguments) {
            Ok(child) => child,
            Err(error) => return Some(format!("its segment cannot be started: {error}")),
        };
        self.state.started(child.pid);
        tracing::info!(root = %wanted.borrow().root(), pid = child.pid, "segment started");
        match self.work(&mut child, wanted).await {
            End::Unwanted => {
                let ended = child.end().await;
                tracing::info!(ended, "segment ended");
                None
            }
            End::Left => Some(format!("its segment ended: {}", child.end().await)),
            End::Fault(why) => {
                child.kill().await;
                Some(why)
            }
        }
    }

    async fn work(&self, child: &mut Child, wanted: &mut watch::Receiver<Segment>) -> End {
        let pipe = child.pipe().clone();
        let mut setup = match self.setup(&wanted.borrow_and_update()) {
            Ok(setup) => Some(setup),
            Err(why) => return End::Fault(why.to_string()),
        };
        let mut feeders = JoinSet::new();
        let mut catalogs = HashMap::new();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unheard = 0;
        loop {
            tokio::select! {
                biased;
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return End::Unwanted;
                    }
                    match self.setup(&wanted.borrow_and_update()) {
                        Ok(changed) => setup = Some(changed),
                        Err(why) => return End::Fault(why.to_string()),
                    }
                }
                Ok(place) = pipe.reserve(), if setup.is_some() => {
                    place.send(setup.take().unwrap_or_default());
                    if feeders.is_empty() {
                        self.feed(&mut feeders, child);
                    }
                }
                said = child.next() => {
                    unheard = 0;
                    let taken = match said {
                        Ok(Some(message)) => self.take(message, &mut catalogs, &wanted.borrow()),
                        Ok(None) => return End::Left,
                        Err(error) => Err(format!("its segment broke the rules: {error}")),
                    };
                    if let Err(why) = taken {
                        return End::Fault(why);
                    }
                }
                _ = look.tick() => {
                    unheard += 1;
                    if unheard > MAX_UNHEARD {
                        let silent = LOOK_EVERY * MAX_UNHEARD;
                        return End::Fault(format!("its segment said nothing for {silent:?}"));
                    }
                }
            }
        }
    }

    /// The message that says what is to run.
    fn setup(&self, segment: &Segment) -> Result<Bytes, Malformed> {
        let setup = Setup {
            catalog: self.input.catalog.clone(),
            instances: segment.instances.clone(),
            assets: self.around.assets.clone(),
            font: self.around.font.clone(),
        };
        ToSegment::Set(setup).encode()
    }

    /// Begins to feed the child; dropping `feeders` ends it.
    fn feed(&self, feeders: &mut JoinSet<()>, child: &Child) {
        for Demand { relay } in &self.input.demands {
            let catalog = self.input.catalog.clone();
            let (tracks, pipe) = (relay.tracks.clone(), child.pipe().clone());
            feeders.spawn(feeder::feed(tracks, catalog, relay.description, pipe));
        }
    }

    /// Takes in what the child says. An error: it may not say so.
    fn take(
        &self,
        message: FromSegment,
        catalogs: &mut HashMap<InstanceId, Catalog>,
        wanted: &Segment,
    ) -> Result<(), String> {
        let outputs = &self.around.outputs;
        // What was published until just now may still be on its way here.
        let published = |instance| {
            let spec = wanted.instances.iter().find(|spec| spec.instance == instance);
            spec.filter(|spec| spec.publish)
        };
        match message {
            FromSegment::Status(statuses) => {
                if self.state.heard(statuses) {
                    self.around.news.notify_one();
                }
            }
            FromSegment::Catalog { instance, catalog } => {
                if published(instance).is_some_and(|spec| spec.stream() != catalog.stream) {
                    return Err(format!(
                        "its segment publishes {}, which it may not",
                        catalog.stream
                    ));
                }
                catalogs.insert(instance, *catalog);
            }
            FromSegment::Frame { instance, description, header, index, frame } => {
                if let Some(catalog) = published(instance).and_then(|_| catalogs.get(&instance)) {
                    let place = Place { description, header };
                    if outputs.put(instance, catalog, place, index, frame)
                        && self.state.publishes(instance)
                    {
                        self.around.news.notify_one();
                    }
                }
            }
            FromSegment::GroupEnd { instance, description, header, frames } => {
                if let Some(catalog) = published(instance).and_then(|_| catalogs.get(&instance)) {
                    outputs.complete(instance, catalog, Place { description, header }, frames);
                }
            }
        }
        Ok(())
    }
}
