//! Generated code of managed languages: its names in the stacks, kept with the recording.

use std::fs;
use std::process::Command;

use leaktrack_tests::{Case, Report, Site, Step, find_tool, product, tool};

/// Function, file and line of the frame that is to blame.
fn blamed(report: &Report, site: &Site) -> (String, String, Option<u64>) {
    let at = report.sites.iter().position(|one| std::ptr::eq(one, site));
    let blame = &report.json["sites"][at.expect("a site of the report")]["blame"];
    let text = |field: &str| blame[field].as_str().unwrap_or_default().to_owned();
    (text("function"), text("file"), blame["line"].as_u64())
}

/// When `code_names` may go on: once the names of its code are in the recording, they may be replaced, or go.
const NAMES_TAKEN: &[Step<'static>] = &[
    ("1", &|report| report.live("make_session").blocks == 50),
    ("2", &|report| report.live("Pages.cache_page").blocks == 30),
];

fn names_outlive_their_file(how: &str) {
    let checked = Case::of("code_names.c")
        .arg(how)
        .option("interval=100ms")
        .check_in_steps(NAMES_TAKEN);
    let report = checked.report();
    report.expect_live("keep_early", 50, 3200);
    report.expect_live("keep_late", 30, 2880);
    report.expect_live("make_session", 50, 3200);
    report.expect_live("Pages.cache_page", 30, 2880);
    let site = |function: &str| {
        let mut sites = report.sites.iter();
        sites.find(|site| site.passes(function)).expect("its site")
    };
    assert!(site("make_session").passes("keep_early"));
    let frame = |site: &Site, function: &str| {
        let mut frames = site.frames.iter();
        let found = frames.find(|frame| frame.function.as_deref() == Some(function));
        found.expect("its frame").clone()
    };
    let session = frame(site("make_session"), "make_session");
    assert_eq!(session.file.as_deref(), Some("session.js"));
    assert_eq!(session.line, Some(31));
    let page = frame(site("Pages.cache_page"), "Pages.cache_page");
    assert_eq!(page.file.as_deref(), Some("pages.py"));
    assert_eq!(page.line, None);
}

#[test]
fn names_from_a_perf_map_outlive_it() {
    names_outlive_their_file("map");
}

#[test]
fn names_from_a_jitdump_outlive_it() {
    names_outlive_their_file("dump");
}

#[test]
fn paths_in_names_of_code_can_be_redacted() {
    let checked = Case::of("code_names.c")
        .arg("map")
        .option("interval=100ms")
        .check_in_steps(NAMES_TAKEN);
    let bundle = checked.folder.join("redacted.ltk");
    let status = Command::new(&product().command)
        .args(["bundle", "--redact", "paths,argv,host", "-o"])
        .arg(&bundle)
        .arg(&checked.recordings[0])
        .status()
        .expect("leaktrack bundle");
    assert!(status.success());
    let bytes = fs::read(&bundle).unwrap();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    assert!(holds(b"session.js"));
    assert!(!holds(b"/srv/shop"));
}

const SERVER: &str = "const kept = [];
function parseHeaders(n) { return Buffer.alloc(64 + n % 64); }
function keepBody(n) { const body = Buffer.alloc(20000, n & 255); kept.push(body); return body; }
function handleRequest(n) { parseHeaders(n); keepBody(n); }
let n = 0;
setInterval(() => { for (let i = 0; i < 5; i++) handleRequest(n++); }, 20);
";

