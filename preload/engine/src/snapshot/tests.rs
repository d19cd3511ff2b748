//! Recording for thousands of snapshots: everything adds up, the cap holds, the whole run is covered.

use std::vec::Vec;

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
    assert_eq!(back.times_ms, (1..=21).map(|s| s * 1_000).collect::<Vec<u64>>());
    assert_eq!(back.sites.len(), 50);
    assert_eq!(back.nodes.len(), 200);
    let size = std::fs::metadata(run.path()).unwrap().len();
    assert!(size < 96 << 10, "{size} bytes for a tiny recording");
}

#[test]
fn thousands_of_snapshots_stay_under_the_cap_and_add_up() {
    for (disk_bytes, sites, changes, snapshots) in
        [(256 << 10, 100, 50, 5_000), (1 << 20, 2_000, 1_500, 2_000), (512 << 10, 30, 5, 10_000)]
    {
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
            assert!(spacing <= age / 2 + 2_000, "{spacing} at age {age} in {:?}", back.times_ms.len());
        }
        let recent = back.times_ms.iter().rev().take(4).copied().collect::<Vec<_>>();
        assert_eq!(recent, [end, end - 1_000, end - 2_000, end - 3_000]);
        std::eprintln!("{disk_bytes}: {} of {snapshots} snapshots, first {first} {:?}", back.times_ms.len(), run.recorder.health());
    }
}

#[test]
fn twenty_thousand_busy_sites() {
    let mut run = Run::new("busy", 64 << 20);
    let mut random = Random(7);
    let began = std::time::Instant::now();
    let mut busy_time = std::time::Duration::ZERO;
    let snapshots = 600;
    for _ in 0..snapshots {
        let b = std::time::Instant::now();
        busy(&run.fake, &mut random, 20_000, 60_000);
        busy_time += b.elapsed();
        run.tick(false).unwrap();
    }
    let each = (began.elapsed() - busy_time) / snapshots;
    let back = run.read();
    back.check(&run.fake);
    std::eprintln!("{} of {snapshots} snapshots, {each:?} each {:?}", back.times_ms.len(), run.recorder.health());
}
