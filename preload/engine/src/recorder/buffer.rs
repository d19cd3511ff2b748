//! Owns working memory in the arena: a block of bytes of a size known beforehand.

use crate::arena;

/// Bytes, initialised.
#[derive(Debug)]
pub struct Buffer {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: it owns its bytes as a box does.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Without memory.
    pub const fn new() -> Buffer {
        Buffer {
            start: core::ptr::null_mut(),
            bytes: 0,
        }
    }

    /// Of at least `bytes` bytes; `None` when the arena has none.
    pub fn of(bytes: usize) -> Option<Buffer> {
        let bytes = bytes.checked_next_multiple_of(4096)?;
        let start = arena::alloc(bytes, 16);
        (!start.is_null()).then_some(Buffer { start, bytes })
    }

    /// Makes it at least `bytes` long, keeping the content; false, and nothing changed, when the
    /// arena has no memory.
    pub fn grow(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let Some(mut larger) = Buffer::of(bytes) else {
            return false;
        };
        if let Some(front) = larger.as_mut_slice().get_mut(..self.bytes) {
            front.copy_from_slice(self.as_slice());
        }
        core::mem::swap(self, &mut larger);
        true
    }

    /// All of it.
    pub fn as_slice(&self) -> &[u8] {
        if self.start.is_null() {
            return &[];
        }
        // SAFETY: the arena gave `bytes` zeroed bytes, which are ours until drop.
        unsafe { core::slice::from_raw_parts(self.start, self.bytes) }
    }

    /// All of it, to change.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.start.is_null() {
            return &mut [];
        }
        // SAFETY: as above, and borrowed exclusively with `self`.
        unsafe { core::slice::from_raw_parts_mut(self.start, self.bytes) }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True without memory.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::new()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: it came from the arena with this size and alignment.
        unsafe { arena::dealloc(self.start, self.bytes, 16) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_keeps_its_content() {
        let mut buffer = Buffer::new();
        assert!(buffer.is_empty() && buffer.as_slice().is_empty());
        assert!(buffer.grow(10));
        buffer.as_mut_slice()[..3].copy_from_slice(b"abc");
        assert!(buffer.grow(1 << 20) && buffer.len() >= 1 << 20);
        assert_eq!(&buffer.as_slice()[..4], b"abc\0");
        assert!(!buffer.grow(usize::MAX));
        assert_eq!(&buffer.as_slice()[..3], b"abc");
    }
}
