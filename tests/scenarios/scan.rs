//! Lost blocks of a process that runs on: `leaktrack scan` and the option `scan`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use leaktrack_tests::{
    Case, HugePages, Report, Running, Terminal, is_root, product, program, program_as, tool,
};
use serde_json::Value;

fn leaktrack(args: &[&str]) -> Output {
    Command::new(&product().command)
        .args(args)
        .output()
        .expect("the command")
}

/// Has a process scanned; the report.
#[track_caller]
fn scan(pid: i32, more: &[&str]) -> Value {
    let pid = pid.to_string();
    let output = leaktrack(&[&["scan", &pid, "--format", "json"], more].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
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

/// Its children, as the kernel lists them.
fn children_of(pid: i32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let lists = tasks.flatten().map(|task| task.path().join("children"));
    lists
        .filter_map(|list| std::fs::read_to_string(list).ok())
        .collect()
}

/// What the files are that a process has open.
fn files_of(pid: &str) -> Vec<PathBuf> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let links = links.into_iter().flatten().flatten();
    links
        .filter_map(|link| std::fs::read_link(link.path()).ok())
        .collect()
}

/// What was found of the sites in a function.
#[derive(Debug, Default, PartialEq)]
struct Found {
    lost: u64,
    possible: u64,
    reachable: u64,
    since_s: Option<f64>,
}

fn found(report: &Value, function: &str) -> Found {
    let mut found = Found::default();
    for site in report["sites"].as_array().expect("sites") {
        let frames = site["frames"].as_array().expect("frames");
        let lost = &site["lost"];
        if !frames.iter().any(|frame| frame["function"] == function) || lost.is_null() {
            continue;
        }
        let blocks = |kind: &str| lost[format!("{kind}_blocks")].as_u64().expect("a count");
        found.lost += blocks("definite") + blocks("indirect");
        found.possible += blocks("possible");
        found.reachable += blocks("reachable");
        found.since_s = lost["since_s"].as_f64().or(found.since_s);
    }
    found
}

/// The last scan of a report.
fn last(report: &Value) -> &Value {
    report["scans"]
        .as_array()
        .expect("scans")
        .last()
        .expect("a scan")
}

const HELD: [&str; 16] = [
    "hold_global",
    "hold_tls",
    "hold_thread_tls",
    "hold_key",
    "hold_heap",
    "hold_mapping",
    "hold_read_only",
    "hold_no_access",
    "hold_shared",
    "hold_stack",
    "hold_thread_stack",
    "hold_fiber",
    "hold_tagged",
    "hold_packed",
    "hold_large",
    "hold_inner",
];
/// With the blocks that the program makes there.
const LOST: [(&str, u64); 6] = [
    ("lose_plain", 60),
    ("lose_trees", 120),
    ("lose_cycles", 120),
    ("lose_freed", 60),
    ("lose_thread", 60),
    ("lose_dead_frame", 60),
];

/// Every block that is held counts as held, and of each site that loses no more than registers may
/// hold is only possibly lost.
#[track_caller]
fn expect_truth(report: &Value, lost: &[(&str, u64)]) {
    let scan = last(report);
    assert_eq!(scan["complete"], true, "{scan}");
    for function in HELD {
        let found = found(report, function);
        assert_eq!(found.lost, 0, "{function}: {found:?} {scan}");
        assert_eq!(
            found.possible + found.reachable,
            60,
            "{function}: {found:?}"
        );
    }
    let hidden = scan["excused_per_site"].as_u64().expect("a count");
    assert!((6..=32).contains(&hidden), "{scan}");
    for &(function, blocks) in lost {
        let found = found(report, function);
        // With a block go those that it leads to; a stale word may be left of one.
        let at_least = blocks - (hidden + 1) * if blocks > 60 { 2 } else { 1 };
        assert!(found.lost >= at_least, "{function}: {found:?} {scan}");
        assert_eq!(
            found.lost + found.possible + found.reachable,
            blocks,
            "{function}"
        );
        assert!(found.since_s.is_some(), "{function}: {found:?}");
    }
}

fn all_kinds_of_roots(how: &[&str], kind: &str) {
    let mut running = Case::of("live_scan.c").start_tracked();
    reach(&mut running, "1");
    let pid = running.pid();
    let first = scan(pid, how);
    expect_truth(&first, &LOST);
    assert_eq!(last(&first)["kind"], kind);
    assert_eq!(found(&first, "lose_later"), Found::default());
    let plain = first["sites"].as_array().expect("sites").iter();
    let verdicts = plain.filter(|site| site["verdict"] == "lost").count();
    assert!(verdicts >= LOST.len(), "{verdicts}");
    pass(&running, "1");
    reach(&mut running, "2");
    let second = scan(pid, how);
    expect_truth(&second, &LOST);
    expect_truth(&second, &[("lose_later", 60)]);
    // Since when: the first scan that found it.
    let [a, b] = [&first, &second].map(|report| found(report, "lose_plain").since_s);
    assert_eq!(a, b);
    assert!(found(&second, "lose_later").since_s > b);
    pass(&running, "2");
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    let report = tracked.report();
    let kinds: Vec<_> = report.json["scans"]
        .as_array()
        .expect("scans")
        .iter()
        .map(|scan| &scan["kind"])
        .collect();
    assert_eq!(kinds, [kind, kind, "exit"]);
    assert_eq!(last(&report.json)["freed_since"], 0);
    expect_truth(&report.json, &LOST);
}

#[test]
fn a_running_process_is_scanned_in_place() {
    all_kinds_of_roots(&["--apart", "30ms", "--cpu", "50"], "live");
}

#[test]
fn a_forked_copy_of_a_running_process_is_scanned() {
    all_kinds_of_roots(&["--fork", "--apart", "20ms", "--cpu", "50"], "fork");
}

/// Scans so often; more by hand, `LEAKTRACK_TEST_SCANS=1000`.
fn scan_movers(usual: u64, how: &[&str]) {
    let scans = std::env::var("LEAKTRACK_TEST_SCANS")
        .ok()
        .and_then(|count| count.parse().ok());
    let mut running = Case::of("movers.c").limit(20_000).start_tracked();
    reach(&mut running, "1");
    let pid = running.pid();
    let mut passes = 0;
    for number in 0..scans.unwrap_or(usual) {
        let report = scan(pid, &[&["--apart", "5ms", "--cpu", "100"], how].concat());
        for function in [
            "hold_moved",
            "hold_far",
            "hold_listed",
            "hold_rehashed",
            "hold_resized",
        ] {
            let found = found(&report, function);
            assert_eq!(
                found.lost,
                0,
                "scan {number}, {function}: {found:?} {}",
                last(&report)
            );
            assert_eq!(found.possible + found.reachable, 200, "{function}");
        }
        assert_eq!(last(&report)["freed_since"], 0);
        passes += last(&report)["passes"].as_u64().expect("a count");
    }
    println!("{passes} passes");
    pass(&running, "end");
    running.finish().outcome.expect_code(0);
}

#[test]
fn what_moves_without_a_pause_is_never_called_lost() {
    scan_movers(4, &[]);
}

#[test]
fn nor_is_it_in_a_forked_copy() {
    scan_movers(2, &["--fork"]);
}

#[test]
fn nobody_is_interrupted_and_no_child_is_seen() {
    let mut running = Case::of("undisturbed.c").start_tracked();
    reach(&mut running, "1");
    for _ in 0..2 {
        let in_place = scan(running.pid(), &["--apart", "20ms"]);
        assert_eq!(last(&in_place)["kind"], "live");
        let in_copy = scan(running.pid(), &["--fork", "--apart", "20ms"]);
        assert_eq!(last(&in_copy)["kind"], "fork");
        assert_eq!(children_of(running.pid()), "", "nothing is left behind");
    }
    pass(&running, "end");
    let tracked = running.finish();
    assert!(
        tracked.outcome.text().contains("undisturbed"),
        "{}",
        tracked.outcome
    );
}

#[test]
fn scans_are_made_as_often_as_the_option_says() {
    let mut running = Case::of("live_scan.c").option("scan=1s").start_tracked();
    reach(&mut running, "1");
    running.wait_for_report("two scans", |report: &Report| {
        report.json["scans"]
            .as_array()
            .is_some_and(|scans| scans.len() >= 2)
    });
    pass(&running, "1");
    reach(&mut running, "2");
    pass(&running, "2");
    let report = running.finish().report();
    let scans = report.json["scans"].as_array().expect("scans");
    assert!(
        scans
            .iter()
            .rev()
            .skip(1)
            .all(|scan| scan["kind"] == "live"),
        "{scans:?}"
    );
    let events = report.json["events"].as_array().expect("events");
    assert!(
        events.iter().any(|event| event["type"] == "scan"),
        "{events:?}"
    );
}

#[test]
fn a_process_near_its_limit_is_scanned_once() {
    // The program maps nothing, so that what it may map is soon used up by four fifths.
    let limit = 400u64 << 20;
    let case = Case::of("fill_to_limit.c").arg((limit / 1024).to_string());
    let case = case.option("interval=50ms").option("memory=32M");
    // Once it was scanned it goes on for two seconds, in which it is not scanned again.
    let scanned = |report: &Report| {
        let mut scans = report.json["scans"].as_array().into_iter().flatten();
        scans.any(|scan| scan["kind"] == "live")
    };
    let tracked =
        case.check_in_steps(&[("1", &|report| report.knows_limit(limit)), ("2", &scanned)]);
    let report = tracked.report();
    let scans = report.json["scans"].as_array().expect("scans");
    let live: Vec<_> = scans.iter().filter(|scan| scan["kind"] == "live").collect();
    assert_eq!(live.len(), 1, "{scans:?}");
    assert_eq!(live[0]["complete"], true, "{scans:?}");
    let events = report.json["events"].as_array().expect("events");
    assert!(
        events.iter().any(|event| event["type"] == "limit"),
        "{events:?}"
    );
}

#[test]
fn a_copy_that_the_kernel_refuses_is_named() {
    let mut running = Case::of("no_children.c").start_tracked();
    reach(&mut running, "1");
    let pid = running.pid().to_string();
    let output = leaktrack(&["scan", &pid, "--fork"]);
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{why}");
    assert!(
        why.contains("refuses a copy of the process") || why.contains("forbids a copy"),
        "{why}"
    );
    // In place it goes.
    assert_eq!(
        last(&scan(running.pid(), &["--apart", "20ms"]))["complete"],
        true
    );
    pass(&running, "1");
    running.finish().outcome.expect_code(0);
}

#[test]
fn sampled_blocks_are_lost_when_no_word_points_to_them() {
    let case = Case::of("lost_samples.c")
        .option("mode=sample:16k")
        .option("interval=100ms");
    let mut running = case.start_tracked();
    reach(&mut running, "1");
    let report = scan(running.pid(), &["--apart", "20ms"]);
    let scan = last(&report);
    assert_eq!(
        (&scan["complete"], &scan["lower_bound"]),
        (&true.into(), &true.into()),
        "{scan}"
    );
    let [lost, kept] = ["lose", "keep"].map(|function| found(&report, function));
    // 20,000 blocks of 1,000 bytes each; one in 17 is sampled: five standard errors are a sixth.
    let near = |blocks: u64| (16_000..=24_000).contains(&blocks);
    assert!(near(lost.lost), "{lost:?}");
    assert!(
        kept.lost == 0 && near(kept.possible + kept.reachable),
        "{kept:?}"
    );
    let notes = report["coverage"]["notes"].to_string();
    assert!(notes.contains("more blocks may be lost"), "{notes}");
    pass(&running, "1");
    let at_exit = running.finish().report();
    assert_eq!(last(&at_exit.json)["complete"], true);
    assert!(near(found(&at_exit.json, "lose").lost));
}

/// Memory is not read where there is no block to look for: `true` allocates nothing, and of a dormant process no block is known.
#[test]
fn a_process_without_blocks_has_lost_none() {
    let dormant = Case::of("keep_some.c").option("mode=dormant");
    for case in [Case::new(tool("true")), dormant] {
        let run = case.check();
        let report = run.report();
        let scan = last(&report.json);
        assert_eq!(scan["complete"], true, "{scan}");
        assert_eq!((&scan["blocks"], &scan["passes"]), (&0.into(), &0.into()));
    }
}

#[test]
fn a_process_that_cannot_be_scanned_says_why() {
    let mut running = Case::of("live_scan.c").option("helper=off").start_tracked();
    reach(&mut running, "1");
    let output = leaktrack(&["scan", &running.pid().to_string(), "--wait", "300ms"]);
    assert_eq!(output.status.code(), Some(2));
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(why.contains("helper"), "{why}");
    pass(&running, "1");
    reach(&mut running, "2");
    pass(&running, "2");
    running.finish().outcome.expect_code(0);
}

/// Waits until a scan that was asked for is under way: the request stands in the recording, and its helper has gone to sleep
/// since, which it does not do while there is one that it has not looked at.
fn await_scan(running: &Running) {
    let recording = &running.recordings()[0];
    let deadline = Instant::now() + Duration::from_secs(240);
    let pause = || {
        assert!(Instant::now() < deadline, "the scan does not begin");
        std::thread::sleep(Duration::from_millis(20));
    };
    let word = |at: u64| {
        let (file, mut bytes) = (File::open(recording).expect("it"), [0; 4]);
        file.read_exact_at(&mut bytes, at)
            .expect("its control page");
        u32::from_le_bytes(bytes)
    };
    // Kind of the request (2: a scan), its number, and that of the last one answered.
    while word(2052) != 2 || word(2048) == word(2064) {
        pause();
    }
    let before = sleeps_of_helper(running.pid());
    while sleeps_of_helper(running.pid()) < before + 5 {
        pause();
    }
}

/// How often the helper of a process has waited for something.
fn sleeps_of_helper(pid: i32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let mut texts = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let helper = texts.find(|text| text.starts_with("Name:\tleaktrack\n"));
    helper
        .as_deref()
        .and_then(|text| text.split_once("\nvoluntary_ctxt_switches:"))
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .expect("a helper")
}

/// Begins a scan that would go on for hours, and ends the command that asked for it.
fn give_up_a_scan(running: &Running, signal: i32) {
    let mut asker = Command::new(&product().command);
    asker
        .args(["scan", &running.pid().to_string(), "--apart", "5h"])
        .args(["--wait", "10h"])
        .stdout(std::process::Stdio::null());
    // A shell that runs the tests in the background has it ignored, which the command respects.
    // SAFETY: one system call, which is allowed between fork and exec.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut asker, || {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    let mut asker = asker.spawn().expect("the command");
    await_scan(running);
    assert!(asker.try_wait().expect("its state").is_none());
    // SAFETY: signals the child started above, which was not waited for.
    assert_eq!(unsafe { libc::kill(asker.id() as i32, signal) }, 0);
    let status = asker.wait().expect("its end");
    let ended_by = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(ended_by, Some(signal), "as if it had not been caught");
}

#[test]
fn the_live_view_withdraws_its_scan_when_it_ends() {
    let mut running = Case::of("restless.c").start_tracked();
    reach(&mut running, "1");
    let mut top = Command::new(&product().command);
    top.args(["top", &running.pid().to_string()])
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "xterm-256color");
    let mut terminal = Terminal::start(top, 120, 30);
    terminal.wait_for("restless");
    terminal.keys("S");
    terminal.wait_for("looking for lost blocks");
    // It pauses between passes, for two seconds in all, and tells how far it is.
    terminal.wait_until("how far it is", |screen| {
        let text = screen.contents();
        text.contains("pass 2, nothing points to") || text.contains("pass 3, nothing points to")
    });
    terminal.keys("q");
    assert!(terminal.ended().success());
    let recording = running.recordings().remove(0);
    running.wait_until("the scan has ended", |_| {
        let report = Report::read(&[&recording]);
        report.json["scans"]
            .as_array()
            .is_some_and(|scans| !scans.is_empty())
    });
    let report = Report::read(&[&recording]);
    let why = report.json["scans"][0]["why_not"].as_str();
    assert_eq!(why, Some("whoever asked for it waits no longer"));
    pass(&running, "1");
    running.finish().outcome.expect_code(0);
}

