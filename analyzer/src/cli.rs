//! Owns the command line: what may be written there, and which command it means.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::{
    self, bundle, check, completions, control, demo, diff, doctor, export, install, list, man,
    report, run, scan, top,
};
use crate::exit;
use crate::supervise::Inherited;

/// Finds what leaks in a running server: records every allocation with its call stack, and says
/// which call sites lose or hoard memory.
#[derive(Debug, Parser)]
#[command(
    name = "leaktrack",
    version,
    arg_required_else_help = true,
    after_help = "`leaktrack FILE` is short for `leaktrack report FILE`.\n\
        Exit codes: 0 done, also with findings; 2 wrong usage or an unreadable recording; \
        `check` and `run` have codes of their own."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands, in the order of --help.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record the built-in leaking example server for some seconds and print its report
    Demo(demo::Args),
    /// Run a command with the library preloaded
    Run(run::Args),
    /// Say what recordings say: what leaks, what grows, what stays
    Report(Box<report::Args>),
    /// Watch tracked processes in the terminal while they run
    Top(Box<top::Args>),
    /// Compare two runs: what grew, shrank, appeared and went away
    Diff(diff::Args),
    /// Fail a build that leaks: a gate for continuous integration
    Check(Box<check::Args>),
    /// Write recordings for other tools: pprof, flame graphs, Firefox Profiler, CSV, Prometheus
    Export(Box<export::Args>),
    /// Print the JSON Schema of the report
    Schema,
    /// Put the symbols into a recording, so that it can be read on any machine
    Bundle(bundle::Args),
    /// Have a running process record new blocks (again): one started with mode=dormant, or disabled
    Enable(control::Args),
    /// Have a running process record no new blocks; frees of those it knows are still followed
    Disable(control::Args),
    /// Have a running process take a snapshot now
    Snapshot(control::Args),
    /// Say which blocks of a running process nothing points to any more, without stopping it
    Scan(scan::Args),
    /// Mark this moment in the recording of a running process, for --since and --until
    Mark(control::MarkArgs),
    /// List the tracked processes of this host, and those that have the library but do not record
    List(list::Args),
    /// Say what can and cannot be measured here, and why, with the remedy
    Doctor(doctor::Args),
    /// Copy this executable and the library into a folder
    Install(install::Args),
    /// Unpack the library if need be and print its path
    LibPath,
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the manual page, or write all of them into a folder
    Man(man::Args),
    /// The server of `demo`, in the process that is recorded
    #[command(name = demo::SERVER, hide = true)]
    DemoServer(demo::ServerArgs),
}

impl Command {
    /// Does what was asked.
    pub fn execute(self, inherited: Inherited) -> anyhow::Result<ExitCode> {
        match self {
            Command::Demo(args) => commands::demo::execute(args, &inherited),
            Command::Run(args) => commands::run::execute(args, &inherited),
            Command::Report(args) => commands::report::execute(&args),
            Command::Top(args) => commands::top::execute(&args),
            Command::Diff(args) => commands::diff::execute(&args),
            Command::Check(args) => commands::check::execute(&args),
            Command::Export(args) => commands::export::execute(&args),
            Command::Schema => commands::schema::execute(),
            Command::Bundle(args) => commands::bundle::execute(&args),
            Command::Enable(args) => commands::control::enable(&args),
            Command::Disable(args) => commands::control::disable(&args),
            Command::Snapshot(args) => commands::control::snapshot(&args),
            Command::Scan(args) => commands::scan::execute(&args),
            Command::Mark(args) => commands::control::mark(&args),
            Command::List(args) => commands::list::execute(&args),
            Command::Doctor(args) => commands::doctor::execute(&args),
            Command::Install(args) => commands::install::execute(&args),
            Command::LibPath => commands::lib_path::execute(),
            Command::Completions(args) => commands::completions::execute(&args),
            Command::Man(args) => commands::man::execute(&args),
            Command::DemoServer(args) => Ok(commands::demo::serve(&args)),
        }
    }
}

/// A command line that means no command: wrong usage, or a call for help.
pub struct Usage {
    error: clap::Error,
    code: u8,
}

impl Usage {
    /// Prints help to stdout or the error to stderr.
    pub fn show(self) -> ExitCode {
        let printed = self.error.print();
        if self.error.use_stderr() {
            return ExitCode::from(self.code);
        }
        // A reader that is gone needs no help, which is what the report of a broken pipe comes to.
        exit::report(printed.map(|()| ExitCode::SUCCESS).map_err(Into::into))
    }
}

/// Parses a command line, program name first.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, Usage> {
    let arguments = with_report(arguments.collect());
    let is_run = arguments.get(1).is_some_and(|command| command == "run");
    let code = if is_run {
        exit::RUN_FAILED
    } else {
        exit::USAGE
    };
    match Cli::try_parse_from(arguments) {
        Ok(cli) => Ok(cli.command),
        Err(error) => Err(Usage { error, code }),
    }
}

/// `leaktrack REC` means `leaktrack report REC`.
fn with_report(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let is_recording = |argument: &OsStr| {
        Cli::command().find_subcommand(argument).is_none()
            && (Path::new(argument).extension() == Some(OsStr::new("ltk"))
                || Path::new(argument).exists())
    };
    if arguments
        .get(1)
        .is_some_and(|argument| is_recording(argument))
    {
        arguments.insert(1, "report".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_recording_alone_means_report() {
        let words = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            with_report(words(&["leaktrack", "x.ltk"])),
            words(&["leaktrack", "report", "x.ltk"])
        );
        assert_eq!(
            with_report(words(&["leaktrack", "run"])),
            words(&["leaktrack", "run"])
        );
        assert_eq!(
            with_report(words(&["leaktrack", "--help"])),
            words(&["leaktrack", "--help"])
        );
        assert_eq!(
            with_report(words(&["leaktrack", "/dev/null"])),
            words(&["leaktrack", "report", "/dev/null"])
        );
    }
}
