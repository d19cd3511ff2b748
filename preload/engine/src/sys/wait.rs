//! Clocks, and waiting for a word to change.

use core::sync::atomic::AtomicU32;

use super::{Result, check, nr, syscall6};

/// Clocks.
#[allow(missing_docs)]
pub mod clock {
    pub const REALTIME: usize = 0;
    pub const MONOTONIC: usize = 1;
    pub const PROCESS_CPU: usize = 2;
    pub const THREAD_CPU: usize = 3;
}

/// Reads a clock, in nanoseconds; 0 if refused.
pub fn clock_ns(clock: usize) -> u64 {
    let mut ts = [0u64; 2];
    // SAFETY: the buffer holds a `struct timespec`.
    let r = unsafe {
        syscall6(
            nr::CLOCK_GETTIME,
            clock,
            ts.as_mut_ptr() as usize,
            0,
            0,
            0,
            0,
        )
    };
    if r < 0 {
        0
    } else {
        ts[0].wrapping_mul(1_000_000_000).wrapping_add(ts[1])
    }
}

/// Waits while `*word == expected`, at most `timeout_ns` (forever if `None`). `shared`: the word
/// may lie in memory shared between processes.
pub fn futex_wait(
    word: &AtomicU32,
    expected: u32,
    timeout_ns: Option<u64>,
    shared: bool,
) -> Result<()> {
    let ts = timeout_ns.map(|n| [n / 1_000_000_000, n % 1_000_000_000]);
    let p = ts.as_ref().map_or(0, |t| t.as_ptr() as usize);
    let op = if shared { 0 } else { 128 };
    // SAFETY: the word and the timeout outlive the call; the kernel only reads them.
    check(unsafe {
        syscall6(
            nr::FUTEX,
            word.as_ptr() as usize,
            op,
            expected as usize,
            p,
            0,
            0,
        )
    })
    .map(drop)
}

/// Wakes up to `count` waiters.
pub fn futex_wake(word: &AtomicU32, count: u32, shared: bool) {
    let op = if shared { 1 } else { 129 };
    // SAFETY: the word is only used as an address.
    unsafe {
        syscall6(
            nr::FUTEX,
            word.as_ptr() as usize,
            op,
            count as usize,
            0,
            0,
            0,
        )
    };
}

/// Waits for some milliseconds; less if a signal comes.
pub fn pause_ms(ms: u64) {
    let word = AtomicU32::new(0);
    let _ = futex_wait(&word, 0, Some(ms * 1_000_000), false);
}

/// Gives up the processor.
pub fn sched_yield() {
    // SAFETY: no arguments.
    unsafe { syscall6(nr::SCHED_YIELD, 0, 0, 0, 0, 0, 0) };
}

/// Sleeps.
pub fn sleep_ms(ms: u32) {
    let time = [u64::from(ms / 1_000), u64::from(ms % 1_000) * 1_000_000];
    // SAFETY: a whole `struct timespec`; the remainder is not asked for.
    unsafe { syscall6(nr::NANOSLEEP, time.as_ptr().addr(), 0, 0, 0, 0, 0) };
}
