//! Page faults by the site whose memory was touched: against numbers known from the program, and
//! against the kernel's own counters.

use std::fs;

use leaktrack_tests::{Case, Report, Tracked, program, tool};
use serde_json::Value;

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// Minor faults on sites that a function allocated.
fn minor(report: &Report, function: &str) -> u64 {
    sites(report, function)
        .map(|site| number(&site["faults"]["minor"]))
        .sum()
}

fn sites<'a>(report: &'a Report, function: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = report.json["sites"].as_array().expect("sites").iter();
    all.filter(move |site| {
        let frames = site["frames"].as_array().expect("frames");
        frames.iter().any(|frame| frame["function"] == function)
    })
}

#[track_caller]
fn near(what: &str, found: u64, expected: u64, percent: u64, report: &Report) {
    assert!(
        found.abs_diff(expected) * 100 <= expected * percent,
        "{what}: {found}, not {expected}\n{}",
        report.json["faults"]
    );
}

/// The parts, those of sites included, and the sum that they have to make.
fn parts(report: &Report) -> (u64, u64) {
    let faults = &report.json["faults"];
    let regions: u64 = faults["regions"]
        .as_array()
        .expect("regions")
        .iter()
        .map(|region| number(&region["minor"]) + number(&region["major"]))
        .sum();
    let own = [
        "attributed_minor",
        "attributed_major",
        "in_kernel",
        "before",
    ];
    let sum = own.iter().map(|name| number(&faults[*name])).sum::<u64>() + regions;
    (sum, number(&faults["minor"]) + number(&faults["major"]))
}

/// Minor faults of which the kernel's record was lost, or that nothing explains.
fn unknown(report: &Report) -> u64 {
    let regions = report.json["faults"]["regions"].as_array();
    let named = regions
        .into_iter()
        .flatten()
        .find(|region| region["name"] == "unknown");
    named.map_or(0, |region| number(&region["minor"]))
}

fn allowed() -> bool {
    let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    level.trim().parse::<i32>().is_ok_and(|level| level <= 2) || leaktrack_tests::is_root()
}

fn planted(run: &Tracked) -> Report {
    let report = run.report();
    assert_eq!(
        report.json["faults"]["source"], "perf",
        "{}",
        report.json["faults"]
    );
    near("mapped", minor(&report, "map_area"), 20_000, 4, &report);
    near("large", minor(&report, "large_block"), 8_000, 5, &report);
    // 40,000 blocks of 1,008 bytes with their headers.
    near("small", minor(&report, "small_block"), 9_844, 6, &report);
    // Gone before anyone can look: 50 times 200 pages.
    near("given back", minor(&report, "churn"), 10_000, 6, &report);
    // Freed before anyone can look, 2,000 times 5 pages.
    let short = minor(&report, "short_blocks");
    near("freed at once", short, 10_000, 6, &report);
    let (sum, all) = parts(&report);
    near("all parts together", sum, all, 1, &report);
    assert!(unknown(&report) * 100 <= all, "{}", report.json["faults"]);
    report
}

#[test]
fn planted_faults_are_found_at_their_sites() {
    if !allowed() {
        return told_where_refused();
    }
    let report = planted(&Case::of("faults_by_site.c").check());
    let site = |function| sites(&report, function).next().expect("a site");
    let mapped = &site("map_area")["faults"];
    assert_eq!(mapped["first_touch"]["function"], "touch", "{mapped}");
    let per_mib = mapped["per_mib"].as_f64().expect("a rate");
    assert!((240.0..=270.0).contains(&per_mib), "{mapped}");
    let advice = |function| site(function)["faults"]["advice"].as_str().unwrap_or("");
    assert!(advice("map_area").contains("MAP_POPULATE"));
    assert!(
        advice("churn").contains("keep the buffer"),
        "{}",
        advice("churn")
    );
}

/// Then nothing is an estimate: what a site has is off by what else happens on its pages.
#[test]
fn each_fault_has_its_name_where_each_is_looked_at() {
    if !allowed() {
        return told_where_refused();
    }
    let run = Case::of("faults_by_site.c").option("faults=every").check();
    let report = run.report();
    let faults = &report.json["faults"];
    assert_eq!(faults["source"], "perf", "{faults}");
    assert_eq!(faults["sampled_one_in"], 1, "{faults}");
    for (function, planted) in [
        ("map_area", 20_000),
        ("large_block", 8_000),
        ("small_block", 9_844),
        ("churn", 10_000),
        ("short_blocks", 10_000),
    ] {
        near(function, minor(&report, function), planted, 1, &report);
    }
    let (sum, all) = parts(&report);
    near("all parts together", sum, all, 1, &report);
}

