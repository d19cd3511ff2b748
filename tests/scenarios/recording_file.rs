//! The recording as a file: never in the way of the program, never over someone else's file, readable after anything.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use leaktrack_tests::{Case, Report, is_root, product, program, tool};

/// A program that keeps ten blocks and lives for two seconds, with a snapshot every 10 ms.
fn for_two_seconds() -> Case {
    Case::of("keep_some.c")
        .args(["10", "1000", "2"])
        .option("interval=10ms")
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let case = Case::of("keep_some.c").output("{recordings}/name.ltk");
    let taken = case.folder().join("taken");
    fs::write(&taken, "mine").expect("a file");
    let named = case.clone().output(&taken.to_string_lossy()).check();
    assert_eq!(fs::read_to_string(&taken).expect("the file"), "mine");
    let second = PathBuf::from(format!("{}.2", taken.display()));
    Report::read(&[&second]).expect_live("keep_some", 10, 10_000);
    case.clone().output(&taken.to_string_lossy()).check();
    Report::read(&[Path::new(&format!("{}.3", taken.display()))]).expect_live(
        "keep_some",
        10,
        10_000,
    );
    drop(named);
}

#[test]
fn links_and_fifos_are_not_followed() {
    let case = Case::of("keep_some.c");
    let victim = case.folder().join("victim");
    fs::write(&victim, "mine").expect("a file");
    let link = case.folder().join("link.ltk");
    std::os::unix::fs::symlink(&victim, &link).expect("a link");
    case.clone()
        .output(&link.to_string_lossy())
        .any_stderr()
        .limit(240)
        .check();
    assert_eq!(fs::read_to_string(&victim).expect("the file"), "mine");
    assert!(fs::symlink_metadata(&link).expect("the link").is_symlink());

    let dangling = case.folder().join("dangling.ltk");
    std::os::unix::fs::symlink(case.folder().join("nowhere"), &dangling).expect("a link");
    case.clone()
        .output(&dangling.to_string_lossy())
        .any_stderr()
        .limit(240)
        .check();
    assert!(!case.folder().join("nowhere").exists());

    // Nobody reads it: opening it would block, writing to it would raise SIGPIPE.
    let fifo = case.folder().join("fifo.ltk");
    assert!(
        Command::new(tool("mkfifo"))
            .arg(&fifo)
            .status()
            .expect("mkfifo")
            .success()
    );
    case.clone()
        .output(&fifo.to_string_lossy())
        .any_stderr()
        .limit(240)
        .check();
}

#[test]
fn permissions_are_private_unless_asked() {
    let case = Case::of("keep_some.c");
    let mode = |path: &Path| {
        fs::metadata(path)
            .expect("a recording")
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(mode(&case.tracked().recordings[0]), 0o600);
    assert_eq!(
        mode(&case.option("perm=0640").tracked().recordings[0]),
        0o640
    );
}

#[test]
fn names_are_made_safe_and_relative_paths_are_fixed_at_start() {
    // The shell is in another folder when it ends: the recording stays where it started.
    let case = Case::new(tool("dash"))
        .args(["-c", "cd / && echo moved"])
        .output("sub.%e.%p.ltk");
    let tracked = case.tracked();
    tracked.outcome.expect_code(0);
    let names: Vec<String> = fs::read_dir(&tracked.folder)
        .expect("the run's folder")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("sub.") && name.ends_with(".ltk")),
        "{names:?}"
    );
}

#[test]
fn a_folder_that_cannot_be_written() {
    let case = Case::of("keep_some.c").output("/proc/there/is/nothing.ltk");
    let tracked = case.tracked();
    case.clone()
        .any_stderr()
        .expect_same(&case.native(), &tracked.outcome);
    let lines = tracked.outcome.own_lines();
    assert_eq!(lines.len(), 1, "one line says so: {}", tracked.outcome);
    assert!(
        lines[0].contains("/proc/there/is/nothing.ltk"),
        "{}",
        lines[0]
    );
}

#[test]
fn the_default_name_falls_back_to_another_folder() {
    let state = Case::of("keep_some.c");
    let fallback = state.folder().join("state");
    fs::create_dir_all(&fallback).expect("a folder");
    fs::set_permissions(&fallback, fs::Permissions::from_mode(0o777)).expect("permissions");
    let script = format!("cd /proc/self && exec {}", program("keep_some.c").display());
    let case = Case::new(tool("sh"))
        .args(["-c", &script])
        .option("only=keep_some")
        .output("");
    let case = case.env("XDG_STATE_HOME", &fallback);
    let tracked = case.tracked();
    tracked.outcome.expect_code(0);
    assert_eq!(tracked.outcome.text(), "ok\n");
    assert_eq!(tracked.outcome.own_lines().len(), 1, "{}", tracked.outcome);
    let folder = fallback.join("leaktrack");
    let found: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the fallback folder")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    Report::read(&[&found[0]]).expect_live("keep_some", 10, 10_000);
}

