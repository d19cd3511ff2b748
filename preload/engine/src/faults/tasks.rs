//! Owns the lists of what events are opened for: the threads there are, the processors online.

use crate::arena::AVec;
use crate::config::units::number;
use crate::facts::lines;
use crate::sys::{self, o};

/// The threads of this process, the first one first.
pub fn list(tids: &mut AVec<u32>) {
    let Ok(fd) = sys::open(c"/proc/self/task", o::RDONLY | o::DIRECTORY, 0) else {
        return;
    };
    let mut buf = [0u64; 256];
    while let Ok(len) = sys::read_directory(fd, &mut buf) {
        if len == 0 {
            break;
        }
        // Each: inode and offset (8 bytes each), length of the entry (2), type (1), name, NUL.
        let bytes = buf.as_slice();
        let byte = |at: usize| {
            let word = bytes.get(at / 8).copied().unwrap_or(0);
            word.to_ne_bytes().get(at % 8).copied().unwrap_or(0)
        };
        let mut at = 0;
        while at + 19 < len {
            let entry_bytes = usize::from(u16::from_ne_bytes([byte(at + 16), byte(at + 17)]));
            let mut name = [0u8; 12];
            for (place, slot) in name.iter_mut().enumerate() {
                *slot = byte(at + 19 + place);
            }
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            if let Some(tid) = number(name) {
                tids.try_push(tid as u32);
            }
            if entry_bytes == 0 {
                break;
            }
            at += entry_bytes;
        }
    }
    sys::close(fd);
}

/// Numbers of processors, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processors(u64);

impl Processors {
    /// The lowest.
    pub fn first(self) -> Option<u32> {
        self.iter().next()
    }

    /// Ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..u64::BITS).filter(move |cpu| self.0 >> cpu & 1 != 0)
    }
}

/// Those that are online; `None` if there is one from `end` on, or none can be told.
pub fn processors(end: u32) -> Option<Processors> {
    let mut buf = [0u8; 128];
    let len = lines::read_start(c"/sys/devices/system/cpu/online", &mut buf).ok()?;
    parse(buf.get(..len)?.trim_ascii(), end)
}

/// `0-3,6`.
fn parse(text: &[u8], end: u32) -> Option<Processors> {
    let mut set = 0u64;
    for part in text.split(|&byte| byte == b',') {
        let mut ends = part.splitn(2, |&byte| byte == b'-');
        let first = number(ends.next()?)?;
        let last = match ends.next() {
            Some(text) => number(text)?,
            None => first,
        };
        if last < first || last >= u64::from(end.min(u64::BITS)) {
            return None;
        }
        (first..=last).for_each(|cpu| set |= 1 << cpu);
    }
    Some(Processors(set)).filter(|_| set != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn lists_of_processors() {
        let of = |text: &str| Some(parse(text.as_bytes(), 64)?.iter().collect::<Vec<u32>>());
        assert_eq!(of("0-2,5"), Some([0, 1, 2, 5].to_vec()));
        assert_eq!(of("0"), Some([0].to_vec()));
        assert_eq!(of("0-63").map(|list| list.len()), Some(64));
        for bad in ["", "x", "3-1", "0-64", "1,"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert!(processors(64).is_some_and(|set| set.first().is_some()));
    }

    #[test]
    fn threads_of_this_process() {
        let mut tids = AVec::new();
        list(&mut tids);
        assert_eq!(tids.get(0), Some(&std::process::id()));
        assert!(tids.as_slice().contains(&sys::gettid()));
        let count = std::fs::read_dir("/proc/self/task").unwrap().count();
        assert!(tids.len() + 8 >= count, "{} of {count}", tids.len());
    }
}
