//! The examples about page faults and locked memory: what their headers say is what leaktrack reports, and
//! the advice names the remedy that the program beside it uses.

use leaktrack_tests::{Case, Report, Tracked, example};
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// The one site that a function made.
#[track_caller]
fn site<'a>(report: &'a Report, function: &str) -> &'a Value {
    let sites = report.json["sites"].as_array().expect("sites");
    let mut of = sites
        .iter()
        .filter(|site| site["blame"]["function"] == function);
    let site = of.next().unwrap_or_else(|| panic!("no site of {function}"));
    assert!(of.next().is_none(), "several sites of {function}");
    site
}

fn minor(report: &Report, function: &str) -> u64 {
    number(&site(report, function)["faults"]["minor"])
}

fn advice<'a>(report: &'a Report, function: &str) -> &'a str {
    let advice = &site(report, function)["faults"]["advice"];
    advice.as_str().unwrap_or("")
}

#[track_caller]
fn expect_advice(report: &Report, function: &str, remedies: &[&str]) {
    let advice = advice(report, function);
    for remedy in remedies {
        assert!(
            advice.contains(remedy),
            "{function}: {remedy} in {advice:?}"
        );
    }
}

#[track_caller]
fn near(what: &str, found: u64, expected: u64, slack: u64) {
    let allowed = expected / 50 + slack;
    assert!(
        found.abs_diff(expected) <= allowed,
        "{what}: {found}, not {expected}"
    );
}

fn run(name: &str) -> Tracked {
    let run = Case::new(example(name)).any_stderr().tracked();
    run.outcome.expect_code(0);
    run
}

/// The report, if faults may be attributed here; else it must say why not, and count them.
fn attributed(run: &Tracked, least: u64) -> Option<Report> {
    let report = run.report();
    let faults = &report.json["faults"];
    if faults["source"] == "perf" {
        return Some(report);
    }
    assert!(
        faults["why_not"]
            .as_str()
            .is_some_and(|why| !why.is_empty()),
        "{faults}"
    );
    assert!(number(&faults["minor"]) >= least, "{faults}");
    None
}

/// One page of one of 61 that is looked at, on each of two processors.
const SLACK: u64 = 200;

#[test]
fn prefault() {
    let run = run("prefault.c");
    let Some(report) = attributed(&run, 32_000) else {
        return;
    };
    for (buffer, by) in [("late_buffer", "serve"), ("early_buffer", "touch_all")] {
        near(buffer, minor(&report, buffer), 16_384, SLACK);
        let faults = &site(&report, buffer)["faults"];
        assert_eq!(faults["first_touch"]["function"], by, "{faults}");
        assert_eq!(faults["order"], "in order", "{faults}");
    }
    let early = site(&report, "early_buffer")["faults"]["last_s"].as_f64();
    let late = site(&report, "late_buffer")["faults"]["first_s"].as_f64();
    assert!(early.expect("a time") <= late.expect("a time"));
    expect_advice(&report, "late_buffer", &["prefault it before it matters"]);
}

#[test]
fn populating() {
    let runs = [
        ("map_populate.c", "populated_buffer", "MAP_POPULATE"),
        ("populate_write.c", "prepared_buffer", "MADV_POPULATE_WRITE"),
    ];
    for (name, filled, remedy) in runs {
        let run = run(name);
        let Some(report) = attributed(&run, 32_000) else {
            continue;
        };
        near(name, minor(&report, "plain_buffer"), 16_384, SLACK);
        expect_advice(&report, "plain_buffer", &[remedy]);
        let site = site(&report, filled);
        assert!(number(&site["faults"]["minor"]) <= SLACK, "{site}");
        assert_eq!(number(&site["resident_bytes"]), 64 * MIB);
        assert_eq!(site["faults"]["filled"], "by the kernel");
        near(
            "in the kernel",
            number(&report.json["faults"]["in_kernel"]),
            16_384,
            SLACK,
        );
        let text = run.text();
        assert!(
            text.contains("filled by the kernel") && text.contains(filled),
            "{text}"
        );
    }
}

#[test]
fn huge_pages() {
    let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let run = run("huge_pages.c");
    let Some(report) = attributed(&run, 16_000) else {
        return;
    };
    near("small pages", minor(&report, "small_pages"), 16_384, SLACK);
    expect_advice(&report, "small_pages", &["MADV_HUGEPAGE"]);
    let huge = number(&report.json["memory"]["huge_page_bytes"]);
    if setting.is_ok_and(|setting| !setting.contains("[never]")) && huge == 64 * MIB {
        let site = site(&report, "huge_pages");
        assert!(number(&site["faults"]["minor"]) <= SLACK, "{site}");
        assert_eq!(site["faults"]["filled"], "in huge pages");
        assert!(run.text().contains("64.0 MiB in huge pages"));
    }
}

