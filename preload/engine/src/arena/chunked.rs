//! Owns [`Chunked`], append-only storage that is read without locks.
//! It must never move or free an element: references stay valid as long as the storage.

use core::marker::PhantomData;
use core::mem::needs_drop;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Elements in the first chunk; each further chunk doubles the capacity.
const FIRST: u32 = 64;
/// 64 << 26 elements are as many as an index of 32 bits can name.
const CHUNKS: usize = 27;

/// Append-only storage: one writer at a time, readers at any time.
#[derive(Debug)]
pub struct Chunked<T> {
    /// Published by the release store of `len`.
    chunks: [AtomicPtr<T>; CHUNKS],
    len: AtomicU32,
    owns: PhantomData<T>,
}

// SAFETY: it hands out shared references, and takes elements from any thread.
unsafe impl<T: Send + Sync> Sync for Chunked<T> {}
// SAFETY: it owns its elements.
unsafe impl<T: Send> Send for Chunked<T> {}

/// Chunk and position of an index.
#[inline(always)]
const fn place(index: u32) -> (usize, usize) {
    let above = index as u64 + FIRST as u64;
    let chunk = above.ilog2() - FIRST.ilog2();
    (chunk as usize, (above - ((FIRST as u64) << chunk)) as usize)
}

impl<T> Chunked<T> {
    const PLAIN: () = assert!(
        size_of::<T>() > 0 && !needs_drop::<T>(),
        "elements are never dropped"
    );

    /// Empty, without memory.
    pub const fn new() -> Self {
        let () = Self::PLAIN;
        Chunked {
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            len: AtomicU32::new(0),
            owns: PhantomData,
        }
    }

    /// Number of elements.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        // Acquire pairs with the release store in `push`.
        self.len.load(Ordering::Acquire)
    }

    /// True without elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends and returns the index, `None` when there is no memory. Calls must not overlap: the
    /// owner holds its lock.
    pub fn push(&self, value: T) -> Option<u32> {
        let index = self.len.load(Ordering::Relaxed);
        let next = index.checked_add(1)?;
        let (chunk, at) = place(index);
        let slot = self.chunks.get(chunk)?;
        let mut data = slot.load(Ordering::Relaxed);
        if data.is_null() {
            data = super::alloc(Self::chunk_bytes(chunk)?, align_of::<T>()) as *mut T;
            if data.is_null() {
                return None;
            }
            slot.store(data, Ordering::Relaxed);
        }
        // SAFETY: `at` is inside the chunk, and no reader looks there before `len` says so.
        unsafe { data.add(at).write(value) };
        // Release pairs with the acquire in `len`.
        self.len.store(next, Ordering::Release);
        Some(index)
    }

    /// The element at `index`.
    #[inline(always)]
    pub fn get(&self, index: u32) -> Option<&T> {
        if index >= self.len() {
            return None;
        }
        let (chunk, at) = place(index);
        let data = self.chunks.get(chunk)?.load(Ordering::Relaxed);
        // SAFETY: below the length, the element was written before `len` was published and neither
        // moves nor goes.
        Some(unsafe { &*data.add(at) })
    }

    fn chunk_bytes(chunk: usize) -> Option<usize> {
        ((FIRST as usize) << chunk).checked_mul(size_of::<T>())
    }
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Chunked<T> {
    fn drop(&mut self) {
        for (chunk, data) in self.chunks.iter().enumerate() {
            if let Some(bytes) = Self::chunk_bytes(chunk) {
                // SAFETY: the chunk was allocated with this size and goes with its owner.
                unsafe {
                    super::dealloc(
                        data.load(Ordering::Relaxed) as *mut u8,
                        bytes,
                        align_of::<T>(),
                    )
                }
            }
        }
    }
}
