//! Owns the choice of single blocks that are told one by one: of the sites with most live bytes, the
//! largest and the oldest of each.
//! It must never take memory while blocks are shown, nor read one: its room is made beforehand, and
//! it is the same whatever the number of blocks.

use core::cmp::Reverse;

use crate::arena::AVec;
use crate::live::EPOCH_MAX;

/// Sites from which blocks are chosen at most.
const MOST_SITES: usize = 256;
/// Blocks chosen at most: half of them for their size, half for their age.
const MOST_BLOCKS: usize = 2048;
/// Sizes are compared up to here: 16 TiB.
const SIZE_BITS: u32 = 44;

/// A block that was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Its address.
    pub addr: usize,
    /// Its size.
    pub size: u64,
    /// Of it, resident.
    pub resident: u64,
    /// Its site.
    pub site: u32,
    /// Its birth.
    pub epoch: u32,
}

/// What blocks are ranked by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Largest first; of equal ones, the oldest.
    Size,
    /// Oldest first; of equal ones, the largest.
    Age,
}

impl By {
    fn rank(self, block: &Chosen) -> u64 {
        let size = block.size.min((1 << SIZE_BITS) - 1);
        let age = u64::from(EPOCH_MAX.saturating_sub(block.epoch));
        match self {
            By::Size => size << (u64::BITS - SIZE_BITS) | age,
            By::Age => age << SIZE_BITS | size,
        }
    }
}

const _: () = assert!((EPOCH_MAX as u64) < 1 << (u64::BITS - SIZE_BITS));

/// What was chosen of a site. Its room in the list: first the largest, then the oldest.
#[derive(Clone, Copy, Default)]
struct OfSite {
    /// Where its room begins.
    from: usize,
    /// How many of either sort there is room for.
    room: usize,
    largest: u32,
    oldest: u32,
    /// Once its room is full: the least ranks there.
    least: [u64; 2],
}

/// The choice.
pub struct Choice {
    /// 1 + place of a site, by its id; 0: not looked at.
    places: AVec<u32>,
    sites: AVec<OfSite>,
    /// For each site twice its room; each half is a heap with the least at its top.
    list: AVec<Chosen>,
    /// As many of each site there is room for at least, where it has them.
    level: usize,
    /// Blocks shown, and their bytes.
    pub known_blocks: u64,
    /// Their bytes.
    pub known_bytes: u64,
    /// Sites with live bytes.
    pub live_sites: u64,
}

/// A site while room is shared out: `Reverse` of its bytes, its id, its blocks.
type Candidate = (Reverse<u64>, u32, u64);

/// How many blocks of each site there is room for, if none gets more than it has: what some do not need is
/// handed on to the others. The largest such number; what is left over is less than one for each.
fn level(sites: &[Candidate], room: usize) -> usize {
    let needed = |level: usize| {
        let needs = sites.iter().map(|(.., blocks)| need(*blocks, level));
        needs.fold(0, usize::saturating_add)
    };
    let (mut fits, mut too_much) = (0, room + 1);
    while too_much - fits > 1 {
        let middle = fits + (too_much - fits) / 2;
        match needed(middle) <= room {
            true => fits = middle,
            false => too_much = middle,
        }
    }
    fits
}

/// A site that holds something has a block, whatever its counters say at this moment.
fn need(blocks: u64, level: usize) -> usize {
    (blocks.max(1) as usize).min(level)
}

impl Choice {
    /// From blocks of sites up to `sites`; `live` tells how many blocks and bytes each holds. `None` without
    /// memory.
    pub fn new(sites: u32, live: &dyn Fn(u32) -> (u64, u64)) -> Option<Choice> {
        let mut top: AVec<Candidate> = AVec::new();
        let mut live_sites = 0;
        if !top.reserve(MOST_SITES + 1) {
            return None;
        }
        for site in 1..=sites {
            let (blocks, bytes) = live(site);
            if bytes == 0 {
                continue;
            }
            live_sites += 1;
            let entry = (Reverse(bytes), site, blocks);
            let list: &[Candidate] = top.as_slice();
            if list.len() == MOST_SITES && list.last().is_some_and(|last| *last <= entry) {
                continue;
            }
            let at = list.partition_point(|known| *known < entry);
            top.try_insert(at, entry);
            if top.len() > MOST_SITES {
                top.pop();
            }
        }
        let half = MOST_BLOCKS / 2;
        let level = level(top.as_slice(), half);
        let used = top
            .as_slice()
            .iter()
            .map(|(.., blocks)| need(*blocks, level));
        let mut left = half.saturating_sub(used.sum());
        let mut choice = Choice {
            places: AVec::new(),
            sites: AVec::new(),
            list: AVec::new(),
            level,
            known_blocks: 0,
            known_bytes: 0,
            live_sites,
        };
        let enough = choice.places.reserve(sites as usize + 1)
            && choice.sites.reserve(top.len())
            && choice.list.reserve(MOST_BLOCKS);
        if !enough {
            return None;
        }
        for _ in 0..=sites {
            choice.places.try_push(0);
        }
        let mut from = 0;
        for (at, (_, site, blocks)) in (1..).zip(top.as_slice()) {
            let mut room = need(*blocks, level);
            if *blocks > room as u64 && left > 0 {
                room += 1;
                left -= 1;
            }
            choice.sites.try_push(OfSite {
                from,
                room,
                ..OfSite::default()
            });
            from += 2 * room;
            if let Some(place) = choice.places.get_mut(*site as usize) {
                *place = at;
            }
        }
        for _ in 0..from {
            choice.list.try_push(Chosen::default());
        }
        Some(choice)
    }

