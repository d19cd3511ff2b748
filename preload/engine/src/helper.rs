//! Owns the helper: the background thread that takes the snapshots.
//!
//! It is a bare kernel thread that never calls libc. One `pthread_create` would take glibc off its
//! single-threaded paths for good and make every allocation of a single-threaded host dearer.
//! glibc does not know the thread, so whoever changes what glibc changes in all its threads
//! (credentials, namespaces) ends the helper before and starts it again after.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::facts::process;
use crate::lock::WordLock;
use crate::permit::{self, means::SNAPSHOT};
use crate::sampler::budget;
use crate::scan::Room;
use crate::snapshot::{self, Reason};
use crate::sys::{Errno, WaitWord};
use crate::{arena, control, faults, guard, state, sys, thread, tls};

/// How long the host waits for an order to be carried out.
const PATIENCE_MS: u64 = 10_000;
/// How often a helper that nobody may wake looks for orders.
const QUIET_POLL_MS: u64 = 5;
/// How often a helper that cannot wait for two words looks for requests of tools.
const REQUEST_POLL_MS: u64 = 100;
/// How often is looked whether memory comes near its limit, between snapshots further apart.
const LIMIT_POLL_MS: u64 = 1_000;
const STACK_BYTES: usize = 128 << 10;
/// Room above the thread pointer: libc's own words in the control block, never used.
const CONTROL_BLOCK_BYTES: usize = 4096;

/// Held while the helper is started or ended.
static LOCK: WordLock = WordLock::new();
/// Kernel's id of the running helper; the kernel clears it when the thread ends.
static TID: AtomicU32 = AtomicU32::new(0);
/// What the helper is asked to do; a futex word.
static ORDER: AtomicU32 = AtomicU32::new(0);
/// The last order given before the helper was started.
static OBEYED: AtomicU32 = AtomicU32::new(0);
/// The last order that the helper has looked at.
static SEEN: AtomicU32 = AtomicU32::new(0);
/// Raised by the helper when an order is done; a futex word.
static DONE: AtomicU32 = AtomicU32::new(0);
static MEMORY: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static MEMORY_BYTES: AtomicUsize = AtomicUsize::new(0);
static INTERVAL_MS: AtomicU64 = AtomicU64::new(1000);
/// When the next snapshot is due; 0 before the first helper.
static DUE_MS: AtomicU64 = AtomicU64::new(0);
/// Threads that are changing what a helper would inherit: none is started meanwhile.
static CONFINING: AtomicU32 = AtomicU32::new(0);
/// Arguments of the order in force.
static STATUS: AtomicU32 = AtomicU32::new(0);

/// Orders. The upper bits count, so that two equal orders differ.
const STOP: u32 = 1;
const FINAL_EXIT: u32 = 2;
const FINAL_FAST_EXIT: u32 = 3;
const EXEC: u32 = 4;
const KIND_BITS: u32 = 4;

/// Time between snapshots.
pub fn set_interval_ms(ms: u64) {
    INTERVAL_MS.store(ms.max(10), Ordering::Relaxed);
}

/// Its stack and thread-local memory: address and bytes; 0 and 0 before the first helper.
pub fn memory() -> (usize, usize) {
    let start = MEMORY.load(Ordering::Relaxed).addr();
    (start, MEMORY_BYTES.load(Ordering::Relaxed))
}

/// Kernel's id of the helper; 0: it does not run.
pub fn tid() -> u32 {
    TID.load(Ordering::Relaxed)
}

/// True if the helper has been given an order that it has not looked at.
pub fn is_wanted() -> bool {
    ORDER.load(Ordering::Relaxed) != SEEN.load(Ordering::Relaxed)
}

/// True if the long task that the helper is at must end: it has an order, or whoever asked for the
/// task waits no longer.
pub fn must_end_task() -> bool {
    is_wanted() || control::is_withdrawn()
}

/// True while the helper runs.
pub fn is_running() -> bool {
    TID.load(Ordering::Relaxed) != 0
}

/// True if this is the kernel's id of the running helper.
pub fn is_thread(tid: isize) -> bool {
    tid > 0 && TID.load(Ordering::Relaxed) as isize == tid
}

/// Starts the helper unless it runs. False when the kernel refuses: snapshots are then taken by
/// the program's own threads.
pub fn start() -> bool {
    let signals = sys::block_signals();
    LOCK.lock_raw();
    let started = is_running() || CONFINING.load(Ordering::Relaxed) != 0 || spawn();
    // SAFETY: taken above by this thread.
    unsafe { LOCK.unlock_raw() };
    sys::restore_signals(signals);
    started
}

