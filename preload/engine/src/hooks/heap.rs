//! The hooks of the malloc family.
//!
//! `malloc` records after the real call, `free` and `realloc` forget before it: another thread may
//! get the address at once. `errno` is the real function's: nothing of ours touches it.
//! Each function gets, behind its own arguments, the stack and frame pointer at the entry of the
//! exported symbol.

use core::sync::atomic::Ordering::Relaxed;

use leaktrack_recording::Call;

use super::real::{ORIGINALS, original};
use super::record::{
    count_free, forget, forget_quickly, leave, record, record_exactly, restore, settle,
};
use super::{boot, ready};
use crate::guard::{self, IDLE, OURS, REAL};
use crate::sampler::{self, filter};
use crate::thread;
use crate::tls::{self, Local};
use crate::unwind::{self, Entry};
use crate::{live, state};

type Malloc = unsafe extern "C" fn(usize) -> *mut u8;
type Calloc = unsafe extern "C" fn(usize, usize) -> *mut u8;
type Realloc = unsafe extern "C" fn(*mut u8, usize) -> *mut u8;
type Free = unsafe extern "C" fn(*mut u8);
type Memalign = unsafe extern "C" fn(usize, usize) -> *mut u8;
type PosixMemalign = unsafe extern "C" fn(*mut *mut u8, usize, usize) -> i32;
type UsableSize = unsafe extern "C" fn(*mut u8) -> usize;

/// What a hook does with a call.
enum Way {
    /// Record it.
    Record,
    /// Hand it to the original.
    Pass,
    /// The originals are not known yet and being looked up by this thread or another.
    Boot,
}

/// The slow half of entering: first calls, switched off, nested calls.
#[cold]
#[inline(never)]
fn entering_slowly(t: &Local, sp: usize, size: usize) -> Way {
    if !ready() {
        return Way::Boot;
    }
    if !state::tracking() {
        return Way::Pass;
    }
    if t.phase.load(Relaxed) == IDLE {
        crate::lifecycle::hook_called(t);
        let passes = !state::tracking()
            || state::is_paused()
            || sampler::is_on() && sampler::passes(t, size);
        return if passes { Way::Pass } else { Way::Record };
    }
    match guard::nested_phase(t, sp) {
        IDLE => Way::Record,
        _ => {
            if sampler::is_on() {
                sampler::skip(t);
            }
            state::COVERAGE.nested.fetch_add(1, Relaxed);
            Way::Pass
        }
    }
}

#[inline(always)]
fn entering(t: &Local, sp: usize, size: usize) -> Way {
    if state::fast() && t.phase.load(Relaxed) == IDLE {
        return Way::Record;
    }
    entering_slowly(t, sp, size)
}

#[inline(always)]
fn local() -> &'static Local {
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    unsafe { &*tls::local() }
}

/// Runs `real` under the guard and records what it returns.
///
/// # Safety
/// `real` must be sound to call.
#[inline(always)]
pub(super) unsafe fn allocate(
    size: usize,
    sp: usize,
    bp: usize,
    align: usize,
    call: Call,
    real: impl Fn() -> *mut u8,
) -> *mut u8 {
    let t = local();
    if !(state::fast() && t.phase.load(Relaxed) == IDLE) {
        // SAFETY: passed on.
        return unsafe { allocate_slowly(t, size, Entry { sp, bp }, align, call, real) };
    }
    // SAFETY: `sp` is that of the exported function.
    unsafe { guard::enter_hook(t, REAL, sp) };
    let p = real();
    if !p.is_null() {
        guard::turn(t, OURS);
        record_exactly(t, p.addr(), size, Entry { sp, bp }, call);
    }
    leave(t);
    p
}

/// As [`allocate`], where something else may be due or the call may be nested.
///
/// # Safety
/// As for [`allocate`].
#[cold]
#[inline(never)]
unsafe fn allocate_slowly(
    t: &Local,
    size: usize,
    entry: Entry,
    align: usize,
    call: Call,
    real: impl Fn() -> *mut u8,
) -> *mut u8 {
    match entering_slowly(t, entry.sp, size) {
        Way::Record => {}
        Way::Pass => return real(),
        Way::Boot => return boot::alloc(size, align),
    }
    // SAFETY: `sp` is that of the exported function.
    unsafe { guard::enter_hook(t, REAL, entry.sp) };
    let p = real();
    if !p.is_null() {
        guard::turn(t, OURS);
        record(t, p.addr(), size, entry, call);
    }
    leave(t);
    p
}

