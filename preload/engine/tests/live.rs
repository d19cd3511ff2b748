//! The live table against a `HashMap`.

use std::collections::HashMap;
use std::sync::Barrier;

use leaktrack_engine::live::{Block, Insert, LiveTable};
use proptest::prelude::*;

/// Tables are 64 KiB: too large for the stack of a test thread to be careless about.
fn table() -> Box<LiveTable> {
    Box::new(LiveTable::new())
}

fn block(size: u64) -> Block {
    Block {
        size,
        site: (size % 0xFF_FFFF) as u32,
        epoch: (size % 1000) as u32,
        class: 0,
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(usize, Block),
    Remove(usize),
    Get(usize),
}

/// Addresses from few pages, so that they meet in the same shards and buckets.
fn address() -> impl Strategy<Value = usize> {
    (0usize..4, 0usize..512).prop_map(|(page, at)| 0x7000_0000_0000 + page * 0x1000 + at * 8)
}

fn any_block() -> impl Strategy<Value = Block> {
    let size = prop_oneof![
        0u64..1 << 20,
        Just((1 << 34) - 2),
        (1u64 << 34) - 1..1 << 47
    ];
    (size, 0u32..1 << 24, 0u32..1 << 20, 0u8..64).prop_map(|(size, site, epoch, class)| Block {
        size,
        site,
        epoch,
        class,
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (address(), any_block()).prop_map(|(a, b)| Op::Insert(a, b)),
        3 => address().prop_map(Op::Remove),
        1 => address().prop_map(Op::Get),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn behaves_as_a_map(ops in prop::collection::vec(op(), 1..6000)) {
        let (table, mut model) = (table(), HashMap::new());
        let mut huge = 0;
        for op in ops {
            match op {
                // The address space has no room for more huge blocks than the table can keep.
                Op::Insert(_, b) if b.size >= (1 << 34) - 1 && huge >= 500 => {}
                Op::Insert(a, b) => {
                    huge += u32::from(b.size >= (1 << 34) - 1);
                    let expected = model.insert(a, b).map_or(Insert::New, Insert::Replaced);
                    prop_assert_eq!(table.insert(a, b), expected);
                }
                Op::Remove(a) => prop_assert_eq!(table.remove(a), model.remove(&a)),
                Op::Get(a) => prop_assert_eq!(table.get(a), model.get(&a).copied()),
            }
            prop_assert_eq!(table.len(), model.len() as u64);
        }
        let mut seen = HashMap::new();
        table.for_each(|a, b| assert!(seen.insert(a, b).is_none(), "{a:#x} twice"));
        prop_assert_eq!(seen, model);
    }
}

#[test]
fn survives_growing_and_shrinking_under_every_length() {
    let table = table();
    // One page chooses one shard: its table goes through all its sizes.
    let addr = |i: usize| 0x5555_0000_0000 + (i % 512) * 8 + (i / 512) * (1 << 34);
    let mut model = HashMap::new();
    for i in 0..20_000 {
        assert_eq!(table.insert(addr(i), block(i as u64)), Insert::New);
        model.insert(addr(i), block(i as u64));
    }
    for i in (0..20_000).rev().step_by(3).chain((0..20_000).step_by(3)) {
        assert_eq!(table.remove(addr(i)), model.remove(&addr(i)), "{i}");
    }
    assert!(model.iter().all(|(&a, &b)| table.get(a) == Some(b)));
    assert_eq!(table.len(), model.len() as u64);
    for (a, b) in model {
        assert_eq!(table.remove(a), Some(b));
    }
    assert!(table.is_empty());
}

/// Allocators hand out equal distances, and with a weak hash some of them crowd into few buckets.
#[test]
fn takes_blocks_at_any_equal_distance() {
    for distance in [16, 48, 96, 400, 800, 1104] {
        let table = table();
        let addr = |i: usize| 0x7F12_0000_0010 + i * distance;
        let refused = (0..400_000).filter(|&i| table.insert(addr(i), block(88)) == Insert::Refused);
        assert_eq!(refused.count(), 0, "{distance} bytes apart");
        assert_eq!(
            (0..400_000)
                .filter(|&i| table.remove(addr(i)).is_some())
                .count(),
            400_000
        );
    }
}

#[test]
fn refuses_what_an_entry_cannot_hold() {
    let table = table();
    let cases = [
        (0, block(1)),
        (0x1004, block(1)),
        (1 << 47, block(1)),
        (usize::MAX & !7, block(1)),
        (
            0x1000,
            Block {
                site: 1 << 24,
                ..block(1)
            },
        ),
    ];
    for (addr, block) in cases {
        assert_eq!(table.insert(addr, block), Insert::Refused, "{addr:#x}");
        assert_eq!(table.get(addr), None);
        assert_eq!(table.remove(addr), None);
    }
    assert_eq!(
        table.insert(
            (1 << 47) - 8,
            Block {
                site: (1 << 24) - 1,
                ..block(1)
            }
        ),
        Insert::New
    );
    assert_eq!(table.insert(8, block(1)), Insert::New);
    assert_eq!(table.len(), 2);
}

#[test]
fn keeps_huge_sizes_exactly() {
    let table = table();
    let sizes = [
        (1 << 34) - 2,
        (1 << 34) - 1,
        1 << 34,
        (1 << 34) + 1,
        u64::MAX,
    ];
    for (i, size) in sizes.into_iter().enumerate() {
        let _ = table.insert(
            0x1000 + i * 16,
            Block {
                size,
                site: 5,
                epoch: 9,
                class: 0,
            },
        );
    }
    for (i, size) in sizes.into_iter().enumerate() {
        let expected = Some(Block {
            size,
            site: 5,
            epoch: 9,
            class: 0,
        });
        assert_eq!(table.get(0x1000 + i * 16), expected);
        let mut seen = None;
        table.for_each(|a, b| seen = if a == 0x1000 + i * 16 { Some(b) } else { seen });
        assert_eq!(seen, expected);
        assert_eq!(table.remove(0x1000 + i * 16), expected);
    }
    let huge = Block {
        size: 1 << 41,
        site: 1,
        epoch: 1,
        class: 0,
    };
    assert_eq!(table.insert(0x1000, huge), Insert::New);
    assert_eq!(
        table.insert(
            0x1000,
            Block {
                size: 1 << 42,
                ..huge
            }
        ),
        Insert::Replaced(huge)
    );
    assert_eq!(
        table.insert(0x1000, block(1)),
        Insert::Replaced(Block {
            size: 1 << 42,
            ..huge
        })
    );
    assert_eq!(table.insert(0x1000, huge), Insert::Replaced(block(1)));
    assert_eq!(table.remove(0x1000), Some(huge));
    // What was forgotten leaves room for others.
    for _ in 0..1000 {
        assert_eq!(table.insert(0x2000, huge), Insert::New);
        assert_eq!(table.remove(0x2000), Some(huge));
    }
    let refused = (0..600)
        .filter(|i| table.insert(0x1000 + i * 8, huge) == Insert::Refused)
        .count();
    assert_eq!((refused, table.len()), (88, 512));
}

#[test]
fn saturates_epochs() {
    let table = table();
    for (given, kept) in [
        (0, 0),
        ((1 << 20) - 1, (1 << 20) - 1),
        (1 << 20, (1 << 20) - 1),
        (u32::MAX, (1 << 20) - 1),
    ] {
        let _ = table.insert(
            0x1000,
            Block {
                epoch: given,
                ..block(1)
            },
        );
        assert_eq!(
            table.remove(0x1000),
            Some(Block {
                epoch: kept,
                ..block(1)
            })
        );
    }
}

/// xorshift; good enough to mix.
fn next(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed as usize
}

#[test]
fn threads_with_addresses_of_their_own_see_only_their_own() {
    let (table, barrier) = (table(), Barrier::new(4));
    let (table, barrier) = (&*table, &barrier);
    std::thread::scope(|s| {
        for thread in 0..4usize {
            s.spawn(move || {
                let (mut seed, mut model) = (thread as u64 + 1, HashMap::new());
                barrier.wait();
                for i in 0..60_000u64 {
                    // Interleaved: the threads share pages, hence shards.
                    let addr = 0x6000_0000 + (next(&mut seed) % 4000 * 4 + thread) * 16;
                    if next(&mut seed) & 1 == 0 {
                        let expected = model
                            .insert(addr, block(i))
                            .map_or(Insert::New, Insert::Replaced);
                        assert_eq!(table.insert(addr, block(i)), expected);
                    } else {
                        assert_eq!(table.remove(addr), model.remove(&addr));
                    }
                }
                assert!(model.iter().all(|(&a, &b)| table.get(a) == Some(b)));
                for (a, b) in model {
                    assert_eq!(table.remove(a), Some(b));
                }
            });
        }
    });
    assert!(table.is_empty());
}

#[test]
fn threads_on_the_same_addresses_lose_and_invent_nothing() {
    let (table, barrier) = (table(), Barrier::new(4));
    let balance: i64 = std::thread::scope(|s| {
        let threads: Vec<_> = (0..4u64)
            .map(|thread| {
                let (table, barrier) = (&table, &barrier);
                s.spawn(move || {
                    let (mut seed, mut balance) = (thread + 1, 0i64);
                    barrier.wait();
                    for i in 0..60_000u64 {
                        let addr = 0x6000_0000 + next(&mut seed) % 300 * 16;
                        if next(&mut seed) & 1 == 0 {
                            balance += i64::from(table.insert(addr, block(i)) == Insert::New);
                        } else {
                            balance -= i64::from(table.remove(addr).is_some());
                        }
                    }
                    balance
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(table.len() as i64, balance);
    let mut counted = 0;
    table.for_each(|_, b| {
        assert_eq!(b, block(b.size), "torn");
        counted += 1;
    });
    assert_eq!(counted, balance);
}

#[test]
fn a_forked_child_goes_on_with_a_table_that_others_were_changing() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let table = table();
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Relaxed) {
                for i in 1..2000 {
                    let _ = table.insert(0x10_0000 + i * 0x100, block(1));
                }
                for i in 1..2000 {
                    table.remove(0x10_0000 + i * 0x100);
                }
            }
        });
        for _ in 0..50 {
            // SAFETY: the child uses the table and the arena only, and leaves.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::alarm(20);
                    table.abandon_locks_in_child();
                    leaktrack_engine::arena::abandon_in_child();
                    let mut wrong = 0;
                    for i in 1..2000 {
                        let addr = 0x20_0000 + i * 0x100;
                        wrong |= i32::from(table.insert(addr, block(2)) != Insert::New);
                        table.remove(0x10_0000 + i * 0x100);
                        wrong |= i32::from(table.get(addr) != Some(block(2))) << 1;
                    }
                    wrong |= i32::from(table.len() != 1999) << 2;
                    libc::_exit(wrong);
                }
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                assert_eq!(status, 0);
            }
        }
        done.store(true, Relaxed);
    });
}
