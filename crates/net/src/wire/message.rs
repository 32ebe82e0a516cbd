//! Messages: `kind (varint), length (varint), body`.

use bytes::{Buf, Bytes, BytesMut};

use super::{Malformed, get_varint, put_varint};

/// One message, its body not yet understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it says; the stream it came on gives the number its meaning.
    pub kind: u64,
    /// Fields, or JSON.
    pub body: Bytes,
}

/// A message as bytes.
pub fn encode_message(kind: u64, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(body.len() + 12);
    put_varint(&mut out, kind);
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(body);
    out.freeze()
}

/// Cuts a stream of bytes into messages, none longer than a bound.
#[derive(Debug)]
pub struct MessageDecoder {
    bound: usize,
}

impl MessageDecoder {
    /// A decoder that refuses bodies above `bound` bytes before it waits for them.
    pub fn new(bound: usize) -> Self {
        Self { bound }
    }

    /// Takes the first message off `buffer`; `None` if it is not all there yet.
    pub fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Message>, Malformed> {
        let mut ahead = &buffer[..];
        let (Some(kind), Some(length)) = (get_varint(&mut ahead), get_varint(&mut ahead)) else {
            return Ok(None);
        };
        if length > self.bound as u64 {
            return Err(Malformed::TooLong { what: "message", length, bound: self.bound });
        }
        let length = length as usize;
        if ahead.len() < length {
            return Ok(None);
        }
        buffer.advance(buffer.len() - ahead.len());
        Ok(Some(Message { kind, body: buffer.split_to(length).freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_out_once_it_is_all_there() {
        let bytes = encode_message(7, b"abc");
        assert_eq!(&bytes[..], [7, 3, b'a', b'b', b'c']);
        let decoder = MessageDecoder::new(3);
        let mut buffer = BytesMut::from(&bytes[..4]);
        assert_eq!(decoder.decode(&mut buffer), Ok(None));
        buffer.extend_from_slice(b"cX");
        let message = decoder.decode(&mut buffer).unwrap().unwrap();
        assert_eq!((message.kind, &message.body[..]), (7, &b"abc"[..]));
        assert_eq!(&buffer[..], b"X");
    }

    #[test]
    fn an_oversized_message_is_refused_by_its_length_alone() {
        let mut buffer = BytesMut::from(&[7u8, 4][..]);
        assert!(matches!(
            MessageDecoder::new(3).decode(&mut buffer),
            Err(Malformed::TooLong { length: 4, bound: 3, .. })
        ));
    }
}
