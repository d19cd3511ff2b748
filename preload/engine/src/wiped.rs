//! Owns the page that the kernel empties in every copy of the process (`MADV_WIPEONFORK`), whether
//! it was made by `fork` or behind its back (`syscall(SYS_fork)`, a raw `clone`, `_Fork`).
//!
//! The hooks' fast path reads its flag from there: in a copy it finds zero and takes the slow path,
//! which sees that the mark is gone, too. So nothing is asked on the fast path that was not asked
//! anyway. Before Linux 4.14 nothing is emptied, and only an announced `fork` is noticed.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::sys;

const PAGE_BYTES: usize = 4096;
const MADV_WIPEONFORK: i32 = 18;

#[repr(C, align(4096))]
struct Page {
    /// Calls are recorded and nothing else is due in a hook.
    fast: AtomicBool,
    /// 1 once this very process has been noticed.
    mark: AtomicU32,
    rest: [u8; PAGE_BYTES - 8],
}

static PAGE: Page = Page {
    fast: AtomicBool::new(false),
    mark: AtomicU32::new(0),
    rest: [0; PAGE_BYTES - 8],
};
/// The kernel empties the page.
static WORKS: AtomicBool = AtomicBool::new(false);

/// Has the page emptied in copies from now on.
pub fn init() {
    let page = (&raw const PAGE).cast_mut().cast();
    PAGE.mark.store(1, Ordering::Relaxed);
    // SAFETY: the page is whole and ours; what it holds is meant to be lost in copies.
    let works = unsafe { sys::madvise(page, PAGE_BYTES, MADV_WIPEONFORK) }.is_ok();
    WORKS.store(works, Ordering::Relaxed);
}

/// True while calls are recorded and nothing else is due.
#[inline(always)]
pub fn fast() -> bool {
    PAGE.fast.load(Ordering::Relaxed)
}

/// Sets [`fast`].
pub fn set_fast(on: bool) {
    PAGE.fast.store(on, Ordering::Relaxed);
}

/// True if copies are noticed.
pub fn works() -> bool {
    WORKS.load(Ordering::Relaxed)
}

/// True in a copy that has not been noticed yet.
pub fn is_new_copy() -> bool {
    works() && PAGE.mark.load(Ordering::Relaxed) == 0
}

/// Takes it on oneself to make a new copy's state its own; true for one caller.
pub fn claim() -> bool {
    // Acquire and release pair with each other: whoever comes second sees what the first did before.
    PAGE.mark
        .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}
