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
    let quiet = guard::QUIET.load(Relaxed) != 0;
    guard::enter(t, guard::OURS, usize::MAX);
    if !quiet {
        lifecycle::activate();
        snapshot::secure(RESERVE_BYTES);
    }
    let ran = helper::begin_confining();
    guard::leave(t);
    let r = real();
    // Under a filter no new helper may be made: it would be bound by it.
    if helper::end_confining() && ran && !quiet && !helper::start() {
        lifecycle::without_helper();
    }
    r
}

/// What the flags of a seccomp call mean for us.
#[derive(Clone, Copy)]
pub struct Filter {
    /// It binds all threads of the process (`SECCOMP_FILTER_FLAG_TSYNC`).
    pub all_threads: bool,
    /// It returns a descriptor (`SECCOMP_FILTER_FLAG_NEW_LISTENER`).
    pub listener: bool,
}

/// Runs a call that installs a seccomp filter.
///
/// A filter on this thread leaves the helper free; hooks then make no system call that a filter
/// might answer by killing the process. A filter on all threads ends the helper for good: what it
/// did until then is in the recording, and counting in memory goes on.
pub fn around_seccomp(filter: Filter, real: impl FnOnce() -> isize) -> isize {
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    let t = unsafe { &*tls::local() };
    if !is_ours(t) {
        return real();
    }
    let was_quiet = guard::QUIET.load(Relaxed) != 0;
    guard::enter(t, guard::OURS, usize::MAX);
    if !was_quiet {
        lifecycle::activate();
        snapshot::secure(RESERVE_BYTES);
        // Room for what the hooks will need: they will not ask the kernel for more.
        arena::prefill();
        if filter.all_threads {
            snapshot::note_confined();
        }
    }
    let ran = filter.all_threads && helper::stop();
    quiet(true);
    guard::leave(t);
    let r = real();
    // With TSYNC the kernel names a thread that could not follow by a positive number.
    let failed = r < 0 || (r > 0 && !filter.listener);
    if failed && !was_quiet {
        quiet(false);
        if ran {
            helper::start();
        }
    }
    r
}

/// True if the call changes the recorded process: not a nested one, nor that of a child by vfork,
/// whose memory is the parent's (under a filter that question may not be asked).
fn is_ours(t: &tls::Local) -> bool {
    lifecycle::is_recording()
        && guard::phase_here(t) == guard::IDLE
        && (guard::QUIET.load(Relaxed) != 0 || state::in_recorded_process())
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
