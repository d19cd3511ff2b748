//! Owns the hash by which a file without build-id is known again.

/// Takes in the content of a file; 128-bit FNV-1a, folded to 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct ContentHash(u128);

impl Default for ContentHash {
    fn default() -> Self {
        ContentHash(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl ContentHash {
    /// Takes in what comes next.
    pub fn add(&mut self, bytes: &[u8]) {
        let mut hash = self.0;
        for byte in bytes {
            hash =
                (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        self.0 = hash;
    }

    /// The hash of all that was taken in.
    pub fn finish(self) -> u64 {
        (self.0 >> 64) as u64 ^ self.0 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_pieces_as_in_one() {
        let mut whole = ContentHash::default();
        whole.add(b"abcdef");
        let mut pieces = ContentHash::default();
        pieces.add(b"ab");
        pieces.add(b"");
        pieces.add(b"cdef");
        assert_eq!(pieces.finish(), whole.finish());
        // The published 128-bit hash of "a", folded.
        let mut a = ContentHash::default();
        a.add(b"a");
        let known = 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964_u128;
        assert_eq!(a.finish(), (known >> 64) as u64 ^ known as u64);
    }
}
