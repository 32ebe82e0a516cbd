//! The group cache: for each track a ring of its last few groups, filled once from upstream and read by
//! any number of subscribers. A subscriber is a cursor into the ring, not a queue: payloads are shared,
//! never copied, and what nobody has read in time is evicted.

mod bell;
mod mirror;
mod unread;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bell::Bells;
pub use bell::{Beat, Bell};
use bytes::Bytes;
use gibbon_media::{Frame, FrameFlags, GroupGrid, GroupHeader, GroupId, MediaTime, Medium};
pub use mirror::mirror;
use tokio::sync::{Notify, futures::Notified};
pub use unread::Unread;

use crate::{lock, wire::encode_frame};

/// Groups kept of each track: enough to start a viewer at any playout delay up to this many groups.
pub const MAX_GROUPS: usize = 6;
/// Frames of one group.
pub const MAX_GROUP_FRAMES: usize = 4096;
/// Payload bytes of one group.
pub const MAX_GROUP_BYTES: usize = 16 * 1024 * 1024;

/// The three tracks of one description of one stream.
#[derive(Debug, Default)]
pub struct Tracks {
    rings: [Ring; 3],
    /// The newest media time seen or told of by upstream, in µs.
    live: AtomicU64,
    /// Groups that have begun.
    begun: AtomicU64,
    began: Notify,
    bells: Arc<Bells>,
}

impl Tracks {
    /// Tracks whose readers are told of what is new at the beats of `beat`.
    pub fn paced(beat: Arc<Beat>) -> Self {
        Self { bells: Arc::new(Bells::paced(beat)), ..Self::default() }
    }

    /// Begins a group, or takes it up again, whose frames' times count from its start in `grid`: what a
    /// producer does.
    pub fn begin(&self, grid: GroupGrid, header: GroupHeader) -> Result<Arc<Group>, Refusal> {
        self.admit(header, grid.start_of(header.group))
    }

    /// The ring of `medium`.
    pub fn ring(&self, medium: Medium) -> &Ring {
        &self.rings[medium.index()]
    }

    /// Takes in a group whose frames' times count from `base`: what to push its frames to. The same copy again
    /// gives the same group, so that a second upstream can go on where a first broke off.
    pub fn admit(&self, header: GroupHeader, base: MediaTime) -> Result<Arc<Group>, Refusal> {
        let (group, new) = self.ring(header.medium).admit(header, base)?;
        if new {
            self.live.fetch_max(base.0, Ordering::Relaxed);
            self.begun.fetch_add(1, Ordering::Release);
            self.began.notify_waiters();
            self.bells.ring();
        }
        Ok(group)
    }

    /// Takes in a frame of a group that was admitted.
    pub fn push(&self, group: &Group, index: u32, frame: Frame) -> Push {
        self.put(group, index, CachedFrame::new(group.base, frame))
    }

    fn put(&self, group: &Group, index: u32, frame: CachedFrame) -> Push {
        // Cues are published when their group begins, ahead of their time.
        let time = match group.header.medium {
            Medium::Text => group.base,
            Medium::Video | Medium::Audio => frame.time,
        };
        let push = group.push(index, frame);
        if push == Push::New {
            self.live.fetch_max(time.0, Ordering::Relaxed);
            self.bells.ring();
        }
        push
    }

    /// No frame follows the `frames` first ones of a group that was admitted. Ignored unless all of them are here.
    pub fn complete(&self, group: &Group, frames: u32) {
        if group.complete(frames) {
            self.bells.ring();
        }
    }

    /// The newest media time known.
    pub fn live(&self) -> MediaTime {
        MediaTime(self.live.load(Ordering::Relaxed))
    }

    /// Upstream says that it is live at `time`.
    pub fn advance_live(&self, time: MediaTime) {
        if self.live.fetch_max(time.0, Ordering::Relaxed) < time.0 {
            self.bells.ring();
        }
    }

