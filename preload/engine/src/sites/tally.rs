//! Owns what a thread has counted for sites and not yet handed over to their common counters.
//!
//! Counting in a tally writes memory that no other thread writes, without locked instructions. An
//! entry belongs to one site at a time; what it counted is added to the site's counters when it is
//! given to another site. Tallies outlive their threads and go on with the next one, so that nothing
//! is ever lost or handed over in a hurry.
//!
//! Whoever takes a snapshot adds tallies and counters up in [`Sums::read`], and the sizes of blocks in
//! [`Sizes::read`]. It must never write to them.

use crate::arena::AVec;
use crate::atomic::{
    AtomicPtr, AtomicU16, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
    sizes::{TALLY_CLASSES as CLASSES, TALLY_ENTRIES as ENTRIES},
    spin_loop,
};
use core::ptr::null_mut;

/// Every so many calls for a site that does not own its entry, it gets it.
const PATIENCE: u32 = 16;
/// The site of an entry that is being given away.
const NOBODY: u32 = u32::MAX;
/// Times that sites are read before they keep the sums they had.
const ATTEMPTS: u32 = 32;
/// Reads in a row after which nobody will finish giving an entry away.
const TORN: u32 = 2000;
/// Counts hand over long before they overflow.
const MOST_FREES: u32 = 1 << 31;
const MOST_OF_SIZE: u16 = 1 << 15;

/// The counts of one site since they were last handed over, on a cache line of their own.
#[repr(C, align(64))]
struct Entry {
    /// Site in the low half (0: none); the high half changes whenever the low one does.
    tag: AtomicU64,
    allocated_bytes: AtomicU64,
    freed_bytes: AtomicU64,
    frees: AtomicU32,
    temporary: AtomicU32,
    /// Allocations by class of size: their number is the sum.
    by_size: [AtomicU16; CLASSES],
}

/// What one thread counts. Zeroed memory is an empty one. Only its thread writes it; all accesses
/// but those to tags are relaxed, see [`Sums::read`].
#[repr(C)]
pub struct Tally {
    entries: [Entry; ENTRIES],
    calls: AtomicU32,
    next: AtomicPtr<Tally>,
}

/// All tallies there ever were.
static ALL: AtomicPtr<Tally> = AtomicPtr::new(null_mut());

fn all() -> impl Iterator<Item = &'static Tally> {
    let follow = |tally: *mut Tally| {
        // SAFETY: tallies in the list are never freed.
        unsafe { tally.as_ref() }
    };
    // Acquire pairs with the release in `enlist`.
    core::iter::successors(follow(ALL.load(Acquire)), move |tally| {
        follow(tally.next.load(Relaxed))
    })
}

#[inline(always)]
fn bump(counter: &AtomicU32) -> u32 {
    let value = counter.load(Relaxed);
    counter.store(value.wrapping_add(1), Relaxed);
    value
}

#[inline(always)]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

