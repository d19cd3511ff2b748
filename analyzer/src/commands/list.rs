//! `list`: the tracked processes of this host.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use crate::host::{ProcessFiles, State, Tracked, printable, tracked};
use crate::{human, say};

/// Prints one line per process, containers' included.
pub fn execute() -> anyhow::Result<ExitCode> {
    let mut found = Vec::new();
    let mut hidden = 0;
    for process in ProcessFiles::all().context("cannot read /proc")? {
        match tracked::look(process) {
            Ok(process) => found.extend(process),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => hidden += 1,
            Err(_) => {} // it has ended meanwhile
        }
    }
    let mut out = io::stdout().lock();
    write_list(&found, &mut out)?;
    if hidden > 0 {
        say!(
            "{hidden} more could not be looked at: they belong to other users or sandboxes; root sees most of them"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn write_list(found: &[Tracked], out: &mut impl Write) -> io::Result<()> {
    let (recording, others): (Vec<_>, Vec<_>) = found
        .iter()
        .partition(|tracked| matches!(tracked.state, State::Recording { .. }));
    if found.is_empty() {
        return writeln!(
            out,
            "no tracked processes; start one with: leaktrack run -- CMD"
        );
    }
    if !recording.is_empty() {
        writeln!(
            out,
            "{:>9}  {:<20}  {:<23}  RECORDING",
            "PID", "NAME", "SINCE"
        )?;
    }
    for tracked in recording {
        if let State::Recording { path, since_unix_s } = &tracked.state {
            let since = human::utc(*since_unix_s);
            let path = printable(&path.display().to_string());
            writeln!(out, "{}  {since:<23}  {path}", who(tracked))?;
        }
    }
    if !others.is_empty() {
        writeln!(out, "\nnot recording:\n{:>9}  {:<20}  WHY", "PID", "NAME")?;
    }
    for tracked in others {
        let why = match &tracked.state {
            State::Idle(why) | State::Absent(why) => why.clone(),
            State::Deleted(path) => format!("its recording {path} was deleted"),
            State::Recording { .. } => continue,
        };
        writeln!(out, "{}  {}", who(tracked), printable(&why))?;
    }
    Ok(())
}

fn who(tracked: &Tracked) -> String {
    let process = &tracked.process;
    let name = match process.inner_pid() {
        inner if inner == process.pid => printable(&process.name()),
        inner => format!("{} ({inner} inside)", printable(&process.name())),
    };
    format!("{:>9}  {name:<20}", process.pid)
}
