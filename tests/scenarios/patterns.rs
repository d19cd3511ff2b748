//! Programs that move their memory in each of the ways that a report tells apart, recorded whole and sampled: the report
//! must say which one it was, of the site that does it.
//!
//! The programs go by the clock, so that a busy machine changes what is live at a time by little.

use leaktrack_tests::{Case, Report, example};
use serde_json::Value;

/// Pattern of the program, function, verdict, pattern of the report, and so many times more blocks for sampling.
const PATTERNS: [(&str, &str, &str, &str, u32); 9] = [
    ("linear", "keep_request", "growing", "linear", 16),
    ("accelerating", "keep_request", "growing", "accelerating", 8),
    ("staircase", "run_batch", "growing", "staircase", 32),
    ("doubling", "append", "growing", "staircase", 4096),
    ("periodic", "run_task", "healthy", "periodic", 64),
    ("residue", "run_task", "growing", "periodic", 64),
    ("spike", "load_object", "healthy", "spike", 1),
    ("plateau", "fill_cache", "retained", "plateau", 16),
    ("flat", "hold", "retained", "flat", 4),
];

/// The site of `function` with most bytes.
fn site<'a>(report: &'a Report, function: &str) -> &'a Value {
    let sites = report.json["sites"].as_array().expect("sites");
    let own = sites
        .iter()
        .filter(|site| site["frames"][0]["function"] == function);
    own.max_by_key(|site| site["allocated_bytes"].as_u64())
        .unwrap_or_else(|| panic!("no {function}\n{}", report.outline()))
}

/// Times that a program is run until none is held up.
const TRIES: u32 = 6;
const RUN_S: f64 = 5.0;
const INTERVAL_S: f64 = 0.05;

/// False if the machine kept the program from running, or its helper: what is live then follows another curve.
fn is_even(site: &Value) -> bool {
    let series = site["series"].as_array().expect("a series");
    let at = |of: &Value| of[0].as_f64().expect("a time");
    let is_gap = |pair: &[Value]| at(&pair[1]) - at(&pair[0]) > 3.0 * INTERVAL_S;
    !series.windows(2).any(is_gap) && series.last().is_none_or(|last| at(last) < RUN_S * 1.06)
}

fn wrong(
    program: &std::path::Path,
    mode: &str,
    row: (&str, &str, &str, &str, u32),
) -> Option<String> {
    let (pattern, function, verdict, shape, scale) = row;
    let scale = if mode == "exact" { 1 } else { scale };
    let case = Case::new(program)
        .args([pattern, "500", "10"])
        .arg(scale.to_string())
        .option(&format!("mode={mode}"))
        .option("interval=50ms");
    let mut report = case.tracked().report();
    for _ in 1..TRIES {
        if is_even(site(&report, function)) {
            break;
        }
        report = case.tracked().report();
    }
    let site = site(&report, function);
    let found = (&site["verdict"], &site["growth"]["pattern"]);
    (found != (&Value::from(verdict), &Value::from(shape))).then(|| {
        format!(
            "{mode}, {pattern}: {} and {}, not {verdict} and {shape}: {}\n{}",
            found.0, found.1, site["why"], site["series"]
        )
    })
}

fn all_right(mode: &str) {
    let program = example("patterns.c");
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let runs = PATTERNS.map(|row| {
            let program = &program;
            scope.spawn(move || wrong(program, mode, row))
        });
        let ended = runs.into_iter().map(|run| run.join());
        ended
            .flat_map(|run| run.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_pattern_is_told_in_an_exact_recording() {
    all_right("exact");
}

#[test]
fn every_pattern_is_told_in_a_sampled_recording() {
    all_right("sample:64k");
}
