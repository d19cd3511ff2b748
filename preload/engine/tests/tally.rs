//! Counters kept by thread: whoever adds them up while they change sees every site only grow, never
//! more freed than allocated, and in the end the exact numbers.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use leaktrack_engine::modules;
use leaktrack_engine::sites::tally::{Sizes, Sum, Sums, Tally};
use leaktrack_engine::sites::{self, Kind};
use leaktrack_engine::unwind::{ExactMask, Stack};
use leaktrack_recording::Call;

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
            generation: leaktrack_engine::modules::generation(),
            cut: false,
            broken: false,
        };
        assert_eq!(sites::intern(&stack, Kind::Heap, Call::Malloc, 0, 0), i);
    }
}

/// Blocks of a site by size, counted by going through the ends of the classes.
type Classes = [u64; 16];

fn count_size(classes: &mut Classes, bytes: u64) {
    let class = (0..15).find(|class| bytes <= 8 << class).unwrap_or(15);
    classes[class] += 1;
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
            temporary: counters.temporary.load(Relaxed),
        }
    })
}

#[test]
fn every_count_is_seen_once() {
    make_sites();
    let done = AtomicBool::new(false);
    let mut expected = vec![(Sum::default(), Classes::default()); SITES as usize + 1];
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
                    let mut mine = vec![(Sum::default(), Classes::default()); SITES as usize + 1];
                    let mut random = number + 1;
                    for _ in 0..ROUNDS {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        // Some sites more often than others.
                        let span = if random & 1 == 0 { 20 } else { SITES.into() };
                        let site = (random >> 8) % span + 1;
                        // Of all sizes up to some hundred KiB, nought among them.
                        let bytes = (random >> 44) >> (random >> 40 & 31);
                        let (sum, classes) = &mut mine[site as usize];
                        count_size(classes, bytes);
                        tally.add_alloc(site as u32, bytes);
                        sum.allocations += 1;
                        sum.allocated_bytes += bytes;
                        if random & 2 == 0 {
                            let temporary = random & 4 == 0;
                            tally.add_free(site as u32, bytes, temporary);
                            sum.temporary += u64::from(temporary);
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
            for ((all, classes), (one, by_size)) in expected.iter_mut().zip(thread.join().unwrap())
            {
                for (sum, count) in classes.iter_mut().zip(by_size) {
                    *sum += count;
                }
                all.temporary += one.temporary;
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
    let sizes = Sizes::read(SITES).expect("memory");
    for site in 1..=SITES {
        let (counted, classes) = &expected[site as usize];
        assert_eq!(sum(&sums, site), *counted, "site {site}");
        let (temporary, by_size) = sizes.since(&Sizes::new(), site);
        assert_eq!(temporary, counted.temporary, "site {site}");
        assert_eq!(by_size.as_ref(), Some(classes), "site {site}");
        let whole = sites::sizes::whole(site, classes).expect("room");
        assert_eq!(
            whole.iter().sum::<u64>(),
            counted.allocations,
            "site {site}"
        );
    }
}
