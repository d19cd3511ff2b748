//! Finds the key that a misspelt one was meant to be. Never allocates; words longer than any key
//! are nobody's.

/// Longest word that is compared.
const LONGEST: usize = 24;

/// Distances from a prefix of one word to the prefixes of the other.
type Row = [u8; LONGEST + 1];

/// The candidate nearest to `word`, if it is near enough to have been meant: one slip in three
/// letters, at least one. Two letters that changed places are one slip.
pub fn nearest(
    word: &[u8],
    candidates: impl Iterator<Item = &'static [u8]>,
) -> Option<&'static [u8]> {
    let near = (word.len() / 3).max(1);
    let mut best: Option<(usize, &'static [u8])> = None;
    for candidate in candidates {
        let Some(slips) = slips(word, candidate) else {
            continue;
        };
        if slips <= near && best.is_none_or(|(least, _)| slips < least) {
            best = Some((slips, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Letters to leave out, put in, replace or exchange with their neighbour to make one word of the
/// other, each place at most once (optimal string alignment).
fn slips(a: &[u8], b: &[u8]) -> Option<usize> {
    if a.len() > LONGEST || b.len() > LONGEST {
        return None;
    }
    let at = |row: &Row, place: usize| row.get(place).copied().unwrap_or(u8::MAX);
    let mut before_last: Row = [u8::MAX; LONGEST + 1];
    let mut last: Row = core::array::from_fn(|place| place as u8);
    let mut x_before = None;
    for (i, &x) in a.iter().enumerate() {
        let mut row: Row = [u8::MAX; LONGEST + 1];
        if let Some(first) = row.first_mut() {
            *first = i as u8 + 1;
        }
        let mut y_before = None;
        for (j, &y) in b.iter().enumerate() {
            let replaced = at(&last, j).saturating_add(u8::from(x != y));
            let left_out = at(&last, j + 1).saturating_add(1);
            let put_in = at(&row, j).saturating_add(1);
            let mut least = replaced.min(left_out).min(put_in);
            if x_before == Some(y) && y_before == Some(x) && j > 0 {
                least = least.min(at(&before_last, j - 1).saturating_add(1));
            }
            if let Some(slot) = row.get_mut(j + 1) {
                *slot = least;
            }
            y_before = Some(y);
        }
        (before_last, last) = (last, row);
        x_before = Some(x);
    }
    last.get(b.len()).map(|&slips| usize::from(slips))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_computed_by_hand() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "mode", 4),
            ("mode", "", 4),
            ("mode", "mode", 0),
            ("mdoe", "mode", 1),
            ("modes", "mode", 1),
            ("nodes", "mode", 2),
            ("kitten", "sitting", 3),
            ("ca", "abc", 3),
            ("intervall", "interval", 1),
        ] {
            assert_eq!(slips(a.as_bytes(), b.as_bytes()), Some(expected), "{a} {b}");
        }
        assert_eq!(slips(&[b'x'; 25], b"mode"), None);
        assert_eq!(slips(&[b'x'; 24], &[b'y'; 24]), Some(24));
    }
}