    /// Rings `bell` whenever there is more to read, or less: frames, the end of a group, a group past its
    /// usefulness, a later live position.
    pub fn hang(&self, bell: &Arc<Bell>) {
        self.bells.hang(bell);
    }

    /// Waits until a group begins. Make the future before looking, await it after.
    pub fn group_began(&self) -> Notified<'_> {
        self.began.notified()
    }

    /// Payload bytes held.
    pub fn bytes(&self) -> usize {
        self.rings.iter().map(|ring| ring.lock().iter().map(|g| g.bytes()).sum::<usize>()).sum()
    }
}

/// The last few groups of one track, in order of their ids.
#[derive(Debug, Default)]
pub struct Ring {
    groups: Mutex<VecDeque<Arc<Group>>>,
}

/// Why a group is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is older than all that is kept.
    #[error("the group is older than the cache")]
    TooOld,
    /// Another producer's copy of the group has begun; the two must not be joined.
    #[error("the group has begun under another producer")]
    OtherProducer,
}

impl Ring {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Group>>> {
        lock(&self.groups)
    }

    /// The group, and whether it is new.
    fn admit(&self, header: GroupHeader, base: MediaTime) -> Result<(Arc<Group>, bool), Refusal> {
        let mut groups = self.lock();
        let at = groups.partition_point(|g| g.header.group < header.group);
        if let Some(held) = groups.get(at).filter(|g| g.header.group == header.group) {
            return if held.header.producer == header.producer {
                Ok((held.clone(), false))
            } else {
                Err(Refusal::OtherProducer)
            };
        }
        if at == 0 && groups.len() == MAX_GROUPS {
            return Err(Refusal::TooOld);
        }
        let group = Arc::new(Group::new(header, base));
        groups.insert(at, group.clone());
        if groups.len() > MAX_GROUPS
            && let Some(oldest) = groups.pop_front()
        {
            oldest.evict();
        }
        Ok((group, true))
    }

    /// The groups held, oldest first.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.lock().iter().cloned().collect()
    }

    /// Mean payload bytes of the newest complete groups; 0 if there are none. Heavy and light groups may
    /// take turns: of more than one an even number counts.
    pub fn mean_group_bytes(&self) -> usize {
        let groups = self.lock();
        let complete: Vec<_> = groups.iter().rev().filter(|group| group.is_complete()).collect();
        let count = if complete.len() > 1 { complete.len() & !1 } else { complete.len() };
        let bytes: usize = complete.iter().take(count).map(|group| group.bytes()).sum();
        bytes.checked_div(count).unwrap_or(0)
    }

    /// The ids of the oldest and the newest group held.
    pub fn span(&self) -> Option<(GroupId, GroupId)> {
        let groups = self.lock();
        Some((groups.front()?.header.group, groups.back()?.header.group))
    }
}

/// One group: its frames so far, and whether more will come.
#[derive(Debug)]
pub struct Group {
    /// Which group, of which producer.
    pub header: GroupHeader,
    /// What its frames' times count from on the wire.
    pub base: MediaTime,
    state: Mutex<State>,
    changed: Notify,
    evicted: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: Vec<CachedFrame>,
    bytes: usize,
    end: End,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Complete,
    Evicted,
}

/// A frame as it stands on the wire, written once for all subscribers.
#[derive(Debug, Clone)]
pub struct CachedFrame {
    /// Time, flags and length, then the payload.
    pub wire: Bytes,
    payload_at: usize,
    time: MediaTime,
    flags: FrameFlags,
}

impl CachedFrame {
    /// `frame` in a group whose times count from `base`. Copies it: what it was cut from may be larger, and
    /// one piece costs each subscriber less than two.
    fn new(base: MediaTime, frame: Frame) -> Self {
        let wire = encode_frame(base, &frame);
        let payload_at = wire.len() - frame.payload.len();
        Self { wire, payload_at, time: frame.time, flags: frame.flags }
    }

