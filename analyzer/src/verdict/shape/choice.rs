//! Compares shapes, and says which one it is, whether the curve rises, and how fast.
//!
//! Two questions, kept apart. *Does it grow?* asks that a line be better than anything that rose and came
//! to rest: a level, one step at any place, a rise that was complete early. *Which shape?* asks that one
//! shape be better than every other of equal freedom, a line included: what is as good a line as a
//! staircase has no name.

use super::ar1::{Gram, MAX_COLUMNS, Marginal};
use super::around::{Around, Beside, around, with_cycles_beside};
use super::atoms::{self, Atom};
use super::clean::{self, Cleaned};
use super::design::Column;
use super::grid::{Family, Member};
use super::known::Series;
use super::search::golden;
use super::space::{Gain, Space};
use super::{Kind, design, steps};

/// Lead in twice the log-likelihood that a name needs: what tells two shapes apart in 99% of the cases is
/// 4.65 sigma between them, half of it on either side.
const NAMED: f64 = 10.0;
/// Twice the log-likelihood from which on an excursion is none of the noise.
const SPIKE: f64 = 40.0;
/// A line must be better than none by this much before steps and bends are looked for.
const RISES: f64 = 3.0;
/// A rise that was complete by here has come to rest; a later one may as well go on.
const EARLY: f64 = 0.6;

/// A rise that was complete later has not rested for long enough to be called a plateau.
const RESTED: f64 = 0.8;
/// A spike is so many times higher than the usual distance from the surroundings.
const HIGH: f64 = 9.0;
/// Fewer cycles are none, but may be a shape that has come to rest.
const LEAST_CYCLES: f64 = 1.5;

/// By how much an interval is widened because the curve itself said what happens around the line, cycles
/// above all. Found on generated curves.
const CHOSEN: f64 = 1.06;
/// See [`CHOSEN`].
const CHOSEN_CYCLES: f64 = 1.15;

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

impl Trend {
    /// With an interval that also holds what is known of the steps to come: `uneven`, a share of the value.
    pub fn with_steps(self, uneven: f64) -> Self {
        let by_steps = uneven * self.value;
        Self {
            low: self.value - (self.value - self.low).hypot(by_steps),
            high: self.value + (self.high - self.value).hypot(by_steps),
            ..self
        }
    }
}

/// The best explanation of a curve.
#[derive(Clone, Debug)]
pub struct Best {
    /// The shape.
    pub kind: Kind,
    /// It rises.
    pub rises: bool,
    /// Where it came to rest, as a share of the window.
    pub full_at: Option<f64>,
    /// Share of the window until a warm-up was over.
    pub warm_until: Option<f64>,
    /// Cycles per window, if it repeats itself.
    pub cycles: Option<f64>,
    /// Steps per window.
    pub steps: Option<f64>,
}

/// What is known of a curve's shape.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What it is, if it leads its rivals.
    pub kind: Option<Kind>,
    /// The best explanation, leading or not.
    pub best: Best,
    /// The slope of a line through it, or at its end if it accelerates.
    pub trend: Option<Trend>,
    /// Share of the slope by which its interval is wider than noise makes it, if the best explanation is a
    /// staircase: one that goes on will have other steps.
    pub uneven: f64,
    /// Lead in BIC of the best rising shape over all that do not rise; negative if one of these is better.
    pub lead: f64,
    /// Probability that it still rose in the later half, what happens around it taken away.
    pub still: f64,
    /// 98% bounds of the drift of a level over the window.
    pub drift: Option<(f64, f64)>,
    /// Excursions that were set aside.
    pub excursions: Vec<(usize, usize, f64)>,
    /// One peak that is far above everything else: first point, points, height above its surroundings.
    pub spike: Option<(usize, usize, f64)>,
    /// Standard deviation around the best shape.
    pub sd: f64,
}

/// A shape with what happens around it.
struct Tried {
    around: usize,
    atom: Option<Atom>,
    kind: Kind,
    rises: bool,
    /// Twice the log-likelihood less what the surroundings cost; a shape costs one parameter.
    worth: f64,
}

impl Tried {
    fn grows(&self) -> bool {
        self.rises
            && matches!(
                self.kind,
                Kind::Linear | Kind::Accelerating | Kind::Staircase
            )
    }

