//! Tells whether a process is tracked, where to, or why not.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use leaktrack_recording::{FILE_HEADER_BYTES, FileHeader};

use super::maps;
use super::process::ProcessFiles;
use crate::library_options::Environment;
use crate::target::{ElfFacts, Linkage};

/// A process that has the library, or was meant to have it.
#[derive(Debug)]
pub struct Tracked {
    /// Its files.
    pub process: ProcessFiles,
    /// What the library does in it.
    pub state: State,
}

/// What the library does in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Records into this file, since then.
    Recording {
        /// A path that opens it from here.
        path: PathBuf,
        /// When it was created, Unix seconds.
        since_unix_s: u64,
    },
    /// Records into a file that has been deleted.
    Deleted(String),
    /// Is loaded and does not record.
    Idle(String),
    /// Was asked for in `LD_PRELOAD` and is not loaded.
    Absent(String),
}

/// Looks at one process: `None` if it has nothing to do with the library.
pub fn look(process: ProcessFiles) -> io::Result<Option<Tracked>> {
    let text = process.maps()?;
    let state = if maps::lines(&text).any(|line| is_library(line.path)) {
        recording(&process, &text).unwrap_or_else(|| State::Idle(idle_reason(&process)))
    } else if is_preloaded(&process) && !text.is_empty() {
        State::Absent(absent_reason(&process))
    } else {
        return Ok(None);
    };
    Ok(Some(Tracked { process, state }))
}

/// True for the file name of the library.
pub fn is_library(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with("libleaktrack") && name.contains(".so")
}

fn recording(process: &ProcessFiles, maps: &str) -> Option<State> {
    let shared = maps::lines(maps).filter(|line| line.shared && line.path.starts_with('/'));
    let mut deleted = None;
    for line in shared {
        if line.deleted {
            if line.path.contains(".ltk") {
                deleted = Some(State::Deleted(line.path.to_owned()));
            }
            continue;
        }
        let path = process.reach(line.path, line.inode);
        if let Some(header) = header(&path) {
            let since_unix_s = header.created_unix_ns / 1_000_000_000;
            return Some(State::Recording { path, since_unix_s });
        }
    }
    deleted
}

fn header(path: &Path) -> Option<FileHeader> {
    let mut head = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(FILE_HEADER_BYTES as u64)
        .read_to_end(&mut head)
        .ok()?;
    FileHeader::decode(&head)
}

fn is_preloaded(process: &ProcessFiles) -> bool {
    let value = process
        .environment("LD_PRELOAD")
        .ok()
        .flatten()
        .unwrap_or_default();
    let value = String::from_utf8_lossy(&value).into_owned();
    value.split([' ', ':']).any(is_library)
}

/// Why a loaded library does not record, as far as it can be told from outside.
fn idle_reason(process: &ProcessFiles) -> String {
    let environment = Environment::of(process.variables());
    if let Some(bad) = environment.first_bad() {
        return format!("bad option: {}", bad.problem);
    }
    if environment.value("only").is_some() {
        return format!("the option `only` leaves out {}", process.name());
    }
    if environment.value("children").as_deref() == Some(b"ignore") {
        return "it was started by a tracked process with children=ignore".to_owned();
    }
    "it has no recording: not begun yet, or nowhere to write; its stderr says which".to_owned()
}

/// Why a library in `LD_PRELOAD` is not loaded.
fn absent_reason(process: &ProcessFiles) -> String {
    let facts = match ElfFacts::read(&process.executable_file()) {
        Ok(facts) => facts,
        Err(error) => return format!("its executable cannot be read: {error:#}"),
    };
    match facts.linkage {
        Linkage::Static => "it is statically linked".to_owned(),
        Linkage::Musl(_) => "it uses musl; the library is for glibc".to_owned(),
        Linkage::Foreign(what) => format!("it is {what}"),
        Linkage::Missing(_) | Linkage::Dynamic(_) => {
            "the loader left it out: a set-user-ID program, or a path that does not exist where it was started".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_known_by_its_name() {
        assert!(is_library("/opt/x/libleaktrack.so"));
        assert!(is_library("libleaktrack.so.0"));
        assert!(!is_library("/opt/libleaktrack/other.so"));
        assert!(!is_library(""));
    }

    #[test]
    fn this_process_is_not_tracked() {
        assert!(
            look(ProcessFiles::new(std::process::id()))
                .unwrap()
                .is_none()
        );
    }
}
