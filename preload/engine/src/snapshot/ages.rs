//! Owns the ages of live blocks per site: one walk over the live table into small histograms.
//!
//! Bounded: a histogram of 272 bytes for each site with live blocks, none without memory; the walk
//! takes the tables' locks shard by shard, a few nanoseconds a block.

use leaktrack_recording::{AgeWriter, LifetimesWriter, OCTAVES, SiteAge, SiteLifetimes, octave};

use super::epochs::Epochs;
use super::source::Source;
use crate::arena::AVec;

/// Histograms beyond those that the sites' counters ask for.
const SPARE: usize = 64;

#[derive(Clone, Copy)]
struct Octave {
    blocks: u32,
    youngest: u32,
    oldest: u32,
}

#[derive(Clone, Copy)]
struct Histogram {
    octaves: [Octave; OCTAVES],
    blocks: u64,
    oldest: u32,
}

impl Histogram {
    const EMPTY: Histogram = Histogram {
        octaves: [Octave {
            blocks: 0,
            youngest: u32::MAX,
            oldest: 0,
        }; OCTAVES],
        blocks: 0,
        oldest: 0,
    };

    /// Counts a block of this age in epochs.
    fn add(&mut self, age: u32) {
        self.oldest = self.oldest.max(age);
        self.blocks += 1;
        if let Some(octave) = self.octaves.get_mut(octave(age)) {
            octave.blocks = octave.blocks.saturating_add(1);
            octave.youngest = octave.youngest.min(age);
            octave.oldest = octave.oldest.max(age);
        }
    }

    /// Age of the median block: its octave is exact, its place between the youngest and the oldest
    /// there as if they were evenly spaced.
    fn median(&self) -> u32 {
        let half = self.blocks.div_ceil(2);
        let mut below = 0u64;
        for octave in &self.octaves {
            let blocks = u64::from(octave.blocks);
            if blocks > 0 && below + blocks >= half {
                let width = u64::from(octave.oldest.saturating_sub(octave.youngest));
                let share = width * (half - below - 1) / (blocks - 1).max(1);
                return octave.youngest.saturating_add(share as u32);
            }
            below += blocks;
        }
        self.oldest
    }
}

/// The walk's result.
pub struct Ages {
    /// Place of each site's histogram plus one, by site id; 0: none.
    places: AVec<u32>,
    histograms: AVec<Histogram>,
    /// How many histograms there is memory for.
    room: usize,
    now: u32,
}

impl Ages {
    /// Walks the live table; `None` when there is no memory for it.
    pub fn walk(source: &impl Source) -> Option<Ages> {
        let mut ages = Ages {
            places: AVec::new(),
            histograms: AVec::new(),
            room: 0,
            now: source.epoch(),
        };
        // All memory comes before the walk, which holds locks that the program waits for.
        let sites = source.sites();
        let live = (1..=sites).filter(|&site| {
            let counts = source.counts(site);
            counts.allocations > counts.frees
        });
        // Those that get their first block, or another, meanwhile.
        let room = live.count();
        ages.room = (room + room / 8 + SPARE).min(sites as usize);
        if !ages.places.reserve(sites as usize + 1) || !ages.histograms.reserve(ages.room) {
            return None;
        }
        for _ in 0..=sites {
            ages.places.try_push(0);
        }
        let inherited = source.fork_epoch();
        source.for_each_live(&mut |site, epoch| {
            if epoch > inherited {
                ages.add(site, epoch);
            }
        });
        Some(ages)
    }

