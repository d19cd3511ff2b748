//! The table of mappings against a map of single pages.

use std::collections::{BTreeMap, HashMap};

use leaktrack_engine::mappings::{Mapping, MappingTable, Taken};
use proptest::prelude::*;

const PAGE: usize = 4096;
const BASE: usize = 0x7000_0000_0000;

#[derive(Clone, Debug)]
enum Op {
    Map(usize, usize),
    Unmap(usize, usize),
    /// The kernel refuses the first; the second goes meanwhile.
    Refused((usize, usize), (usize, usize)),
}

fn op() -> impl Strategy<Value = Op> {
    let range = (0usize..600, prop_oneof![4 => 1usize..6, 1 => 6usize..80]);
    prop_oneof![
        3 => range.clone().prop_map(|(at, pages)| Op::Map(at, pages)),
        2 => range.clone().prop_map(|(at, pages)| Op::Unmap(at, pages)),
        // No more pieces than can be put back.
        1 => ((0usize..600, 1usize..16), range).prop_map(|(one, two)| Op::Refused(one, two)),
    ]
}

/// Each page with the number of the mapping that it belongs to.
#[derive(Default)]
struct Model {
    pages: BTreeMap<usize, u32>,
    left: HashMap<u32, usize>,
}

impl Model {
    /// Removes a range; what has to be reported for it: bytes by mapping, and mappings that ended.
    fn remove(&mut self, at: usize, pages: usize) -> (BTreeMap<u32, u64>, Vec<u32>) {
        let (mut bytes, mut ended) = (BTreeMap::new(), vec![]);
        for page in at..at + pages {
            if let Some(id) = self.pages.remove(&page) {
                *bytes.entry(id).or_default() += PAGE as u64;
                let left = self.left.get_mut(&id).unwrap();
                *left -= 1;
                if *left == 0 {
                    ended.push(id);
                }
            }
        }
        ended.sort_unstable();
        (bytes, ended)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn behaves_as_a_map_of_pages(ops in prop::collection::vec(op(), 1..800)) {
        let table = MappingTable::new();
        let mut model = Model::default();
        for (id, op) in ops.into_iter().enumerate() {
            let id = id as u32;
            let (Op::Map(at, pages) | Op::Unmap(at, pages) | Op::Refused(_, (at, pages))) = op;
            let (mut bytes, mut ended) = (BTreeMap::new(), vec![]);
            let mut removed = |m: Mapping, whole: bool| {
                assert_eq!(m.epoch, m.site + 1);
                *bytes.entry(m.site).or_default() += m.bytes();
                if whole {
                    ended.push(m.site);
                }
            };
            let start = BASE + at * PAGE;
            // Lengths that are not whole pages cover the last page all the same.
            let len = pages * PAGE - id as usize % 3;
            let mut taken = Taken::new();
            match op {
                Op::Map(..) => prop_assert!(table.insert(start, len, id, id + 1, &mut removed)),
                Op::Unmap(..) if id.is_multiple_of(2) => prop_assert!(table.remove(start, len, &mut removed)),
                Op::Unmap(..) => {
                    prop_assert!(table.take(start, len, &mut taken, &mut removed));
                    table.settle(&taken, &mut removed);
                }
                Op::Refused((kept, kept_pages), _) => {
                    if kept < at + pages && at < kept + kept_pages {
                        continue;
                    }
                    let kept = BASE + kept * PAGE;
                    prop_assert!(table.take(kept, kept_pages * PAGE, &mut taken, &mut none));
                    prop_assert_eq!(table.get(kept), None);
                    prop_assert!(table.remove(start, len, &mut removed));
                    table.put_back(&taken, &mut none);
                }
            }
            ended.sort_unstable();
            prop_assert_eq!((bytes, ended), model.remove(at, pages));
            if matches!(op, Op::Map(..)) {
                model.pages.extend((at..at + pages).map(|page| (page, id)));
                model.left.insert(id, pages);
            }
            prop_assert_eq!(table.total_bytes(), (model.pages.len() * PAGE) as u64);
        }
        let mut seen = BTreeMap::new();
        let mut last_end = 0;
        table.for_each(|m| {
            assert!(m.start >= last_end && m.start < m.end);
            last_end = m.end;
            seen.extend((m.start..m.end).step_by(PAGE).map(|page| ((page - BASE) / PAGE, m.site)));
        });
        for at in 0..700 {
            let found = table.get(BASE + at * PAGE + 77).map(|m| m.site);
            prop_assert_eq!(found, model.pages.get(&at).copied());
        }
        prop_assert_eq!(seen, model.pages);
    }
}

fn none(_: Mapping, _: bool) {
    panic!("nothing was there");
}

#[test]
fn keeps_a_hundred_thousand_mappings_cheaply() {
    let table = MappingTable::new();
    let addr = |i: usize| BASE + (i * 7919 % 100_000) * 2 * PAGE;
    let before_ns = own_cpu_ns();
    for i in 0..100_000 {
        assert!(table.insert(addr(i), PAGE, i as u32, 1, &mut none));
    }
    assert_eq!(table.total_bytes(), 100_000 * PAGE as u64);
    let mut pieces = 0;
    for i in 0..50_000 {
        assert!(table.remove(addr(i), PAGE, &mut |m, whole| {
            assert!(whole && m.site == i as u32);
            pieces += 1;
        }));
    }
    // All that is left in one call.
    assert!(table.remove(BASE, 200_000 * PAGE, &mut |_, whole| pieces +=
        i32::from(whole)));
    assert_eq!((pieces, table.total_bytes()), (100_000, 0));
    // 200,000 operations; a table that moved everything each time would take minutes. What others on the machine do meanwhile
    // does not count.
    let took_ns = own_cpu_ns() - before_ns;
    assert!(took_ns < 10_000_000_000, "{took_ns} ns");
}

/// Processor time of this thread.
fn own_cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call only writes to a live local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[test]
fn passes_over_ranges_that_cannot_be() {
    let table = MappingTable::new();
    assert!(!table.insert(BASE, 0, 1, 1, &mut none));
    assert!(!table.insert(usize::MAX - 10, 100, 1, 1, &mut none));
    assert!(table.insert(BASE, 1, 1, 1, &mut none));
    assert!(table.remove(BASE, 0, &mut none));
    assert!(table.remove(usize::MAX - 10, 100, &mut none));
    assert_eq!(table.total_bytes(), PAGE as u64);
}

#[test]
fn a_forked_child_goes_on_with_a_table_that_others_were_changing() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let table = MappingTable::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Relaxed) {
                for i in 0..500 {
                    table.insert(BASE + i * 2 * PAGE, PAGE, 1, 1, &mut none);
                }
                table.remove(BASE, 1000 * PAGE, &mut |_, _| {});
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
                    table.remove(BASE, 1000 * PAGE, &mut |_, _| {});
                    let clean = table.total_bytes() == 0;
                    let kept = table.insert(BASE, 7 * PAGE, 2, 1, &mut none)
                        && table.get(BASE + PAGE).is_some_and(|m| m.site == 2);
                    libc::_exit(i32::from(
                        !clean || !kept || table.total_bytes() != 7 * PAGE as u64,
                    ));
                }
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
                assert_eq!(status, 0);
            }
        }
        done.store(true, Relaxed);
    });
}
