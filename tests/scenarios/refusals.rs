//! What commands say of input that they cannot use: one line with the place and a remedy, the documented exit code, and
//! nothing of their own that went wrong.

use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use leaktrack_tests::{Case, Terminal, Tracked, lines, product, program_as, tool};

fn leaktrack(folder: &Path) -> Command {
    let mut command = Command::new(&product().command);
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `leaktrack` with these words and gives its exit code and its one line.
#[track_caller]
fn refused(folder: &Path, words: &[&str]) -> (i32, String) {
    let output = leaktrack(folder).args(words).output().expect("leaktrack");
    let said = errors(&output);
    let line = said.lines().next().unwrap_or_default().to_owned();
    // What the command line's parser says has a hint at --help below.
    let one_line = said.lines().count() == 1 || line.starts_with("error: ");
    assert!(one_line, "{words:?}: {said}");
    assert!(!said.contains("internal error"), "{words:?}: {said}");
    (output.status.code().expect("no signal"), line)
}

fn recorded() -> (Tracked, String) {
    let tracked = Case::of("keep_some.c").option("interval=10ms").check();
    let name = tracked.recordings[0].display().to_string();
    (tracked, name)
}

#[test]
fn what_is_no_recording_is_told_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("dir")).unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    fs::write(folder.path().join("junk"), [7; 5_000]).unwrap();
    for command in [
        &["report"][..],
        &["export", "--format", "csv"],
        &["bundle"],
        &["diff", "junk"],
        &["top"],
        &["scan"],
        &["snapshot"],
        &["enable"],
        &["disable"],
        &["mark"],
    ] {
        for name in ["missing", "dir", "empty", "junk", "/dev/null", "junk/x"] {
            let words: Vec<&str> = command.iter().copied().chain([name]).collect();
            let (code, line) = refused(folder.path(), &words);
            assert_eq!(code, 2, "{words:?}: {line}");
            let place = if command[0] == "diff" { "junk" } else { name };
            assert!(
                line.starts_with(&format!("leaktrack: {place}")),
                "{words:?}: {line}"
            );
            assert!(line.contains("; ") || name == "junk/x", "a remedy: {line}");
        }
    }
    for pid in ["99999999", "0", "-5", "4294967296"] {
        let (code, line) = refused(folder.path(), &["snapshot", pid]);
        assert_eq!(code, 2, "{line}");
        assert!(line.contains(pid), "{line}");
    }
    let (_, line) = refused(folder.path(), &["snapshot", "abc"]);
    assert!(
        line.contains("no such file, and it is no process id"),
        "{line}"
    );
}

/// Whoever opens a pipe to which nobody writes waits for ever.
#[test]
fn a_pipe_is_no_recording_of_a_running_process() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let name = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
    // SAFETY: a string that ends with NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let (code, line) = refused(folder.path(), &["snapshot", "pipe"]);
    assert_eq!(code, 2);
    assert!(line.contains("pipe is not a recording"), "{line}");
    let (recorded, recording) = recorded();
    let (code, line) = refused(
        &recorded.folder,
        &[
            "report",
            &recording,
            "--symbols",
            &pipe.display().to_string(),
        ],
    );
    assert_eq!(code, 2);
    assert!(line.contains("neither a file nor a folder"), "{line}");
}

#[test]
fn symbols_that_are_not_there_are_refused() {
    let (recorded, recording) = recorded();
    for (flag, place, why) in [
        ("--symbols", "nowhere", "no such file or folder"),
        ("--sysroot", "nowhere", "no such file or folder"),
        ("--sysroot", recording.as_str(), "it is not a folder"),
    ] {
        for command in [
            &["report"][..],
            &["export", "--format", "csv"],
            &["check"],
            &["bundle"],
        ] {
            let words = [command, &[recording.as_str(), flag, place]].concat();
            let (code, line) = refused(&recorded.folder, &words);
            assert_eq!(code, 2, "{words:?}: {line}");
            assert!(
                line.contains(flag) && line.contains(place) && line.contains(why),
                "{line}"
            );
        }
    }
}

