//! Owns `mode=budget`: reads what leaktrack costs and what the program does, and has the
//! [`Controller`] choose the mean.
//!
//! The helper looks some times a second while there is load. A storm does not wait for it: hooks
//! count what samples cost them against a grant, and whoever finds it spent doubles the mean.

use core::cell::UnsafeCell;
use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::controller::{COARSEST, Controller, Moment, Plan};
use super::weight::FINEST;
use super::{Countdown, rate};
use crate::lock::WordLock;
use crate::permit::{self, means::SNAPSHOT};
use crate::sys;

/// Looks while there is load, and while there is none: milliseconds between.
const LOOK_MS: u64 = 100;
const IDLE_LOOK_MS: u64 = 1_000;
/// From this part of one CPU on there is load.
const LOAD: f64 = 0.02;
/// Looks may cost this part of the budget.
const LOOKS_PART: f64 = 0.1;
/// Snapshots may cost this part of the budget, but there is one in this time.
const SNAPSHOTS_PART: f64 = 0.5;
const SNAPSHOT_MS: u64 = 30_000;
/// What the countdown and the filter cost a call, in ticks: measured as the difference between
/// `sample:1g` and a hook that only passes on.
const CALL_TICKS: f64 = 2.0;
/// Cost of a sample beside what is measured: entering and leaving the hook, reading the clock.
const SAMPLE_TICKS: u64 = 100;
/// Longest time that a sample is believed to have taken, in ticks: the rest is another thread's.
const LONGEST_TICKS: u64 = 2_000_000;
/// What is taken for a sample where its time cannot be read, in ticks.
const UNMEASURED_TICKS: u64 = 5_000;

/// Samples are measured.
static ON: AtomicBool = AtomicBool::new(false);
/// The processor's clock must not be read (`PR_SET_TSC`).
static NO_CLOCK: AtomicBool = AtomicBool::new(false);
/// Ticks that hooks may still spend before the next look.
static GRANT: AtomicI64 = AtomicI64::new(0);
/// Ticks that are granted when the grant is spent.
static SURPRISE: AtomicI64 = AtomicI64::new(0);
/// When the next look is due, milliseconds of the recording's clock.
static DUE_MS: AtomicU64 = AtomicU64::new(0);
/// Program's CPU per time in millionths, and budget in millionths.
static LOAD_PPM: AtomicU64 = AtomicU64::new(0);
static SHARE_PPM: AtomicU64 = AtomicU64::new(0);
/// CPU of snapshots that the program's threads took, nanoseconds.
static BORROWED_NS: AtomicU64 = AtomicU64::new(0);
/// CPU that hooks spent, and that of the program, nanoseconds, as of the last look.
static HOOKS_NS: AtomicU64 = AtomicU64::new(0);
static PROGRAM_NS: AtomicU64 = AtomicU64::new(0);

/// Counters at the last look.
#[derive(Clone, Copy, Default)]
struct Reading {
    wall_ns: u64,
    clock: u64,
    process_ns: u64,
    helper_ns: u64,
    ticks: u64,
    calls: u64,
    blocks: u64,
    bytes: u64,
    samples: u64,
}

impl Reading {
    const ZERO: Reading = Reading {
        wall_ns: 0,
        clock: 0,
        process_ns: 0,
        helper_ns: 0,
        ticks: 0,
        calls: 0,
        blocks: 0,
        bytes: 0,
        samples: 0,
    };
}

struct State {
    controller: Controller,
    last: Reading,
    /// Ticks in a nanosecond.
    tick_rate: f64,
    /// Nothing was looked at yet.
    is_new: bool,
}

/// Held by who looks.
static LOCK: WordLock = WordLock::new();

struct Shared(UnsafeCell<State>);

// SAFETY: reached only under `LOCK`.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    controller: Controller::new(0.0),
    last: Reading::ZERO,
    tick_rate: 2.0,
    is_new: true,
}));

/// Begins; the mean to begin with, in bytes. `milli_percent`: the budget, 1000 is one percent.
pub fn begin(milli_percent: u32) -> u64 {
    let share = f64::from(milli_percent) / 100_000.0;
    let plan = Controller::first(share);
    if !sys::clock_may_be_read() {
        forbid_clock();
    }
    let _guard = LOCK.lock();
    // SAFETY: the lock is held.
    let state = unsafe { &mut *STATE.0.get() };
    state.controller = Controller::new(share);
    state.last = Reading {
        wall_ns: sys::clock_ns(sys::clock::MONOTONIC),
        clock: clock(),
        process_ns: sys::clock_ns(sys::clock::PROCESS_CPU),
        ..Reading::ZERO
    };
    SHARE_PPM.store(u64::from(milli_percent) * 10, Relaxed);
    SURPRISE.store((plan.grant_ns * state.tick_rate) as i64, Relaxed);
    GRANT.store(SURPRISE.load(Relaxed), Relaxed);
    ON.store(true, Relaxed);
    super::weight::mean_of(plan.class)
}

