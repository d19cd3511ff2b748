//! Owns how the command ends: exit codes, and the one line that tells what went wrong.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Usage or an unreadable recording.
pub const USAGE: u8 = 2;
/// A failure of `run` itself; as env(1) and timeout(1) have it.
pub const RUN_FAILED: u8 = 125;

/// An error with an exit code of its own.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What happened, where, and what to do.
    pub error: anyhow::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for Failure {}

/// Gives errors an exit code.
pub trait OrCode<T> {
    /// Fails with `code`.
    fn or_code(self, code: u8) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrCode<T> for Result<T, E> {
    fn or_code(self, code: u8) -> anyhow::Result<T> {
        self.map_err(|error| {
            Failure {
                code,
                error: error.into(),
            }
            .into()
        })
    }
}

/// Turns the outcome of a command into its exit status; says what went wrong on stderr.
pub fn report(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS; // `leaktrack report … | head` has seen enough
    }
    let error = match is_about_stdout(&error) {
        true => error.context("cannot write to stdout"),
        false => error,
    };
    // Nobody is left to be told when stderr itself cannot be written.
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("leaktrack: {error:#}\n"));
    let code = error
        .downcast_ref::<Failure>()
        .map_or(USAGE, |failure| failure.code);
    ExitCode::from(code)
}

/// An error of writing without a word about what was written is about stdout.
fn is_about_stdout(error: &anyhow::Error) -> bool {
    let error = cause(error);
    let kind = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::raw_os_error);
    let is_of_writing = matches!(
        kind,
        Some(libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::EFBIG)
    );
    is_of_writing && error.chain().count() == 1
}

/// What is told, without the exit code that goes with it.
fn cause(error: &anyhow::Error) -> &anyhow::Error {
    match error.downcast_ref::<Failure>() {
        Some(failure) => &failure.error,
        None => error,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = cause(error);
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// Turns a panic, which is always a fault of leaktrack, into one line without a backtrace.
pub fn hide_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(|at| format!(" at {}:{}", at.file(), at.line()));
        let _ = io::Write::write_fmt(
            &mut io::stderr(),
            format_args!(
                "leaktrack: internal error{}; please report it with the command that you ran\n",
                place.unwrap_or_default()
            ),
        );
        std::process::exit(i32::from(USAGE));
    }));
}
