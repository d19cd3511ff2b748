//! Owns the files in which runtimes say what they call the code that they generate: perf maps
//! (`/tmp/perf-PID.map`) and jitdumps (`jit-PID.dump`). A descriptor lives only while a
//! [`CodeMap`] does. Never waits: whatever is no regular file of ours is not read.

use crate::account::maps;
use crate::facts::lines;
use crate::permit;
use crate::recorder::Buffer;
use crate::sys::{self, CStr, o};
use crate::text::Text;

/// Read at once.
const CHUNK_BYTES: usize = 1 << 16;
/// Of a longer map only so much at its end is read.
const MOST_BYTES: u64 = 256 << 20;
/// Names are cut here.
pub const NAME_BYTES: usize = 512;

const DUMP_MAGIC: [u8; 4] = 0x4A69_5444u32.to_le_bytes();
const DUMP_HEADER_BYTES: u64 = 40;
/// Head of a record, and the fields of one that tells of new code, up to its name.
const RECORD_BYTES: usize = 16;
const LOAD_BYTES: usize = 56;
const LOAD: u32 = 0;
/// The fields of a record that tells that code was moved.
const FIELDS_BYTES: usize = 64;
const MOVE: u32 = 1;

/// Code and where the file tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First address.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Where the file tells of it, from 1: later entries replace earlier ones.
    pub place: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    PerfMap,
    Dump,
}

/// An open file.
#[derive(Debug)]
pub struct CodeMap {
    fd: i32,
    format: Format,
    len: u64,
}

impl Drop for CodeMap {
    fn drop(&mut self) {
        sys::close(self.fd);
    }
}

impl CodeMap {
    /// The perf map of this process, if there is one.
    pub fn perf_map() -> Option<CodeMap> {
        let mut path = Text::<48>::new();
        path.push_bytes(b"/tmp/perf-")
            .push_u64(u64::from(sys::getpid()))
            .push_bytes(b".map");
        CodeMap::open(path.c_str()?, Format::PerfMap)
    }

    /// The jitdump of this process: whoever writes one keeps a page of it mapped, so that profilers
    /// find it.
    pub fn dump() -> Option<CodeMap> {
        let mut name = Text::<32>::new();
        name.push_bytes(b"/jit-")
            .push_u64(u64::from(sys::getpid()))
            .push_bytes(b".dump");
        let mut path = Text::<1024>::new();
        lines::for_each_line(c"/proc/self/maps", |line| {
            if let Some(vma) = maps::parse(line).filter(|vma| vma.name.ends_with(name.as_bytes())) {
                path.push_bytes(vma.name);
            }
            path.is_empty()
        })
        .ok()?;
        if path.is_empty() || path.is_cut() {
            return None;
        }
        CodeMap::open(path.c_str()?, Format::Dump)
    }

    /// As perf does, reads only what this user or root wrote: the folder is open to everyone.
    fn open(path: &CStr, format: Format) -> Option<CodeMap> {
        const KIND: u32 = 0o170_000;
        const REGULAR: u32 = 0o100_000;
        if !permit::open() {
            return None;
        }
        let fd = sys::open(path, o::RDONLY | o::NOFOLLOW | o::NOCTTY | o::NONBLOCK, 0).ok()?;
        let mut map = CodeMap { fd, format, len: 0 };
        let stat = sys::fstat(fd).ok()?;
        let ours = stat.uid == sys::geteuid() || stat.uid == 0;
        map.len = stat.size_bytes;
        (stat.mode & KIND == REGULAR && ours).then_some(map)
    }

    /// Bytes in it.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Shows the entries from offset `from` on, where one begins (0: all).
    pub fn for_each(&self, from: u64, each: &mut dyn FnMut(Entry)) {
        let Some(mut buffer) = Buffer::of(CHUNK_BYTES) else {
            return;
        };
        match self.format {
            Format::PerfMap => {
                let start = from.max(self.len.saturating_sub(MOST_BYTES));
                let read = |at: u64, buf: &mut [u8]| self.read(at, buf);
                for_each_line(&read, start, buffer.as_mut_slice(), each);
            }
            Format::Dump => self.for_each_load(from, each),
        }
    }

    /// What the code of an entry is called.
    pub fn name(&self, entry_place: u64, buf: &mut [u8; NAME_BYTES]) -> usize {
        let Some(at) = entry_place.checked_sub(1) else {
            return 0;
        };
        let mut text = [0u8; NAME_BYTES + 64];
        let (from, end) = match self.format {
            Format::PerfMap => (at, b'\n'),
            Format::Dump => match self.load_of(at) {
                Some(at) => (at.saturating_add(LOAD_BYTES as u64), 0),
                None => return 0,
            },
        };
        let len = self.read(from, &mut text);
        let text = text.get(..len).unwrap_or_default();
        let text = text.split(|&byte| byte == end).next().unwrap_or_default();
        let name = match self.format {
            Format::PerfMap => parse_line(text).map_or(&b""[..], |(_, _, name)| name),
            Format::Dump => text,
        };
        let name = name.get(..NAME_BYTES.min(name.len())).unwrap_or_default();
        if let Some(room) = buf.get_mut(..name.len()) {
            room.copy_from_slice(name);
        }
        name.len()
    }

