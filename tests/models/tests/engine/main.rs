//! The engine's lock, its shards, its groups and its tallies under every order of their steps, and under every
//! value that the memory model lets a load see.
//!
//! The files are the engine's own, linked here; `atomic.rs`, `sys.rs` and `arena.rs` stand in for what
//! is around them. Threads change over at most so many times in an execution as each model says: a
//! bound that finds nearly all mistakes and keeps the models short.
#![allow(
    dead_code,
    clippy::absurd_extreme_comparisons,
    clippy::modulo_one,
    missing_docs,
    reason = "the engine's files come whole, a model uses a part of each and has sizes of its own"
)]

mod arena;
mod atomic;
mod guard;
mod live;
mod lock;
mod sampler;
mod sites;
mod sys;

use std::sync::Arc;

use live::holder::{self, Holder};
use live::{Block, Insert, OneGroup, OneShard};
use lock::WordLock;
use sites::tally::{Sizes, Sum, Sums, Tally};

/// Runs a model with at most so many unforced changes of threads.
fn model(changes: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(changes);
    builder.max_branches = 100_000;
    builder.check(move || {
        atomic::begin_execution();
        arena::begin_execution();
        body();
    });
}

/// Uses every word of a lock and of its file, so that all threads find them initialised: a model
/// makes a word when it is first used.
fn touch(lock: &WordLock) {
    lock::set_spin_only(false);
    lock.lock_raw();
    // SAFETY: nobody else knows the lock.
    unsafe { lock.abandon_for_holder() };
    assert!(lock.lock_checked().1);
    assert!(!lock.lock_checked().1);
}

/// What a lock guards; loom fails the model if two threads are in it at once.
struct Guarded {
    lock: WordLock,
    value: loom::cell::UnsafeCell<u32>,
}

// SAFETY: that the value is reached under the lock alone is what the models check.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Arc<Guarded> {
        let guarded = Arc::new(Guarded {
            lock: WordLock::new(),
            value: loom::cell::UnsafeCell::new(0),
        });
        touch(&guarded.lock);
        guarded
    }

    fn raise(&self) -> bool {
        let (_guard, abandoned) = self.lock.lock_checked();
        // SAFETY: checked by loom.
        self.value.with_mut(|value| unsafe { *value += 1 });
        abandoned
    }

    fn get(&self) -> u32 {
        let _guard = self.lock.lock();
        // SAFETY: checked by loom.
        self.value.with(|value| unsafe { *value })
    }
}

#[test]
fn a_lock_lets_one_in_and_shows_what_the_last_one_did() {
    model(2, || {
        let guarded = Guarded::new();
        let other = Arc::clone(&guarded);
        let thread = loom::thread::spawn(move || {
            assert!(!other.raise());
            assert!(!other.raise());
        });
        assert!(!guarded.raise());
        thread.join().unwrap();
        assert_eq!(guarded.get(), 3);
    });
}

#[test]
fn who_sleeps_for_a_lock_is_woken_by_who_lets_go_of_it() {
    // The fence in `unlock_raw` stands for the time that a store takes to become visible.
    model(5, || {
        sys::sleep_for_ever();
        let guarded = Guarded::new();
        let other = Arc::clone(&guarded);
        let thread = loom::thread::spawn(move || assert!(!other.raise()));
        assert!(!guarded.raise());
        thread.join().unwrap();
        assert_eq!(guarded.get(), 2);
    });
}

#[test]
fn a_lock_that_is_tried_is_had_whole_or_not_at_all() {
    model(2, || {
        let guarded = Guarded::new();
        let other = Arc::clone(&guarded);
        let thread = loom::thread::spawn(move || {
            let Some(guard) = other.lock.try_lock() else {
                return 0;
            };
            // SAFETY: checked by loom.
            other.value.with_mut(|value| unsafe { *value += 1 });
            drop(guard);
            1
        });
        guarded.raise();
        let tried = thread.join().unwrap();
        assert_eq!(guarded.get(), 1 + tried);
    });
}

#[test]
fn an_abandoned_lock_is_told_to_one_who_sees_all_that_was_done() {
    model(2, || {
        let guarded = Guarded::new();
        let torn = Arc::clone(&guarded);
        let thread = loom::thread::spawn(move || {
            std::mem::forget(torn.lock.lock());
            // SAFETY: checked by loom.
            torn.value.with_mut(|value| unsafe { *value += 1 });
            // SAFETY: as if torn out of the section above.
            unsafe { torn.lock.abandon() };
        });
        let told = guarded.raise();
        thread.join().unwrap();
        // Or this thread was there before.
        assert_eq!(told, !guarded.raise());
        assert_eq!(guarded.get(), 3);
    });
}

