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
    if let Some(path) = path.c_str() {
        let _ = lines::for_each_line(path, |line| {
            look_at(line, &mut found);
            !(found.has_library && found.recording.is_some())
        });
    }
    found
}

/// One line of `maps`: `start-end perms offset dev inode   path`.
fn look_at(line: &[u8], found: &mut Parent) {
    let mut words = line
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty());
    let (_, perms, offset) = (words.next(), words.next(), words.next());
    let Some(slash) = line.iter().position(|&byte| byte == b'/') else {
        return;
    };
    let path = line.get(slash..).unwrap_or_default();
    if path
        .rsplit(|&byte| byte == b'/')
        .next()
        .is_some_and(|name| name.starts_with(b"libleaktrack.so"))
    {
        found.has_library = true;
    }
    // A recording is the only thing of ours that is mapped shared and writable from its start.
    if perms == Some(b"rw-s")
        && offset.is_some_and(|o| o.iter().all(|&byte| byte == b'0'))
        && found.recording.is_none()
    {
        let mut name = Path::new();
        found.recording = name.push_bytes(path).c_str().and_then(recording_id);
    }
}

/// The id in a recording's header.
pub fn recording_id(path: &CStr) -> Option<RecordingId> {
    let mut header = [0u8; FILE_HEADER_BYTES];
    lines::read_start(path, &mut header).ok()?;
    FileHeader::decode(&header).map(|header| header.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let file =
            std::env::temp_dir().join(std::format!("leaktrack family {}", std::process::id()));
        std::fs::write(&file, FileHeader::new([7; 16], 1).encode()).unwrap();
        let mut found = Parent::default();
        look_at(
            b"7f00-7f01 r--p 00000000 fe:00 12      /opt/x/libleaktrack.so",
            &mut found,
        );
        look_at(b"7f00-7f01 rw-p 00000000 00:00 0       [stack]", &mut found);
        look_at(
            b"7f00-7f01 rw-s 00000000 00:01 0       /dev/zero",
            &mut found,
        );
        assert_eq!(
            found,
            Parent {
                has_library: true,
                recording: None
            }
        );
        let line = std::format!("7f00-7f01 rw-s 00000000 fe:00 13   {}", file.display());
        look_at(line.as_bytes(), &mut found);
        assert_eq!(found.recording, Some([7; 16]));
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_parent_without_the_library() {
        assert_eq!(ancestor(), Parent::default());
        assert!(!said_by_parent(b""));
        assert_eq!(of_process(u32::MAX), Parent::default());
    }
}
