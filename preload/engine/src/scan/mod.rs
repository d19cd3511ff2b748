//! Owns the reachability scan: which live blocks nothing points to any more.
//!
//! It never stops or signals a thread, never takes more memory than leaktrack's cap leaves it nor
//! more time than its limit, and never touches a page that was not touched before. What it cannot
//! do it says, and then calls nothing lost.

mod fork;
mod heap;
mod heuristics;
mod index;
mod kernel;
mod listing;
mod mark;
mod memory;
mod order;
mod outcome;
mod passes;
mod ranges;
mod regions;
mod room;
mod roots;
mod stacks;
mod strays;
pub mod threads;
mod x86_64;
mod young;

pub use index::{BlockIndex, NoIndex};
pub use memory::Pace;
pub use outcome::{LostBlock, Outcome};
pub use room::Room;
pub use threads::{Caller, Registers};
pub use x86_64::with_registers;

use leaktrack_recording::control::ScanProgress;

use crate::facts::{limit, process, system};
use crate::state::{self, LIVE};
use crate::{config, permit, sampler};
use memory::Stop;

/// Memory beside the index: windows, buffers, lists.
const WORK_BYTES: u64 = 24 << 20;
/// Swapped memory that a scan may bring back.
const SWAP_BYTES: u64 = 64 << 20;

/// How the process is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// When it ends: the thread that ends it waits, others may run.
    AtEnd,
    /// While it runs.
    InPlace,
    /// While it runs, first in a forked copy.
    InCopy,
}

/// How a scan is to be made.
#[derive(Clone, Copy)]
pub struct Order {
    /// How the process is looked at.
    pub way: Way,
    /// Longest time.
    pub limit_ms: u64,
    /// Time between passes.
    pub apart_ms: u64,
    /// Share of a processor.
    pub pace: Option<Pace>,
    /// The thread that waits for it.
    pub caller: Caller,
    /// Asked now and then: true ends it.
    pub interrupted: fn() -> bool,
    /// Told how far it is.
    pub progress: fn(ScanProgress),
    /// An address in leaktrack's own recording, which holds no roots.
    pub own_file: Option<usize>,
    /// Blocks born after this epoch are young: held, and holding others.
    pub epoch: u32,
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
const RESTLESS: WhyNot = b"pointers moved faster than they could be followed";
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
            NoIndex::Stopped(stop) => return stop.into(),
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

/// Scans the process.
pub fn scan(order: &Order) -> Scanned {
    passes::scan(order)
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
fn check_room(way: Way) -> Result<(), Failure> {
    let Some((limit_bytes, kind)) = limit::read() else {
        return Ok(());
    };
    let now = process::read();
    let system = system::read(b"");
    let used = limit::used_bytes(Some(kind), now.rss_bytes, now.vm_bytes, &system);
    let mut needed = BlockIndex::bytes_for(LIVE.len()) + WORK_BYTES;
    if way == Way::InCopy && kind == limit::LimitKind::Cgroup {
        // What is written to while the copy lives is there twice: a quarter is a lot.
        needed += now.rss_bytes / 4;
    }
    if limit_bytes.saturating_sub(used) / 2 < needed {
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
