//! Owns [`Owned`], a lock that knows its holder.
//!
//! A signal handler that interrupted the holder is turned away instead of waiting for itself for
//! ever, and a thread that was torn out (`siglongjmp`) can be told to let go.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::lock::WordLock;
use crate::sys;

/// A lock that knows which thread holds it.
pub struct Owned {
    lock: WordLock,
    /// Thread pointer of the holder; 0 if there is none.
    holder: AtomicUsize,
}

impl Owned {
    /// A free lock.
    pub const fn new() -> Owned {
        Owned {
            lock: WordLock::new(),
            holder: AtomicUsize::new(0),
        }
    }

    /// Runs `f` under the lock; `None` if this very thread is inside already.
    pub fn with<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        let here = sys::thread_pointer();
        if self.holder.load(Relaxed) == here {
            return None;
        }
        let guard = self.lock.lock();
        self.holder.store(here, Relaxed);
        let result = f();
        self.holder.store(0, Relaxed);
        drop(guard);
        Some(result)
    }

    /// Takes the lock for the time of a `fork`.
    pub fn lock_for_fork(&self) {
        self.lock.lock_raw();
    }

    /// Lets go after a `fork`, in the parent and in the child alike.
    ///
    /// # Safety
    /// The calling thread, or in a child its image in the parent, called
    /// [`Owned::lock_for_fork`].
    pub unsafe fn unlock_after_fork(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.lock.unlock_raw() }
    }

    /// Lets go if this thread was torn out while it held the lock.
    ///
    /// # Safety
    /// The calling thread is not inside [`Owned::with`] except in calls that never return, and what
    /// the lock guards is whole at every step.
    pub unsafe fn abandon(&self) {
        if self.holder.load(Relaxed) == sys::thread_pointer() {
            self.holder.store(0, Relaxed);
            // SAFETY: this thread holds it, in a call that never returns.
            unsafe { self.lock.abandon() }
        }
    }
}

impl Default for Owned {
    fn default() -> Owned {
        Owned::new()
    }
}
