//! Lifetimes of blocks: counted for every block, in the octave of its age, and forgotten in children.

use leaktrack_tests::{Case, Report};
use serde_json::Value;

fn lifetimes<'a>(report: &'a Report, function: &str) -> &'a Value {
    let sites = report.json["sites"].as_array().expect("sites");
    let site = sites
        .iter()
        .find(|site| site["frames"][0]["function"] == function);
    &site.unwrap_or_else(|| panic!("no {function}\n{}", report.outline()))["lifetimes"]
}

/// Pairs of an age and a number of blocks.
fn octaves(list: &Value) -> Vec<(f64, u64)> {
    let pairs = list.as_array().expect("a list");
    pairs
        .iter()
        .map(|pair| {
            (
                pair[0].as_f64().expect("an age"),
                pair[1].as_u64().expect("a count"),
            )
        })
        .collect()
}

fn blocks(list: &Value) -> u64 {
    octaves(list).iter().map(|(_, blocks)| blocks).sum()
}

#[test]
fn every_block_counts_at_its_age() {
    let case = Case::of("survivors.c").arg("3").option("interval=20ms");
    let report = case.check().report();
    // 300 rounds: of each hundred one is kept but for those of the last round; half a second is 50
    // rounds.
    for (function, freed, live) in [
        ("short_lived", 99 * 299, 299 + 100),
        ("half_second", 10 * 250, 10 * 50),
        ("all_kept", 0, 300),
    ] {
        let found = lifetimes(&report, function);
        assert_eq!(
            (blocks(&found["freed"]), blocks(&found["live"])),
            (freed, live),
            "{function}: {found}"
        );
    }
    // A busy machine makes some rounds late and the next ones early, never most of them.
    let half = octaves(&lifetimes(&report, "half_second")["freed"]);
    let near: u64 = half
        .iter()
        .filter(|(upto_s, _)| (0.25..2.0).contains(upto_s))
        .map(|(_, blocks)| blocks)
        .sum();
    assert!(near >= 2000, "{half:?}");
    // One in a hundred survives; what lives in the last round is watched for a moment only.
    let survival = &lifetimes(&report, "short_lived")["survival"];
    let last = survival
        .as_array()
        .and_then(|steps| steps.last())
        .expect("a step");
    let share = last[1].as_f64().expect("a share");
    assert!((0.008..0.015).contains(&share), "{survival}");
    let (low, high) = (
        last[2].as_f64().expect("low"),
        last[3].as_f64().expect("high"),
    );
    assert!(
        low <= 299.0 / 30_000.0 + 0.003 && high >= 299.0 / 30_000.0,
        "{survival}"
    );
    let kept = &lifetimes(&report, "all_kept")["live"];
    assert_eq!(octaves(kept).len(), 1, "{kept}");
}

#[test]
fn a_child_counts_its_own_blocks_alone() {
    let checked = Case::of("fork_server.c")
        .arg("700")
        .option("interval=50ms")
        .check();
    for report in checked.reports() {
        for site in report.json["sites"].as_array().expect("sites") {
            let found = &site["lifetimes"];
            if !found.is_null() {
                let counted = (blocks(&found["freed"]), blocks(&found["live"]));
                let frees = site["frees"].as_u64().expect("frees");
                let live = site["live_blocks"]["value"].as_u64().expect("live");
                assert_eq!(counted, (frees, live), "{site}");
            }
        }
    }
}
