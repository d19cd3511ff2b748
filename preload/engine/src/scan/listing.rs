//! Owns listing blocks of the live table, some at a time, so that threads of the program are kept from
//! it as little as can be.
//! It must never touch memory for the first time, nor look at a block, while they are.
//!
//! Groups are taken away from their owners once for many parts of the table: each time has every
//! processor that runs the program pass a barrier, and the owners take a slower way once.

use super::memory::{Memory, Stop};
use super::room::Room;
use crate::live::{Block, Calm, LiveTable};
use crate::sys;

/// Blocks that a list has room for.
const LIST_BLOCKS: usize = 16 << 10;
/// Blocks that may come while few are listed.
const FEW_BLOCKS: usize = 512;
/// Blocks looked at before the table is left to others: less than a millisecond's work.
const AT_ONCE: usize = 32 << 10;

/// Where the next list begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    part: usize,
    /// Blocks of the part that were listed before.
    skipped: usize,
}

impl Place {
    /// True if nothing is left.
    pub fn is_end(&self) -> bool {
        self.part >= LiveTable::PARTS
    }

    /// Number of parts that are looked at, wholly or in part, before this.
    fn parts(&self) -> usize {
        self.part + usize::from(self.skipped > 0)
    }
}

/// Blocks: address and size.
pub struct List(Room<(usize, u64)>);

impl List {
    /// With room for what is in the table and some more, as far as a list goes; `None` without memory.
    pub fn new(table: &LiveTable) -> Option<List> {
        let live = usize::try_from(table.len()).unwrap_or(usize::MAX);
        let blocks = (live / 8 * 9).saturating_add(FEW_BLOCKS).min(LIST_BLOCKS);
        let mut room = Room::of(blocks)?;
        room.touch_ahead(blocks);
        Some(List(room))
    }

    /// What is in it.
    pub fn as_slice(&self) -> &[(usize, u64)] {
        self.0.as_slice()
    }

    /// In order of address.
    pub fn sort(&mut self) {
        self.0.as_mut_slice().sort_unstable();
    }

    /// Tells lists with other blocks apart.
    pub fn sum(&self) -> u64 {
        let one = |&(addr, size): &(usize, u64)| addr as u64 ^ size << 44 ^ size;
        let mix = |one: u64| one.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let each = self.0.as_slice().iter().map(one).map(mix);
        each.fold(0, u64::wrapping_add)
    }

    /// Fills it with blocks that are to be `kept`, from a place on; where the next list begins. It ends
    /// no later than `until`.
    pub fn fill(
        &mut self,
        table: &LiveTable,
        kept: impl Fn(&Block) -> bool,
        from: Place,
        until: Option<Place>,
        memory: &mut Memory,
    ) -> Result<Place, Stop> {
        let list = &mut self.0;
        list.clear();
        let end = until.map_or(LiveTable::PARTS, |place| place.parts());
        let (mut seen, mut place) = (0, from);
        let hush = hold(table);
        while place.part < end && seen < AT_ONCE {
            let (before, mut count, mut whole) = (list.len(), 0, true);
            table.for_each_in(place.part, |addr, block| {
                seen += 1;
                if kept(&block) {
                    count += 1;
                    if count > place.skipped && whole {
                        whole = list.push((addr, block.size));
                    }
                }
            });
            if !whole {
                if before == 0 {
                    // Blocks that go until then move others up: some are listed twice, none is left out.
                    place.skipped += list.len() - list.len() / 8;
                } else {
                    // All of it comes with the next list.
                    list.truncate(before);
                }
                break;
            }
            place = Place {
                part: place.part + 1,
                skipped: 0,
            };
        }
        drop(hush);
        memory.steps(seen)?;
        Ok(place)
    }
}

/// Keeps the table calm for as long as many blocks are listed.
///
/// It gives up the processor first: on a busy machine who has it back keeps it for some milliseconds, and is
/// not sent away while it holds a group that others wait for.
pub fn hold(table: &LiveTable) -> Calm<'_> {
    sys::sched_yield();
    table.hush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::memory::Limits;
    use std::collections::BTreeSet;

    #[test]
    fn every_block_that_stays_is_listed_however_they_lie() {
        static TABLE: LiveTable = LiveTable::new();
        let mut expected = BTreeSet::new();
        let mut insert = |addr: usize, size: u64, epoch: u32| {
            let block = Block {
                size,
                site: 1,
                epoch,
                class: 0,
            };
            let _ = TABLE.insert(addr, block);
            if epoch > 1 {
                assert!(expected.insert((addr, size)));
            }
        };
        // One part that no list has room for, many with a few, large ones, and others that are not kept.
        for n in 0..40_000 {
            insert(0x10_0000_0010 + n * 16, 16, 2);
        }
        for n in 0..5_000 {
            insert(0x20_0000_0010 + n * (1 << 18), 48, 2 - n as u32 % 2);
            insert(0x40_0000_0010 + n * (1 << 20), 20 << 10, 3);
        }
        let mut memory = Memory::new(Limits::none()).expect("memory");
        let mut list = List::new(&TABLE).expect("memory");
        let mut again = List::new(&TABLE).expect("memory");
        let (mut found, mut place, mut lists) = (BTreeSet::new(), Place::default(), 0);
        let is_kept = |block: &Block| block.epoch > 1;
        while !place.is_end() {
            let next = list.fill(&TABLE, is_kept, place, None, &mut memory);
            let next = next.expect("no end");
            let same = again.fill(&TABLE, is_kept, place, Some(next), &mut memory);
            assert_eq!((same, again.sum()), (Ok(next), list.sum()));
            assert!(next != place);
            found.extend(list.as_slice().iter().copied());
            // What goes meanwhile hides nothing else.
            for gone in list.as_slice().iter().take(1_000) {
                assert!(TABLE.remove(gone.0).is_some());
            }
            (place, lists) = (next, lists + 1);
        }
        assert!(found == expected);
        assert!((4..30).contains(&lists), "{lists}");
    }
}
