//! `mode=sample:BYTES`: totals are exact, sites are estimates whose intervals can be trusted.

use leaktrack_tests::{Case, Report, Valgrind, product, program};

/// What `sampled.c` keeps: function, blocks, bytes.
const KEPT: [(&str, u64, u64); 4] = [
    ("keep_small", 30_000, 30_000 * 64),
    ("keep_middle", 4_000, 4_000 * 700),
    ("keep_large", 300, 300 * 9_000),
    ("grow", 2_000, 2_000 * 400),
];

struct Estimate {
    value: f64,
    low: f64,
    high: f64,
}

/// `live_bytes` or `live_blocks` of the one site in `function`; `None` if none of it was sampled.
fn estimate(report: &Report, function: &str, what: &str) -> Option<Estimate> {
    let sites = report.json["sites"].as_array().expect("sites");
    let mut found = sites.iter().filter(|site| {
        let frames = site["frames"].as_array().expect("frames");
        frames.iter().any(|frame| frame["function"] == function)
    });
    let site = found.next()?;
    assert!(found.next().is_none(), "{function} is one site");
    let number = |bound: &str| site[what][bound].as_f64().expect("a number");
    Some(Estimate {
        value: number("value"),
        low: number("low"),
        high: number("high"),
    })
}

#[test]
fn intervals_hold_what_the_program_really_keeps() {
    let case = Case::of("sampled.c").option("mode=sample:64k");
    let (mut held, mut asked) = (0, 0);
    for _ in 0..12 {
        let tracked = case.tracked();
        tracked.outcome.expect_code(0);
        let report = tracked.report();
        for (function, blocks, bytes) in KEPT {
            for (what, truth) in [("live_blocks", blocks), ("live_bytes", bytes)] {
                let Some(found) = estimate(&report, function, what) else {
                    panic!("{function}: more than a dozen samples are expected");
                };
                let truth = truth as f64;
                asked += 1;
                held += usize::from(found.low <= truth && truth <= found.high);
                // Three times as wide an interval fails once in a hundred million.
                assert!(
                    found.value - 3.0 * (found.value - found.low) <= truth
                        && truth <= found.value + 3.0 * (found.high - found.value),
                    "{function} {what}: {truth} is not near {} ({} to {})",
                    found.value,
                    found.low,
                    found.high
                );
            }
        }
        // Every sampled block that was freed is known to be gone, whichever thread freed it.
        let gone = estimate(&report, "come_and_go", "live_bytes").expect("200,000 blocks");
        assert_eq!((gone.value, gone.high), (0.0, 0.0));
    }
    // Blocks and bytes of a site of one size stand and fall together: 48 independent intervals, of
    // which fewer than 38 hold the truth once in some 100,000 runs.
    assert!(held >= asked * 38 / 48, "{held} of {asked}");
}

/// What was there at the highest point and given back: its interval holds it, and the report tells the interval.
#[test]
fn intervals_of_peaks_hold_what_was_there() {
    const BLOCKS: u64 = 12_000;
    let bytes = BLOCKS * 900;
    let case = Case::of("peak_gone.c")
        .option("mode=sample:64k")
        .option("interval=200ms");
    let (mut held, mut asked) = (0, 0);
    for _ in 0..12 {
        let tracked = case.tracked();
        tracked.outcome.expect_code(0);
        let report = tracked.report();
        let whole = &report.json["totals"]["peak_live_bytes_estimate"];
        let bound = |bound: &str| whole[bound].as_f64().expect("a number");
        let site = estimate(&report, "come_and_go", "peak_live_bytes_estimate").expect("samples");
        let gone = estimate(&report, "come_and_go", "live_bytes").expect("samples");
        assert_eq!(gone.high, 0.0);
        for (low, high) in [(site.low, site.high), (bound("low"), bound("high"))] {
            assert!(low < high, "{low} to {high}");
            asked += 1;
            held += usize::from(low <= bytes as f64 && bytes as f64 <= high);
        }
        assert!(
            tracked.text().contains("peak") && tracked.text().contains("(95%: "),
            "{}",
            tracked.text()
        );
    }
    assert!(held >= asked * 9 / 12, "{held} of {asked}");
}

#[test]
fn totals_stay_exact() {
    let case = Case::of("sampled.c");
    let truth = Valgrind::run(&program("sampled.c"), &[], &[], case.folder(), b"");
    // The C library's own block for each thread grows with every library that has thread-local
    // data, as leaktrack's has: so the bytes are compared with those of exact mode.
    let exact = case.tracked().report();
    let tracked = case.option("mode=sample:64k").check();
    let report = tracked.report();
    for (name, truth) in [
        ("allocations", truth.allocations),
        ("frees", truth.frees),
        ("allocated_bytes", exact.total("allocated_bytes")),
    ] {
        assert_eq!(report.total(name), truth, "{name}");
    }
    assert_eq!(report.total("live_blocks"), truth.allocations - truth.frees);
    assert_eq!(report.coverage("unknown_frees"), 0);
    assert_eq!(report.coverage("dropped"), 0);
    let notes = report.json["coverage"]["notes"].to_string();
    assert!(notes.contains("a sample every 64.0 KiB"), "{notes}");
}

#[test]
fn a_mean_of_one_byte_samples_everything() {
    // With p = 1 to thirteen digits the estimate is the truth: the same figures as in exact mode.
    let report = Case::of("sampled.c")
        .option("mode=sample:1")
        .check()
        .report();
    for (function, blocks, bytes) in KEPT {
        report.expect_live(function, blocks, bytes);
    }
}

#[test]
fn a_forked_child_samples_for_itself() {
    let case = Case::of("sampled.c").arg("fork").option("mode=sample:32k");
    // The child may end before a snapshot is due.
    let tracked = case.env("LEAKTRACK_KEEP_SHORT", "1").check();
    let reports = tracked.reports();
    assert_eq!(reports.len(), 2);
    let child = reports
        .iter()
        .find(|report| report.total("allocations") > 100_000)
        .expect("the child's recording");
    for (function, blocks, _) in KEPT {
        let found = estimate(child, function, "live_blocks").expect("samples");
        let (truth, reach) = (blocks as f64, 3.0 * (found.high - found.low));
        assert!(
            (found.value - truth).abs() <= reach,
            "{function}: {}",
            found.value
        );
    }
}

#[test]
fn the_text_says_that_it_estimates() {
    let tracked = Case::of("sampled.c").option("mode=sample:64k").tracked();
    let output = std::process::Command::new(&product().command)
        .arg("report")
        .args(&tracked.recordings)
        .output()
        .expect("the command");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("was recorded by sampling"), "{text}");
    let headline = text
        .lines()
        .find(|line| line.contains(" blocks") && line.contains(" to "))
        .expect("a site with its interval");
    assert!(
        headline.contains("MiB (") && headline.contains(" to "),
        "{headline}"
    );
}
