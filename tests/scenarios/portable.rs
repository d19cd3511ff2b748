//! Recordings that are read elsewhere: names from a debuginfod server, names that came along, and nothing of the host that
//! must stay there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use leaktrack_tests::{
    Case, Report, find_tool, free_port, is_root, product, program_as, program_source, wait_for_port,
};

/// `leaktrack` without any debuginfod server but those that are set afterwards.
fn leaktrack() -> Command {
    let mut command = Command::new(&product().command);
    command.env_remove("DEBUGINFOD_URLS");
    command
}

#[track_caller]
fn output(command: &mut Command) -> Output {
    let output = command.output().expect("leaktrack can be started");
    let status = output.status.code();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        matches!(status, Some(0 | 1 | 3)),
        "{command:?}: {status:?}: {errors}"
    );
    output
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// elfutils' own server over the files in a folder; `None` where it is not installed.
fn debuginfod(files: &Path, database: &Path) -> Option<(Server, String)> {
    let port = free_port();
    let child = Command::new(find_tool("debuginfod")?)
        .args(["-F", "-t", "1", "-p", &port.to_string(), "-d"])
        .arg(database)
        .arg(files)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("debuginfod can be started");
    let server = Server(child);
    wait_for_port(port);
    Some((server, format!("http://127.0.0.1:{port}")))
}

