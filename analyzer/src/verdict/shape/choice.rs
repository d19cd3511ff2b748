//! Chooses among candidates, and says how surely the curve rises.

use super::ar1::{Gram, Marginal};
use super::candidates::{Candidate, Kind, Search};
use super::clean::{self, Cleaned};

/// Least lead in BIC over a rival that is no refinement of the best: 6 is "strong" evidence (Kass &
/// Raftery 1995), and three quarters of what tells two shapes apart in 99% of the cases.
const LEAD: f64 = 9.0;
/// Twice the log-likelihood from which on an excursion is none of the noise.
const SPIKE: f64 = 40.0;

/// A rise over the window, in units of the curve per window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Best single value.
    pub value: f64,
    /// Ends of the 95% interval.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Probability of no rise at all.
    pub p: f64,
}

/// What is known of a curve's shape.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The best candidate, if it leads its rivals.
    pub kind: Option<Kind>,
    /// The best candidate, leading or not.
    pub best: Candidate,
    /// The slope of the best rising candidate, at the end of the window.
    pub trend: Option<Trend>,
    /// Lead in BIC of the best rising candidate over all that do not rise; negative if one of these
    /// is better.
    pub lead: f64,
    /// 98% bounds of the drift of a level over the window.
    pub drift: Option<(f64, f64)>,
    /// Excursions that were set aside.
    pub excursions: Vec<(usize, usize, f64)>,
    /// One peak that is far above everything else: first point, points, height above its surroundings.
    pub spike: Option<(usize, usize, f64)>,
    /// Standard deviation around the best shape.
    pub sd: f64,
}

impl Shape {
    /// The best explanation is one that rises.
    pub fn best_rises(&self) -> bool {
        self.best.kind.rises() && slope_sign(&self.best) > 0.0
    }
}

impl Kind {
    fn rises(self) -> bool {
        matches!(
            self,
            Self::Linear | Self::Accelerating | Self::PeriodicTrend | Self::Staircase
        )
    }
}

/// The shape of `y`, the means over even parts of a window; `floor` is the least standard deviation
/// that is taken for noise. `None` below eight points.
///
/// Where nothing rises, a search that is not `thorough` does not look for all the ways of having risen.
pub fn of(y: &[f64], floor: f64, thorough: bool) -> Option<Shape> {
    let n = y.len();
    if n < 8 {
        return None;
    }
    let cleaned = clean::clean(y, floor);
    let spike = spike(y, &cleaned, floor);
    let least = floor * floor * n as f64;
    let found = Search::new(&cleaned.y, least).run(thorough);
    let best = found.iter().min_by(|a, b| a.bic.total_cmp(&b.bic))?.clone();
    let rising = |candidate: &&Candidate| candidate.kind.rises() && slope_sign(candidate) > 0.0;
    let best_of = |keep: &dyn Fn(&&Candidate) -> bool| {
        let kept = found.iter().filter(keep);
        kept.min_by(|a, b| a.bic.total_cmp(&b.bic))
    };
    let riser = best_of(&rising);
    // That it stopped a moment ago, or is slowing down, can never be excluded.
    let rester = best_of(&|candidate| {
        !rising(candidate)
            && candidate.kind != Kind::Slowing
            && candidate.full_at.is_none_or(|at| at < 0.6)
    });
    let lead = match (riser, rester) {
        (Some(riser), Some(rester)) => rester.bic - riser.bic,
        _ => f64::NEG_INFINITY,
    };
    let leads = found
        .iter()
        .all(|rival| same(&best, rival) || rival.bic - best.bic >= LEAD || refines(rival, &best));
    let trend = riser.and_then(|riser| trend(riser, &found, &cleaned.y, least));
    let linear = found
        .iter()
        .find(|candidate| candidate.kind == Kind::Linear);
    let drift = linear.and_then(|linear| {
        let marginal = gram(linear, &cleaned.y, least).marginal(1)?;
        Some((marginal.quantile(0.99), marginal.quantile(0.01)))
    });
    Some(Shape {
        kind: leads.then_some(best.kind),
        sd: best.fit.sd,
        best,
        trend,
        lead,
        drift,
        excursions: cleaned.excursions,
        spike,
    })
}

/// The mean of `rates`, one for each of even parts of the window, with the interval that their
/// autocorrelation asks for; `now`: the rate at the end, were it to change evenly. For curves that only
/// ever rise: there the errors are in the rates, and the curve itself is their sum.
pub fn mean_rate(rates: &[f64], now: bool) -> Option<Trend> {
    let (lowest, highest) = rates
        .iter()
        .fold((f64::INFINITY, 0.0), |(low, high), rate| {
            (rate.min(low), rate.max(high))
        });
    if highest - lowest <= 1e-9 * highest {
        // Known exactly, and not to be blurred by rounding.
        return Some(Trend {
            value: highest,
            low: highest,
            high: highest,
            p: 0.0,
        });
    }
    let marginal = rate_gram(rates, now)?.marginal(0)?;
    Some(Trend {
        value: marginal.mean(),
        low: marginal.quantile(0.975),
        high: marginal.quantile(0.025),
        p: 1.0 - marginal.above(0.0),
    })
}

