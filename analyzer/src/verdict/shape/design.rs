//! Mean curves over a window from 0 to 1, as columns of a design.
//!
//! Knows nothing of data; each curve is a shape that live bytes can have.

use std::rc::Rc;

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

/// Cosine and sine of the first `harmonics` multiples of `cycles` per window. The points lie evenly: each is
/// the one before turned by the same angle.
pub fn waves(x: &[f64], cycles: f64, harmonics: usize) -> Vec<Vec<f64>> {
    let mut all = Vec::with_capacity(2 * harmonics);
    for k in 1..=harmonics {
        let angle = |x: f64| std::f64::consts::TAU * cycles * k as f64 * x;
        let (turn_sine, turn_cosine) = angle(apart(x)).sin_cos();
        let (mut sine, mut cosine) = angle(x.first().copied().unwrap_or(0.0)).sin_cos();
        let (mut cosines, mut sines) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for (cosines, sines) in cosines.iter_mut().zip(&mut sines) {
            (*cosines, *sines) = (cosine, sine);
            (cosine, sine) = (
                cosine * turn_cosine - sine * turn_sine,
                sine * turn_cosine + cosine * turn_sine,
            );
        }
        all.extend([cosines, sines]);
    }
    all
}
