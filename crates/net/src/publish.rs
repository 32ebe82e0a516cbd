//! The publisher's side of a subscription: sends groups out of the cache as they come.

mod pump;
mod sending;
mod service;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use gibbon_media::{Catalog, GroupGrid, GroupId, MediaTime, Medium};
pub use pump::{Pump, Sent};
use service::Service;

use crate::{
    cache::Tracks,
    message::{MessageError, Receiver, Sender},
    wire::{Accepted, Malformed, RejectCode, Rejected, Start, Subscribe, Update, kind},
};

/// A stream that has just been created has this long to bring its first frame.
const FIRST_FRAME_WITHIN: Duration = Duration::from_secs(4);

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

/// Answers `request` and serves it out of `tracks` by `pump` until its end, or until the subscriber cancels.
pub async fn serve(
    pump: &Pump,
    mut sender: Sender,
    mut receiver: Receiver,
    request: Subscribe,
    catalog: &Catalog,
    tracks: Arc<Tracks>,
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
    let media = wanted(&request, catalog);
    let mut leg = pump.begin(Service::new(sender.id(), &request, media, first, grid, tracks));
    loop {
        tokio::select! {
            () = leg.completed() => {
                sender.finish();
                return Ok(Ended::Complete);
            }
            message = receiver.receive() => match message {
                Ok(Some(message)) if message.kind == kind::UPDATE => {
                    leg.end_at(Update::decode(message.body)?.end);
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
