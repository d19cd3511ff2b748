//! Owns the encoding of single fields: varints, byte strings and raw bytes.
//!
//! Unsigned numbers are LEB128: seven bits a byte, lowest first, the top bit set on all but the
//! last byte; at most ten bytes. Signed numbers are zigzagged first. Byte strings are a varint
//! length and the bytes.

use crate::sink::{Full, Sink};

/// Writes fields to a sink.
pub(crate) struct Output<'a>(pub(crate) &'a mut dyn Sink);

impl Output<'_> {
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0.put(bytes)
    }

    pub(crate) fn byte(&mut self, byte: u8) -> Result<(), Full> {
        self.0.put(&[byte])
    }

    pub(crate) fn varint(&mut self, value: impl Into<u64>) -> Result<(), Full> {
        let mut rest: u64 = value.into();
        let mut bytes = [0u8; 10];
        let mut len = 0usize;
        for byte in &mut bytes {
            len = len.saturating_add(1);
            *byte = (rest & 0x7f) as u8;
            rest >>= 7;
            if rest == 0 {
                break;
            }
            *byte |= 0x80;
        }
        self.0.put(bytes.get(..len).unwrap_or_default())
    }

    /// Writes several varints.
    pub(crate) fn varints(&mut self, values: &[u64]) -> Result<(), Full> {
        values.iter().try_for_each(|&value| self.varint(value))
    }

    pub(crate) fn signed(&mut self, value: i64) -> Result<(), Full> {
        self.varint(((value << 1) ^ (value >> 63)) as u64)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.varint(bytes.len() as u64)?;
        self.0.put(bytes)
    }
}

/// The bit of each of eight bytes that is set in all but the last of a varint.
const ENDS: u64 = 0x8080_8080_8080_8080;

/// Reads fields off the front of a slice; `None` when they are not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// Most numbers are short: those of one byte are told at once.
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        match self.0.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.0 = rest;
                Some(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline]
    fn long_varint(&mut self) -> Option<u64> {
        let ahead = self.ahead();
        if let Some((word, ends)) = ahead
            && ends != 0
        {
            let len = ends.trailing_zeros() / 8;
            // Groups of seven bits move together: pairs of bytes, then of pairs, then of these.
            let own = word & (ends ^ ends.wrapping_sub(1)) & !ENDS;
            let pairs = (own & 0x007f_007f_007f_007f) | (own & 0x7f00_7f00_7f00_7f00) >> 1;
            let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
            let value = (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4;
            self.0 = self.0.get(len.saturating_add(1) as usize..)?;
            return Some(value);
        }
        self.byte_by_byte()
    }

    /// The next eight bytes, the first one lowest, and a bit for each of them that ends a varint.
    #[inline]
    fn ahead(&self) -> Option<(u64, u64)> {
        let word = u64::from_le_bytes(*self.0.first_chunk()?);
        Some((word, !word & ENDS))
    }

    /// Passes over `N` varints, at least one; `None` where [`varints`](Self::varints) would find none.
    #[inline]
    pub(crate) fn skip_varints<const N: usize>(&mut self) -> Option<()> {
        if let Some((_, mut ends)) = self.ahead() {
            for _ in 1..N {
                ends &= ends.wrapping_sub(1);
            }
            if ends != 0 {
                let len = ends.trailing_zeros() / 8;
                self.0 = self.0.get(len.saturating_add(1) as usize..)?;
                return Some(());
            }
        }
        self.varints::<N>().map(drop)
    }

    /// A varint of any length, at the end of the slice or not.
    fn byte_by_byte(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64u32).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads several varints.
    #[inline]
    pub(crate) fn varints<const N: usize>(&mut self) -> Option<[u64; N]> {
        let mut values = [0; N];
        for value in &mut values {
            *value = self.varint()?;
        }
        Some(values)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ ((value & 1) as i64).wrapping_neg())
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::SliceSink;

    fn written(write: impl FnOnce(&mut Output<'_>) -> Result<(), Full>) -> ([u8; 16], usize) {
        let mut buffer = [0; 16];
        let mut sink = SliceSink::new(&mut buffer);
        write(&mut Output(&mut sink)).unwrap();
        let len = sink.len();
        (buffer, len)
    }

    #[test]
    fn varints_are_leb128() {
        for (value, expected) in [
            (0u64, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (300, &[0xac, 0x02]),
            (
                u64::MAX,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            ),
        ] {
            let (buffer, len) = written(|out| out.varint(value));
            assert_eq!(&buffer[..len], expected);
            assert_eq!(Input(expected).varint(), Some(value));
        }
    }

    #[test]
    fn long_runs_are_read_as_byte_by_byte() {
        // Lengths from one to ten bytes, each at every distance from the end of the slice.
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let (buffer, len) = written(|out| out.varint(value));
                for end in len..=buffer.len() {
                    let mut input = Input(&buffer[..end]);
                    let mut slow = input;
                    assert_eq!(input.varint(), Some(value));
                    assert_eq!(slow.byte_by_byte(), Some(value));
                    assert_eq!(input.0, slow.0);
                }
                for end in 0..len {
                    assert_eq!(Input(&buffer[..end]).varint(), None);
                }
            }
        }
    }

    #[test]
    fn what_is_passed_over_is_what_would_be_read() {
        let mut seed = 1u64;
        for _ in 0..20_000 {
            let mut bytes = [0u8; 24];
            for byte in &mut bytes {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Most bytes go on, so that numbers get long, and some too long.
                *byte = (seed >> 56) as u8 | if seed >> 32 & 3 == 0 { 0 } else { 0x80 };
            }
            let len = (seed >> 40) as usize % 25;
            let (mut read, mut passed) = (Input(&bytes[..len]), Input(&bytes[..len]));
            let both = (
                read.varints::<4>().is_some(),
                passed.skip_varints::<4>().is_some(),
            );
            assert_eq!(both.0, both.1, "{bytes:x?} of {len}");
            if both.0 {
                assert_eq!(read.0, passed.0);
            }
        }
    }

    #[test]
    fn signed_numbers_are_zigzag() {
        for (value, byte) in [(0, 0u8), (-1, 1), (1, 2), (-2, 3), (63, 126), (-64, 127)] {
            let (buffer, len) = written(|out| out.signed(value));
            assert_eq!(&buffer[..len], &[byte]);
        }
        for value in [i64::MIN, i64::MAX, -65, 1 << 40] {
            let (buffer, len) = written(|out| out.signed(value));
            assert_eq!(Input(&buffer[..len]).signed(), Some(value));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(Input(&[]).varint(), None);
        assert_eq!(Input(&[0x80]).varint(), None);
        assert_eq!(Input(&[0xff; 10]).varint(), None);
        let too_large = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02];
        assert_eq!(Input(&too_large).varint(), None);
        assert_eq!(Input(&[0x80, 0x80, 0x80, 0x80, 0x10]).u32(), None);
        let eleven = [
            0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00,
        ];
        assert_eq!(Input(&eleven).varint(), None);
        assert_eq!(Input(&[5, 1, 2]).bytes(), None);
    }
}
