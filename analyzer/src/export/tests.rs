//! Each format read back by a parser of its consumer's, and compared with the report.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use leaktrack_recording::{Record, SiteKind};
use serde_json::Value;

use super::{Dialect, Format, Measure, listen, write, write_metrics};
use crate::blame::Blame;
use crate::report::document::{Report, SiteReport};
use crate::report::{ReportOptions, assemble};
use crate::testing::browser::Browser;
use crate::testing::{self, Recording};

/// Names that formats must not trip over: a separator, a formula, a quote, a line break, markup.
const HOSTILE: &str = "=open;\"x\"\\\n<b>&(int, char)";

/// A minute: sessions that leak, a cache that fills, requests that come and go, a mapping, and the
/// same line by another way.
fn shop() -> Report {
    let mut r = Recording::new();
    let session = r.site(SiteKind::Heap, &[(1, 0x1111), (1, 0x2222), (1, 0x100)]);
    let page = r.site(SiteKind::Heap, &[(1, 0x3333), (1, 0x2222), (1, 0x100)]);
    let request = r.site(SiteKind::Heap, &[(1, 0x4444), (1, 0x100)]);
    let area = r.site(SiteKind::Mmap, &[(1, 0x5555), (1, 0x100)]);
    let other = r.site(SiteKind::Heap, &[(1, 0x1111), (1, 0x100)]);
    r.record(&Record::Label {
        key: b"service.name",
        value: HOSTILE.as_bytes(),
    });
    r.record(&Record::Thread {
        tid: 1,
        name: b"worker-0",
    });
    r.every_second(60, |second| {
        let cached = u64::from(second <= 20);
        let wave = if second % 2 == 0 {
            (0, 0, 3, 777)
        } else {
            (3, 777, 0, 0)
        };
        vec![
            (session, 1, 1_000, 0, 0),
            (page, cached, cached * 1_500, 0, 0),
            (
                request,
                10 + wave.0,
                5_000 + wave.1,
                10 + wave.2,
                5_000 + wave.3,
            ),
            (
                area,
                u64::from(second == 1),
                u64::from(second == 1) * 8_192,
                0,
                0,
            ),
            (other, 1, 24, 0, 0),
        ]
    });
    let mut family = r.family();
    testing::name(
        &mut family,
        &[
            (0x1111, HOSTILE, "/nowhere/session.c", 42),
            (0x2222, "serve", "/nowhere/serve.c", 7),
            (0x3333, "cache_page", "/nowhere/cache.c", 19),
            (0x4444, "read_request", "/nowhere/request.c", 88),
            (0x5555, "map_spool", "/nowhere/spool.c", 5),
        ],
        &Blame::default(),
    );
    let options = ReportOptions {
        top: 0,
        show_healthy: true,
        ..ReportOptions::default()
    };
    assemble(&family, &options)
}

fn written(report: &Report, format: Format, measure: Measure) -> Vec<u8> {
    let mut out = Vec::new();
    write(report, format, measure, &mut out).unwrap();
    out
}

fn sum(report: &Report, of: impl Fn(&SiteReport) -> u64) -> u64 {
    report.sites.iter().map(of).sum()
}

