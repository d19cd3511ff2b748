//! Owns the address space as it is told: every mapping cut and put together to areas that are one
//! thing each.
//! It must never tell more areas than it is allowed to: where there are more, small neighbours are
//! told as one, with how many they are.

use leaktrack_recording::{area, part};

use super::arenas::ArenaList;
use super::known::{self, Known};
use super::layout::Look;
use super::maps::Vma;
use super::pages::Pages;
use super::regions::Regions;
use crate::arena::AVec;
use crate::facts::process;
use crate::scan::threads;
use crate::{guard, modules, sys};

/// Mappings kept at most: as many as the kernel allows a process unless it is told otherwise.
const MOST_RANGES: usize = 1 << 16;
/// Room for names of files.
const NAMES_BYTES: usize = 256 << 10;
/// A name is cut here.
const NAME_BYTES: usize = 255;
/// Guards below stacks are not longer than this.
const LONGEST_GUARD_BYTES: usize = 1 << 20;
/// Neighbours this far apart are told as one only if nothing else helps.
const WIDEST_GAP_BYTES: usize = 1 << 30;

/// What the kernel's list says of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Private and anonymous.
    Anonymous(Look),
    /// Of a file, perhaps a module.
    File,
    /// Shared memory.
    Shared,
    /// leaktrack's recording.
    Own,
    /// The kernel's.
    Kernel,
}

/// A name, by its place among all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Name {
    from: u32,
    bytes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    start: usize,
    end: usize,
    sort: Sort,
    barred: bool,
    name: Name,
    /// Resident bytes, where the pages were not looked at.
    resident: Option<u64>,
}

/// Mappings as the kernel lists them.
pub struct Ranges {
    list: AVec<Range>,
    names: AVec<u8>,
    /// Not all found room.
    pub incomplete: bool,
}

impl Ranges {
    /// None yet.
    pub fn new() -> Ranges {
        Ranges {
            list: AVec::new(),
            names: AVec::new(),
            incomplete: false,
        }
    }

    /// Notes one; they ascend.
    pub fn note(&mut self, vma: &Vma<'_>, sort: Sort) {
        if vma.name == b"[vsyscall]" {
            return; // the same address in every process
        }
        let named = match sort {
            Sort::File | Sort::Shared | Sort::Kernel => true,
            Sort::Anonymous(look) => matches!(look, Look::Named(_)),
            Sort::Own => false,
        };
        let name = match named {
            true => self.name(vma.name),
            false => Name::default(),
        };
        let range = Range {
            start: vma.start,
            end: vma.end,
            sort,
            barred: vma.is_barred(),
            name,
            resident: None,
        };
        self.incomplete |= self.list.len() >= MOST_RANGES || !self.list.try_push(range);
    }

    /// How much of the last one is resident.
    pub fn set_resident(&mut self, bytes: u64) {
        if let Some(last) = self.list.as_mut_slice().last_mut() {
            last.resident = Some(bytes);
        }
    }

    /// Whether from one address to another there is nothing but address space held in reserve: private, without a name, never
    /// touched or not to be touched, and no guard.
    pub fn is_reserve(&self, from: usize, to: usize) -> bool {
        let list = self.list.as_slice();
        let first = list.partition_point(|range| range.end <= from);
        let mut at = from;
        for range in list.get(first..).unwrap_or_default() {
            if at >= to || range.start > at {
                break;
            }
            let is_guard = range.barred && range.end - range.start <= LONGEST_GUARD_BYTES;
            if range.sort != Sort::Anonymous(Look::Plain) || is_guard {
                break;
            }
            at = range.end;
        }
        at >= to
    }

    fn name(&mut self, name: &[u8]) -> Name {
        let name = name.get(..name.len().min(NAME_BYTES)).unwrap_or_default();
        let last = self.list.as_slice().last().map(|last| last.name);
        if let Some(last) = last.filter(|last| self.text(*last) == name) {
            return last;
        }
        let from = self.names.len();
        let fits = from + name.len() <= NAMES_BYTES && self.names.reserve(name.len());
        if !fits {
            return Name::default();
        }
        name.iter().for_each(|byte| {
            self.names.try_push(*byte);
        });
        Name {
            from: from as u32,
            bytes: name.len() as u32,
        }
    }

    fn text(&self, name: Name) -> &[u8] {
        let from = name.from as usize;
        let text = self.names.as_slice().get(from..from + name.bytes as usize);
        text.unwrap_or_default()
    }
}

