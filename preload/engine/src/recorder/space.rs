//! Owns which blocks of the file are free, and the headers that tell a reader the same.
//!
//! From block 1 to the end the file is tiled by segments, free ones included, at every moment: a
//! reader steps from header to header and never sees what an earlier use left behind. Each change
//! is one header written last, over a range whose inside is already in order.

use super::file::FileError;
use super::store::Store;
use crate::arena::AVec;
use leaktrack_recording::{BLOCK_BYTES, SegmentHeader, SegmentKind};

/// Bytes of a block.
pub const BLOCK: u64 = BLOCK_BYTES as u64;

/// A run of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First block.
    pub block: u32,
    /// How many.
    pub blocks: u32,
}

impl Extent {
    /// Where it begins in the file.
    pub fn offset(self) -> u64 {
        u64::from(self.block) * BLOCK
    }

    /// Length in bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.blocks) * BLOCK
    }

    /// One past its last block.
    pub fn end(self) -> u32 {
        self.block.saturating_add(self.blocks)
    }
}

/// Blocks that hold `bytes`.
pub fn blocks_for(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX)
}

/// The free extents, ascending, never adjacent.
#[derive(Debug, Default)]
pub struct Space {
    free: AVec<Extent>,
}

impl Space {
    /// Nothing free.
    pub const fn new() -> Space {
        Space { free: AVec::new() }
    }

    /// Free bytes in all.
    pub fn free_bytes(&self) -> u64 {
        self.free
            .as_slice()
            .iter()
            .map(|extent| extent.bytes())
            .sum()
    }

    /// Where the free extent at the very end of `end` blocks begins; `end` if it is in use.
    pub fn used_end(&self, end: u32) -> u32 {
        self.free
            .as_slice()
            .last()
            .filter(|last| last.end() == end)
            .map_or(end, |last| last.block)
    }

    /// Length of the longest free extent if `chosen` were in use.
    pub fn longest_without(&self, chosen: Extent) -> u32 {
        let left = |free: &Extent| {
            if free.block == chosen.block {
                free.blocks - chosen.blocks
            } else {
                free.blocks
            }
        };
        self.free.as_slice().iter().map(left).max().unwrap_or(0)
    }

    /// The free extents, ascending.
    pub fn extents(&self) -> &[Extent] {
        self.free.as_slice()
    }

    /// Chooses `blocks` free blocks: the smallest extent that has them, the first of equals. They
    /// stay free until [`Space::commit`].
    pub fn find(&self, blocks: u32) -> Option<Extent> {
        let fits = self
            .free
            .as_slice()
            .iter()
            .filter(|extent| extent.blocks >= blocks);
        fits.min_by_key(|extent| extent.blocks)
            .map(|extent| Extent {
                block: extent.block,
                blocks,
            })
    }

    /// Makes what [`Space::find`] chose a segment: writes its header.
    pub fn commit(
        &mut self,
        chosen: Extent,
        header: &SegmentHeader,
        store: &mut Store,
    ) -> Result<(), FileError> {
        let found = self
            .free
            .as_slice()
            .iter()
            .position(|free| free.block == chosen.block);
        let Some((at, free)) = found.and_then(|at| Some((at, *self.free.get(at)?))) else {
            return Ok(());
        };
        if free.blocks > chosen.blocks {
            let rest = Extent {
                block: chosen.end(),
                blocks: free.blocks - chosen.blocks,
            };
            write_free(rest, store)?;
            store.write(chosen.offset(), &header.encode())?;
            if let Some(slot) = self.free.get_mut(at) {
                *slot = rest;
            }
        } else {
            store.write(chosen.offset(), &header.encode())?;
            self.free.remove(at);
        }
        Ok(())
    }

    /// As [`Space::commit`] for the last `header.blocks` blocks of a free extent: the header is in
    /// place when the free extent before it is made shorter.
    pub fn commit_at_end(
        &mut self,
        free: Extent,
        header: &SegmentHeader,
        store: &mut Store,
    ) -> Result<Extent, FileError> {
        let chosen = Extent {
            block: free.end().saturating_sub(header.blocks),
            blocks: header.blocks,
        };
        if chosen.block == free.block {
            self.commit(chosen, header, store)?;
            return Ok(chosen);
        }
        let rest = Extent {
            block: free.block,
            blocks: free.blocks.saturating_sub(header.blocks),
        };
        store.write(chosen.offset(), &header.encode())?;
        write_free(rest, store)?;
        if let Some(slot) = self
            .free
            .as_mut_slice()
            .iter_mut()
            .find(|extent| extent.block == free.block)
        {
            *slot = rest;
        }
        Ok(chosen)
    }

    /// Gives blocks back, joined with their free neighbours. Whatever they held is gone in one
    /// write.
    pub fn release(&mut self, extent: Extent, store: &mut Store) -> Result<(), FileError> {
        if extent.blocks == 0 {
            return Ok(());
        }
        let list = self.free.as_slice();
        let at = list
            .iter()
            .position(|free| free.block > extent.block)
            .unwrap_or(list.len());
        let before = at
            .checked_sub(1)
            .and_then(|i| list.get(i))
            .copied()
            .filter(|free| free.end() == extent.block);
        let after = list
            .get(at)
            .copied()
            .filter(|free| free.block == extent.end());
        let block = before.map_or(extent.block, |free| free.block);
        let blocks = before.map_or(0, |f| f.blocks) + extent.blocks + after.map_or(0, |f| f.blocks);
        let joined = Extent { block, blocks };
        write_free(joined, store)?;
        match (before, after) {
            (Some(_), Some(_)) => {
                self.free.remove(at);
                self.replace(at.wrapping_sub(1), joined);
            }
            (Some(_), None) => self.replace(at.wrapping_sub(1), joined),
            (None, Some(_)) => self.replace(at, joined),
            // Without memory for the list the blocks are lost to us, but the file stays in order.
            (None, None) => drop(self.free.try_insert(at, joined)),
        }
        Ok(())
    }

    fn replace(&mut self, at: usize, extent: Extent) {
        if let Some(slot) = self.free.get_mut(at) {
            *slot = extent;
        }
    }

    /// Takes the blocks from `end` on out of the list: the file ends there now.
    pub fn cut(&mut self, end: u32) {
        while let Some(last) = self.free.as_mut_slice().last_mut() {
            if last.block < end {
                last.blocks = last.blocks.min(end - last.block);
                return;
            }
            self.free.pop();
        }
    }
}

fn write_free(extent: Extent, store: &mut Store) -> Result<(), FileError> {
    let header = SegmentHeader {
        kind: SegmentKind::Free,
        level: 0,
        blocks: extent.blocks,
        seq: 0,
    };
    store.write(extent.offset(), &header.encode())
}
