//! Options: what the library takes, what it says of bad ones, and what `leaktrack run` adds.

use leaktrack_tests::{Case, Report, product, program, tool};

#[test]
fn a_bad_option_is_one_line_and_the_program_runs_untracked() {
    for (option, words) in [
        ("interval=soon", ["interval", "soon"]),
        ("mode=sometimes", ["mode", "sometimes"]),
        ("colour=blue", ["colour", "colour"]),
        ("depth=-1", ["depth", "-1"]),
        ("memory=lots", ["memory", "lots"]),
        ("perm=rw", ["perm", "rw"]),
        ("helper=maybe", ["helper", "maybe"]),
    ] {
        let case = Case::of("keep_some.c").option(option);
        let tracked = case.tracked();
        tracked.outcome.expect_code(0);
        assert_eq!(tracked.outcome.text(), "ok\n");
        let lines = tracked.outcome.own_lines();
        assert_eq!(lines.len(), 1, "{option}: {}", tracked.outcome);
        assert!(
            words.iter().all(|word| lines[0].contains(word)),
            "{option}: {}",
            lines[0]
        );
        assert!(
            tracked.recordings.is_empty(),
            "{option}: {:?}",
            tracked.recordings
        );
    }
}

#[test]
fn a_bad_option_is_told_once_per_family() {
    let keep = program("keep_some.c");
    let script = format!("{0}; {0}; ls / >/dev/null; {0}", keep.display());
    let tracked = Case::new(tool("sh"))
        .args(["-c", &script])
        .option("interval=soon")
        .tracked();
    tracked.outcome.expect_code(0);
    assert_eq!(tracked.outcome.text(), "ok\nok\nok\n");
    assert_eq!(tracked.outcome.own_lines().len(), 1, "{}", tracked.outcome);
}

#[test]
fn the_list_of_processes_says_which_option_is_bad() {
    let case = Case::new(tool("sleep")).arg("100").option("depth=0");
    let mut running = case.start_tracked();
    let pid = running.pid().to_string();
    let mut line = String::new();
    running.wait_until("the process is listed", |_| {
        let list = std::process::Command::new(&product().command)
            .arg("list")
            .output()
            .expect("leaktrack list");
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        let mut lines = list.lines();
        let own = lines.find(|line| line.split_whitespace().next() == Some(&pid));
        line = own.unwrap_or_default().to_owned();
        line.contains("sleep")
    });
    running.signal(libc::SIGTERM);
    let tracked = running.finish();
    assert!(tracked.recordings.is_empty());
    assert!(
        line.ends_with("bad option: depth=0; allowed is a number from 1 to 256"),
        "{line}"
    );
}

#[test]
fn single_variables_set_keys_and_leaktrack_wins() {
    let case = Case::of("keep_some.c")
        .env("LEAKTRACK_LABEL", "service:orders")
        .env("LEAKTRACK_DEPTH", "bad");
    // The bad value is overruled before it is looked at, or told; either way the program runs.
    let tracked = case.option("depth=64").tracked();
    tracked.outcome.expect_code(0);
    let report = Case::of("keep_some.c")
        .env("LEAKTRACK_LABEL", "service:orders")
        .check()
        .report();
    assert_eq!(
        report.json["processes"][0]["labels"]["service"], "orders",
        "{}",
        report.json["processes"]
    );
}

#[test]
fn without_a_helper_everything_is_still_recorded() {
    let case = Case::of("keep_some.c")
        .option("helper=off")
        .option("interval=10ms");
    case.check().report().expect_live("keep_some", 10, 10_000);
    let report = Case::of("many_threads.c")
        .args(["200", "50"])
        .option("helper=off")
        .check()
        .report();
    report.expect_live("keep_thread", 20, 480);
}

#[test]
fn secrets_in_arguments_are_masked() {
    let case = Case::new(tool("true")).args([
        "--password=hunter2",
        "--user",
        "x",
        "https://me:hunter3@host/",
        "--token",
        "hunter4",
    ]);
    let report = case.tracked().report();
    let text = report.json["processes"][0]["argv"].to_string();
    assert!(!text.contains("hunter"), "{text}");
    assert!(text.contains("--user"), "{text}");
    let full = case.option("argv=full").tracked().report();
    assert!(
        full.json["processes"][0]["argv"]
            .to_string()
            .contains("hunter2")
    );
}

#[test]
fn run_execs_and_names_the_recording() {
    let case = Case::of("keep_some.c");
    let output = case.folder().join("named.ltk");
    let tracked =
        case.output("")
            .under_run(&["-o", &output.to_string_lossy(), "--interval", "50ms"]);
    tracked.outcome.expect_code(0);
    assert_eq!(tracked.outcome.text(), "ok\n");
    assert!(
        tracked.outcome.errors().contains("named.ltk"),
        "one line names the recording: {}",
        tracked.outcome
    );
    Report::read(&[&output]).expect_live("keep_some", 10, 10_000);
}

#[test]
fn run_passes_on_statuses_and_signals() {
    let case = Case::of("endings.c").arg("_exit");
    let tracked = case.under_run(&["--report"]);
    tracked.outcome.expect_code(41);
    assert!(
        tracked.outcome.errors().contains("keep_main"),
        "the report is on stderr: {}",
        tracked.outcome
    );
    Case::of("endings.c")
        .arg("kill")
        .under_run(&["--report=/dev/null"])
        .outcome
        .expect_code(128 + 9);
    Case::of("endings.c")
        .arg("segv")
        .under_run(&["--report=/dev/null"])
        .outcome
        .expect_code(128 + 11);
}

#[test]
fn run_with_report_forwards_signals() {
    let case = Case::new(tool("bash")).args([
        "-c",
        "trap 'echo got it; exit 33' TERM; echo ready; while :; do sleep 0.05; done",
    ]);
    let mut running = case.start_under_run(&["--report=/dev/null"]);
    running.wait_until("the trap is set", |running| {
        running.stdout_so_far().contains("ready")
    });
    running.signal(libc::SIGTERM);
    let tracked = running.finish();
    tracked.outcome.expect_code(33);
    assert_eq!(tracked.outcome.text(), "ready\ngot it\n");
}

#[test]
fn messages_never_end_the_program() {
    // Nobody reads standard error any more: a write there would raise SIGPIPE. Or it is a file that may not grow: SIGXFSZ.
    let keep = program("keep_some.c");
    for surroundings in [
        "{ sleep 0.3; exec PROGRAM; } 2> >(exec true)",
        "set -o pipefail; (ulimit -f 0; exec PROGRAM 2>errors) | cat",
        "exec PROGRAM 2>&-",
        "exec PROGRAM 2>/dev/full",
    ] {
        let script = surroundings.replace("PROGRAM", &keep.to_string_lossy());
        let script = format!("( {script} ); echo ended $?");
        let case = Case::new(tool("bash")).args(["-c", &script]).any_stderr();
        let checked = case.option("only=keep_some").option("verbose=2").check();
        assert_eq!(checked.outcome.text(), "ok\nended 0\n", "{surroundings}");
    }
}
