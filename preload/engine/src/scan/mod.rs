//! Owns the reachability scan: which live blocks nothing points to any more.
//!
//! It never stops or signals a thread, never takes more memory than leaktrack's cap leaves it nor
//! more time than its limit, and never touches a page that was not touched before. What it cannot
//! do it says, and then calls nothing lost.

mod heap;
mod heuristics;
mod index;
pub mod live;
mod mark;
mod memory;
mod outcome;
mod ranges;
mod regions;
mod room;
mod roots;
mod stacks;
mod threads;
mod x86_64;
mod young;

pub use index::{BlockIndex, NoIndex};
pub use outcome::{LostBlock, Outcome};
pub use room::Room;
pub use threads::{Caller, Registers};
pub use x86_64::with_registers;

use crate::facts::{limit, process};
use crate::state::{self, LIVE};
use crate::{config, helper, permit, sampler, sites, sys};
use mark::{Marker, Marks};
use memory::{Limits, Memory, Stop};

/// Memory beside the index: windows, buffers, lists.
const WORK_BYTES: u64 = 24 << 20;
/// Roots and reached blocks up to which odd words are looked at.
const ODD_BYTES: u64 = 256 << 20;
/// Swapped memory that a scan may bring back.
const SWAP_BYTES: u64 = 64 << 20;

/// How a scan is to be made.
#[derive(Clone, Copy)]
pub struct Order {
    /// Longest time.
    pub limit_ms: u64,
    /// The thread that waits for it.
    pub caller: Caller,
    /// Asked now and then: true ends it.
    pub interrupted: fn() -> bool,
    /// An address in leaktrack's own recording, which holds no roots.
    pub own_file: Option<usize>,
}

/// What a scan came to.
pub struct Scanned {
    /// What was found; `None` with a reason why not.
    pub found: Result<Outcome, &'static [u8]>,
    /// Free memory counted as roots, since not every live block is known.
    pub lower_bound: bool,
    /// Threads whose registers were not read.
    pub unread_threads: u32,
    /// Lost blocks of a site that may hide in registers.
    pub hidden: u64,
    /// Times that memory was gone through.
    pub passes: u32,
}

/// Learns what later scans must know. In the constructor, on a thread of the program.
pub fn init() {
    threads::init();
    heap::init();
}

/// Why a scan gives no result.
type WhyNot = &'static [u8];

const NO_MEMORY: WhyNot = b"leaktrack's memory does not suffice (option memory)";
const NEAR_LIMIT: WhyNot = b"the memory limit is too near";
const NO_FILES: WhyNot = b"a seccomp filter forbids what it takes";
const NO_COPY: WhyNot = b"process_vm_readv is not permitted";
const NO_MAPS: WhyNot = b"/proc/self/maps or task cannot be read";
const LATE: WhyNot = b"it took longer than its limit";
const INTERRUPTED: WhyNot = b"something more urgent came up";
const OUTRUN: WhyNot = b"blocks were allocated faster than they could be listed";
const SWAPPED: WhyNot = b"too much memory is swapped out to look at all of it";

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Failure {
        Failure(match stop {
            Stop::Late => LATE,
            Stop::Interrupted => INTERRUPTED,
            Stop::Refused => NO_COPY,
        })
    }
}

struct Failure(WhyNot);

impl From<NoIndex> for Failure {
    fn from(why: NoIndex) -> Failure {
        Failure(match why {
            NoIndex::Memory => NO_MEMORY,
            NoIndex::Outrun => OUTRUN,
        })
    }
}

/// What there is to say of a scan while it is made.
#[derive(Default)]
struct Notes {
    lower_bound: bool,
    unread_threads: u32,
    hidden: u64,
    passes: u32,
}

impl Notes {
    fn into_scanned(self, found: Result<Outcome, WhyNot>) -> Scanned {
        Scanned {
            found,
            lower_bound: self.lower_bound,
            unread_threads: self.unread_threads,
            hidden: self.hidden,
            passes: self.passes,
        }
    }
}

/// Scans once. Other threads may run: what they move meanwhile can be missed, so that only a process
/// that has ended, or nearly so, may be judged by one such scan.
pub fn once(order: &Order) -> Scanned {
    let mut notes = Notes::default();
    let found = try_once(order, &mut notes).map_err(|Failure(why)| why);
    notes.into_scanned(found)
}