#[test]
fn a_debuginfod_server_names_what_is_gone() {
    let scratch = tempfile::tempdir().unwrap();
    let (home, elsewhere) = (
        scratch.path().join("home"),
        scratch.path().join("elsewhere"),
    );
    fs::create_dir(&home).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let built = program_as("keep_some.c", "keep_some", &["-Wl,--build-id"]);
    let program = home.join("keep_some");
    fs::copy(&built, &program).unwrap();
    let checked = Case::new(&program).args(["10", "1000"]).check();
    let recording = &checked.recordings[0];
    fs::rename(&program, elsewhere.join("renamed")).unwrap();

    let Some((server, url)) = debuginfod(&elsewhere, &scratch.path().join("database")) else {
        eprintln!("debuginfod is not installed: not tested (tests/run installs it)");
        return;
    };
    let cache = scratch.path().join("cache");
    let report = |more: &[&str]| {
        let mut command = leaktrack();
        command
            .args(["report", "--format", "json"])
            .arg(recording)
            .args(more)
            .env("DEBUGINFOD_URLS", &url)
            .env("DEBUGINFOD_CACHE_PATH", &cache);
        let text = output(&mut command).stdout;
        String::from_utf8(text).unwrap()
    };
    // The server goes through its files when it likes.
    let deadline = Instant::now() + Duration::from_secs(240);
    while !report(&[]).contains("keep_some.c") {
        assert!(Instant::now() < deadline, "{}", report(&[]));
        // What it did not know a moment ago would not be asked for again.
        let _ = fs::remove_dir_all(&cache);
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(!report(&["--no-debuginfod"]).contains("keep_some.c"));
    let json: serde_json::Value = serde_json::from_str(&report(&[])).unwrap();
    let blame = &json["sites"][0]["blame"];
    assert_eq!(blame["function"], "keep_some");
    assert_eq!(blame["line"].as_u64(), line_of_keeper("keep_some.c"));
    // From now on nobody needs the server.
    drop(server);
    assert!(report(&[]).contains("keep_some.c"));
}

/// The line in which a program of the tests defines its keeper: the macro's code has that of its use.
fn line_of_keeper(source: &str) -> Option<u64> {
    let text = fs::read_to_string(program_source(source)).unwrap();
    let line = text.lines().position(|line| line.starts_with("KEEPER("))?;
    Some(line as u64 + 1)
}

#[test]
fn a_dead_server_costs_a_line_and_little_time() {
    let checked = Case::of("keep_some.c").check();
    let scratch = tempfile::tempdir().unwrap();
    let mut bare = leaktrack();
    let bare = output(
        bare.arg("report")
            .arg(&checked.recordings[0])
            .arg("--symbols")
            .arg(scratch.path()),
    );
    let url = format!("http://127.0.0.1:{}", free_port());
    let asked = output(
        leaktrack()
            .arg("report")
            .arg(&checked.recordings[0])
            .arg("--sysroot")
            .arg(scratch.path())
            .env("DEBUGINFOD_URLS", &url)
            .env("DEBUGINFOD_CACHE_PATH", scratch.path()),
    );
    let text = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(text.matches(&url).count(), 1, "{text}");
    assert!(text.contains("--no-debuginfod"), "{text}");
    assert!(
        !String::from_utf8(bare.stdout)
            .unwrap()
            .contains("debuginfod server")
    );
}

const TOKEN: &str = "pl4nted-t0ken";

/// Everything that leaktrack writes about a recording.
fn everything(recording: &Path, folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |name: &str, args: &[&str]| {
        let file = folder.join(name);
        let mut command = leaktrack();
        command.current_dir(folder).args(args).arg(recording);
        let to_stdout = output(&mut command);
        all.push((format!("{name} on stdout"), to_stdout.stdout));
        all.push((format!("{name} on stderr"), to_stdout.stderr));
        output(command.arg("-o").arg(&file));
        all.push((name.to_owned(), fs::read(&file).expect("an output file")));
    };
    for format in ["text", "json", "html", "markdown"] {
        add(
            format,
            &[
                "report", "--top", "0", "--show", "healthy", "--format", format,
            ],
        );
    }
    for format in [
        "pprof",
        "folded",
        "flamegraph",
        "firefox",
        "csv",
        "openmetrics",
    ] {
        add(format, &["export", "--format", format]);
    }
    for format in ["text", "json", "junit", "sarif"] {
        add(&format!("check-{format}"), &["check", "--format", format]);
    }
    let diff = output(
        leaktrack()
            .current_dir(folder)
            .arg("diff")
            .args([recording, recording]),
    );
    all.push(("diff".to_owned(), diff.stdout));
    // pprof is compressed.
    let unpacked = Command::new("gzip")
        .args(["-dc"])
        .arg(folder.join("pprof"))
        .output()
        .expect("gzip");
    assert!(!unpacked.stdout.is_empty());
    all.push(("pprof, unpacked".to_owned(), unpacked.stdout));
    all.push(("the bundle".to_owned(), fs::read(recording).unwrap()));
    all
}

/// Which outputs hold the token.
fn holders(all: &[(String, Vec<u8>)]) -> Vec<&str> {
    let holds = |bytes: &[u8]| {
        bytes
            .windows(TOKEN.len())
            .any(|part| part.eq_ignore_ascii_case(TOKEN.as_bytes()))
    };
    all.iter()
        .filter(|(_, bytes)| holds(bytes))
        .map(|(name, _)| name.as_str())
        .collect()
}

#[test]
fn what_is_redacted_is_in_no_output() {
    let scratch = tempfile::tempdir().unwrap();
    // In the folder of the program, of its source, of the recording and in its options.
    let home = scratch.path().join(TOKEN);
    fs::create_dir_all(home.join("src")).unwrap();
    let source = home.join("src/keep_some.c");
    fs::copy(program_source("keep_some.c"), &source).unwrap();
    let exe = home.join("keep_some");
    let built = Command::new("gcc")
        .args(["-g", "-O1", "-I"])
        .arg(program_source(""))
        .arg(&source)
        .arg("-o")
        .arg(&exe)
        .status();
    assert!(built.expect("gcc").success());
    let recorded = home.join("x.ltk");
    let options = format!(
        "output={},interval=100ms,on-alert=logger {TOKEN}",
        recorded.display()
    );
    let shell = format!("hostname {TOKEN} && exec \"$@\"");
    let mut command = if is_root() {
        // In the name of the host, too.
        let mut command = Command::new("unshare");
        command.args(["--uts", "sh", "-c", &shell, "sh"]);
        command
    } else {
        Command::new("env")
    };
    let status = command
        .arg("env")
        .arg(format!("LD_PRELOAD={}", product().library.display()))
        .arg(format!("LEAKTRACK={options}"))
        .arg(format!("MALLOC_CONF=prof_prefix:{}/heap", home.display()))
        .arg(&exe)
        .args([
            "20",
            "1000",
            "1",
            TOKEN,
            &format!("--config={}/x", home.display()),
        ])
        .current_dir(&home)
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("the program").success());

    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let redacted = outside.join("redacted.ltk");
    let plain = outside.join("plain.ltk");
    let bundle = |to: &Path, more: &[&str]| {
        output(
            leaktrack()
                .arg("bundle")
                .arg(&recorded)
                .arg("-o")
                .arg(to)
                .args(more),
        )
    };
    bundle(&plain, &[]);
    bundle(&redacted, &["--redact", "argv,host,paths"]);
    fs::rename(&home, scratch.path().join("gone")).unwrap();

    // The search finds what is there.
    let open = everything(&plain, &outside);
    let found = holders(&open);
    for name in [
        "text",
        "json",
        "html",
        "markdown",
        "csv",
        "pprof, unpacked",
        "the bundle",
    ] {
        assert!(found.contains(&name), "{name} should have it: {found:?}");
    }
    let closed = everything(&redacted, &outside);
    assert_eq!(holders(&closed), [""; 0]);
    // And the answer is still there.
    let report = Report::read(&[&redacted]);
    report.expect_live("keep_some", 20, 20_000);
    let text = &closed.iter().find(|(name, _)| name == "text").unwrap().1;
    assert!(String::from_utf8_lossy(text).contains("keep_some.c:"));
}

