//! Owns the lists of the threads there are and the processors online.

use crate::arena::AVec;
use crate::config::units::number;
use crate::facts::lines;
use crate::facts::sets::Set;
use crate::sys::{self, CStr, o};

/// The threads of this process, the first one first.
pub fn list(tids: &mut AVec<u32>) {
    list_in(c"/proc/self/task", tids);
}

/// The numbers that entries of a folder have for names.
pub fn list_in(folder: &CStr, tids: &mut AVec<u32>) {
    let Ok(fd) = sys::open(folder, o::RDONLY | o::DIRECTORY, 0) else {
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

/// The processors that are online; `None` if there is one from `end` on, or none can be told.
pub fn processors(end: u32) -> Option<Set> {
    let mut buf = [0u8; 128];
    let len = lines::read_start(c"/sys/devices/system/cpu/online", &mut buf).ok()?;
    let set = Set::parse(buf.get(..len)?.trim_ascii())?;
    set.iter().all(|cpu| cpu < end).then_some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_of_this_machine() {
        assert!(processors(64).is_some_and(|set| set.iter().next().is_some()));
        assert!(processors(0).is_none());
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
