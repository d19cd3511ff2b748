//! Owns the scan of a process that runs on: several passes over its memory, of which each can only
//! reach more blocks.
//!
//! One pass over memory that changes may miss a pointer that moves from where the pass has yet to
//! look to where it has looked. What nothing points to is missed by every pass; a block counts as
//! lost only if it is older than the first pass and no pass reaches it. The first pass is a whole
//! one, as at exit. Later ones read the same memory and all blocks reached so far in order of
//! address, and look for the rest alone; they end as soon as there is none left.

use super::index::BlockIndex;
use super::mark::{Marker, Marks};
use super::memory::{Limits, Memory, Pace};
use super::room::Room;
use super::{
    Caller, Failure, INTERRUPTED, NO_MAPS, NO_MEMORY, Notes, Outcome, SWAP_BYTES, SWAPPED, Scanned,
    check_permits, check_room, every_block_is_known, regions, roots, stacks, threads, young,
};
use crate::live::Block;
use crate::state::{self, LIVE};
use crate::{helper, sites, sys};

/// Passes that must all miss a block. A pointer that moves all the time between two places is
/// missed by a pass with a chance of 1/4 at most; twelve times in a row once in 17 million.
pub const PASSES: u32 = 12;
/// Passes in which blocks that are possibly lost are looked for, too.
const POSSIBLE_PASSES: u32 = 2;
/// Between the beginning of the first epoch of young blocks and the first pass: a thread that read
/// the clock before records its block meanwhile.
const SETTLE_MS: u64 = 5;

/// How a running process is to be scanned.
#[derive(Clone, Copy)]
pub struct Order {
    /// Longest time.
    pub limit_ms: u64,
    /// Time between passes.
    pub apart_ms: u64,
    /// Share of one processor that it may use.
    pub percent: u64,
    /// Asked now and then: true ends it.
    pub interrupted: fn() -> bool,
    /// Waits so many milliseconds; true ends it.
    pub rest: fn(u64) -> bool,
    /// An address in leaktrack's own recording, which holds no roots.
    pub own_file: Option<usize>,
    /// Blocks born after this epoch are young.
    pub epoch: u32,
}

struct Live {
    order: Order,
    memory: Memory,
    index: BlockIndex,
    epoch: u32,
    sites: u32,
    lower_bound: bool,
}

/// Scans the process while it runs. Called by the helper.
pub fn scan(order: &Order) -> Scanned {
    let mut notes = Notes::default();
    let found = try_scan(order, &mut notes).map_err(|Failure(why)| why);
    notes.into_scanned(found)
}

fn try_scan(order: &Order, notes: &mut Notes) -> Result<Outcome, Failure> {
    check_permits()?;
    check_room()?;
    notes.lower_bound = !every_block_is_known();
    let now_ns = sys::clock_ns(sys::clock::MONOTONIC);
    let limits = Limits {
        deadline_ns: now_ns.saturating_add(order.limit_ms.saturating_mul(1_000_000)),
        interrupted: order.interrupted,
        swap_bytes: SWAP_BYTES,
        pace: Some(Pace {
            percent: order.percent,
            rest: order.rest,
        }),
    };
    let mut memory = Memory::new(limits).ok_or(Failure(NO_MEMORY))?;
    memory.rest(SETTLE_MS)?;
    let sites = sites::len();
    let index = BlockIndex::build(&LIVE)?;
    let mut marks = Marks::new(index.len()).ok_or(Failure(NO_MEMORY))?;
    let mut live = Live {
        order: *order,
        memory,
        index,
        epoch: order.epoch,
        sites,
        lower_bound: notes.lower_bound,
    };
    while notes.passes < PASSES {
        if notes.passes > 0 {
            live.memory.rest(order.apart_ms)?;
        }
        marks = live.pass(marks, notes)?;
        notes.passes += 1;
        if marks.unreached().next().is_none() {
            break;
        }
    }
    live.judge(marks, notes)
}

