//! What one more column explains of a curve, beside columns that are there in any case.
//!
//! For each of some values of rho the columns that are there are whitened and made orthonormal once. Products
//! of whitened columns are quadratic in rho, so that a further column costs three products with each of
//! those that are there, whatever the number of values. This is what makes it cheap to try hundreds of shapes.

use std::rc::Rc;

use super::super::wide;
use super::ar1::{MAX_COLUMNS, products};
use super::design::Column;
use super::factor::{self, Factor, at_rho};
use super::grid::{Family, Waves};
use super::known::{Known, Series};

/// Values of rho, about evenly apart in atanh(rho), where likelihoods are about equally wide.
const RHOS: [f64; LAYERS] = [0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.88, 0.95];
const LAYERS: usize = 8;
/// Their atanh.
const ATANH_RHOS: [f64; LAYERS] = [
    0.0,
    0.202_732_554_054_082_2,
    0.423_648_930_193_601_8,
    0.618_381_313_574_463_6,
    0.867_300_527_694_053_1,
    1.098_612_288_668_109_8,
    1.375_767_656_520_974_2,
    1.831_780_823_064_822_7,
];
/// Less of a column is no direction of its own.
const NEW: f64 = 1e-9;

/// One value for each of [`RHOS`], side by side: the processor does several at once.
type Lanes = factor::Lanes<LAYERS>;

/// A curve and the columns that explain it in any case.
pub struct Space<'a> {
    series: &'a Series,
    points: usize,
    /// The columns, then the curve.
    base: Vec<Rc<Known>>,
    /// Orthonormal directions, one for each column that says something new, as sums of the whitened columns
    /// with these sizes, which are 0 for those that come later.
    known: Vec<Vec<Lanes>>,
    /// What is left of the whitened curve, as such a sum; the size of the curve itself is 1.
    left: Vec<Lanes>,
    power: Lanes,
    /// 1 - rho².
    own: Lanes,
    /// What makes the residual sums of squares of different rho comparable: the likelihood is that of a sum
    /// so many times as large with a rho of 0.
    scale: Lanes,
}

/// A further column along each direction that is known, and along what is left of the curve.
struct Seen<const N: usize> {
    known: [Lanes; N],
    left: Lanes,
}

/// Most of the time there are no more columns than these, with the curve.
const FEW: usize = 8;
/// There never are more.
const MOST: usize = MAX_COLUMNS + 1;

/// A column as a [`Space`] sees it.
pub struct Sighted {
    values: Vec<f64>,
    /// Along each known direction.
    known: Vec<Lanes>,
    /// Along what is left of the curve.
    left: Lanes,
}

/// How well a column explains what is left.
#[derive(Clone, Copy, Debug)]
pub struct Gain {
    /// Twice the log-likelihood, maximised over rho.
    pub likelihood2: f64,
    /// Sign of the coefficient there.
    pub rises: bool,
}

impl<'a> Space<'a> {
    /// Of a curve and `columns`, which are left out where they say nothing new.
    pub fn new(series: &'a Series, columns: &[Column]) -> Self {
        let columns = columns.iter().map(|column| series.known(column));
        let base: Vec<Rc<Known>> = columns.chain([series.y.clone()]).collect();
        let mut factor = Factor::new(RHOS);
        let mut left = Vec::new();
        let mut power = [0.0; LAYERS];
        for (place, column) in base.iter().enumerate() {
            let before = base[..place].iter();
            let beside: Vec<[f64; 3]> = before.map(|it| it.products(&column.values)).collect();
            let own = column.products(&column.values);
            if place + 1 < base.len() {
                factor.push(&beside, own, NEW);
                continue;
            }
            let row = factor.row(&beside, own);
            left = vec![[0.0; LAYERS]; base.len()];
            left[place] = [1.0; LAYERS];
            for (along, direction) in row.along.iter().zip(factor.directions()) {
                for (left, size) in left.iter_mut().zip(&direction) {
                    for lane in 0..LAYERS {
                        left[lane] -= along[lane] * size[lane];
                    }
                }
            }
            power = row.rest.map(|rest| rest.max(0.0));
        }
        Self {
            series,
            points: series.y().len(),
            base,
            known: factor.directions(),
            left,
            power,
            own: RHOS.map(|rho| 1.0 - rho * rho),
            scale: RHOS.map(|rho| (1.0 - rho * rho).powf(-1.0 / series.y().len() as f64)),
        }
    }

    /// Twice the log-likelihood without any further column.
    pub fn plain(&self) -> f64 {
        self.peak(&self.rest(&[0.0; LAYERS])).0
    }

    /// With `column`; `None` if it says nothing new.
    pub fn with(&self, column: &[f64]) -> Option<Gain> {
        self.gain(products(column, column), &self.beside(column))
    }

