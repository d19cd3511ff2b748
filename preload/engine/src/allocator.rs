//! Owns the allocator's own account of itself (glibc: `mallinfo2`).
//!
//! `mallinfo2` walks the free lists under each arena's lock, which took 203 ms with a million free
//! chunks: it is asked only at the very end, and never from a hook or the helper.

use core::sync::atomic::Ordering::Relaxed;

use leaktrack_recording::AllocatorStats;

use crate::hooks::{self, real::ORIGINALS};
use crate::loader;

/// `struct mallinfo2`.
#[repr(C)]
struct Mallinfo2 {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

/// The figures, if the allocator is glibc's and can tell (2.33 and later).
///
/// The calling thread must not be inside the allocator.
pub fn stats() -> Option<AllocatorStats> {
    type F = unsafe extern "C" fn() -> Mallinfo2;
    let addr = loader::resolve_libc(b"mallinfo2")?;
    // Another allocator's process still has glibc's function, which then speaks of an empty heap.
    if !hooks::in_allocator(addr) || ORIGINALS.malloc.load(Relaxed) == 0 {
        return None;
    }
    // SAFETY: this is glibc's `mallinfo2`.
    let info = unsafe { core::mem::transmute::<usize, F>(addr)() };
    Some(AllocatorStats {
        held_bytes: (info.arena + info.hblkhd) as u64,
        free_bytes: info.fordblks as u64,
        releasable_bytes: info.keepcost as u64,
    })
}
