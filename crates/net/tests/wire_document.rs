//! `docs/wire.md` says what the code does: every vector, limit and code in it is checked.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fmt::Debug, path::Path, time::Duration};

use bytes::{Bytes, BytesMut};
use gibbon_media::{
    AudioTrack, Catalog, Codec, Description, Frame, FrameFlags, FrameRate, GroupHeader, GroupId,
    MediaTime, Medium, ProducerId, Scheme, TextTrack, VideoTrack,
};
use gibbon_net::{
    close,
    wire::{
        self, Accepted, FrameDecoder, GroupStart, MAX_JSON, MAX_MESSAGE, Malformed, MediaSet,
        MessageDecoder, RejectCode, Rejected, Resume, Start, StreamKind, Subscribe, Update,
        get_varint, kind,
    },
};

const DOCUMENT: &str = include_str!("../../../docs/wire.md");
const PRODUCER: ProducerId = ProducerId(0x0102_0304_0506_0708);
const BASE: MediaTime = MediaTime(300_000_000);

/// The blocks fenced with this word: what follows the word, and the lines below.
fn blocks(word: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    DOCUMENT.split("\n```").skip(1).step_by(2).filter_map(move |block| {
        let (head, body) = block.split_once('\n')?;
        let (first, rest) = head.split_once(' ').unwrap_or((head, ""));
        (first == word).then_some((rest, body))
    })
}

/// The bytes of a line: hexadecimal, `'text'`, and a comment after `#`.
fn bytes(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            out.extend_from_slice(part.as_bytes());
            continue;
        }
        let (hex, comment) = part.split_once('#').map_or((part, false), |(hex, _)| (hex, true));
        out.extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        if comment {
            break;
        }
    }
    out
}

/// A vector: its bytes, and the error it is refused with if it is a bad one.
#[derive(Debug)]
struct Vector {
    bytes: Vec<u8>,
    refusal: Option<String>,
}

fn vectors() -> BTreeMap<&'static str, Vector> {
    blocks("vector")
        .map(|(name, body)| {
            let refusal = body.lines().find_map(|line| line.strip_prefix("! ")).map(str::to_owned);
            let lines = body.lines().filter(|line| !line.starts_with('!'));
            (name, Vector { bytes: lines.flat_map(bytes).collect(), refusal })
        })
        .collect()
}

/// Vectors that have been looked at, so that none is forgotten.
struct Checked(BTreeMap<&'static str, Vector>);

impl Checked {
    fn take(&mut self, name: &str) -> Vector {
        self.0.remove(name).unwrap_or_else(|| panic!("the document has no vector {name}"))
    }

    /// A message that is written and read so.
    fn message<T: PartialEq + Debug>(
        &mut self,
        name: &str,
        kind: u64,
        value: &T,
        encode: impl Fn(&T) -> Bytes,
        decode: impl Fn(Bytes) -> Result<T, Malformed>,
    ) {
        let vector = self.take(name);
        assert_eq!(wire::encode_message(kind, &encode(value)), vector.bytes, "{name}");
        assert_eq!(decode(body(&vector.bytes, kind)).as_ref(), Ok(value), "{name}");
    }

    fn refused<T: Debug>(&mut self, name: &str, read: impl Fn(&[u8]) -> Result<T, Malformed>) {
        let vector = self.take(name);
        let error = read(&vector.bytes).unwrap_err();
        assert_eq!(Some(error.to_string()), vector.refusal, "{name}");
    }
}

fn body(bytes: &[u8], kind: u64) -> Bytes {
    let mut buffer = BytesMut::from(bytes);
    let message = MessageDecoder::new(MAX_MESSAGE).decode(&mut buffer).unwrap().unwrap();
    assert_eq!((message.kind, buffer.len()), (kind, 0));
    message.body
}

fn subscribe(start: Start, end: Option<GroupId>) -> Subscribe {
    Subscribe {
        stream: "live/bbb".parse().unwrap(),
        description: Description::One,
        media: MediaSet::ALL,
        start,
        end,
        priority: 1,
        patience: None,
    }
}

fn accepted() -> Accepted {
    let catalog = Catalog {
        stream: "live/bbb".parse().unwrap(),
        scheme: Scheme::Alternating,
        created: MediaTime(1_700_000_000_000_000),
        grids: Catalog::grids_of(Scheme::Alternating, Duration::from_secs(1)),
        video: Some(VideoTrack {
            codec: Codec::H264,
            rate: FrameRate::new(24, 1).unwrap(),
            width: 640,
            height: 360,
        }),
        audio: Some(AudioTrack { sample_rate: 48_000, channels: 2, packet_us: 20_000 }),
        text: Some(TextTrack { language: "en".into() }),
        host: "b5c3".into(),
    };
    Accepted { catalog, live: MediaTime(1_700_000_300_958_000), first: GroupId(1_700_000_300) }
}

fn group() -> GroupStart {
    let header = GroupHeader {
        medium: Medium::Video,
        group: GroupId(300),
        producer: PRODUCER,
        published_us: 300_000_250_000,
    };
    GroupStart { subscription: 4, header, base: BASE, first: 0 }
}

fn frame(after: u64, flags: FrameFlags, payload: &'static [u8]) -> Frame {
    Frame { time: MediaTime(BASE.0 + after), flags, payload: Bytes::from_static(payload) }
}

fn encode_frames(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| wire::encode_frame(BASE, frame)).collect()
}

