//! The shapes that are tried on a curve, each fitted as well as it can be.
//!
//! Judges none of them; [`super::choice`] does.

use super::ar1::{Fit, Gram, MAX_COLUMNS};
use super::{design, steps};

/// What a shape stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A level.
    Flat,
    /// Rises or falls evenly.
    Linear,
    /// Rises ever faster.
    Accelerating,
    /// Rose and stayed.
    Plateau,
    /// Rises ever more slowly, and has not come to rest.
    Slowing,
    /// Repeats itself around a level.
    PeriodicLevel,
    /// Repeats itself around a line.
    PeriodicTrend,
    /// Rises in three steps or more.
    Staircase,
}

/// A fitted shape.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it stands for.
    pub kind: Kind,
    /// Bayesian information criterion (Schwarz 1978); the lowest is the best.
    pub bic: f64,
    /// Coefficients and errors.
    pub fit: Fit,
    /// Columns, for intervals; empty for steps.
    pub columns: Vec<Vec<f64>>,
    /// Which coefficient is the slope at the end of the window.
    pub slope: Option<usize>,
    /// Warm-up: share of the window until it is over.
    pub warm_until: Option<f64>,
    /// Point from which everything was given back once.
    pub restart: Option<usize>,
    /// Cycles per window.
    pub cycles: Option<f64>,
    /// Steps and levels.
    pub steps: Option<steps::Steps>,
    /// Where a rise was complete, as a share of the window.
    pub full_at: Option<f64>,
}

/// All candidates for `y`, on a grid of even times.
pub struct Search<'a> {
    y: &'a [f64],
    x: Vec<f64>,
    floor: f64,
    found: Vec<Candidate>,
}

const TAUS: [f64; 9] = [0.008, 0.016, 0.03, 0.05, 0.08, 0.12, 0.17, 0.24, 0.35];
const FULL: [f64; 14] = [
    0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.57, 0.65, 0.75, 0.85,
];
/// Time constants of a warm-up before steady growth.
const WARM: [f64; 5] = [0.015, 0.03, 0.05, 0.075, 0.1];
/// So many different ways of rising and of repeating are tried: what a search may find by chance counts
/// against it (extended BIC; Chen & Chen 2008).
const RISES_TRIED: f64 = 10.0;
/// See [`RISES_TRIED`].
const PERIODS_TRIED: f64 = 57.0;
/// Twice the log-likelihood that a single wave must gain before waves are looked at closely.
const WORTH_A_LOOK: f64 = 8.0;
/// A rise with a longer time constant has not come to rest.
const AT_REST: f64 = 0.2;

impl<'a> Search<'a> {
    /// For the series `y`; `floor` as in [`Gram::new`].
    pub fn new(y: &'a [f64], floor: f64) -> Self {
        Self {
            y,
            x: design::times(y.len()),
            floor,
            found: Vec::new(),
        }
    }

