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
    Block {
        size: 40,
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

fn fill(blocks: usize) {
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    let mut last = start;
    for i in 0..blocks {
        let _ = TABLE.insert(BASE + i * STRIDE_BYTES, block());
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    per_op(
        &format!("fill {blocks}, growing and reading the clock"),
        blocks,
        start.elapsed(),
    );
    println!(
        "{:<44} {:7.1} us",
        "longest insert",
        longest.as_nanos() as f64 / 1e3
    );
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
