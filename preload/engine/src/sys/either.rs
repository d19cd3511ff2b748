//! Waiting on two words at once, of which one may lie in a mapping that only the kernel may touch.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{Errno, Result, check, clock, nr, syscall6};

static SINGLE_WAITS: AtomicBool = AtomicBool::new(false);

/// Makes [`futex_wait_either`] fail without asking: a seccomp filter would kill.
pub fn keep_to_single_waits() {
    SINGLE_WAITS.store(true, Ordering::Relaxed);
}

/// A word to wait on, named by its address.
#[derive(Clone, Copy, Debug)]
pub struct WaitWord {
    /// Its address.
    pub address: usize,
    /// Wait while it holds this.
    pub expected: u32,
    /// It is shared with other processes.
    pub shared: bool,
}

/// `struct futex_waitv`.
#[repr(C)]
struct Waiter {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// Waits until one of two words is woken or does not hold what is expected, or until `deadline_ns`
/// of `CLOCK_MONOTONIC`. An error before Linux 5.16, and where a word's page cannot be had.
pub fn futex_wait_either(words: [WaitWord; 2], deadline_ns: u64) -> Result<()> {
    const SIZE_U32: u32 = 2;
    const PRIVATE: u32 = 128;
    if SINGLE_WAITS.load(Ordering::Relaxed) {
        return Err(Errno::ENOSYS);
    }
    let waiters = words.map(|word| Waiter {
        value: word.expected.into(),
        address: word.address as u64,
        flags: if word.shared {
            SIZE_U32
        } else {
            SIZE_U32 | PRIVATE
        },
        reserved: 0,
    });
    let deadline = [deadline_ns / 1_000_000_000, deadline_ns % 1_000_000_000];
    // SAFETY: the array and the deadline outlive the call; of the words the kernel takes care.
    check(unsafe {
        syscall6(
            nr::FUTEX_WAITV,
            waiters.as_ptr() as usize,
            waiters.len(),
            0,
            deadline.as_ptr() as usize,
            clock::MONOTONIC,
            0,
        )
    })
    .map(drop)
}

/// Wakes whoever waits on a word shared with other processes, which only the kernel may touch.
pub fn futex_wake_shared_at(address: usize) {
    // SAFETY: the kernel checks the address.
    unsafe { syscall6(nr::FUTEX, address, 1, i32::MAX as usize, 0, 0, 0) };
}
