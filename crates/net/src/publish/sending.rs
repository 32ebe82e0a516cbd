//! One group on its way to one subscriber.

use std::{
    ops::ControlFlow::{self, Break, Continue},
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
    /// Given up once the live position is past this; none: once the cache evicts it.
    useful_until: Option<MediaTime>,
    stage: Stage,
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
    Writing(GroupStream),
    /// All is in QUIC's hands until the subscriber has it, or wants no more of it.
    Delivering(GroupStream, Waiting<Result<Option<VarInt>, StoppedError>>),
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
        let opening = async move {
            let stream = connection.open_uni().await?;
            let _ = stream.set_priority(priority);
            Ok(stream)
        };
        Self {
            group,
            useful_until,
            stage: Stage::Opening(Box::pin(opening)),
            chunks: vec![encode_message(kind::GROUP, &start.encode())],
            next: start.first as usize,
            taken: 0,
        }
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group.header.group
    }

    /// How many pieces of it QUIC has taken: its header, then frames.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Whether QUIC or the subscriber has to do something before it goes on.
    pub fn waits_for_quic(&self) -> bool {
        !matches!(self.stage, Stage::Writing(_)) || !self.chunks.is_empty()
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
            let stage = std::mem::replace(&mut self.stage, Stage::Over);
            if let Stage::Writing(stream) | Stage::Delivering(stream, _) = stage {
                stream.give_up(close::SUPERSEDED);
            }
            return Ok(Progress::Over);
        }
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Over);
            match self.after(stage, cx, sent)? {
                Continue(Stage::Over) => return Ok(Progress::Over),
                Continue(next) => self.stage = next,
                Break(same) => {
                    self.stage = same;
                    return Ok(Progress::Waits);
                }
            }
        }
    }

    /// The stage after `stage`, or the same one again if something has to be waited for.
    fn after(
        &mut self,
        stage: Stage,
        cx: &mut Context,
        sent: &Sent,
    ) -> Result<ControlFlow<Stage, Stage>, ConnectionError> {
        Ok(match stage {
            Stage::Opening(mut opening) => match opening.as_mut().poll(cx)? {
                Poll::Ready(stream) => {
                    Continue(Stage::Writing(GroupStream { stream, over: false }))
                }
                Poll::Pending => Break(Stage::Opening(opening)),
            },
            Stage::Writing(mut group) => match self.write(&mut group.stream, cx, sent) {
                Poll::Ready(Ok(())) => Continue(group.finish()),
                Poll::Ready(Err(WriteError::ConnectionLost(error))) => return Err(error),
                Poll::Ready(Err(_)) => Continue(Stage::Over),
                Poll::Pending => Break(Stage::Writing(group)),
            },
            Stage::Delivering(mut group, mut stopped) => match stopped.as_mut().poll(cx) {
                Poll::Ready(Err(StoppedError::ConnectionLost(error))) => return Err(error),
                Poll::Ready(_) => {
                    group.over = true;
                    Continue(Stage::Over)
                }
                Poll::Pending => Break(Stage::Delivering(group, stopped)),
            },
            Stage::Over => Continue(Stage::Over),
        })
    }

    /// Writes until all frames of the group are written.
    fn write(
        &mut self,
        stream: &mut SendStream,
        cx: &mut Context,
        sent: &Sent,
    ) -> Poll<Result<(), WriteError>> {
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
}

/// A group's stream that is reset when dropped half-way: a subscriber must never take a part of a group for
/// the whole, and what it has not taken must not stand in the way of what comes after.
struct GroupStream {
    stream: SendStream,
    over: bool,
}

impl GroupStream {
    fn finish(mut self) -> Stage {
        let _ = self.stream.finish();
        let stopped = Box::pin(self.stream.stopped());
        Stage::Delivering(self, stopped)
    }

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
