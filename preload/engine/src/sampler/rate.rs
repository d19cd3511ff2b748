//! Owns the mean in force: the coarser of what `mode=` asks for and what memory has room for.
//!
//! Hooks read it when they draw. It is changed by the constructor, by the helper, and by a hook that
//! finds memory or the budget spent; all of it is plain stores, so that any hook may.

use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::weight::{self, EXACT, FINEST};

/// What the mode asks for; [`EXACT`]: every block.
static WANTED: AtomicU32 = AtomicU32::new(EXACT as u32);
/// What memory has room for; [`EXACT`]: every block.
static ROOM_FOR: AtomicU32 = AtomicU32::new(EXACT as u32);
/// In force; [`EXACT`]: every block is recorded. Never that again once it was something else.
static CLASS: AtomicU32 = AtomicU32::new(EXACT as u32);
/// The largest mean that ever was in force, in bytes.
static COARSEST: AtomicU64 = AtomicU64::new(0);

/// True once blocks are sampled.
#[inline(always)]
pub fn is_on() -> bool {
    CLASS.load(Relaxed) != u32::from(EXACT)
}

/// The class in force.
pub fn class() -> u8 {
    // Pairs with the release in `apply`: the mean of a new class is there.
    CLASS.load(Acquire) as u8
}

/// The largest mean so far in bytes; 0 if blocks were never sampled.
pub fn coarsest_bytes() -> u64 {
    COARSEST.load(Relaxed)
}

/// What the mode asks for.
pub fn wanted() -> u8 {
    WANTED.load(Relaxed) as u8
}

/// Sets what the mode asks for.
pub fn want(class: u8) {
    WANTED.store(class.into(), Relaxed);
    apply();
}

/// Changes what the mode asks for unless another thread has done so meanwhile.
pub fn want_instead(before: u8, class: u8) {
    let changed = WANTED.compare_exchange(before.into(), class.into(), Relaxed, Relaxed);
    if changed.is_ok() {
        apply();
    }
}

/// What memory has room for.
pub fn room_for() -> u8 {
    ROOM_FOR.load(Relaxed) as u8
}

/// Sets what memory has room for.
pub fn set_room_for(class: u8) {
    ROOM_FOR.store(class.into(), Relaxed);
    apply();
}

fn apply() {
    // Two threads may change one thing each: whoever comes last sees both.
    loop {
        let (wanted, room_for) = (wanted(), room_for());
        let class = match (weight::coarser(wanted, room_for), is_on()) {
            (EXACT, false) => return,
            (EXACT, true) => FINEST,
            (class, _) => class,
        };
        COARSEST.fetch_max(weight::mean_of(class), Relaxed);
        // Pairs with the acquire in `class`.
        CLASS.store(class.into(), Release);
        if (wanted, room_for) == (self::wanted(), self::room_for()) {
            return;
        }
    }
}

/// For tests: as before the first block.
#[cfg(test)]
pub fn reset(class: u8) {
    ROOM_FOR.store(EXACT.into(), Relaxed);
    WANTED.store(class.into(), Relaxed);
    CLASS.store(class.into(), Relaxed);
    COARSEST.store(weight::mean_of(class), Relaxed);
}
