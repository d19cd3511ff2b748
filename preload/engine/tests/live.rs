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
        for at in (0x7000_0000_0000..0x7000_0000_5000).step_by(7) {
            let begins = |start: &usize| model.contains_key(start);
            let last = (at & !0xfff..=at).rev().filter(|start| start % 16 == 0).find(begins);
            let expected = last.map(|start| (start, model[&start]));
            prop_assert_eq!(table.last_in_page(at), expected, "{:#x}", at);
        }
        let mut seen = HashMap::new();
        table.for_each(|a, b| assert!(seen.insert(a, b).is_none(), "{a:#x} twice"));
        prop_assert_eq!(&seen, &model);
        let mut parts = HashMap::new();
        for part in 0..LiveTable::PARTS {
            table.for_each_in(part, |a, b| {
                assert!(parts.insert(a, b).is_none(), "{a:#x} twice");
            });
        }
        prop_assert_eq!(&parts, &model);
        table.forget_births();
        table.for_each(|a, b| assert_eq!(b, Block { epoch: 0, ..model[&a] }));
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
                    libc::alarm(240);
                    table.abandon_in_child();
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

/// What is freed may be unknown, in a part of the heap that nothing was recorded of: a lock taken for it
/// would stay taken in a child, as those of parts never used are not looked at there.
#[test]
fn a_forked_child_goes_on_where_others_were_freeing_what_is_not_known() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    const UNUSED: usize = 0x2000_0000;
    let table = table();
    // The same GiB of addresses, so that there is a way to the unused part.
    assert_eq!(table.insert(0x10_0000, block(1)), Insert::New);
    let done = AtomicBool::new(false);
    let mut ends = 0;
    std::thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Relaxed) {
                for i in 0..1000 {
                    assert_eq!(table.remove(UNUSED + i * 0x100), None);
                }
            }
        });
        for _ in 0..200 {
            // SAFETY: the child uses the table and the arena only, and leaves.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::alarm(240);
                    table.abandon_in_child();
                    leaktrack_engine::arena::abandon_in_child();
                    let known = table.remove(UNUSED).is_some() || table.get(UNUSED).is_some();
                    libc::_exit(i32::from(known || table.get(0x10_0000) != Some(block(1))));
                }
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                ends |= status;
            }
            if ends != 0 {
                break;
            }
        }
        done.store(true, Relaxed);
    });
    assert_eq!(ends, 0, "a child hung or knew what it should not");
}

/// Threads that own what they alone use: their ways in are others than those of the tests above.
mod owners {
    use super::*;
    use leaktrack_engine::live::holder::{self, Holder};
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

    fn holder() -> &'static Holder {
        let holder: &Holder = Box::leak(Box::new(Holder::new()));
        // SAFETY: leaked, and given here once.
        unsafe { Holder::enlist(holder) };
        holder::allow(true);
        holder
    }

    #[test]
    fn groups_change_hands_and_lose_and_invent_nothing() {
        let table = table();
        let inserted = AtomicU64::new(0);
        let removed = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        std::thread::scope(|s| {
            let threads: Vec<_> = (0..4u64)
                .map(|thread| {
                    let (table, inserted, removed) = (&table, &inserted, &removed);
                    s.spawn(move || {
                        let (me, mut seed) = (Some(holder()), thread + 1);
                        for round in 0..60u64 {
                            // For a while alone in a group, then all in one.
                            let group = if round % 3 == 0 { 9 } else { thread as usize };
                            for i in 0..3000u64 {
                                let at = next(&mut seed) % 900 * 16;
                                let addr = 0x6000_0000_0010 + (group << 20) + at;
                                if next(&mut seed) % 8 < 4 {
                                    let new = table.insert_by(me, addr, block(i % 9000));
                                    inserted.fetch_add(u64::from(new == Insert::New), Relaxed);
                                } else if table.remove_by(me, addr).is_some() {
                                    removed.fetch_add(1, Relaxed);
                                }
                            }
                        }
                    })
                })
                .collect();
            // Who looks at all of it takes it from everybody.
            s.spawn(|| {
                while !done.load(Relaxed) {
                    table.for_each(|_, b| assert_eq!(b, block(b.size), "torn"));
                    let _calm = table.calm();
                    for i in 0..900 {
                        if let Some(b) = table.get(0x6000_0090_0010 + i * 16) {
                            assert_eq!(b, block(b.size), "torn");
                        }
                    }
                    table.trim();
                }
            });
            threads.into_iter().for_each(|t| t.join().unwrap());
            done.store(true, Relaxed);
        });
        let balance = inserted.load(Relaxed) - removed.load(Relaxed);
        assert_eq!(table.len(), balance);
        let mut counted = 0;
        table.for_each(|_, _| counted += 1);
        assert_eq!(counted, balance);
    }

    #[test]
    fn a_forked_child_goes_on_where_owners_were_torn() {
        let table = table();
        let done = AtomicBool::new(false);
        std::thread::scope(|s| {
            for thread in 0..2usize {
                let (table, done) = (&table, &done);
                s.spawn(move || {
                    let me = Some(holder());
                    while !done.load(Relaxed) {
                        for i in 1..3000 {
                            let _ = table.insert_by(me, (thread << 20) + i * 0x100, block(1));
                        }
                        for i in 1..3000 {
                            table.remove_by(me, (thread << 20) + i * 0x100);
                        }
                    }
                });
            }
            let me = Some(holder());
            for _ in 0..100 {
                // SAFETY: the child uses the table and the arena only, and leaves.
                unsafe {
                    let child = libc::fork();
                    if child == 0 {
                        libc::alarm(240);
                        table.abandon_in_child();
                        leaktrack_engine::arena::abandon_in_child();
                        let mut wrong = 0;
                        for i in 1..6000 {
                            let addr = i * 0x100;
                            let _ = table.insert_by(me, addr, block(2));
                            wrong |= i32::from(table.get(addr) != Some(block(2)));
                        }
                        let mut counted = 0;
                        table.for_each(|_, _| counted += 1);
                        wrong |= i32::from(counted != table.len()) << 1;
                        for i in 1..12000 {
                            table.remove_by(me, i * 0x100);
                        }
                        wrong |= i32::from(!table.is_empty()) << 2;
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

    #[test]
    fn a_large_block_whose_free_was_missed_is_replaced_by_a_small_one_and_the_other_way() {
        let table = table();
        let me = Some(holder());
        let addr = 0x7000_0000_4000;
        let (small, large) = (block(100), block(100_000));
        for (first, second) in [(small, large), (large, small)] {
            assert_eq!(table.insert_by(me, addr + 0x100, block(1)), Insert::New);
            assert_eq!(table.insert_by(me, addr, first), Insert::New);
            assert_eq!(table.insert_by(me, addr, second), Insert::Replaced(first));
            assert_eq!((table.len(), table.get(addr)), (2, Some(second)));
            assert_eq!(table.remove_by(me, addr), Some(second));
            assert_eq!(table.remove_by(me, addr), None);
            assert_eq!(table.remove_by(me, addr + 0x100), Some(block(1)));
        }
    }
}
