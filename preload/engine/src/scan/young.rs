//! Owns reading the blocks that were born after the index was made: whatever they point to is held.
//! It must never read a block while a lock of the live table is held.
//!
//! A table that grows moves its pointers into a block that is not in the index and gives up the
//! one that is. Blocks are listed some at a time, read, and listed again: where something has changed
//! meanwhile, these are read once more.

use super::listing::{List, Place};
use super::mark::Marker;
use super::memory::{Manner, Memory, Stop};
use crate::arena::PAGE_BYTES;
use crate::live::{Block, LiveTable};

/// Times that blocks are read of which some come and go all the time. Threads that allocate wait while
/// they are listed, and another pass follows.
const TRIES: u32 = 2;
/// Neighbours are read together, up to so many bytes.
const RUN_BYTES: usize = 64 << 10;

const MANNER: Manner = Manner {
    shared: false,
    file: false,
    hidden: false,
};

/// Marks what blocks born after `epoch` point to. False: no memory for the list.
pub fn mark(
    table: &LiveTable,
    epoch: u32,
    marker: &mut Marker<'_>,
    memory: &mut Memory,
) -> Result<bool, Stop> {
    let Some(mut list) = List::new(table) else {
        return Ok(false);
    };
    let mut place = Place::default();
    while !place.is_end() {
        place = read_some(table, epoch, place, &mut list, marker, memory)?;
    }
    marker.follow(memory)?;
    Ok(true)
}

/// Reads young blocks from a place on; where to go on.
fn read_some(
    table: &LiveTable,
    epoch: u32,
    from: Place,
    list: &mut List,
    marker: &mut Marker<'_>,
    memory: &mut Memory,
) -> Result<Place, Stop> {
    let is_young = |block: &Block| block.epoch > epoch;
    let mut next = list.fill(table, is_young, from, None, memory)?;
    for _ in 0..TRIES {
        if list.as_slice().is_empty() {
            break;
        }
        let before = (next, list.sum());
        list.sort();
        let mut rest = list.as_slice();
        while !rest.is_empty() {
            let (run, after) = rest.split_at_checked(run_len(rest)).unwrap_or((rest, &[]));
            read_run(run, marker, memory)?;
            rest = after;
        }
        next = list.fill(table, is_young, from, Some(next), memory)?;
        if (next, list.sum()) == before {
            break;
        }
    }
    Ok(next)
}

/// How many of sorted blocks lie so near each other that they are read together.
fn run_len(blocks: &[(usize, u64)]) -> usize {
    let Some(&(start, size)) = blocks.first() else {
        return 0;
    };
    let mut end = start.saturating_add(size as usize);
    let mut len = 1;
    for &(addr, size) in blocks.iter().skip(1) {
        let next = addr.saturating_add(size as usize);
        if addr > end.saturating_add(PAGE_BYTES) || next.saturating_sub(start) > RUN_BYTES {
            break;
        }
        end = end.max(next);
        len += 1;
    }
    len
}

/// Reads neighbours, and nothing of what lies between them.
pub(super) fn read_run(
    run: &[(usize, u64)],
    marker: &mut Marker<'_>,
    memory: &mut Memory,
) -> Result<(), Stop> {
    let index = marker.index();
    // What the program may use of one ends at the next, also at one that is not in the index.
    let end_of = |&(addr, size): &(usize, u64), next: usize| {
        let own = addr.saturating_add(size as usize);
        let end = addr.saturating_add(index.usable_of(addr, size) as usize);
        end.min(next.max(own)) & !7
    };
    let nexts = || run.iter().skip(1).map(|next| next.0).chain([usize::MAX]);
    let each = || run.iter().zip(nexts());
    let start = run.first().map_or(0, |block| block.0);
    let end = each().map(|(block, next)| end_of(block, next)).max();
    memory.each(start, end.unwrap_or(0), MANNER, &mut |from, words| {
        let to = from + size_of_val(words);
        for (block, next) in each() {
            let (low, high) = (block.0.max(from), end_of(block, next).min(to));
            if low < high {
                let part = words.get((low - from) / 8..(high - from) / 8);
                marker.roots(part.unwrap_or_default());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_together() {
        assert_eq!(run_len(&[]), 0);
        assert_eq!(run_len(&[(4096, 100)]), 1);
        assert_eq!(run_len(&[(4096, 100), (8192, 100), (20_000, 8)]), 2);
        assert_eq!(run_len(&[(4096, 1 << 20), (4096 + (1 << 20), 8)]), 1);
        let many: std::vec::Vec<_> = (0..10_000).map(|n| (1 << 20 | n << 4, 16)).collect();
        assert_eq!(run_len(&many), RUN_BYTES / 16);
    }
}