    fn payload_bytes(&self) -> usize {
        self.wire.len() - self.payload_at
    }

    /// The frame itself, for who reads it on this node.
    pub fn frame(&self) -> Frame {
        let payload = self.wire.slice(self.payload_at..);
        Frame { time: self.time, flags: self.flags, payload }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// It is the next frame of the group.
    New,
    /// The group has it.
    Duplicate,
    /// Frames before it are missing, or the group is closed or above its bounds.
    Refused,
}

/// What a cursor finds.
#[derive(Debug)]
pub enum Read {
    /// Frames from the cursor on: so many.
    Frames(usize),
    /// Nothing yet: wait for a change.
    Wait,
    /// All frames have been read and no more will come.
    Complete,
    /// The group is past its usefulness.
    Evicted,
}

impl Group {
    fn new(header: GroupHeader, base: MediaTime) -> Self {
        Self {
            header,
            base,
            state: Mutex::default(),
            changed: Notify::new(),
            evicted: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Appends the frame at `index`, if it is the next.
    fn push(&self, index: u32, frame: CachedFrame) -> Push {
        let mut state = self.lock();
        let next = state.frames.len();
        if (index as usize) < next {
            return Push::Duplicate;
        }
        let full =
            next >= MAX_GROUP_FRAMES || state.bytes + frame.payload_bytes() > MAX_GROUP_BYTES;
        if index as usize > next || state.end != End::Open || full {
            return Push::Refused;
        }
        state.bytes += frame.payload_bytes();
        state.frames.push(frame);
        drop(state);
        self.changed.notify_waiters();
        Push::New
    }

    /// Whether it is complete by that, and was not before.
    fn complete(&self, frames: u32) -> bool {
        let mut state = self.lock();
        let completes = state.end == End::Open && state.frames.len() == frames as usize;
        if completes {
            state.end = End::Complete;
            drop(state);
            self.changed.notify_waiters();
        }
        completes
    }

    /// Frees the frames: whoever still holds the group, such as a subscriber that does not read, must
    /// not hold its memory.
    fn evict(&self) {
        let frames = {
            let mut state = self.lock();
            state.end = End::Evicted;
            std::mem::take(&mut state.frames)
        };
        drop(frames);
        self.changed.notify_waiters();
        self.evicted.notify_waiters();
    }

    /// Waits until the group is past its usefulness.
    pub async fn evicted(&self) {
        let evicted = self.evicted.notified();
        if self.lock().end != End::Evicted {
            evicted.await;
        }
    }

    /// Puts what there is from frame `index` on into `into`, each as `of` makes it.
    pub fn read<T>(&self, index: usize, into: &mut Vec<T>, of: impl Fn(&CachedFrame) -> T) -> Read {
        let state = self.lock();
        match state.end {
            End::Evicted => Read::Evicted,
            _ if index < state.frames.len() => {
                into.extend(state.frames[index..].iter().map(of));
                Read::Frames(state.frames.len() - index)
            }
            End::Complete => Read::Complete,
            End::Open => Read::Wait,
        }
    }

    /// Whether it is past its usefulness.
    pub fn is_evicted(&self) -> bool {
        self.lock().end == End::Evicted
    }

    /// Whether all its frames are here.
    pub fn is_complete(&self) -> bool {
        self.lock().end == End::Complete
    }

    fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Waits for a change. Make the future before reading, await it after.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use gibbon_media::ProducerId;

    use super::*;

    fn admit(tracks: &Tracks, group: u64, producer: u64) -> Result<Arc<Group>, Refusal> {
        let header = GroupHeader {
            medium: Medium::Video,
            group: GroupId(group),
            producer: ProducerId(producer),
            published_us: 0,
        };
        tracks.admit(header, MediaTime(group * 1000))
    }

    fn frame(time: u64) -> Frame {
        Frame { time: MediaTime(time), flags: FrameFlags::KEY, payload: Bytes::from_static(b"x") }
    }

    #[test]
    fn a_second_upstream_goes_on_where_the_first_broke_off() {
        let tracks = Tracks::default();
        let first = admit(&tracks, 1, 7).unwrap();
        assert_eq!(tracks.push(&first, 0, frame(1000)), Push::New);
        let second = admit(&tracks, 1, 7).unwrap();
        assert_eq!(tracks.push(&second, 0, frame(1000)), Push::Duplicate);
        assert_eq!(tracks.push(&second, 2, frame(1002)), Push::Refused, "a hole");
        assert_eq!(tracks.push(&second, 1, frame(1001)), Push::New);
        tracks.complete(&second, 3);
        assert!(!first.is_complete(), "a frame is missing");
        tracks.complete(&second, 2);
        assert!(matches!(first.read(2, &mut Vec::new(), CachedFrame::frame), Read::Complete));
        assert_eq!(tracks.live(), MediaTime(1001));
    }

    #[test]
    fn a_frame_is_read_as_it_was_pushed() {
        let tracks = Tracks::default();
        let group = admit(&tracks, 1, 7).unwrap();
        tracks.push(&group, 0, frame(1040));
        let mut frames = Vec::new();
        assert!(matches!(group.read(0, &mut frames, CachedFrame::frame), Read::Frames(1)));
        assert_eq!(frames, [frame(1040)]);
    }

    #[test]
    fn two_producers_are_never_joined_within_a_group() {
        let tracks = Tracks::default();
        admit(&tracks, 1, 7).unwrap();
        assert_eq!(admit(&tracks, 1, 8).unwrap_err(), Refusal::OtherProducer);
        assert!(admit(&tracks, 2, 8).is_ok(), "the next group is free to be another's");
    }

    #[test]
    fn the_ring_keeps_the_newest_groups_and_evicts_the_oldest() {
        let tracks = Tracks::default();
        let oldest = admit(&tracks, 10, 7).unwrap();
        for group in 11..=10 + MAX_GROUPS as u64 {
            admit(&tracks, group, 7).unwrap();
        }
        assert!(oldest.is_evicted());
        assert_eq!(admit(&tracks, 9, 7).unwrap_err(), Refusal::TooOld);
        let held = tracks.ring(Medium::Video).groups();
        assert_eq!(held.len(), MAX_GROUPS);
        assert!(held.is_sorted_by_key(|g| g.header.group));
    }

    #[test]
    fn heavy_and_light_groups_count_alike_in_the_mean() {
        let tracks = Tracks::default();
        let add = |group: u64, bytes, complete| {
            let held = admit(&tracks, group, 7).unwrap();
            let payload = Bytes::from(vec![0; bytes]);
            tracks.push(&held, 0, Frame { time: MediaTime(0), flags: FrameFlags::NONE, payload });
            if complete {
                tracks.complete(&held, 1);
            }
        };
        let mean = || tracks.ring(Medium::Video).mean_group_bytes();
        assert_eq!(mean(), 0);
        add(1, 300, true);
        assert_eq!(mean(), 300);
        add(2, 100, true);
        assert_eq!(mean(), 200);
        add(3, 300, true);
        assert_eq!(mean(), 200);
        add(4, 9000, false);
        assert_eq!(mean(), 200);
    }

    #[test]
    fn a_group_is_bounded_in_bytes() {
        let tracks = Tracks::default();
        let group = admit(&tracks, 1, 7).unwrap();
        let big = Bytes::from(vec![0; MAX_GROUP_BYTES]);
        let frame = |payload| Frame { time: MediaTime(0), flags: FrameFlags::NONE, payload };
        assert_eq!(tracks.push(&group, 0, frame(big)), Push::New);
        assert_eq!(tracks.push(&group, 1, frame(Bytes::from_static(b"x"))), Push::Refused);
    }
}
