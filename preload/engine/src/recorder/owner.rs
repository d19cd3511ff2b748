//! Owns the answer to "is this still the process that created the recording?".
//!
//! A child made by a raw `clone` or `vfork` runs our code with our state and no notice. It must
//! not write: into the parent's recording, or worse, to addresses that mean something else there.

use crate::sys;

const PAGE_BYTES: usize = 4096;
const MADV_WIPEONFORK: i32 = 18;
const MARK: u64 = 0x6c65_616b_7472_6163;

/// Remembers the process that made it.
#[derive(Debug)]
pub struct Owner {
    pid: u32,
    /// A page that the kernel zeroes in a forked child; null where it cannot.
    page: *mut u8,
}

// SAFETY: the page is written once, before it is shared.
unsafe impl Send for Owner {}

impl Owner {
    /// The calling process.
    pub fn new() -> Owner {
        let page = sys::map_anonymous(PAGE_BYTES).unwrap_or(core::ptr::null_mut());
        if !page.is_null() {
            // SAFETY: a fresh page of our own, large enough and aligned for a word.
            unsafe {
                if sys::madvise(page, PAGE_BYTES, MADV_WIPEONFORK).is_ok() {
                    page.cast::<u64>().write(MARK);
                    return Owner {
                        pid: sys::getpid(),
                        page,
                    };
                }
                let _ = sys::munmap(page, PAGE_BYTES);
            }
        }
        Owner {
            pid: sys::getpid(),
            page: core::ptr::null_mut(),
        }
    }

    /// True in the process that made it, false in any kind of child.
    pub fn is_here(&self) -> bool {
        // The same number can recur in a new pid namespace, hence the page too.
        // SAFETY: the page stays mapped as long as this lives, in children too.
        let marked =
            self.page.is_null() || unsafe { self.page.cast::<u64>().read_volatile() } == MARK;
        marked && sys::getpid() == self.pid
    }
}

impl Default for Owner {
    fn default() -> Owner {
        Owner::new()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if !self.page.is_null() {
            // SAFETY: our own page, of which no reference is left.
            let _ = unsafe { sys::munmap(self.page, PAGE_BYTES) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::testing::in_child;

    #[test]
    fn a_forked_child_is_not_the_owner() {
        let owner = Owner::new();
        assert!(owner.is_here());
        assert!(!owner.page.is_null());
        assert_eq!(in_child(|| i32::from(owner.is_here())), 0);
        assert!(owner.is_here());
    }
}
