//! Owns what seccomp filters in force leave the library: hears what is lost, and tells whoever makes
//! such calls to do without. What one filter took no later one gives back.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::live::holder;
use crate::lock::WordLock;
use crate::permit::means::{
    ADVISE, ASK, COPY, DESCRIPTORS, EITHER, FENCE, MAP, Means, PROBE, SCAN, SIGNALS, SNAPSHOT,
    STAGING, UNMAP,
};
use crate::{arena, guard, helper, lock, permit, state, sys, unwind};

/// Held for the few instructions of a change, never over the host's call.
static LOCK: WordLock = WordLock::new();
/// Lost by filters that are in force.
static KEPT: AtomicU32 = AtomicU32::new(0);
/// Filters that are being installed. Until the last of them is in force or has failed, nothing is
/// given back.
static UNDER_WAY: AtomicU32 = AtomicU32::new(0);

/// A filter was in force before the library; helper and hooks are bound by it alike.
pub fn at_start(lost: Means) {
    KEPT.store(lost.bits(), Relaxed);
    apply(lost);
}

/// A filter is about to be installed that takes `lost`.
pub fn begin(lost: Means) {
    let _guard = LOCK.lock();
    UNDER_WAY.fetch_add(1, Relaxed);
    apply(permit::lost().and(lost));
}

/// The filter of a [`begin`] is in force and took `lost`, or none is (`NONE`).
pub fn end(lost: Means) {
    let _guard = LOCK.lock();
    let kept = KEPT.fetch_or(lost.bits(), Relaxed) | lost.bits();
    if UNDER_WAY.fetch_sub(1, Relaxed) == 1 {
        apply(Means::of_bits(kept));
    }
}

/// In a forked child: filters that other threads were installing are not in force here.
///
/// # Safety
/// Only the forking thread exists.
pub unsafe fn forget_in_child() {
    // SAFETY: passed on; what it guards is whole at every step.
    unsafe { LOCK.reset() };
    UNDER_WAY.store(0, Relaxed);
    apply(Means::of_bits(KEPT.load(Relaxed)));
}

fn apply(lost: Means) {
    permit::set_lost(lost);
    guard::QUIET.store(u32::from(lost.has(ASK)), Relaxed);
    lock::set_spin_only(lost.has(ASK));
    if lost.has(FENCE) {
        // As long as it can be done. From here on nobody holds anything.
        if holder::forbid() {
            // Who is just being given a group either sees that or is seen below.
            holder::fence_others();
            drop(state::LIVE.calm());
        }
    } else {
        holder::allow(true);
    }
    arena::forbid_mmap(lost.has(MAP));
    arena::forbid_munmap(lost.has(UNMAP));
    arena::forbid_advice(lost.has(ADVISE));
    unwind::forbid_probe(lost.has(PROBE));
    sys::forbid_copying(lost.has(PROBE.and(COPY)));
    sys::forbid_blocking_signals(lost.has(SIGNALS));
    if lost.has(DESCRIPTORS) {
        sys::keep_descriptor_table();
    }
    if lost.has(EITHER) {
        sys::keep_to_single_waits();
    }
    if !helper::is_running() {
        permit::set_open(!lost.has(SNAPSHOT));
        permit::set_scan(!lost.has(SCAN));
        permit::set_staging(!lost.has(STAGING));
    }
    permit::set_copy_memory(!lost.has(COPY));
}
