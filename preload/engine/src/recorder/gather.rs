//! Owns the gathering of free blocks into one extent, by moving segments.
//!
//! Copy first, as everywhere: for a moment a segment is there twice, with one number and the same
//! records, of which a reader takes one.

use super::buffer::Buffer;
use super::segment::{END_BYTES, Segment};
use super::space::Extent;
use super::{Failure, Recorder};

/// Which end of a free extent a segment is moved to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// A segment and where to move it.
struct Move {
    segment: Segment,
    to: Extent,
    end: End,
}

impl Recorder {
    /// Makes a free extent of `blocks` blocks out of the free ones; false if that cannot be.
    pub(super) fn gather(&mut self, blocks: u32) -> Result<bool, Failure> {
        if self.space.free_bytes() < u64::from(blocks) * super::BLOCK {
            return Ok(false);
        }
        // A path through all segments and back is longer than any that is needed.
        let most = 2 * self.segments().count() + 8;
        for _ in 0..most {
            let gap = self
                .space
                .extents()
                .iter()
                .copied()
                .max_by_key(|extent| extent.blocks);
            let Some(gap) = gap else { return Ok(false) };
            if gap.blocks >= blocks {
                return Ok(true);
            }
            let Some(step) = self.slide(gap).or_else(|| self.evacuate(gap)) else {
                return Ok(false);
            };
            if !self.relocate(step)? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        let lists = self
            .snapshots
            .as_slice()
            .iter()
            .chain(self.defs.as_slice())
            .chain(self.events.as_slice());
        lists.chain(self.kept.iter().flatten())
    }

    /// The next step of the gap towards the nearer of its free neighbours: the segment beside it
    /// goes to its far end. `None` if a segment on the way is longer than the gap.
    fn slide(&self, gap: Extent) -> Option<Move> {
        let list = self.space.extents();
        let at = list.iter().position(|extent| *extent == gap)?;
        let before = at
            .checked_sub(1)
            .and_then(|i| list.get(i))
            .map(|free| (free.end(), gap.block, End::Last));
        let after = list
            .get(at + 1)
            .map(|free| (gap.end(), free.block, End::First));
        let passable = |&(from, to, _): &(u32, u32, End)| {
            let between = |s: &&Segment| s.extent.block >= from && s.extent.block < to;
            self.segments()
                .filter(between)
                .all(|segment| segment.extent.blocks <= gap.blocks)
        };
        let ways = [before, after].into_iter().flatten().filter(passable);
        let (_, _, end) = ways.min_by_key(|(from, to, _)| to - from)?;
        let beside = |segment: &&Segment| match end {
            End::Last => segment.extent.end() == gap.block,
            End::First => segment.extent.block == gap.end(),
        };
        let segment = *self.segments().find(beside)?;
        Some(Move {
            segment,
            to: gap,
            end,
        })
    }

    /// The move of a segment into another free extent that leaves the longest one, if that is
    /// longer than `gap`.
    fn evacuate(&self, gap: Extent) -> Option<Move> {
        let list = self.space.extents();
        let mut best: Option<(u32, Move)> = None;
        for &segment in self.segments() {
            let Extent { block, blocks } = segment.extent;
            let before = list.iter().copied().find(|free| free.end() == block);
            let after = list
                .iter()
                .copied()
                .find(|free| free.block == segment.extent.end());
            let joined =
                blocks + before.map_or(0, |free| free.blocks) + after.map_or(0, |free| free.blocks);
            let longer = joined > best.as_ref().map_or(gap.blocks, |(longest, _)| *longest);
            let elsewhere = |free: &&Extent| {
                free.blocks >= blocks && Some(**free) != before && Some(**free) != after
            };
            if longer && let Some(to) = list.iter().filter(elsewhere).min_by_key(|free| free.blocks)
            {
                best = Some((
                    joined,
                    Move {
                        segment,
                        to: *to,
                        end: End::First,
                    },
                ));
            }
        }
        best.map(|(_, step)| step)
    }

    fn relocate(&mut self, step: Move) -> Result<bool, Failure> {
        let Move {
            segment: old,
            to,
            end,
        } = step;
        let bytes = (old.used + END_BYTES).min(old.extent.bytes()) as usize;
        let Some(mut buffer) = Buffer::of(bytes) else {
            return Ok(false);
        };
        let content = buffer.as_mut_slice().get_mut(..bytes).unwrap_or_default();
        self.store
            .read(old.extent.offset(), content)
            .map_err(|error| self.stop(error))?;
        let mut new = old;
        new.extent.block = match end {
            End::Last => to.end().saturating_sub(old.extent.blocks),
            End::First => to.block,
        };
        // Everything but the header, which is what makes it valid.
        let header = new.header();
        let skipped = header.encode().len();
        let rest = content.get(skipped..).unwrap_or_default();
        self.store
            .write(new.extent.offset() + skipped as u64, rest)
            .map_err(|error| self.stop(error))?;
        let committed = match end {
            End::Last => self
                .space
                .commit_at_end(to, &header, &mut self.store)
                .map(drop),
            End::First => self.space.commit(new.extent, &header, &mut self.store),
        };
        committed.map_err(|error| self.stop(error))?;
        self.release(old.extent)?;
        let lists = [
            self.snapshots.as_mut_slice(),
            self.defs.as_mut_slice(),
            self.events.as_mut_slice(),
        ];
        let moved = lists
            .into_iter()
            .flatten()
            .chain(self.kept.iter_mut().flatten())
            .find(|s| s.seq == old.seq);
        if let Some(slot) = moved {
            *slot = new;
        }
        self.health.moved_bytes += bytes as u64;
        Ok(true)
    }
}
