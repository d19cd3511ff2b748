//! Owns the sums: faults per site and region, and which instruction touched a site's pages first.

use leaktrack_recording::{FAULT_REGIONS, FaultCount};

use super::owner::Owner;
use super::regions;
use crate::arena::AVec;

/// A fault is in order if it lies above the one before by at most an eighth of what was touched so
/// far, between these: one of every so many pages is seen, and of files the kernel maps 16 at once.
const LEAST_STEP_BYTES: u64 = super::PERIOD * 4096 * 2;
const MOST_STEP_BYTES: u64 = super::PERIOD * 4096 * 64;

/// Where and when memory was touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// The instruction.
    pub ip: u64,
    /// The address.
    pub addr: u64,
    /// When, since recording began.
    pub at_ms: u64,
}

/// In which order a site's memory was touched, and when.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Samples that were compared with the one before.
    pub compared: u64,
    /// Of these, those a little above it.
    pub in_order: u64,
    /// When the first was taken, and the last.
    pub first_ms: u64,
    pub last_ms: u64,
    last: u64,
    least: u64,
    most: u64,
}

impl Order {
    fn of(touch: &Touch) -> Order {
        Order {
            compared: 0,
            in_order: 0,
            first_ms: touch.at_ms,
            last_ms: touch.at_ms,
            last: touch.addr,
            least: touch.addr,
            most: touch.addr,
        }
    }

    fn note(&mut self, touch: &Touch) {
        self.least = self.least.min(touch.addr);
        self.most = self.most.max(touch.addr);
        let step = (self.most - self.least) / 8;
        let step = step.clamp(LEAST_STEP_BYTES, MOST_STEP_BYTES);
        let above = touch.addr.checked_sub(self.last);
        self.compared = self.compared.saturating_add(1);
        self.in_order += u64::from(above.is_some_and(|above| above <= step));
        self.last = touch.addr;
        // Rings of several processors are read one after the other.
        self.first_ms = self.first_ms.min(touch.at_ms);
        self.last_ms = self.last_ms.max(touch.at_ms);
    }
}

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
    /// When and in which order.
    pub order: Order,
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

    /// Minor faults of all sites and regions together.
    pub fn minor(&self) -> u64 {
        let of_sites = self.sites().iter().map(|of| of.count);
        let counts = of_sites.chain(self.regions);
        counts.fold(0, |sum, count| sum.saturating_add(count.minor))
    }

    /// Counts a sample that stands for `weight` faults.
    pub fn count(&mut self, owner: Owner, weight: u64, major: bool, touch: &Touch) {
        let ip = touch.ip;
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
                order: Order::of(touch),
            };
            if !self.sites.try_insert(at, fresh) {
                if let Some(slot) = self.regions.get_mut(regions::UNKNOWN) {
                    add(slot, weight, major);
                }
                return;
            }
        }
        if let Some(of) = self.sites.get_mut(at) {
            if of.count != FaultCount::default() {
                of.order.note(touch);
            }
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
        let by = |ip| Touch {
            ip,
            ..Touch::default()
        };
        for _ in 0..3 {
            tally.count(Owner::Site(9), 13, false, &by(0x10));
            tally.count(Owner::Site(4), 13, false, &by(0x20));
            tally.count(Owner::Site(9), 1, true, &by(0x30));
        }
        tally.count(Owner::Site(4), 13, false, &by(0x99));
        tally.count(Owner::Region(regions::STACKS), 13, false, &by(0));
        let [four, nine] = tally.sites() else {
            panic!("{tally:?}");
        };
        assert_eq!((four.site, four.count.minor, four.ip), (4, 52, 0x20));
        assert_eq!((nine.site, nine.ip), (9, 0x10));
        assert_eq!((nine.count.minor, nine.count.major), (39, 3));
        assert_eq!(tally.regions[regions::STACKS].minor, 13);
        assert_eq!(tally.minor(), 52 + 39 + 13);
    }

    #[test]
    fn order_and_time() {
        let mut tally = Tally::new();
        let mut random = 1u64;
        for sample in 0..200 {
            // One of 61 pages from the bottom up; any page of 64 MiB.
            let at_ms = 1_000 + sample;
            let addr = sample * 61 * 4096;
            tally.count(Owner::Site(1), 61, false, &Touch { ip: 0, addr, at_ms });
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let addr = (random >> 40) % 16384 * 4096;
            tally.count(Owner::Site(2), 1, true, &Touch { ip: 0, addr, at_ms });
        }
        let [up, any] = tally.sites() else {
            panic!("{tally:?}");
        };
        assert_eq!((up.order.compared, up.order.in_order), (199, 199));
        assert_eq!((up.order.first_ms, up.order.last_ms), (1_000, 1_199));
        assert!(any.order.in_order * 5 < any.order.compared, "{any:?}");
    }
}
