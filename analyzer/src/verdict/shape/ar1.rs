//! Generalised least squares under first-order autoregressive errors.
//!
//! The model is `y = X·beta + e`, `e_t = rho·e_{t-1} + u_t`, u independent normal. For a given rho the
//! Prais–Winsten transformation makes it ordinary least squares; every inner product of transformed
//! columns is a quadratic in rho, so all of them are had from three Gram matrices at once. Rho is found
//! by maximum likelihood (to compare models) or restricted maximum likelihood (for intervals; Patterson &
//! Thompson 1971), between 0 and `MAX_RHO`: negative autocorrelation would make trends look surer.

pub use super::super::stats::dot;

/// Beyond this a window says next to nothing of a trend.
const MAX_RHO: f64 = 0.95;
/// Values of rho over which marginals are integrated.
const GRID: usize = 24;
/// Exponent of 1 - rho² in the prior over atanh(rho); chosen so that intervals hold in 95%.
const PRIOR: f64 = 0.5;
/// A weight that is lost beside 1 in rounding.
const NEXT_TO_NOTHING: f64 = 1e-17;
/// Most columns of a design.
pub const MAX_COLUMNS: usize = 28;

/// Entries of a lower triangle with a row more than there are columns.
const ENTRIES: usize = (MAX_COLUMNS + 1) * (MAX_COLUMNS + 2) / 2;

/// A lower triangle, row after row. Made once for many values of rho: to make one takes as long as to solve.
type Lower = [f64; ENTRIES];

