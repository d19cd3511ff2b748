//! Mean curves over a window from 0 to 1, as columns of a design.
//!
//! Knows nothing of data; each curve is a shape that live bytes can have.

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

/// Rises to 1 ever more slowly, with time constant `tau`.
pub fn saturating(x: &[f64], tau: f64) -> Vec<f64> {
    x.iter().map(|x| 1.0 - (-x / tau).exp()).collect()
}

/// 0 before point `at`, 1 from there on.
pub fn step(x: &[f64], at: usize) -> Vec<f64> {
    (0..x.len()).map(|i| f64::from(i >= at)).collect()
}

/// Cosine and sine of the first `harmonics` multiples of `cycles` per window.
pub fn waves(x: &[f64], cycles: f64, harmonics: usize) -> Vec<Vec<f64>> {
    let angle = |k: usize, x: f64| std::f64::consts::TAU * cycles * k as f64 * x;
    (1..=harmonics)
        .flat_map(|k| {
            let cosine = x.iter().map(|x| angle(k, *x).cos()).collect();
            let sine = x.iter().map(|x| angle(k, *x).sin()).collect();
            [cosine, sine]
        })
        .collect()
}
