//! Owns the sums: faults per site and region, and which instruction touched a site's pages first.

use leaktrack_recording::{FAULT_REGIONS, FaultCount};

use super::owner::Owner;
use super::regions;
use crate::arena::AVec;

/// Faults on one site.
#[derive(Clone, Copy, Debug)]
pub struct OfSite {
    /// The site.
    pub site: u32,
    /// How many.
    pub count: FaultCount,
    /// The instruction that most samples agree on, by majority vote.
    pub ip: u64,
    votes: u64,
}

/// The sums so far.
#[derive(Debug)]
pub struct Tally {
    /// Ascending by site.
    sites: AVec<OfSite>,
    /// By region.
    pub regions: [FaultCount; FAULT_REGIONS.len()],
}

fn add(count: &mut FaultCount, weight: u64, major: bool) {
    let of = if major {
        &mut count.major
    } else {
        &mut count.minor
    };
    *of = of.saturating_add(weight);
}

impl Tally {
    pub const fn new() -> Tally {
        Tally {
            sites: AVec::new(),
            regions: [FaultCount { minor: 0, major: 0 }; FAULT_REGIONS.len()],
        }
    }

    /// By site, ascending.
    pub fn sites(&self) -> &[OfSite] {
        self.sites.as_slice()
    }

    /// Counts a sample that stands for `weight` faults.
    pub fn count(&mut self, owner: Owner, weight: u64, major: bool, ip: u64) {
        let site = match owner {
            Owner::Site(site) => site,
            Owner::Region(region) => {
                if let Some(slot) = self.regions.get_mut(region) {
                    add(slot, weight, major);
                }
                return;
            }
        };
        let at = self.sites.as_slice().partition_point(|of| of.site < site);
        if self.sites.get(at).is_none_or(|of| of.site != site) {
            let fresh = OfSite {
                site,
                count: FaultCount::default(),
                ip,
                votes: 0,
            };
            if !self.sites.try_insert(at, fresh) {
                if let Some(slot) = self.regions.get_mut(regions::UNKNOWN) {
                    add(slot, weight, major);
                }
                return;
            }
        }
        if let Some(of) = self.sites.get_mut(at) {
            add(&mut of.count, weight, major);
            if of.ip == ip {
                of.votes = of.votes.saturating_add(weight);
            } else if of.votes < weight {
                (of.ip, of.votes) = (ip, weight - of.votes);
            } else {
                of.votes -= weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_the_majority() {
        let mut tally = Tally::new();
        for _ in 0..3 {
            tally.count(Owner::Site(9), 13, false, 0x10);
            tally.count(Owner::Site(4), 13, false, 0x20);
            tally.count(Owner::Site(9), 1, true, 0x30);
        }
        tally.count(Owner::Site(4), 13, false, 0x99);
        tally.count(Owner::Region(regions::STACKS), 13, false, 0);
        let [four, nine] = tally.sites() else {
            panic!("{tally:?}");
        };
        assert_eq!((four.site, four.count.minor, four.ip), (4, 52, 0x20));
        assert_eq!((nine.site, nine.ip), (9, 0x10));
        assert_eq!((nine.count.minor, nine.count.major), (39, 3));
        assert_eq!(tally.regions[regions::STACKS].minor, 13);
    }
}
