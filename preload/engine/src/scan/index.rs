//! Owns [`BlockIndex`]: every live block by address, so that any pointer, to its start or into it,
//! is found in a few steps however many there are.
//! It must never read the blocks themselves.
//!
//! Blocks lie sorted in one array, 16 bytes each. Where the heap is dense, a directory says for
//! each page which block is the first to begin there (and whether the page was ever touched), so
//! that a search looks at the blocks of one page only. Neighbours further apart than
//! [`GAP_BYTES`] are in different clusters; a large block is a cluster of its own, without a
//! directory.

use super::heap;
use super::listing;
use super::memory::Stop;
use super::order::sort_by_key;
use super::ranges::Ranges;
use super::room::Room;
use super::x86_64::prefetch;
use crate::arena::{AVec, PAGE_BYTES};
use crate::live::{Block, LiveTable};

/// Free space that ends a cluster.
const GAP_BYTES: usize = 1 << 20;
/// A block from this size on is a cluster of its own.
pub const LARGE_BYTES: u64 = 256 << 10;
/// Blocks that are listed at a stretch.
const LIST_BLOCKS: usize = 32 << 10;
/// Blocks of a part of the table, most often fewer.
const PART_BLOCKS: usize = 64 << 10;
/// Blocks whose size is kept aside.
const MOST_HUGE: usize = 512;
const PAGE_SHIFT: u32 = PAGE_BYTES.ilog2();
/// In a directory's word: the page was touched.
const TOUCHED: u32 = 1 << 31;
const NUMBER: u32 = TOUCHED - 1;
const EPOCH_BITS: u32 = 20;
const SIZE_BITS: u32 = 34;
const SITE_SHIFT: u32 = SIZE_BITS + 6;
/// A size that does not fit an entry is kept aside.
const HUGE: u64 = (1 << SIZE_BITS) - 1;

/// A block in 16 bytes: address and epoch; site, class and size.
#[derive(Clone, Copy, Debug)]
struct Entry(u64, u64);

impl Entry {
    fn new(addr: usize, block: Block) -> Entry {
        let epoch = u64::from(block.epoch).min((1 << EPOCH_BITS) - 1);
        Entry(
            (addr as u64 >> 3) << EPOCH_BITS | epoch,
            u64::from(block.site) << SITE_SHIFT
                | u64::from(block.class) << SIZE_BITS
                | block.size.min(HUGE),
        )
    }

    #[inline(always)]
    fn addr(self) -> usize {
        (self.0 >> EPOCH_BITS << 3) as usize
    }

    /// `huge`: sizes that do not fit, by address.
    #[inline(always)]
    fn size(self, huge: &[(usize, u64)]) -> u64 {
        let size = self.1 & HUGE;
        if size == HUGE {
            let found = huge.iter().find(|(addr, _)| *addr == self.addr());
            return found.map_or(HUGE, |(_, size)| *size);
        }
        size
    }
}

/// Blocks near each other.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    /// First page, and one past the last.
    start: usize,
    end: usize,
    /// First block, and one past the last.
    first: u32,
    last: u32,
    /// Where its directory begins, a word for each page and one more; `NO_PAGES`: it has none.
    pages: u32,
    /// It has no directory, and its block is looked for.
    wanted: bool,
}

const NO_PAGES: u32 = u32::MAX;

impl Cluster {
    fn page_count(&self) -> usize {
        (self.end - self.start).div_ceil(PAGE_BYTES)
    }
}

/// Where a pointer leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Number of the block.
    pub block: u32,
    /// Distance from its start; 0 also for a start with tag bits in its lowest three.
    pub offset: u64,
}

/// On the way from a word to a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aim {
    word: usize,
    /// Word of the directory; `NO_PAGES`: none.
    directory: u32,
    /// Blocks that begin in the page.
    from: u32,
    to: u32,
    /// Perhaps this.
    at: u32,
}

