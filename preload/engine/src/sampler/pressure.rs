//! Owns how blocks are sampled when the live table comes near the cap on leaktrack's memory.
//!
//! While less than half of what the table can have is taken, every block is recorded. From there on
//! the mean doubles each time that a quarter of what is left is gone. So the table never gets there:
//! each step takes up half as many blocks again as the one before, each sample standing for twice as
//! many. Blocks that go give steps back. Every block keeps the weight of its own time, so that
//! nothing has to be done with those that are known.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::rate;
use super::weight::{self, EXACT};
use crate::arena;

/// Mean of the first step: about a third of blocks of 48 bytes.
const FIRST_MEAN_BYTES: u64 = 128;
/// The last one's mean is 32 GiB.
const LAST_STEP: u32 = 28;

/// There is a cap, and blocks are recorded.
static ARMED: AtomicBool = AtomicBool::new(false);

/// Begins to look after the cap. `secret`: see [`weight::set_secret`].
pub fn arm() {
    ARMED.store(true, Relaxed);
}

/// A table of live blocks has grown or shrunk, or was `refused` more memory. Called under a shard's
/// lock: it only stores words. True if blocks are sampled from now on that were not before.
///
/// What is needed for a while (a scan's lists) is no reason to sample for good, unless it leaves the
/// table no room now.
pub fn table_changed(refused: bool) -> bool {
    if !ARMED.load(Relaxed) {
        return false;
    }
    let passing = if refused { 0 } else { arena::passing_bytes() };
    let lasting = arena::used_bytes().saturating_sub(passing);
    let left = arena::hook_limit_bytes().saturating_sub(lasting);
    let most = left.saturating_add(arena::table_bytes());
    let now = step_of(rate::room_for());
    let next = next_step(now, left, most);
    if next == now {
        return false;
    }
    let was_on = rate::is_on();
    rate::set_room_for(class_of(next));
    rate::is_on() && !was_on
}

/// The step to take from `now`, with so many bytes left of the most that the table can have.
fn next_step(now: u32, left: u64, most: u64) -> u32 {
    let up = step(left, most);
    // Back only when there is room to spare, so that it does not go to and fro.
    let down = step(left - left / 3, most);
    if up > now { up } else { down.min(now) }
}

fn step(left: u64, most: u64) -> u32 {
    let mut step = 0;
    let mut bound = most / 2;
    while left <= bound && step < LAST_STEP {
        step += 1;
        bound -= bound / 4;
    }
    step
}

fn class_of(step: u32) -> u8 {
    match step {
        0 => EXACT,
        step => weight::class_of(FIRST_MEAN_BYTES << (step - 1)),
    }
}

fn step_of(class: u8) -> u32 {
    match weight::mean_of(class) {
        0 => 0,
        mean => (mean / FIRST_MEAN_BYTES).max(1).ilog2() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_the_room_and_come_back_late() {
        const MOST: u64 = 200 << 20;
        assert_eq!(step(MOST, MOST), 0);
        assert_eq!(step(MOST / 2 + 1, MOST), 0);
        assert_eq!(step(MOST / 2, MOST), 1);
        assert_eq!(step(MOST * 3 / 8 + 1, MOST), 1);
        assert_eq!(step(MOST * 3 / 8, MOST), 2);
        assert_eq!(step(0, MOST), LAST_STEP);
        assert_eq!(step(0, 0), LAST_STEP);
        for now in 0..=LAST_STEP {
            assert_eq!(step_of(class_of(now)), now);
        }
        // Down from the second step: only with a third more room than it took to get there.
        assert_eq!(next_step(2, MOST * 3 / 8 + 1, MOST), 2);
        assert_eq!(next_step(2, MOST * 9 / 16 + 9, MOST), 1);
        assert_eq!(next_step(2, MOST, MOST), 0);
        assert_eq!(next_step(1, 0, 0), LAST_STEP);
    }

    #[test]
    fn a_table_that_never_gives_back_never_fills_up() {
        // 24 bytes a block, 40 bytes each: how many blocks until the room is gone to a thousandth?
        const MOST: u64 = 220 << 20;
        let (mut left, mut blocks, mut now) = (MOST as f64, 0.0, 0);
        while left > MOST as f64 / 1_000.0 {
            now = next_step(now, left as u64, MOST);
            let mean = weight::mean_of(class_of(now)) as f64;
            let p = if now == 0 {
                1.0
            } else {
                -(-41.0 / mean).exp_m1()
            };
            left -= 24.0 * 1_000.0;
            blocks += 1_000.0 / p;
        }
        assert!(blocks > 5e9, "{blocks}");
    }
}
