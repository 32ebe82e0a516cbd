//! The publisher's side of a subscription: sends groups out of the cache as they come.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use gibbon_media::{Catalog, GroupGrid, GroupId, MediaTime, Medium};
use quinn::{SendStream, VarInt};
use tokio::task::{AbortHandle, JoinSet};
use tracing::Instrument;

use crate::{
    cache::{Group, Read, Tracks},
    close,
    message::{MessageError, Receiver, Sender},
    wire::{
        Accepted, GroupStart, Malformed, RejectCode, Rejected, Resume, Start, Subscribe, Update,
        encode_message, kind,
    },
};

/// A stream that has just been created has this long to bring its first frame.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(4);

/// What a subscription has been sent so far.
#[derive(Debug, Default)]
pub struct Sent {
    /// Frames of all media.
    pub frames: AtomicU64,
    /// Their bytes, heads included.
    pub bytes: AtomicU64,
    /// Groups given up because the subscriber was too slow.
    pub superseded: AtomicU64,
}

/// Counts the subscriptions being served.
#[derive(Debug, Default)]
pub struct Subscribers(AtomicU32);

/// One of them; dropped when it ends.
#[derive(Debug)]
pub struct Subscriber<'a>(&'a Subscribers);

impl Subscribers {
    /// One more, for as long as the value lives.
    pub fn enter(&self) -> Subscriber<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Subscriber(self)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Subscriber<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The last group wanted has been sent.
    Complete,
    /// The subscriber cancelled, or its connection is gone.
    Cancelled,
}

/// One subscription being served.
struct Service {
    connection: quinn::Connection,
    request: Subscribe,
    subscription: u64,
    tracks: Arc<Tracks>,
    media: Vec<Medium>,
    first: GroupId,
    end: Option<GroupId>,
    sent: Arc<Sent>,
    sending: JoinSet<()>,
    begun: BTreeSet<(GroupId, usize)>,
    aborts: Vec<(GroupId, AbortHandle)>,
}

/// What a description stream asks for: its first message. `None` if it ended before.
pub async fn request(receiver: &mut Receiver) -> Result<Option<Subscribe>, MessageError> {
    match receiver.receive().await? {
        None => Ok(None),
        Some(message) if message.kind == kind::SUBSCRIBE => {
            Ok(Some(Subscribe::decode(message.body)?))
        }
        Some(message) => Err(Malformed::Unknown { what: "request", value: message.kind }.into()),
    }
}

/// Answers `request` and serves it out of `tracks` until its end, or until the subscriber cancels.
pub async fn serve(
    connection: quinn::Connection,
    mut sender: Sender,
    mut receiver: Receiver,
    request: Subscribe,
    catalog: &Catalog,
    tracks: Arc<Tracks>,
    sent: Arc<Sent>,
) -> Result<Ended, MessageError> {
    if tokio::time::timeout(FIRST_FRAME_WITHIN, begun(&tracks)).await.is_err() {
        let why = Rejected::new(RejectCode::Unavailable, "nothing has been published yet");
        sender.send(kind::REJECTED, &why.encode()).await?;
        sender.finish();
        return Ok(Ended::Cancelled);
    }
    let first = first_group(request.start, catalog.grid(request.description), &tracks);
    let accepted = Accepted { catalog: catalog.clone(), live: tracks.live(), first };
    sender.send(kind::ACCEPTED, &accepted.encode()).await?;
    let mut service = Service {
        connection,
        subscription: sender.id(),
        media: wanted(&request, catalog),
        first,
        end: request.end,
        request,
        tracks: tracks.clone(),
        sent,
        sending: JoinSet::new(),
        begun: BTreeSet::new(),
        aborts: Vec::new(),
    };
    loop {
        let began = tracks.group_began();
        service.begin_groups();
        if service.is_complete() {
            sender.finish();
            return Ok(Ended::Complete);
        }
        tokio::select! {
            () = began => {}
            Some(_) = service.sending.join_next() => {}
            message = receiver.receive() => match message {
                Ok(Some(message)) if message.kind == kind::UPDATE => {
                    service.end_at(Update::decode(message.body)?.end);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Ended::Cancelled),
                Err(error) if error.is_malformed() => return Err(error),
                Err(_) => return Ok(Ended::Cancelled),
            },
        }
    }
}

/// Waits until there is a live position to tell of.
async fn begun(tracks: &Tracks) {
    loop {
        let began = tracks.group_began();
        if tracks.live() > MediaTime(0) {
            return;
        }
        began.await;
    }
}

fn wanted(request: &Subscribe, catalog: &Catalog) -> Vec<Medium> {
    let published = |medium| match medium {
        Medium::Video => catalog.video.is_some(),
        Medium::Audio => catalog.audio.is_some(),
        Medium::Text => catalog.text.is_some(),
    };
    Medium::ALL.into_iter().filter(|m| request.media.contains(*m) && published(*m)).collect()
}

fn first_group(start: Start, grid: GroupGrid, tracks: &Tracks) -> GroupId {
    match start {
        Start::Next => grid.first_not_begun(tracks.live()),
        Start::Live(delay) => grid.group_at(tracks.live().back(delay)),
        Start::Group { group, .. } => group,
    }
}

