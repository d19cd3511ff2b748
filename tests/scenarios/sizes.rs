//! Sizes of blocks, temporary ones, and the function called: of a program whose counts are known, and
//! as heaptrack counts them.

use std::collections::BTreeMap;
use std::process::Command;

use leaktrack_tests::{Case, Report, program, tool};
use serde_json::{Value, json};

fn site<'a>(report: &'a Report, function: &str) -> &'a Value {
    let sites = report.json["sites"].as_array().expect("sites");
    let named = |site: &&Value| site["frames"][0]["function"] == function;
    let mut found = sites.iter().filter(named);
    let site = found.next();
    site.unwrap_or_else(|| panic!("no {function}\n{}", report.outline()))
}

/// Blocks by the largest size of their class, of all sites of a function together.
fn sizes(report: &Report, function: &str) -> BTreeMap<Option<u64>, u64> {
    let sites = report.json["sites"].as_array().expect("sites");
    let named = sites
        .iter()
        .filter(|site| site["frames"][0]["function"] == function);
    let mut sum = BTreeMap::new();
    for pair in named.flat_map(|site| site["sizes"].as_array().expect("sizes")) {
        *sum.entry(pair[0].as_u64()).or_default() += pair[1].as_u64().expect("a count");
    }
    sum
}

#[test]
fn sizes_and_calls_are_those_of_the_program() {
    let report = Case::of("sizes_and_calls.c").check().report();
    let pairs = |function: &str| sizes(&report, function).into_iter().collect::<Vec<_>>();
    assert_eq!(pairs("churn"), [(Some(32), 1000)]);
    assert_eq!(pairs("cross"), [(Some(128), 300), (Some(256), 300)]);
    let doubled: Vec<_> = (0..18).map(|at| (Some(8 << at), 1)).collect();
    assert_eq!(pairs("grow"), doubled);
    assert_eq!(
        pairs("edges"),
        [
            (Some(8), 1),
            (Some(128 << 10), 1),
            (Some(256 << 10), 1),
            (Some(64 << 20), 1)
        ]
    );
    for (function, call, up_to) in [
        ("by_calloc", "calloc", 64),
        ("by_reallocarray", "realloc", 128),
        ("by_aligned_alloc", "aligned_alloc", 128),
        ("by_memalign", "memalign", 256),
        ("by_posix_memalign", "posix_memalign", 1024),
        ("by_valloc", "valloc", 8192),
        ("by_pvalloc", "pvalloc", 4096),
        ("by_mmap", "mmap", 512 << 10),
    ] {
        let site = site(&report, function);
        assert_eq!(site["calls"], json!([call]), "{function}");
        assert_eq!(pairs(function), [(Some(up_to), 1)], "{function}");
    }
    assert_eq!(site(&report, "churn")["calls"], json!(["malloc"]));

    assert_eq!(site(&report, "churn")["temporary"], 1000);
    assert_eq!(site(&report, "cross")["temporary"], 0);
    assert_eq!(site(&report, "grow")["temporary"], 18);
    assert_eq!(report.json["totals"]["temporary"], 1018);
    assert_eq!(site(&report, "by_mmap")["temporary"], Value::Null);
}

/// What the parent had counted by the fork is not the child's.
#[test]
fn a_child_counts_its_own_blocks_alone() {
    let checked = Case::of("fork_server.c")
        .arg("700")
        .option("interval=50ms")
        .check();
    let reports = checked.reports();
    assert!(reports.len() > 1, "{:?}", checked.recordings);
    for report in reports {
        let sites = report.json["sites"].as_array().expect("sites").iter();
        let known = sites.filter(|site| site["kind"] == "heap" && !site["sizes"].is_null());
        for site in known {
            let sizes = site["sizes"].as_array().expect("sizes").iter();
            let blocks: u64 = sizes.filter_map(|pair| pair[1].as_u64()).sum();
            assert_eq!(site["allocations"].as_u64(), Some(blocks), "{site}");
        }
    }
}

/// Sampled blocks stand for others of their size; which ones were temporary is not known then.
#[test]
fn sizes_of_samples_are_estimates() {
    let report = Case::of("sizes_and_calls.c")
        .option("mode=sample:4k")
        .check()
        .report();
    assert_eq!(report.json["totals"]["temporary"], Value::Null);
    let sites = report.json["sites"].as_array().expect("sites");
    for site in sites.iter().filter(|site| site["kind"] == "heap") {
        assert_eq!(site["temporary"], Value::Null);
        let sizes = site["sizes"].as_array().expect("sizes").iter();
        let blocks: u64 = sizes.filter_map(|pair| pair[1].as_u64()).sum();
        assert_eq!(site["allocations"].as_u64(), Some(blocks), "{}", site["id"]);
    }
    // More than 4 KiB apart on average: certain to be among the samples.
    assert_eq!(sizes(&report, "edges").get(&Some(64 << 20)), Some(&1));
}

#[test]
fn heaptrack_counts_the_same() {
    let report = Case::of("sizes_and_calls.c").check().report();
    let folder = tempfile::tempdir().expect("a folder");
    let run = |command: &mut Command| {
        let output = command.current_dir(folder.path()).output();
        let output = output.expect("heaptrack can be started");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(Command::new(tool("heaptrack"))
        .args(["-o", "data"])
        .arg(program("sizes_and_calls.c")));
    let data = std::fs::read_dir(folder.path()).expect("the folder");
    let data = data.filter_map(|entry| Some(entry.ok()?.path())).next();
    let printed = run(Command::new(tool("heaptrack_print"))
        .args(["-H", "histogram", "-f"])
        .arg(data.expect("heaptrack's data")));
    let temporary = printed
        .lines()
        .find_map(|line| line.strip_prefix("temporary memory allocations: "));
    let temporary = temporary.and_then(|rest| rest.split_whitespace().next());
    assert_eq!(
        report.json["totals"]["temporary"].to_string(),
        temporary.expect("heaptrack's figure")
    );

    // It knows nothing of memalign and pvalloc, and its own library allocates once.
    const OWN: u64 = 72_704;
    let histogram = std::fs::read_to_string(folder.path().join("histogram"));
    let mut theirs: BTreeMap<Option<u64>, u64> = BTreeMap::new();
    for line in histogram.expect("a histogram").lines() {
        let (size, count) = line.split_once('\t').expect("two columns");
        let size: u64 = size.parse().expect("a size");
        let count: u64 = count.parse().expect("a count");
        if size != OWN {
            *theirs
                .entry(Some(size.max(8).next_power_of_two()))
                .or_default() += count;
        }
    }
    for unseen in [256, 4096] {
        *theirs.entry(Some(unseen)).or_default() += 1;
    }
    let mut ours: BTreeMap<Option<u64>, u64> = BTreeMap::new();
    let sites = report.json["sites"].as_array().expect("sites");
    for site in sites.iter().filter(|site| site["kind"] == "heap") {
        for pair in site["sizes"].as_array().expect("sizes") {
            *ours.entry(pair[0].as_u64()).or_default() += pair[1].as_u64().expect("a count");
        }
    }
    assert_eq!(ours, theirs);
}