fn entry(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// A design fitted to a series.
#[derive(Clone, Debug)]
pub struct Fit {
    /// Coefficients in the order of the columns.
    pub beta: Vec<f64>,
    /// Their standard errors.
    pub errors: Vec<f64>,
    /// Autocorrelation from point to point.
    pub rho: f64,
    /// Standard deviation of the errors themselves (not of the innovations).
    pub sd: f64,
    /// Twice the maximised log-likelihood, up to a constant of the series.
    pub likelihood2: f64,
}

/// Inner products of all columns and the series, as coefficients of 1, -rho and rho².
pub struct Gram {
    columns: usize,
    points: usize,
    parts: Vec<[f64; 3]>,
    floor: f64,
}

impl Gram {
    /// From `columns` and the series `y`, all of one length. `floor` is the least sum of squares that
    /// is taken for noise: a curve that a design fits better than that is fitted exactly.
    pub fn new(columns: &[&[f64]], y: &[f64], floor: f64) -> Self {
        let count = columns.len();
        let all = |index: usize| if index < count { columns[index] } else { y };
        let mut parts = Vec::with_capacity((count + 1) * (count + 2) / 2);
        for i in 0..=count {
            for j in 0..=i {
                parts.push(products(all(i), all(j)));
            }
        }
        Self {
            columns: count,
            points: y.len(),
            parts,
            floor,
        }
    }

    /// With `more` columns behind the `columns` that it was made from.
    pub fn wider(&self, columns: &[&[f64]], more: &[&[f64]], y: &[f64]) -> Self {
        let (known, with_y) = self.parts.split_at(entry(self.columns, 0));
        let mut parts = known.to_vec();
        for (place, own) in more.iter().enumerate() {
            let others = columns.iter().chain(&more[..=place]);
            parts.extend(others.map(|other| products(own, other)));
        }
        let (columns, itself) = with_y.split_at(self.columns);
        parts.extend(columns);
        parts.extend(more.iter().map(|own| products(y, own)));
        parts.extend(itself);
        Self {
            columns: self.columns + more.len(),
            parts,
            ..*self
        }
    }

    /// Of the first `columns` alone.
    pub fn first(&self, columns: usize) -> Self {
        let columns = columns.min(self.columns);
        let (known, with_y) = self.parts.split_at(entry(self.columns, 0));
        let mut parts = known[..entry(columns, 0)].to_vec();
        parts.extend(&with_y[..columns]);
        parts.extend(&with_y[self.columns..]);
        Self {
            columns,
            parts,
            ..*self
        }
    }

    fn at(&self, i: usize, j: usize, rho: f64) -> f64 {
        let (i, j) = (i.max(j), i.min(j));
        let [one, minus_rho, rho_squared] = self.parts[i * (i + 1) / 2 + j];
        one - rho * minus_rho + rho * rho * rho_squared
    }

    /// The residual sum of squares, of innovations, for a given rho; `None` if the columns are not independent.
    /// `lower` becomes Cholesky's factor of the Gram matrix bordered by y: its last row holds the projection of
    /// y, its last pivot what is left of it.
    fn solve(&self, rho: f64, lower: &mut Lower) -> Option<f64> {
        let p = self.columns;
        for i in 0..=p {
            let row = entry(i, 0);
            for j in 0..=i {
                let other = entry(j, 0);
                let mut value = self.at(i, j, rho);
                for k in 0..j {
                    value -= lower[row + k] * lower[other + k];
                }
                lower[row + j] = if i != j {
                    value / lower[other + j]
                } else if i < p && (value <= self.at(i, i, rho) * 1e-10 || value <= 0.0) {
                    return None;
                } else {
                    value.max(0.0).sqrt()
                };
            }
        }
        let left = lower[entry(p, p)];
        Some((left * left).max(self.floor * (1.0 - rho * rho)))
    }

    fn objective(&self, rho: f64, restricted: bool, lower: &mut Lower) -> Option<f64> {
        let rss = self.solve(rho, lower)?;
        Some(self.worth(rss, lower, rho, restricted))
    }

    fn worth(&self, rss: f64, lower: &Lower, rho: f64, restricted: bool) -> f64 {
        let n = self.points as f64;
        let jacobian = (1.0 - rho * rho).ln();
        if restricted {
            let free = n - self.columns as f64;
            let pivots: f64 = (0..self.columns).map(|i| lower[entry(i, i)]).product();
            jacobian - free * (rss / free).ln() - 2.0 * pivots.ln()
        } else {
            jacobian - n * (rss / n).ln()
        }
    }

    /// The best fit.
    pub fn fit(&self, restricted: bool) -> Option<Fit> {
        if self.points < self.columns + 3 || self.columns > MAX_COLUMNS {
            return None;
        }
        let mut lower = [0.0; ENTRIES];
        let mut value = |rho: f64| {
            let objective = self.objective(rho, restricted, &mut lower);
            objective.unwrap_or(f64::NEG_INFINITY)
        };
        // A grid that is refined around its best value.
        let (mut rho, mut best, mut reach) = (0.0, value(0.0), MAX_RHO / 6.0);
        for i in 1..=6 {
            let (at, now) = (reach * f64::from(i), value(reach * f64::from(i)));
            if now > best {
                (rho, best) = (at, now);
            }
        }
        for _ in 0..4 {
            reach *= 0.5;
            for at in [rho - reach, rho + reach] {
                if !(0.0..=MAX_RHO).contains(&at) {
                    continue;
                }
                let now = value(at);
                if now > best {
                    (rho, best) = (at, now);
                }
            }
        }
        self.at_rho(rho)
    }

    /// Twice the log-likelihood at the best of three values of rho: for searches.
    pub fn about(&self) -> Option<f64> {
        let mut lower = [0.0; ENTRIES];
        let values = [0.0, 0.5, 0.85].map(|rho| self.objective(rho, false, &mut lower));
        values.into_iter().flatten().reduce(f64::max)
    }

    /// What is known of coefficient `column` when rho is not: restricted likelihood over rho, with
    /// Student's t for each rho, integrated (Zellner & Tiao 1964; Berger, Liseo & Wolpert 1999).
    pub fn marginal(&self, column: usize) -> Option<Marginal> {
        let free = self.points as f64 - self.columns as f64;
        // Even steps of atanh(rho), where the likelihood is about equally wide everywhere.
        let rhos = (0..GRID).map(|i| (MAX_RHO.atanh() * i as f64 / (GRID - 1) as f64).tanh());
        let mut lower = [0.0; ENTRIES];
        let parts: Vec<(f64, Part)> = rhos
            .filter_map(|rho| {
                let rss = self.solve(rho, &mut lower)?;
                let worth = self.worth(rss, &lower, rho, true);
                let weight = 0.5 * worth + PRIOR * (1.0 - rho * rho).ln();
                let (mean, error) = self.coefficient(rss, &lower, column)?;
                Some((
                    weight,
                    Part {
                        weight,
                        mean,
                        error,
                    },
                ))
            })
            .collect();
        let highest = parts
            .iter()
            .map(|part| part.0)
            .fold(f64::NEG_INFINITY, f64::max);
        let mut parts: Vec<Part> = parts.into_iter().map(|part| part.1).collect();
        parts
            .iter_mut()
            .for_each(|part| part.weight = (part.weight - highest).exp());
        let sum: f64 = parts.iter().map(|part| part.weight).sum();
        parts.iter_mut().for_each(|part| part.weight /= sum);
        // What no sum of probabilities would show is not worth its logarithms.
        parts.retain(|part| part.weight > NEXT_TO_NOTHING);
        (sum > 0.0).then_some(Marginal { parts, free })
    }

    fn innovation(&self, rss: f64) -> f64 {
        rss / (self.points as f64 - self.columns as f64).max(1.0)
    }

    /// Coefficient and standard error of one column.
    fn coefficient(&self, rss: f64, lower: &Lower, column: usize) -> Option<(f64, f64)> {
        let p = self.columns;
        if column >= p {
            return None;
        }
        // The rows of inverse(L) that belong to the column: their product with the projection of y is
        // the coefficient, their squares sum up to the diagonal of (L·L^T)^-1.
        let mut inverse = [0.0; MAX_COLUMNS];
        let (mut beta, mut squares) = (0.0, 0.0);
        for i in column..p {
            let unit = f64::from(u8::from(i == column));
            let known: f64 = (column..i).map(|k| lower[entry(i, k)] * inverse[k]).sum();
            let value = (unit - known) / lower[entry(i, i)];
            inverse[i] = value;
            beta += value * lower[entry(p, i)];
            squares += value * value;
        }
        Some((beta, (self.innovation(rss) * squares).sqrt()))
    }

    /// The fit for a given rho.
    pub fn at_rho(&self, rho: f64) -> Option<Fit> {
        let mut lower = [0.0; ENTRIES];
        let rss = self.solve(rho, &mut lower)?;
        let (n, p) = (self.points as f64, self.columns);
        let innovation = self.innovation(rss);
        let both: Vec<(f64, f64)> = (0..p)
            .map(|column| self.coefficient(rss, &lower, column))
            .collect::<Option<_>>()?;
        let (beta, errors) = both.into_iter().unzip();
        Some(Fit {
            beta,
            errors,
            rho,
            sd: (innovation / (1.0 - rho * rho)).sqrt(),
            likelihood2: (1.0 - rho * rho).ln() - n * (rss / n).ln(),
        })
    }
}

/// Distribution of a coefficient: a mixture of Student's t, one for each rho.
#[derive(Clone, Debug)]
pub struct Marginal {
    parts: Vec<Part>,
    free: f64,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    weight: f64,
    mean: f64,
    error: f64,
}

impl Marginal {
    /// The mixture of several, each with its weight (Bayesian model averaging; Hoeting et al. 1999).
    pub fn mixture(all: Vec<(f64, Self)>) -> Option<Self> {
        let sum: f64 = all.iter().map(|(weight, _)| weight).sum();
        let free = all.first()?.1.free;
        let mut parts = Vec::new();
        for (weight, marginal) in all {
            parts.extend(marginal.parts.into_iter().map(|part| Part {
                weight: part.weight * weight / sum,
                ..part
            }));
        }
        Some(Self { parts, free })
    }

    /// Probability that the coefficient is above `value`.
    pub fn above(&self, value: f64) -> f64 {
        let part = |part: &Part| part.weight * student((part.mean - value) / part.error, self.free);
        self.parts.iter().map(part).sum()
    }

    /// Mean over rho.
    pub fn mean(&self) -> f64 {
        self.parts.iter().map(|part| part.weight * part.mean).sum()
    }

    /// The value above which the coefficient is with probability `q`: by false position, the Illinois way
    /// (Dowell & Jarratt 1971), on a scale on which the distribution is nearly straight.
    pub fn quantile(&self, q: f64) -> f64 {
        let widest = self.parts.iter().map(|part| part.error).fold(0.0, f64::max);
        let (mean, wanted) = (self.mean(), logit(q));
        let off = |value: f64| logit(self.above(value)) - wanted;
        let (mut low, mut high) = (mean, mean);
        let (mut low_off, mut high_off) = (off(mean), off(mean));
        // Twice as far each time; the tails of a mixture are those of its widest part.
        let mut reach = widest;
        for _ in 0..12 {
            if low_off >= 0.0 && high_off <= 0.0 {
                break;
            }
            if low_off < 0.0 {
                (high, high_off) = (low, low_off);
                low = mean - reach;
                low_off = off(low);
            } else {
                (low, low_off) = (high, high_off);
                high = mean + reach;
                high_off = off(high);
            }
            reach *= 2.0;
        }
        let mut side = 0;
        for _ in 0..60 {
            let span = low_off - high_off;
            let exact = span <= 0.0 || high - low <= 1e-10 * widest;
            if exact || !span.is_finite() {
                break;
            }
            let at = low + (high - low) * low_off / span;
            let at_off = off(at);
            if at_off >= 0.0 {
                (low, low_off) = (at, at_off);
                if side > 0 {
                    high_off *= 0.5;
                }
                side = 1;
            } else {
                (high, high_off) = (at, at_off);
                if side < 0 {
                    low_off *= 0.5;
                }
                side = -1;
            }
            if at_off.abs() < 1e-9 {
                return at;
            }
        }
        0.5 * (low + high)
    }
}

fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-300, 1.0 - 1e-15);
    (p / (1.0 - p)).ln()
}

