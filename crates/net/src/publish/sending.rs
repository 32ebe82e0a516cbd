//! One group on its way to one subscriber.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use gibbon_media::{Description, GroupHeader, MediaTime, Medium};
use quinn::{SendStream, VarInt};

use super::Sent;
use crate::{
    cache::{Group, Read, Tracks},
    close,
    wire::{GroupStart, encode_message, kind},
};

/// How closely a group's end of use is kept, where the live position does not move as the clock does.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
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

/// Sends one group on a stream of its own.
pub struct SendGroup {
    pub connection: quinn::Connection,
    pub subscription: u64,
    pub priority: i32,
    /// Given up once the live position is past this; none: once the cache evicts it.
    pub useful_until: Option<MediaTime>,
    /// The first frame wanted.
    pub first: u32,
    pub tracks: Arc<Tracks>,
    pub sent: Arc<Sent>,
}

impl SendGroup {
    /// Sends the group and waits until the subscriber has it, unless it takes it too slowly: then the
    /// group is given up wherever it stands, be it in QUIC's buffers. Errors end the stream only: the
    /// connection's end is seen by whoever serves the subscription.
    pub async fn run(self, group: Arc<Group>) {
        let mut stream = None;
        tokio::select! {
            biased;
            () = self.useless(&group) => {
                self.sent.superseded.fetch_add(1, Ordering::Relaxed);
                if let Some(stream) = stream {
                    stream.give_up(close::SUPERSEDED);
                }
            }
            _ = self.send(&mut stream, &group) => {}
        }
    }

    async fn useless(&self, group: &Group) {
        tokio::select! {
            () = group.evicted() => {}
            () = self.outlived() => {}
        }
    }

    async fn outlived(&self) {
        let Some(until) = self.useful_until else { return std::future::pending().await };
        while self.tracks.live() <= until {
            tokio::time::sleep(until.since(self.tracks.live()).max(LOOK_AGAIN)).await;
        }
    }

    async fn send(
        &self,
        stream: &mut Option<GroupStream>,
        group: &Group,
    ) -> Result<(), quinn::WriteError> {
        let opened = self.connection.open_uni().await?;
        let stream = stream.insert(GroupStream { stream: opened, over: false });
        let _ = stream.stream.set_priority(self.priority);
        self.write(stream, group).await?;
        stream.deliver().await;
        Ok(())
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
                Read::Complete => return Ok(()),
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

/// A group's stream that is reset when dropped half-way: a subscriber must never take a part of a group for
/// the whole, and what it has not taken must not stand in the way of what comes after.
struct GroupStream {
    stream: SendStream,
    over: bool,
}

impl GroupStream {
    /// Ends the stream and waits until the subscriber has it all, or wants no more of it.
    async fn deliver(&mut self) {
        let _ = self.stream.finish();
        let _ = self.stream.stopped().await;
        self.over = true;
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
