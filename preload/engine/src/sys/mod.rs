//! System calls as typed wrappers that bypass libc: no `errno`, no cancellation point, no
//! interposed symbol. Errors are positive errno numbers.

mod either;
mod file;
mod ids;
mod memory;
mod pages;
pub mod perf;
mod process;
mod signals;
mod spawn;
mod thread;
mod wait;
mod x86_64;

pub use either::{WaitWord, futex_wait_either, futex_wake_shared_at, keep_to_single_waits};
pub use file::{
    Stat, close, fallocate, fchmod, flock, fstat, ftruncate, getcwd, getdents, is_regular_file,
    mkdir, o, open, pread, pwrite, read, read_directory, readlink, unlink, write,
};
pub use ids::{geteuid, getpid, getppid, gettid, getuid, has_changed_ids};
pub use memory::{
    forbid_copying, madvise, map_anonymous, map_shared, memory_file, mmap, munmap, read_own_memory,
    read_own_pieces, readable_pages, write_own_memory, write_own_pieces,
};
pub use pages::{PageRange, mincore, page, scan_pages};
pub use process::{
    Usage, clock_may_be_read, exit_group, getrandom, getrlimit, getrusage, host_name, thread_exists,
};
pub use signals::{
    block_signals, forbid_blocking_signals, is_writable_now, on_alternate_stack, restore_signals,
    write_without_sigpipe,
};
pub use spawn::{STACK_BYTES, begin_copy, execveat, kill_child, reap, start_program};
pub use thread::{
    borrow_descriptor, can_fence_others, fence_others, keep_descriptor_table,
    leave_descriptor_table, robust_list, set_thread_name,
};
pub use wait::{clock, clock_ns, futex_wait, futex_wake, pause_ms, sched_yield, sleep_ms};
pub use x86_64::{call_on_stack, clone_thread, nr, syscall6, thread_pointer, ticks, vm_child};

/// A NUL-terminated path.
pub use core::ffi::CStr;

/// A positive errno number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

#[allow(missing_docs)]
impl Errno {
    pub const EPERM: Errno = Errno(1);
    pub const ENOENT: Errno = Errno(2);
    pub const ESRCH: Errno = Errno(3);
    pub const EINTR: Errno = Errno(4);
    pub const EAGAIN: Errno = Errno(11);
    pub const ENOMEM: Errno = Errno(12);
    pub const EACCES: Errno = Errno(13);
    pub const EFAULT: Errno = Errno(14);
    pub const ENXIO: Errno = Errno(6);
    pub const EEXIST: Errno = Errno(17);
    pub const ENODEV: Errno = Errno(19);
    pub const ENOTDIR: Errno = Errno(20);
    pub const EINVAL: Errno = Errno(22);
    pub const ENFILE: Errno = Errno(23);
    pub const EMFILE: Errno = Errno(24);
    pub const EFBIG: Errno = Errno(27);
    pub const ENOSPC: Errno = Errno(28);
    pub const EROFS: Errno = Errno(30);
    pub const ENAMETOOLONG: Errno = Errno(36);
    pub const ENOSYS: Errno = Errno(38);
    pub const ELOOP: Errno = Errno(40);
    pub const EOPNOTSUPP: Errno = Errno(95);
    pub const ETIMEDOUT: Errno = Errno(110);
    pub const EDQUOT: Errno = Errno(122);
}

/// Result of a system call.
pub type Result<T> = core::result::Result<T, Errno>;

#[inline(always)]
fn check(r: isize) -> Result<usize> {
    if (-4095..0).contains(&r) {
        Err(Errno(-r as i32))
    } else {
        Ok(r as usize)
    }
}