#[test]
fn javascript_is_to_blame_for_its_buffers() {
    let case = Case::new(tool("node"))
        .file("server.js", SERVER)
        .args([
            "--perf-basic-prof",
            "--interpreted-frames-native-stack",
            "--no-turbo-inlining", // an inlined function has no frame, and no name
            "server.js",
        ])
        .option("interval=100ms")
        .option("only=node");
    let mut running = case.start_tracked();
    let map = format!("/tmp/perf-{}.map", running.pid());
    running.wait_for_report("a Buffer of keepBody", |report| {
        report.live("keepBody").bytes > 2_000_000
    });
    running.signal(libc::SIGKILL);
    let tracked = running.finish();
    fs::remove_file(&map).expect("node writes a perf map");
    let report = tracked.report();
    let kept = report.live("keepBody");
    let all = report.json["totals"]["live_bytes"].as_u64().unwrap();
    assert!(
        kept.bytes > 2_000_000 && kept.bytes <= all,
        "{}",
        report.outline()
    );
    let mut sites = report.sites.iter().filter(|site| site.passes("keepBody"));
    let largest = sites.next().expect("sorted by harm");
    let (function, file, line) = blamed(&report, largest);
    assert_eq!((function.as_str(), line), ("keepBody", Some(3)));
    assert!(file.ends_with("/server.js"), "{file}");
    assert!(largest.passes("handleRequest"));
    // Buffers that are dropped go back when the collector runs: they do not pile up.
    assert!(report.live("parseHeaders").bytes < kept.bytes / 20);
}

/// A jitdump as V8 writes it, with its line tables and unwinding records in between.
#[test]
fn javascript_is_to_blame_by_its_jitdump_too() {
    let case = Case::new(tool("node"))
        .file("server.js", SERVER)
        .args([
            "--perf-prof",
            "--interpreted-frames-native-stack",
            "--no-turbo-inlining",
            "server.js",
        ])
        .option("interval=100ms")
        .option("only=node");
    let mut running = case.start_tracked();
    running.wait_for_report("a Buffer of keepBody", |report| {
        report.live("keepBody").bytes > 2_000_000
    });
    running.signal(libc::SIGKILL);
    let report = running.finish().report();
    let mut sites = report.sites.iter().filter(|site| site.passes("keepBody"));
    let largest = sites.next().expect("sorted by harm");
    let (function, file, line) = blamed(&report, largest);
    assert_eq!((function.as_str(), line), ("keepBody", Some(3)));
    assert!(file.ends_with("/server.js"), "{file}");
    assert!(largest.passes("handleRequest"));
}

/// CPython 3.12 or newer, where there is one.
fn python_with_trampolines() -> Option<std::path::PathBuf> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let versions = std::path::Path::new(&home).join(".pyenv/versions");
    let installed = fs::read_dir(versions).into_iter().flatten().flatten();
    let mut candidates: Vec<_> = installed
        .map(|version| version.path().join("bin/python3"))
        .collect();
    candidates.extend(
        ["python3.14", "python3.13", "python3.12", "python3"]
            .iter()
            .filter_map(|name| find_tool(name)),
    );
    candidates.into_iter().find(|python| {
        let text = "import sys; sys.activate_stack_trampoline('perf')";
        let status = Command::new(python)
            .args(["-c", text])
            .stderr(std::process::Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    })
}

#[test]
fn python_functions_stand_in_the_stacks() {
    let Some(python) = python_with_trampolines() else {
        eprintln!("no CPython 3.12 or newer with perf trampolines is here: not tested");
        return;
    };
    let text = "kept = []
def keep_body(n):
    kept.append(bytes(20000 + n % 7))
def handle_request(n):
    keep_body(n)
for n in range(100):
    handle_request(n)
print(len(kept))
import os, time
while not os.path.exists('1'):
    time.sleep(0.02)
os.kill(os.getpid(), 9)
";
    let mut running = Case::new(python)
        .file("server.py", text)
        .arg("server.py")
        .any_stderr()
        .start_under_run(&["--python", "--interval", "100ms"]);
    running.wait_for_report("what is kept", |report| {
        report.live("keep_body").blocks >= 100
    });
    fs::write(running.folder().join("1"), "").expect("a step");
    let tracked = running.finish();
    let report = tracked.report();
    let _ = fs::remove_file(format!("/tmp/perf-{}.map", report.pid())); // it was killed
    let kept = report.live("keep_body");
    assert!(
        kept.blocks >= 100 && kept.bytes >= 2_000_000,
        "{}",
        report.outline()
    );
    let mut sites = report.sites.iter().filter(|site| site.passes("keep_body"));
    let largest = sites.next().expect("sorted by harm");
    assert!(largest.passes("handle_request"));
    let (function, file, _) = blamed(&report, largest);
    assert_eq!(function, "keep_body");
    assert!(file.ends_with("/server.py"), "{file}");
}
