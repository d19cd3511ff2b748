//! Owns one program with its arguments and surroundings, and its runs with and without leaktrack. Every run has a folder, a
//! time limit and a mark of its own; it never leaves a process behind.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::leftovers::{self, MARK};
use super::outcome::Outcome;
use super::product::product;
use super::report::Report;
use super::tools::DEBIAN_PATH;

/// What is waited for, in words, and what the report says once it is there.
pub type Step<'a> = (&'a str, &'a dyn Fn(&Report) -> bool);

/// Generous: a machine that is busy with other things must not fail a test.
const DEFAULT_LIMIT: Duration = Duration::from_secs(240);

/// A program to run, with and without leaktrack.
#[derive(Debug, Clone)]
pub struct Case {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    files: Vec<(String, Vec<u8>)>,
    options: Vec<String>,
    output: Option<String>,
    library: Option<PathBuf>,
    behind: Vec<PathBuf>,
    input: Vec<u8>,
    limit: Duration,
    compare_stderr: bool,
    scratch: Arc<TempDir>,
}

/// A run under leaktrack.
#[derive(Debug)]
pub struct Tracked {
    /// What the program gave.
    pub outcome: Outcome,
    /// Its recordings, by name.
    pub recordings: Vec<PathBuf>,
    /// The folder in which it ran.
    pub folder: PathBuf,
    /// The environment in which it was started.
    pub environment: Vec<(String, String)>,
    _scratch: Arc<TempDir>,
}

/// A program that was run both ways and behaved the same.
pub type Checked = Tracked;

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    mark: String,
    folder: PathBuf,
    recordings: PathBuf,
    limit: Duration,
    environment: Vec<(String, String)>,
    scratch: Arc<TempDir>,
}

impl Case {
    /// A case that runs `program` with no arguments.
    pub fn new(program: impl AsRef<Path>) -> Case {
        let scratch = tempfile::Builder::new()
            .prefix("leaktrack-test-")
            .tempdir()
            .expect("a temporary folder");
        open_to_all(scratch.path());
        Case {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
            options: Vec::new(),
            output: None,
            library: None,
            behind: Vec::new(),
            input: Vec::new(),
            limit: DEFAULT_LIMIT,
            compare_stderr: true,
            scratch: Arc::new(scratch),
        }
    }

