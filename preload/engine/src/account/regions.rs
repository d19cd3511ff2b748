//! Owns [`Regions`]: for every 2 MiB of address space in use, which pages are resident, and for
//! heaps what lies on each page.
//! It must never touch the memory it tells of.
//!
//! A region costs 280 bytes, 0.01% of memory that is all there; the pages of a heap cost 8 bytes
//! each, 0.2%. Both only exist while an account is taken.

use crate::arena::AVec;
use crate::recorder::Buffer;

const PAGE: usize = 4096;
const SHIFT: u32 = 21;
/// Pages in a region.
pub const PAGES: usize = 512;
const WORDS: usize = PAGES / 64;

/// What lies on a page of a heap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageUse {
    /// Bytes of live blocks.
    pub live: u16,
    /// Headers and rounding.
    pub overhead: u16,
    /// The site whose blocks they all are; 0: none, [`MANY`]: several.
    pub site: u32,
}

/// Blocks of several sites.
pub const MANY: u32 = u32::MAX;

/// Bits of a region's pages.
type Bits = [u64; WORDS];

/// 2 MiB of address space.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// Address divided by 2 MiB.
    key: usize,
    /// 1 + place of its page uses; 0: none.
    uses: u32,
    wants_uses: bool,
    /// One block covers all of it.
    covered: bool,
    /// Its site.
    covered_by: u32,
    resident: Bits,
    swapped: Bits,
    exclusive: Bits,
    /// A block, its header or its rounding lies there.
    occupied: Bits,
}

/// What a range of a region holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Resident pages that no other process maps.
    pub exclusive: u64,
    /// Other resident pages.
    pub shared: u64,
    /// Swapped pages.
    pub swapped: u64,
}

impl Count {
    /// Resident pages.
    pub fn resident(&self) -> u64 {
        self.exclusive + self.shared
    }
}

/// All regions with a resident or swapped page, by address.
pub struct Regions {
    list: AVec<Region>,
    uses: Buffer,
    /// Open addressing: 1 + index into `list` by key.
    index: AVec<u32>,
    /// A region found no memory.
    pub incomplete: bool,
}

impl Regions {
    /// None yet; room for about so many bytes of resident memory.
    pub fn new(resident_bytes: u64) -> Regions {
        let mut list = AVec::new();
        list.reserve((resident_bytes >> SHIFT) as usize * 2 + 64);
        Regions {
            list,
            uses: Buffer::new(),
            index: AVec::new(),
            incomplete: false,
        }
    }

    /// Notes a page; addresses ascend.
    pub fn note(&mut self, addr: usize, resident: bool, exclusive: bool) {
        let key = addr >> SHIFT;
        if self
            .list
            .as_slice()
            .last()
            .is_none_or(|last| last.key < key)
        {
            let region = Region {
                key,
                uses: 0,
                wants_uses: false,
                covered: false,
                covered_by: 0,
                resident: [0; WORDS],
                swapped: [0; WORDS],
                exclusive: [0; WORDS],
                occupied: [0; WORDS],
            };
            if !self.list.try_push(region) {
                self.incomplete = true;
                return;
            }
        }
        let Some(region) = self.list.as_mut_slice().last_mut() else {
            return;
        };
        if region.key != key {
            return; // the kernel's list changed while it was read
        }
        let page = addr >> 12 & (PAGES - 1);
        match resident {
            true => set(&mut region.resident, page),
            false => set(&mut region.swapped, page),
        }
        if resident && exclusive {
            set(&mut region.exclusive, page);
        }
    }

    /// Asks for page uses in a range; [`Regions::index`] makes them.
    pub fn want_uses(&mut self, start: usize, end: usize) {
        let (from, to) = self.indices(start, end);
        for region in self
            .list
            .as_mut_slice()
            .get_mut(from..to)
            .unwrap_or_default()
        {
            region.wants_uses = true;
        }
    }

