//! Locks under contention, over forks, and after a holder was torn out.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use leaktrack_engine::lock::{self, WordLock};

/// A number that only its lock makes safe to change.
#[derive(Default)]
struct Counter {
    lock: WordLock,
    value: UnsafeCell<u64>,
}
// SAFETY: the value is reached under the lock only.
unsafe impl Sync for Counter {}

fn count_to(threads: u64, each: u64) {
    let counter = Arc::new(Counter::default());
    let start = Arc::new(AtomicBool::new(false));
    let all: Vec<_> = (0..threads)
        .map(|_| {
            let (counter, start) = (counter.clone(), start.clone());
            std::thread::spawn(move || {
                while !start.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                for i in 0..each {
                    let _guard = counter.lock.lock();
                    // SAFETY: the lock is held.
                    unsafe { *counter.value.get() += 1 };
                    if i % 64 == 0 {
                        // The others sleep in the kernel.
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    start.store(true, Ordering::Relaxed);
    all.into_iter().for_each(|t| t.join().unwrap());
    // SAFETY: all threads are gone.
    assert_eq!(unsafe { *counter.value.get() }, threads * each);
}

#[test]
fn excludes_with_and_without_sleeping() {
    count_to(8, 20_000);
    lock::set_spin_only(true);
    count_to(2, 5_000);
    lock::set_spin_only(false);
}

#[test]
fn wakes_who_sleeps() {
    let counter = Arc::new(Counter::default());
    let guard = counter.lock.lock();
    assert!(counter.lock.held_here() && counter.lock.try_lock().is_none());
    let other = {
        let counter = counter.clone();
        std::thread::spawn(move || {
            assert!(!counter.lock.held_here());
            let _guard = counter.lock.lock();
            Instant::now()
        })
    };
    std::thread::sleep(Duration::from_millis(30));
    let freed = Instant::now();
    drop(guard);
    assert!(other.join().unwrap() >= freed);
    assert!(counter.lock.try_lock().is_some());
}

#[test]
fn tells_the_next_holder_once_that_it_was_abandoned() {
    let lock = WordLock::new();
    lock.lock_raw();
    // SAFETY: this thread holds it, and forgets that it does.
    unsafe { lock.abandon() };
    assert!(!lock.held_here());
    assert!(lock.lock_checked().1);
    assert!(!lock.lock_checked().1);
    lock.lock_raw();
    // SAFETY: as above.
    unsafe { lock.abandon() };
    assert!(lock.try_lock().is_some(), "an abandoned lock is free");
    // SAFETY: nobody holds it, so nothing happens.
    unsafe { lock.abandon() };
    assert!(!lock.lock_checked().1);
}

#[test]
fn leaves_the_locks_of_others_alone() {
    let counter = Arc::new(Counter::default());
    let guard = counter.lock.lock();
    let other = counter.clone();
    // SAFETY: the other thread does not hold it, so nothing happens.
    std::thread::spawn(move || unsafe { other.lock.abandon() })
        .join()
        .unwrap();
    assert!(counter.lock.held_here());
    drop(guard);
}

#[test]
fn a_sleeper_gets_what_was_abandoned() {
    let counter = Arc::new(Counter::default());
    counter.lock.lock_raw();
    let other = counter.clone();
    let waits = std::thread::spawn(move || other.lock.lock_checked().1);
    std::thread::sleep(Duration::from_millis(20));
    // SAFETY: this thread holds it, and forgets that it does.
    unsafe { counter.lock.abandon() };
    assert!(waits.join().unwrap());
}

#[test]
fn a_forked_child_can_use_what_its_parent_held() {
    let lock = WordLock::new();
    lock.lock_raw();
    // SAFETY: the child only uses the lock and leaves.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(240);
            let held = lock.held_here();
            lock.reset();
            let (guard, abandoned) = lock.lock_checked();
            drop(guard);
            libc::_exit(i32::from(!held || abandoned));
        }
        lock.unlock_raw();
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        assert_eq!(status, 0);
    }
}
