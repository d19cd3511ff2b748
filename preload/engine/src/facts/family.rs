//! Owns what can be seen of the parent process: whether it carries the library too, and which
//! recording it writes. So a child knows its family without a word in the environment.

use super::lines;
use super::process::ProcessFacts;
use crate::sys::{self, CStr};
use crate::text::{Path, Text};
use leaktrack_recording::{FILE_HEADER_BYTES, FileHeader, RecordingId};

/// Forks and execs between a recorded process and this one that are looked through.
const GENERATIONS: usize = 16;

/// What an ancestor is to leaktrack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parent {
    /// It has the library loaded.
    pub has_library: bool,
    /// The recording it writes.
    pub recording: Option<RecordingId>,
    /// The first recording of its family.
    pub family: Option<RecordingId>,
    /// Hash of the path of that recording's folder, as its mappings tell it.
    pub folder: Option<u64>,
}

/// Looks at the mappings of the parent, and on through parents that have the library without a
/// recording, up to one that has one. Nothing is known of a process of another user.
pub fn ancestor() -> Parent {
    let mut pid = sys::getppid();
    let mut found = Parent::default();
    for _ in 0..GENERATIONS {
        let parent = of_process(pid);
        if !parent.has_library {
            break;
        }
        found = parent;
        let mut facts = ProcessFacts::default();
        let mut path = proc_path(pid, b"stat");
        if parent.recording.is_some() || !path.c_str().is_some_and(|path| facts.read_stat(path)) {
            break;
        }
        pid = facts.ppid;
    }
    found
}

/// True if this process was started by one that has the library and the same value of
/// `LEAKTRACK`: it has said already what was wrong with it.
pub fn said_by_parent(options: &[u8]) -> bool {
    let parent = sys::getppid();
    of_process(parent).has_library && has_variable(parent, b"LEAKTRACK=", options)
}

/// True if an ancestor was to write to the same place as this process, and could not: it has the
/// library and no recording, `wanted` says of its executable that it is to be recorded, and its
/// `variables` (names with their `=`, and values) are the same.
pub fn failed_before(variables: &[(&[u8], &[u8])], wanted: impl Fn(&[u8]) -> bool) -> bool {
    let mut pid = sys::getppid();
    for _ in 0..GENERATIONS {
        let parent = of_process(pid);
        if !parent.has_library || parent.recording.is_some() {
            return false;
        }
        if wanted(executable(pid).as_bytes()) {
            let same = |&(name, value): &(&[u8], &[u8])| has_variable(pid, name, value);
            return variables.iter().all(same);
        }
        let mut facts = ProcessFacts::default();
        let mut path = proc_path(pid, b"stat");
        if !path.c_str().is_some_and(|path| facts.read_stat(path)) {
            return false;
        }
        pid = facts.ppid;
    }
    false
}

/// True if a process was started with this value of a variable (`NAME=`); empty: or without it.
fn has_variable(pid: u32, name: &[u8], value: &[u8]) -> bool {
    let mut path = proc_path(pid, b"environ");
    let mut same = value.is_empty();
    if let Some(path) = path.c_str() {
        let _ = lines::for_each_item(path, |item| {
            let Some(found) = item.strip_prefix(name) else {
                return true;
            };
            same = found == value;
            false
        });
    }
    same
}

fn executable(pid: u32) -> Path {
    let mut buf = [0u8; 4096];
    let mut path = proc_path(pid, b"exe");
    let len = path
        .c_str()
        .and_then(|path| sys::readlink(path, &mut buf).ok());
    let target = buf.get(..len.unwrap_or(0)).unwrap_or_default();
    Path::of(target.strip_suffix(b" (deleted)").unwrap_or(target))
}

/// A number for the folder of a path: the same for all files in it.
pub fn folder_hash(path: &[u8]) -> u64 {
    let end = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    let folder = path.get(..end).unwrap_or_default();
    // FNV-1a.
    folder.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn proc_path(pid: u32, file: &[u8]) -> Text<48> {
    let mut path = Text::new();
    path.push_bytes(b"/proc/")
        .push_u64(u64::from(pid))
        .push(b'/')
        .push_bytes(file);
    path
}

fn of_process(pid: u32) -> Parent {
    let mut found = Parent::default();
    let mut path = proc_path(pid, b"maps");
    let Some(path) = path.c_str() else {
        return found;
    };
    let _ = lines::for_each_line(path, |line| {
        found.has_library = mapped_path(line).is_some_and(is_library);
        !found.has_library
    });
    if found.has_library {
        let _ = lines::for_each_line(path, |line| {
            let header = recording_of(line);
            found.recording = header.map(|header| header.id);
            found.family = header.map(|header| header.family);
            found.folder = header.and(mapped_path(line)).map(folder_hash);
            found.recording.is_none()
        });
    }
    found
}

/// The path at the end of a line of `maps`: `start-end perms offset dev inode   path`.
fn mapped_path(line: &[u8]) -> Option<&[u8]> {
    let slash = line.iter().position(|&byte| byte == b'/')?;
    line.get(slash..)
}

fn is_library(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next();
    name.is_some_and(|name| name.starts_with(b"libleaktrack.so"))
}

/// The recording that a line of `maps` stands for: something mapped shared and writable from its
/// start, with the right header.
fn recording_of(line: &[u8]) -> Option<FileHeader> {
    let mut words = line
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let (_, perms, offset) = (words.next()?, words.next()?, words.next()?);
    if perms != b"rw-s" || offset.iter().any(|&byte| byte != b'0') {
        return None;
    }
    let mut path = Path::new();
    header_of(path.push_bytes(mapped_path(line)?).c_str()?)
}

/// A recording's header. Nothing but a regular file is opened: a device might do something.
pub fn header_of(path: &CStr) -> Option<FileHeader> {
    if !sys::is_regular_file(path) {
        return None;
    }
    let mut header = [0u8; FILE_HEADER_BYTES];
    lines::read_start(path, &mut header).ok()?;
    FileHeader::decode(&header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let name = std::format!("leaktrack family {}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, FileHeader::new([7; 16], 1).encode()).unwrap();
        let library = b"7f00-7f01 r--p 00000000 fe:00 12      /opt/x/libleaktrack.so";
        assert!(mapped_path(library).is_some_and(is_library));
        assert_eq!(
            mapped_path(b"7f00-7f01 rw-p 00000000 00:00 0       [stack]"),
            None
        );
        assert_eq!(recording_of(library), None);
        assert_eq!(
            recording_of(b"7f00-7f01 rw-s 00000000 00:01 0       /dev/zero"),
            None
        );
        let line = std::format!("7f00-7f01 rw-s 00000000 fe:00 13   {}", file.display());
        assert_eq!(
            recording_of(line.as_bytes()).map(|header| header.id),
            Some([7; 16])
        );
        let line = std::format!("7f00-7f01 rw-s 00001000 fe:00 13   {}", file.display());
        assert_eq!(recording_of(line.as_bytes()), None);
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn files_of_one_folder() {
        assert_eq!(folder_hash(b"/tmp/a"), folder_hash(b"/tmp/b.ltk"));
        assert_ne!(folder_hash(b"/tmp/a"), folder_hash(b"/tmp/a/b"));
        assert_eq!(folder_hash(b"/a"), folder_hash(b""));
    }

    #[test]
    fn a_parent_without_the_library() {
        assert_eq!(ancestor(), Parent::default());
        assert!(!said_by_parent(b""));
        assert!(!failed_before(&[], |_| true));
        assert_eq!(of_process(u32::MAX), Parent::default());
    }
}