impl Service {
    /// Starts sending each group that has appeared in the cache and is wanted.
    fn begin_groups(&mut self) {
        for medium in self.media.clone() {
            for group in self.tracks.ring(medium).groups() {
                let id = group.header.group;
                let wanted = id >= self.first && self.end.is_none_or(|end| id <= end);
                if wanted && self.begun.insert((id, medium.index())) {
                    self.begin(group);
                }
            }
        }
        // What the cache no longer holds cannot come again: forget it, so that this set is bounded.
        let oldest =
            self.media.iter().filter_map(|m| self.tracks.ring(*m).span()).map(|s| s.0).min();
        if let Some(oldest) = oldest {
            self.begun = self.begun.split_off(&(oldest, 0));
        }
        self.aborts.retain(|(_, task)| !task.is_finished());
    }

    fn begin(&mut self, group: Arc<Group>) {
        let skip = match self.request.start {
            Start::Group { group: id, resume: Some(Resume { producer, frames }) }
                if id == group.header.group && producer == group.header.producer =>
            {
                frames[group.header.medium.index()]
            }
            _ => 0,
        };
        let urgent = i32::from(group.header.medium != Medium::Video);
        let job = SendGroup {
            connection: self.connection.clone(),
            subscription: self.subscription,
            priority: i32::from(self.request.priority) * 2 + urgent,
            first: skip,
            sent: self.sent.clone(),
        };
        let id = group.header.group;
        let task = self.sending.spawn(job.run(group).in_current_span());
        self.aborts.push((id, task));
    }

    fn end_at(&mut self, end: GroupId) {
        self.end = Some(end);
        for (group, task) in &self.aborts {
            if *group > end {
                task.abort();
            }
        }
    }

    /// Whether the last wanted group of every medium has been sent, or was skipped by its producer.
    fn is_complete(&self) -> bool {
        let Some(end) = self.end else { return false };
        if end < self.first {
            return true;
        }
        let passed = |medium: &Medium| {
            self.tracks.ring(*medium).span().is_some_and(|(_, newest)| newest > end)
                || self.begun.contains(&(end, medium.index()))
        };
        self.sending.is_empty() && self.media.iter().all(passed)
    }
}

struct SendGroup {
    connection: quinn::Connection,
    subscription: u64,
    priority: i32,
    first: u32,
    sent: Arc<Sent>,
}

impl SendGroup {
    /// Sends one group on a stream of its own, unless the subscriber takes it too slowly: then the group
    /// is given up when the cache evicts it, wherever sending it stands. Errors end the stream only: the
    /// connection's end is seen by whoever serves the subscription.
    async fn run(self, group: Arc<Group>) {
        let mut stream = None;
        tokio::select! {
            _ = self.send(&mut stream, &group) => {}
            () = group.evicted() => {
                self.sent.superseded.fetch_add(1, Ordering::Relaxed);
                if let Some(stream) = stream {
                    stream.give_up(close::SUPERSEDED);
                }
            }
        }
    }

    async fn send(
        &self,
        stream: &mut Option<GroupStream>,
        group: &Group,
    ) -> Result<(), quinn::WriteError> {
        let opened = self.connection.open_uni().await?;
        let stream = stream.insert(GroupStream { stream: opened, ended: false });
        let _ = stream.stream.set_priority(self.priority);
        self.write(stream, group).await
    }

    async fn write(
        &self,
        stream: &mut GroupStream,
        group: &Group,
    ) -> Result<(), quinn::WriteError> {
        let start = GroupStart {
            subscription: self.subscription,
            header: group.header,
            base: group.base,
            first: self.first,
        };
        stream.stream.write_all(&encode_message(kind::GROUP, &start.encode())).await?;
        let mut next = self.first as usize;
        loop {
            let changed = group.changed();
            match group.read(next) {
                Read::Frames(frames) => {
                    next += frames.len();
                    let mut chunks: Vec<Bytes> =
                        frames.into_iter().flat_map(|f| [f.head, f.payload]).collect();
                    self.count(&chunks);
                    stream.stream.write_all_chunks(&mut chunks).await?;
                }
                Read::Wait => changed.await,
                Read::Complete => {
                    stream.finish();
                    return Ok(());
                }
                // Given up by whoever waits for it beside this.
                Read::Evicted => std::future::pending().await,
            }
        }
    }

    fn count(&self, chunks: &[Bytes]) {
        let bytes: usize = chunks.iter().map(Bytes::len).sum();
        self.sent.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let before = self.sent.frames.fetch_add(chunks.len() as u64 / 2, Ordering::Relaxed);
        if before == 0 {
            tracing::info!("first frame sent");
        }
    }
}

/// A group's stream that is reset, not finished, when dropped half-way: a subscriber must never take a
/// part of a group for the whole.
struct GroupStream {
    stream: SendStream,
    ended: bool,
}

impl GroupStream {
    fn finish(&mut self) {
        self.ended = self.stream.finish().is_ok();
    }

    fn give_up(mut self, code: VarInt) {
        self.ended = self.stream.reset(code).is_ok();
    }
}

impl Drop for GroupStream {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.stream.reset(close::CANCELLED);
        }
    }
}