fn decode_frames(bytes: &[u8]) -> Result<Vec<Frame>, Malformed> {
    let (decoder, mut buffer) = (FrameDecoder::new(BASE), BytesMut::from(bytes));
    let mut frames = Vec::new();
    while let Some(frame) = decoder.decode(&mut buffer)? {
        frames.push(frame);
    }
    assert!(buffer.is_empty());
    Ok(frames)
}

#[test]
fn every_vector_is_written_and_read_as_the_document_says() {
    let mut all = Checked(vectors());
    let group_300 = |resume| Start::Group { group: GroupId(300), resume };
    let resume = Resume { producer: PRODUCER, frames: [20, 42, 0] };
    let patience = Some(Duration::from_secs(1));
    let resumed = Subscribe { patience, ..subscribe(group_300(Some(resume)), None) };
    let subscriptions = [
        ("subscribe-next", subscribe(Start::Next, None)),
        ("subscribe-live", subscribe(Start::Live(Duration::from_secs(2)), None)),
        ("subscribe-group", subscribe(group_300(None), Some(GroupId(309)))),
        ("subscribe-resume", resumed),
    ];
    for (name, value) in subscriptions {
        all.message(name, kind::SUBSCRIBE, &value, Subscribe::encode, Subscribe::decode);
    }
    let update = Update { end: GroupId(301) };
    all.message("update", kind::UPDATE, &update, Update::encode, Update::decode);
    all.message("accepted", kind::ACCEPTED, &accepted(), Accepted::encode, Accepted::decode);
    let rejected = Rejected::new(RejectCode::UnknownStream, "nobody publishes live/none");
    all.message("rejected", kind::REJECTED, &rejected, Rejected::encode, Rejected::decode);
    let elsewhere = Rejected {
        elsewhere: Some("edge-b".parse().unwrap()),
        ..Rejected::new(RejectCode::Full, "12 of 12 legs")
    };
    all.message(
        "rejected-elsewhere",
        kind::REJECTED,
        &elsewhere,
        Rejected::encode,
        Rejected::decode,
    );
    all.message("group", kind::GROUP, &group(), GroupStart::encode, GroupStart::decode);

    let key = FrameFlags::KEY | FrameFlags::PRIMARY;
    let single = all.take("frame").bytes;
    assert_eq!(encode_frames(&[frame(41_667, key, b"abc")]), single);
    assert_eq!(decode_frames(&single), Ok(vec![frame(41_667, key, b"abc")]));

    let frames = [frame(0, key, b"IDR"), frame(41_667, FrameFlags::PRIMARY, b"P")];
    let head = wire::encode_message(kind::GROUP, &group().encode());
    assert_eq!([&head[..], &encode_frames(&frames)].concat(), all.take("group-stream").bytes);

    let mut description = &all.take("description-stream").bytes[..];
    let stream_kind = StreamKind::try_from(get_varint(&mut description).unwrap());
    assert_eq!(stream_kind, Ok(StreamKind::Description));
    let request = Subscribe::decode(body(description, kind::SUBSCRIBE));
    assert_eq!(request, Ok(subscribe(Start::Next, None)));

    let newer = Subscribe::decode(body(&all.take("newer-subscribe").bytes, kind::SUBSCRIBE));
    assert_eq!(newer, Ok(Subscribe { priority: 2, ..subscribe(Start::Next, None) }));

    refusals(&mut all);
    assert!(all.0.is_empty(), "not checked: {:?}", all.0.keys());
}

fn refusals(all: &mut Checked) {
    let message = |bound| move |bytes: &[u8]| MessageDecoder::new(bound).decode(&mut bytes.into());
    all.refused("bad-message-length", message(MAX_MESSAGE));
    all.refused("bad-json-length", message(MAX_JSON));
    all.refused("bad-frame-length", decode_frames);
    all.refused("bad-stream-kind", |mut b| StreamKind::try_from(get_varint(&mut b).unwrap()));
    for name in [
        "bad-subscribe-without-stream",
        "bad-subscribe-name",
        "bad-subscribe-description",
        "bad-field-cut",
    ] {
        all.refused(name, |bytes| Subscribe::decode(body(bytes, kind::SUBSCRIBE)));
    }
    all.refused("bad-number-tail", |bytes| Update::decode(body(bytes, kind::UPDATE)));
    for name in ["bad-group-medium", "bad-group-producer"] {
        all.refused(name, |bytes| GroupStart::decode(body(bytes, kind::GROUP)));
    }
    all.refused("bad-rejected-code", |bytes| Rejected::decode(body(bytes, kind::REJECTED)));
    all.refused("bad-catalog", |bytes| Accepted::decode(body(bytes, kind::ACCEPTED)));
}

