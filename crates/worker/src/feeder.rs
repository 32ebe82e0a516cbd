//! From a relay's cache into a segment's pipe: a cursor for each group, as a subscriber has. A segment that is
//! slow makes the cursors wait, and what it has not taken when the cache evicts it is skipped.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use gibbon_media::{Catalog, Description, GroupId, Medium};
use gibbon_net::cache::{Group, Read, Tracks};
use gibbon_worker::ipc::{GroupOf, Malformed, Message, ToSegment};
use tokio::{sync::mpsc, task::JoinSet};

/// Why a group is fed no further.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// The segment is gone.
    #[error("the segment is gone")]
    Gone,
    /// A frame cannot be passed on.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Feeds one description of the stream that `catalog` describes from the group under way on, for as long as
/// the segment reads.
pub async fn feed(
    tracks: Arc<Tracks>,
    catalog: Catalog,
    description: Description,
    pipe: mpsc::Sender<Bytes>,
) {
    let first = catalog.grid(description).group_at(tracks.live());
    let mut begun: BTreeSet<(GroupId, usize)> = BTreeSet::new();
    let mut groups = JoinSet::new();
    loop {
        let began = tracks.group_began();
        for (medium, group) in held(&tracks) {
            let id = group.header.group;
            if id >= first && begun.insert((id, medium.index())) {
                groups.spawn(feed_group(group, description, pipe.clone()));
            }
        }
        // What the cache no longer holds cannot come again: forget it, so that this set is bounded.
        let oldest = Medium::ALL.iter().filter_map(|m| tracks.ring(*m).span()).map(|s| s.0).min();
        if let Some(oldest) = oldest {
            begun = begun.split_off(&(oldest, 0));
        }
        tokio::select! {
            () = began => {}
            Some(_) = groups.join_next() => {}
            () = pipe.closed() => return,
        }
    }
}

/// All groups that are in the cache.
fn held(tracks: &Tracks) -> impl Iterator<Item = (Medium, Arc<Group>)> {
    Medium::ALL.into_iter().flat_map(|medium| {
        tracks.ring(medium).groups().into_iter().map(move |group| (medium, group))
    })
}

async fn feed_group(group: Arc<Group>, description: Description, pipe: mpsc::Sender<Bytes>) {
    tokio::select! {
        () = group.evicted() => {}
        fed = try_feed_group(&group, description, &pipe) => if let Err(why) = fed {
            tracing::debug!(group = %group.header.group, %why, "not fed");
        },
    }
}

async fn try_feed_group(
    group: &Group,
    description: Description,
    pipe: &mpsc::Sender<Bytes>,
) -> Result<(), Stop> {
    let header = group.header;
    let at = GroupOf {
        description,
        medium: header.medium,
        group: header.group,
        producer: header.producer,
    };
    say(pipe, ToSegment::Group { description, header }).await?;
    let mut next = 0;
    loop {
        let changed = group.changed();
        match group.read(next as usize) {
            Read::Frames(frames) => {
                for cached in frames {
                    let frame = cached.frame();
                    say(pipe, ToSegment::Frame { at, index: next, frame }).await?;
                    next += 1;
                }
            }
            Read::Wait => changed.await,
            Read::Complete => return say(pipe, ToSegment::GroupEnd { at, frames: next }).await,
            // Seen by whoever waits for it beside this.
            Read::Evicted => return std::future::pending().await,
        }
    }
}

async fn say(pipe: &mpsc::Sender<Bytes>, message: ToSegment) -> Result<(), Stop> {
    pipe.send(message.encode()?).await.map_err(|_| Stop::Gone)
}
