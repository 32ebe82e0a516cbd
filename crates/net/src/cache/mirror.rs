//! A cache's copy on another shard. Viewers of a shard read the shard's own copy: the only place where
//! shards meet is here, once for each track, shard and beat, however many viewers there are.

use std::{future::poll_fn, sync::Arc, task::Poll};

use bytes::Bytes;
use gibbon_media::Medium;

use super::{Bell, CachedFrame, Group, Read, Tracks, Unread};

/// Copies what comes into `from` to `to`, as long as it is polled: as any reader, with cursors instead of a
/// queue. The bytes stay where they are; each shard counts its own references to them.
pub async fn mirror(from: Arc<Tracks>, to: Arc<Tracks>) {
    let bell = Arc::<Bell>::default();
    from.hang(&bell);
    let mut unread = Unread::of(Medium::ALL.to_vec());
    let (mut copies, mut frames) = (Vec::new(), Vec::new());
    poll_fn(|cx| {
        bell.answer(cx);
        for group in unread.take(&from, |_| true) {
            if let Ok(copy) = to.admit(group.header, group.base) {
                copies.push(Copying { of: group, to: copy, next: 0 });
            }
        }
        copies.retain_mut(|copying| copying.goes_on(&to, &mut frames));
        to.advance_live(from.live());
        Poll::<()>::Pending
    })
    .await
}

/// One group being copied.
struct Copying {
    of: Arc<Group>,
    to: Arc<Group>,
    next: usize,
}

impl Copying {
    /// Copies what there is, by way of `frames`, which is empty before and after; whether more may come.
    fn goes_on(&mut self, tracks: &Tracks, frames: &mut Vec<CachedFrame>) -> bool {
        loop {
            match self.of.read(self.next, frames, CachedFrame::clone) {
                Read::Frames(_) => {
                    for frame in frames.drain(..) {
                        tracks.put(&self.to, self.next as u32, frame.counted_apart());
                        self.next += 1;
                    }
                }
                Read::Wait => return true,
                Read::Complete => {
                    tracks.complete(&self.to, self.next as u32);
                    return false;
                }
                // The copy is evicted by what comes after it.
                Read::Evicted => return false,
            }
        }
    }
}

impl CachedFrame {
    /// The same bytes with a count of references of their own.
    fn counted_apart(self) -> Self {
        Self { wire: Bytes::from_owner(self.wire), ..self }
    }
}

#[cfg(test)]
mod tests {
    use gibbon_media::{Frame, FrameFlags, GroupGrid, GroupHeader, GroupId, MediaTime, ProducerId};
    use std::time::Duration;

    use super::*;
    use crate::cache::{MAX_GROUPS, Push};

    fn begin(tracks: &Tracks, group: u64) -> Arc<Group> {
        let grid = GroupGrid::new(Duration::from_secs(1), Duration::ZERO);
        let header = GroupHeader {
            medium: Medium::Audio,
            group: GroupId(group),
            producer: ProducerId(1),
            published_us: 5,
        };
        tracks.begin(grid, header).unwrap()
    }

    fn push(tracks: &Tracks, group: &Group, index: u32) {
        let payload = Bytes::from(vec![index as u8; 100]);
        let time = MediaTime(group.base.0 + u64::from(index));
        let frame = Frame { time, flags: FrameFlags::KEY, payload };
        assert_eq!(tracks.push(group, index, frame), Push::New);
    }

    fn all(tracks: &Tracks) -> Vec<(GroupId, Vec<Frame>, bool)> {
        let groups = tracks.ring(Medium::Audio).groups().into_iter();
        let read = groups.map(|group| {
            let mut frames = Vec::new();
            group.read(0, &mut frames, CachedFrame::frame);
            (group.header.group, frames, group.is_complete())
        });
        read.collect()
    }

    #[tokio::test]
    async fn a_copy_follows_what_comes_and_what_goes() {
        let (from, to) = (Arc::<Tracks>::default(), Arc::<Tracks>::default());
        push(&from, &begin(&from, 1), 0);
        let mirroring = tokio::spawn(mirror(from.clone(), to.clone()));
        for group in 2..4 + MAX_GROUPS as u64 {
            let begun = begin(&from, group);
            for index in 0..4 {
                push(&from, &begun, index);
                tokio::task::yield_now().await;
                assert_eq!(all(&to), all(&from));
            }
            from.complete(&begun, 4);
            tokio::task::yield_now().await;
            assert_eq!(all(&to), all(&from));
            assert_eq!(to.live(), from.live());
        }
        assert_eq!(all(&to).len(), MAX_GROUPS);
        mirroring.abort();
    }

    #[tokio::test]
    async fn a_copy_that_was_held_up_goes_on_with_what_is_left() {
        let (from, to) = (Arc::<Tracks>::default(), Arc::<Tracks>::default());
        let mirroring = tokio::spawn(mirror(from.clone(), to.clone()));
        push(&from, &begin(&from, 1), 0);
        tokio::task::yield_now().await;
        for group in 2..4 + 2 * MAX_GROUPS as u64 {
            push(&from, &begin(&from, group), 0);
        }
        tokio::task::yield_now().await;
        assert_eq!(all(&to), all(&from));
        mirroring.abort();
    }
}
