//! Options: what the library takes, what it says of bad ones, and what `leaktrack run` adds.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use leaktrack_tests::{Case, Report, is_root, product, program, tool};

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
fn a_folder_that_cannot_be_written_is_told_once_per_family() {
    let keep = program("keep_some.c");
    // Not one of the families' first processes is the last to fail: shells in shells, and programs of theirs.
    let inner = format!("{0}; {0}; :", keep.display());
    let script = format!("{0}; ({0}); sh -c '{inner}'; {0}; :", keep.display());
    let case = Case::new(tool("sh")).args(["-c", &script]);
    let tracked = case.output("/nowhere/%e.ltk").tracked();
    tracked.outcome.expect_code(0);
    assert_eq!(tracked.outcome.text(), "ok\n".repeat(5));
    let lines = tracked.outcome.own_lines();
    assert_eq!(lines.len(), 1, "{}", tracked.outcome);
    assert!(lines[0].contains("no such folder"), "{}", lines[0]);
    // Who was left out has said nothing.
    let case = Case::new(tool("sh")).args(["-c", &format!("{}; :", keep.display())]);
    let case = case.option("only=keep_some").output("/nowhere/%e.ltk");
    let tracked = case.tracked();
    assert_eq!(tracked.outcome.own_lines().len(), 1, "{}", tracked.outcome);
}

/// `leaktrack run FLAGS -- true` in `folder` with these variables; its output goes through pipes.
fn run_true(folder: &Path, variables: &[(&str, &str)], flags: &[&str]) -> Output {
    let mut command = Command::new(&product().command);
    command.arg("run").args(flags).arg("--").arg(tool("true"));
    command.current_dir(folder).env_remove("LEAKTRACK");
    let variables = variables.iter().copied();
    command.envs(variables).output().expect("leaktrack run")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn run_refuses_at_once_what_the_library_would_refuse_later() {
    let folder = tempfile::tempdir().unwrap();
    for option in [
        "output=%z",
        "output=%e.%p.ltk",
        "output=",
        "mode=budget:0",
        "mode=budget:2.0005",
        "mode=budget:2.5%",
        "mode=budget:2.",
        "mode=sample:0",
        "mode=sample:1024g",
        "mode=sample:1025g",
        "mode=exact:",
        "interval=9ms",
        "interval=1d",
        "interval=1",
        "memory=1023k",
        "memory=1MiB",
        "disk=65g",
        "family-disk=256k",
        "depth=+5",
        "depth=256",
        "depth=0x10",
        "scan=999ms",
        "scan=1s",
        "faults=on",
        "children=follow",
        "only=",
        "only=*",
        "helper=0",
        "argv=mask",
        "perm=0400",
        "perm=00600",
        "perm=666",
        "label=a",
        "label=a:",
        "label=:b",
        "alert-minor-faults=+1",
        "alert-major-faults=5/s",
        "alert-mlocked=100.001",
        "alert-growth=17179869183g/s",
        "alert-growth=1m/w",
        "alert-limit=off",
        "alert-repeat=off",
        "verbose=3",
        "verbose=00",
        "dept=3",
        "depth =3",
        " depth=3",
        "depth= 3",
        "depth",
        "colour=blue",
        ",,",
    ] {
        // What the library thinks of it.
        let mut raw = Command::new(tool("true"));
        raw.current_dir(&folder)
            .env("LD_PRELOAD", &product().library);
        let raw = raw.env("LEAKTRACK", option).output().unwrap();
        let said = errors(&raw);
        let refuses = said.contains("running untracked");
        assert!(refuses || said.is_empty(), "{option}: {said}");
        let ran = run_true(folder.path(), &[("LEAKTRACK", option)], &[]);
        let said = errors(&ran);
        assert_eq!(said.lines().count(), 1, "{option}: {said}");
        if refuses {
            assert_eq!(ran.status.code(), Some(125), "{option}: {said}");
            assert!(
                said.contains("bad option in LEAKTRACK: "),
                "{option}: {said}"
            );
        } else {
            assert_eq!(ran.status.code(), Some(0), "{option}: {said}");
            assert!(said.contains("recording to "), "{option}: {said}");
        }
    }
    let single = run_true(folder.path(), &[("LEAKTRACK_FAMILY_DISK", "1k")], &[]);
    assert_eq!(single.status.code(), Some(125));
    assert!(errors(&single).contains("LEAKTRACK_FAMILY_DISK: family-disk=1k; allowed is"));
}

#[test]
fn run_says_before_it_starts_where_nothing_can_be_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("x.ltk").display().to_string();
    let long = "x".repeat(300);
    for (place, why) in [
        ("/nowhere/x.ltk", "/nowhere: no such folder"),
        ("/nowhere/%e/x.ltk", "no such folder"),
        ("/dev/null", "/dev: null is there and is no regular file"),
        (&below, "it is not a folder"),
        (&long, "the path is too long"),
    ] {
        let ran = run_true(folder.path(), &[], &["-o", place]);
        assert_eq!(ran.status.code(), Some(125), "{}", errors(&ran));
        assert_eq!(errors(&ran).lines().count(), 1, "{}", errors(&ran));
        assert!(errors(&ran).contains(why), "{}", errors(&ran));
    }
    if !is_root() {
        eprintln!("skipped in part: a full disk needs root to be mounted");
        return;
    }
    let full =
        "mount -t tmpfs -o size=32k none . && cd . && exec \"$0\" run -o \"$PWD/x.ltk\" -- true";
    let mut command = Command::new(tool("unshare"));
    command
        .args(["-m", "sh", "-c", full])
        .arg(&product().command);
    let ran = command.current_dir(&folder).output().unwrap();
    assert_eq!(ran.status.code(), Some(125), "{}", errors(&ran));
    assert!(
        errors(&ran).contains("no space left on the device"),
        "{}",
        errors(&ran)
    );
}

#[test]
fn run_says_what_nobody_reads_and_whom_only_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_true(folder.path(), &[("LEAKTRACK_OPTONS", "depth=3")], &[]);
    assert_eq!(ran.status.code(), Some(0));
    let said = errors(&ran);
    assert!(said.contains("nothing reads LEAKTRACK_OPTONS"), "{said}");
    assert!(said.contains("did you mean LEAKTRACK="), "{said}");
    let ran = run_true(folder.path(), &[], &["--only", "server:work*"]);
    assert_eq!(ran.status.code(), Some(0));
    let said = errors(&ran);
    assert!(said.contains("the option `only` leaves out true"), "{said}");
    assert!(!said.contains("recording to"), "{said}");
    let recordings = |folder: &Path| {
        let names = std::fs::read_dir(folder).unwrap().flatten();
        let names = names.filter(|entry| entry.path().extension() == Some(OsStr::new("ltk")));
        names.count()
    };
    assert_eq!(recordings(folder.path()), 1, "that of the first run");
    let ran = run_true(folder.path(), &[], &["--only", "server:tru?"]);
    assert!(errors(&ran).contains("recording to"), "{}", errors(&ran));
    assert_eq!(recordings(folder.path()), 2);
    // Kubernetes makes such variables, and `run` itself sets one.
    for name in [
        "LEAKTRACK_PORT",
        "LEAKTRACK_SERVICE_HOST",
        "LEAKTRACK_KEEP_SHORT",
    ] {
        let ran = run_true(folder.path(), &[(name, "1")], &[]);
        assert!(!errors(&ran).contains("nothing reads"), "{}", errors(&ran));
    }
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
