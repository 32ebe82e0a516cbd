//! The messages of a description stream.

use std::{fmt, time::Duration};

use bytes::Bytes;
use gibbon_media::{
    Catalog, Description, GroupId, MediaTime, Medium, NodeId, ProducerId, StreamName,
};

use super::{
    Malformed, catalog,
    field::{Fields, need, next_field, number, text},
};

/// Message kinds on a description stream.
pub mod kind {
    /// Subscriber → publisher, first.
    pub const SUBSCRIBE: u64 = 0x01;
    /// Subscriber → publisher, any time later.
    pub const UPDATE: u64 = 0x02;
    /// Publisher → subscriber, first.
    pub const ACCEPTED: u64 = 0x10;
    /// Publisher → subscriber, first and last.
    pub const REJECTED: u64 = 0x11;
    /// On a unidirectional stream, before the frames of a group.
    pub const GROUP: u64 = 0x20;
}

/// Which media of a description are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaSet(u8);

impl MediaSet {
    /// Video, audio and text.
    pub const ALL: MediaSet = MediaSet(0b111);

    /// Just this one.
    pub fn only(medium: Medium) -> Self {
        Self(1 << medium.index())
    }

    /// Whether `medium` is among them.
    pub fn contains(self, medium: Medium) -> bool {
        self.0 & (1 << medium.index()) != 0
    }
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first group not yet begun.
    Next,
    /// The group that was live this long ago.
    Live(Duration),
    /// A named group; within it, if the publisher's copy has the same producer, after the frames that the
    /// subscriber already has.
    Group {
        /// The group.
        group: GroupId,
        /// What of it the subscriber has.
        resume: Option<Resume>,
    },
}

/// The part of a group that a subscriber has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// Whose copy.
    pub producer: ProducerId,
    /// How many frames from the first on, of each medium in the order of [`Medium::ALL`].
    pub frames: [u32; 3],
}

/// Asks for one description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The stream.
    pub stream: StreamName,
    /// The description.
    pub description: Description,
    /// Its media.
    pub media: MediaSet,
    /// Where to begin.
    pub start: Start,
    /// The last group wanted, if known.
    pub end: Option<GroupId>,
    /// Sent before others of lower priority on the connection; 0 is a prefetch, 1 a viewer.
    pub priority: u8,
    /// A group is given up when the live position is further than this past its end; none: when the
    /// publisher no longer has it.
    pub patience: Option<Duration>,
}

impl Subscribe {
    /// The body of the message.
    pub fn encode(&self) -> Bytes {
        let fields = Fields::default()
            .bytes(1, self.stream.as_str().as_bytes())
            .number(2, u8::from(self.description).into())
            .number(3, self.media.0.into())
            .number(7, self.priority.into())
            .optional(6, self.end.map(|g| g.0))
            .optional(10, self.patience.map(|patience| patience.as_micros() as u64));
        match self.start {
            Start::Next => fields.finish(),
            Start::Live(delay) => fields.number(4, delay.as_micros() as u64).finish(),
            Start::Group { group, resume: None } => fields.number(5, group.0).finish(),
            Start::Group { group, resume: Some(Resume { producer, frames }) } => {
                let [video, audio, text] = frames.map(u64::from);
                fields
                    .number(5, group.0)
                    .bytes(8, &producer.0.to_be_bytes())
                    .number(9, video)
                    .number(11, audio)
                    .number(12, text)
                    .finish()
            }
        }
    }

    /// Reads the body of the message.
    pub fn decode(mut body: Bytes) -> Result<Self, Malformed> {
        const NAME: &str = "Subscribe";
        let (mut stream, mut description, mut live, mut group, mut end) =
            (None, None, None, None, None);
        let (mut producer, mut frames, mut patience) = (None, [0; 3], None);
        let (mut media, mut priority) = (MediaSet::ALL, 1);
        while let Some((tag, value)) = next_field(&mut body)? {
            match tag {
                1 => stream = Some(parse("stream", &text("stream", &value)?)?),
                2 => description = Some(small("description", value)?),
                3 => media = MediaSet(small::<u8>("media", value)? & MediaSet::ALL.0),
                4 => live = Some(Duration::from_micros(number("start", value)?)),
                5 => group = Some(GroupId(number("start", value)?)),
                6 => end = Some(GroupId(number("end", value)?)),
                7 => priority = small("priority", value)?,
                8 => producer = Some(producer_id(&value)?),
                9 => frames[0] = frame_count(value)?,
                10 => patience = Some(Duration::from_micros(number("patience", value)?)),
                11 => frames[1] = frame_count(value)?,
                12 => frames[2] = frame_count(value)?,
                _ => {}
            }
        }
        let start = match (group, live) {
            (Some(group), _) => {
                Start::Group { group, resume: producer.map(|producer| Resume { producer, frames }) }
            }
            (None, Some(delay)) => Start::Live(delay),
            (None, None) => Start::Next,
        };
        let stream = need(NAME, "stream", stream)?;
        let description = need(NAME, "description", description)?;
        Ok(Self { stream, description, media, start, end, priority, patience })
    }
}

