//! Requests of a running process: `enable`, `disable`, `snapshot`, `mark`.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use leaktrack_tests::{Case, Report, Running, product};

fn leaktrack(args: &[&str]) -> Output {
    Command::new(&product().command)
        .args(args)
        .output()
        .expect("the command")
}

#[track_caller]
fn asked(args: &[&str]) -> String {
    let output = leaktrack(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {text}{errors}");
    text
}

/// The one line that says why not.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let output = leaktrack(args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    errors
}

/// Waits until the program is at a step.
fn reach(running: &mut Running, step: &str) {
    let line = format!("at {step}\n");
    running.wait_until(&line, |running| running.stdout_so_far().contains(&line));
}

/// Lets it go on.
fn pass(running: &Running, step: &str) {
    std::fs::write(running.folder().join(step), "").expect("a step");
}

fn since(recording: &Path, bound: &str) -> Report {
    window(recording, ["--since", bound])
}

fn window(recording: &Path, bound: [&str; 2]) -> Report {
    let output = Command::new(&product().command)
        .arg("report")
        .arg(recording)
        .args(["--format", "json", "--top", "0", "--show", "healthy"])
        .args(bound)
        .output()
        .expect("the command");
    assert!(output.status.success(), "{output:?}");
    Report {
        json: serde_json::from_slice(&output.stdout).expect("JSON"),
        sites: Vec::new(),
    }
}

/// Allocations of the site in `function`, 0 if there is none.
fn allocations(report: &Report, function: &str) -> u64 {
    sum(report, function, "allocations")
}

/// A figure of all sites in `function` together.
fn sum(report: &Report, function: &str, figure: &str) -> u64 {
    let sites = report.json["sites"].as_array().expect("sites");
    let of = |site: &&serde_json::Value| {
        site["frames"]
            .as_array()
            .is_some_and(|frames| frames.iter().any(|f| f["function"] == function))
    };
    sites
        .iter()
        .filter(of)
        .filter_map(|site| site[figure].as_u64())
        .sum()
}

fn events(report: &Report) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let events = report.json["events"].as_array().expect("events");
    events
        .iter()
        .map(|event| (text(&event["type"]), text(&event["text"])))
        .filter(|(kind, _)| matches!(kind.as_str(), "mark" | "enable" | "disable"))
        .collect()
}

fn windows(report: &Report) -> usize {
    report.json["recording"]["windows"]
        .as_array()
        .expect("windows")
        .len()
}

