//! Owns `fork`: the child carries on with a copy of tables that other threads may have been in the
//! middle of changing.
//!
//! No lock is held over `fork`. libc takes locks of its own between our handler and the system call,
//! and threads that hold those may wait for ours in `malloc`. Instead every table can be repaired
//! after its holder was torn away (as by `siglongjmp`): the child gives up the locks of threads that
//! it does not have. A child that was made behind libc's back does so when it first calls a hook. It writes no page of the live table: what it inherited is known by its epoch.

use core::ffi::c_void;
use core::sync::atomic::Ordering::Relaxed;

use crate::hooks::real::{ORIGINALS, original};
use crate::permit::means::{ASK, SNAPSHOT};
use crate::state::{self, HELD, LIVE, MAPPINGS};
use crate::wiped;
use crate::{
    absent, arena, faults, guard, helper, lifecycle, modules, permit, restrict, sampler, sites,
    snapshot, sys, thread, tls,
};

unsafe extern "C" {
    fn __register_atfork(
        prepare: Option<extern "C" fn()>,
        parent: Option<extern "C" fn()>,
        child: Option<extern "C" fn()>,
        dso: *mut c_void,
    ) -> i32;
}

/// Registers the handlers: first of all, so that `prepare` runs last.
pub fn register() {
    // SAFETY: the handlers are functions of this library, which is never unloaded.
    unsafe {
        __register_atfork(
            Some(prepare),
            Some(parent),
            Some(child),
            core::ptr::null_mut(),
        )
    };
}

fn local() -> &'static tls::Local {
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    unsafe { &*tls::local() }
}

/// Marks the thread as forking.
extern "C" fn prepare() {
    let t = local();
    // A handler that forks while the thread is in our code: its child would carry on in the middle
    // of it, and is not recorded.
    t.forking
        .store(u32::from(t.phase.load(Relaxed) != guard::OURS), Relaxed);
}

extern "C" fn parent() {
    let t = local();
    t.forking.store(0, Relaxed);
    // A child that has children of its own (a daemon's master process) is worth recording.
    if t.phase.load(Relaxed) == guard::IDLE && permit::allows(SNAPSHOT) {
        lifecycle::hook_called(t);
    }
}

extern "C" fn child() {
    let t = local();
    let announced = t.forking.swap(0, Relaxed) != 0;
    // Another handler that ran first may have called a hook.
    if !wiped::works() || wiped::claim() {
        begin(t, announced);
    }
}

/// A hook is called in a copy of the process of which no handler told: its first.
#[cold]
#[inline(never)]
pub fn noticed(t: &tls::Local) {
    if wiped::claim() {
        begin(t, t.phase.load(Relaxed) == guard::IDLE);
    }
}

/// Gives up the locks of all tables for threads that were in them when this copy of the process was made.
///
/// # Safety
/// The calling thread is the only one and in none of the tables.
pub unsafe fn abandon_tables() {
    // SAFETY: the caller's promise.
    unsafe {
        MAPPINGS.abandon_in_child();
        HELD.abandon_in_child();
        sites::abandon_in_child();
        modules::abandon_in_child();
        LIVE.abandon_in_child();
        arena::abandon_in_child();
    }
}

/// Makes what the child has its own. Not `whole`: it carries on in the middle of our code.
fn begin(t: &tls::Local, whole: bool) {
    // A seccomp filter binds the child's own helper, too.
    if !whole || !permit::allows(SNAPSHOT.and(ASK)) || !lifecycle::is_recording() {
        lifecycle::become_unrecorded();
        return;
    }
    let phase = t.phase.load(Relaxed);
    guard::enter(t, guard::OURS, usize::MAX);
    // SAFETY: this thread is the only one here and holds none of the locks: their holders do not
    // exist in this process.
    unsafe {
        abandon_tables();
        arena::renew_reserve_in_child();
        thread::reset_in_child(t);
        sampler::budget::forget_in_child(thread::countdowns());
        helper::forget_in_child();
        faults::forget_in_child();
        restrict::forget_in_child();
    }
    state::set_pid(sys::getpid());
    state::begin_child_epoch();
    snapshot::begin_child();
    state::COVERAGE.reset();
    state::forget_brk_bytes();
    lifecycle::forked();
    guard::turn(t, phase);
}

/// `_Fork`: no handlers run. The child is noticed when it calls a hook; one that carries on in the
/// middle of our code (`_Fork` may be called by a signal handler) goes on unrecorded.
///
/// # Safety
/// As `_Fork`.
pub unsafe fn unannounced() -> i32 {
    type F = unsafe extern "C" fn() -> i32;
    if !crate::hooks::ready() || ORIGINALS.fork_raw.load(Relaxed) == 0 {
        return absent::not_there();
    }
    // SAFETY: the original has this type.
    let r = unsafe { original::<F>(&ORIGINALS.fork_raw)() };
    if r == 0 && (!wiped::works() || local().phase.load(Relaxed) != guard::IDLE) {
        lifecycle::become_unrecorded();
    }
    r
}
