//! Owns the ages of live blocks per site: one walk over the live table into small histograms.
//!
//! Bounded: a histogram of 104 bytes for each site with live blocks, none without memory; the walk
//! takes the tables' locks shard by shard, a few nanoseconds a block.

use leaktrack_recording::{AgeWriter, SiteAge};

use super::epochs::Epochs;
use super::source::Source;
use crate::arena::AVec;

/// Ages in epochs fall into octaves: 0, 1, 2-3, 4-7, ...
const OCTAVES: usize = 21;

#[derive(Clone, Copy)]
struct Histogram {
    oldest: u32,
    newest: u32,
    octaves: [u32; OCTAVES],
    blocks: u64,
}

impl Histogram {
    const EMPTY: Histogram = Histogram {
        oldest: u32::MAX,
        newest: 0,
        octaves: [0; OCTAVES],
        blocks: 0,
    };

    fn add(&mut self, epoch: u32, now: u32) {
        self.oldest = self.oldest.min(epoch);
        self.newest = self.newest.max(epoch);
        self.blocks += 1;
        let octave = (u32::BITS - now.saturating_sub(epoch).leading_zeros()) as usize;
        if let Some(count) = self.octaves.get_mut(octave.min(OCTAVES - 1)) {
            *count = count.saturating_add(1);
        }
    }

    /// Epoch of the median block's birth: its octave is exact, its place within it interpolated.
    fn median(&self, now: u32) -> u32 {
        let half = self.blocks.div_ceil(2);
        let mut below = 0u64;
        for (octave, &count) in self.octaves.iter().enumerate() {
            let count = u64::from(count);
            if below + count >= half && count > 0 {
                let youngest = if octave == 0 { 0 } else { 1u64 << (octave - 1) };
                let oldest = if octave == 0 { 0 } else { (1u64 << octave) - 1 };
                // No wider than what was seen.
                let youngest = youngest.max(u64::from(now.saturating_sub(self.newest)));
                let oldest = oldest
                    .min(u64::from(now.saturating_sub(self.oldest)))
                    .max(youngest);
                let age = youngest + (oldest - youngest) * (half - below - 1) / (count - 1).max(1);
                return now.saturating_sub(age as u32);
            }
            below += count;
        }
        self.oldest
    }
}

/// The walk's result.
pub struct Ages {
    /// Place of each site's histogram plus one, by site id; 0: none.
    places: AVec<u32>,
    histograms: AVec<Histogram>,
    now: u32,
}

impl Ages {
    /// Walks the live table; `None` when there is no memory for it.
    pub fn walk(source: &impl Source) -> Option<Ages> {
        let mut ages = Ages {
            places: AVec::new(),
            histograms: AVec::new(),
            now: source.epoch(),
        };
        for _ in 0..=source.sites() {
            if !ages.places.try_push(0) {
                return None;
            }
        }
        let inherited = source.fork_epoch();
        let mut whole = true;
        source.for_each_live(&mut |site, epoch| {
            if epoch > inherited {
                whole &= ages.add(site, epoch);
            }
        });
        whole.then_some(ages)
    }

    fn add(&mut self, site: u32, epoch: u32) -> bool {
        let Some(place) = self.places.get_mut(site as usize) else {
            return true;
        }; // born meanwhile
        if *place == 0 {
            if !self.histograms.try_push(Histogram::EMPTY) {
                return false;
            }
            *place = self.histograms.len() as u32;
        }
        let at = (*place - 1) as usize;
        if let Some(histogram) = self.histograms.get_mut(at) {
            histogram.add(epoch, self.now);
        }
        true
    }

    /// Bytes that their encoding takes at most, about.
    pub fn bytes(&self) -> usize {
        64 + self.histograms.len() * 24
    }

    /// Writes the ages of all sites with so many live blocks; false when they do not fit.
    pub fn write(
        &self,
        epochs: &Epochs,
        now_ms: u64,
        writer: &mut AgeWriter<'_>,
        least_blocks: u64,
    ) -> bool {
        for (site, place) in self.places.as_slice().iter().enumerate() {
            let Some(histogram) = place
                .checked_sub(1)
                .and_then(|at| self.histograms.get(at as usize))
            else {
                continue;
            };
            if histogram.blocks < least_blocks {
                continue;
            }
            let age = SiteAge {
                site: site as u32,
                blocks: histogram.blocks,
                oldest_ms: epochs.birth_ms(histogram.oldest, now_ms),
                median_ms: epochs.birth_ms(histogram.median(self.now), now_ms),
            };
            if writer.push(&age).is_err() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn median_of(births: &[u32], now: u32) -> (u32, u32) {
        let mut histogram = Histogram::EMPTY;
        births.iter().for_each(|&birth| histogram.add(birth, now));
        let mut sorted = births.to_vec();
        sorted.sort_unstable_by(|a, b| b.cmp(a)); // youngest first
        (histogram.median(now), sorted[births.len().div_ceil(2) - 1])
    }

    #[test]
    fn medians_are_exact_where_all_agree_and_near_elsewhere() {
        assert_eq!(median_of(&[1], 1_000).0, 1);
        assert_eq!(median_of(&[500; 9], 1_000).0, 500);
        assert_eq!(median_of(&[1_000, 1_000, 1_000, 1], 1_000).0, 1_000);
        assert_eq!(median_of(&[3, 3, 3, 1_000], 1_000).0, 3);
        let mut seed = 1u64;
        for now in [10, 1_000, 100_000, (1 << 20) - 1] {
            for count in [1, 2, 3, 10, 1_001] {
                let births: std::vec::Vec<u32> = (0..count)
                    .map(|_| {
                        seed = seed
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        (seed >> 33) as u32 % now + 1
                    })
                    .collect();
                let (guess, exact) = median_of(&births, now);
                let (guess_age, exact_age) = (now - guess.min(now), now - exact);
                assert!(
                    guess_age <= exact_age * 2 + 1 && exact_age <= guess_age * 2 + 1,
                    "{guess_age} {exact_age}"
                );
            }
        }
    }
}
