//! What the hot path costs, counted in instructions: a golden table, so that a regression is a diff.

use std::path::{Path, PathBuf};
use std::process::Command;

use leaktrack_tests::{DEBIAN_PATH, find_tool, product, program, tool};

/// Pairs more in the longer of two runs, whose difference is counted.
const PAIRS: u64 = 4000;
/// Another compiler may choose a few other instructions.
const TOLERANCE: f64 = 0.12;
/// The same for small numbers.
const TOLERANCE_LEAST: f64 = 6.0;

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/hot_path.txt")
}

/// Instructions that the program takes in all, by callgrind.
fn instructions(pairs: u64, options: Option<&str>, folder: &Path) -> u64 {
    let out = folder.join("callgrind.out");
    let mut command = Command::new(find_tool("valgrind.bin").unwrap_or_else(|| tool("valgrind")));
    command
        .args(["--tool=callgrind", "--trace-children=yes"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(tool("env"));
    if let Some(options) = options {
        command
            .arg(format!("LD_PRELOAD={}", product().library.display()))
            .arg(format!(
                "LEAKTRACK=interval=1h,scan=off,faults=off,{options}"
            ));
    }
    let output = command
        .arg(program("pairs.c"))
        .arg(pairs.to_string())
        .env_clear()
        .env("PATH", DEBIAN_PATH)
        .current_dir(folder)
        .output()
        .expect("valgrind can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(&out).expect("callgrind's output");
    text.lines()
        .find_map(|line| {
            line.strip_prefix("totals:")
                .or(line.strip_prefix("summary:"))
        })
        .and_then(|total| total.trim().parse().ok())
        .expect("callgrind says its total")
}

/// Instructions of one pair.
fn pair(options: Option<&str>) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let [few, many] = [2000, 2000 + PAIRS].map(|pairs| instructions(pairs, options, folder.path()));
    (many - few) as f64 / PAIRS as f64
}

#[test]
fn a_pair_of_malloc_and_free_costs_what_the_table_says() {
    let native = pair(None);
    let text = std::fs::read_to_string(table()).expect("the golden table");
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (options, golden) = line.rsplit_once(' ').expect("options and a number");
        let golden: f64 = golden.parse().expect("a number");
        let now = pair(Some(options)) - native;
        println!("{options} {now:.0}");
        rows += 1;
        if (now - golden).abs() > TOLERANCE_LEAST.max(golden * TOLERANCE) {
            wrong.push(format!("{options} {now:.0} (the table says {golden})"));
        }
    }
    assert!(rows > 0, "the table has rows");
    assert!(
        wrong.is_empty(),
        "instructions that leaktrack adds to a pair have changed; if that is meant, write the new \
         numbers to {}:\n{}",
        table().display(),
        wrong.join("\n")
    );
}
