//! The first generator: labelled curves of live bytes. FROZEN: it was written before the classifier
//! that is measured with it, and is not changed to suit it.
//!
//! Every curve is a base that comes and goes (its level times noise) plus what is kept. Noise is a
//! first-order autoregression. A `Cell` fixes pattern, length, noise, autocorrelation and size; on top
//! of that every curve gets one of the seven `Extra`s that real servers have, in turn.

use leaktrack_analyzer::verdict::Pattern;

use crate::information::{constant, line, sigmas};
use crate::random::Random;

/// Level of the base, bytes.
const LEVEL: f64 = 4e6;
/// Mean distance between samples.
const SAMPLE_BYTES: f64 = 65_536.0;
/// Seconds between points.
pub const INTERVAL_S: f64 = 10.0;

/// What a curve is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// Comes and goes around a level.
    Flat,
    /// Rises to a level in the first half and stays.
    Plateau,
    /// One peak that is given back.
    Spike,
    /// One large object that is kept.
    SpikeKept,
    /// A task that comes again and leaves nothing.
    PeriodicLevel,
    /// The same amount is kept per time, under the noise of the base.
    Linear,
    /// Nothing is freed; what is added per interval fluctuates with the traffic.
    Ratchet,
    /// More and more is kept.
    Accelerating,
    /// A batch leaves something behind, five to ten times.
    Staircase,
    /// A container that doubles its storage.
    Doubling,
    /// A task that comes again and leaves something each time.
    PeriodicRising,
}

impl Truth {
    pub const ALL: [Self; 11] = [
        Self::Flat,
        Self::Plateau,
        Self::Spike,
        Self::SpikeKept,
        Self::PeriodicLevel,
        Self::Linear,
        Self::Ratchet,
        Self::Accelerating,
        Self::Staircase,
        Self::Doubling,
        Self::PeriodicRising,
    ];

    /// Something keeps growing.
    pub fn grows(self) -> bool {
        self >= Self::Linear
    }

    /// Its size is given by the cell.
    pub fn has_size(self) -> bool {
        !matches!(
            self,
            Self::Flat | Self::Spike | Self::Ratchet | Self::Doubling
        )
    }
}

/// What else happens on a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    Nothing,
    /// At the start it rises to its level.
    WarmUp,
    /// Daily cycle of twice the noise, 1.5 to 4 of them.
    Cycle,
    /// Short bursts of 3 to 8 times the noise.
    Bursts,
    /// The whole process has no traffic for the last 30 to 50% of the time.
    Stop,
    /// Between 25 and 50% of the time all is given back, and it starts anew.
    Restart,
    /// Bytes are estimated from samples.
    Sampled,
}

impl Extra {
    pub const ALL: [Self; 7] = [
        Self::Nothing,
        Self::WarmUp,
        Self::Cycle,
        Self::Bursts,
        Self::Stop,
        Self::Restart,
        Self::Sampled,
    ];
}

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    pub truth: Truth,
    pub points: usize,
    /// Standard deviation of the base, as a share of its level.
    pub noise: f64,
    /// Its autocorrelation from point to point.
    pub rho: f64,
    /// What is kept over the whole window, or the size of the shape, in standard deviations.
    pub size: f64,
}

/// A curve with what is true of it.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// Live bytes that come and go, replaced at every point.
    pub passing: Vec<f64>,
    /// Live bytes that are kept.
    pub kept: Vec<f64>,
    /// Standard deviation of each point from sampling; 0 in exact mode.
    pub sampling_sd: Vec<f64>,
    /// What the whole process allocates from point to point.
    pub activity: Vec<f64>,
    /// What is kept is one block that is reallocated.
    pub one_block: bool,
    /// Patterns that are right answers.
    pub accepts: Vec<Pattern>,
    pub grows: bool,
    /// Growth in bytes per second in the long run, where it has one rate.
    pub rate: Option<f64>,
    /// Distance of the growth from none at all; 0 if there is none.
    pub growth_sigmas: f64,
    /// Distance of the shape from the next simpler one.
    pub shape_sigmas: f64,
}

