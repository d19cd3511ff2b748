//! `enable`, `disable`, `snapshot`, `mark`: ask a running process for something.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use leaktrack_recording::control as page;

use crate::host::control::{self, Request};
use crate::units;

/// Which process.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A process of this host, or the recording that it writes
    #[arg(value_name = "PID|REC")]
    pub target: OsString,
    /// How long to wait for its answer
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub wait: Duration,
}

/// Which process, and what to call the moment.
#[derive(Debug, clap::Args)]
pub struct MarkArgs {
    /// Which process
    #[command(flatten)]
    pub target: Args,
    /// What --since mark:LABEL and --until mark:LABEL find it by
    #[arg(value_name = "LABEL", default_value = "mark", value_parser = label)]
    pub label: String,
}

/// Records new blocks again.
pub fn enable(args: &Args) -> anyhow::Result<ExitCode> {
    execute(args, page::KIND_ENABLE, "", "recording is on")
}

/// Stops recording new blocks.
pub fn disable(args: &Args) -> anyhow::Result<ExitCode> {
    let done = "recording is off; frees of the blocks it knows are still followed";
    execute(args, page::KIND_DISABLE, "", done)
}

/// Takes a snapshot now.
pub fn snapshot(args: &Args) -> anyhow::Result<ExitCode> {
    execute(args, page::KIND_SNAPSHOT, "", "took a snapshot")
}

/// Puts a mark into the timeline.
pub fn mark(args: &MarkArgs) -> anyhow::Result<ExitCode> {
    let done = format!(
        "marked; report what came after with --since 'mark:{}'",
        args.label
    );
    execute(&args.target, page::KIND_MARK, &args.label, &done)
}

fn execute(args: &Args, kind: u32, text: &str, done: &str) -> anyhow::Result<ExitCode> {
    let target = control::find(&args.target)?;
    let request = Request {
        kind,
        argument: 0,
        text,
    };
    let added = control::ask_interruptibly(&target, request, args.wait)?;
    let words = if added.is_empty() { done } else { &added };
    writeln!(io::stdout(), "process {}: {words}", target.process.pid)?;
    Ok(ExitCode::SUCCESS)
}

/// A time to wait.
pub fn duration(text: &str) -> Result<Duration, String> {
    units::duration_ms(text)
        .filter(|&ms| ms >= 100)
        .map(Duration::from_millis)
        .ok_or_else(|| "allowed is a time from 100ms, such as 30s".to_owned())
}

fn label(text: &str) -> Result<String, String> {
    /// What an event holds.
    const MOST_BYTES: usize = 1_500;
    let fits = (1..=MOST_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
        .ok_or_else(|| format!("allowed are 1 to {MOST_BYTES} bytes without control characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_a_line_can_show() {
        assert_eq!(label("deploy 2"), Ok("deploy 2".to_owned()));
        assert!(label("").is_err());
        assert!(label("a\nb").is_err());
        assert!(label(&"x".repeat(1_501)).is_err());
    }
}