#[test]
fn a_mark_divides_what_was_allocated_exactly() {
    // No snapshot of its own accord comes in between.
    let mut running = Case::of("steps.c").option("interval=1h").start_tracked();
    let pid = running.pid().to_string();
    reach(&mut running, "1");
    assert!(asked(&["mark", &pid, "first half"]).contains("mark:first half"));
    pass(&running, "1");
    reach(&mut running, "2");
    let recording = running.recordings().remove(0);
    asked(&["mark", recording.to_str().expect("a path"), "second"]);
    pass(&running, "2");
    reach(&mut running, "3");
    asked(&["snapshot", &pid]);
    let live = Report::read(&[&recording]);
    live.expect_live("keep_late", 5, 10_000);
    pass(&running, "3");
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    let all = tracked.report();
    assert_eq!(
        events(&all),
        [("mark", "first half"), ("mark", "second")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    let first = since(&recording, "mark:first half");
    assert_eq!(allocations(&first, "keep_early"), 0);
    assert_eq!(allocations(&first, "keep_middle"), 20);
    assert_eq!(allocations(&first, "keep_late"), 5);
    let second = since(&recording, "mark:second");
    assert_eq!(allocations(&second, "keep_middle"), 0);
    assert_eq!(allocations(&second, "keep_late"), 5);
}

/// Which site's blocks were temporary, and when, to the block; without waiting for a minute or the end.
#[test]
fn a_mark_divides_what_was_temporary_exactly() {
    // No snapshot of its own accord comes in between.
    let mut running = Case::of("temporary_phases.c")
        .option("interval=1h")
        .start_tracked();
    let pid = running.pid().to_string();
    reach(&mut running, "1");
    asked(&["mark", &pid, "second"]);
    pass(&running, "1");
    reach(&mut running, "2");
    asked(&["snapshot", &pid]);
    let recording = running.recordings().remove(0);
    let temporary = |report: &Report| {
        ["busy", "crossing", "late"].map(|function| sum(report, function, "temporary"))
    };
    let second = ["--since", "mark:second"];
    assert_eq!(temporary(&window(&recording, second)), [250, 0, 40]);
    pass(&running, "2");
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    let all = tracked.report();
    assert_eq!(temporary(&all), [950, 0, 40]);
    let sites = all.json["sites"].as_array().expect("sites").iter();
    let told: u64 = sites.filter_map(|site| site["temporary"].as_u64()).sum();
    assert_eq!(all.json["totals"]["temporary"].as_u64(), Some(told));
    assert_eq!(temporary(&window(&recording, second)), [250, 0, 40]);
    let first = window(&recording, ["--until", "mark:second"]);
    assert_eq!(temporary(&first), [700, 0, 0]);
}

/// What `list` says of a process; its resident memory is near what the kernel says, and it is in the table.
fn listed(pid: &str) -> serde_json::Value {
    let number: u64 = pid.parse().expect("a pid");
    let list: serde_json::Value =
        serde_json::from_str(&asked(&["list", "--format", "json"])).expect("JSON");
    let processes = list["processes"].as_array().expect("processes");
    let own = processes.iter().find(|one| one["pid"] == number);
    let own = own.expect("the process is listed").clone();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let (listed, kernel) = (
        own["rss_bytes"].as_u64().expect("bytes"),
        kib.expect("KiB") << 10,
    );
    assert!(listed.abs_diff(kernel) <= kernel / 4, "{listed} {kernel}");
    let table = asked(&["list"]);
    let row = table
        .lines()
        .find(|line| line.split_whitespace().next() == Some(pid));
    let state = own["state"].as_str().expect("a state");
    assert!(row.is_some_and(|row| row.contains(state)), "{table}");
    own
}

/// Switches recording off before step 1 and on again before step 2.
fn switched(case: &Case) {
    let mut running = case.start_tracked();
    let pid = running.pid().to_string();
    reach(&mut running, "1");
    let state = || listed(&pid)["state"].as_str().unwrap_or("").to_owned();
    assert_eq!(state(), "recording");
    asked(&["disable", &pid, "--wait", "60s"]);
    assert_eq!(state(), "off");
    pass(&running, "1");
    reach(&mut running, "2");
    asked(&["enable", &pid, "--wait", "60s"]);
    pass(&running, "2");
    reach(&mut running, "3");
    pass(&running, "3");
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    let report = tracked.report();
    // What was freed meanwhile is known to be gone, what was allocated meanwhile is not known.
    report.expect_live("keep_early", 3, 3_000);
    report.expect_live("keep_late", 5, 10_000);
    assert_eq!(allocations(&report, "keep_middle"), 0);
    let kinds: Vec<String> = events(&report).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["disable", "enable"]);
    assert_eq!(windows(&report), 2, "{}", report.json["recording"]);
    let notes = report.json["coverage"]["notes"].to_string();
    assert!(notes.contains("switched off"), "{notes}");
}

#[test]
fn while_it_is_disabled_frees_are_followed_and_new_blocks_are_not() {
    switched(&Case::of("steps.c"));
}

#[test]
fn without_a_helper_requests_are_taken_at_snapshots() {
    switched(
        &Case::of("steps.c")
            .option("helper=off")
            .option("interval=50ms"),
    );
}

#[test]
fn a_dormant_process_records_from_enable_on() {
    let mut running = Case::of("steps.c").option("mode=dormant").start_tracked();
    let pid = running.pid().to_string();
    reach(&mut running, "1");
    pass(&running, "1");
    reach(&mut running, "2");
    asked(&["enable", &pid]);
    assert!(asked(&["enable", &pid]).contains("already"));
    pass(&running, "2");
    reach(&mut running, "3");
    pass(&running, "3");
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    let report = tracked.report();
    assert_eq!(report.json["recording"]["mode"], "dormant");
    report.expect_live("keep_late", 5, 10_000);
    assert_eq!(allocations(&report, "keep_early"), 0);
    assert_eq!(allocations(&report, "keep_middle"), 0);
    assert_eq!(windows(&report), 1);
    // It was not on before it was asked.
    assert_eq!(events(&report), [("enable".to_owned(), String::new())]);
    // And how long that was is told.
    let seconds = |field: &str| report.json["recording"][field].as_f64().expect("seconds");
    let (off_s, all_s) = (seconds("off_s"), seconds("span_s"));
    assert!(0.0 < off_s && off_s < all_s, "{off_s} of {all_s} s");
}

#[test]
fn who_cannot_be_asked_is_named() {
    let own = std::process::id().to_string();
    assert!(refused(&["snapshot", &own]).contains("is not tracked"));
    assert!(refused(&["snapshot", "4194305"]).contains("no process 4194305"));
    assert!(refused(&["mark", "/nonexistent.ltk"]).contains("/nonexistent.ltk"));
    assert!(refused(&["mark", "/dev/null"]).contains("is not a recording"));
    let tracked = Case::of("keep_some.c").tracked();
    let ended = tracked.recordings[0].to_str().expect("a path");
    assert!(refused(&["disable", ended]).contains("no running process records into it"));
}

#[test]
fn a_process_that_does_not_answer_is_not_waited_for() {
    let mut running = Case::of("steps.c").start_tracked();
    let pid = running.pid().to_string();
    reach(&mut running, "1");
    running.signal(libc::SIGSTOP);
    // Until the last of its threads has stopped it may take a request up.
    running.wait_until("all threads have stopped", |it| {
        let tasks = fs::read_dir(format!("/proc/{}/task", it.pid())).expect("its threads");
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('T'))
        })
    });
    let why = refused(&["disable", &pid, "--wait", "300ms"]);
    assert!(
        why.contains("it is stopped") && why.contains("withdrawn"),
        "{why}"
    );
    running.signal(libc::SIGCONT);
    // What was withdrawn is not carried out later.
    asked(&["snapshot", &pid]);
    for step in ["1", "2", "3"] {
        reach(&mut running, step);
        pass(&running, step);
    }
    let tracked = running.finish();
    let report = tracked.report();
    report.expect_live("keep_middle", 13, 6_500);
    assert!(events(&report).is_empty());
}

#[test]
fn a_control_page_that_is_gone_or_full_of_nonsense_harms_nobody() {
    let mut running = Case::of("steps.c").option("interval=20ms").start_tracked();
    reach(&mut running, "1");
    let recording: PathBuf = running.recordings().remove(0);
    let file = OpenOptions::new()
        .write(true)
        .open(&recording)
        .expect("the recording");
    // Every field of a request at its worst.
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 2048], 2048).expect("a write");
    asked(&["snapshot", &running.pid().to_string()]);
    file.set_len(100).expect("a truncation");
    for step in ["1", "2", "3"] {
        reach(&mut running, step);
        pass(&running, step);
    }
    running.finish().outcome.expect_code(0);
}
