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
    if !of_process(sys::getppid()).has_library {
        return false;
    }
    let mut path = proc_path(sys::getppid(), b"environ");
    let mut same = options.is_empty();
    if let Some(path) = path.c_str() {
        let _ = lines::for_each_item(path, |item| {
            let Some(value) = item.strip_prefix(b"LEAKTRACK=") else {
                return true;
            };
            same = value == options;
            false
        });
    }
    same
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
    fn a_parent_without_the_library() {
        assert_eq!(ancestor(), Parent::default());
        assert!(!said_by_parent(b""));
        assert_eq!(of_process(u32::MAX), Parent::default());
    }
}
