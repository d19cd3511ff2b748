//! `scan`: which blocks of a running process nothing points to any more.

use std::ffi::OsString;
use std::io::{self, BufWriter};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use leaktrack_recording::control::{self as page, ScanWish};

use super::control::duration;
use super::report::{terminal_look, unix_s};
use super::symbol_args::SymbolArgs;
use crate::host::control::{self, ControlError, Request};
use crate::model::LoadOptions;
use crate::report::{self, Format, ReportOptions};
use crate::{read, units};

/// Which process, and how to scan it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A process of this host, or the recording that it writes
    #[arg(value_name = "PID|REC")]
    pub target: OsString,
    /// Scan a forked copy of the process: one pass, but threads wait while the kernel copies the
    /// page tables, and memory that changes meanwhile is there twice
    #[arg(long)]
    pub fork: bool,
    /// Share of one processor that the scan may use, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub cpu: u8,
    /// Time between passes
    #[arg(long, value_name = "DURATION", value_parser = apart, default_value = "250ms")]
    pub apart: Duration,
    /// How long to wait for the verdict
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30m")]
    pub wait: Duration,
    /// How to write it down
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Where symbols come from
    #[command(flatten)]
    pub symbols: SymbolArgs,
}

/// Has the process scanned, then tells what its recording holds.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let target = control::find(&args.target)?;
    let wish = ScanWish {
        fork: args.fork,
        percent: args.cpu,
        apart_ms: u32::try_from(args.apart.as_millis()).unwrap_or(u32::MAX),
    };
    let request = Request {
        kind: page::KIND_SCAN,
        argument: wish.encode(),
        text: "",
    };
    control::ask_interruptibly(&target, request, args.wait).map_err(|error| match error {
        ControlError::Refused(pid, why) => {
            anyhow!("the scan of process {pid} gave no verdict: {why}")
        }
        other => other.into(),
    })?;
    let symbols = args.symbols.options();
    let options = ReportOptions {
        top: 0,
        show_healthy: true,
        now_unix_s: unix_s(),
        no_source: symbols.no_source,
        curves: args.format == Format::Html,
        ..ReportOptions::default()
    };
    let load = LoadOptions {
        symbols,
        ..LoadOptions::default()
    };
    let report = report::assemble(&read::load(&[&target.recording], &load)?, &options);
    let stdout = io::stdout();
    let look = terminal_look(&stdout);
    let mut out = BufWriter::new(stdout.lock());
    match args.format {
        Format::Text => report::render_scan(&report, look, &mut out)?,
        format => report::render(&report, &options, format, look, &mut out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn apart(text: &str) -> Result<Duration, String> {
    /// A day: more is a slip.
    const MOST_MS: u64 = 86_400_000;
    units::duration_ms(text)
        .filter(|ms| (1..=MOST_MS).contains(ms))
        .map(Duration::from_millis)
        .ok_or_else(|| "allowed is a time from 1ms to 24h, such as 1s".to_owned())
}
