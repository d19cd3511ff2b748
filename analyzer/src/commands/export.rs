//! `export`: recordings in the formats of other people's tools.

use std::io::{self, BufWriter, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::ValueHint;

use crate::blame::Blame;
use crate::commands::files::{cannot_write, not_to_a_terminal};
use crate::commands::report::{suppressions, unix_s};
use crate::commands::symbol_args::SymbolArgs;
use crate::exit::OrCode;
use crate::export::{self, Format, Measure, listen};
use crate::model::window::Bound;
use crate::model::{LoadOptions, Window};
use crate::read;
use crate::report::{self, Report, ReportOptions};

/// Which recordings, and for which tool.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Files appear whole: they are written beside and renamed.\n\
        Exit codes: 0 done; 1 it cannot be written; 2 wrong usage or an unreadable recording."
)]
pub struct Args {
    /// Recordings of one process and those that it started
    #[arg(value_name = "REC", required = true, value_hint = ValueHint::FilePath)]
    recordings: Vec<PathBuf>,
    /// For which tool
    #[arg(long, value_enum, required_unless_present = "listen")]
    format: Option<Format>,
    /// Write to FILE instead of stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "listen")]
    output: Option<PathBuf>,
    /// What folded stacks and the flame graph add up
    #[arg(long, value_enum, default_value_t)]
    measure: Measure,
    /// Serve OpenMetrics at http://ADDRESS/metrics until interrupted, such as 127.0.0.1:9477
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Leave out what was before: a duration before the end (10m), a time (2026-01-31T12:00:00Z) or mark:LABEL
    #[arg(long, value_name = "WHEN")]
    since: Option<Bound>,
    /// Leave out what was after; as --since
    #[arg(long, value_name = "WHEN")]
    until: Option<Bound>,
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

/// Exit code when the file or stdout cannot be written.
const CANNOT_WRITE: u8 = 1;

/// Writes once, or serves.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(address) = &args.listen {
        if args
            .format
            .is_some_and(|format| format != Format::Openmetrics)
        {
            bail!("--listen serves openmetrics only");
        }
        return serve(args, address);
    }
    let Some(format) = args.format else {
        bail!("--format is missing");
    };
    if format == Format::Pprof && args.output.is_none() {
        not_to_a_terminal("a pprof profile")?;
    }
    let report = load(args)?;
    match &args.output {
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            let written = export::write(&report, format, args.measure, &mut out);
            written
                .and_then(|()| Ok(out.flush()?))
                .or_code(CANNOT_WRITE)?;
        }
        Some(path) => write_whole(path, |out| {
            export::write(&report, format, args.measure, out)
        })
        .with_context(|| cannot_write(path))
        .or_code(CANNOT_WRITE)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn load(args: &Args) -> anyhow::Result<Report> {
    let load = LoadOptions {
        window: Window {
            since: args.since.clone(),
            until: args.until.clone(),
        },
        symbols: args.symbols.options(),
        blame: Blame {
            own: args.own.clone(),
            skip: args.skip.clone(),
        },
    };
    let options = ReportOptions {
        top: 0,
        suppressions: suppressions(&args.suppressions)?,
        show_healthy: true,
        now_unix_s: unix_s(),
        no_source: true,
        ..ReportOptions::default()
    };
    let family = read::load(&args.recordings, &load)?;
    let mut report = report::assemble(&family, &options);
    // What people look at; data keep the files.
    if matches!(
        args.format,
        Some(Format::Folded | Format::Flamegraph | Format::Firefox)
    ) {
        report::call_as_started(&mut report);
    }
    Ok(report)
}

/// Writes a file that appears under its name only when it is complete.
fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // A device or a pipe has no name to be given to something else.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        return write(&mut file);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let written = (|| {
        let mut file = BufWriter::new(std::fs::File::create(&beside)?);
        write(&mut file)?;
        file.flush()?;
        std::fs::rename(&beside, path)?;
        Ok(())
    })();
    if written.is_err() {
        // The error to tell is the one before.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn serve(args: &Args, address: &str) -> anyhow::Result<ExitCode> {
    // A recording that cannot be read is told now, not with the first request.
    let mut report = load(args)?;
    let mut seen = stamps(&args.recordings);
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address}: give a free ADDRESS:PORT"))?;
    let local = listener.local_addr()?;
    eprintln!("leaktrack: serving http://{local}/metrics");
    listen::serve(&listener, |dialect| {
        let now = stamps(&args.recordings);
        if now != seen {
            report = load(args).map_err(|error| format!("{error:#}"))?;
            seen = now;
        }
        let mut out = Vec::new();
        let written = export::write_metrics(&report, dialect, &mut out);
        written.map(|()| out).map_err(|error| error.to_string())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What changes when a recording does: a scrape of one that did not change costs nothing.
fn stamps(recordings: &[PathBuf]) -> Vec<Option<(u64, SystemTime)>> {
    let stamp = |path: &PathBuf| {
        let metadata = path.metadata().ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    recordings.iter().map(stamp).collect()
}
