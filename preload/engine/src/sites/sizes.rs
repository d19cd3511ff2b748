//! Owns how large the blocks of each site were, by classes that double; those of sizes that are
//! usual are counted in tallies first.
//!
//! A site without room for such a count has sizes that are not known, and it is said so.

use leaktrack_recording::{BySize, SIZE_CLASSES, size_class};

use super::histograms::Histograms;
use crate::atomic::sizes::TALLY_CLASSES as CLASSES;

/// The last class of a tally is that of all that are larger.
const LARGE_FROM: usize = CLASSES - 1;

/// What was handed over by tallies, or counted without them.
pub(super) static COMMON: Histograms<CLASSES> = Histograms::new();
/// The classes of blocks that are in the last class of a tally.
pub(super) static LARGE: Histograms<{ SIZE_CLASSES - LARGE_FROM }> = Histograms::new();

/// Counts allocated blocks of one size in no tally.
#[cold]
#[inline(never)]
pub fn note(site: u32, bytes: u64, count: u64) {
    let class = size_class(bytes);
    if class >= LARGE_FROM {
        LARGE.add(site, class - LARGE_FROM, count);
    }
    COMMON.add(site, class.min(LARGE_FROM), count);
}

/// The class of a tally for a block of no usual size.
#[cold]
#[inline(never)]
pub fn unusual(site: u32, bytes: u64) -> usize {
    let class = size_class(bytes);
    if class >= LARGE_FROM {
        LARGE.add(site, class - LARGE_FROM, 1);
    }
    class.min(LARGE_FROM)
}

/// Takes over what a tally counted in a class.
pub fn hand_over(site: u32, class: usize, count: u64) {
    COMMON.add(site, class, count);
}

/// What is counted of a site in no tally.
pub fn common(site: u32) -> Option<[u64; CLASSES]> {
    COMMON.get(site)
}

/// The sizes of a site of which so many are in each class of a tally.
pub fn whole(site: u32, counted: &[u64; CLASSES]) -> Option<BySize> {
    let large = LARGE.get(site)?;
    let usual = counted.iter().take(LARGE_FROM);
    let mut whole = [0; SIZE_CLASSES];
    for (sum, count) in whole.iter_mut().zip(usual.chain(&large)) {
        *sum = *count;
    }
    Some(whole)
}

/// In a forked child: what is in no tally's class of its own was the parent's. The rest is known by
/// what it was then.
pub fn forget_large() {
    LARGE.forget();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_where_they_belong() {
        let site = 80_000;
        for bytes in [
            0,
            8,
            9,
            100 << 10,
            128 << 10,
            (128 << 10) + 1,
            1 << 30,
            u64::MAX,
        ] {
            note(site, bytes, 2);
        }
        let common = common(site).unwrap();
        assert_eq!(common.iter().sum::<u64>(), 16);
        let whole = whole(site, &common).unwrap();
        let mut expected = [0; SIZE_CLASSES];
        // 8 << 14 is 128 KiB, 8 << 27 a GiB.
        (expected[0], expected[1], expected[14]) = (4, 2, 4);
        (expected[15], expected[27], expected[39]) = (2, 2, 2);
        assert_eq!(whole, expected);
    }
}