/// True in `mode=budget`.
#[inline(always)]
pub fn is_on() -> bool {
    ON.load(Relaxed)
}

/// The program forbids to read the processor's clock: samples count as an average one.
pub fn forbid_clock() {
    // Pairs with the acquire in `clock`; the program's threads that are in hooks now are its own
    // business, as with any other use of the clock.
    NO_CLOCK.store(true, Release);
}

#[inline(always)]
fn clock() -> u64 {
    if NO_CLOCK.load(Acquire) {
        0
    } else {
        sys::ticks()
    }
}

/// A hook begins with a sample or its end; for [`spent`].
#[inline(always)]
pub fn start() -> u64 {
    if is_on() { clock() } else { 0 }
}

/// It is done: counts what it cost, and sees that a storm does not cost too much.
pub fn spent(own: &Countdown, start: u64) {
    if !is_on() {
        return;
    }
    let now = clock();
    let ticks = match now {
        0 => UNMEASURED_TICKS,
        now => (now.wrapping_sub(start) + SAMPLE_TICKS).min(LONGEST_TICKS),
    };
    super::bump(&own.ticks, ticks);
    let before = GRANT.fetch_sub(ticks as i64, Relaxed);
    // One of those who find it spent.
    if before >= 0 && before < ticks as i64 {
        let class = rate::wanted();
        if (FINEST..COARSEST).contains(&class) {
            rate::want_instead(class, class + 1);
        }
        GRANT.store(SURPRISE.load(Relaxed), Relaxed);
    }
}

/// The next look is due now: there may be no other.
pub fn hurry() {
    DUE_MS.store(0, Relaxed);
}

/// Milliseconds until the next look, from `now_ms` on.
pub fn wait_ms(now_ms: u64) -> u64 {
    if is_on() {
        DUE_MS.load(Relaxed).saturating_sub(now_ms).max(1)
    } else {
        u64::MAX
    }
}

/// CPU that hooks spent until the last look, nanoseconds.
pub fn hooks_ns() -> u64 {
    HOOKS_NS.load(Relaxed)
}

/// CPU of the program without ours until the last look, nanoseconds.
pub fn program_ns() -> u64 {
    PROGRAM_NS.load(Relaxed)
}

/// A thread of the program spent so much on a snapshot.
pub fn note_borrowed(cost_ns: u64) {
    BORROWED_NS.fetch_add(cost_ns, Relaxed);
}

/// How long to wait after a snapshot that cost so much, milliseconds.
pub fn rest_ms(cost_ns: u64) -> u64 {
    if !is_on() {
        return 0;
    }
    let share = SHARE_PPM.load(Relaxed) as f64 / 1e6 * LOAD_PPM.load(Relaxed) as f64 / 1e6;
    let rest_ns = cost_ns as f64 / (share * SNAPSHOTS_PART).max(1e-9);
    ((rest_ns / 1e6) as u64).min(SNAPSHOT_MS)
}