/// Which 64th of its page an address lies in.
#[inline(always)]
const fn slot(addr: usize) -> usize {
    addr >> 6 & 63
}

/// Starts fetching an element.
#[inline(always)]
fn fetch<T>(all: &[T], at: usize) {
    prefetch(all.as_ptr().wrapping_add(at).cast());
}

/// See the module.
#[derive(Debug)]
pub struct BlockIndex {
    entries: Room<Entry>,
    clusters: AVec<Cluster>,
    pages: Room<u32>,
    /// Beside each word of the directories: in which 64ths of the page blocks lie that are looked
    /// for.
    wanted: Room<u64>,
    /// Sizes that do not fit an entry.
    huge: AVec<(usize, u64)>,
    /// The program may use more of its blocks than it asked for.
    whole: bool,
    /// What allocators own, if it is known.
    heaps: Option<Ranges>,
    low: usize,
    high: usize,
    /// Bytes in all blocks.
    bytes: u64,
}

/// Why there is no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoIndex {
    /// The scan must end.
    Stopped(Stop),
    /// leaktrack's memory does not suffice.
    Memory,
    /// Blocks were allocated faster than they could be copied.
    Outrun,
}

impl BlockIndex {
    /// Bytes that an index of so many blocks takes, about.
    pub fn bytes_for(blocks: u64) -> u64 {
        blocks.saturating_mul((size_of::<Entry>() + 1) as u64)
            + blocks / 32 * 17
            + blocks / 2
            + (1 << 20)
    }

    /// Copies the table. `rest` is called after each few milliseconds' work, while the table is left
    /// to others.
    pub fn build(
        table: &LiveTable,
        rest: &mut dyn FnMut() -> Result<(), Stop>,
    ) -> Result<BlockIndex, NoIndex> {
        let expected = table.len() as usize;
        let room = expected + expected / 32 + 4096;
        if room >= NUMBER as usize {
            return Err(NoIndex::Memory);
        }
        let mut entries = Room::of(room).ok_or(NoIndex::Memory)?;
        // Nothing may be allocated under the table's locks; the table itself keeps fewer.
        let mut large = Room::of(MOST_HUGE).ok_or(NoIndex::Memory)?;
        let mut all = true;
        let mut parts = 0..LiveTable::PARTS;
        while !parts.is_empty() {
            let until = entries.len() + LIST_BLOCKS;
            // A page fault while the table is held is waited for by all who allocate there.
            entries.touch_ahead(LIST_BLOCKS + PART_BLOCKS);
            {
                let _held = listing::hold(table);
                while entries.len() < until
                    && let Some(part) = parts.next()
                {
                    table.for_each_in(part, |addr, block| {
                        all &= entries.push(Entry::new(addr, block));
                        if block.size >= HUGE {
                            all &= large.push((addr, block.size));
                        }
                    });
                }
            }
            rest().map_err(NoIndex::Stopped)?;
        }
        if !all {
            return Err(NoIndex::Outrun);
        }
        let mut huge = AVec::new();
        while let Some(one) = large.pop() {
            if !huge.try_push(one) {
                return Err(NoIndex::Memory);
            }
        }
        sort_by_key(entries.as_mut_slice(), |entry| entry.0, rest).map_err(NoIndex::Stopped)?;
        Self::of(entries, huge, rest)
    }

    /// `entries` are sorted.
    fn of(
        entries: Room<Entry>,
        huge: AVec<(usize, u64)>,
        rest: &mut dyn FnMut() -> Result<(), Stop>,
    ) -> Result<BlockIndex, NoIndex> {
        let (clusters, bytes) = clusters(entries.as_slice(), huge.as_slice(), rest)?;
        let words = clusters
            .as_slice()
            .iter()
            .filter(|cluster| cluster.pages != NO_PAGES)
            .map(|cluster| cluster.page_count() + 1)
            .sum();
        let mut index = BlockIndex {
            low: clusters.get(0).map_or(0, |cluster| cluster.start),
            high: clusters.as_slice().iter().map(|c| c.end).max().unwrap_or(0),
            bytes,
            entries,
            clusters,
            pages: Room::of(words).ok_or(NoIndex::Memory)?,
            wanted: Room::zeroed(words).ok_or(NoIndex::Memory)?,
            huge,
            whole: heap::may_use_all(),
            heaps: None,
        };
        index.fill_directories(rest)?;
        Ok(index)
    }

