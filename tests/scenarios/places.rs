//! Where things lie: single blocks and the areas of the address space, compared with what the program printed of
//! itself and with the kernel's lists of its mappings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Instant;

use leaktrack_tests::{Case, Report, Running, product};
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn leaktrack(args: &[&str]) -> String {
    let output = Command::new(&product().command)
        .args(args)
        .output()
        .expect("the command");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn reach(running: &mut Running, step: &str) {
    let line = format!("at {step}\n");
    running.wait_until(&line, |running| running.stdout_so_far().contains(&line));
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn address(value: &Value) -> u64 {
    let text = value.as_str().expect("an address");
    u64::from_str_radix(text.strip_prefix("0x").expect("hexadecimal"), 16).expect("a number")
}

/// What the program printed: address and number by name.
fn printed(text: &str) -> BTreeMap<String, Vec<(u64, u64)>> {
    let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let [name, at, bytes] = words.as_slice() {
            let at = u64::from_str_radix(&at[2..], 16).expect("an address");
            let bytes = bytes.parse().expect("a size");
            places
                .entry((*name).to_owned())
                .or_default()
                .push((at, bytes));
        }
    }
    places
}

/// Mappings by start: end and resident bytes, but for the page that is the same in every process.
fn smaps(pid: i32) -> BTreeMap<u64, (u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("smaps");
    let mut mappings = BTreeMap::new();
    let mut last = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some((start, end)) = words.first().and_then(|word| word.split_once('-')) {
            let hex = |text| u64::from_str_radix(text, 16).expect("an address");
            last = hex(start);
            mappings.insert(last, (hex(end), 0));
        } else if words.first() == Some(&"Rss:") {
            let resident = words[1].parse::<u64>().expect("KiB") << 10;
            mappings.get_mut(&last).expect("a head").1 = resident;
        }
    }
    mappings.remove(&0xffff_ffff_ff60_0000);
    mappings
}

/// The area of an address.
#[track_caller]
fn area(report: &Report, at: u64) -> &Value {
    let areas = report.json["address_space"][0]["areas"]
        .as_array()
        .expect("areas");
    let holds = |area: &&Value| {
        let start = address(&area["start"]);
        (start..start + number(&area["bytes"])).contains(&at)
    };
    areas
        .iter()
        .find(holds)
        .unwrap_or_else(|| panic!("no area at {at:#x}"))
}

/// Id of the site that a function is blamed for.
#[track_caller]
fn site<'a>(report: &'a Report, function: &str) -> &'a str {
    let sites = report.json["sites"].as_array().expect("sites");
    let found = sites
        .iter()
        .find(|site| site["blame"]["function"] == function);
    found.expect(function)["id"].as_str().expect("an id")
}

/// Listed blocks of a function: address, size, resident, age in seconds.
fn listed(report: &Report, function: &str) -> Vec<(u64, u64, u64, f64)> {
    let blocks = report.json["blocks"][0]["list"].as_array().expect("blocks");
    let of = |block: &&Value| block["function"] == function;
    let site = site(report, function);
    let row = |block: &Value| {
        assert_eq!(block["site"], site);
        (
            address(&block["address"]),
            number(&block["bytes"]),
            number(&block["resident_bytes"]),
            block["age_s"].as_f64().expect("an age"),
        )
    };
    blocks.iter().filter(of).map(row).collect()
}