    /// Tries everything; unless `thorough`, only levels, lines and periods where no line rises.
    pub fn run(mut self, thorough: bool) -> Vec<Candidate> {
        let (drops, jumps) = (self.largest(-1.0), self.largest(1.0));
        let x = self.x.clone();
        let (one, line) = (design::constant(&x), x.clone());
        self.plain(Kind::Flat, vec![one.clone()], None, 1.0);
        self.plain(Kind::Linear, vec![one.clone(), line.clone()], Some(1), 1.0);
        if self.y.len() < 16 {
            return self.found;
        }
        let rises = || {
            let bic = |kind| {
                self.found
                    .iter()
                    .find(|it| it.kind == kind)
                    .map(|it| it.bic)
            };
            bic(Kind::Linear) < bic(Kind::Flat).map(|flat| flat + 3.0)
        };
        if !thorough && !rises() {
            self.periods();
            return self.found;
        }
        let bent = vec![one.clone(), line.clone(), design::bend(&x)];
        self.plain(Kind::Accelerating, bent.clone(), Some(1), 1.0);
        for rate in [3.0, 6.0] {
            let columns = vec![one.clone(), design::exponential(&x, rate)];
            self.plain(Kind::Accelerating, columns, Some(1), 2.0);
        }
        for full in FULL {
            let columns = vec![one.clone(), design::ramp(&x, full)];
            self.rise(columns, full);
        }
        for tau in TAUS {
            let columns = vec![one.clone(), design::saturating(&x, tau)];
            self.rise(columns, if tau > AT_REST { 2.0 } else { 3.0 * tau });
        }
        for at in &jumps {
            let columns = vec![one.clone(), design::step(&x, *at)];
            self.rise(columns, x[*at]);
        }
        if let Some((tau, _)) = self.finest(&TAUS, |search, tau| {
            let columns = vec![one.clone(), design::saturating(&x, tau)];
            search.candidate(Kind::Plateau, columns, None, RISES_TRIED)
        }) {
            let columns = vec![one.clone(), design::saturating(&x, tau)];
            self.rise(columns, if tau > AT_REST { 2.0 } else { 3.0 * tau });
        }
        if let Some((full, _)) = self.finest(&FULL, |search, full| {
            let columns = vec![one.clone(), design::ramp(&x, full)];
            search.candidate(Kind::Plateau, columns, None, RISES_TRIED)
        }) {
            self.rise(vec![one.clone(), design::ramp(&x, full)], full);
        }
        self.two_rises(&x, &one, &jumps);
        let linear = vec![one.clone(), line.clone()];
        let mut warm = WARM.to_vec();
        warm.extend(
            self.finest(&WARM, |search, tau| {
                let columns = vec![one.clone(), line.clone(), design::saturating(&x, tau)];
                search.candidate(Kind::Linear, columns, Some(1), WARM.len() as f64)
            })
            .map(|(tau, _)| tau),
        );
        for tau in warm {
            let warm = design::saturating(&x, tau);
            for (kind, base) in [(Kind::Linear, &linear), (Kind::Accelerating, &bent)] {
                let mut columns = base.clone();
                columns.push(warm.clone());
                let index = columns.len() - 1;
                if let Some(mut candidate) =
                    self.candidate(kind, columns, Some(1), WARM.len() as f64)
                    && candidate.fit.beta[index] > 0.0
                {
                    candidate.warm_until = Some(3.0 * tau);
                    self.keep(candidate);
                }
            }
        }
        for at in drops {
            let all = [
                (Kind::Flat, vec![one.clone()]),
                (Kind::Linear, linear.clone()),
                (Kind::Accelerating, bent.clone()),
            ];
            for (kind, mut columns) in all {
                columns.push(design::step(&x, at));
                let index = columns.len() - 1;
                let slope = (kind != Kind::Flat).then_some(1);
                if let Some(mut candidate) =
                    self.candidate(kind, columns, slope, self.y.len() as f64 / 4.0)
                    && candidate.fit.beta[index] < 0.0
                {
                    candidate.restart = Some(at);
                    self.keep(candidate);
                }
            }
        }
        self.periods();
        self.stairs();
        let bic = |kind: Kind| {
            let own = self.found.iter().filter(|it| it.kind == kind);
            own.map(|it| it.bic).fold(f64::INFINITY, f64::min)
        };
        // Steps only matter where there is a rise.
        if bic(Kind::Linear) < bic(Kind::Flat) {
            self.even_stairs();
        }
        self.found
    }

    fn candidate(
        &self,
        kind: Kind,
        columns: Vec<Vec<f64>>,
        slope: Option<usize>,
        tried: f64,
    ) -> Option<Candidate> {
        let refs: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let fit = Gram::new(&refs, self.y, self.floor).fit(false)?;
        let searched = if tried > 1.0 { 1.0 } else { 0.0 };
        let parameters = columns.len() as f64 + 2.0 + searched;
        Some(Candidate {
            kind,
            bic: parameters * (self.y.len() as f64).ln() + 2.0 * tried.ln() - fit.likelihood2,
            fit,
            columns,
            slope,
            warm_until: None,
            restart: None,
            cycles: None,
            steps: None,
            full_at: None,
        })
    }