    fn for_each_load(&self, from: u64, each: &mut dyn FnMut(Entry)) {
        self.for_each_record(from, &mut |at, record| {
            let (start, size) = match word(record, 0) {
                LOAD => (long(record, 32), long(record, 40)),
                // Code that was told of before lies elsewhere now.
                MOVE => (long(record, 40), long(record, 48)),
                _ => return true,
            };
            each(Entry {
                start,
                end: start.saturating_add(size),
                place: at.saturating_add(1),
            });
            true
        });
    }

    /// The record that tells the name: of code that was moved the one that told of it first.
    fn load_of(&self, at: u64) -> Option<u64> {
        let mut moved = [0u8; FIELDS_BYTES];
        self.read(at, &mut moved);
        if word(&moved, 0) != MOVE {
            return Some(at);
        }
        let index = long(&moved, 56);
        let mut found = None;
        self.for_each_record(0, &mut |place, record| {
            if word(record, 0) == LOAD && long(record, 48) == index {
                found = Some(place);
            }
            place < at
        });
        found
    }

    /// Shows the offset and the fields of the records from offset `from` on (0: all) that are whole, until
    /// told to stop.
    fn for_each_record(&self, from: u64, each: &mut dyn FnMut(u64, &[u8; FIELDS_BYTES]) -> bool) {
        let mut at = from;
        if at == 0 {
            let mut magic = [0u8; 12];
            if self.read(0, &mut magic) < magic.len() || !magic.starts_with(&DUMP_MAGIC) {
                return;
            }
            at = u64::from(word(&magic, 8)).max(DUMP_HEADER_BYTES);
        }
        loop {
            let mut record = [0u8; FIELDS_BYTES];
            let len = self.read(at, &mut record);
            let total = u64::from(word(&record, 4));
            let next = at.saturating_add(total);
            // What is not whole yet is read another time.
            if len < RECORD_BYTES || total < RECORD_BYTES as u64 || next > self.len {
                return;
            }
            let needed = match word(&record, 0) {
                LOAD => LOAD_BYTES,
                MOVE => FIELDS_BYTES,
                _ => RECORD_BYTES,
            };
            if total >= needed as u64 && !each(at, &record) {
                return;
            }
            at = next;
        }
    }

    /// Reads at an offset as much as there is, up to the buffer's length.
    fn read(&self, at: u64, buf: &mut [u8]) -> usize {
        let mut len = 0;
        while let Some(room) = buf.get_mut(len..).filter(|room| !room.is_empty()) {
            match sys::pread(self.fd, room, at.saturating_add(len as u64)) {
                Ok(got) if got > 0 => len += got,
                Err(sys::Errno::EINTR) => {}
                _ => break,
            }
        }
        len
    }
}

/// Goes through a perf map by the chunk. A line without its end is left for another time; of one
/// that is longer than the buffer its rest is dropped.
fn for_each_line(
    read: &dyn Fn(u64, &mut [u8]) -> usize,
    start: u64,
    buffer: &mut [u8],
    each: &mut dyn FnMut(Entry),
) {
    let mut at = start;
    loop {
        let len = read(at, buffer);
        let chunk = buffer.get(..len).unwrap_or_default();
        let mut done = 0;
        while let Some(line) = chunk.get(done..) {
            let Some(end) = line.iter().position(|&byte| byte == b'\n') else {
                break;
            };
            if let Some((start, size, _)) = line.get(..end).and_then(parse_line) {
                each(Entry {
                    start,
                    end: start.saturating_add(size),
                    place: at.saturating_add(done as u64).saturating_add(1),
                });
            }
            done += end + 1;
        }
        if len < buffer.len() {
            return; // the end of the file
        }
        // Without any line end in a whole buffer, what it holds is no map.
        at = at.saturating_add(if done == 0 { len } else { done } as u64);
    }
}

/// `START SIZE name`, hexadecimal.
fn parse_line(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (start, rest) = hex(line)?;
    let (size, rest) = hex(rest.strip_prefix(b" ")?)?;
    let name = rest.strip_prefix(b" ")?.trim_ascii();
    (size > 0 && !name.is_empty()).then_some((start, size, name))
}

