//! What a stack is worth, for formats that hold one number per stack.

use crate::report::document::SiteReport;

/// A figure of a site that adds up over sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Measure {
    /// Live bytes at the end
    #[default]
    Live,
    /// Live blocks at the end
    Blocks,
    /// Bytes allocated
    Allocated,
    /// Blocks allocated
    Allocations,
    /// The site's highest live bytes
    Peak,
    /// Growth that is judged real, in bytes per hour
    Growth,
    /// Bytes that no pointer leads to, after a scan
    Lost,
    /// Blocks freed before their thread allocated or freed anything else
    Temporary,
    /// Page faults on its blocks
    Faults,
    /// Live bytes that are resident
    Resident,
}

impl Measure {
    /// The figure of a site; 0 if it is not known.
    pub fn of(self, site: &SiteReport) -> u64 {
        match self {
            Self::Live => site.live_bytes.value,
            Self::Blocks => site.live_blocks.value,
            Self::Allocated => site.allocated_bytes,
            Self::Allocations => site.allocations,
            Self::Peak => site.peak_live_bytes,
            Self::Growth => site
                .growth
                .rate
                .map_or(0, |rate| (rate.value * 3_600.0).round().max(0.0) as u64),
            Self::Lost => site.lost.map_or(0, |lost| {
                lost.definite_bytes.saturating_add(lost.indirect_bytes)
            }),
            Self::Temporary => site.temporary.unwrap_or(0),
            Self::Faults => {
                let of = |count: Option<u64>| count.unwrap_or(0);
                of(site.faults.minor).saturating_add(of(site.faults.major))
            }
            Self::Resident => site.resident_bytes.unwrap_or(0),
        }
    }

    /// In words, and its unit.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Live => ("Live memory", "bytes"),
            Self::Blocks => ("Live blocks", "blocks"),
            Self::Allocated => ("Allocated memory", "bytes"),
            Self::Allocations => ("Allocations", "allocations"),
            Self::Peak => ("Highest live memory of each call site", "bytes"),
            Self::Growth => ("Growth", "bytes per hour"),
            Self::Lost => ("Lost memory", "bytes"),
            Self::Temporary => ("Temporary blocks", "blocks"),
            Self::Faults => ("Page faults", "faults"),
            Self::Resident => ("Resident live memory", "bytes"),
        }
    }
}
