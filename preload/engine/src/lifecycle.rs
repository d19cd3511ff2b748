//! Owns the life of the library in its process: one state, one table of legal transitions.
//!
//! ```text
//! Unresolved → Early → Recording → (fork) Pending → Recording
//!                  ↘       ↘                   ↘
//!                   Passing ← ← ← ← ← ← ← ← ← ←
//! ```

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::facts::env::Environment;
use crate::facts::{limit, process};
use crate::guard;
use crate::permit::{
    self,
    means::{FENCE, SNAPSHOT},
};
use crate::tls::Local;
use crate::{
    arena, config, control, exit, fork, helper, hooks, live, loader, modules, sampler, scan,
    snapshot, state, sys, thread, trial, unwind, wiped,
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

/// True unless this is a forked child that has nothing to tell yet.
pub fn has_recording() -> bool {
    current() == Recording
}

/// The originals have just been found: from here on calls are recorded in memory.
pub fn originals_found() {
    wiped::init();
    sampler::filter::keep_out_of_dumps();
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
    STACK_TOP.store(envp.addr(), Relaxed);
    FIRST_THREAD.store(crate::sys::thread_pointer(), Relaxed);
    crate::allocator::learn();
    guard::enter(t, guard::OURS, usize::MAX);
    // SAFETY: the loader's environment lives as long as the process.
    let env = unsafe { Environment::new(envp.cast()) };
    if trial::passed() && snapshot::begin(env) {
        state::set_depth(snapshot::config(|c| c.depth));
        arena::set_cap(memory_cap_bytes(snapshot::config(|c| c.memory)));
        sampler::prepare();
        sampler::pressure::arm();
        watch_threads();
        scan::init();
        fork::register();
        // SAFETY: a function of this library, which is never unloaded. Without an object to belong
        // to and registered this early it runs at the very end, after all destructors.
        unsafe { __cxa_atexit(exit::at_exit, core::ptr::null_mut(), core::ptr::null_mut()) };
        go(Recording);
        live::holder::allow(permit::allows(FENCE));
        match snapshot::config(|c| c.mode) {
            config::Mode::Sample { mean_bytes } => hooks::begin_mode(mean_bytes),
            config::Mode::Dormant => hooks::begin_mode(0),
            config::Mode::Budget { milli_percent } => {
                hooks::begin_mode(sampler::budget::begin(milli_percent));
            }
            config::Mode::Exact => {}
        }
        start_helper();
    } else {
        go(Passing);
    }
    guard::leave(t);
}

/// Address of the first thread's control block, which lies behind its thread-local memory.
pub fn first_thread_pointer() -> usize {
    FIRST_THREAD.load(Relaxed)
}

/// Most bytes that leaktrack takes for itself.
fn memory_cap_bytes(option: config::Memory) -> u64 {
    const LEAST: u64 = 2 << 20;
    match option {
        config::Memory::Bytes(bytes) => bytes,
        config::Memory::Auto => limit::read().map_or(512 << 20, |(bytes, kind)| {
            let now = process::read();
            let taken = match kind {
                limit::LimitKind::Cgroup => now.rss_bytes,
                limit::LimitKind::AddressSpace => now.vm_bytes,
            };
            (bytes.saturating_sub(taken) / 10).max(LEAST)
        }),
    }
}

/// Starts the helper; without one, hooks look at the clock now and then and take the snapshots.
fn start_helper() {
    let (wanted, interval_ms) = snapshot::config(|c: &config::Config| (c.helper, c.interval_ms));
    helper::set_interval_ms(interval_ms);
    if !wanted || !helper::start() {
        without_helper();
    }
}

/// Has hooks look at the clock and take the snapshots: there is no helper, or no more.
pub fn without_helper() {
    let interval_ms = snapshot::config(|c| c.interval_ms);
    INTERVAL_MS.store(interval_ms.max(10), Relaxed);
    DUE_MS.store(state::tick() + interval_ms, Relaxed);
    state::set_tracking(true, true);
}

/// The helper was told to end and hangs: hooks look whether it has, and then start another.
pub fn await_end_of_helper() {
    AWAITS_END.store(true, Relaxed);
    state::set_tracking(true, true);
}

/// Starts a helper once the one that hung is gone. True while there is none to rely on.
fn awaits_end_of_helper(t: &Local) -> bool {
    if !AWAITS_END.load(Relaxed) {
        return false;
    }
    if helper::is_running() || !AWAITS_END.swap(false, Relaxed) {
        return true;
    }
    guard::enter(t, guard::OURS, usize::MAX);
    if helper::start() {
        state::set_tracking(true, INTERVAL_MS.load(Relaxed) != 0);
    } else {
        without_helper();
    }
    guard::leave(t);
    true
}

/// See [`await_end_of_helper`].
static AWAITS_END: AtomicBool = AtomicBool::new(false);
/// Without a helper: time between snapshots; 0 with one.
static INTERVAL_MS: AtomicU64 = AtomicU64::new(0);
/// Without a helper: when the next snapshot is due.
static DUE_MS: AtomicU64 = AtomicU64::new(0);
/// The first thread's control block.
static FIRST_THREAD: AtomicUsize = AtomicUsize::new(0);
/// The environment's address: it lies at the top of the first thread's stack.
static STACK_TOP: AtomicUsize = AtomicUsize::new(0);
/// Calls of hooks without a helper.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// True on the first thread's own stack, near its top: a snapshot needs some 32 KiB of stack, which
/// fibers, signal stacks and small threads do not have.
fn has_room_for_snapshot() -> bool {
    const NEAR_BYTES: usize = 1 << 20;
    let here = 0u8;
    let below = STACK_TOP
        .load(Relaxed)
        .wrapping_sub((&raw const here).addr());
    below < NEAR_BYTES
}

/// Without a helper: takes a snapshot in the calling thread when one is due.
#[cold]
fn poll(t: &Local) {
    /// Calls between two looks at the clock.
    const EVERY: u32 = 256;
    let interval_ms = INTERVAL_MS.load(Relaxed);
    // While blocks are sampled few calls come here.
    let every = if sampler::is_on() { 1 } else { EVERY };
    let awaits = AWAITS_END.load(Relaxed);
    if interval_ms == 0 && !awaits
        || !CALLS.fetch_add(1, Relaxed).is_multiple_of(every)
        || !permit::allows(SNAPSHOT)
        || !state::in_recorded_process()
    {
        return;
    }
    if awaits && awaits_end_of_helper(t) || interval_ms == 0 || !has_room_for_snapshot() {
        return;
    }
    let now_ms = state::tick();
    let due_ms = DUE_MS.load(Relaxed);
    let next_ms = now_ms + interval_ms;
    if now_ms < due_ms
        || DUE_MS
            .compare_exchange(due_ms, next_ms, Relaxed, Relaxed)
            .is_err()
    {
        return;
    }
    guard::enter(t, guard::OURS, usize::MAX);
    // A handler that jumped out of a snapshot would leave its lock taken.
    let signals = sys::block_signals();
    control::serve();
    snapshot::take(snapshot::Reason::Periodic);
    state::LIVE.trim();
    sampler::budget::look(now_ms, || 0, thread::countdowns());
    sys::restore_signals(signals);
    guard::leave(t);
}

/// Has the end of every thread noticed, by a key among the first 32, which cost no allocation. Where
/// others have taken these, states of threads that are gone are looked for.
fn watch_threads() {
    type Create =
        unsafe extern "C" fn(*mut u32, unsafe extern "C" fn(*mut thread::ThreadState)) -> i32;
    type Delete = unsafe extern "C" fn(u32) -> i32;
    let create = loader::resolve_libc(b"pthread_key_create");
    let delete = loader::resolve_libc(b"pthread_key_delete");
    let set = loader::resolve_libc(b"pthread_setspecific");
    if let (Some(create), Some(set)) = (create, set) {
        let mut key = u32::MAX;
        // SAFETY: this is `pthread_key_create`.
        let r = unsafe {
            core::mem::transmute::<usize, Create>(create)(&raw mut key, thread::at_thread_end)
        };
        if r == 0 && key < 32 {
            thread::set_key(set, key);
        } else if let Some(delete) = delete.filter(|_| r == 0) {
            // SAFETY: this is `pthread_key_delete`; nobody else knows the key.
            unsafe { core::mem::transmute::<usize, Delete>(delete)(key) };
        }
    }
}

/// A hook was called while something is due: a forked child gets its helper with its first call,
/// and where there is to be none the clock is looked at. A
/// child that execs at once never does, and one that ends before its first snapshot leaves no file.
pub fn hook_called(t: &Local) {
    if wiped::is_new_copy() {
        fork::noticed(t);
    }
    if current() == Pending && state::in_recorded_process() {
        guard::enter(t, guard::OURS, usize::MAX);
        activate();
        guard::leave(t);
    } else if current() == Recording {
        poll(t);
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
    AWAITS_END.store(false, Relaxed);
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