/// A range of addresses that is one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// First address.
    pub start: usize,
    /// One past the last address.
    pub end: usize,
    /// See [`area`].
    pub kind: u32,
    /// Which of its kind.
    pub which: u32,
    /// Pages resident.
    pub resident: u64,
    /// Pages swapped out.
    pub swapped: u64,
    /// Pages within that are not mapped.
    pub gaps: u64,
    /// Ranges that it was made of.
    pub ranges: u32,
    name: Name,
    guard: bool,
}

impl Area {
    /// Takes a neighbour behind it in.
    fn take(&mut self, next: &Area) {
        self.gaps += (next.start.saturating_sub(self.end) >> 12) as u64 + next.gaps;
        self.end = next.end;
        self.resident += next.resident;
        self.swapped += next.swapped;
        self.ranges = self.ranges.saturating_add(next.ranges);
        if self.kind != next.kind {
            self.kind = area::SEVERAL;
        }
        if self.kind == area::SEVERAL || self.which != next.which {
            self.which = 0;
        }
        if self.kind == area::SEVERAL || self.name != next.name {
            self.name = Name::default();
        }
    }
}

/// All areas, by address.
pub struct Areas {
    list: AVec<Area>,
    ranges: Ranges,
    /// Not all are there.
    pub incomplete: bool,
}

impl Areas {
    /// From what was found of the mappings, and what lies on their pages.
    pub fn build(
        ranges: Ranges,
        regions: &Regions,
        known: &Known,
        pages: &Pages,
        arenas: &ArenaList,
    ) -> Areas {
        let mut areas = Areas {
            list: AVec::new(),
            incomplete: ranges.incomplete || regions.incomplete || known.incomplete,
            ranges: Ranges::new(),
        };
        let own = modules::find(here()).map_or(0, |own| own.module);
        for range in ranges.list.as_slice() {
            let mut put = |start, end, (kind, which): (u32, u32)| {
                let count = regions.count(start, end);
                let resident = range.resident.map(|bytes| bytes >> 12);
                let first_stack = kind == area::STACK && ranges.text(range.name) == b"[stack]";
                let which = if first_stack { sys::getpid() } else { which };
                let area = Area {
                    start,
                    end,
                    kind,
                    which,
                    resident: resident.unwrap_or(count.resident()),
                    swapped: count.swapped,
                    gaps: 0,
                    ranges: 1,
                    name: match kind {
                        area::FILE
                        | area::SHARED_MEMORY
                        | area::NAMED
                        | area::KERNEL
                        | area::V8
                        | area::GO
                        | area::JVM => range.name,
                        _ => Name::default(),
                    },
                    guard: range.barred && end - start <= LONGEST_GUARD_BYTES,
                };
                areas.put(area);
            };
            let whole = match range.sort {
                Sort::Anonymous(look) => {
                    known.cut(range.start, range.end, &mut |start, end, known| {
                        let found = |start, end| match (known.map(|it| it.kind), look) {
                            (_, Look::Named(number)) => of_part(number),
                            (Some(known::Kind::Mapping), _) => {
                                (area::MAPPING, known.map_or(0, |it| it.site))
                            }
                            (_, Look::Break) => (area::HEAP, 1),
                            _ => match arenas.number_at(start, end) {
                                Some(number) => (area::HEAP, number),
                                None => (area::UNKNOWN, 0),
                            },
                        };
                        match known.map(|it| (it.kind, it.site)) {
                            Some((known::Kind::Own, _)) => put(start, end, (area::OWN, 0)),
                            Some((known::Kind::Module, id)) if id == own => {
                                put(start, end, (area::OWN, 0));
                            }
                            Some((known::Kind::Module, id)) => put(start, end, (area::MODULE, id)),
                            _ => pages.show(start, end, &mut |start, end, told| {
                                put(start, end, told.unwrap_or_else(|| found(start, end)));
                            }),
                        }
                    });
                    continue;
                }
                Sort::File => match known.module_at(range.start) {
                    Some(id) if id == own => (area::OWN, 0),
                    Some(id) => (area::MODULE, id),
                    None => (area::FILE, 0),
                },
                Sort::Shared => (area::SHARED_MEMORY, 0),
                Sort::Own => (area::OWN, 0),
                Sort::Kernel => (area::KERNEL, 0),
            };
            put(range.start, range.end, whole);
        }
        areas.ranges = ranges;
        areas.name_stacks();
        areas
    }

