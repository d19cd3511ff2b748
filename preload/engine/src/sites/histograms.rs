//! Owns histograms per site, which a site gets when something is first counted in its own.
//!
//! Their memory is bounded beforehand; a site without room is known as such. Nothing here is under a
//! lock that a hook waits for: a histogram is found by its place, which never changes.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::arena::{self, Chunked};
use crate::owned::Owned;

/// A site for which there was no room.
const NO_ROOM: u32 = u32::MAX;

/// A histogram of `N` counters for each site.
pub struct Histograms<const N: usize> {
    lock: Owned,
    /// Per site, from 1: the place of its histogram plus one; 0: none yet.
    places: Chunked<AtomicU32>,
    histograms: Chunked<[AtomicU64; N]>,
}

impl<const N: usize> Histograms<N> {
    /// Nothing counted.
    pub const fn new() -> Self {
        Histograms {
            lock: Owned::new(),
            places: Chunked::new(),
            histograms: Chunked::new(),
        }
    }

    /// Adds to a counter of a site.
    pub fn add(&self, site: u32, at: usize, count: u64) {
        let place = match self.places.get(site.wrapping_sub(1)) {
            Some(place) if place.load(Relaxed) != 0 => place.load(Relaxed),
            _ => self.add_site(site),
        };
        if let Some(histogram) = self.histogram(place)
            && let Some(counter) = histogram.get(at)
        {
            counter.fetch_add(count, Relaxed);
        }
    }

    fn histogram(&self, place: u32) -> Option<&[AtomicU64; N]> {
        self.histograms.get(place.checked_sub(1)?)
    }

    /// Gives a site a histogram. If another thread holds the lock, or held it when it was torn out of
    /// the engine, what was to be counted goes uncounted.
    #[cold]
    #[inline(never)]
    fn add_site(&self, site: u32) -> u32 {
        let place = self.lock.with(|| {
            while self.places.len() < site {
                self.places.push(AtomicU32::new(0))?;
            }
            let slot = self.places.get(site.checked_sub(1)?)?;
            if slot.load(Relaxed) == 0 {
                let place = if self.is_full() {
                    None
                } else {
                    self.histograms.push([const { AtomicU64::new(0) }; N])
                };
                slot.store(place.map_or(NO_ROOM, |place| place + 1), Relaxed);
            }
            Some(slot.load(Relaxed))
        });
        place.flatten().unwrap_or(0)
    }

    /// A thirty-second of leaktrack's memory at most: storage grows in doublings.
    fn is_full(&self) -> bool {
        let used = u64::from(self.histograms.len()) * size_of::<[AtomicU64; N]>() as u64;
        used >= arena::hook_limit_bytes() / 64
    }

    /// What was counted of a site; `None` without room.
    pub fn get(&self, site: u32) -> Option<[u64; N]> {
        let place = self.places.get(site.checked_sub(1)?);
        match place.map_or(0, |place| place.load(Relaxed)) {
            0 => Some([0; N]),
            NO_ROOM => None,
            place => {
                let histogram = self.histogram(place)?;
                Some(core::array::from_fn(|at| {
                    histogram.get(at).map_or(0, |count| count.load(Relaxed))
                }))
            }
        }
    }

    /// In a forked child: what was counted so far is the parent's.
    pub fn forget(&self) {
        for place in 1..=self.histograms.len() {
            for count in self.histogram(place).into_iter().flatten() {
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
    /// The calling thread is not inside [`Histograms::add`] except in calls that never return.
    pub unsafe fn abandon(&self) {
        // SAFETY: the caller's promise; a torn addition loses a histogram at most.
        unsafe { self.lock.abandon() }
    }

    /// Lets go in a forked child for the thread that was adding a histogram in the parent.
    ///
    /// # Safety
    /// The calling thread is the only one and is not inside [`Histograms::add`].
    pub unsafe fn abandon_in_child(&self) {
        // SAFETY: the caller's promise; a torn addition loses a histogram at most.
        unsafe { self.lock.abandon_in_child() }
    }
}
