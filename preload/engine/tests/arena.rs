//! The arena: alignment, zeroes, reuse, and the two structures on top of it.

use std::collections::BTreeMap;

use leaktrack_engine::arena::{self, AVec, Chunked};
use proptest::prelude::*;

fn is_zero(p: *const u8, bytes: usize) -> bool {
    // SAFETY: callers pass pieces of this size.
    unsafe { std::slice::from_raw_parts(p, bytes) }
        .iter()
        .all(|&b| b == 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    #[test]
    fn pieces_are_zeroed_aligned_and_disjoint(
        ops in prop::collection::vec((any::<bool>(), 1usize..20_000, 0u32..13), 1..400)
    ) {
        let mut live: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (give_back, bytes, log_align) in ops {
            if give_back && let Some((p, (bytes, align))) = live.pop_first() {
                // SAFETY: allocated below, with these values.
                unsafe { arena::dealloc(p as *mut u8, bytes, align) };
                continue;
            }
            let align = 1 << log_align;
            let p = arena::alloc(bytes, align);
            prop_assert!(!p.is_null() && (p as usize).is_multiple_of(align) && is_zero(p, bytes));
            // SAFETY: the piece has this many bytes.
            unsafe { p.write_bytes(0xA5, bytes) };
            let before = live.range(..p as usize).next_back();
            prop_assert!(before.is_none_or(|(&q, &(n, _))| q + n <= p as usize));
            let after = live.range(p as usize..).next();
            prop_assert!(after.is_none_or(|(&q, _)| p as usize + bytes <= q));
            live.insert(p as usize, (bytes, align));
        }
        for (p, (bytes, align)) in live {
            // SAFETY: as above.
            unsafe { arena::dealloc(p as *mut u8, bytes, align) };
        }
    }

    #[test]
    fn a_vector_is_a_vector(ops in prop::collection::vec((0u8..8, any::<u32>()), 1..500)) {
        let (mut ours, mut model) = (AVec::new(), vec![]);
        for (op, value) in ops {
            let at = value as usize % (model.len() + 1);
            match op {
                0..4 => {
                    prop_assert!(ours.try_push(value));
                    model.push(value);
                }
                4 => {
                    prop_assert!(ours.try_insert(at, value));
                    model.insert(at, value);
                }
                5 => {
                    let expected = (at < model.len()).then(|| model.remove(at));
                    prop_assert_eq!(ours.remove(at), expected);
                }
                6 => prop_assert_eq!(ours.pop(), model.pop()),
                _ => {
                    if let Some(p) = ours.get_mut(at) {
                        *p = value;
                        model[at] = value;
                    }
                }
            }
            prop_assert_eq!(ours.as_slice(), &model[..]);
            prop_assert_eq!((ours.len(), ours.is_empty()), (model.len(), model.is_empty()));
            prop_assert_eq!(ours.get(at), model.get(at));
        }
        ours.clear();
        prop_assert!(ours.is_empty() && !ours.try_insert(1, 0));
    }
}

#[test]
fn refuses_what_makes_no_sense() {
    assert!(arena::alloc(0, 1).is_null());
    assert!(arena::alloc(8, 3).is_null());
    assert!(arena::alloc(8, 0).is_null());
    assert!(arena::alloc(8, 8192).is_null());
    assert!(arena::alloc(usize::MAX, 8).is_null());
    assert!(arena::alloc(usize::MAX / 2, 8).is_null());
    // SAFETY: null is always allowed.
    unsafe { arena::dealloc(std::ptr::null_mut(), 8, 8) };
}

#[test]
fn readers_see_what_was_pushed_while_it_grows() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    #[repr(align(64))]
    struct Line([u32; 16]);
    static LINES: Chunked<Line> = Chunked::new();
    const N: u32 = 100_000;
    assert!(LINES.is_empty() && LINES.get(0).is_none());
    std::thread::scope(|s| {
        let reader = s.spawn(|| {
            let mut checked = 0;
            while checked < N {
                let len = LINES.len();
                assert!((checked..len).all(|i| LINES.get(i) == Some(&Line([i; 16]))));
                checked = len;
            }
        });
        let first = LINES
            .push(Line([0; 16]))
            .and_then(|_| LINES.get(0))
            .unwrap();
        for i in 1..N {
            assert_eq!(LINES.push(Line([i; 16])), Some(i));
        }
        assert_eq!(first, LINES.get(0).unwrap());
        reader.join().unwrap();
    });
    assert!(LINES.get(N).is_none() && LINES.get(u32::MAX).is_none());
    assert_eq!(
        LINES.get(63).map(|l| l as *const Line as usize % 64),
        Some(0)
    );
}

#[test]
fn a_forked_child_goes_on_with_it() {
    let other = std::thread::spawn(|| {
        for _ in 0..50_000 {
            let p = arena::alloc(40, 8);
            // SAFETY: allocated above.
            unsafe { arena::dealloc(p, 40, 8) };
        }
    });
    for _ in 0..20 {
        // SAFETY: the child uses the arena only and leaves.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::alarm(240);
                arena::abandon_in_child();
                let (small, large) = (arena::alloc(100, 8), arena::alloc(100_000, 8));
                libc::_exit(i32::from(
                    small.is_null() || large.is_null() || !is_zero(large, 100_000),
                ));
            }
            let mut status = 0;
            libc::waitpid(child, &raw mut status, 0);
            assert_eq!(status, 0);
        }
    }
    other.join().unwrap();
}
