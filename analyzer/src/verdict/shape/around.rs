//! What happens around a shape: a warm-up, one restart, a cycle. Found in the curve, and charged for by
//! what it takes to describe it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::stats::quantile;
use super::ar1::MAX_COLUMNS;
use super::design::{self, Column};
use super::factor::Factor;
use super::grid::Grid;
use super::known::{Known, Series};
use super::search::golden;
use super::space::Space;

/// Something that happens beside growth.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// Its mean curves, each of unknown size.
    pub columns: Vec<Column>,
    /// What describing it costs, in units of BIC.
    pub charge: f64,
    /// Share of the window until a warm-up was over.
    pub warm_until: Option<f64>,
    /// Point from which everything was given back once.
    pub restart: Option<usize>,
    /// The only shapes that it was found beside, if it was not a line.
    pub only: Option<Beside>,
    /// Cycles per window; of the first one, if there are two.
    pub cycles: Option<f64>,
    /// How many of the columns, the last ones, are those of cycles.
    pub wave_columns: usize,
    /// How many cycles, one over the other.
    pub waves: u32,
}

/// Which things happen around a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parts {
    only: Option<Beside>,
    warm: bool,
    restart: bool,
    waves: u32,
}

impl Parts {
    const NONE: Self = Self {
        only: None,
        warm: false,
        restart: false,
        waves: 0,
    };
    /// A warm-up, a restart, a cycle.
    const EACH: [Self; 3] = [
        Self {
            warm: true,
            ..Self::NONE
        },
        Self {
            restart: true,
            ..Self::NONE
        },
        Self {
            waves: 1,
            ..Self::NONE
        },
    ];

    fn and(self, other: Self) -> Self {
        Self {
            only: self.only.or(other.only),
            warm: self.warm || other.warm,
            restart: self.restart || other.restart,
            waves: self.waves + other.waves,
        }
    }
}

/// What something was found beside: it fits there, and would lend other shapes a freedom that they do not
/// have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Rises that get faster.
    Bend,
    /// What does not rise, or has come to rest.
    Rest,
}

/// Time constants of warm-ups.
const WARM: [f64; 7] = [0.01, 0.015, 0.02, 0.03, 0.045, 0.07, 0.1];
/// Warm-ups that rise evenly are over here.
const EVEN: [f64; 6] = [0.04, 0.07, 0.1, 0.13, 0.16, 0.2];
/// After a restart live bytes come back with these time constants.
const COMES_BACK: [f64; 5] = [0.005, 0.01, 0.02, 0.03, 0.05];
/// A fall of so many times the usual move may be a restart.
const FALLS: f64 = 3.0;
/// Twice the log-likelihood below which nothing of the kind is looked at.
const WORTH_A_LOOK: f64 = 10.0;
/// With more columns no further cycle is looked for.
const MOST_COLUMNS: usize = 10;
/// What a cycle over a cycle costs more: together they can take many shapes.
const SECOND: f64 = 20.0;
/// Ways of repeating that are tried.
const CYCLES_TRIED: f64 = 57.0;
/// A column of which less is new cannot be told from those that are there.
const INDEPENDENT: f64 = 1e-10;

/// Most things that happen around one shape.
const MOST_PARTS: usize = 3;

/// All that may happen around the shape of `y`: nothing first, then what the curve gives reason for, one
/// thing after the other, in whatever order they show.
pub fn around(series: &Series) -> Vec<Around> {
    let (x, y, grid) = (series.x(), series.y(), &*series.grid);
    let mut all = vec![Around::default()];
    let mut from = 0;
    for _ in 0..MOST_PARTS {
        let until = all.len();
        for index in from..until {
            let known = all[index].clone();
            if known.only.is_some() {
                continue;
            }
            let mut base = known.with_constant(grid);
            base.push(grid.x.clone());
            let space = Space::new(series, &base);
            let plain = space.plain();
            // What two orders lead to is looked for in the first.
            let is_new = |more: Parts| !all.iter().any(|it| it.parts() == more.and(known.parts()));
            let [warm_is_new, restart_is_new, cycle_is_new] = Parts::EACH.map(is_new);
            let warm = (warm_is_new && known.warm_until.is_none())
                .then(|| warm_up(&space, x, plain))
                .flatten();
            if warm.is_some() && from == 0 {
                // Another one may stand beside a bend, or beside nothing else.
                for only in [Beside::Bend, Beside::Rest] {
                    let mut base = known.with_constant(grid);
                    if only == Beside::Bend {
                        base.push(x.iter().map(|x| x * x).collect());
                    }
                    let space = Space::new(series, &base);
                    let warm = warm_up(&space, x, space.plain());
                    all.extend(warm.map(|warm| Around {
                        only: Some(only),
                        ..known.and(&warm)
                    }));
                }
            }
            let restart = (restart_is_new && known.restart.is_none())
                .then(|| restart(&space, y, x, plain))
                .flatten();
            let cycle = (cycle_is_new && known.columns.len() < MOST_COLUMNS)
                .then(|| cycles(series, &known, &grid.x))
                .flatten();
            let found = [warm, restart, cycle].into_iter().flatten();
            all.extend(found.map(|part| known.and(&part)));
        }
        from = until;
    }
    all
}

