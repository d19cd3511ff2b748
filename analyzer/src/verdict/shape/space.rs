//! What one more column explains of a curve, beside columns that are there in any case.
//!
//! For each of some values of rho the columns that are there are whitened and made orthonormal once; a
//! further column then costs a few products. This is what makes it cheap to try hundreds of shapes.

use super::ar1::{dot, products};

/// Values of rho, about evenly apart in atanh(rho), where likelihoods are about equally wide.
const RHOS: [f64; 8] = [0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.88, 0.95];

/// A curve and the columns that explain it in any case.
pub struct Space {
    points: usize,
    floor: f64,
    layers: Vec<Layer>,
}

/// All of it for one rho.
struct Layer {
    rho: f64,
    /// Whitened and orthonormal, then such that the product with a column is that with the whitened one.
    known_back: Vec<Vec<f64>>,
    /// What is left of the whitened curve, in the same way.
    left_back: Vec<f64>,
    power: f64,
}

/// How well a column explains what is left.
#[derive(Clone, Copy, Debug)]
pub struct Gain {
    /// Twice the log-likelihood, maximised over rho.
    pub likelihood2: f64,
    /// Sign of the coefficient there.
    pub rises: bool,
}

impl Space {
    /// Of the series `y` and `columns`, which are left out where they say nothing new; `floor` is the
    /// least sum of squares that is taken for noise.
    pub fn new(columns: &[Vec<f64>], y: &[f64], floor: f64) -> Self {
        let layer = |rho: &f64| {
            let mut known: Vec<Vec<f64>> = Vec::with_capacity(columns.len());
            for column in columns {
                let mut direction = whiten(column, *rho);
                let before = dot(&direction, &direction);
                // Twice, for the rounding of the first time.
                for _ in 0..2 {
                    known.iter().for_each(|own| remove(&mut direction, own));
                }
                let norm = dot(&direction, &direction);
                if norm > before * 1e-9 && norm > 0.0 {
                    let scale = norm.sqrt().recip();
                    direction.iter_mut().for_each(|value| *value *= scale);
                    known.push(direction);
                }
            }
            let mut left = whiten(y, *rho);
            for _ in 0..2 {
                known.iter().for_each(|own| remove(&mut left, own));
            }
            let power = dot(&left, &left);
            Layer {
                rho: *rho,
                known_back: known.iter().map(|own| back(own, *rho)).collect(),
                left_back: back(&left, *rho),
                power,
            }
        };
        Self {
            points: y.len(),
            floor,
            layers: RHOS.iter().map(layer).collect(),
        }
    }

    /// Twice the log-likelihood without any further column.
    pub fn plain(&self) -> f64 {
        let values: Vec<f64> = self
            .layers
            .iter()
            .map(|layer| self.likelihood2(layer, 0.0))
            .collect();
        peak(&values)
    }

    /// With `column`; `None` if it says nothing new.
    pub fn with(&self, column: &[f64]) -> Option<Gain> {
        let [all, shifted, inner] = products(column, column);
        let mut values = [f64::NEG_INFINITY; RHOS.len()];
        let (mut best, mut rises) = (f64::NEG_INFINITY, false);
        for (layer, value) in self.layers.iter().zip(&mut values) {
            let along = dot(column, &layer.left_back);
            let before = all - layer.rho * shifted + layer.rho * layer.rho * inner;
            let known = layer.known_back.iter().map(|own| dot(column, own).powi(2));
            let norm = before - known.sum::<f64>();
            if norm <= before * 1e-6 {
                return None;
            }
            *value = self.likelihood2(layer, along * along / norm);
            if *value > best {
                (best, rises) = (*value, along > 0.0);
            }
        }
        Some(Gain {
            likelihood2: peak(&values),
            rises,
        })
    }

    /// With two columns; about, from half of the values of rho.
    pub fn with_pair(&self, a: &[f64], b: &[f64]) -> Option<f64> {
        let (of_a, of_b, of_both) = (products(a, a), products(b, b), products(a, b));
        let layers = self.layers.iter().step_by(2);
        let values = layers.filter_map(|layer| {
            let at_rho = |[all, shifted, inner]: [f64; 3]| {
                all - layer.rho * shifted + layer.rho * layer.rho * inner
            };
            let (mut aa, mut bb, mut ab) = (at_rho(of_a), at_rho(of_b), at_rho(of_both));
            for own in &layer.known_back {
                let (along_a, along_b) = (dot(a, own), dot(b, own));
                aa -= along_a * along_a;
                bb -= along_b * along_b;
                ab -= along_a * along_b;
            }
            let (ya, yb) = (dot(a, &layer.left_back), dot(b, &layer.left_back));
            let determinant = aa * bb - ab * ab;
            if determinant <= 1e-9 * aa * bb || aa <= 0.0 {
                return None;
            }
            let explained = (ya * ya * bb - 2.0 * ya * yb * ab + yb * yb * aa) / determinant;
            Some(self.likelihood2(layer, explained))
        });
        values.reduce(f64::max)
    }

    fn likelihood2(&self, layer: &Layer, explained: f64) -> f64 {
        let own = 1.0 - layer.rho * layer.rho;
        let rss = (layer.power - explained).max(self.floor * own);
        own.ln() - self.points as f64 * (rss / self.points as f64).ln()
    }
}

/// The highest of `values` at [`RHOS`], between them by a parabola.
fn peak(values: &[f64]) -> f64 {
    let best = (0..values.len())
        .max_by(|a, b| values[*a].total_cmp(&values[*b]))
        .unwrap_or(0);
    let Some(&top) = values.get(best) else {
        return f64::NEG_INFINITY;
    };
    if best == 0 || best + 1 == values.len() {
        return top;
    }
    let (x0, x1, x2) = (
        RHOS[best - 1].atanh(),
        RHOS[best].atanh(),
        RHOS[best + 1].atanh(),
    );
    let (d0, d2) = (values[best - 1] - top, values[best + 1] - top);
    let (h0, h2) = (x0 - x1, x2 - x1);
    // top + a·h + b·h² through both neighbours.
    let b = (d2 / h2 - d0 / h0) / (h2 - h0);
    let a = d0 / h0 - b * h0;
    if b < 0.0 {
        top - a * a / (4.0 * b)
    } else {
        top
    }
}

fn whiten(column: &[f64], rho: f64) -> Vec<f64> {
    let mut white = Vec::with_capacity(column.len());
    let first = column
        .first()
        .map_or(0.0, |first| first * (1.0 - rho * rho).sqrt());
    white.push(first);
    white.extend(column.windows(2).map(|pair| pair[1] - rho * pair[0]));
    white
}

fn remove(from: &mut [f64], direction: &[f64]) {
    let along = dot(from, direction);
    for (value, unit) in from.iter_mut().zip(direction) {
        *value -= along * unit;
    }
}

/// The transpose of [`whiten`]: its product with a column is that of `white` with the whitened column.
fn back(white: &[f64], rho: f64) -> Vec<f64> {
    let own = (1.0 - rho * rho).sqrt();
    let scaled = |i: usize| if i == 0 { own * white[0] } else { white[i] };
    (0..white.len())
        .map(|i| scaled(i) - white.get(i + 1).map_or(0.0, |next| rho * next))
        .collect()
}