/// Runs a program of Debian's on a file and gives what it prints.
fn reader(program: &str, arguments: &[&str], content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    std::fs::write(&path, content).unwrap();
    let out = Command::new(program)
        .args(arguments)
        .arg(&path)
        .env("HOME", folder.path())
        .env("PPROF_TMPDIR", folder.path())
        .output()
        .unwrap_or_else(|error| panic!("{program} is installed by tests/run: {error}"));
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

fn python(script: &str, content: &[u8]) -> Value {
    let out = reader("/usr/bin/python3", &["-c", script], content);
    serde_json::from_str(&out).unwrap()
}

#[test]
fn pprof_reads_its_profile() {
    let report = shop();
    let profile = written(&report, Format::Pprof, Measure::Live);
    let raw = reader("go", &["tool", "pprof", "-raw"], &profile);
    let (head, rest) = raw.split_once("Samples:\n").unwrap();
    assert!(head.contains("PeriodType: space bytes"), "{head}");
    let (samples, locations) = rest.split_once("Locations\n").unwrap();
    let mut lines = samples.lines();
    assert!(lines.next().unwrap().starts_with(
        "alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes[dflt] peak_space/bytes"
    ));
    let values: Vec<Vec<u64>> = lines
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(numbers, _)| {
            numbers
                .split_whitespace()
                .map(|number| number.parse().ok())
                .collect()
        })
        .collect();
    assert_eq!(values.len(), report.sites.len());
    let total = |column: usize| values.iter().map(|row| row[column]).sum::<u64>();
    assert_eq!(total(0), sum(&report, |site| site.allocations));
    assert_eq!(total(1), sum(&report, |site| site.allocated_bytes));
    assert_eq!(total(2), sum(&report, |site| site.live_blocks.value));
    assert_eq!(total(3), sum(&report, |site| site.live_bytes.value));
    assert_eq!(total(4), sum(&report, |site| site.peak_live_bytes));
    assert!(
        locations.contains("cache_page /nowhere/cache.c:19"),
        "{locations}"
    );
    // A frame without a name is there, too.
    assert!(locations.contains("app+0xff"), "{locations}");
    let top = reader(
        "go",
        &[
            "tool",
            "pprof",
            "-top",
            "-sample_index=inuse_space",
            "-unit=b",
        ],
        &profile,
    );
    // 20 pages of 1,500 bytes.
    let row = top
        .lines()
        .find(|line| line.ends_with(" cache_page"))
        .unwrap();
    assert!(row.trim_start().starts_with("30000B"), "{top}");
}

#[test]
fn prometheus_reads_its_figures() {
    let report = shop();
    let parse = |module: &str, dialect| {
        let mut out = Vec::new();
        write_metrics(&report, dialect, &mut out).unwrap();
        let script = format!(
            "import json, sys
from {module} import text_string_to_metric_families as parse
text = open(sys.argv[1], newline='').read()
print(json.dumps([[s.name, s.labels, s.value, f.type] for f in parse(text) for s in f.samples]))"
        );
        python(&script, &out).as_array().unwrap().clone()
    };
    let open = parse("prometheus_client.openmetrics.parser", Dialect::OpenMetrics);
    let plain = parse("prometheus_client.parser", Dialect::Prometheus);
    for samples in [&open, &plain] {
        let value = |name: &str, label: Option<(&str, &str)>| {
            let is_it = |sample: &&Value| {
                sample[0] == name && label.is_none_or(|(name, value)| sample[1][name] == value)
            };
            let found = samples
                .iter()
                .find(is_it)
                .unwrap_or_else(|| panic!("{name} is missing"));
            found[2].as_f64().unwrap()
        };
        assert_eq!(
            value("leaktrack_live_bytes", None),
            report.totals.live_bytes as f64
        );
        assert_eq!(
            value("leaktrack_rss_bytes", None),
            report.memory.rss_bytes.unwrap() as f64
        );
        assert_eq!(
            value("leaktrack_findings", None),
            report.finding_count as f64
        );
        assert_eq!(value("leaktrack_recording_up", None), 0.0);
        let minor = Some(("kind", "minor"));
        assert_eq!(
            value("leaktrack_faults_total", minor),
            report.faults.minor.unwrap() as f64
        );
        for site in &report.sites {
            let key = Some(("key", site.key.as_str()));
            assert_eq!(
                value("leaktrack_site_live_bytes", key),
                site.live_bytes.value as f64
            );
            if let Some(finding) = site.finding {
                assert_eq!(value("leaktrack_site_finding", key), finding as f64);
            }
            if let Some(rate) = site.growth.rate {
                assert_eq!(
                    value("leaktrack_site_growth_bytes_per_second", key),
                    rate.value
                );
            }
        }
        assert!(
            samples
                .iter()
                .all(|sample| sample[1]["program"] == "app" && sample[1]["pid"].is_null())
        );
        assert_eq!(samples[0][1]["service_name"], HOSTILE);
        assert_eq!(
            value("leaktrack_site_live_bytes", Some(("blame", HOSTILE))),
            60_000.0
        );
        assert_eq!(
            value("leaktrack_site_live_bytes", Some(("verdict", "growing"))),
            60_000.0
        );
    }
}

