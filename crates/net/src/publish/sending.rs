//! One group on its way to one subscriber.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use gibbon_media::{Description, GroupHeader, GroupId, MediaTime, Medium};
use quinn::{ConnectionError, SendStream, StoppedError, VarInt, WriteError};

use super::Sent;
use crate::{
    cache::{Group, Read},
    close,
    wire::{GroupStart, encode_message, kind},
};

/// Group ids are compared by their remainder: priorities have room for no more. With groups of 1 s two of
/// them change places once in 24 days, for the time of one group.
const GROUP_IDS: u64 = 1 << 21;

/// The priority of a group's stream among those of its connection: by what the subscriber asked for, then
/// sound and text before pictures, then description 0 before 1, then older groups before newer ones. So on a
/// path too narrow for both descriptions one arrives in time, where otherwise both would be late.
pub fn priority(asked: u8, description: Description, header: &GroupHeader) -> i32 {
    let class = i32::from(asked) * 4
        + i32::from(header.medium != Medium::Video) * 2
        + i32::from(description == Description::Zero);
    class * GROUP_IDS as i32 - (header.group.0 % GROUP_IDS) as i32
}

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A group that is being sent on a stream of its own. Errors end the stream only, unless the connection is gone.
pub struct Sending {
    group: Arc<Group>,
    priority: i32,
    /// Given up once the live position is past this; none: once the cache evicts it.
    useful_until: Option<MediaTime>,
    stage: Stage,
    stream: Option<GroupStream>,
    /// Taken out of the cache, and not yet by QUIC: what was due when QUIC took no more, if not empty.
    chunks: Vec<Bytes>,
    /// The next frame to take out of the cache.
    next: usize,
    /// Pieces that QUIC has taken: the header, then frames.
    taken: usize,
}

enum Stage {
    /// Until the other side lets another stream be opened.
    Opening(Waiting<Result<SendStream, ConnectionError>>),
    Writing,
    /// All is in QUIC's hands until the subscriber has it, or wants no more of it.
    Delivering(Waiting<Result<Option<VarInt>, StoppedError>>),
    Over,
}

/// How far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It waits for more frames, for room in QUIC, or for the subscriber.
    Waits,
    /// It has been delivered, given up or refused.
    Over,
}

impl Sending {
    /// Of `group`, the frames that follow `start`.
    pub fn new(
        group: Arc<Group>,
        start: &GroupStart,
        priority: i32,
        useful_until: Option<MediaTime>,
        connection: &quinn::Connection,
    ) -> Self {
        let connection = connection.clone();
        Self {
            group,
            priority,
            useful_until,
            stage: Stage::Opening(Box::pin(async move { connection.open_uni().await })),
            stream: None,
            chunks: vec![encode_message(kind::GROUP, &start.encode())],
            next: start.first as usize,
            taken: 0,
        }
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group.header.group
    }

    /// Whether a frame of it has been sent.
    pub fn has_sent(&self) -> bool {
        self.taken > 1
    }

    /// Whether QUIC or the subscriber has to do something before it goes on.
    pub fn waits_for_quic(&self) -> bool {
        !matches!(self.stage, Stage::Writing) || !self.chunks.is_empty()
    }

    /// Goes as far as it can, with the stream live at `live`. A group that the subscriber takes too slowly is
    /// given up wherever it stands, be it in QUIC's buffers.
    pub fn step(
        &mut self,
        cx: &mut Context,
        live: MediaTime,
        sent: &Sent,
    ) -> Result<Progress, ConnectionError> {
        let useless = match self.useful_until {
            Some(until) if live > until => Some(&sent.outlived),
            _ => self.group.is_evicted().then_some(&sent.evicted),
        };
        if let Some(reason) = useless {
            Sent::add(reason, 1);
            if let Some(stream) = self.stream.take() {
                stream.give_up(close::SUPERSEDED);
            }
            return Ok(Progress::Over);
        }
        while !matches!(self.stage, Stage::Over) {
            match self.next_stage(cx, sent) {
                Poll::Ready(stage) => self.stage = stage?,
                Poll::Pending => return Ok(Progress::Waits),
            }
        }
        Ok(Progress::Over)
    }

