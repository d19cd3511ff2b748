//! The engine's atomics on loom. Each has the size of the real one and is valid when zeroed, as the
//! engine's are: its state in the model is kept aside, by its address, for as long as one execution
//! lasts. That works for statics and for memory of the arena, too.

use std::any::Any;
use std::cell::{RefCell, UnsafeCell};
use std::collections::HashMap;
use std::rc::Rc;

pub use std::sync::atomic::{Ordering, compiler_fence};

pub use loom::hint::spin_loop;
pub use loom::sync::atomic::fence;

/// Its other half, `sys::fence_others`, has the other threads pass a barrier wherever they are: as if
/// every place that waits to be asked had one.
pub fn fence_if_asked() {
    fence(Ordering::SeqCst);
}

thread_local! {
    /// All threads of a model run on one thread of the system.
    static STATES: RefCell<HashMap<usize, Rc<dyn Any>>> = RefCell::new(HashMap::new());
}

/// Forgets what the last execution left.
pub fn begin_execution() {
    STATES.with(|states| states.borrow_mut().clear());
}

fn state<T: 'static>(address: usize, new: impl FnOnce() -> T) -> Rc<T> {
    STATES.with(|states| {
        let mut states = states.borrow_mut();
        let state = states.entry(address).or_insert_with(|| Rc::new(new()));
        Rc::clone(state)
            .downcast()
            .expect("one type at one address")
    })
}

macro_rules! atomic {
    ($name:ident, $value:ty $(, $parameter:ident)?) => {
        #[repr(transparent)]
        pub struct $name $(<$parameter>)? (UnsafeCell<$value>);

        // SAFETY: the word is only read once it is initialised; the model keeps its changes.
        unsafe impl $(<$parameter>)? Sync for $name $(<$parameter>)? {}
        // SAFETY: as above.
        unsafe impl $(<$parameter>)? Send for $name $(<$parameter>)? {}

        impl $(<$parameter>)? std::fmt::Debug for $name $(<$parameter>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl $(<$parameter: 'static>)? $name $(<$parameter>)? {
            pub const fn new(value: $value) -> Self {
                $name(UnsafeCell::new(value))
            }

            fn model(&self) -> Rc<loom::sync::atomic::$name $(<$parameter>)?> {
                // SAFETY: nothing ever writes to the word.
                let first = unsafe { *self.0.get() };
                state(self.0.get().addr(), || loom::sync::atomic::$name::new(first))
            }

            pub fn load(&self, order: Ordering) -> $value {
                self.model().load(order)
            }

            pub fn store(&self, value: $value, order: Ordering) {
                self.model().store(value, order);
            }

            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.model().swap(value, order)
            }

            pub fn compare_exchange(
                &self,
                seen: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.model().compare_exchange(seen, new, success, failure)
            }

            pub fn compare_exchange_weak(
                &self,
                seen: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(seen, new, success, failure)
            }
        }
    };
}

macro_rules! number {
    ($name:ident, $value:ty) => {
        atomic!($name, $value);
        impl $name {
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.model().fetch_add(value, order)
            }

            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.model().fetch_sub(value, order)
            }

            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.model().fetch_or(value, order)
            }

            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                self.model().fetch_and(value, order)
            }

            pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                self.model().fetch_max(value, order)
            }

            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                self.model().fetch_update(success, failure, change)
            }
        }
    };
}

atomic!(AtomicBool, bool);
atomic!(AtomicPtr, *mut T, T);
number!(AtomicI32, i32);
number!(AtomicU16, u16);
number!(AtomicU32, u32);
number!(AtomicU64, u64);
number!(AtomicUsize, usize);

/// Words that only the holder of a lock touches: any two accesses that are not ordered by the lock
/// fail the model.
pub mod guarded {
    use super::{Ordering, Rc, UnsafeCell, state};

    #[repr(transparent)]
    pub struct AtomicU64(UnsafeCell<u64>);

    // SAFETY: as above.
    unsafe impl Sync for AtomicU64 {}
    // SAFETY: as above.
    unsafe impl Send for AtomicU64 {}

    impl std::fmt::Debug for AtomicU64 {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("guarded::AtomicU64")
        }
    }

    impl AtomicU64 {
        pub const fn new(value: u64) -> Self {
            AtomicU64(UnsafeCell::new(value))
        }

        fn model(&self) -> Rc<loom::cell::UnsafeCell<u64>> {
            // SAFETY: nothing ever writes to the word.
            let first = unsafe { *self.0.get() };
            state(self.0.get().addr(), || loom::cell::UnsafeCell::new(first))
        }

        pub fn load(&self, _: Ordering) -> u64 {
            // SAFETY: loom fails the model if anyone writes at the same time.
            self.model().with(|word| unsafe { *word })
        }

        pub fn store(&self, value: u64, _: Ordering) {
            // SAFETY: loom fails the model if anyone else accesses it at the same time.
            self.model().with_mut(|word| unsafe { *word = value });
        }
    }
}

pub mod sizes {
    /// Both sites of the model share the one entry.
    pub const TALLY_ENTRIES: usize = 1;
    /// All sizes are of one class.
    pub const TALLY_CLASSES: usize = 1;
    /// A waiter that pauses gives the others their turn until they wait as well, and never sees a lock let go of.
    pub const SPINS: u32 = 0;
}