/// How surely `rates` rise, and by how much over the window.
pub fn rate_change(rates: &[f64]) -> Option<(f64, f64)> {
    let marginal = rate_gram(rates, true)?.marginal(1)?;
    Some((marginal.above(0.0), marginal.mean()))
}

fn rate_gram(rates: &[f64], bent: bool) -> Option<Gram> {
    if rates.len() < 6 {
        return None;
    }
    let x = super::design::times(rates.len());
    let mut columns = vec![super::design::constant(&x)];
    if bent {
        columns.push(x.iter().map(|x| x - 1.0).collect());
    }
    let highest = rates.iter().copied().fold(0.0, f64::max);
    let least = (1e-6 * highest).powi(2) * rates.len() as f64;
    let refs: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    Some(Gram::new(&refs, rates, least.max(f64::MIN_POSITIVE)))
}

fn slope_sign(candidate: &Candidate) -> f64 {
    match candidate.slope {
        Some(slope) => candidate.fit.beta.get(slope).copied().unwrap_or(0.0),
        None => 1.0,
    }
}

fn gram(candidate: &Candidate, y: &[f64], least: f64) -> Gram {
    let columns: Vec<&[f64]> = candidate.columns.iter().map(Vec::as_slice).collect();
    Gram::new(&columns, y, least)
}

/// Same answer for the reader.
fn same(a: &Candidate, b: &Candidate) -> bool {
    a.kind == b.kind && (slope_sign(a) > 0.0) == (slope_sign(b) > 0.0)
}

/// True if `fine` is `plain` with something added, so that it cannot fit worse: BIC's own penalty decides.
fn refines(fine: &Candidate, plain: &Candidate) -> bool {
    match (plain.kind, fine.kind) {
        (Kind::Flat, _) => true,
        (
            Kind::Linear,
            Kind::Accelerating | Kind::PeriodicTrend | Kind::Staircase | Kind::Slowing,
        ) => true,
        (Kind::Linear, Kind::Plateau) => fine.full_at.is_some_and(|at| at > 0.6),
        (Kind::PeriodicLevel, Kind::PeriodicTrend) => true,
        _ => false,
    }
}

/// The slope, averaged over the candidates of the riser's kind that explain the curve nearly as well as
/// the best; how surely it is a rise, from the best one that rises evenly: the slope at the end of a bent
/// curve is much less certain than that the curve rises.
fn trend(riser: &Candidate, found: &[Candidate], y: &[f64], least: f64) -> Option<Trend> {
    const NEARLY: f64 = 9.0;
    let even = |it: &&Candidate| {
        matches!(it.kind, Kind::Linear | Kind::PeriodicTrend) && slope_sign(it) > 0.0
    };
    let wanted = |it: &&Candidate| match riser.kind {
        Kind::Accelerating => it.kind == Kind::Accelerating,
        _ => even(it),
    };
    let best = found
        .iter()
        .filter(wanted)
        .map(|it| it.bic)
        .fold(f64::INFINITY, f64::min);
    let near = found
        .iter()
        .filter(wanted)
        .filter(|it| it.bic - best < NEARLY);
    let all = near.filter_map(|candidate| {
        let marginal = gram(candidate, y, least).marginal(candidate.slope?)?;
        Some(((0.5 * (best - candidate.bic)).exp(), marginal))
    });
    let marginal = Marginal::mixture(all.collect())?;
    let plain = found
        .iter()
        .filter(even)
        .min_by(|a, b| a.bic.total_cmp(&b.bic))?;
    let surely = gram(plain, y, least).marginal(plain.slope?)?;
    Some(Trend {
        value: marginal.mean(),
        low: marginal.quantile(0.975),
        high: marginal.quantile(0.025),
        p: 1.0 - surely.above(0.0),
    })
}

/// The one excursion upwards that stands out among all others, if there is one: found by the
/// likelihood of a pulse over a level.
fn spike(y: &[f64], cleaned: &Cleaned, floor: f64) -> Option<(usize, usize, f64)> {
    let ups = || {
        cleaned
            .excursions
            .iter()
            .filter(|excursion| excursion.2 > 0.0)
    };
    let highest = ups().max_by(|a, b| a.2.total_cmp(&b.2))?;
    let next = ups()
        .filter(|other| other.0 != highest.0)
        .map(|it| it.2)
        .fold(0.0, f64::max);
    if highest.2 < 2.0 * next {
        return None;
    }
    let one = vec![1.0; y.len()];
    let inside = highest.0..highest.0 + highest.1;
    let pulse: Vec<f64> = (0..y.len())
        .map(|i| f64::from(u8::from(inside.contains(&i))))
        .collect();
    let least = floor * floor * y.len() as f64;
    let without = Gram::new(&[&one], y, least).fit(false)?;
    let with = Gram::new(&[&one, &pulse], y, least).fit(false)?;
    let level = super::super::stats::quantile(&mut cleaned.y.clone(), 0.5);
    (with.likelihood2 - without.likelihood2 > SPIKE && highest.2 > 0.3 * level).then_some(*highest)
}