    /// Makes the index and the page uses, as far as there is memory.
    pub fn index(&mut self) {
        let wanted = self.list.as_slice().iter().filter(|r| r.wants_uses).count();
        if wanted > 0 && self.uses.grow(wanted * PAGES * size_of::<PageUse>()) {
            let mut next = 0;
            for region in self.list.as_mut_slice().iter_mut().filter(|r| r.wants_uses) {
                next += 1;
                region.uses = next;
            }
        } else {
            self.incomplete |= wanted > 0;
        }
        let slots = (self.list.len() * 2).next_power_of_two().max(16);
        self.index.reserve(slots);
        for _ in 0..slots {
            if !self.index.try_push(0) {
                self.index.clear(); // then regions are searched for
                return;
            }
        }
        for (at, region) in self.list.as_slice().iter().enumerate() {
            let mut slot = slot_of(region.key, slots);
            while let Some(taken) = self.index.get_mut(slot) {
                if *taken == 0 {
                    *taken = at as u32 + 1;
                    break;
                }
                slot = (slot + 1) & (slots - 1);
            }
        }
    }

    fn find(&self, key: usize) -> Option<usize> {
        let slots = self.index.len();
        if slots == 0 {
            let list = self.list.as_slice();
            return list.binary_search_by_key(&key, |region| region.key).ok();
        }
        let mut slot = slot_of(key, slots);
        loop {
            let at = self.index.get(slot)?.checked_sub(1)? as usize;
            if self.list.get(at)?.key == key {
                return Some(at);
            }
            slot = (slot + 1) & (slots - 1);
        }
    }

    /// Indices of the regions that a range overlaps.
    fn indices(&self, start: usize, end: usize) -> (usize, usize) {
        let list = self.list.as_slice();
        let from = list.partition_point(|region| region.key < start >> SHIFT);
        let last = end.saturating_sub(1) >> SHIFT;
        let rest = list.get(from..).unwrap_or_default();
        (
            from,
            from + rest.partition_point(|region| region.key <= last),
        )
    }

    /// What a range of pages holds.
    pub fn count(&self, start: usize, end: usize) -> Count {
        let mut count = Count::default();
        let (from, to) = self.indices(start, end);
        for region in self.list.as_slice().get(from..to).unwrap_or_default() {
            let pages = region.pages(start, end);
            let (resident, swapped) = region.bits(pages);
            count.swapped += swapped;
            let mine = ones(&region.exclusive, pages);
            count.exclusive += mine;
            count.shared += resident - mine;
        }
        count
    }

    /// Whether a block was put on a page of a range.
    pub fn holds_blocks(&self, start: usize, end: usize) -> bool {
        let (from, to) = self.indices(start, end);
        let regions = self.list.as_slice().get(from..to).unwrap_or_default();
        regions
            .iter()
            .any(|region| ones(&region.occupied, region.pages(start, end)) > 0)
    }

    /// Puts a block of a site on its pages; resident and swapped bytes of it.
    pub fn put(&mut self, start: usize, end: usize, site: u32) -> (u64, u64) {
        self.spread(start, end, site, |at, bytes| {
            at.live = at.live.saturating_add(bytes);
            at.site = match at.site {
                0 => site,
                known if known == site => site,
                _ => MANY,
            };
        })
    }

    /// Puts a header or rounding on its pages.
    pub fn put_overhead(&mut self, start: usize, end: usize) {
        self.spread(start, end, 0, |at, bytes| {
            at.overhead = at.overhead.saturating_add(bytes);
        });
    }

