//! How far the figures of sampled sites may be off, as 95% intervals.
//!
//! A site holds what was sampled, S, for certain, and what was not. The latter is estimated by Y, a sum over its
//! live samples of what each stands for beyond itself, with a variance V that the library estimates
//! (`leaktrack_recording::SiteSpread`). Y is taken for a multiple of a Poisson count: with k = V / Y it is k times a
//! count of n = Y^2 / V.
//!
//! - From below the interval is k times the exact one of that count (Garwood), given that it is not 0: sites without a
//!   sample are in no list, so of all small ones those are listed that look larger than they are.
//! - From above it is that of Fay and Feuer (1997) for sums of counts with different weights: as if one more sample had
//!   been seen with the largest weight that any block of the site can have had. That weight is the coarsest mean of the
//!   recording, whatever the site's own samples weigh: of a time with a coarse mean a site may hold blocks of
//!   which none was sampled. No more than what was allocated while blocks were sampled.
//!
//! With few samples that is much nearer the truth than two standard errors to either side.

use leaktrack_recording::{SiteSpread, SpreadsHead};

use super::history::Counters;
use super::process::Process;

/// The two-sided 95% quantile of the normal distribution.
const Z: f64 = 1.959_963_985;
/// What an interval leaves out on each side.
const TAIL: f64 = 0.025;

/// What the live figures of a site rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SampleBasis {
    /// Live samples; fewer may count where sizes differ. An estimate itself if the figures are of
    /// another moment than the walk over the live table.
    pub samples: f64,
    /// Live for certain: the samples themselves.
    pub sampled_bytes: u64,
    /// Variance of the live bytes.
    pub bytes_variance: f64,
    /// Variance of the live blocks.
    pub blocks_variance: f64,
    /// The most that one sample can stand for: the coarsest mean.
    pub unit_bytes: f64,
    /// Bytes of a block of it, on average.
    pub block_bytes: f64,
    /// At most so much of it was not sampled.
    pub most_unseen_bytes: u64,
}

impl SampleBasis {
    /// Of a site with these counters, from the walk over the live table if that saw the site. `most_unseen_bytes`: so
    /// much was allocated in all while blocks were sampled.
    pub fn of(
        counters: &Counters,
        spread: Option<&SiteSpread>,
        head: SpreadsHead,
        most_unseen_bytes: u64,
    ) -> Self {
        let (bytes, blocks) = (counters.live_bytes(), counters.live_blocks());
        let outer = Self {
            unit_bytes: unit_bytes(head.mean_bytes),
            block_bytes: (bytes as f64 / blocks.max(1) as f64).max(1.0),
            most_unseen_bytes,
            ..Self::default()
        };
        if blocks == 0 {
            return Self::default();
        }
        let Some(spread) = spread.filter(|spread| spread.blocks > 0) else {
            return outer.by_mean(bytes, blocks);
        };
        let square = |sixteenths: u64| (sixteenths as f64 / 16.0).powi(2);
        let same = (bytes, blocks) == (spread.bytes, spread.blocks);
        // Variances add up block by block, so they follow the number of blocks.
        let share = blocks as f64 / spread.blocks as f64;
        Self {
            samples: spread.samples as f64 * share,
            sampled_bytes: if same { spread.sampled_bytes } else { 0 },
            bytes_variance: square(spread.bytes_error_16) * share,
            blocks_variance: square(spread.blocks_error_16) * share,
            ..outer
        }
    }

    /// Without a walk: a sample adds at most mean times what it stands for.
    fn by_mean(self, bytes: u64, blocks: u64) -> Self {
        let (mean, blocks) = (self.unit_bytes, blocks as f64);
        Self {
            samples: blocks / (1.0 + mean / self.block_bytes),
            sampled_bytes: 0,
            bytes_variance: mean * bytes as f64,
            blocks_variance: mean / self.block_bytes * blocks,
            ..self
        }
    }

    /// Of the whole process: what its sites rest on, and what may be in others.
    pub fn of_process(process: &Process) -> Option<Self> {
        let nothing = Self {
            unit_bytes: unit_bytes(process.sample_mean_bytes),
            most_unseen_bytes: process.most_unseen_bytes(),
            ..Self::default()
        };
        let sites = process.sites.iter().filter_map(|site| site.basis);
        (process.sample_mean_bytes > 0).then(|| sites.fold(nothing, Self::plus))
    }

