//! What a worker and its segments say to each other, over the pipes of the child's standard input and output.
//!
//! A message is its length (`u32`, of what follows), its kind (`u8`) and its body. Numbers are big-endian.
//! What is seldom is JSON; what is frequent, frames, is not:
//!
//! ```text
//! header  medium u8 · group u64 · producer u64 · published_us u64
//! frame   index u32 · time u64 · flags u8 · payload to the end of the message
//!
//! worker → segment                           segment → worker
//! 1 Set       JSON                           1 Catalog   instance u64 · JSON
//! 2 Group     description u8 · header        2 Frame     instance u64 · description u8 · header · frame
//! 3 Frame     description u8 · medium u8 ·   3 GroupEnd  instance u64 · description u8 · header · frames u32
//!             group u64 · producer u64 ·     4 Status    JSON
//!             frame
//! 4 GroupEnd  description u8 · medium u8 ·
//!             group u64 · producer u64 · frames u32
//! ```

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use gibbon_control::work::{InstanceSpec, InstanceState, SocketReport};
use gibbon_media::{
    Catalog, Description, Frame, FrameFlags, GroupHeader, GroupId, InstanceId, MediaTime, Medium,
    ProducerId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Bytes of a message after its length.
pub const MAX_MESSAGE: usize = 16 << 20;
/// Bytes of the length.
const LENGTH: usize = 4;

/// From the worker to a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum ToSegment {
    /// All that is to run in it: the first message, and again when that changes. What runs already and is
    /// still wanted goes on undisturbed.
    Set(Setup),
    /// A group of the input begins; before its first frame.
    Group {
        /// In which description.
        description: Description,
        /// As it was received.
        header: GroupHeader,
    },
    /// A frame of the input. Within a group of a medium they come in order and without holes.
    Frame {
        /// In which description and group.
        at: GroupOf,
        /// Its position in the group, from 0 on.
        index: u32,
        /// The frame.
        frame: Frame,
    },
    /// A group of the input is whole.
    GroupEnd {
        /// Which.
        at: GroupOf,
        /// How many frames it had.
        frames: u32,
    },
}

/// Names a group of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupOf {
    /// Of which description.
    pub description: Description,
    /// Of which medium.
    pub medium: Medium,
    /// Which interval of media time.
    pub group: GroupId,
    /// By which encoder.
    pub producer: ProducerId,
}

/// All that is to run in a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Of the input stream.
    pub catalog: Catalog,
    /// A tree: one has a stream as its input, the others hang on it and on each other.
    pub instances: Vec<InstanceSpec>,
    /// Where files that components may use are.
    pub assets: PathBuf,
    /// The font for text in pictures.
    pub font: PathBuf,
}

/// From a segment to the worker.
#[derive(Debug, Clone, PartialEq)]
pub enum FromSegment {
    /// What an instance publishes: once, before its first frame.
    Catalog {
        /// Which instance.
        instance: InstanceId,
        /// What comes out of it.
        catalog: Box<Catalog>,
    },
    /// A frame to publish. Those of a group of a track come in order from index 0 on.
    Frame {
        /// Which instance made it.
        instance: InstanceId,
        /// In which description.
        description: Description,
        /// The group's header.
        header: GroupHeader,
        /// Its position in the group.
        index: u32,
        /// The frame.
        frame: Frame,
    },
    /// A group to publish is whole. A group that never is has been given up.
    GroupEnd {
        /// Which instance made it.
        instance: InstanceId,
        /// In which description.
        description: Description,
        /// The group's header.
        header: GroupHeader,
        /// How many frames it has.
        frames: u32,
    },
    /// How all instances are; every 500 ms, as the sign of life, too.
    Status(Vec<InstanceStatus>),
}

/// How one instance of a segment is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Which.
    pub instance: InstanceId,
    /// How it is; never restarting, of which a segment knows nothing.
    #[serde(flatten)]
    pub state: InstanceState,
    /// Its input socket, without stream and peer.
    pub input: SocketReport,
    /// Its output socket, without stream and subscribers.
    pub output: SocketReport,
    /// Processor time of its threads, in µs since they began.
    pub cpu_us: u64,
}

/// What is not a message of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`MAX_MESSAGE`], or empty.
    #[error("a message of {0} bytes: they have 1 to {MAX_MESSAGE}")]
    Length(usize),
    /// Of a kind that there is not.
    #[error("there is no message of kind {0}")]
    Kind(u8),
    /// Shorter or longer than its fields.
    #[error("a message of kind {0} is not as long as its fields")]
    Fields(u8),
    /// A field has a value that there is not.
    #[error("{what} cannot be {value}")]
    Value {
        /// Which field.
        what: &'static str,
        /// What it holds.
        value: u8,
    },
    /// JSON that is not what it should be.
    #[error("not the JSON expected: {0}")]
    Json(String),
}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, malformed)
    }
}

