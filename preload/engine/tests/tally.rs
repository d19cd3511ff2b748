//! Counters kept by thread: whoever adds them up while they change sees every site only grow, never
//! more freed than allocated, and in the end the exact numbers.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use leaktrack_engine::modules;
use leaktrack_engine::sites::tally::{Sum, Sums, Tally};
use leaktrack_engine::sites::{self, Kind};
use leaktrack_engine::unwind::{ExactMask, Stack};

/// More than a tally has entries, so that they change hands all the time.
const SITES: u32 = 700;
const THREADS: u64 = 4;
const ROUNDS: u64 = 200_000;

fn make_sites() {
    modules::init();
    for i in 1..=SITES {
        let pcs = [0x3000_0000_0000 + i as usize * 16];
        let stack = Stack {
            pcs: &pcs,
            exact: ExactMask::default(),
            hash: u64::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            cut: false,
            broken: false,
        };
        assert_eq!(sites::intern(&stack, Kind::Heap, 0, 0), i);
    }
}

/// What all threads and the common counters hold for a site.
fn sum(sums: &Sums, site: u32) -> Sum {
    sums.get(site).unwrap_or_else(|| {
        let counters = sites::counters(site).unwrap();
        Sum {
            frees: counters.frees.load(Relaxed),
            freed_bytes: counters.freed_bytes.load(Relaxed),
            allocations: counters.allocations.load(Relaxed),
            allocated_bytes: counters.allocated_bytes.load(Relaxed),
        }
    })
}

#[test]
fn every_count_is_seen_once() {
    make_sites();
    let done = AtomicBool::new(false);
    let mut expected = vec![Sum::default(); SITES as usize + 1];
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                scope.spawn(move || {
                    // SAFETY: zeroed memory is an empty tally, and it is never freed.
                    let tally: &Tally = unsafe {
                        let tally = std::alloc::alloc_zeroed(std::alloc::Layout::new::<Tally>());
                        Tally::enlist(tally.cast());
                        &*tally.cast()
                    };
                    let mut mine = vec![Sum::default(); SITES as usize + 1];
                    let mut random = number + 1;
                    for _ in 0..ROUNDS {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        // Some sites more often than others.
                        let span = if random & 1 == 0 { 20 } else { SITES.into() };
                        let site = (random >> 8) % span + 1;
                        let bytes = random >> 50;
                        let sum = &mut mine[site as usize];
                        tally.add_alloc(site as u32, bytes);
                        sum.allocations += 1;
                        sum.allocated_bytes += bytes;
                        if random & 2 == 0 {
                            tally.add_free(site as u32, bytes);
                            sum.frees += 1;
                            sum.freed_bytes += bytes;
                        }
                    }
                    mine
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut sums = Sums::new();
            let mut last = vec![Sum::default(); SITES as usize + 1];
            let mut reads = 0;
            while !done.load(Relaxed) || reads == 0 {
                assert!(sums.read(SITES));
                for site in 1..=SITES {
                    let now = sum(&sums, site);
                    let before = std::mem::replace(&mut last[site as usize], now);
                    assert!(
                        now.allocations >= before.allocations && now.frees >= before.frees,
                        "site {site}: {before:?}, then {now:?}"
                    );
                    assert!(now.frees <= now.allocations, "site {site}: {now:?}");
                }
                reads += 1;
            }
        });
        for thread in threads {
            for (all, one) in expected.iter_mut().zip(thread.join().unwrap()) {
                all.allocations += one.allocations;
                all.frees += one.frees;
                all.allocated_bytes += one.allocated_bytes;
                all.freed_bytes += one.freed_bytes;
            }
        }
        done.store(true, Relaxed);
        reader.join().unwrap();
    });
    let mut sums = Sums::new();
    assert!(sums.read(SITES));
    for site in 1..=SITES {
        assert_eq!(sum(&sums, site), expected[site as usize], "site {site}");
    }
}
