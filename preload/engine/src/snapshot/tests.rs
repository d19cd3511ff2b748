//! Recording for thousands of snapshots: everything adds up, the cap holds, the whole run is covered.

use std::vec::Vec;

use super::counts::Counts;
use super::defs::{OTHER_HEAP, OTHER_MMAP};
use super::testing::{Random, Run, busy};

#[test]
fn a_short_run_is_kept_whole() {
    let mut run = Run::new("short", 1 << 20);
    let mut random = Random(1);
    for _ in 0..20 {
        busy(&run.fake, &mut random, 50, 100);
        run.tick(false).unwrap();
        run.read().check(&run.fake);
    }
    run.tick(true).unwrap();
    run.recorder.finish().unwrap();
    let back = run.read();
    back.check(&run.fake);
    assert_eq!(
        back.times_ms,
        (1..=21).map(|s| s * 1_000).collect::<Vec<u64>>()
    );
    assert_eq!(back.sites.len(), 50);
    assert_eq!(back.nodes.len(), 200);
    let size = std::fs::metadata(run.path()).unwrap().len();
    assert!(size < 96 << 10, "{size} bytes for a tiny recording");
}

#[test]
fn thousands_of_snapshots_stay_under_the_cap_and_add_up() {
    for (disk_bytes, sites, changes, snapshots) in [
        (256 << 10, 100, 50, 5_000),
        (1 << 20, 2_000, 1_500, 2_000),
        (512 << 10, 30, 5, 10_000),
    ] {
        let mut run = Run::new(&std::format!("thin-{disk_bytes}-{sites}"), disk_bytes);
        let mut random = Random(disk_bytes);
        for snapshot in 1..=snapshots {
            busy(&run.fake, &mut random, sites, changes);
            run.tick(false).unwrap();
            if snapshot % 500 == 0 {
                run.read().check(&run.fake);
            }
        }
        let back = run.read();
        back.check(&run.fake);
        let size = std::fs::metadata(run.path()).unwrap().len();
        assert!(size <= disk_bytes, "{size} of {disk_bytes}");
        assert!(run.recorder.health().thinned > 0);
        // The whole run, at growing spacing.
        let (first, end) = (back.times_ms[0], *back.times_ms.last().unwrap());
        assert_eq!(end, snapshots * 1_000);
        assert!(first <= end / 4, "begins at {first} of {end}");
        for pair in back.times_ms.windows(2) {
            let (spacing, age) = (pair[1] - pair[0], end - pair[0]);
            assert!(
                spacing <= age / 2 + 2_000,
                "{spacing} at age {age} in {:?}",
                back.times_ms.len()
            );
        }
        let recent = back
            .times_ms
            .iter()
            .rev()
            .take(4)
            .copied()
            .collect::<Vec<_>>();
        assert_eq!(recent, [end, end - 1_000, end - 2_000, end - 3_000]);
    }
}

#[test]
fn many_busy_sites_stay_cheap() {
    // Twenty thousand sites in 64 MiB in proportion: a third as many in a twentieth of the file.
    let mut run = Run::new("busy", 3 << 20);
    let mut random = Random(7);
    for _ in 0..90 {
        busy(&run.fake, &mut random, 6_000, 8_000);
        run.tick(false).unwrap();
    }
    let health = run.recorder.health();
    assert!(
        health.thinned > 0 && health.file_bytes <= 3 << 20,
        "{health:?}"
    );
    let back = run.read();
    back.check(&run.fake);
    assert_eq!(back.sites.len(), 6_000);
}

#[test]
fn a_snapshot_too_long_for_one_record_is_several() {
    let mut run = Run::new("split", 2 << 20);
    for _ in 0..5 {
        for site in 1..=4_000 {
            // As long as numbers get: 140 KB of changes, where a record holds 128 KiB.
            run.fake.add(
                site,
                Counts {
                    allocations: 1 << 55,
                    frees: 1 << 55,
                    allocated_bytes: 1 << 55,
                    freed_bytes: 1 << 55,
                    temporary: 0,
                },
            );
        }
        run.tick(false).unwrap();
        run.read().check(&run.fake);
    }
    let parts = run.read().times_ms;
    assert_eq!(
        parts,
        [
            1_000, 1_000, 2_000, 2_000, 3_000, 3_000, 4_000, 4_000, 5_000, 5_000
        ]
    );
}