/// Either direction's messages.
pub trait Message: Sized {
    /// Appends kind and body.
    fn put(&self, out: &mut BytesMut);

    /// The message of a kind and body.
    fn get(kind: u8, body: Bytes) -> Result<Self, Malformed>;

    /// The message as it goes over the pipe.
    fn encode(&self) -> Result<Bytes, Malformed> {
        let mut out = BytesMut::new();
        out.put_u32(0);
        self.put(&mut out);
        let length = checked(out.len() - LENGTH)?;
        out[..LENGTH].copy_from_slice(&(length as u32).to_be_bytes());
        Ok(out.freeze())
    }

    /// Takes the next message off a buffer that is filled from the pipe; `None`: more bytes are needed.
    fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, Malformed> {
        let Some((length, _)) = buffer.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = checked(u32::from_be_bytes(*length) as usize)?;
        if buffer.len() < LENGTH + length {
            buffer.reserve(LENGTH + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(LENGTH);
        let mut body = buffer.split_to(length).freeze();
        let kind = body.get_u8();
        Self::get(kind, body).map(Some)
    }

    /// Waits for the next message; `None` at the end of the pipe.
    fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut length = [0; LENGTH];
        match from.read(&mut length[..1])? {
            0 => return Ok(None),
            _ => from.read_exact(&mut length[1..])?,
        }
        let mut message = vec![0; checked(u32::from_be_bytes(length) as usize)?];
        from.read_exact(&mut message)?;
        let mut body = Bytes::from(message);
        let kind = body.get_u8();
        Ok(Some(Self::get(kind, body)?))
    }

    /// Writes the message, waiting while the pipe is full.
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.encode()?)
    }
}

fn checked(length: usize) -> Result<usize, Malformed> {
    if (1..=MAX_MESSAGE).contains(&length) { Ok(length) } else { Err(Malformed::Length(length)) }
}

impl Message for ToSegment {
    fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Set(setup) => {
                out.put_u8(1);
                put_json(out, setup);
            }
            Self::Group { description, header } => {
                out.put_u8(2);
                out.put_u8(description.index() as u8);
                put_header(out, header);
            }
            Self::Frame { at, index, frame } => {
                out.put_u8(3);
                put_group(out, at);
                put_frame(out, *index, frame);
            }
            Self::GroupEnd { at, frames } => {
                out.put_u8(4);
                put_group(out, at);
                out.put_u32(*frames);
            }
        }
    }

    fn get(kind: u8, body: Bytes) -> Result<Self, Malformed> {
        let mut body = Fields { kind, body };
        match kind {
            1 => Ok(Self::Set(body.json()?)),
            2 => {
                let message =
                    Self::Group { description: body.description()?, header: body.header()? };
                body.end(message)
            }
            3 => {
                let at = body.group()?;
                let (index, frame) = body.frame()?;
                Ok(Self::Frame { at, index, frame })
            }
            4 => {
                let message = Self::GroupEnd { at: body.group()?, frames: body.u32()? };
                body.end(message)
            }
            _ => Err(Malformed::Kind(kind)),
        }
    }
}

impl Message for FromSegment {
    fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Catalog { instance, catalog } => {
                out.put_u8(1);
                out.put_u64(instance.0);
                put_json(out, catalog);
            }
            Self::Frame { instance, description, header, index, frame } => {
                out.put_u8(2);
                out.put_u64(instance.0);
                out.put_u8(description.index() as u8);
                put_header(out, header);
                put_frame(out, *index, frame);
            }
            Self::GroupEnd { instance, description, header, frames } => {
                out.put_u8(3);
                out.put_u64(instance.0);
                out.put_u8(description.index() as u8);
                put_header(out, header);
                out.put_u32(*frames);
            }
            Self::Status(status) => {
                out.put_u8(4);
                put_json(out, status);
            }
        }
    }

    fn get(kind: u8, body: Bytes) -> Result<Self, Malformed> {
        let mut body = Fields { kind, body };
        if kind == 4 {
            return Ok(Self::Status(body.json()?));
        }
        if !(1..=3).contains(&kind) {
            return Err(Malformed::Kind(kind));
        }
        let instance = InstanceId(body.u64()?);
        if kind == 1 {
            return Ok(Self::Catalog { instance, catalog: body.json()? });
        }
        let (description, header) = (body.description()?, body.header()?);
        if kind == 2 {
            let (index, frame) = body.frame()?;
            return Ok(Self::Frame { instance, description, header, index, frame });
        }
        let frames = body.u32()?;
        body.end(Self::GroupEnd { instance, description, header, frames })
    }
}

