//! Owns the process-wide state that hooks, helper and snapshots share. Plain atomics and tables;
//! it decides nothing.

use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

use leaktrack_recording::Coverage;

use crate::live::{EPOCH_MAX, LiveTable};
use crate::mappings::MappingTable;
use crate::{hooks, sampler, sys, wiped};

/// Every live block of the malloc family.
pub static LIVE: LiveTable = LiveTable::new();

/// Every mapping that the program made itself.
pub static MAPPINGS: MappingTable = MappingTable::new();

/// What an allocator other than glibc's has mapped, as far as it calls for it.
pub static HELD: MappingTable = MappingTable::new();

/// Events that could not be recorded, cumulative.
pub static COVERAGE: CoverageCounters = CoverageCounters::new();

/// Calls are recorded.
static TRACKING: AtomicBool = AtomicBool::new(false);
/// Hooks must look for something else to do.
static DUE: AtomicBool = AtomicBool::new(false);
/// Frees are followed, new blocks are not recorded.
static PAUSED: AtomicBool = AtomicBool::new(false);
/// Recording was paused at some time.
static WAS_PAUSED: AtomicBool = AtomicBool::new(false);
/// See [`was_usable_size_asked`].
static USABLE_SIZE_ASKED: AtomicBool = AtomicBool::new(false);
/// Snapshot counter: the time unit of the live table.
static EPOCH: AtomicU32 = AtomicU32::new(1);
/// The last epoch of the parent; 0 in a process that was not forked from a recorded one.
static FORK_EPOCH: AtomicU32 = AtomicU32::new(0);
/// See [`put_back`].
static PUT_BACK: AtomicU64 = AtomicU64::new(0);
static DEPTH: AtomicU32 = AtomicU32::new(128);
static NOW_MS: AtomicU64 = AtomicU64::new(0);
static STARTED_NS: AtomicU64 = AtomicU64::new(0);
/// The process whose memory this is; a child by `vfork` or a raw `clone` sees another pid.
static PID: AtomicU32 = AtomicU32::new(0);
/// Bytes by which the program itself moved the break: a total of this process.
static BRK_BYTES: AtomicU64 = AtomicU64::new(0);
/// See [`was_break_moved`].
static BREAK_MOVED: AtomicBool = AtomicBool::new(false);

/// True while calls are recorded.
#[inline(always)]
pub fn tracking() -> bool {
    TRACKING.load(Relaxed)
}

/// True while calls are recorded and nothing else is due. Never in a copy of the process before it
/// was noticed.
#[inline(always)]
pub fn fast() -> bool {
    wiped::fast()
}

/// Switches recording; `due`: hooks must look for something else to do (`lifecycle::hook_called`).
pub fn set_tracking(on: bool, due: bool) {
    TRACKING.store(on, Relaxed);
    DUE.store(due, Relaxed);
    choose_path();
}

/// True while new blocks are not recorded (`mode=dormant`, `leaktrack disable`).
#[inline(always)]
pub fn is_paused() -> bool {
    PAUSED.load(Relaxed)
}

/// True if recording was paused at some time: then not every live block is known.
pub fn was_paused() -> bool {
    WAS_PAUSED.load(Relaxed)
}

/// True if the program has asked how much of a block it may use: it may use more than it asked for.
pub fn was_usable_size_asked() -> bool {
    USABLE_SIZE_ASKED.load(Relaxed)
}

/// The program asks that.
pub fn note_usable_size_asked() {
    if !was_usable_size_asked() {
        USABLE_SIZE_ASKED.store(true, Relaxed);
    }
}

/// True if the program, or the one it was forked from, has moved the break itself: a part of the break may be
/// the program's own from then on.
pub fn was_break_moved() -> bool {
    BREAK_MOVED.load(Relaxed)
}

/// The program has moved the break by so many bytes, up or (as a wrapped number) down.
pub fn note_break_moved(by_bytes: u64) {
    if by_bytes == 0 {
        return; // asked where it is
    }
    BREAK_MOVED.store(true, Relaxed);
    if tracking() {
        BRK_BYTES.fetch_add(by_bytes, Relaxed);
    }
}

/// Bytes by which this process has moved the break while it was recorded.
pub fn brk_bytes() -> u64 {
    BRK_BYTES.load(Relaxed)
}

/// In a forked child: the total is its own, what lies in the break is not.
pub fn forget_brk_bytes() {
    BRK_BYTES.store(0, Relaxed);
}

/// Stops recording new blocks, or begins again.
pub fn set_paused(on: bool) {
    PAUSED.store(on, Relaxed);
    WAS_PAUSED.fetch_or(on, Relaxed);
    choose_path();
}

/// True while hooks must look for something else to do.
pub fn is_due() -> bool {
    DUE.load(Relaxed)
}

/// Chooses the way of the hooks anew, after something that it depends on has changed.
///
/// Threads may do so at the same time: each looks again after it has stored what it chose, so that a
/// late one leaves no choice of yesterday.
pub fn choose_path() {
    let now = || {
        let samples = (sampler::is_on(), sampler::filter::is_on());
        (tracking(), is_due(), is_paused(), samples)
    };
    loop {
        let chosen = now();
        let (tracking, due, paused, (sampled, _)) = chosen;
        wiped::set_fast(tracking && !due && !paused && !sampled);
        hooks::entry::choose();
        fence(SeqCst);
        if now() == chosen {
            return;
        }
    }
}

