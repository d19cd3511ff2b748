//! What one more column explains of a curve, beside columns that are there in any case.
//!
//! For each of some values of rho the columns that are there are whitened and made orthonormal once. Products
//! of whitened columns are quadratic in rho, so that a further column costs three products with each of
//! those that are there, whatever the number of values. This is what makes it cheap to try hundreds of shapes.

use super::ar1::{MAX_COLUMNS, dot, products};
use super::grid::Waves;

/// Values of rho, about evenly apart in atanh(rho), where likelihoods are about equally wide.
const RHOS: [f64; 8] = [0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.88, 0.95];

/// A curve and the columns that explain it in any case.
pub struct Space {
    points: usize,
    floor: f64,
    /// The columns, then the curve; each with the sums of its neighbours at every point.
    base: Vec<[Vec<f64>; 2]>,
    layers: Vec<Layer>,
}

/// All of it for one rho.
struct Layer {
    rho: f64,
    /// 1 - rho², and its logarithm.
    own: f64,
    own_ln: f64,
    /// Orthonormal directions, as sums of the whitened columns with these sizes.
    known: Vec<Vec<f64>>,
    /// What is left of the whitened curve, as such a sum; the size of the curve itself is 1.
    left: Vec<f64>,
    power: f64,
}

/// A column as a [`Space`] sees it.
pub struct Sighted {
    values: Vec<f64>,
    /// For each rho: along each known direction, and along what is left of the curve.
    along: Vec<(Vec<f64>, f64)>,
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
        let with_neighbours = |column: &[f64]| {
            let at = |place: Option<usize>| place.and_then(|at| column.get(at)).unwrap_or(&0.0);
            let sum = |i: usize| at(i.checked_sub(1)) + at(i.checked_add(1));
            [column.to_vec(), (0..column.len()).map(sum).collect()]
        };
        let all = columns.iter().map(Vec::as_slice).chain([y]);
        let base = all.map(with_neighbours).collect();
        let layer = |rho: &f64| {
            // Each direction with the sizes that make it.
            let mut known: Vec<(Vec<f64>, Vec<f64>)> = Vec::with_capacity(columns.len());
            let rest = |column: &[f64], place: usize, known: &[(Vec<f64>, Vec<f64>)]| {
                let mut white = whiten(column, *rho);
                let before = dot(&white, &white);
                let mut sizes = vec![0.0; columns.len() + 1];
                sizes[place] = 1.0;
                // Twice, for the rounding of the first time.
                for _ in 0..2 {
                    for (own, of_own) in known {
                        let along = dot(&white, own);
                        add(&mut white, -along, own);
                        add(&mut sizes, -along, of_own);
                    }
                }
                (white, sizes, before)
            };
            for (place, column) in columns.iter().enumerate() {
                let (mut direction, mut sizes, before) = rest(column, place, &known);
                let norm = dot(&direction, &direction);
                if norm > before * 1e-9 && norm > 0.0 {
                    let scale = norm.sqrt().recip();
                    direction.iter_mut().for_each(|value| *value *= scale);
                    sizes.iter_mut().for_each(|size| *size *= scale);
                    known.push((direction, sizes));
                }
            }
            let (white, left, _) = rest(y, columns.len(), &known);
            let own = 1.0 - rho * rho;
            Layer {
                rho: *rho,
                own,
                own_ln: own.ln(),
                known: known.into_iter().map(|(_, sizes)| sizes).collect(),
                left,
                power: dot(&white, &white),
            }
        };
        Self {
            points: y.len(),
            floor,
            base,
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
        self.with_known(column, products(column, column))
    }

    /// With `column`, of which the [`products`] with itself are known.
    pub fn with_known(&self, column: &[f64], own: [f64; 3]) -> Option<Gain> {
        self.gain(own, &self.beside(column))
    }

    /// The [`products`] of `column` with the columns that are there and with the curve.
    fn beside(&self, column: &[f64]) -> Vec<[f64; 3]> {
        let end = column.len() - 1;
        let of = |[other, neighbours]: &[Vec<f64>; 2]| {
            let all = dot(column, other);
            let ends = column[0] * other[0] + column[end] * other[end];
            [all, dot(column, neighbours), all - ends]
        };
        self.base.iter().map(of).collect()
    }