/// What cannot be written leaves an empty text, which nothing reads: it does not happen to these types.
fn put_json(out: &mut BytesMut, value: &impl Serialize) {
    out.put_slice(&serde_json::to_vec(value).unwrap_or_default());
}

fn put_header(out: &mut BytesMut, header: &GroupHeader) {
    out.put_u8(header.medium.index() as u8);
    out.put_u64(header.group.0);
    out.put_u64(header.producer.0);
    out.put_u64(header.published_us);
}

fn put_group(out: &mut BytesMut, at: &GroupOf) {
    out.put_u8(at.description.index() as u8);
    out.put_u8(at.medium.index() as u8);
    out.put_u64(at.group.0);
    out.put_u64(at.producer.0);
}

fn put_frame(out: &mut BytesMut, index: u32, frame: &Frame) {
    out.put_u32(index);
    out.put_u64(frame.time.0);
    out.put_u8(frame.flags.bits());
    out.put_slice(&frame.payload);
}

/// The fields of a body, taken off one by one.
struct Fields {
    kind: u8,
    body: Bytes,
}

impl Fields {
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.body.try_get_u8().map_err(|_| Malformed::Fields(self.kind))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.body.try_get_u32().map_err(|_| Malformed::Fields(self.kind))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.body.try_get_u64().map_err(|_| Malformed::Fields(self.kind))
    }

    fn description(&mut self) -> Result<Description, Malformed> {
        let value = self.u8()?;
        let found = Description::BOTH.get(usize::from(value)).copied();
        found.ok_or(Malformed::Value { what: "a description", value })
    }

    fn medium(&mut self) -> Result<Medium, Malformed> {
        let value = self.u8()?;
        let found = Medium::ALL.into_iter().find(|medium| medium.index() == usize::from(value));
        found.ok_or(Malformed::Value { what: "a medium", value })
    }

    fn header(&mut self) -> Result<GroupHeader, Malformed> {
        Ok(GroupHeader {
            medium: self.medium()?,
            group: GroupId(self.u64()?),
            producer: ProducerId(self.u64()?),
            published_us: self.u64()?,
        })
    }

    fn group(&mut self) -> Result<GroupOf, Malformed> {
        Ok(GroupOf {
            description: self.description()?,
            medium: self.medium()?,
            group: GroupId(self.u64()?),
            producer: ProducerId(self.u64()?),
        })
    }

    /// The rest of the body.
    fn frame(&mut self) -> Result<(u32, Frame), Malformed> {
        let index = self.u32()?;
        let time = MediaTime(self.u64()?);
        let flags = FrameFlags::from_bits(self.u8()?);
        Ok((index, Frame { time, flags, payload: std::mem::take(&mut self.body) }))
    }

    /// The rest of the body.
    fn json<T: DeserializeOwned>(&mut self) -> Result<T, Malformed> {
        serde_json::from_slice(&self.body).map_err(|e| Malformed::Json(e.to_string()))
    }

    fn end<T>(&self, message: T) -> Result<T, Malformed> {
        if self.body.is_empty() { Ok(message) } else { Err(Malformed::Fields(self.kind)) }
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Debug, time::Duration};

    use gibbon_control::work::{Input, Passed};
    use gibbon_media::{Scheme, TextTrack};
    use proptest::prelude::*;

    use super::*;

    fn catalog() -> Catalog {
        Catalog {
            stream: "live/bbb".parse().unwrap(),
            scheme: Scheme::Alternating,
            created: MediaTime(7),
            grids: Catalog::grids_of(Scheme::Alternating, Duration::from_secs(1)),
            video: None,
            audio: None,
            text: Some(TextTrack { language: "en".to_owned() }),
            host: "here".to_owned(),
        }
    }

    fn header() -> GroupHeader {
        GroupHeader {
            medium: Medium::Audio,
            group: GroupId(1_700_000_000),
            producer: ProducerId(u64::MAX),
            published_us: 5,
        }
    }

    fn frame(payload: &'static [u8]) -> Frame {
        Frame {
            time: MediaTime(9),
            flags: FrameFlags::KEY | FrameFlags::PRIMARY,
            payload: Bytes::from_static(payload),
        }
    }

    fn to_segment() -> Vec<ToSegment> {
        let at = GroupOf {
            description: Description::One,
            medium: Medium::Video,
            group: GroupId(3),
            producer: ProducerId(4),
        };
        let instance = InstanceSpec {
            instance: InstanceId(1),
            chain: "live/bbb: scale height=360".parse().unwrap(),
            input: Input::Stream("live/bbb".parse().unwrap()),
            publish: true,
            services: Vec::new(),
            replica: 0,
        };
        let setup = Setup {
            catalog: catalog(),
            instances: vec![instance],
            assets: "/srv/assets".into(),
            font: "/srv/font.ttf".into(),
        };
        vec![
            ToSegment::Set(setup),
            ToSegment::Group { description: Description::Zero, header: header() },
            ToSegment::Frame { at, index: 2, frame: frame(b"picture") },
            ToSegment::Frame { at, index: 3, frame: frame(b"") },
            ToSegment::GroupEnd { at, frames: 24 },
        ]
    }

    fn from_segment() -> Vec<FromSegment> {
        let (instance, description) = (InstanceId(9), Description::One);
        let status = |state| InstanceStatus {
            instance,
            state,
            input: SocketReport::default(),
            output: SocketReport {
                coders: 2,
                passed: Passed { pictures: 3, ..Passed::default() },
                delay_ms: Some(41.5),
                ..SocketReport::default()
            },
            cpu_us: 1_234,
        };
        let failed = InstanceState::Failed { why: "no such file".to_owned() };
        vec![
            FromSegment::Catalog { instance, catalog: Box::new(catalog()) },
            FromSegment::Frame {
                instance,
                description,
                header: header(),
                index: 1,
                frame: frame(b"sound"),
            },
            FromSegment::GroupEnd { instance, description, header: header(), frames: 50 },
            FromSegment::Status(vec![status(InstanceState::Running), status(failed)]),
        ]
    }

    /// Through blocking pipes, and through a buffer that fills byte by byte.
    fn round_trip<M: Message + PartialEq + Debug>(messages: &[M]) {
        let mut pipe = Vec::new();
        messages.iter().for_each(|message| message.write(&mut pipe).unwrap());
        let mut reader = pipe.as_slice();
        for message in messages {
            assert_eq!(M::read(&mut reader).unwrap().as_ref(), Some(message));
        }
        assert_eq!(M::read(&mut reader).unwrap(), None);
        let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
        for byte in pipe {
            buffer.put_u8(byte);
            found.extend(M::decode(&mut buffer).unwrap());
        }
        assert_eq!(found, messages);
    }

    #[test]
    fn every_message_comes_out_as_it_went_in() {
        round_trip(&to_segment());
        round_trip(&from_segment());
    }

    #[test]
    fn what_is_too_long_is_neither_sent_nor_waited_for() {
        let ToSegment::Frame { at, index, .. } = to_segment()[2].clone() else { unreachable!() };
        let payload = Bytes::from(vec![0; MAX_MESSAGE]);
        let frame = Frame { payload, ..frame(b"") };
        let long = ToSegment::Frame { at, index, frame };
        assert!(matches!(long.encode(), Err(Malformed::Length(_))));
        let mut claim = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        assert!(matches!(ToSegment::decode(&mut claim), Err(Malformed::Length(_))));
        assert!(ToSegment::read(&mut &u32::MAX.to_be_bytes()[..]).is_err());
    }

    #[test]
    fn a_message_that_is_cut_off_is_an_error_to_a_reader() {
        let whole = to_segment()[2].encode().unwrap();
        for length in 1..whole.len() {
            assert!(ToSegment::read(&mut &whole[..length]).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read_but_never_more(garbage: Vec<u8>, kind in 0u8..6) {
            let mut framed = BytesMut::new();
            framed.put_u32(garbage.len() as u32 + 1);
            framed.put_u8(kind);
            framed.put_slice(&garbage);
            for bytes in [framed.freeze(), Bytes::from(garbage)] {
                let _ = ToSegment::decode(&mut BytesMut::from(&bytes[..]));
                let _ = FromSegment::decode(&mut BytesMut::from(&bytes[..]));
                if let Ok(Some(message)) = FromSegment::read(&mut &bytes[..]) {
                    let again = FromSegment::read(&mut &message.encode().unwrap()[..]).unwrap();
                    prop_assert_eq!(again, Some(message));
                }
            }
        }
    }
}
