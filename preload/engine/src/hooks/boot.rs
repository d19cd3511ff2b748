//! Owns the few kilobytes that serve allocations made while the originals are being looked up.
//!
//! Such memory is never given back: `free` ignores it, `realloc` copies out of it.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const BYTES: usize = 64 << 10;
/// Room for the block's size in front of it, keeping its alignment.
const HEADER: usize = 16;

#[repr(align(64))]
struct Memory(UnsafeCell<[u8; BYTES]>);

// SAFETY: pieces are handed out once each, by an atomic bump.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; BYTES]));
static USED: AtomicUsize = AtomicUsize::new(0);

/// Zeroed memory, or null when the buffer is used up.
pub fn alloc(size: usize, align: usize) -> *mut u8 {
    let align = align.max(HEADER);
    if size > BYTES || align > 4096 {
        return core::ptr::null_mut();
    }
    let base = MEMORY.0.get().addr();
    let mut at = 0;
    let claim = USED.fetch_update(Relaxed, Relaxed, |used| {
        at = (base + used + HEADER).next_multiple_of(align) - base;
        (at + size <= BYTES).then_some(at + size)
    });
    if claim.is_err() {
        return core::ptr::null_mut();
    }
    // SAFETY: `at - HEADER .. at + size` lies inside the buffer and was claimed by this call alone.
    unsafe {
        let p = MEMORY.0.get().cast::<u8>().add(at);
        p.sub(HEADER).cast::<usize>().write(size);
        p
    }
}

/// First address and one past the last.
pub fn memory() -> (usize, usize) {
    let start = MEMORY.0.get().addr();
    (start, start + BYTES)
}

/// The addresses of the buffer.
pub fn range() -> core::ops::Range<usize> {
    let base = MEMORY.0.get().addr();
    base..base + BYTES
}

/// The size of a block of ours; `None` for any other pointer.
#[inline]
pub fn size_of_block(p: *const u8) -> Option<usize> {
    let at = p.addr().wrapping_sub(MEMORY.0.get().addr());
    if !(HEADER..BYTES).contains(&at) {
        return None;
    }
    // SAFETY: every pointer into the buffer that the host holds came from `alloc`, which wrote the
    // size in front of it.
    Some(unsafe { p.sub(HEADER).cast::<usize>().read() })
}
