//! Owns the question whether this process has more rights than whoever started it.

use super::lines;
use crate::sys;

const AT_NULL: u64 = 0;
const AT_SECURE: u64 = 23;

/// True if it has: set-user-ID, set-group-ID, file capabilities, or a security module's word. Then
/// nothing in the environment is to be trusted.
pub fn is_secure() -> bool {
    let mut buf = [0u8; 1024];
    let len = lines::read_start(c"/proc/self/auxv", &mut buf).unwrap_or(0);
    flag(buf.get(..len).unwrap_or_default()).unwrap_or_else(sys::has_changed_ids)
}

fn flag(auxv: &[u8]) -> Option<bool> {
    for entry in auxv.chunks_exact(16) {
        let (key, value) = entry.split_at_checked(8)?;
        match u64::from_ne_bytes(key.try_into().ok()?) {
            AT_SECURE => return Some(u64::from_ne_bytes(value.try_into().ok()?) != 0),
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
        assert_eq!(flag(&auxv(&[(3, 7), (23, 0), (0, 0)])), Some(false));
        assert_eq!(flag(&auxv(&[(3, 7), (23, 1), (0, 0)])), Some(true));
        assert_eq!(flag(&auxv(&[(3, 7), (0, 0), (23, 1)])), None);
        assert_eq!(flag(b"short"), None);
        assert!(!is_secure());
    }
}