#[test]
fn a_forked_child_counts_its_own() {
    if !allowed() {
        return told_where_refused();
    }
    let run = Case::of("faults_by_site.c").arg("fork").check();
    let reports = run.reports();
    let parent = reports
        .iter()
        .find(|report| minor(report, "large_block") > 7_000)
        .expect("the parent's recording");
    near("mapped", minor(parent, "map_area"), 20_000, 4, parent);
    let (sum, all) = parts(parent);
    near("all parts together", sum, all, 1, parent);
}

/// As root all faults are seen, those of the kernel in a system call too; as another user only the program's own.
#[test]
fn what_the_kernel_touches_is_told_apart() {
    if !leaktrack_tests::is_root() {
        return told_where_refused();
    }
    let run = Case::of("faults_by_site.c").arg("read").check();
    let report = planted(&run);
    assert_eq!(report.json["faults"]["user_only"], false);
    near("read", minor(&report, "read_area"), 3_000, 6, &report);

    let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    if level.trim() > "2" {
        return;
    }
    let run = Case::new(tool("setpriv"))
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(program("faults_by_site.c"))
        .arg("read")
        .option("only=faults_by_site*")
        .check();
    let report = planted(&run);
    let faults = &report.json["faults"];
    assert_eq!(faults["user_only"], true, "{faults}");
    assert!(minor(&report, "read_area") <= 200, "{faults}");
    // Beside these a few hundred of the program's start and of what leaktrack writes.
    let in_kernel = number(&faults["in_kernel"]);
    assert!((3_000..4_000).contains(&in_kernel), "{faults}");
    let text = run.text();
    assert!(text.contains("where this user may not watch"), "{text}");
}

/// More faults than are looked at one by one: their number is right all the same.
#[test]
fn a_flood_is_looked_at_now_and_then() {
    if !allowed() {
        return told_where_refused();
    }
    let run = Case::of("faulting.c").args(["250000", "8"]).check();
    let touched: u64 = run.outcome.text().trim().parse().expect("a number");
    let report = run.report();
    assert_eq!(report.json["faults"]["source"], "perf");
    // What a slow machine loses of the kernel's records counts as unknown.
    let lost = unknown(&report);
    near(
        "touched",
        minor(&report, "main") + lost,
        touched,
        3,
        &report,
    );
    assert!(lost <= touched / 10, "{lost} unknown");
    let (sum, all) = parts(&report);
    near("all parts together", sum, all, 1, &report);
}

#[test]
fn refused_faults_are_counted_and_the_reason_is_told() {
    told_where_refused();
}

fn told_where_refused() {
    let run = Case::of("without_perf.c")
        .arg(program("faults_by_site.c"))
        .option("only=faults_by_site*")
        .check();
    let report = run.report();
    let faults = &report.json["faults"];
    assert_eq!(faults["source"], "counters", "{faults}");
    assert!(faults["attributed_minor"].is_null() && faults["in_kernel"].is_null());
    assert!(number(&faults["minor"]) > 45_000, "{faults}");
    let why = faults["why_not"].as_str().expect("a reason");
    assert!(
        why.contains("perf_event_paranoid") && why.contains("seccomp"),
        "{why}"
    );
}

#[test]
fn switched_off_is_off() {
    let run = Case::of("faults_by_site.c").option("faults=off").check();
    let faults = run.report().json["faults"].clone();
    assert_eq!(faults["source"], "counters", "{faults}");
}

/// Whose faults they are is told now and then; until then the newest are a part of their own.
#[test]
fn parts_of_a_running_process_add_up() {
    if !allowed() {
        return told_where_refused();
    }
    let case = Case::of("faulting.c")
        .args(["20000", "240"])
        .option("interval=100ms");
    let mut running = case.start_tracked();
    let mut untold = 0;
    running.wait_for_report("40,000 faults, not all of them told", |report| {
        let faults = &report.json["faults"];
        let regions = faults["regions"].as_array().into_iter().flatten();
        let newest = regions
            .filter(|region| region["name"] == "since they were last told")
            .map(|region| number(&region["minor"]));
        untold = newest.sum();
        let is_late = faults["source"] == "perf" && number(&faults["minor"]) > 40_000;
        if is_late && untold > 0 {
            let (sum, all) = parts(report);
            near("all parts together", sum, all, 1, report);
            let told_at_s = faults["told_at_s"].as_f64().expect("when that was");
            let memory = &report.json["memory"];
            let latest_at_s = memory["latest_rss_at_s"].as_f64().expect("a moment");
            assert!(told_at_s < latest_at_s, "{faults}\n{memory}");
        }
        is_late && untold > 1_000
    });
    std::fs::write(running.folder().join("end"), "").expect("a step");
    let run = running.finish();
    run.outcome.expect_code(0);
    let faults = &run.report().json["faults"];
    assert!(faults["told_at_s"].is_null(), "{faults}");
    let (sum, all) = parts(&run.report());
    near("all parts together", sum, all, 1, &run.report());
}