    /// Appends, or makes the last one longer.
    fn put(&mut self, mut area: Area) {
        // The list may have changed while it was read: nothing is told twice.
        let told = self.list.as_slice().last().map_or(0, |last| last.end);
        area.start = area.start.max(told);
        if area.start >= area.end {
            return;
        }
        if let Some(last) = self.list.as_mut_slice().last_mut()
            && last.end == area.start
        {
            let same = last.kind == area.kind && last.which == area.which && last.name == area.name;
            // A guard belongs to the stack above it, and separates it from the one below.
            let stack = area.kind == area::STACK && last.kind == area::UNKNOWN && last.guard;
            if same && !area.guard || stack {
                last.kind = area.kind;
                last.guard = false;
                return last.take(&area);
            }
        }
        self.incomplete |= !self.list.try_push(area);
    }

    /// Finds out whose stacks are whose: a thread's control block lies in its stack.
    fn name_stacks(&mut self) {
        // Calls that no trial was made of may be deadly under a filter.
        let quiet = guard::QUIET.load(core::sync::atomic::Ordering::Relaxed) != 0;
        if quiet || process::has_seccomp_filter() {
            return;
        }
        let list = self.list.as_mut_slice();
        threads::each_control_block(|tid, addr| {
            let at = list.partition_point(|area| area.end <= addr);
            if let Some(area) = list.get_mut(at)
                && area.kind == area::STACK
                && area.start <= addr
            {
                area.which = tid;
            }
        });
    }

    /// Tells at most so many: small neighbours are put together, those of one kind first.
    pub fn fold(&mut self, most: usize) {
        let steps = [
            (64 << 10, true),
            (1 << 20, true),
            (1 << 20, false),
            (64 << 20, true),
            (64 << 20, false),
            (usize::MAX, false),
        ];
        for (bytes, alike) in steps {
            if self.list.len() <= most {
                return;
            }
            self.fold_small(bytes, alike, WIDEST_GAP_BYTES);
        }
        if self.list.len() > most {
            self.fold_small(usize::MAX, false, usize::MAX);
        }
    }

    fn fold_small(&mut self, bytes: usize, alike: bool, widest_gap: usize) {
        let list = self.list.as_mut_slice();
        let is_small = |area: &Area| area.end - area.start - ((area.gaps as usize) << 12) <= bytes;
        let mut kept = 0_usize;
        // The last one kept was put together here, or is small.
        let mut open = false;
        for at in 0..list.len() {
            let Some(area) = list.get(at).copied() else {
                break;
            };
            let last = kept.checked_sub(1).and_then(|last| list.get_mut(last));
            if let Some(last) = last
                && is_small(&area)
                && open
                && (!alike || last.kind == area.kind)
                && area.start - last.end <= widest_gap
            {
                last.take(&area);
            } else if let Some(slot) = list.get_mut(kept) {
                *slot = area;
                kept += 1;
                open = is_small(&area);
            }
        }
        while self.list.len() > kept {
            self.list.pop();
        }
    }

    /// The areas with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Area, &[u8])> {
        let list = self.list.as_slice().iter();
        list.map(|area| (area, self.ranges.text(area.name)))
    }
}

/// What an area is whose pages are a part by themselves.
pub fn of_part(number: u32) -> (u32, u32) {
    match number {
        part::STACKS => (area::STACK, 0),
        part::GO => (area::GO, 0),
        part::V8 => (area::V8, 0),
        part::JVM => (area::JVM, 0),
        part::OWN => (area::OWN, 0),
        part::NAMED => (area::NAMED, 0),
        part::UNRECORDED => (area::MAPPING, 0),
        _ => (area::UNKNOWN, 0),
    }
}

