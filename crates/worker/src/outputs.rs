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
        let grid = self.catalog.grid(place.description);
        let admitted = self.tracks[place.description.index()].begin(grid, place.header);
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
                tracing::debug!(%stream, %group, index, "frame not published: out of order, or the group is full");
                false
            }
        }
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
        let output = self.of(instance, catalog);
        if let Some(group) = output.group(place) {
            output.tracks[place.description.index()].complete(&group, frames);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use gibbon_media::{FrameFlags, GroupId, MediaTime, Medium, ProducerId, Scheme, TextTrack};

    use super::*;

    const ONE: InstanceId = InstanceId(1);

    fn catalog() -> Catalog {
        Catalog {
            stream: "live/bbb/0".parse().unwrap(),
            scheme: Scheme::Plain,
            created: MediaTime(0),
            grids: Catalog::grids_of(Scheme::Plain, Duration::from_secs(1)),
            video: None,
            audio: None,
            text: Some(TextTrack { language: "en".to_owned() }),
            host: String::new(),
        }
    }

    fn place(group: u64, producer: u64) -> Place {
        let (group, producer) = (GroupId(group), ProducerId(producer));
        let header = GroupHeader { medium: Medium::Text, group, producer, published_us: 0 };
        Place { description: Description::Zero, header }
    }

    fn put(outputs: &Outputs, place: Place, index: u32) -> bool {
        let payload = Bytes::from_static(b"{}");
        let frame = Frame { time: MediaTime(5_000_000), flags: FrameFlags::KEY, payload };
        outputs.put(ONE, &catalog(), place, index, frame)
    }

    #[test]
    fn a_stream_is_there_from_its_first_frame_on_until_it_is_withdrawn() {
        let outputs = Outputs::default();
        outputs.complete(ONE, &catalog(), place(4, 7), 1);
        assert!(outputs.catalogs().is_empty() && outputs.by(ONE).is_none());
        assert!(put(&outputs, place(5, 7), 0));
        assert_eq!(outputs.catalogs(), [catalog()]);
        let output = outputs.stream(&catalog().stream).unwrap();
        outputs.keep(&BTreeSet::from([ONE]));
        assert!(!*output.withdrawn.borrow());
        outputs.keep(&BTreeSet::new());
        assert!(*output.withdrawn.borrow());
        assert!(outputs.stream(&catalog().stream).is_none() && outputs.catalogs().is_empty());
    }

    #[test]
    fn a_segment_started_anew_goes_on_with_the_first_group_that_the_old_one_had_not_begun() {
        let outputs = Outputs::default();
        assert!(put(&outputs, place(5, 7), 0));
        let before = outputs.by(ONE).unwrap();
        assert!(!put(&outputs, place(5, 8), 0), "of two producers");
        assert!(put(&outputs, place(6, 8), 0));
        outputs.complete(ONE, &catalog(), place(6, 8), 1);
        assert!(Arc::ptr_eq(&before, &outputs.by(ONE).unwrap()), "subscribers stay");
        let groups = before.tracks[0].ring(Medium::Text).groups();
        let whole: Vec<bool> = groups.iter().map(|group| group.is_complete()).collect();
        assert_eq!(whole, [false, true]);
    }

    #[test]
    fn frames_out_of_order_are_not_published() {
        let outputs = Outputs::default();
        assert!(!put(&outputs, place(5, 7), 1), "a hole");
        assert!(put(&outputs, place(5, 7), 0));
        assert!(!put(&outputs, place(5, 7), 0), "once is enough");
    }

    #[test]
    fn a_stream_that_is_made_of_something_else_now_is_another() {
        let outputs = Outputs::default();
        assert!(put(&outputs, place(5, 7), 0));
        let before = outputs.by(ONE).unwrap();
        let other = Catalog { created: MediaTime(1), ..catalog() };
        outputs.complete(ONE, &other, place(5, 7), 1);
        assert!(*before.withdrawn.borrow());
    }
}
