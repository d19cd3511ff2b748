//! The second generator: a simulated server. Written from the description of the patterns alone, before
//! the classifier was tuned; its results are looked at once, at the end.
//!
//! Where the first generator adds up curves, this one plays out what happens: requests arrive at random,
//! more by day than by night; sessions and buffers live for a while; jobs run by the clock; a cache
//! fills up with what people ask for. Live bytes are what comes of it.

use leaktrack_analyzer::verdict::Pattern;

use crate::first::{INTERVAL_S, Labelled, Truth};
use crate::information::{constant, line, sigmas};
use crate::random::Random;

/// One kind of server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Server {
    pub truth: Truth,
    pub points: usize,
    /// Requests per interval, on average.
    pub requests: f64,
    /// Intervals that a passing block lives.
    pub life: f64,
    /// What is kept over the window as a multiple of what is passing.
    pub share: f64,
}

/// All kinds.
pub fn servers() -> Vec<Server> {
    let mut servers = Vec::new();
    for truth in Truth::ALL {
        for points in [60, 600, 3_600] {
            for (requests, life) in [(2.0, 1.0), (50.0, 1.0), (50.0, 8.0), (1_000.0, 3.0)] {
                for share in [0.1, 0.5, 2.0] {
                    servers.push(Server {
                        truth,
                        points,
                        requests,
                        life,
                        share,
                    });
                }
            }
        }
    }
    servers
}

/// The `index`th run of a server.
pub fn curve(server: &Server, index: u64) -> Labelled {
    let n = server.points;
    let seed = (server.truth as u64) << 40 ^ (n as u64) << 24 ^ (server.requests as u64) << 10;
    let mut random = Random::new(
        seed ^ ((server.life * 10.0) as u64) << 50 ^ ((server.share * 10.0) as u64) << 56 ^ index,
    );
    let (traffic, days) = traffic(server, &mut random);
    let size = random.between(100.0, 20_000.0);
    let (passing, mean_passing) = sessions(server, &traffic, size, &mut random);
    let gain = server.share * mean_passing;
    let busy: f64 = traffic.iter().sum();

    let mut kept = vec![0.0; n];
    let mut extra = vec![0.0; n];
    let mut rate = None;
    let hour = (n as f64 / random.between(5.0, 12.0)).max(4.0);
    let offset = random.between(0.0, hour);
    let ticks = |i: usize| ((i as f64 + offset) / hour).floor();
    let mut accepts = match server.truth {
        Truth::Flat => vec![Pattern::Flat],
        Truth::Linear | Truth::Ratchet => {
            let mut sum = 0.0;
            for (kept, expected) in kept.iter_mut().zip(&traffic) {
                sum += random.poisson(*expected) * gain / busy;
                *kept = sum;
            }
            rate = Some(gain / (n as f64 * INTERVAL_S));
            vec![Pattern::Linear]
        }
        Truth::Accelerating => {
            // What is kept makes more be kept: it doubles three to five times.
            let growth = random.between(3.0, 5.0) * std::f64::consts::LN_2 / n as f64;
            let mut sum = gain * (-growth * n as f64).exp();
            for kept in &mut kept {
                sum += sum * growth * random.between(0.7, 1.3);
                *kept = sum;
            }
            vec![Pattern::Accelerating]
        }
        Truth::Staircase => {
            let runs = ticks(n - 1) - ticks(0);
            #[allow(clippy::needless_range_loop)] // the index is the time
            for i in 0..n {
                kept[i] = (ticks(i) - ticks(0)) * gain / runs.max(1.0);
            }
            rate = Some(gain / runs.max(1.0) / (hour * INTERVAL_S));
            vec![Pattern::Staircase]
        }
        Truth::Doubling => {
            let (mut elements, mut room) = (0.0, 4.0);
            for i in 0..n {
                elements += random.poisson(traffic[i].max(1.0));
                while room < elements {
                    room *= 2.0;
                }
                kept[i] = room * 64.0;
            }
            vec![Pattern::Staircase]
        }
        Truth::PeriodicLevel | Truth::PeriodicRising => {
            let long = random.between(0.15, 0.5) * hour;
            let rising = server.truth == Truth::PeriodicRising;
            let high = mean_passing * random.between(0.5, 2.0);
            for i in 0..n {
                let since = i as f64 + offset - ticks(i) * hour;
                if since < long {
                    extra[i] = high * (2.0 * since / long).min(1.0);
                }
                if rising {
                    kept[i] = gain * (ticks(i) - ticks(0)) / (n as f64 / hour);
                }
            }
            rate = rising.then(|| gain / (n as f64 * INTERVAL_S));
            vec![Pattern::Periodic]
        }
        Truth::Spike | Truth::SpikeKept => {
            let at = random.between(0.15, 0.75) * n as f64;
            let until = match server.truth {
                Truth::Spike => at + (random.between(0.01, 0.06) * n as f64).max(2.0),
                _ => f64::INFINITY,
            };
            let high = mean_passing * (1.0 + server.share * 3.0);
            for (i, extra) in extra.iter_mut().enumerate() {
                if i as f64 >= at && (i as f64) < until {
                    *extra = high;
                }
            }
            match server.truth {
                Truth::Spike => vec![Pattern::Spike],
                _ => {
                    kept = std::mem::replace(&mut extra, vec![0.0; n]);
                    vec![Pattern::Spike, Pattern::Plateau]
                }
            }
        }
        Truth::Plateau => {
            // A cache of some size; misses get rarer as it fills.
            let (mut entries, room) = (0.0, busy * random.between(0.02, 0.12));
            for i in 0..n {
                let miss = 1.0 - entries / (room * 1.02);
                entries = f64::min(room, entries + random.poisson(traffic[i] * miss.max(0.0)));
                kept[i] = entries * gain / room;
            }
            vec![Pattern::Plateau]
        }
    };
    // The daily cycle of its traffic is as true of it.
    if days > 0.0 {
        accepts.push(Pattern::Periodic);
    }
    let mut all_passing: Vec<f64> = passing.iter().zip(&extra).map(|(a, b)| a + b).collect();
    let alone = matches!(server.truth, Truth::Ratchet | Truth::Doubling);
    if alone {
        all_passing = vec![0.0; n];
    }
    let (sd, rho) = spread(&passing);
    let shape: Vec<f64> = kept.iter().zip(&extra).map(|(a, b)| a + b).collect();
    let simpler = match server.truth {
        Truth::Linear | Truth::Spike | Truth::SpikeKept => vec![constant(n)],
        _ => vec![constant(n), line(n)],
    };
    let least: Vec<f64> = line(n).iter().map(|x| 0.5 * sd * x).collect();
    Labelled {
        sampling_sd: vec![0.0; n],
        activity: traffic,
        one_block: server.truth == Truth::Doubling,
        accepts,
        grows: server.truth.grows(),
        rate,
        growth_sigmas: match server.truth {
            _ if alone => f64::INFINITY,
            truth if truth.grows() => sigmas(&kept, &[constant(n)], sd, rho),
            _ => 0.0,
        },
        shape_sigmas: match server.truth {
            _ if alone => f64::INFINITY,
            Truth::Flat => sigmas(&least, &simpler[..1], sd, rho),
            _ => sigmas(&shape, &simpler, sd, rho),
        },
        passing: all_passing,
        kept,
    }
}

