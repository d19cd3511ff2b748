//! Owns the walk over the live table: which bytes of each site's blocks are in memory, and what
//! lies on the pages of the heap.
//! It must never read a block. Linear in the number of blocks, and nothing is sorted: each block
//! is put on its pages directly.

use super::choice::{Choice, Chosen};
use super::known::{Kind, Known};
use super::regions::Regions;
use crate::arena::AVec;
use crate::live::{Block, LiveTable};
use crate::state::LIVE;
use crate::{sites, state};

/// Blocks up to which the live table is walked: about two seconds.
const MOST_BLOCKS: u64 = 1 << 26;

/// How an allocator rounds sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// glibc: a header of 8 bytes before the block, multiples of 16, at least 32.
    Glibc,
    /// jemalloc: four size classes to each doubling.
    Jemalloc,
    /// Unknown.
    Unknown,
}

impl Rounding {
    /// Where the memory of a block of `size` bytes begins and ends.
    pub fn footprint(self, addr: usize, size: usize) -> (usize, usize) {
        match self {
            Rounding::Glibc => {
                let chunk = size.saturating_add(8 + 15) & !15;
                let start = addr.saturating_sub(8);
                (start, start.saturating_add(chunk.max(32)))
            }
            Rounding::Jemalloc => (addr, addr.saturating_add(jemalloc_class(size))),
            Rounding::Unknown => (addr, addr.saturating_add(size)),
        }
    }
}

/// The size class of jemalloc that holds `size` bytes.
fn jemalloc_class(size: usize) -> usize {
    match size {
        0..=8 => 8,
        9..=128 => size.next_multiple_of(16),
        _ => {
            let group = (size - 1).ilog2();
            size.checked_next_multiple_of(1 << (group - 2))
                .unwrap_or(size)
        }
    }
}

/// What the walk found of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Live bytes.
    pub live: u64,
    /// Of these, resident.
    pub resident: u64,
    /// Of these, swapped out.
    pub swapped: u64,
    /// Pages pinned.
    pub pinned_pages: u32,
    /// Free bytes on them.
    pub pinned_bytes: u64,
}

/// Which blocks the walk may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// All that there are.
    All,
    /// Some: they say where heaps are, not what is in them.
    Some,
}

impl Blocks {
    /// What can be had, if the live table has all blocks or not.
    pub fn to_walk(all_known: bool) -> Blocks {
        match all_known && LIVE.len() <= MOST_BLOCKS {
            true => Blocks::All,
            false => Blocks::Some,
        }
    }

    /// Visits them, large ones first where there are too many. `each` must neither allocate nor lock.
    fn for_each(self, mut each: impl FnMut(usize, Block)) {
        if self == Blocks::All || LIVE.len() <= MOST_BLOCKS {
            return LIVE.for_each(each);
        }
        let _calm = LIVE.calm();
        let mut seen = 0;
        for part in 0..LiveTable::PARTS {
            LIVE.for_each_in(part, |addr, block| {
                seen += 1;
                each(addr, block);
            });
            if seen >= MOST_BLOCKS {
                break;
            }
        }
    }
}

/// Rows by site id, and sums.
pub struct Walk {
    /// All blocks were found, and put on their pages.
    pub complete: bool,
    /// By site id; of mappings alone if blocks are missing.
    pub rows: AVec<Row>,
    /// Live bytes of the malloc family.
    pub live_bytes: u64,
    /// Of these, resident.
    pub resident_bytes: u64,
    /// Of these, swapped out.
    pub swapped_bytes: u64,
}

impl Walk {
    /// Walks. Without memory for all rows there are none, and blocks only say where heaps are.
    /// Those not inherited are shown to `choice`.
    pub fn take(
        regions: &mut Regions,
        known: &Known,
        rounding: Rounding,
        blocks: Blocks,
        mut choice: Option<&mut Choice>,
    ) -> Walk {
        let mut walk = Walk {
            complete: blocks == Blocks::All,
            rows: AVec::new(),
            live_bytes: 0,
            resident_bytes: 0,
            swapped_bytes: 0,
        };
        let sites = sites::len() as usize + 1;
        walk.rows.reserve(sites);
        for _ in 0..sites {
            if !walk.rows.try_push(Row::default()) {
                walk.rows.clear();
                walk.complete = false;
                break;
            }
        }
        let inherited = state::fork_epoch();
        let complete = walk.complete;
        blocks.for_each(|addr, block| {
            let size = block.size as usize;
            let end = addr.saturating_add(size);
            let (resident, swapped) = regions.put(addr, end, block.site);
            let (start, until) = rounding.footprint(addr, size);
            regions.put_overhead(start, addr);
            regions.put_overhead(end, until);
            if let Some(choice) = &mut choice
                && block.epoch > inherited
            {
                choice.show(Chosen {
                    addr,
                    size: block.size,
                    resident,
                    site: block.site,
                    epoch: block.epoch,
                });
            }
            if !complete {
                return;
            }
            walk.live_bytes += block.size;
            walk.resident_bytes += resident;
            walk.swapped_bytes += swapped;
            if block.epoch > inherited {
                walk.add(block.site, block.size, resident, swapped);
            }
        });
        for range in known.ranges() {
            if range.kind == Kind::Mapping && range.epoch > inherited {
                let count = regions.count(range.start, range.end);
                let bytes = (range.end - range.start) as u64;
                if let Some(choice) = &mut choice {
                    choice.show(Chosen {
                        addr: range.start,
                        size: bytes,
                        resident: count.resident() << 12,
                        site: range.site,
                        epoch: range.epoch,
                    });
                }
                walk.add(
                    range.site,
                    bytes,
                    count.resident() << 12,
                    count.swapped << 12,
                );
            }
        }
        walk
    }

    fn add(&mut self, site: u32, live: u64, resident: u64, swapped: u64) {
        // A site that was born meanwhile is left to the next account.
        if let Some(row) = self.rows.get_mut(site as usize) {
            row.live += live;
            row.resident += resident;
            row.swapped += swapped;
        }
    }

    /// A page is there only because of this site.
    pub fn pin(&mut self, site: u32, free_bytes: u64) {
        if let Some(row) = self.rows.get_mut(site as usize) {
            row.pinned_pages = row.pinned_pages.saturating_add(1);
            row.pinned_bytes += free_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footprints_are_those_of_the_allocators() {
        // What malloc_usable_size says, plus the header.
        for (size, chunk) in [
            (0, 32),
            (24, 32),
            (25, 48),
            (40, 48),
            (1000, 1008),
            (1001, 1024),
        ] {
            let (start, end) = Rounding::Glibc.footprint(0x1010, size);
            assert_eq!((start, end - start), (0x1008, chunk), "{size}");
        }
        for (size, class) in [
            (1, 8),
            (9, 16),
            (128, 128),
            (129, 160),
            (160, 160),
            (257, 320),
            (4097, 5120),
            (1 << 20, 1 << 20),
            ((1 << 20) + 1, 1_310_720),
        ] {
            assert_eq!(jemalloc_class(size), class, "{size}");
        }
    }
}
