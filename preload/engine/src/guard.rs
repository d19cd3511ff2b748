//! Owns the per-thread guard: which code of ours or of the allocator a thread is in, so that a
//! nested call (a signal handler, an allocator that calls itself) passes through.
//!
//! A handler that leaves by `siglongjmp` never returns to the hook that it interrupted. The guard
//! remembers the stack pointer of its hook, and the next hook that starts at or above it on the
//! same stack knows that the guard is stale.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, compiler_fence};

use crate::tls::Local;
use crate::{arena, modules, sites, state, sys};

/// No hook is active on the thread.
pub const IDLE: u32 = 0;
/// The real allocator is running for a hook: our data are at rest.
pub const REAL: u32 = 1;
/// Our own code is running: scratch memory is in use and a shard lock may be held.
pub const OURS: u32 = 2;

/// Set when system calls other than the ones made by the host itself are unwelcome (seccomp).
pub static QUIET: AtomicU32 = AtomicU32::new(0);

/// Enters a phase from [`IDLE`].
#[inline(always)]
pub fn enter(t: &Local, phase: u32, sp: usize) {
    t.entry_sp.store(sp, Relaxed);
    t.phase.store(phase, Relaxed);
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
}

/// Changes the phase while a guard is held.
#[inline(always)]
pub fn turn(t: &Local, phase: u32) {
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
    t.phase.store(phase, Relaxed);
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
}

/// Leaves the guard.
#[inline(always)]
pub fn leave(t: &Local) {
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
    t.phase.store(IDLE, Relaxed);
}

/// The phase this call is nested in. [`IDLE`] also when the guard was stale: it is then cleared.
#[cold]
pub fn nested_phase(t: &Local, sp: usize) -> u32 {
    let phase = t.phase.load(Relaxed);
    if phase == IDLE {
        return IDLE;
    }
    // The hook's frame lies below its entry: a call that starts at or above the entry finds the
    // hook gone, unless it runs on another stack. A handler on its alternate stack is nested.
    if sp < t.entry_sp.load(Relaxed) || QUIET.load(Relaxed) != 0 || sys::on_alternate_stack() {
        return phase;
    }
    // SAFETY: whatever call of this thread was inside a lock of ours never returns.
    unsafe {
        state::MAPPINGS.abandon();
        sites::abandon();
        modules::abandon();
        state::LIVE.abandon();
        arena::abandon();
    }
    t.phase.store(IDLE, Relaxed);
    IDLE
}