/// The `index`th curve of a cell.
pub fn curve(cell: &Cell, index: u64) -> Labelled {
    let seed = seed(cell, index);
    let mut random = Random::new(seed);
    let extra = Extra::ALL[index as usize % Extra::ALL.len()];
    let n = cell.points;
    let sd = cell.noise * LEVEL;
    let size = cell.size * sd;
    let mut noise = random.ar1(n, cell.rho);
    noise.iter_mut().for_each(|value| *value *= sd);

    let shape = shape(cell, size, sd, &mut random);
    let seen_sd = match extra {
        Extra::Sampled => (sd * sd + SAMPLE_BYTES * LEVEL).sqrt(),
        _ => sd,
    };
    let simpler = match cell.truth {
        Truth::Flat | Truth::Linear | Truth::Spike | Truth::SpikeKept => vec![constant(n)],
        _ => vec![constant(n), line(n)],
    };
    let shape_sigmas = match cell.truth {
        // The least trend of the grid must be ruled out.
        Truth::Flat => {
            let least: Vec<f64> = line(n).iter().map(|x| 0.5 * sd * x).collect();
            sigmas(&least, &simpler, seen_sd, cell.rho)
        }
        Truth::Ratchet | Truth::Doubling => f64::INFINITY,
        _ => {
            let all: Vec<f64> = sum(&shape.passing, &shape.kept);
            sigmas(&all, &simpler, seen_sd, cell.rho)
        }
    };
    let growth_sigmas = match cell.truth {
        Truth::Ratchet | Truth::Doubling => f64::INFINITY,
        truth if truth.grows() => sigmas(&shape.kept, &[constant(n)], seen_sd, cell.rho),
        _ => 0.0,
    };

    let ratchet = matches!(cell.truth, Truth::Ratchet | Truth::Doubling);
    let mut labelled = Labelled {
        passing: if ratchet {
            vec![0.0; n]
        } else {
            let base: Vec<f64> = noise.iter().map(|noise| LEVEL + noise).collect();
            sum(&base, &shape.passing)
        },
        kept: shape.kept,
        sampling_sd: vec![0.0; n],
        activity: vec![LEVEL / 64.0; n],
        one_block: cell.truth == Truth::Doubling,
        accepts: shape.accepts,
        grows: cell.truth.grows(),
        rate: shape.rate,
        growth_sigmas,
        shape_sigmas,
    };
    add_extra(&mut labelled, cell, extra, sd, &mut random);
    for live in labelled.passing.iter_mut().chain(&mut labelled.kept) {
        *live = live.max(0.0);
    }
    labelled
}

fn seed(cell: &Cell, index: u64) -> u64 {
    let mut seed = index ^ 0x6c65_616b;
    for part in [
        cell.truth as u64,
        cell.points as u64,
        (cell.noise * 1e3) as u64,
        (cell.rho * 1e3) as u64,
        (cell.size * 1e3) as u64,
    ] {
        seed = seed.wrapping_mul(0x1000_0000_01b3).wrapping_add(part) ^ (seed >> 29);
    }
    seed
}

struct Shape {
    passing: Vec<f64>,
    kept: Vec<f64>,
    accepts: Vec<Pattern>,
    rate: Option<f64>,
}