fn parse<T: std::str::FromStr<Err: fmt::Display>>(
    field: &'static str,
    s: &str,
) -> Result<T, Malformed> {
    s.parse().map_err(|error: T::Err| Malformed::Invalid { field, why: error.to_string() })
}

fn small<T: TryFrom<u8, Error: fmt::Display>>(
    field: &'static str,
    value: Bytes,
) -> Result<T, Malformed> {
    let number = number(field, value)?;
    let byte =
        u8::try_from(number).map_err(|_| Malformed::Unknown { what: field, value: number })?;
    T::try_from(byte).map_err(|error| Malformed::Invalid { field, why: error.to_string() })
}

fn frame_count(value: Bytes) -> Result<u32, Malformed> {
    Ok(number("frames", value)?.try_into().unwrap_or(u32::MAX))
}

/// A producer id: 8 bytes, big-endian.
pub(super) fn producer_id(value: &Bytes) -> Result<ProducerId, Malformed> {
    match <[u8; 8]>::try_from(&value[..]) {
        Ok(bytes) => Ok(ProducerId(u64::from_be_bytes(bytes))),
        Err(_) => Err(Malformed::Invalid { field: "producer", why: "not 8 bytes".into() }),
    }
}

/// Changes a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// The last group wanted.
    pub end: GroupId,
}

impl Update {
    /// The body of the message.
    pub fn encode(&self) -> Bytes {
        Fields::default().number(6, self.end.0).finish()
    }

    /// Reads the body of the message.
    pub fn decode(mut body: Bytes) -> Result<Self, Malformed> {
        let mut end = None;
        while let Some((tag, value)) = next_field(&mut body)? {
            if tag == 6 {
                end = Some(GroupId(number("end", value)?));
            }
        }
        Ok(Self { end: need("Update", "end", end)? })
    }
}

/// The subscription is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What the stream is made of.
    pub catalog: Catalog,
    /// The newest media time the publisher has, or knows its own upstream to have.
    pub live: MediaTime,
    /// The first group that will be sent.
    pub first: GroupId,
}

impl Accepted {
    /// The body of the message.
    pub fn encode(&self) -> Bytes {
        // A catalog has no map with keys other than text and no float: it always has a JSON form.
        let catalog = serde_json::to_vec(&self.catalog).unwrap_or_default();
        Fields::default().bytes(1, &catalog).number(2, self.live.0).number(3, self.first.0).finish()
    }

    /// Reads the body of the message.
    pub fn decode(mut body: Bytes) -> Result<Self, Malformed> {
        const NAME: &str = "Accepted";
        let (mut found, mut live, mut first) = (None, None, None);
        while let Some((tag, value)) = next_field(&mut body)? {
            match tag {
                1 => found = Some(catalog::decode(&value)?),
                2 => live = Some(MediaTime(number("live", value)?)),
                3 => first = Some(GroupId(number("first", value)?)),
                _ => {}
            }
        }
        Ok(Self {
            catalog: need(NAME, "catalog", found)?,
            live: need(NAME, "live", live)?,
            first: need(NAME, "first", first)?,
        })
    }
}

/// Why a subscription is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectCode {
    /// Nobody here or upstream publishes the stream.
    UnknownStream = 1,
    /// No grant, or one that does not allow it.
    Unauthorised = 2,
    /// The publisher has no room.
    Full = 3,
    /// The stream is known but cannot be had now.
    Unavailable = 4,
    /// The publisher is about to leave.
    Leaving = 5,
}

