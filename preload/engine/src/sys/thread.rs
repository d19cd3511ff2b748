//! What the helper does to itself (its name, its descriptor table) and asks about other threads.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{CStr, Result, check, nr, syscall6};

/// Names the calling thread, as `ps -L` and debuggers show it.
pub fn set_thread_name(name: &CStr) {
    const PR_SET_NAME: usize = 15;
    // SAFETY: the name is NUL-terminated and only read.
    unsafe { syscall6(nr::PRCTL, PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0, 0) };
}

/// `MEMBARRIER_CMD_PRIVATE_EXPEDITED` and its registration: Linux 4.14.
const FENCE_OTHERS: usize = 1 << 3;
const REGISTER: usize = 1 << 4;

/// Prepares for [`fence_others`]; false where the kernel has no such thing.
pub fn can_fence_others() -> bool {
    // SAFETY: concerns this process's bookkeeping only.
    unsafe { syscall6(nr::MEMBARRIER, REGISTER, 0, 0, 0, 0, 0) == 0 }
}

/// Has every thread of this process that is running pass a full memory barrier. False: it did not.
pub fn fence_others() -> bool {
    // SAFETY: no memory is touched.
    unsafe { syscall6(nr::MEMBARRIER, FENCE_OTHERS, 0, 0, 0, 0, 0) == 0 }
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

/// Takes a copy of a descriptor of the process's first thread into the calling thread's own table.
/// The caller closes it. The kernel has this since 5.6.
pub fn borrow_descriptor(fd: i32) -> super::Result<i32> {
    // SAFETY: neither call touches memory.
    unsafe {
        let pid = super::getpid() as usize;
        let process = super::check(syscall6(nr::PIDFD_OPEN, pid, 0, 0, 0, 0, 0))?;
        let copy = syscall6(nr::PIDFD_GETFD, process, fd as usize, 0, 0, 0, 0);
        super::close(process as i32);
        super::check(copy).map(|fd| fd as i32)
    }
}

/// Where a thread of this process keeps its list of robust locks, as it told the kernel; 0: the
/// calling thread.
pub fn robust_list(tid: u32) -> Result<usize> {
    let (mut head, mut len) = (0usize, 0usize);
    // SAFETY: the kernel writes the two words.
    check(unsafe {
        syscall6(
            nr::GET_ROBUST_LIST,
            tid as usize,
            &raw mut head as usize,
            &raw mut len as usize,
            0,
            0,
            0,
        )
    })?;
    Ok(head)
}
