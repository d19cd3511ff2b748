//! Owns [`Outcome`]: what a scan found, site by site.

use leaktrack_recording::SiteLoss;

use super::index::BlockIndex;
use super::mark::{Marks, State};
use super::memory::{Memory, Stop};
use super::room::Room;
use crate::live::Block;
use crate::sampler::weight;

/// Bytes and blocks, by [`State`].
const WORDS: usize = 8;

/// Lost blocks that are remembered.
const MOST_REMEMBERED: usize = 64 << 10;

/// A block that was called lost.
#[derive(Clone, Copy, Debug)]
pub struct LostBlock {
    addr: usize,
    epoch: u32,
    site: u32,
}

impl LostBlock {
    /// True if the block is still there: `now` tells what the live table has at an address.
    pub fn is_there(&self, now: impl FnOnce(usize) -> Option<Block>) -> bool {
        now(self.addr).is_some_and(|now| (now.epoch, now.site) == (self.epoch, self.site))
    }
}

/// See the module.
pub struct Outcome {
    counts: Room<u64>,
    lost: (u64, u64),
    remembered: Room<LostBlock>,
    /// Blocks counted.
    pub blocks: u64,
}

impl Outcome {
    /// Of a scan without blocks.
    pub fn of_nothing() -> Outcome {
        Outcome {
            counts: Room::none(),
            lost: (0, 0),
            remembered: Room::none(),
            blocks: 0,
        }
    }

    /// Counts the blocks by site; those born up to `inherited` are the parent's and count there.
    /// `None` without memory.
    pub fn count(
        index: &BlockIndex,
        marks: &Marks,
        sites: u32,
        inherited: u32,
        memory: &mut Memory,
    ) -> Result<Option<Outcome>, Stop> {
        let unreached = marks.count(State::Unreached, memory)?;
        let all = unreached + marks.count(State::Indirect, memory)?;
        let Some((mut counts, mut remembered)) = Room::<u64>::zeroed((sites as usize + 1) * WORDS)
            .zip(Room::of(all.min(MOST_REMEMBERED)))
        else {
            return Ok(None);
        };
        let (mut blocks, mut lost) = (0, (0u64, 0u64));
        for at in 0..index.len() as u32 {
            memory.steps(1)?;
            let Some((addr, block)) = index.block(at) else {
                break;
            };
            if block.epoch <= inherited {
                continue;
            }
            let kind = match marks.state(at) {
                State::Unreached => 0,
                State::Indirect => 2,
                State::Possible => 4,
                State::Reachable => 6,
            };
            let place = block.site as usize * WORDS + kind;
            // A site born since is not asked for.
            if let Some([bytes, count]) = counts.as_mut_slice().get_mut(place..place + 2) {
                let weight = weight::weight(block.class, block.size, addr);
                *bytes = bytes.saturating_add(block.size.saturating_mul(weight));
                *count = count.saturating_add(weight);
                if kind <= 2 {
                    remembered.push(LostBlock {
                        addr,
                        epoch: block.epoch,
                        site: block.site,
                    });
                    lost.0 = lost.0.saturating_add(weight);
                    lost.1 = lost.1.saturating_add(block.size.saturating_mul(weight));
                }
                blocks += 1;
            }
        }
        Ok(Some(Outcome {
            counts,
            lost,
            remembered,
            blocks,
        }))
    }

    /// The first of the blocks that are lost.
    pub fn remember(&mut self) -> Room<LostBlock> {
        core::mem::take(&mut self.remembered)
    }

    /// Blocks and bytes lost, definitely or indirectly.
    pub fn lost(&self) -> (u64, u64) {
        self.lost
    }

    /// What was found of a site; `None` if it had no live blocks.
    pub fn of(&self, site: u32) -> Option<SiteLoss> {
        let place = site as usize * WORDS;
        let counts = self.counts.as_slice().get(place..place + WORDS)?;
        let &[
            definite_bytes,
            definite_blocks,
            indirect_bytes,
            indirect_blocks,
            possible_bytes,
            possible_blocks,
            reachable_bytes,
            reachable_blocks,
        ] = counts
        else {
            return None;
        };
        let loss = SiteLoss {
            site,
            since_ms: 0,
            definite_bytes,
            definite_blocks,
            indirect_bytes,
            indirect_blocks,
            possible_bytes,
            possible_blocks,
            reachable_bytes,
            reachable_blocks,
        };
        let all = definite_blocks + indirect_blocks + possible_blocks + reachable_blocks;
        (all > 0).then_some(loss)
    }
}
