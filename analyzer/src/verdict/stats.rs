//! The statistics under the verdicts: Theil–Sen slope, Mann–Kendall test, autocorrelation,
//! false-discovery control.
//!
//! Never panics: too few or constant values give `None` or a p-value of 1.

use super::wide;

/// Two-sided 95% quantile of the normal distribution.
const Z95: f64 = 1.959_964;

/// A trend with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Median of all pairwise slopes (Theil–Sen), in units of y per unit of x.
    pub slope: f64,
    /// Lower end of the 95% interval of the slope (Sen 1968).
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Two-sided p-value of the Mann–Kendall test, corrected for autocorrelation.
    pub p: f64,
    /// By how much autocorrelation widened the variance (1: not at all).
    pub inflation: f64,
}

/// The trend of `points` (x ascending); `None` below four points or when x does not advance.
///
/// The variance of Kendall's S is corrected for ties and, after Hamed & Rao (1998), multiplied by
/// the effect of the autocorrelations of the ranks of the detrended values. A correction that
/// would make the trend look *more* certain is not applied.
pub fn trend(points: &[(f64, f64)]) -> Option<Trend> {
    if points.len() < 4 {
        return None;
    }
    let level = points.windows(2).all(|pair| pair[0].1 == pair[1].1);
    let advances = points.windows(2).any(|pair| pair[1].0 > pair[0].0);
    if !advances {
        return None;
    }
    if level {
        return Some(Trend {
            slope: 0.0,
            low: 0.0,
            high: 0.0,
            p: 1.0,
            inflation: 1.0,
        });
    }
    let values: Vec<f64> = points.iter().map(|point| point.1).collect();
    let mut slopes = Slopes::of(points);
    let ascending = points.windows(2).all(|pair| pair[1].0 > pair[0].0);
    // Of all pairs the signs are known by now.
    let s = if ascending {
        slopes.balance()
    } else {
        kendall(&values)
    };
    let variance = variance_of_s(&values);
    let last = slopes.count() - 1;
    let place = |q: f64| (q.clamp(0.0, 1.0) * last as f64).round() as usize;
    let slope = slopes.at(place(0.5));
    let residuals: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
    let inflation = autocorrelation_factor(&ranks(&residuals));
    let deviation = (variance * inflation).sqrt();
    let half_share = Z95 * deviation / 2.0 / (last + 1) as f64;
    let [low, high] = [0.5 - half_share, 0.5 + half_share].map(|q| slopes.at(place(q)));
    Some(Trend {
        slope,
        low,
        high,
        p: two_sided_p(s, deviation),
        inflation,
    })
}

/// The slopes between all points of which one is later. Those that are 0 are counted alone: of a curve that
/// mostly stays where it is they are nearly all.
struct Slopes {
    /// As whole numbers of the same order: these are sorted in half the time.
    keys: Vec<i64>,
    /// How many are below 0, and how many are 0.
    below: usize,
    level: usize,
    /// Those below 0 and those above, once they are asked for.
    sides: [Option<Side>; 2],
}

/// Slopes of one sign, in no order but for what was asked for before.
struct Side {
    keys: Vec<i64>,
    /// A place whose key has those below it before it, and those above it behind.
    parted: Option<usize>,
}

impl Side {
    /// The key that so many are below.
    fn at(&mut self, place: usize) -> i64 {
        let (from, until) = match self.parted {
            Some(parted) if place < parted => (0, parted),
            Some(parted) => (parted, self.keys.len()),
            None => (0, self.keys.len()),
        };
        self.parted.get_or_insert(place);
        let some = &mut self.keys[from..until];
        *some.select_nth_unstable(place - from).1
    }
}

