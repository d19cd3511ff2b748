//! `demo`: records the built-in leaking server, as a user would record theirs.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::commands::run;
use crate::supervise::Inherited;

/// Name of the hidden command that is the server.
pub const SERVER: &str = "demo-server";

/// Snapshots are taken more often than by default: a short run must be enough to judge trends.
const INTERVAL: &str = "200ms";

/// How long.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds of load
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
}

/// What the server is told.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// The server itself, in the process that is recorded.
pub fn serve(args: &ServerArgs) -> ExitCode {
    let status = leaktrack_examples::demo_server::main(&args.options);
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}

/// `leaktrack run --report -- leaktrack demo-server --seconds S`.
pub fn execute(args: Args, inherited: &Inherited) -> anyhow::Result<ExitCode> {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: run::Args,
    }
    let own = std::env::current_exe().context("cannot find this executable")?;
    let seconds = args.seconds.to_string();
    let words = ["run", "--report", "--interval", INTERVAL, "--"].map(Into::into);
    let server = [
        own.into_os_string(),
        SERVER.into(),
        "--seconds".into(),
        seconds.into(),
    ];
    let line = Line::try_parse_from(words.into_iter().chain(server))?;
    run::execute(line.run, inherited)
}