    fn next_stage(
        &mut self,
        cx: &mut Context,
        sent: &Sent,
    ) -> Poll<Result<Stage, ConnectionError>> {
        Poll::Ready(match &mut self.stage {
            Stage::Opening(opening) => {
                let stream = ready!(opening.as_mut().poll(cx))?;
                let _ = stream.set_priority(self.priority);
                self.stream = Some(GroupStream { stream, over: false });
                Ok(Stage::Writing)
            }
            Stage::Writing => match ready!(self.write(cx, sent)) {
                Ok(()) => Ok(self.finish()),
                Err(WriteError::ConnectionLost(error)) => Err(error),
                Err(_) => Ok(Stage::Over),
            },
            Stage::Delivering(stopped) => match ready!(stopped.as_mut().poll(cx)) {
                Err(StoppedError::ConnectionLost(error)) => Err(error),
                _ => {
                    self.stream.iter_mut().for_each(|stream| stream.over = true);
                    Ok(Stage::Over)
                }
            },
            Stage::Over => Ok(Stage::Over),
        })
    }

    /// Writes until all frames of the group are written.
    fn write(&mut self, cx: &mut Context, sent: &Sent) -> Poll<Result<(), WriteError>> {
        let Some(GroupStream { stream, .. }) = &mut self.stream else {
            return Poll::Ready(Err(WriteError::ClosedStream));
        };
        loop {
            while !self.chunks.is_empty() {
                let written = ready!(pin!(stream.write_chunks(&mut self.chunks)).poll(cx))?;
                self.chunks.drain(..written.chunks);
                // The first piece is the header.
                let frames = written.chunks - usize::from(self.taken == 0 && written.chunks > 0);
                self.taken += written.chunks;
                Sent::add(&sent.frames, frames);
                Sent::add(&sent.bytes, written.bytes);
            }
            match self.group.read(self.next, &mut self.chunks, |frame| frame.wire.clone()) {
                Read::Frames(count) => self.next += count,
                Read::Complete => return Poll::Ready(Ok(())),
                // Who is evicted is given up at the next step, which follows.
                Read::Wait | Read::Evicted => return Poll::Pending,
            }
        }
    }

    fn finish(&mut self) -> Stage {
        let Some(GroupStream { stream, .. }) = &mut self.stream else { return Stage::Over };
        let _ = stream.finish();
        Stage::Delivering(Box::pin(stream.stopped()))
    }
}

/// A group's stream that is reset when dropped half-way: a subscriber must never take a part of a group for
/// the whole, and what it has not taken must not stand in the way of what comes after.
struct GroupStream {
    stream: SendStream,
    over: bool,
}

impl GroupStream {
    fn give_up(mut self, code: VarInt) {
        self.over = self.stream.reset(code).is_ok();
    }
}

impl Drop for GroupStream {
    fn drop(&mut self) {
        if !self.over {
            let _ = self.stream.reset(close::CANCELLED);
        }
    }
}

#[cfg(test)]
mod tests {
    use gibbon_media::{GroupId, ProducerId};

    use super::*;

    #[test]
    fn what_was_asked_goes_first_then_sound_then_description_0_then_the_older_group() {
        use Description::{One, Zero};
        let header = |medium, group| GroupHeader {
            medium,
            group: GroupId(group),
            producer: ProducerId(1),
            published_us: 0,
        };
        let now = 1_795_236_793;
        let in_order = [
            priority(u8::MAX, One, &header(Medium::Audio, now)),
            priority(1, Zero, &header(Medium::Text, now - 1)),
            priority(1, Zero, &header(Medium::Audio, now)),
            priority(1, One, &header(Medium::Audio, now - 5)),
            priority(1, Zero, &header(Medium::Video, now - 5)),
            priority(1, Zero, &header(Medium::Video, now)),
            priority(1, One, &header(Medium::Video, now - 5)),
            priority(0, Zero, &header(Medium::Audio, now - 5)),
            priority(0, Zero, &header(Medium::Video, now - 5)),
        ];
        assert!(in_order.is_sorted_by(|a, b| a > b), "{in_order:?}");
        let highest = priority(u8::MAX, Zero, &header(Medium::Audio, 0));
        assert!(highest < i32::MAX, "below what is said");
    }
}