    /// Did not grow, or has come to rest: early, or in one step.
    fn rests(&self) -> bool {
        match (self.kind, &self.atom) {
            (Kind::Flat, _) => true,
            (Kind::Linear, _) => !self.rises,
            (Kind::Plateau, Some(atom)) => {
                atom.steps.is_some() || atom.full_at.is_some_and(|at| at < EARLY)
            }
            _ => false,
        }
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
    let series = Series::new(&cleaned.y, least);
    let x = series.x();
    // Most curves come and go around a level, and are not worth a search.
    let plain = n < 16 || (!thorough && is_plain(&series, &cleaned));
    let mut all_around = match plain {
        true => vec![Around::default()],
        false => around(&series),
    };
    let mut tried = Vec::new();
    for (index, around) in all_around.iter().enumerate() {
        try_shapes(&mut tried, index, around, &series, thorough && n >= 16);
    }
    // A cycle that was found beside a line may be another beside what has come to rest.
    for index in 0..all_around.len() {
        if all_around[index].cycles.is_some() || all_around[index].only == Some(Beside::Bend) {
            continue;
        }
        for steps in [true, false] {
            let mut beside = index;
            for _ in 0..2 {
                let rests = tried.iter().filter(|it| it.around == beside && it.rests());
                let alike = rests.filter(|it| {
                    it.atom
                        .as_ref()
                        .is_some_and(|atom| atom.steps.is_some() == steps)
                });
                let best = alike.max_by(|a, b| a.worth.total_cmp(&b.worth));
                let values = best.and_then(|it| Some(it.atom.as_ref()?.values.clone()));
                let Some(shape) = values else {
                    break;
                };
                let known = &all_around[index];
                let Some(around) = with_cycles_beside(&series, known, &shape) else {
                    break;
                };
                beside = all_around.len();
                try_shapes(&mut tried, beside, &around, &series, true);
                all_around.push(around);
            }
        }
    }
    let best_of = |keep: &dyn Fn(&&Tried) -> bool| {
        let kept = tried.iter().filter(keep);
        kept.max_by(|a, b| a.worth.total_cmp(&b.worth))
    };
    let worth = |found: Option<&Tried>| found.map_or(f64::NEG_INFINITY, |it| it.worth);
    let best = best_of(&|_| true)?;
    let cycles_of = |it: &Tried| all_around[it.around].cycles;
    // What a search among many shapes finds by chance counts against growth.
    let fair = |it: &Tried| it.worth - 2.0 * searched(it.kind).ln();
    let risers = tried
        .iter()
        .filter(|it| it.grows() && cycles_of(it).is_none_or(|cycles| cycles >= LEAST_CYCLES));
    let riser = risers.max_by(|a, b| fair(a).total_cmp(&fair(b)));
    let rester = best_of(&|it| it.rests());
    let lead = match (riser, rester) {
        (Some(riser), Some(rester)) => fair(riser) - rester.worth,
        _ => f64::NEG_INFINITY,
    };

    let still = worth(best_of(&|it| cycles_of(it).is_none()));
    let repeats = worth(best_of(&|it| {
        cycles_of(it).is_some_and(|cycles| cycles >= LEAST_CYCLES)
    })) - still
        >= NAMED;
    let rivals_of =
        |kind: Kind, rises: bool| worth(best_of(&|it| it.kind != kind || it.rises != rises));
    let named = NAMED + 2.0 * searched(best.kind).ln();
    let settled = best.worth - rivals_of(best.kind, best.rises) >= named;
    let kind = if repeats {
        match (best.rises && best.grows(), lead) {
            (true, NAMED..) => Some(Kind::PeriodicTrend),
            (false, ..=0.0) => Some(Kind::PeriodicLevel),
            _ => None,
        }
    } else {
        // Where everything was given back, what comes after is no rise; and what rose a moment ago may
        // go on.
        let near_dip = |at: f64| {
            cleaned
                .dips
                .iter()
                .any(|dip| *dip > n / 10 && (x[*dip] - at).abs() < 0.1)
        };
        let rested = |at: f64| at <= RESTED && !near_dip(at);
        let full_at = best.atom.as_ref().and_then(|atom| atom.full_at);
        let rests = best.kind != Kind::Plateau || full_at.is_none_or(rested);
        (settled && rests).then_some(best.kind)
    };
    let around_best = &all_around[best.around];
    let drift = gram(&all_around[0], Some(x), &series).and_then(|(gram, slope)| {
        let marginal = gram.marginal(slope)?;
        Some((marginal.quantile(0.99), marginal.quantile(0.01)))
    });
    let sd = gram(
        around_best,
        best.atom.as_ref().map(|atom| &*atom.values),
        &series,
    )
    .and_then(|(gram, _)| gram.fit(false))
    .map_or(0.0, |fit| fit.sd);
    let uneven = match best.kind {
        Kind::Staircase => uneven(best, around_best, &series),
        _ => None,
    };
    Some(Shape {
        kind,
        trend: trend(&tried, &all_around, &series, kind),
        uneven: uneven.unwrap_or(0.0),
        best: Best {
            kind: best.kind,
            rises: best.grows(),
            full_at: best.atom.as_ref().and_then(|atom| atom.full_at),
            warm_until: around_best.warm_until,
            cycles: around_best.cycles,
            steps: best.atom.as_ref().and_then(|atom| atom.steps),
        },
        lead,
        still: riser.map_or(0.0, |it| still_rises(&all_around[it.around], &series)),
        drift,
        excursions: cleaned.excursions,
        spike,
        sd,
    })
}

/// True if nothing speaks for a trend, a start from below, a restart or a cycle: what is left of a level is
/// a first-order autoregression.
fn is_plain(series: &Series, cleaned: &Cleaned) -> bool {
    const FAR: f64 = 3.5;
    if !cleaned.dips.is_empty() {
        return false;
    }
    let (y, grid) = (series.y(), &series.grid);
    let space = Space::new(series, std::slice::from_ref(&grid.one));
    let rises = space
        .with(&grid.x)
        .is_none_or(|line| line.likelihood2 - space.plain() > RISES);
    if rises {
        return false;
    }
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    let left: Vec<f64> = y.iter().map(|y| y - mean).collect();
    let product = |a: &[f64], lag: usize| {
        let pairs = a.iter().zip(a.iter().skip(lag));
        pairs.map(|(a, b)| a * b).sum::<f64>()
    };
    let rho = (product(&left, 1) / product(&left, 0).max(f64::MIN_POSITIVE)).clamp(0.0, 0.9);
    let fresh: Vec<f64> = left
        .windows(2)
        .map(|pair| pair[1] - rho * pair[0])
        .collect();
    let power = product(&fresh, 0).max(f64::MIN_POSITIVE);
    let start = (y.len() / 12).max(2);
    let first: f64 = fresh.iter().take(start).sum();
    let from_below = first < -FAR * (power / n * start as f64).sqrt();
    let again = (1..y.len() / 3).any(|lag| product(&fresh, lag).abs() > FAR / n.sqrt() * power);
    !from_below && !again
}

/// How many shapes of a kind are tried: what a search finds by chance counts against it.
fn searched(kind: Kind) -> f64 {
    match kind {
        Kind::Staircase => 250.0,
        Kind::Plateau => 20.0,
        Kind::Accelerating => 6.0,
        _ => 1.0,
    }
}

/// Tries shapes beside what happens around.
struct Trial<'a> {
    tried: &'a mut Vec<Tried>,
    space: &'a Space<'a>,
    index: usize,
    around: &'a Around,
    /// Of one parameter.
    cost: f64,
}

