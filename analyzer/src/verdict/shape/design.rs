//! Mean curves over a window from 0 to 1, as columns of a design.
//!
//! Knows nothing of data; each curve is a shape that live bytes can have.

use std::rc::Rc;

use super::super::stats::dot;

/// A column that several designs have.
pub type Column = Rc<[f64]>;

/// Times of `points` grid points: the middles of equal parts of the window.
pub fn times(points: usize) -> Vec<f64> {
    let part = |i: usize| (i as f64 + 0.5) / points as f64;
    (0..points).map(part).collect()
}

/// 1 everywhere.
pub fn constant(x: &[f64]) -> Vec<f64> {
    vec![1.0; x.len()]
}

/// With coefficient b: a curve that is b steep at the end, and bent by the coefficient of [`line`] less b.
pub fn bend(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| (1.0 - x) * (1.0 - x)).collect()
}

/// Exponential growth: e-folds `rate` times over the window; slope 1 at the end.
pub fn exponential(x: &[f64], rate: f64) -> Vec<f64> {
    x.iter().map(|x| (rate * (x - 1.0)).exp() / rate).collect()
}

/// Rises evenly to 1 at `full` and stays.
pub fn ramp(x: &[f64], full: f64) -> Vec<f64> {
    x.iter().map(|x| (x / full).min(1.0)).collect()
}

/// Rises to 1 ever more slowly, with time constant `tau`. The points lie evenly: what is missing shrinks by
/// the same factor from one to the next.
pub fn saturating(x: &[f64], tau: f64) -> Vec<f64> {
    let mut missing = (-x.first().copied().unwrap_or(0.0) / tau).exp();
    let factor = (-apart(x) / tau).exp();
    x.iter()
        .map(|_| {
            let value = 1.0 - missing;
            missing *= factor;
            value
        })
        .collect()
}

/// From each point to the next.
fn apart(x: &[f64]) -> f64 {
    match x {
        [first, second, ..] => second - first,
        _ => 0.0,
    }
}

/// 0 before point `at`, 1 from there on.
pub fn step(x: &[f64], at: usize) -> Vec<f64> {
    (0..x.len()).map(|i| f64::from(i >= at)).collect()
}

/// Cosine and sine of the first `harmonics` multiples of `cycles` per window. The points lie evenly: each eight
/// are the eight before turned by the same angle.
pub fn waves(x: &[f64], cycles: f64, harmonics: usize) -> Vec<Vec<f64>> {
    let mut all = Vec::with_capacity(2 * harmonics);
    for k in 1..=harmonics {
        let angle = |x: f64| std::f64::consts::TAU * cycles * k as f64 * x;
        let first = angle(x.first().copied().unwrap_or(0.0));
        let (mut sine, mut cosine) = ([0.0; EIGHT], [0.0; EIGHT]);
        for (i, (sine, cosine)) in sine.iter_mut().zip(&mut cosine).enumerate() {
            (*sine, *cosine) = (first + angle(apart(x)) * i as f64).sin_cos();
        }
        let (turn_sine, turn_cosine) = (angle(apart(x)) * EIGHT as f64).sin_cos();
        let (mut cosines, mut sines) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for (cosines, sines) in cosines.chunks_mut(EIGHT).zip(sines.chunks_mut(EIGHT)) {
            cosines.copy_from_slice(&cosine[..cosines.len()]);
            sines.copy_from_slice(&sine[..sines.len()]);
            for i in 0..EIGHT {
                (cosine[i], sine[i]) = (
                    cosine[i] * turn_cosine - sine[i] * turn_sine,
                    sine[i] * turn_cosine + cosine[i] * turn_sine,
                );
            }
        }
        all.extend([cosines, sines]);
    }
    all
}

const EIGHT: usize = 8;

/// What a wave would be one point before its first and one behind its last, and the sum of the neighbours of any
/// of its points as a multiple of that point, which is the same everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Edges {
    before: f64,
    behind: f64,
    neighbours: f64,
}

impl Edges {
    /// The [`products`](super::ar1::products) of the wave and another column.
    pub fn products(&self, wave: &[f64], column: &[f64]) -> [f64; 3] {
        let all = dot(wave, column);
        let (Some((a, [.., b])), Some((c, [.., d]))) = (wave.split_first(), column.split_first())
        else {
            return [all, 0.0, 0.0];
        };
        let shifted = self.neighbours * all - self.before * c - self.behind * d;
        [all, shifted, all - a * c - b * d]
    }
}

/// Those of [`waves`].
pub fn wave_edges(x: &[f64], cycles: f64, harmonics: usize) -> Vec<Edges> {
    let ends = x.first().zip(x.last());
    let (first, last) = ends.map_or((0.0, 0.0), |(first, last)| (*first, *last));
    let of = |k: usize| {
        let angle = |x: f64| std::f64::consts::TAU * cycles * k as f64 * x;
        let (sine_before, before) = angle(first - apart(x)).sin_cos();
        let (sine_behind, behind) = angle(last + apart(x)).sin_cos();
        let neighbours = 2.0 * angle(apart(x)).cos();
        [(before, behind), (sine_before, sine_behind)].map(|(before, behind)| Edges {
            before,
            behind,
            neighbours,
        })
    };
    (1..=harmonics).flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::ar1::products;
    use super::{times, wave_edges, waves};

    #[test]
    fn products_of_waves_are_those_of_their_points() {
        for points in [16, 60, 97, 120] {
            let x = times(points);
            let other: Vec<f64> = x.iter().map(|x| 3.0 + x * x).collect();
            for cycles in [1.4, 2.0, 7.77] {
                let (waves, edges) = (waves(&x, cycles, 3), wave_edges(&x, cycles, 3));
                let angle = |k: f64, x: f64| std::f64::consts::TAU * cycles * k * x;
                assert!((waves[5][points - 1] - angle(3.0, x[points - 1]).sin()).abs() < 1e-12);
                for (wave, edges) in waves.iter().zip(&edges) {
                    for column in waves.iter().chain([&other]) {
                        let (own, by_points) =
                            (edges.products(wave, column), products(wave, column));
                        let same = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
                        assert!(
                            own.iter().zip(&by_points).all(same),
                            "{own:?} {by_points:?}"
                        );
                    }
                }
            }
        }
    }
}
