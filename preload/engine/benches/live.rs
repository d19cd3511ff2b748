//! What the live table costs: `cargo bench -p leaktrack-engine --bench live [blocks]`.
//!
//! Addresses are spaced as glibc spaces small blocks. "Churn" frees a random live block and
//! allocates it again, as a host in its steady state does.

use std::hint::black_box;
use std::time::{Duration, Instant};

use leaktrack_engine::arena;
use leaktrack_engine::live::{Block, Insert, LiveTable};
use leaktrack_engine::lock::WordLock;

static TABLE: LiveTable = LiveTable::new();

const BASE: usize = 0x5555_5555_0000;
const STRIDE_BYTES: usize = 48;

fn block() -> Block {
    sized(40)
}

fn sized(size: u64) -> Block {
    Block {
        size,
        site: 7,
        epoch: 3,
        class: 0,
    }
}

fn next(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed as usize
}

fn per_op(what: &str, ops: usize, took: Duration) {
    println!("{what:<44} {:7.1} ns", took.as_nanos() as f64 / ops as f64);
}

fn churn(base: usize, blocks: usize, ops: usize, mut seed: u64) -> Duration {
    let (start, mut sum) = (Instant::now(), 0u64);
    for _ in 0..ops {
        let addr = base + next(&mut seed) % blocks * STRIDE_BYTES;
        sum = sum.wrapping_add(TABLE.remove(addr).map_or(0, |b| b.size));
        sum += u64::from(TABLE.insert(addr, block()) == Insert::New);
    }
    black_box(sum);
    start.elapsed()
}

/// CPU time of this thread, which does not pass while others have its processor.
fn cpu() -> Duration {
    // SAFETY: the kernel writes a live local.
    let now = unsafe {
        let mut now: libc::timespec = core::mem::zeroed();
        assert_eq!(
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now),
            0
        );
        now
    };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Does `each` so many times; what the longest took, with what reading the clock costs. What the machine
/// does to this thread meanwhile strikes a few, and others each time; what growing costs strikes many.
fn longest(what: &str, times: usize, mut each: impl FnMut(usize)) {
    let (mut longest, mut long, mut last) = (Duration::ZERO, 0, cpu());
    for i in 0..times {
        each(i);
        let now = cpu();
        longest = longest.max(now - last);
        long += u64::from(now - last > Duration::from_millis(1));
        last = now;
    }
    println!(
        "{what:<44} {:7.1} us, {long} beyond 1 ms",
        longest.as_nanos() as f64 / 1e3
    );
}

/// Blocks `stride_bytes` apart, one after the other: what growing and giving back cost one caller at most.
fn fill_and_drain(blocks: usize, stride_bytes: usize) {
    let at = |i: usize| BASE + i * stride_bytes;
    let what = format!("{blocks} at {stride_bytes} bytes: longest insert");
    longest(&what, blocks, |i| {
        let _ = TABLE.insert(at(i), sized(stride_bytes as u64 - 8));
    });
    longest("longest remove", blocks, |i| {
        TABLE.remove(at(i));
    });
}

fn fill(blocks: usize) {
    let start = Instant::now();
    for i in 0..blocks {
        let _ = TABLE.insert(BASE + i * STRIDE_BYTES, block());
    }
    per_op(&format!("fill {blocks}, growing"), blocks, start.elapsed());
    println!(
        "{:<44} {:7.1}",
        "arena bytes per block",
        arena::used_bytes() as f64 / TABLE.len() as f64
    );
}

fn drain(blocks: usize) {
    let start = Instant::now();
    for i in 0..blocks {
        TABLE.remove(BASE + i * STRIDE_BYTES);
    }
    per_op(
        &format!("drain {blocks}, shrinking"),
        blocks,
        start.elapsed(),
    );
    println!(
        "{:<44} {:7} KiB",
        "arena afterwards",
        arena::used_bytes() >> 10
    );
}

/// What a free lock and the choice of an address cost, to be taken off the figures for churn.
fn floor(blocks: usize, ops: usize) {
    static LOCK: WordLock = WordLock::new();
    let (mut seed, mut sum) = (1, 0);
    let start = Instant::now();
    for _ in 0..ops {
        sum += black_box(BASE + next(&mut seed) % blocks * STRIDE_BYTES);
    }
    per_op("choosing an address", ops, start.elapsed());
    let start = Instant::now();
    for _ in 0..ops {
        drop(black_box(&LOCK).lock());
    }
    per_op("lock + unlock", ops, start.elapsed());
    black_box(sum);
}

fn main() {
    floor(1000, 10_000_000);
    let most = std::env::args()
        .filter_map(|a| a.parse().ok())
        .next()
        .unwrap_or(10_000_000);
    // Small blocks, those that lie alone in a page, and those that are no MiB's.
    for stride_bytes in [STRIDE_BYTES, 1_040, 20_000] {
        fill_and_drain(most, stride_bytes);
    }
    for blocks in [1000, 100_000, most] {
        fill(blocks);
        let ops = 5_000_000;
        churn(BASE, blocks, ops / 4, 3);
        per_op("churn (remove + insert)", ops, churn(BASE, blocks, ops, 1));
        let far = BASE + (1 << 40);
        for i in 0..blocks {
            let _ = TABLE.insert(far + i * STRIDE_BYTES, block());
        }
        let took = std::thread::scope(|s| {
            let other = s.spawn(|| churn(far, blocks, ops, 2));
            churn(BASE, blocks, ops, 1).max(other.join().unwrap())
        });
        per_op("churn on two threads, own pages", ops, took);
        let took = std::thread::scope(|s| {
            let other = s.spawn(|| churn(BASE, blocks, ops, 2));
            churn(BASE, blocks, ops, 1).max(other.join().unwrap())
        });
        per_op("churn on two threads, same pages", ops, took);
        for i in 0..blocks {
            TABLE.remove(far + i * STRIDE_BYTES);
        }
        let start = Instant::now();
        let mut n = 0u64;
        TABLE.for_each(|a, b| n += a as u64 ^ b.size);
        black_box(n);
        per_op("for_each", blocks, start.elapsed());
        drain(blocks);
    }
}
