//! Owns [`Ranges`], a set of address ranges, and the difference of two.

use crate::arena::AVec;

/// Ranges `(start, end)`; in any order and overlapping until [`Ranges::tidy`].
#[derive(Debug)]
pub struct Ranges(AVec<(usize, usize)>);

impl Ranges {
    /// None.
    pub const fn new() -> Ranges {
        Ranges(AVec::new())
    }

    /// Adds one; false without memory. An empty one is nothing.
    pub fn add(&mut self, start: usize, end: usize) -> bool {
        start >= end || self.0.try_push((start, end))
    }

    /// The ranges.
    pub fn as_slice(&self) -> &[(usize, usize)] {
        self.0.as_slice()
    }

    /// Where the range ends that an address lies in; they must be tidy.
    pub fn end_of(&self, addr: usize) -> Option<usize> {
        let all = self.as_slice();
        let after = all.partition_point(|range| range.0 <= addr);
        let (_, end) = *all.get(after.checked_sub(1)?)?;
        (addr < end).then_some(end)
    }

    /// Sorts them and joins what overlaps or touches.
    pub fn tidy(&mut self) {
        self.0.as_mut_slice().sort_unstable();
        let mut kept = 0usize;
        for at in 0..self.0.len() {
            let Some(&next) = self.0.get(at) else { break };
            let last = kept.checked_sub(1).and_then(|last| self.0.get_mut(last));
            match last {
                Some(last) if next.0 <= last.1 => last.1 = last.1.max(next.1),
                _ => {
                    if let Some(slot) = self.0.get_mut(kept) {
                        *slot = next;
                    }
                    kept += 1;
                }
            }
        }
        while self.0.len() > kept {
            self.0.pop();
        }
    }

    /// Shows what of `[start, end)` is in none of these ranges, which must be tidy; ends early when
    /// `show` says false, and says so.
    pub fn without(
        &self,
        start: usize,
        end: usize,
        mut show: impl FnMut(usize, usize) -> bool,
    ) -> bool {
        let all = self.as_slice();
        let first = all.partition_point(|range| range.1 <= start);
        let mut from = start;
        for &(low, high) in all.get(first..).unwrap_or_default() {
            if low >= end {
                break;
            }
            if low > from && !show(from, low) {
                return false;
            }
            from = from.max(high);
        }
        from >= end || show(from, end)
    }

    /// Shows what of `[start, end)` is in these ranges, which must be tidy; ends early when `show` says false,
    /// and says so.
    pub fn within(
        &self,
        start: usize,
        end: usize,
        mut show: impl FnMut(usize, usize) -> bool,
    ) -> bool {
        let all = self.as_slice();
        let first = all.partition_point(|range| range.1 <= start);
        let from_there = all.get(first..).unwrap_or_default().iter();
        from_there
            .take_while(|range| range.0 < end)
            .all(|&(low, high)| show(low.max(start), high.min(end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn differences_and_what_is_common() {
        let mut ranges = Ranges::new();
        for (start, end) in [(50, 60), (10, 20), (15, 30), (60, 70), (5, 5)] {
            assert!(ranges.add(start, end));
        }
        ranges.tidy();
        assert_eq!(ranges.as_slice(), [(10, 30), (50, 70)]);
        let without = |start, end| {
            let mut left = Vec::new();
            ranges.without(start, end, |a, b| {
                left.push((a, b));
                true
            });
            left
        };
        assert_eq!(without(0, 100), [(0, 10), (30, 50), (70, 100)]);
        assert_eq!(without(12, 28), []);
        assert_eq!(without(20, 55), [(30, 50)]);
        assert_eq!(without(70, 80), [(70, 80)]);
        let within = |start, end| {
            let mut left = Vec::new();
            ranges.within(start, end, |a, b| {
                left.push((a, b));
                true
            });
            left
        };
        assert_eq!(within(0, 100), [(10, 30), (50, 70)]);
        assert_eq!(within(12, 55), [(12, 30), (50, 55)]);
        assert_eq!(within(30, 50), []);
        assert!(!ranges.within(0, 100, |start, _| start > 10));
    }
}