/// `known` with the cycle that is found beside a given shape that has come to rest.
pub fn with_cycles_beside(series: &Series, known: &Around, shape: &Column) -> Option<Around> {
    Some(Around {
        only: Some(Beside::Rest),
        ..known.and(&cycles(series, known, shape)?)
    })
}

impl Around {
    fn and(&self, other: &Self) -> Self {
        // Cycles last.
        let split = |it: &Self| it.columns.len() - it.wave_columns;
        let (own, more) = (
            self.columns.split_at(split(self)),
            other.columns.split_at(split(other)),
        );
        let second = if self.waves > 0 && other.waves > 0 {
            SECOND
        } else {
            0.0
        };
        Self {
            columns: [own.0, more.0, own.1, more.1].concat(),
            wave_columns: self.wave_columns + other.wave_columns,
            charge: self.charge + other.charge + second,
            warm_until: self.warm_until.or(other.warm_until),
            restart: self.restart.or(other.restart),
            only: self.only.or(other.only),
            cycles: self.cycles.or(other.cycles),
            waves: self.waves + other.waves,
        }
    }

    fn parts(&self) -> Parts {
        Parts {
            only: self.only,
            warm: self.warm_until.is_some(),
            restart: self.restart.is_some(),
            waves: self.waves,
        }
    }

    /// The columns of a design with a constant, and without a shape.
    pub fn with_constant(&self, grid: &Grid) -> Vec<Column> {
        let mut columns = vec![grid.one.clone()];
        columns.extend(self.columns.iter().cloned());
        columns
    }
}

/// The best warm-up beside a line.
fn warm_up(space: &Space, x: &[f64], plain: f64) -> Option<Around> {
    let n = x.len() as f64;
    let slow = |tau: f64| design::saturating(x, tau);
    let even = |full: f64| design::ramp(x, full);
    let gain = |column: &[f64]| {
        let gain = space.with(column)?;
        gain.rises.then_some(gain.likelihood2)
    };
    let best = |grid: &[f64], curve: &dyn Fn(f64) -> Vec<f64>| -> Option<(f64, f64)> {
        let worth = |value: f64| gain(&curve(value)).unwrap_or(f64::NEG_INFINITY);
        let worths: Vec<f64> = grid.iter().map(|value| worth(*value)).collect();
        let place = (0..grid.len()).max_by(|a, b| worths[*a].total_cmp(&worths[*b]))?;
        let around_best = (
            grid[place.saturating_sub(1)],
            grid[(place + 1).min(grid.len() - 1)],
        );
        let middle = golden(around_best, 14, worth);
        Some((worth(middle), middle)).filter(|(worth, _)| worth.is_finite())
    };
    let slow_best = best(&WARM, &slow).map(|(worth, tau)| (worth, slow(tau), 3.0 * tau));
    let even_best = best(&EVEN, &even).map(|(worth, full)| (worth, even(full), full));
    let (worth, column, until) = slow_best
        .into_iter()
        .chain(even_best)
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    let warm = Around {
        columns: vec![column.into()],
        charge: 2.0 * n.ln() + 2.0 * f64::ln(2.0),
        warm_until: Some(until),
        ..Around::default()
    };
    (worth - warm.charge - plain > 0.0).then_some(warm)
}

