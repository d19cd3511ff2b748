//! Owns reading the blocks that were born after the index was made: whatever they point to is held.
//! It must never read a block while a lock of the live table is held.
//!
//! A table that grows moves its pointers into a block that is not in the index and gives up the
//! one that is. Blocks are listed part by part of the live table, read, and listed again: where
//! something has changed meanwhile, the part is read once more.

use super::mark::Marker;
use super::memory::{Manner, Memory, Stop};
use super::room::Room;
use crate::arena::PAGE_BYTES;
use crate::live::LiveTable;

/// Blocks listed at once.
const LIST_BLOCKS: usize = 16 << 10;
/// Times that a part is read which changes all the time. Threads that allocate wait while it is listed,
/// and another pass follows.
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
    let Some(mut list) = Room::<(usize, u64)>::of(LIST_BLOCKS) else {
        return Ok(false);
    };
    for part in 0..LiveTable::PARTS {
        let mut from = 0;
        loop {
            let whole = read_part(table, part, epoch, from, &mut list, marker, memory)?;
            if whole {
                break;
            }
            from += LIST_BLOCKS;
        }
    }
    marker.follow(memory)?;
    Ok(true)
}

/// Reads young blocks of a part from the `from`th on; true if these were all.
fn read_part(
    table: &LiveTable,
    part: usize,
    epoch: u32,
    from: usize,
    list: &mut Room<(usize, u64)>,
    marker: &mut Marker<'_>,
    memory: &mut Memory,
) -> Result<bool, Stop> {
    let (mut whole, mut before) = list_young(table, part, epoch, from, list, memory)?;
    for _ in 0..TRIES {
        if list.is_empty() {
            break;
        }
        list.as_mut_slice().sort_unstable();
        let mut rest = list.as_slice();
        while !rest.is_empty() {
            let (run, after) = rest.split_at_checked(run_len(rest)).unwrap_or((rest, &[]));
            read_run(run, marker, memory)?;
            rest = after;
        }
        let now = list_young(table, part, epoch, from, list, memory)?;
        if now == (whole, before) {
            break;
        }
        (whole, before) = now;
    }
    Ok(whole)
}

/// Lists young blocks; whether these were all, and a sum that tells other lists apart.
fn list_young(
    table: &LiveTable,
    part: usize,
    epoch: u32,
    from: usize,
    list: &mut Room<(usize, u64)>,
    memory: &mut Memory,
) -> Result<(bool, u64), Stop> {
    list.clear();
    let (mut seen, mut count, mut sum, mut whole) = (0, 0, 0u64, true);
    table.for_each_in(part, |addr, block| {
        seen += 1;
        if block.epoch <= epoch {
            return;
        }
        count += 1;
        if count > from && whole {
            whole = list.push((addr, block.size));
            let one = addr as u64 ^ u64::from(block.epoch) << 44 ^ block.size << 20;
            sum = sum.wrapping_add(one.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16);
        }
    });
    memory.steps(seen)?;
    Ok((whole, sum))
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
    let end_of = |&(addr, size): &(usize, u64)| addr.saturating_add(size as usize & !7);
    let start = run.first().map_or(0, |block| block.0);
    let end = run.iter().map(end_of).max().unwrap_or(0);
    memory.each(start, end, MANNER, &mut |from, words| {
        let to = from + size_of_val(words);
        for block in run {
            let (low, high) = (block.0.max(from), end_of(block).min(to));
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
