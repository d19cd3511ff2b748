//! The surroundings of the tallies; see the engine's `sites.rs`.

pub mod tally;

use crate::atomic::{AtomicU64, Ordering::Relaxed};

pub struct SiteCounters {
    pub allocations: AtomicU64,
    pub frees: AtomicU64,
    pub allocated_bytes: AtomicU64,
    pub freed_bytes: AtomicU64,
    pub temporary: AtomicU64,
}

impl SiteCounters {
    pub fn add_alloc(&self, bytes: u64) {
        self.allocations.fetch_add(1, Relaxed);
        self.allocated_bytes.fetch_add(bytes, Relaxed);
    }

    pub fn add_free(&self, bytes: u64) {
        self.frees.fetch_add(1, Relaxed);
        self.freed_bytes.fetch_add(bytes, Relaxed);
    }
}

static SITES: [SiteCounters; 2] = [const {
    SiteCounters {
        allocations: AtomicU64::new(0),
        frees: AtomicU64::new(0),
        allocated_bytes: AtomicU64::new(0),
        freed_bytes: AtomicU64::new(0),
        temporary: AtomicU64::new(0),
    }
}; 2];

/// Sites 1 and 2, which share a place in the tallies.
pub fn counters(site: u32) -> Option<&'static SiteCounters> {
    SITES.get(site.checked_sub(1)? as usize)
}

/// Sizes that are counted in no tally; see the engine's `sites/sizes.rs`.
pub mod sizes {
    use crate::atomic::{AtomicU64, Ordering::Relaxed, sizes::TALLY_CLASSES};

    static COMMON: [[AtomicU64; TALLY_CLASSES]; 2] =
        [const { [const { AtomicU64::new(0) }; TALLY_CLASSES] }; 2];

    pub fn note(site: u32, _: u64, count: u64) {
        hand_over(site, 0, count);
    }

    pub fn unusual(_: u32, _: u64) -> usize {
        0
    }

    pub fn hand_over(site: u32, class: usize, count: u64) {
        if let Some(counts) = COMMON.get(site as usize - 1) {
            counts[class].fetch_add(count, Relaxed);
        }
    }

    pub fn common(site: u32) -> Option<[u64; TALLY_CLASSES]> {
        let counts = COMMON.get((site as usize).checked_sub(1)?)?;
        Some(core::array::from_fn(|class| counts[class].load(Relaxed)))
    }
}