    fn fill_directories(
        &mut self,
        rest: &mut dyn FnMut() -> Result<(), Stop>,
    ) -> Result<(), NoIndex> {
        let mut steps = 0;
        for cluster in self.clusters.as_mut_slice() {
            if cluster.pages == NO_PAGES {
                continue;
            }
            cluster.pages = self.pages.len() as u32;
            let mut next = cluster.first;
            for number in 0..=cluster.page_count() {
                let page = cluster.start + (number << PAGE_SHIFT);
                let before = |at: u32| {
                    let entry = self.entries.get(at as usize);
                    at < cluster.last && entry.is_some_and(|entry| entry.addr() < page)
                };
                steps += 1;
                while before(next) {
                    next += 1;
                    steps += 1;
                }
                if !self.pages.push(next) {
                    return Err(NoIndex::Memory);
                }
                if steps >= LIST_BLOCKS {
                    steps = 0;
                    rest().map_err(NoIndex::Stopped)?;
                }
            }
        }
        Ok(())
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True without blocks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in all blocks.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Address, and what is known, of a block.
    #[inline(always)]
    pub fn block(&self, at: u32) -> Option<(usize, Block)> {
        let entry = self.entries.get(at as usize)?;
        let block = Block {
            size: entry.size(self.huge.as_slice()),
            site: (entry.1 >> SITE_SHIFT) as u32,
            epoch: entry.0 as u32 & ((1 << EPOCH_BITS) - 1),
            class: (entry.1 >> SIZE_BITS) as u8 & ((1 << (SITE_SHIFT - SIZE_BITS)) - 1),
        };
        Some((entry.addr(), block))
    }

    /// Asks again whether the program may use more of its blocks than it asked for, and takes in what
    /// allocators own (tidy), where that is known.
    pub fn note_usable(&mut self, heaps: Option<Ranges>) {
        self.whole = heap::may_use_all();
        self.heaps = heaps;
    }

    /// Address, and bytes that the program may use, of a block.
    #[inline(always)]
    pub fn extent(&self, at: u32) -> Option<(usize, u64)> {
        let entry = self.entries.get(at as usize)?;
        Some((entry.addr(), self.usable(at, entry)))
    }

    #[inline(always)]
    fn usable(&self, at: u32, entry: Entry) -> u64 {
        let size = entry.size(self.huge.as_slice());
        if self.whole {
            self.whole_of(at, entry, size)
        } else {
            size
        }
    }

    #[cold]
    fn whole_of(&self, at: u32, entry: Entry, size: u64) -> u64 {
        let next = self.entries.get(at as usize + 1);
        self.bounded(
            entry.addr(),
            size,
            next.map_or(usize::MAX, |next| next.addr()),
        )
    }

    /// What the program may use of a block that it has, in the index or not.
    pub fn usable_of(&self, addr: usize, size: u64) -> u64 {
        if !self.whole {
            return size;
        }
        let next = self
            .entries
            .get(self.first_from(addr.saturating_add(8)) as usize);
        self.bounded(addr, size, next.map_or(usize::MAX, |next| next.addr()))
    }

    /// What the program may use of a block: no more than there is before the next one, and nothing that is
    /// not the allocator's, such as another thread's stack that is mapped right behind.
    fn bounded(&self, addr: usize, size: u64, next: usize) -> u64 {
        let end = addr
            .saturating_add(heap::usable_bytes(size) as usize)
            .min(next);
        let last = addr.saturating_add(size.saturating_sub(1) as usize);
        let in_page = |addr: usize| addr >> PAGE_SHIFT == last >> PAGE_SHIFT;
        let end = match &self.heaps {
            Some(heaps) if !in_page(end.saturating_sub(1)) => {
                end.min(heaps.end_of(last).unwrap_or(0))
            }
            _ => end,
        };
        (end.saturating_sub(addr) as u64).max(size)
    }

    /// The block that a word points to, if it does.
    pub fn find(&self, word: usize) -> Option<Hit> {
        self.find_by(word, false)
    }

    /// As [`BlockIndex::find`], for blocks that are looked for (see [`BlockIndex::want`]); it may
    /// find others near them, too.
    pub fn find_wanted(&self, word: usize) -> Option<Hit> {
        self.find_by(word, true)
    }

    #[inline(always)]
    fn find_by(&self, word: usize, wanted: bool) -> Option<Hit> {
        if !self.may_point(word) {
            return None;
        }
        let mut aim = self.aim(word, wanted)?;
        if wanted && !self.is_wanted(&aim) {
            return None;
        }
        self.narrow(&mut aim);
        self.hit(&aim)
    }

    /// False if a word is no address of a block, by its size alone.
    #[inline(always)]
    pub fn may_point(&self, word: usize) -> bool {
        word.wrapping_sub(self.low) < self.high - self.low
    }

    /// The first step to the block that a word points to; the next ones are
    /// [`BlockIndex::is_wanted`], if only blocks that are looked for count, [`BlockIndex::narrow`]
    /// and [`BlockIndex::hit`]. Each starts fetching what the next one reads, so that many words at a
    /// time are found faster.
    #[inline(always)]
    pub fn aim(&self, word: usize, wanted: bool) -> Option<Aim> {
        let cluster = self.cluster_at(word)?;
        if cluster.pages == NO_PAGES {
            return (cluster.wanted || !wanted).then_some(Aim {
                word,
                directory: NO_PAGES,
                from: cluster.first,
                to: cluster.last,
                at: cluster.first,
            });
        }
        let place = cluster.pages as usize + ((word - cluster.start) >> PAGE_SHIFT);
        if wanted {
            fetch(self.wanted.as_slice(), place);
        } else {
            fetch(self.pages.as_slice(), place);
        }
        Some(Aim {
            word,
            directory: place as u32,
            from: 0,
            to: 0,
            at: 0,
        })
    }

    /// See [`BlockIndex::aim`]: false if the word leads to no block that is looked for.
    #[inline(always)]
    pub fn is_wanted(&self, aim: &Aim) -> bool {
        if aim.directory == NO_PAGES {
            return true; // `aim` has seen to it
        }
        let place = aim.directory as usize;
        let slots = self.wanted.get(place).unwrap_or(0);
        let wanted = slots >> slot(aim.word) & 1 != 0;
        if wanted {
            fetch(self.pages.as_slice(), place);
        }
        wanted
    }

    /// See [`BlockIndex::aim`].
    #[inline(always)]
    pub fn narrow(&self, aim: &mut Aim) {
        if aim.directory != NO_PAGES {
            let place = aim.directory as usize;
            aim.from = self.pages.get(place).unwrap_or(0) & NUMBER;
            aim.to = self.pages.get(place + 1).unwrap_or(0) & NUMBER;
            // Blocks of one page are often of one size.
            let part = aim.word & (PAGE_BYTES - 1);
            let guess = (aim.to.saturating_sub(aim.from) as usize * part) >> PAGE_SHIFT;
            aim.at = aim.from + guess as u32;
        }
        fetch(self.entries.as_slice(), aim.at as usize);
    }

    /// See [`BlockIndex::aim`].
    #[inline(always)]
    pub fn hit(&self, aim: &Aim) -> Option<Hit> {
        let entries = self.entries.as_slice();
        let begins_behind = |at: u32| {
            entries
                .get(at as usize)
                .is_none_or(|entry| entry.addr() > aim.word)
        };
        let mut at = aim.at;
        // The block before the first of this page may reach into it.
        while begins_behind(at) {
            if at < aim.from {
                return None;
            }
            at = at.checked_sub(1)?;
        }
        while at + 1 < aim.to && !begins_behind(at + 1) {
            at += 1;
        }
        let entry = entries.get(at as usize)?;
        let offset = (aim.word - entry.addr()) as u64;
        if offset < 8 {
            return Some(Hit {
                block: at,
                offset: 0,
            });
        }
        (offset < self.usable(at, *entry)).then_some(Hit { block: at, offset })
    }

    /// No block is looked for. `rest` is called after each few words.
    pub fn want_none(
        &mut self,
        rest: &mut dyn FnMut(usize) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for words in self.wanted.as_mut_slice().chunks_mut(PAGE_BYTES / 8) {
            words.fill(0);
            rest(words.len())?;
        }
        for cluster in self.clusters.as_mut_slice() {
            cluster.wanted = false;
            rest(1)?;
        }
        Ok(())
    }

    /// Looks for a block.
    pub fn want(&mut self, at: u32) {
        let Some((addr, bytes)) = self.extent(at) else {
            return;
        };
        let after = self
            .clusters
            .as_slice()
            .partition_point(|cluster| cluster.first <= at);
        let Some(cluster) = after
            .checked_sub(1)
            .and_then(|at| self.clusters.get_mut(at))
        else {
            return;
        };
        if cluster.pages == NO_PAGES {
            cluster.wanted = true;
            return;
        }
        let (start, first) = (cluster.start, cluster.pages as usize);
        let end = addr.saturating_add(bytes.max(1) as usize);
        for part in (addr & !63..end).step_by(64) {
            let page = part.saturating_sub(start) >> PAGE_SHIFT;
            if let Some(word) = self.wanted.as_mut_slice().get_mut(first + page) {
                *word |= 1 << slot(part);
            }
        }
    }

    #[inline(always)]
    fn cluster_at(&self, addr: usize) -> Option<&Cluster> {
        let clusters = self.clusters.as_slice();
        let after = clusters.partition_point(|cluster| cluster.start <= addr);
        let cluster = clusters.get(after.checked_sub(1)?)?;
        (addr < cluster.end).then_some(cluster)
    }

    /// The first block that begins at `addr` or behind it.
    pub fn first_from(&self, addr: usize) -> u32 {
        self.entries
            .as_slice()
            .partition_point(|entry| entry.addr() < addr) as u32
    }

    /// Shows every range of pages that has a directory, with a way to say which pages were touched:
    /// `ask` fills a word for each page with 0 or 1.
    pub fn note_touched(
        &mut self,
        mut ask: impl FnMut(usize, &mut [u32]) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        for cluster in self.clusters.as_slice() {
            if cluster.pages == NO_PAGES {
                continue;
            }
            let count = cluster.page_count();
            let from = cluster.pages as usize;
            let mut at = 0;
            let mut answers = [0u32; 256];
            while at < count {
                let some = answers.len().min(count - at);
                let Some(answers) = answers.get_mut(..some) else {
                    break;
                };
                answers.fill(0);
                ask(cluster.start + (at << PAGE_SHIFT), answers)?;
                let words = self.pages.as_mut_slice().get_mut(from + at..);
                for (word, answer) in words.unwrap_or_default().iter_mut().zip(answers) {
                    if *answer != 0 {
                        *word |= TOUCHED;
                    }
                }
                at += some;
            }
        }
        Ok(())
    }

    /// True if a page was touched when [`BlockIndex::note_touched`] asked; pages outside of
    /// directories count as untouched.
    pub fn is_touched(&self, page: usize) -> bool {
        let word = || {
            let cluster = self.cluster_at(page)?;
            if cluster.pages == NO_PAGES {
                return None;
            }
            let at = (page - cluster.start) >> PAGE_SHIFT;
            self.pages.get(cluster.pages as usize + at)
        };
        word().is_some_and(|word| word & TOUCHED != 0)
    }
}

/// Splits sorted blocks into clusters; `pages` is 0 where there is to be a directory. And bytes in all
/// blocks.
fn clusters(
    entries: &[Entry],
    huge: &[(usize, u64)],
    rest: &mut dyn FnMut() -> Result<(), Stop>,
) -> Result<(AVec<Cluster>, u64), NoIndex> {
    let mut clusters: AVec<Cluster> = AVec::new();
    let mut bytes = 0;
    for (at, entry) in (0u32..).zip(entries) {
        if (at as usize + 1).is_multiple_of(LIST_BLOCKS) {
            rest().map_err(NoIndex::Stopped)?;
        }
        let start = entry.addr() & !(PAGE_BYTES - 1);
        let size = entry.size(huge);
        bytes = size.saturating_add(bytes);
        let end = entry
            .addr()
            .saturating_add(heap::usable_bytes(size) as usize);
        let end = end.checked_next_multiple_of(PAGE_BYTES);
        let end = end.ok_or(NoIndex::Memory)?;
        let large = size >= LARGE_BYTES;
        if let Some(last) = clusters.as_mut_slice().last_mut()
            && !large
            && last.pages != NO_PAGES
            && start < last.end.saturating_add(GAP_BYTES)
        {
            last.end = last.end.max(end);
            last.last = at + 1;
            continue;
        }
        // A large block may begin in the page in which the cluster before ends: clusters are told
        // apart by where the block begins, not by pages.
        let cluster = Cluster {
            start: if large { entry.addr() } else { start },
            end,
            first: at,
            last: at + 1,
            pages: if large { NO_PAGES } else { 0 },
            wanted: false,
        };
        if let Some(last) = clusters.as_mut_slice().last_mut() {
            last.end = last.end.min(cluster.start.max(last.start));
        }
        if !clusters.try_push(cluster) {
            return Err(NoIndex::Memory);
        }
    }
    Ok((clusters, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_and_directories_are_made_with_rests() {
        const MANY: usize = 1 << 20;
        let block = Block {
            size: 48,
            site: 1,
            epoch: 2,
            class: 0,
        };
        let mut entries = Room::of(MANY).expect("memory");
        for n in 0..MANY {
            assert!(entries.push(Entry::new(0x10_0000_0000 + n * 64, block)));
        }
        let mut rests = 0;
        let mut rest = || {
            rests += 1;
            Ok(())
        };
        let (made, bytes) = clusters(entries.as_slice(), &[], &mut rest).expect("memory");
        assert_eq!((made.len(), bytes), (1, 48 * MANY as u64));
        assert!(rests >= MANY / LIST_BLOCKS, "{rests}");
        let before = rests;
        let index = BlockIndex::of(entries, AVec::new(), &mut || {
            rests += 1;
            Ok(())
        });
        assert_eq!(index.expect("memory").len(), MANY);
        // As often for the clusters, and as often again for their directories.
        assert!(rests >= before + 2 * (MANY / LIST_BLOCKS), "{rests}");
    }

    #[test]
    fn what_a_program_may_use_behind_a_block_ends_at_the_next_one() {
        let block = |size| Block {
            size,
            site: 1,
            epoch: 2,
            class: 0,
        };
        let mut entries = Room::of(4).expect("memory");
        let start = 0x10_0000_0000;
        // Right behind each other, with room between, and a large one as the last.
        for (at, size) in [(0, 20), (32, 20), (4096, 20), (1 << 20, LARGE_BYTES + 1)] {
            assert!(entries.push(Entry::new(start + at, block(size))));
        }
        let index = BlockIndex::of(entries, AVec::new(), &mut || Ok(()));
        let mut index = index.expect("memory");
        for whole in [false, true] {
            index.whole = whole;
            for (at, asked) in (0..4).zip([20, 20, 20, LARGE_BYTES + 1]) {
                let (addr, bytes) = index.extent(at).expect("a block");
                assert!(bytes >= asked && (whole || bytes == asked), "{bytes}");
                assert!(bytes <= asked + asked / 4 + PAGE_BYTES as u64 + 16);
                // Its last byte is its own, and what was asked for is known as before.
                let last = addr + bytes as usize - 1;
                assert_eq!(index.find(last).map(|hit| hit.block), Some(at));
                assert_eq!(index.block(at).map(|block| block.1.size), Some(asked));
            }
        }
        assert_eq!(index.extent(0), Some((start, 32)));
        assert_eq!(index.find(start + 4096 + 200), None);
    }

    #[test]
    fn what_a_program_may_use_behind_a_block_ends_with_the_allocators_memory() {
        const BYTES: u64 = 300_000;
        let start = 0x10_0000_0000;
        let block = Block {
            size: BYTES,
            site: 1,
            epoch: 2,
            class: 0,
        };
        let mut entries = Room::of(1).expect("memory");
        assert!(entries.push(Entry::new(start, block)));
        let index = BlockIndex::of(entries, AVec::new(), &mut || Ok(()));
        let mut index = index.expect("memory");
        let end = start + (BYTES as usize).next_multiple_of(PAGE_BYTES);
        let heaps = |ranges: &[(usize, usize)]| {
            let mut heaps = Ranges::new();
            assert!(ranges.iter().all(|&(from, to)| heaps.add(from, to)));
            heaps.tidy();
            Some(heaps)
        };
        let asked = start + BYTES as usize;
        for (heaps, expected) in [
            (heaps(&[(start, end)]), end),
            (
                heaps(&[
                    (start, end + PAGE_BYTES),
                    (end + (1 << 20), end + (2 << 20)),
                ]),
                end + PAGE_BYTES,
            ),
            // Of another's memory nothing is read in the block's name.
            (heaps(&[]), asked),
            (heaps(&[(start, start + PAGE_BYTES)]), asked),
        ] {
            index.note_usable(heaps);
            let found = index.extent(0).expect("a block");
            assert_eq!(found, (start, (expected - start) as u64));
            assert_eq!(index.usable_of(start, BYTES), found.1);
            assert!(index.find(expected - 1).is_some() && index.find(expected).is_none());
        }
    }

    #[test]
    fn a_large_table_is_listed_and_sorted_with_rests() {
        static TABLE: LiveTable = LiveTable::new();
        const MANY: usize = 600_000;
        // Addresses in no order, 64 bytes apart.
        let addr = |n: usize| 0x10_0000_0000 + (n * 7_919 % MANY) * 64;
        for n in 0..MANY {
            let _ = TABLE.insert(
                addr(n),
                Block {
                    size: 48,
                    site: 1,
                    epoch: 2,
                    class: 0,
                },
            );
        }
        let mut rests = 0;
        let index = BlockIndex::build(&TABLE, &mut || {
            rests += 1;
            Ok(())
        });
        let index = index.expect("memory");
        assert_eq!(index.len(), MANY);
        // Once for each few blocks that are listed, and for 65,536 that are sorted.
        assert!(
            rests >= MANY / (2 * LIST_BLOCKS) + MANY / (64 << 10),
            "{rests}"
        );
        for n in (0..MANY).step_by(997) {
            let hit = index.find(addr(n) + 8).expect("a block");
            assert_eq!(index.block(hit.block).map(|it| it.0), Some(addr(n)));
            assert_eq!(hit.offset, 8);
        }
        let mut left = 2;
        let ended = BlockIndex::build(&TABLE, &mut || {
            left -= 1;
            if left == 0 {
                Err(Stop::Interrupted)
            } else {
                Ok(())
            }
        });
        assert_eq!(ended.err(), Some(NoIndex::Stopped(Stop::Interrupted)));
    }
}