/// `malloc`.
///
/// # Safety
/// As `malloc`; `sp` and `bp` as the module says. The same holds for all below.
pub unsafe extern "C" fn malloc(size: usize, sp: usize, bp: usize) -> *mut u8 {
    // SAFETY: the original has this type.
    unsafe {
        allocate(size, sp, bp, 16, Call::Malloc, || {
            original::<Malloc>(&ORIGINALS.malloc)(size)
        })
    }
}

/// `calloc`.
///
/// # Safety
/// As `calloc`.
pub unsafe extern "C" fn calloc(count: usize, each: usize, sp: usize, bp: usize) -> *mut u8 {
    // An overflowing product makes the original fail, and nothing is recorded then.
    let size = count.wrapping_mul(each);
    // SAFETY: the original has this type.
    unsafe {
        allocate(size, sp, bp, 16, Call::Calloc, || {
            original::<Calloc>(&ORIGINALS.calloc)(count, each)
        })
    }
}

/// `memalign`.
///
/// # Safety
/// As `memalign`.
pub unsafe extern "C" fn memalign(align: usize, size: usize, sp: usize, bp: usize) -> *mut u8 {
    // SAFETY: the original has this type.
    unsafe {
        allocate(size, sp, bp, align, Call::Memalign, || {
            original::<Memalign>(&ORIGINALS.memalign)(align, size)
        })
    }
}

/// `aligned_alloc`.
///
/// # Safety
/// As `aligned_alloc`.
pub unsafe extern "C" fn aligned_alloc(align: usize, size: usize, sp: usize, bp: usize) -> *mut u8 {
    // SAFETY: the original has this type.
    unsafe {
        allocate(size, sp, bp, align, Call::AlignedAlloc, || {
            original::<Memalign>(&ORIGINALS.aligned_alloc)(align, size)
        })
    }
}

/// `valloc`.
///
/// # Safety
/// As `valloc`.
pub unsafe extern "C" fn valloc(size: usize, sp: usize, bp: usize) -> *mut u8 {
    // SAFETY: the original has this type.
    unsafe {
        allocate(size, sp, bp, 4096, Call::Valloc, || {
            original::<Malloc>(&ORIGINALS.valloc)(size)
        })
    }
}

/// `pvalloc`.
///
/// # Safety
/// As `pvalloc`.
pub unsafe extern "C" fn pvalloc(size: usize, sp: usize, bp: usize) -> *mut u8 {
    // SAFETY: the original has this type.
    unsafe {
        allocate(size, sp, bp, 4096, Call::Pvalloc, || {
            original::<Malloc>(&ORIGINALS.pvalloc)(size)
        })
    }
}

/// `posix_memalign`.
///
/// # Safety
/// As `posix_memalign`.
pub unsafe extern "C" fn posix_memalign(
    out: *mut *mut u8,
    align: usize,
    size: usize,
    sp: usize,
    bp: usize,
) -> i32 {
    const ENOMEM: i32 = 12;
    let t = local();
    match entering(t, sp, size) {
        Way::Record => {}
        Way::Pass => {
            // SAFETY: the original has this type.
            return unsafe {
                original::<PosixMemalign>(&ORIGINALS.posix_memalign)(out, align, size)
            };
        }
        Way::Boot => {
            let p = boot::alloc(size, align);
            if p.is_null() {
                return ENOMEM;
            }
            // SAFETY: the caller passes room for the pointer.
            unsafe { *out = p };
            return 0;
        }
    }
    // SAFETY: `sp` is that of the exported function.
    unsafe { guard::enter_hook(t, REAL, sp) };
    // SAFETY: the original has this type.
    let r = unsafe { original::<PosixMemalign>(&ORIGINALS.posix_memalign)(out, align, size) };
    if r == 0 {
        guard::turn(t, OURS);
        // SAFETY: the original stored the block there.
        let p = unsafe { *out };
        if !p.is_null() {
            record(t, p.addr(), size, Entry { sp, bp }, Call::PosixMemalign);
        }
    }
    leave(t);
    r
}

/// What allocators keep before a block, if they do.
const HEADER_BYTES: usize = 16;

/// A block from this size on may be a mapping of its own, which glibc gives back in `free`.
const MAPPED_FROM_BYTES: u64 = 32 << 10;

/// Forgets a block that is about to be freed; the guard is in phase `OURS`. Its size, or the
/// largest if it was not known.
#[inline(never)]
fn release(t: &Local, p: *mut u8) -> u64 {
    match forget(t, p.addr()) {
        Some(block) => {
            settle(t, p.addr(), block);
            count_free(t, block.class);
            block.size
        }
        None => {
            unknown(t);
            u64::MAX
        }
    }
}