#[test]
fn sites_without_room_for_a_definition_are_counted_together() {
    // 20,000 sites of four frames each: 2 MiB of definitions, for which there are 64 KiB.
    let mut run = Run::new("fold", 256 << 10);
    let mut random = Random(21);
    for _ in 0..50 {
        busy(&run.fake, &mut random, 20_000, 3_000);
        run.tick(false).unwrap();
    }
    // A site that was among the others begins to matter.
    let heavy = 19_999;
    run.fake.allocate(heavy, 1 << 30);
    run.tick(false).unwrap();
    run.fake.allocate(heavy, 1 << 30);
    run.tick(true).unwrap();
    let back = run.read();
    back.check(&run.fake);
    assert!(back.sites.contains_key(&OTHER_HEAP) && back.sites[&OTHER_HEAP].folded);
    assert!(back.sites.contains_key(&OTHER_MMAP));
    assert!(
        back.sites.contains_key(&heavy),
        "a heavy site is told apart"
    );
    assert!(back.sums[&heavy].allocated_bytes >= 2 << 30);
    assert!(back.sites.len() > 300, "{}", back.sites.len());
    assert!(std::fs::metadata(run.path()).unwrap().len() <= 256 << 10);
}

#[test]
fn ages_tell_the_oldest_and_the_median() {
    let mut run = Run::new("ages", 1 << 20);
    for second in 1..=300u32 {
        run.fake.allocate(1, 10);
        run.fake.births.borrow_mut().push((1, run.fake.epoch.get()));
        if second == 100 {
            for _ in 0..5 {
                run.fake.allocate(2, 10);
                run.fake.births.borrow_mut().push((2, run.fake.epoch.get()));
            }
        }
        run.tick(false).unwrap();
    }
    let mut freed = [0; leaktrack_recording::OCTAVES];
    freed[3] = 7;
    run.fake.freed.borrow_mut().insert(1, Some(freed));
    run.fake.freed.borrow_mut().insert(2, None);
    // Born before the fork: the parent's.
    run.fake.births.borrow_mut().push((2, 0));
    run.tick(true).unwrap();
    let back = run.read();
    // One block a second, the youngest two seconds old: 2, 4, 8 … of them in each octave of age.
    let lived = back.lifetimes[&1];
    assert_eq!(lived.freed, Some(freed));
    assert_eq!(lived.live[..9], [0, 0, 2, 4, 8, 16, 32, 64, 128]);
    assert_eq!(lived.live.iter().sum::<u64>(), 300);
    assert!(
        back.epoch_us.abs_diff(1_000_000) < 10_000,
        "{}",
        back.epoch_us
    );
    let unknown = back.lifetimes[&2];
    assert_eq!((unknown.freed, unknown.live[8]), (None, 5));
    let ages = back.ages;
    assert_eq!((ages[&1].blocks, ages[&2].blocks), (300, 5));
    let near = |ms: u64, second: u64| ms.abs_diff(second * 1_000) <= 1_000;
    assert!(near(ages[&1].oldest_ms, 1), "{:?}", ages[&1]);
    assert!(
        ages[&1].median_ms.abs_diff(150_000) < 15_000,
        "{:?}",
        ages[&1]
    );
    assert!(
        near(ages[&2].oldest_ms, 100) && near(ages[&2].median_ms, 100),
        "{:?}",
        ages[&2]
    );
}

#[test]
fn sizes_are_told_soon_and_then_every_minute() {
    let mut run = Run::new("sizes", 1 << 20);
    run.fake.allocate(1, 10);
    run.fake.sizes.borrow_mut().push((0, [1; 16]));
    for second in 1..=200u64 {
        run.tick(false).unwrap();
        let due = [1, 2, 4, 8, 16, 32, 64, 124, 184];
        let told = due.iter().rfind(|due| **due <= second);
        assert_eq!(run.read().sizes_ms, told.map(|due| due * 1_000));
    }
}

#[test]
fn events_are_kept_the_first_and_the_last() {
    let mut run = Run::new("events", 256 << 10);
    let text = [b'e'; 200];
    for at_ms in 0..2_000 {
        let kind = leaktrack_recording::EventKind::Mark;
        let event = leaktrack_recording::Record::Event {
            at_ms,
            kind,
            text: &text,
        };
        run.recorder.append_event(&event).unwrap();
        run.tick(false).unwrap();
    }
    let back = run.read();
    assert!(run.recorder.health().dropped_events > 1_000);
    assert!(back.events > 60 && back.events < 200, "{}", back.events);
    assert_eq!(back.problems, 0);
}