fn shape(cell: &Cell, size: f64, sd: f64, random: &mut Random) -> Shape {
    let n = cell.points;
    let window_s = n as f64 * INTERVAL_S;
    let zero = || vec![0.0; n];
    let over = |f: &mut dyn FnMut(f64) -> f64| -> Vec<f64> {
        (0..n).map(|i| f(i as f64 / n as f64)).collect()
    };
    match cell.truth {
        Truth::Flat => Shape {
            passing: zero(),
            kept: zero(),
            accepts: vec![Pattern::Flat],
            rate: None,
        },
        Truth::Plateau => {
            let full = random.between(0.15, 0.5);
            let bent = random.uniform() < 0.5;
            let kept = over(&mut |x| {
                size * if bent {
                    (x / full).min(1.0)
                } else {
                    1.0 - (-4.0 * x / full).exp()
                }
            });
            Shape {
                passing: zero(),
                kept,
                accepts: vec![Pattern::Plateau],
                rate: None,
            }
        }
        Truth::Spike => {
            let (at, long) = (random.between(0.2, 0.8), random.between(0.01, 0.05));
            let long = long.max(2.5 / n as f64);
            let high = (10.0 * sd).max(0.5 * LEVEL);
            Shape {
                passing: over(&mut |x| if x >= at && x < at + long { high } else { 0.0 }),
                kept: zero(),
                accepts: vec![Pattern::Spike],
                rate: None,
            }
        }
        Truth::SpikeKept => {
            let at = random.between(0.2, 0.7);
            Shape {
                passing: zero(),
                kept: over(&mut |x| if x >= at { size } else { 0.0 }),
                accepts: vec![Pattern::Spike, Pattern::Plateau],
                rate: None,
            }
        }
        Truth::PeriodicLevel => Shape {
            passing: task(n, size, random),
            kept: zero(),
            accepts: vec![Pattern::Periodic],
            rate: None,
        },
        Truth::Linear => Shape {
            passing: zero(),
            kept: over(&mut |x| size * x),
            accepts: vec![Pattern::Linear],
            rate: Some(size / window_s),
        },
        Truth::Ratchet => {
            let mean = LEVEL / n as f64;
            // Lognormal with mean 1.
            let spread = 5.0 * cell.noise;
            let traffic = random.ar1(n, cell.rho);
            let mut live = 0.0;
            let kept = traffic
                .iter()
                .map(|z| {
                    live += mean * (spread * z - spread * spread / 2.0).exp();
                    live
                })
                .collect();
            Shape {
                passing: zero(),
                kept,
                accepts: vec![Pattern::Linear],
                rate: Some(LEVEL / window_s),
            }
        }
        Truth::Accelerating => {
            let bend = random.between(2.0, 4.0);
            let exponential = random.uniform() < 0.5;
            let kept = over(&mut |x| {
                size * if exponential {
                    (bend * x).exp_m1() / bend.exp_m1()
                } else {
                    x * x
                }
            });
            Shape {
                passing: zero(),
                kept,
                accepts: vec![Pattern::Accelerating],
                rate: None,
            }
        }
        Truth::Staircase => {
            let steps = random.between(5.0, 11.0).floor();
            let first = random.uniform();
            let kept = over(&mut |x| size / steps * (steps * x + first).floor());
            Shape {
                passing: zero(),
                kept,
                accepts: vec![Pattern::Staircase],
                rate: Some(size / window_s),
            }
        }
        Truth::Doubling => {
            let (room, full) = (random.between(4.0, 64.0), random.between(0.7, 1.0));
            let elements = 2_f64.powf(random.between(9.0, 16.0).floor() + full);
            let kept = over(&mut |x| {
                let used = (elements * (x + 1.0 / n as f64)).max(4.0);
                room * used.log2().ceil().exp2()
            });
            Shape {
                passing: zero(),
                kept,
                accepts: vec![Pattern::Staircase],
                rate: None,
            }
        }
        Truth::PeriodicRising => {
            let passing = task(n, 6.0 * sd, random);
            Shape {
                passing,
                kept: over(&mut |x| size * x),
                accepts: vec![Pattern::Periodic],
                rate: Some(size / window_s),
            }
        }
    }
}

/// A task that comes 4 to 12 times: a wave, a saw or a pulse that is `high` from trough to top.
fn task(n: usize, high: f64, random: &mut Random) -> Vec<f64> {
    let (times, phase) = (random.between(4.0, 12.0), random.uniform());
    let kind = (random.uniform() * 3.0) as u32;
    (0..n)
        .map(|i| {
            let part = (times * i as f64 / n as f64 + phase).fract();
            high * match kind {
                0 => 0.5 - 0.5 * (std::f64::consts::TAU * part).cos(),
                1 => part,
                _ => f64::from(part < 0.3),
            }
        })
        .collect()
}