impl Live {
    /// Goes through all memory once.
    fn pass(&mut self, marks: Marks, notes: &mut Notes) -> Result<Marks, Failure> {
        let first = notes.passes == 0;
        self.memory.forget();
        self.memory.note_touched(&mut self.index);
        self.index.want_none();
        if !first {
            marks.unreached().for_each(|at| self.index.want(at));
            if notes.passes < POSSIBLE_PASSES {
                marks.possible().for_each(|at| self.index.want(at));
            }
        }
        let regions = regions::read().ok_or(Failure(NO_MAPS))?;
        let regions = regions.as_slice();
        let threads = threads::read(helper::tid(), &Caller::NOBODY).ok_or(Failure(NO_MAPS))?;
        let threads = threads.as_slice();
        let roots = roots::find(
            regions,
            threads,
            &self.index,
            &mut self.memory,
            self.lower_bound,
            self.order.own_file,
        )?
        .ok_or(Failure(NO_MEMORY))?;
        // What hides in registers does so in every pass.
        if first || roots.hidden < notes.hidden {
            notes.hidden = roots.hidden;
            notes.unread_threads = roots.unread_threads;
        }

        let marker = Marker::new(&self.index, regions, marks, !first);
        let mut marker = marker.ok_or(Failure(NO_MEMORY))?;
        let memory = &mut self.memory;
        marker.roots_alone(roots.words.as_slice());
        for range in roots.ranges.as_slice() {
            memory.each(range.start, range.end, range.manner, &mut |_, words| {
                marker.roots(words);
            })?;
            marker.follow(memory)?;
        }
        if !first {
            marker.held_blocks(memory)?;
        }
        if !self.lower_bound && !young::mark(&LIVE, self.epoch, &mut marker, memory)? {
            return Err(Failure(NO_MEMORY));
        }
        let regions = regions::read().ok_or(Failure(NO_MAPS))?;
        let now = threads::read(helper::tid(), &Caller::NOBODY).ok_or(Failure(NO_MAPS))?;
        let regions = regions.as_slice();
        stacks::woken(regions, threads, now.as_slice(), memory, &mut |words| {
            marker.roots(words);
        })?;
        marker.follow(memory)?;
        if memory.skipped_bytes > 0 {
            return Err(Failure(SWAPPED));
        }
        if notes.passes + 1 == POSSIBLE_PASSES {
            for range in roots.ranges.as_slice() {
                memory.each(range.start, range.end, range.manner, &mut |_, words| {
                    marker.odd_roots(words);
                })?;
            }
            marker.odd_blocks(memory)?;
        }
        Ok(marker.into_marks())
    }

    /// Says of what no pass has reached how it is lost.
    fn judge(mut self, marks: Marks, notes: &mut Notes) -> Result<Outcome, Failure> {
        if (self.order.interrupted)() {
            return Err(Failure(INTERRUPTED));
        }
        let regions = regions::read().ok_or(Failure(NO_MAPS))?;
        let marker = Marker::new(&self.index, regions.as_slice(), marks, false);
        let mut marker = marker.ok_or(Failure(NO_MEMORY))?;
        let memory = &mut self.memory;
        memory.forget();
        // Who was freed meanwhile, or grown, was held.
        for at in 0..self.index.len() as u32 {
            if marker.is_unreached(at)
                && let Some((addr, block)) = self.index.block(at)
                && !is_the_same(LIVE.get(addr), &block, self.epoch)
            {
                marker.root_block(at);
            }
        }
        marker.follow(memory)?;
        marker.lose_rest(memory)?;
        if notes.hidden > 0 {
            let mut excused = Room::zeroed(self.sites as usize + 1).ok_or(Failure(NO_MEMORY))?;
            marker.excuse_hidden(notes.hidden, &mut excused, memory)?;
        }
        let marks = marker.into_marks();
        Outcome::count(&self.index, &marks, self.sites, state::fork_epoch())
            .ok_or(Failure(NO_MEMORY))
    }
}

/// True if a block is still the one that the index knows.
fn is_the_same(now: Option<Block>, then: &Block, epoch: u32) -> bool {
    now.is_some_and(|now| now.epoch <= epoch && now.epoch == then.epoch && now.site == then.site)
}

/// Why a process cannot be scanned while it runs, as far as that is known beforehand.
pub fn why_not() -> Option<&'static [u8]> {
    check_permits()
        .and_then(|()| check_room())
        .err()
        .map(|Failure(why)| why)
}
