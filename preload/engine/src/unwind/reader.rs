//! Owns reading of unwind tables byte by byte, without ever leaving them.
//!
//! Every read may end in `None`; malformed tables must never do worse than that.

/// Where unwind tables are read from: the segments of a loaded object, or a file in tests.
pub trait Tables {
    /// All readable bytes from this address on to the end of its segment.
    fn bytes_from(&self, addr: usize) -> Option<&[u8]>;
}

/// A cursor over mapped bytes that knows the address of each.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Address of the next byte.
    pub addr: usize,
}

/// `DW_EH_PE_omit`: no value is stored.
pub const OMIT: u8 = 0xff;

impl<'a> Reader<'a> {
    /// Starts at an address of the tables.
    pub fn at(tables: &'a impl Tables, addr: usize) -> Option<Reader<'a>> {
        Some(Reader {
            rest: tables.bytes_from(addr)?,
            addr,
        })
    }

    /// Bytes left.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// True at the end.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Splits the next `len` bytes off into a reader of their own.
    pub fn take(&mut self, len: usize) -> Option<Reader<'a>> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        let reader = Reader {
            rest: head,
            addr: self.addr,
        };
        self.rest = tail;
        self.addr = self.addr.wrapping_add(len);
        Some(reader)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>()?;
        self.rest = tail;
        self.addr = self.addr.wrapping_add(N);
        Some(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Unsigned LEB128; `None` beyond 64 bits.
    pub fn uleb(&mut self) -> Option<u64> {
        let mut value = 0u64;
        let mut shift = 0u32;
        loop {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift >= 64 && bits != 0 || shift == 63 && bits > 1 {
                return None;
            }
            value |= bits.checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(value);
            }
            shift = shift.saturating_add(7);
        }
    }

    /// Signed LEB128; bits beyond 64 are ignored.
    pub fn sleb(&mut self) -> Option<i64> {
        let mut value = 0i64;
        let mut shift = 0u32;
        loop {
            let byte = self.u8()?;
            value |= i64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift = shift.saturating_add(7);
            if byte & 0x80 == 0 {
                if shift < 64 && byte & 0x40 != 0 {
                    value |= -1i64 << shift;
                }
                return Some(value);
            }
        }
    }

    /// Bytes up to a NUL, which is consumed.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let len = self.rest.iter().position(|&b| b == 0)?;
        let text = self.take(len)?.rest;
        self.u8()?;
        Some(text)
    }

    /// A value in one of the `DW_EH_PE` formats, not yet applied to a base.
    pub fn value(&mut self, encoding: u8) -> Option<u64> {
        Some(match encoding & 0x0f {
            0x00 | 0x04 | 0x0c => self.u64()?,
            0x01 => self.uleb()?,
            0x02 => u64::from(self.u16()?),
            0x03 => u64::from(self.u32()?),
            0x09 => self.sleb()? as u64,
            0x0a => self.u16()? as i16 as u64,
            0x0b => self.u32()? as i32 as u64,
            _ => return None,
        })
    }

    /// An address in a `DW_EH_PE` encoding; relative ones count from the field itself or from
    /// `data_base`. Indirect addresses are not followed: no one needs them to unwind.
    pub fn pointer(&mut self, encoding: u8, data_base: usize) -> Option<usize> {
        let field = self.addr;
        let value = self.value(encoding)? as usize;
        let base = match encoding & 0xf0 {
            0x00 => 0,
            0x10 => field,
            0x30 => data_base,
            _ => return None,
        };
        Some(base.wrapping_add(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    impl Tables for [u8] {
        fn bytes_from(&self, addr: usize) -> Option<&[u8]> {
            self.get(addr..)
        }
    }

    impl Tables for Vec<u8> {
        fn bytes_from(&self, addr: usize) -> Option<&[u8]> {
            self.get(addr..)
        }
    }

    #[test]
    fn leb128() {
        let uleb = |b: &[u8]| Reader::at(&b.to_vec(), 0).unwrap().uleb();
        let sleb = |b: &[u8]| Reader::at(&b.to_vec(), 0).unwrap().sleb();
        assert_eq!(uleb(&[0xe5, 0x8e, 0x26]), Some(624485));
        assert_eq!(uleb(&[0xff; 9]), None);
        assert_eq!(
            uleb(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]),
            Some(1 << 63)
        );
        assert_eq!(
            uleb(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]),
            None
        );
        assert_eq!(
            uleb(&[
                0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0
            ]),
            Some(1)
        );
        assert_eq!(sleb(&[0xc0, 0xbb, 0x78]), Some(-123456));
        assert_eq!(sleb(&[0x7f]), Some(-1));
        assert_eq!(
            sleb(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            Some(-1)
        );
    }

    #[test]
    fn pointers() {
        let bytes = vec![0xfc, 0xff, 0xff, 0xff, 8, 0, 0, 0, 0, 0, 0, 0];
        let mut r = Reader {
            rest: &bytes,
            addr: 0x1000,
        };
        assert_eq!(r.pointer(0x1b, 0), Some(0xffc));
        assert_eq!(r.pointer(0x34, 0x2000), Some(0x2008));
        assert_eq!(r.pointer(0x00, 0), None);
        assert!(r.is_empty());
    }
}