/// Counts the free of a block that is not in the live table.
#[cold]
fn unknown(t: &Local) {
    if sampler::is_on() {
        sampler::count_free(t);
    } else {
        state::COVERAGE.unknown_frees.fetch_add(1, Relaxed);
    }
}

/// Calls the original `free`, unless the block is of the boot buffer.
///
/// # Safety
/// As `free`.
#[inline(always)]
unsafe fn really_free(p: *mut u8, bytes: u64, real: impl Fn(*mut u8)) {
    if boot::size_of_block(p).is_none() {
        real(p);
        if bytes >= MAPPED_FROM_BYTES {
            // It may have been the stack of a fiber, or lain behind one.
            unwind::note_unmap();
        }
    }
}

/// Frees a block whose free call is `real`.
///
/// # Safety
/// As `free`.
#[inline(always)]
pub(super) unsafe fn free_by(p: *mut u8, sp: usize, real: impl Fn(*mut u8)) {
    if p.is_null() {
        return;
    }
    // The allocator's word before the block, which the original will wait for.
    live::line(p.wrapping_sub(HEADER_BYTES));
    let t = local();
    if !(state::fast() && t.phase.load(Relaxed) == IDLE) {
        // SAFETY: passed on.
        unsafe { free_slowly(t, p, sp, &real) };
        return;
    }
    // SAFETY: `sp` is that of the exported function.
    unsafe { guard::enter_hook(t, OURS, sp) };
    if forget_quickly(t, p.addr()) {
        // What is in the live table is the allocator's, and a block so small is no mapping.
        const { assert!(live::QUICK_END <= MAPPED_FROM_BYTES) };
        guard::turn(t, REAL);
        real(p);
        leave(t);
        return;
    }
    // SAFETY: passed on.
    unsafe { free_unusual(t, p, &real) };
}

/// Goes on where a block could not be forgotten quickly; the guard is in phase `OURS`.
///
/// # Safety
/// As `free`.
#[inline(never)]
unsafe fn free_unusual(t: &Local, p: *mut u8, real: &dyn Fn(*mut u8)) {
    let bytes = release(t, p);
    guard::turn(t, REAL);
    // SAFETY: passed on.
    unsafe { really_free(p, bytes, real) };
    leave(t);
}

/// # Safety
/// As `free`.
#[cold]
#[inline(never)]
unsafe fn free_slowly(t: &Local, p: *mut u8, sp: usize, real: &dyn Fn(*mut u8)) {
    if !ready() {
        return; // The originals are not known: the block is of the boot buffer.
    }
    if !state::tracking() {
        // SAFETY: passed on.
        unsafe { really_free(p, 0, real) };
        return;
    }
    if filter::is_on() && !filter::may_know(p.addr()) {
        if sampler::is_on() && !state::is_paused() {
            sampler::count_free(t);
        }
        real(p);
        return;
    }
    match guard::nested_phase(t, sp) {
        // A handler interrupted our code: the table may be in the middle of a change. The hook
        // underneath frees the block when it is done.
        OURS => {
            if !thread::defer(t, p.addr()) {
                state::COVERAGE.nested.fetch_add(1, Relaxed);
                // SAFETY: passed on.
                unsafe { really_free(p, u64::MAX, real) };
            }
        }
        // The allocator calls itself, or a handler interrupted it: our data are at rest.
        REAL => {
            guard::turn(t, OURS);
            if let Some(block) = forget(t, p.addr()) {
                settle(t, p.addr(), block);
            }
            guard::turn(t, REAL);
            // SAFETY: passed on.
            unsafe { really_free(p, u64::MAX, real) };
        }
        _ => {
            crate::lifecycle::hook_called(t);
            // SAFETY: `sp` is that of the exported function.
            unsafe { guard::enter_hook(t, OURS, sp) };
            let start = sampler::budget::start();
            let bytes = release(t, p);
            sampler::spent(t, start);
            guard::turn(t, REAL);
            // SAFETY: passed on.
            unsafe { really_free(p, bytes, real) };
            leave(t);
        }
    }
}

/// `free`.
///
/// # Safety
/// As `free`.
pub unsafe extern "C" fn free(p: *mut u8, sp: usize, _bp: usize) {
    // SAFETY: the original has this type.
    unsafe { free_by(p, sp, |p| original::<Free>(&ORIGINALS.free)(p)) }
}

