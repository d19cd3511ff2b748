//! Owns where blocks of some size lay that were freed since faults were last looked up: a block that
//! is touched, used and freed at once is gone when its faults are read.
//!
//! Hooks write here, without a lock, a call to the kernel or a loop. Blocks are told from
//! [`super::large::LARGE_BYTES`] on with their times; these are more, and all that is known is that
//! they were freed since: of two that lay in the same place the first one freed is told, since memory
//! that one has touched does not fault for the next.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, Ordering::Relaxed};

use super::large::LARGE_BYTES;
use crate::live::Block;

/// Blocks lie in at most two of these.
const WINDOW_BYTES: usize = LARGE_BYTES as usize;
/// Places, by window; and the blocks kept of each, the first ones of a turn.
const PLACES: usize = 512;
const KEPT: usize = 8;

const ADDR_BITS: u32 = 48;
const ADDR_MASK: u64 = (1 << ADDR_BITS) - 1;
const UNIT_BYTES: u64 = 16;

/// One block: its address and the turn, and its site, size and turn.
struct Grave {
    /// `turn << 48 | address`; 0: none.
    place: AtomicU64,
    /// `turn << 48 | size in units << 32 | site`.
    block: AtomicU64,
}

struct Place {
    next: AtomicU32,
    graves: [Grave; KEPT],
}

static DEAD: [Place; PLACES] = [const {
    Place {
        next: AtomicU32::new(0),
        graves: [const {
            Grave {
                place: AtomicU64::new(0),
                block: AtomicU64::new(0),
            }
        }; KEPT],
    }
}; PLACES];

/// Goes up with each look; 0: nothing is kept.
static TURN: AtomicU32 = AtomicU32::new(0);
/// The last one that was used, so that a later session, also a child's, takes nothing old for its own.
static LAST: AtomicU32 = AtomicU32::new(0);

const fn tag(turn: u32) -> u64 {
    (turn as u64) << ADDR_BITS
}

fn place_of(window: usize) -> Option<&'static Place> {
    let mixed = (window as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    DEAD.get((mixed >> 32) as usize % PLACES)
}

/// Begins to keep blocks, or ends it.
pub fn enable(on: bool) {
    TURN.store(if on { fresh_turn() } else { 0 }, Relaxed);
}

/// What is freed from now on belongs to the next look; returns the turn of what was freed before.
pub fn next_turn() -> u32 {
    let turn = TURN.load(Relaxed);
    if turn != 0 {
        TURN.store(fresh_turn(), Relaxed);
    }
    turn
}

/// Only the helper calls this. Tags repeat after 65,535 looks, most of an hour.
fn fresh_turn() -> u32 {
    let turn = LAST.load(Relaxed) % 0xffff + 1;
    LAST.store(turn, Relaxed);
    turn
}

/// A block of less than [`LARGE_BYTES`] is about to be freed.
#[cold]
pub fn died(addr: usize, block: &Block) {
    let turn = TURN.load(Relaxed);
    if turn == 0 || addr as u64 > ADDR_MASK || block.size >= LARGE_BYTES {
        return;
    }
    let Some(place) = place_of(addr / WINDOW_BYTES) else {
        return;
    };
    let oldest = place.next.load(Relaxed) as usize % KEPT;
    let is_full = |grave: &Grave| grave.place.load(Relaxed) & !ADDR_MASK == tag(turn);
    if place.graves.get(oldest).is_some_and(is_full) {
        return;
    }
    let at = place.next.fetch_add(1, Relaxed) as usize % KEPT;
    if let Some(grave) = place.graves.get(at) {
        // Without a place while the rest is written; pairs with the fence in `owner`.
        grave.place.store(0, Relaxed);
        core::sync::atomic::fence(Ordering::Release);
        let units = block.size.div_ceil(UNIT_BYTES);
        let word = tag(turn) | units.min(0xffff) << 32 | u64::from(block.site);
        grave.block.store(word, Relaxed);
        // Pairs with the acquire in `owner`: the block is written.
        grave
            .place
            .store(tag(turn) | addr as u64, Ordering::Release);
    }
}

/// The site of a block that held `addr` and was freed since the look began.
pub fn owner_now(addr: usize) -> Option<u32> {
    owner(addr, TURN.load(Relaxed))
}

/// The site of the first block freed in that turn which held `addr`.
pub fn owner(addr: usize, turn: u32) -> Option<u32> {
    if turn == 0 {
        return None;
    }
    let window = addr / WINDOW_BYTES;
    let mut first: Option<(u32, u32)> = None;
    for window in [Some(window), window.checked_sub(1)].into_iter().flatten() {
        let Some(place) = place_of(window) else {
            continue;
        };
        let next = place.next.load(Relaxed);
        for back in 1..=KEPT as u32 {
            let Some(grave) = place.graves.get(next.wrapping_sub(back) as usize % KEPT) else {
                break;
            };
            // Acquire pairs with the release in `died`.
            let at = grave.place.load(Ordering::Acquire);
            let block = grave.block.load(Relaxed);
            // Pairs with the fence in `died`: who sees a newer block sees that its place has changed.
            core::sync::atomic::fence(Ordering::Acquire);
            let is_whole = grave.place.load(Relaxed) == at && at != 0;
            let start = (at & ADDR_MASK) as usize;
            let bytes = ((block >> 32 & 0xffff) * UNIT_BYTES) as usize;
            let is_in = addr >= start && addr - start < bytes;
            if is_whole && is_in && at & !ADDR_MASK == tag(turn) && block & !ADDR_MASK == tag(turn)
            {
                // Of two from different windows the order is not known.
                if first.is_none_or(|(ago, _)| ago < back) {
                    first = Some((back, block as u32));
                }
            }
        }
    }
    first.map(|(_, site)| site)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(site: u32, size: u64) -> Block {
        Block {
            size,
            site,
            epoch: 0,
            class: 0,
        }
    }

    #[test]
    fn the_first_that_was_freed_since_the_last_look() {
        died(0x7000_0000, &block(1, 20_000));
        assert_eq!(owner(0x7000_0000, 1), None, "nothing is kept yet");
        enable(true);
        let end_of_window = 0x7000_0000 + WINDOW_BYTES - 4096;
        died(0x7000_0000, &block(2, 20_000));
        died(0x7000_0010, &block(3, 30_000));
        died(end_of_window, &block(4, 40_000));
        died(0x7100_0000, &block(5, 70_000));
        let turn = next_turn();
        assert_eq!(owner(0x7000_0000, turn), Some(2));
        assert_eq!(owner(0x7000_0000 + 19_999, turn), Some(2));
        assert_eq!(owner(0x7000_0000 + 20_000, turn), Some(3));
        assert_eq!(owner(0x7000_0000 + 31_000, turn), None);
        assert_eq!(
            owner(end_of_window + 39_999, turn),
            Some(4),
            "over the edge"
        );
        assert_eq!(
            owner(0x7100_0000, turn),
            None,
            "large ones have another place"
        );
        assert_eq!(owner(0x7000_0000, next_turn()), None, "of another look");
        // More than are kept of a window: the first ones, in each turn.
        for first in [100, 200] {
            for site in 0..20 {
                died(0x7200_0000, &block(first + site, 16_384));
            }
            assert_eq!(owner(0x7200_0000, next_turn()), Some(first));
        }
        enable(false);
        died(0x7000_0000, &block(9, 20_000));
        assert_eq!(owner(0x7000_0000, next_turn()), None);
    }
}
