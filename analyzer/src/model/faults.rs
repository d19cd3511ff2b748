//! Page faults by address, as one recording has them.

use std::collections::HashMap;
use std::sync::Arc;

use leaktrack_recording::{FAULT_REGIONS, FaultCount, FaultSource, Faults, SiteFault, SiteTouch};

use super::frame::Frame;

/// Page faults of one process, up to the last record of them.
#[derive(Clone, Debug, Default)]
pub struct ProcessFaults {
    /// Whether and how they are attributed.
    pub source: FaultSource,
    /// The kernel's error number, if it refused.
    pub error: u32,
    /// One of so many minor faults was looked at.
    pub period: u64,
    /// When attribution began.
    pub since_ms: u64,
    /// When the last record was written.
    pub at_ms: u64,
    /// Faults before attribution began.
    pub before: FaultCount,
    /// All faults up to the last record.
    pub all: FaultCount,
    /// Exact number of faults that could be looked at; unknown on old kernels.
    pub seen: Option<u64>,
    /// Samples of minor faults that found no room.
    pub lost: u64,
    /// In the order of `FAULT_REGIONS`, minor ones scaled to what was seen.
    pub regions: [FaultCount; FAULT_REGIONS.len()],
    /// By the recording's id of the site, scaled likewise.
    pub sites: HashMap<u32, SiteFault>,
    /// When and in which order sites with many faults were touched, by the same id.
    pub touches: HashMap<u32, SiteTouch>,
}

impl ProcessFaults {
    /// Takes a record in.
    pub fn new(faults: &Faults<'_>) -> Self {
        let mut regions = faults.regions;
        let mut sites: HashMap<u32, SiteFault> =
            faults.sites().map(|fault| (fault.site, fault)).collect();
        let counts = || {
            let of_sites = sites.values().map(|fault| fault.count);
            regions.iter().copied().chain(of_sites)
        };
        let sum = |get: fn(FaultCount) -> u64| {
            counts().fold(0_u64, |sum, count| sum.saturating_add(get(count)))
        };
        // Weights add up to what was seen but for the last samples of each thread, and those that
        // found no room.
        let minor = sum(|count| count.minor);
        // Whose memory these were in nobody knows.
        let lost = faults.lost.saturating_mul(faults.period);
        let major = sum(|count| count.major);
        let seen_major = faults.seen_major.unwrap_or(major);
        let seen_minor = faults
            .seen
            .map(|seen| seen.saturating_sub(seen_major).saturating_sub(lost));
        let factor = match seen_minor {
            Some(seen) if minor > 0 => seen as f64 / minor as f64,
            _ => 1.0,
        };
        let scale = |count: &mut FaultCount| {
            count.minor = (count.minor as f64 * factor).round() as u64;
        };
        regions.iter_mut().for_each(scale);
        if let Some(unknown) = regions.last_mut() {
            unknown.minor = unknown.minor.saturating_add(lost);
            // Each major fault is a sample, unless there was no room for it.
            let unsampled = seen_major.saturating_sub(major);
            unknown.major = unknown.major.saturating_add(unsampled);
        }
        sites.values_mut().for_each(|fault| scale(&mut fault.count));
        Self {
            source: faults.source,
            error: faults.error,
            period: faults.period,
            since_ms: faults.since_ms,
            at_ms: faults.at_ms,
            before: faults.before,
            all: faults.all,
            seen: faults.seen,
            lost: faults.lost,
            regions,
            sites,
            touches: faults.touches().map(|it| (it.site, it)).collect(),
        }
    }

    /// True if faults are attributed by address.
    pub fn by_address(&self) -> bool {
        matches!(self.source, FaultSource::All | FaultSource::User)
    }

    /// Faults that no address is known of: the kernel took them while it worked for the process.
    pub fn in_kernel(&self) -> Option<u64> {
        let total = |count: FaultCount| count.minor.saturating_add(count.major);
        let since = total(self.all).saturating_sub(total(self.before));
        self.seen
            .filter(|_| self.by_address())
            .map(|seen| since.saturating_sub(seen))
    }
}

/// Faults on a site's blocks in one process.
#[derive(Clone, Debug, Default)]
pub struct PartFaults {
    /// How many.
    pub count: FaultCount,
    /// Where most of its pages were touched first, innermost inlined frame first; empty if unknown.
    pub touch: Option<Arc<[Frame]>>,
    /// When and in which order, of the recorded site with most of them.
    pub order: Option<SiteTouch>,
}
