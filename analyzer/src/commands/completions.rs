//! `completions`: scripts that teach a shell this command line.

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::Cli;

/// For which shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Shell to write for
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "leaktrack", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