    /// With a shape that all curves are compared with.
    pub fn with_member(&self, family: Family, place: usize) -> Option<Gain> {
        let member = self.series.grid.atoms(family).get(place)?;
        match self.base.len() {
            ..=FEW => self.gain(member.own, &self.beside_member::<FEW>(family, place)),
            _ => self.gain(member.own, &self.beside_member::<MOST>(family, place)),
        }
    }

    /// The [`products`] of `column` with the columns that are there and with the curve.
    fn beside(&self, column: &[f64]) -> [[f64; 3]; MOST] {
        let mut beside = [[0.0; 3]; MOST];
        for (parts, base) in beside.iter_mut().zip(&self.base) {
            *parts = base.products(column);
        }
        beside
    }

    /// The same of a column of a family.
    fn beside_member<const N: usize>(&self, family: Family, place: usize) -> [[f64; 3]; N] {
        let mut beside = [[0.0; 3]; N];
        for (parts, base) in beside.iter_mut().zip(&self.base) {
            *parts = base.with(family, &self.series.grid)[place];
        }
        beside
    }

    /// The gain of a column from its products with itself and with what is there.
    fn gain(&self, own: [f64; 3], beside: &[[f64; 3]]) -> Option<Gain> {
        let (left, explained) = match self.base.len() {
            ..=FEW => self.explained::<FEW>(own, beside),
            _ => self.explained::<MOST>(own, beside),
        }?;
        let (likelihood2, best) = self.peak(&self.rest(&explained));
        Some(Gain {
            likelihood2,
            rises: left[best] > 0.0,
        })
    }

    /// The column along what is left of the curve, and how much of that it explains.
    fn explained<const N: usize>(
        &self,
        own: [f64; 3],
        beside: &[[f64; 3]],
    ) -> Option<(Lanes, Lanes)> {
        let seen = self.seen::<N>(beside);
        let before = at_rhos(own);
        let mut known = [0.0; LAYERS];
        for along in seen.known.iter().take(self.known.len()) {
            for (known, along) in known.iter_mut().zip(along) {
                *known += along * along;
            }
        }
        let mut explained = [0.0; LAYERS];
        let mut new = true;
        for lane in 0..LAYERS {
            let norm = before[lane] - known[lane];
            new &= norm > before[lane] * 1e-6;
            explained[lane] = seen.left[lane] * seen.left[lane] / norm;
        }
        new.then_some((seen.left, explained))
    }

    /// Of a column with these products. `N` is at least as much as there are columns, and one for the curve.
    fn seen<const N: usize>(&self, beside: &[[f64; 3]]) -> Seen<N> {
        wide::compiled(Sums::<N> {
            space: self,
            beside,
        })
    }

