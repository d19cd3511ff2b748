//! Owns the end of the process: the final snapshot at `exit`, `_exit` and before `exec`.
//!
//! There are no signal handlers: after a crash the last periodic snapshot stands.
//!
//! What holds the last pointers to blocks is to be seen as it is when the program calls: the
//! entries keep the registers and the stack pointer of that moment.

mod x86_64;

pub use x86_64::{at_exit, exit_now, exit_now_c99, quick_exit};

use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::hooks::real::{ORIGINALS, original};
use crate::scan::{Caller, Registers};
use crate::snapshot::{self, Reason};
use crate::{allocator, guard, helper, hooks, lifecycle, state, sys, tls};

extern "C" fn at_exit_with(_: *mut c_void, status: i32, registers: &Registers) {
    let status = status & 0xff;
    finish(Reason::Exit { status }, Some(registers));
}

extern "C" fn exit_now_with(_: *mut c_void, status: i32, registers: &Registers) {
    fast_exit(&ORIGINALS.exit_now, status, registers)
}

extern "C" fn exit_now_c99_with(_: *mut c_void, status: i32, registers: &Registers) {
    fast_exit(&ORIGINALS.exit_now_c99, status, registers)
}

extern "C" fn quick_exit_with(_: *mut c_void, status: i32, registers: &Registers) {
    fast_exit(&ORIGINALS.quick_exit, status, registers)
}

/// Has a last snapshot taken. Not from within a hook (a signal handler that calls `_exit`): then
/// our data are in use and the last periodic state stands.
fn finish(reason: Reason, registers: Option<&Registers>) {
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
    if let Some(&registers) = registers.filter(|_| lifecycle::has_recording()) {
        let tid = if guard::QUIET.load(Relaxed) == 0 {
            sys::gettid()
        } else {
            0
        };
        snapshot::set_caller(Caller { tid, registers });
    }
    helper::snapshot_now(reason);
    guard::turn(t, phase);
}

/// `_exit` and its kin, whose original is in `slot`.
fn fast_exit(slot: &'static AtomicUsize, status: i32, registers: &Registers) -> ! {
    type F = unsafe extern "C" fn(i32) -> !;
    if hooks::ready() && slot.load(Relaxed) != 0 {
        let reason = Reason::FastExit {
            status: status & 0xff,
        };
        finish(reason, Some(registers));
        // SAFETY: the three originals have this type and do not return.
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
        finish(Reason::Exec, None);
    }
}
