//! What the instances publish: the output sockets' side towards the network.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use gibbon_media::{Catalog, Description, Frame, GroupHeader, InstanceId, StreamName};
use gibbon_net::{
    cache::{Group, Push, Tracks},
    publish::Subscribers,
    wire::GroupStart,
};
use tokio::sync::watch;

/// One published stream.
pub struct Output {
    pub catalog: Catalog,
    pub tracks: [Arc<Tracks>; 2],
    pub subscribers: Subscribers,
    begun: AtomicBool,
    withdrawn: watch::Sender<bool>,
}

/// Where in a stream a frame belongs.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub description: Description,
    pub header: GroupHeader,
}

impl Output {
    fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            tracks: Default::default(),
            subscribers: Subscribers::default(),
            begun: AtomicBool::new(false),
            withdrawn: watch::Sender::new(false),
        }
    }

    /// Whether a frame has come out.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Waits until the stream is published no more.
    pub async fn withdrawn(&self) {
        // The sender is ours: it does not go away meanwhile.
        let _ = self.withdrawn.subscribe().wait_for(|withdrawn| *withdrawn).await;
    }

    /// The group to put frames into; `None` where another producer's copy of it has begun, or it is too old.
    fn group(&self, place: Place) -> Option<Arc<Group>> {
        let base = self.catalog.grid(place.description).start_of(place.header.group);
        let start = GroupStart { subscription: 0, header: place.header, base, first: 0 };
        let admitted = self.tracks[place.description.index()].admit(&start);
        admitted
            .inspect_err(|why| tracing::debug!(stream = %self.catalog.stream, group = %place.header.group, %why, "not published"))
            .ok()
    }

    /// Publishes a frame; whether it could be.
    fn put(&self, place: Place, index: u32, frame: Frame) -> bool {
        let Some(group) = self.group(place) else { return false };
        match self.tracks[place.description.index()].push(&group, index, frame) {
            Push::New => true,
            Push::Duplicate => false,
            Push::Refused => {
                let (stream, group) = (&self.catalog.stream, place.header.group);
                tracing::warn!(%stream, %group, index, "frame not published: out of order, or the group is full");
                false
            }
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.withdrawn.send_replace(true);
    }
}

/// All that is published, by the instance that makes it.
#[derive(Default)]
pub struct Outputs(Mutex<BTreeMap<InstanceId, Arc<Output>>>);

impl Outputs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Arc<Output>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where `instance` publishes what `catalog` describes. What it has published so far stays, so that
    /// subscribers go on with it when its segment is started anew.
    fn of(&self, instance: InstanceId, catalog: &Catalog) -> Arc<Output> {
        let mut published = self.lock();
        if let Some(held) = published.get(&instance).filter(|held| held.catalog == *catalog) {
            return held.clone();
        }
        let output = Arc::new(Output::new(catalog.clone()));
        if let Some(before) = published.insert(instance, output.clone()) {
            before.withdrawn.send_replace(true);
        }
        output
    }

    /// Publishes a frame of `instance`, which makes what `catalog` describes; whether it could be.
    pub fn put(
        &self,
        instance: InstanceId,
        catalog: &Catalog,
        place: Place,
        index: u32,
        frame: Frame,
    ) -> bool {
        let output = self.of(instance, catalog);
        let put = output.put(place, index, frame);
        if put && !output.begun.swap(true, Ordering::Relaxed) {
            tracing::info!(%instance, stream = %catalog.stream, scheme = %catalog.scheme, "publishing");
        }
        put
    }

    /// A group of `instance` is whole with its `frames` first ones.
    pub fn complete(&self, instance: InstanceId, catalog: &Catalog, place: Place, frames: u32) {
        if let Some(group) = self.of(instance, catalog).group(place) {
            group.complete(frames);
        }
    }

    /// Withdraws all but what `instances` publish.
    pub fn keep(&self, instances: &BTreeSet<InstanceId>) {
        self.lock().retain(|instance, output| {
            let kept = instances.contains(instance);
            if !kept {
                tracing::info!(%instance, stream = %output.catalog.stream, "withdrawn");
                output.withdrawn.send_replace(true);
            }
            kept
        });
    }

    /// What `instance` publishes.
    pub fn by(&self, instance: InstanceId) -> Option<Arc<Output>> {
        self.lock().get(&instance).filter(|output| output.has_begun()).cloned()
    }

    /// The published stream of this name.
    pub fn stream(&self, stream: &StreamName) -> Option<Arc<Output>> {
        let published = self.lock();
        let wanted = |output: &&Arc<Output>| output.has_begun() && output.catalog.stream == *stream;
        published.values().rfind(wanted).cloned()
    }

    /// What there is to subscribe to.
    pub fn catalogs(&self) -> Vec<Catalog> {
        let published = self.lock();
        let begun = published.values().filter(|output| output.has_begun());
        let streams: BTreeMap<_, _> =
            begun.map(|output| (output.catalog.stream.clone(), output.catalog.clone())).collect();
        streams.into_values().collect()
    }

    /// Subscriptions that other nodes have to it.
    pub fn subscribers(&self) -> u32 {
        self.lock().values().map(|output| output.subscribers.count()).sum()
    }
}
