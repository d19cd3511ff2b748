//! Owns [`AVec`], a growable array in the arena.
//! It must never panic: what cannot be had is `None` or `false`.

use core::sync::atomic::{Ordering, compiler_fence};
use core::{ptr, slice};

/// A growable array of plain values in the arena; growing moves them.
#[derive(Debug)]
pub struct AVec<T: Copy> {
    data: *mut T,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its elements as an array does.
unsafe impl<T: Copy + Send> Send for AVec<T> {}
// SAFETY: a shared reference only reads.
unsafe impl<T: Copy + Sync> Sync for AVec<T> {}

impl<T: Copy> AVec<T> {
    const SIZED: () = assert!(size_of::<T>() > 0, "elements must have a size");

    /// Empty, without memory.
    pub const fn new() -> Self {
        let () = Self::SIZED;
        AVec {
            data: ptr::null_mut(),
            len: 0,
            capacity: 0,
        }
    }

    /// Appends; false when there is no memory, and then nothing has changed.
    pub fn try_push(&mut self, value: T) -> bool {
        let at = self.len;
        self.try_insert(at, value)
    }

    /// Inserts before `at`; false when there is no memory or `at` is past the end.
    pub fn try_insert(&mut self, at: usize, value: T) -> bool {
        if at > self.len || (self.len == self.capacity && !self.grow()) {
            return false;
        }
        // SAFETY: `at <= len < capacity`, so both ranges lie inside the array.
        unsafe {
            let p = self.data.add(at);
            ptr::copy(p, p.add(1), self.len - at);
            p.write(value);
        }
        self.len += 1;
        true
    }

    /// Takes the element at `at` out, if there is one.
    pub fn remove(&mut self, at: usize) -> Option<T> {
        let value = *self.get(at)?;
        self.len -= 1;
        // SAFETY: `at` was below the length, so both ranges lie inside the array.
        unsafe {
            let p = self.data.add(at);
            ptr::copy(p.add(1), p, self.len - at);
        }
        Some(value)
    }

    /// Takes the last element off.
    pub fn pop(&mut self) -> Option<T> {
        let value = *self.as_slice().last()?;
        self.len -= 1;
        Some(value)
    }

    /// Makes room for `more` elements; false when there is no memory, which does no harm.
    pub fn reserve(&mut self, more: usize) -> bool {
        let wanted = self.len.saturating_add(more);
        wanted <= self.capacity || self.grow_to(wanted)
    }

    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True without elements.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements.
    pub const fn as_slice(&self) -> &[T] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: `len` initialised elements start at `data`.
        unsafe { slice::from_raw_parts(self.data, self.len) }
    }

    /// The elements, to change.
    pub const fn as_mut_slice(&mut self) -> &mut [T] {
        if self.data.is_null() {
            return &mut [];
        }
        // SAFETY: `len` initialised elements start at `data`, borrowed exclusively with `self`.
        unsafe { slice::from_raw_parts_mut(self.data, self.len) }
    }

    /// One element.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.as_slice().get(at)
    }

    /// One element, to change.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.as_mut_slice().get_mut(at)
    }

    /// Forgets the elements and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    #[cold]
    fn grow(&mut self) -> bool {
        self.grow_to((self.capacity * 2).max(64 / size_of::<T>()).max(4))
    }

    #[cold]
    fn grow_to(&mut self, capacity: usize) -> bool {
        let Some(bytes) = capacity.checked_mul(size_of::<T>()) else {
            return false;
        };
        let data = super::alloc(bytes, align_of::<T>()) as *mut T;
        if data.is_null() {
            return false;
        }
        let (old, old_capacity) = (self.data, self.capacity);
        if !old.is_null() {
            // SAFETY: the old array has `len` elements and the new one has room for more.
            unsafe { ptr::copy_nonoverlapping(old, data, self.len) }
        }
        self.data = data;
        // Torn out between the two stores, the array only seems smaller than it is.
        compiler_fence(Ordering::SeqCst);
        self.capacity = capacity;
        // SAFETY: nothing refers to the old array any more.
        unsafe {
            super::dealloc(
                old as *mut u8,
                old_capacity * size_of::<T>(),
                align_of::<T>(),
            )
        }
        true
    }
}

impl<T: Copy> Default for AVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> Drop for AVec<T> {
    fn drop(&mut self) {
        // SAFETY: the array goes with its owner.
        unsafe {
            super::dealloc(
                self.data as *mut u8,
                self.capacity * size_of::<T>(),
                align_of::<T>(),
            )
        }
    }
}