/// An address in leaktrack's library.
fn here() -> usize {
    of_part as *const () as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn areas(list: &[Area]) -> Areas {
        let mut areas = Areas {
            list: AVec::new(),
            ranges: Ranges::new(),
            incomplete: false,
        };
        list.iter().for_each(|area| areas.put(*area));
        areas
    }

    fn area(start: usize, pages: usize, kind: u32, which: u32) -> Area {
        Area {
            start,
            end: start + (pages << 12),
            kind,
            which,
            resident: 1,
            swapped: 0,
            gaps: 0,
            ranges: 1,
            name: Name::default(),
            guard: false,
        }
    }

    fn told(areas: &Areas) -> Vec<(usize, usize, u32, u32, u32)> {
        let list = areas.list.as_slice().iter();
        list.map(|a| (a.start, (a.end - a.start) >> 12, a.kind, a.which, a.ranges))
            .collect()
    }

    #[test]
    fn touching_areas_of_one_thing_are_one_and_guards_belong_to_stacks() {
        let guard = |start| Area {
            guard: true,
            ..area(start, 1, area::UNKNOWN, 0)
        };
        let all = areas(&[
            area(0x1000, 1, area::MODULE, 3),
            area(0x2000, 2, area::MODULE, 3),
            area(0x4000, 1, area::MODULE, 4),
            guard(0x10000),
            area(0x11000, 2, area::STACK, 0),
            guard(0x13000),
            area(0x14000, 2, area::STACK, 0),
            area(0x20000, 1, area::MAPPING, 1),
            area(0x22000, 1, area::MAPPING, 1),
        ]);
        assert_eq!(
            told(&all),
            [
                (0x1000, 3, area::MODULE, 3, 2),
                (0x4000, 1, area::MODULE, 4, 1),
                (0x10000, 3, area::STACK, 0, 2),
                (0x13000, 3, area::STACK, 0, 2),
                (0x20000, 1, area::MAPPING, 1, 1),
                (0x22000, 1, area::MAPPING, 1, 1),
            ]
        );
    }

    #[test]
    fn what_was_listed_twice_is_told_once() {
        let all = areas(&[
            area(0x1000, 4, area::FILE, 0),
            area(0x3000, 4, area::MAPPING, 1),
            area(0x4000, 2, area::MAPPING, 2),
        ]);
        let expected = [
            (0x1000, 4, area::FILE, 0, 1),
            (0x5000, 2, area::MAPPING, 1, 1),
        ];
        assert_eq!(told(&all), expected);
    }

    #[test]
    fn what_is_held_in_reserve() {
        let mut ranges = Ranges::new();
        for line in [
            &b"100000-200000 rw-p 0 0:0 0"[..],
            b"200000-800000 ---p 0 0:0 0",
            b"800000-900000 rw-p 0 0:0 0",
            b"900000-901000 ---p 0 0:0 0",
            b"901000-a00000 rw-p 0 0:0 0",
            b"b00000-e00000 ---p 0 0:0 0",
        ] {
            let vma = crate::account::maps::parse(line).unwrap();
            ranges.note(&vma, Sort::Anonymous(Look::Plain));
        }
        assert!(ranges.is_reserve(0x20_0000, 0x80_0000));
        assert!(ranges.is_reserve(0x80_0000, 0x80_0000), "nothing between");
        assert!(!ranges.is_reserve(0x90_0000, 0x90_1000), "a guard");
        assert!(!ranges.is_reserve(0xa0_0000, 0xd0_0000), "a hole");
        assert!(!ranges.is_reserve(0xd0_0000, 0xf0_0000), "nothing known");
    }

    #[test]
    fn where_there_are_too_many_small_neighbours_are_told_as_one() {
        const COUNT: usize = 1500;
        let mut list = Vec::new();
        for at in 0..COUNT {
            // One page of three: small mappings of two sites, and a large one now and then.
            let pages = if at % 300 == 299 { 512 } else { 1 };
            list.push(area(at << 22, pages, area::MAPPING, 1 + at as u32 % 2));
        }
        list.push(area(1 << 46, 1, area::HEAP, 1));
        let sum = |areas: &Areas| {
            let list = areas.list.as_slice();
            let mapped = |a: &Area| ((a.end - a.start) >> 12) as u64 - a.gaps;
            let sums = list
                .iter()
                .map(|a| [a.resident, mapped(a), u64::from(a.ranges)]);
            sums.fold([0; 3], |sum, one| [0, 1, 2].map(|at| sum[at] + one[at]))
        };
        let mut all = areas(&list);
        let before = sum(&all);
        all.fold(COUNT + 1);
        assert_eq!(
            all.list.len(),
            COUNT + 1,
            "nothing is put together without need"
        );
        all.fold(100);
        assert_eq!(sum(&all), before);
        let kept = told(&all);
        assert!(kept.len() <= 100, "{kept:?}");
        // The large ones and what is far away stay what they are.
        let large = kept.iter().filter(|it| it.1 == 512 && it.4 == 1).count();
        assert_eq!(large, COUNT / 300);
        assert!(kept.contains(&(1 << 46, 1, area::HEAP, 1, 1)));
        assert!(kept.iter().all(|it| it.4 == 1 || it.3 == 0));
        // Whatever it takes.
        all.fold(1);
        assert_eq!((told(&all).len(), sum(&all)), (1, before));
        assert_eq!(told(&all)[0].2, area::SEVERAL);
    }
}
