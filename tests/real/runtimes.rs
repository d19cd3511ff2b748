//! Heaps of language runtimes, which malloc does not see: told apart by name, and as large as the runtime itself says.

use leaktrack_tests::{Case, Report, tool};

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
