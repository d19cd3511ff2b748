//! The x86-64 instruction that starts fetching a cache line. A port writes the twin of this file.

use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Starts fetching the line at `p`; does nothing if `p` is unmapped.
#[inline(always)]
pub(in crate::live) fn line(p: *const u8) {
    // SAFETY: every x86-64 processor has SSE, and prefetching any address is harmless.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(p as *const i8) }
}
