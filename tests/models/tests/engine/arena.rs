//! Memory: zeroed, from the system, given back when the next execution begins, so that no address
//! means two things in one.

use std::alloc::Layout;
use std::cell::RefCell;

pub const PAGE_BYTES: usize = 4096;

thread_local! {
    static PIECES: RefCell<Vec<(*mut u8, Layout)>> = const { RefCell::new(Vec::new()) };
}

pub fn begin_execution() {
    PIECES.with(|pieces| {
        for (piece, layout) in pieces.borrow_mut().drain(..) {
            // SAFETY: from `alloc_table`, and no thread of the last execution exists.
            unsafe { std::alloc::dealloc(piece, layout) }
        }
    });
}

pub fn alloc_table(bytes: usize, align: usize) -> *mut u8 {
    let layout = Layout::from_size_align(bytes, align).expect("a layout");
    // SAFETY: not empty.
    let piece = unsafe { std::alloc::alloc_zeroed(layout) };
    PIECES.with(|pieces| pieces.borrow_mut().push((piece, layout)));
    piece
}

/// # Safety
/// None: see [`begin_execution`].
pub unsafe fn dealloc_table(_: *mut u8, _: usize, _: usize) {}

/// Growable array.
#[derive(Debug, Default)]
pub struct AVec<T>(Vec<T>);

impl<T> AVec<T> {
    pub const fn new() -> Self {
        AVec(Vec::new())
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn try_push(&mut self, value: T) -> bool {
        self.0.push(value);
        true
    }
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.0.get_mut(at)
    }
    pub fn reserve(&mut self, more: usize) -> bool {
        self.0.reserve(more);
        true
    }
    pub fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at)
    }
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.0
    }
}