    /// What a column has along each direction that is known, for each rho.
    pub fn sight(&self, values: Vec<f64>) -> Sighted {
        let seen = self.seen::<MOST>(&self.beside(&values));
        Sighted {
            known: seen.known[..self.known.len()].to_vec(),
            left: seen.left,
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
        let mut explained = [0.0; LAYERS];
        let mut last = [0.0; LAYERS];
        for (lane, rho) in RHOS.iter().enumerate() {
            let known = |a: usize, b: usize| -> f64 {
                let both = columns[a].known.iter().zip(&columns[b].known);
                both.map(|(a, b)| a[lane] * b[lane]).sum()
            };
            let mut lower = [[0.0; N]; N];
            let mut left = [0.0; N];
            for i in 0..N {
                let before = at_rho(parts[i][i], *rho);
                for j in 0..i {
                    let shared: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                    let value = at_rho(parts[i][j], *rho) - known(i, j) - shared;
                    lower[i][j] = match lower[j][j] {
                        pivot if pivot > 0.0 => value / pivot,
                        _ => 0.0,
                    };
                }
                let shared: f64 = (0..i).map(|k| lower[i][k] * lower[i][k]).sum();
                let norm = before - known(i, i) - shared;
                let is_last = i + 1 == N;
                if norm <= before * if is_last { 1e-6 } else { 1e-9 } {
                    if is_last {
                        return None;
                    }
                    continue;
                }
                lower[i][i] = norm.sqrt();
                let others: f64 = (0..i).map(|k| lower[i][k] * left[k]).sum();
                left[i] = (columns[i].left[lane] - others) / lower[i][i];
                explained[lane] += left[i] * left[i];
            }
            last[lane] = left[N - 1];
        }
        let (likelihood2, best) = self.peak(&self.rest(&explained));
        Some(Gain {
            likelihood2,
            rises: last[best] > 0.0,
        })
    }

    /// With a step up at each point but the first, in their order: what [`Self::with`] says of 0 before the
    /// point and 1 from there on.
    pub fn with_steps(&self) -> Vec<Option<Gain>> {
        let n = self.points;
        let all: Vec<&[[f64; 3]]> = self.base.iter().map(|base| base.with_steps()).collect();
        let gain = |at: usize| {
            let mut beside = [[0.0; 3]; MOST];
            for (parts, steps) in beside.iter_mut().zip(&all) {
                *parts = steps[at - 1];
            }
            let ones = (n - at) as f64;
            let own = [ones, 2.0 * (ones - 1.0), ones - 1.0];
            self.gain(own, &beside)
        };
        (1..n).map(gain).collect()
    }

    /// With both columns of the waves at this place of the grid; about, from half of the values of rho.
    pub fn with_waves(&self, place: usize) -> Option<f64> {
        let waves = self.series.grid.waves().get(place)?;
        match self.base.len() {
            ..=FEW => self.with_both::<FEW>(waves, place),
            _ => self.with_both::<MOST>(waves, place),
        }
    }

    fn with_both<const N: usize>(&self, waves: &Waves, place: usize) -> Option<f64> {
        let [mut aa, mut bb, mut ab] = waves.own.map(at_rhos);
        let [a, b] = [0, 1]
            .map(|at| self.seen::<N>(&self.beside_member::<N>(Family::Waves, 2 * place + at)));
        let known = self.known.len();
        for (along_a, along_b) in a.known.iter().zip(&b.known).take(known) {
            for lane in 0..LAYERS {
                aa[lane] -= along_a[lane] * along_a[lane];
                bb[lane] -= along_b[lane] * along_b[lane];
                ab[lane] -= along_a[lane] * along_b[lane];
            }
        }
        let (ya, yb) = (a.left, b.left);
        let mut explained = [f64::NEG_INFINITY; LAYERS];
        for lane in 0..LAYERS {
            let (aa, bb, ab, ya, yb) = (aa[lane], bb[lane], ab[lane], ya[lane], yb[lane]);
            let determinant = aa * bb - ab * ab;
            if determinant > 1e-9 * aa * bb && aa > 0.0 {
                explained[lane] = (ya * ya * bb - 2.0 * ya * yb * ab + yb * yb * aa) / determinant;
            }
        }
        // A sum of squares without end is none that was found.
        let rest = self.rest(&explained);
        let least = rest.into_iter().step_by(2).reduce(f64::min)?;
        least.is_finite().then(|| self.likelihood2(least))
    }

    /// For each rho the sum of squares that is left, made comparable, where so much more is explained.
    fn rest(&self, explained: &Lanes) -> Lanes {
        let mut rest = [0.0; LAYERS];
        for lane in 0..LAYERS {
            let squares = self.power[lane] - explained[lane];
            rest[lane] = squares.max(self.series.floor * self.own[lane]) * self.scale[lane];
        }
        rest
    }

    /// Twice the log-likelihood of such a sum.
    fn likelihood2(&self, rest: f64) -> f64 {
        -(self.points as f64) * (rest / self.points as f64).ln()
    }

    /// Twice the log-likelihood where it is highest, between [`RHOS`] by a parabola; and the place of the
    /// highest of these.
    fn peak(&self, rest: &Lanes) -> (f64, usize) {
        let best = (0..LAYERS)
            .max_by(|a, b| rest[*b].total_cmp(&rest[*a]))
            .unwrap_or(0);
        let top = self.likelihood2(rest[best]);
        if best == 0 || best + 1 == LAYERS {
            return (top, best);
        }
        let [x0, x1, x2] = [best - 1, best, best + 1].map(|at| ATANH_RHOS[at]);
        let [d0, d2] = [best - 1, best + 1].map(|at| self.likelihood2(rest[at]) - top);
        let (h0, h2) = (x0 - x1, x2 - x1);
        // top + a·h + b·h² through both neighbours.
        let b = (d2 / h2 - d0 / h0) / (h2 - h0);
        let a = d0 / h0 - b * h0;
        let above = if b < 0.0 { -a * a / (4.0 * b) } else { 0.0 };
        (top + above, best)
    }
}

/// Makes a [`Seen`] of products with what is there.
struct Sums<'a, const N: usize> {
    space: &'a Space<'a>,
    beside: &'a [[f64; 3]],
}

impl<const N: usize> wide::Work for Sums<'_, N> {
    type Outcome = Seen<N>;

    #[inline(always)]
    fn run(self) -> Seen<N> {
        let mut seen = Seen {
            known: [[0.0; LAYERS]; N],
            left: [0.0; LAYERS],
        };
        for (at, (parts, size)) in self.beside.iter().zip(&self.space.left).enumerate() {
            let white = at_rhos(*parts);
            add_lanes(&mut seen.left, size, &white);
            for (along, direction) in seen.known.iter_mut().zip(&self.space.known) {
                if let Some(size) = direction.get(at) {
                    add_lanes(along, size, &white);
                }
            }
        }
        seen
    }
}

/// `size` times `white`, added to `sum`.
#[inline(always)]
fn add_lanes(sum: &mut Lanes, size: &Lanes, white: &Lanes) {
    for lane in 0..LAYERS {
        sum[lane] += size[lane] * white[lane];
    }
}

/// [`at_rho`] for each of [`RHOS`].
#[inline(always)]
fn at_rhos(parts: [f64; 3]) -> Lanes {
    factor::at_rhos(parts, &RHOS)
}