/// `free_sized` of C23. Where the C library has none, it is `free`.
///
/// # Safety
/// As `free_sized`.
pub unsafe extern "C" fn free_sized(p: *mut u8, size: usize, sp: usize, _bp: usize) {
    type F = unsafe extern "C" fn(*mut u8, usize);
    // SAFETY: the originals have these types.
    unsafe {
        if ORIGINALS.free_sized.load(Relaxed) == 0 {
            return free_by(p, sp, |p| original::<Free>(&ORIGINALS.free)(p));
        }
        free_by(p, sp, |p| original::<F>(&ORIGINALS.free_sized)(p, size));
    }
}

/// `free_aligned_sized` of C23. Where the C library has none, it is `free`.
///
/// # Safety
/// As `free_aligned_sized`.
pub unsafe extern "C" fn free_aligned_sized(
    p: *mut u8,
    align: usize,
    size: usize,
    sp: usize,
    _bp: usize,
) {
    type F = unsafe extern "C" fn(*mut u8, usize, usize);
    // SAFETY: the originals have these types.
    unsafe {
        if ORIGINALS.free_aligned_sized.load(Relaxed) == 0 {
            return free_by(p, sp, |p| original::<Free>(&ORIGINALS.free)(p));
        }
        free_by(p, sp, |p| {
            original::<F>(&ORIGINALS.free_aligned_sized)(p, align, size)
        });
    }
}

/// Frees what signal handlers put aside.
#[cold]
#[inline(never)]
pub(super) fn free_deferred(t: &Local) {
    // What the guard remembers may be of a handler that came and went since. A word of zero is never
    // taken for a return address.
    let here = core::hint::black_box(0usize);
    let sp = (&raw const here).addr();
    while let Some(addr) = thread::undefer(t) {
        let p = core::ptr::with_exposed_provenance_mut::<u8>(addr);
        // SAFETY: the handler called free with this pointer and we took it over. The word at the entry
        // given is there until all are freed.
        unsafe { free(p, sp, 0) };
    }
}

/// `realloc`.
///
/// # Safety
/// As `realloc`.
pub unsafe extern "C" fn realloc(p: *mut u8, size: usize, sp: usize, bp: usize) -> *mut u8 {
    if p.is_null() {
        // SAFETY: the original has this type.
        return unsafe {
            allocate(size, sp, bp, 16, Call::Realloc, || {
                original::<Realloc>(&ORIGINALS.realloc)(p, size)
            })
        };
    }
    let t = local();
    if !(state::fast() && t.phase.load(Relaxed) == IDLE) {
        // SAFETY: passed on.
        if let Some(r) = unsafe { realloc_slowly(t, p, size, sp, bp) } {
            return r;
        }
    }
    // SAFETY: `sp` is that of the exported function.
    unsafe { guard::enter_hook(t, OURS, sp) };
    // SAFETY: passed on.
    let r = unsafe { resize(t, p, size, Entry { sp, bp }) };
    leave(t);
    r
}

/// `realloc` in the plain case; the guard is in phase `OURS`.
///
/// # Safety
/// As `realloc`.
#[inline(always)]
unsafe fn resize(t: &Local, p: *mut u8, size: usize, entry: Entry) -> *mut u8 {
    thread::begin_moving(t, p.addr());
    let old = forget(t, p.addr());
    if old.is_none() && boot::size_of_block(p).is_some() {
        thread::end_moving(t);
        // SAFETY: passed on.
        return unsafe { move_out_of_boot(t, p, size, entry) };
    }
    if let Some(block) = &old {
        thread::note_moving(t, block.size as usize);
    }
    guard::turn(t, REAL);
    // SAFETY: the original has this type.
    let r = unsafe { original::<Realloc>(&ORIGINALS.realloc)(p, size) };
    guard::turn(t, OURS);
    if old
        .as_ref()
        .is_none_or(|block| block.size >= MAPPED_FROM_BYTES)
    {
        unwind::note_unmap();
    }
    if r.is_null() && size != 0 {
        // It failed: the block is as it was.
        if let Some(block) = old {
            restore(t, p.addr(), block);
        }
        thread::end_moving(t);
        return r;
    }
    match old {
        Some(block) => {
            settle(t, p.addr(), block);
            count_free(t, block.class);
        }
        None => unknown(t),
    }
    if !r.is_null() {
        record(t, r.addr(), size, entry, Call::Realloc);
    }
    thread::end_moving(t);
    r
}

