//! The third generator: written from the prose that describes the patterns, in a commit of its own, before
//! the classifier was changed a second time. FROZEN: nothing is tuned on it, and it is run at the end.
//!
//! As in the first, a curve is what comes and goes (its level times noise, a first-order autoregression)
//! and what is kept. Unlike there, what happens around it is drawn independently, so that several things
//! may happen at once; a leak follows the traffic by day and night; steps differ in height and in
//! distance; innovations have heavier tails than the normal distribution's. It also says how far the
//! curve is from every rival that was not meant, with all that happens around it known: [`Case`].

use leaktrack_analyzer::verdict::Pattern;

use crate::first::{Cell, INTERVAL_S, Labelled, Truth};
use crate::information::{constant, line, sigmas};
use crate::random::Random;

/// Level of what comes and goes, bytes.
const LEVEL: f64 = 8e6;
/// Mean distance between samples, where bytes are estimated.
const SAMPLE_BYTES: f64 = 65_536.0;
/// Chance of each of the things that happen around a curve.
const CHANCE: f64 = 0.15;

/// A curve with what an oracle would need to know of it.
pub struct Case {
    pub labelled: Labelled,
    /// Mean curves of what happens around it, each of unknown size.
    pub around: Vec<Vec<f64>>,
    /// What is kept, as a mean curve.
    pub shape: Vec<f64>,
    /// Distance from the nearest shape that has another name.
    pub rival_sigmas: f64,
    /// Distance of growth from the nearest shape that rose and came to rest in the first half.
    pub rest_sigmas: f64,
}