    /// How many sites were looked at.
    pub fn sites_looked_at(&self) -> u64 {
        self.sites.len() as u64
    }

    /// How many of the largest blocks of each there is room for at least, and as many of the oldest.
    pub fn room(&self) -> u64 {
        self.level as u64
    }

    /// Shows a block.
    #[inline]
    pub fn show(&mut self, block: Chosen) {
        self.known_blocks += 1;
        self.known_bytes += block.size;
        let place = self.places.get(block.site as usize).copied().unwrap_or(0);
        let Some(at) = (place as usize).checked_sub(1) else {
            return;
        };
        let Some(of_site) = self.sites.get(at) else {
            return;
        };
        let [size, age] = of_site.least;
        if By::Size.rank(&block) > size {
            self.take(at, By::Size, block);
        }
        if By::Age.rank(&block) > age {
            self.take(at, By::Age, block);
        }
    }

    fn take(&mut self, at: usize, by: By, block: Chosen) {
        let Some(of_site) = self.sites.get_mut(at) else {
            return;
        };
        let from = of_site.from + usize::from(by == By::Age) * of_site.room;
        let list = self.list.as_mut_slice();
        let Some(heap) = list.get_mut(from..from + of_site.room) else {
            return;
        };
        let used = match by {
            By::Size => &mut of_site.largest,
            By::Age => &mut of_site.oldest,
        };
        let mut len = *used as usize;
        if len < heap.len() {
            push(heap, len, block, by);
            len += 1;
            *used = len as u32;
        } else {
            replace_least(heap, block, by);
        }
        if len == heap.len()
            && let Some(top) = heap.first()
            && let Some(least) = of_site.least.get_mut(usize::from(by == By::Age))
        {
            *least = by.rank(top);
        }
    }

    /// All that were chosen, each once, by address.
    pub fn finish(&mut self) -> &[Chosen] {
        let list = self.list.as_mut_slice();
        // What found nobody lies at address 0, where no block is.
        list.sort_unstable_by_key(|block| block.addr);
        let mut kept = 0_usize;
        for at in 0..list.len() {
            let Some(block) = list.get(at).copied() else {
                break;
            };
            let last = kept.checked_sub(1).and_then(|last| list.get(last));
            if block.addr != 0
                && last.is_none_or(|last| last.addr != block.addr)
                && let Some(slot) = list.get_mut(kept)
            {
                *slot = block;
                kept += 1;
            }
        }
        list.get(..kept).unwrap_or_default()
    }
}

/// The slice's own would panic at a place that is not there.
fn swap(heap: &mut [Chosen], a: usize, b: usize) {
    if let (Some(of_a), Some(of_b)) = (heap.get(a).copied(), heap.get(b).copied()) {
        for (place, block) in [(a, of_b), (b, of_a)] {
            if let Some(slot) = heap.get_mut(place) {
                *slot = block;
            }
        }
    }
}

/// Appends to a heap of `len`.
fn push(heap: &mut [Chosen], len: usize, block: Chosen, by: By) {
    let mut at = len;
    if let Some(slot) = heap.get_mut(at) {
        *slot = block;
    }
    while at > 0 {
        let above = (at - 1) / 2;
        let less =
            |a: Option<&Chosen>, b: Option<&Chosen>| a.map(|a| by.rank(a)) < b.map(|b| by.rank(b));
        if !less(heap.get(at), heap.get(above)) {
            break;
        }
        swap(heap, at, above);
        at = above;
    }
}