/// The kernel thread itself; all signals are blocked, and the new thread inherits that.
fn spawn() -> bool {
    // The library's thread-local block lies at the same distance below the thread pointer in every
    // thread; the helper's own needs nothing else.
    let distance = sys::thread_pointer().abs_diff(tls::local().addr());
    let tls_bytes = (distance + 256).next_multiple_of(4096);
    let bytes = STACK_BYTES + tls_bytes + CONTROL_BLOCK_BYTES;
    let mut memory = MEMORY.load(Ordering::Relaxed);
    if memory.is_null() || MEMORY_BYTES.load(Ordering::Relaxed) != bytes {
        let Ok(fresh) = sys::map_anonymous(bytes) else {
            return false;
        };
        memory = fresh;
        MEMORY.store(memory, Ordering::Relaxed);
        MEMORY_BYTES.store(bytes, Ordering::Relaxed);
    }
    let thread_pointer = memory.addr() + STACK_BYTES + tls_bytes;
    // SAFETY: inside the mapping, aligned, and used by no running thread.
    unsafe {
        memory
            .add(STACK_BYTES + tls_bytes)
            .cast::<usize>()
            .write(thread_pointer);
        // A helper that ran here before may have left its words.
        memory
            .add(STACK_BYTES + tls_bytes - distance)
            .cast::<tls::Local>()
            .write_bytes(0, 1);
    }
    // The thread may run its first instruction after the first order was given.
    OBEYED.store(ORDER.load(Ordering::Relaxed), Ordering::Relaxed);
    // SAFETY: the stack ends where the thread-local memory begins; the memory is kept for good.
    let r = unsafe {
        sys::clone_thread(
            memory.addr() + STACK_BYTES,
            thread_pointer,
            &raw const TID,
            run,
        )
    };
    r > 0
}

extern "C" fn run() {
    // SAFETY: the thread's own block, set up by `spawn`.
    let t = unsafe { &*tls::local() };
    // Should a symbol of ours ever be reached from here, it passes through.
    guard::enter(t, guard::OURS, 0);
    // The program may close descriptor 0 and count on getting it with its next `open`. A table of
    // our own also keeps the kernel's cheaper path for programs with one thread.
    let has_own_table = sys::leave_descriptor_table();
    arena::exempt_this_thread();
    sys::set_thread_name(c"leaktrack");
    // A program that changes its credentials all the time must not start the wait anew each time.
    if DUE_MS.load(Ordering::Relaxed) == 0 {
        let due_ms = state::tick() + INTERVAL_MS.load(Ordering::Relaxed);
        DUE_MS.store(due_ms, Ordering::Relaxed);
    }
    let mut seen = OBEYED.load(Ordering::Relaxed);
    // A program that has come to its end already has no use for it.
    if has_own_table && ORDER.load(Ordering::Relaxed) == seen {
        faults::attach();
    }
    let mut looked_ms = state::tick();
    SEEN.store(seen, Ordering::Relaxed);
    loop {
        let now_ms = state::tick();
        let due_ms = DUE_MS.load(Ordering::Relaxed);
        if now_ms < due_ms {
            let quiet = guard::QUIET.load(Ordering::Relaxed) != 0;
            // Threads that must not wake us are looked after instead.
            let wait_ms = (due_ms - now_ms)
                .min(LIMIT_POLL_MS)
                .min(faults::wait_ms())
                .min(budget::wait_ms(now_ms));
            let wait_ms = if quiet {
                wait_ms.min(QUIET_POLL_MS)
            } else {
                wait_ms
            };
            wait(seen, wait_ms);
        }
        // Pairs with the release in `order`.
        let order = ORDER.load(Ordering::Acquire);
        if order != seen {
            seen = order;
            SEEN.store(order, Ordering::Relaxed);
            faults::drain();
            if obey(order) {
                return;
            }
            continue;
        }
        let now_ms = state::tick();
        let due_ms = DUE_MS.load(Ordering::Relaxed);
        faults::drain();
        look_at_budget(now_ms);
        if now_ms < due_ms && now_ms >= looked_ms + LIMIT_POLL_MS {
            looked_ms = now_ms;
            if snapshot::comes_near_limit() {
                snapshot::take(Reason::Periodic);
            }
            snapshot::scan_if_due();
        }
        if now_ms >= due_ms {
            looked_ms = now_ms;
            if process::only_helper_is_left() {
                // The others ended by `exit(2)`, one by one: this thread must not keep the process.
                snapshot::take(Reason::FastExit { status: 0 });
                return;
            }
            take_periodic();
            state::LIVE.trim();
            snapshot::scan_if_due();
        }
    }
}