/// The current epoch.
#[inline(always)]
pub fn epoch() -> u32 {
    EPOCH.load(Relaxed)
}

/// A process that begins with fewer epochs before it counts anew.
const LEAST_EPOCHS: u32 = 1 << 14;

/// How many epochs come after this one.
pub fn epochs_left(epoch: u32) -> u32 {
    EPOCH_MAX.saturating_sub(epoch)
}

/// Begins the next epoch; returns it. The last one stays.
pub fn next_epoch() -> u32 {
    let next = epoch().saturating_add(1).min(EPOCH_MAX);
    EPOCH.store(next, Relaxed);
    next
}

/// Blocks born in this epoch or before were inherited by fork.
#[inline(always)]
pub fn fork_epoch() -> u32 {
    FORK_EPOCH.load(Relaxed)
}

/// Old blocks that were taken out of the live table for `realloc` and put back, in all.
pub fn put_back() -> u64 {
    // Acquire pairs with the release in `note_put_back`.
    PUT_BACK.load(Acquire)
}

/// One more was put back.
pub fn note_put_back() {
    // Release: who sees the count finds the block in the table.
    PUT_BACK.fetch_add(1, Release);
}

/// In a forked child, alone: what is live now is inherited.
///
/// Epochs go on from the parent's, so that nothing has to be written into the tables. After
/// generations without end they would run out; then counting begins anew, at the price of a table
/// of its own for the child.
pub fn begin_child_epoch() {
    if epochs_left(epoch()) < LEAST_EPOCHS {
        LIVE.forget_births();
        MAPPINGS.forget_births();
        EPOCH.store(1, Relaxed);
    }
    FORK_EPOCH.store(epoch(), Relaxed);
    next_epoch();
}

/// Frames kept of a stack.
#[inline(always)]
pub fn depth() -> usize {
    DEPTH.load(Relaxed) as usize
}

/// Sets the frames kept of a stack.
pub fn set_depth(frames: u32) {
    DEPTH.store(frames, Relaxed);
}

/// Milliseconds since recording began, as of the last tick: cheap and a little late.
#[inline(always)]
pub fn now_ms() -> u64 {
    NOW_MS.load(Relaxed)
}

/// Begins the clock of this process's recording at the present moment.
pub fn start_clock() {
    STARTED_NS.store(sys::clock_ns(sys::clock::MONOTONIC), Relaxed);
    NOW_MS.store(0, Relaxed);
}

/// `CLOCK_MONOTONIC` at the start of recording.
pub fn started_ns() -> u64 {
    STARTED_NS.load(Relaxed)
}

/// Reads the clock and moves [`now_ms`] on; milliseconds since recording began.
pub fn tick() -> u64 {
    let ns = sys::clock_ns(sys::clock::MONOTONIC).saturating_sub(started_ns());
    let ms = ns / 1_000_000;
    NOW_MS.fetch_max(ms, Relaxed);
    ms
}

/// The process that is recorded.
pub fn pid() -> u32 {
    PID.load(Relaxed)
}

/// Sets the process that is recorded.
pub fn set_pid(pid: u32) {
    PID.store(pid, Relaxed);
}

/// True in the recorded process itself; false in a child by `vfork` or raw `clone` that shares or
/// copied this memory without our knowing.
pub fn in_recorded_process() -> bool {
    sys::getpid() == pid()
}

/// Counters behind [`Coverage`].
#[allow(missing_docs)]
pub struct CoverageCounters {
    pub unknown_frees: AtomicU64,
    pub dropped: AtomicU64,
    pub nested: AtomicU64,
    pub replaced: AtomicU64,
    pub cut_stacks: AtomicU64,
    pub folded_stacks: AtomicU64,
    pub broken_stacks: AtomicU64,
    pub inherited_freed_blocks: AtomicU64,
    pub inherited_freed_bytes: AtomicU64,
}

impl CoverageCounters {
    const fn new() -> Self {
        CoverageCounters {
            unknown_frees: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            nested: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            cut_stacks: AtomicU64::new(0),
            folded_stacks: AtomicU64::new(0),
            broken_stacks: AtomicU64::new(0),
            inherited_freed_blocks: AtomicU64::new(0),
            inherited_freed_bytes: AtomicU64::new(0),
        }
    }

    /// The counters now.
    pub fn read(&self) -> Coverage {
        Coverage {
            unknown_frees: self.unknown_frees.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            nested: self.nested.load(Relaxed),
            replaced: self.replaced.load(Relaxed),
            cut_stacks: self.cut_stacks.load(Relaxed),
            folded_stacks: self.folded_stacks.load(Relaxed),
            broken_stacks: self.broken_stacks.load(Relaxed),
            inherited_freed_blocks: self.inherited_freed_blocks.load(Relaxed),
            inherited_freed_bytes: self.inherited_freed_bytes.load(Relaxed),
        }
    }

    /// Back to zero, in a forked child.
    pub fn reset(&self) {
        for c in [
            &self.unknown_frees,
            &self.dropped,
            &self.nested,
            &self.replaced,
            &self.cut_stacks,
            &self.folded_stacks,
            &self.broken_stacks,
            &self.inherited_freed_blocks,
            &self.inherited_freed_bytes,
        ] {
            c.store(0, Relaxed);
        }
    }
}
