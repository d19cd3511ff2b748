//! Where resident memory went: the parts that were measured, now and over time, and whose blocks
//! keep free memory from being returned.

use std::collections::BTreeMap;

use leaktrack_recording::{Part, SiteKind, SiteResidency, part};

use super::document::{
    ArenaReport, Fragmentation, Memory, MemoryMoment, MemoryPart, NodeReport, Pin,
};
use super::memory::round;
use super::runtime::{CPYTHON, Runtime};
use crate::model::account::MemoryAccount;
use crate::model::{Family, Process, Site};

/// Moments kept of the account over time, per report.
const MOMENTS: usize = 200;
/// Sites named for the pages they pin.
const PINS: usize = 20;

/// The part that is leaktrack itself.
pub const OWN: &str = "leaktrack";

/// How a part is known, by its number: name and measure.
fn words(number: u32) -> (&'static str, &'static str) {
    let blocks = "pages in memory (pagemap) under the blocks of the live table";
    match number {
        part::LIVE_BLOCKS => ("live blocks", blocks),
        part::ALLOCATOR_FREE => (
            "allocator's free memory",
            "pages in memory (pagemap) of its heaps, outside of blocks and their headers",
        ),
        part::ALLOCATOR_OVERHEAD => (
            "allocator's overhead and rounding",
            "pages in memory (pagemap) under the headers and rounding of the blocks, by the allocator's size classes",
        ),
        part::MAPPINGS => (
            "program's mappings",
            "pages in memory (pagemap) of the mappings it made",
        ),
        part::UNRECORDED => (
            "mapped while recording was off",
            "pages in memory (pagemap) of the mappings it made meanwhile",
        ),
        part::UNTOLD => (
            "not told apart, leaktrack's memory is full",
            "pages in memory (pagemap) of anonymous mappings; the option memory is too small to tell what they are",
        ),
        part::STACKS => (
            "thread stacks",
            "pages in memory (pagemap) of [stack] and of mappings above a guard page",
        ),
        part::MODULES_SHARED => (
            "executable and libraries, unchanged",
            "pages in memory (pagemap) of mapped executable files, the file's own",
        ),
        part::MODULES_PRIVATE => (
            "executable and libraries, written to",
            "pages in memory (pagemap) of mapped executable files, copied on write, and their zeroed data",
        ),
        part::SHARED_MEMORY => (
            "shared memory",
            "pages in memory (pagemap) of shared mappings without a file on disk",
        ),
        part::FILES => (
            "file mappings",
            "pages in memory (pagemap) of other mapped files",
        ),
        part::OWN => (
            OWN,
            "pages in memory (pagemap) of its library and of its own mappings",
        ),
        part::HEAP => (
            "heap, blocks and free memory together",
            "pages in memory (pagemap) of the allocator's heaps; not every block is known",
        ),
        part::GO => (
            "Go heap",
            "pages in memory (pagemap) of mappings where Go puts it, or that Go named",
        ),
        part::V8 => (
            "V8 heap",
            "pages in memory (pagemap) of mappings that V8 made or named",
        ),
        part::JVM => (
            "JVM heap",
            "pages in memory (pagemap) of mappings that the JVM made or named",
        ),
        CPYTHON => (
            "CPython arenas",
            "pages in memory (pagemap) of mappings of an arena's size that Python made",
        ),
        _ => (
            "named mappings",
            "pages in memory (pagemap) of mappings that their owner named",
        ),
    }
}

/// The order in which parts are told; unknown numbers come last.
const ORDER: [u32; 18] = [
    part::LIVE_BLOCKS,
    part::ALLOCATOR_FREE,
    part::ALLOCATOR_OVERHEAD,
    part::HEAP,
    part::MAPPINGS,
    part::UNRECORDED,
    CPYTHON,
    part::V8,
    part::JVM,
    part::GO,
    part::NAMED,
    part::STACKS,
    part::MODULES_SHARED,
    part::MODULES_PRIVATE,
    part::SHARED_MEMORY,
    part::FILES,
    part::OWN,
    part::UNTOLD,
];

/// The accounts that a report is about: the last of each process that is there at the end.
pub struct Accounts<'a> {
    list: Vec<(usize, &'a Process, &'a MemoryAccount)>,
    /// Every process has one.
    complete: bool,
}

