//! Owns what happens when the host calls an interposed function.
//!
//! Nothing here allocates from the host, takes a lock that a caller of malloc may hold, does I/O or
//! touches `errno`; what it cannot record it counts and lets through.

mod boot;
pub mod cxx;
pub mod entry;
pub mod heap;
pub mod map;
pub mod real;
mod record;
mod sampled;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use crate::{loader, sampler, state, sys};

/// The originals are known.
const READY: u32 = 2;

/// 0: nobody has called yet; 1: a thread looks the originals up; [`READY`].
static RESOLVED: AtomicU32 = AtomicU32::new(0);

/// Address range of the object that provides the real `malloc`.
static ALLOCATOR: (AtomicUsize, AtomicUsize) = (AtomicUsize::new(0), AtomicUsize::new(0));

/// That object is neither the program nor the C library.
static IS_APART: AtomicBool = AtomicBool::new(false);

/// True once the originals are known; the first call looks them up. False for calls that the
/// look-up itself causes, and for other threads meanwhile.
#[inline]
pub fn ready() -> bool {
    // Pairs with the release in `resolve`.
    RESOLVED.load(Ordering::Acquire) == READY || resolve()
}

#[cold]
#[inline(never)]
fn resolve() -> bool {
    if RESOLVED
        .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        return RESOLVED.load(Ordering::Acquire) == READY;
    }
    let own = resolve as fn() -> bool as usize;
    loader::init();
    real::resolve_all(own);
    let malloc = real::ORIGINALS.malloc.load(Ordering::Relaxed);
    if malloc == 0 {
        return false; // Not even libc has one: serve from the boot buffer as long as it lasts.
    }
    let is_libcs = loader::resolve_libc(b"malloc") == Some(malloc);
    let mut is_program = true;
    loader::for_each_object(|object| {
        if object.image.contains(malloc) {
            IS_APART.store(!is_libcs && !is_program, Ordering::Relaxed);
            ALLOCATOR.0.store(object.image.start, Ordering::Relaxed);
            ALLOCATOR.1.store(object.image.end, Ordering::Relaxed);
            return core::ops::ControlFlow::Break(());
        }
        is_program = false; // the list begins with it
        core::ops::ControlFlow::Continue(())
    });
    cxx::choose(own);
    state::set_pid(sys::getpid());
    state::start_clock();
    crate::lifecycle::originals_found();
    // Pairs with the acquire in `ready`.
    RESOLVED.store(READY, Ordering::Release);
    true
}

/// Memory that was handed out while the originals were being looked up; it belongs to the program.
pub fn boot_memory() -> (usize, usize) {
    boot::memory()
}

/// True if the address lies in the object that provides the real `malloc`.
pub fn in_allocator(addr: usize) -> bool {
    ALLOCATOR.0.load(Ordering::Relaxed) <= addr && addr < ALLOCATOR.1.load(Ordering::Relaxed)
}

/// True if the address lies in the code of an allocator that is a library by itself.
pub fn in_allocators_own_library(addr: usize) -> bool {
    IS_APART.load(Ordering::Relaxed) && in_allocator(addr)
}

/// The object that provides the real `malloc`: first address and one past the last.
pub fn allocator() -> (usize, usize) {
    (
        ALLOCATOR.0.load(Ordering::Relaxed),
        ALLOCATOR.1.load(Ordering::Relaxed),
    )
}

/// An address inside the allocator, to name its module by; 0 before it is known.
pub fn allocator_addr() -> usize {
    ALLOCATOR.0.load(Ordering::Relaxed)
}

/// Begins what `mode=` asks for beyond recording every block: sampling with a mean of so many bytes,
/// or, with 0, nothing until enabled. From the constructor, once.
pub fn begin_mode(mean_bytes: u64) {
    if mean_bytes == 0 {
        sampler::filter::fill(&state::LIVE, boot::range());
        state::set_paused(true);
        return;
    }
    sampler::begin(mean_bytes, boot::range());
    state::choose_path();
}
