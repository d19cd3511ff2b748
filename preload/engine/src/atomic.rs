//! Owns where the parts that threads share get their atomics from: the processor's here, those of a
//! model checker where `tests/models` builds the same files.

pub use core::hint::spin_loop;
pub use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
    compiler_fence, fence,
};

/// The cheap half of a pair of fences whose other half is [`crate::sys::fence_others`]: that one has
/// every processor pass a barrier, so this one only keeps the compiler from moving what is around it.
#[inline(always)]
pub fn fence_if_asked() {
    compiler_fence(Ordering::SeqCst);
}

/// Sizes that a model has to have small.
pub mod sizes {
    /// Entries of a tally. Site ids are given in order, so those in use spread evenly.
    pub const TALLY_ENTRIES: usize = 256;
    /// Classes of sizes that a tally counts by itself, from the first on: up to 128 KiB, and larger.
    pub const TALLY_CLASSES: usize = 16;
    /// Pauses before a waiter sleeps: about two microseconds.
    pub const SPINS: u32 = 100;
}

/// Words that only the holder of a lock touches. They are atomics all the same, since a signal
/// handler may leave in the middle and a fork may copy them so; the models check that nobody else
/// touches them.
pub mod guarded {
    pub use core::sync::atomic::AtomicU64;
}
