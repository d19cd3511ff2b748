//! Owns [`WordLock`], the only kind of lock in the engine: a word in place, a futex behind it.
//! It must never call libc, allocate, or be held while anything outside the engine is called.
//!
//! Taking a free lock is one compare-exchange and letting it go is one release store. For that the
//! holder does not learn atomically whether somebody waits: sleepers announce themselves in a
//! second word, which the holder reads after the store; having done so, they look at the lock once
//! more. So a wake-up is missed only where the processor lets the holder's read overtake its store:
//! for as long as a store takes to become visible, well below a microsecond. Sleepers therefore look
//! again after `FIRST_SLEEP_NS`, then after twice as long each time up to `SLEEP_NS`: a missed wake-up
//! costs about as long as was waited before it instead of a deadlock.
//!
//! The word names its holder by its thread pointer, in the same instruction that takes the lock, so
//! that a thread that was torn out of a critical section (`siglongjmp` out of a signal handler) can
//! give up what it held, and nothing else, wherever that happened.
//!
//! Lock order in the engine, outermost first: mapping table, live shard (in index order when
//! several are taken), side list of huge blocks, arena. Owners of other locks place themselves
//! before these.

use crate::atomic::{
    AtomicBool, AtomicU32, AtomicUsize, Ordering, fence, fence_if_asked, sizes::SPINS, spin_loop,
};
use core::marker::PhantomData;

use crate::sys;

const FREE: usize = 0;
/// Free, but its last holder was torn out: what the lock guards must be checked first. Any other
/// value is the thread pointer of the holder.
const ABANDONED: usize = 1;

/// First sleep, and the longest one, without looking at the lock again.
const FIRST_SLEEP_NS: u64 = 50_000;
const SLEEP_NS: u64 = 1_000_000;

static SPIN_ONLY: AtomicBool = AtomicBool::new(false);

/// Never sleep in the kernel any more (a seccomp filter forbids `futex`), or do so again.
pub fn set_spin_only(on: bool) {
    SPIN_ONLY.store(on, Ordering::Relaxed);
}

/// A mutual-exclusion lock that guards whatever its owner says it guards.
///
/// It is all zeroes when free. It lives in statics: letting go reads it once more after it is
/// free, so its memory must outlast every holder.
#[derive(Debug)]
pub struct WordLock {
    word: AtomicUsize,
    sleepers: AtomicU32,
    /// Changes with each wake-up; what sleepers sleep on.
    wakes: AtomicU32,
}

/// Holds a [`WordLock`]; dropping it lets go.
#[derive(Debug)]
pub struct Guard<'a> {
    lock: &'a WordLock,
    /// A guard must be dropped by the thread that took it.
    here: PhantomData<*const ()>,
}

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: this guard stands for the lock being held.
        unsafe { self.lock.unlock_raw() }
    }
}

impl WordLock {
    /// A free lock.
    pub const fn new() -> Self {
        WordLock {
            word: AtomicUsize::new(FREE),
            sleepers: AtomicU32::new(0),
            wakes: AtomicU32::new(0),
        }
    }