fn add_extra(labelled: &mut Labelled, cell: &Cell, extra: Extra, sd: f64, random: &mut Random) {
    let n = cell.points;
    let x = |i: usize| i as f64 / n as f64;
    let ratchet = matches!(cell.truth, Truth::Ratchet | Truth::Doubling);
    match extra {
        Extra::Nothing => {}
        Extra::WarmUp => {
            let (high, quick) = (random.between(0.2, 2.0) * LEVEL, random.between(0.02, 0.08));
            if cell.truth == Truth::Doubling {
                return;
            }
            for (i, kept) in labelled.kept.iter_mut().enumerate() {
                *kept += high * (1.0 - (-x(i) / quick).exp());
            }
            if cell.truth == Truth::Flat {
                labelled.accepts.push(Pattern::Plateau);
            }
        }
        Extra::Cycle => {
            let (times, phase) = (random.between(1.5, 4.0), random.uniform());
            if ratchet {
                return;
            }
            for (i, live) in labelled.passing.iter_mut().enumerate() {
                *live += 2.0 * sd * (std::f64::consts::TAU * (times * x(i) + phase)).sin();
            }
            labelled.accepts.push(Pattern::Periodic);
        }
        Extra::Bursts => {
            if ratchet {
                return;
            }
            for _ in 0..5 {
                let (at, high) = (random.uniform(), random.between(3.0, 8.0) * sd);
                for (i, live) in labelled.passing.iter_mut().enumerate() {
                    let since = x(i) - at;
                    if since >= 0.0 {
                        *live += high * (-since / 0.01).exp();
                    }
                }
            }
        }
        Extra::Stop => {
            let from = ((1.0 - random.between(0.3, 0.5)) * n as f64) as usize;
            let rest = labelled.kept.get(from).copied().unwrap_or(0.0);
            for i in from..n {
                labelled.kept[i] = rest;
                labelled.passing[i] = 0.0;
                labelled.activity[i] = 0.0;
            }
            if !cell.truth.grows() {
                labelled.accepts.extend([Pattern::Plateau, Pattern::Flat]);
            }
            labelled.rate = labelled.rate.filter(|_| cell.truth != Truth::Staircase);
        }
        Extra::Restart => {
            let at = (random.between(0.25, 0.5) * n as f64) as usize;
            if matches!(
                cell.truth,
                Truth::Spike | Truth::SpikeKept | Truth::Plateau | Truth::Doubling
            ) {
                return;
            }
            let before = labelled.kept.get(at).copied().unwrap_or(0.0);
            if cell.truth == Truth::Accelerating {
                let early = labelled.kept.clone();
                labelled.kept[at..].copy_from_slice(&early[..n - at]);
            } else {
                labelled.kept[at..]
                    .iter_mut()
                    .for_each(|kept| *kept -= before);
            }
            // It starts empty and needs a while.
            let quick = 0.02 * n as f64;
            for i in at..n {
                labelled.passing[i] *= 1.0 - (-((i - at) as f64 + 1.0) / quick).exp();
            }
            if cell.truth == Truth::Flat {
                labelled.accepts.push(Pattern::Plateau);
            }
        }
        // A block as large as the distance between samples is never missed.
        Extra::Sampled if cell.truth == Truth::Doubling => {}
        Extra::Sampled => sample(labelled, random),
    }
}

/// Replaces bytes by what samples of one in 64 KiB would give.
fn sample(labelled: &mut Labelled, random: &mut Random) {
    let weight = SAMPLE_BYTES;
    let (mut truly, mut seen) = (0.0, 0.0);
    for ((passing, kept), sd) in labelled
        .passing
        .iter_mut()
        .zip(&mut labelled.kept)
        .zip(&mut labelled.sampling_sd)
    {
        *passing = weight * random.poisson(passing.max(0.0) / weight);
        let added: f64 = *kept - truly;
        truly = *kept;
        let part = weight * random.poisson(added.abs() / weight);
        seen = f64::max(0.0, seen + part.copysign(added));
        *kept = seen;
        *sd = (weight * (*passing + *kept)).sqrt();
    }
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}
