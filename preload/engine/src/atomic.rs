//! Owns where the parts that threads share get their atomics from: the processor's here, those of a
//! model checker where `tests/models` builds the same files.

pub use core::hint::spin_loop;
pub use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence,
};

/// Words that only the holder of a lock touches. They are atomics all the same, since a signal
/// handler may leave in the middle and a fork may copy them so; the models check that nobody else
/// touches them.
pub mod guarded {
    pub use core::sync::atomic::AtomicU64;
}
