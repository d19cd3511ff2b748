//! Owns [`Strays`]: blocks as old as those of the index that came into the live table after it was
//! listed. What they point to is held, as it is for blocks that are young; they are not judged.
//!
//! A block is out of the table while `realloc` tries to move it, and comes back as old as it was if
//! that fails: who is at one says so before it is out (`thread::moving`), and how often one came back is counted. And a
//! thread that is kept from running may write a block down long after it has read which epoch it is.
//! Each may be all that leads to others.

use super::index::BlockIndex;
use super::listing::{List, Place};
use super::mark::Marker;
use super::memory::{Memory, Stop};
use super::young;
use crate::arena::AVec;
use crate::live::{Block, LiveTable};
use crate::{state, thread};

/// Times that it is looked again because blocks were put back meanwhile. Another pass follows.
const TRIES: u32 = 4;

/// See the module.
#[derive(Default)]
pub struct Strays {
    found: AVec<(usize, u64)>,
    /// Blocks that had been put back in all when it was looked last; `None`: it was not yet.
    put_back: Option<u64>,
}

impl Strays {
    /// Marks what they point to, and what blocks point to that are out of the table now. False: no
    /// memory.
    ///
    /// A block is out of the table, or it was counted as put back before it was no longer said to be out:
    /// so one that is not seen the first time is in the table then, if it does not go out once more, in
    /// which case it is seen the second time, or is counted anew.
    pub fn mark(
        &mut self,
        table: &LiveTable,
        epoch: u32,
        marker: &mut Marker<'_>,
        memory: &mut Memory,
    ) -> Result<bool, Stop> {
        for _ in 0..TRIES {
            mark_moving(marker, memory)?;
            if !self.look(table, epoch, marker.index(), memory)? {
                return Ok(false);
            }
            mark_moving(marker, memory)?;
            if self.put_back == Some(state::put_back()) {
                break;
            }
        }
        for block in self.found.as_slice() {
            young::read_run(core::slice::from_ref(block), marker, memory)?;
        }
        Ok(true)
    }

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
        let Some(mut list) = List::new(table) else {
            return Ok(false);
        };
        let is_old = |block: &Block| block.epoch <= epoch;
        let mut place = Place::default();
        while !place.is_end() {
            place = list.fill(table, is_old, place, None, memory)?;
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
        }
        self.put_back = Some(put_back);
        Ok(true)
    }
}

/// Marks what blocks point to that `realloc` is at.
fn mark_moving(marker: &mut Marker<'_>, memory: &mut Memory) -> Result<(), Stop> {
    for (addr, bytes) in thread::moving() {
        // Its size is known as soon as it is out of the table. Until then more than the block is read.
        let bytes = bytes.unwrap_or_else(|| marker.most_bytes_at(addr));
        young::read_run(&[(addr, bytes as u64)], marker, memory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
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
        // Of a `realloc` that has not said yet how long the block is that it takes out: what comes before the
        // next block is read.
        let mut leaving = vec![address(&listed) as u64; 8];
        leaving.extend([0; 8]);
        let next = address(&leaving) + 64;
        for held in [address(&first), address(&second), address(&listed), next] {
            let _ = TABLE.insert(held, block);
        }
        let mut memory = Memory::new(Limits::none()).expect("memory");
        let index = BlockIndex::build(&TABLE, &mut || Ok(())).expect("memory");
        assert_eq!(index.len(), 4);
        let marks = Marks::new(index.len()).expect("memory");
        let regions = crate::scan::regions::read().expect("its map");
        let marker = Marker::new(&index, regions.as_slice(), marks, false);
        let mut marker = marker.expect("memory");
        let mut strays = Strays::default();
        let unreached = |marker: &Marker<'_>| {
            [&first, &second, &listed].map(|held| {
                let hit = index.find(address(held)).expect("a block");
                marker.is_unreached(hit.block)
            })
        };
        let mut expected = [true; 3];
        // SAFETY: this thread's own, which outlives the test.
        let own = unsafe { &*crate::tls::local() };
        thread::begin_moving(own, address(&leaving));
        assert_eq!(
            strays.mark(&TABLE, EPOCH, &mut marker, &mut memory),
            Ok(true)
        );
        thread::end_moving(own);
        expected[2] = false;
        assert_eq!(unreached(&marker), expected);
        for (at, holder) in away.iter().enumerate() {
            let _ = TABLE.insert(address(holder), block);
            state::note_put_back();
            // It is as old as the others.
            assert_eq!(
                young::mark(&TABLE, EPOCH, &mut marker, &mut memory),
                Ok(true)
            );
            assert_eq!(unreached(&marker), expected);
            assert_eq!(
                strays.mark(&TABLE, EPOCH, &mut marker, &mut memory),
                Ok(true)
            );
            expected[at] = false;
            assert_eq!(unreached(&marker), expected);
        }
        assert_eq!(strays.found.len(), 2);
    }
}
