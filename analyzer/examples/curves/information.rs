//! How well a curve's shape can be told at all, whatever the method.
//!
//! For noise that is a stationary first-order autoregression with known coefficient and variance, the
//! distance between two mean curves in units of sigma is the Euclidean norm of their whitened
//! difference. It is the z-value of the most powerful test between them (Neyman & Pearson): below
//! 5 sigma no method finds the one in 90% of the cases while it takes the other for it once in 10,000;
//! below 4.65 none is right in 99% on both sides.

/// Norm of what is left of the whitened `mean` when the whitened `simpler` curves are fitted to it.
pub fn sigmas(mean: &[f64], simpler: &[Vec<f64>], sd: f64, rho: f64) -> f64 {
    let mut left = whiten(mean, sd, rho);
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for curve in simpler {
        let mut direction = whiten(curve, 1.0, rho);
        for known in &basis {
            remove(&mut direction, known);
        }
        let norm = dot(&direction, &direction).sqrt();
        if norm > 1e-9 {
            direction.iter_mut().for_each(|value| *value /= norm);
            basis.push(direction);
        }
    }
    for direction in &basis {
        remove(&mut left, direction);
    }
    dot(&left, &left).sqrt()
}

/// A curve that is 1 everywhere.
pub fn constant(points: usize) -> Vec<f64> {
    vec![1.0; points]
}

/// A curve that rises from 0 to 1.
pub fn line(points: usize) -> Vec<f64> {
    (0..points).map(|i| i as f64 / points as f64).collect()
}

fn whiten(curve: &[f64], sd: f64, rho: f64) -> Vec<f64> {
    let fresh = sd * (1.0 - rho * rho).sqrt();
    let first = curve.first().map(|first| first / sd);
    let rest = curve
        .windows(2)
        .map(|pair| (pair[1] - rho * pair[0]) / fresh);
    first.into_iter().chain(rest).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn remove(from: &mut [f64], direction: &[f64]) {
    let along = dot(from, direction);
    from.iter_mut()
        .zip(direction)
        .for_each(|(value, unit)| *value -= along * unit);
}
