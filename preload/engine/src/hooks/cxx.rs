//! C++ `operator new` and `delete`.
//!
//! Those of libstdc++ and libc++ call `malloc` and `free` and are recorded there. An allocator that
//! brings its own (jemalloc, tcmalloc, mimalloc) serves them without: then they are recorded here.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use leaktrack_recording::Call;

use super::heap;
use super::real::{ORIGINALS, original};
use crate::loader;

/// The allocator behind us has operators of its own.
pub static OWN_OPERATORS: AtomicBool = AtomicBool::new(false);

/// An address of this library, to look behind.
static OWN: AtomicUsize = AtomicUsize::new(0);

/// Decides, once the originals are known, whether the operators are recorded here.
pub(super) fn choose(own: usize) {
    OWN.store(own, Relaxed);
    let (new, nothrow) = (
        ORIGINALS.new.load(Relaxed),
        ORIGINALS.new_nothrow.load(Relaxed),
    );
    OWN_OPERATORS.store(
        super::in_allocator(new) && super::in_allocator(nothrow),
        Relaxed,
    );
}

/// Finds an operator that no object defined at start: a C++ library was loaded later. `None`: still
/// nobody does.
///
/// # Safety
/// `slot` is the slot of `name` in [`ORIGINALS`].
pub unsafe fn find_late(slot: &AtomicUsize, name: &[u8]) -> Option<usize> {
    let addr = loader::resolve_next(name, OWN.load(Relaxed))?;
    slot.store(addr, Relaxed);
    Some(addr)
}

/// `operator new` of the allocator behind us, by its non-throwing form; null on failure: the caller
/// then goes to the throwing form, with no frame of ours left for the exception to pass.
///
/// # Safety
/// As `operator new`; `sp` and `bp` are those at the entry of the exported symbol.
pub unsafe extern "C" fn new(size: usize, sp: usize, bp: usize) -> *mut u8 {
    // SAFETY: passed on.
    unsafe { new_by(&ORIGINALS.new_nothrow, Call::New, size, sp, bp) }
}

/// As [`new`], for `operator new[]`.
///
/// # Safety
/// As [`new`].
pub unsafe extern "C" fn new_array(size: usize, sp: usize, bp: usize) -> *mut u8 {
    // SAFETY: passed on.
    unsafe { new_by(&ORIGINALS.new_array_nothrow, Call::NewArray, size, sp, bp) }
}

/// # Safety
/// As [`new`]; `slot` holds a non-throwing `operator new`.
#[inline(always)]
unsafe fn new_by(
    slot: &'static AtomicUsize,
    call: Call,
    size: usize,
    sp: usize,
    bp: usize,
) -> *mut u8 {
    type F = unsafe extern "C" fn(usize, *const u8) -> *mut u8;
    static NOTHROW: u8 = 0;
    if slot.load(Relaxed) == 0 {
        return core::ptr::null_mut(); // the throwing form serves, unrecorded
    }
    // SAFETY: the original has this type; the tag's address only tells the overload.
    unsafe {
        heap::allocate(size, sp, bp, 16, call, || {
            original::<F>(slot)(size, &raw const NOTHROW)
        })
    }
}

/// As [`new`], for the aligned forms.
///
/// # Safety
/// As [`new`].
pub unsafe extern "C" fn new_aligned(size: usize, align: usize, sp: usize, bp: usize) -> *mut u8 {
    // SAFETY: passed on.
    unsafe {
        new_aligned_by(
            &ORIGINALS.new_aligned_nothrow,
            Call::New,
            size,
            align,
            sp,
            bp,
        )
    }
}

/// As [`new_aligned`], for `operator new[]`.
///
/// # Safety
/// As [`new`].
pub unsafe extern "C" fn new_array_aligned(
    size: usize,
    align: usize,
    sp: usize,
    bp: usize,
) -> *mut u8 {
    // SAFETY: passed on.
    unsafe {
        new_aligned_by(
            &ORIGINALS.new_array_aligned_nothrow,
            Call::NewArray,
            size,
            align,
            sp,
            bp,
        )
    }
}

/// # Safety
/// As [`new`]; `slot` holds a non-throwing aligned `operator new`.
#[inline(always)]
unsafe fn new_aligned_by(
    slot: &'static AtomicUsize,
    call: Call,
    size: usize,
    align: usize,
    sp: usize,
    bp: usize,
) -> *mut u8 {
    type F = unsafe extern "C" fn(usize, usize, *const u8) -> *mut u8;
    static NOTHROW: u8 = 0;
    if slot.load(Relaxed) == 0 {
        return core::ptr::null_mut(); // the throwing form serves, unrecorded
    }
    // SAFETY: the original has this type.
    unsafe {
        heap::allocate(size, sp, bp, align, call, || {
            original::<F>(slot)(size, align, &raw const NOTHROW)
        })
    }
}

/// Any `operator delete`: the allocator's plain form serves all of them.
///
/// # Safety
/// As `operator delete`.
pub unsafe extern "C" fn delete(p: *mut u8, sp: usize, _bp: usize) {
    type F = unsafe extern "C" fn(*mut u8);
    // SAFETY: the original has this type.
    unsafe { heap::free_by(p, sp, |p| original::<F>(&ORIGINALS.delete)(p)) }
}
