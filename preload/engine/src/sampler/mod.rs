//! Owns the choice of the blocks that are recorded in `mode=sample`: Poisson over bytes.
//!
//! Each thread counts down a number of bytes that is drawn from an exponential distribution; the
//! block in which it runs out is recorded, with the weight that [`weight`] derives. A block takes
//! its size and one, so that empty blocks count. The distribution has no memory, hence a countdown
//! may be thrown away and drawn anew at any time without any effect on what is expected.
//!
//! The fast path, [`passes`], is a subtraction and a branch, and the exact totals two additions. It
//! takes no guard and no lock, and a signal handler may run at any of its instructions: it can make
//! a countdown longer by what the handler allocated, never negative for good.

pub mod budget;
mod controller;
pub mod filter;
mod math;
pub mod pressure;
pub mod rate;
pub mod weight;

use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::state::LIVE;
use crate::sys;
use crate::thread::Borrowed;
use crate::tls::Local;
pub use rate::is_on;
pub use weight::EXACT;

/// What a thread keeps of its own. Zeroed memory is a thread that has drawn nothing.
#[derive(Debug)]
pub struct Countdown {
    /// Bytes to go; 0 before the first draw, [`REDRAW`] if it is to be drawn anew.
    left: AtomicI64,
    /// Class of the mean that `left` was drawn with; [`EXACT`] if it is to be drawn.
    class: AtomicU32,
    /// State of the generator; 0 if it is to be seeded.
    random: AtomicU64,
    /// Exact totals; they outlive the thread.
    calls: AtomicU64,
    bytes: AtomicU64,
    frees: AtomicU64,
    /// What its samples, and the frees of samples, added to the counters of their sites.
    stood_for: [AtomicU64; 3],
    /// Frees among `frees` of blocks that were recorded as they came: their sites counted them.
    exact_frees: AtomicU64,
    /// Blocks it recorded, and what recording and forgetting them took, in ticks.
    samples: AtomicU64,
    ticks: AtomicU64,
}

/// Not a number of bytes: the mean has come down, the countdown is to be drawn anew.
const REDRAW: i64 = -1;

/// Calls of the malloc family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Blocks allocated.
    pub allocations: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Bytes allocated.
    pub allocated_bytes: u64,
}

impl Calls {
    /// None yet.
    pub const NONE: Calls = Calls {
        allocations: 0,
        frees: 0,
        allocated_bytes: 0,
    };
}

/// Seeds of the threads' generators follow from it.
static SEED: AtomicU64 = AtomicU64::new(0);
/// Threads seeded so far.
static SEEDED: AtomicU64 = AtomicU64::new(0);
/// Frees of threads without a state of their own.
static OTHER_FREES: AtomicU64 = AtomicU64::new(0);

/// Draws the secrets, so that sampling may begin at any time.
pub fn prepare() {
    weight::set_secret(fresh_seed());
    SEED.store(fresh_seed(), Relaxed);
}

/// Begins to sample with this mean. `stuck`: see [`filter::fill`].
pub fn begin(mean_bytes: u64, stuck: core::ops::Range<usize>) {
    filter::fill(&LIVE, stuck);
    rate::want(weight::class_of(mean_bytes));
}

/// A table of live blocks has grown or shrunk, or was refused more memory. Called under a shard's
/// lock.
pub fn table_changed(refused: bool) {
    if pressure::table_changed(refused) {
        crate::state::choose_path();
    }
}

/// In a forked child: what it draws has nothing to do with what its parent draws.
pub fn reseed_in_child(own: Option<&Countdown>) {
    if is_on() {
        SEED.store(fresh_seed(), Relaxed);
        if let Some(own) = own {
            own.forget();
        }
    }
}

fn fresh_seed() -> u64 {
    let mut bytes = [0; 8];
    if sys::getrandom(&mut bytes) {
        return u64::from_ne_bytes(bytes);
    }
    weight::mix(sys::clock_ns(sys::clock::MONOTONIC) ^ u64::from(sys::getpid()) << 40)
}

/// What is to be added to the sums of the sites' counters, wrapping, to have exactly what the program
/// called: its calls while blocks were sampled, less what the samples stood for.
pub fn beyond_sites(threads: impl Iterator<Item = &'static Countdown>) -> Calls {
    let mut sum = Calls {
        frees: OTHER_FREES.load(Relaxed),
        ..Calls::NONE
    };
    let beyond = |calls: &AtomicU64, counted: u64| calls.load(Relaxed).wrapping_sub(counted);
    for thread in threads {
        let [allocations, frees, bytes] = thread.stood_for.each_ref().map(|n| n.load(Relaxed));
        let counted_frees = frees.wrapping_add(thread.exact_frees.load(Relaxed));
        let add = |sum: &mut u64, more| *sum = sum.wrapping_add(more);
        add(&mut sum.allocations, beyond(&thread.calls, allocations));
        add(&mut sum.frees, beyond(&thread.frees, counted_frees));
        add(&mut sum.allocated_bytes, beyond(&thread.bytes, bytes));
    }
    sum
}