/// Expected requests in each interval: a level with slow ups and downs, by day more than by night.
fn traffic(server: &Server, random: &mut Random) -> (Vec<f64>, f64) {
    let n = server.points;
    let days = if random.uniform() < 0.3 {
        random.between(2.0, 5.0)
    } else {
        0.0
    };
    let (phase, mood) = (random.uniform(), random.ar1(n, 0.5));
    let expected = (0..n)
        .map(|i| {
            let day = (std::f64::consts::TAU * (days * i as f64 / n as f64 + phase)).sin();
            let daily = if days > 0.0 { 1.0 + 0.3 * day } else { 1.0 };
            server.requests * daily * (1.0 + 0.05 * mood[i]).max(0.1)
        })
        .collect();
    (expected, days)
}

/// Blocks that requests hold for a while: an M/G/∞ queue with geometric lives, seen from the start.
fn sessions(server: &Server, traffic: &[f64], size: f64, random: &mut Random) -> (Vec<f64>, f64) {
    let leave = 1.0 / (1.0 + server.life);
    let mut open = random.poisson(server.requests * (1.0 + server.life));
    let live: Vec<f64> = traffic
        .iter()
        .map(|expected| {
            let staying = open * (1.0 - leave);
            let spread = (open * leave * (1.0 - leave)).sqrt();
            open = (staying + spread * random.normal()).round().max(0.0);
            open += random.poisson(*expected);
            open * size
        })
        .collect();
    let mean = live.iter().sum::<f64>() / live.len() as f64;
    (live, mean)
}

/// Standard deviation and lag-1 autocorrelation.
fn spread(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let power: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let next: f64 = values
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum();
    let rho = (next / power.max(1e-9)).clamp(0.0, 0.98);
    ((power / values.len() as f64).sqrt().max(1e-9), rho)
}
