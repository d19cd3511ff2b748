//! Owns where the parts that threads share get their atomics from: the processor's here, those of a
//! model checker where `tests/models` builds the same files.

pub use core::hint::spin_loop;
pub use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence, fence,
};

/// Sizes that a model has to have small.
pub mod sizes {
    /// Entries of a tally. Site ids are given in order, so those in use spread evenly.
    pub const TALLY_ENTRIES: usize = 256;
    /// Pauses before a waiter sleeps: about two microseconds.
    pub const SPINS: u32 = 100;
}

/// Words that only the holder of a lock touches. They are atomics all the same, since a signal
/// handler may leave in the middle and a fork may copy them so; the models check that nobody else
/// touches them.
pub mod guarded {
    pub use core::sync::atomic::AtomicU64;
}