    /// Of a process of which every block was recorded.
    pub fn certain(live_bytes: u64) -> Self {
        Self {
            sampled_bytes: live_bytes,
            ..Self::default()
        }
    }

    /// Of two processes together.
    pub fn beside(self, other: Self) -> Self {
        Self {
            most_unseen_bytes: self
                .most_unseen_bytes
                .saturating_add(other.most_unseen_bytes),
            ..self.plus(other)
        }
    }

    /// Of two sites of a process together; their samples are independent.
    pub fn plus(self, other: Self) -> Self {
        let least = |a: f64, b: f64| {
            if a > 0.0 && b > 0.0 {
                a.min(b)
            } else {
                a.max(b)
            }
        };
        Self {
            samples: self.samples + other.samples,
            sampled_bytes: self.sampled_bytes.saturating_add(other.sampled_bytes),
            bytes_variance: self.bytes_variance + other.bytes_variance,
            blocks_variance: self.blocks_variance + other.blocks_variance,
            unit_bytes: self.unit_bytes.max(other.unit_bytes),
            block_bytes: least(self.block_bytes, other.block_bytes),
            most_unseen_bytes: self.most_unseen_bytes.max(other.most_unseen_bytes),
        }
    }

    /// The 95% interval of so many live bytes.
    pub fn bytes(&self, value: u64) -> (u64, u64) {
        let (low, high) = interval(
            value,
            self.sampled_bytes,
            self.bytes_variance,
            self.unit_bytes + self.missed_bytes(),
        );
        let most = self.sampled_bytes.saturating_add(self.most_unseen_bytes);
        (low, high.min(most).max(value))
    }

    /// Size of a block larger than the mean that may well have been missed beside those sampled; such blocks
    /// are known by their own size, since weights are whole numbers.
    fn missed_bytes(&self) -> f64 {
        let size = match self.sampled_bytes {
            0 => self.block_bytes,
            bytes => bytes as f64 / self.samples.max(1.0),
        };
        let missed = self.samples * (-size / self.unit_bytes.max(1.0)).exp();
        if missed > TAIL { size } else { 0.0 }
    }

    /// The 95% interval of so many live blocks.
    pub fn blocks(&self, value: u64) -> (u64, u64) {
        let sampled = if self.sampled_bytes > 0 {
            self.samples.round() as u64
        } else {
            0
        };
        let unit = self.unit_bytes / self.block_bytes.max(1.0);
        interval(value, sampled, self.blocks_variance, unit)
    }
}

/// What a peak rests on: its samples are long gone, so it is what such blocks rest on by the rule by which they are sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Bytes at the peak.
    pub bytes: u64,
    /// Bytes of a block, on average.
    pub block_bytes: f64,
    /// The coarsest mean.
    pub mean_bytes: u64,
    /// Bytes allocated in all, while the highest of the snapshots was looked for.
    pub allocated_bytes: u64,
    /// No more than that were live, for certain.
    pub most_bytes: u64,
    /// Snapshots of which it is the highest.
    pub snapshots: usize,
}

impl Peak {
    /// The 95% interval. The highest of many estimates is more often too high than too low: from below each of those that are
    /// independent, since other blocks were live, must hold.
    pub fn interval(&self) -> (u64, u64) {
        let (bytes, unit) = (self.bytes as f64, unit_bytes(self.mean_bytes));
        if self.bytes == 0 || unit == 0.0 {
            return (self.bytes, self.bytes);
        }
        let block_bytes = self.block_bytes.max(1.0);
        let basis = SampleBasis {
            samples: bytes / block_bytes * -(-block_bytes / unit).exp_m1(),
            bytes_variance: bytes * block_bytes / (block_bytes / unit).exp_m1(),
            unit_bytes: unit,
            block_bytes,
            most_unseen_bytes: self.most_bytes,
            ..SampleBasis::default()
        };
        let (_, high) = basis.bytes(self.bytes);
        let turns = 1.0 + self.allocated_bytes as f64 / bytes;
        let moments = turns.min(self.snapshots.max(1) as f64);
        let low = lower(bytes, basis.bytes_variance, TAIL / moments);
        ((low.floor() as u64).min(self.bytes), high)
    }
}