#[test]
fn windows_outside_of_the_recording_tell_its_range() {
    let (recorded, recording) = recorded();
    for window in [
        &["--since", "2090-01-01T00:00:00Z"][..],
        &["--until", "2020-01-01T00:00:00Z"],
        &["--until", "9d"],
        &["--since", "1d", "--until", "2d"],
    ] {
        let words = [&["report", recording.as_str()], window].concat();
        let (code, line) = refused(&recorded.folder, &words);
        assert_eq!(code, 2, "{window:?}: {line}");
        assert!(
            line.contains("there are snapshots from 20"),
            "{window:?}: {line}"
        );
        assert!(line.ends_with("one every 10 ms"), "{window:?}: {line}");
    }
    let since_before = leaktrack(&recorded.folder)
        .args(["report", &recording, "--since", "9d"])
        .output()
        .unwrap();
    assert!(since_before.status.success());
}

/// A mark stands in the recording of one process; what its family did since is asked of all.
#[test]
fn a_mark_of_one_process_counts_for_its_family() {
    let script = "sh -c 'while ! test -e go; do sleep 0.05; done'; :";
    let case = Case::new(tool("sh"))
        .args(["-c", script])
        .option("interval=20ms")
        .option("only=*sh");
    let mut running = case.start_tracked();
    running.wait_until("both shells have a recording", |running| {
        running.recordings().len() == 2
    });
    let pid = running.pid().to_string();
    running.wait_until("the mark is set", |running| {
        let marked = leaktrack(running.folder())
            .args(["mark", &pid, "deploy"])
            .output();
        marked.expect("leaktrack mark").status.success()
    });
    fs::write(running.folder().join("go"), "").unwrap();
    let tracked = running.finish();
    let report = |label: &str| {
        let mut command = leaktrack(&tracked.folder);
        command
            .args(["report", "--since", label])
            .args(&tracked.recordings);
        command.output().unwrap()
    };
    let since = report("mark:deploy");
    assert_eq!(since.status.code(), Some(0), "{}", errors(&since));
    let unknown = report("mark:release");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        errors(&unknown).contains("it has no mark `release`"),
        "{}",
        errors(&unknown)
    );
}

#[test]
fn files_that_cannot_be_written_are_told_with_their_folder() {
    let (recorded, recording) = recorded();
    for (words, code) in [
        (&["report", "-o", "no/x"][..], 2),
        (&["export", "--format", "csv", "-o", "no/x"], 1),
        (&["bundle", "-o", "no/x"], 2),
    ] {
        let words = [words, &[recording.as_str()]].concat();
        let (got, line) = refused(&recorded.folder, &words);
        assert_eq!(got, code, "{words:?}: {line}");
        assert!(
            line.contains("cannot write no/x; make the folder no first"),
            "{line}"
        );
    }
    // A report that could not be written is told before the program has run.
    let (code, line) = refused(
        &recorded.folder,
        &["run", "--report=no/x", "--", "sh", "-c", "echo ran >ran"],
    );
    assert_eq!(code, 125);
    assert!(line.contains("make the folder no first"), "{line}");
    assert!(!recorded.folder.join("ran").exists());
    let bundle = leaktrack(&recorded.folder)
        .args(["bundle", "-o", "b.ltk", &recording])
        .output()
        .unwrap();
    assert!(
        errors(&bundle).trim_end().ends_with("written to b.ltk"),
        "{}",
        errors(&bundle)
    );
}

/// A bundle appears whole by taking the place of what has its name: not of a device.
#[test]
fn devices_and_pipes_are_written_to_and_stay() {
    let (recorded, recording) = recorded();
    let pipe = recorded.folder.join("pipe");
    let name = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
    // SAFETY: a string that ends with NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    for words in [&["bundle"][..], &["export", "--format", "csv"], &["report"]] {
        let reader = Command::new(tool("cat"))
            .arg(&pipe)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut command = leaktrack(&recorded.folder);
        let written = command
            .args(words)
            .args([recording.as_str(), "-o", "pipe"])
            .output()
            .unwrap();
        assert!(
            fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo(),
            "{words:?}"
        );
        assert!(written.status.success(), "{words:?}: {}", errors(&written));
        let read = reader.wait_with_output().unwrap().stdout;
        assert!(!read.is_empty(), "{words:?}");
    }
}

