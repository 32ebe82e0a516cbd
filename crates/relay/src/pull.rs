//! One upstream subscription being copied into the cache.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gibbon_media::{Frame, GroupId, MediaTime};
use gibbon_net::{
    cache::Push,
    subscribe::{Event, IncomingGroup, Subscription},
    wire::GroupStart,
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use crate::{extent::Extent, relay::Relay};

/// Once a subscription has ended, groups still under way have this long to arrive.
const DRAIN: Duration = Duration::from_secs(3);

/// What has come from one source.
#[derive(Debug, Default)]
pub struct Received {
    /// Payload bytes.
    pub bytes: AtomicU64,
    /// The newest media time, in µs.
    newest: AtomicU64,
}

impl Received {
    fn note(&self, frame: &Frame) {
        self.bytes.fetch_add(frame.payload.len() as u64, Ordering::Relaxed);
        self.newest.fetch_max(frame.time.as_micros(), Ordering::Relaxed);
    }

    /// The newest media time that has come.
    pub fn newest(&self) -> MediaTime {
        MediaTime(self.newest.load(Ordering::Relaxed))
    }
}

/// A running copy. Dropping it cancels it.
pub struct Pull {
    ends: mpsc::Sender<GroupId>,
    extent: Arc<Extent>,
    task: JoinHandle<Result<(), String>>,
}

impl Pull {
    /// Begins to copy `subscription` into `relay`'s cache, noting what comes in `received`.
    pub fn start(subscription: Subscription, relay: Arc<Relay>, received: Arc<Received>) -> Self {
        let (ends, wanted_end) = mpsc::channel(1);
        let extent = Arc::<Extent>::default();
        let task = tokio::spawn(copy(subscription, relay, received, extent.clone(), wanted_end));
        Self { ends, extent, task }
    }

    /// Asks the publisher to stop after `end`, or after the group that has begun meanwhile.
    pub async fn end_after(&self, end: GroupId) {
        let _ = self.ends.send(self.extent.end_after(end)).await;
    }

    /// Waits for the end: `Ok` if it was asked for, `Err` with the cause if the upstream is lost.
    /// Cancel-safe.
    pub async fn ended(&mut self) -> Result<(), String> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn copy(
    mut subscription: Subscription,
    relay: Arc<Relay>,
    received: Arc<Received>,
    extent: Arc<Extent>,
    mut ends: mpsc::Receiver<GroupId>,
) -> Result<(), String> {
    let mut groups = JoinSet::new();
    loop {
        tokio::select! {
            event = subscription.next() => match event {
                Event::Group(group) => {
                    let copied = copy_group(group, relay.clone(), received.clone(), extent.clone());
                    groups.spawn(copied);
                }
                Event::Ended => {
                    let drain = async { while groups.join_next().await.is_some() {} };
                    let _ = tokio::time::timeout(DRAIN, drain).await;
                    return Ok(());
                }
                Event::Broken(why) => return Err(why),
            },
            Some(end) = ends.recv() => {
                subscription.end_after(end).await.map_err(|e| e.to_string())?;
            }
            Some(_) = groups.join_next() => {}
        }
    }
}

async fn copy_group(
    mut incoming: IncomingGroup,
    relay: Arc<Relay>,
    received: Arc<Received>,
    extent: Arc<Extent>,
) {
    let GroupStart { header, base, .. } = incoming.start;
    let group = match extent.begin(header.group, || relay.tracks.admit(header, base)) {
        Some(Ok(group)) => group,
        Some(Err(why)) => return tracing::debug!(group = %header.group, %why, "not cached"),
        None => return,
    };
    loop {
        match incoming.next_frame().await {
            Ok(Some((index, frame))) => {
                received.note(&frame);
                if relay.tracks.push(&group, index, frame) == Push::Refused {
                    return tracing::debug!(group = %group.header.group, index, "frame not cached");
                }
                relay.silence.heard(Instant::now());
            }
            Ok(None) => {
                relay.tracks.complete(&group, incoming.frames());
                // A group of text may be empty.
                relay.silence.heard(Instant::now());
                return relay.measure();
            }
            // What is missing comes from the next upstream, or not at all.
            Err(error) => return tracing::debug!(group = %group.header.group, %error, "broke off"),
        }
    }
}
