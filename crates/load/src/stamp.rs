//! What a synthetic frame begins with, so that whoever receives it can tell how late it is and whether one
//! before it is missing.

use bytes::{BufMut, Bytes, BytesMut};
use gibbon_media::MediaTime;

/// Tells a synthetic frame from a coded one.
const MAGIC: u64 = 0x6769_6262_6f6e_2d6c;

/// The first bytes of a synthetic frame: three big-endian numbers behind a magic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When it was to be sent, by the source's clock. What is measured from here hides no wait of the source
    /// itself (no coordinated omission).
    pub intended: MediaTime,
    /// When it was sent, by the source's clock.
    pub sent: MediaTime,
    /// Frames of its description and medium before it, since the source began.
    pub counter: u64,
}

impl Stamp {
    /// Bytes that a stamp takes: no synthetic frame is shorter.
    pub const LENGTH: usize = 32;

    /// A payload of `length` bytes (at least [`LENGTH`](Self::LENGTH)) that begins with this stamp.
    pub fn payload(self, length: usize) -> Bytes {
        let length = length.max(Self::LENGTH);
        let mut bytes = BytesMut::with_capacity(length);
        let numbers = [MAGIC, self.intended.as_micros(), self.sent.as_micros(), self.counter];
        numbers.into_iter().for_each(|number| bytes.put_u64(number));
        bytes.resize(length, 0);
        bytes.freeze()
    }

    /// The stamp that a payload begins with; `None` if it is no synthetic frame.
    pub fn of(payload: &[u8]) -> Option<Self> {
        let number = |at: usize| -> Option<u64> {
            Some(u64::from_be_bytes(payload.get(at..at + 8)?.try_into().ok()?))
        };
        (number(0)? == MAGIC).then_some(())?;
        Some(Self {
            intended: MediaTime(number(8)?),
            sent: MediaTime(number(16)?),
            counter: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_from_the_payload_that_begins_with_it() {
        let stamp = Stamp { intended: MediaTime(5), sent: MediaTime(7), counter: u64::MAX };
        let payload = stamp.payload(5000);
        assert_eq!((payload.len(), Stamp::of(&payload)), (5000, Some(stamp)));
        assert_eq!(stamp.payload(0).len(), Stamp::LENGTH);
    }

    #[test]
    fn what_is_no_synthetic_frame_has_no_stamp() {
        let payload = Stamp { intended: MediaTime(5), sent: MediaTime(7), counter: 1 }.payload(40);
        assert_eq!(Stamp::of(&payload[..Stamp::LENGTH - 1]), None);
        assert_eq!(Stamp::of(&[0; 100]), None);
    }
}
