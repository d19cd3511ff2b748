//! Owns the life of the library in its process: one state, one table of legal transitions.
//!
//! ```text
//! Unresolved → Early → Recording → (fork) Pending → Recording
//!                  ↘       ↘                   ↘
//!                   Passing ← ← ← ← ← ← ← ← ← ←
//! ```

use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::facts::env::Environment;
use crate::guard;
use crate::tls::Local;
use crate::{
    config, exit, fork, helper, hooks, loader, modules, snapshot, state, thread, trial, unwind,
};

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The originals are not known.
    Unresolved = 0,
    /// Calls are recorded in memory; the constructor has not run.
    Early = 1,
    /// Recording; there is a file, a helper, or both to come with the first snapshot.
    Recording = 2,
    /// A forked child that has not called a hook yet.
    Pending = 3,
    /// Calls are handed through: not wanted here, a bad option, or nowhere to write.
    Passing = 4,
}

use State::{Early, Passing, Pending, Recording, Unresolved};

static STATE: AtomicU32 = AtomicU32::new(Unresolved as u32);

const fn legal(from: State, to: State) -> bool {
    matches!(
        (from, to),
        (Unresolved, Early)
            | (Early, Recording | Passing)
            | (Recording, Pending | Passing)
            | (Pending, Recording | Pending | Passing)
            | (Passing, Passing)
    )
}

fn current() -> State {
    match STATE.load(Relaxed) {
        1 => Early,
        2 => Recording,
        3 => Pending,
        4 => Passing,
        _ => Unresolved,
    }
}

/// Moves to a state and switches the hooks accordingly; an illegal move is not made.
fn go(to: State) -> bool {
    if !legal(current(), to) {
        return false;
    }
    STATE.store(to as u32, Relaxed);
    match to {
        Unresolved => {}
        Early | Recording => state::set_tracking(true, false),
        Pending => state::set_tracking(true, true),
        Passing => state::set_tracking(false, false),
    }
    true
}

/// True in a process whose calls are recorded, its constructor done.
pub fn is_recording() -> bool {
    matches!(current(), Recording | Pending)
}

/// The originals have just been found: from here on calls are recorded in memory.
pub fn originals_found() {
    loader::init();
    modules::init();
    unwind::init();
    go(Early);
}

unsafe extern "C" {
    fn __cxa_atexit(f: extern "C" fn(*mut c_void, i32), arg: *mut c_void, dso: *mut c_void) -> i32;
}

/// The library's constructor.
///
/// # Safety
/// Called once by the loader, with the program's arguments and environment.
pub unsafe extern "C" fn constructor(_argc: i32, _argv: *const *const u8, envp: *const *const u8) {
    if !hooks::ready() {
        return;
    }
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    let t = unsafe { &*crate::tls::local() };
    guard::enter(t, guard::OURS, usize::MAX);
    // SAFETY: the loader's environment lives as long as the process.
    let env = unsafe { Environment::new(envp.cast()) };
    if trial::passed() && snapshot::begin(env) {
        state::set_depth(snapshot::config(|c| c.depth));
        watch_threads();
        fork::register();
        // SAFETY: a function of this library, which is never unloaded. Without an object to belong
        // to and registered this early it runs at the very end, after all destructors.
        unsafe { __cxa_atexit(exit::at_exit, core::ptr::null_mut(), core::ptr::null_mut()) };
        go(Recording);
        start_helper();
    } else {
        go(Passing);
    }
    guard::leave(t);
}

fn start_helper() {
    let (wanted, interval_ms) = snapshot::config(|c: &config::Config| (c.helper, c.interval_ms));
    helper::set_interval_ms(interval_ms);
    if wanted {
        helper::start();
    }
}

/// Has the end of every thread noticed, by a key among the first 32, which cost no allocation.
fn watch_threads() {
    type Create =
        unsafe extern "C" fn(*mut u32, unsafe extern "C" fn(*mut thread::ThreadState)) -> i32;
    let create = loader::resolve_libc(b"pthread_key_create");
    let set = loader::resolve_libc(b"pthread_setspecific");
    if let (Some(create), Some(set)) = (create, set) {
        let mut key = u32::MAX;
        // SAFETY: this is `pthread_key_create`.
        let r = unsafe {
            core::mem::transmute::<usize, Create>(create)(&raw mut key, thread::at_thread_end)
        };
        if r == 0 && key < 32 {
            thread::set_key(set, key);
        }
    }
}

/// A hook was called while something is due: a forked child gets its helper with its first call. A
/// child that execs at once never does, and one that ends before its first snapshot leaves no file.
pub fn hook_called(t: &Local) {
    if current() == Pending && state::in_recorded_process() {
        guard::enter(t, guard::OURS, usize::MAX);
        activate();
        guard::leave(t);
    }
}

/// Makes a pending child a recording process of its own. The guard is held.
pub fn activate() {
    if current() == Pending && go(Recording) {
        snapshot::activate_child();
        start_helper();
    }
}

/// The process has been forked and this is the child; the guard is held.
pub fn forked() {
    if !is_recording() {
        return;
    }
    if snapshot::config(|c| c.follow_children) {
        go(Pending);
    } else {
        go(Passing);
    }
}

/// A child that came to be without our handlers: what it inherited may be inconsistent.
pub fn become_unrecorded() {
    STATE.store(Passing as u32, Relaxed);
    state::set_tracking(false, false);
}
