//! Heaps of language runtimes, which malloc does not see: told apart by name, and as large as the runtime itself says.

use leaktrack_tests::{Case, Report, product, tool};

const MIB: u64 = 1 << 20;

fn part(report: &Report, name: &str) -> u64 {
    let parts = report.json["memory"]["parts"].as_array().expect("parts");
    let found = parts.iter().find(|part| part["name"] == name);
    found.map_or(0, |part| part["bytes"].as_u64().expect("bytes"))
}

#[track_caller]
fn near(what: &str, found: u64, expected: u64, percent: u64) {
    assert!(
        found.abs_diff(expected) * 100 <= expected * percent,
        "{what}: {found}, the runtime says {expected}"
    );
}

/// What a program says once it idles, and where its memory is then: at their end some runtimes take their heap down.
#[track_caller]
fn idling(case: &Case) -> (u64, Report) {
    let mut running = case.start_tracked();
    running.wait_until("it says how large its heap is", |it| {
        it.stdout_so_far().ends_with('\n')
    });
    let said = running.stdout_so_far();
    let report = running.family_now();
    running.signal(libc::SIGKILL);
    running.finish();
    let heap = said.trim().parse().expect("a number");
    assert!(report.expect_memory_explained());
    (heap, report)
}

#[test]
fn arenas_of_cpython() {
    // What it prints at the end: "N arenas * BYTES bytes/arena = TOTAL".
    let text = "import os, sys\nkeep = [(n, str(n)) for n in range(400000)]\nsys._debugmallocstats()\n\
        sys.stderr.flush()\nos._exit(0)\n";
    let run = Case::new(tool("python3"))
        .args(["-c", text])
        .any_stderr()
        .tracked();
    run.outcome.expect_code(0);
    let errors = String::from_utf8_lossy(&run.outcome.stderr).into_owned();
    let line = errors
        .lines()
        .find(|line| line.contains("bytes/arena"))
        .unwrap_or_else(|| panic!("{errors}"));
    let total = line.rsplit('=').next().expect("a total").trim();
    let total: u64 = total.replace(',', "").parse().expect("a number");
    let report = run.report();
    assert!(report.expect_memory_explained());
    // The last arena is hardly touched, and of each a page or two.
    near("CPython arenas", part(&report, "CPython arenas"), total, 4);
}

#[test]
fn heap_of_v8() {
    let text = "const keep = []; for (let n = 0; n < 600000; n++) keep.push({ n, text: 'row ' + n });\n\
        global.gc(); const heap = require('v8').getHeapStatistics();\n\
        console.log(heap.total_physical_size); setTimeout(() => console.log(keep.length), 60000);\n";
    let case = Case::new(tool("node")).args(["--expose-gc", "-e", text]);
    let (heap, report) = idling(&case);
    near("V8 heap", part(&report, "V8 heap"), heap, 4);
}

#[test]
fn heap_of_go() {
    let go = tool("go");
    // With C in it: else the program is static, and nothing can be preloaded.
    let text = "package main\n// #include <stdlib.h>\nimport \"C\"\nimport (\"fmt\"; \"runtime\"; \"time\")\n\
        var keep [][]byte\n\
        func main() {\n C.free(C.malloc(10))\n\
        for i := 0; i < 2000; i++ { b := make([]byte, 32<<10); for j := range b { b[j] = 1 }; keep = append(keep, b) }\n\
        runtime.GC(); var m runtime.MemStats; runtime.ReadMemStats(&m)\n\
        fmt.Println(m.HeapSys - m.HeapReleased); time.Sleep(time.Minute); fmt.Println(len(keep)) }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("main.go");
    let program = folder.path().join("go-heap");
    // Beside the other programs, so that Go's own library is built once.
    let known = leaktrack_tests::program("keep_some.c");
    let cache = known.ancestors().nth(2).expect("a folder").join("go-cache");
    std::fs::write(&source, text).expect("a source");
    let built = std::process::Command::new(go)
        .args(["build", "-o"])
        .args([&program, &source])
        .env("CGO_ENABLED", "1")
        .env("GOCACHE", cache)
        .env("GO111MODULE", "off")
        .output()
        .expect("go");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let (heap, report) = idling(&Case::new(&program));
    near("Go heap", part(&report, "Go heap"), heap, 3);
}

