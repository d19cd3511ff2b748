//! `diff`: what changed from one run to another.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueHint;

use crate::blame::Blame;
use crate::commands::report::{file_look, size, terminal_look, unix_s};
use crate::commands::symbol_args::SymbolArgs;
use crate::diff::{self, Diff, DiffOptions};
use crate::model::{LoadOptions, Window};
use crate::report::{self, Report, ReportOptions};
use crate::{read, relatives};

/// Which runs, and how to write down what changed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Sites are the same if their addresses are (same build), else if their functions and files are, \
        else if a renamed function is all that differs and nothing else could be meant.\n\
        Exit codes: 0 compared, whatever changed; 2 wrong usage or an unreadable recording."
)]
pub struct Args {
    /// Recording of the first run, or a folder with those of one family
    #[arg(value_name = "OLD", value_hint = ValueHint::AnyPath)]
    old: PathBuf,
    /// Recording of the second run, or a folder
    #[arg(value_name = "NEW", value_hint = ValueHint::AnyPath)]
    new: PathBuf,
    /// How to write it down
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write to FILE instead of stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Show at most N sites, 0: all
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Only sites that hold so much in one of the runs, such as 64k
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0")]
    min_bytes: u64,
    /// Also show these sites
    #[arg(long, value_enum)]
    show: Option<Show>,
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

/// How a comparison is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// Schema leaktrack.diff/1.
    Json,
}

/// Sites that are left out unless asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Show {
    /// Sites that did not change
    Same,
}

/// Reads both, compares, writes.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut old, mut new) = (args.report(&args.old)?, args.report(&args.new)?);
    if args.format == Format::Text {
        report::call_as_started(&mut old);
        report::call_as_started(&mut new);
    }
    let options = DiffOptions {
        top: args.top,
        min_bytes: args.min_bytes,
        show_same: args.show == Some(Show::Same),
    };
    let diff = diff::compare(&old, &new, options);
    match &args.output {
        None => {
            let stdout = io::stdout();
            let look = terminal_look(&stdout);
            args.write(&diff, look, &mut BufWriter::new(stdout.lock()))?;
        }
        Some(path) => {
            let cannot = || format!("cannot write {}", path.display());
            let mut file = BufWriter::new(File::create(path).with_context(cannot)?);
            args.write(&diff, file_look(), &mut file)
                .and_then(|()| Ok(file.flush()?))
                .with_context(cannot)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// The report on one run, with all its sites.
    fn report(&self, path: &Path) -> anyhow::Result<Report> {
        let load = LoadOptions {
            window: Window::default(),
            symbols: self.symbols.options(),
            blame: Blame {
                own: self.own.clone(),
                skip: self.skip.clone(),
            },
        };
        let recordings = match path.is_dir() {
            true => relatives::recordings_in(path),
            false => vec![path.to_owned()],
        };
        if recordings.is_empty() {
            anyhow::bail!("{}: there is no recording in it", path.display());
        }
        let family = read::load(&recordings, &load)?;
        let options = ReportOptions {
            top: 0,
            show_healthy: true,
            no_source: true,
            now_unix_s: unix_s(),
            ..ReportOptions::default()
        };
        Ok(report::assemble(&family, &options))
    }

    fn write(&self, diff: &Diff, look: report::Look, out: &mut dyn Write) -> anyhow::Result<()> {
        match self.format {
            Format::Text => diff::write_text(diff, look, out)?,
            Format::Json => diff::write_json(diff, out)?,
        }
        out.flush()?;
        Ok(())
    }
}