#[test]
fn a_full_disk_behind_stdout_is_told_and_a_reader_that_is_gone_is_not() {
    let (recorded, recording) = recorded();
    let recording = recording.as_str();
    for words in [
        &["report", recording][..],
        &["report", "--format", "json", recording],
        &["report", "--format", "html", recording],
        &["check", recording],
        &["check", "--format", "sarif", recording],
        &["diff", recording, recording],
        &["export", "--format", "pprof", recording],
        &["export", "--format", "flamegraph", recording],
        &["export", "--format", "openmetrics", recording],
        &["bundle", "-o", "-", recording],
        &["top", "--count", "1", recording],
        &["list"],
        &["doctor"],
        &["schema"],
        &["completions", "zsh"],
        &["man"],
        &["lib-path"],
        &["--help"],
        &["--version"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = leaktrack(&recorded.folder)
            .args(words)
            .stdout(full)
            .output()
            .unwrap();
        let code = if words[0] == "export" { 1 } else { 2 };
        assert_eq!(
            output.status.code(),
            Some(code),
            "{words:?}: {}",
            errors(&output)
        );
        let said = errors(&output);
        let line = "leaktrack: cannot write to stdout: No space left on device (os error 28)";
        assert!(said.lines().any(|said| said == line), "{words:?}: {said}");
        // Its reader has ended: nothing to tell.
        let mut child = leaktrack(&recorded.folder)
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let quiet = output
            .status
            .code()
            .is_some_and(|code| code == 0 || words[0] == "check");
        assert!(quiet, "{words:?}: {:?} {}", output.status, errors(&output));
        assert!(
            !errors(&output).contains("roken pipe"),
            "{words:?}: {}",
            errors(&output)
        );
    }
}

#[test]
fn what_is_no_text_is_not_written_to_a_terminal() {
    let (recorded, recording) = recorded();
    for words in [&["export", "--format", "pprof"][..], &["bundle", "-o", "-"]] {
        let mut command = leaktrack(&recorded.folder);
        command.args(words).arg(&recording);
        let mut terminal = Terminal::start(command, 200, 20);
        let status = terminal.ended();
        assert_eq!(status.code(), Some(2));
        terminal.look(|screen| {
            let text = screen.contents();
            assert!(
                text.contains("is no text: write it to a file with -o FILE"),
                "{text}"
            );
        });
    }
}

#[test]
fn names_that_are_not_utf8() {
    let (recorded, recording) = recorded();
    let name = PathBuf::from(std::ffi::OsStr::from_bytes(b"n\xffme.ltk"));
    fs::copy(&recording, recorded.folder.join(&name)).unwrap();
    for words in [
        &["report"][..],
        &["check"],
        &["export", "--format", "csv"],
        &["top", "--count", "1"],
    ] {
        let output = leaktrack(&recorded.folder)
            .args(words)
            .arg(&name)
            .output()
            .unwrap();
        let fine =
            output.status.success() || words[0] == "check" && output.status.code() == Some(3);
        assert!(fine, "{words:?}: {}", errors(&output));
    }
    let output = leaktrack(&recorded.folder)
        .arg("snapshot")
        .arg(&name)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("no running process records into it"),
        "{}",
        errors(&output)
    );
}

#[test]
fn address_sanitizer_in_the_way_is_seen_before_the_start() {
    let sanitized = program_as("keep_some.c", "keep_some_asan", &["-fsanitize=address"]);
    let folder = tempfile::tempdir().unwrap();
    let program = sanitized.to_str().unwrap();
    let (code, line) = refused(folder.path(), &["run", "--", program]);
    assert_eq!(code, 125);
    assert!(
        line.contains("AddressSanitizer") && line.contains("verify_asan_link_order=0"),
        "{line}"
    );
    let doctor = leaktrack(folder.path())
        .args(["doctor", program])
        .output()
        .unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    assert!(
        lines(&doctor.stdout)
            .iter()
            .any(|line| line.starts_with("BAD") && line.contains("AddressSanitizer"))
    );
    // What is advised works, and the sanitizer still does.
    let case = Case::new(&sanitized).env("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0");
    let ran = case.under_run(&["--interval", "50ms"]);
    ran.outcome.expect_code(0);
    ran.report().expect_live("keep_some", 10, 10_000);
    let output = leaktrack(folder.path())
        .args(["doctor", program])
        .env("ASAN_OPTIONS", "verify_asan_link_order=0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
}