    /// A warm-up, and later another rise that came to rest.
    fn two_rises(&mut self, x: &[f64], one: &[f64], jumps: &[usize]) {
        let two = |search: &Self, tau: f64, second: Vec<f64>| {
            let columns = vec![one.to_vec(), design::saturating(x, tau), second];
            let tried = RISES_TRIED * WARM.len() as f64;
            search.candidate(Kind::Plateau, columns, None, tried)
        };
        let mut seconds: Vec<(f64, Vec<f64>)> = jumps
            .iter()
            .map(|at| (x[*at], design::step(x, *at)))
            .collect();
        seconds.extend([0.2, 0.3, 0.4, 0.5].map(|full| (full, design::ramp(x, full))));
        for (full, second) in seconds {
            let best = self.finest(&WARM, |search, tau| two(search, tau, second.clone()));
            let Some((tau, _)) = best else { continue };
            if let Some(mut candidate) = two(self, tau, second)
                && candidate.fit.beta[1] > 0.0
                && candidate.fit.beta[2] > 0.0
            {
                candidate.full_at = Some(full);
                candidate.warm_until = Some(3.0 * tau);
                self.keep(candidate);
            }
        }
    }

    /// The value between those of `grid` (ascending) around the best one at which `candidate` fits best.
    fn finest(
        &self,
        grid: &[f64],
        candidate: impl Fn(&Self, f64) -> Option<Candidate>,
    ) -> Option<(f64, f64)> {
        let bic = |value: f64| candidate(self, value).map_or(f64::INFINITY, |it| it.bic);
        let best = (0..grid.len()).min_by(|a, b| bic(grid[*a]).total_cmp(&bic(grid[*b])))?;
        let (mut low, mut high) = (
            grid[best.saturating_sub(1)],
            grid[(best + 1).min(grid.len() - 1)],
        );
        for _ in 0..8 {
            let (a, b) = (high - 0.618 * (high - low), low + 0.618 * (high - low));
            if bic(a) <= bic(b) {
                high = b;
            } else {
                low = a;
            }
        }
        let middle = 0.5 * (low + high);
        Some((middle, bic(middle)))
    }

    fn keep(&mut self, candidate: Candidate) {
        let bends_up = candidate.kind != Kind::Accelerating || {
            let beta = &candidate.fit.beta;
            let end = beta[1];
            // For the parabola: slope at the start is end - 2·bend; it may not have fallen much.
            let is_parabola = candidate.columns.len() > 2 && candidate.columns[1] == self.x;
            end > 0.0 && (!is_parabola || (beta[2] > 0.0 && end - 2.0 * beta[2] > -0.25 * end))
        };
        if bends_up {
            self.found.push(candidate);
        }
    }

    fn plain(&mut self, kind: Kind, columns: Vec<Vec<f64>>, slope: Option<usize>, tried: f64) {
        if let Some(candidate) = self.candidate(kind, columns, slope, tried) {
            self.keep(candidate);
        }
    }

    /// A rise that was complete at the share `full` of the window; later than the end: not yet.
    fn rise(&mut self, columns: Vec<Vec<f64>>, full: f64) {
        let kind = if full > 1.0 {
            Kind::Slowing
        } else {
            Kind::Plateau
        };
        if let Some(mut candidate) = self.candidate(kind, columns, None, RISES_TRIED)
            && candidate.fit.beta[1] > 0.0
        {
            candidate.full_at = Some(full);
            self.keep(candidate);
        }
    }