impl Tally {
    /// Makes the tally known to those who take snapshots.
    ///
    /// # Safety
    /// It is never freed, and is given here once.
    pub unsafe fn enlist(tally: *mut Tally) {
        let mut first = ALL.load(Relaxed);
        loop {
            // SAFETY: valid, by the caller's promise.
            unsafe { (*tally).next.store(first, Relaxed) };
            // Release pairs with the acquire in `all`.
            match ALL.compare_exchange_weak(first, tally, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Counts an allocation.
    #[inline(always)]
    pub fn add_alloc(&self, site: u32, bytes: u64) {
        let Some(entry) = self.entry(site) else {
            count_alloc(site, bytes);
            return;
        };
        // As `size_class` says, of all but 0.
        let log2 = (bytes.wrapping_sub(1) | 7).ilog2() as usize;
        let class = if log2 < CLASSES + 1 {
            log2 - 2
        } else {
            super::sizes::unusual(site, bytes)
        };
        add(&entry.allocated_bytes, bytes);
        // SAFETY: below the number of classes either way.
        let counter = unsafe { entry.by_size.get_unchecked(class) };
        let count = counter.load(Relaxed);
        counter.store(count.wrapping_add(1), Relaxed);
        if count >= MOST_OF_SIZE {
            entry.give_to(site);
        }
    }

    /// Counts a free. `temporary`: the thread has neither allocated nor freed since the block was
    /// allocated.
    #[inline(always)]
    pub fn add_free(&self, site: u32, bytes: u64, temporary: bool) {
        let Some(entry) = self.entry(site) else {
            if let Some(counters) = super::counters(site) {
                counters.add_free(bytes);
                counters.temporary.fetch_add(u64::from(temporary), Relaxed);
            }
            return;
        };
        add(&entry.freed_bytes, bytes);
        let so_far = entry.temporary.load(Relaxed);
        entry
            .temporary
            .store(so_far.wrapping_add(u32::from(temporary)), Relaxed);
        if bump(&entry.frees) >= MOST_FREES {
            entry.give_to(site);
        }
    }

    /// The entry, if it is the site's.
    #[inline(always)]
    fn entry(&self, site: u32) -> Option<&Entry> {
        // SAFETY: a remainder by the number of entries.
        let entry = unsafe { self.entries.get_unchecked(site as usize % ENTRIES) };
        (entry.tag.load(Relaxed) as u32 == site || self.win(entry, site)).then_some(entry)
    }

    /// Gives an entry to another site now and then, so that those in use get theirs and those that
    /// take turns do not pay for handing over each time.
    #[cold]
    #[inline(never)]
    fn win(&self, entry: &Entry, site: u32) -> bool {
        let is_free = entry.tag.load(Relaxed) as u32 == 0;
        let wins = is_free || bump(&self.calls).is_multiple_of(PATIENCE);
        if wins {
            entry.give_to(site);
        }
        wins
    }
}

/// Counts an allocation in no tally.
#[cold]
#[inline(never)]
fn count_alloc(site: u32, bytes: u64) {
    if let Some(counters) = super::counters(site) {
        counters.add_alloc(bytes);
    }
    super::sizes::note(site, bytes, 1);
}

impl Entry {
    /// Allocations since they were last handed over.
    fn allocations(&self) -> u64 {
        let counts = self.by_size.iter();
        counts.map(|count| u64::from(count.load(Relaxed))).sum()
    }

    /// Hands over what was counted and starts again for a site, maybe the same.
    #[cold]
    #[inline(never)]
    fn give_to(&self, site: u32) {
        let tag = self.tag.load(Relaxed);
        let owner = tag as u32;
        let change = (tag >> 32).wrapping_add(1);
        self.tag.store(change << 32 | u64::from(NOBODY), Relaxed);
        // Pairs with the acquire fence in `Sums::read`: who sees anything of what follows sees that
        // the tag has changed.
        fence(Release);
        // Someone torn out of here before may have handed over already.
        if owner != NOBODY
            && let Some(counters) = super::counters(owner)
        {
            counters.allocations.fetch_add(self.allocations(), Relaxed);
            for (class, count) in self.by_size.iter().enumerate() {
                match count.load(Relaxed) {
                    0 => {}
                    count => super::sizes::hand_over(owner, class, count.into()),
                }
            }
            counters
                .allocated_bytes
                .fetch_add(self.allocated_bytes.load(Relaxed), Relaxed);
            let frees = u64::from(self.frees.load(Relaxed));
            counters.frees.fetch_add(frees, Relaxed);
            counters
                .freed_bytes
                .fetch_add(self.freed_bytes.load(Relaxed), Relaxed);
            let temporary = u64::from(self.temporary.load(Relaxed));
            counters.temporary.fetch_add(temporary, Relaxed);
        }
        for count in &self.by_size {
            count.store(0, Relaxed);
        }
        self.temporary.store(0, Relaxed);
        self.frees.store(0, Relaxed);
        self.allocated_bytes.store(0, Relaxed);
        self.freed_bytes.store(0, Relaxed);
        // Release pairs with the acquire in `Sums::read`.
        self.tag
            .store((change + 1) << 32 | u64::from(site), Release);
    }
}

/// What a site counted in all.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Blocks allocated.
    pub allocations: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Bytes allocated.
    pub allocated_bytes: u64,
    /// Bytes freed.
    pub freed_bytes: u64,
    /// Of the blocks freed, those that were temporary.
    pub temporary: u64,
}

#[derive(Clone, Copy, Default)]
struct Cell {
    /// As of the last time that the site could be read undisturbed.
    sum: Sum,
    /// What is being read.
    now: Sum,
    /// Some tally has an entry for the site.
    is_held: bool,
}

/// The sums of all sites.
pub struct Sums {
    /// By site id.
    cells: AVec<Cell>,
    /// The changes of a place whose entry was being given away when it was read last, and how often
    /// in a row: in the end its thread was torn out of there.
    given_away: [(u64, u32); ENTRIES],
}

impl Sums {
    /// None read.
    pub const fn new() -> Sums {
        Sums {
            cells: AVec::new(),
            given_away: [(0, 0); ENTRIES],
        }
    }

    /// Adds up counters and tallies of sites up to `sites`. False if there is no memory for all.
    ///
    /// Sites that share an entry are read together. Frees are read before allocations, so that no
    /// site seems to have freed more than it allocated. If an entry changes hands meanwhile its
    /// counts may be seen twice or not at all, so all are read again; sites that are never left
    /// alone for long enough keep the sums that they had.
    pub fn read(&mut self, sites: u32) -> bool {
        while self.cells.len() <= sites as usize {
            if !self.cells.try_push(Cell::default()) {
                break;
            }
        }
        for place in 0..ENTRIES {
            for _ in 0..ATTEMPTS {
                let cells = self.cells.as_mut_slice().iter_mut();
                cells
                    .skip(place)
                    .step_by(ENTRIES)
                    .for_each(|cell| cell.is_held = false);
                let before = self.changes(place);
                let is_torn = |&(changes, reads): &(u64, u32)| changes == before.0 && reads >= TORN;
                if before.1 && !self.given_away.get(place).is_some_and(is_torn) {
                    spin_loop();
                    continue;
                }
                self.read_frees(place);
                self.read_allocations(place);
                // Pairs with the release fence in `Entry::give_to`.
                fence(Acquire);
                if before == self.changes(place) {
                    self.accept(place);
                    break;
                }
            }
            let (changes, is_given_away) = self.changes(place);
            if let Some(given_away) = self.given_away.get_mut(place) {
                *given_away = match *given_away {
                    (last, reads) if is_given_away && last == changes => {
                        (last, reads.saturating_add(1))
                    }
                    _ => (changes, 0),
                };
            }
        }
        self.cells.len() > sites as usize
    }

    /// Takes what was read of the sites of a place; those that nobody counts for have all in their
    /// common counters.
    fn accept(&mut self, place: usize) {
        let cells = self.cells.as_mut_slice().iter_mut().enumerate();
        for (site, cell) in cells.skip(place).step_by(ENTRIES) {
            if cell.is_held {
                cell.sum = cell.now;
            } else if let Some(counters) = super::counters(site as u32) {
                let (frees, freed_bytes) = (&counters.frees, &counters.freed_bytes);
                cell.sum.frees = frees.load(Relaxed);
                cell.sum.freed_bytes = freed_bytes.load(Relaxed);
                cell.sum.temporary = counters.temporary.load(Relaxed);
                fence(Acquire);
                cell.sum.allocations = counters.allocations.load(Relaxed);
                cell.sum.allocated_bytes = counters.allocated_bytes.load(Relaxed);
            }
        }
    }

    /// A number that changes when an entry in this place does, and whether one is being given away;
    /// prepares the cells of its sites.
    fn changes(&mut self, place: usize) -> (u64, bool) {
        let (mut changes, mut is_given_away) = (0u64, false);
        for entry in entries(place) {
            // Acquire pairs with the release in `Entry::give_to`.
            let tag = entry.tag.load(Acquire);
            changes = changes.wrapping_add(tag >> 32);
            is_given_away |= tag as u32 == NOBODY;
            if let Some(cell) = self.cells.get_mut(tag as u32 as usize) {
                cell.is_held = tag as u32 != 0;
            }
        }
        (changes, is_given_away)
    }

    fn read_frees(&mut self, place: usize) {
        for entry in entries(place) {
            let site = entry.tag.load(Relaxed) as u32;
            if let (Some(cell), Some(counters)) =
                (self.cells.get_mut(site as usize), super::counters(site))
            {
                cell.now.frees = counters.frees.load(Relaxed);
                cell.now.freed_bytes = counters.freed_bytes.load(Relaxed);
                cell.now.temporary = counters.temporary.load(Relaxed);
            }
        }
        for entry in entries(place) {
            if let Some(cell) = self.cells.get_mut(entry.tag.load(Relaxed) as u32 as usize) {
                cell.now.frees += u64::from(entry.frees.load(Relaxed));
                let bytes = entry.freed_bytes.load(Relaxed);
                cell.now.freed_bytes = cell.now.freed_bytes.wrapping_add(bytes);
                cell.now.temporary += u64::from(entry.temporary.load(Relaxed));
            }
        }
        // The counts of an allocation are there before those of its free.
        fence(Acquire);
    }

    fn read_allocations(&mut self, place: usize) {
        for entry in entries(place) {
            let site = entry.tag.load(Relaxed) as u32;
            if let (Some(cell), Some(counters)) =
                (self.cells.get_mut(site as usize), super::counters(site))
            {
                cell.now.allocations = counters.allocations.load(Relaxed);
                cell.now.allocated_bytes = counters.allocated_bytes.load(Relaxed);
            }
        }
        for entry in entries(place) {
            if let Some(cell) = self.cells.get_mut(entry.tag.load(Relaxed) as u32 as usize) {
                cell.now.allocations += entry.allocations();
                let bytes = entry.allocated_bytes.load(Relaxed);
                cell.now.allocated_bytes = cell.now.allocated_bytes.wrapping_add(bytes);
            }
        }
    }

    /// The sum of a site, if it was among those read.
    pub fn get(&self, site: u32) -> Option<Sum> {
        self.cells
            .as_slice()
            .get(site as usize)
            .map(|cell| cell.sum)
    }
}

impl Default for Sums {
    fn default() -> Sums {
        Sums::new()
    }
}

/// The entries of all tallies in one place.
fn entries(place: usize) -> impl Iterator<Item = &'static Entry> {
    all().filter_map(move |tally| tally.entries.get(place))
}

/// What was counted of the sizes of a site's blocks.
#[derive(Clone, Copy)]
struct Sized {
    by_size: [u64; CLASSES],
    temporary: u64,
    /// There was room to count all sizes.
    is_known: bool,
}

const NONE: Sized = Sized {
    by_size: [0; CLASSES],
    temporary: 0,
    is_known: true,
};

/// How often each site allocated blocks of each class of sizes.
pub struct Sizes {
    /// By site id.
    cells: AVec<Sized>,
}

impl Sizes {
    /// Nothing.
    pub const fn new() -> Sizes {
        Sizes { cells: AVec::new() }
    }

