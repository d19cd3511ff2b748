//! Owns [`WordLock`], the only kind of lock in the engine: a word in place, a futex behind it.
//! It must never call libc, allocate, or be held while anything outside the engine is called.
//!
//! Taking a free lock is one compare-exchange and letting it go is one release store. For that the
//! holder does not learn atomically whether somebody waits: sleepers announce themselves in a
//! second word, which the holder reads after the store. The processor may let that read overtake
//! the store, so a wake-up can be missed; sleepers therefore look again after
//! [`SLEEP_NS`], and a missed wake-up costs that much instead of a deadlock.
//!
//! Lock order in the engine, outermost first: mapping table, live shard (in index order when
//! several are taken), side list of huge blocks, arena. Owners of other locks place themselves
//! before these.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::sys;

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Free, but whoever held it last was torn out of the critical section (`siglongjmp` out of a
/// signal handler): what the lock guards must be checked first.
const ABANDONED: u32 = 2;

/// Pauses before a waiter sleeps: about two microseconds.
const SPINS: u32 = 100;
/// Longest sleep without looking at the lock again.
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
    word: AtomicU32,
    sleepers: AtomicU32,
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
            word: AtomicU32::new(FREE),
            sleepers: AtomicU32::new(0),
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
        // Acquire pairs with the release store in `unlock_raw`.
        let taken = seen != HELD
            && self
                .word
                .compare_exchange(seen, HELD, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        taken.then(|| Guard {
            lock: self,
            here: PhantomData,
        })
    }

    /// Waits for the lock and takes it without a guard (for `fork`). An abandoned lock stays so for
    /// the next holder: see [`WordLock::unlock_raw`].
    pub fn lock_raw(&self) {
        self.acquire();
    }

    /// Lets go.
    ///
    /// # Safety
    /// The caller holds the lock, through [`WordLock::lock_raw`] or a forgotten guard.
    #[inline(always)]
    pub unsafe fn unlock_raw(&self) {
        // Release pairs with the acquire of the next holder.
        self.word.store(FREE, Ordering::Release);
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    /// Makes the lock free as if new: in a forked child, where the threads that waited are gone.
    ///
    /// # Safety
    /// No other thread exists that may hold or wait for it, and what it guards is whole (the
    /// forking thread held it).
    pub unsafe fn reset(&self) {
        self.sleepers.store(0, Ordering::Relaxed);
        // Release pairs with the acquire of the next holder.
        self.word.store(FREE, Ordering::Release);
    }

    /// Lets go of a lock whose holder was torn out of its critical section; the next holder is told.
    /// Does nothing when the lock is free.
    ///
    /// # Safety
    /// If the lock is held, then by the calling thread, in a call that never returns.
    pub unsafe fn abandon(&self) {
        // Release pairs with the acquire of the next holder.
        let _ = self
            .word
            .compare_exchange(HELD, ABANDONED, Ordering::Release, Ordering::Relaxed);
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    /// Takes the lock; true if it was abandoned.
    #[inline(always)]
    fn acquire(&self) -> bool {
        // Acquire pairs with the release store in `unlock_raw`.
        let got = self
            .word
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        if got.is_ok() {
            false
        } else {
            self.acquire_contended()
        }
    }

    #[cold]
    #[inline(never)]
    fn acquire_contended(&self) -> bool {
        let mut spins = 0;
        loop {
            let seen = self.word.load(Ordering::Relaxed);
            if seen != HELD {
                // Acquire pairs with the release stores in `unlock_raw`, `reset` and `abandon`.
                let got = self.word.compare_exchange_weak(
                    seen,
                    HELD,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                );
                if got.is_ok() {
                    return seen == ABANDONED;
                }
            } else if spins < SPINS || SPIN_ONLY.load(Ordering::Relaxed) {
                spins = spins.saturating_add(1);
                core::hint::spin_loop();
            } else {
                self.sleepers.fetch_add(1, Ordering::Relaxed);
                // Any result means the same: look again.
                let _ = sys::futex_wait(&self.word, HELD, Some(SLEEP_NS), false);
                self.sleepers.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        if !SPIN_ONLY.load(Ordering::Relaxed) {
            sys::futex_wake(&self.word, 1, false);
        }
    }
}

impl Default for WordLock {
    fn default() -> Self {
        Self::new()
    }
}