impl Trial<'_> {
    fn add(&mut self, atom: Option<Atom>, kind: Kind, rises: bool, worth: f64) {
        self.tried.push(Tried {
            around: self.index,
            atom,
            kind,
            rises,
            worth,
        });
    }

    /// What a shape is worth that costs `more` than others.
    fn atom(&mut self, atom: Atom, more: f64) -> f64 {
        let gain = self.space.with(&atom.values);
        self.gained(atom, gain, more)
    }

    /// The same of each shape of a family.
    fn all(&mut self, family: Family, series: &Series) -> Vec<f64> {
        let members = series.grid.atoms(family).iter().enumerate();
        let worth = |(place, member): (usize, &Member)| {
            let gain = self.space.with_member(family, place);
            self.gained(member.atom.clone(), gain, 0.0)
        };
        members.map(worth).collect()
    }

    fn gained(&mut self, atom: Atom, gain: Option<Gain>, more: f64) -> f64 {
        let Some(gain) = gain else {
            return f64::NEG_INFINITY;
        };
        let worth = gain.likelihood2 - self.around.charge - self.cost - more;
        if gain.rises || atom.kind == Kind::Linear {
            let kind = atom.kind;
            self.add(Some(atom), kind, gain.rises, worth);
        }
        worth
    }
}

