//! Owns the filter that tells, without a lock, that a block was not sampled.
//!
//! One byte counts the known blocks whose addresses share it. It is chosen by the address itself,
//! 16 bytes of heap a byte, so that the part in use is as warm as the heap is; the filter wraps
//! around every 16 MiB. Zero means: not known. Anything else means: look.
//!
//! A counter never misses a block. An insert follows the block's entry in the live table and comes
//! before the program learns the address; a removal follows the removal there, which happens once
//! for each block. What reaches 255 stays there.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use crate::arena::PAGE_BYTES;
use crate::live::LiveTable;
use crate::sys;

const SLOTS: usize = 1 << 20;
const STUCK: u8 = u8::MAX;
/// Blocks are aligned to this.
const GRAIN_BITS: u32 = 4;

/// Not kept.
const OFF: u32 = 0;
/// Being filled: inserts count, removals do not, since their block may not have been counted.
const FILLING: u32 = 1;
/// Every known block is counted.
const ON: u32 = 2;

static PHASE: AtomicU32 = AtomicU32::new(OFF);
static COUNTS: [AtomicU8; SLOTS] = [const { AtomicU8::new(0) }; SLOTS];

/// Keeps the counters out of the host's core dumps: they are the library's static data, which the
/// kernel takes for the host's.
pub fn keep_out_of_dumps() {
    const MADV_DONTDUMP: i32 = 16;
    let (start, end) = (COUNTS.as_ptr().addr(), COUNTS.as_ptr().addr() + SLOTS);
    let start = start.next_multiple_of(PAGE_BYTES);
    let bytes = (end / PAGE_BYTES * PAGE_BYTES).saturating_sub(start);
    let page = core::ptr::with_exposed_provenance_mut(start);
    // SAFETY: whole pages of our own; the advice changes nothing in them. Refused, dumps are larger.
    let _ = unsafe { sys::madvise(page, bytes, MADV_DONTDUMP) };
}

#[inline(always)]
fn slot(addr: usize) -> &'static AtomicU8 {
    let at = addr >> GRAIN_BITS & (SLOTS - 1);
    // SAFETY: a remainder by the number of slots.
    unsafe { COUNTS.get_unchecked(at) }
}

/// False if no known block lies at `addr`.
#[inline(always)]
pub fn may_know(addr: usize) -> bool {
    slot(addr).load(Relaxed) != 0
}

/// True once [`may_know`] can be relied on.
pub fn is_on() -> bool {
    PHASE.load(Relaxed) == ON
}

/// Counts every block of the table and from then on every one that is inserted. `stuck`: ranges that
/// are always to be looked at.
pub fn fill(table: &LiveTable, stuck: core::ops::Range<usize>) {
    // Null too: what is done with it is not a free.
    slot(0).store(STUCK, Relaxed);
    for addr in stuck.step_by(1 << GRAIN_BITS) {
        slot(addr).store(STUCK, Relaxed);
    }
    // The table's locks, which the walk takes one by one, order this store for whoever inserts
    // behind the walk.
    PHASE.store(FILLING, Relaxed);
    table.for_each(|addr, _| add(addr));
    PHASE.store(ON, Relaxed);
}

/// A block was put into the live table.
#[inline]
pub fn note_insert(addr: usize) {
    if PHASE.load(Relaxed) != OFF {
        add(addr);
    }
}

/// To be asked before a removal from the live table: true if [`note_remove`] is due after it.
#[inline]
pub fn counts_removals() -> bool {
    is_on()
}

/// A block was taken out of the live table.
#[inline]
pub fn note_remove(addr: usize) {
    let less = |count: u8| (count != STUCK).then(|| count.saturating_sub(1));
    let _ = slot(addr).fetch_update(Relaxed, Relaxed, less);
}

fn add(addr: usize) {
    let more = |count: u8| Some(count.saturating_add(1));
    let _ = slot(addr).fetch_update(Relaxed, Relaxed, more);
}

/// Blocks are not counted any more: the live table is to be asked.
pub fn give_up() {
    PHASE.store(OFF, Relaxed);
}
