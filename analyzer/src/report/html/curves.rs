//! Curves in few characters: whole numbers as base-64 VLQ, as source maps write them.
//!
//! Values are never rounded. When all points of all curves would make the page too large, the
//! lesser sites keep fewer points; those they keep are exact.

/// Six bits per character: five of value, and one that says that more follow.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Moments at which curves have values, at most.
const MOMENTS: usize = 600;

/// Appends a number.
pub fn vlq(mut value: u64, out: &mut String) {
    loop {
        let low = (value & 31) as usize;
        value >>= 5;
        let digit = if value > 0 { low | 32 } else { low };
        out.push(char::from(*DIGITS.get(digit).unwrap_or(&b'A')));
        if value == 0 {
            return;
        }
    }
}

/// A signed difference as an unsigned number: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
pub fn zigzag(before: u64, after: u64) -> u64 {
    let (distance, sign) = match after.checked_sub(before) {
        Some(up) => (up, 0),
        None => (before - after, 1),
    };
    distance.saturating_mul(2).saturating_sub(sign)
}

/// The moments of all curves together, ascending, thinned evenly to [`MOMENTS`].
pub fn moments(curves: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut times: Vec<f64> = curves.collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    if times.len() > MOMENTS {
        let kept = samples(times.len(), MOMENTS);
        times = kept
            .into_iter()
            .filter_map(|index| times.get(index).copied())
            .collect();
    }
    times
}

/// Indices of `points` out of `count` moments: the last of each of as many equal runs.
pub fn samples(count: usize, points: usize) -> Vec<usize> {
    let points = points.min(count);
    (1..=points).map(|cell| cell * count / points - 1).collect()
}

/// The values at `moments` of a curve that keeps its value from point to point, 0 before the first.
pub fn at_moments(curve: &[(f64, u64)], moments: &[f64]) -> Vec<u64> {
    let mut points = curve.iter().peekable();
    let mut now = 0;
    moments
        .iter()
        .map(|moment| {
            while let Some((_, value)) = points.next_if(|point| point.0 <= *moment) {
                now = *value;
            }
            now
        })
        .collect()
}

/// The changes of a curve among the sampled moments: for each the distance to the moment of the
/// last change (the first counts from -1), and the difference.
pub fn pack(values: &[u64], samples: &[usize]) -> String {
    let mut out = String::new();
    let (mut last_at, mut last) = (-1_i64, 0_u64);
    for at in samples {
        let Some(value) = values.get(*at).filter(|value| **value != last) else {
            continue;
        };
        vlq((*at as i64 - last_at) as u64, &mut out);
        vlq(zigzag(last, *value), &mut out);
        (last_at, last) = (*at as i64, *value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A second implementation, as the page's script has it.
    fn unpack(text: &str, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        let (mut value, mut shift) = (0_u128, 0);
        for c in text.bytes() {
            let digit = DIGITS.iter().position(|known| *known == c).unwrap() as u128;
            value += (digit & 31) << shift;
            shift += 5;
            if digit & 32 == 0 {
                numbers.push(value);
                (value, shift) = (0, 0);
            }
        }
        let mut values = vec![0; count];
        let (mut at, mut now) = (-1_i128, 0_i128);
        for pair in numbers.chunks(2) {
            at += pair[0] as i128;
            let half = (pair[1] / 2) as i128;
            now += if pair[1] % 2 == 1 { -half - 1 } else { half };
            for value in &mut values[at as usize..] {
                *value = now as u64;
            }
        }
        values
    }

    proptest! {
        #[test]
        fn curves_come_back(values in prop::collection::vec(0_u64..1 << 60, 0..200)) {
            let all = samples(values.len(), values.len());
            prop_assert_eq!(unpack(&pack(&values, &all), values.len()), values);
        }

        #[test]
        fn kept_points_are_exact(values in prop::collection::vec(0_u64..1 << 40, 1..200), points in 1_usize..40) {
            let kept = samples(values.len(), points);
            prop_assert_eq!(kept.last().copied(), Some(values.len() - 1));
            let back = unpack(&pack(&values, &kept), values.len());
            for at in kept {
                prop_assert_eq!(back[at], values[at]);
            }
        }
    }

    #[test]
    fn small_and_constant_curves_are_short() {
        assert_eq!(pack(&[5, 5, 5], &[0, 1, 2]), "BK");
        assert_eq!(pack(&[0, 0], &[0, 1]), "");
        assert_eq!(
            at_moments(&[(1.0, 7), (3.0, 9)], &[0.5, 1.0, 2.0, 3.5]),
            [0, 7, 7, 9]
        );
        assert_eq!(moments((0..6000).map(f64::from)).len(), MOMENTS);
    }
}