    fn spread(
        &mut self,
        start: usize,
        end: usize,
        site: u32,
        put: impl Fn(&mut PageUse, u16),
    ) -> (u64, u64) {
        if start >= end {
            return (0, 0);
        }
        let (first, last) = (start >> SHIFT, (end - 1) >> SHIFT);
        let (from, to) = if first == last {
            match self.find(first) {
                Some(at) => (at, at + 1),
                None => return (0, 0),
            }
        } else {
            self.indices(start, end)
        };
        let (mut resident_bytes, mut swapped_bytes) = (0, 0);
        for at in from..to {
            let Some(region) = self.list.get_mut(at) else {
                break;
            };
            let base = region.key << SHIFT;
            if start <= base && base + (1 << SHIFT) <= end {
                region.covered = true;
                region.covered_by = site;
                region.occupied = [u64::MAX; WORDS];
                let (resident, swapped) = region.bits((0, PAGES));
                resident_bytes += resident * PAGE as u64;
                swapped_bytes += swapped * PAGE as u64;
                continue;
            }
            let (low, high) = region.pages(start, end);
            for page in low..high {
                set(&mut region.occupied, page);
                let from = start.max(base + page * PAGE);
                let bytes = end.min(base + (page + 1) * PAGE) - from;
                if bit(&region.resident, page) {
                    resident_bytes += bytes as u64;
                } else if bit(&region.swapped, page) {
                    swapped_bytes += bytes as u64;
                }
                if let Some(at) = use_of(&mut self.uses, region.uses, page) {
                    put(at, bytes as u16);
                }
            }
        }
        (resident_bytes, swapped_bytes)
    }

    /// Shows the resident and swapped pages of a range, in order. `None` for the use of a page of
    /// which nothing is kept.
    pub fn for_each_page(&self, start: usize, end: usize, show: &mut dyn FnMut(Shown)) {
        let (from, to) = self.indices(start, end);
        for region in self.list.as_slice().get(from..to).unwrap_or_default() {
            let (low, high) = region.pages(start, end);
            for page in low..high {
                let resident = bit(&region.resident, page);
                if !resident && !bit(&region.swapped, page) {
                    continue;
                }
                let on_it = if region.covered {
                    Some(PageUse {
                        live: PAGE as u16,
                        overhead: 0,
                        site: region.covered_by,
                    })
                } else {
                    use_at(&self.uses, region.uses, page)
                };
                show(Shown {
                    addr: (region.key << SHIFT) + page * PAGE,
                    resident,
                    exclusive: bit(&region.exclusive, page),
                    occupied: bit(&region.occupied, page),
                    on_it,
                });
            }
        }
    }
}

/// A page of a heap.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Its address.
    pub addr: usize,
    /// In memory; else swapped out.
    pub resident: bool,
    /// No other process maps it.
    pub exclusive: bool,
    /// A block, its header or its rounding lies on it.
    pub occupied: bool,
    /// What lies on it, if that is kept.
    pub on_it: Option<PageUse>,
}

impl Region {
    /// The first page and one past the last of the region's pages that a range overlaps.
    fn pages(&self, start: usize, end: usize) -> (usize, usize) {
        let base = self.key << SHIFT;
        let low = start.saturating_sub(base) / PAGE;
        let high = end.saturating_sub(base).div_ceil(PAGE);
        (low.min(PAGES), high.min(PAGES))
    }

    fn bits(&self, pages: (usize, usize)) -> (u64, u64) {
        (ones(&self.resident, pages), ones(&self.swapped, pages))
    }
}