#[test]
fn varints_are_those_of_the_document() {
    let (_, table) = blocks("varints").next().unwrap();
    assert!(table.lines().count() > 5);
    for line in table.lines() {
        let (value, rest): (&str, &str) = line.split_once(' ').unwrap();
        let (hex, longer) = match rest.split_once("longer") {
            Some((hex, _)) => (hex, true),
            None => (rest, false),
        };
        let (value, hex): (u64, _) = (value.parse().unwrap(), bytes(hex));
        assert_eq!(get_varint(&mut &hex[..]), Some(value), "{line}");
        let mut written = Vec::new();
        wire::put_varint(&mut written, value);
        assert_eq!(written == hex, !longer, "{line}");
    }
}

/// The cells of the rows of a table whose first cell satisfies `is`.
fn rows(is: impl Fn(&str) -> bool) -> Vec<Vec<&'static str>> {
    let cells = |row: &'static str| row.trim_matches('|').split('|').map(str::trim).collect();
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| ")).map(cells);
    rows.filter(|row: &Vec<&str>| is(row[0])).collect()
}

#[test]
fn codes_and_kinds_are_those_of_the_document() {
    let named = [
        ("DONE", close::DONE),
        ("MALFORMED", close::MALFORMED),
        ("UNAUTHORISED", close::UNAUTHORISED),
        ("WRONG_ROLE", close::WRONG_ROLE),
        ("SILENT", close::SILENT),
        ("LEAVING", close::LEAVING),
        ("FULL", close::FULL),
        ("CANCELLED", close::CANCELLED),
        ("SUPERSEDED", close::SUPERSEDED),
        ("NO_SUBSCRIPTION", close::NO_SUBSCRIPTION),
    ];
    let codes = rows(|first| first.starts_with("0x"));
    let expected =
        named.map(|(name, code)| vec![format!("{:#04x}", code.into_inner()), format!("`{name}`")]);
    assert_eq!(codes.iter().map(|row| row[..2].to_vec()).collect::<Vec<_>>(), expected);

    let numbered = rows(|first| first.parse::<u8>().is_ok());
    let after = |name: &str| -> u8 {
        numbered.iter().find(|row| row[1] == name).unwrap()[0].parse().unwrap()
    };
    for (name, kind) in [
        ("description", StreamKind::Description),
        ("session", StreamKind::Session),
        ("control", StreamKind::Control),
        ("hand-off", StreamKind::Handoff),
    ] {
        assert_eq!(StreamKind::try_from(u64::from(after(name))), Ok(kind));
    }
    for code in RejectCode::ALL {
        assert_eq!(RejectCode::try_from(after(&code.as_str().replace('_', " "))), Ok(code));
    }
    for (name, kind) in [
        ("Subscribe", kind::SUBSCRIBE),
        ("Update", kind::UPDATE),
        ("Accepted", kind::ACCEPTED),
        ("Rejected", kind::REJECTED),
        ("Group", kind::GROUP),
    ] {
        assert!(DOCUMENT.contains(&format!("### {name}, {kind:#04x}\n")), "{name}");
    }
    assert!(DOCUMENT.contains(&format!("`{}`", String::from_utf8_lossy(wire::ALPN))));
    assert!(DOCUMENT.contains(&format!("have the kind {:#04x}", gibbon_net::message::JSON)));
}

/// A limit as the document writes it, from its expression in the source.
fn as_written(expression: &str) -> String {
    let seconds = expression.strip_prefix("Duration::from_secs(").map(|rest| (rest, "s"));
    let millis = expression.strip_prefix("Duration::from_millis(").map(|rest| (rest, "ms"));
    match seconds.or(millis) {
        Some((number, unit)) => format!("{} {unit}", number.trim_end_matches(')')),
        None => expression.replace('_', ""),
    }
}

#[test]
fn limits_are_those_of_the_source() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let limits = rows(|first| first.starts_with('`') && first.to_uppercase() == first);
    assert!(limits.len() > 30, "{}", limits.len());
    for row in limits {
        let [name, value, file] = [row[0], row[1], row[2]].map(|cell| cell.trim_matches('`'));
        let source = std::fs::read_to_string(crates.join(file)).unwrap();
        let definition = source.split_once(&format!("const {name}: "));
        let (_, definition) = definition.unwrap_or_else(|| panic!("no {name} in {file}"));
        let expression = definition.split_once(" = ").unwrap().1.split_once(';').unwrap().0;
        assert_eq!(as_written(expression), value, "{name} in {file}");
    }
}