#[test]
fn a_bundle_says_elsewhere_what_the_recording_says_here() {
    let scratch = tempfile::tempdir().unwrap();
    let exe: PathBuf = scratch.path().join("keep_some");
    fs::copy(program_as("keep_some.c", "keep_some", &[]), &exe).unwrap();
    let checked = Case::new(&exe).args(["10", "1000"]).check();
    let here = checked.report();
    let bundle = scratch.path().join("x.bundle.ltk");
    output(
        leaktrack()
            .arg("bundle")
            .arg(&checked.recordings[0])
            .arg("-o")
            .arg(&bundle),
    );
    fs::remove_file(&exe).unwrap();
    let there = Report::read(&[&bundle]);
    for field in ["sites", "totals", "processes", "timeline"] {
        assert_eq!(here.json[field], there.json[field], "{field}");
    }
}

#[test]
fn without_build_id_the_content_decides() {
    let scratch = tempfile::tempdir().unwrap();
    let flags = ["-Wl,--build-id=none"];
    let exe = scratch.path().join("keep_some");
    fs::copy(program_as("keep_some.c", "keep_some", &flags), &exe).unwrap();
    let checked = Case::new(&exe).args(["10", "1000"]).check();
    let recording = &checked.recordings[0];
    let json = |more: &[&str]| -> serde_json::Value {
        let mut command = leaktrack();
        command
            .args(["report", "--format", "json"])
            .args(more)
            .arg(recording);
        serde_json::from_slice(&output(&mut command).stdout).unwrap()
    };
    let here = json(&[]);
    assert_eq!(here["sites"][0]["blame"]["function"], "keep_some");
    assert_eq!(
        here["sites"][0]["frames"][0]["build_id"],
        serde_json::Value::Null
    );

    // Another build of the same size in its place, as old as the first: only the content tells.
    let kept = scratch.path().join("kept-elsewhere");
    fs::rename(&exe, &kept).unwrap();
    let mut other = fs::read(&kept).unwrap();
    let text = b"keep_some.c\0";
    let at = other
        .windows(text.len())
        .position(|part| part == text)
        .expect("its name");
    other[at] ^= 1;
    fs::write(&exe, &other).unwrap();
    let modified = fs::metadata(&kept).unwrap().modified().unwrap();
    let file = fs::File::options().write(true).open(&exe).unwrap();
    file.set_modified(modified).unwrap();
    let refused = json(&[]);
    assert_eq!(
        refused["sites"][0]["blame"]["function"],
        serde_json::Value::Null
    );
    let notes = refused["coverage"]["notes"].to_string();
    assert!(
        notes.contains("its content is not what was recorded"),
        "{notes}"
    );
    // The site is the same, whether its file is there or not.
    assert_eq!(refused["sites"][0]["id"], here["sites"][0]["id"]);

    // Under another name, the file that ran is known again.
    let named = json(&["--symbols", kept.to_str().unwrap()]);
    assert_eq!(named["sites"][0]["blame"], here["sites"][0]["blame"]);
}
