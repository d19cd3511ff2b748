//! Owns [`Room`], an array of fixed capacity in the arena: the scan says beforehand what it needs.
//! It must never grow or panic: what does not fit is refused.

use core::slice;

use crate::arena;

/// Up to so many plain values.
#[derive(Debug)]
pub struct Room<T: Copy> {
    data: *mut T,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its elements as an array does.
unsafe impl<T: Copy + Send> Send for Room<T> {}

impl<T: Copy> Default for Room<T> {
    fn default() -> Room<T> {
        Room::none()
    }
}

impl<T: Copy> Room<T> {
    /// Empty, without memory.
    pub const fn none() -> Room<T> {
        Room {
            data: core::ptr::null_mut(),
            len: 0,
            capacity: 0,
        }
    }

    /// Empty, with room for `capacity`; `None` without memory.
    pub fn of(capacity: usize) -> Option<Room<T>> {
        let bytes = capacity.max(1).checked_mul(size_of::<T>())?;
        let data = arena::alloc_passing(bytes, align_of::<T>()).cast::<T>();
        (!data.is_null()).then_some(Room {
            data,
            len: 0,
            capacity: capacity.max(1),
        })
    }

    /// Appends; false when it is full.
    #[inline(always)]
    pub fn push(&mut self, value: T) -> bool {
        if self.len == self.capacity {
            return false;
        }
        // SAFETY: below the capacity.
        unsafe { self.data.add(self.len).write(value) };
        self.len += 1;
        true
    }

    /// Takes the last one off.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: it was below the length, so it was written.
        Some(unsafe { self.data.add(self.len).read() })
    }

    /// Has memory for so many more elements, as far as there is room, so that appending them is no page
    /// fault.
    pub fn touch_ahead(&mut self, more: usize) {
        let to = self.len.saturating_add(more).min(self.capacity);
        let (from, to) = (self.len * size_of::<T>(), to * size_of::<T>());
        let bytes = self.data.cast::<u8>();
        let mut touch = |at: usize| {
            // SAFETY: inside the allocation, behind the elements that were written; kept by the compiler
            // though nobody reads it.
            unsafe { bytes.add(at).write_volatile(0) }
        };
        (from..to).step_by(arena::PAGE_BYTES).for_each(&mut touch);
        if let Some(last) = to.checked_sub(1).filter(|last| *last >= from) {
            touch(last);
        }
    }

    /// Takes off what is behind the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Takes all off.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements.
    #[inline(always)]
    pub fn as_slice(&self) -> &[T] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: `len` elements were written.
        unsafe { slice::from_raw_parts(self.data, self.len) }
    }

    /// The elements, to change.
    #[inline(always)]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        if self.data.is_null() {
            return &mut [];
        }
        // SAFETY: `len` elements were written; borrowed exclusively with `self`.
        unsafe { slice::from_raw_parts_mut(self.data, self.len) }
    }

    /// One element.
    #[inline(always)]
    pub fn get(&self, at: usize) -> Option<T> {
        self.as_slice().get(at).copied()
    }
}

impl<T: Copy + Default> Room<T> {
    /// Full of zeroes (the arena's memory is); `None` without memory. `T`'s default must be all
    /// zero bytes.
    pub fn zeroed(len: usize) -> Option<Room<T>>
    where
        T: Zero,
    {
        let mut room = Room::of(len)?;
        room.len = len;
        Some(room)
    }
}

/// Plain numbers, for which zeroed memory is a valid value.
pub trait Zero {}
impl Zero for u8 {}
impl Zero for u32 {}
impl Zero for u64 {}
impl Zero for usize {}

impl<T: Copy> Drop for Room<T> {
    fn drop(&mut self) {
        // SAFETY: allocated with this size; goes with its owner.
        unsafe {
            arena::dealloc_passing(
                self.data.cast(),
                self.capacity * size_of::<T>(),
                align_of::<T>(),
            )
        }
    }
}
