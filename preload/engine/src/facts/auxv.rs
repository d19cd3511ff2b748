//! Owns what the kernel says of itself to a program that it starts: whether the process has more
//! rights than whoever started it, and where the dynamic loader lies.

use super::lines;
use crate::sys;

const AT_NULL: u64 = 0;
const AT_BASE: u64 = 7;
const AT_SECURE: u64 = 23;

/// True if it has: set-user-ID, set-group-ID, file capabilities, or a security module's word. Then
/// nothing in the environment is to be trusted.
pub fn is_secure() -> bool {
    read(AT_SECURE).map_or_else(sys::has_changed_ids, |flag| flag != 0)
}

/// Where the dynamic loader is mapped; `None` if it was started as a program itself.
pub fn loader_base() -> Option<usize> {
    read(AT_BASE)
        .and_then(|base| usize::try_from(base).ok())
        .filter(|base| *base != 0)
}

fn read(key: u64) -> Option<u64> {
    let mut buf = [0u8; 1024];
    let len = lines::read_start(c"/proc/self/auxv", &mut buf).unwrap_or(0);
    value(buf.get(..len).unwrap_or_default(), key)
}

fn value(auxv: &[u8], wanted: u64) -> Option<u64> {
    for entry in auxv.chunks_exact(16) {
        let (key, value) = entry.split_at_checked(8)?;
        match u64::from_ne_bytes(key.try_into().ok()?) {
            key if key == wanted => return Some(u64::from_ne_bytes(value.try_into().ok()?)),
            AT_NULL => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn auxv(entries: &[(u64, u64)]) -> Vec<u8> {
        entries
            .iter()
            .flat_map(|(key, value)| [key.to_ne_bytes(), value.to_ne_bytes()])
            .flatten()
            .collect()
    }

    #[test]
    fn the_kernel_says_so() {
        assert_eq!(value(&auxv(&[(3, 7), (23, 0), (0, 0)]), 23), Some(0));
        assert_eq!(value(&auxv(&[(3, 7), (23, 1), (0, 0)]), 23), Some(1));
        assert_eq!(value(&auxv(&[(3, 7), (0, 0), (23, 1)]), 23), None);
        assert_eq!(value(b"short", 23), None);
        assert!(!is_secure());
    }
}