/// One fall from which on it starts anew, and comes back at once or after a while.
fn restart(space: &Space, y: &[f64], x: &[f64], plain: f64) -> Option<Around> {
    let n = y.len() as f64;
    let mut changes: Vec<f64> = y.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let usual = quantile(&mut changes, 0.5);
    let falls = |at: usize| 0.5 * (y[at - 1] + y[at - 2] - y[at] - y[at + 1]);
    let places = largest(y, -1.0)
        .into_iter()
        .filter(|at| falls(*at) > FALLS * usual);
    let near = places.flat_map(|at| [at - 1, at, at + 1]);
    let tried =
        near.flat_map(|at| (0..=COMES_BACK.len()).map(move |back| (at, back.checked_sub(1))));
    let tried: Vec<(usize, Option<usize>)> = tried.collect();
    let mut seen = BTreeMap::new();
    let mut best: Option<(f64, Restart)> = None;
    for (at, back) in tried {
        let (step, within) = seen.entry(at).or_insert_with(|| {
            let (step, within) = Restart { at, back: None }.step(x);
            (space.sight(step), space.sight(within))
        });
        let restart = Restart { at, back };
        let gain = match restart.comes_back(x) {
            Some(comes_back) => space.with_last([&space.sight(comes_back), within, step]),
            None => space.with_last([within, step]),
        };
        let Some(gain) = gain else { continue };
        let worth = gain.likelihood2 - restart.charge(n);
        let found = !gain.rises && worth - plain > WORTH_A_LOOK;
        if found && best.as_ref().is_none_or(|best| worth >= best.0) {
            best = Some((worth, restart));
        }
    }
    let (_, restart) = best?;
    let (step, within) = restart.step(x);
    Some(Around {
        columns: [step, within]
            .into_iter()
            .chain(restart.comes_back(x))
            .map(Column::from)
            .collect(),
        charge: restart.charge(n),
        restart: Some(restart.at),
        ..Around::default()
    })
}

/// One way of starting anew.
struct Restart {
    /// The first point after it.
    at: usize,
    /// How fast it comes back: a place in [`COMES_BACK`].
    back: Option<usize>,
}

impl Restart {
    /// The fall; and the point's time within which it lies.
    fn step(&self, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let within = (0..x.len()).map(|i| f64::from(u8::from(i + 1 == self.at)));
        (design::step(x, self.at), within.collect())
    }

    fn comes_back(&self, x: &[f64]) -> Option<Vec<f64>> {
        let tau = COMES_BACK[self.back?];
        let since = |i: usize| (-(x[i] - x[self.at]) / tau).exp();
        let value = |i: usize| if i >= self.at { since(i) } else { 0.0 };
        Some((0..x.len()).map(value).collect())
    }

    fn charge(&self, n: f64) -> f64 {
        n.ln() * if self.back.is_some() { 5.0 } else { 3.0 }
    }
}

/// The three places with the largest change over two points in the direction `sign`.
pub fn largest(y: &[f64], sign: f64) -> Vec<usize> {
    let n = y.len();
    let edge = (n / 16).max(2);
    let mut moves: Vec<(f64, usize)> = (edge..n.saturating_sub(edge))
        .map(|i| {
            let before = 0.5 * (y[i - 1] + y[i - 2]);
            let after = 0.5 * (y[i] + y[i + 1]);
            (sign * (after - before), i)
        })
        .collect();
    moves.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut places: Vec<usize> = Vec::new();
    for (size, at) in moves {
        if places.len() == 3 || size <= 0.0 {
            break;
        }
        if places.iter().all(|known| known.abs_diff(at) > 2) {
            places.push(at);
        }
    }
    places
}

/// A cycle beside what is known, with as many harmonics as it is worth.
fn cycles(series: &Series, known: &Around, shape: &Column) -> Option<Around> {
    let (x, grid) = (series.x(), &*series.grid);
    let n = x.len() as f64;
    let mut base = known.with_constant(grid);
    base.push(shape.clone());
    let space = Space::new(series, &base);
    let plain = space.plain();
    let mut best = (f64::NEG_INFINITY, 0.0);
    for (place, waves) in grid.waves().iter().enumerate() {
        if let Some(worth) = space.with_waves(place)
            && worth > best.0
        {
            best = (worth, waves.cycles);
        }
    }
    if best.0 - plain < WORTH_A_LOOK {
        return None;
    }
    let mut repeats = Repeats::new(series, &base);
    let mut worth = |cycles: f64, harmonics: usize| {
        let worths = repeats.worths(cycles, harmonics);
        worths
            .get(harmonics - 1)
            .copied()
            .unwrap_or(f64::NEG_INFINITY)
    };
    // Few cycles with many harmonics could take the shape of anything.
    let most_waves = |cycles: f64| {
        let most = match cycles {
            _ if known.waves > 0 => 2.0,
            4.0.. => 6.0,
            _ => cycles.floor(),
        };
        (n / 2.2 / cycles).floor().clamp(1.0, f64::max(most, 1.0)) as usize
    };
    let mut finest = (f64::NEG_INFINITY, best.1, 1);
    // A saw or a pulse train has its power in the harmonics, perhaps more than in the fundamental.
    for (divisor, shift) in [
        (1.0, -0.12),
        (1.0, 0.0),
        (1.0, 0.12),
        (2.0, -0.1),
        (2.0, 0.0),
        (2.0, 0.1),
        (3.0, 0.0),
    ] {
        let cycles = (best.1 + shift) / divisor;
        if cycles < 1.4 {
            continue;
        }
        let harmonics = most_waves(cycles).min(2);
        let own = worth(cycles, harmonics);
        if own > finest.0 {
            finest = (own, cycles, harmonics);
        }
    }
    let near = (finest.1 - 0.13, finest.1 + 0.13);
    let middle = golden(near, 8, |cycles| worth(cycles, finest.2));
    let own = worth(middle, finest.2);
    if own > finest.0 {
        finest = (own, middle, finest.2);
    }
    let most = most_waves(finest.1);
    for (harmonics, own) in (1..).zip(repeats.worths(finest.1, most)) {
        if own > finest.0 {
            finest = (own, finest.1, harmonics);
        }
    }
    let (_, cycles, harmonics) = finest;
    Some(Around {
        columns: design::waves(x, cycles, harmonics)
            .into_iter()
            .map(Column::from)
            .collect(),
        charge: (2.0 * harmonics as f64 + 1.0) * n.ln() + 2.0 * CYCLES_TRIED.ln(),
        cycles: Some(cycles),
        waves: 1,
        wave_columns: 2 * harmonics,
        ..Around::default()
    })
}

