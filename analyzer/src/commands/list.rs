//! `list`: the tracked processes of this host.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use leaktrack_recording::{EventKind, Mode, Record, Recording, SegmentKind};
use serde_json::{Value, json};

use crate::host::{ProcessFiles, State, Tracked, printable, tracked};
use crate::{human, say};

/// How to write it down.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to write it down
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How a list is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Text,
    /// For programs: bytes, Unix seconds; unknown is null
    Json,
}

/// Prints one line per process, containers' included.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let mut found = Vec::new();
    let mut hidden = 0_u64;
    for process in ProcessFiles::all().context("cannot read /proc")? {
        match tracked::look(process) {
            Ok(process) => found.extend(process),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => hidden += 1,
            Err(_) => {} // it has ended meanwhile
        }
    }
    let mut out = io::stdout().lock();
    match args.format {
        Format::Text => write_list(&found, &mut out)?,
        Format::Json => {
            let processes: Vec<Value> = found.iter().map(row).collect();
            let list = json!({
                "schema": "leaktrack.list/1", "processes": processes, "not_looked_at": hidden,
            });
            serde_json::to_writer_pretty(&mut out, &list).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    }
    if hidden > 0 {
        say!(
            "{hidden} more could not be looked at: they belong to other users or sandboxes; root sees most of them"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What the library does in a process, in a word; `None`: the recording does not say.
fn state(tracked: &Tracked) -> Option<&'static str> {
    match &tracked.state {
        State::Recording { path, .. } => is_on(path).map(|is_on| match is_on {
            true => "recording",
            false => "off",
        }),
        State::Deleted(_) => Some("deleted"),
        State::Idle(_) => Some("idle"),
        State::Absent(_) => Some("absent"),
    }
}

/// True if new blocks are recorded, as of the last record. Only definitions, as far as the first, and events are
/// looked at: snapshots are nearly all of a recording.
fn is_on(path: &Path) -> Option<bool> {
    let bytes = std::fs::read(path).ok()?;
    let recording = Recording::open(&bytes).ok()?;
    let of_kind = |kind| {
        recording
            .segments()
            .filter(move |it| it.header.kind == kind)
    };
    let mut definitions = of_kind(SegmentKind::Defs).flat_map(|segment| segment.records());
    let mode = definitions.find_map(|record| match record {
        Record::Process(process) => Some(process.mode),
        _ => None,
    })?;
    let events = of_kind(SegmentKind::Events).flat_map(|segment| segment.records());
    let switches = events.filter_map(|record| match record {
        Record::Event { at_ms, kind, .. } => match kind {
            EventKind::Enable => Some((at_ms, true)),
            EventKind::Disable => Some((at_ms, false)),
            _ => None,
        },
        _ => None,
    });
    // Of two at one moment the later one in the file.
    let last = switches.max_by_key(|(at_ms, _)| *at_ms);
    Some(last.map_or(mode != Mode::Dormant, |(_, is_on)| is_on))
}

/// Why it does not record.
fn why(state: &State) -> Option<String> {
    match state {
        State::Idle(why) | State::Absent(why) => Some(why.clone()),
        State::Deleted(path) => Some(format!("its recording {path} was deleted")),
        State::Recording { .. } => None,
    }
}

fn row(tracked: &Tracked) -> Value {
    let process = &tracked.process;
    let (recording, since_unix_s) = match &tracked.state {
        State::Recording { path, since_unix_s } => {
            (Some(path.display().to_string()), Some(*since_unix_s))
        }
        _ => (None, None),
    };
    json!({
        "pid": process.pid,
        "inner_pid": process.inner_pid(),
        "name": printable(&process.name()),
        "state": state(tracked),
        "rss_bytes": process.resident_bytes(),
        "since_unix_s": since_unix_s,
        "recording": recording,
        "why": why(&tracked.state),
    })
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
            "{:>9}  {:<20}  {:>9}  {:<9}  {:<23}  RECORDING",
            "PID", "NAME", "RSS", "STATE", "SINCE"
        )?;
    }
    for tracked in recording {
        if let State::Recording { path, since_unix_s } = &tracked.state {
            let since = human::utc(*since_unix_s);
            let path = printable(&path.display().to_string());
            let state = state(tracked).unwrap_or("unknown");
            let rss = rss(tracked);
            writeln!(
                out,
                "{}  {rss:>9}  {state:<9}  {since:<23}  {path}",
                who(tracked)
            )?;
        }
    }
    if !others.is_empty() {
        writeln!(
            out,
            "\nnot recording:\n{:>9}  {:<20}  {:>9}  WHY",
            "PID", "NAME", "RSS"
        )?;
    }
    for tracked in others {
        if let Some(why) = why(&tracked.state) {
            writeln!(
                out,
                "{}  {:>9}  {}",
                who(tracked),
                rss(tracked),
                printable(&why)
            )?;
        }
    }
    Ok(())
}

fn rss(tracked: &Tracked) -> String {
    let bytes = tracked.process.resident_bytes();
    bytes.map_or_else(|| "-".to_owned(), human::bytes)
}

fn who(tracked: &Tracked) -> String {
    let process = &tracked.process;
    let name = match process.inner_pid() {
        inner if inner == process.pid => printable(&process.name()),
        inner => format!("{} ({inner} inside)", printable(&process.name())),
    };
    format!("{:>9}  {name:<20}", process.pid)
}