#[test]
fn heap_of_a_jvm() {
    // One class in one file, run as source.
    let text = "public class Idle { public static void main(String[] a) throws Exception { Thread.sleep(1500); } }\n";
    let case = Case::new(tool("java"))
        .args([
            "-Xms192m",
            "-Xmx192m",
            "-XX:+AlwaysPreTouch",
            "-XX:+UseSerialGC",
            "Idle.java",
        ])
        .file("Idle.java", text)
        .any_stderr();
    let run = case.tracked();
    run.outcome.expect_code(0);
    let report = run.report();
    assert!(report.expect_memory_explained());
    // The heap itself is known; classes, code and collector tables come on top.
    let found = part(&report, "JVM heap");
    assert!((192 * MIB..320 * MIB).contains(&found), "{found}");
}

/// What node writes of its collections, read beside the recording: the same collections, at the same
/// times of the process, as marks of the timeline.
#[test]
fn collections_of_node_from_its_trace_events() {
    let script = "const kept = [];
        const timer = setInterval(() => {
            for (let i = 0; i < 500; i++) kept.push({ i, text: `${i}`.repeat(20) });
            if (kept.length % 10000 === 0) gc();
        }, 5);
        setTimeout(() => { clearInterval(timer); gc(); }, 2000);";
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("gc.json");
    let run = Case::new(tool("node"))
        .args(["--expose-gc", "--trace-event-categories", "v8"])
        .arg("--trace-event-file-pattern")
        .arg(log.to_str().expect("UTF-8"))
        .args(["-e", script])
        .tracked();
    run.outcome.expect_code(0);
    let text = std::fs::read_to_string(&log).expect("node's file");
    let trace: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let ended = |name: &str| -> Vec<&serde_json::Value> {
        let named = events.iter().filter(|it| it["name"] == name);
        named.filter(|it| it["ph"] == "E").collect()
    };
    let (major, minor) = (ended("MajorGC"), ended("MinorGC"));
    assert!(major.len() > 3, "{text}");

    let report = |format: &str| {
        let output = std::process::Command::new(&product().command)
            .args(["report", "--top", "0", "--format", format, "--gc-log"])
            .arg(&log)
            .arg(&run.recordings[0])
            .output()
            .expect("the command");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let json: serde_json::Value = serde_json::from_slice(&report("json")).expect("JSON");
    let gc = &json["gc"];
    assert_eq!(gc["major"], major.len());
    assert_eq!(gc["minor"], minor.len());
    let last = major.last().expect("one");
    assert_eq!(gc["heap_bytes"], last["args"]["usedHeapSizeAfter"]);

    // As far apart as node says, and in the time of the process.
    let marks = json["events"].as_array().expect("events").iter();
    let marks: Vec<f64> = marks
        .filter(|event| event["type"] == "gc")
        .map(|event| event["t_s"].as_f64().expect("a time"))
        .collect();
    assert_eq!(marks.len(), major.len());
    let us = |event: &serde_json::Value| event["ts"].as_f64().expect("a time");
    for (mark, event) in marks.iter().zip(&major) {
        let apart = (mark - marks[0]) - (us(event) - us(major[0])) / 1e6;
        assert!(apart.abs() < 0.01, "{marks:?}");
    }
    let lasted = json["processes"][0]["duration_s"].as_f64().expect("a time");
    assert!(marks.iter().all(|mark| (0.0..=lasted).contains(mark)));

    // The page draws a line for each event.
    let page = String::from_utf8(report("html")).expect("UTF-8");
    assert_eq!(page.matches("\"type\":\"gc\"").count(), major.len());
}