impl Slopes {
    fn of(points: &[(f64, f64)]) -> Self {
        let mut keys = Vec::with_capacity(points.len() * points.len().saturating_sub(1) / 2);
        let x: Vec<f64> = points.iter().map(|point| point.0).collect();
        let y: Vec<f64> = points.iter().map(|point| point.1).collect();
        let ascending = x.windows(2).all(|pair| pair[1] > pair[0]);
        for (i, (own_x, own_y)) in points.iter().enumerate() {
            let later = x[i + 1..].iter().zip(&y[i + 1..]);
            let key = |(x, y): (&f64, &f64)| to_key((y - own_y) / (x - own_x));
            match ascending {
                true => keys.extend(later.map(key)),
                false => keys.extend(later.filter(|(x, _)| *x > own_x).map(key)),
            }
        }
        let count = |is: fn(i64) -> bool| keys.iter().map(|key| usize::from(is(*key))).sum();
        Self {
            below: count(|key| key < 0),
            level: count(|key| key == 0),
            keys,
            sides: [None, None],
        }
    }

    fn count(&self) -> usize {
        self.keys.len()
    }

    /// How many more are above 0 than below.
    fn balance(&self) -> f64 {
        let above = self.keys.len() - self.below - self.level;
        above as f64 - self.below as f64
    }

    /// The slope that so many are below.
    fn at(&mut self, place: usize) -> f64 {
        let flat = self.below + self.level;
        let (side, place) = match place {
            _ if place < self.below => (0, place),
            _ if place < flat => return 0.0,
            _ => (1, place - flat),
        };
        let of_side = || Side {
            keys: match side {
                0 => those(&self.keys, self.below, |key| key < 0),
                _ => those(&self.keys, self.keys.len() - flat, |key| key > 0),
            },
            parted: None,
        };
        from_key(self.sides[side].get_or_insert_with(of_side).at(place))
    }
}

/// The `count` of `keys` that `are` wanted. Which ones is not to be foreseen: each is written down, and kept if it is
/// one.
fn those(keys: &[i64], count: usize, are: impl Fn(i64) -> bool) -> Vec<i64> {
    let mut kept = vec![0; count + 1];
    let mut next = 0;
    for key in keys {
        if let Some(slot) = kept.get_mut(next) {
            *slot = *key;
        }
        next += usize::from(are(*key));
    }
    kept.truncate(count);
    kept
}

/// The order of [`f64::total_cmp`] as that of whole numbers; its own inverse.
fn to_key(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn from_key(key: i64) -> f64 {
    f64::from_bits((key ^ (((key >> 63) as u64) >> 1) as i64) as u64)
}

/// The inner product, in eight sums side by side, which the processor adds up at once.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let [sum] = dots(a, [b]);
    sum
}

/// The inner products of `a` with each of `others`, all as long; see [`dot`].
pub fn dots<const N: usize>(a: &[f64], others: [&[f64]; N]) -> [f64; N] {
    wide::dots(a, others).unwrap_or_else(|| sums(a, others))
}

fn sums<const N: usize>(a: &[f64], others: [&[f64]; N]) -> [f64; N] {
    let parts = others.map(|other| other.as_chunks::<8>());
    let (chunks, rest) = a.as_chunks::<8>();
    let mut sums = [[0.0; 8]; N];
    for (at, chunk) in chunks.iter().enumerate() {
        for (sums, (others, _)) in sums.iter_mut().zip(&parts) {
            let Some(other) = others.get(at) else { break };
            for (sum, (a, b)) in sums.iter_mut().zip(chunk.iter().zip(other)) {
                *sum += a * b;
            }
        }
    }
    let mut results = [0.0; N];
    for (result, (sums, (_, other))) in results.iter_mut().zip(sums.iter().zip(&parts)) {
        let rest: f64 = rest.iter().zip(*other).map(|(a, b)| a * b).sum();
        let [a, b, c, d, e, f, g, h] = *sums;
        *result = rest + (((a + e) + (b + f)) + ((c + g) + (d + h)));
    }
    results
}

/// The value below which the share `q` of `values` lies; reorders them. 0 when there are none.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let last = values.len() - 1;
    let position = (q * last as f64).round().clamp(0.0, last as f64) as usize;
    *values.select_nth_unstable_by(position, f64::total_cmp).1
}

