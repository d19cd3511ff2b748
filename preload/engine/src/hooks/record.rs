//! Owns the two steps that all hooks share: write down a new block, forget an old one.
//!
//! Called with the guard in phase `OURS`; neither calls anything outside the engine.

use core::sync::atomic::Ordering::Relaxed;

use leaktrack_recording::Call;

use crate::live::{Block, Insert};
use crate::sampler::{self, EXACT, filter, weight};
use crate::sites::Kind;
use crate::state::{self, LIVE};
use crate::thread::{Borrowed, ThreadState};
use crate::tls::Local;
use crate::unwind::{self, Entry, Walked};
use crate::{guard, modules, sites, thread};

/// Finds the site of the call that entered at `entry`; 0 when there is no memory for it. What was
/// called is only looked at where the stack was not met before.
#[inline(always)]
pub fn site(t: &Local, entry: Entry, kind: Kind, call: Call) -> u32 {
    let Some(mut borrowed) = Borrowed::get(t) else {
        return 0;
    };
    let thread = borrowed.state();
    let (scratch, depth) = (&mut thread.scratch, state::depth());
    // SAFETY: `entry` was taken at the hook's first instruction and the hook has not returned.
    match unsafe { unwind::walk_quickly(scratch, &entry, depth, kind as u64) } {
        Walked::Site(site) => return site,
        Walked::Hash(hash, asked) => {
            let site = sites::find(hash, kind);
            if site != 0 {
                if let Some(asked) = asked {
                    // SAFETY: as above.
                    unsafe { unwind::note_site(scratch, &entry, depth, asked, site) };
                }
                return site;
            }
        }
        Walked::Unknown => {}
    }
    // SAFETY: as above.
    unsafe { site_by_frames(thread, entry, kind, call) }
}

/// The site of a stack that was not met before, or is not of the usual kind.
///
/// # Safety
/// As for [`unwind::capture`].
#[cold]
#[inline(never)]
unsafe fn site_by_frames(thread: &mut ThreadState, entry: Entry, kind: Kind, call: Call) -> u32 {
    let tid = thread.tid;
    let generation = modules::generation();
    // SAFETY: passed on to the caller.
    let stack = unsafe { unwind::capture(&mut thread.scratch, entry, state::depth()) };
    let site = sites::intern(&stack, kind, call, state::now_ms(), tid);
    if site != 0 || modules::generation() == generation {
        return site;
    }
    // The stack led through an object that was replaced unannounced: now it is known.
    // SAFETY: passed on to the caller.
    let stack = unsafe { unwind::capture(&mut thread.scratch, entry, state::depth()) };
    sites::intern(&stack, kind, call, state::now_ms(), tid)
}

/// Records a block that the allocator has just returned.
#[inline(always)]
pub fn record(t: &Local, addr: usize, size: usize, entry: Entry, call: Call) {
    if state::fast() {
        record_as(t, addr, size, entry, call, EXACT);
    } else {
        record_if_chosen(t, addr, size, entry, call);
    }
}

/// Records a block unless nothing new is recorded at the moment, or it is not among those sampled.
#[cold]
#[inline(never)]
fn record_if_chosen(t: &Local, addr: usize, size: usize, entry: Entry, call: Call) {
    if state::is_paused() {
        return; // `realloc` comes here all the same: it has forgotten the old block.
    }
    if !sampler::is_on() {
        record_as(t, addr, size, entry, call, EXACT);
        return;
    }
    let start = sampler::budget::start();
    if let Some(class) = sampler::chooses(t, size) {
        // The free of a block that was not sampled may have unmapped a stack that was verified.
        unwind::note_unmap();
        record_as(t, addr, size, entry, call, class);
        sampler::spent(t, start);
    }
}

/// Records a block that stands for what its class and size say.
#[inline(always)]
fn record_as(t: &Local, addr: usize, size: usize, entry: Entry, call: Call, class: u8) {
    LIVE.prefetch(addr);
    let site = site(t, entry, Kind::Heap, call);
    let block = Block {
        size: size as u64,
        site,
        epoch: state::epoch(),
        class,
    };
    if site != 0
        && class == EXACT
        && let Some((holder, counts)) = thread::hands(t)
        && LIVE.insert_quickly(Some(holder), addr, &block)
    {
        filter::note_insert(addr);
        counts.add_alloc(addr, site, size as u64);
        return;
    }
    record_slowly(t, addr, block);
}

