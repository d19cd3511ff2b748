//! `check`: a gate for continuous integration.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueHint;

use crate::blame::Blame;
use crate::check::{self, Baseline, CheckOptions, Format, Outcome};
use crate::commands::report::{file_look, size, suppressions, terminal_look, unix_s};
use crate::commands::symbol_args::SymbolArgs;
use crate::model::process::DecodeError;
use crate::model::window::Bound;
use crate::model::{Family, LoadOptions, Window};
use crate::read::LoadError;
use crate::report::document::Generator;
use crate::report::{self, GroupBy, Look, Report, ReportOptions};
use crate::verdict::Verdict;
use crate::{read, relatives, units};

const EXIT_CODES: &str = "\
Exit codes: 0 clean; 1 findings; 2 wrong usage or an unreadable recording; 3 inconclusive: no findings, \
but the recording might not have shown them (nothing recorded, an allocator that cannot be seen, over 1% dropped, \
recording switched off, samples too coarse, a damaged file, too short for growth, \
no complete scan for lost memory). --allow-incomplete makes that 0, unless there is no recording at all.";

/// Which recordings, what fails the gate, and how to write it down.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// Recording of the program; those of its children beside it are read, too
    #[arg(value_name = "REC", required = true, value_hint = ValueHint::FilePath)]
    recordings: Vec<PathBuf>,
    /// Verdicts that fail the gate
    #[arg(long, value_enum, value_delimiter = ',', value_name = "VERDICT", default_values = ["lost", "growing"])]
    fail_on: Vec<FailOn>,
    /// Growth of all findings together that does not fail it, such as 1M/h
    #[arg(long, value_name = "RATE", value_parser = rate)]
    max_growth: Option<f64>,
    /// Findings with fewer bytes (lost ones, or live ones of what grows) do not fail it, such as 64k
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "0")]
    min_bytes: u64,
    /// Findings of this recording (or JSON of check or report) are known and do not fail it; repeatable
    #[arg(long, value_name = "REC", value_hint = ValueHint::FilePath)]
    baseline: Vec<PathBuf>,
    /// Sites matched by FILE are no findings: LeakSanitizer's leak: lines, valgrind's .supp blocks; repeatable
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    suppressions: Vec<PathBuf>,
    /// An incomplete recording without findings is 0, not 3
    #[arg(long)]
    allow_incomplete: bool,
    /// How to write it down
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write to FILE instead of stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Leave out what was before: a duration before the end (10m), a time (2026-01-31T12:00:00Z) or mark:LABEL
    #[arg(long, value_name = "WHEN")]
    since: Option<Bound>,
    /// Leave out what was after; as --since
    #[arg(long, value_name = "WHEN")]
    until: Option<Bound>,
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

/// A verdict that can fail the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Nothing points to it any more
    Lost,
    /// It keeps growing
    Growing,
}

/// Reads, judges, writes; the exit code is the answer.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let options = args.check_options()?;
    let outcome = match args.family() {
        Ok(family) => check::judge(&family, &args.report(&family)?, &options),
        Err(error) => match absent(&error) {
            Some(reason) => {
                let generator = Generator {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    report_unix_s: unix_s(),
                };
                let mut outcome = Outcome::new(generator, &options);
                outcome.inconclusive.push(reason);
                outcome.conclude(options.allow_incomplete);
                outcome
            }
            None => return Err(error.into()),
        },
    };
    match &args.output {
        None => {
            let stdout = io::stdout();
            let look = terminal_look(&stdout);
            write(&outcome, args.format, look, &mut stdout.lock())?;
        }
        Some(path) => {
            let cannot = || format!("cannot write {}", path.display());
            let mut file = File::create(path).with_context(cannot)?;
            write(&outcome, args.format, file_look(), &mut file).with_context(cannot)?;
            // Whoever reads the log wants the answer, not only the machine that reads the file.
            if args.format != Format::Text {
                let stderr = io::stderr();
                let look = terminal_look(&stderr);
                write(&outcome, Format::Text, look, &mut stderr.lock())?;
            }
        }
    }
    Ok(ExitCode::from(outcome.exit_code))
}