#[test]
fn mlock() {
    let run = run("mlock.c");
    assert!(run.text().contains("Locked     4.0 MiB"), "{}", run.text());
    let Some(report) = attributed(&run, 2_000) else {
        return;
    };
    assert_eq!(report.json["system"]["locked_bytes"], 4 * MIB);
    near("unlocked", minor(&report, "unlocked_buffer"), 1_024, SLACK);
    expect_advice(&report, "unlocked_buffer", &["mlock"]);
    let site = site(&report, "locked_buffer");
    assert!(number(&site["faults"]["minor"]) <= SLACK, "{site}");
    assert_eq!(site["faults"]["filled"], "by the kernel");
}

#[test]
fn mlockall() {
    // SAFETY: fills in a value of its own.
    let limit = unsafe {
        let mut limit = core::mem::zeroed::<libc::rlimit>();
        libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit);
        limit.rlim_cur
    };
    if !leaktrack_tests::is_root() && limit < 256 * MIB {
        return; // nobody may lock so much here
    }
    let run = run("mlockall.c");
    let Some(report) = attributed(&run, 5_000) else {
        return;
    };
    assert!(number(&report.json["system"]["locked_bytes"]) >= 32 * MIB);
    near("before", minor(&report, "before"), 1_024, SLACK);
    let after = site(&report, "after");
    assert!(number(&after["faults"]["minor"]) <= SLACK, "{after}");
    assert_eq!(after["faults"]["filled"], "by the kernel");
    for area in ["before", "after"] {
        assert_eq!(
            number(&site(&report, area)["resident_bytes"]),
            16 * MIB,
            "{area}"
        );
    }
}

#[test]
fn order_of_access() {
    // Files of a tmpfs are in memory: the target folder lies on a disk, or the test cannot tell.
    let program = example("access_order.c");
    let folder = program.parent().expect("a folder");
    let run = Case::new(&program).arg(folder).any_stderr().check();
    let Some(report) = attributed(&run, 500) else {
        return;
    };
    let major = |function| number(&site(&report, function)["faults"]["major"]);
    if report.json["faults"]["major"].as_u64() < Some(1_000) {
        return assert!(is_in_memory(folder), "{}", report.json["faults"]);
    }
    assert!(major("map_in_order") < 600, "{}", major("map_in_order"));
    // By hand: the pages that the generator of the program hits.
    let mut hit = [false; 16_384];
    let mut page = 1u32;
    for _ in 0..3_000 {
        page = page.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        hit[(page >> 8) as usize % 16_384] = true;
    }
    let pages = hit.iter().filter(|hit| **hit).count() as u64;
    near("at random", major("map_at_random"), pages, 60);
    assert!(major("map_ahead") < 100, "{}", major("map_ahead"));
    assert_eq!(
        site(&report, "map_at_random")["faults"]["order"],
        "at random"
    );
    expect_advice(
        &report,
        "map_at_random",
        &["MAP_POPULATE", "MADV_POPULATE_READ"],
    );
    let diagnosis = report.json["faults"]["diagnosis"].as_str();
    assert!(
        diagnosis.is_some_and(|words| words.starts_with("Major faults without swapping")),
        "{diagnosis:?}"
    );
}

/// A file system without a disk: nothing is ever read from it.
fn is_in_memory(folder: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).expect("a path");
    // SAFETY: a path that ends with NUL, and a value that the call fills in.
    let kind = unsafe {
        let mut stat = core::mem::zeroed::<libc::statfs>();
        libc::statfs(path.as_ptr(), &mut stat);
        stat.f_type
    };
    [libc::TMPFS_MAGIC, libc::OVERLAYFS_SUPER_MAGIC].contains(&kind)
}

#[test]
fn copy_on_write() {
    let run = run("copy_on_write.c");
    assert_eq!(run.recordings.len(), 2, "{:?}", run.recordings);
    let family = run.family();
    if family.json["faults"]["source"] != "perf" {
        return assert!(number(&family.json["faults"]["minor"]) > 16_384 * 4);
    }
    near("copied", minor(&family, "copied"), 2 * 16_384, 2 * SLACK);
    let touched = &site(&family, "copied")["faults"]["first_touch"]["function"];
    assert!(touched == "write_all" || touched == "filled", "{touched}");
    expect_advice(&family, "copied", &["A forked child faults on it again"]);
    let child = number(&site(&family, "only_read")["faults"]["minor"]);
    near("only read", child, 16_384, SLACK);
}