    /// Adds up what is known of sites up to `sites`; `None` without memory for it. What an entry that
    /// is given away all the time holds may be counted twice or not at all.
    pub fn read(sites: u32) -> Option<Sizes> {
        let mut sizes = Sizes::new();
        if !sizes.cells.reserve(sites as usize + 1) {
            return None;
        }
        for _ in 0..=sites {
            sizes.cells.try_push(NONE);
        }
        for place in 0..ENTRIES {
            for _ in 0..ATTEMPTS {
                let before = changes(place);
                sizes.read_place(place);
                // Pairs with the release fence in `Entry::give_to`.
                fence(Acquire);
                if before == changes(place) && !before.1 {
                    break;
                }
                spin_loop();
            }
        }
        Some(sizes)
    }

    /// What a test says: temporary blocks and allocations by class, of sites from 1 on.
    #[cfg(test)]
    pub fn of(sites: &[(u64, [u64; CLASSES])]) -> Sizes {
        let mut sizes = Sizes::new();
        sizes.cells.try_push(NONE);
        for &(temporary, by_size) in sites {
            sizes.cells.try_push(Sized {
                by_size,
                temporary,
                is_known: true,
            });
        }
        sizes
    }

    fn read_place(&mut self, place: usize) {
        let cells = self.cells.as_mut_slice().iter_mut().enumerate();
        for (site, cell) in cells.skip(place).step_by(ENTRIES) {
            let common = super::sizes::common(site as u32);
            let counters = super::counters(site as u32);
            *cell = Sized {
                by_size: common.unwrap_or([0; CLASSES]),
                temporary: counters.map_or(0, |counters| counters.temporary.load(Relaxed)),
                is_known: common.is_some(),
            };
        }
        for entry in entries(place) {
            if let Some(cell) = self.cells.get_mut(entry.tag.load(Relaxed) as u32 as usize) {
                for (sum, count) in cell.by_size.iter_mut().zip(&entry.by_size) {
                    *sum += u64::from(count.load(Relaxed));
                }
                cell.temporary += u64::from(entry.temporary.load(Relaxed));
            }
        }
    }

    /// Of a site, without what it had counted `before`: its temporary blocks and its allocations by
    /// class, `None` if there was no room to count them.
    pub fn since(&self, before: &Sizes, site: u32) -> (u64, Option<[u64; CLASSES]>) {
        let of = |sizes: &Sizes| sizes.cells.get(site as usize).copied().unwrap_or(NONE);
        let (now, before) = (of(self), of(before));
        let mut by_size = now.by_size;
        for (count, before) in by_size.iter_mut().zip(&before.by_size) {
            *count = count.saturating_sub(*before);
        }
        let is_known = now.is_known && before.is_known;
        (
            now.temporary.saturating_sub(before.temporary),
            is_known.then_some(by_size),
        )
    }
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes::new()
    }
}

/// A number that changes when an entry in this place does, and whether one is being given away.
fn changes(place: usize) -> (u64, bool) {
    entries(place).fold((0, false), |(changes, is_given_away), entry| {
        // Acquire pairs with the release in `Entry::give_to`.
        let tag = entry.tag.load(Acquire);
        let is_given_away = is_given_away || tag as u32 == NOBODY;
        (u64::wrapping_add(changes, tag >> 32), is_given_away)
    })
}
