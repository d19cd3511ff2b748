//! `leaktrack diff`: two builds of a program whose changes are known, and the same recording twice.

use std::path::Path;
use std::process::Command;

use leaktrack_tests::{Case, product, program_as};
use serde_json::Value;

fn diff(old: &Path, new: &Path) -> Value {
    let output = Command::new(&product().command)
        .arg("diff")
        .args([old, new])
        .args(["--format", "json", "--top", "0", "--show", "same"])
        .arg("--no-debuginfod")
        .output()
        .expect("leaktrack diff");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The change of the site whose innermost frame has this name.
fn of<'a>(diff: &'a Value, function: &str) -> &'a Value {
    let sites = diff["sites"].as_array().expect("sites");
    sites
        .iter()
        .find(|site| site["frames"][0]["function"] == function)
        .unwrap_or_else(|| panic!("no {function} in {diff:#}"))
}

#[test]
fn a_rebuild_is_compared_function_by_function() {
    let build = |flags: &[&str]| program_as("rebuilt.c", "rebuilt", flags);
    let case = |flags: &[&str], seconds: &str| {
        Case::new(build(flags))
            .arg(seconds)
            .option("interval=50ms")
            .start_tracked()
    };
    // Of different length, at the same time: a longer run is not growth.
    let (old, new) = (case(&[], "2"), case(&["-DAGAIN"], "5"));
    let (old, new) = (old.finish(), new.finish());
    let found = diff(&old.recordings[0], &new.recordings[0]);

    let expected = [
        ("steady_leak", "same", "key"),
        ("named_anew", "same", "stack"),
        ("faster_leak", "grew", "key"),
        ("mended_leak", "shrank", "key"),
        ("bounded_cache", "grew", "key"),
    ];
    for (function, change, matched_by) in expected {
        let site = of(&found, function);
        assert_eq!(site["change"], change, "{function}: {site:#}");
        assert_eq!(site["matched_by"], matched_by, "{function}: {site:#}");
    }
    // The program makes these by the clock: 450 and -300 bytes a millisecond, within a tenth.
    for (function, per_s) in [("faster_leak", 450_000.0), ("mended_leak", -300_000.0)] {
        let rate = of(&found, function)["rate_change"]["value"].as_f64();
        let off = rate.map(|rate| (rate - per_s).abs() / f64::abs(per_s));
        assert!(off.is_some_and(|off| off < 0.1), "{function}: {rate:?}");
    }
    let cache = of(&found, "bounded_cache");
    assert_eq!(cache["level_change_bytes"], 200_000.0, "{cache:#}");
    let renamed = &of(&found, "named_anew")["renamed"];
    assert_eq!(renamed[0]["from"], "renamed_leak (rebuilt.c)", "{renamed}");
    assert_eq!(renamed[0]["to"], "named_anew (rebuilt.c)", "{renamed}");
    // Two functions went, one came, all called from one place: which is which cannot be told.
    for (function, change) in [
        ("only_in_new", "appeared"),
        ("only_in_old", "gone"),
        ("also_only_in_old", "gone"),
    ] {
        let site = of(&found, function);
        assert_eq!(site["change"], change, "{function}: {site:#}");
        assert!(site["matched_by"].is_null(), "{function}: {site:#}");
    }

    // A second run of one build, and shorter: nothing changed.
    let again = case(&[], "1").finish();
    let same = diff(&old.recordings[0], &again.recordings[0]);
    for site in same["sites"].as_array().expect("sites") {
        assert!(
            site["change"] == "same" || site["change"] == "unclear",
            "{site:#}"
        );
        assert_eq!(site["matched_by"], "id", "{site:#}");
    }
}

#[test]
fn a_recording_that_cannot_be_read_is_named() {
    let missing = Path::new("/no/such/recording.ltk");
    let output = Command::new(&product().command)
        .arg("diff")
        .args([missing, missing])
        .output()
        .expect("leaktrack diff");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("/no/such/recording.ltk"), "{said}");
}
