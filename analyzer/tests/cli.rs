//! The small commands, and how errors look.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::{leaktrack, run_in, said, stderr, stdout};

#[test]
fn the_library_is_unpacked_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = || {
        let output = leaktrack(&["lib-path"])
            .env("LEAKTRACK_LIB_DIR", dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).trim_end().to_owned()
    };
    let first = path();
    assert!(first.starts_with(dir.path().to_str().unwrap()) && first.ends_with("/libleaktrack.so"));
    let made = fs::metadata(&first).unwrap().modified().unwrap();
    assert_eq!(path(), first);
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), made);
    // What someone damaged is replaced.
    let good = fs::read(&first).unwrap();
    fs::write(&first, "damaged").unwrap();
    assert_eq!(path(), first);
    assert_eq!(fs::read(&first).unwrap(), good);
    assert_eq!(
        fs::read_dir(dir.path().join(&first).parent().unwrap())
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn folders_that_others_can_write_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let output = leaktrack(&["lib-path"])
        .env("LEAKTRACK_LIB_DIR", dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output)[0].contains("can be written by others"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn folders_that_ld_preload_cannot_name_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = leaktrack(&["lib-path"])
        .env("LEAKTRACK_LIB_DIR", dir.path().join("a b"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output)[0].contains("LD_PRELOAD cannot express"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn without_a_cache_folder_the_temporary_one_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own");
    fs::create_dir(&own).unwrap();
    // By another process: a copy that this one has open for writing while another test forks is
    // "busy" when it is to be executed.
    let copied = std::process::Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_leaktrack"))
        .arg(own.join("leaktrack"))
        .status();
    assert!(copied.unwrap().success());
    let output = std::process::Command::new(own.join("leaktrack"))
        .arg("lib-path")
        .env_remove("LEAKTRACK_LIB_DIR")
        .env_remove("XDG_CACHE_HOME")
        .env("HOME", "/proc/nowhere")
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    let path = stdout(&output);
    assert!(
        path.starts_with(dir.path().to_str().unwrap()),
        "{path}{}",
        stderr(&output)
    );
    let private = fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .find(|e| e.file_name() != "own")
        .unwrap();
    assert_eq!(
        private.metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn install_puts_both_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("opt");
    let output = run_in(dir.path(), &["install", "opt"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let mut names: Vec<_> = fs::read_dir(&to)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["leaktrack", "libleaktrack.so"]);
    let output = std::process::Command::new(to.join("leaktrack"))
        .arg("lib-path")
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output).trim_end(),
        to.join("libleaktrack.so").to_str().unwrap()
    );
}

#[test]
fn manual_and_completions_are_made() {
    let dir = tempfile::tempdir().unwrap();
    assert!(stdout(&run_in(dir.path(), &["man"])).contains(".TH leaktrack"));
    assert!(run_in(dir.path(), &["man", "pages"]).status.success());
    assert!(dir.path().join("pages/leaktrack-run.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run_in(dir.path(), &["completions", shell])).contains("leaktrack"));
    }
}

#[test]
fn exit_codes_are_in_the_help() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["run", "--help"], &["doctor", "--help"]] {
        assert!(
            stdout(&run_in(dir.path(), arguments)).contains("Exit codes:"),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    for arguments in [
        &["--help"][..],
        &["completions", "bash"],
        &["man"],
        &["doctor"],
        &["schema"],
    ] {
        let mut child = leaktrack(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(stderr(&output), "", "{arguments:?}");
        assert!(
            output.status.code().is_some_and(|code| code < 2),
            "{arguments:?} {:?}",
            output.status
        );
    }
}

#[test]
fn an_unreadable_recording_is_one_line_and_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x.ltk"), "no recording").unwrap();
    for arguments in [
        &["x.ltk"][..],
        &["report", "x.ltk"],
        &["report", "missing.ltk"],
        &["missing.ltk"],
    ] {
        let output = run_in(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(said(&output).len(), 1, "{}", stderr(&output));
    }
}
