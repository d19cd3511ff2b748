//! Excursions: short stretches far from their surroundings.

use super::super::stats::quantile;

/// A curve without its excursions.
#[derive(Clone, Debug)]
pub struct Cleaned {
    /// The curve; where an excursion was, the local median.
    pub y: Vec<f64>,
    /// Excursions as first point, number of points and greatest distance (signed).
    pub excursions: Vec<(usize, usize, f64)>,
    /// Points that fall short by as much.
    pub dips: Vec<usize>,
    /// Robust standard deviation around the running median.
    pub spread: f64,
}

/// A share of points above which what stands out is the rule and not an excursion.
const MOST: f64 = 0.12;
/// Distance in robust standard deviations.
const FAR: f64 = 4.5;

/// Hampel's (1974) identifier over a running median; leaves a curve as it is in which more than an
/// eighth of the points stand out, as those of a task that comes again do. `floor` is the least standard
/// deviation taken for noise.
pub fn clean(y: &[f64], floor: f64) -> Cleaned {
    let n = y.len();
    let reach = (n / 18).clamp(3, 7);
    let local = running_median(y, reach);
    let mut far: Vec<f64> = y
        .iter()
        .zip(&local)
        .map(|(y, local)| (y - local).abs())
        .collect();
    let spread = (1.4826 * quantile(&mut far, 0.5)).max(floor);
    let mut cleaned = Cleaned {
        y: y.to_vec(),
        excursions: Vec::new(),
        dips: Vec::new(),
        spread,
    };
    let mut out = 0;
    for i in 0..n {
        let distance = y[i] - local[i];
        // What falls short is a start, or a restart: it is part of the shape.
        if distance < -FAR * spread {
            cleaned.dips.push(i);
        }
        if distance <= FAR * spread {
            continue;
        }
        out += 1;
        cleaned.y[i] = local[i];
        match cleaned.excursions.last_mut() {
            Some((first, count, highest)) if *first + *count == i => {
                *count += 1;
                if distance.abs() > highest.abs() {
                    *highest = distance;
                }
            }
            _ => cleaned.excursions.push((i, 1, distance)),
        }
    }
    if out as f64 > MOST * n as f64 {
        return Cleaned {
            y: y.to_vec(),
            excursions: Vec::new(),
            ..cleaned
        };
    }
    cleaned
}

/// The median of each point and of so many on both sides.
fn running_median(y: &[f64], reach: usize) -> Vec<f64> {
    let mut window: Vec<f64> = Vec::with_capacity(2 * reach + 2);
    let place = |window: &[f64], value: f64| {
        window.partition_point(|other| other.total_cmp(&value).is_lt())
    };
    for value in y.iter().take(reach) {
        window.insert(place(&window, *value), *value);
    }
    let median = |i: usize| {
        if let Some(value) = y.get(i + reach) {
            window.insert(place(&window, *value), *value);
        }
        if let Some(value) = i.checked_sub(reach + 1).and_then(|gone| y.get(gone)) {
            window.remove(place(&window, *value));
        }
        // As `quantile` has it.
        window.get(window.len() / 2).copied().unwrap_or(0.0)
    };
    (0..y.len()).map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::stats::quantile;
    use super::running_median;

    #[test]
    fn running_medians_are_medians() {
        for points in [1, 5, 8, 40] {
            let y: Vec<f64> = (0..points).map(|i| f64::from(i * 37 % 11)).collect();
            for reach in [1, 3, 7] {
                let of = |i: usize| {
                    let around = i.saturating_sub(reach)..(i + reach + 1).min(y.len());
                    quantile(&mut y[around].to_vec(), 0.5)
                };
                let expected: Vec<f64> = (0..y.len()).map(of).collect();
                assert_eq!(running_median(&y, reach), expected);
            }
        }
    }
}
