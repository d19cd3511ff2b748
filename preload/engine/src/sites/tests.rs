//! Sites as the hooks use them.

use super::*;
use crate::unwind::ExactMask;
use std::vec::Vec;

fn stack(pcs: &[usize], number: u64) -> Stack<'_> {
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Stack {
        pcs,
        exact: ExactMask::default(),
        hash,
        generation: modules::generation(),
        cut: false,
        broken: false,
    }
}

fn path(leaf: u32) -> Vec<Node> {
    core::iter::successors(node(leaf), |n| node(n.parent)).collect()
}

#[test]
fn equal_stacks_are_one_site() {
    modules::init();
    let here = equal_stacks_are_one_site as *const () as usize + 1;
    let pcs = [here, 0x1000_0000_1000, 0x1000_0000_2000];
    let first = intern(&stack(&pcs, 1 << 60 | 77), Kind::Heap, Call::Malloc, 7, 42);
    assert_ne!(first, 0);
    // The same by its hash, and by the tree when the hash is not known (another generation).
    assert_eq!(
        intern(&stack(&pcs, 1 << 60 | 77), Kind::Heap, Call::Malloc, 8, 43),
        first
    );
    assert_eq!(
        intern(&stack(&pcs, 2 << 60 | 77), Kind::Heap, Call::Malloc, 8, 43),
        first
    );
    let mapping = intern(&stack(&pcs, 1 << 60 | 77), Kind::Mmap, Call::Malloc, 9, 43);
    assert_ne!(mapping, first);
    let info = site(first).unwrap();
    assert_eq!(
        (info.kind, info.first_seen_ms, info.thread),
        (Kind::Heap, 7, 42)
    );
    assert_eq!(site(mapping).unwrap().leaf, info.leaf);

    let frames = path(info.leaf);
    assert_eq!(frames.len(), 3);
    let bias = modules::find(here).unwrap().image.bias;
    assert_eq!(frames[0].offset, (here - bias) as u64);
    assert_ne!(frames[0].module, 0);
    assert_eq!((frames[2].module, frames[2].offset), (0, 0x1000_0000_2000));

    // Another caller of the same function shares the outer frames only.
    let other = [here, 0x1000_0000_1008, 0x1000_0000_2000];
    let other = intern(
        &stack(&other, 3 << 60 | 77),
        Kind::Heap,
        Call::Malloc,
        8,
        43,
    );
    let other = path(site(other).unwrap().leaf);
    assert_eq!(other[2], frames[2]);
    assert_ne!(other[0].parent, frames[0].parent);

    counters(first).unwrap().add_alloc(100);
    counters(first).unwrap().add_free(40);
    assert_eq!(counters(first).unwrap().allocated_bytes.load(Relaxed), 100);
    assert!(counters(0).is_none());
}

#[test]
fn threads_agree() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let one = |i: usize| {
                    let pcs = [
                        0x2000_0000_0000 + i % 97 * 16,
                        0x2000_0001_0000 + i % 13 * 16,
                        0x2000_0002_0000,
                    ];
                    let number = (i % 97 * 13 + i % 13) as u64 + 1;
                    (
                        pcs,
                        intern(&stack(&pcs, number), Kind::Heap, Call::Malloc, 0, 0),
                    )
                };
                (0..20_000).map(one).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut seen = std::collections::HashMap::new();
    for thread in threads {
        for (pcs, site) in thread.join().unwrap() {
            assert_eq!(*seen.entry(pcs).or_insert(site), site);
        }
    }
    assert_eq!(seen.len(), 97 * 13);
    let distinct: std::collections::HashSet<_> = seen.values().collect();
    assert_eq!(distinct.len(), seen.len());
}

#[test]
fn a_stack_of_an_earlier_generation_of_modules_is_refused() {
    modules::init();
    let pcs = [0x1100_0000_1000, 0x1100_0000_2000];
    let old = Stack {
        generation: modules::generation().wrapping_sub(1),
        ..stack(&pcs, 1 << 59 | 5)
    };
    assert_eq!(intern(&old, Kind::Heap, Call::Malloc, 0, 0), 0);
    let new = stack(&pcs, 1 << 59 | 5);
    assert_ne!(intern(&new, Kind::Heap, Call::Malloc, 0, 0), 0);
}
