//! Fields within a message body: `tag (varint), length (varint), value`. Unknown tags are skipped, so
//! that either side may be newer than the other.

use bytes::{Buf, Bytes, BytesMut};

use super::{Malformed, get_varint, put_varint};

/// Builds a body field by field.
#[derive(Debug, Default)]
pub struct Fields(BytesMut);

impl Fields {
    pub fn bytes(mut self, tag: u64, value: &[u8]) -> Self {
        put_varint(&mut self.0, tag);
        put_varint(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub fn number(self, tag: u64, value: u64) -> Self {
        let mut bytes = BytesMut::new();
        put_varint(&mut bytes, value);
        self.bytes(tag, &bytes)
    }

    pub fn optional(self, tag: u64, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.number(tag, value),
            None => self,
        }
    }

    pub fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// Takes the next field off `body`; `None` at its end.
pub fn next_field(body: &mut Bytes) -> Result<Option<(u64, Bytes)>, Malformed> {
    if body.is_empty() {
        return Ok(None);
    }
    let (Some(tag), Some(length)) = (get_varint(body), get_varint(body)) else {
        return Err(Malformed::Truncated("field"));
    };
    if length > body.remaining() as u64 {
        return Err(Malformed::Truncated("field"));
    }
    Ok(Some((tag, body.split_to(length as usize))))
}

/// The value of a number field: one varint and nothing after it.
pub fn number(field: &'static str, mut value: Bytes) -> Result<u64, Malformed> {
    let number = get_varint(&mut value).ok_or(Malformed::Truncated(field))?;
    if value.is_empty() {
        Ok(number)
    } else {
        Err(Malformed::Invalid { field, why: "bytes after the number".into() })
    }
}

/// The value of a text field.
pub fn text(field: &'static str, value: &Bytes) -> Result<String, Malformed> {
    match std::str::from_utf8(value) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(Malformed::Invalid { field, why: error.to_string() }),
    }
}

/// A field that must be there.
pub fn need<T>(
    message: &'static str,
    field: &'static str,
    value: Option<T>,
) -> Result<T, Malformed> {
    value.ok_or(Malformed::Missing { message, field })
}