fn try_shapes(
    tried: &mut Vec<Tried>,
    index: usize,
    around: &Around,
    series: &Series,
    thorough: bool,
) {
    let (x, y, grid) = (series.x(), series.y(), &series.grid);
    let space = Space::new(series, &around.with_constant(grid));
    let cost = (y.len() as f64).ln();
    let mut trial = Trial {
        tried,
        space: &space,
        index,
        around,
        cost,
    };
    let flat = space.plain() - around.charge;
    // What only warmed up has come to rest.
    let rest = match around.warm_until {
        Some(_) => Kind::Plateau,
        None => Kind::Flat,
    };
    trial.add(None, rest, false, flat);
    let may = |beside: Beside| around.only.is_none_or(|only| only == beside);
    let line = match around.only {
        None => trial.atom(atoms::line(&grid.x), 0.0),
        Some(_) => f64::INFINITY,
    };
    let rises = line > flat - cost + RISES;
    if !thorough && !rises {
        return;
    }
    if may(Beside::Bend) && rises {
        trial.all(Family::Bends, series);
    }
    if !may(Beside::Rest) {
        return;
    }
    // Steps are alike but for their places: the best one stands for all.
    let places = 2..x.len().saturating_sub(1);
    let gains = (1..).zip(space.with_steps());
    let risers = gains.filter_map(|(at, gain)| Some((at, gain.filter(|gain| gain.rises)?)));
    let best = risers
        .filter(|(at, _)| places.contains(at))
        .max_by(|a, b| a.1.likelihood2.total_cmp(&b.1.likelihood2));
    if let Some((at, _)) = best {
        trial.atom(atoms::single_step(x, at), 0.0);
    }
    for even in [true, false] {
        let curve = |x: &[f64], value: f64| match even {
            true => atoms::ramp(x, value),
            false => atoms::saturating(x, value),
        };
        let sizes: &[f64] = if even { &atoms::FULL } else { &atoms::TAUS };
        let worths = trial.all(if even { Family::Ramps } else { Family::Slow }, series);
        if !rises {
            continue;
        }
        let best = (0..sizes.len())
            .max_by(|a, b| worths[*a].total_cmp(&worths[*b]))
            .unwrap_or(0);
        let around_best = (
            sizes[best.saturating_sub(1)],
            sizes[(best + 1).min(sizes.len() - 1)],
        );
        golden(around_best, 8, |size| trial.atom(curve(x, size), 0.0));
    }
    if !rises || around.only.is_some() {
        return;
    }
    let mut best = (f64::NEG_INFINITY, 0.0, 0.0);
    for (place, stairs) in grid.atoms(Family::Stairs).iter().enumerate() {
        let worth = space.with_member(Family::Stairs, place);
        let worth = worth.map_or(f64::NEG_INFINITY, |gain| gain.likelihood2);
        if worth > best.0
            && let (Some(steps), Some(phase)) = (stairs.atom.steps, stairs.atom.phase)
        {
            best = (worth, steps, phase);
        }
    }
    let (mut by_cycles, mut by_phase) = (0.125, 0.0625);
    for _ in 0..8 {
        for (cycles, phase) in [
            (-1.0, 0.0),
            (1.0, 0.0),
            (0.0, -1.0),
            (0.0, 1.0),
            (1.0, -1.0),
            (-1.0, 1.0),
        ] {
            let (cycles, phase) = (best.1 + cycles * by_cycles, best.2 + phase * by_phase);
            let worth = space.with(&atoms::even_stairs(x, cycles, phase).values);
            let worth = worth.map_or(f64::NEG_INFINITY, |gain| gain.likelihood2);
            if worth > best.0 {
                best = (worth, cycles, phase);
            }
        }
        (by_cycles, by_phase) = (0.5 * by_cycles, 0.5 * by_phase);
    }
    trial.atom(atoms::even_stairs(x, best.1, best.2), 0.0);
    if around.columns.is_empty()
        && let Some(steps) = steps::steps(y, 16, series.floor)
        && let Some(atom) = atoms::found_stairs(x, &steps)
    {
        // A place and a height for each step, of which one height is paid for.
        trial.atom(atom, (2.0 * steps.at.len() as f64 - 2.0) * cost);
    }
}

/// The design of a constant, what happens around, and a shape; with the place of the shape's column.
fn gram(around: &Around, shape: Option<&[f64]>, series: &Series) -> Option<(Gram, usize)> {
    let around = around.with_constant(&series.grid);
    let mut columns: Vec<&[f64]> = around.iter().map(|column| &**column).collect();
    columns.extend(shape);
    if columns.len() > MAX_COLUMNS {
        return None;
    }
    Some((
        Gram::new(&columns, series.y(), series.floor),
        columns.len() - 1,
    ))
}

