//! `report`: what recordings say.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::ValueHint;

use crate::blame::Blame;
use crate::commands::files::cannot_write;
use crate::commands::symbol_args::SymbolArgs;
use crate::model::window::Bound;
use crate::model::{LoadOptions, Window};
use crate::report::{self, Format, GroupBy, Look, ReportOptions, Suppressions};
use crate::{gc_log, read, relatives, units};

/// Sites shown unless asked otherwise.
const SITES: usize = 20;
/// Sites in a page: as many as keep it under 2 MB.
const HTML_SITES: usize = 5_000;

/// Which recordings, what of them, and how to write it down.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recordings of one process and those that it started
    #[arg(value_name = "REC", required = true, value_hint = ValueHint::FilePath)]
    pub recordings: Vec<PathBuf>,
    /// How to write it down
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Write to FILE instead of stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Show at most N sites, 0: all [default: 20; 5000 in HTML]
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Leave out what was before: a duration before the end (10m), a time (2026-01-31T12:00:00Z) or mark:LABEL
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Bound>,
    /// Leave out what was after; as --since
    #[arg(long, value_name = "WHEN")]
    pub until: Option<Bound>,
    /// List only sites whose oldest live block has at least this age, such as 5m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<u64>,
    /// List only sites with at least so many live bytes, such as 64k
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub min_bytes: Option<u64>,
    /// List single live blocks, the largest N of those written down, 0: all; only of the given size (--min-bytes) and age (--older-than) [default: 20]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "20")]
    pub blocks: Option<usize>,
    /// List what lies where in the address space
    #[arg(long)]
    pub areas: bool,
    /// Sites matched by FILE are no findings: LeakSanitizer's leak: lines, valgrind's .supp blocks; repeatable
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub suppressions: Vec<PathBuf>,
    /// Show V8's garbage collections beside: what node writes for trace-gc, or its file of V8 trace events (docs/runtimes.md); repeatable
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub gc_log: Vec<PathBuf>,
    /// Also show these sites
    #[arg(long, value_enum)]
    pub show: Vec<Show>,
    /// What to take together
    #[arg(long, value_enum, default_value_t)]
    pub group_by: GroupBy,
    /// Blame the first frame whose function, file or module matches; repeatable
    #[arg(long, value_name = "GLOB")]
    pub own: Vec<String>,
    /// Never blame frames whose function, file or module matches; repeatable
    #[arg(long, value_name = "GLOB")]
    pub skip: Vec<String>,
    /// Where symbols come from
    #[command(flatten)]
    pub symbols: SymbolArgs,
}

/// Sites that texts leave out unless asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Show {
    /// Sites whose blocks come and go
    Healthy,
}

/// Reads, judges, writes. Findings do not change the exit code.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let options = report_options(args)?;
    // Not dropped, here and at the end: to give millions of pieces back takes longer than to end.
    let family = ManuallyDrop::new(read::load(&args.recordings, &load_options(args))?);
    let mut report = ManuallyDrop::new(report::assemble(&family, &options));
    relatives::tell(&family, &mut report.extra);
    match &args.output {
        None => {
            let stdout = io::stdout();
            let look = terminal_look(&stdout);
            report::render(
                &report,
                &options,
                args.format,
                look,
                &mut BufWriter::new(stdout.lock()),
            )?;
        }
        Some(path) => {
            let cannot = || cannot_write(path);
            let mut file = BufWriter::new(File::create(path).with_context(cannot)?);
            report::render(&report, &options, args.format, file_look(), &mut file)
                .with_context(cannot)?;
            file.flush().with_context(cannot)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn load_options(args: &Args) -> LoadOptions {
    LoadOptions {
        window: Window {
            since: args.since.clone(),
            until: args.until.clone(),
        },
        symbols: args.symbols.options(),
        blame: Blame {
            own: args.own.clone(),
            skip: args.skip.clone(),
        },
    }
}

fn report_options(args: &Args) -> anyhow::Result<ReportOptions> {
    let draws = args.format == Format::Html;
    Ok(ReportOptions {
        top: args.top.unwrap_or(if draws { HTML_SITES } else { SITES }),
        few_if_short: args.top.is_none(),
        older_than_ms: args.older_than,
        min_bytes: args.min_bytes.unwrap_or(0),
        suppressions: suppressions(&args.suppressions)?,
        show_healthy: draws || args.format == Format::Json || args.show.contains(&Show::Healthy),
        group_by: args.group_by,
        now_unix_s: unix_s(),
        gc_log: gc_log(&args.gc_log)?,
        no_source: args.symbols.options().no_source,
        blocks: args.blocks,
        areas: args.areas,
        curves: draws,
    })
}

/// The collections in some logs; `None` without a log.
fn gc_log(files: &[PathBuf]) -> anyhow::Result<Option<Vec<gc_log::Collection>>> {
    let mut all = Vec::new();
    for path in files {
        all.extend(gc_log::read(path)?);
    }
    Ok((!files.is_empty()).then_some(all))
}

/// The suppressions of some files.
pub fn suppressions(files: &[PathBuf]) -> anyhow::Result<Suppressions> {
    let mut suppressions = Suppressions::default();
    for path in files {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read suppressions from {}", path.display()))?;
        suppressions
            .add(&text)
            .with_context(|| path.display().to_string())?;
    }
    Ok(suppressions)
}

/// Now, Unix seconds.
pub fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Colours and widths for a stream that may be a terminal.
pub fn terminal_look(stream: &impl AsRawAndTerminal) -> Look {
    if !stream.is_terminal() {
        return file_look();
    }
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Look {
        colour: !dumb && !no_colour,
        width: Some(columns(stream.as_raw_fd())),
        unicode: unicode(),
    }
}

/// For pipes and files: no colours, nothing cut.
pub fn file_look() -> Look {
    Look {
        colour: false,
        width: None,
        unicode: unicode(),
    }
}

/// What both stdout and stderr are.
pub trait AsRawAndTerminal: IsTerminal + std::os::fd::AsRawFd {}
impl<T: IsTerminal + std::os::fd::AsRawFd> AsRawAndTerminal for T {}

/// Columns of the terminal; `COLUMNS` wins, 80 if it cannot be told.
fn columns(fd: std::os::fd::RawFd) -> usize {
    const LEAST: usize = 40;
    if let Some(columns) = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse::<usize>().ok())
        .filter(|columns| *columns > 0)
    {
        return columns.max(LEAST);
    }
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one `winsize` to the address given, which is that of a live local.
    let known = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) } == 0 && size.ws_col > 0;
    if known {
        usize::from(size.ws_col).max(LEAST)
    } else {
        80
    }
}

/// True if the locale writes UTF-8.
fn unicode() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL")
        .or_else(|| set("LC_CTYPE"))
        .or_else(|| set("LANG"))
        .unwrap_or_default()
        .to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Parses a duration.
pub fn duration(text: &str) -> Result<u64, String> {
    units::duration_ms(text)
        .ok_or_else(|| "allowed is a number with ms, s, m, h or d, such as 90s".to_owned())
}

/// Parses a size.
pub fn size(text: &str) -> Result<u64, String> {
    units::size_bytes(text)
        .ok_or_else(|| "allowed is a number, also with k, m or g (1024), such as 64k".to_owned())
}
