//! Change points of the level: where a curve steps, and how far.

/// Segments of constant level.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// First point of each segment but the first.
    pub at: Vec<usize>,
    /// Level of each segment.
    pub levels: Vec<f64>,
    /// Autocorrelation of what is left.
    pub rho: f64,
    /// Twice the maximised log-likelihood, comparable with [`super::ar1::Fit::likelihood2`].
    pub likelihood2: f64,
}

/// Autocorrelation estimated in a way that steps do not disturb: from medians of differences
/// (Chakar, Lebarbier, Lévy-Leduc & Robin 2017).
fn robust_rho(y: &[f64]) -> f64 {
    let median = |lag: usize| {
        let pairs = y.iter().zip(y.iter().skip(lag));
        let mut gaps: Vec<f64> = pairs.map(|(a, b)| (b - a).abs()).collect();
        super::super::stats::quantile(&mut gaps, 0.5)
    };
    let (one, two) = (median(1), median(2));
    if one <= 0.0 {
        0.0
    } else {
        (two * two / (one * one) - 1.0).clamp(0.0, 0.95)
    }
}

/// The steps of `y`: optimal partitioning with pruning (PELT; Killick, Fearnhead & Eckley 2012) under
/// the cost of a first-order autoregression around a level per segment, at most `most` steps; `floor` as
/// in [`super::ar1::Gram::new`]. The penalty is BIC's for two parameters a step.
pub fn steps(y: &[f64], most: usize, floor: f64) -> Option<Steps> {
    let n = y.len();
    if n < 8 {
        return None;
    }
    let rho = robust_rho(y);
    let sums = Sums::new(y, rho);
    // Innovation variance from first differences, which steps touch at few points only.
    let mut jumps: Vec<f64> = y.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let typical = 1.4826 * super::super::stats::quantile(&mut jumps, 0.5);
    let variance =
        (typical * typical * (1.0 + rho) / 2.0).max(floor * (1.0 - rho * rho) / n as f64);
    let mut penalty = 2.0 * (n as f64).ln() * variance;
    for _ in 0..12 {
        let at = partition(&sums, n, penalty);
        if at.len() <= most {
            return Some(describe(&sums, y, at, rho, floor));
        }
        penalty *= 1.7;
    }
    None
}

fn partition(sums: &Sums, n: usize, penalty: f64) -> Vec<usize> {
    const SHORTEST: usize = 2;
    let mut best = vec![f64::INFINITY; n + 1];
    let mut from = vec![0_usize; n + 1];
    best[0] = -penalty;
    let mut alive = vec![0_usize];
    for end in SHORTEST..=n {
        for &start in &alive {
            if end - start < SHORTEST {
                continue;
            }
            let cost = best[start] + sums.cost(start, end) + penalty;
            if cost < best[end] {
                (best[end], from[end]) = (cost, start);
            }
        }
        let limit = best[end];
        alive.retain(|&start| {
            end - start < SHORTEST || best[start] + sums.cost(start, end) <= limit
        });
        alive.push(end + 1 - SHORTEST);
    }
    let mut at = Vec::new();
    let mut end = from[n];
    while end > 0 {
        at.push(end);
        end = from[end];
    }
    at.reverse();
    at
}

fn describe(sums: &Sums, y: &[f64], at: Vec<usize>, rho: f64, floor: f64) -> Steps {
    let n = y.len() as f64;
    let mut edges = vec![0];
    edges.extend(&at);
    edges.push(y.len());
    let spans = || edges.windows(2).map(|pair| (pair[0], pair[1]));
    let rss: f64 = spans().map(|(start, end)| sums.cost(start, end)).sum();
    let rss = rss.max(floor * (1.0 - rho * rho));
    Steps {
        levels: spans().map(|(start, end)| sums.level(start, end)).collect(),
        likelihood2: (at.len() as f64 + 1.0) * (1.0 - rho * rho).ln() - n * (rss / n).ln(),
        at,
        rho,
    }
}

/// Sums from which the cost of any segment is had at once.
struct Sums {
    rho: f64,
    y: Vec<f64>,
    /// Prefix sums of the innovations `y_t - rho·y_{t-1}` and their squares, from the second point on.
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Sums {
    fn new(y: &[f64], rho: f64) -> Self {
        let (mut first, mut second) = (vec![0.0; y.len()], vec![0.0; y.len()]);
        for t in 1..y.len() {
            let innovation = y[t] - rho * y[t - 1];
            first[t] = first[t - 1] + innovation;
            second[t] = second[t - 1] + innovation * innovation;
        }
        Self {
            rho,
            y: y.to_vec(),
            first,
            second,
        }
    }

    /// Weighted count, sum and sum of squares of a segment, whitened.
    fn parts(&self, start: usize, end: usize) -> (f64, f64, f64) {
        let (own, fresh) = (1.0 - self.rho * self.rho, 1.0 - self.rho);
        let (last, count) = (end - 1, (end - 1 - start) as f64);
        let sum = self.first[last] - self.first[start];
        let squares = self.second[last] - self.second[start];
        (
            own + count * fresh * fresh,
            own * self.y[start] + fresh * sum,
            own * self.y[start] * self.y[start] + squares,
        )
    }

    fn level(&self, start: usize, end: usize) -> f64 {
        let (weight, sum, _) = self.parts(start, end);
        sum / weight
    }

    fn cost(&self, start: usize, end: usize) -> f64 {
        let (weight, sum, squares) = self.parts(start, end);
        (squares - sum * sum / weight).max(0.0)
    }
}