/// The slope of a line, averaged over the surroundings that explain the curve nearly as well as the best.
fn trend(
    tried: &[Tried],
    all_around: &[Around],
    series: &Series,
    kind: Option<Kind>,
) -> Option<Trend> {
    const NEARLY: f64 = 9.0;
    let x = series.x();
    let lines = || {
        tried
            .iter()
            .filter(|it| it.kind == Kind::Linear && it.rises)
    };
    let best = lines().max_by(|a, b| a.worth.total_cmp(&b.worth))?;
    let near = lines().filter(|it| best.worth - it.worth < NEARLY);
    let parts = near.filter_map(|it| {
        let (gram, slope) = gram(&all_around[it.around], Some(x), series)?;
        Some((
            f64::exp(0.5 * (it.worth - best.worth)),
            gram.marginal(slope)?,
        ))
    });
    let marginal = Marginal::mixture(parts.collect())?;
    let p = 1.0 - marginal.above(0.0);
    let cycles = all_around[best.around].waves > 0;
    let wider = if cycles { CHOSEN_CYCLES } else { CHOSEN };
    let of = |marginal: &Marginal| {
        let value = marginal.mean();
        Trend {
            value,
            low: value - wider * (value - marginal.quantile(0.975)),
            high: value + wider * (marginal.quantile(0.025) - value),
            p,
        }
    };
    if kind == Some(Kind::Accelerating) {
        // How fast it is at the end, not on average.
        let mut bent = all_around[best.around].clone();
        bent.columns.push(design::bend(x).into());
        let marginal = gram(&bent, Some(x), series).and_then(|(gram, slope)| gram.marginal(slope));
        return marginal.as_ref().map(of);
    }
    Some(of(&marginal))
}

/// Half of the 95% interval of the mean height of a staircase's steps, as a share of it: from how they differ
/// among themselves, noise taken away. `None`: too few to say.
fn uneven(best: &Tried, around: &Around, series: &Series) -> Option<f64> {
    const FEWEST: usize = 4;
    let x = series.x();
    let atom = best.atom.as_ref()?;
    let steps = match atom.phase {
        Some(phase) => atoms::each_step(x, atom.steps?, phase),
        // Found each at its place.
        None => {
            let pairs = atom.values.windows(2).enumerate();
            let steps = pairs.filter(|(_, pair)| pair[0] != pair[1]);
            steps
                .map(|(before, _)| design::step(x, before + 1))
                .collect()
        }
    };
    let mut columns = around.with_constant(&series.grid);
    let first = columns.len();
    columns.extend(steps.into_iter().map(Column::from));
    if columns.len() > MAX_COLUMNS {
        return None;
    }
    let refs: Vec<&[f64]> = columns.iter().map(|column| &**column).collect();
    let fit = Gram::new(&refs, series.y(), series.floor).fit(true)?;
    let heights = fit.beta.get(first..)?;
    let count = heights.len();
    if count < FEWEST {
        return None;
    }
    let free = count as f64 - 1.0;
    let mean = heights.iter().sum::<f64>() / count as f64;
    let spread = heights.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / free;
    let errors = fit.errors.get(first..)?.iter();
    let noise = errors.map(|error| error * error).sum::<f64>() / count as f64;
    let own = (spread - noise).max(0.0).sqrt();
    // Student's t by Cornish and Fisher.
    let t = 1.96 + 2.372 / free + 2.82 / (free * free);
    (mean > 0.0).then(|| t * own / mean / (count as f64).sqrt())
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

/// Probability that the later half rises by itself: cycles are taken away, the rest of what happens around
/// it is over by then.
fn still_rises(around: &Around, series: &Series) -> f64 {
    let (x, y) = (series.x(), series.y());
    let known = || {
        let (gram, _) = gram(around, Some(x), series)?;
        let fit = gram.fit(true)?;
        let mut left = y.to_vec();
        let waves = around.columns.iter().zip(fit.beta.iter().skip(1));
        for (column, size) in waves.skip(around.columns.len() - around.wave_columns) {
            let parts = left.iter_mut().zip(column.iter());
            parts.for_each(|(left, part)| *left -= size * part);
        }
        let settled = around.restart.map_or(0, |at| at + y.len() / 8);
        let from = settled.max(y.len() / 2);
        let (x, y) = (x.get(from..)?, left.get(from..)?);
        if y.len() < 8 {
            return None;
        }
        let one = design::constant(x);
        let marginal = Gram::new(&[&one, x], y, series.floor / 2.0).marginal(1)?;
        Some(marginal.above(0.0))
    };
    known().unwrap_or(0.0)
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
    if highest.2 < 2.0 * next || highest.2 < HIGH * cleaned.spread {
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