/// The standard normal quantile of `1 - tail`, to three digits (Abramowitz and Stegun 26.2.23).
fn normal_quantile(tail: f64) -> f64 {
    let t = (-2.0 * tail.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - above / below
}

/// The most that one sample can stand for. A mean of one byte, the finest, misses a block of 16 bytes once in 24
/// million: it hides nothing.
fn unit_bytes(mean_bytes: u64) -> f64 {
    match mean_bytes {
        0 | 1 => 0.0,
        mean => mean as f64,
    }
}

/// The interval of `value`, of which `certain` was seen itself; a sample stands for `unit` at most.
fn interval(value: u64, certain: u64, variance: f64, unit: f64) -> (u64, u64) {
    let certain = certain.min(value);
    let beyond = (value - certain) as f64;
    let low = certain as f64 + lower(beyond, variance, TAIL);
    let high = certain as f64 + upper(beyond, variance, unit);
    (
        (low.floor() as u64).min(value),
        (high.ceil() as u64).max(value),
    )
}

/// From `y` with this variance, which is not 0 by chance alone; `tail`: how often it may be less.
fn lower(y: f64, variance: f64, tail: f64) -> f64 {
    /// From here on it makes no difference that it is not 0.
    const MANY: f64 = 30.0;
    if y <= 0.0 || variance <= 0.0 {
        return y.max(0.0);
    }
    let (k, n) = (variance / y, y * y / variance);
    if n > MANY {
        return k * byar(n, -normal_quantile(tail));
    }
    // The count that gives n and more in one of forty cases in which it gives anything at all.
    let chance = |count: f64| gamma_share(n, count) / -(-count).exp_m1();
    let (mut low, mut high) = (0.0, n);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match chance(middle) < tail {
            true => low = middle,
            false => high = middle,
        }
    }
    k * low
}

/// To `y` with this variance, a sample of `unit` having been missed.
fn upper(y: f64, variance: f64, unit: f64) -> f64 {
    let (y, variance) = (y + unit, variance + unit * unit);
    if y <= 0.0 || variance <= 0.0 {
        return y.max(0.0);
    }
    variance / y * byar(y * y / variance, Z)
}

/// The quantile of a gamma distribution of shape `n`, `z` standard deviations from its middle, in Byar's
/// approximation by cubes (Breslow and Day 1987, 2.10).
fn byar(n: f64, z: f64) -> f64 {
    let root = 1.0 - 1.0 / (9.0 * n) + z / (3.0 * n.sqrt());
    n * root.max(0.0).powi(3)
}

/// The share of a gamma distribution of shape `n` that is below `x`: for a whole `n` the chance that a Poisson
/// count of mean `x` is `n` or more. By its series, which is short where `x` is below `n`.
fn gamma_share(n: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let (mut term, mut sum) = (1.0 / n, 1.0 / n);
    for step in 1..500 {
        term *= x / (n + f64::from(step));
        sum += term;
        if term < sum * 1e-12 {
            break;
        }
    }
    (sum.ln() + n * x.ln() - x - ln_gamma(n)).exp().min(1.0)
}

/// The logarithm of the gamma function, by Stirling's series after stepping up.
fn ln_gamma(n: f64) -> f64 {
    let (mut n, mut below) = (n, 0.0);
    while n < 10.0 {
        below += n.ln();
        n += 1.0;
    }
    let series = 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3)) + 1.0 / (1260.0 * n.powi(5));
    (n - 0.5) * n.ln() - n + (2.0 * std::f64::consts::PI).ln() / 2.0 + series - below
}

