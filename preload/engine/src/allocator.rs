//! Owns what is known of the allocator: how it rounds sizes, and its own account of itself.
//!
//! Allocators answer under locks of their own: `mallinfo2` walks the free lists under each arena's
//! lock, which took 203 ms with a million free chunks. They are asked only at the very end, and
//! never from a hook or the helper.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use leaktrack_recording::AllocatorStats;

use crate::account::Rounding;
use crate::hooks::{self, real::ORIGINALS};
use crate::loader;

/// 0: unknown, 1: glibc, 2: jemalloc, 3: tcmalloc.
static KIND: AtomicU32 = AtomicU32::new(0);
/// The function that tells figures.
static TELLS: AtomicUsize = AtomicUsize::new(0);

const GLIBC: u32 = 1;
const JEMALLOC: u32 = 2;
const TCMALLOC: u32 = 3;

/// Finds out which allocator there is. Asks the loader: call on a thread of the host.
pub fn learn() {
    for (kind, names) in [
        (JEMALLOC, [&b"mallctl"[..], b"je_mallctl"]),
        (TCMALLOC, [&b"MallocExtension_GetNumericProperty"[..], b""]),
        (GLIBC, [&b"mallinfo2"[..], b"mallinfo"]),
    ] {
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            let found = match kind {
                GLIBC => loader::resolve_libc(name),
                _ => loader::resolve_any(name),
            };
            // Another allocator's process still has glibc's function, which speaks of an empty heap.
            if let Some(addr) = found.filter(|addr| hooks::in_allocator(*addr)) {
                KIND.store(kind, Relaxed);
                // `mallinfo` counts in 32 bits: too few to be asked.
                TELLS.store(if name == b"mallinfo" { 0 } else { addr }, Relaxed);
                return;
            }
        }
    }
}

/// How it rounds sizes.
pub fn rounding() -> Rounding {
    match KIND.load(Relaxed) {
        GLIBC => Rounding::Glibc,
        JEMALLOC => Rounding::Jemalloc,
        _ => Rounding::Unknown,
    }
}

/// The figures, if the allocator can tell.
///
/// The calling thread must not be inside the allocator.
pub fn stats() -> Option<AllocatorStats> {
    let tells = TELLS.load(Relaxed);
    if tells == 0 || ORIGINALS.malloc.load(Relaxed) == 0 {
        return None;
    }
    match KIND.load(Relaxed) {
        // SAFETY: `learn` found a function of this type under this name.
        GLIBC => Some(unsafe { glibc(tells) }),
        // SAFETY: as above.
        JEMALLOC => unsafe { jemalloc(tells) },
        // SAFETY: as above.
        TCMALLOC => unsafe { tcmalloc(tells) },
        _ => None,
    }
}

/// `struct mallinfo2`.
#[repr(C)]
struct Mallinfo2 {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

/// # Safety
/// `tells` is glibc's `mallinfo2`.
unsafe fn glibc(tells: usize) -> AllocatorStats {
    type F = unsafe extern "C" fn() -> Mallinfo2;
    // SAFETY: the caller's promise.
    let info = unsafe { core::mem::transmute::<usize, F>(tells)() };
    AllocatorStats {
        held_bytes: (info.arena + info.hblkhd) as u64,
        free_bytes: info.fordblks as u64,
        releasable_bytes: info.keepcost as u64,
    }
}

/// # Safety
/// `tells` is jemalloc's `mallctl`.
unsafe fn jemalloc(tells: usize) -> Option<AllocatorStats> {
    type F = unsafe extern "C" fn(*const u8, *mut u64, *mut usize, *mut u64, usize) -> i32;
    // SAFETY: the caller's promise.
    let mallctl = unsafe { core::mem::transmute::<usize, F>(tells) };
    let mut epoch = 1u64;
    // SAFETY: a name that ends with a NUL and a value of 8 bytes; nothing is asked for.
    unsafe {
        mallctl(
            c"epoch".as_ptr().cast(),
            core::ptr::null_mut(),
            core::ptr::null_mut(),
            &raw mut epoch,
            8,
        )
    };
    let read = |name: &core::ffi::CStr| {
        let (mut value, mut bytes) = (0u64, 8usize);
        // SAFETY: a name that ends with a NUL, and room for its value of 8 bytes.
        let error = unsafe {
            mallctl(
                name.as_ptr().cast(),
                &raw mut value,
                &raw mut bytes,
                core::ptr::null_mut(),
                0,
            )
        };
        (error == 0 && bytes == 8).then_some(value)
    };
    let [resident, active, allocated, metadata] = [
        read(c"stats.resident")?,
        read(c"stats.active")?,
        read(c"stats.allocated")?,
        read(c"stats.metadata")?,
    ];
    Some(AllocatorStats {
        held_bytes: resident,
        free_bytes: resident.saturating_sub(allocated.saturating_add(metadata)),
        // Dirty and muzzy pages.
        releasable_bytes: resident.saturating_sub(active.saturating_add(metadata)),
    })
}

/// # Safety
/// `tells` is tcmalloc's `MallocExtension_GetNumericProperty`.
unsafe fn tcmalloc(tells: usize) -> Option<AllocatorStats> {
    type F = unsafe extern "C" fn(*const u8, *mut usize) -> i32;
    // SAFETY: the caller's promise.
    let property = unsafe { core::mem::transmute::<usize, F>(tells) };
    let read = |name: &core::ffi::CStr| {
        let mut value = 0usize;
        // SAFETY: a name that ends with a NUL, and room for its value.
        let known = unsafe { property(name.as_ptr().cast(), &raw mut value) };
        (known != 0).then_some(value as u64)
    };
    let heap = read(c"generic.heap_size")?;
    let unmapped = read(c"tcmalloc.pageheap_unmapped_bytes")?;
    let allocated = read(c"generic.current_allocated_bytes")?;
    let held_bytes = heap.saturating_sub(unmapped);
    Some(AllocatorStats {
        held_bytes,
        free_bytes: held_bytes.saturating_sub(allocated),
        releasable_bytes: read(c"tcmalloc.pageheap_free_bytes")?,
    })
}
