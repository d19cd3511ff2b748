//! The hooks of `malloc`, `calloc`, `realloc` and `free` while blocks are sampled, and of `free`
//! while nothing new is recorded in a process that knows few blocks.
//!
//! Nothing here takes the guard or a lock: what is not recorded goes on to the original as it came,
//! with no frame of ours left. All else goes the way of [`super::heap`], which decides anew.

use super::heap;
use super::real::{ORIGINALS, original};
use crate::sampler::{self, filter};
use crate::tls::{self, Local};

#[inline(always)]
fn local() -> &'static Local {
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    unsafe { &*tls::local() }
}

/// `malloc`.
///
/// # Safety
/// As [`heap::malloc`]; the originals are known. The same holds for all below.
pub unsafe extern "C" fn malloc(size: usize, sp: usize, bp: usize) -> *mut u8 {
    type F = unsafe extern "C" fn(usize) -> *mut u8;
    if sampler::passes(local(), size) {
        // SAFETY: the original has this type.
        return unsafe { original::<F>(&ORIGINALS.malloc)(size) };
    }
    // SAFETY: passed on.
    unsafe { heap::malloc(size, sp, bp) }
}

/// `calloc`.
///
/// # Safety
/// As [`malloc`].
pub unsafe extern "C" fn calloc(count: usize, each: usize, sp: usize, bp: usize) -> *mut u8 {
    type F = unsafe extern "C" fn(usize, usize) -> *mut u8;
    if let Some(size) = count.checked_mul(each)
        && sampler::passes(local(), size)
    {
        // SAFETY: the original has this type.
        return unsafe { original::<F>(&ORIGINALS.calloc)(count, each) };
    }
    // SAFETY: passed on.
    unsafe { heap::calloc(count, each, sp, bp) }
}

/// `realloc`: one free and one allocation, unless it is one of the two alone.
///
/// # Safety
/// As [`malloc`].
pub unsafe extern "C" fn realloc(p: *mut u8, size: usize, sp: usize, bp: usize) -> *mut u8 {
    type F = unsafe extern "C" fn(*mut u8, usize) -> *mut u8;
    if size != 0 && !filter::may_know(p.addr()) {
        let t = local();
        if sampler::passes(t, size) {
            sampler::count_free(t);
            // SAFETY: the original has this type.
            return unsafe { original::<F>(&ORIGINALS.realloc)(p, size) };
        }
    }
    // SAFETY: passed on.
    unsafe { heap::realloc(p, size, sp, bp) }
}

/// `free`. Null is among what the filter always has looked at.
///
/// # Safety
/// As [`malloc`].
pub unsafe extern "C" fn free(p: *mut u8, sp: usize, bp: usize) {
    type F = unsafe extern "C" fn(*mut u8);
    if filter::may_know(p.addr()) {
        // SAFETY: passed on.
        return unsafe { heap::free(p, sp, bp) };
    }
    sampler::count_free(local());
    // SAFETY: the original has this type.
    unsafe { original::<F>(&ORIGINALS.free)(p) }
}

/// `free` while new blocks are not recorded.
///
/// # Safety
/// As [`malloc`].
pub unsafe extern "C" fn free_paused(p: *mut u8, sp: usize, bp: usize) {
    type F = unsafe extern "C" fn(*mut u8);
    if filter::may_know(p.addr()) {
        // SAFETY: passed on.
        return unsafe { heap::free(p, sp, bp) };
    }
    // SAFETY: the original has this type.
    unsafe { original::<F>(&ORIGINALS.free)(p) }
}