    /// Waits for the lock and takes it, whether or not it was abandoned.
    #[inline(always)]
    pub fn lock(&self) -> Guard<'_> {
        self.lock_checked().0
    }

    /// Waits for the lock and takes it. True: it was abandoned, and what it guards has to be
    /// repaired before use.
    #[inline(always)]
    pub fn lock_checked(&self) -> (Guard<'_>, bool) {
        let abandoned = self.acquire();
        (
            Guard {
                lock: self,
                here: PhantomData,
            },
            abandoned,
        )
    }

    /// Takes the lock if it is free or abandoned.
    pub fn try_lock(&self) -> Option<Guard<'_>> {
        let seen = self.word.load(Ordering::Relaxed);
        let taken = seen <= ABANDONED && self.exchange(seen);
        taken.then(|| Guard {
            lock: self,
            here: PhantomData,
        })
    }

    /// Waits for the lock as long as `go_on` says, which is asked every millisecond or so.
    pub fn lock_while(&self, mut go_on: impl FnMut() -> bool) -> Option<Guard<'_>> {
        loop {
            let wakes = self.wakes.load(Ordering::Relaxed);
            let taken = self.try_lock();
            if taken.is_some() || !go_on() {
                return taken;
            }
            if SPIN_ONLY.load(Ordering::Relaxed) {
                core::hint::spin_loop();
            } else {
                self.sleep(wakes, SLEEP_NS);
            }
        }
    }

    /// True if the calling thread holds the lock.
    pub fn held_here(&self) -> bool {
        self.word.load(Ordering::Relaxed) == sys::thread_pointer()
    }

    /// Waits for the lock and takes it without a guard; true if it was abandoned.
    pub fn lock_raw(&self) -> bool {
        self.acquire()
    }

    /// Lets go.
    ///
    /// # Safety
    /// The caller holds the lock, through [`WordLock::lock_raw`] or a forgotten guard.
    #[inline(always)]
    pub unsafe fn unlock_raw(&self) {
        // Release pairs with the acquire of the next holder.
        self.word.store(FREE, Ordering::Release);
        // Keeps the compiler in order; what the processor may still do is said above.
        fence_if_asked();
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    /// Makes the lock free as if new: in a forked child, where the threads that waited are gone.
    ///
    /// # Safety
    /// No other thread exists that may hold or wait for it, and what it guards is whole at every
    /// step.
    pub unsafe fn reset(&self) {
        self.sleepers.store(0, Ordering::Relaxed);
        // Release pairs with the acquire of the next holder.
        self.word.store(FREE, Ordering::Release);
    }

    /// Lets go of the lock if the calling thread was torn out while it held it; the next holder is
    /// told.
    ///
    /// # Safety
    /// If the calling thread holds the lock, then in a call that never returns.
    pub unsafe fn abandon(&self) {
        if self.held_here() {
            // SAFETY: the caller's promise; it is this thread.
            unsafe { self.abandon_for_holder() }
        }
    }

    /// Lets go of the lock for whoever holds it; the next holder is told.
    ///
    /// # Safety
    /// The holder, if there is one, never comes back to it: it is a thread that is not in this
    /// process (after an unannounced `fork`).
    pub unsafe fn abandon_for_holder(&self) {
        if self.word.load(Ordering::Relaxed) != FREE {
            // Release pairs with the acquire of the next holder.
            self.word.store(ABANDONED, Ordering::Release);
            self.wake();
        }
    }

    /// Takes the lock; true if it was abandoned.
    #[inline(always)]
    fn acquire(&self) -> bool {
        if self.exchange(FREE) {
            false
        } else {
            self.acquire_contended()
        }
    }

    #[inline(always)]
    fn exchange(&self, seen: usize) -> bool {
        // Acquire pairs with the release stores in `unlock_raw`, `reset` and `abandon_for_holder`.
        self.word
            .compare_exchange(
                seen,
                sys::thread_pointer(),
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    #[cold]
    #[inline(never)]
    fn acquire_contended(&self) -> bool {
        let (mut spins, mut sleep_ns) = (0, FIRST_SLEEP_NS);
        loop {
            let wakes = self.wakes.load(Ordering::Relaxed);
            let seen = self.word.load(Ordering::Relaxed);
            if seen <= ABANDONED {
                if self.exchange(seen) {
                    return seen == ABANDONED;
                }
            } else if spins < SPINS || SPIN_ONLY.load(Ordering::Relaxed) {
                spins = spins.saturating_add(1);
                spin_loop();
            } else {
                self.sleep(wakes, sleep_ns);
                sleep_ns = (2 * sleep_ns).min(SLEEP_NS);
            }
        }
    }

    /// Sleeps until somebody lets go or so much time has passed; not at all if the lock is free or
    /// somebody was woken since `wakes` was read.
    fn sleep(&self, wakes: u32, ns: u64) {
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        // Who let go before this was announced has woken nobody. The other half of the fence in
        // `unlock_raw`.
        fence(Ordering::SeqCst);
        if self.word.load(Ordering::Relaxed) > ABANDONED {
            // Any result means the same: look again.
            let _ = sys::futex_wait(&self.wakes, wakes, Some(ns), false);
        }
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        if !SPIN_ONLY.load(Ordering::Relaxed) {
            sys::futex_wake(&self.wakes, 1, false);
        }
    }
}

impl Default for WordLock {
    fn default() -> Self {
        Self::new()
    }
}
