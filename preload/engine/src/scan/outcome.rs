//! Owns [`Outcome`]: what a scan found, site by site.

use leaktrack_recording::SiteLoss;

use super::index::BlockIndex;
use super::mark::{Marker, State};
use super::room::Room;

/// Bytes and blocks, by [`State`].
const WORDS: usize = 8;

/// See the module.
pub struct Outcome {
    counts: Room<u64>,
    /// Blocks counted.
    pub blocks: u64,
}

impl Outcome {
    /// Counts the blocks by site; those born up to `inherited` are the parent's and count there.
    /// `None` without memory.
    pub fn count(
        index: &BlockIndex,
        marker: &Marker<'_>,
        sites: u32,
        inherited: u32,
    ) -> Option<Outcome> {
        let mut counts = Room::<u64>::zeroed((sites as usize + 1) * WORDS)?;
        let mut blocks = 0;
        for at in 0..index.len() as u32 {
            let Some((_, block)) = index.block(at) else {
                break;
            };
            if block.epoch <= inherited {
                continue;
            }
            let kind = match marker.state(at) {
                State::Unreached => 0,
                State::Indirect => 2,
                State::Possible => 4,
                State::Reachable => 6,
            };
            let place = block.site as usize * WORDS + kind;
            // A site born since is not asked for.
            if let Some([bytes, count]) = counts.as_mut_slice().get_mut(place..place + 2) {
                *bytes += block.size;
                *count += 1;
                blocks += 1;
            }
        }
        Some(Outcome { counts, blocks })
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