#[test]
fn truncated_at_any_moment_while_running() {
    let case = for_two_seconds();
    let native = case.native();
    for (round, length) in [0u64, 1, 4095, 4096, 20_000, 0, 60_000]
        .into_iter()
        .enumerate()
    {
        let mut running = case.start_tracked();
        running.wait_until("there is a recording", |running| {
            !running.recordings().is_empty()
        });
        let recording = running.recordings()[0].clone();
        std::thread::sleep(Duration::from_millis(37 * round as u64));
        if let Ok(file) = OpenOptions::new().write(true).open(&recording) {
            file.set_len(length).expect("truncation");
        }
        let tracked = running.finish();
        case.expect_same(&native, &tracked.outcome);
        expect_readable_or_refused(&recording);
    }
}

#[test]
fn unlinked_or_replaced_while_running() {
    let case = for_two_seconds();
    let native = case.native();
    for replace in [false, true] {
        let mut running = case.start_tracked();
        running.wait_until("there is a recording", |running| {
            !running.recordings().is_empty()
        });
        let recording = running.recordings()[0].clone();
        fs::remove_file(&recording).expect("unlink");
        if replace {
            fs::write(&recording, "someone else's").expect("another file in its place");
        }
        let tracked = running.finish();
        case.expect_same(&native, &tracked.outcome);
        if replace {
            assert_eq!(
                fs::read_to_string(&recording).expect("the other file"),
                "someone else's"
            );
        }
    }
}

#[test]
fn a_full_disk() {
    if !is_root() {
        // Without root no small file system can be mounted; a limit on file sizes stands in for it.
        for limit in ["1", "32", "64", "256"] {
            let script = format!(
                "(ulimit -f {limit}; exec {}) | cat; exit ${{PIPESTATUS[0]}}",
                program("keep_some.c").display()
            );
            Case::new(tool("bash"))
                .args(["-c", &script])
                .option("only=keep_some")
                .any_stderr()
                .check();
        }
        return;
    }
    for (size, fill) in [("4k", "0"), ("64k", "0"), ("512k", "0"), ("1m", "1200")] {
        let script = format!(
            "mkdir small && mount -t tmpfs -o size={size} tmpfs small && \
             {{ (sleep 0.3; head -c {fill}k /dev/zero > small/filler 2>/dev/null) & \
             {} 2000 100 1; code=$?; wait; cp small/*.ltk . 2>/dev/null; umount small; exit $code; }}",
            program("many_sizes.c").display()
        );
        let case = Case::new(tool("unshare"))
            .args(["-m", "sh", "-c", &script])
            .option("only=many_sizes");
        let case = case
            .option("interval=10ms")
            .output("small/%e.ltk")
            .any_stderr();
        let checked = case.check();
        assert!(
            checked.outcome.text().starts_with("ok"),
            "{size}: {}",
            checked.outcome
        );
        let recording = checked.folder.join("many_sizes.ltk");
        if recording.exists() {
            expect_readable_or_refused(&recording);
        }
    }
}

#[test]
fn killed_at_random_moments() {
    let case = Case::of("fork_busy.c")
        .arg("100000")
        .option("interval=10ms")
        .option("children=ignore");
    let mut random = Random(7);
    for _ in 0..15 {
        let running = case.start_tracked();
        std::thread::sleep(Duration::from_millis(random.below(250)));
        running.signal(libc::SIGKILL);
        let tracked = running.finish();
        for recording in &tracked.recordings {
            expect_readable_or_refused(recording);
        }
    }
}

#[test]
fn cut_and_damaged_recordings_never_break_the_reader() {
    let tracked = Case::of("frames.cpp").option("interval=10ms").tracked();
    let whole = fs::read(&tracked.recordings[0]).expect("a recording");
    let damaged = tracked.folder.join("damaged.ltk");
    let mut random = Random(11);
    for round in 0..60 {
        let mut bytes = whole.clone();
        if round % 2 == 0 {
            bytes.truncate(random.below(whole.len() as u64) as usize);
        } else {
            for _ in 0..1 + random.below(20) {
                let at = random.below(whole.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
        }
        fs::write(&damaged, &bytes).expect("a damaged recording");
        expect_readable_or_refused(&damaged);
    }
}

/// `leaktrack report` either reports or says, with exit status 2, why it cannot.
#[track_caller]
fn expect_readable_or_refused(recording: &Path) {
    let output = Command::new(tool("timeout"))
        .arg("240")
        .arg(&product().command)
        .args(["report", "--format", "json", "--no-debuginfod"])
        .arg(recording)
        .output()
        .expect("leaktrack can be started");
    let code = output.status.code();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        matches!(code, Some(0 | 2)),
        "report of {}: {:?}: {stderr}",
        recording.display(),
        output.status
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
    if code == Some(2) {
        assert!(!stderr.trim().is_empty(), "an error says what happened");
    }
}

#[test]
fn the_size_of_a_recording_is_bounded() {
    let checked = Case::of("many_sizes.c")
        .args(["20000", "16", "3"])
        .option("interval=10ms")
        .option("disk=1m")
        .check();
    let recording = &checked.recordings[0];
    let size = fs::metadata(recording).expect("a recording");
    assert!(
        size.blocks() * 512 <= 1 << 20,
        "{} bytes on disk for disk=1m",
        size.blocks() * 512
    );
    let report = Report::read_totals(recording);
    assert_eq!(
        report.total("live_blocks"),
        20_001,
        "the final totals stay\n{}",
        report.json["recording"]
    );
}

/// A small generator with a fixed seed: failures repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