impl<'a> Accounts<'a> {
    /// Of these processes, with their indices.
    pub fn of(processes: &[(usize, &'a Process)]) -> Self {
        let list: Vec<_> = processes
            .iter()
            .filter_map(|(index, process)| Some((*index, *process, process.last_account()?)))
            .collect();
        Self {
            complete: !list.is_empty() && list.len() == processes.len(),
            list,
        }
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Memory of a family is told in proportional shares, where all of them are known.
    fn proportional(&self) -> bool {
        let known =
            |(_, _, account): &(usize, &Process, &MemoryAccount)| account.head.pss_bytes.is_some();
        self.list.len() > 1 && self.list.iter().all(known)
    }

    fn sum(&self, f: impl Fn(&MemoryAccount) -> u64) -> u64 {
        let each = self.list.iter().map(|(_, _, account)| f(account));
        each.fold(0, u64::saturating_add)
    }

    /// Puts parts and sums into the report's memory section.
    pub fn fill(&self, family: &Family, memory: &mut Memory) {
        if self.is_empty() {
            return;
        }
        let proportional = self.proportional();
        let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
        for (index, _, account) in &self.list {
            let runtimes = runtimes(family, *index);
            for part in &account.parts {
                let bytes = counted(part, proportional);
                let moved = match part.number {
                    part::MAPPINGS => split(part, bytes, &runtimes, &mut sums),
                    _ => 0,
                };
                let sum = sums.entry(part.number).or_default();
                *sum = sum.saturating_add(bytes.saturating_sub(moved));
            }
        }
        memory.parts = told(&sums, self.list.iter().any(|(.., a)| a.head.by_mincore));
        let whole = match proportional {
            true => self.sum(|account| account.head.pss_bytes.unwrap_or_default()),
            false => self.sum(|account| account.head.rss_bytes),
        };
        if self.complete {
            memory.rss_bytes = Some(self.sum(|account| account.head.rss_bytes));
            memory.swap_bytes = Some(self.sum(|account| account.head.swap_bytes));
            let found = memory.parts.iter().fold(0, |sum, part| sum + part.bytes);
            memory.parts_of = Some(if proportional { "pss" } else { "rss" }.to_owned());
            memory.unexplained_bytes = Some(whole as i64 - found as i64);
        }
        let pss = self.list.iter().map(|(.., account)| account.head.pss_bytes);
        memory.pss_bytes = pss.sum::<Option<u64>>().filter(|_| self.complete);
        memory.huge_page_bytes = Some(self.sum(|account| account.head.huge_bytes));
        memory.untouched_bytes = Some(self.sum(|account| account.head.untouched_bytes));
        memory.thread_stacks = Some(self.sum(|account| account.head.stacks));
        memory.measured_at_s = self
            .list
            .iter()
            .map(|(index, _, account)| family.start_s(*index) + account.head.at_ms as f64 / 1e3)
            .reduce(f64::max)
            .map(round);
        memory.measured_in_s = Some(round(self.sum(|a| a.head.duration_us) as f64 / 1e6));
        memory.nodes = self.nodes();
        memory.over_time = over_time(family);
    }

    /// NUMA nodes, all processes together.
    fn nodes(&self) -> Option<Vec<NodeReport>> {
        let mut nodes: BTreeMap<u32, NodeReport> = BTreeMap::new();
        for (.., account) in &self.list {
            let known = account.nodes.iter().any(|node| node.resident_bytes > 0);
            for of in &account.nodes {
                let node = nodes.entry(of.number).or_insert(NodeReport {
                    node: of.number.saturating_sub(1),
                    resident_bytes: Some(0),
                    ..NodeReport::default()
                });
                let bytes = known.then_some(of.resident_bytes);
                node.resident_bytes = node
                    .resident_bytes
                    .zip(bytes)
                    .map(|(sum, bytes)| sum.saturating_add(bytes));
                node.threads = node.threads.saturating_add(of.threads);
                (node.host_bytes, node.host_free_bytes) = (of.host_bytes, of.host_free_bytes);
            }
        }
        (!nodes.is_empty()).then(|| nodes.into_values().collect())
    }

    /// Puts what the walks over the heaps found into the report's fragmentation section.
    pub fn fill_fragmentation(&self, family: &Family, fragmentation: &mut Fragmentation) {
        let arenas = self.list.iter().flat_map(|(index, process, _)| {
            let list = process.arenas.list.iter();
            list.map(|arena| (*index, *arena))
        });
        let arenas: Vec<_> = arenas.collect();
        if arenas.is_empty()
            || self.sum(|account| account.part(part::LIVE_BLOCKS).resident_bytes) == 0
        {
            return;
        }
        let part = |number| self.sum(|account| account.part(number).resident_bytes);
        let free = part(part::ALLOCATOR_FREE);
        let held = free + part(part::LIVE_BLOCKS) + part(part::ALLOCATOR_OVERHEAD);
        let releasable = arenas.iter().map(|(_, arena)| arena.releasable_bytes);
        fragmentation.held_bytes = Some(held);
        fragmentation.free_bytes = Some(free);
        fragmentation.releasable_bytes = Some(releasable.sum());
        fragmentation.ratio = (held > 0).then(|| round(free as f64 / held as f64));
        fragmentation.pinned_by = Some(pins(family));
        fragmentation.arenas = arenas
            .iter()
            .map(|(process, arena)| ArenaReport {
                process: *process,
                number: arena.number,
                held_bytes: arena.held_bytes,
                resident_bytes: arena.resident_bytes,
                live_bytes: arena.live_bytes,
                overhead_bytes: arena.overhead_bytes,
                free_bytes: arena.free_bytes,
                releasable_bytes: arena.releasable_bytes,
                top_bytes: arena.top_bytes,
            })
            .collect();
        fragmentation.arenas.sort_by_key(|arena| {
            (
                std::cmp::Reverse(arena.free_bytes),
                arena.process,
                arena.number,
            )
        });
    }
}

fn counted(part: &Part, proportional: bool) -> u64 {
    match proportional {
        true => part.proportional_bytes,
        false => part.resident_bytes,
    }
}

fn told(sums: &BTreeMap<u32, u64>, by_mincore: bool) -> Vec<MemoryPart> {
    let later = sums.keys().filter(|number| !ORDER.contains(number));
    let numbers = ORDER.iter().chain(later);
    let parts = numbers.filter_map(|number| Some((*number, *sums.get(number)?)));
    parts
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(number, bytes)| {
            let (name, measured_by) = words(number);
            let measured_by = match by_mincore {
                true => measured_by.replace("pagemap", "mincore and smaps"),
                false => measured_by.to_owned(),
            };
            MemoryPart {
                name: name.to_owned(),
                bytes,
                measured_by,
            }
        })
        .collect()
}

/// Resident bytes of the mappings of a process that language runtimes made, by part.
fn runtimes(family: &Family, process: usize) -> BTreeMap<u32, u64> {
    let mut sums = BTreeMap::new();
    for site in family
        .sites
        .iter()
        .filter(|site| site.kind == SiteKind::Mmap)
    {
        let Some(number) = Runtime::of(site).map(Runtime::part) else {
            continue;
        };
        for part in site.parts.iter().filter(|part| part.process == process) {
            if let Some(residency) = &part.residency {
                *sums.entry(number).or_default() += residency.resident_bytes;
            }
        }
    }
    sums
}

/// Moves what runtimes made out of the program's mappings; how much was moved.
fn split(
    mappings: &Part,
    bytes: u64,
    runtimes: &BTreeMap<u32, u64>,
    sums: &mut BTreeMap<u32, u64>,
) -> u64 {
    let mut moved = 0;
    for (number, resident) in runtimes {
        // In the same proportion as the whole part.
        let share =
            u128::from(*resident) * u128::from(bytes) / u128::from(mappings.resident_bytes.max(1));
        let share = (share as u64).min(bytes - moved);
        *sums.entry(*number).or_default() += share;
        moved += share;
    }
    moved
}

/// Every account of the root's window, evenly thinned; families process by process.
fn over_time(family: &Family) -> Vec<MemoryMoment> {
    let mut moments: Vec<MemoryMoment> = Vec::new();
    for (index, process) in family.present() {
        let inside = process
            .accounts
            .iter()
            .filter(|account| (process.from_ms..=process.to_ms).contains(&account.head.at_ms));
        moments.extend(inside.map(|account| {
            let sums = account
                .parts
                .iter()
                .map(|part| (part.number, part.resident_bytes));
            let parts = told(&sums.collect(), account.head.by_mincore);
            let found = parts.iter().fold(0, |sum, part| sum + part.bytes);
            MemoryMoment {
                t_s: round(family.start_s(index) + account.head.at_ms as f64 / 1e3),
                process: index,
                rss_bytes: account.head.rss_bytes,
                parts: parts
                    .into_iter()
                    .map(|part| (part.name, part.bytes))
                    .collect(),
                unexplained_bytes: account.head.rss_bytes as i64 - found as i64,
            }
        }));
    }
    moments.sort_by(|a, b| a.t_s.total_cmp(&b.t_s).then(a.process.cmp(&b.process)));
    let step = moments.len().div_ceil(MOMENTS).max(1);
    let last = moments.len().saturating_sub(1);
    let kept = moments.into_iter().enumerate();
    kept.filter(|(at, _)| at % step == 0 || *at == last)
        .map(|(_, moment)| moment)
        .collect()
}

/// Residency of a site, all processes together; `None` if no account knows it.
pub fn residency(site: &Site) -> Option<SiteResidency> {
    let known = site.parts.iter().filter_map(|part| part.residency);
    known.reduce(|sum, one| SiteResidency {
        site: 0,
        live_bytes: sum.live_bytes.saturating_add(one.live_bytes),
        resident_bytes: sum.resident_bytes.saturating_add(one.resident_bytes),
        swapped_bytes: sum.swapped_bytes.saturating_add(one.swapped_bytes),
        pinned_pages: sum.pinned_pages.saturating_add(one.pinned_pages),
        pinned_bytes: sum.pinned_bytes.saturating_add(one.pinned_bytes),
    })
}

/// Sites that keep pages from being returned, those that pin most first.
fn pins(family: &Family) -> Vec<Pin> {
    let pin = |site: &Site| {
        let residency = residency(site).filter(|it| it.pinned_pages > 0)?;
        Some(Pin {
            site: site.id.clone(),
            pages: residency.pinned_pages,
            bytes: residency.pinned_bytes,
        })
    };
    let mut pins: Vec<Pin> = family.sites.iter().filter_map(pin).collect();
    pins.sort_by(|a, b| b.pages.cmp(&a.pages).then_with(|| a.site.cmp(&b.site)));
    pins.truncate(PINS);
    pins
}
