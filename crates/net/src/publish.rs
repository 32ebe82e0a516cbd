//! The publisher's side of a subscription: sends groups out of the cache as they come.

mod sending;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use gibbon_media::{Catalog, GroupGrid, GroupId, MediaTime, Medium};
use sending::SendGroup;
use tokio::task::{AbortHandle, JoinSet};
use tracing::Instrument;

use crate::{
    cache::{Group, Tracks},
    message::{MessageError, Receiver, Sender},
    wire::{Accepted, Malformed, RejectCode, Rejected, Resume, Start, Subscribe, Update, kind},
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
    /// The last group wanted has been delivered.
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
    grid: GroupGrid,
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

/// Answers a request with a refusal.
pub async fn refuse(sender: &mut Sender, why: &Rejected) -> Result<(), MessageError> {
    sender.send(kind::REJECTED, &why.encode()).await?;
    sender.finish();
    Ok(())
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
    if !catalog.scheme.descriptions().contains(&request.description) {
        let reason =
            format!("{} is {}: it has no such description", catalog.stream, catalog.scheme);
        let why = Rejected::new(RejectCode::UnknownStream, reason);
        return refuse(&mut sender, &why).await.map(|()| Ended::Cancelled);
    }
    if tokio::time::timeout(FIRST_FRAME_WITHIN, begun(&tracks)).await.is_err() {
        let why = Rejected::new(RejectCode::Unavailable, "nothing has been published yet");
        return refuse(&mut sender, &why).await.map(|()| Ended::Cancelled);
    }
    let grid = catalog.grid(request.description);
    let first = first_group(request.start, grid, &tracks);
    let accepted = Accepted { catalog: catalog.clone(), live: tracks.live(), first };
    sender.send(kind::ACCEPTED, &accepted.encode()).await?;
    let mut service = Service {
        connection,
        subscription: sender.id(),
        grid,
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
        let id = group.header.group;
        let useful_until = |patience| self.grid.end_of(id) + patience;
        let job = SendGroup {
            connection: self.connection.clone(),
            subscription: self.subscription,
            priority: sending::priority(
                self.request.priority,
                self.request.description,
                &group.header,
            ),
            useful_until: self.request.patience.map(useful_until),
            first: skip,
            tracks: self.tracks.clone(),
            sent: self.sent.clone(),
        };
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

    /// Whether the last wanted group of every medium has been delivered, or was skipped by its producer.
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
