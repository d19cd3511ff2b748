//! `run`: a command with the library preloaded.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::anyhow;

use crate::exit::{Failure, OrCode, RUN_FAILED};
use crate::library_options::LibraryOptions;
use crate::supervise::{self, Inherited};
use crate::target::{self, Target};
use crate::{library, say};

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
    #[arg(
        value_name = "CMD",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
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
    let library = library::path().or_code(RUN_FAILED)?;
    let mut command = Command::new(&target.path);
    command.arg0(name).args(rest);
    command.env(
        "LD_PRELOAD",
        preload(&library, std::env::var_os("LD_PRELOAD").as_deref()),
    );
    let options = args
        .library
        .to_variable(std::env::var_os("LEAKTRACK").as_deref());
    if !options.is_empty() {
        command.env("LEAKTRACK", options);
    }
    if args.python {
        prepare_python(&mut command, &target);
    }
    let error = supervise::exec(&mut command, inherited);
    Err(not_started(&target, error))
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
    if python_minor(&target.program).is_some_and(|minor| minor >= 12) {
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
