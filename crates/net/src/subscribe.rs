//! The subscriber's side: asks for a description and takes its groups as they come.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::BytesMut;
use gibbon_media::{Frame, GroupId};
use quinn::RecvStream;
use tokio::sync::mpsc;

use crate::{
    close, lock,
    message::{self, MessageError, Receiver, Sender},
    wire::{
        Accepted, FrameDecoder, GroupStart, MAX_FRAME, MAX_MESSAGE, Malformed, MessageDecoder,
        Rejected, StreamKind, Subscribe, Update, kind,
    },
};

/// Groups of one subscription that have begun and have not been taken yet.
const MAX_WAITING_GROUPS: usize = 32;
/// A publisher that has not answered a request by then is taken for dead.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
/// A group stream whose header has not arrived by then is dropped.
const HEADER_WITHIN: Duration = Duration::from_secs(10);

/// Why a subscription could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The publisher refuses.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The publisher speaks nonsense, or is gone.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The publisher is silent.
    #[error("no answer within {ANSWER_WITHIN:?}")]
    Silent,
}

impl From<Malformed> for SubscribeError {
    fn from(error: Malformed) -> Self {
        SubscribeError::Message(error.into())
    }
}

type Routes = HashMap<u64, mpsc::Sender<IncomingGroup>>;

/// A connection that we subscribe over: takes group streams in and hands each to its subscription.
#[derive(Debug)]
pub struct Link {
    connection: quinn::Connection,
    routes: Mutex<Routes>,
}

impl Link {
    /// Begins to take group streams from `connection`, until it closes.
    pub fn new(connection: quinn::Connection) -> Arc<Self> {
        let link = Arc::new(Self { connection, routes: Mutex::default() });
        tokio::spawn(link.clone().run());
        link
    }

    /// The connection.
    pub fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        lock(&self.routes)
    }

    async fn run(self: Arc<Self>) {
        while let Ok(stream) = self.connection.accept_uni().await {
            let link = self.clone();
            // The streams a peer may have open at once are bounded, and so are these tasks.
            tokio::spawn(async move { link.route(stream).await });
        }
        self.routes().clear();
    }

    async fn route(&self, stream: RecvStream) {
        let mut group = match tokio::time::timeout(HEADER_WITHIN, IncomingGroup::open(stream)).await
        {
            Ok(Ok(group)) => group,
            Ok(Err(error)) if error.is_malformed() => {
                let reason = format!("group stream: {error}");
                return self.connection.close(close::MALFORMED, reason.as_bytes());
            }
            _ => return,
        };
        let route = self.routes().get(&group.start.subscription).cloned();
        match route.map(|route| route.try_reserve_owned()) {
            Some(Ok(place)) => {
                place.send(group);
            }
            _ => {
                let _ = group.stream.stop(close::NO_SUBSCRIPTION);
            }
        }
    }
}

/// A description being received. Dropping it cancels it.
#[derive(Debug)]
pub struct Subscription {
    /// The publisher's answer.
    pub accepted: Accepted,
    id: u64,
    link: Arc<Link>,
    sender: Sender,
    receiver: Receiver,
    groups: mpsc::Receiver<IncomingGroup>,
    ended: bool,
}

/// What a subscription brings.
#[derive(Debug)]
pub enum Event {
    /// A group has begun.
    Group(IncomingGroup),
    /// The publisher has sent all that was asked for; groups under way go on.
    Ended,
    /// The connection is gone, or the publisher broke the rules.
    Broken(String),
}

impl Subscription {
    /// Asks for `request` over `link` and waits for the answer.
    pub async fn open(link: &Arc<Link>, request: &Subscribe) -> Result<Self, SubscribeError> {
        let opened = tokio::time::timeout(ANSWER_WITHIN, Self::ask(link, request));
        opened.await.map_err(|_| SubscribeError::Silent)?
    }