fn take_periodic() {
    snapshot::take(Reason::Periodic);
    let interval_ms = INTERVAL_MS.load(Ordering::Relaxed);
    let due_ms = DUE_MS.load(Ordering::Relaxed);
    let due_ms = (due_ms + interval_ms).max(state::tick());
    DUE_MS.store(due_ms, Ordering::Relaxed);
}

/// Waits in the middle of a long task of the helper, and takes the snapshots that are due
/// meanwhile. True: the task must end, there is something else to do.
pub fn rest(wait_ms: u64) -> bool {
    let until_ms = state::tick() + wait_ms;
    loop {
        if must_end_task() {
            return true;
        }
        faults::drain();
        let now_ms = state::tick();
        if now_ms >= DUE_MS.load(Ordering::Relaxed) {
            if process::only_helper_is_left() {
                return true;
            }
            take_periodic();
            continue;
        }
        if now_ms >= until_ms {
            return false;
        }
        let due_ms = DUE_MS.load(Ordering::Relaxed).min(until_ms);
        let wait_ms = (due_ms - now_ms).min(faults::wait_ms()).max(1);
        let wait_ms = wait_ms.min(control::look_ms().unwrap_or(wait_ms));
        let wait_ms = if guard::QUIET.load(Ordering::Relaxed) != 0 {
            wait_ms.min(QUIET_POLL_MS)
        } else {
            wait_ms
        };
        let seen = SEEN.load(Ordering::Relaxed);
        let _ = sys::futex_wait(&ORDER, seen, Some(wait_ms * 1_000_000), false);
    }
}

/// Waits for an order other than `seen` or for a request of a tool.
fn wait(seen: u32, wait_ms: u64) {
    let Some(request) = control::word().filter(|_| control::serve()) else {
        let _ = sys::futex_wait(&ORDER, seen, Some(wait_ms * 1_000_000), false);
        return;
    };
    let order = WaitWord {
        address: ORDER.as_ptr() as usize,
        expected: seen,
        shared: false,
    };
    let deadline_ns = sys::clock_ns(sys::clock::MONOTONIC) + wait_ms * 1_000_000;
    match sys::futex_wait_either([order, request], deadline_ns) {
        Ok(()) | Err(Errno::EAGAIN | Errno::EINTR | Errno::ETIMEDOUT) => {}
        Err(_) => {
            let wait_ms = wait_ms.min(REQUEST_POLL_MS);
            let _ = sys::futex_wait(&ORDER, seen, Some(wait_ms * 1_000_000), false);
        }
    }
}

fn look_at_budget(now_ms: u64) {
    let own_ns = || sys::clock_ns(sys::clock::THREAD_CPU);
    budget::look(now_ms, own_ns, thread::countdowns());
}

/// Carries an order out; true: end the thread.
fn obey(order: u32) -> bool {
    let status = STATUS.load(Ordering::Relaxed) as i32;
    let kind = order & ((1 << KIND_BITS) - 1);
    budget::hurry();
    look_at_budget(state::tick());
    match kind {
        FINAL_EXIT => snapshot::take(Reason::Exit { status }),
        FINAL_FAST_EXIT => snapshot::take(Reason::FastExit { status }),
        EXEC => snapshot::take(Reason::Exec),
        _ => {}
    }
    if kind == STOP {
        faults::detach();
    }
    // Pairs with the acquire in `order`.
    DONE.store(order, Ordering::Release);
    sys::futex_wake(&DONE, u32::MAX, false);
    kind == STOP
}

/// Gives an order and waits until it is done. False: there is no helper to do it.
fn order(kind: u32, status: i32) -> bool {
    if !is_running() {
        return false;
    }
    STATUS.store(status as u32, Ordering::Relaxed);
    let before = ORDER.load(Ordering::Relaxed);
    let order = ((before >> KIND_BITS).wrapping_add(1) << KIND_BITS) | kind;
    // Pairs with the acquire in `run`.
    ORDER.store(order, Ordering::Release);
    let quiet = guard::QUIET.load(Ordering::Relaxed) != 0;
    if !quiet {
        sys::futex_wake(&ORDER, u32::MAX, false);
    }
    let deadline_ms = if quiet {
        u64::MAX
    } else {
        state::tick() + patience_ms()
    };
    loop {
        // Pairs with the release in `obey`.
        let done = DONE.load(Ordering::Acquire);
        if done == order {
            return true;
        }
        if !is_running() {
            return false;
        }
        if quiet {
            core::hint::spin_loop();
        } else if state::tick() > deadline_ms {
            return true; // a hung file system: what it has been given must do
        } else {
            let _ = sys::futex_wait(&DONE, done, Some(1_000_000), false);
        }
    }
}

