//! Owns the account of resident memory: every part of it measured on its own, so that only what
//! no part explains is a difference.
//!
//! It must never stall the host: it takes no lock of the host's allocator, reads the kernel's list
//! of mappings a little at a time, and holds a lock of our own for one shard or list at most. It
//! never touches a page of the host's, which would bring it into memory.
//!
//! Steps: the kernel's list of mappings with the pages in memory; the kernel's own sums; what is
//! known of ranges; the walk over the live table, which puts every block on its pages; the pages
//! of the heap, of which each is live, overhead or free.

mod areas;
mod arenas;
mod blocks;
mod choice;
mod chunks;
mod kept;
mod known;
mod layout;
pub mod maps;
mod nodes;
mod pagemap;
mod pages;
mod regions;
mod tally;

use leaktrack_recording::{AccountHead, Arena, NumaNode, Part, part};

use crate::arena::AVec;
use crate::facts::process;
use crate::{allocator, sys};
pub use areas::{Area, Areas};
use arenas::ArenaList;
use blocks::{Blocks, Walk};
pub use blocks::{Rounding, Row};
pub use choice::{Choice, Chosen};
use known::Known;
use layout::Layout;
use pagemap::PageMap;
use pages::Pages;
use tally::{Parts, Shares};

/// Resident memory from here on is not summed by the kernel while the host runs.
const LARGE_RSS_BYTES: u64 = 2 << 30;

/// A whole account.
pub struct Account {
    /// Sums.
    pub head: AccountHead,
    parts: Parts,
    shares: Shares,
    arenas: ArenaList,
    nodes: AVec<NumaNode>,
    walk: Walk,
    areas: Areas,
    choice: Option<Choice>,
    /// All blocks were looked at.
    pub all_blocks: bool,
}

/// What the account is to be taken of.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Path of the recording.
    pub own_file: &'a [u8],
    /// Every block is in the live table.
    pub exact: bool,
    /// The process ends or someone asked: what takes a little longer is worth it.
    pub thorough: bool,
    /// Milliseconds since recording began.
    pub at_ms: u64,
    /// Sites so far, and how many live blocks and bytes each holds.
    pub sites: (u32, &'a dyn Fn(u32) -> (u64, u64)),
}

/// Takes an account; `None` where the kernel does not say enough, or there is no memory.
pub fn take(request: &Request<'_>) -> Option<Account> {
    let clock = |clock| sys::clock_ns(clock) / 1000;
    let began_us = [clock(sys::clock::MONOTONIC), clock(sys::clock::THREAD_CPU)];
    let facts = process::read();
    let mut pagemap = PageMap::open()?;
    let mut layout = Layout::read(&mut pagemap, request.own_file, facts.rss_bytes)?;
    let known = Known::collect();
    layout.look_again_at_own(&known, &mut pagemap);
    // The kernel's sum holds the lock of the address space for as long as its largest mapping
    // takes: a large process is asked for the cheaper figure, which is a little less exact.
    let small = facts.rss_bytes < LARGE_RSS_BYTES;
    let rollup = if small || request.thorough {
        maps::rollup()
    } else {
        None
    };
    let rss_bytes = match rollup {
        Some(sums) => sums.rss_bytes,
        None => process::read().rss_bytes,
    };
    let nodes = nodes::read(b"", small || request.thorough);
    let skipped_bytes = pagemap.skipped_bytes;
    let by_mincore = !pagemap.is_exact();
    drop(pagemap);

    let rounding = allocator::rounding();
    let mut arenas = ArenaList::new();
    let mut pages = Pages::sort(&mut layout, &known, &mut arenas, rounding);
    let blocks = Blocks::to_walk(request.exact);
    if blocks == Blocks::All {
        pages.want_uses(&mut layout);
    }
    layout.regions.index();
    let (sites, live_of) = request.sites;
    let mut choice = Choice::new(sites, live_of);
    let mut walk = Walk::take(
        &mut layout.regions,
        &known,
        rounding,
        blocks,
        choice.as_mut(),
    );
    let stacks = pages.sum(&mut layout, &mut arenas, &mut walk, rounding);
    let live_bytes = walk.live_bytes;
    let [resident, swapped] = [walk.resident_bytes, walk.swapped_bytes];
    let ranges = core::mem::replace(&mut layout.ranges, areas::Ranges::new());
    if layout.incomplete || known.incomplete || layout.regions.incomplete {
        let rest = layout.parts.rest_of(&layout.all);
        layout.parts.add(part::UNTOLD, &rest);
    }
    let areas = Areas::build(ranges, &layout.regions, &known, &pages, &arenas);
    let shares = Shares::of(&layout.all, rollup.as_ref());
    let [wall_us, cpu_us] = [
        clock(sys::clock::MONOTONIC).saturating_sub(began_us[0]),
        clock(sys::clock::THREAD_CPU).saturating_sub(began_us[1]),
    ];
    Some(Account {
        head: AccountHead {
            at_ms: request.at_ms,
            rss_bytes,
            pss_bytes: rollup.map(|sums| sums.pss_bytes),
            swap_bytes: rollup.map_or(facts.swap_bytes, |sums| sums.swap_bytes),
            huge_bytes: rollup.map_or(0, |sums| sums.huge_bytes),
            mappings: layout.mappings,
            duration_us: wall_us,
            cpu_us,
            live_bytes,
            untouched_bytes: live_bytes.saturating_sub(resident + swapped),
            live_swapped_bytes: swapped,
            skipped_bytes,
            stacks,
            by_mincore,
        },
        parts: layout.parts,
        shares,
        arenas,
        nodes,
        areas,
        choice,
        all_blocks: request.exact && blocks == Blocks::All && !layout.regions.incomplete,
        walk,
    })
}

impl Account {
    /// The parts, ascending by number.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        self.parts.iter().map(|(number, tally)| Part {
            number,
            resident_bytes: tally.resident_bytes(),
            proportional_bytes: tally.proportional_bytes(&self.shares),
            swapped_bytes: tally.swapped_bytes(),
        })
    }

    /// What was found of each site, by id; of mappings alone if not every block is known.
    pub fn rows(&self) -> &[Row] {
        self.walk.rows.as_slice()
    }

    /// The address space.
    pub fn areas_mut(&mut self) -> &mut Areas {
        &mut self.areas
    }

    /// Single blocks; `None` where there was no memory to choose some.
    pub fn choice_mut(&mut self) -> Option<&mut Choice> {
        self.choice.as_mut()
    }

    /// The NUMA nodes, if there are several.
    pub fn nodes(&self) -> &[NumaNode] {
        self.nodes.as_slice()
    }

    /// The allocator's arenas.
    pub fn arenas(&self) -> impl Iterator<Item = &Arena> {
        self.arenas.sums()
    }
}