#[test]
fn a_scan_tells_how_far_it_is_where_somebody_looks() {
    let mut running = Case::of("restless.c").start_tracked();
    reach(&mut running, "1");
    let pid = running.pid().to_string();
    let mut command = Command::new(&product().command);
    command.args(["scan", &pid, "--apart", "700ms", "--cpu", "100"]);
    let terminal = Terminal::start(command, 100, 40);
    for words in ["pass 2, nothing points to", "pass 7, nothing points to"] {
        terminal.wait_for(words);
    }
    // A line that goes on, and is gone at the end.
    let seconds = |screen: &vt100::Screen| {
        let text = screen.contents();
        let line = text.lines().find(|line| line.contains("nothing points to"));
        let words = line?.strip_suffix(" s")?.rsplit(' ').next()?;
        words.parse::<u64>().ok()
    };
    terminal.wait_until("5 s", |screen| seconds(screen) >= Some(5));
    terminal.wait_for("lose_all");
    let text = terminal.text();
    assert!(!text.contains("nothing points to"), "{text}");
    // Nobody looks here.
    let output = leaktrack(&["scan", &pid, "--apart", "100ms", "--cpu", "100"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    pass(&running, "1");
    running.finish().outcome.expect_code(0);
}

#[test]
fn who_waits_for_a_scan_of_another_is_told() {
    let mut running = Case::of("restless.c").start_tracked();
    reach(&mut running, "1");
    let pid = running.pid().to_string();
    let mut scan = Command::new(&product().command)
        .args(["scan", &pid, "--apart", "5h", "--wait", "10h"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the command");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        let waits = leaktrack(&["snapshot", &pid, "--wait", "1s"]);
        let said = String::from_utf8_lossy(&waits.stderr).into_owned();
        if said
            .contains("is being scanned for another command; waiting for its turn, 1.0 s at most")
        {
            assert_eq!(waits.status.code(), Some(2), "{said}");
            assert_eq!(said.lines().count(), 2, "{said}");
            assert!(
                said.contains("try again when that is done, or wait longer"),
                "{said}"
            );
            break;
        }
        // The scan had not begun.
        assert!(waits.status.success(), "{said}");
        assert!(std::time::Instant::now() < deadline, "in vain");
    }
    scan.kill().expect("it runs");
    scan.wait().expect("its end");
    pass(&running, "1");
    running.finish().outcome.expect_code(0);
}

#[test]
fn a_scan_that_nobody_waits_for_any_more_ends() {
    let mut running = Case::of("restless.c").start_tracked();
    reach(&mut running, "1");
    let pid = running.pid().to_string();
    // Withdrawn by Ctrl-C; and killed, so that the next asker has its turn.
    for signal in [libc::SIGINT, libc::SIGKILL] {
        give_up_a_scan(&running, signal);
        let next = leaktrack(&["mark", &pid, "after"]);
        assert!(next.status.success(), "{next:?}");
    }
    pass(&running, "1");
    let report = running.finish().report();
    let scans = report.json["scans"].as_array().expect("scans");
    let why: Vec<_> = scans.iter().map(|scan| scan["why_not"].as_str()).collect();
    let withdrawn = Some("whoever asked for it waits no longer");
    assert_eq!(why, [withdrawn, withdrawn, None], "{scans:?}");
    let events = report.json["events"].as_array().expect("events").iter();
    let marks = events.filter(|event| event["type"] == "mark");
    let labels: Vec<_> = marks.map(|mark| mark["text"].as_str()).collect();
    assert_eq!(labels, [Some("after"), Some("after")]);
}

const ODDLY_HELD: [&str; 14] = [
    "hold_heap_fiber",
    "hold_heap_stack",
    "hold_thread_key",
    "hold_dlopened",
    "hold_dlopened_tls",
    "hold_memory_file",
    "hold_private_file",
    "hold_huge",
    "hold_tagged_list",
    "hold_moved_mapping",
    "hold_aligned",
    "hold_argument",
    "hold_code_file",
    "hold_code",
];
const ODDLY_LOST: [&str; 5] = [
    "lose_unmapped",
    "lose_thrown_away",
    "lose_closed",
    "lose_fiber",
    "lose_moved_mapping",
];

fn odd_library() -> PathBuf {
    let flags = ["-shared", "-fPIC", "-DLIB"];
    program_as("odd_roots.c", "libodd_roots.so", &flags)
}

fn odd_roots() -> Case {
    Case::of("odd_roots.c").arg(odd_library())
}

#[track_caller]
fn expect_odd_truth(report: &Value) {
    let scan = last(report);
    assert_eq!(scan["complete"], true, "{scan}");
    for function in ODDLY_HELD {
        let found = found(report, function);
        assert_eq!(found.lost, 0, "{function}: {found:?} {scan}");
        let held = found.possible + found.reachable;
        assert_eq!(held, 60, "{function}: {found:?}");
    }
    let hidden = scan["excused_per_site"].as_u64().expect("a count");
    for function in ODDLY_LOST {
        let found = found(report, function);
        // A stale word may hold one.
        assert!(
            found.lost + hidden + 1 >= 60,
            "{function}: {found:?} {scan}"
        );
        assert_eq!(found.lost + found.possible + found.reachable, 60);
    }
    // With the array that the key led to, itself the only one of its site.
    assert_eq!(found(report, "lose_thread_key").reachable, 0);
}

#[test]
fn odd_roots_of_a_running_process() {
    let mut running = odd_roots().arg("steps").start_tracked();
    reach(&mut running, "1");
    for how in [&["--apart", "10ms", "--cpu", "100"][..], &["--fork"]] {
        expect_odd_truth(&scan(running.pid(), how));
    }
    pass(&running, "1");
    let report = running.finish().report();
    expect_odd_truth(&report.json);
    assert_eq!(last(&report.json)["freed_since"], 0);
}

#[test]
fn odd_roots_in_a_pid_namespace_that_shows_the_outer_proc() {
    // Threads have other ids there than those which /proc shows.
    let flags = if is_root() {
        vec!["--pid", "--fork"]
    } else {
        vec!["--user", "--map-root-user", "--pid", "--fork"]
    };
    let tried = Command::new(tool("unshare"))
        .args(&flags)
        .arg("true")
        .status();
    if !tried.expect("unshare").success() {
        eprintln!("skipped in part: no namespaces are to be had here without root");
        expect_odd_truth(&odd_roots().tracked().report().json);
        return;
    }
    let library = odd_library();
    let case = Case::new(tool("unshare"))
        .args(&flags)
        .arg(program("odd_roots.c"))
        .arg(library)
        .option("only=odd_roots");
    let tracked = case.tracked();
    tracked.outcome.expect_code(0);
    let report = tracked.report();
    expect_odd_truth(&report.json);
    // All five threads, the library's own among them, since it does not know its number outside.
    assert!(last(&report.json)["unread_threads"].as_u64() >= Some(4));
}

/// Expects something of scans in place, of a forked copy, and at the exit of a program that waits at its first step.
#[track_caller]
fn however_scanned(running: Running, expect: impl Fn(&Value)) {
    for how in [&["--apart", "10ms", "--cpu", "100"][..], &["--fork"]] {
        expect(&scan(running.pid(), how));
    }
    pass(&running, "1");
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    expect(&tracked.report().json);
}

#[test]
fn files_of_huge_pages_hold_what_they_point_to() {
    // Two for the file's mappings, one for memory that is of no file, and one to spare.
    let pages = HugePages::reserve(4);
    let where_to = if pages.is_some() {
        "hugetlbfs"
    } else {
        "memory"
    };
    if pages.is_none() {
        eprintln!("skipped in part: nobody but root reserves huge pages, and of free memory");
    }
    let mut running = Case::of("huge_file.c").arg(where_to).start_tracked();
    reach(&mut running, "1");
    let expect = |report: &Value| {
        let told = last(report);
        assert_eq!(told["complete"], true, "{told}");
        for function in ["hold_shared", "hold_private", "hold_without_file"] {
            let held = found(report, function);
            assert_eq!((held.lost, held.reachable), (0, 60), "{function}: {held:?}");
        }
        let hidden = told["excused_per_site"].as_u64().expect("a count");
        let lost = found(report, "lose_unmapped");
        assert!(lost.lost + hidden + 1 >= 60, "{lost:?}");
    };
    however_scanned(running, expect);
}

#[test]
fn odd_roots_under_other_allocators() {
    for allocator in [
        "libjemalloc.so.2",
        "libtcmalloc_minimal.so.4",
        "libmimalloc.so.2",
    ] {
        let library = debian_library(allocator);
        println!("{allocator}");
        let tracked = odd_roots().behind(&library).tracked();
        expect_odd_truth(&tracked.report().json);
    }
}

/// The report on a scan during which the program, told so once the scan has begun, goes from step 1 to step 2.
fn scan_during_step(running: &mut Running, how: &[&str]) -> Value {
    let asker = Command::new(&product().command)
        .args(["scan", &running.pid().to_string(), "--format", "json"])
        .args(how)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the command");
    await_scan(running);
    pass(running, "1");
    reach(running, "2");
    let output = asker.wait_with_output().expect("its report");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Of a site whose 60 blocks are held, and `lose_plain`, whose 60 are lost.
#[track_caller]
fn expect_held(report: &Value, held: &str) {
    let told = last(report);
    assert_eq!(told["complete"], true, "{told}");
    let [kept, lost] = [held, "lose_plain"].map(|name| found(report, name));
    assert_eq!((kept.lost, kept.reachable), (0, 60), "{kept:?} {told}");
    let hidden = told["excused_per_site"].as_u64().expect("a count");
    assert!(lost.lost + hidden + 1 >= 60, "{lost:?} {told}");
}

fn debian_library(name: &str) -> PathBuf {
    let library = std::path::Path::new("/usr/lib/x86_64-linux-gnu").join(name);
    assert!(
        library.exists(),
        "{name}: tests/run installs what the tests need"
    );
    library
}

#[test]
fn what_a_program_keeps_in_a_break_that_it_moved_is_held() {
    let case = Case::of("shared_break.c");
    for case in [
        case.clone(),
        case.behind(debian_library("libtcmalloc_minimal.so.4")),
    ] {
        let mut running = case.start_tracked();
        reach(&mut running, "1");
        however_scanned(running, |report| expect_held(report, "hold_in_break"));
    }
}

#[test]
fn a_forked_child_keeps_what_lies_in_a_break_that_its_parent_moved() {
    let mut running = Case::of("shared_break.c").arg("child").start_tracked();
    running.wait_until("the child's recording", |running| {
        running.recordings().len() == 2
    });
    pass(&running, "1");
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    let reports = tracked.reports();
    let child = reports
        .iter()
        .find(|report| found(&report.json, "hold_in_break") != Found::default());
    expect_held(&child.expect("the child's").json, "hold_in_break");
}

#[test]
fn memory_mapped_where_a_block_was_when_it_was_listed_holds_what_it_points_to() {
    let mut running = Case::of("stale_blocks.c").start_tracked();
    reach(&mut running, "1");
    // So slow that the program is done before the first pass begins.
    let report = scan_during_step(&mut running, &["--apart", "1ms", "--cpu", "10"]);
    expect_held(&report, "hold_in_mapping");
    pass(&running, "2");
    running.finish().outcome.expect_code(0);
}

#[test]
fn data_that_the_kernel_joined_with_an_allocators_memory_hold_what_they_point_to() {
    let flags = ["-shared", "-fPIC", "-DLIB"];
    let library = program_as("joined_mapping.c", "libjoined_mapping.so", &flags);
    for allocator in [
        None,
        Some("libtcmalloc_minimal.so.4"),
        Some("libjemalloc.so.2"),
        Some("libmimalloc.so.2"),
    ] {
        let case = Case::of("joined_mapping.c").arg(&library);
        // tcmalloc's break would lie elsewhere.
        let case = case.env("TCMALLOC_SKIP_SBRK", "1");
        let mut running = match allocator {
            None => case,
            Some(name) => case.behind(debian_library(name)),
        }
        .start_tracked();
        reach(&mut running, "1");
        let joined = running.stdout_so_far().contains("joined");
        println!("{allocator:?}: joined: {joined}");
        however_scanned(running, |report| expect_held(report, "hold_in_library"));
    }
}

#[test]
fn data_of_a_library_that_allocates_among_other_things_hold_what_they_point_to() {
    let flags = ["-shared", "-fPIC", "-DLIB"];
    let library = program_as("app_allocator.c", "libapp_allocator.so", &flags);
    let mut running = Case::of("app_allocator.c").behind(library).start_tracked();
    reach(&mut running, "1");
    however_scanned(running, |report| expect_held(report, "hold_in_library"));
}

/// A file system of its own in memory, which numbers its files from the beginning.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` unless root asks.
    fn mount() -> Option<Tmpfs> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mounted = Command::new(tool("mount"))
            .args(["-t", "tmpfs", "none"])
            .arg(folder.path())
            .output();
        let mounted = is_root() && mounted.expect("mount").status.success();
        mounted.then_some(Tmpfs(folder))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new(tool("umount")).arg(self.0.path()).status();
    }
}

#[test]
fn a_file_with_the_number_of_the_recording_holds_what_it_points_to() {
    let Some([ours, theirs]) = Tmpfs::mount().zip(Tmpfs::mount()).map(<[Tmpfs; 2]>::from) else {
        eprintln!("skipped in part: nobody but root mounts file systems");
        let case = Case::of("same_inode.c").arg(".").file("1", "");
        let tracked = case.tracked();
        expect_held(&tracked.report().json, "hold_in_file");
        return;
    };
    let recording = ours.0.path().join("a.ltk");
    let path = recording.to_string_lossy();
    let case = Case::of("same_inode.c").args([theirs.0.path(), &recording]);
    let case = case.output(&path).file("1", "");
    case.tracked().outcome.expect_code(0);
    expect_held(&Report::read(&[&recording]).json, "hold_in_file");
}

#[test]
fn what_only_the_kernel_has_pointers_to_is_held() {
    let mut running = Case::of("epoll_held.c").start_tracked();
    reach(&mut running, "1");
    let expect = |report: &Value| {
        let [held, lost] = ["hold_connection", "lose_connection"].map(|name| found(report, name));
        assert_eq!((held.lost, held.reachable), (0, 60), "{held:?}");
        let hidden = last(report)["excused_per_site"].as_u64().expect("a count");
        assert!(lost.lost + hidden + 1 >= 60, "{lost:?}");
    };
    however_scanned(running, expect);
}

#[test]
fn a_ring_on_the_stack_of_a_thread_does_not_make_its_frames_dead() {
    let mut running = Case::of("stack_ring.c").start_tracked();
    reach(&mut running, "1");
    for how in [&["--apart", "10ms", "--cpu", "100"][..], &["--fork"]] {
        let held = found(&scan(running.pid(), how), "hold_deep");
        assert_eq!((held.lost, held.reachable), (0, 60), "{held:?}");
    }
    pass(&running, "1");
    running.finish().outcome.expect_code(0);
}

#[test]
fn addresses_that_are_used_again_do_not_draw_a_scan_out() {
    let mut running = Case::of("replaced.c").start_tracked();
    reach(&mut running, "1");
    let report = scan(running.pid(), &["--apart", "10ms", "--cpu", "100"]);
    let told = last(&report);
    assert_eq!(told["complete"], true, "{told}");
    // 11 when blocks that were freed since are looked for until the end.
    let passes = told["passes"].as_u64().expect("a count");
    assert!((1..=6).contains(&passes), "{told}");
    assert_eq!(found(&report, "hold_replaced").lost, 0);
    pass(&running, "1");
    running.finish().outcome.expect_code(0);
}

#[test]
fn what_a_block_points_to_that_realloc_is_at_is_held() {
    let case = Case::of("put_back.c").behind(program("failing_realloc.c"));
    let mut running = case.start_tracked();
    // The block is in no table; then it has been given back, as old as it was.
    for step in ["1", "2"] {
        reach(&mut running, step);
        let report = scan(running.pid(), &["--apart", "10ms", "--cpu", "100"]);
        assert_eq!(last(&report)["complete"], true, "{}", last(&report));
        let found = found(&report, "hold_by_it");
        assert_eq!((found.lost, found.reachable), (0, 200), "{found:?}");
        pass(&running, step);
    }
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    assert_eq!(last(&tracked.report().json)["freed_since"], 0);
}

#[test]
fn what_a_program_keeps_behind_the_bytes_that_it_asked_for_is_held() {
    for (argument, asks) in [("asks", true), ("asks not", false)] {
        let mut running = Case::of("slack.c").arg(argument).start_tracked();
        reach(&mut running, "1");
        let expect = |report: &Value| {
            let told = last(report);
            assert_eq!(told["complete"], true, "{told}");
            let of = |name| found(report, name);
            let [kept, behind, lost] = ["hold_in_slack", "hold_behind", "lose_plain"].map(of);
            assert_eq!((kept.lost, kept.reachable), (0, 60), "{argument}: {kept:?}");
            // As any pointers into a block that no heuristic knows.
            let held = (behind.lost, behind.possible, behind.reachable);
            let expected = if asks { (0, 60, 0) } else { (0, 0, 60) };
            assert_eq!(held, expected, "{argument}");
            let hidden = told["excused_per_site"].as_u64().expect("a count");
            assert!(lost.lost + hidden + 1 >= 60, "{argument}: {lost:?} {told}");
        };
        however_scanned(running, expect);
    }
}

#[test]
fn a_scan_finds_out_that_not_every_block_is_known_while_it_is_made() {
    let mut running = Case::of("found_out_late.c").start_tracked();
    reach(&mut running, "1");
    let report = scan_during_step(&mut running, &["--apart", "1s", "--cpu", "100"]);
    let told = last(&report);
    assert_eq!(told["complete"], true, "{told}");
    assert_eq!(told["lower_bound"], true, "{told}");
    assert_eq!(found(&report, "hold_unseen").lost, 0, "{told}");
    pass(&running, "2");
    running.finish().outcome.expect_code(0);
}

#[test]
fn a_copy_is_the_first_to_be_killed_and_the_last_to_run() {
    let case = Case::of("many_blocks.c").args(["1000", "steps"]);
    let mut running = case.start_tracked();
    reach(&mut running, "1");
    let pid = running.pid();
    let mut asker = Command::new(&product().command)
        .args(["scan", &pid.to_string(), "--fork", "--apart", "1ms"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the command");
    let of_program = files_of(&pid.to_string());
    assert!(!of_program.is_empty());
    let (mut seen, mut inherited, mut files_seen) = (Vec::new(), Vec::new(), 0);
    while asker.try_wait().expect("its state").is_none() {
        for copy in children_of(pid).split_whitespace() {
            let read = |name: &str| std::fs::read_to_string(format!("/proc/{copy}/{name}"));
            let (Ok(adjusted), Ok(stat)) = (read("oom_score_adj"), read("stat")) else {
                continue;
            };
            // Behind the name: state, and so on up to the 19th field.
            let nice = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.split(' ').nth(16));
            seen.push((adjusted.trim().to_owned(), nice.map(str::to_owned)));
            // A pipe that it held open would not end for whoever reads from it.
            let files = files_of(copy).into_iter();
            inherited.extend(files.filter(|file| of_program.contains(file)));
            files_seen += 1;
        }
    }
    assert!(files_seen > 0 && inherited.is_empty(), "{inherited:?}");
    let expected = ("1000".to_owned(), Some("19".to_owned()));
    assert!(seen.contains(&expected), "{seen:?}");
    assert_eq!(children_of(pid), "", "nothing is left behind");
    pass(&running, "1");
    pass(&running, "2");
    running.finish().outcome.expect_code(0);
}

#[test]
fn a_scan_for_which_there_is_too_little_room_is_declined() {
    let case = Case::of("many_blocks.c").args(["100", "steps"]);
    let mut running = case.start_tracked();
    reach(&mut running, "1");
    let pid = running.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let limit = |bytes: u64| {
        let both = libc::rlimit {
            rlim_cur: bytes,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: reads a structure that lives until it returns.
        let set = unsafe { libc::prlimit(pid, libc::RLIMIT_AS, &both, std::ptr::null_mut()) };
        assert_eq!(set, 0);
    };
    limit((kib.expect("its size") << 10) + (16 << 20));
    let refused = leaktrack(&["scan", &pid.to_string()]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(why.contains("the memory limit is too near"), "{why}");
    // It is told as such, and later ones are made.
    limit(libc::RLIM_INFINITY);
    let report = scan(pid, &["--apart", "1ms", "--cpu", "100"]);
    let scans = report["scans"].as_array().expect("scans");
    assert_eq!(scans[0]["why_not"], "the memory limit is too near");
    assert_eq!(
        (&scans[0]["complete"], &scans[1]["complete"]),
        (&false.into(), &true.into())
    );
    pass(&running, "1");
    pass(&running, "2");
    running.finish().outcome.expect_code(0);
}

/// Starts a program under a filter and returns it at its first step.
fn filtered(how: &[&str]) -> Running {
    let mut running = Case::of("filtered_scan.c").args(how).start_tracked();
    reach(&mut running, "1");
    running
}

/// Lets it end, as it would without leaktrack; its report.
fn end_filtered(running: Running) -> Value {
    pass(&running, "1");
    let tracked = running.finish();
    tracked.outcome.expect_code(0);
    // Another one is of the image that installed the filter.
    let reports = tracked.reports().into_iter();
    let mut of_second = reports.filter(|report| report.live("hold_block").blocks > 0);
    of_second.next().expect("a report").json
}

#[test]
fn a_scan_that_a_filter_forbids_is_refused_with_its_reason() {
    let process_vm_readv = libc::SYS_process_vm_readv.to_string();
    let getdents = libc::SYS_getdents64.to_string();
    for (how, number, words) in [
        (
            "kill",
            &process_vm_readv,
            "process_vm_readv is not permitted",
        ),
        (
            "refuse",
            &process_vm_readv,
            "process_vm_readv is not permitted",
        ),
        ("kill", &getdents, "a seccomp filter forbids what it takes"),
        (
            "refuse",
            &getdents,
            "/proc/self/maps or task cannot be read",
        ),
    ] {
        let running = filtered(&[how, number]);
        let refused = leaktrack(&["scan", &running.pid().to_string()]);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{how} {number}: {why}");
        assert!(why.contains(words), "{how} {number}: {why}");
        let report = end_filtered(running);
        let scans = report["scans"].as_array().expect("scans");
        assert!(
            scans
                .iter()
                .all(|scan| scan["complete"] == false && scan["why_not"] == words),
            "{how} {number}: {scans:?}"
        );
        assert!(!scans.is_empty());
        // Nobody looked: no number, not even 0.
        for name in ["hold_block", "lose_block"] {
            let sites = report["sites"].as_array().expect("sites");
            assert!(sites.iter().all(|site| site["lost"].is_null()), "{name}");
        }
    }
}

#[test]
fn a_scan_does_without_what_a_filter_forbids_where_it_can() {
    let [fence, file, waits] = [
        libc::SYS_membarrier,
        libc::SYS_memfd_create,
        libc::SYS_futex_waitv,
    ]
    .map(|number| number.to_string());
    for how in ["kill", "refuse"] {
        let running = filtered(&[how, &fence, &file, &waits]);
        let report = scan(running.pid(), &["--apart", "1ms", "--cpu", "100"]);
        assert_eq!(last(&report)["complete"], true, "{how}: {}", last(&report));
        let [held, lost] = ["hold_block", "lose_block"].map(|name| found(&report, name));
        assert_eq!((held.lost, held.reachable), (0, 100), "{how}: {held:?}");
        let hidden = last(&report)["excused_per_site"].as_u64().expect("a count");
        assert!(lost.lost + hidden + 1 >= 100, "{how}: {lost:?}");
        assert_eq!(last(&end_filtered(running))["complete"], true, "{how}");
    }
    // No copy, but a look in place.
    let running = filtered(&["refuse", "copies"]);
    let refused = leaktrack(&["scan", &running.pid().to_string(), "--fork"]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(why.contains("forbids a copy of the process"), "{why}");
    let report = scan(running.pid(), &["--apart", "1ms", "--cpu", "100"]);
    assert_eq!(last(&report)["complete"], true, "{}", last(&report));
    end_filtered(running);
}

#[test]
fn pages_that_were_never_touched_stay_so() {
    for how in [&["--apart", "1ms", "--cpu", "100"][..], &["--fork"]] {
        let mut running = Case::of("sparse.c").start_tracked();
        reach(&mut running, "1");
        for _ in 0..2 {
            let report = scan(running.pid(), how);
            let (told, held) = (last(&report), found(&report, "hold_far"));
            assert_eq!(told["complete"], true, "{told}");
            assert_eq!((held.lost, held.reachable), (0, 60), "{how:?}: {held:?}");
        }
        pass(&running, "1");
        let tracked = running.finish();
        let text = tracked.outcome.text();
        let numbers = |line: &str| {
            let (now, before) = line.strip_prefix("pages: ")?.split_once(", before: ")?;
            Some((now.parse::<u64>().ok()?, before.parse::<u64>().ok()?))
        };
        let (now, before) = text.lines().find_map(numbers).expect("its pages");
        assert_eq!(now, before, "{how:?}");
        // All that it has set aside is more than a million.
        assert!((60..2_000).contains(&before), "{before}");
    }
}
