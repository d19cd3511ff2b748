//! Owns the per-thread guard: which code of ours or of the allocator a thread is in, so that a
//! nested call (a signal handler, an allocator that calls itself) passes through.
//!
//! A handler that leaves by `siglongjmp` never returns to the hook that it interrupted. The guard
//! remembers the stack pointer of its hook, and the next hook that starts at or above it on the
//! same stack knows that the guard is stale.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, compiler_fence};

use crate::permit::means::PROBE;
use crate::tls::Local;
use crate::{arena, modules, permit, sites, state, sys, thread};

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
    t.entry_word.store(0, Relaxed);
    t.phase.store(phase, Relaxed);
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
}

/// Enters a phase from [`IDLE`], in a hook whose return address lies at `sp`.
///
/// # Safety
/// `sp` is the stack pointer at the entry of a function that has not returned.
#[inline(always)]
pub unsafe fn enter_hook(t: &Local, phase: u32, sp: usize) {
    enter(t, phase, sp);
    // A handler that came before the phase was set has left its own here.
    t.entry_sp.store(sp, Relaxed);
    // SAFETY: the caller's promise: the word is the function's return address.
    let word = unsafe { core::ptr::with_exposed_provenance::<usize>(sp).read() };
    t.entry_word.store(word, Relaxed);
}

/// True if the return address of the hook that holds the guard is no longer where it was: the hook
/// is gone, and other calls have used its stack.
fn is_overwritten(t: &Local) -> bool {
    let word = t.entry_word.load(Relaxed);
    let mut now = [0; 8];
    word != 0
        && permit::allows(PROBE)
        && sys::read_own_memory(t.entry_sp.load(Relaxed), &mut now) == Ok(now.len())
        && usize::from_ne_bytes(now) != word
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

/// The phase that the caller is nested in, which is called by the host on the stack that it is on.
/// As [`nested_phase`].
#[inline(never)]
pub fn phase_here(t: &Local) -> u32 {
    let here = 0u8;
    nested_phase(t, (&raw const here).addr())
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
    let above =
        sp >= t.entry_sp.load(Relaxed) && QUIET.load(Relaxed) == 0 && !sys::on_alternate_stack();
    if !above && !is_overwritten(t) {
        return phase;
    }
    // SAFETY: whatever call of this thread was inside a lock of ours never returns.
    unsafe {
        state::MAPPINGS.abandon();
        state::HELD.abandon();
        sites::abandon();
        modules::abandon();
        state::LIVE.abandon(thread::holder(t));
        arena::abandon();
    }
    thread::forget_walks(t);
    t.phase.store(IDLE, Relaxed);
    IDLE
}
