//! Owns making room: free space first, then a longer file, then thinning.

use leaktrack_recording::SegmentKind;

use super::file::FileError;
use super::segment::{END_BYTES, Segment};
use super::space::{BLOCK, Extent, blocks_for};
use super::{Failure, Recorder};
use crate::sys::Errno;
use crate::text::Text;

const LARGEST_STEP_BYTES: u64 = 4 << 20;
const SMALLEST_STEP_BYTES: u64 = 64 << 10;
/// Attempts to make room for one record.
const ATTEMPTS: u32 = 256;

impl Recorder {
    /// Begins a segment with room for `bytes` of frames. `last_resort`: take from what is kept
    /// free for thinning, too.
    pub(super) fn begin(
        &mut self,
        kind: SegmentKind,
        bytes: u64,
        last_resort: bool,
    ) -> Result<Segment, Failure> {
        let blocks = Segment::blocks_for(bytes);
        for _ in 0..ATTEMPTS {
            let (reserve, gap) = if last_resort {
                (0, 0)
            } else {
                (self.reserve_blocks(), self.gap_blocks())
            };
            let wanted = u64::from(blocks) + u64::from(reserve);
            let spare = self.space.free_bytes() >= wanted * BLOCK;
            let leaves_gap = |extent: &Extent| self.space.longest_without(*extent) >= gap;
            if spare && let Some(extent) = self.space.find(blocks).filter(leaves_gap) {
                return self.commit(kind, extent);
            }
            let gained = self.grow(wanted * BLOCK)
                || (spare && self.gather(blocks.saturating_add(gap))?)
                || self.thin()?;
            if !gained {
                break;
            }
        }
        Err(Failure::Full)
    }

    fn commit(&mut self, kind: SegmentKind, extent: Extent) -> Result<Segment, Failure> {
        let segment = Segment::new(extent, self.next_seq(), kind, 0);
        let zeros = [0u8; END_BYTES as usize];
        self.store
            .write(segment.write_offset(), &zeros)
            .map_err(|error| self.stop(error))?;
        self.space
            .commit(extent, &segment.header(), &mut self.store)
            .map_err(|error| self.stop(error))?;
        Ok(segment)
    }

    /// Gives blocks back.
    pub(super) fn release(&mut self, extent: Extent) -> Result<(), Failure> {
        self.space
            .release(extent, &mut self.store)
            .map_err(|error| self.stop(error))
    }

    /// Makes the file longer by at least `bytes` (or up to its cap), if it may be.
    fn grow(&mut self, bytes: u64) -> bool {
        let from = self.store.end();
        if self.health.growth_stopped.is_some() || from >= self.disk_bytes {
            return false;
        }
        let most = self.disk_bytes - from;
        let wanted = bytes
            .max(from / 2)
            .clamp(SMALLEST_STEP_BYTES, LARGEST_STEP_BYTES)
            .next_multiple_of(BLOCK);
        let path = Text::<4096>::of(self.store.file().path());
        let (room, _turn) = self.family.room(
            path.as_bytes(),
            from,
            wanted.min(most),
            self.host.as_bytes(),
        );
        let most = most.min(room);
        if most == 0 {
            return false;
        }
        let least = bytes.next_multiple_of(BLOCK).min(most);
        let step = (from / 2)
            .clamp(SMALLEST_STEP_BYTES, LARGEST_STEP_BYTES)
            .next_multiple_of(BLOCK);
        let mut result = self.store.grow(from + least.max(step).min(most));
        if result.is_err() && least < step.min(most) {
            result = self.store.grow(from + least);
        }
        match result {
            Ok(()) => {}
            // A moment's shortage: the next record may try again.
            Err(FileError::Kernel(
                Errno::EINTR | Errno::EAGAIN | Errno::ENFILE | Errno::EMFILE | Errno::ENOMEM,
            )) => {
                return false;
            }
            Err(error) => {
                self.health.growth_stopped = Some(error);
                if error == FileError::Truncated {
                    self.stop(error);
                }
                return false;
            }
        }
        let new = Extent {
            block: blocks_for(from),
            blocks: blocks_for(self.store.end() - from),
        };
        self.release(new).is_ok()
    }

    /// Makes sure that `bytes` more can be written without opening the file: for a process that is
    /// about to lose the right to. As much as can be had is kept.
    pub fn ensure_reserved(&mut self, bytes: u64) {
        if self.check().is_ok() {
            let missing = bytes.saturating_sub(self.space.free_bytes());
            if missing > 0 {
                self.grow(missing);
            }
        }
    }

    /// Gives the blocks behind a segment's last frame back.
    fn trim(&mut self, segment: &mut Segment) -> Result<(), Failure> {
        let blocks = blocks_for(segment.used + END_BYTES);
        let spare = Extent {
            block: segment.extent.block + blocks,
            blocks: segment.extent.blocks.saturating_sub(blocks),
        };
        if spare.blocks == 0 {
            return Ok(());
        }
        // In this order: until its header is written the segment covers the spare blocks.
        self.release(spare)?;
        segment.extent.blocks = blocks;
        let header = segment.header().encode();
        self.store
            .write(segment.extent.offset(), &header)
            .map_err(|error| self.stop(error))
    }

    pub(super) fn trim_last_defs(&mut self) -> Result<(), Failure> {
        let Some(mut last) = self.defs.as_slice().last().copied() else {
            return Ok(());
        };
        self.trim(&mut last)?;
        if let Some(slot) = self.defs.as_mut_slice().last_mut() {
            *slot = last;
        }
        Ok(())
    }

    pub(super) fn trim_last_snapshots(&mut self) -> Result<(), Failure> {
        let last = self
            .snapshots
            .as_slice()
            .last()
            .copied()
            .filter(|_| self.tail_open);
        let Some(mut last) = last else { return Ok(()) };
        self.trim(&mut last)?;
        if let Some(slot) = self.snapshots.as_mut_slice().last_mut() {
            *slot = last;
        }
        Ok(())
    }

    /// Gives back what the file has reserved and not used, at the end. More can be appended all the
    /// same.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.flush()?;
        self.trim_last_defs()?;
        self.trim_last_snapshots()?;
        let end = self.space.used_end(blocks_for(self.store.end()));
        self.store.shrink(u64::from(end) * BLOCK);
        self.space.cut(blocks_for(self.store.end()));
        Ok(())
    }
}
