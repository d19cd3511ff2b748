//! The shapes that a curve is compared with, each with one free size, so that none has the advantage of
//! being more flexible than another.
//!
//! Knows nothing of data.

use super::super::stats::quantile;
use super::Kind;
use super::design::{self, Column};
use super::steps::Steps;

/// One way in which live bytes can move over a window.
#[derive(Clone, Debug)]
pub struct Atom {
    /// What it stands for.
    pub kind: Kind,
    /// The mean curve, for size 1.
    pub values: Column,
    /// Where it came to rest, as a share of the window.
    pub full_at: Option<f64>,
    /// Steps per window.
    pub steps: Option<f64>,
    /// Share of a step by which even steps come early.
    pub phase: Option<f64>,
}

/// Where rises are complete.
pub const FULL: [f64; 14] = [
    0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.57, 0.65, 0.75, 0.85,
];
/// Time constants of rises that slow down.
pub const TAUS: [f64; 12] = [
    0.008, 0.016, 0.03, 0.05, 0.08, 0.12, 0.15, 0.18, 0.25, 0.35, 0.5, 0.8,
];
/// A rise with a longer time constant has not come to rest.
const AT_REST: f64 = 0.2;
/// Steps per window: fewer are no habit, more are hardly told from a line.
const STEPS: (f64, f64) = (3.5, 12.0);

/// An even rise.
pub fn line(x: &Column) -> Atom {
    Atom {
        kind: Kind::Linear,
        values: x.clone(),
        full_at: None,
        steps: None,
        phase: None,
    }
}

/// Rises that get faster, from powers and exponentials.
pub fn accelerating(x: &[f64]) -> Vec<Atom> {
    let curve = |values: Vec<f64>| Atom {
        kind: Kind::Accelerating,
        values: values.into(),
        full_at: None,
        steps: None,
        phase: None,
    };
    let powers = [2.0, 3.0].map(|power| curve(x.iter().map(|x| x.powf(power)).collect()));
    let folds = [2.0, 3.0, 4.5, 7.0].map(|rate| curve(design::exponential(x, rate)));
    powers.into_iter().chain(folds).collect()
}

/// A rise that was complete at `full`, a share of the window.
pub fn ramp(x: &[f64], full: f64) -> Atom {
    rest(design::ramp(x, full), full)
}

/// A rise that slows down with time constant `tau`, a share of the window.
pub fn saturating(x: &[f64], tau: f64) -> Atom {
    let full = if tau > AT_REST { 2.0 } else { 3.0 * tau };
    rest(design::saturating(x, tau), full)
}

fn rest(values: Vec<f64>, full: f64) -> Atom {
    Atom {
        kind: if full > 1.0 {
            Kind::Slowing
        } else {
            Kind::Plateau
        },
        values: values.into(),
        full_at: Some(full),
        steps: None,
        phase: None,
    }
}

/// One step, up at point `at`.
pub fn single_step(x: &[f64], at: usize) -> Atom {
    Atom {
        steps: Some(1.0),
        ..rest(design::step(x, at), x[at])
    }
}

/// Steps at even times and of one height, `cycles` of them and the first one where `phase` says.
pub fn even_stairs(x: &[f64], cycles: f64, phase: f64) -> Atom {
    // Each point stands for all of its time: the mean of the level over it.
    let part = 1.0 / x.len() as f64;
    let until = |point: usize| {
        let at = cycles * (part * point as f64) + phase;
        let whole = floor(at);
        whole * (at - whole) + 0.5 * whole * (whole - 1.0)
    };
    let scale = 1.0 / (part * cycles * cycles);
    let mut before = until(0);
    let mean = |point: usize| {
        let after = until(point + 1);
        let mean = (after - before) * scale;
        before = after;
        mean
    };
    Atom {
        kind: Kind::Staircase,
        values: (0..x.len()).map(mean).collect(),
        full_at: None,
        steps: Some(cycles),
        phase: Some(phase),
    }
}

/// Each step of [`even_stairs`] on its own, and all that were before the window together with the level.
pub fn each_step(x: &[f64], cycles: f64, phase: f64) -> Vec<Vec<f64>> {
    let points = x.len() as f64;
    let first = floor(phase) + 1.0;
    let places = (0..).map(|step| (first + f64::from(step) - phase) / cycles);
    let inside = places.take_while(|place| *place < 1.0 - 1.0 / points);
    let column = |place: f64| {
        // The share of each point's time that comes after.
        let after = |point: usize| (point as f64 + 1.0 - place * points).clamp(0.0, 1.0);
        (0..x.len()).map(after).collect()
    };
    inside
        .filter(|place| *place > 1.0 / points)
        .map(column)
        .collect()
}

/// [`f64::floor`] of a small number; that one is a call on processors without an instruction for it.
fn floor(value: f64) -> f64 {
    let whole = value as i32;
    f64::from(whole - i32::from(value < f64::from(whole)))
}

/// The numbers of steps and the places of the first one that are tried.
pub fn stairs(x: &[f64]) -> Vec<(f64, f64)> {
    let most = (x.len() as f64 / 4.0).min(STEPS.1);
    let mut all = Vec::new();
    let mut cycles = STEPS.0;
    while cycles <= most {
        all.extend((0..8).map(|phase| (cycles, f64::from(phase) / 8.0)));
        cycles += 0.25;
    }
    all
}

/// Steps as they were found, each at its own place and of its own height: a staircase if there are four
/// or more at about even times and of about one height, a rise that rests if there are two; else nothing.
pub fn found_stairs(x: &[f64], steps: &Steps) -> Option<Atom> {
    let heights: Vec<f64> = steps
        .levels
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    if heights.iter().any(|height| *height <= 0.0) {
        return None;
    }
    let count = steps.at.len();
    if count != 2 {
        let at: Vec<f64> = steps.at.iter().map(|at| *at as f64).collect();
        let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let even = |all: &[f64]| {
            let usual = quantile(&mut all.to_vec(), 0.5);
            all.iter().all(|one| (0.4..2.0).contains(&(one / usual)))
        };
        let usual = quantile(&mut gaps.clone(), 0.5);
        let from_end = x.len() as f64 - at.last()?;
        let whole = at.first()?.max(from_end) <= 1.7 * usual;
        if count < 4 || !even(&gaps) || !even(&heights) || !whole {
            return None;
        }
    }
    let segment = |i: usize| steps.at.iter().filter(|at| **at <= i).count();
    let values = (0..x.len()).map(|i| steps.levels.get(segment(i)).copied().unwrap_or(0.0));
    Some(Atom {
        kind: if count < 4 {
            Kind::Plateau
        } else {
            Kind::Staircase
        },
        values: values.collect(),
        full_at: steps.at.last().map(|at| x[*at]),
        steps: Some(count as f64),
        phase: None,
    })
}
