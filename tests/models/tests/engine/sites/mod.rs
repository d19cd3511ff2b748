//! The surroundings of the tallies; see the engine's `sites.rs`.

pub mod tally;

use crate::atomic::{AtomicU64, Ordering::Relaxed};

pub struct SiteCounters {
    pub allocations: AtomicU64,
    pub frees: AtomicU64,
    pub allocated_bytes: AtomicU64,
    pub freed_bytes: AtomicU64,
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
    }
}; 2];

/// Sites 1 and 2, which share a place in the tallies.
pub fn counters(site: u32) -> Option<&'static SiteCounters> {
    SITES.get(site.checked_sub(1)? as usize)
}
