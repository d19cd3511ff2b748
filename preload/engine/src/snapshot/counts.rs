//! Owns the counters of a site as plain numbers. They only ever grow; differences wrap.

use leaktrack_recording::SiteDelta;

/// Counters of a site, or sums of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks allocated.
    pub allocations: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Bytes allocated.
    pub allocated_bytes: u64,
    /// Bytes freed.
    pub freed_bytes: u64,
    /// Of the blocks freed, those that were temporary.
    pub temporary: u64,
}

impl Counts {
    /// Nothing.
    pub const ZERO: Counts = Counts {
        allocations: 0,
        frees: 0,
        allocated_bytes: 0,
        freed_bytes: 0,
        temporary: 0,
    };

    /// Adds.
    pub fn add(&mut self, other: &Counts) {
        self.allocations = self.allocations.wrapping_add(other.allocations);
        self.frees = self.frees.wrapping_add(other.frees);
        self.allocated_bytes = self.allocated_bytes.wrapping_add(other.allocated_bytes);
        self.freed_bytes = self.freed_bytes.wrapping_add(other.freed_bytes);
        self.temporary = self.temporary.wrapping_add(other.temporary);
    }

    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Counts) -> Counts {
        Counts {
            allocations: self.allocations.wrapping_sub(earlier.allocations),
            frees: self.frees.wrapping_sub(earlier.frees),
            allocated_bytes: self.allocated_bytes.wrapping_sub(earlier.allocated_bytes),
            freed_bytes: self.freed_bytes.wrapping_sub(earlier.freed_bytes),
            temporary: self.temporary.wrapping_sub(earlier.temporary),
        }
    }

    /// Bytes allocated and not freed.
    pub fn live_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.freed_bytes)
    }

    /// Blocks not freed yet.
    pub fn live_blocks(&self) -> u64 {
        self.allocations.saturating_sub(self.frees)
    }

    /// As a change of a site.
    pub fn delta(self, site: u32) -> SiteDelta {
        let Counts {
            allocations,
            frees,
            allocated_bytes,
            freed_bytes,
            temporary,
        } = self;
        SiteDelta {
            site,
            allocations,
            frees,
            allocated_bytes,
            freed_bytes,
            temporary,
        }
    }
}

impl From<SiteDelta> for Counts {
    fn from(delta: SiteDelta) -> Counts {
        let SiteDelta {
            allocations,
            frees,
            allocated_bytes,
            freed_bytes,
            temporary,
            site: _,
        } = delta;
        Counts {
            allocations,
            frees,
            allocated_bytes,
            freed_bytes,
            temporary,
        }
    }
}
