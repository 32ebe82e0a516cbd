//! Variable-length integers of RFC 9000, section 16.

use bytes::{Buf, BufMut};

/// The largest value a varint can hold: 2^62 − 1.
pub const MAX_VARINT: u64 = (1 << 62) - 1;

/// Appends `value` in its shortest form. Values above [`MAX_VARINT`] are written as [`MAX_VARINT`].
pub fn put_varint(out: &mut impl BufMut, value: u64) {
    let value = value.min(MAX_VARINT);
    match value {
        0..=0x3f => out.put_u8(value as u8),
        0x40..=0x3fff => out.put_u16(value as u16 | 0x4000),
        0x4000..=0x3fff_ffff => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}

/// Takes a varint from the front of `bytes`; `None`, taking nothing, if it is not all there.
pub fn get_varint(bytes: &mut impl Buf) -> Option<u64> {
    if !bytes.has_remaining() {
        return None;
    }
    let length = 1usize << (bytes.chunk()[0] >> 6);
    if bytes.remaining() < length {
        return None;
    }
    Some(match length {
        1 => u64::from(bytes.get_u8()),
        2 => u64::from(bytes.get_u16() & 0x3fff),
        4 => u64::from(bytes.get_u32() & 0x3fff_ffff),
        _ => bytes.get_u64() & MAX_VARINT,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_rfc_9000_appendix_a_1() {
        for (bytes, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            assert_eq!(get_varint(&mut &bytes[..]), Some(value));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in 0..=MAX_VARINT, cut in 0usize..8) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(get_varint(&mut &out[..]), Some(value));
            let short = &out[..cut.min(out.len() - 1)];
            prop_assert_eq!(get_varint(&mut &short[..]), None);
        }
    }
}
