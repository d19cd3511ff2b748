//! `mode=budget:PERCENT` and `memory=SIZE`: the mean follows the load and the room, and what is estimated is true.

use std::process::Command;

use leaktrack_tests::{Case, Report, product};

const MIB: u64 = 1 << 20;

struct Estimate {
    value: f64,
    low: f64,
    high: f64,
}

/// The sum of what is live of all sites in `function`, and the sum of their variances as an interval of 95%.
fn live_blocks(report: &Report, function: &str) -> Estimate {
    let sites = report.json["sites"].as_array().expect("sites");
    let (mut value, mut below, mut above) = (0.0, 0.0, 0.0);
    for site in sites {
        let frames = site["frames"].as_array().expect("frames");
        if frames.iter().any(|frame| frame["function"] == function) {
            let number = |bound: &str| site["live_blocks"][bound].as_f64().expect("a number");
            value += number("value");
            below += (number("value") - number("low")).powi(2);
            above += (number("high") - number("value")).powi(2);
        }
    }
    Estimate {
        value,
        low: value - below.sqrt(),
        high: value + above.sqrt(),
    }
}

/// Within two and a half times the interval, which one estimate in a million leaves.
#[track_caller]
fn expect_near(report: &Report, function: &str, truth: f64) {
    let found = live_blocks(report, function);
    assert!(
        found.value - 2.5 * (found.value - found.low) <= truth
            && truth <= found.value + 2.5 * (found.high - found.value),
        "{function}: {truth} is not near {} ({} to {})",
        found.value,
        found.low,
        found.high
    );
}

/// The means in force, by second.
fn means(report: &Report) -> Vec<(f64, u64)> {
    let means = report.json["recording"]["sampling"]["means"].as_array();
    let means = means.expect("a sampled recording").iter();
    means
        .map(|at| {
            let seconds = at["at_s"].as_f64().expect("a time");
            (seconds, at["mean_bytes"].as_u64().expect("a mean"))
        })
        .collect()
}

#[test]
fn a_budget_follows_the_load_and_estimates_truly() {
    let case = Case::of("load.c")
        .args(["3000", "4000", "2"])
        .option("mode=budget:3")
        .option("interval=200ms");
    let mut running = case.start_tracked();
    // While it is quiet there are few snapshots of its own accord; the last one is that of the end.
    running.wait_until("at quiet", |running| {
        running.stdout_so_far().contains("at quiet\n")
    });
    let asked = Command::new(&product().command)
        .args(["snapshot", &running.pid().to_string()])
        .status();
    assert!(asked.expect("the command").success());
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    let report = tracked.report();
    assert_eq!(report.json["recording"]["mode"], "budget");
    let sampling = &report.json["recording"]["sampling"];
    assert_eq!(sampling["budget_percent"], 3.0);
    // It comes down while it is quiet, goes up in the storm and down again after it: by the program's own clock, since a busy
    // machine draws the phases out.
    let said = tracked.outcome.text();
    let ended_ms = |phase: &str| -> f64 {
        let mut lines = said.lines();
        let told = lines.find_map(|line| line.strip_prefix(&format!("{phase} ended at ")));
        let word = told.and_then(|rest| rest.split(' ').next());
        word.and_then(|word| word.parse().ok()).expect("a time")
    };
    let [quiet_s, storm_s] =
        ["quiet", "storm"].map(|phase| (ended_ms(phase) - ended_ms("start")) / 1e3);
    let means = means(&report);
    let at = |from: f64, to: f64| {
        let before = means.iter().rev().find(move |(at_s, _)| *at_s <= from);
        let within = means
            .iter()
            .filter(move |(at_s, _)| from < *at_s && *at_s <= to);
        before.into_iter().chain(within).map(|(_, mean)| *mean)
    };
    let quiet = at(0.5, quiet_s + 0.2).min().expect("a mean");
    let storm = at(quiet_s + 0.3, storm_s + 0.5).max().expect("a mean");
    let late = at(storm_s + 0.5, f64::MAX).min().expect("a mean");
    assert!(quiet * 8 <= storm, "{means:?}");
    assert!(late * 8 <= storm, "{means:?}");
    let seconds = |name: &str| sampling[name].as_f64().expect("seconds");
    let helper_s = report.json["recording"]["own_cpu_s"]
        .as_f64()
        .expect("seconds");
    let share = (seconds("hooks_cpu_s") + helper_s) / seconds("program_cpu_s");
    assert!(share > 0.0 && share <= 0.036, "{share}");
    // In the quiet times most of what is kept may fall into the second in which the mean comes down.
    expect_near(&report, "keep_storm", 20_000.0);
    let notes = report.json["coverage"]["notes"].to_string();
    assert!(notes.contains("under a budget of 3% of its CPU"), "{notes}");
}

#[test]
fn totals_are_exact_under_a_budget_and_without_a_helper() {
    let exact = Case::of("sampled.c").tracked().report();
    for option in ["helper=auto", "helper=off"] {
        let case = Case::of("sampled.c").option("mode=budget:2").option(option);
        let report = case.check().report();
        for name in ["allocations", "frees", "allocated_bytes"] {
            assert_eq!(report.total(name), exact.total(name), "{option}: {name}");
        }
    }
}

#[test]
fn a_program_that_forbids_the_clock_is_sampled_all_the_same() {
    let report = Case::of("no_clock.c")
        .option("mode=budget:1")
        .check()
        .report();
    // What was kept before the storm is known well; of what came with it there may be no sample.
    let kept = live_blocks(&report, "keep_it");
    assert!(kept.high >= 20_000.0, "at most {}", kept.high);
    let (allocations, frees) = (report.total("allocations"), report.total("frees"));
    assert_eq!(allocations - frees, 50_000);
    let means = means(&report);
    let coarsest = means.iter().map(|(_, mean)| *mean).max();
    assert!(coarsest <= Some(8 << 20), "{means:?}");
}