/// At most so many live bytes, with 95% confidence, in call sites none of whose live blocks was
/// sampled, all of them together. `once` and `twice`: sites with one and with two live samples.
///
/// Good and Toulmin: what has not been seen is expected to hold as much as what was seen once stands
/// for, a mean each. Without any the bound is the three means that go unsampled in one case of
/// twenty.
pub fn unseen_bytes(mean_bytes: u64, once: u64, twice: u64) -> u64 {
    const ONE_SIDED: f64 = 1.645;
    let (once, twice) = (once as f64, twice as f64);
    let means = once + ONE_SIDED * (once + 2.0 * twice).sqrt() + 3.0;
    (mean_bytes as f64 * means) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator that needs no crate (splitmix64).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let a = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((b ^ b >> 31) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// Samples blocks as the library does, with its integer weights; `None` if none was.
    fn sample(sizes: &[u64], mean: f64, random: &mut Random) -> Option<(Counters, SiteSpread)> {
        let mut spread = SiteSpread::default();
        let (mut blocks_variance, mut bytes_variance) = (0.0, 0.0);
        for &size in sizes {
            let p = -(-(size as f64 + 1.0) / mean).exp_m1();
            if random.next() >= p {
                continue;
            }
            let exact = 1.0 / p;
            let weight = exact.floor() + f64::from(u8::from(random.next() < exact.fract()));
            spread.samples += 1;
            spread.sampled_bytes += size;
            spread.blocks += weight as u64;
            spread.bytes += weight as u64 * size;
            blocks_variance += weight * (weight - 1.0);
            bytes_variance += (size as f64).powi(2) * weight * (weight - 1.0);
        }
        spread.blocks_error_16 = (16.0 * blocks_variance.sqrt()) as u64;
        spread.bytes_error_16 = (16.0 * bytes_variance.sqrt()) as u64;
        let counters = Counters {
            allocations: spread.blocks,
            allocated_bytes: spread.bytes,
            ..Counters::default()
        };
        (spread.samples > 0).then_some((counters, spread))
    }

    const MEAN: f64 = 65_536.0;

    fn head(mean: f64) -> SpreadsHead {
        SpreadsHead {
            at_ms: 0,
            mean_bytes: mean as u64,
        }
    }

    /// Sizes of a site's blocks, of which so many samples are expected: from 16 bytes to half the mean on
    /// a logarithmic scale; those of a site differ by up to eight times.
    fn sizes(expected: f64, random: &mut Random) -> Vec<u64> {
        let least = 16.0 * (MEAN / 2.0 / 16.0 / 8.0).powf(random.next());
        let (mut sizes, mut sum) = (Vec::new(), 0.0);
        while sum < expected {
            let size = (least * 8f64.powf(random.next())) as u64;
            sum += -(-(size as f64 + 1.0) / MEAN).exp_m1();
            sizes.push(size);
        }
        sizes
    }

    /// Sums over parts of a site.
    fn plus(a: (Counters, SiteSpread), b: (Counters, SiteSpread)) -> (Counters, SiteSpread) {
        let root = |a: u64, b: u64| (a as f64).hypot(b as f64) as u64;
        let spread = SiteSpread {
            site: 0,
            samples: a.1.samples + b.1.samples,
            sampled_bytes: a.1.sampled_bytes + b.1.sampled_bytes,
            blocks: a.1.blocks + b.1.blocks,
            bytes: a.1.bytes + b.1.bytes,
            blocks_error_16: root(a.1.blocks_error_16, b.1.blocks_error_16),
            bytes_error_16: root(a.1.bytes_error_16, b.1.bytes_error_16),
        };
        (a.0.plus(&b.0), spread)
    }

    /// Of `sites` sites that were sampled, the shares whose interval holds the truth, for bytes and for
    /// blocks. Each site is made of blocks from times with different means.
    fn held(
        sites: usize,
        random: &mut Random,
        mut parts: impl FnMut(&mut Random) -> Vec<(f64, Vec<u64>)>,
    ) -> (f64, f64) {
        let (mut bytes_held, mut blocks_held, mut seen) = (0, 0, 0);
        while seen < sites {
            let parts = parts(random);
            let coarsest = parts.iter().map(|(mean, _)| *mean).fold(0.0, f64::max);
            let all = || parts.iter().flat_map(|(_, sizes)| sizes);
            let (bytes, blocks) = (all().sum::<u64>(), all().count() as u64);
            let samples = parts
                .iter()
                .filter_map(|(mean, sizes)| sample(sizes, *mean, random))
                .reduce(plus);
            // What was never sampled is in no list: it is bounded together.
            let Some((counters, spread)) = samples else {
                continue;
            };
            seen += 1;
            let basis = SampleBasis::of(&counters, Some(&spread), head(coarsest), u64::MAX);
            let holds = |(low, high): (u64, u64), truth: u64| (low..=high).contains(&truth);
            bytes_held += usize::from(holds(basis.bytes(counters.live_bytes()), bytes));
            blocks_held += usize::from(holds(basis.blocks(counters.live_blocks()), blocks));
        }
        (
            bytes_held as f64 / sites as f64,
            blocks_held as f64 / sites as f64,
        )
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut random = Random(20_261_121);
        for (low, high) in [(20.0, 30.0), (30.0, 100.0), (100.0, 400.0)] {
            let (bytes, blocks) = held(1_500, &mut random, |random| {
                let expected = low + (high - low) * random.next();
                vec![(MEAN, sizes(expected, random))]
            });
            for share in [bytes, blocks] {
                assert!((0.93..=0.985).contains(&share), "{low}: {share}");
            }
        }
        for expected in [
            0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0, 9.0, 14.0,
        ] {
            let (bytes, blocks) = held(4_000, &mut random, |random| {
                vec![(MEAN, sizes(expected, random))]
            });
            for share in [bytes, blocks] {
                assert!(share >= 0.93, "{expected}: {share}");
            }
        }
    }

    /// A site whose blocks go and are replaced: its peak at the snapshots, and what samples say of it.
    #[test]
    fn intervals_of_peaks_hold_the_highest_of_the_snapshots() {
        let mut random = Random(9);
        for (samples, snapshots, share) in [
            (3.0, 60, 0.0),
            (3.0, 60, 0.02),
            (3.0, 60, 0.3),
            (20.0, 60, 0.3),
            (60.0, 200, 1.0),
            (200.0, 60, 0.1),
        ] {
            let (mut held, mut asked) = (0, 0);
            while asked < 600 {
                // The weight of a block, 0 for those without a sample.
                let weigh = |size: u64, random: &mut Random| {
                    let p = -(-(size as f64 + 1.0) / MEAN).exp_m1();
                    match random.next() < p {
                        true => (1.0 / p).round() as u64,
                        false => 0,
                    }
                };
                let count = (samples * MEAN / 4_000.0) as usize;
                let mut live = Vec::new();
                for _ in 0..count {
                    let size = (1_500.0 * 5f64.powf(random.next())) as u64;
                    live.push((size, weigh(size, &mut random)));
                }
                let (mut truth, mut peak) = (0, 0);
                let mut allocated: u64 = live.iter().map(|(size, _)| size).sum();
                let block_bytes = allocated as f64 / live.len() as f64;
                for turn in 0..snapshots {
                    let full = 3 * live.len() / 4 + live.len() * turn % (live.len() / 4 + 1);
                    let front = &live[..full.max(1)];
                    truth = truth.max(front.iter().map(|(size, _)| size).sum::<u64>());
                    peak = peak.max(front.iter().map(|(size, weight)| size * weight).sum());
                    for block in &mut live {
                        if random.next() < share {
                            block.1 = weigh(block.0, &mut random);
                            allocated += block.0;
                        }
                    }
                }
                if peak == 0 {
                    continue;
                }
                asked += 1;
                let found = Peak {
                    bytes: peak,
                    block_bytes,
                    mean_bytes: MEAN as u64,
                    allocated_bytes: allocated,
                    most_bytes: u64::MAX,
                    snapshots,
                };
                let (low, high) = found.interval();
                held += usize::from((low..=high).contains(&truth));
            }
            let share_held = f64::from(held as u32) / f64::from(asked as u32);
            assert!(
                share_held >= 0.93,
                "{samples} samples, {snapshots} snapshots, {share} replaced: {share_held}"
            );
        }
        for (tail, quantile) in [(0.025, Z), (0.000_25, 3.4808)] {
            assert!((normal_quantile(tail) - quantile).abs() < 1e-3);
        }
    }

    #[test]
    fn intervals_hold_blocks_of_a_coarser_time_of_which_none_was_sampled() {
        let mut random = Random(5);
        // As under a budget: a fine mean at first, then one up to 512 times as coarse.
        for coarse in [4.0, 64.0, 512.0] {
            for (early, late) in [(20.0, 0.5), (3.0, 1.5), (0.5, 0.5), (0.1, 2.0), (50.0, 5.0)] {
                let (bytes, blocks) = held(2_000, &mut random, |random| {
                    let fine = MEAN / coarse;
                    let one = (fine / 8.0 * (0.2 + random.next())) as u64;
                    let count = |expected: f64, mean: f64| {
                        let p = -(-(one as f64 + 1.0) / mean).exp_m1();
                        vec![one; (expected / p * 2.0 * random.next()) as usize]
                    };
                    let mut count = count;
                    vec![(fine, count(early, fine)), (MEAN, count(late, MEAN))]
                });
                for share in [bytes, blocks] {
                    assert!(share >= 0.93, "{coarse} {early} {late}: {share}");
                }
            }
        }
    }

    #[test]
    fn intervals_hold_large_blocks_beside_small_ones() {
        let mut random = Random(11);
        for (large, small) in [(3, 0.5), (40, 1.0), (200, 1.0), (10, 3.0), (40, 20.0)] {
            let (bytes, _) = held(4_000, &mut random, |random| {
                let size = (MEAN * (1.0 + 3.0 * random.next())) as u64;
                let mut all = sizes(small, random);
                all.extend(vec![size; large]);
                vec![(MEAN, all)]
            });
            assert!(bytes >= 0.93, "{large} {small}: {bytes}");
        }
    }

    #[test]
    fn the_gamma_share_is_that_of_the_tables() {
        // P(N >= n) of Poisson counts, by summing.
        for (n, mean) in [(1, 0.5), (2, 0.2422), (5, 3.0), (20, 12.22)] {
            let (mut term, mut below) = (f64::exp(-mean), 0.0);
            for count in 0..n {
                below += term;
                term *= mean / f64::from(count + 1);
            }
            let share = gamma_share(f64::from(n), mean);
            assert!((share - (1.0 - below)).abs() < 1e-9, "{n} {mean}: {share}");
        }
        // Garwood's lower limit of 20, where it hardly matters that it is not 0.
        assert!((lower(20.0, 20.0, TAIL) - 12.217).abs() < 0.01);
    }

    #[test]
    fn what_was_not_seen_is_within_its_bound() {
        let mut random = Random(7);
        let (mut held, mut bound, mut truth) = (0, 0.0, 0.0);
        const RUNS: usize = 1_000;
        for _ in 0..RUNS {
            let (mut unseen, mut once, mut twice) = (0, 0, 0);
            for _ in 0..100 {
                let size = (MEAN * 0.02) as u64;
                let sizes = vec![size; (60.0 * random.next().powi(2)) as usize];
                match sample(&sizes, MEAN, &mut random).map(|(_, spread)| spread.samples) {
                    None => unseen += sizes.iter().sum::<u64>(),
                    Some(1) => once += 1,
                    Some(2) => twice += 1,
                    Some(_) => {}
                }
            }
            let most = unseen_bytes(MEAN as u64, once, twice);
            held += usize::from(unseen <= most);
            bound += most as f64;
            truth += unseen as f64;
        }
        assert!(held >= RUNS * 95 / 100, "{held}");
        // And it is no idle one.
        assert!(bound < truth * 2.0, "{bound} {truth}");
    }

    #[test]
    fn exact_figures_have_no_width() {
        let counters = Counters {
            allocations: 3,
            allocated_bytes: 300,
            ..Counters::default()
        };
        let spread = SiteSpread {
            samples: 3,
            sampled_bytes: 300,
            blocks: 3,
            bytes: 300,
            ..SiteSpread::default()
        };
        let basis = SampleBasis::of(&counters, Some(&spread), SpreadsHead::default(), 0);
        assert_eq!(basis.bytes(300), (300, 300));
        assert_eq!(basis.blocks(3), (3, 3));
    }

    #[test]
    fn without_a_walk_the_interval_is_no_narrower() {
        let mut random = Random(99);
        let head = head(MEAN);
        let sizes = vec![1_000; 5_000];
        let (counters, spread) = sample(&sizes, 65_536.0, &mut random).unwrap();
        let (low, high) =
            SampleBasis::of(&counters, Some(&spread), head, u64::MAX).bytes(counters.live_bytes());
        let (lower, higher) =
            SampleBasis::of(&counters, None, head, u64::MAX).bytes(counters.live_bytes());
        assert!(
            lower <= low && high <= higher,
            "{lower} {low} {high} {higher}"
        );
        assert!(low <= 5_000_000 && 5_000_000 <= high);
    }
}
