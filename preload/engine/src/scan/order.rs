//! Owns sorting with pauses: millions of blocks take a second, and a scan has only a share of it.

use super::memory::Stop;

/// Elements that are sorted, or told apart, without a pause: a few milliseconds' work.
const AT_ONCE: usize = 64 << 10;
/// Elements of which one is chosen to tell the others apart by.
const SAMPLE: usize = 63;
/// Parts that wait to be sorted: of two the larger one waits, so that each is half of another.
const MOST_PARTS: usize = 64;

/// Sorts by keys, and calls `rest` after each few milliseconds' work; what it returns ends it.
pub fn sort_by_key<T>(
    all: &mut [T],
    key: impl Fn(&T) -> u64 + Copy,
    rest: &mut dyn FnMut() -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut waiting: [&mut [T]; MOST_PARTS] = core::array::from_fn(|_| Default::default());
    let mut count = 0;
    let mut part = all;
    loop {
        let pivot = (part.len() > AT_ONCE).then(|| middle(part, key)).flatten();
        let (low, high) = match pivot {
            Some(pivot) => divide(part, |it| key(it) < pivot, rest)?,
            None => (part, Default::default()),
        };
        let (small, large) = if low.len() < high.len() {
            (low, high)
        } else {
            (high, low)
        };
        // Keys that are nearly all the same are not told apart by one of them.
        let slot = waiting
            .get_mut(count)
            .filter(|_| small.len() > large.len() / 64);
        if let Some(slot) = slot {
            *slot = large;
            count += 1;
            part = small;
            continue;
        }
        for piece in [small, large] {
            piece.sort_unstable_by_key(key);
        }
        rest()?;
        let Some(next) = count.checked_sub(1).and_then(|at| waiting.get_mut(at)) else {
            return Ok(());
        };
        part = core::mem::take(next);
        count -= 1;
    }
}

/// The middle one of some keys.
fn middle<T>(part: &[T], key: impl Fn(&T) -> u64) -> Option<u64> {
    let mut sample = [0; SAMPLE];
    let step = (part.len() / SAMPLE).max(1);
    for (to, from) in sample.iter_mut().zip(part.iter().step_by(step)) {
        *to = key(from);
    }
    sample.sort_unstable();
    sample.get(SAMPLE / 2).copied()
}

/// Puts those that `is_low` in front; both parts.
fn divide<'a, T>(
    part: &'a mut [T],
    is_low: impl Fn(&T) -> bool,
    rest: &mut dyn FnMut() -> Result<(), Stop>,
) -> Result<(&'a mut [T], &'a mut [T]), Stop> {
    let (mut low, mut looked) = (0, 0);
    let mut both = part.iter_mut();
    while let Some(left) = both.next() {
        looked += 1;
        if looked % AT_ONCE == 0 {
            rest()?;
        }
        if !is_low(left) {
            let Some(right) = both.rfind(|it| is_low(it)) else {
                break;
            };
            core::mem::swap(left, right);
        }
        low += 1;
    }
    Ok(part.split_at_mut_checked(low).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    fn check(mut keys: Vec<u64>) -> usize {
        let mut expected = keys.clone();
        expected.sort();
        let mut rests = 0;
        let sorted = sort_by_key(&mut keys, |key| *key, &mut || {
            rests += 1;
            Ok(())
        });
        assert!(sorted.is_ok() && keys == expected);
        rests
    }

    #[test]
    fn sorts_as_the_standard_library_does_and_rests() {
        let mut state = 88_172_645_463_325_252u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        const MANY: u64 = 1 << 20;
        assert_eq!(check(Vec::new()), 1);
        assert_eq!(check((0..1000).rev().collect()), 1);
        // At least once for as many as are sorted at once.
        let often = MANY as usize / AT_ONCE;
        assert!(check((0..MANY).map(|_| random()).collect()) >= often);
        assert!(check((0..MANY).collect()) >= often);
        assert!(check((0..MANY).rev().collect()) >= often);
        assert!(check((0..MANY).map(|_| random() % 1000).collect()) >= often);
        check((0..MANY).map(|_| random() % 3).collect());
        check(vec![7; MANY as usize]);
        check((0..MANY).map(|n| if n % 64 == 0 { n } else { 5 }).collect());
    }

    #[test]
    fn ends_when_it_must() {
        let mut keys: Vec<u64> = (0..1 << 20).rev().collect();
        let mut left = 3;
        let ended = sort_by_key(&mut keys, |key| *key, &mut || {
            left -= 1;
            if left == 0 { Err(Stop::Late) } else { Ok(()) }
        });
        assert!(matches!(ended, Err(Stop::Late)) && left == 0);
        keys.sort();
        assert!(keys.into_iter().eq(0..1 << 20), "none is lost");
    }
}
