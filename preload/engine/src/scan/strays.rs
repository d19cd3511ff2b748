//! Owns [`Strays`]: blocks as old as those of the index that came into the live table after it was
//! listed. What they point to is held, as it is for blocks that are young; they are not judged.
//!
//! A block is out of the table while `realloc` tries to move it, and comes back as old as it was if
//! that fails: who is at one says so (`thread::moving`), and how often one came back is counted. And a
//! thread that is kept from running may write a block down long after it has read which epoch it is.
//! Each may be all that leads to others.

use super::index::BlockIndex;
use super::mark::Marker;
use super::memory::{Memory, Stop};
use super::room::Room;
use super::young;
use crate::arena::AVec;
use crate::live::LiveTable;
use crate::{state, thread};

/// Blocks listed at once.
const LIST_BLOCKS: usize = 16 << 10;

/// See the module.
#[derive(Default)]
pub struct Strays {
    found: AVec<(usize, u64)>,
    /// Blocks that had been put back in all when it was looked last; `None`: it was not yet.
    put_back: Option<u64>,
}

impl Strays {
    /// Looks for them, unless it was looked before and none can have come since. False: no memory.
    pub fn look(
        &mut self,
        table: &LiveTable,
        epoch: u32,
        index: &BlockIndex,
        memory: &mut Memory,
    ) -> Result<bool, Stop> {
        let put_back = state::put_back();
        if self.put_back == Some(put_back) {
            return Ok(true);
        }
        let Some(mut list) = Room::<(usize, u64)>::of(LIST_BLOCKS) else {
            return Ok(false);
        };
        for part in 0..LiveTable::PARTS {
            let mut from = 0;
            loop {
                let (whole, seen) = list_old(table, part, epoch, from, &mut list);
                memory.steps(seen)?;
                for &(addr, size) in list.as_slice() {
                    memory.steps(1)?;
                    let hit = index.find(addr);
                    let known = hit.and_then(|hit| index.block(hit.block));
                    // The index knows addresses to eight bytes.
                    let is_known = known.is_some_and(|(start, _)| start == addr & !7);
                    let is_found = || self.found.as_slice().contains(&(addr, size));
                    if !is_known && !is_found() && !self.found.try_push((addr, size)) {
                        return Ok(false);
                    }
                }
                if whole {
                    break;
                }
                from += LIST_BLOCKS;
            }
        }
        self.put_back = Some(put_back);
        Ok(true)
    }

    /// Marks what they point to, and what blocks point to that are out of the table now.
    pub fn mark(&self, marker: &mut Marker<'_>, memory: &mut Memory) -> Result<(), Stop> {
        for (addr, bytes) in thread::moving() {
            young::read_run(&[(addr, bytes as u64)], marker, memory)?;
        }
        for block in self.found.as_slice() {
            young::read_run(core::slice::from_ref(block), marker, memory)?;
        }
        Ok(())
    }
}

/// Lists blocks of a part that are not young, from the `from`th on; whether these were all, and how
/// many it looked at.
fn list_old(
    table: &LiveTable,
    part: usize,
    epoch: u32,
    from: usize,
    list: &mut Room<(usize, u64)>,
) -> (bool, usize) {
    list.clear();
    let (mut seen, mut count, mut whole) = (0, 0, true);
    table.for_each_in(part, |addr, block| {
        seen += 1;
        if block.epoch <= epoch {
            count += 1;
            if count > from && whole {
                whole = list.push((addr, block.size));
            }
        }
    });
    (whole, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Block;
    use crate::scan::mark::Marks;
    use crate::scan::memory::Limits;
    use std::vec;

    #[test]
    fn blocks_that_were_away_while_the_others_were_listed_are_read() {
        static TABLE: LiveTable = LiveTable::new();
        const EPOCH: u32 = 2;
        let block = Block {
            size: 64,
            site: 1,
            epoch: EPOCH,
            class: 0,
        };
        let address = |of: &[u64]| of.as_ptr().addr();
        let [first, second, listed] = [(); 3].map(|()| vec![0u64; 8]);
        // Of a `realloc` that fails soon, and one that fails late.
        let away = [
            vec![address(&first) as u64; 8],
            vec![address(&second) as u64; 8],
        ];
        for held in [&first, &second, &listed] {
            let _ = TABLE.insert(address(held), block);
        }
        let limits = Limits {
            deadline_ns: u64::MAX,
            interrupted: || false,
            swap_bytes: 0,
            pace: None,
        };
        let mut memory = Memory::new(limits).expect("memory");
        let index = BlockIndex::build(&TABLE, &mut || Ok(())).expect("memory");
        assert_eq!(index.len(), 3);
        let marks = Marks::new(index.len()).expect("memory");
        let mut marker = Marker::new(&index, &[], marks, false).expect("memory");
        let mut strays = Strays::default();
        let unreached = |marker: &Marker<'_>| {
            [&first, &second, &listed].map(|held| {
                let hit = index.find(address(held)).expect("a block");
                marker.is_unreached(hit.block)
            })
        };
        let mut expected = [true; 3];
        for (at, holder) in away.iter().enumerate() {
            let _ = TABLE.insert(address(holder), block);
            state::note_put_back();
            // It is as old as the others.
            assert_eq!(
                young::mark(&TABLE, EPOCH, &mut marker, &mut memory),
                Ok(true)
            );
            assert_eq!(unreached(&marker), expected);
            assert_eq!(strays.look(&TABLE, EPOCH, &index, &mut memory), Ok(true));
            assert_eq!(strays.mark(&mut marker, &mut memory), Ok(()));
            expected[at] = false;
            assert_eq!(unreached(&marker), expected);
        }
        assert_eq!(strays.found.len(), 2);
    }
}
