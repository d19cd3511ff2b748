//! What the engine asks the kernel for, as far as the models need it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::atomic::{AtomicU32, Ordering};

thread_local! {
    static THREADS: RefCell<HashMap<String, usize>> = RefCell::new(HashMap::new());
    /// Sleepers are woken by others alone. All threads of a model run on one thread of the system.
    static SLEEP_FOR_EVER: Cell<bool> = const { Cell::new(false) };
}

/// From now on nobody wakes up because time has passed.
pub fn sleep_for_ever() {
    SLEEP_FOR_EVER.set(true);
}

/// A number for each thread of the model, above the marks of free and abandoned locks.
pub fn thread_pointer() -> usize {
    let name = format!("{:?}", loom::thread::current().id());
    THREADS.with(|threads| {
        let mut threads = threads.borrow_mut();
        let next = 0x1000 * (threads.len() + 1);
        *threads.entry(name).or_insert(next)
    })
}

/// Comes back at once if the word has changed, and otherwise at some time: a sleeper looks again
/// after a while, so nothing may rely on being woken. After [`sleep_for_ever`] it comes back when the
/// word has changed, and an execution in which that never happens has too many branches.
pub fn futex_wait(word: &AtomicU32, expected: u32, _: Option<u64>, _: bool) -> Result<(), ()> {
    while word.load(Ordering::Relaxed) == expected {
        loom::thread::yield_now();
        if !SLEEP_FOR_EVER.get() {
            break;
        }
    }
    Ok(())
}

/// Wakes nobody but by the word: see [`futex_wait`].
pub fn futex_wake(_: &AtomicU32, _: u32, _: bool) {}

/// Every other thread passes a barrier: see [`crate::atomic::fence_if_asked`].
pub fn fence_others() -> bool {
    crate::atomic::fence(Ordering::SeqCst);
    true
}

pub fn can_fence_others() -> bool {
    true
}
