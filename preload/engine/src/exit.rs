//! Owns the end of the process: the final snapshot at `exit`, `_exit` and before `exec`.
//!
//! There are no signal handlers: after a crash the last periodic snapshot stands.

use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::hooks::real::original;
use crate::snapshot::{self, Reason};
use crate::{allocator, guard, helper, hooks, lifecycle, state, sys, tls};

/// `exit`: the first handler to be registered and so the last to run, after all destructors.
pub extern "C" fn at_exit(_: *mut c_void, status: i32) {
    finish(Reason::Exit {
        status: status & 0xff,
    });
}

/// Has a last snapshot taken. Not from within a hook (a signal handler that calls `_exit`): then
/// our data are in use and the last periodic state stands.
fn finish(reason: Reason) {
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    let t = unsafe { &*tls::local() };
    let phase = guard::phase_here(t);
    if phase == guard::OURS || !lifecycle::is_recording() {
        return;
    }
    // A filter may forbid the question who we are; what forks under one is announced.
    if guard::QUIET.load(Relaxed) == 0 && !state::in_recorded_process() {
        return;
    }
    guard::enter(t, guard::OURS, usize::MAX);
    if phase == guard::IDLE
        && lifecycle::has_recording()
        && matches!(reason, Reason::Exit { .. })
        && let Some(stats) = allocator::stats()
    {
        snapshot::set_allocator_stats(stats);
    }
    helper::snapshot_now(reason);
    guard::turn(t, phase);
}

/// `_exit` and its kin.
///
/// # Safety
/// `slot` holds a function that takes the status and does not return.
pub unsafe fn fast_exit(slot: &'static AtomicUsize, status: i32) -> ! {
    type F = unsafe extern "C" fn(i32) -> !;
    if hooks::ready() && slot.load(Relaxed) != 0 {
        finish(Reason::FastExit {
            status: status & 0xff,
        });
        // SAFETY: promised by the caller.
        unsafe { original::<F>(slot)(status) }
    }
    loop {
        sys::exit_group(status);
    }
}

/// Before any `exec`: if it succeeds, nothing of this image runs any more. A child by `vfork`, which
/// shares our memory, is another process and changes nothing.
pub extern "C" fn before_exec() {
    if hooks::ready() {
        finish(Reason::Exec);
    }
}
