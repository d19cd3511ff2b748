//! A curve as rows of characters, scaled to a range that is told with it.

/// Eighths of a cell, from none.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The range of a chart: narrow curves are not blown up to look like mountains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// At the foot of the lowest row.
    pub low: u64,
    /// At the top of the highest.
    pub high: u64,
}

impl Scale {
    /// From 0, unless that would hide how the curve moves; never less than a twentieth of its top.
    pub fn of(values: impl Iterator<Item = u64>) -> Self {
        let (low, high) = values.fold((u64::MAX, 0), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        if high == 0 || low == u64::MAX {
            return Self { low: 0, high };
        }
        let span = (high - low).max(high / 20);
        let foot = high.saturating_sub(span.saturating_mul(5) / 4);
        Self {
            low: if low < high / 2 { 0 } else { foot },
            high,
        }
    }
}

/// The highest value in each of `columns` equal parts of the time from `from_s` to the last point;
/// a part without a point of its own keeps the value before.
pub fn resample(points: &[(f64, u64)], from_s: f64, columns: usize) -> Vec<u64> {
    let Some(last) = points.last() else {
        return Vec::new();
    };
    let first = points.first().map_or(0.0, |point| point.0).max(from_s);
    let span = last.0 - first;
    if span <= 0.0 || columns == 0 {
        return vec![last.1; columns.min(1)];
    }
    let before = points.iter().take_while(|point| point.0 < first).last();
    let mut now = before.map(|point| point.1);
    let mut cells: Vec<Option<u64>> = vec![None; columns];
    for (t_s, value) in points.iter().filter(|point| point.0 >= first) {
        let cell = ((t_s - first) / span * columns as f64) as usize;
        if let Some(cell) = cells.get_mut(cell.min(columns - 1)) {
            *cell = Some(cell.map_or(*value, |known| known.max(*value)));
        }
    }
    cells
        .into_iter()
        .map(|cell| {
            now = cell.or(now);
            now.unwrap_or(0)
        })
        .collect()
}

/// The rows, the highest first.
pub fn rows(values: &[u64], scale: Scale, height: usize, unicode: bool) -> Vec<String> {
    let span = (scale.high - scale.low).max(1) as f64;
    let level = |value: &u64| {
        let share = value.saturating_sub(scale.low) as f64 / span;
        let eighths = (share * (height * 8) as f64).round() as usize;
        // Something that is there is seen.
        eighths.max(usize::from(*value > 0)).min(height * 8)
    };
    let levels: Vec<usize> = values.iter().map(level).collect();
    (0..height)
        .rev()
        .map(|row| {
            levels
                .iter()
                .map(|level| {
                    let eighths = level.saturating_sub(row * 8).min(8);
                    match unicode {
                        true => BARS.get(eighths).copied().unwrap_or(' '),
                        false if eighths >= 4 => '#',
                        false if eighths > 0 => '.',
                        false => ' ',
                    }
                })
                .collect()
        })
        .collect()
}

/// A curve in one line, from 0.
pub fn line(points: &[(f64, u64)], columns: usize, unicode: bool) -> String {
    let values = resample(points, 0.0, columns);
    let high = values.iter().copied().max().unwrap_or(0);
    let scale = Scale { low: 0, high };
    rows(&values, scale, 1, unicode).pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_a_ramp() {
        let points: Vec<(f64, u64)> = (0..=8_u32).map(|t| (f64::from(t), u64::from(t))).collect();
        assert_eq!(line(&points, 8, true), " ▁▂▃▄▅▆█");
        assert_eq!(line(&points, 8, false), " ...####");
        let values = resample(&points, 0.0, 8);
        assert_eq!(
            rows(&values, Scale { low: 0, high: 8 }, 2, true),
            ["     ▂▄█", " ▂▄▆████"]
        );
    }

    #[test]
    fn parts_without_a_point_keep_the_value_before() {
        let points = [(0.0, 5), (9.0, 9), (10.0, 9)];
        assert_eq!(resample(&points, 0.0, 5), [5, 5, 5, 5, 9]);
        assert_eq!(resample(&points, 5.0, 5), [5, 5, 5, 5, 9]);
        assert_eq!(resample(&[], 0.0, 5), [0; 0]);
        assert_eq!(resample(&[(1.0, 3)], 0.0, 5), [3]);
    }

    #[test]
    fn the_range_shows_movement_and_does_not_exaggerate() {
        assert_eq!(
            Scale::of([0, 50, 100].into_iter()),
            Scale { low: 0, high: 100 }
        );
        let narrow = Scale::of([999, 1000].into_iter());
        assert_eq!(
            narrow,
            Scale {
                low: 1000 - 62,
                high: 1000
            }
        );
        assert_eq!(Scale::of(std::iter::empty()), Scale { low: 0, high: 0 });
    }
}