/// The `index`th curve of a cell.
pub fn curve(cell: &Cell, index: u64) -> Case {
    let mut random = Random::new(seed(cell, index));
    let n = cell.points;
    let sd = cell.noise * LEVEL;
    let happens = |random: &mut Random| random.uniform() < CHANCE;
    let alone = matches!(cell.truth, Truth::Ratchet | Truth::Doubling);

    let days = match happens(&mut random) {
        true => random.between(1.5, 5.0),
        false => 0.0,
    };
    let phase = random.uniform();
    let day = |i: usize| (std::f64::consts::TAU * (days * i as f64 / n as f64 + phase)).sin();
    let traffic: Vec<f64> = (0..n)
        .map(|i| if days > 0.0 { 1.0 + 0.3 * day(i) } else { 1.0 })
        .collect();
    let Kept {
        passing,
        kept,
        accepts,
        rate,
        doubling,
    } = kept(cell, cell.size * sd, &traffic, &mut random);

    let (noise, mut around) = (heavy(n, cell.rho, &mut random), Vec::new());
    let mut live: Vec<f64> = noise
        .iter()
        .zip(&passing)
        .map(|(noise, extra)| LEVEL + sd * noise + extra)
        .collect();
    let mut labelled = Labelled {
        passing: Vec::new(),
        kept,
        sampling_sd: vec![0.0; n],
        activity: traffic.iter().map(|part| part * LEVEL / 64.0).collect(),
        one_block: doubling,
        accepts,
        grows: cell.truth.grows(),
        rate,
        growth_sigmas: 0.0,
        shape_sigmas: 0.0,
    };
    if days > 0.0 && !alone {
        let swing = random.between(1.0, 3.0) * sd;
        live.iter_mut()
            .enumerate()
            .for_each(|(i, live)| *live += swing * day(i));
        let angle = |i: usize| std::f64::consts::TAU * days * i as f64 / n as f64;
        around.push((0..n).map(|i| angle(i).sin()).collect());
        around.push((0..n).map(|i| angle(i).cos()).collect());
        labelled.accepts.push(Pattern::Periodic);
    }
    if happens(&mut random) && !alone {
        bursts(&mut live, sd, &mut random, &mut around);
    }
    if happens(&mut random) && cell.truth != Truth::Doubling {
        warm_up(&mut labelled, cell, sd, &mut random, &mut around);
    }
    let restarts = happens(&mut random)
        && matches!(
            cell.truth,
            Truth::Flat
                | Truth::PeriodicLevel
                | Truth::Linear
                | Truth::Staircase
                | Truth::PeriodicRising
        );
    if restarts {
        restart(&mut labelled, &mut live, &mut random, &mut around);
        if cell.truth == Truth::Flat {
            labelled.accepts.push(Pattern::Plateau);
        }
    }
    let sampled = happens(&mut random) && cell.truth != Truth::Doubling;
    let seen_sd = match sampled {
        true => (sd * sd + SAMPLE_BYTES * LEVEL).sqrt(),
        false => sd,
    };
    let shape: Vec<f64> = labelled
        .kept
        .iter()
        .zip(&passing)
        .map(|(a, b)| a + b)
        .collect();
    let mut simpler = vec![constant(n)];
    simpler.extend(around.iter().cloned());
    let distance = |from: &[f64], rivals: &[Vec<f64>]| -> f64 {
        let all: Vec<Vec<f64>> = simpler.iter().chain(rivals).cloned().collect();
        sigmas(from, &all, seen_sd, cell.rho)
    };
    if cell.truth.grows() {
        labelled.growth_sigmas = distance(&labelled.kept, &[]);
    }
    let nearest = |from: &[f64], rivals: Vec<Vec<f64>>| {
        let distances = rivals.into_iter().map(|rival| distance(from, &[rival]));
        distances.fold(f64::INFINITY, f64::min)
    };
    let rest_sigmas = match cell.truth {
        truth if truth.grows() => nearest(&labelled.kept, rests(n)),
        _ => 0.0,
    };
    let mut rival_sigmas = match cell.truth {
        Truth::Flat => {
            let least: Vec<f64> = line(n).iter().map(|x| 0.5 * sd * x).collect();
            distance(&least, &[])
        }
        truth => nearest(&shape, rivals(truth, n)).min(distance(&shape, &[])),
    };
    labelled.shape_sigmas = rival_sigmas;
    if alone {
        (labelled.growth_sigmas, labelled.shape_sigmas, rival_sigmas) =
            (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        live.fill(0.0);
    }
    if happens(&mut random) {
        let from = ((1.0 - random.between(0.3, 0.5)) * n as f64) as usize;
        let rest = labelled.kept[from];
        #[allow(clippy::needless_range_loop)] // the index is the time
        for i in from..n {
            (labelled.kept[i], live[i], labelled.activity[i]) = (rest, 0.0, 0.0);
        }
        if !cell.truth.grows() {
            labelled.accepts.extend([Pattern::Plateau, Pattern::Flat]);
        }
        labelled.rate = labelled.rate.filter(|_| cell.truth != Truth::Staircase);
    }
    labelled.passing = live;
    for live in labelled.passing.iter_mut().chain(&mut labelled.kept) {
        *live = live.max(0.0);
    }
    if sampled {
        sample(&mut labelled, &mut random);
    }
    Case {
        labelled,
        around,
        shape,
        rival_sigmas,
        rest_sigmas,
    }
}

fn seed(cell: &Cell, index: u64) -> u64 {
    let parts = [
        cell.truth as u64 + 101,
        cell.points as u64,
        (cell.noise * 1e4) as u64,
        (cell.rho * 1e4) as u64,
        (cell.size * 1e4) as u64,
        index,
    ];
    parts.iter().fold(0x7468_6972_6421, |seed: u64, part| {
        (seed.rotate_left(13) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// A stationary autoregression with standard deviation 1 whose innovations are a mixture of two normals:
/// one in ten has twice the spread of the others.
fn heavy(n: usize, rho: f64, random: &mut Random) -> Vec<f64> {
    let fresh = ((1.0 - rho * rho) / 1.3).sqrt();
    let mut value = random.normal();
    (0..n)
        .map(|_| {
            let now = value;
            let wide = if random.uniform() < 0.1 { 2.0 } else { 1.0 };
            value = rho * value + fresh * wide * random.normal();
            now
        })
        .collect()
}

struct Kept {
    passing: Vec<f64>,
    kept: Vec<f64>,
    accepts: Vec<Pattern>,
    rate: Option<f64>,
    doubling: bool,
}

fn kept(cell: &Cell, size: f64, traffic: &[f64], random: &mut Random) -> Kept {
    let n = cell.points;
    let window_s = n as f64 * INTERVAL_S;
    let at =
        |f: &dyn Fn(f64) -> f64| -> Vec<f64> { (0..n).map(|i| f(i as f64 / n as f64)).collect() };
    let mut made = Kept {
        passing: vec![0.0; n],
        kept: vec![0.0; n],
        accepts: Vec::new(),
        rate: None,
        doubling: false,
    };
    match cell.truth {
        Truth::Flat => made.accepts = vec![Pattern::Flat],
        Truth::Plateau => {
            let full = random.between(0.1, 0.5);
            made.kept = match (random.uniform() * 3.0) as u32 {
                0 => at(&|x| size * (x / full).min(1.0)),
                1 => at(&|x| size * (1.0 - (-4.5 * x / full).exp())),
                _ => at(&|x| size * (2.0 * x / full - (x / full).powi(2)) * f64::from(x < full))
                    .iter()
                    .enumerate()
                    .map(|(i, y)| {
                        if i as f64 >= full * n as f64 {
                            size
                        } else {
                            *y
                        }
                    })
                    .collect(),
            };
            made.accepts = vec![Pattern::Plateau];
        }
        Truth::Spike => {
            let (from, long) = (random.between(0.1, 0.85), random.between(0.01, 0.06));
            let long = long.max(3.0 / n as f64);
            let high = random.between(1.0, 2.0) * (10.0 * cell.noise * LEVEL).max(0.5 * LEVEL);
            made.passing = at(&|x| high * f64::from(x >= from && x < from + long));
            made.accepts = vec![Pattern::Spike];
        }
        Truth::SpikeKept => {
            let from = random.between(0.15, 0.75);
            made.kept = at(&|x| size * f64::from(x >= from));
            made.accepts = vec![Pattern::Spike, Pattern::Plateau];
        }
        Truth::PeriodicLevel => {
            made.passing = task(n, size, random);
            made.accepts = vec![Pattern::Periodic];
        }
        Truth::Linear | Truth::PeriodicRising => {
            let busy: f64 = traffic.iter().sum();
            let mut sum = 0.0;
            for (kept, now) in made.kept.iter_mut().zip(traffic) {
                *kept = sum;
                sum += size * now / busy;
            }
            made.rate = Some(size / window_s);
            made.accepts = vec![Pattern::Linear];
            if cell.truth == Truth::PeriodicRising {
                made.passing = task(n, random.between(4.0, 8.0) * cell.noise * LEVEL, random);
                made.accepts = vec![Pattern::Periodic];
            }
        }
        Truth::Ratchet => {
            // Gamma-like traffic: exponentials of an autoregression, mean 1.
            let spread = random.between(2.0, 4.0) * cell.noise;
            let mood = random.ar1(n, cell.rho);
            let mut sum = 0.0;
            for (kept, mood) in made.kept.iter_mut().zip(&mood) {
                sum += LEVEL / n as f64 * (spread * mood - spread * spread / 2.0).exp();
                *kept = sum;
            }
            made.rate = Some(LEVEL / window_s);
            made.accepts = vec![Pattern::Linear];
        }
        Truth::Accelerating => {
            let (power, folds) = (random.between(2.0, 3.0), random.between(2.0, 4.0));
            made.kept = match random.uniform() < 0.5 {
                true => at(&|x| size * x.powf(power)),
                false => at(&|x| size * (folds * x).exp_m1() / folds.exp_m1()),
            };
            made.accepts = vec![Pattern::Accelerating];
        }
        Truth::Staircase => {
            let steps = random.between(5.0, 11.0).floor();
            let first = random.between(0.1, 0.9);
            let places: Vec<(f64, f64)> = (0..steps as u32)
                .map(|k| {
                    let at = (f64::from(k) + first + random.between(-0.1, 0.1)) / steps;
                    (at, random.between(0.7, 1.3) * size / steps)
                })
                .collect();
            let sum = |x: f64| -> f64 {
                let past = places.iter().filter(|(at, _)| *at <= x);
                past.map(|(_, high)| high).sum()
            };
            made.kept = at(&sum);
            made.rate = Some(size / window_s);
            made.accepts = vec![Pattern::Staircase];
        }
        Truth::Doubling => {
            let (element, elements) = (random.between(8.0, 48.0), random.between(1e3, 1e5));
            let start = 2_f64.powf(random.between(2.0, 5.0).floor());
            made.kept = at(&|x| {
                let used = elements * (x + 1.0 / n as f64);
                element * start * (used / start).log2().ceil().max(0.0).exp2()
            });
            made.accepts = vec![Pattern::Staircase];
            made.doubling = true;
        }
    }
    made
}

/// A task that comes again: a pulse, a saw, or a hill.
fn task(n: usize, high: f64, random: &mut Random) -> Vec<f64> {
    let (times, phase) = (random.between(4.0, 12.0), random.uniform());
    let (kind, duty) = ((random.uniform() * 3.0) as u32, random.between(0.2, 0.6));
    let part = |i: usize| (times * i as f64 / n as f64 + phase).fract();
    let shape = |part: f64| match kind {
        0 => f64::from(part < duty),
        1 => (part / duty).min(1.0) * f64::from(part < duty + 0.1),
        _ => (std::f64::consts::PI * part).sin().powi(2),
    };
    (0..n).map(|i| high * shape(part(i))).collect()
}

fn bursts(live: &mut [f64], sd: f64, random: &mut Random, around: &mut Vec<Vec<f64>>) {
    let n = live.len() as f64;
    for _ in 0..(random.between(2.0, 7.0) as u32) {
        let (at, high) = (random.uniform(), random.between(3.0, 10.0) * sd);
        let long = random.between(0.003, 0.015);
        let shape = |i: usize| {
            let since = i as f64 / n - at;
            if since >= 0.0 {
                (-since / long).exp()
            } else {
                0.0
            }
        };
        let curve: Vec<f64> = (0..live.len()).map(shape).collect();
        live.iter_mut()
            .zip(&curve)
            .for_each(|(live, part)| *live += high * part);
        around.push(curve);
    }
}

fn warm_up(
    labelled: &mut Labelled,
    cell: &Cell,
    sd: f64,
    random: &mut Random,
    around: &mut Vec<Vec<f64>>,
) {
    let n = cell.points;
    let (high, long) = (
        (random.between(0.1, 1.5) * LEVEL).max(2.0 * sd),
        random.between(0.02, 0.1),
    );
    let even = random.uniform() < 0.5;
    let curve: Vec<f64> = (0..n)
        .map(|i| {
            let x = i as f64 / n as f64;
            match even {
                true => (x / (2.0 * long)).min(1.0),
                false => 1.0 - (-x / long).exp(),
            }
        })
        .collect();
    let kept = labelled.kept.iter_mut().zip(&curve);
    kept.for_each(|(kept, part)| *kept += high * part);
    around.push(curve);
    if !labelled.grows {
        labelled.accepts.push(Pattern::Plateau);
    }
}

/// Once everything is given back, and it starts empty.
fn restart(
    labelled: &mut Labelled,
    live: &mut [f64],
    random: &mut Random,
    around: &mut Vec<Vec<f64>>,
) {
    let n = live.len();
    let at = (random.between(0.2, 0.5) * n as f64) as usize;
    let before = labelled.kept[at];
    labelled.kept[at..]
        .iter_mut()
        .for_each(|kept| *kept -= before);
    let long = random.between(0.005, 0.03) * n as f64;
    let empty = |i: usize| (-((i - at) as f64 + 1.0) / long).exp();
    for (i, live) in live.iter_mut().enumerate().skip(at) {
        *live *= 1.0 - empty(i);
    }
    around.push((0..n).map(|i| f64::from(i >= at)).collect());
    around.push(
        (0..n)
            .map(|i| if i >= at { empty(i) } else { 0.0 })
            .collect(),
    );
}

fn sample(labelled: &mut Labelled, random: &mut Random) {
    let (mut truly, mut seen) = (0.0_f64, 0.0_f64);
    for i in 0..labelled.kept.len() {
        let drawn =
            |random: &mut Random, bytes: f64| SAMPLE_BYTES * random.poisson(bytes / SAMPLE_BYTES);
        labelled.passing[i] = drawn(random, labelled.passing[i]);
        let added = labelled.kept[i] - truly;
        truly = labelled.kept[i];
        seen = (seen + drawn(random, added.abs()).copysign(added)).max(0.0);
        labelled.kept[i] = seen;
        labelled.sampling_sd[i] = (SAMPLE_BYTES * (labelled.passing[i] + seen)).sqrt();
    }
}

/// Shapes that rose and came to rest by the middle: one step, even rises, rises that slow down.
fn rests(n: usize) -> Vec<Vec<f64>> {
    let at =
        |f: &dyn Fn(f64) -> f64| -> Vec<f64> { (0..n).map(|i| f(i as f64 / n as f64)).collect() };
    let mut all = Vec::new();
    for tenth in 1..=9 {
        let place = f64::from(tenth) / 10.0;
        all.push(at(&|x| f64::from(x >= place)));
    }
    for tenth in 1..=5 {
        let full = f64::from(tenth) / 10.0;
        all.push(at(&|x| (x / full).min(1.0)));
        all.push(at(&|x| 1.0 - (-4.0 * x / full).exp()));
    }
    all
}

/// Shapes with another name that come near `truth`.
fn rivals(truth: Truth, n: usize) -> Vec<Vec<f64>> {
    let at =
        |f: &dyn Fn(f64) -> f64| -> Vec<f64> { (0..n).map(|i| f(i as f64 / n as f64)).collect() };
    let mut all = Vec::new();
    if truth != Truth::Linear {
        all.push(line(n));
    }
    if truth != Truth::Accelerating {
        all.push(at(&|x| x * x));
        all.push(at(&|x| (2.0 * x).exp()));
    }
    if truth != Truth::Staircase {
        for steps in 5..=10 {
            for phase in 0..8 {
                let (steps, phase) = (f64::from(steps), f64::from(phase) / 8.0);
                all.push(at(&|x| (steps * x + phase).floor()));
            }
        }
    }
    if !matches!(truth, Truth::Plateau | Truth::SpikeKept) {
        all.extend(rests(n));
    }
    all
}