fn hex(text: &[u8]) -> Option<(u64, &[u8])> {
    let text = text.strip_prefix(b"0x").unwrap_or(text);
    let mut value = 0u64;
    let mut len = 0;
    for &byte in text {
        let Some(digit) = (byte as char).to_digit(16) else {
            break;
        };
        value = value << 4 | u64::from(digit);
        len += 1;
    }
    if len == 0 || len > 16 {
        return None;
    }
    Some((value, text.get(len..)?))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    field.map_or(0, |field| u32::from_le_bytes(*field))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
    field.map_or(0, |field| u64::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn entries(text: &[u8], start: u64, room: usize) -> Vec<(u64, u64, u64)> {
        let read = |at: u64, buf: &mut [u8]| {
            let rest = text.get(at as usize..).unwrap_or_default();
            let len = rest.len().min(buf.len());
            buf[..len].copy_from_slice(&rest[..len]);
            len
        };
        let mut found = Vec::new();
        for_each_line(&read, start, &mut std::vec![0; room], &mut |entry| {
            found.push((entry.start, entry.end, entry.place));
        });
        found
    }

    #[test]
    fn lines_of_a_map_in_buffers_of_any_size() {
        let text = b"10 8 JS:*f /a.js:1:2\nnonsense\n0x20 0x4 py::g:/b.py\n30 0 empty\n40 1 h\n50 1 unfinished";
        let expected = [(0x10, 0x18, 1), (0x20, 0x24, 31), (0x40, 0x41, 63)];
        for room in [32, 40, 64, 4096] {
            assert_eq!(entries(text, 0, room), expected, "{room}");
        }
        assert_eq!(entries(text, 30, 64), expected[1..]);
        assert_eq!(entries(&[b'x'; 500], 0, 64), []);
    }

    #[test]
    fn names_hold_blanks() {
        assert_eq!(
            parse_line(b"7f00 1f  LazyCompile:~a b /x y.js:3:4 "),
            Some((0x7f00, 0x1f, &b"LazyCompile:~a b /x y.js:3:4"[..]))
        );
        for line in [
            &b""[..],
            b"10",
            b"10 ",
            b"10 8",
            b"10 8 ",
            b"g 8 f",
            b"11112222333344445 8 f",
        ] {
            assert_eq!(parse_line(line), None);
        }
    }

    fn map_of(name: &str, content: &[u8], format: Format) -> (CodeMap, std::path::PathBuf) {
        let path = std::env::temp_dir().join(std::format!("{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        (CodeMap::open(&text, format).unwrap(), path)
    }

    #[test]
    fn a_map_is_read_and_its_names() {
        let long = std::format!("30 1 {}\n", "n".repeat(900));
        let content = [b"10 8 f g\n20 8 h\n", long.as_bytes()].concat();
        let (map, path) = map_of("leaktrack-code-map", &content, Format::PerfMap);
        let mut names = Vec::new();
        map.for_each(0, &mut |entry| {
            let mut name = [0; NAME_BYTES];
            let len = map.name(entry.place, &mut name);
            names.push((entry.start, name[..len].to_vec()));
        });
        std::fs::remove_file(path).unwrap();
        assert_eq!(names[..2], [(0x10, b"f g".to_vec()), (0x20, b"h".to_vec())]);
        assert_eq!(names[2].1, [b'n'; NAME_BYTES]);
    }

    /// A record of code with its name.
    fn load(dump: &mut Vec<u8>, id: u32, index: u64, start: u64, name: &[u8], code: usize) {
        let total = LOAD_BYTES + name.len() + 1 + code;
        dump.extend([id, total as u32].map(u32::to_le_bytes).concat());
        dump.extend([0; 16]); // time, pid, tid
        dump.extend(
            [start, start, code as u64, index]
                .map(u64::to_le_bytes)
                .concat(),
        );
        dump.extend(name);
        dump.extend([0; 1]);
        dump.extend(std::vec![0xcc; code]);
    }

    #[test]
    fn a_jitdump_is_read_and_its_names() {
        let mut dump = DUMP_MAGIC.to_vec();
        dump.extend(1u32.to_le_bytes());
        dump.extend(40u32.to_le_bytes());
        dump.resize(40, 0);
        load(&mut dump, 0, 1, 0x1000, b"py::f:/a.py", 32);
        load(&mut dump, 2, 0, 0, b"lines", 8);
        load(&mut dump, 0, 2, 0x2000, b"g", 16);
        // The first is moved, and one that nothing told of: pid and tid, then vma, old and new address,
        // size, index.
        let mut moved = |index: u64, from: u64, to: u64| {
            dump.extend([1u32, 64].map(u32::to_le_bytes).concat());
            dump.extend([0; 16]);
            dump.extend([to, from, to, 32, index].map(u64::to_le_bytes).concat());
        };
        moved(1, 0x1000, 0x5000);
        moved(9, 0x7000, 0x8000);
        load(&mut dump, 0, 4, 0x3000, b"torn", 16);
        dump.pop();
        let (map, path) = map_of("leaktrack-jit-dump", &dump, Format::Dump);
        let mut found = Vec::new();
        map.for_each(0, &mut |entry| {
            let mut name = [0; NAME_BYTES];
            let len = map.name(entry.place, &mut name);
            found.push((entry.start, entry.end, name[..len].to_vec()));
        });
        std::fs::remove_file(path).unwrap();
        assert_eq!(
            found,
            [
                (0x1000, 0x1020, b"py::f:/a.py".to_vec()),
                (0x2000, 0x2010, b"g".to_vec()),
                (0x5000, 0x5020, b"py::f:/a.py".to_vec()),
                (0x8000, 0x8020, Vec::new()),
            ]
        );
    }

    #[test]
    fn what_is_no_file_of_ours_is_not_read() {
        assert!(CodeMap::open(c"/dev/null", Format::PerfMap).is_none());
        assert!(CodeMap::open(c"/nonexistent", Format::PerfMap).is_none());
        assert!(CodeMap::perf_map().is_none());
    }
}
