//! Signal masks and stacks, and writing without raising a signal.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{Errno, nr, syscall6, write};

/// True if the calling thread runs on its alternate signal stack.
pub fn on_alternate_stack() -> bool {
    let mut old = [0usize; 3];
    // SAFETY: the buffer holds a `stack_t`; nothing is changed.
    let r = unsafe { syscall6(nr::SIGALTSTACK, 0, old.as_mut_ptr() as usize, 0, 0, 0, 0) };
    r == 0 && old[1] as u32 & 1 != 0
}

/// Set when `rt_sigprocmask` must not be called (seccomp).
static KEEP_SIGNALS: AtomicBool = AtomicBool::new(false);

/// Forbids or allows [`block_signals`] to call the kernel.
pub fn forbid_blocking_signals(forbid: bool) {
    KEEP_SIGNALS.store(forbid, Ordering::Relaxed);
}

/// Blocks every signal for the calling thread; returns the mask to restore.
pub fn block_signals() -> Option<u64> {
    if KEEP_SIGNALS.load(Ordering::Relaxed) {
        return None;
    }
    let (all, mut old) = (u64::MAX, 0u64);
    // SAFETY: both masks are 8 bytes long, as told. 2 is SIG_SETMASK.
    let r = unsafe {
        syscall6(
            nr::RT_SIGPROCMASK,
            2,
            &raw const all as usize,
            &raw mut old as usize,
            8,
            0,
            0,
        )
    };
    (r == 0).then_some(old)
}

/// Restores the mask that [`block_signals`] returned.
pub fn restore_signals(mask: Option<u64>) {
    if let Some(mask) = mask {
        // SAFETY: the mask is 8 bytes long, as told.
        unsafe { syscall6(nr::RT_SIGPROCMASK, 2, &raw const mask as usize, 0, 8, 0, 0) };
    }
}

/// True if a short write would not wait.
pub fn is_writable_now(fd: i32) -> bool {
    const POLLOUT: u64 = 4;
    let mut poll: u64 = u64::from(fd as u32) | POLLOUT << 32; // struct pollfd
    // SAFETY: one `struct pollfd`; no waiting.
    let ready = unsafe { syscall6(nr::POLL, &raw mut poll as usize, 1, 0, 0, 0, 0) };
    ready == 1 && (poll >> 48) & POLLOUT != 0
}

/// Writes once. A reader that is gone is an error, not a signal.
pub fn write_without_sigpipe(fd: i32, bytes: &[u8]) {
    const SIGPIPE: u64 = 1 << 12;
    const SIGXFSZ: u64 = 1 << 24;
    const EPIPE: Errno = Errno(32);
    const EFBIG: Errno = Errno(27);
    let pending = || {
        let mut set = 0u64;
        // SAFETY: the mask is 8 bytes long, as told.
        unsafe { syscall6(nr::RT_SIGPENDING, &raw mut set as usize, 8, 0, 0, 0, 0) };
        set
    };
    let Some(mask) = block_signals() else { return };
    let before = pending();
    let raised = match write(fd, bytes) {
        Err(EPIPE) => SIGPIPE,
        Err(EFBIG) => SIGXFSZ,
        _ => 0,
    };
    if raised & !before != 0 {
        let (set, zero) = (raised, [0u64; 2]);
        // SAFETY: the mask is 8 bytes long, as told; the time is zero: no waiting.
        unsafe {
            syscall6(
                nr::RT_SIGTIMEDWAIT,
                &raw const set as usize,
                0,
                zero.as_ptr() as usize,
                8,
                0,
                0,
            );
        }
    }
    restore_signals(Some(mask));
}