/// Kendall's S of a sequence.
fn kendall(values: &[f64]) -> f64 {
    let mut s = 0_i64;
    for (i, a) in values.iter().enumerate() {
        let later = values.get(i + 1..).unwrap_or(&[]);
        let signs = later.iter().map(|b| i64::from(b > a) - i64::from(b < a));
        s += signs.sum::<i64>();
    }
    s as f64
}

/// The variance of Kendall's S under independence, corrected for ties.
fn variance_of_s(values: &[f64]) -> f64 {
    let spread = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|run| spread(run.len() as f64))
        .sum();
    (spread(values.len() as f64) - ties) / 18.0
}

/// Two-sided p-value of S with continuity correction.
fn two_sided_p(s: f64, deviation: f64) -> f64 {
    if deviation <= 0.0 || s == 0.0 {
        return 1.0;
    }
    let z = (s.abs() - 1.0) / deviation;
    erfc(z / std::f64::consts::SQRT_2).clamp(0.0, 1.0)
}

/// Complementary error function for x >= 0 (Numerical Recipes' Chebyshev fit, error < 1.2e-7 of it).
pub fn erfc(x: f64) -> f64 {
    let x = x.max(0.0);
    let t = 1.0 / (1.0 + 0.5 * x);
    let poly = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let sum = poly.iter().fold(0.0, |sum, c| sum * t + c);
    t * (-x * x + sum).exp()
}

/// Average ranks, ties sharing theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let scale = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let close = |a: f64, b: f64| (a - b).abs() <= scale * 1e-12;
    let mut order: Vec<usize> = (0..values.len()).collect();
    let at = |i: usize| values.get(i).copied().unwrap_or(0.0);
    order.sort_by(|&a, &b| at(a).total_cmp(&at(b)));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for run in order.chunk_by(|&a, &b| close(at(a), at(b))) {
        let rank = before as f64 + (run.len() as f64 + 1.0) / 2.0;
        for &i in run {
            if let Some(slot) = ranks.get_mut(i) {
                *slot = rank;
            }
        }
        before += run.len();
    }
    ranks
}

/// The factor by which autocorrelation of `ranks` widens the variance of S, at least 1: the larger
/// of Hamed & Rao's sum over the significant lags and the sum for a first-order process whose
/// coefficient is the lag-1 value freed of its small-sample bias (Hamed 2009).
fn autocorrelation_factor(ranks: &[f64]) -> f64 {
    let n = ranks.len() as f64;
    if ranks.len() < 5 {
        return 1.0;
    }
    let mean = ranks.iter().sum::<f64>() / n;
    let centred: Vec<f64> = ranks.iter().map(|rank| rank - mean).collect();
    let power: f64 = centred.iter().map(|c| c * c).sum();
    if power <= 0.0 {
        return 1.0;
    }
    let significant = Z95 / n.sqrt();
    let mut first = None;
    let (mut by_lag, mut first_order, mut power_of_lag) = (0.0, 0.0, 1.0);
    for lag in 1..ranks.len() - 2 {
        let (earlier, later) = (&centred[..centred.len() - lag], &centred[lag..]);
        let rho = dot(earlier, later) / power;
        let left = n - lag as f64;
        let weight = left * (left - 1.0) * (left - 2.0);
        let unbiased = *first.get_or_insert(((n * rho + 2.0) / (n - 4.0)).clamp(0.0, 0.95));
        power_of_lag *= unbiased;
        first_order += weight * power_of_lag;
        if rho.abs() > significant {
            by_lag += weight * rho;
        }
    }
    let scale = 2.0 / (n * (n - 1.0) * (n - 2.0));
    let first_order = if first.is_some_and(|rho| rho > significant) {
        first_order
    } else {
        0.0
    };
    1.0 + scale * by_lag.max(first_order).max(0.0)
}

