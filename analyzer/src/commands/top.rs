//! `top`: tracked processes while they run.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueHint;

use crate::blame::Blame;
use crate::commands::report::{suppressions, terminal_look, unix_s};
use crate::commands::symbol_args::SymbolArgs;
use crate::host::control;
use crate::model::{LoadOptions, Window};
use crate::report::ReportOptions;
use crate::top::{self, Loader, Options, Sort, Subject};
use crate::units;

/// Which processes, and how to show them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Keys: arrows and Enter choose and open, Esc goes back, / filters, g l b R a f n sort, m marks, s takes\n\
        a snapshot, S looks for lost blocks, ? tells the rest, q ends.\n\
        In a pipe or a terminal that cannot be drawn on it writes one block of text after the other.\n\
        Exit codes: 0 done; 2 wrong usage or an unreadable recording; 128+n ended by signal n."
)]
pub struct Args {
    /// Processes of this host or recordings; all tracked processes if none is given
    #[arg(value_name = "PID|REC", value_hint = ValueHint::FilePath)]
    targets: Vec<OsString>,
    /// How often to look
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "1s")]
    interval: Duration,
    /// First order of call sites
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// Show only call sites with these words in their functions, files, modules, threads or verdict; a word with a slash is looked for in whole paths
    #[arg(long, value_name = "WORDS")]
    filter: Option<String>,
    /// Write one block of text after the other, as in a pipe
    #[arg(long)]
    plain: bool,
    /// End after N blocks of text; only with --plain or in a pipe
    #[arg(long, value_name = "N", default_value_t = 0)]
    count: u64,
    /// Sites matched by FILE are no findings; repeatable
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    suppressions: Vec<PathBuf>,
    /// Blame the first frame whose function, file or module matches; repeatable
    #[arg(long, value_name = "GLOB")]
    own: Vec<String>,
    /// Never blame frames whose function, file or module matches; repeatable
    #[arg(long, value_name = "GLOB")]
    skip: Vec<String>,
    /// Where symbols come from
    #[command(flatten)]
    symbols: SymbolArgs,
}

/// Shows until told to end.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let load = LoadOptions {
        window: Window::default(),
        symbols: args.symbols.options(),
        blame: Blame {
            own: args.own.clone(),
            skip: args.skip.clone(),
        },
    };
    let report = ReportOptions {
        suppressions: suppressions(&args.suppressions)?,
        now_unix_s: unix_s(),
        no_source: args.symbols.options().no_source,
        ..ReportOptions::default()
    };
    let subject = match args.targets.as_slice() {
        [] => Subject::Everything,
        targets => Subject::Recordings(
            targets
                .iter()
                .map(|target| recording(target, &load))
                .collect::<anyhow::Result<_>>()?,
        ),
    };
    let look = terminal_look(&stdout());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    let can_draw = stdout().is_terminal() && stdin().is_terminal() && !is_dumb;
    let options = Options {
        interval: args.interval,
        plain: args.plain || !can_draw,
        count: args.count,
        colour: look.colour,
        unicode: look.unicode,
        sort: args.sort,
    };
    top::run(
        Loader::new(subject, load, report),
        options,
        args.filter.clone().unwrap_or_default(),
    )
}

/// The recording that is meant, and the process that writes it, 0 if there is none.
fn recording(target: &OsStr, load: &LoadOptions) -> anyhow::Result<(PathBuf, u32)> {
    let path = Path::new(target);
    match control::find(target) {
        Ok(found) => Ok((found.recording, found.process.pid)),
        Err(error) if !path.exists() => Err(error.into()),
        // Of the past, or of somewhere else: it can be looked at if it can be read.
        Err(_) => {
            crate::read::process(path, load)?;
            Ok((path.to_owned(), 0))
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    units::duration_ms(text)
        .filter(|&ms| ms >= 100)
        .map(Duration::from_millis)
        .ok_or_else(|| "allowed is a time from 100ms, such as 2s".to_owned())
}