#[test]
fn figures_can_be_scraped() {
    let report = shop();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let _ = listen::serve(&listener, |dialect| {
            let mut out = Vec::new();
            write_metrics(&report, dialect, &mut out).unwrap();
            Ok(out)
        });
    });
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let open = ask(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n",
    );
    assert!(
        open.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text;"),
        "{open}"
    );
    assert!(open.ends_with("# EOF\n"));
    let (head, body) = open.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    let plain = ask("GET /metrics HTTP/1.0\r\n\r\n");
    assert!(plain.contains("text/plain; version=0.0.4") && !plain.contains("# EOF"));
    assert!(ask("GET /etc/passwd HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(ask("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    assert!(ask("\r\n\r\n").starts_with("HTTP/1.1 405"));
}

#[test]
fn python_reads_the_table() {
    let report = shop();
    let script = "import csv, json, sys
print(json.dumps(list(csv.DictReader(open(sys.argv[1], newline='')))))";
    let rows = python(script, &written(&report, Format::Csv, Measure::Live));
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), report.sites.len());
    for (row, site) in rows.iter().zip(&report.sites) {
        assert_eq!(row["id"], *site.id);
        assert_eq!(row["live_bytes"], site.live_bytes.value.to_string());
        assert_eq!(row["allocations"], site.allocations.to_string());
        assert_eq!(row["verdict"], site.verdict.name());
        assert_eq!(row["lost_bytes"], "", "no scan was made");
        let finding = site.finding.map_or_else(String::new, |it| it.to_string());
        assert_eq!(row["finding"], finding);
        let rate = site
            .growth
            .rate
            .map_or_else(String::new, |rate| rate.value.to_string());
        assert_eq!(row["rate_bytes_per_s"], rate);
    }
    assert!(rows.iter().any(|row| row["finding"] == "1"));
    assert_eq!(rows[0]["function"], format!("'{HOSTILE}"), "no formula");
}

#[test]
fn folded_stacks_and_flame_graphs_add_up() {
    let report = shop();
    for measure in [
        Measure::Live,
        Measure::Allocated,
        Measure::Allocations,
        Measure::Peak,
    ] {
        let folded = String::from_utf8(written(&report, Format::Folded, measure)).unwrap();
        let values: BTreeMap<&str, u64> = folded
            .lines()
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(stack, value)| (stack, value.parse().unwrap()))
            .collect();
        assert_eq!(
            values.values().sum::<u64>(),
            sum(&report, |site| measure.of(site))
        );
    }
    let folded = String::from_utf8(written(&report, Format::Folded, Measure::Live)).unwrap();
    assert!(
        folded.contains("app+0xff;serve;cache_page 30000\n"),
        "{folded}"
    );
    let script = "import json, sys, xml.etree.ElementTree as tree
titles = [t.text for t in tree.parse(sys.argv[1]).iter('{http://www.w3.org/2000/svg}title')]
print(json.dumps(titles))";
    let titles = python(script, &written(&report, Format::Flamegraph, Measure::Live));
    let live = crate::human::count(sum(&report, |site| site.live_bytes.value));
    let titles: Vec<&str> = titles
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        titles.contains(&format!("all ({live} bytes, 100%)").as_str()),
        "{titles:?}"
    );
    assert!(
        titles
            .iter()
            .any(|title| title.starts_with("cache_page (30,000 bytes")),
        "{titles:?}"
    );
    let nothing = python(script, &written(&report, Format::Flamegraph, Measure::Lost));
    assert_eq!(nothing, serde_json::json!([]));
}