/// What cycles are worth beside columns that are there.
struct Repeats<'a> {
    series: &'a Series,
    base: Vec<Rc<Known>>,
    factor: Factor<4>,
    /// The curve's products with the columns.
    y: Vec<[f64; 3]>,
    /// The columns are independent.
    sound: bool,
}

impl<'a> Repeats<'a> {
    /// For searches a few values do.
    const RHOS: [f64; 4] = [0.0, 0.5, 0.85, 0.85];

    fn new(series: &'a Series, base: &[Column]) -> Self {
        let base: Vec<Rc<Known>> = base.iter().map(|column| series.known(column)).collect();
        let (mut factor, mut sound) = (Factor::new(Self::RHOS), true);
        for (place, column) in base.iter().enumerate() {
            let before = base[..place].iter();
            let beside: Vec<[f64; 3]> = before.map(|it| it.products(&column.values)).collect();
            sound &= factor.push(&beside, column.products(&column.values), INDEPENDENT);
        }
        Self {
            y: base.iter().map(|it| it.products(series.y())).collect(),
            series,
            base,
            factor,
            sound,
        }
    }

    /// With 1 up to so many harmonics.
    fn worths(&mut self, cycles: f64, harmonics: usize) -> Vec<f64> {
        let columns = self.base.len();
        let n = self.series.y().len() as f64;
        let most = harmonics.min((MAX_COLUMNS - columns) / 2);
        let waves = design::waves(self.series.x(), cycles, most);
        let edges = design::wave_edges(self.series.x(), cycles, most);
        let mut y = self.y.clone();
        let mut sound = self.sound;
        let mut independent = 0;
        let mut beside = Vec::with_capacity(MAX_COLUMNS);
        for (place, (wave, edges)) in waves.iter().zip(&edges).enumerate() {
            beside.clear();
            let others = self.base.iter().map(|it| &*it.values);
            let others = others.chain(waves[..place].iter().map(Vec::as_slice));
            beside.extend(others.map(|it| edges.products(wave, it)));
            let own = edges.products(wave, wave);
            sound &= self.factor.push(&beside, own, INDEPENDENT);
            y.push(edges.products(wave, self.series.y()));
            independent += usize::from(sound);
        }
        let own = self.series.y.products(self.series.y());
        let row = self.factor.row(&y, own);
        self.factor.truncate(columns);
        // What is left with the first few of them is had on the way.
        let mut left = row.rest;
        let mut worths = vec![f64::NEG_INFINITY; harmonics];
        for harmonic in (1..=most).rev() {
            if independent >= 2 * harmonic {
                let likelihood2 = |lane: usize| {
                    let own = 1.0 - Self::RHOS[lane] * Self::RHOS[lane];
                    own.ln() - n * (left[lane].max(self.series.floor * own) / n).ln()
                };
                let about = (0..4).map(likelihood2).fold(f64::NEG_INFINITY, f64::max);
                worths[harmonic - 1] = about - 2.0 * harmonic as f64 * n.ln();
            }
            for along in &row.along[columns + 2 * harmonic - 2..columns + 2 * harmonic] {
                for lane in 0..4 {
                    left[lane] += along[lane] * along[lane];
                }
            }
        }
        worths
    }
}
