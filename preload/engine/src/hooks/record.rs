//! Owns the two steps that all hooks share: write down a new block, forget an old one.
//!
//! Called with the guard in phase `OURS`; neither calls anything outside the engine.

use core::sync::atomic::Ordering::Relaxed;

use leaktrack_recording::Call;

use crate::live::{Block, Insert, Place, Taken};
use crate::sampler::{self, EXACT, filter, weight};
use crate::sites::Kind;
use crate::state::{self, LIVE};
use crate::thread::{Borrowed, Own, ThreadState};
use crate::tls::Local;
use crate::unwind::{self, Entry, Walked};
use crate::{guard, modules, sites, thread};

/// Finds the site of the call that entered at `entry`; 0 when there is no memory for it. What was
/// called is only looked at where the stack was not met before.
#[inline(always)]
pub fn site(t: &Local, entry: Entry, kind: Kind, call: Call) -> u32 {
    if let Some(mut own) = thread::own(t) {
        // SAFETY: the guard is held, and this borrow ends here. `entry` was taken at the hook's first
        // instruction and the hook has not returned.
        let site = unsafe { unwind::recall(own.scratch(), &entry, kind as u64) };
        if site != 0 {
            return site;
        }
    }
    // SAFETY: as above.
    unsafe { site_by_walk(t, entry, kind, call) }
}

/// As [`site`], by walking the stack.
///
/// # Safety
/// As for [`unwind::capture`].
#[inline(always)]
unsafe fn site_by_walk(t: &Local, entry: Entry, kind: Kind, call: Call) -> u32 {
    let Some(mut borrowed) = Borrowed::get(t) else {
        return 0;
    };
    let thread = borrowed.state();
    let (scratch, depth) = (&mut thread.scratch, state::depth());
    // SAFETY: passed on to the caller.
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
#[inline]
pub fn record(t: &Local, addr: usize, size: usize, entry: Entry, call: Call) {
    if state::fast() {
        record_exactly(t, addr, size, entry, call);
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
        record_exactly(t, addr, size, entry, call);
        return;
    }
    let start = sampler::budget::start();
    if let Some(class) = sampler::chooses(t, size) {
        // The free of a block that was not sampled may have unmapped a stack that was verified.
        unwind::note_unmap();
        record_by_walk(t, addr, size, entry, call, class);
        sampler::spent(t, start);
    }
}

/// Records a block that stands for itself alone. Where its stack is remembered and the block is small,
/// as nearly always, that is one straight way without a call.
#[inline(always)]
pub fn record_exactly(t: &Local, addr: usize, size: usize, entry: Entry, call: Call) {
    let (Some(place), Some(mut own)) = (LIVE.place(addr), thread::own(t)) else {
        return record_by_walk(t, addr, size, entry, call, EXACT);
    };
    place.prefetch();
    // SAFETY: the guard is held, and this borrow ends here. `entry` was taken at the hook's first
    // instruction and the hook has not returned.
    let site = unsafe { unwind::recall(own.scratch(), &entry, Kind::Heap as u64) };
    if site == 0 {
        return record_at_by_walk(t, place, addr, size, entry, call);
    }
    let block = exact(size, site);
    if !insert_and_count(own, place, addr, &block) {
        record_slowly(t, addr, block);
    }
}

/// A block that is born now and stands for itself alone.
#[inline(always)]
fn exact(size: usize, site: u32) -> Block {
    Block {
        size: size as u64,
        site,
        epoch: state::epoch(),
        class: EXACT,
    }
}

/// Puts a block that stands for itself alone into the live table and counts it, in the usual case;
/// false where there is more to do: nothing was done.
#[inline(always)]
fn insert_and_count(own: Own<'_>, place: Place<'_>, addr: usize, block: &Block) -> bool {
    let (holder, counts) = own.hands();
    let done = LIVE.insert_at(place, holder, block);
    if done {
        filter::note_insert(addr);
        counts.add_alloc(addr, block.site, block.size);
    }
    done
}

/// As [`record_exactly`], where the stack has to be walked.
#[inline(never)]
fn record_at_by_walk(
    t: &Local,
    place: Place<'_>,
    addr: usize,
    size: usize,
    entry: Entry,
    call: Call,
) {
    // SAFETY: `entry` was taken at the hook's first instruction and the hook has not returned.
    let site = unsafe { site_by_walk(t, entry, Kind::Heap, call) };
    let block = exact(size, site);
    if site != 0
        && let Some(own) = thread::own(t)
        && insert_and_count(own, place, addr, &block)
    {
        return;
    }
    record_slowly(t, addr, block);
}

/// Records a block that stands for what its class and size say.
#[cold]
#[inline(never)]
fn record_by_walk(t: &Local, addr: usize, size: usize, entry: Entry, call: Call, class: u8) {
    // SAFETY: `entry` was taken at the hook's first instruction and the hook has not returned.
    let site = unsafe { site_by_walk(t, entry, Kind::Heap, call) };
    let block = Block {
        class,
        ..exact(size, site)
    };
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

/// Forgets a block that is being freed and counts it as gone, in the usual case: a small one. False
/// where there is more to do, or no such block: nothing was done.
#[inline(always)]
pub fn forget_quickly(t: &Local, addr: usize) -> bool {
    let is_noted = filter::counts_removals();
    let Some((holder, counts)) = thread::hands(t) else {
        return false;
    };
    let Some(taken) = LIVE.remove_quickly(Some(holder), addr) else {
        return false;
    };
    if is_noted {
        filter::note_remove(addr);
    }
    // No block that was inherited by fork is of this epoch.
    if taken.is_exact_of(state::epoch()) {
        let block = taken.block();
        counts.add_free(addr, block.site, block.size);
        if !state::fast() {
            count_free(t, EXACT);
        }
    } else {
        settle_older(t, addr, taken);
    }
    true
}

/// Counts a block as gone that was not born in this epoch, or stands for more than itself.
#[inline(never)]
fn settle_older(t: &Local, addr: usize, taken: Taken) {
    let block = taken.block();
    settle(t, addr, block);
    count_free(t, block.class);
}

/// Counts the free of a block for the exact totals, where its site's counters only estimate.
#[inline]
pub fn count_free(t: &Local, class: u8) {
    if !state::fast() && sampler::is_on() {
        if class == EXACT {
            sampler::count_exact_free(t);
        } else {
            sampler::count_free(t);
        }
    }
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