fn slot_of(key: usize, slots: usize) -> usize {
    let mixed = (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    mixed as usize & (slots - 1)
}

fn bit(bits: &Bits, page: usize) -> bool {
    bits.get(page / 64)
        .is_some_and(|word| word >> (page % 64) & 1 != 0)
}

fn set(bits: &mut Bits, page: usize) {
    if let Some(word) = bits.get_mut(page / 64) {
        *word |= 1 << (page % 64);
    }
}

/// Bits set among the pages from `low` to before `high`.
fn ones(bits: &Bits, (low, high): (usize, usize)) -> u64 {
    let mut sum = 0;
    for (at, word) in bits.iter().enumerate() {
        let (from, to) = (low.max(at * 64), high.min(at * 64 + 64));
        if from < to {
            let below = |n: usize| if n >= 64 { u64::MAX } else { (1 << n) - 1 };
            let mask = below(to - at * 64) & !below(from - at * 64);
            sum += u64::from((word & mask).count_ones());
        }
    }
    sum
}

fn use_of(uses: &mut Buffer, table: u32, page: usize) -> Option<&mut PageUse> {
    let at = (table.checked_sub(1)? as usize * PAGES + page) * size_of::<PageUse>();
    let bytes = uses.as_mut_slice().get_mut(at..at + size_of::<PageUse>())?;
    // SAFETY: the buffer is page-aligned and `at` a multiple of the size, any bytes are a valid
    // `PageUse`, and the borrow is exclusive.
    Some(unsafe { &mut *bytes.as_mut_ptr().cast::<PageUse>() })
}

fn use_at(uses: &Buffer, table: u32, page: usize) -> Option<PageUse> {
    let at = (table.checked_sub(1)? as usize * PAGES + page) * size_of::<PageUse>();
    let bytes = uses.as_slice().get(at..at + size_of::<PageUse>())?;
    // SAFETY: as in `use_of`, but shared.
    Some(unsafe { *bytes.as_ptr().cast::<PageUse>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn blocks_on_pages_that_are_there_or_not() {
        let base = 0x7f00_0000_0000;
        let mut regions = Regions::new(0);
        for page in 0..1500 {
            // Every third page is resident, every third swapped.
            match page % 3 {
                0 => regions.note(base + page * PAGE, true, true),
                1 => regions.note(base + page * PAGE, false, false),
                _ => {}
            }
        }
        regions.want_uses(base, base + 1500 * PAGE);
        regions.index();
        assert!(!regions.incomplete);
        let all = regions.count(base, base + 1500 * PAGE);
        assert_eq!((all.exclusive, all.shared, all.swapped), (500, 0, 500));
        assert_eq!(
            regions
                .count(base + 511 * PAGE, base + 514 * PAGE)
                .resident(),
            1
        );
        // 100 bytes over the end of page 0, the rest on page 1.
        let from = base + PAGE - 40;
        assert_eq!(regions.put(from, from + 100, 7), (40, 60));
        regions.put_overhead(from - 8, from);
        regions.put(base, base + 10, 8);
        // Over three regions; the one in the middle is covered.
        let (resident, swapped) = regions.put(base + 100, base + 1400 * PAGE, 9);
        assert_eq!(resident, 467 * PAGE as u64 - 100);
        assert_eq!(swapped, 467 * PAGE as u64);
        let mut seen = 0;
        regions.for_each_page(base, base + 2 * PAGE, &mut |page| {
            let on_it = page.on_it.unwrap();
            assert_eq!(on_it.site, MANY);
            if page.resident {
                assert_eq!(on_it.overhead, 8);
                assert_eq!(on_it.live as usize, 40 + 10 + PAGE - 100);
            }
            seen += 1;
        });
        assert_eq!(seen, 2);
        assert_eq!(regions.put(0x1000, 0x2000, 1), (0, 0));
    }

    #[test]
    fn where_blocks_are_is_known_without_what_lies_on_each_page() {
        let base = 0x7f00_0000_0000;
        let mut regions = Regions::new(0);
        for page in 0..1024 {
            regions.note(base + page * PAGE, true, true);
        }
        regions.index();
        regions.put(base + 3 * PAGE + 16, base + 5 * PAGE, 1);
        regions.put_overhead(base + 3 * PAGE, base + 3 * PAGE + 16);
        let holds =
            |from: usize, to: usize| regions.holds_blocks(base + from * PAGE, base + to * PAGE);
        assert!(holds(0, 1024) && holds(3, 4) && holds(4, 5));
        assert!(!holds(0, 3) && !holds(5, 1024) && !holds(3, 3));
        let mut occupied = Vec::new();
        regions.for_each_page(base, base + 8 * PAGE, &mut |page| {
            assert_eq!(page.on_it, None);
            if page.occupied {
                occupied.push((page.addr - base) / PAGE);
            }
        });
        assert_eq!(occupied, [3, 4]);
    }
}