#[test]
fn more_blocks_than_memory_has_room_for_are_sampled_not_dropped() {
    // 8 million blocks would take 170 MiB.
    let case = Case::of("many_blocks.c")
        .args(["8000", "steps"])
        .option("memory=48m");
    let mut running = case.option("interval=200ms").start_tracked();
    running.wait_until("at 1", |running| running.stdout_so_far().contains("at 1\n"));
    let own = |report: &Report| {
        let recording = &report.json["recording"];
        recording["own_memory_bytes"].as_u64().expect("bytes")
    };
    let mut most = 0;
    running.wait_for_report("all blocks", |running| {
        most = own(running).max(most);
        running.total("allocations") >= 8_000_000
    });
    std::fs::write(running.folder().join("1"), "").expect("a step");
    running.wait_until("at 2", |running| running.stdout_so_far().contains("at 2\n"));
    std::fs::write(running.folder().join("2"), "").expect("a step");
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    let report = tracked.report();
    most = own(&report).max(most);
    assert!(most <= 48 * MIB, "{most}");
    assert_eq!(report.coverage("dropped"), 0);
    // Allocations, and frees of keep_middle, are counted one by one.
    assert!((8_000_000..8_000_100).contains(&report.total("allocations")));
    assert!((3_000_000..3_000_100).contains(&report.total("frees")));
    expect_near(&report, "keep_small", 4_000_000.0);
    expect_near(&report, "keep_large", 1_000_000.0);
    expect_near(&report, "keep_middle", 0.0);
    let sampling = &report.json["recording"]["sampling"];
    assert!(sampling["from_s"].as_f64().expect("a time") > 0.0);
    // The mean rose step by step.
    let coarsest = sampling["coarsest_bytes"].as_u64().expect("a mean");
    assert!((128..=1 << 20).contains(&coarsest), "{coarsest}");
    let notes = report.json["coverage"]["notes"].to_string();
    assert!(
        notes.contains("came near its cap (option memory)"),
        "{notes}"
    );
}

#[test]
fn few_blocks_under_a_small_cap_stay_exact() {
    let report = Case::of("sampled.c").option("memory=8m").check().report();
    assert!(report.json["recording"]["sampling"].is_null());
    report.expect_live("keep_small", 30_000, 30_000 * 64);
}

#[test]
fn threads_and_sites_beyond_the_cap_fold_and_every_block_counts() {
    let case = Case::of("threads_sites.c")
        .args(["100", "20000"])
        .option("memory=16m");
    let report = case.check().report();
    let own = report.json["recording"]["own_memory_bytes"].as_u64();
    assert!(own.expect("bytes") <= 16 * MIB, "{own:?}");
    assert_eq!(report.coverage("dropped"), 0);
    assert!(report.coverage("folded_stacks") > 0);
    assert!(report.total("allocations") >= 2_000_000);
    // One kept of a hundred, in every thread.
    let live = report.total("live_blocks");
    assert!((20_000..20_400).contains(&live), "{live}");
}

#[test]
fn code_without_end_folds_within_the_cap() {
    let report = Case::of("jit.c")
        .arg("3000")
        .option("memory=8m")
        .check()
        .report();
    let own = report.json["recording"]["own_memory_bytes"].as_u64();
    assert!(own.expect("bytes") <= 8 * MIB, "{own:?}");
    assert_eq!(report.coverage("dropped"), 0);
    // 192,000 places, each called 32 times.
    assert!(report.total("allocations") >= 3_000 * 64 * 32);
    let live = report.total("live_blocks");
    assert!((100..120).contains(&live), "{live}");
}

#[test]
fn intervals_hold_what_a_coarse_mean_missed() {
    const KEPT: [(&str, u64, u64); 5] = [
        ("keep_a", 20, 20 * 10_000),
        ("keep_b", 5, 5 * 50_000),
        ("keep_c", 200, 200 * 1_000),
        ("keep_d", 3_000, 3_000 * 64),
        ("keep_e", 1, 200_000),
    ];
    let case = Case::of("few_samples.c")
        .option("mode=budget:1")
        .option("interval=100ms");
    let (mut asked, mut held) = (0, 0);
    // The slower the machine, the coarser the mean and the fewer of the sites a run has a sample of.
    for round in 0..60 {
        if round >= 8 && asked >= 16 {
            break;
        }
        let tracked = case.tracked();
        tracked.outcome.expect_code(0);
        let report = tracked.report();
        for site in report.json["sites"].as_array().expect("sites") {
            let frames = site["frames"].as_array().expect("frames");
            let kept = KEPT
                .iter()
                .find(|(function, ..)| frames.iter().any(|frame| frame["function"] == *function));
            let Some((_, blocks, bytes)) = kept else {
                continue;
            };
            for (what, truth) in [("live_blocks", *blocks), ("live_bytes", *bytes)] {
                let number = |bound: &str| site[what][bound].as_u64().expect("a number");
                asked += 1;
                held += u32::from(number("low") <= truth && truth <= number("high"));
            }
        }
        // With call sites of which no block was sampled: the program holds little else.
        let estimate = &report.json["totals"]["live_bytes_estimate"];
        let number = |bound: &str| estimate[bound].as_u64().expect("a number");
        let truth: u64 = KEPT.iter().map(|(_, _, bytes)| bytes).sum();
        asked += 1;
        held += u32::from(number("low") <= truth + 100_000 && truth <= number("high") + 100_000);
    }
    // Each holds in 19 of 20 cases; so few do not once in a million runs.
    assert!(asked >= 16 && held * 10 >= asked * 7, "{held} of {asked}");
}