#[inline(always)]
fn bump(counter: &AtomicU64, by: u64) {
    // Not an atomic addition: only the owner writes.
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

#[inline(always)]
fn own(t: &Local) -> Option<&Countdown> {
    let state = t.state.load(Relaxed);
    // SAFETY: other than the two marks, states are valid while their thread runs; the fields are
    // atomics.
    (state.addr() > 1).then(|| unsafe { &(*state).countdown })
}

/// The fast path: true if a block of this size is not recorded; it has then been counted.
#[inline(always)]
pub fn passes(t: &Local, size: usize) -> bool {
    own(t).is_some_and(|own| own.passes(size))
}

/// Counts the free of a block that was not recorded.
#[inline(always)]
pub fn count_free(t: &Local) {
    match own(t) {
        Some(own) => bump(&own.frees, 1),
        None => {
            OTHER_FREES.fetch_add(1, Relaxed);
        }
    }
}

/// Counts the free of a block that was recorded as it came, whose site counts it as well.
pub fn count_exact_free(t: &Local) {
    if let Some(own) = own(t) {
        bump(&own.frees, 1);
        bump(&own.exact_frees, 1);
    }
}

/// A sample added so many blocks and bytes to the counters of its site.
pub fn note_allocated(t: &Local, blocks: u64, bytes: u64) {
    if let Some(own) = own(t) {
        let [allocations, _, allocated_bytes] = &own.stood_for;
        bump(allocations, blocks);
        bump(allocated_bytes, bytes);
    }
}

/// The free of a sample added so many blocks to the counters of its site.
pub fn note_freed(t: &Local, blocks: u64) {
    if let Some(own) = own(t) {
        let [_, frees, _] = &own.stood_for;
        bump(frees, blocks);
    }
}

/// A sample, or its end, is done that began at [`budget::start`].
pub fn spent(t: &Local, start: u64) {
    if let Some(own) = own(t).filter(|_| budget::is_on()) {
        budget::spent(own, start);
    }
}

/// The slow path: the class of the mean if a block of this size is to be recorded. Counts it, and
/// draws the next. The guard is in phase `OURS`.
pub fn chooses(t: &Local, size: usize) -> Option<u8> {
    let mut borrowed = Borrowed::get(t)?;
    borrowed.state().countdown.chooses(size)
}

/// A block was not recorded although the countdown ran out in it: a nested call.
pub fn skip(t: &Local) {
    if let Some(own) = own(t) {
        own.forget();
    }
}

impl Countdown {
    /// Forgets what was drawn, but keeps the totals: they go on for the next thread.
    pub fn forget(&self) {
        self.left.store(0, Relaxed);
        self.class.store(u32::from(EXACT), Relaxed);
        self.random.store(0, Relaxed);
    }

    #[inline(always)]
    fn passes(&self, size: usize) -> bool {
        let size = size as i64;
        let left = self.left.load(Relaxed).wrapping_sub(size).wrapping_sub(1);
        // Sizes from 2^63 on make the difference meaningless; they fail anyway.
        if (left | size) < 0 {
            return false;
        }
        self.left.store(left, Relaxed);
        bump(&self.calls, 1);
        bump(&self.bytes, size as u64);
        true
    }

    fn chooses(&self, size: usize) -> Option<u8> {
        let drawn = self.class.load(Relaxed);
        // Thrown away for a reason that has nothing to do with how much was left of it. Only if it
        // ran out in this very block, just before it was thrown away, is that block's one chance
        // lost.
        let class = if drawn == u32::from(EXACT) || self.left.load(Relaxed) == REDRAW {
            self.draw()
        } else {
            drawn
        };
        if self.passes(size) {
            return None;
        }
        bump(&self.calls, 1);
        bump(&self.bytes, size as u64);
        bump(&self.samples, 1);
        self.draw();
        Some(class as u8)
    }

    /// Has the thread draw anew if it counts down from a coarser mean than the one in force. From
    /// another thread: its owner may store over it, so ask again later.
    fn catch_up(&self, class: u8) {
        let drawn = self.class.load(Relaxed) as u8;
        if drawn != EXACT && weight::mean_of(drawn) > weight::mean_of(class) {
            self.left.store(REDRAW, Relaxed);
        }
    }

    /// Draws with the mean in force; returns its class.
    fn draw(&self) -> u32 {
        let class = rate::class();
        let mean = weight::mean_of(class) as f64;
        // From 0 to 1, 0 left out.
        let uniform = ((self.next_random() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        // As an integer: what is left of the continuous countdown runs out within a block of whole
        // bytes if and only if its floor does.
        self.left.store((-mean * math::ln(uniform)) as i64, Relaxed);
        self.class.store(class.into(), Relaxed);
        class.into()
    }

    fn next_random(&self) -> u64 {
        let mut random = self.random.load(Relaxed);
        if random == 0 {
            let thread = SEEDED.fetch_add(1, Relaxed);
            random = weight::mix(SEED.load(Relaxed) ^ weight::mix(thread));
        }
        random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random.store(random.max(1), Relaxed);
        weight::mix(random)
    }
}

#[cfg(test)]
mod tests;