    /// The three places with the largest change over two points in the direction `sign`.
    fn largest(&self, sign: f64) -> Vec<usize> {
        let n = self.y.len();
        let edge = (n / 16).max(2);
        let mut moves: Vec<(f64, usize)> = (edge..n.saturating_sub(edge))
            .map(|i| {
                let before = 0.5 * (self.y[i - 1] + self.y[i - 2]);
                let after = 0.5 * (self.y[i] + self.y[i + 1]);
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

    /// Twice the log-likelihood of `base` and one wave of so many cycles, about.
    fn waved(&self, base: &[Vec<f64>], cycles: f64) -> Option<f64> {
        let waves = design::waves(&self.x, cycles, 1);
        let columns = base.iter().chain(&waves);
        let columns: Vec<&[f64]> = columns.map(Vec::as_slice).collect();
        Gram::new(&columns, self.y, self.floor).about()
    }

    fn periods(&mut self) {
        let most = (self.y.len() as f64 / 4.0).min(30.0);
        let x = self.x.clone();
        let base = vec![design::constant(&x), x.clone()];
        let mut best: Option<(f64, f64)> = None;
        let with = |search: &Self, cycles: f64, harmonics: usize, base: &[Vec<f64>]| {
            let mut columns = base.to_vec();
            columns.extend(design::waves(&x, cycles, harmonics));
            search.candidate(Kind::PeriodicTrend, columns, Some(1), PERIODS_TRIED)
        };
        let plain = self.found.iter().map(|it| it.fit.likelihood2);
        let plain = plain.fold(f64::NEG_INFINITY, f64::max);
        let mut cycles = 1.5;
        while cycles <= most {
            if let Some(likelihood2) = self.waved(&base, cycles)
                && best.is_none_or(|(_, known)| likelihood2 > known)
            {
                best = Some((cycles, likelihood2));
            }
            cycles += if cycles < 6.0 { 0.25 } else { 0.5 };
        }
        let Some((coarse, likelihood2)) = best else {
            return;
        };
        if likelihood2 < plain + WORTH_A_LOOK {
            return;
        }
        // A saw or a pulse train has its power in the harmonics, perhaps more than in the fundamental.
        let most_waves =
            |cycles: f64| (x.len() as f64 / 2.2 / cycles).floor().clamp(1.0, 4.0) as usize;
        let mut finest: Option<(f64, usize, f64)> = None;
        for (divisor, shift) in [
            (1.0, -0.12),
            (1.0, 0.0),
            (1.0, 0.12),
            (2.0, -0.1),
            (2.0, 0.0),
            (2.0, 0.1),
            (3.0, 0.0),
        ] {
            let cycles = (coarse + shift) / divisor;
            if cycles < 1.4 {
                continue;
            }
            let harmonics = most_waves(cycles).min(2);
            if let Some(candidate) = with(self, cycles, harmonics, &base)
                && finest.is_none_or(|(_, _, bic)| candidate.bic < bic)
            {
                finest = Some((cycles, harmonics, candidate.bic));
            }
        }
        if let Some((cycles, ..)) = finest {
            for harmonics in 1..=most_waves(cycles) {
                if let Some(candidate) = with(self, cycles, harmonics, &base)
                    && finest.is_none_or(|(_, _, bic)| candidate.bic < bic)
                {
                    finest = Some((cycles, harmonics, candidate.bic));
                }
            }
        }
        let Some((cycles, harmonics, _)) = finest else {
            return;
        };
        let mut bases = vec![
            (Kind::PeriodicLevel, vec![design::constant(&x)], None),
            (Kind::PeriodicTrend, base.clone(), None),
        ];
        for tau in [0.02, 0.05, 0.1] {
            let warm = design::saturating(&x, tau);
            let level = vec![design::constant(&x), warm.clone()];
            bases.push((Kind::PeriodicLevel, level, Some(3.0 * tau)));
            let trend = vec![design::constant(&x), x.clone(), warm];
            bases.push((Kind::PeriodicTrend, trend, Some(3.0 * tau)));
        }
        let rests = self.found.iter().filter(|it| it.kind == Kind::Plateau);
        let mut rests: Vec<&Candidate> = rests
            .filter(|it| it.full_at.is_some_and(|at| at < 0.7))
            .collect();
        rests.sort_by(|a, b| a.bic.total_cmp(&b.bic));
        for rest in rests.iter().take(3) {
            bases.push((Kind::PeriodicLevel, rest.columns.clone(), rest.full_at));
        }
        for at in self.largest(1.0) {
            let columns = vec![design::constant(&x), design::step(&x, at)];
            bases.push((Kind::PeriodicLevel, columns, Some(x[at])));
        }
        for full in [0.15, 0.3, 0.45] {
            let columns = vec![design::constant(&x), design::ramp(&x, full)];
            bases.push((Kind::PeriodicLevel, columns, Some(full)));
        }
        for (kind, mut columns, warm_until) in bases {
            if columns.len() + 2 * harmonics > MAX_COLUMNS {
                continue;
            }
            let tried = PERIODS_TRIED * if warm_until.is_some() { 9.0 } else { 1.0 };
            let slope = (kind == Kind::PeriodicTrend).then_some(1);
            columns.extend(design::waves(&x, cycles, harmonics));
            if let Some(mut candidate) = self.candidate(kind, columns, slope, tried) {
                candidate.cycles = Some(cycles);
                candidate.warm_until = warm_until;
                self.keep(candidate);
            }
        }
    }

    /// Steps at even times and of one height: what a job that runs by the clock leaves behind.
    fn even_stairs(&mut self) {
        const TRIED: f64 = 100.0;
        let x = self.x.clone();
        let with = |search: &Self, cycles: f64, phase: f64| {
            let stairs = x
                .iter()
                .map(|x| (cycles * x + phase).floor() / cycles)
                .collect();
            let columns = vec![design::constant(&x), stairs];
            search.candidate(Kind::Staircase, columns, None, TRIED)
        };
        let mut best: Option<(f64, f64, f64)> = None;
        let mut consider = |search: &Self, cycles: f64, phase: f64| {
            let stairs: Vec<f64> = x
                .iter()
                .map(|x| (cycles * x + phase).floor() / cycles)
                .collect();
            let one = vec![1.0; x.len()];
            if let Some(likelihood2) = Gram::new(&[&one, &stairs], search.y, search.floor).about()
                && best.is_none_or(|(_, _, worse)| -likelihood2 < worse)
            {
                best = Some((cycles, phase, -likelihood2));
            }
        };
        let most = (x.len() as f64 / 5.0).min(14.0);
        let mut cycles = 3.0;
        while cycles <= most {
            for phase in 0..6 {
                consider(self, cycles, f64::from(phase) / 6.0);
            }
            cycles += 0.25;
        }
        let Some((cycles, phase, _)) = best else {
            return;
        };
        let mut finest: Option<(f64, f64, f64)> = None;
        for cycle in -1..=1 {
            for shift in -2..=2 {
                let (cycles, phase) = (
                    cycles + f64::from(cycle) / 12.0,
                    phase + f64::from(shift) / 18.0,
                );
                if let Some(candidate) = with(self, cycles, phase)
                    && finest.is_none_or(|(_, _, bic)| candidate.bic < bic)
                {
                    finest = Some((cycles, phase, candidate.bic));
                }
            }
        }
        if let Some((cycles, phase, _)) = finest
            && let Some(mut candidate) = with(self, cycles, phase)
            && candidate.fit.beta[1] > 0.0
        {
            candidate.cycles = Some(cycles);
            candidate.slope = Some(1);
            // A phase and a height more than a line has.
            candidate.bic += (x.len() as f64).ln();
            self.keep(candidate);
        }
    }

    fn stairs(&mut self) {
        let Some(steps) = steps::steps(self.y, 16, self.floor) else {
            return;
        };
        let count = steps.at.len();
        let rises = steps
            .levels
            .windows(2)
            .filter(|pair| pair[1] > pair[0])
            .count();
        if count == 0 || rises < count {
            return;
        }
        let kind = if count >= 3 {
            Kind::Staircase
        } else {
            Kind::Plateau
        };
        let parameters = 2.0 * count as f64 + 3.0;
        self.found.push(Candidate {
            kind,
            bic: parameters * (self.y.len() as f64).ln() - steps.likelihood2,
            fit: Fit {
                beta: Vec::new(),
                errors: Vec::new(),
                rho: steps.rho,
                sd: 0.0,
                likelihood2: steps.likelihood2,
            },
            columns: Vec::new(),
            slope: None,
            warm_until: None,
            restart: None,
            cycles: None,
            full_at: steps.at.last().map(|at| self.x[*at]),
            steps: Some(steps),
        });
    }
}
