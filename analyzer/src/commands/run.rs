//! `run`: a command with the library preloaded.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};

use crate::commands::files::cannot_write;
use crate::exit::{Failure, OrCode, RUN_FAILED};
use crate::library_options::{Environment, LibraryOptions};
use crate::model::LoadOptions;
use crate::output::{self, Names, Output};
use crate::report::{self, Format, ReportOptions};
use crate::supervise::{self, Inherited};
use crate::target::{self, Target};
use crate::{commands, library, read, say};

const EXIT_CODES: &str = "\
Without --report and --error-exitcode, CMD takes the place of leaktrack and keeps its process id.

Exit codes: those of CMD, 128+n if signal n ended it; N of --error-exitcode if there are findings;
125 if leaktrack failed or cannot track CMD, 126 if CMD cannot be executed, 127 if there is none.";

/// What to run and how.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// Wait for CMD and print the report to stderr, or to FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub report: Option<PathBuf>,
    /// Wait for CMD and exit with N if there are findings
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub error_exitcode: Option<u8>,
    /// Track Python's own objects too: sets PYTHONMALLOC=malloc, and from 3.12 PYTHONPERFSUPPORT=1
    #[arg(long)]
    pub python: bool,
    /// Options of the library.
    #[command(flatten)]
    pub library: LibraryOptions,
    /// Command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// Runs the command; returns only if it could not be started, or was waited for.
pub fn execute(args: Args, inherited: &Inherited) -> anyhow::Result<ExitCode> {
    let (name, rest) = args
        .command
        .split_first()
        .ok_or_else(|| anyhow!("no command given"))?;
    let target = target::inspect(name).map_err(refused)?;
    target.require_trackable().map_err(refused)?;
    for warning in target.warnings() {
        say!("{warning}");
    }
    let environment = Environment::own();
    for line in environment.misspelt() {
        say!("{line}");
    }
    let options = args.library.to_variable(environment.list());
    let environment = environment.with_list(&options);
    if let Some(bad) = environment.first_bad() {
        let error = anyhow!("bad option in {}: {}", bad.variable, bad.problem);
        return Err(error).or_code(RUN_FAILED);
    }
    if let Some(file) = &args.report {
        check_report(file).or_code(RUN_FAILED)?;
    }
    let library = library::path().or_code(RUN_FAILED)?;
    let place = Place::find(&environment, &target).or_code(RUN_FAILED)?;

    let mut command = Command::new(&target.path);
    command.arg0(name).args(rest);
    command.env(
        "LD_PRELOAD",
        preload(&library, std::env::var_os("LD_PRELOAD").as_deref()),
    );
    if !options.is_empty() {
        command.env("LEAKTRACK", options);
    }
    if args.python {
        prepare_python(&mut command, &target);
    }
    if args.report.is_some() || args.error_exitcode.is_some() {
        // The report is about the whole family: children too short for a snapshot leave theirs.
        command.env("LEAKTRACK_KEEP_SHORT", "1");
    }
    place.announce(&mut command);
    if args.report.is_none() && args.error_exitcode.is_none() {
        return Err(not_started(
            &target,
            supervise::exec(&mut command, inherited),
        ));
    }
    let waiting = Waiting {
        report: args.report,
        error_exitcode: args.error_exitcode,
        output: place.output,
        left_out: place.left_out,
    };
    waiting.run(&mut command, &target, inherited)
}