/// Puts a block in the place of the least of a full heap.
fn replace_least(heap: &mut [Chosen], block: Chosen, by: By) {
    let Some(top) = heap.first_mut() else {
        return;
    };
    *top = block;
    let mut at = 0;
    loop {
        let rank = |at: usize| heap.get(at).map_or(u64::MAX, |block| by.rank(block));
        let [left, right] = [at * 2 + 1, at * 2 + 2];
        let least = if rank(right) < rank(left) {
            right
        } else {
            left
        };
        if rank(least) >= rank(at) {
            break;
        }
        swap(heap, at, least);
        at = least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    /// What a choice by sorting would be.
    fn expected(blocks: &[Chosen], rooms: &[(u32, usize)]) -> Vec<usize> {
        let mut addrs = BTreeSet::new();
        for by in [By::Size, By::Age] {
            for (site, room) in rooms {
                let mut of_site: Vec<&Chosen> = blocks.iter().filter(|b| b.site == *site).collect();
                of_site.sort_by_key(|b| Reverse(by.rank(b)));
                addrs.extend(of_site.iter().take(*room).map(|b| b.addr));
            }
        }
        addrs.into_iter().collect()
    }

    /// Room handed out one by one, in turns, to who still needs some.
    fn rooms(blocks: &[Chosen], looked_at: &[u32]) -> Vec<(u32, usize)> {
        let has = |site: u32| blocks.iter().filter(|b| b.site == site).count();
        let needs: Vec<usize> = looked_at.iter().map(|site| has(*site)).collect();
        let mut rooms = std::vec![0; needs.len()];
        let mut left = MOST_BLOCKS / 2;
        while left > 0 && rooms != needs {
            for (room, need) in rooms.iter_mut().zip(&needs) {
                if left > 0 && *room < *need {
                    *room += 1;
                    left -= 1;
                }
            }
        }
        looked_at.iter().copied().zip(rooms).collect()
    }

    #[test]
    fn the_largest_and_the_oldest_of_the_sites_that_hold_most() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        // Ranks differ, so that sorting has one result.
        for (sites, count) in [(1, 10), (1, 5000), (3, 5000), (300, 6000)] {
            let blocks: Vec<Chosen> = (1..=count)
                .map(|at| Chosen {
                    addr: at * 32,
                    size: random(1 << 20) << 16 | at as u64,
                    resident: at as u64,
                    // Some sites have many blocks, most have few.
                    site: 1 + (random(sites) * random(sites) / sites) as u32,
                    epoch: random(u64::from(EPOCH_MAX)) as u32,
                })
                .collect();
            let live = |site: u32| {
                let of_site = blocks.iter().filter(|b| b.site == site);
                of_site.map(|b| b.size).sum::<u64>()
            };
            let both = |site: u32| {
                let blocks = blocks.iter().filter(|b| b.site == site).count();
                (blocks as u64, live(site))
            };
            let mut choice = Choice::new(sites as u32 + 5, &both).unwrap();
            blocks.iter().for_each(|block| choice.show(*block));
            let mut by_bytes: Vec<u32> = (1..=sites as u32).filter(|s| live(*s) > 0).collect();
            by_bytes.sort_by_key(|site| (Reverse(live(*site)), *site));
            assert_eq!(choice.live_sites, by_bytes.len() as u64);
            by_bytes.truncate(MOST_SITES);
            assert_eq!(choice.sites_looked_at(), by_bytes.len() as u64);
            assert_eq!(choice.known_blocks, count as u64);
            let rooms = rooms(&blocks, &by_bytes);
            let level = choice.room() as usize;
            assert!(level >= 1024 / by_bytes.len(), "{level}");
            for (site, room) in &rooms {
                let has = blocks.iter().filter(|b| b.site == *site).count();
                assert!(*room >= level.min(has) && *room <= level + 1, "{room}");
            }
            let chosen = choice.finish();
            assert!(chosen.len() <= MOST_BLOCKS);
            let addrs: Vec<usize> = chosen.iter().map(|block| block.addr).collect();
            assert_eq!(addrs, expected(&blocks, &rooms), "{sites} {count}");
            assert!(chosen.iter().all(|b| blocks[b.addr / 32 - 1] == *b));
        }
    }

    #[test]
    fn takes_no_memory_while_blocks_are_shown() {
        let mut choice = Choice::new(2, &|site| (9000, u64::from(site == 1))).unwrap();
        let before = choice.list.as_slice().as_ptr();
        for at in 1..9000 {
            let (site, epoch) = (1 + at as u32 % 3, 1);
            choice.show(Chosen {
                addr: at * 16,
                size: at as u64,
                resident: 0,
                site,
                epoch,
            });
        }
        assert_eq!(choice.list.as_slice().as_ptr(), before);
        assert!(choice.finish().iter().all(|block| block.site == 1));
        let mut nothing = Choice::new(0, &|_| (0, 0)).unwrap();
        nothing.show(Chosen::default());
        assert!(nothing.finish().is_empty());
    }
}
