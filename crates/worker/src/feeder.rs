//! From a relay's cache into a segment's pipe: a cursor for each group, as a subscriber has. A segment that is
//! slow makes the cursors wait, and what it has not taken when the cache evicts it is skipped.

use std::sync::Arc;

use bytes::Bytes;
use gibbon_media::{Catalog, Description, Medium};
use gibbon_net::cache::{CachedFrame, Group, Read, Tracks, Unread};
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
    let mut unread = Unread::of(Medium::ALL.to_vec());
    let mut groups = JoinSet::new();
    loop {
        let began = tracks.group_began();
        for group in unread.take(&tracks, |id| id >= first) {
            groups.spawn(feed_group(group, description, pipe.clone()));
        }
        tokio::select! {
            () = began => {}
            Some(_) = groups.join_next() => {}
            () = pipe.closed() => return,
        }
    }
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
    let (mut next, mut frames) = (0, Vec::new());
    loop {
        let changed = group.changed();
        match group.read(next as usize, &mut frames, CachedFrame::frame) {
            Read::Frames(_) => {
                for frame in frames.drain(..) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use gibbon_media::{
        Frame, FrameFlags, GroupHeader, GroupId, MediaTime, ProducerId, Scheme, TextTrack,
    };
    use gibbon_net::cache::MAX_GROUPS;
    use tokio::time::timeout;

    use super::*;

    fn catalog() -> Catalog {
        Catalog {
            stream: "live/bbb".parse().unwrap(),
            scheme: Scheme::Plain,
            created: MediaTime(0),
            grids: Catalog::grids_of(Scheme::Plain, Duration::from_secs(1)),
            video: None,
            audio: None,
            text: Some(TextTrack { language: "en".to_owned() }),
            host: String::new(),
        }
    }

    /// Begins a group with some frames.
    fn begin(tracks: &Tracks, group: u64, frames: u64) -> Arc<Group> {
        let header = GroupHeader {
            medium: Medium::Video,
            group: GroupId(group),
            producer: ProducerId(1),
            published_us: 0,
        };
        let held = tracks.begin(catalog().grids[0], header).unwrap();
        for index in 0..frames {
            let (time, payload) = (MediaTime(held.base.0 + index), Bytes::from_static(b"x"));
            tracks.push(&held, index as u32, Frame { time, flags: FrameFlags::NONE, payload });
        }
        held
    }

    fn feeding(tracks: &Arc<Tracks>, waiting: usize) -> mpsc::Receiver<Bytes> {
        let (pipe, messages) = mpsc::channel(waiting);
        tokio::spawn(feed(tracks.clone(), catalog(), Description::Zero, pipe));
        messages
    }

    /// What comes next: a letter and the group; `None` if nothing does.
    async fn next(messages: &mut mpsc::Receiver<Bytes>) -> Option<(char, u64)> {
        let message = timeout(Duration::from_secs(1), messages.recv()).await.ok()??;
        let message = ToSegment::decode(&mut BytesMut::from(&message[..])).unwrap().unwrap();
        Some(match message {
            ToSegment::Group { header, .. } => ('G', header.group.0),
            ToSegment::Frame { at, .. } => ('F', at.group.0),
            ToSegment::GroupEnd { at, .. } => ('E', at.group.0),
            ToSegment::Set(_) => unreachable!("not the feeder's"),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_fed_as_they_come_from_the_group_under_way_on() {
        let tracks = Arc::<Tracks>::default();
        tracks.complete(&begin(&tracks, 4, 1), 1);
        let group = begin(&tracks, 5, 1);
        let mut messages = feeding(&tracks, 9);
        assert_eq!(next(&mut messages).await, Some(('G', 5)));
        assert_eq!(next(&mut messages).await, Some(('F', 5)));
        assert_eq!(next(&mut messages).await, None, "the group goes on");
        begin(&tracks, 5, 2);
        tracks.complete(&group, 2);
        assert_eq!(next(&mut messages).await, Some(('F', 5)));
        assert_eq!(next(&mut messages).await, Some(('E', 5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_broke_off_does_not_hold_up_the_next() {
        let tracks = Arc::<Tracks>::default();
        begin(&tracks, 5, 1);
        tracks.complete(&begin(&tracks, 6, 1), 1);
        let mut messages = feeding(&tracks, 9);
        let mut ended = false;
        while let Some(message) = next(&mut messages).await {
            assert_ne!(message, ('E', 5));
            ended |= message == ('E', 6);
        }
        assert!(ended);
    }

    #[tokio::test(start_paused = true)]
    async fn a_segment_that_was_slow_goes_on_with_the_groups_that_are_left() {
        let tracks = Arc::<Tracks>::default();
        tracks.complete(&begin(&tracks, 5, 100), 100);
        let mut messages = feeding(&tracks, 2);
        assert_eq!(next(&mut messages).await, Some(('G', 5)));
        let newest = 5 + MAX_GROUPS as u64;
        for group in 6..=newest {
            tracks.complete(&begin(&tracks, group, 1), 1);
        }
        // Nothing was read meanwhile: two messages wait, of the group that the cache has let go.
        let mut fed = Vec::new();
        while let Some(message) = next(&mut messages).await {
            fed.push(message);
        }
        let of_old = fed.iter().filter(|(_, group)| *group == 5).count();
        assert!(of_old <= 3, "{fed:?}");
        for group in 6..=newest {
            assert!(fed.contains(&('E', group)), "{group}: {fed:?}");
        }
    }
}