fn block(number: usize) -> Block {
    Block {
        size: number as u64,
        site: 1,
        epoch: 1,
        class: 0,
    }
}

/// In two buckets there is room for eight, and the seventh makes the table grow.
fn address(number: usize) -> usize {
    0x5555_0000_0000 + number * 48
}

#[test]
fn a_table_that_grows_loses_nothing() {
    model(2, || {
        let shard = Arc::new(OneShard::new());
        touch(shard.lock());
        for number in 0..5 {
            assert_eq!(shard.insert(address(number), block(number)), Insert::New);
        }
        let other = Arc::clone(&shard);
        let thread = loom::thread::spawn(move || {
            assert_eq!(other.remove(address(0)), Some(block(0)));
            assert_eq!(other.insert(address(5), block(5)), Insert::New);
            assert_eq!(other.get(address(5)), Some(block(5)));
        });
        // One of these grows the table, before, between or after what the other does.
        for number in 6..9 {
            assert_eq!(shard.insert(address(number), block(number)), Insert::New);
        }
        assert_eq!(shard.get(address(1)), Some(block(1)));
        thread.join().unwrap();
        assert_eq!(shard.len(), 8);
        assert_eq!(shard.get(address(0)), None);
        for number in 1..9 {
            assert_eq!(shard.remove(address(number)), Some(block(number)));
        }
        assert_eq!(shard.len(), 0);
    });
}

/// The only tally there is, empty.
fn tally() -> &'static Tally {
    let bytes = size_of::<Tally>();
    let tally = arena::alloc_table(bytes, 64).cast::<Tally>();
    // SAFETY: zeroed memory is an empty tally; it is there until the execution ends.
    let tally = unsafe {
        Tally::enlist(tally);
        &*tally
    };
    // As with locks: every word is used once.
    tally.add_alloc(1, 10);
    tally.add_alloc(2, 3);
    Sums::new().read(2);
    let _ = Sizes::read(2);
    tally
}

/// What was seen is a moment of what was counted, and no earlier one than before.
#[track_caller]
fn expect_later(now: &Sum, before: &Sum, most: u64) {
    assert!(now.frees <= now.allocations, "{now:?}");
    assert!(now.allocations <= most, "{now:?}");
    assert!(
        now.allocations >= before.allocations && now.frees >= before.frees,
        "{before:?} {now:?}"
    );
}

#[test]
fn counts_are_seen_once_while_an_entry_changes_hands() {
    model(2, || {
        let tally = tally();
        // The entry is site 2's; of those who call for another one, the fourth gets it.
        for _ in 0..3 {
            tally.add_alloc(1, 10);
        }
        tally.add_free(2, 3, false);
        let mut sums = Sums::new();
        sums.read(2);
        let before = [1, 2].map(|site| sums.get(site).unwrap());
        assert_eq!(before.map(|sum| sum.allocations), [4, 1]);
        let thread = loom::thread::spawn(move || {
            tally.add_alloc(2, 3);
            // Hands over what was counted for site 2.
            tally.add_alloc(1, 10);
            tally.add_free(1, 10, true);
        });
        sums.read(2);
        let now = [1, 2].map(|site| sums.get(site).unwrap());
        expect_later(&now[0], &before[0], 5);
        expect_later(&now[1], &before[1], 2);
        thread.join().unwrap();
        sums.read(2);
        let [one, two] = [1, 2].map(|site| sums.get(site).unwrap());
        assert_eq!((one.allocations, one.frees), (5, 1));
        assert_eq!((one.allocated_bytes, one.freed_bytes), (50, 10));
        assert_eq!((two.allocations, two.frees), (2, 1));
        assert_eq!((two.allocated_bytes, two.freed_bytes), (6, 3));
        assert_eq!((one.temporary, two.temporary), (1, 0));
    });
}

#[test]
fn sizes_are_seen_once_while_an_entry_changes_hands() {
    model(2, || {
        let tally = tally();
        for _ in 0..3 {
            tally.add_alloc(1, 10);
        }
        let thread = loom::thread::spawn(move || {
            // Hands over what was counted for site 2.
            tally.add_alloc(1, 10);
            tally.add_alloc(1, 10);
        });
        let sizes = Sizes::read(2).unwrap();
        let (_, one) = sizes.since(&Sizes::new(), 1);
        let (_, two) = sizes.since(&Sizes::new(), 2);
        assert!((4..=6).contains(&one.unwrap()[0]), "{one:?}");
        assert_eq!(two, Some([1]));
        thread.join().unwrap();
        let sizes = Sizes::read(2).unwrap();
        assert_eq!(sizes.since(&Sizes::new(), 1), (0, Some([6])));
        assert_eq!(sizes.since(&Sizes::new(), 2), (0, Some([1])));
    });
}

