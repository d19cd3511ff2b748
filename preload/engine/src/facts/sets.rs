//! Owns sets of processors or nodes, as the kernel writes them: `0-3,6`.

use crate::config::units::number;

const WORDS: usize = 16;

/// Numbers below 1,024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set([u64; WORDS]);

impl Set {
    /// Reads a list; `None` if it is empty, malformed, or holds a number from 1,024 on.
    pub fn parse(text: &[u8]) -> Option<Set> {
        let mut set = Set::default();
        for part in text.split(|&byte| byte == b',') {
            let mut ends = part.splitn(2, |&byte| byte == b'-');
            let first = number(ends.next()?)?;
            let last = match ends.next() {
                Some(text) => number(text)?,
                None => first,
            };
            if last < first || last >= (WORDS * 64) as u64 {
                return None;
            }
            for member in first..=last {
                *set.0.get_mut(member as usize / 64)? |= 1 << (member % 64);
            }
        }
        Some(set).filter(|set| *set != Set::default())
    }

    /// Whether a number is in it.
    pub fn contains(&self, member: u32) -> bool {
        let word = self.0.get(member as usize / 64);
        word.is_some_and(|word| word >> (member % 64) & 1 != 0)
    }

    /// Ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..(WORDS * 64) as u32).filter(move |member| self.contains(*member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn lists() {
        let of = |text: &str| Some(Set::parse(text.as_bytes())?.iter().collect::<Vec<u32>>());
        assert_eq!(of("0-2,5"), Some([0, 1, 2, 5].to_vec()));
        assert_eq!(of("0"), Some([0].to_vec()));
        assert_eq!(of("64-191,1023").map(|list| list.len()), Some(129));
        for bad in ["", "x", "3-1", "0-1024", "1,"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert!(Set::parse(b"7").is_some_and(|set| set.contains(7) && !set.contains(71)));
    }
}