/// Probability that Student's t with `free` degrees of freedom is below `t`: Wallace's (1959) normal
/// approximation, within 1% of the tail from eight degrees on.
fn student(t: f64, free: f64) -> f64 {
    let z = (8.0 * free + 1.0) / (8.0 * free + 3.0) * (free * (t * t / free).ln_1p()).sqrt();
    let tail = 0.5 * super::super::stats::erfc(z / std::f64::consts::SQRT_2);
    if t < 0.0 { tail } else { 1.0 - tail }
}

/// Inner products from which that of the whitened columns is had for any rho: coefficients of 1, -rho
/// and rho².
pub fn products(a: &[f64], b: &[f64]) -> [f64; 3] {
    let (n, a_next, b_next) = (
        a.len(),
        a.get(1..).unwrap_or(&[]),
        b.get(1..).unwrap_or(&[]),
    );
    let all = dot(a, b);
    let one_way = dot(a_next, &b[..n - 1]);
    let shifted = match std::ptr::eq(a, b) {
        true => 2.0 * one_way,
        false => one_way + dot(&a[..n - 1], b_next),
    };
    let ends = a.first().zip(b.first()).map_or(0.0, |(a, b)| a * b)
        + a.last().zip(b.last()).map_or(0.0, |(a, b)| a * b);
    [all, shifted, all - ends]
}