    /// The gain of a column from its products with itself and with what is there.
    fn gain(&self, own: [f64; 3], beside: &[[f64; 3]]) -> Option<Gain> {
        let mut values = [f64::NEG_INFINITY; RHOS.len()];
        let (mut best, mut rises) = (f64::NEG_INFINITY, false);
        for (layer, value) in self.layers.iter().zip(&mut values) {
            let white = layer.white(beside);
            let along = layer.left(&white);
            let before = at_rho(own, layer.rho);
            let known = layer.known(&white).map(|along| along * along);
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

    /// What a column has along each direction that is known, for each rho.
    pub fn sight(&self, values: Vec<f64>) -> Sighted {
        let beside = self.beside(&values);
        let along = |layer: &Layer| {
            let white = layer.white(&beside);
            (layer.known(&white).collect(), layer.left(&white))
        };
        Sighted {
            along: self.layers.iter().map(along).collect(),
            values,
        }
    }

    /// With the last of `columns`, beside the others, of which those are left out that say nothing new;
    /// `None` if the last one says nothing new.
    pub fn with_last<const N: usize>(&self, columns: [&Sighted; N]) -> Option<Gain> {
        let mut parts = [[[0.0; 3]; N]; N];
        for (i, row) in parts.iter_mut().enumerate() {
            for (part, other) in row.iter_mut().zip(&columns).take(i + 1) {
                *part = products(&columns[i].values, &other.values);
            }
        }
        let mut values = [f64::NEG_INFINITY; RHOS.len()];
        let (mut best, mut rises) = (f64::NEG_INFINITY, false);
        for (place, layer) in self.layers.iter().enumerate() {
            let sights = columns.map(|column| &column.along[place]);
            let mut lower = [[0.0; N]; N];
            let (mut left, mut explained) = ([0.0; N], 0.0);
            for i in 0..N {
                let before = at_rho(parts[i][i], layer.rho);
                for j in 0..i {
                    let shared: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                    let known = dot(&sights[i].0, &sights[j].0);
                    let value = at_rho(parts[i][j], layer.rho) - known - shared;
                    lower[i][j] = match lower[j][j] {
                        pivot if pivot > 0.0 => value / pivot,
                        _ => 0.0,
                    };
                }
                let shared: f64 = (0..i).map(|k| lower[i][k] * lower[i][k]).sum();
                let norm = before - dot(&sights[i].0, &sights[i].0) - shared;
                let last = i + 1 == N;
                if norm <= before * if last { 1e-6 } else { 1e-9 } {
                    if last {
                        return None;
                    }
                    continue;
                }
                lower[i][i] = norm.sqrt();
                let others: f64 = (0..i).map(|k| lower[i][k] * left[k]).sum();
                left[i] = (sights[i].1 - others) / lower[i][i];
                explained += left[i] * left[i];
            }
            values[place] = self.likelihood2(layer, explained);
            if values[place] > best {
                (best, rises) = (values[place], left[N - 1] > 0.0);
            }
        }
        Some(Gain {
            likelihood2: peak(&values),
            rises,
        })
    }

    /// With a step up at each point but the first, in their order: what [`Self::with`] says of 0 before the
    /// point and 1 from there on. Products with a step are sums of what comes after, made once for all.
    pub fn with_steps(&self) -> Vec<Option<Gain>> {
        let n = self.points;
        let sums: Vec<Vec<f64>> = self
            .base
            .iter()
            .map(|[values, _]| {
                let mut sums = values.clone();
                sums.push(0.0);
                for i in (0..n).rev() {
                    sums[i] += sums[i + 1];
                }
                sums
            })
            .collect();
        let gain = |at: usize| {
            let beside = self.base.iter().zip(&sums).map(|([values, _], sums)| {
                let last = values[n - 1];
                [
                    sums[at],
                    sums[at - 1] - last + sums[at + 1],
                    sums[at] - last,
                ]
            });
            let ones = (n - at) as f64;
            let own = [ones, 2.0 * (ones - 1.0), ones - 1.0];
            self.gain(own, &beside.collect::<Vec<_>>())
        };
        (1..n).map(gain).collect()
    }

    /// With both columns of `waves`; about, from half of the values of rho.
    pub fn with_waves(&self, waves: &Waves) -> Option<f64> {
        let [of_a, of_b, of_both] = waves.own;
        let [beside_a, beside_b] = [&waves.values[0], &waves.values[1]].map(|it| self.beside(it));
        let layers = self.layers.iter().step_by(2);
        let values = layers.filter_map(|layer| {
            let at_rho = |parts| at_rho(parts, layer.rho);
            let (mut aa, mut bb, mut ab) = (at_rho(of_a), at_rho(of_b), at_rho(of_both));
            let (white_a, white_b) = (layer.white(&beside_a), layer.white(&beside_b));
            for (along_a, along_b) in layer.known(&white_a).zip(layer.known(&white_b)) {
                aa -= along_a * along_a;
                bb -= along_b * along_b;
                ab -= along_a * along_b;
            }
            let (ya, yb) = (layer.left(&white_a), layer.left(&white_b));
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
        let rss = (layer.power - explained).max(self.floor * layer.own);
        layer.own_ln - self.points as f64 * (rss / self.points as f64).ln()
    }
}

impl Layer {
    /// Products of a whitened column with those that are there and the curve.
    fn white(&self, beside: &[[f64; 3]]) -> [f64; MAX_COLUMNS + 1] {
        let mut white = [0.0; MAX_COLUMNS + 1];
        for (white, parts) in white.iter_mut().zip(beside) {
            *white = at_rho(*parts, self.rho);
        }
        white
    }

    /// Along each known direction.
    fn known(&self, white: &[f64; MAX_COLUMNS + 1]) -> impl Iterator<Item = f64> {
        let along = move |sizes: &Vec<f64>| sizes.iter().zip(white).map(|(a, b)| a * b).sum();
        self.known.iter().map(along)
    }

    /// Along what is left of the curve.
    fn left(&self, white: &[f64; MAX_COLUMNS + 1]) -> f64 {
        self.left.iter().zip(white).map(|(a, b)| a * b).sum()
    }
}

/// The product of two whitened columns, from [`products`].
fn at_rho([all, shifted, inner]: [f64; 3], rho: f64) -> f64 {
    all - rho * shifted + rho * rho * inner
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

fn add(to: &mut [f64], size: f64, direction: &[f64]) {
    for (value, unit) in to.iter_mut().zip(direction) {
        *value += size * unit;
    }
}
