//! `doctor`: what can and cannot be measured here, and why, with the remedy.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::doctor::{self, Finding, Level};

/// What to look at besides the host.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing stands in the way of tracking, 1 something does, 2 wrong usage."
)]
pub struct Args {
    /// A running process, or a command that is to be run
    #[arg(value_name = "PID|CMD")]
    subject: Option<OsString>,
}

/// Prints the findings, one by one.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let mut findings = doctor::machine();
    if let Some(subject) = &args.subject {
        let pid = subject.to_str().and_then(|text| text.parse().ok());
        findings.extend(match pid {
            Some(pid) => doctor::process(pid),
            None => doctor::program(subject),
        });
    }
    write_findings(&findings, &mut io::stdout().lock())?;
    let is_bad = findings.iter().any(|finding| finding.level == Level::Bad);
    Ok(ExitCode::from(u8::from(is_bad)))
}

fn write_findings(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    Ok(())
}
