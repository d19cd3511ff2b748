//! Owns what is done when the process confines itself: drops privileges, changes its root or
//! namespaces, installs a seccomp filter.
//!
//! The helper would keep the old credentials and keeps a process from counting as single-threaded,
//! so it ends before and starts again after. The recording is created and room in it reserved
//! before, since paths may not lead anywhere afterwards.

use core::sync::atomic::Ordering::Relaxed;

use crate::{arena, guard, helper, lifecycle, lock, permit, snapshot, state, sys, tls, unwind};

/// Room reserved in the recording before its path may become unreachable.
const RESERVE_BYTES: u64 = 4 << 20;

/// Runs a call that changes credentials or the view of the file system.
pub fn around(real: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    let t = unsafe { &*tls::local() };
    if !is_ours(t) {
        return real();
    }
    guard::enter(t, guard::OURS, usize::MAX);
    lifecycle::activate();
    snapshot::secure(RESERVE_BYTES);
    let ran = helper::stop();
    guard::leave(t);
    let r = real();
    if ran {
        helper::start();
    }
    r
}

/// Runs a call that installs a seccomp filter, on this thread or (`all_threads`) on all.
///
/// A filter on this thread leaves the helper free; hooks then make no system call that a filter
/// might answer by killing the process. A filter on all threads ends the helper for good: what it
/// did until then is in the recording, and counting in memory goes on.
pub fn around_seccomp(all_threads: bool, real: impl FnOnce() -> isize) -> isize {
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    let t = unsafe { &*tls::local() };
    if !is_ours(t) {
        return real();
    }
    guard::enter(t, guard::OURS, usize::MAX);
    lifecycle::activate();
    snapshot::secure(RESERVE_BYTES);
    // Room for what the hooks will need: they will not ask the kernel for more.
    arena::prefill();
    let ran = all_threads && helper::stop();
    if ran {
        snapshot::note_confined();
    }
    quiet(true);
    guard::leave(t);
    let r = real();
    if r != 0 {
        quiet(false);
        if ran {
            helper::start();
        }
    }
    r
}

/// True if the call changes the recorded process: not a nested one, not that of a child by vfork
/// (whose memory is the parent's), and not one under a filter that already keeps us quiet.
fn is_ours(t: &tls::Local) -> bool {
    lifecycle::is_recording()
        && t.phase.load(Relaxed) == guard::IDLE
        && guard::QUIET.load(Relaxed) == 0
        && state::in_recorded_process()
}

/// Stops, or allows again, system calls from hooks.
fn quiet(on: bool) {
    guard::QUIET.store(u32::from(on), Relaxed);
    lock::set_spin_only(on);
    arena::forbid_mmap(on);
    unwind::forbid_probe(on);
    sys::forbid_blocking_signals(on);
    if !helper::is_running() {
        permit::set_open(!on);
        permit::set_copy_memory(!on);
    }
}