    /// Counts a block; not one of a site that is new or had none when the walk began and finds no
    /// room.
    fn add(&mut self, site: u32, epoch: u32) {
        let Some(place) = self.places.get_mut(site as usize) else {
            return;
        };
        if *place == 0 {
            if self.histograms.len() >= self.room || !self.histograms.try_push(Histogram::EMPTY) {
                return;
            }
            *place = self.histograms.len() as u32;
        }
        let at = (*place - 1) as usize;
        if let Some(histogram) = self.histograms.get_mut(at) {
            histogram.add(self.now.saturating_sub(epoch));
        }
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
        let born = |age: u32| epochs.birth_ms(self.now.saturating_sub(age), now_ms);
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
                oldest_ms: born(histogram.oldest),
                median_ms: born(histogram.median()),
            };
            if writer.push(&age).is_err() {
                return false;
            }
        }
        true
    }

    /// Writes the lifetimes of all sites with so many blocks in both histograms; false when they do
    /// not fit.
    pub fn write_lifetimes(
        &self,
        source: &impl Source,
        writer: &mut LifetimesWriter<'_>,
        least_blocks: u64,
    ) -> bool {
        for (site, place) in (0u32..).zip(self.places.as_slice()).skip(1) {
            let histogram = place.checked_sub(1);
            let histogram = histogram.and_then(|at| self.histograms.get(at as usize));
            let freed = source.freed(site);
            let live = histogram.map_or([0; OCTAVES], |histogram| {
                histogram.octaves.map(|octave| u64::from(octave.blocks))
            });
            let blocks = freed.iter().flatten().chain(&live).sum::<u64>();
            // A site of which nothing is known is told as such, however little it holds.
            if blocks < least_blocks && freed.is_some() {
                continue;
            }
            if writer.push(&SiteLifetimes { site, freed, live }).is_err() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn median_of(ages: &[u32]) -> (u32, u32) {
        let mut histogram = Histogram::EMPTY;
        ages.iter().for_each(|&age| histogram.add(age));
        let mut sorted = ages.to_vec();
        sorted.sort_unstable();
        assert_eq!(histogram.oldest, *sorted.last().unwrap());
        (histogram.median(), sorted[ages.len().div_ceil(2) - 1])
    }

    #[test]
    fn takes_no_memory_during_the_walk() {
        let mut ages = Ages {
            places: AVec::new(),
            histograms: AVec::new(),
            room: 1,
            now: 9,
        };
        (0..4).for_each(|_| assert!(ages.places.try_push(0)));
        assert!(ages.histograms.reserve(ages.room));
        let before = ages.histograms.as_slice().as_ptr();
        for (site, epoch) in [(2, 5), (3, 5), (2, 7), (9, 1)] {
            ages.add(site, epoch);
        }
        assert_eq!(ages.histograms.as_slice().as_ptr(), before);
        assert_eq!(ages.places.as_slice(), [0, 0, 1, 0]);
        let known = ages.histograms.get(0).unwrap();
        assert_eq!(
            (ages.histograms.len(), known.blocks, known.oldest),
            (1, 2, 4)
        );
    }

    #[test]
    fn medians_are_exact_for_bursts_and_near_elsewhere() {
        for ages in [
            &[0][..],
            &[999],
            &[500; 9],
            &[0, 0, 0, 999],
            &[997, 997, 997, 0],
            &[600, 600, 600, 997],
        ] {
            let (guess, exact) = median_of(ages);
            assert!(guess.abs_diff(exact) <= exact / 3, "{ages:?}: {guess}");
        }
        assert_eq!(median_of(&[997, 997, 997, 0]).0, 997);
        assert_eq!(
            median_of(&(0..10_000).collect::<std::vec::Vec<u32>>()).0,
            4_999
        );
        let mut seed = 1u64;
        for most in [10, 1_000, 100_000, (1 << 20) - 1] {
            for count in [1, 2, 3, 10, 1_001] {
                let random = |_| {
                    seed = seed
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (seed >> 33) as u32 % most
                };
                let ages: std::vec::Vec<u32> = (0..count).map(random).collect();
                let (guess, exact) = median_of(&ages);
                assert!(guess <= exact * 2 && exact <= guess * 2, "{guess} {exact}");
            }
        }
    }
}
