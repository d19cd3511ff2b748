//! Owns where large blocks and mappings are and were: the live table knows blocks by their start
//! only, and what is mapped, touched and given back at once is gone when its faults are read.
//!
//! Hooks write here; only blocks from [`LARGE_BYTES`] on come here, whose allocation costs the kernel
//! far more. It must never be called with a lock held.

use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed,
};

use crate::live::Block;
use crate::mappings::{Mapping, MappingTable};
use crate::permit::{self, means::ASK};
use crate::sys;

/// Blocks from here on are kept as ranges.
pub const LARGE_BYTES: u64 = 64 << 10;
const PAGE_BYTES: usize = 4096;
/// Ranges that are remembered after their end.
const GRAVES: usize = 2048;

/// The whole pages of live large blocks.
static LIVE: MappingTable = MappingTable::new();
static ENABLED: AtomicBool = AtomicBool::new(false);

/// A range that was given back. `number` is odd while it is written, else twice its turn plus 2.
struct Grave {
    number: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    site: AtomicU32,
    at_ns: AtomicU64,
}

static NEXT: AtomicUsize = AtomicUsize::new(0);
static DEAD: [Grave; GRAVES] = [const {
    Grave {
        number: AtomicUsize::new(0),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        site: AtomicU32::new(0),
        at_ns: AtomicU64::new(0),
    }
}; GRAVES];

/// Switches the keeping of ranges.
pub fn enable(on: bool) {
    ENABLED.store(on, Relaxed);
}

/// The whole pages within a block: neighbours never share any.
fn inner_pages(addr: usize, bytes: u64) -> Option<(usize, usize)> {
    let start = addr.checked_next_multiple_of(PAGE_BYTES)?;
    let end = addr.checked_add(usize::try_from(bytes).ok()?)? & !(PAGE_BYTES - 1);
    (start < end).then(|| (start, end - start))
}

/// A large block was allocated.
#[cold]
pub fn born(addr: usize, block: &Block) {
    if let Some((start, len)) = inner_pages(addr, block.size).filter(|_| ENABLED.load(Relaxed)) {
        let signals = sys::block_signals();
        LIVE.insert(start, len, block.site, block.epoch, &mut |_, _| {});
        sys::restore_signals(signals);
    }
}

/// A large block is about to be freed.
#[cold]
pub fn died(addr: usize, block: &Block) {
    if !ENABLED.load(Relaxed) {
        return;
    }
    if let Some((start, len)) = inner_pages(addr, block.size) {
        let signals = sys::block_signals();
        LIVE.remove(start, len, &mut |_, _| {});
        sys::restore_signals(signals);
    }
    bury(addr, addr.saturating_add(block.size as usize), block.site);
}

/// A mapping, or a piece of one, is about to be unmapped.
pub fn unmapped(piece: &Mapping) {
    if let Some(site) = piece.known_site().filter(|_| ENABLED.load(Relaxed)) {
        bury(piece.start, piece.end, site);
    }
}

fn bury(start: usize, end: usize, site: u32) {
    // A seccomp filter may kill whoever asks for the time.
    if !permit::allows(ASK) {
        return;
    }
    let turn = NEXT.fetch_add(1, Relaxed);
    let Some(grave) = DEAD.get(turn % GRAVES) else {
        return;
    };
    // Pairs with the acquire in `owner_at`: whoever sees one of the fields sees that they change.
    grave.number.store(turn * 2 + 1, Ordering::Relaxed);
    core::sync::atomic::fence(Ordering::Release);
    grave.start.store(start, Relaxed);
    grave.end.store(end, Relaxed);
    grave.site.store(site, Relaxed);
    grave
        .at_ns
        .store(sys::clock_ns(sys::clock::MONOTONIC), Relaxed);
    // Release pairs with the acquire in `owner_at`: the fields are written.
    grave.number.store(turn * 2 + 2, Ordering::Release);
}

/// The number of ranges given back so far.
pub fn buried() -> usize {
    NEXT.load(Relaxed)
}

/// The site whose range held `addr` at `time_ns` and was given back since, among those given back
/// from number `from` on: the first to go after that time.
pub fn owner_at(addr: usize, time_ns: u64, from: usize) -> Option<u32> {
    let to = NEXT.load(Relaxed);
    let mut from = from.max(to.saturating_sub(GRAVES));
    // They go in the order of time: skip those before.
    let mut step = (to - from).next_power_of_two();
    while step > 0 {
        let at = DEAD
            .get((from + step) % GRAVES)
            .map(|g| g.at_ns.load(Relaxed));
        if from + step < to && at.is_some_and(|at_ns| at_ns < time_ns) {
            from += step;
        }
        step /= 2;
    }
    for turn in from..to {
        let grave = DEAD.get(turn % GRAVES)?;
        if addr < grave.start.load(Relaxed) || addr >= grave.end.load(Relaxed) {
            continue;
        }
        // Acquire pairs with the release in `bury`.
        let before = grave.number.load(Ordering::Acquire);
        let (start, end) = (grave.start.load(Relaxed), grave.end.load(Relaxed));
        let (site, at_ns) = (grave.site.load(Relaxed), grave.at_ns.load(Relaxed));
        core::sync::atomic::fence(Ordering::Acquire);
        let whole = before == turn * 2 + 2 && grave.number.load(Relaxed) == before;
        if whole && (start..end).contains(&addr) && at_ns >= time_ns {
            return Some(site);
        }
    }
    None
}

/// The site of the live large block whose whole pages hold `addr`.
pub fn owner(addr: usize) -> Option<u32> {
    LIVE.get(addr).map(|mapping| mapping.site)
}

/// In a forked child, alone.
///
/// # Safety
/// As [`MappingTable::abandon_in_child`].
pub unsafe fn abandon_in_child() {
    ENABLED.store(false, Relaxed);
    // SAFETY: passed on.
    unsafe { LIVE.abandon_in_child() }
}
