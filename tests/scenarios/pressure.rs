//! Memory that is short: what is swapped out is told by site, a limit that is too low by the sentence and the events. Swap
//! space and cgroups are the tests' own; without root there are none.

use leaktrack_tests::{Case, Cgroup, Report, Swap, program, tool};
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[track_caller]
fn site<'a>(report: &'a Report, function: &str) -> &'a Value {
    let mut sites = report.json["sites"].as_array().expect("sites").iter();
    let found = sites.find(|site| site["blame"]["function"] == function);
    found.unwrap_or_else(|| panic!("no site of {function}"))
}

/// Beside the built programs: `/tmp` may be no disk.
fn on_disk() -> std::path::PathBuf {
    let program = program("swapped.c");
    program.parent().expect("a folder").to_owned()
}

/// One test for both, so that they do not take each other's swap space away.
#[test]
fn swapped_memory_by_site_and_swap_pressure() {
    let Some(_swap) = Swap::of(256, &on_disk()) else {
        return;
    };
    swapped_out();
    if let Some(group) = Cgroup::of(64 * MIB) {
        too_little(&group);
    }
}

fn swapped_out() {
    let run = Case::of("swapped.c").arg("out").tracked();
    run.outcome.expect_code(0);
    let kernel = 1024 * run.outcome.text().trim().parse::<u64>().expect("a number");
    let report = run.report();
    report.expect_memory_explained();
    let near = |what: &str, found: u64, expected: u64| {
        assert!(
            found.abs_diff(expected) <= expected / 50,
            "{what}: {found}, not {expected}"
        );
    };
    near("all", number(&report.json["memory"]["swap_bytes"]), kernel);
    for (function, size, swapped) in [
        ("cold_block", 16 * MIB, 12 * MIB),
        ("cold_mapping", 8 * MIB, 4 * MIB),
    ] {
        let site = site(&report, function);
        near(function, number(&site["swapped_bytes"]), swapped);
        near(function, number(&site["resident_bytes"]), size - swapped);
        assert!(number(&site["untouched_bytes"]) <= 4096, "{site}");
    }
    let text = run.text();
    assert!(text.contains("swapped out"), "{text}");
}

fn too_little(group: &Cgroup) {
    let start = format!(
        "echo $$ > {} && exec \"$0\" short 5",
        group.procs().display()
    );
    let run = Case::new(tool("sh"))
        .args(["-c", &start])
        .arg(program("swapped.c"))
        .option("only=swapped*")
        .option("interval=200ms")
        .any_stderr()
        .tracked();
    run.outcome.expect_code(0);
    let report = run.report();
    let memory = &report.json["memory"];
    assert_eq!(memory["limit_bytes"], 64 * MIB, "{memory}");
    let said = memory["verdict"].as_str().expect("a sentence");
    assert!(
        said.starts_with("Swap pressure: ") && said.contains("under a limit of 64.0 MiB"),
        "{said}"
    );
    // Near the limit a snapshot was taken at once, and said why.
    let events = report.json["events"].as_array().expect("events");
    let near = events.iter().find(|event| event["type"] == "limit");
    let text = near.and_then(|event| event["text"].as_str()).unwrap_or("");
    assert!(
        text.starts_with("memory passed 80% of the limit"),
        "{events:?}"
    );
    let alert = events
        .iter()
        .filter(|event| event["type"] == "alert")
        .filter_map(|event| event["text"].as_str())
        .find(|text| text.contains("major page faults per second, more than 10"));
    assert!(alert.is_some(), "{events:?}");
    // Major faults, and why.
    let faults = &report.json["faults"];
    assert!(number(&faults["major"]) > 1_000, "{faults}");
    let diagnosis = faults["diagnosis"].as_str().unwrap_or("");
    assert!(diagnosis.contains("the host swaps"), "{diagnosis}");
    if faults["source"] == "perf" {
        let block = &site(&report, "large_block")["faults"];
        assert!(
            number(&block["major"]) * 10 > number(&faults["major"]) * 8,
            "{faults}"
        );
        let advice = block["advice"].as_str().unwrap_or("");
        assert!(advice.contains("swap"), "{advice}");
    }
    let cgroup = &report.json["system"]["cgroup"];
    assert_eq!(cgroup["max_bytes"], 64 * MIB, "{cgroup}");
    assert!(number(&cgroup["max_events"]) > 0, "{cgroup}");
    assert!(number(&report.json["system"]["swap_out_bytes"]) > 16 * MIB);
    let moments = report.json["timeline"].as_array().expect("a timeline");
    let last = moments.last().expect("a moment");
    assert!(number(&last["cgroup_bytes"]) > 32 * MIB, "{last}");
}
