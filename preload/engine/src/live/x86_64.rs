//! The x86-64 instructions that the live table is built on: starting to fetch a cache line, and
//! comparing eight short words at once. A port writes the twin of this file.

use core::arch::x86_64::{
    __m128i, _MM_HINT_T0, _mm_and_si128, _mm_andnot_si128, _mm_cmpeq_epi16, _mm_extract_epi16,
    _mm_insert_epi16, _mm_movemask_epi8, _mm_or_si128, _mm_prefetch, _mm_set1_epi16,
};

/// Starts fetching the line at `p`; does nothing if `p` is unmapped.
#[inline(always)]
pub(crate) fn line(p: *const u8) {
    // SAFETY: every x86-64 processor has SSE, and prefetching any address is harmless.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(p as *const i8) }
}

/// Eight words of 16 bits, read and written in one instruction. The first six are keys, 0 where
/// there is none; the seventh is a count.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(in crate::live) struct Lanes(__m128i);

/// Which lanes hold something: two bits each, from the lowest up.
#[derive(Clone, Copy)]
pub(in crate::live) struct Found(u32);

const COUNT_LANE: i32 = 6;

/// All ones in one lane each.
#[repr(align(16))]
struct Masks([[u16; 8]; 6]);

static ONE_LANE: Masks = Masks([
    [u16::MAX, 0, 0, 0, 0, 0, 0, 0],
    [0, u16::MAX, 0, 0, 0, 0, 0, 0],
    [0, 0, u16::MAX, 0, 0, 0, 0, 0],
    [0, 0, 0, u16::MAX, 0, 0, 0, 0],
    [0, 0, 0, 0, u16::MAX, 0, 0, 0],
    [0, 0, 0, 0, 0, u16::MAX, 0, 0],
]);

impl Found {
    const KEYS: u32 = 0xfff;

    /// One of the keys.
    #[inline(always)]
    pub fn any_key(self) -> bool {
        self.0 & Self::KEYS != 0
    }

    /// The lowest lane found; in any case one below six.
    #[inline(always)]
    pub fn lane(self) -> usize {
        const LAST: u32 = 1 << 10;
        ((self.0 | LAST).trailing_zeros() / 2) as usize
    }

    /// The count, and one of the keys as well.
    #[inline(always)]
    pub fn count_and_any_key(self) -> bool {
        const COUNT: u32 = 1 << (2 * COUNT_LANE);
        const { assert!(COUNT > Self::KEYS) };
        self.0 & (COUNT | Self::KEYS) > COUNT
    }
}

impl Lanes {
    /// The lanes that hold `word`.
    #[inline(always)]
    pub fn find(self, word: u16) -> Found {
        // SAFETY: every x86-64 processor has SSE2.
        Found(unsafe {
            _mm_movemask_epi8(_mm_cmpeq_epi16(self.0, _mm_set1_epi16(word as i16))) as u32
        })
    }

    /// With a key in a lane that has none.
    ///
    /// # Safety
    /// The lane is below six.
    #[inline(always)]
    pub unsafe fn with(self, lane: usize, key: u16) -> Lanes {
        // SAFETY: as above; the lane is passed on.
        Lanes(unsafe {
            _mm_or_si128(
                self.0,
                _mm_and_si128(_mm_set1_epi16(key as i16), Self::one(lane)),
            )
        })
    }

    /// Without the key of a lane.
    ///
    /// # Safety
    /// The lane is below six.
    #[inline(always)]
    pub unsafe fn without(self, lane: usize) -> Lanes {
        // SAFETY: as above; the lane is passed on.
        Lanes(unsafe { _mm_andnot_si128(Self::one(lane), self.0) })
    }

    /// The count.
    #[inline(always)]
    pub fn count(self) -> u16 {
        // SAFETY: as above.
        unsafe { _mm_extract_epi16::<COUNT_LANE>(self.0) as u16 }
    }

    /// With another count.
    #[inline(always)]
    pub fn with_count(self, count: u16) -> Lanes {
        // SAFETY: as above.
        Lanes(unsafe { _mm_insert_epi16::<COUNT_LANE>(self.0, i32::from(count)) })
    }

    /// The words.
    pub fn words(self) -> [u16; 8] {
        // SAFETY: both are 16 bytes without padding.
        unsafe { core::mem::transmute(self.0) }
    }

    /// # Safety
    /// The lane is below six.
    #[inline(always)]
    unsafe fn one(lane: usize) -> __m128i {
        debug_assert!(lane < 6);
        let masks = (&raw const ONE_LANE.0).cast::<__m128i>();
        // SAFETY: six aligned vectors, and the caller's promise.
        unsafe { masks.add(lane).read() }
    }
}
