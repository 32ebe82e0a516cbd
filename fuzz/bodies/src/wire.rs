//! The parsers of the wire: what is read is written and read again alike, however it is cut up.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use gibbon_media::MediaTime;
use gibbon_net::wire::{
    Accepted, FrameDecoder, GroupStart, MAX_FRAME, MAX_JSON, MAX_MESSAGE, MAX_VARINT, Malformed,
    Message, MessageDecoder, Rejected, Subscribe, Update, encode_frame, encode_message, get_varint,
    put_varint,
};

/// A varint, and whether writing it again gives its shortest form.
pub fn varint(input: &[u8]) {
    let mut rest = input;
    match get_varint(&mut rest) {
        None => assert_eq!(rest, input, "what is not whole is not taken"),
        Some(value) => {
            assert!(value <= MAX_VARINT);
            let mut written = Vec::new();
            put_varint(&mut written, value);
            assert!(written.len() <= input.len() - rest.len());
            assert_eq!(get_varint(&mut &written[..]), Some(value));
        }
    }
}

/// Decodes all of `input`, handed over in pieces of `piece` bytes.
fn drain<T>(
    input: &[u8],
    piece: usize,
    mut decode: impl FnMut(&mut BytesMut) -> Result<Option<T>, Malformed>,
) -> (Vec<T>, Option<Malformed>) {
    let (mut buffer, mut values) = (BytesMut::new(), Vec::new());
    for part in input.chunks(piece) {
        buffer.extend_from_slice(part);
        loop {
            match decode(&mut buffer) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => return (values, Some(error)),
            }
        }
    }
    (values, None)
}

/// Messages on a stream. The first byte chooses the bound and how the rest is cut up.
pub fn messages(input: &[u8]) {
    let Some((choice, input)) = input.split_first() else { return };
    let bound = [MAX_MESSAGE, MAX_JSON, 3][usize::from(*choice) % 3];
    let decoder = MessageDecoder::new(bound);
    let whole = drain(input, usize::MAX, |buffer| decoder.decode(buffer));
    let piece = usize::from(*choice / 3) + 1;
    assert_eq!(drain(input, piece, |buffer| decoder.decode(buffer)), whole);
    for Message { kind, body } in whole.0 {
        assert!(body.len() <= bound);
        let mut again = BytesMut::from(&encode_message(kind, &body)[..]);
        assert_eq!(decoder.decode(&mut again), Ok(Some(Message { kind, body })));
    }
}

/// Frames of a group. The first byte chooses the base of their times and how the rest is cut up.
pub fn frames(input: &[u8]) {
    let Some((choice, input)) = input.split_first() else { return };
    let base = MediaTime([0, 1_700_000_300_000_000, u64::MAX][usize::from(*choice) % 3]);
    let decoder = FrameDecoder::new(base);
    let whole = drain(input, usize::MAX, |buffer| decoder.decode(buffer));
    let piece = usize::from(*choice / 3) + 1;
    assert_eq!(drain(input, piece, |buffer| decoder.decode(buffer)), whole);
    for frame in whole.0 {
        assert!(frame.time >= base && frame.payload.len() <= MAX_FRAME);
        let mut again = BytesMut::from(&encode_frame(base, &frame)[..]);
        assert_eq!(decoder.decode(&mut again), Ok(Some(frame)));
    }
}

/// What can be read is written, and read again alike.
fn round<T: PartialEq + Debug>(
    input: &[u8],
    decode: impl Fn(Bytes) -> Result<T, Malformed>,
    encode: impl Fn(&T) -> Bytes,
) {
    if let Ok(value) = decode(Bytes::copy_from_slice(input)) {
        assert_eq!(decode(encode(&value)), Ok(value));
    }
}

/// The bodies of `Subscribe` and `Update`.
pub fn subscribe(input: &[u8]) {
    round(input, Subscribe::decode, Subscribe::encode);
    round(input, Update::decode, Update::encode);
}

/// The bodies of `Accepted` and `Rejected`.
pub fn answer(input: &[u8]) {
    round(input, Accepted::decode, Accepted::encode);
    round(input, Rejected::decode, Rejected::encode);
}

/// The body of `Group`.
pub fn group_start(input: &[u8]) {
    round(input, GroupStart::decode, GroupStart::encode);
}
