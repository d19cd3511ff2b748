//! Owns the way from an address to its group: a tree of three levels over the lower half of the
//! address space. It must never move or free a group: others may be on their way to it.
//!
//! A leaf covers one GiB; of its 64 KiB only the pages of groups that were used are resident.

use core::sync::atomic::{AtomicPtr, AtomicU16, AtomicU64, Ordering};

use super::group::Group;
use crate::arena;

/// Addresses of a group: one MiB.
pub(super) const GROUP_BITS: u32 = 20;
const GROUPS_BITS: u32 = 10;
const LEAVES_BITS: u32 = 6;
const LEAF_BITS: u32 = GROUP_BITS + GROUPS_BITS;
const BRANCH_BITS: u32 = LEAF_BITS + LEAVES_BITS;
const BRANCHES_BITS: u32 = super::ADDRESS_BITS - BRANCH_BITS;
const BRANCHES: usize = 1 << BRANCHES_BITS;
const GROUPS: usize = 1 << GROUPS_BITS;
const LEAVES: usize = 1 << LEAVES_BITS;
const GROUPS_PER_PAGE: usize = arena::PAGE_BYTES / size_of::<Group>();

#[repr(C, align(64))]
struct Leaf([Group; GROUPS]);

/// Zeroed memory is an empty one.
#[repr(C)]
struct Branch {
    leaves: [AtomicPtr<Leaf>; LEAVES],
    /// One bit for each page of a leaf that was used.
    used: [AtomicU16; LEAVES],
}

/// The tree.
pub(super) struct Directory {
    branches: [AtomicPtr<Branch>; BRANCHES],
    /// One bit for each branch that is there: who goes through all of them, hundreds of times in a
    /// scan, does not look at the two thousand that are not.
    used: [AtomicU64; BRANCHES / 64],
}

const fn part(addr: usize, from: u32, bits: u32) -> usize {
    addr >> from & ((1 << bits) - 1)
}

impl Directory {
    pub(super) const fn new() -> Directory {
        Directory {
            branches: [const { AtomicPtr::new(core::ptr::null_mut()) }; BRANCHES],
            used: [const { AtomicU64::new(0) }; BRANCHES / 64],
        }
    }

    #[inline(always)]
    fn slot(&self, addr: usize) -> &AtomicPtr<Branch> {
        // SAFETY: a remainder by the number of branches.
        unsafe {
            self.branches
                .get_unchecked(part(addr, BRANCH_BITS, BRANCHES_BITS))
        }
    }

    /// The group of an address below 2^47, if it was used at some time.
    #[inline(always)]
    pub(super) fn find(&self, addr: usize) -> Option<&Group> {
        // Acquire pairs with the release in `make`.
        // SAFETY: branches and leaves are never freed; the indices are remainders.
        unsafe {
            let branch = self.slot(addr).load(Ordering::Acquire).as_ref()?;
            let leaf = branch
                .leaves
                .get_unchecked(part(addr, LEAF_BITS, LEAVES_BITS))
                .load(Ordering::Acquire)
                .as_ref()?;
            Some(leaf.0.get_unchecked(part(addr, GROUP_BITS, GROUPS_BITS)))
        }
    }

    /// The group of an address below 2^47; `None` if there is no memory for it.
    #[cold]
    #[inline(never)]
    pub(super) fn find_or_make(&self, addr: usize) -> Option<&Group> {
        let branch = make(self.slot(addr))?;
        let at = part(addr, BRANCH_BITS, BRANCHES_BITS);
        let bit = 1 << (at % 64);
        let used = self.used.get(at / 64)?;
        if used.load(Ordering::Relaxed) & bit == 0 {
            used.fetch_or(bit, Ordering::Relaxed);
        }
        let at = part(addr, LEAF_BITS, LEAVES_BITS);
        let leaf = make(branch.leaves.get(at)?)?;
        let group = part(addr, GROUP_BITS, GROUPS_BITS);
        let bit = 1 << (group / GROUPS_PER_PAGE);
        let used = branch.used.get(at)?;
        if used.load(Ordering::Relaxed) & bit == 0 {
            used.fetch_or(bit, Ordering::Relaxed);
        }
        leaf.0.get(group)
    }

    /// The branches that are there, and their numbers.
    fn used_branches(&self) -> impl Iterator<Item = (usize, &AtomicPtr<Branch>)> {
        let words = self.branches.chunks(64).zip(&self.used);
        words.enumerate().flat_map(|(at, (slots, used))| {
            let mut left = used.load(Ordering::Relaxed);
            core::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                Some((at * 64 + bit, slots.get(bit)?))
            })
        })
    }

    /// Shows every group that was used at some time, and where its addresses begin.
    pub(super) fn for_each(&self, show: impl FnMut(usize, &Group)) {
        self.for_each_in(0, 1, show);
    }

    /// As [`Directory::for_each`], for one of some parts of all.
    pub(super) fn for_each_in(
        &self,
        part: usize,
        parts: usize,
        mut show: impl FnMut(usize, &Group),
    ) {
        for (at, slot) in self.used_branches() {
            // Acquire pairs with the release in `make`.
            // SAFETY: branches are never freed.
            let Some(branch) = (unsafe { slot.load(Ordering::Acquire).as_ref() }) else {
                continue;
            };
            for (leaf_at, (slot, used)) in branch.leaves.iter().zip(&branch.used).enumerate() {
                // SAFETY: leaves are never freed.
                let Some(leaf) = (unsafe { slot.load(Ordering::Acquire).as_ref() }) else {
                    continue;
                };
                let start = at << BRANCH_BITS | leaf_at << LEAF_BITS;
                let used = used.load(Ordering::Relaxed);
                let groups = leaf.0.iter().enumerate().skip(part).step_by(parts);
                for (at, group) in groups {
                    if used >> (at / GROUPS_PER_PAGE) & 1 != 0 {
                        show(start + (at << GROUP_BITS), group);
                    }
                }
            }
        }
    }
}

/// What a slot leads to, made if there is nothing; zeroed memory is a valid one.
fn make<T>(slot: &AtomicPtr<T>) -> Option<&T> {
    let mut there = slot.load(Ordering::Acquire);
    if there.is_null() {
        let new = arena::alloc(size_of::<T>(), align_of::<T>()).cast::<T>();
        if new.is_null() {
            return None;
        }
        // Release pairs with the acquire loads; acquire, where another was faster.
        match slot.compare_exchange(there, new, Ordering::Release, Ordering::Acquire) {
            Ok(_) => there = new,
            Err(other) => {
                // SAFETY: allocated above, and nobody saw it.
                unsafe { arena::dealloc(new.cast(), size_of::<T>(), align_of::<T>()) };
                there = other;
            }
        }
    }
    // SAFETY: zeroed or used memory of this type that is never freed.
    unsafe { there.as_ref() }
}
