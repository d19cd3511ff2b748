//! Owns [`Owned`], a lock that knows its holder.
//!
//! A signal handler that interrupted the holder is turned away instead of waiting for itself for
//! ever, and a thread that was torn out (`siglongjmp`) can be told to let go.

use crate::lock::WordLock;

/// A lock for data that are whole at every step, so that nothing is to be done after its holder
/// was torn out.
#[derive(Debug)]
pub struct Owned {
    lock: WordLock,
}

impl Owned {
    /// A free lock.
    pub const fn new() -> Owned {
        Owned {
            lock: WordLock::new(),
        }
    }

    /// Runs `f` under the lock; `None` if this very thread is inside already.
    pub fn with<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        if self.lock.held_here() {
            return None;
        }
        let _guard = self.lock.lock();
        Some(f())
    }

    /// Lets go if this thread was torn out while it held the lock.
    ///
    /// # Safety
    /// The calling thread is not inside [`Owned::with`] except in calls that never return, and what
    /// the lock guards is whole at every step.
    pub unsafe fn abandon(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.lock.abandon() }
    }

    /// Lets go in a forked child for the thread that held the lock in the parent.
    ///
    /// # Safety
    /// The calling thread is the only one and does not hold the lock, and what it guards is whole
    /// at every step.
    pub unsafe fn abandon_in_child(&self) {
        // SAFETY: the caller's promise: the holder, if any, is not in this process.
        unsafe { self.lock.abandon_for_holder() }
    }
}

impl Default for Owned {
    fn default() -> Owned {
        Owned::new()
    }
}
