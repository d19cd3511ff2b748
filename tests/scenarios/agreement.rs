//! Whatever form a report has, its figures are the same: of a real program, read back from every format by this test itself
//! or by the format's own tools.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use leaktrack_tests::{Case, product, tool};
use serde_json::Value;

/// Lists that stay, strings that go, and a mapping.
const PROGRAM: &str = "
import json, mmap
kept = [json.loads('[' + ','.join(str(n) for n in range(2000)) + ']') for _ in range(20)]
area = mmap.mmap(-1, 1 << 20)
for _ in range(50):
    json.dumps(kept[0])
print(len(kept))
";

fn leaktrack(args: &[&str], recording: &Path) -> Vec<u8> {
    let output = Command::new(&product().command)
        .args(&args[..1])
        .arg(recording)
        .args(&args[1..])
        .output()
        .expect("the command");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    output.stdout
}

fn text(args: &[&str], recording: &Path) -> String {
    String::from_utf8(leaktrack(args, recording)).expect("UTF-8")
}

/// The first number after `before`, thousands separated by commas.
#[track_caller]
fn number_after(text: &str, before: &str) -> u64 {
    let at = text
        .find(before)
        .unwrap_or_else(|| panic!("{before} is not in {text}"));
    let rest = &text[at + before.len()..];
    let start = rest.find(|c: char| c.is_ascii_digit()).expect("a number");
    let digits = rest[start..]
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',');
    let digits: String = digits.filter(|c| *c != ',').collect();
    digits.parse().expect("a number")
}

/// Values of a packed column of the page's data.
fn column(data: &Value, path: &str, rows: usize) -> Vec<Value> {
    let columns = &data["sites"];
    let mut column = &columns[path];
    while let Some(other) = column["as"].as_str() {
        column = &columns[other];
    }
    let at = |row: usize| match (column.get("is"), column.get("of")) {
        (Some(value), _) => value.clone(),
        (_, Some(of)) => of[column["at"][row].as_u64().expect("an index") as usize].clone(),
        _ => column[row].clone(),
    };
    (0..rows).map(at).collect()
}