fn try_once(order: &Order, notes: &mut Notes) -> Result<Outcome, Failure> {
    check_permits()?;
    check_room()?;
    let now_ns = sys::clock_ns(sys::clock::MONOTONIC);
    let limits = Limits {
        deadline_ns: now_ns.saturating_add(order.limit_ms.saturating_mul(1_000_000)),
        interrupted: order.interrupted,
        swap_bytes: SWAP_BYTES,
        pace: None,
    };
    let mut memory = Memory::new(limits).ok_or(Failure(NO_MEMORY))?;
    let sites = sites::len();
    let mut index = BlockIndex::build(&LIVE)?;
    memory.note_touched(&mut index);
    let regions = regions::read().ok_or(Failure(NO_MAPS))?;
    let regions = regions.as_slice();
    let threads = threads::read(helper::tid(), &order.caller).ok_or(Failure(NO_MAPS))?;
    notes.lower_bound = !every_block_is_known();
    let roots = roots::find(
        regions,
        threads.as_slice(),
        &index,
        &mut memory,
        notes.lower_bound,
        order.own_file,
    )?
    .ok_or(Failure(NO_MEMORY))?;
    notes.unread_threads = roots.unread_threads;
    notes.hidden = roots.hidden;

    let marks = Marks::new(index.len()).ok_or(Failure(NO_MEMORY))?;
    let marker = Marker::new(&index, regions, marks, false);
    let mut marker = marker.ok_or(Failure(NO_MEMORY))?;
    marker.roots_alone(roots.words.as_slice());
    let mut root_bytes = 0;
    for range in roots.ranges.as_slice() {
        memory.each(range.start, range.end, range.manner, &mut |_, words| {
            root_bytes += size_of_val(words) as u64;
            marker.roots(words);
        })?;
        marker.follow(&mut memory)?;
    }
    if memory.skipped_bytes > 0 {
        return Err(Failure(SWAPPED));
    }
    notes.passes = 1;
    let mut marks = marker.into_marks();
    if marks.unreached().next().is_some() && root_bytes + index.bytes() <= ODD_BYTES {
        marks.unreached().for_each(|at| index.want(at));
        let marker = Marker::new(&index, regions, marks, false);
        let mut marker = marker.ok_or(Failure(NO_MEMORY))?;
        for range in roots.ranges.as_slice() {
            memory.each(range.start, range.end, range.manner, &mut |_, words| {
                marker.odd_roots(words);
            })?;
        }
        marker.odd_blocks(&mut memory)?;
        marks = marker.into_marks();
    }
    let marker = Marker::new(&index, regions, marks, false);
    let mut marker = marker.ok_or(Failure(NO_MEMORY))?;
    marker.lose_rest(&mut memory)?;
    if notes.hidden > 0 {
        let mut excused = Room::zeroed(sites as usize + 1).ok_or(Failure(NO_MEMORY))?;
        marker.excuse_hidden(notes.hidden, &mut excused, &mut memory)?;
    }
    let marks = marker.into_marks();
    Outcome::count(&index, &marks, sites, state::fork_epoch()).ok_or(Failure(NO_MEMORY))
}

fn check_permits() -> Result<(), Failure> {
    if !permit::open() || !permit::scan() {
        Err(Failure(NO_FILES))
    } else if !permit::copy_memory() {
        Err(Failure(NO_COPY))
    } else {
        Ok(())
    }
}

/// Declines where what the scan takes might be what is missing in the end.
fn check_room() -> Result<(), Failure> {
    let Some((limit_bytes, kind)) = limit::read() else {
        return Ok(());
    };
    let now = process::read();
    let taken = match kind {
        limit::LimitKind::Cgroup => now.rss_bytes,
        limit::LimitKind::AddressSpace => now.vm_bytes,
    };
    let needed = BlockIndex::bytes_for(LIVE.len()) + WORK_BYTES;
    if limit_bytes.saturating_sub(taken) / 2 < needed {
        return Err(Failure(NEAR_LIMIT));
    }
    Ok(())
}

/// True if the table holds every live block: none was dropped, left out by sampling, or allocated
/// behind our back.
fn every_block_is_known() -> bool {
    let coverage = state::COVERAGE.read();
    let missed = coverage.dropped + coverage.nested + coverage.unknown_frees;
    let exact = config::get().mode == config::Mode::Exact && !sampler::is_on();
    exact && missed == 0 && !state::was_paused()
}
