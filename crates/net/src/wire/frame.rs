//! A group on its stream: the header, then frames `time (varint, µs after the group's base), flags (1
//! byte), length (varint), payload`.

use bytes::{Buf, Bytes, BytesMut};
use gibbon_media::{Frame, FrameFlags, GroupHeader, GroupId, MediaTime, Medium};

use super::{
    MAX_FRAME, Malformed,
    field::{Fields, need, next_field, number},
    get_varint, put_varint,
    subscribe::producer_id,
};

/// What stands before the frames of a group on its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupStart {
    /// The QUIC stream id of the description stream that asked for it.
    pub subscription: u64,
    /// Which group.
    pub header: GroupHeader,
    /// The media time that frame times count from: where the group begins in its grid.
    pub base: MediaTime,
    /// The index in the group of the first frame that follows.
    pub first: u32,
}

impl GroupStart {
    /// The body of the message.
    pub fn encode(&self) -> Bytes {
        Fields::default()
            .number(1, self.subscription)
            .number(2, self.header.medium.index() as u64)
            .number(3, self.header.group.0)
            .bytes(4, &self.header.producer.0.to_be_bytes())
            .number(5, self.header.published_us)
            .number(6, self.base.0)
            .number(7, self.first.into())
            .finish()
    }

    /// Reads the body of the message.
    pub fn decode(mut body: Bytes) -> Result<Self, Malformed> {
        const NAME: &str = "Group";
        let (mut subscription, mut medium, mut group, mut producer, mut base) =
            (None, None, None, None, None);
        let (mut published_us, mut first) = (0, 0);
        while let Some((tag, value)) = next_field(&mut body)? {
            match tag {
                1 => subscription = Some(number("subscription", value)?),
                2 => medium = Some(medium_of(number("medium", value)?)?),
                3 => group = Some(GroupId(number("group", value)?)),
                4 => producer = Some(producer_id(&value)?),
                5 => published_us = number("published", value)?,
                6 => base = Some(MediaTime(number("base", value)?)),
                7 => first = index_of(number("first", value)?)?,
                _ => {}
            }
        }
        let header = GroupHeader {
            medium: need(NAME, "medium", medium)?,
            group: need(NAME, "group", group)?,
            producer: need(NAME, "producer", producer)?,
            published_us,
        };
        let subscription = need(NAME, "subscription", subscription)?;
        Ok(Self { subscription, header, base: need(NAME, "base", base)?, first })
    }
}

fn medium_of(n: u64) -> Result<Medium, Malformed> {
    let byte = u8::try_from(n).unwrap_or(u8::MAX);
    Medium::try_from(byte).map_err(|_| Malformed::Unknown { what: "medium", value: n })
}

fn index_of(n: u64) -> Result<u32, Malformed> {
    u32::try_from(n).map_err(|_| Malformed::Unknown { what: "frame index", value: n })
}

/// Bytes before a frame's payload, at most: two numbers and the flags.
const MAX_FRAME_HEAD: usize = 17;

/// A frame as it stands in a group: the same for every subscriber, so written once.
pub fn encode_frame(base: MediaTime, frame: &Frame) -> Bytes {
    let mut out = BytesMut::with_capacity(MAX_FRAME_HEAD + frame.payload.len());
    put_varint(&mut out, frame.time.0.saturating_sub(base.0));
    out.extend_from_slice(&[frame.flags.bits()]);
    put_varint(&mut out, frame.payload.len() as u64);
    out.extend_from_slice(&frame.payload);
    out.freeze()
}

/// Cuts the bytes after a [`GroupStart`] into frames.
#[derive(Debug)]
pub struct FrameDecoder {
    base: MediaTime,
}

impl FrameDecoder {
    /// For a group whose frame times count from `base`.
    pub fn new(base: MediaTime) -> Self {
        Self { base }
    }

    /// Takes the first frame off `buffer`; `None` if it is not all there yet.
    pub fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, Malformed> {
        let mut ahead = &buffer[..];
        let Some(after) = get_varint(&mut ahead) else { return Ok(None) };
        if ahead.is_empty() {
            return Ok(None);
        }
        let flags = FrameFlags::from_bits(ahead.get_u8());
        let Some(length) = get_varint(&mut ahead) else { return Ok(None) };
        if length > MAX_FRAME as u64 {
            return Err(Malformed::TooLong { what: "frame", length, bound: MAX_FRAME });
        }
        let length = length as usize;
        if ahead.len() < length {
            return Ok(None);
        }
        buffer.advance(buffer.len() - ahead.len());
        let payload = buffer.split_to(length).freeze();
        Ok(Some(Frame { time: MediaTime(self.base.0.saturating_add(after)), flags, payload }))
    }
}

#[cfg(test)]
mod tests {
    use gibbon_media::ProducerId;

    use super::*;

    fn start() -> GroupStart {
        GroupStart {
            subscription: 4,
            header: GroupHeader {
                medium: Medium::Audio,
                group: GroupId(5),
                producer: ProducerId(0x0102_0304_0506_0708),
                published_us: 63,
            },
            base: MediaTime(10),
            first: 2,
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        assert_eq!(
            &start().encode()[..],
            b"\x01\x01\x04\x02\x01\x01\x03\x01\x05\x04\x08\x01\x02\x03\x04\x05\x06\x07\x08\x05\x01\x3f\x06\x01\x0a\x07\x01\x02"
        );
        let frame = Frame {
            time: MediaTime(74),
            flags: FrameFlags::KEY | FrameFlags::PRIMARY,
            payload: Bytes::from_static(b"xyz"),
        };
        assert_eq!(&encode_frame(MediaTime(10), &frame)[..], b"\x40\x40\x03\x03xyz");
    }

    #[test]
    fn groups_and_frames_read_back_what_they_write() {
        assert_eq!(GroupStart::decode(start().encode()), Ok(start()));
        let frame = Frame {
            time: MediaTime(99),
            flags: FrameFlags::KEY,
            payload: Bytes::from_static(b"abc"),
        };
        let mut buffer = BytesMut::from(&encode_frame(MediaTime(10), &frame)[..]);
        let last = buffer.split_off(buffer.len() - 1);
        let decoder = FrameDecoder::new(MediaTime(10));
        assert_eq!(decoder.decode(&mut buffer), Ok(None));
        buffer.unsplit(last);
        assert_eq!(decoder.decode(&mut buffer), Ok(Some(frame)));
        assert!(buffer.is_empty());
    }

    #[test]
    fn an_oversized_frame_is_refused_by_its_length_alone() {
        let mut buffer = BytesMut::new();
        put_varint(&mut buffer, 0);
        buffer.extend_from_slice(&[0]);
        put_varint(&mut buffer, MAX_FRAME as u64 + 1);
        assert!(FrameDecoder::new(MediaTime(0)).decode(&mut buffer).is_err());
    }
}
