//! Owns the way from an address to the site of the block that holds it.
//!
//! Runs in the helper. It reads the tables and never the memory itself.

use super::regions::{self, Regions};
use super::{large, recent};
use crate::modules;
use crate::state::{LIVE, MAPPINGS};

const PAGE_BYTES: usize = 4096;
/// glibc, jemalloc and tcmalloc align blocks so, but for the smallest.
const ALIGN_BYTES: usize = 16;
/// A block that is not among the large ones begins at most so far below its last byte.
const PAGES_BACK: usize = (large::LARGE_BYTES as usize) / PAGE_BYTES;
/// The allocator's word before a block, which it touches first.
const HEADER_BYTES: usize = 16;

/// Where an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// In a block or mapping of this site.
    Site(u32),
    /// Elsewhere, by its place in `FAULT_REGIONS`.
    Region(usize),
}

/// What was given back since the last look.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// The number of the first range of [`large`] that is of interest.
    pub graves: usize,
    /// The turn of [`recent`].
    pub turn: u32,
}

/// Finds out. `is_own`: the instruction is leaktrack's.
pub fn owner(addr: usize, time_ns: u64, since: Since, is_own: bool, map: &mut Regions) -> Owner {
    if modules::find(addr).is_some() {
        let region = if is_own {
            regions::OWN
        } else {
            regions::LIBRARIES
        };
        return Owner::Region(region);
    }
    if let Some(site) = large::owner_at(addr, time_ns, since.graves) {
        return Owner::Site(site);
    }
    if let Some(mapping) = MAPPINGS.get(addr) {
        return match mapping.known_site() {
            Some(site) => Owner::Site(site),
            None => Owner::Region(map.kind_of(addr)),
        };
    }
    if let Some(site) = large::owner(addr) {
        return Owner::Site(site);
    }
    let kind = map.kind_of(addr);
    if !matches!(kind, regions::FREED | regions::ANONYMOUS | regions::UNKNOWN) {
        return Owner::Region(kind);
    }
    let freed = recent::owner(addr, since.turn).or_else(|| recent::owner_now(addr));
    match freed.or_else(|| small(addr)) {
        Some(site) => Owner::Site(site),
        None if is_own => Owner::Region(regions::OWN),
        None => Owner::Region(kind),
    }
}

/// The block that begins at most [`PAGES_BACK`] pages below the address and reaches it, or whose
/// header it is in.
fn small(addr: usize) -> Option<u32> {
    let above = (addr + 1).next_multiple_of(ALIGN_BYTES);
    if let Some(block) = LIVE
        .get(above)
        .or_else(|| LIVE.get(above + HEADER_BYTES / 2))
    {
        return Some(block.site);
    }
    let mut at = addr;
    for _ in 0..=PAGES_BACK {
        if let Some((start, block)) = LIVE.last_in_page(at) {
            let end = start.saturating_add(block.size as usize);
            return (addr < end.next_multiple_of(ALIGN_BYTES)).then_some(block.site);
        }
        at = (at & !(PAGE_BYTES - 1)).checked_sub(1)?;
        if let Some(site) = large::owner(at) {
            return Some(site); // in the last, incomplete page of a large block
        }
    }
    None
}
