//! The wire, specified byte by byte in `docs/wire.md`. Pure: bytes in, values out.
//!
//! Bidirectional streams begin with a [`StreamKind`] and carry messages, each `kind, length, body`.
//! Unidirectional streams carry one group each: a message with the group's header, then frames.

mod catalog;
mod field;
mod frame;
mod message;
mod subscribe;
mod varint;

use std::time::Duration;

pub use frame::{FrameDecoder, GroupStart, encode_frame};
pub use message::{Message, MessageDecoder, encode_message};
pub use subscribe::{
    Accepted, MediaSet, RejectCode, Rejected, Resume, Start, Subscribe, Update, kind,
};
pub use varint::{MAX_VARINT, get_varint, put_varint};

/// Application protocol, negotiated in the TLS handshake.
pub const ALPN: &[u8] = b"gibbon/1";

/// Longest message on a description stream or before a group, in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Longest JSON message on a session or control stream, in bytes.
pub const MAX_JSON: usize = 1024 * 1024;
/// Longest payload of one frame, in bytes.
pub const MAX_FRAME: usize = 4 * 1024 * 1024;

/// Shortest and longest group that a catalog may name.
pub const MIN_GROUP: Duration = Duration::from_millis(100);
/// See [`MIN_GROUP`].
pub const MAX_GROUP: Duration = Duration::from_secs(10);
/// Longest side of a picture that a catalog may name, in pixels.
pub const MAX_SIDE: u32 = 16_384;

/// What a bidirectional stream is for: the first varint on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// One subscription to one description.
    Description = 1,
    /// A client's session: grant, orders, reports.
    Session = 2,
    /// A node and the coordinator.
    Control = 3,
    /// Prefetch information from the first edge to the second.
    Handoff = 4,
}

impl TryFrom<u64> for StreamKind {
    type Error = Malformed;
    fn try_from(n: u64) -> Result<Self, Malformed> {
        Ok(match n {
            1 => StreamKind::Description,
            2 => StreamKind::Session,
            3 => StreamKind::Control,
            4 => StreamKind::Handoff,
            _ => return Err(Malformed::Unknown { what: "stream kind", value: n }),
        })
    }
}

/// Bytes that are not of the form `docs/wire.md` gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length above its bound.
    #[error("{what} of {length} bytes is longer than {bound}")]
    TooLong {
        /// What was too long.
        what: &'static str,
        /// The length announced.
        length: u64,
        /// The bound.
        bound: usize,
    },
    /// A value that has no meaning here.
    #[error("unknown {what} {value:#x}")]
    Unknown {
        /// What it would name.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// A field that must be there is not.
    #[error("{message} lacks its field {field}")]
    Missing {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field whose value is not valid.
    #[error("field {field} is not valid: {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The bytes end within a value.
    #[error("{0} ends too early")]
    Truncated(&'static str),
}