/// Looks at what was spent, if it is time. `helper_ns`: CPU of the helper since it was started.
pub fn look(
    now_ms: u64,
    helper_ns: impl FnOnce() -> u64,
    threads: impl Iterator<Item = &'static Countdown> + Clone,
) {
    if !is_on() || now_ms < DUE_MS.load(Relaxed) || !permit::allows(SNAPSHOT) {
        return;
    }
    let Some(_guard) = LOCK.try_lock() else {
        return;
    };
    // SAFETY: the lock is held.
    let state = unsafe { &mut *STATE.0.get() };
    let mut now = Reading {
        wall_ns: sys::clock_ns(sys::clock::MONOTONIC),
        clock: clock(),
        process_ns: sys::clock_ns(sys::clock::PROCESS_CPU),
        helper_ns: helper_ns().wrapping_add(BORROWED_NS.load(Relaxed)),
        ..Reading::ZERO
    };
    for thread in threads.clone() {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        now.ticks = now.ticks.wrapping_add(read(&thread.ticks));
        now.blocks = now.blocks.wrapping_add(read(&thread.calls));
        now.bytes = now.bytes.wrapping_add(read(&thread.bytes));
        now.samples = now.samples.wrapping_add(read(&thread.samples));
        now.calls = now
            .calls
            .wrapping_add(read(&thread.calls))
            .wrapping_add(read(&thread.frees));
    }
    let moment = state.moment(&now);
    let plan = state.controller.look(&moment, rate::wanted());
    state.last = now;
    HOOKS_NS.fetch_add((moment.samples_ns + moment.calls_ns) as u64, Relaxed);
    PROGRAM_NS.fetch_add(moment.program_ns as u64, Relaxed);
    let load = state.controller.load();
    LOAD_PPM.store((load * 1e6) as u64, Relaxed);
    let budget = SHARE_PPM.load(Relaxed) as f64 / 1e6 * load;
    let cheap_ms = moment.helper_ns.min(1e6) / (budget * LOOKS_PART).max(1e-9) / 1e6;
    let least_ms = if load >= LOAD { LOOK_MS } else { IDLE_LOOK_MS };
    let next_ms = (cheap_ms as u64).max(least_ms).min(IDLE_LOOK_MS);
    DUE_MS.store(now_ms + next_ms, Relaxed);
    state.carry_out(plan);
    let class = rate::class();
    threads.for_each(|thread| thread.catch_up(class));
}

impl State {
    fn moment(&mut self, now: &Reading) -> Moment {
        let since = |now: u64, last: u64| now.saturating_sub(last) as f64;
        let last = &self.last;
        let wall_ns = since(now.wall_ns, last.wall_ns);
        let ticks = since(now.clock, last.clock);
        if wall_ns > 1e6 && ticks > 0.0 {
            self.tick_rate = (ticks / wall_ns).clamp(0.1, 10.0);
        }
        // A helper that was started again begins at zero.
        let helper_ns = if core::mem::take(&mut self.is_new) {
            // Its start is the price of leaktrack being there, which no mean can save again.
            0.0
        } else if now.helper_ns < last.helper_ns {
            now.helper_ns as f64
        } else {
            since(now.helper_ns, last.helper_ns)
        };
        let samples_ns = since(now.ticks, last.ticks) / self.tick_rate;
        let calls_ns = since(now.calls, last.calls) * CALL_TICKS / self.tick_rate;
        let process_ns = since(now.process_ns, last.process_ns);
        Moment {
            wall_ns,
            program_ns: (process_ns - helper_ns - samples_ns - calls_ns).max(0.0),
            helper_ns,
            samples_ns,
            calls_ns,
            blocks: since(now.blocks, last.blocks),
            bytes: since(now.bytes, last.bytes),
            samples: since(now.samples, last.samples),
        }
    }

    fn carry_out(&self, plan: Plan) {
        GRANT.store((plan.grant_ns * self.tick_rate) as i64, Relaxed);
        if plan.class != rate::wanted() {
            rate::want(plan.class);
        }
    }
}

/// In a forked child: the clocks of its processor time begin at zero, and what was counted before is
/// the parent's.
///
/// # Safety
/// The calling thread is the only one.
pub unsafe fn forget_in_child(threads: impl Iterator<Item = &'static Countdown>) {
    if !is_on() {
        return;
    }
    // SAFETY: the caller's promise; a look that was under way in the parent left numbers only, which
    // are all set below but the controller's, each of which is good for any look.
    let state = unsafe {
        LOCK.reset();
        &mut *STATE.0.get()
    };
    state.last = Reading {
        wall_ns: sys::clock_ns(sys::clock::MONOTONIC),
        clock: clock(),
        process_ns: sys::clock_ns(sys::clock::PROCESS_CPU),
        ..Reading::ZERO
    };
    for thread in threads {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let last = &mut state.last;
        last.ticks = last.ticks.wrapping_add(read(&thread.ticks));
        last.blocks = last.blocks.wrapping_add(read(&thread.calls));
        last.bytes = last.bytes.wrapping_add(read(&thread.bytes));
        last.samples = last.samples.wrapping_add(read(&thread.samples));
        let calls = read(&thread.calls).wrapping_add(read(&thread.frees));
        last.calls = last.calls.wrapping_add(calls);
    }
    DUE_MS.store(0, Relaxed);
    HOOKS_NS.store(0, Relaxed);
    PROGRAM_NS.store(0, Relaxed);
}