#[test]
fn a_tally_goes_from_a_thread_that_ends_to_the_next() {
    model(2, || {
        // As the states of threads: a list under a lock.
        let free = Arc::new((WordLock::new(), atomic::AtomicBool::new(true)));
        touch(&free.0);
        assert!(free.1.load(std::sync::atomic::Ordering::Relaxed));
        let tally = tally();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let free = Arc::clone(&free);
                loom::thread::spawn(move || {
                    use std::sync::atomic::Ordering::Relaxed;
                    {
                        let _guard = free.0.lock();
                        if !free.1.load(Relaxed) {
                            return 0;
                        }
                        free.1.store(false, Relaxed);
                    }
                    tally.add_alloc(1, 5);
                    tally.add_alloc(1, 5);
                    let _guard = free.0.lock();
                    free.1.store(true, Relaxed);
                    2
                })
            })
            .collect();
        let mut sums = Sums::new();
        sums.read(1);
        assert!(sums.get(1).unwrap().allocations <= 5);
        let counted: u64 = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        sums.read(1);
        let sum = sums.get(1).unwrap();
        assert_eq!(sum.allocations, 1 + counted);
        assert_eq!(sum.allocated_bytes, 10 + counted * 5);
    });
}

/// What a thread holds groups by.
fn holder() -> &'static Holder {
    let holder = arena::alloc_table(size_of::<Holder>(), 64).cast::<Holder>();
    // SAFETY: zeroed memory is one; it is there until the execution ends.
    unsafe {
        Holder::enlist(holder);
        &*holder
    }
}

/// A group that belongs to the one that is returned, as does the block of key 1.
fn owned_group() -> (&'static OneGroup, &'static Holder) {
    holder::allow(true);
    let (group, me) = (OneGroup::new(), holder());
    touch(group.lock());
    assert!(group.insert(Some(me), 1, &block(1)));
    // As with locks: every word is used once.
    group.calm(|| assert_eq!(group.count(), 1));
    assert!(group.insert(Some(me), 2, &block(2)));
    assert_eq!(group.remove(Some(me), 2), Some(block_as_kept(2)));
    (group, me)
}

fn block_as_kept(number: usize) -> Block {
    Block {
        epoch: (1 << 20) - 1,
        ..block(number)
    }
}

#[test]
fn a_group_that_is_taken_away_has_one_inside_at_a_time() {
    model(2, || {
        let (group, owner) = owned_group();
        let thread = loom::thread::spawn(move || {
            // Without a locked instruction, as long as it is the owner's.
            assert!(group.insert(Some(owner), 3, &block(3)));
            assert_eq!(group.remove(Some(owner), 1), Some(block_as_kept(1)));
        });
        let me = holder();
        assert!(group.insert(Some(me), 4, &block(4)));
        assert_eq!(group.remove(Some(me), 4), Some(block_as_kept(4)));
        thread.join().unwrap();
        assert_eq!(group.count(), 1);
        assert_eq!(group.remove(None, 3), Some(block_as_kept(3)));
    });
}

#[test]
fn who_looks_at_all_groups_sees_each_at_rest() {
    model(2, || {
        let (group, owner) = owned_group();
        let thread = loom::thread::spawn(move || {
            assert!(group.insert(Some(owner), 3, &block(3)));
            assert_eq!(group.remove(Some(owner), 1), Some(block_as_kept(1)));
        });
        group.calm(|| {
            let count = group.count();
            assert!((1..=2).contains(&count), "{count}");
        });
        thread.join().unwrap();
        // It may be the owner's again.
        assert!(group.insert(Some(owner), 5, &block(5)));
        assert_eq!(group.count(), 2);
    });
}

#[test]
fn no_group_is_given_to_anybody_once_that_is_forbidden() {
    model(2, || {
        let (group, owner) = owned_group();
        group.calm(|| {}); // It belongs to nobody.
        let thread = loom::thread::spawn(move || {
            assert!(group.insert(Some(owner), 3, &block(3)));
            assert!(group.insert(Some(owner), 4, &block(4)));
        });
        if holder::forbid() {
            holder::fence_others();
        }
        group.calm(|| {});
        thread.join().unwrap();
        assert!(!group.belongs_to(owner));
        assert_eq!(group.count(), 3);
    });
}