impl RejectCode {
    /// Every one.
    pub const ALL: [RejectCode; 5] = [
        RejectCode::UnknownStream,
        RejectCode::Unauthorised,
        RejectCode::Full,
        RejectCode::Unavailable,
        RejectCode::Leaving,
    ];

    /// The word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectCode::UnknownStream => "unknown_stream",
            RejectCode::Unauthorised => "unauthorised",
            RejectCode::Full => "full",
            RejectCode::Unavailable => "unavailable",
            RejectCode::Leaving => "leaving",
        }
    }
}

impl TryFrom<u8> for RejectCode {
    type Error = Malformed;
    fn try_from(n: u8) -> Result<Self, Malformed> {
        let unknown = Malformed::Unknown { what: "reject code", value: n.into() };
        RejectCode::ALL.into_iter().find(|code| *code as u8 == n).ok_or(unknown)
    }
}

/// The subscription is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused: {reason}")]
pub struct Rejected {
    /// Why, for programs.
    pub code: RejectCode,
    /// Why, for people.
    pub reason: String,
    /// A node that may serve it instead.
    pub elsewhere: Option<NodeId>,
}

impl Rejected {
    /// A refusal that names no other node.
    pub fn new(code: RejectCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), elsewhere: None }
    }

    /// The body of the message.
    pub fn encode(&self) -> Bytes {
        let fields = Fields::default().number(1, self.code as u64).bytes(2, self.reason.as_bytes());
        match &self.elsewhere {
            Some(node) => fields.bytes(3, node.as_str().as_bytes()).finish(),
            None => fields.finish(),
        }
    }

    /// Reads the body of the message.
    pub fn decode(mut body: Bytes) -> Result<Self, Malformed> {
        let (mut code, mut reason, mut elsewhere) = (None, String::new(), None);
        while let Some((tag, value)) = next_field(&mut body)? {
            match tag {
                1 => code = Some(small("code", value)?),
                2 => reason = text("reason", &value)?,
                3 => elsewhere = Some(parse("elsewhere", &text("elsewhere", &value)?)?),
                _ => {}
            }
        }
        Ok(Self { code: need("Rejected", "code", code)?, reason, elsewhere })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(start: Start) -> Subscribe {
        Subscribe {
            stream: "live/bbb".parse().unwrap(),
            description: Description::One,
            media: MediaSet::ALL,
            start,
            end: Some(GroupId(9)),
            priority: 1,
            patience: None,
        }
    }

    #[test]
    fn subscriptions_read_back_what_they_write() {
        for start in [
            Start::Next,
            Start::Live(Duration::from_millis(1500)),
            Start::Group { group: GroupId(7), resume: None },
            Start::Group {
                group: GroupId(7),
                resume: Some(Resume { producer: ProducerId(u64::MAX), frames: [3, 300, 1] }),
            },
        ] {
            let patience = Some(Duration::from_millis(1200));
            for message in [example(start), Subscribe { patience, ..example(start) }] {
                assert_eq!(Subscribe::decode(message.encode()), Ok(message));
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let start = Start::Group { group: GroupId(300), resume: None };
        let bytes = example(start).encode();
        assert_eq!(
            &bytes[..],
            b"\x01\x08live/bbb\x02\x01\x01\x03\x01\x07\x07\x01\x01\x06\x01\x09\x05\x02\x41\x2c"
        );
    }

    #[test]
    fn unknown_fields_are_skipped_and_missing_ones_named() {
        let mut body = example(Start::Next).encode().to_vec();
        body.extend_from_slice(&[0x3f, 2, 1, 2]);
        assert_eq!(Subscribe::decode(body.into()), Ok(example(Start::Next)));
        assert_eq!(
            Subscribe::decode(Bytes::new()),
            Err(Malformed::Missing { message: "Subscribe", field: "stream" })
        );
        assert_eq!(Update::decode(Bytes::from_static(&[6, 9])), Err(Malformed::Truncated("field")));
    }

    #[test]
    fn refusals_read_back_what_they_write() {
        let mut refusal = Rejected::new(RejectCode::Full, "12 of 12 legs");
        assert_eq!(Rejected::decode(refusal.encode()), Ok(refusal.clone()));
        refusal.elsewhere = Some("edge-b".parse().unwrap());
        assert_eq!(Rejected::decode(refusal.encode()), Ok(refusal));
    }
}