    /// A case for a program of `tests/programs`, built with the flags it asks for.
    pub fn of(source: &str) -> Case {
        Case::new(super::compile::program(source))
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Case {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Case {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds an environment variable to both runs.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Case {
        self.env.push((key.into(), value.as_ref().to_owned()));
        self
    }

    /// Puts a file into the folder of both runs.
    pub fn file(mut self, name: &str, contents: impl Into<Vec<u8>>) -> Case {
        self.files.push((name.to_owned(), contents.into()));
        self
    }

    /// Adds one `key=value` to `LEAKTRACK`.
    pub fn option(mut self, option: &str) -> Case {
        self.options.push(option.to_owned());
        self
    }

    /// Replaces the recording's path (`%` patterns allowed; empty: leave the library's default).
    pub fn output(mut self, path: &str) -> Case {
        self.output = Some(path.to_owned());
        self
    }

    /// Preloads another library in both runs; leaktrack comes before it.
    pub fn behind(mut self, library: impl AsRef<Path>) -> Case {
        self.behind.push(library.as_ref().to_owned());
        self
    }

    /// Preloads leaktrack's library under another path.
    pub fn preload_as(mut self, library: PathBuf) -> Case {
        self.library = Some(library);
        self
    }

    /// What the program reads on standard input.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Case {
        self.input = input.into();
        self
    }

    /// A time limit other than four minutes.
    pub fn limit(mut self, seconds: u64) -> Case {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Does not compare standard error: it differs between two runs without leaktrack, too.
    pub fn any_stderr(mut self) -> Case {
        self.compare_stderr = false;
        self
    }

    /// The case's own folder; it lives as long as the case and its runs.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Runs the program as it is.
    pub fn native(&self) -> Outcome {
        self.start(
            self.command(&self.program, self.preload(false), |_| ()),
            "native",
        )
        .finish()
        .outcome
    }

    /// Runs the program under `LD_PRELOAD`.
    pub fn tracked(&self) -> Tracked {
        self.start_tracked().finish()
    }

    /// Starts the program under `LD_PRELOAD`.
    pub fn start_tracked(&self) -> Running {
        let mut command = self.command(&self.program, self.preload(true), |_| ());
        let name = format!("tracked{}", unique());
        command.env("LEAKTRACK", self.library_options(&name));
        self.start(command, &name)
    }

    /// Runs the program by `leaktrack run FLAGS -- PROGRAM`.
    pub fn under_run(&self, flags: &[&str]) -> Tracked {
        self.start_under_run(flags).finish()
    }

    /// Starts the program by `leaktrack run FLAGS -- PROGRAM`.
    pub fn start_under_run(&self, flags: &[&str]) -> Running {
        let name = format!("run{}", unique());
        let mut command = self.command(&product().command, self.preload(false), |command| {
            command.arg("run").args(flags).arg("--").arg(&self.program);
        });
        command.env("LEAKTRACK", self.library_options(&name));
        self.start(command, &name)
    }

    /// Runs both ways and fails the test unless status and output are the same.
    #[track_caller]
    pub fn check(&self) -> Checked {
        let native = self.native();
        let tracked = self.tracked();
        self.expect_same(&native, &tracked.outcome);
        tracked
    }

    /// Runs both ways as [`Case::check`]. The program waits for files; under leaktrack each is there once the report is as
    /// wanted, however long the machine takes to get so far, and without it all are there from the start.
    #[track_caller]
    pub fn check_in_steps(&self, steps: &[Step<'_>]) -> Checked {
        let all = steps
            .iter()
            .fold(self.clone(), |case, (file, _)| case.file(file, ""));
        let native = all.native();
        let mut running = self.start_tracked();
        for (file, wanted) in steps {
            running.wait_for_report(&format!("what lets step {file} begin"), wanted);
            std::fs::write(running.folder().join(file), "").expect("a step");
        }
        let tracked = running.finish();
        self.expect_same(&native, &tracked.outcome);
        tracked
    }

    /// Fails the test unless both runs gave the same.
    #[track_caller]
    pub fn expect_same(&self, native: &Outcome, tracked: &Outcome) {
        let name = self.program.display();
        let same = native.status == tracked.status && native.stdout == tracked.stdout;
        assert!(
            same,
            "{name} behaves differently\n=== without leaktrack: {native}\n=== with leaktrack: {tracked}"
        );
        if self.compare_stderr {
            assert_eq!(
                native.errors(),
                tracked.errors(),
                "{name} says other things on stderr"
            );
        }
    }

    fn preload(&self, with_leaktrack: bool) -> OsString {
        let library = self.library.as_deref().unwrap_or(&product().library);
        let all = with_leaktrack
            .then_some(library)
            .into_iter()
            .chain(self.behind.iter().map(PathBuf::as_path));
        let all: Vec<&OsStr> = all.map(Path::as_os_str).collect();
        all.join(OsStr::new(":"))
    }

    fn library_options(&self, run: &str) -> String {
        let recordings = self.scratch.path().join(format!("{run}.recordings"));
        std::fs::create_dir_all(&recordings).expect("a folder for recordings");
        open_to_all(&recordings);
        let mut options = self.options.clone();
        match self.output.as_deref() {
            Some("") => {}
            Some(path) => options.push(format!(
                "output={}",
                path.replace("{recordings}", &recordings.to_string_lossy())
            )),
            None => options.push(format!("output={}/%e.%p.ltk", recordings.display())),
        }
        options.join(",")
    }

    fn command(
        &self,
        program: &Path,
        preload: OsString,
        before: impl FnOnce(&mut Command),
    ) -> Command {
        let mut command = Command::new(program);
        before(&mut command);
        command.args(&self.args).env_clear();
        command
            .env("PATH", DEBIAN_PATH)
            .env("LANG", "C.UTF-8")
            .env("HOME", self.scratch.path());
        if !preload.is_empty() {
            command.env("LD_PRELOAD", preload);
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }

    fn start(&self, mut command: Command, name: &str) -> Running {
        let folder = self.scratch.path().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for the run");
        open_to_all(&folder);
        for (file, contents) in &self.files {
            std::fs::write(folder.join(file), contents).expect("an input file");
        }
        let beside = |what: &str| self.scratch.path().join(format!("{name}.{what}"));
        std::fs::write(beside("stdin"), &self.input).expect("the input");
        let create = |what: &str| File::create(beside(what)).expect("an output file");
        let mark = format!("{}-{}", std::process::id(), unique());
        command
            .current_dir(&folder)
            .env(MARK, &mark)
            .stdin(Stdio::from(File::open(beside("stdin")).expect("the input")))
            .stdout(Stdio::from(create("stdout")))
            .stderr(Stdio::from(create("stderr")))
            .process_group(0);
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let environment = command
            .get_envs()
            .filter_map(|(key, value)| Some((text(key), text(value?))))
            .collect();
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let recordings = beside("recordings");
        Running {
            child,
            mark,
            folder,
            recordings,
            limit: self.limit,
            environment,
            scratch: Arc::clone(&self.scratch),
        }
    }
}

impl Running {
    /// Pid of the process that was started.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The folder in which it runs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The recordings so far, by name.
    pub fn recordings(&self) -> Vec<PathBuf> {
        files(&self.recordings)
    }

    /// The report of the whole family as it is, with memory accounted for now.
    #[track_caller]
    pub fn family_now(&self) -> Report {
        let recordings = self.recordings();
        for recording in &recordings {
            // Those of ended processes answer no more.
            let _ = Command::new(&product().command)
                .arg("snapshot")
                .arg(recording)
                .output();
        }
        let paths: Vec<&Path> = recordings.iter().map(PathBuf::as_path).collect();
        Report::read(&paths)
    }

    /// What it has written to standard output so far.
    pub fn stdout_so_far(&self) -> String {
        std::fs::read_to_string(self.folder.with_extension("stdout")).unwrap_or_default()
    }

    /// Sends a signal to the process that was started.
    pub fn signal(&self, signal: i32) {
        // SAFETY: plain kill(2) on a child that has not been waited for, so its pid cannot be another's.
        unsafe { libc::kill(self.pid(), signal) };
    }

    /// Polls until `wanted` holds; fails the test when the program ends before or the limit passes.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut wanted: impl FnMut(&Running) -> bool) {
        let deadline = Instant::now() + self.limit;
        while !wanted(self) {
            let ended = self.child.try_wait().expect("waiting for a child");
            assert!(
                ended.is_none(),
                "the program ended ({ended:?}) while waiting for: {what}"
            );
            assert!(Instant::now() < deadline, "in vain: {what}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until the only recording's report satisfies `wanted`.
    #[track_caller]
    pub fn wait_for_report(&mut self, what: &str, mut wanted: impl FnMut(&Report) -> bool) {
        self.wait_until(what, |running| match running.recordings().as_slice() {
            [one] => Report::try_read(&[one]).is_ok_and(|report| wanted(&report)),
            _ => false,
        });
    }

    /// Waits for the end of the program and of every process it left behind.
    #[track_caller]
    pub fn finish(mut self) -> Tracked {
        let deadline = Instant::now() + self.limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waiting for a child") {
                break status;
            }
            if Instant::now() >= deadline {
                let stacks = stacks_of(self.pid());
                // SAFETY: plain kill(2) on the process group that this run created.
                unsafe { libc::kill(-self.pid(), libc::SIGKILL) };
                let _ = self.child.wait();
                panic!("the program did not end within {:?}\n{stacks}", self.limit);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let left = leftovers::wait(
            &self.mark,
            deadline.saturating_duration_since(Instant::now()),
        );
        assert_eq!(
            left, 0,
            "processes were left behind and did not end within {:?}",
            self.limit
        );
        let read =
            |what: &str| std::fs::read(self.folder.with_extension(what)).expect("an output file");
        Tracked {
            outcome: Outcome {
                status,
                stdout: read("stdout"),
                stderr: read("stderr"),
            },
            recordings: files(&self.recordings),
            folder: self.folder.clone(),
            environment: std::mem::take(&mut self.environment),
            _scratch: Arc::clone(&self.scratch),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // SAFETY: plain kill(2) on a child that has not been waited for.
            unsafe { libc::kill(-self.pid(), libc::SIGKILL) };
            let _ = self.child.wait();
        }
        leftovers::wait(&self.mark, Duration::ZERO);
    }
}

impl Tracked {
    /// The report of the only recording.
    #[track_caller]
    pub fn report(&self) -> Report {
        match self.recordings.as_slice() {
            [one] => Report::read(&[one]),
            others => panic!(
                "one recording was expected, not {others:?}\n{}",
                self.outcome
            ),
        }
    }

    /// The reports of all recordings, each on its own.
    #[track_caller]
    pub fn reports(&self) -> Vec<Report> {
        self.recordings
            .iter()
            .filter_map(|recording| unless_empty(Report::try_read(&[recording])))
            .collect()
    }

    /// The report of all recordings together.
    #[track_caller]
    pub fn family(&self) -> Report {
        let recordings: Vec<&Path> = self.recordings.iter().map(PathBuf::as_path).collect();
        Report::read(&recordings)
    }

    /// The report of all recordings together as people read it.
    #[track_caller]
    pub fn text(&self) -> String {
        let output = Command::new(&product().command)
            .arg("report")
            .args(&self.recordings)
            .arg("--no-debuginfod")
            .output()
            .expect("leaktrack report can be started");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The most allocations that one recording counts. A report with all its sites may have a
    /// hundred megabytes; none is kept.
    #[track_caller]
    pub fn most_allocations(&self) -> u64 {
        self.recordings
            .iter()
            .filter_map(|recording| unless_empty(Report::read_top(&[recording], "1")))
            .map(|report| report.total("allocations"))
            .max()
            .unwrap_or(0)
    }
}

/// The report; none of a child that was killed while it created its recording.
#[track_caller]
fn unless_empty(read: Result<Report, String>) -> Option<Report> {
    match read {
        Err(error) if error.contains("nothing is recorded in it") => None,
        other => Some(other.unwrap_or_else(|error| panic!("{error}"))),
    }
}

/// A number that no other run in this test process has.
fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| {
            entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .collect()
        })
        .unwrap_or_default();
    files.sort();
    files
}

fn open_to_all(folder: &Path) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777))
        .expect("permissions of a folder");
}

/// Where a hung program stands, for the failure message.
fn stacks_of(pid: i32) -> String {
    let gdb = Command::new("gdb")
        .args([
            "-q",
            "-batch",
            "-ex",
            "thread apply all bt 40",
            "-p",
            &pid.to_string(),
        ])
        .output();
    gdb.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}
