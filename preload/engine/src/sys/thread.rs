//! What only the helper does to itself: its name, its descriptor table.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{CStr, nr, syscall6};

/// Names the calling thread, as `ps -L` and debuggers show it.
pub fn set_thread_name(name: &CStr) {
    const PR_SET_NAME: usize = 15;
    // SAFETY: the name is NUL-terminated and only read.
    unsafe { syscall6(nr::PRCTL, PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0, 0) };
}

static KEEP_DESCRIPTORS: AtomicBool = AtomicBool::new(false);

/// Makes [`leave_descriptor_table`] do nothing: a seccomp filter would kill.
pub fn keep_descriptor_table() {
    KEEP_DESCRIPTORS.store(true, Ordering::Relaxed);
}

/// Gives the calling thread an empty descriptor table of its own: what it opens never takes a
/// number in the table of the others, and the others' files are not shared with it. False where
/// the kernel cannot (before 5.9): then the table stays shared.
pub fn leave_descriptor_table() -> bool {
    if KEEP_DESCRIPTORS.load(Ordering::Relaxed) {
        return false;
    }
    const CLOSE_RANGE_UNSHARE: usize = 2;
    // SAFETY: concerns this thread's descriptors only, of which it has none.
    unsafe {
        syscall6(
            nr::CLOSE_RANGE,
            0,
            u32::MAX as usize,
            CLOSE_RANGE_UNSHARE,
            0,
            0,
            0,
        ) == 0
    }
}
