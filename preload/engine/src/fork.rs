//! Owns `fork`: every lock is taken before it, in order, and given back or reset after it.
//!
//! The snapshot's lock is not among them: the helper may hold it for long, and the child abandons
//! the parent's half-made snapshot anyway. The child writes no page of the live table: what it
//! inherited is known by its epoch.

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed};

use crate::hooks::real::{ORIGINALS, original};
use crate::state::{self, LIVE, MAPPINGS};
use crate::{arena, guard, helper, lifecycle, loader, modules, sites, snapshot, sys, thread, tls};

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
    let flag = loader::resolve_libc(b"__libc_single_threaded").unwrap_or(0);
    SINGLE_THREADED.store(core::ptr::with_exposed_provenance_mut(flag), Relaxed);
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

/// Takes the locks. A signal handler that runs until `parent` or `child` finds the guard set.
extern "C" fn prepare() {
    let t = local();
    if t.phase.load(Relaxed) == guard::OURS {
        return; // A handler that forks while the thread is in our code: the child is not recorded.
    }
    guard::enter(t, guard::OURS, usize::MAX);
    MAPPINGS.lock_for_fork();
    sites::lock_for_fork();
    modules::lock_for_fork();
    LIVE.lock_walks();
    let alone = is_alone();
    ALONE.store(alone, Relaxed);
    if !alone {
        LIVE.lock_all();
    }
    arena::lock_for_fork();
    FORKING.store(sys::thread_pointer(), Relaxed);
}

/// The thread that went through `prepare` and is forking; 0 otherwise.
static FORKING: AtomicUsize = AtomicUsize::new(0);

/// The forking process had no other thread: the live table's own locks were left alone.
static ALONE: AtomicBool = AtomicBool::new(false);
/// libc's `__libc_single_threaded` (2.32 and later): not 0 while there is one thread.
static SINGLE_THREADED: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// True if nobody but the calling thread can be inside the live table. The thousand locks of the
/// table cost a single-threaded parent and its child some 40 page copies a fork.
fn is_alone() -> bool {
    let p = SINGLE_THREADED.load(Relaxed);
    // SAFETY: libc's variable lives as long as libc; it changes only through this thread while it
    // says that there is no other.
    !p.is_null() && unsafe { p.read_volatile() } != 0
}

extern "C" fn parent() {
    if FORKING.load(Relaxed) != sys::thread_pointer() {
        return;
    }
    FORKING.store(0, Relaxed);
    // SAFETY: taken in `prepare` by this thread.
    unsafe {
        arena::unlock_after_fork();
        if !ALONE.load(Relaxed) {
            LIVE.unlock_all();
        }
        LIVE.unlock_walks();
        modules::unlock_after_fork();
        sites::unlock_after_fork();
        MAPPINGS.unlock_after_fork();
    }
    let t = local();
    guard::leave(t);
    // A child that has children of its own (a daemon's master process) is worth recording.
    lifecycle::hook_called(t);
}

extern "C" fn child() {
    let t = local();
    if FORKING.swap(0, Relaxed) == 0 {
        lifecycle::become_unrecorded();
        return;
    }
    // SAFETY: taken in `prepare` by the thread that this one is the image of, and alone.
    unsafe {
        arena::unlock_after_fork();
        if !ALONE.load(Relaxed) {
            LIVE.reset_locks_in_child();
        }
        LIVE.unlock_walks();
        modules::unlock_after_fork();
        sites::unlock_after_fork();
        MAPPINGS.unlock_after_fork();
        thread::reset_in_child(t);
        helper::forget_in_child();
    }
    state::set_pid(sys::getpid());
    state::begin_child_epoch();
    snapshot::begin_child();
    state::COVERAGE.reset();
    lifecycle::forked();
    guard::leave(t);
}

/// `_Fork`: no handlers run, so locks may be held by threads that are not in the child; the child
/// goes on unrecorded.
///
/// # Safety
/// As `_Fork`.
pub unsafe fn unannounced() -> i32 {
    type F = unsafe extern "C" fn() -> i32;
    if !crate::hooks::ready() || ORIGINALS.fork_raw.load(Relaxed) == 0 {
        return -1;
    }
    // SAFETY: the original has this type.
    let r = unsafe { original::<F>(&ORIGINALS.fork_raw)() };
    if r == 0 {
        lifecycle::become_unrecorded();
    }
    r
}
