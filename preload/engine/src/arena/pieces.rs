//! Owns [`Pieces`], the list of everything that the arena has mapped, so that the account of memory
//! knows leaktrack's own from the host's.
//! It must never be needed for correctness: a mapping that finds no place is only not told apart.

use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

use super::PAGE_BYTES;

/// Places in a page after its link.
const PLACES: usize = PAGE_BYTES / size_of::<Place>() - 1;

#[derive(Clone, Copy)]
struct Place {
    /// 0: free.
    start: usize,
    bytes: usize,
}

#[repr(C)]
struct Page {
    next: *mut Page,
    /// Places up to here were used at some time.
    used: usize,
    places: [Place; PLACES],
}

/// Start and length of mappings, in whole pages of its own. Its owner's lock guards it.
pub(super) struct Pieces {
    first: *mut Page,
}

impl Pieces {
    pub(super) const fn new() -> Pieces {
        Pieces {
            first: ptr::null_mut(),
        }
    }

    /// Notes a mapping; false if there is no free place.
    pub(super) fn add(&mut self, start: usize, bytes: usize) -> bool {
        let mut page = self.first;
        while !page.is_null() {
            // SAFETY: pages on the list are ours, zeroed at first and never freed.
            let content = unsafe { &mut *page };
            let free = |place: &Place| place.start == 0;
            let used = content.used.min(PLACES);
            let known = content.places.get(..used).unwrap_or_default();
            let at = known.iter().position(free).unwrap_or(used);
            if let Some(place) = content.places.get_mut(at) {
                // Torn out between these, the place is lost or still free.
                place.bytes = bytes;
                compiler_fence(Ordering::SeqCst);
                place.start = start;
                content.used = used.max(at + 1);
                return true;
            }
            page = content.next;
        }
        false
    }

    /// Takes a fresh, zeroed page for more places.
    ///
    /// # Safety
    /// `page` is a page that is ours alone, for good.
    pub(super) unsafe fn extend(&mut self, page: *mut u8) {
        let page = page.cast::<Page>();
        // SAFETY: the caller's promise; a zeroed page is one without mappings.
        unsafe { (*page).next = self.first };
        compiler_fence(Ordering::SeqCst);
        self.first = page;
    }

    /// Forgets a mapping.
    pub(super) fn remove(&mut self, start: usize) {
        let mut page = self.first;
        while !page.is_null() {
            // SAFETY: as in `add`.
            let content = unsafe { &mut *page };
            let used = content.used.min(PLACES);
            let known = content.places.get_mut(..used).unwrap_or_default();
            if let Some(place) = known.iter_mut().find(|place| place.start == start) {
                place.start = 0;
                return;
            }
            page = content.next;
        }
    }

    /// Shows every mapping, the list's own pages included.
    pub(super) fn for_each(&self, show: &mut dyn FnMut(usize, usize)) {
        let mut page = self.first;
        while !page.is_null() {
            show(page.addr(), PAGE_BYTES);
            // SAFETY: as in `add`.
            let content = unsafe { &*page };
            let known = content.places.get(..content.used.min(PLACES));
            for place in known.unwrap_or_default() {
                if place.start != 0 {
                    show(place.start, place.bytes);
                }
            }
            page = content.next;
        }
    }
}

const _: () = assert!(size_of::<Page>() <= PAGE_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn remembers_what_was_added_and_not_removed() {
        let mut pieces = Pieces::new();
        assert!(!pieces.add(0x1000, 1));
        for _ in 0..2 {
            let page = crate::sys::map_anonymous(PAGE_BYTES).unwrap();
            // SAFETY: a fresh page of the test's.
            unsafe { pieces.extend(page) };
        }
        let all = PLACES * 2;
        for i in 1..=all {
            assert!(pieces.add(i << 12, i));
        }
        assert!(!pieces.add(1 << 40, 1));
        for i in (1..=all).step_by(2) {
            pieces.remove(i << 12);
        }
        pieces.remove(1 << 40);
        let mut found = Vec::new();
        pieces.for_each(&mut |start, bytes| found.push((start, bytes)));
        found.retain(|(start, _)| *start <= all << 12);
        found.sort_unstable();
        let expected: Vec<_> = (2..=all).step_by(2).map(|i| (i << 12, i)).collect();
        assert_eq!(found, expected);
        assert!(pieces.add(1 << 40, 1), "a freed place is used again");
    }
}