/// The largest p-value still accepted when at most the share `q` of the accepted may be false
/// (Benjamini & Hochberg 1995); 0 when none passes.
pub fn false_discovery_cut(p_values: &mut [f64], q: f64) -> f64 {
    p_values.sort_by(f64::total_cmp);
    let n = p_values.len() as f64;
    p_values
        .iter()
        .enumerate()
        .rev()
        .find(|(i, p)| **p <= q * (*i as f64 + 1.0) / n)
        .map_or(0.0, |(_, p)| *p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: &mut u64) -> f64 {
        *seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    }

    #[test]
    fn exact_line_has_exact_slope() {
        let points: Vec<_> = (0..20)
            .map(|i| (f64::from(i), 3.0 + 7.0 * f64::from(i)))
            .collect();
        let trend = trend(&points).expect("a trend");
        assert!((trend.slope - 7.0).abs() < 1e-9 && (trend.low - 7.0).abs() < 1e-9);
        assert!(trend.p < 1e-6, "{trend:?}");
    }

    #[test]
    fn constant_values_have_no_trend() {
        let points: Vec<_> = (0..20).map(|i| (f64::from(i), 5.0)).collect();
        let trend = trend(&points).expect("a trend");
        assert_eq!((trend.slope, trend.p), (0.0, 1.0));
        assert!(super::trend(&points[..3]).is_none());
        assert!(
            super::trend(&[(1.0, 1.0); 9]).is_none(),
            "x does not advance"
        );
    }

    #[test]
    fn interval_holds_the_true_slope() {
        let mut seed = 7;
        let held = (0..400)
            .filter(|_| {
                let points: Vec<_> = (0..40)
                    .map(|i| (f64::from(i), 2.0 * f64::from(i) + 30.0 * noise(&mut seed)))
                    .collect();
                let trend = trend(&points).expect("a trend");
                trend.low <= 2.0 && 2.0 <= trend.high
            })
            .count();
        assert!((368..=400).contains(&held), "{held} of 400, 95% expected");
    }

    #[test]
    fn false_alarms_stay_rare_on_independent_and_autocorrelated_noise() {
        let mut seed = 11;
        let mut alarms = |memory: f64| {
            (0..400)
                .filter(|_| {
                    let mut y = 0.0;
                    let points: Vec<_> = (0..60)
                        .map(|i| {
                            y = memory * y + noise(&mut seed);
                            (f64::from(i), y)
                        })
                        .collect();
                    trend(&points).is_some_and(|trend| trend.p < 0.01)
                })
                .count()
        };
        let counts = [0.0, 0.3, 0.6, 0.8].map(&mut alarms);
        assert!(
            counts.iter().all(|count| *count <= 20),
            "4 each expected, 100 without correction: {counts:?}"
        );
    }

    #[test]
    fn inner_products_are_the_same_on_every_processor() {
        let mut seed = 3;
        for points in 0..70 {
            let mut column = || (0..points).map(|_| noise(&mut seed)).collect::<Vec<f64>>();
            let (a, b, c) = (column(), column(), column());
            let bits = |it: [f64; 2]| it.map(f64::to_bits);
            let plain = sums(&a, [&b, &c]);
            assert_eq!(bits(dots(&a, [&b, &c])), bits(plain));
            let one_by_one: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert!((plain[0] - one_by_one).abs() < 1e-12 * (points + 1) as f64);
        }
    }

    #[test]
    fn p_values_agree_with_the_normal_table() {
        assert!((two_sided_p(2.959_964, 1.0) - 0.05).abs() < 1e-5);
        assert!((erfc(0.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn false_discovery_cut_follows_benjamini_and_hochberg() {
        let mut p = [
            0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216,
        ];
        assert_eq!(false_discovery_cut(&mut p, 0.05), 0.008);
        assert_eq!(false_discovery_cut(&mut [0.5], 0.05), 0.0);
        assert_eq!(false_discovery_cut(&mut [], 0.05), 0.0);
    }
}