/// Records a block in any case.
#[inline(never)]
fn record_slowly(t: &Local, addr: usize, block: Block) {
    let Block {
        site, size, class, ..
    } = block;
    if site == 0 {
        state::COVERAGE
            .dropped
            .fetch_add(weight_of(addr, &block), Relaxed);
        return;
    }
    match LIVE.insert_by(thread::holder(t), addr, block) {
        Insert::New => {}
        Insert::Replaced(old) => {
            state::COVERAGE.replaced.fetch_add(1, Relaxed);
            settle(t, addr, old);
        }
        Insert::Refused => {
            state::COVERAGE
                .dropped
                .fetch_add(weight_of(addr, &block), Relaxed);
            return;
        }
    }
    filter::note_insert(addr);
    if class != EXACT {
        if let Some(c) = sites::counters(site) {
            let weight = weight_of(addr, &block);
            let bytes = weight.saturating_mul(size);
            sampler::note_allocated(t, weight, bytes);
            c.add_allocs(weight, bytes);
            sites::sizes::note(site, size, weight);
        }
        return;
    }
    match thread::hands(t) {
        Some((_, counts)) => counts.add_alloc(addr, site, size),
        None => {
            if let Some(c) = sites::counters(site) {
                c.add_alloc(size);
            }
            sites::sizes::note(site, size, 1);
        }
    }
}

/// How many blocks it stands for.
#[inline(always)]
fn weight_of(addr: usize, block: &Block) -> u64 {
    weight::weight(block.class, block.size, addr)
}

/// Takes a block that is being freed out of the live table.
#[inline(always)]
pub fn forget(t: &Local, addr: usize) -> Option<Block> {
    let counts = filter::counts_removals();
    let block = LIVE.remove_by(thread::holder(t), addr)?;
    if counts {
        filter::note_remove(addr);
    }
    Some(block)
}

/// Forgets a block that is being freed and counts it as gone, in the usual case; `None` where there is
/// more to do, or no such block: nothing was done.
#[inline(always)]
pub fn forget_quickly(t: &Local, addr: usize) -> Option<Block> {
    let is_noted = filter::counts_removals();
    let (holder, counts) = thread::hands(t)?;
    let block = LIVE.remove_quickly(Some(holder), addr)?;
    if is_noted {
        filter::note_remove(addr);
    }
    if block.class == EXACT && block.epoch > state::fork_epoch() {
        counts.add_free(addr, block.site, block.size);
        note_age(&block);
    } else {
        settle_slowly(t, addr, block);
    }
    Some(block)
}

/// As [`settle`].
#[cold]
#[inline(never)]
fn settle_slowly(t: &Local, addr: usize, block: Block) {
    settle(t, addr, block);
}

/// Counts how old a block became.
#[inline(always)]
fn note_age(block: &Block) {
    let age = state::epoch().wrapping_sub(block.epoch);
    // Most blocks are freed in the epoch of their birth, which needs no count.
    if age != 0 {
        sites::lifetimes::note(block.site, age);
    }
}

/// Puts back a block that was not freed after all.
pub fn restore(t: &Local, addr: usize, block: Block) {
    let _ = LIVE.insert_by(thread::holder(t), addr, block);
    filter::note_insert(addr);
    state::note_put_back();
}

/// Counts a block as gone. Blocks inherited by fork are the parent's: they are counted apart.
#[inline(always)]
pub fn settle(t: &Local, addr: usize, block: Block) {
    let weight = weight_of(addr, &block);
    let bytes = block.size.saturating_mul(weight);
    if block.epoch <= state::fork_epoch() {
        let coverage = &state::COVERAGE;
        coverage.inherited_freed_blocks.fetch_add(weight, Relaxed);
        coverage.inherited_freed_bytes.fetch_add(bytes, Relaxed);
        return;
    }
    if block.class != EXACT {
        if let Some(c) = sites::counters(block.site) {
            sampler::note_freed(t, weight);
            c.add_frees(weight, bytes);
        }
        return;
    }
    match thread::hands(t) {
        Some((_, counts)) => counts.add_free(addr, block.site, block.size),
        None => {
            if let Some(c) = sites::counters(block.site) {
                c.add_free(block.size);
            }
        }
    }
    note_age(&block);
}

/// Leaves the guard and carries out the frees that signal handlers left behind meanwhile.
#[inline(always)]
pub fn leave(t: &Local) {
    guard::leave(t);
    if t.deferred.load(Relaxed) != 0 {
        super::heap::free_deferred(t);
    }
}