fn write(outcome: &Outcome, format: Format, look: Look, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut out = BufWriter::new(out);
    check::write(outcome, format, look, &mut out)?;
    Ok(out.flush()?)
}

impl Args {
    fn load_options(&self, window: Window) -> LoadOptions {
        LoadOptions {
            window,
            symbols: self.symbols.options(),
            blame: Blame {
                own: self.own.clone(),
                skip: self.skip.clone(),
            },
        }
    }

    /// The recordings, with those of the family beside them: a gate that looks at the parent alone
    /// sees nothing of its workers.
    fn family(&self) -> Result<Family, LoadError> {
        let options = self.load_options(Window {
            since: self.since.clone(),
            until: self.until.clone(),
        });
        let family = read::load(&self.recordings, &options)?;
        let beside = relatives::beside(&family);
        if beside.is_empty() {
            return Ok(family);
        }
        let all: Vec<PathBuf> = self.recordings.iter().cloned().chain(beside).collect();
        read::load(&all, &options)
    }

    fn report(&self, family: &Family) -> anyhow::Result<Report> {
        Ok(report::assemble(
            family,
            &ReportOptions {
                suppressions: suppressions(&self.suppressions)?,
                ..whole()
            },
        ))
    }

    fn check_options(&self) -> anyhow::Result<CheckOptions> {
        let mut fail_on: Vec<Verdict> = self
            .fail_on
            .iter()
            .map(|it| match it {
                FailOn::Lost => Verdict::Lost,
                FailOn::Growing => Verdict::Growing,
            })
            .collect();
        fail_on.sort();
        fail_on.dedup();
        let mut baseline = Baseline::default();
        for path in &self.baseline {
            self.add_baseline(path, &mut baseline)
                .with_context(|| format!("cannot use {} as a baseline", path.display()))?;
        }
        Ok(CheckOptions {
            fail_on,
            max_growth_bytes_per_s: self.max_growth,
            min_bytes: self.min_bytes,
            allow_incomplete: self.allow_incomplete,
            baseline,
        })
    }

    fn add_baseline(&self, path: &Path, baseline: &mut Baseline) -> anyhow::Result<()> {
        let text = std::fs::read(path)?;
        if text.trim_ascii_start().starts_with(b"{") {
            return Ok(baseline.add_json(&text)?);
        }
        let family = read::load(&[path], &self.load_options(Window::default()))?;
        baseline.add_report(&report::assemble(&family, &whole()));
        Ok(())
    }
}

/// A report with all sites, by line.
fn whole() -> ReportOptions {
    ReportOptions {
        top: 0,
        show_healthy: true,
        group_by: GroupBy::Line,
        now_unix_s: unix_s(),
        no_source: true,
        ..ReportOptions::default()
    }
}

/// If there is no recording, or none with anything in it: the program ran untracked, which is an
/// answer of the gate and no wrong usage.
fn absent(error: &LoadError) -> Option<check::Reason> {
    let (path, what) = match error {
        LoadError::Io { path, error } if error.kind() == io::ErrorKind::NotFound => {
            (path, "there is no such file")
        }
        LoadError::Unwritten { path } => (path, "it is empty"),
        LoadError::Unreadable { path, problem } => {
            return Some(check::unreadable(path, problem));
        }
        LoadError::Decode {
            path,
            error: DecodeError::NoProcess,
        } => (path, "it does not say which process it is of"),
        _ => return None,
    };
    Some(check::nothing_recorded(path, what))
}

fn rate(text: &str) -> Result<f64, String> {
    units::rate_bytes_per_s(text)
        .ok_or_else(|| "allowed is a size, a slash, and s, m, h or d, such as 1M/h".to_owned())
}