#[test]
fn blocks_and_areas_are_where_the_program_and_the_kernel_say() {
    let mut running = Case::of("known_places.c")
        .option("interval=1h")
        .start_tracked();
    let pid = running.pid();
    let id = pid.to_string();
    reach(&mut running, "1");
    leaktrack(&["snapshot", &id]);
    let between = Instant::now();
    std::thread::sleep(std::time::Duration::from_secs(3));
    fs::write(running.folder().join("1"), "").expect("a step");
    reach(&mut running, "2");
    let before = smaps(pid);
    leaktrack(&["snapshot", &id]);
    let after = smaps(pid);
    let passed_s = between.elapsed().as_secs_f64();
    let recording = running.recordings().remove(0);
    let report = Report::read(&[&recording]);
    let places = printed(&running.stdout_so_far());
    let text = leaktrack(&[
        "report",
        recording.to_str().expect("a path"),
        "--blocks=3",
        "--areas",
    ]);

    // Of how many, and by which rule.
    let blocks = &report.json["blocks"][0];
    assert_eq!(blocks["complete"], true);
    let totals = |name: &str| report.total(name);
    let mapped: u64 = ["map_some"]
        .iter()
        .map(|name| report.mapped(name).bytes)
        .sum();
    assert_eq!(mapped, 3 * MIB);
    assert!(number(&blocks["known_blocks"]) > totals("live_blocks"));
    assert_eq!(
        number(&blocks["known_bytes"]),
        totals("live_bytes") + totals("mapped_bytes")
    );
    assert_eq!(blocks["sites"], blocks["known_sites"]);
    let [largest, oldest] = ["largest", "oldest"].map(|name| number(&blocks[name]) as usize);
    // What sites of a few blocks do not need is handed on.
    assert!(largest > 1024 / number(&blocks["sites"]) as usize);
    assert_eq!(largest, oldest);
    assert!(largest < 1200, "there are more blocks than room: {largest}");
    let list = blocks["list"].as_array().expect("a list");
    assert_eq!(list.len() as u64, number(&blocks["chosen"]));
    assert!(list.len() <= 2048);

    // The largest of those that differ in size, and others only for their age.
    let mut by_size = places["sizes"].clone();
    let known: BTreeSet<(u64, u64)> = by_size.iter().copied().collect();
    by_size.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let found = listed(&report, "keep_sizes");
    let pairs: BTreeSet<(u64, u64)> = found.iter().map(|(at, bytes, ..)| (*at, *bytes)).collect();
    assert_eq!(pairs.len(), found.len());
    assert!(pairs.is_subset(&known));
    assert!(
        by_size
            .iter()
            .take(largest)
            .all(|block| pairs.contains(block))
    );
    // What is left over when all have so many: at most one more for each.
    assert!(found.len() <= largest + oldest + 2);

    // The oldest of those that differ in age.
    let aged = listed(&report, "keep_aged");
    let known: BTreeSet<(u64, u64)> = places["aged"].iter().copied().collect();
    assert!(
        aged.iter()
            .all(|(at, bytes, ..)| known.contains(&(*at, *bytes)))
    );
    let old: Vec<_> = aged.iter().filter(|(_, bytes, ..)| *bytes == 40).collect();
    let young: Vec<_> = aged.iter().filter(|(_, bytes, ..)| *bytes == 48).collect();
    assert!((oldest..=oldest + 1).contains(&old.len()), "{}", old.len());
    assert!(
        (largest..=largest + 1).contains(&young.len()),
        "{}",
        young.len()
    );
    assert!(
        old.iter()
            .all(|(.., age_s)| *age_s > 2.9 && *age_s < passed_s + 5.0)
    );
    assert!(young.iter().all(|(.., age_s)| *age_s <= passed_s));
    let mean = |list: &[&(u64, u64, u64, f64)]| {
        list.iter().map(|(.., age_s)| age_s).sum::<f64>() / list.len() as f64
    };
    assert!(mean(&old) > mean(&young));

    // All large ones, each half resident.
    let large = listed(&report, "keep_large");
    let pairs: BTreeSet<(u64, u64)> = large.iter().map(|(at, bytes, ..)| (*at, *bytes)).collect();
    assert_eq!(pairs, places["large"].iter().copied().collect());
    assert!(
        large
            .iter()
            .all(|(_, _, resident, _)| resident.abs_diff(200_000) <= 4096)
    );

    // Each place is in an area that says what it is.
    let kind = |name: &str| {
        let (at, _) = places[name][0];
        let area = area(&report, at);
        (area["kind"].as_str().expect("a kind").to_owned(), area)
    };
    for (at, _) in &places["large"] {
        let area = area(&report, *at);
        assert_eq!(area["kind"], "large blocks");
        assert_eq!(area["site"], site(&report, "keep_large"));
    }
    let (what, of_arena) = kind("arena");
    assert!(
        what == "heap" && of_arena["arena"].as_u64() > Some(1),
        "{of_arena}"
    );
    let (what, of_break) = kind("aged");
    assert!(what == "heap" && of_break["arena"] == 1, "{of_break}");
    let (what, mapping) = kind("mapping");
    assert!(
        what == "mapping" && mapping["site"] == site(&report, "map_some"),
        "{mapping}"
    );
    assert_eq!(
        (
            number(&mapping["bytes"]),
            number(&mapping["resident_bytes"])
        ),
        (3 * MIB, MIB)
    );
    let (what, shared) = kind("shared");
    assert_eq!(
        (what.as_str(), number(&shared["resident_bytes"])),
        ("shared memory", 2 * MIB)
    );
    let (what, file) = kind("file");
    assert!(what == "file" && number(&file["bytes"]) == MIB, "{file}");
    assert!(
        file["name"]
            .as_str()
            .expect("a path")
            .ends_with("/mapped.data")
    );
    let (what, stack) = kind("stack");
    assert!(
        what == "thread stack" && number(&stack["thread"]) == places["stack"][0].1,
        "{stack}"
    );
    let (what, module) = kind("module");
    assert_eq!(
        (what.as_str(), module["name"].as_str()),
        ("module", report.json["processes"][0]["exe"].as_str())
    );

    // Everything that was mapped all the time is in an area, and no area is where nothing was mapped.
    let areas = report.json["address_space"][0]["areas"]
        .as_array()
        .expect("areas");
    assert_eq!(report.json["address_space"][0]["complete"], true);
    let steady = before
        .iter()
        .filter(|(start, it)| after.get(start).map(|it| it.0) == Some(it.0));
    let mut resident = 0;
    for (start, (end, bytes)) in steady {
        let mut at = *start;
        while at < *end {
            let area = area(&report, at);
            at = address(&area["start"]) + number(&area["bytes"]);
        }
        resident += bytes;
    }
    let mut told = 0;
    let mut last = 0;
    for area in areas {
        let (start, bytes) = (address(&area["start"]), number(&area["bytes"]));
        assert!(start >= last, "areas overlap at {start:#x}");
        last = start + bytes;
        assert_eq!(number(&area["unmapped_bytes"]), 0);
        assert!(number(&area["resident_bytes"]) <= bytes, "{area}");
        if area["kind"] == "leaktrack" {
            continue; // it has grown and shrunk meanwhile
        }
        told += number(&area["resident_bytes"]);
        let mut at = start;
        while at < last {
            let mapping = after.range(..=at).next_back().filter(|(_, it)| it.0 > at);
            let (_, (end, _)) = mapping.unwrap_or_else(|| panic!("nothing at {at:#x}: {area}"));
            at = *end;
        }
    }
    let own: u64 = areas
        .iter()
        .filter(|area| area["kind"] == "leaktrack")
        .map(|area| number(&area["resident_bytes"]))
        .sum();
    // leaktrack's memory was given back or grew between the three looks.
    assert!(
        resident.abs_diff(told + own) < MIB,
        "{told} {own} {resident}"
    );
    let unknown = areas.iter().filter(|area| area["kind"] == "unknown");
    let unknown: u64 = unknown.map(|area| number(&area["resident_bytes"])).sum();
    assert!(unknown <= 64 << 10, "{unknown} of unknown areas");

    // The filters, and the same blocks as a table.
    let path = recording.to_str().expect("a path");
    let filtered = |flag: &str, value: &str| -> Vec<Value> {
        let text = leaktrack(&["report", path, "--format", "json", flag, value]);
        let report: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(report["blocks"][0]["chosen"], blocks["chosen"]);
        report["blocks"][0]["list"]
            .as_array()
            .expect("a list")
            .clone()
    };
    let expected = |wanted: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        list.iter().filter(|block| wanted(block)).cloned().collect()
    };
    let kept = filtered("--min-bytes", "400000");
    assert_eq!(kept, expected(&|block| number(&block["bytes"]) >= 400_000));
    assert_eq!(kept.len(), large.len() + 3, "{kept:?}");
    let kept = filtered("--older-than", "2900ms");
    assert_eq!(
        kept,
        expected(&|block| block["age_s"].as_f64() >= Some(2.9))
    );
    assert!(kept.len() >= oldest && kept.len() < list.len());
    let rows = leaktrack(&["export", path, "--format", "blocks"]);
    let rows = rows.lines().skip(1);
    let addresses: Vec<&str> = rows.filter_map(|row| row.split(',').nth(3)).collect();
    let of_json: Vec<&str> = list
        .iter()
        .filter_map(|block| block["address"].as_str())
        .collect();
    assert_eq!(addresses, of_json);

    // Folders can be taken out of the names of files.
    let folder = running.folder().to_str().expect("a path");
    assert!(file["name"].as_str().expect("a path").starts_with(folder));
    let redacted = running.folder().join("redacted.ltk");
    let redacted = redacted.to_str().expect("a path");
    leaktrack(&["bundle", "--redact", "paths", "-o", redacted, path]);
    let shared = Report::read(&[redacted.as_ref()]);
    assert_eq!(area(&shared, places["file"][0].0)["name"], "mapped.data");
    let of_bundle = shared.json["blocks"][0]["list"].as_array().map(Vec::len);
    assert_eq!(of_bundle, Some(list.len()));

    // The text has the largest three, and every area.
    let (at, _) = places["mapping"][0];
    assert!(text.contains(&format!("  {at:#x}")), "{text}");
    let rows = text.lines().filter(|line| line.starts_with("  0x")).count();
    assert_eq!(rows, 3 + areas.len(), "{text}");
    assert!(
        text.contains("smaller blocks in the list: --blocks=0 shows all"),
        "{text}"
    );

    fs::write(running.folder().join("2"), "").expect("a step");
    running.finish().outcome.expect_code(0);
}

/// Of single blocks it is told which are lost, where the scan knows.
#[test]
fn lost_blocks_are_marked() {
    let tracked = Case::of("leak_shapes.c").tracked();
    let report = tracked.report();
    let list = report.json["blocks"][0]["list"].as_array().expect("blocks");
    let of = |function: &str| -> Vec<&Value> {
        let blocks = list.iter().filter(|block| block["function"] == function);
        blocks.map(|block| &block["lost"]).collect()
    };
    assert_eq!(of("lost"), [true; 5]);
    assert_eq!(of("ring"), [true; 15]);
    assert_eq!(of("held"), [false; 5]);
    assert_eq!(of("held_by_block"), [false; 5]);
    // Something points into these: nobody knows.
    assert!(of("possible_parent").iter().all(|lost| lost.is_null()));
    let recording = tracked.recordings[0].to_str().expect("a path");
    let text = leaktrack(&["report", recording, "--blocks=0"]);
    let marked = text.lines().filter(|line| line.ends_with("(lost)")).count();
    let lost = list.iter().filter(|block| block["lost"] == true).count();
    assert_eq!(marked, lost);
}
