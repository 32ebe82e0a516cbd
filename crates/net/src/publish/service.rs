//! One subscription: which groups it is to be sent, and how far each of them has come.

use std::{sync::Arc, task::Context, time::Duration};

use gibbon_media::{Description, GroupGrid, GroupId, Medium};
use quinn::ConnectionError;
use tokio::sync::oneshot;
use tracing::Span;

use super::{
    Sent,
    sending::{self, Progress, Sending},
};
use crate::{
    cache::{Bell, Group, Tracks, Unread},
    wire::{GroupStart, Resume, Start, Subscribe},
};

/// One subscription being served.
pub struct Service {
    /// The QUIC stream id of its description stream.
    pub id: u64,
    description: Description,
    priority: u8,
    patience: Option<Duration>,
    /// What the subscriber has of the group it resumes in.
    had: Option<(GroupId, Resume)>,
    grid: GroupGrid,
    tracks: Arc<Tracks>,
    unread: Unread,
    first: GroupId,
    end: Option<GroupId>,
    sending: Vec<Sending>,
    /// Rings when there is more in the cache.
    bell: Arc<Bell>,
    /// Whether there may be something to do although it has not rung.
    waits_for_quic: bool,
    has_sent: bool,
    span: Span,
    complete: Option<oneshot::Sender<()>>,
}

impl Service {
    /// Sends `media` of what `request` asks for out of `tracks`, from group `first` of `grid` on.
    pub fn new(
        id: u64,
        request: &Subscribe,
        media: Vec<Medium>,
        first: GroupId,
        grid: GroupGrid,
        tracks: Arc<Tracks>,
    ) -> Self {
        let had = match request.start {
            Start::Group { group, resume } => resume.map(|resume| (group, resume)),
            Start::Next | Start::Live(_) => None,
        };
        Self {
            id,
            description: request.description,
            priority: request.priority,
            patience: request.patience,
            had,
            grid,
            tracks,
            unread: Unread::of(media),
            first,
            end: request.end,
            sending: Vec::new(),
            bell: Arc::default(),
            waits_for_quic: false,
            has_sent: false,
            span: Span::current(),
            complete: None,
        }
    }

    /// Begins to listen for what there is to send; what it returns hears of the end.
    pub fn start(&mut self) -> oneshot::Receiver<()> {
        self.tracks.hang(&self.bell);
        self.bell.ring();
        let (complete, completed) = oneshot::channel();
        self.complete = Some(complete);
        completed
    }

    /// Sends what can be sent now, and says whether QUIC took any; costs next to nothing where there is nothing,
    /// for a connection to a node may have hundreds of subscriptions. An error is the connection's end.
    pub fn step(
        &mut self,
        cx: &mut Context,
        connection: &quinn::Connection,
        sent: &Sent,
    ) -> Result<bool, ConnectionError> {
        if !self.bell.answer(cx) && !self.waits_for_quic {
            return Ok(false);
        }
        let (first, end) = (self.first, self.end);
        let wanted = |id| id >= first && end.is_none_or(|end| id <= end);
        for group in self.unread.take(&self.tracks, wanted) {
            let sending = self.begin(group, connection);
            self.sending.push(sending);
        }
        let live = self.tracks.live();
        let (mut at, mut took) = (0, false);
        while let Some(sending) = self.sending.get_mut(at) {
            let before = sending.taken();
            let progress = sending.step(cx, live, sent)?;
            took |= sending.taken() > before;
            match progress {
                Progress::Over => drop(self.sending.swap_remove(at)),
                Progress::Waits => at += 1,
            }
        }
        self.waits_for_quic = self.sending.iter().any(Sending::waits_for_quic);
        if !self.has_sent && self.sending.iter().any(|sending| sending.taken() > 1) {
            self.has_sent = true;
            self.span.in_scope(|| tracing::info!("first frame sent"));
        }
        if self.is_complete()
            && let Some(complete) = self.complete.take()
        {
            let _ = complete.send(());
        }
        Ok(took)
    }

    fn begin(&self, group: Arc<Group>, connection: &quinn::Connection) -> Sending {
        let header = group.header;
        let first = match &self.had {
            Some((id, resume)) if *id == header.group && resume.producer == header.producer => {
                resume.frames[header.medium.index()]
            }
            _ => 0,
        };
        let start = GroupStart { subscription: self.id, header, base: group.base, first };
        let priority = sending::priority(self.priority, self.description, &header);
        let useful_until = self.patience.map(|patience| self.grid.end_of(header.group) + patience);
        Sending::new(group, &start, priority, useful_until, connection)
    }

    /// Nothing after `end` is wanted any more: what is under way of it is broken off.
    pub fn end_at(&mut self, end: GroupId, sent: &Sent) {
        self.end = Some(end);
        self.unread.look_again();
        self.bell.ring();
        self.break_off(|group| group > end, sent);
    }

    /// Nothing is wanted any more.
    pub fn cancel(&mut self, sent: &Sent) {
        self.break_off(|_| true, sent);
    }

    fn break_off(&mut self, unwanted: impl Fn(GroupId) -> bool, sent: &Sent) {
        let before = self.sending.len();
        self.sending.retain(|sending| !unwanted(sending.group()));
        Sent::add(&sent.cancelled, before - self.sending.len());
    }

    /// Whether the last wanted group of every medium has been delivered, or was skipped by its producer.
    fn is_complete(&self) -> bool {
        let Some(end) = self.end else { return false };
        end < self.first || self.sending.is_empty() && self.unread.is_past(end, &self.tracks)
    }
}
