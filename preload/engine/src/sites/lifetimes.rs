//! Owns how long freed blocks had lived, per site, in octaves of epochs. It counts only blocks that
//! outlived the epoch of their birth: the rest of a site's frees are those that did not.
//!
//! A site gets its histogram with the first such block, from memory of a size that is bounded
//! beforehand; without room its lifetimes are unknown, and it is said so. Nothing here is under a
//! lock that a hook waits for: a histogram is found by its place, which never changes.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use leaktrack_recording::{OCTAVES, Octaves, octave};

use crate::arena::{self, Chunked};
use crate::owned::Owned;

/// Freed blocks by octave; 0 is never counted.
type Histogram = [AtomicU64; OCTAVES];

/// A site whose lifetimes cannot be counted.
const NO_ROOM: u32 = u32::MAX;

struct Tables {
    lock: Owned,
    /// Per site, from 1: the place of its histogram plus one; 0: none yet.
    places: Chunked<AtomicU32>,
    histograms: Chunked<Histogram>,
}

static TABLES: Tables = Tables {
    lock: Owned::new(),
    places: Chunked::new(),
    histograms: Chunked::new(),
};

/// Counts a freed block that was `age` epochs old, at least 1.
#[cold]
#[inline(never)]
pub fn note(site: u32, age: u32) {
    let place = match TABLES.places.get(site.wrapping_sub(1)) {
        Some(place) if place.load(Relaxed) != 0 => place.load(Relaxed),
        _ => add(site),
    };
    if let Some(histogram) = histogram(place)
        && let Some(count) = histogram.get(octave(age))
    {
        count.fetch_add(1, Relaxed);
    }
}

fn histogram(place: u32) -> Option<&'static Histogram> {
    TABLES.histograms.get(place.checked_sub(1)?)
}

/// Gives a site a histogram. If another thread holds the lock, or held it when it was torn out of
/// the engine, one block goes uncounted at most.
fn add(site: u32) -> u32 {
    let place = TABLES.lock.with(|| {
        while TABLES.places.len() < site {
            TABLES.places.push(AtomicU32::new(0))?;
        }
        let slot = TABLES.places.get(site.checked_sub(1)?)?;
        if slot.load(Relaxed) == 0 {
            let place = if is_full() {
                None
            } else {
                TABLES
                    .histograms
                    .push([const { AtomicU64::new(0) }; OCTAVES])
            };
            slot.store(place.map_or(NO_ROOM, |place| place + 1), Relaxed);
        }
        Some(slot.load(Relaxed))
    });
    place.flatten().unwrap_or(0)
}

/// A thirty-second of leaktrack's memory at most: storage grows in doublings.
fn is_full() -> bool {
    let used = u64::from(TABLES.histograms.len()) * size_of::<Histogram>() as u64;
    used >= arena::hook_limit_bytes() / 64
}

/// What is known of a site's freed blocks.
pub fn freed(site: u32) -> Option<Octaves> {
    let place = TABLES.places.get(site.checked_sub(1)?);
    match place.map_or(0, |place| place.load(Relaxed)) {
        0 => Some([0; OCTAVES]),
        NO_ROOM => None,
        place => {
            let histogram = histogram(place)?;
            Some(core::array::from_fn(|octave| {
                histogram.get(octave).map_or(0, |count| count.load(Relaxed))
            }))
        }
    }
}

/// In a forked child: what was counted so far is the parent's.
pub fn forget() {
    for place in 1..=TABLES.histograms.len() {
        for count in histogram(place).into_iter().flatten() {
            // Only what is not 0: the page is shared with the parent until it is written.
            if count.load(Relaxed) != 0 {
                count.store(0, Relaxed);
            }
        }
    }
}

/// Lets go of what this thread held when it was torn out of the engine by `siglongjmp`.
///
/// # Safety
/// The calling thread is not inside [`note`] except in calls that never return.
pub unsafe fn abandon() {
    // SAFETY: the caller's promise; a torn addition loses a histogram at most.
    unsafe { TABLES.lock.abandon() }
}

/// Lets go in a forked child for the thread that was adding a histogram in the parent.
///
/// # Safety
/// The calling thread is the only one and is not inside [`note`].
pub unsafe fn abandon_in_child() {
    // SAFETY: the caller's promise; a torn addition loses a histogram at most.
    unsafe { TABLES.lock.abandon_in_child() }
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
