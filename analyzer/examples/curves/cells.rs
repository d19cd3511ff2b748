//! The table per cell, as CSV: what was answered, and beside it what could have been.
//!
//! - `trend_sigmas`: distance of the growth from none, noise and all that happens around it known.
//! - `oracle_found`: share that the most powerful test finds which knows all of this, at one false finding
//!   in 10,000 (Neyman & Pearson).
//! - `oracle_noise_unknown`: the same, but variance and autocorrelation are estimated from the window: the
//!   right curve is fitted by generalised least squares, the only thing not known being the noise.
//! - `oracle_still_rising`: the first, against shapes that came to rest by the middle of the window.
//! - `rival_sigmas`: distance from the nearest shape that has another name; `oracle_named`: share that can
//!   be named if one name in a hundred may be wrong.
//!
//! The first generator does not say what happens around a curve: there the oracles take nothing to happen.

use leaktrack_analyzer::model::process::GRID_POINTS;
use leaktrack_analyzer::verdict::shape::ar1::Gram;
use leaktrack_analyzer::verdict::stats::erfc;

use crate::first::{self, Cell, Labelled, Truth};
use crate::score::{Score, percent};
use crate::third::{self, Case};
use crate::{adapt, cells};

/// Quantiles of the normal distribution: one in 10,000 and one in 100.
const RARE: f64 = 3.719;
const ONE_PERCENT: f64 = 2.326;

#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    pub score: Score,
    pub found_beyond_five: u32,
    pub beyond_five: u32,
    pub oracle_beyond_five: f64,
    trend_sigmas: f64,
    rival_sigmas: f64,
    oracle_found: f64,
    oracle_noise_unknown: f64,
    oracle_still_rising: f64,
    oracle_named: f64,
}

impl Row {
    fn add(&mut self, labelled: &Labelled, case: Option<&Case>) {
        let opinion = adapt::opinion(labelled);
        self.score.add(labelled, &opinion);
        let trend = labelled.growth_sigmas.min(999.0);
        let rival = case
            .map_or(labelled.shape_sigmas, |case| case.rival_sigmas)
            .min(999.0);
        self.trend_sigmas += trend;
        self.rival_sigmas += rival;
        self.oracle_found += normal(trend - RARE);
        self.oracle_named += normal(rival - ONE_PERCENT);
        self.oracle_still_rising += case.map_or(0.0, |case| normal(case.rest_sigmas - RARE));
        let informed = case.is_some_and(|case| informed(labelled, case) <= 1e-4);
        self.oracle_noise_unknown += f64::from(u8::from(informed));
        if labelled.grows && trend > 5.0 {
            self.beyond_five += 1;
            self.found_beyond_five += u32::from(opinion.verdict.is_finding());
            self.oracle_beyond_five += f64::from(u8::from(informed));
        }
    }

    pub fn plus(&mut self, other: &Self) {
        self.score.plus(&other.score);
        self.found_beyond_five += other.found_beyond_five;
        self.beyond_five += other.beyond_five;
        self.oracle_beyond_five += other.oracle_beyond_five;
        self.trend_sigmas += other.trend_sigmas;
        self.rival_sigmas += other.rival_sigmas;
        self.oracle_found += other.oracle_found;
        self.oracle_noise_unknown += other.oracle_noise_unknown;
        self.oracle_still_rising += other.oracle_still_rising;
        self.oracle_named += other.oracle_named;
    }
}

fn normal(z: f64) -> f64 {
    let tail = 0.5 * erfc(z.abs() / std::f64::consts::SQRT_2);
    if z < 0.0 { tail } else { 1.0 - tail }
}

/// Chance of no growth, for one who knows every mean curve and not the noise.
fn informed(labelled: &Labelled, case: &Case) -> f64 {
    let points = labelled.activity.len();
    let busy = labelled
        .activity
        .iter()
        .rposition(|it| *it > 0.0)
        .map_or(points, |last| last + 1);
    let count = GRID_POINTS.min(busy);
    let thin = |curve: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let part = |cell: usize| (cell * busy / count, (cell + 1) * busy / count);
        let mean =
            |(from, to): (usize, usize)| (from..to).map(curve).sum::<f64>() / (to - from) as f64;
        (0..count).map(|cell| mean(part(cell))).collect()
    };
    if !labelled.grows || case.rival_sigmas.is_infinite() {
        return if labelled.grows { 0.0 } else { 1.0 };
    }
    let mut columns = vec![vec![1.0; count]];
    columns.extend(case.around.iter().map(|curve| thin(&|i| curve[i])));
    // A column that is over before its first cell ends says nothing.
    columns.retain(|column| column.iter().any(|value| value.abs() > 1e-3));
    columns.push(thin(&|i| case.shape[i]));
    let y = thin(&|i| labelled.passing[i] + labelled.kept[i]);
    let refs: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let marginal = Gram::new(&refs, &y, 1.0).marginal(columns.len() - 1);
    marginal.map_or(1.0, |marginal| 1.0 - marginal.above(0.0))
}

