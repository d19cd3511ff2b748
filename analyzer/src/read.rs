//! Brings recordings from files into the model.
//!
//! A file is read whole before it is looked at, never mapped: its process may still be writing to
//! it, and whoever truncates a mapped file kills its reader.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use leaktrack_recording::{
    EventKind, Fault, OpenError, OpenFault, Problem, Recording, SnapshotRef, Unread, in_order,
};

use crate::model::family::DifferentFamilies;
use crate::model::process::{DecodeError, EmptyWindow, Ended};
use crate::model::window::Bound;
use crate::model::{Family, LoadOptions, Process};
use crate::parallel;
use crate::symbolize::Symbols;

/// Why a report cannot be made: what happened, where, and what to do. Exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No paths were given.
    #[error("no recording given: name one or more .ltk files")]
    Nothing,
    /// The operating system refused.
    #[error("{path}: {error}{}", remedy(.error))]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// The bytes are no recording.
    #[error("{path}: {error} (at offset {}){}", .error.offset, open_remedy(.error))]
    Open {
        /// The file.
        path: PathBuf,
        /// What was found.
        error: OpenError,
    },
    /// The records make no process, or the window is not in them.
    #[error("{path}: {error}")]
    Decode {
        /// The file.
        path: PathBuf,
        /// What was found.
        error: DecodeError,
    },
    /// Nothing was recorded in the window, by none of the processes.
    #[error("{path}: {window}")]
    Window {
        /// The first file.
        path: PathBuf,
        /// What was asked for, and what there is.
        window: Box<EmptyWindow>,
    },
    /// The file was made and nothing written into it yet: its process ended, or is, at that point.
    #[error(
        "{path}: nothing is recorded in it: its process has only just started, or ended before it could write, or the file was cut after its first bytes; if it runs, try again in a second"
    )]
    Unwritten {
        /// The file.
        path: PathBuf,
    },
    /// Of a file that is cut or damaged no snapshot is left, and there is no other.
    #[error(
        "{path} is damaged: {problem}; no snapshot of it can be read: copy it again once its process has ended, or record again"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The first thing that is wrong with it.
        problem: String,
    },
    /// See there.
    #[error(transparent)]
    Families(#[from] DifferentFamilies),
}

fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "; `leaktrack list` shows where tracked processes record to"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; recordings are private to the user whose process was recorded: read it as that user, or record with perm=0640"
        }
        std::io::ErrorKind::IsADirectory => "; name the .ltk files in it",
        _ => "",
    }
}

fn open_remedy(error: &OpenError) -> &'static str {
    match error.what {
        OpenFault::Empty | OpenFault::Version { .. } => "",
        OpenFault::NotARecording => {
            "; recordings are made by `leaktrack run -- CMD` and end in .ltk"
        }
    }
}

/// Loads recordings of one family. Of children that were killed before they had written anything
/// there is nothing to tell: they are left out, unless there is nobody else.
pub fn load(paths: &[impl AsRef<Path>], options: &LoadOptions) -> Result<Family, LoadError> {
    let mut processes = Vec::new();
    let mut unwritten = Vec::new();
    let options = &with_marks_as_moments(paths, options);
    for path in paths {
        match process(path.as_ref(), options) {
            Ok(process) => processes.push(process),
            Err(LoadError::Unwritten { path }) => unwritten.push(path),
            Err(error) => return Err(error),
        }
    }
    if processes.is_empty() {
        let first = unwritten.into_iter().next();
        return Err(first.map_or(LoadError::Nothing, |path| LoadError::Unwritten { path }));
    }
    let has_something = |process: &Process| process.empty_window.is_none();
    if !processes.iter().any(has_something)
        && let Some(first) = processes.first()
        && let Some(window) = &first.empty_window
    {
        return Err(LoadError::Window {
            path: first.path.clone(),
            window: Box::new(window.clone()),
        });
    }
    if processes.iter().all(|process| process.heads.is_empty())
        && let Some((process, problem)) = processes
            .iter()
            .find_map(|process| Some((process, process.problems.first()?)))
    {
        return Err(LoadError::Unreadable {
            path: process.path.clone(),
            problem: problem.clone(),
        });
    }
    let mut family = Family::merge(processes, options)?;
    family.unwritten = unwritten;
    Ok(family)
}