#[test]
fn the_flame_graph_works_in_a_browser() {
    let report = shop();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flame.svg");
    std::fs::write(&path, written(&report, Format::Flamegraph, Measure::Live)).unwrap();
    let browser = Browser::start();
    browser.open(&path);
    let frame = |name: &str| format!("//*[name()='g'][@data-n='{name}']");
    let number = |script: String| browser.run(&script).as_f64().unwrap();
    let width = |name: &str| {
        number(format!(
            "return Number([...document.querySelectorAll('#frames > g')].find((g) => g.dataset.n === '{name}')\
             .querySelector('rect').getAttribute('width'))"
        ))
    };
    let shown = || {
        number(
            "return [...document.querySelectorAll('#frames > g')].filter((g) => g.style.display !== 'none').length"
                .to_owned(),
        )
    };
    // Sessions 60,000, pages 30,000, the area 8,192, the other way to a session 1,440; what came and
    // went is not there.
    let live = sum(&report, |site| site.live_bytes.value) as f64;
    assert_eq!(live, 99_632.0);
    let whole = width("all");
    let share = |name: &str| (width(name) / whole * live).round();
    assert_eq!(share("serve"), 90_000.0);
    assert_eq!(share("cache_page"), 30_000.0);
    let all = shown();

    // A click zooms: what is beside goes, what is under stays, pale.
    browser.click(&frame("serve"));
    assert_eq!(width("serve"), whole);
    assert_eq!((width("cache_page") / whole * 90_000.0).round(), 30_000.0);
    assert!(shown() < all);
    let zoomed = browser.run("return location.hash");
    assert!(zoomed.as_str().unwrap().contains("x="), "{zoomed}");
    browser.click("//*[@id='reset']");
    assert_eq!(shown(), all);

    // A search marks, and tells its share: sessions by both ways are counted once each.
    browser.click("//*[@id='search']");
    browser.answer("CACHE_.*|serve");
    assert_eq!(browser.text("//*[@id='matched']"), "Matched: 90.33%");
    let hits = number("return document.querySelectorAll('.hit').length".to_owned());
    assert_eq!(hits, 2.0);
    browser.click("//*[@id='case']");
    assert_eq!(browser.text("//*[@id='matched']"), "Matched: 90.33%");
    browser.click("//*[@id='search']");
    let hits = number("return document.querySelectorAll('.hit').length".to_owned());
    assert_eq!(hits, 0.0);
    // What was kept in the address is there again.
    browser.click(&frame("cache_page"));
    let address = browser.run("return location.href");
    browser.run("location.hash = ''; return true");
    browser.run(&format!(
        "location.replace({address}); location.reload(); return true"
    ));
    browser.until("return document.documentElement.dataset.ready === '1' && document.querySelectorAll('.parent').length > 0");
    // A hostile name is text.
    assert_eq!(
        number("return document.querySelectorAll('b').length".to_owned()),
        0.0
    );
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_firefox_profiler_retains_what_is_live() {
    let report = shop();
    let profile: Value =
        serde_json::from_slice(&written(&report, Format::Firefox, Measure::Live)).unwrap();
    let thread = &profile["threads"][0];
    let allocations = &thread["nativeAllocations"];
    let column = |name: &str| allocations[name].as_array().unwrap().clone();
    let (weights, addresses, stacks) = (column("weight"), column("memoryAddress"), column("stack"));
    let times = column("time");
    assert!(
        times
            .windows(2)
            .all(|pair| pair[0].as_f64() <= pair[1].as_f64())
    );
    // As the profiler finds retained memory: what was allocated at an address and not freed since.
    let mut retained: BTreeMap<u64, (i64, &Value)> = BTreeMap::new();
    for ((weight, address), stack) in weights.iter().zip(&addresses).zip(&stacks) {
        let (bytes, address) = (weight.as_i64().unwrap(), address.as_u64().unwrap());
        if bytes > 0 {
            assert!(retained.insert(address, (bytes, stack)).is_none());
        } else {
            assert_eq!(retained.remove(&address).unwrap().0, -bytes);
        }
    }
    let live = sum(&report, |site| site.live_bytes.value);
    assert_eq!(
        retained
            .values()
            .map(|(bytes, _)| *bytes as u64)
            .sum::<u64>(),
        live
    );
    let total: i64 = weights.iter().filter_map(Value::as_i64).sum();
    assert_eq!(total as u64, live);
}

#[test]
fn nothing_recorded_is_still_written() {
    let mut r = Recording::new();
    r.snapshot(1_000, &[]);
    let report = assemble(&r.family(), &ReportOptions::default());
    for format in [
        Format::Pprof,
        Format::Folded,
        Format::Flamegraph,
        Format::Firefox,
        Format::Csv,
        Format::Openmetrics,
    ] {
        written(&report, format, Measure::Live);
    }
}
