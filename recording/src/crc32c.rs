//! Owns the checksum: CRC-32C (Castagnoli), reflected polynomial `0x82f63b78`, initial value and
//! final exclusive-or all ones, as in iSCSI and ext4.
//!
//! Tables only, eight bytes a step: the instruction would need `unsafe`.

/// The checksum of `bytes`.
///
/// ```
/// assert_eq!(leaktrack_recording::crc32c(b"123456789"), 0xe306_9283);
/// ```
pub fn crc32c(bytes: &[u8]) -> u32 {
    Crc32c::new().update(bytes).finish()
}

/// A checksum over bytes that arrive in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Crc32c(u32);

impl Crc32c {
    /// The checksum of nothing.
    pub const fn new() -> Self {
        Crc32c(!0)
    }

    /// Appends `bytes`.
    #[must_use]
    pub fn update(self, bytes: &[u8]) -> Self {
        let mut state = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let [a, b, c, d, e, f, g, h] = *word;
            let [i, j, k, l] = (state ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes();
            state = look(7, i)
                ^ look(6, j)
                ^ look(5, k)
                ^ look(4, l)
                ^ look(3, e)
                ^ look(2, f)
                ^ look(1, g)
                ^ look(0, h);
        }
        for &byte in rest {
            let [low, ..] = state.to_le_bytes();
            state = look(0, low ^ byte) ^ (state >> 8);
        }
        Crc32c(state)
    }

    /// The checksum of all that was appended.
    pub const fn finish(self) -> u32 {
        !self.0
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

/// What `byte`, followed by `zeros` zero bytes, does to the state.
#[expect(
    clippy::indexing_slicing,
    reason = "callers pass 0 to 7, and a byte cannot exceed 255"
)]
#[inline(always)]
fn look(zeros: usize, byte: u8) -> u32 {
    TABLES[zeros][byte as usize]
}

static TABLES: [[u32; 256]; 8] = tables();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler, where a mistake is an error"
)]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut state = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            state = (state >> 1) ^ (0x82f6_3b78 & (state & 1).wrapping_neg());
            bit += 1;
        }
        tables[0][byte] = state;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let state = tables[zeros - 1][byte];
            tables[zeros][byte] = tables[0][(state & 0xff) as usize] ^ (state >> 8);
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, one bit at a time.
    fn slow(bytes: &[u8]) -> u32 {
        let mut state = !0u32;
        for &byte in bytes {
            state ^= u32::from(byte);
            for _ in 0..8 {
                state = (state >> 1) ^ if state & 1 == 1 { 0x82f6_3b78 } else { 0 };
            }
        }
        !state
    }

    #[test]
    fn matches_the_vectors_of_rfc_3720() {
        assert_eq!(crc32c(&[]), 0);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let ascending: [u8; 32] = core::array::from_fn(|i| i as u8);
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
    }

    #[test]
    fn matches_the_definition_at_every_length_and_split() {
        let bytes: [u8; 41] = core::array::from_fn(|i| (i * 37 + 11) as u8);
        for len in 0..=bytes.len() {
            let all = &bytes[..len];
            assert_eq!(crc32c(all), slow(all));
            for cut in 0..=len {
                let (head, tail) = all.split_at(cut);
                assert_eq!(Crc32c::new().update(head).update(tail).finish(), slow(all));
            }
        }
    }
}