fn of_cell(which: &str, cell: &Cell, count: u64) -> Row {
    let mut row = Row::default();
    for index in 0..count {
        match which {
            "first" => row.add(&first::curve(cell, index), None),
            _ => {
                let case = third::curve(cell, index);
                row.add(&case.labelled, Some(&case));
            }
        }
    }
    row
}

/// In parallel; results in the order of the cells.
fn of_cells(which: &str, all: &[Cell], count: u64) -> Vec<Row> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mut done: Vec<(usize, Row)> = std::thread::scope(|scope| {
        let work = || {
            let mut own = Vec::new();
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(cell) = all.get(index) else {
                    return own;
                };
                own.push((index, of_cell(which, cell, count)));
            }
        };
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        let rows = workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no panic"));
        rows.collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, row)| row).collect()
}

/// Says of the growing curves of the third generator that were not found what they lack.
pub fn misses(truth: Truth, (low, high): (f64, f64), count: u64) {
    for cell in cells(truth) {
        for index in 0..count {
            let case = third::curve(&cell, index);
            let labelled = &case.labelled;
            if !(low..high).contains(&labelled.growth_sigmas) {
                continue;
            }
            let opinion = adapt::opinion(labelled);
            if opinion.verdict.is_finding() {
                println!("found");
                continue;
            }
            let Some(shape) = adapt::shape(labelled) else {
                println!("not noisy: {:?}", opinion.why);
                continue;
            };
            let busy = labelled.activity.iter().filter(|it| **it > 0.0).count();
            println!(
                "missed: {} points, noise {}, rho {}, {:.1} sigma, {:.1} from rest, {} around, busy {:.2}: lead {:.1}, \
                 still {:.3}, p {:.1e}, best {:?} full {:?} warm {:?} cycles {:?}",
                cell.points,
                cell.noise,
                cell.rho,
                labelled.growth_sigmas,
                case.rest_sigmas,
                case.around.len(),
                busy as f64 / labelled.activity.len() as f64,
                shape.lead,
                shape.still,
                shape.trend.map_or(1.0, |trend| trend.p),
                shape.best.kind,
                shape.best.full_at,
                shape.best.warm_until,
                shape.best.cycles,
            );
        }
    }
}

/// Writes the table of all cells to stdout, and sums per pattern to stderr.
pub fn table(which: &str, count: u64, only: Option<&str>) {
    println!(
        "pattern,points,noise,rho,size,curves,given,wrong,pattern_unclear,growing,quiet,verdict_unclear,\
         rates,rates_held,trend_sigmas,oracle_found,oracle_noise_unknown,oracle_still_rising,\
         rival_sigmas,oracle_named"
    );
    eprintln!(
        "{:16} {:>6} {:>6} {:>7} {:>8} {:>9} {:>7} {:>7} {:>9} {:>9} {:>7} {:>9}",
        "",
        "curves",
        "given%",
        "wrong%",
        "worst%",
        "growing%",
        "denied%",
        "found>5",
        "oracle>5",
        "or.named",
        "held%",
        "cells>1%"
    );
    for truth in Truth::ALL {
        if only.is_some_and(|only| format!("{truth:?}") != only) {
            continue;
        }
        let all = cells(truth);
        let rows = of_cells(which, &all, count);
        let (mut sum, mut worst, mut over) = (Row::default(), 0.0_f64, 0);
        for (cell, row) in all.iter().zip(&rows) {
            let score = &row.score;
            let each = f64::from(score.curves.max(1));
            println!(
                "{:?},{},{},{},{},{},{},{},{},{},{},{},{},{},{:.2},{:.3},{:.3},{:.3},{:.2},{:.3}",
                cell.truth,
                cell.points,
                cell.noise,
                cell.rho,
                cell.size,
                score.curves,
                score.right + score.wrong,
                score.wrong,
                score.unclear(),
                score.findings,
                score.curves - score.findings - score.undecided,
                score.undecided,
                score.rates,
                score.held,
                row.trend_sigmas / each,
                row.oracle_found / each,
                row.oracle_noise_unknown / each,
                row.oracle_still_rising / each,
                row.rival_sigmas / each,
                row.oracle_named / each,
            );
            if score.right + score.wrong >= 5 {
                worst = worst.max(score.wrong_percent());
            }
            over += u32::from(score.wrong_percent() > 1.0);
            sum.plus(row);
        }
        let score = &sum.score;
        eprintln!(
            "{:16} {:6} {:6.1} {:7.2} {:8.1} {:9.3} {:7.2} {:7.1} {:9.1} {:9.1} {:7.1} {:5}/{}",
            format!("{truth:?}"),
            score.curves,
            percent(score.right + score.wrong, score.curves),
            score.wrong_percent(),
            worst,
            percent(score.findings, score.curves),
            percent(score.denied, score.curves),
            percent(sum.found_beyond_five, sum.beyond_five),
            100.0 * sum.oracle_beyond_five / f64::from(sum.beyond_five.max(1)),
            100.0 * sum.oracle_named / f64::from(score.curves.max(1)),
            percent(score.held, score.rates),
            over,
            all.len(),
        );
    }
}
