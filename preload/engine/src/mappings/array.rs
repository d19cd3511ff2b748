//! Owns [`Array`], a sorted run of values that changes by being copied.
//! It must never change a value that is part of a published array.

use core::ptr;
use core::slice;

use crate::arena;

/// Up to `capacity` values in the arena. Plain data: whoever keeps it frees it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Array<T> {
    len: usize,
    capacity: usize,
    /// The values follow.
    values: [T; 0],
}

impl<T: Copy> Array<T> {
    const fn bytes(capacity: usize) -> Option<usize> {
        match capacity.checked_mul(size_of::<T>()) {
            Some(bytes) => bytes.checked_add(size_of::<Self>()),
            None => None,
        }
    }

    /// An empty array; null without memory.
    pub(super) fn alloc(capacity: usize) -> *mut Array<T> {
        let Some(bytes) = Self::bytes(capacity) else {
            return ptr::null_mut();
        };
        let p = arena::alloc(bytes, align_of::<Self>()) as *mut Array<T>;
        if !p.is_null() {
            // SAFETY: fresh memory, large enough for the head.
            unsafe { (*p).capacity = capacity };
        }
        p
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// `p` is null or came from [`Array::alloc`] and is not used again.
    pub(super) unsafe fn free(p: *mut Array<T>) {
        if !p.is_null() {
            // SAFETY: the caller's promise.
            let bytes = Self::bytes(unsafe { (*p).capacity }).unwrap_or(0);
            // SAFETY: allocated with this size.
            unsafe { arena::dealloc(p as *mut u8, bytes, align_of::<Self>()) }
        }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The values.
    ///
    /// # Safety
    /// `p` came from [`Array::alloc`], and stays unchanged for `'a`.
    pub(super) unsafe fn values<'a>(p: *const Array<T>) -> &'a [T] {
        // SAFETY: `len` values lie behind the head, in the same allocation.
        unsafe { slice::from_raw_parts((&raw const (*p).values).cast(), (*p).len) }
    }

    /// Where a value is.
    ///
    /// # Safety
    /// `p` came from [`Array::alloc`], and `at` is below its length.
    pub(super) unsafe fn place(p: *mut Array<T>, at: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { (&raw mut (*p).values).cast::<T>().add(at) }
    }

    /// Makes `p` the concatenation of `parts`; false if it has not the room.
    ///
    /// # Safety
    /// `p` came from [`Array::alloc`], is published nowhere and is none of the parts.
    pub(super) unsafe fn fill(p: *mut Array<T>, parts: &[&[T]]) -> bool {
        // SAFETY: the caller's promise.
        let capacity = unsafe { (*p).capacity };
        let mut len = 0;
        for part in parts {
            if part.len() > capacity - len {
                return false;
            }
            // SAFETY: the room is there, and the part lies elsewhere.
            unsafe { ptr::copy_nonoverlapping(part.as_ptr(), Self::place(p, len), part.len()) };
            len += part.len();
        }
        // SAFETY: as above.
        unsafe { (*p).len = len };
        true
    }
}