/// Has a snapshot taken by the helper if it runs, else by this thread.
pub fn snapshot_now(reason: Reason) {
    let signals = sys::block_signals();
    LOCK.lock_raw();
    let taken = match reason {
        Reason::Exit { status } => order(FINAL_EXIT, status),
        Reason::FastExit { status } => order(FINAL_FAST_EXIT, status),
        Reason::Exec => order(EXEC, 0),
        _ => false,
    };
    // SAFETY: taken above by this thread.
    unsafe { LOCK.unlock_raw() };
    // Under a seccomp filter perhaps only the helper may write: without one the last state stands.
    if !taken && permit::allows(SNAPSHOT) {
        arena::exempt_this_thread();
        state::tick();
        take_here(reason);
        arena::exempt_nobody();
    }
    sys::restore_signals(signals);
}

/// Takes a snapshot in the calling thread, on a stack of leaktrack's own: signal stacks, fibers and
/// small threads have no room for it. Without memory for one the last state stands.
fn take_here(reason: Reason) {
    extern "C" fn take(reason: usize) {
        // SAFETY: the address of the reason below, which outlives the call.
        snapshot::take(unsafe { *(reason as *const Reason) });
    }
    if let Some(stack) = Room::<u64>::zeroed(STACK_BYTES / 8) {
        let top = stack.as_slice().as_ptr_range().end.addr() & !15;
        // SAFETY: this thread's alone, as long as a helper's, and kept until the call has returned; all
        // signals are blocked, so that no handler jumps out of it.
        unsafe { sys::call_on_stack(top, take, (&raw const reason).addr()) };
    }
}

/// What became of the helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// There was none.
    None,
    /// It ran and is gone.
    Gone,
    /// It hangs in a system call (a file system that does not answer) and ends when that returns.
    Hangs,
}

/// Keeps new helpers from starting, and ends the one that runs. Pairs with [`end_confining`].
pub fn begin_confining() -> Stopped {
    CONFINING.fetch_add(1, Ordering::Relaxed);
    stop()
}

/// The change is made: the last thread to say so may start a helper again. True if it may.
pub fn end_confining() -> bool {
    CONFINING.fetch_sub(1, Ordering::Relaxed) == 1
}

/// Ends the helper and waits until the kernel has forgotten it, so that the process counts as
/// single-threaded again; not for longer than `PATIENCE_MS`. Under a seccomp filter it makes no
/// system call.
pub fn stop() -> Stopped {
    let quiet = guard::QUIET.load(Ordering::Relaxed) != 0;
    let signals = sys::block_signals();
    LOCK.lock_raw();
    let tid = TID.load(Ordering::Relaxed);
    let mut stopped = Stopped::None;
    if tid != 0 {
        let deadline_ms = if quiet {
            u64::MAX
        } else {
            state::tick() + patience_ms()
        };
        stopped = Stopped::Gone;
        order(STOP, 0);
        while TID.load(Ordering::Relaxed) != 0 {
            if quiet {
                core::hint::spin_loop();
            } else if state::tick() > deadline_ms {
                stopped = Stopped::Hangs;
                break;
            } else {
                let _ = sys::futex_wait(&TID, tid, Some(1_000_000), true);
            }
        }
        // The word is cleared shortly before the thread leaves its group.
        let looks = permit::allows(SNAPSHOT) && stopped == Stopped::Gone;
        for _ in 0..if looks { 100_000 } else { 0 } {
            if !sys::thread_exists(state::pid(), tid) {
                break;
            }
            sys::sched_yield();
        }
    }
    // SAFETY: taken above by this thread.
    unsafe { LOCK.unlock_raw() };
    sys::restore_signals(signals);
    stopped
}

/// How long to wait for the helper; not at all while a snapshot hangs.
fn patience_ms() -> u64 {
    if snapshot::hangs() { 0 } else { PATIENCE_MS }
}

/// After fork, in the child: the helper is not here. Its memory is used again by the next one.
///
/// # Safety
/// Only the forking thread exists.
pub unsafe fn forget_in_child() {
    TID.store(0, Ordering::Relaxed);
    DUE_MS.store(0, Ordering::Relaxed);
    CONFINING.store(0, Ordering::Relaxed);
    // SAFETY: passed on.
    unsafe { LOCK.reset() };
}
