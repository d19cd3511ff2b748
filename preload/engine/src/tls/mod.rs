//! Owns the few words of state that every thread has from its first instruction on.
//!
//! Plain data without destructor: all zero is the state of a thread that never called a hook.

mod x86_64;

pub use x86_64::local;

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize};

use crate::thread::ThreadState;

/// The calling thread's words. They are atomics because a signal handler on the same thread may
/// run between any two instructions; all accesses are relaxed, no other thread looks.
#[repr(C)]
pub struct Local {
    /// The thread's state: null before its first recorded call, [`crate::thread::ended`] after its
    /// last destructor.
    pub state: AtomicPtr<ThreadState>,
    /// What the innermost hook of this thread is doing: one of [`crate::guard`]'s phases.
    pub phase: AtomicU32,
    /// 1 while frees wait in `state`'s ring.
    pub deferred: AtomicU32,
    /// 1 between the handlers of a `fork`.
    pub forking: AtomicU32,
    /// Stack pointer at the entry of the hook that holds the guard.
    pub entry_sp: AtomicUsize,
    /// The word that was there, the hook's return address; 0 where the guard never grows stale.
    pub entry_word: AtomicUsize,
}