    async fn ask(link: &Arc<Link>, request: &Subscribe) -> Result<Self, SubscribeError> {
        let (mut sender, mut receiver) =
            message::open(&link.connection, StreamKind::Description).await?;
        let id = sender.id();
        let (route, groups) = mpsc::channel(MAX_WAITING_GROUPS);
        let unroute = Unroute { link, id, kept: false };
        link.routes().insert(id, route);
        sender.send(kind::SUBSCRIBE, &request.encode()).await?;
        let answer = receiver.receive().await?.ok_or(Malformed::Truncated("answer"))?;
        let accepted = match answer.kind {
            kind::ACCEPTED => Accepted::decode(answer.body)?,
            kind::REJECTED => return Err(Rejected::decode(answer.body)?.into()),
            value => return Err(Malformed::Unknown { what: "answer", value }.into()),
        };
        unroute.keep();
        let link = link.clone();
        Ok(Self { accepted, id, link, sender, receiver, groups, ended: false })
    }

    /// The next thing that happens. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        loop {
            tokio::select! {
                group = self.groups.recv() => return match group {
                    Some(group) => Event::Group(group),
                    None => Event::Broken(self.why_broken()),
                },
                message = self.receiver.receive(), if !self.ended => match message {
                    // Nothing of this version; a newer publisher may say more than we understand.
                    Ok(Some(_)) => {}
                    Ok(None) => {
                        self.ended = true;
                        return Event::Ended;
                    }
                    Err(error) => return Event::Broken(error.to_string()),
                },
            }
        }
    }

    fn why_broken(&self) -> String {
        match self.link.connection.close_reason() {
            Some(reason) => reason.to_string(),
            None => "the connection is gone".into(),
        }
    }

    /// Asks the publisher to stop after `end`.
    pub async fn end_after(&mut self, end: GroupId) -> Result<(), MessageError> {
        self.sender.send(kind::UPDATE, &Update { end }.encode()).await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.link.routes().remove(&self.id);
    }
}

/// Takes a route away again if the request fails or its future is dropped.
struct Unroute<'a> {
    link: &'a Link,
    id: u64,
    kept: bool,
}

impl Unroute<'_> {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Unroute<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.link.routes().remove(&self.id);
        }
    }
}

/// A group that is arriving.
#[derive(Debug)]
pub struct IncomingGroup {
    /// Its header, and the index of its first frame here.
    pub start: GroupStart,
    stream: RecvStream,
    buffer: BytesMut,
    decoder: FrameDecoder,
    next: u32,
}

impl IncomingGroup {
    async fn open(mut stream: RecvStream) -> Result<Self, MessageError> {
        let mut buffer = BytesMut::new();
        let decoder = MessageDecoder::new(MAX_MESSAGE);
        let message = loop {
            if let Some(message) = decoder.decode(&mut buffer)? {
                break message;
            }
            if !fill(&mut stream, &mut buffer).await? {
                return Err(Malformed::Truncated("group header").into());
            }
        };
        if message.kind != kind::GROUP {
            return Err(
                Malformed::Unknown { what: "unidirectional stream", value: message.kind }.into()
            );
        }
        let start = GroupStart::decode(message.body)?;
        let decoder = FrameDecoder::new(start.base);
        Ok(Self { start, stream, buffer, decoder, next: start.first })
    }

    /// The next frame and its index; `None` once the group is complete. An error means that the rest of
    /// the group does not come this way. Cancel-safe.
    pub async fn next_frame(&mut self) -> Result<Option<(u32, Frame)>, MessageError> {
        loop {
            let decoded = self.decoder.decode(&mut self.buffer);
            if decoded.is_err() {
                let _ = self.stream.stop(close::MALFORMED);
            }
            if let Some(frame) = decoded? {
                let index = self.next;
                self.next = index.checked_add(1).ok_or(Malformed::Truncated("group"))?;
                return Ok(Some((index, frame)));
            }
            if !fill(&mut self.stream, &mut self.buffer).await? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(Malformed::Truncated("frame").into())
                };
            }
        }
    }

    /// Frames of the group up to where reading has come: all of them once it is complete.
    pub fn frames(&self) -> u32 {
        self.next
    }
}

async fn fill(stream: &mut RecvStream, buffer: &mut BytesMut) -> Result<bool, MessageError> {
    match stream.read_chunk(MAX_FRAME, true).await {
        Ok(Some(chunk)) => {
            buffer.extend_from_slice(&chunk.bytes);
            Ok(true)
        }
        Ok(None) => Ok(false),
        Err(error) => Err(MessageError::Broken(error.to_string())),
    }
}
