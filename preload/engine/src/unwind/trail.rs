//! Owns the frames collected so far and their hash.

use super::MAX_DEPTH;

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At the outermost frame.
    Complete,
    /// At the depth asked for; there are more frames.
    Cut,
    /// Where no rule was found, or one that led nowhere.
    Broken,
    /// At a frame that needs all registers: to be walked again by [`super::general`].
    General,
}

/// Which frames hold an exact pc instead of a return address: one bit each, innermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExactMask([u64; MAX_DEPTH / 64]);

impl ExactMask {
    /// True if the pc of this frame is the instruction itself.
    pub fn get(&self, frame: usize) -> bool {
        self.0
            .get(frame / 64)
            .is_some_and(|bits| bits >> (frame % 64) & 1 == 1)
    }

    fn set(&mut self, frame: usize) {
        if let Some(bits) = self.0.get_mut(frame / 64) {
            *bits |= 1 << (frame % 64);
        }
    }
}

/// Collects frames, innermost first.
#[derive(Clone, Copy)]
pub struct Trail {
    pcs: *mut usize,
    depth: usize,
    /// Frames so far, at most `depth`.
    pub len: usize,
    /// Over the pcs so far, in order.
    pub hash: u64,
    /// Which of them are exact.
    pub exact: ExactMask,
}

impl Trail {
    /// Collects up to `depth` frames.
    ///
    /// # Safety
    /// `pcs` has room for `depth` words, which only the trail uses.
    #[inline(always)]
    pub unsafe fn new(pcs: *mut usize, depth: usize, seed: u64) -> Trail {
        Trail {
            pcs,
            depth,
            len: 0,
            hash: seed,
            exact: ExactMask::default(),
        }
    }

    /// No further frame is wanted.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.len >= self.depth
    }

    /// Adds a return address; false if there is no room.
    #[inline(always)]
    pub fn push(&mut self, pc: usize) -> bool {
        if self.is_full() {
            return false;
        }
        // SAFETY: below `depth`, for which there is room.
        unsafe { self.pcs.add(self.len).write(pc) };
        self.len += 1;
        self.mix(pc as u64);
        true
    }

    /// Marks the frame added last as exact.
    #[cold]
    pub fn mark_exact(&mut self) {
        self.exact.set(self.len.wrapping_sub(1));
        self.mix(1 << 63);
    }

    #[inline(always)]
    fn mix(&mut self, word: u64) {
        self.hash = mix(self.hash, word);
    }
}

/// Where the hash of a stack begins.
#[inline(always)]
pub fn seed(generation: u32) -> u64 {
    (u64::from(generation) + 1).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// One step of a hash. It takes in every bit of the word and loses none of what was before.
#[inline(always)]
pub fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Spreads what a hash holds over all its bits.
#[inline(always)]
pub fn finish(hash: u64, cut: bool) -> u64 {
    let hash = (hash ^ hash >> 32 ^ u64::from(cut)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash >> 32
}

/// True for what can be an address of code: neither in the first page nor in the kernel's half.
#[inline(always)]
pub fn is_plausible(pc: usize) -> bool {
    const FIRST: usize = 4096;
    const END: usize = 1 << 47;
    pc.wrapping_sub(FIRST) < END - FIRST
}