/// A mark is in the recording of one process; for the others of its family it is a moment.
fn with_marks_as_moments(paths: &[impl AsRef<Path>], options: &LoadOptions) -> LoadOptions {
    let mut options = options.clone();
    let window = &mut options.window;
    let is_mark = |bound: &&mut Option<Bound>| matches!(bound, Some(Bound::Mark(_)));
    let mut bounds = [&mut window.since, &mut window.until];
    if paths.len() < 2 || !bounds.iter().any(is_mark) {
        return options;
    }
    let mut marks = Vec::new();
    for process in paths
        .iter()
        .filter_map(|path| process(path.as_ref(), &LoadOptions::default()).ok())
    {
        let start_ms = i64::try_from(process.started_unix_ns / 1_000_000).unwrap_or(i64::MAX);
        let events = process.events.into_iter();
        marks.extend(
            events
                .filter(|event| event.kind == EventKind::Mark)
                .map(|mark| (start_ms.saturating_add_unsigned(mark.at_ms), mark.text)),
        );
    }
    for bound in &mut bounds {
        if let Some(Bound::Mark(label)) = bound {
            let named = marks.iter().filter(|(_, text)| text == label);
            // As of one process the last counts. One that is in none is told by the first recording.
            if let Some(at) = named.map(|(at, _)| *at).max() {
                **bound = Some(Bound::At(at));
            }
        }
    }
    options
}

/// Loads one recording, without linking or naming anything.
pub fn process(path: &Path, options: &LoadOptions) -> Result<Process, LoadError> {
    let bytes = read(path).map_err(|error| LoadError::Io {
        path: path.to_owned(),
        error,
    })?;
    let mut process = decode(path, &bytes, options)?;
    if process.ended == Ended::Unfinished && runs(&process) {
        process.ended = Ended::Running;
    }
    Ok(process)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if path.metadata()?.is_dir() {
        return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory));
    }
    std::fs::read(path)
}

/// Decodes one recording from the content of its file.
pub fn decode(path: &Path, bytes: &[u8], options: &LoadOptions) -> Result<Process, LoadError> {
    let unwritten = || LoadError::Unwritten {
        path: path.to_owned(),
    };
    let recording = Recording::open(bytes).map_err(|error| match error.what {
        OpenFault::Empty => unwritten(),
        _ => LoadError::Open {
            path: path.to_owned(),
            error,
        },
    })?;
    let mut segments: Vec<_> = recording.segments().collect();
    let (mut snapshots, problems) = look(&recording);
    let records = in_order(&mut segments, &mut snapshots);
    let file_bytes = bytes.len() as u64;
    let process = Process::decode(path.to_owned(), file_bytes, &options.window, || {
        records.clone()
    });
    let mut process = process.map_err(|error| match error {
        DecodeError::NoProcess if is_untouched(&recording) => unwritten(),
        _ => LoadError::Decode {
            path: path.to_owned(),
            error,
        },
    })?;
    process.symbols = Arc::new(Symbols::of(&recording));
    process.family = recording.header().map(|header| header.family);
    process.family_counts = recording.family_counts().unwrap_or_default();
    // A last record that is not whole is how every killed or running process looks: no damage.
    process.problems = problems
        .into_iter()
        .filter(|problem| problem.fault != Fault::Unfinished)
        .map(|problem| problem.to_string())
        .collect();
    Ok(process)
}

/// The snapshots and all that could not be read, which takes a look at every byte.
fn look<'a>(recording: &Recording<'a>) -> (Vec<SnapshotRef<'a>>, Vec<Problem>) {
    /// Of records, for one thread at a time.
    const BATCH_BYTES: usize = 1 << 18;
    let mut pieces = recording.pieces();
    let next = || {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES
            && let Some(piece) = pieces.next()
        {
            bytes += piece.as_ref().map_or(0, Unread::len_bytes) + size_of_val(&piece);
            batch.push(piece);
        }
        (!batch.is_empty()).then_some(batch)
    };
    let looked = parallel::batches(next, |batch| {
        let (mut snapshots, mut problems) = (Vec::new(), Vec::new());
        for piece in batch {
            match piece.and_then(|unread| unread.look()) {
                Ok(snapshot) => snapshots.extend(snapshot),
                Err(problem) => problems.push(problem),
            }
        }
        (snapshots, problems)
    });
    let (snapshots, problems): (Vec<_>, Vec<_>) = looked.into_iter().unzip();
    (snapshots.concat(), problems.concat())
}

/// True if no record was ever written, rather than lost.
fn is_untouched(recording: &Recording<'_>) -> bool {
    let holds_records = recording
        .segments()
        .any(|segment| segment.records().next().is_some());
    let damaged = recording
        .problems()
        .any(|problem| problem.fault != Fault::Unfinished);
    recording.header().is_some() && !holds_records && !damaged
}

/// True if the recorded process is alive on this host: same pid and start time.
fn runs(process: &Process) -> bool {
    let here = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if process.host != here.trim_end() {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    // Fields are counted after the name, which is in parentheses and may hold anything.
    let start_ticks = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(19)?.parse::<u64>().ok());
    start_ticks == Some(process.start_ticks)
}
