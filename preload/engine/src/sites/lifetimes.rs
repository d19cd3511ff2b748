//! Owns how long freed blocks had lived, per site, in octaves of epochs. It counts only blocks that
//! outlived the epoch of their birth: the rest of a site's frees are those that did not.
//!
//! A site without room for such a count has lifetimes that are not known, and it is said so.

use leaktrack_recording::{OCTAVES, Octaves, octave};

use super::histograms::Histograms;

/// Freed blocks by octave; 0 is never counted.
pub(super) static FREED: Histograms<OCTAVES> = Histograms::new();

/// Counts a freed block that was `age` epochs old, at least 1.
#[cold]
#[inline(never)]
pub fn note(site: u32, age: u32) {
    FREED.add(site, octave(age), 1);
}

/// What is known of a site's freed blocks.
pub fn freed(site: u32) -> Option<Octaves> {
    FREED.get(site)
}

/// In a forked child: what was counted so far is the parent's.
pub fn forget() {
    FREED.forget();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_counted_by_octave_and_forgotten_in_children() {
        let site = 70_000;
        assert_eq!(freed(site), Some([0; OCTAVES]));
        for age in [1, 2, 3, 1 << 19, (1 << 20) - 1] {
            note(site, age);
        }
        let mut expected = [0; OCTAVES];
        (expected[1], expected[2], expected[20]) = (1, 2, 2);
        assert_eq!(freed(site), Some(expected));
        assert_eq!(freed(site + 1), Some([0; OCTAVES]));
        forget();
        assert_eq!(freed(site), Some([0; OCTAVES]));
    }
}
