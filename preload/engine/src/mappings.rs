//! Owns [`MappingTable`], the program's own mappings: address ranges to site and epoch.
//! It must never touch the ranges themselves, and nothing under its lock calls out, except for the
//! callbacks, which must neither allocate nor lock.
//!
//! Ranges count in whole pages, as the kernel does. Removing or overlaying part of a mapping cuts
//! it; the pieces remember that they are one mapping, so that only the last one to go is `whole`.
//!
//! The table's lock comes before those of the live table and the arena (see [`crate::lock`]).

mod array;
mod list;
mod taken;

pub use taken::Taken;

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::arena::PAGE_BYTES;
use crate::lock::{Guard, WordLock};
use list::{Piece, PieceList};

/// The site of mappings that were made while recording was off: none.
pub const UNRECORDED: u32 = 0;

/// A mapping of the program's, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: usize,
    /// One past the last address.
    pub end: usize,
    /// Site id, or [`UNRECORDED`].
    pub site: u32,
    /// Snapshot counter at birth.
    pub epoch: u32,
}

impl Mapping {
    /// Its site, if it has one.
    pub const fn known_site(&self) -> Option<u32> {
        match self.site {
            UNRECORDED => None,
            site => Some(site),
        }
    }

    /// Length in bytes.
    pub const fn bytes(&self) -> u64 {
        (self.end - self.start) as u64
    }
}

/// Called with each piece that was removed; `true` if nothing is left of the mapping it came from.
pub type Removed<'a> = &'a mut dyn FnMut(Mapping, bool);

/// All mappings of the program. Made to be a static; takes no memory before its first mapping.
#[derive(Debug)]
pub struct MappingTable {
    lock: WordLock,
    list: UnsafeCell<PieceList>,
    total_bytes: AtomicU64,
}

// SAFETY: the list is reached only under the lock.
unsafe impl Sync for MappingTable {}
// SAFETY: the list owns its memory.
unsafe impl Send for MappingTable {}

/// The pages of `[start, start + len)`; `None` if there are none or they do not fit the address
/// space.
fn pages(start: usize, len: usize) -> Option<(usize, usize)> {
    let end = start.checked_add(len)?.checked_add(PAGE_BYTES - 1)? & !(PAGE_BYTES - 1);
    let start = start & !(PAGE_BYTES - 1);
    (len > 0 && start < end).then_some((start, end))
}

impl MappingTable {
    /// An empty table.
    pub const fn new() -> Self {
        MappingTable {
            lock: WordLock::new(),
            list: UnsafeCell::new(PieceList::new()),
            total_bytes: AtomicU64::new(0),
        }
    }

    /// Records a mapping and removes what it overlays. False: it was not recorded for want of
    /// memory (what it overlays is removed all the same).
    pub fn insert(
        &self,
        start: usize,
        len: usize,
        site: u32,
        epoch: u32,
        removed: Removed<'_>,
    ) -> bool {
        let Some((start, end)) = pages(start, len) else {
            return false;
        };
        self.with(|list| {
            let complete = list.cut(start, end, None, &mut |piece, whole| {
                removed(piece.mapping(), whole);
            });
            list.insert(Piece {
                start,
                end,
                site,
                epoch,
                origin: 0,
            }) && complete
        })
    }

    /// Forgets `[start, start + len)`, cutting mappings that reach beyond it. False: the part of a
    /// mapping behind the range had to be forgotten too for want of memory (and was passed to
    /// `removed`).
    pub fn remove(&self, start: usize, len: usize, removed: Removed<'_>) -> bool {
        let Some((start, end)) = pages(start, len) else {
            return true;
        };
        let mut gone = |piece: Piece, whole| removed(piece.mapping(), whole);
        self.with(|list| list.cut(start, end, None, &mut gone))
    }

    /// As [`MappingTable::remove`] before the kernel has agreed: pieces go to `taken` as far as it has room, to
    /// be settled or put back.
    pub fn take(&self, start: usize, len: usize, taken: &mut Taken, removed: Removed<'_>) -> bool {
        let Some((start, end)) = pages(start, len) else {
            return true;
        };
        let mut gone = |piece: Piece, whole| removed(piece.mapping(), whole);
        self.with(|list| list.cut(start, end, Some(taken), &mut gone))
    }

    /// What was taken is gone.
    pub fn settle(&self, taken: &Taken, removed: Removed<'_>) {
        for (piece, repairs) in taken.pieces() {
            let whole = self.with(|list| list.end_part(piece, *repairs));
            removed(piece.mapping(), whole);
        }
    }

    /// What was taken is still there. Without memory for it, it is `removed`, as is what somebody
    /// has recorded in its place meanwhile.
    pub fn put_back(&self, taken: &Taken, removed: Removed<'_>) {
        for (piece, repairs) in taken.pieces() {
            let mut gone = |piece: Piece, whole| removed(piece.mapping(), whole);
            self.with(|list| {
                list.cut(piece.start, piece.end, None, &mut gone);
                if !list.put_back(piece, *repairs) {
                    let whole = list.end_part(piece, *repairs);
                    gone(*piece, whole);
                }
            });
        }
    }

    /// The mapping that holds an address.
    pub fn get(&self, addr: usize) -> Option<Mapping> {
        self.with(|list| list.get(addr))
    }

    /// Visits every mapping in order of address, under the lock: `f` must neither allocate nor lock.
    pub fn for_each(&self, mut f: impl FnMut(Mapping)) {
        self.with(|list| list.for_each(&mut |piece| f(piece.mapping())));
    }

    /// Makes every mapping one of epoch 0.
    pub fn forget_births(&self) {
        self.with(PieceList::forget_births);
    }

    /// Bytes in all mappings.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Ordering::Relaxed)
    }

    /// Gives up the lock if this thread holds it because it was torn out of the table.
    ///
    /// # Safety
    /// The calling thread is not inside the table except in calls that never return.
    pub unsafe fn abandon(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.lock.abandon() }
    }

    /// Lets go in a forked child for the thread that was changing the table in the parent.
    ///
    /// # Safety
    /// The calling thread is the only one and is not inside the table.
    pub unsafe fn abandon_in_child(&self) {
        // SAFETY: the caller's promise: the holder, if any, is not in this process.
        unsafe { self.lock.abandon_for_holder() }
    }

    fn with<R>(&self, f: impl FnOnce(&mut PieceList) -> R) -> R {
        let (guard, abandoned): (Guard<'_>, bool) = self.lock.lock_checked();
        // SAFETY: the lock is held, and `f` does not come back here.
        let list = unsafe { &mut *self.list.get() };
        if abandoned {
            list.repair();
        }
        let r = f(list);
        self.total_bytes
            .store(list.total_bytes(), Ordering::Relaxed);
        drop(guard);
        r
    }
}

impl Default for MappingTable {
    fn default() -> Self {
        Self::new()
    }
}