/// Gives a block of the boot buffer a life of its own; the guard is in phase `OURS`.
///
/// # Safety
/// As `realloc`; `p` is of the boot buffer.
#[cold]
unsafe fn move_out_of_boot(t: &Local, p: *mut u8, size: usize, entry: Entry) -> *mut u8 {
    guard::turn(t, REAL);
    // SAFETY: the original has this type.
    let r = unsafe { original::<Malloc>(&ORIGINALS.malloc)(size) };
    guard::turn(t, OURS);
    if !r.is_null() {
        let bytes = boot::size_of_block(p).unwrap_or(0).min(size);
        // SAFETY: both blocks hold that many bytes and are different.
        unsafe { core::ptr::copy_nonoverlapping(p, r, bytes) };
        if state::tracking() {
            record(t, r.addr(), size, entry, Call::Realloc);
        }
    }
    r
}

/// Everything but the plain case. `None`: go on as in the plain case.
///
/// # Safety
/// As `realloc`.
#[cold]
#[inline(never)]
unsafe fn realloc_slowly(
    t: &Local,
    p: *mut u8,
    size: usize,
    sp: usize,
    bp: usize,
) -> Option<*mut u8> {
    if !ready() {
        let r = boot::alloc(size, 16);
        if !r.is_null() {
            let bytes = boot::size_of_block(p).unwrap_or(0).min(size);
            // SAFETY: both blocks are of the boot buffer, that long and different.
            unsafe { core::ptr::copy_nonoverlapping(p, r, bytes) };
        }
        return Some(r);
    }
    if !state::tracking() {
        if boot::size_of_block(p).is_some() {
            // SAFETY: passed on; nothing is recorded while not tracking.
            return Some(unsafe { move_out_of_boot(t, p, size, Entry { sp, bp }) });
        }
        // SAFETY: the original has this type.
        return Some(unsafe { original::<Realloc>(&ORIGINALS.realloc)(p, size) });
    }
    // For all calls below: the originals have these types and the arguments are the caller's.
    match guard::nested_phase(t, sp) {
        IDLE => {
            crate::lifecycle::hook_called(t);
            None
        }
        OURS => {
            state::COVERAGE.nested.fetch_add(1, Relaxed);
            // SAFETY: as said above the match.
            let r = unsafe { original::<Malloc>(&ORIGINALS.malloc)(size) };
            if r.is_null() {
                return Some(r);
            }
            let old = match boot::size_of_block(p) {
                Some(bytes) => bytes,
                // SAFETY: as said above the match.
                None => unsafe { original::<UsableSize>(&ORIGINALS.malloc_usable_size)(p) },
            };
            // SAFETY: both blocks hold that many bytes and are different.
            unsafe { core::ptr::copy_nonoverlapping(p, r, old.min(size)) };
            if !thread::defer(t, p.addr()) {
                // SAFETY: as said above the match.
                unsafe { really_free(p, u64::MAX, |p| original::<Free>(&ORIGINALS.free)(p)) };
            }
            Some(r)
        }
        _ => {
            state::COVERAGE.nested.fetch_add(1, Relaxed);
            guard::turn(t, OURS);
            let old = forget(t, p.addr());
            guard::turn(t, REAL);
            // SAFETY: as said above the match.
            let r = unsafe { original::<Realloc>(&ORIGINALS.realloc)(p, size) };
            guard::turn(t, OURS);
            match old {
                Some(block) if r.is_null() && size != 0 => {
                    restore(t, p.addr(), block);
                }
                Some(block) => settle(t, p.addr(), block),
                None => {}
            }
            guard::turn(t, REAL);
            Some(r)
        }
    }
}

/// `reallocarray`.
///
/// # Safety
/// As `reallocarray`.
pub unsafe extern "C" fn reallocarray(
    p: *mut u8,
    count: usize,
    each: usize,
    sp: usize,
    bp: usize,
) -> *mut u8 {
    type F = unsafe extern "C" fn(*mut u8, usize, usize) -> *mut u8;
    match count.checked_mul(each) {
        // SAFETY: passed on.
        Some(size) => unsafe { realloc(p, size, sp, bp) },
        // SAFETY: the original has this type; it sets errno and returns null.
        None if ORIGINALS.reallocarray.load(Relaxed) != 0 => unsafe {
            original::<F>(&ORIGINALS.reallocarray)(p, count, each)
        },
        // SAFETY: as above; no allocator gives that much.
        None => unsafe { original::<Realloc>(&ORIGINALS.realloc)(p, usize::MAX / 2) },
    }
}

/// `malloc_usable_size`.
///
/// # Safety
/// As `malloc_usable_size`.
pub unsafe extern "C" fn malloc_usable_size(p: *mut u8) -> usize {
    if let Some(size) = boot::size_of_block(p) {
        return size;
    }
    if !ready() {
        return 0;
    }
    state::note_usable_size_asked();
    // SAFETY: the original has this type.
    unsafe { original::<UsableSize>(&ORIGINALS.malloc_usable_size)(p) }
}