/// What the exports add up, computed here from the JSON.
fn measure(site: &Value, name: &str) -> u64 {
    let number = |path: &str| site.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    match name {
        "live" => number("/live_bytes/value"),
        "blocks" => number("/live_blocks/value"),
        "allocated" => number("/allocated_bytes"),
        "allocations" => number("/allocations"),
        "peak" => number("/peak_live_bytes"),
        "lost" => number("/lost/definite_bytes") + number("/lost/indirect_bytes"),
        "faults" => number("/faults/minor") + number("/faults/major"),
        "resident" => number("/resident_bytes"),
        "temporary" => number("/temporary"),
        "sizes" => {
            let sizes = site["sizes"].as_array().expect("sizes are known").iter();
            sizes.filter_map(|pair| pair[1].as_u64()).sum()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_format_says_the_same() {
    let tracked = Case::new(tool("/usr/bin/python3"))
        .args(["-c", PROGRAM])
        .env("PYTHONMALLOC", "malloc")
        .option("interval=50ms")
        .tracked();
    tracked.outcome.expect_code(0);
    let recording = tracked.recordings[0].as_path();
    let all = ["--top", "0", "--show", "healthy"];
    let report = |format: &str| {
        let args = [&["report", "--format", format], &all[..]].concat();
        leaktrack(&args, recording)
    };
    let json: Value = serde_json::from_slice(&report("json")).expect("JSON");
    let sites = json["sites"].as_array().expect("sites").clone();
    assert!(sites.len() > 300, "{} sites", sites.len());
    let sum = |name: &str| sites.iter().map(|site| measure(site, name)).sum::<u64>();
    let heap = |name: &str| {
        let heap = sites.iter().filter(|site| site["kind"] == "heap");
        heap.map(|site| measure(site, name)).sum::<u64>()
    };
    let total = |name: &str| json["totals"][name].as_u64().expect("a total");

    // The document with itself.
    assert_eq!(heap("live"), total("live_bytes"));
    assert_eq!(heap("blocks"), total("live_blocks"));
    assert_eq!(heap("allocations"), total("allocations"));
    assert_eq!(heap("allocated"), total("allocated_bytes"));
    assert_eq!(sum("live") - heap("live"), total("mapped_bytes"));
    assert!(sum("temporary") > 1_000, "strings come and go");
    assert_eq!(heap("temporary"), total("temporary"));
    assert_eq!(sum("sizes"), sum("allocations"), "each block has a size");
    let last = json["timeline"].as_array().and_then(|all| all.last());
    let last = last.expect("a moment");
    assert_eq!(last["live_blocks"], json["totals"]["live_blocks"]);
    assert_eq!(last["temporary"], json["totals"]["temporary"]);

    // Text and Markdown.
    let plain = String::from_utf8(report("text")).expect("UTF-8");
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let totals = &plain[plain.rfind(" Heap ").expect("totals")..];
    assert_eq!(number_after(totals, "Heap"), total("allocations"));
    assert_eq!(number_after(totals, "allocations,"), total("frees"));
    assert_eq!(number_after(totals, "("), total("live_bytes"));
    assert_eq!(number_after(totals, "live in"), total("live_blocks"));
    assert_eq!(
        number_after(totals, "Faults"),
        json["faults"]["minor"].as_u64().expect("faults")
    );

    // The page.
    let page = String::from_utf8(report("html")).expect("UTF-8");
    let data = page.split_once("id=\"data\">").expect("data").1;
    let data: Value =
        serde_json::from_str(data.split_once("</script>").expect("its end").0).expect("JSON");
    assert_eq!(data["report"]["totals"], json["totals"]);
    assert_eq!(data["report"]["faults"], json["faults"]);
    for path in [
        "id",
        "verdict",
        "live_bytes.value",
        "allocations",
        "frees",
        "allocated_bytes",
        "resident_bytes",
        "faults.minor",
        "lost.definite_bytes",
        "growth.rate.value",
    ] {
        let shown = column(&data, path, sites.len());
        let pointer = format!("/{}", path.replace('.', "/"));
        for (site, shown) in sites.iter().zip(shown) {
            let truth = site.pointer(&pointer).cloned().unwrap_or(Value::Null);
            let same = shown == truth || shown.is_number() && shown.as_f64() == truth.as_f64();
            assert!(same, "{path} of {}: {shown}, not {truth}", site["id"]);
        }
    }

    // CSV, read by Python's own reader.
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    };
    let csv = file(
        "sites.csv",
        &leaktrack(&["export", "--format", "csv"], recording),
    );
    let script = "import csv, json, sys
print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='')))))";
    let rows = Command::new(tool("/usr/bin/python3"))
        .args(["-c", script])
        .arg(csv)
        .output();
    let rows: Vec<Value> = serde_json::from_slice(&rows.expect("python3").stdout).expect("JSON");
    assert_eq!(rows.len(), sites.len());
    let by_id: BTreeMap<&str, &Value> = rows
        .iter()
        .filter_map(|row| Some((row["id"].as_str()?, row)))
        .collect();
    for site in &sites {
        let row = by_id[site["id"].as_str().expect("an id")];
        for (name, truth) in [
            ("live_bytes", measure(site, "live")),
            ("live_blocks", measure(site, "blocks")),
            ("allocations", measure(site, "allocations")),
            ("allocated_bytes", measure(site, "allocated")),
            ("peak_live_bytes", measure(site, "peak")),
        ] {
            assert_eq!(row[name], truth.to_string(), "{name} of {}", site["id"]);
        }
        // Unknown is empty.
        let temporary = match site["temporary"].is_null() {
            true => String::new(),
            false => measure(site, "temporary").to_string(),
        };
        assert_eq!(row["temporary"], temporary, "{}", site["id"]);
        let pairs = row["sizes"]
            .as_str()
            .expect("text")
            .split(' ')
            .filter_map(|pair| pair.split_once(':'));
        let blocks = pairs.map(|(_, blocks)| blocks.parse::<u64>().expect("a number"));
        assert_eq!(
            blocks.sum::<u64>(),
            measure(site, "sizes"),
            "{}",
            site["id"]
        );
    }

    // Folded stacks and flame graphs.
    for name in [
        "live",
        "blocks",
        "allocated",
        "allocations",
        "peak",
        "lost",
        "temporary",
        "faults",
        "resident",
    ] {
        let folded = text(
            &["export", "--format", "folded", "--measure", name],
            recording,
        );
        let values = folded
            .lines()
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        assert_eq!(values.sum::<u64>(), sum(name), "{name}");
        let picture = text(
            &["export", "--format", "flamegraph", "--measure", name],
            recording,
        );
        match sum(name) {
            0 => assert!(picture.contains("nothing at any call site"), "{name}"),
            value => assert_eq!(number_after(&picture, "<title>all ("), value, "{name}"),
        }
    }

    // pprof, read by Go's tool.
    let profile = file(
        "profile.pb.gz",
        &leaktrack(&["export", "--format", "pprof"], recording),
    );
    let raw = Command::new(tool("go"))
        .args(["tool", "pprof", "-raw"])
        .arg(profile)
        .env("HOME", folder.path())
        .output()
        .expect("go");
    let raw = String::from_utf8(raw.stdout).expect("UTF-8");
    let samples = raw.split_once("Samples:\n").expect("samples").1;
    let (head, samples) = samples.split_once('\n').expect("a heading");
    let names: Vec<&str> = head
        .split_whitespace()
        .map(|name| name.split('/').next().unwrap_or(name))
        .collect();
    let mut sums = vec![0_u64; names.len()];
    for line in samples.lines().take_while(|line| *line != "Locations") {
        let Some((values, _)) = line.split_once(": ") else {
            continue;
        };
        for (sum, value) in sums.iter_mut().zip(values.split_whitespace()) {
            *sum += value.parse::<u64>().unwrap_or(0);
        }
    }
    for (name, truth) in [
        ("alloc_objects", sum("allocations")),
        ("alloc_space", sum("allocated")),
        ("inuse_objects", sum("blocks")),
        ("inuse_space", sum("live")),
        ("peak_space", sum("peak")),
        ("temporary_objects", sum("temporary")),
    ] {
        let at = names.iter().position(|known| *known == name);
        let at = at.unwrap_or_else(|| panic!("{name} is not in {names:?}"));
        assert_eq!(sums[at], truth, "{name}");
    }

    // Figures for Prometheus.
    let metrics = text(&["export", "--format", "openmetrics"], recording);
    let metric = |name: &str| {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&format!("{name}{{")));
        let value = line
            .and_then(|line| line.rsplit_once(' '))
            .map(|(_, value)| value.parse::<f64>());
        value
            .and_then(Result::ok)
            .unwrap_or_else(|| panic!("{name} is not in {metrics}"))
    };
    assert_eq!(metric("leaktrack_live_bytes"), total("live_bytes") as f64);
    assert_eq!(
        metric("leaktrack_findings"),
        json["finding_count"].as_f64().expect("a count")
    );
    assert_eq!(
        metric("leaktrack_rss_bytes"),
        json["memory"]["latest_rss_bytes"].as_f64().expect("a size")
    );

    // The Firefox Profiler: what is allocated and not freed.
    let profile: Value =
        serde_json::from_slice(&leaktrack(&["export", "--format", "firefox"], recording))
            .expect("JSON");
    let threads = profile["threads"].as_array().expect("threads");
    let weights = threads
        .iter()
        .filter_map(|thread| thread["nativeAllocations"]["weight"].as_array());
    let live: i64 = weights.flatten().filter_map(Value::as_i64).sum();
    assert_eq!(live as u64, sum("live"));
}