/// Fails if the report could not be written: better now than after a long run.
fn check_report(file: &Path) -> anyhow::Result<()> {
    let is_new = !file.exists();
    // Of a pipe nobody can tell before somebody reads it.
    if file.as_os_str() == "-" || !(is_new || file.is_file() || file.is_dir()) {
        return Ok(());
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .with_context(|| cannot_write(file))?;
    if is_new {
        std::fs::remove_file(file).with_context(|| cannot_write(file))?;
    }
    Ok(())
}

/// Where the command is recorded.
struct Place {
    program: PathBuf,
    output: Output,
    /// The option `only` leaves the command itself out.
    left_out: bool,
}

impl Place {
    /// Fails if the library could not make its recording.
    fn find(environment: &Environment, target: &Target) -> anyhow::Result<Self> {
        let names = Names::of(&target.program, std::process::id());
        let executable = target.program.canonicalize().unwrap_or_default();
        let place = Self {
            left_out: !environment.records(&executable, &names.name),
            program: target.program.clone(),
            output: Output::of(environment),
        };
        place
            .output
            .path(&names)
            .map_err(|unwritable| anyhow!("{unwritable}; name another place with -o PATH"))?;
        if place.left_out {
            say!(
                "the option `only` leaves out {}: nothing but those that it starts and that match is recorded",
                String::from_utf8_lossy(&names.name)
            );
        }
        Ok(place)
    }

    /// Makes the command's process, just before it becomes the command, say where it is recorded.
    fn announce(&self, command: &mut Command) {
        if self.left_out {
            return;
        }
        let (program, output) = (self.program.clone(), self.output.clone());
        let say_where = move || {
            wait_for_clear_second();
            if let Ok(path) = output.path(&Names::of(&program, std::process::id())) {
                say!("recording to {}", path.display());
            }
            Ok(())
        };
        // SAFETY: this process has a single thread, so its forked copy may allocate and take locks.
        unsafe { command.pre_exec(say_where) };
    }
}

/// The start time in a recording's name has whole seconds: at the end of one, waits for the next,
/// so that the name that is told is the one that will be.
fn wait_for_clear_second() {
    const NEEDED: Duration = Duration::from_millis(30);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let left =
        Duration::from_secs(1).saturating_sub(Duration::from_nanos(now.subsec_nanos().into()));
    if left < NEEDED {
        std::thread::sleep(left);
    }
}

/// What to do when the command has ended.
struct Waiting {
    report: Option<PathBuf>,
    error_exitcode: Option<u8>,
    output: Output,
    /// The option `only` leaves the command itself out.
    left_out: bool,
}

impl Waiting {
    fn run(
        self,
        command: &mut Command,
        target: &Target,
        inherited: &Inherited,
    ) -> anyhow::Result<ExitCode> {
        let since_unix_ns = unix_ns();
        let mut names = Names::of(&target.program, 0);
        let ended = supervise::run(command, inherited, |pid| names.pid = pid)
            .map_err(|error| not_started(target, error))?;
        let recordings = output::recordings_of(&self.output, &names, since_unix_ns);
        let findings = self.report(&recordings).or_code(RUN_FAILED)?;
        Ok(ExitCode::from(match self.error_exitcode {
            Some(code) if findings > 0 => code,
            _ => supervise::exit_code(ended),
        }))
    }

    /// Writes the report if it was asked for; returns the number of findings.
    fn report(&self, recordings: &[PathBuf]) -> anyhow::Result<u64> {
        if recordings.is_empty() && self.left_out {
            bail!("nothing was recorded: nothing that it started matches `only` either");
        }
        if recordings.is_empty() {
            bail!(
                "nothing was recorded: the command ended too early, or the library could not start in it; \
                 `leaktrack doctor CMD` may tell why"
            );
        }
        let family = read::load(recordings, &LoadOptions::default())?;
        let options = ReportOptions {
            now_unix_s: unix_ns() / 1_000_000_000,
            ..ReportOptions::default()
        };
        let made = report::assemble(&family, &options);
        match &self.report {
            None => {}
            Some(file) if file.as_os_str() == "-" => {
                let stderr = io::stderr();
                let look = commands::report::terminal_look(&stderr);
                report::render(&made, &options, Format::Text, look, &mut stderr.lock())?;
            }
            Some(file) => {
                let mut text = Vec::new();
                report::render(
                    &made,
                    &options,
                    Format::Text,
                    commands::report::file_look(),
                    &mut text,
                )?;
                std::fs::write(file, text).with_context(|| cannot_write(file))?;
            }
        }
        Ok(made.finding_count)
    }
}

fn unix_ns() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn refused(refusal: target::Refusal) -> anyhow::Error {
    Failure {
        code: refusal.exit_code(),
        error: refusal.into(),
    }
    .into()
}

fn not_started(target: &Target, error: std::io::Error) -> anyhow::Error {
    let code = if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    Failure {
        code,
        error: anyhow!("cannot run {}: {error}", target.path.display()),
    }
    .into()
}

/// `LD_PRELOAD` with the library first; other libraries keep their order, another copy of ours
/// goes.
fn preload(library: &Path, inherited: Option<&OsStr>) -> OsString {
    let mut value = library.as_os_str().as_bytes().to_vec();
    let others = inherited.map(OsStr::as_bytes).unwrap_or_default();
    for other in others
        .split(|byte| b": ".contains(byte))
        .filter(|other| !other.is_empty())
    {
        if Path::new(OsStr::from_bytes(other)).file_name() != Some(OsStr::new(library::FILE_NAME)) {
            value.push(b':');
            value.extend_from_slice(other);
        }
    }
    OsString::from_vec(value)
}

/// Python has an allocator of its own for small objects, which hides them.
fn prepare_python(command: &mut Command, target: &Target) {
    command.env("PYTHONMALLOC", "malloc");
    // Behind a wrapper the version is not known: older ones do not look at it.
    if python_minor(&target.program).is_none_or(|minor| minor >= 12) {
        command.env("PYTHONPERFSUPPORT", "1");
        say!("set PYTHONMALLOC=malloc and PYTHONPERFSUPPORT=1");
    } else {
        say!("set PYTHONMALLOC=malloc");
    }
}

/// 11 for a program whose real name is `python3.11`.
fn python_minor(program: &Path) -> Option<u32> {
    let real = program.canonicalize().ok()?;
    let version = real.file_name()?.to_str()?.strip_prefix("python3.")?;
    version
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_comes_first_and_others_stay() {
        let library = Path::new("/opt/lt/libleaktrack.so");
        for (inherited, expected) in [
            (None, "/opt/lt/libleaktrack.so"),
            (Some(""), "/opt/lt/libleaktrack.so"),
            (Some("/a.so:/b.so"), "/opt/lt/libleaktrack.so:/a.so:/b.so"),
            (
                Some("/a.so /old/libleaktrack.so :/b.so"),
                "/opt/lt/libleaktrack.so:/a.so:/b.so",
            ),
        ] {
            assert_eq!(preload(library, inherited.map(OsStr::new)), expected);
        }
    }
}
