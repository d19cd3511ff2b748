//! How far the figures of sampled sites may be off, as 95% intervals.
//!
//! A site's figure T is a sum over its live samples of what each stands for; its variance V is
//! estimated by the library (`leaktrack_recording::SiteSpread`). T is taken for a multiple of a
//! Poisson count: with k = V / T it is k times a count of n = T^2 / V. The interval is k times the
//! exact one of that count (Garwood), in Byar's approximation by cubes (Breslow and Day 1987, 2.10).
//! With few samples that is much nearer the truth than two standard errors to either side.

use leaktrack_recording::{SiteSpread, SpreadsHead};

use super::history::Counters;

/// The two-sided 95% quantile of the normal distribution.
const Z: f64 = 1.959_963_985;

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
}

impl SampleBasis {
    /// Of a site with these counters, from the walk over the live table if that saw the site.
    pub fn of(counters: &Counters, spread: Option<&SiteSpread>, head: SpreadsHead) -> Self {
        let (bytes, blocks) = (counters.live_bytes(), counters.live_blocks());
        if blocks == 0 {
            return Self::default();
        }
        let Some(spread) = spread.filter(|spread| spread.blocks > 0) else {
            return Self::by_mean(counters, head.mean_bytes);
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
        }
    }

    /// Without a walk: a sample adds at most mean times what it stands for.
    fn by_mean(counters: &Counters, mean_bytes: u64) -> Self {
        let mean = mean_bytes as f64;
        let (bytes, blocks) = (counters.live_bytes() as f64, counters.live_blocks() as f64);
        let size = (bytes / blocks).max(1.0);
        Self {
            samples: blocks / (1.0 + mean / size),
            sampled_bytes: 0,
            bytes_variance: mean * bytes,
            blocks_variance: mean / size * blocks,
        }
    }

    /// Both together; samples of different processes are independent.
    pub fn plus(self, other: Self) -> Self {
        Self {
            samples: self.samples + other.samples,
            sampled_bytes: self.sampled_bytes.saturating_add(other.sampled_bytes),
            bytes_variance: self.bytes_variance + other.bytes_variance,
            blocks_variance: self.blocks_variance + other.blocks_variance,
        }
    }

    /// The 95% interval of so many live bytes.
    pub fn bytes(&self, value: u64) -> (u64, u64) {
        interval(value, self.bytes_variance, self.samples, self.sampled_bytes)
    }

    /// The 95% interval of so many live blocks.
    pub fn blocks(&self, value: u64) -> (u64, u64) {
        let sampled = if self.sampled_bytes > 0 {
            self.samples.round() as u64
        } else {
            0
        };
        interval(value, self.blocks_variance, self.samples, sampled)
    }
}

/// The interval of `value`, of which `certain` was seen itself.
fn interval(value: u64, variance: f64, samples: f64, certain: u64) -> (u64, u64) {
    if variance <= 0.0 || value == 0 {
        return (value, value);
    }
    let t = value as f64;
    let (k, n) = (variance / t, t * t / variance);
    // Of all small sites only those are seen that were sampled, most of them once: one sample says
    // nothing from below.
    let low = if samples < 1.5 { 0.0 } else { k * byar(n, -Z) };
    let high = k * byar(n + 1.0, Z);
    let low = (low.floor() as u64).max(certain).min(value);
    (low, (high.ceil() as u64).max(value))
}

/// The quantile of a gamma distribution of shape `n`, `z` standard deviations from its middle.
fn byar(n: f64, z: f64) -> f64 {
    let root = 1.0 - 1.0 / (9.0 * n) + z / (3.0 * n.sqrt());
    n * root.max(0.0).powi(3)
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

    /// Share of 1,000 sites whose interval holds the truth, for bytes and for blocks. What was not
    /// sampled at all is bounded together and counts as held.
    fn coverage(expected: std::ops::Range<f64>, random: &mut Random) -> (f64, f64) {
        const SITES: usize = 1_000;
        const MEAN: f64 = 65_536.0;
        let (mut bytes_held, mut blocks_held) = (0, 0);
        for _ in 0..SITES {
            // Sizes from 16 bytes to half the mean on a logarithmic scale; those of a site differ by
            // up to eight times.
            let least = 16.0 * (MEAN / 2.0 / 16.0 / 8.0).powf(random.next());
            let wanted = expected.start + (expected.end - expected.start) * random.next();
            let (mut sizes, mut sum) = (Vec::new(), 0.0);
            while sum < wanted {
                let size = (least * 8f64.powf(random.next())) as u64;
                sum += -(-(size as f64 + 1.0) / MEAN).exp_m1();
                sizes.push(size);
            }
            let bytes: u64 = sizes.iter().sum();
            let Some((counters, spread)) = sample(&sizes, MEAN, random) else {
                bytes_held += 1;
                blocks_held += 1;
                continue;
            };
            let basis = SampleBasis::of(&counters, Some(&spread), SpreadsHead::default());
            let held = |(low, high): (u64, u64), truth: u64| (low..=high).contains(&truth);
            bytes_held += usize::from(held(basis.bytes(counters.live_bytes()), bytes));
            blocks_held += usize::from(held(
                basis.blocks(counters.live_blocks()),
                sizes.len() as u64,
            ));
        }
        (
            bytes_held as f64 / SITES as f64,
            blocks_held as f64 / SITES as f64,
        )
    }

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut random = Random(20_261_121);
        for expected in [20.0..30.0, 30.0..100.0, 100.0..400.0] {
            let (bytes, blocks) = coverage(expected.clone(), &mut random);
            for share in [bytes, blocks] {
                assert!((0.93..=0.97).contains(&share), "{expected:?}: {share}");
            }
        }
        for expected in [0.01..0.3, 0.3..1.0, 1.0..3.0, 3.0..20.0] {
            let (bytes, blocks) = coverage(expected.clone(), &mut random);
            for share in [bytes, blocks] {
                assert!(share >= 0.93, "{expected:?}: {share}");
            }
        }
    }

    #[test]
    fn what_was_not_seen_is_within_its_bound() {
        let mut random = Random(7);
        const MEAN: f64 = 65_536.0;
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
        let basis = SampleBasis::of(&counters, Some(&spread), SpreadsHead::default());
        assert_eq!(basis.bytes(300), (300, 300));
        assert_eq!(basis.blocks(3), (3, 3));
    }

    #[test]
    fn without_a_walk_the_interval_is_no_narrower() {
        let mut random = Random(99);
        let head = SpreadsHead {
            at_ms: 0,
            mean_bytes: 65_536,
        };
        let sizes = vec![1_000; 5_000];
        let (counters, spread) = sample(&sizes, 65_536.0, &mut random).unwrap();
        let (low, high) =
            SampleBasis::of(&counters, Some(&spread), head).bytes(counters.live_bytes());
        let (lower, higher) = SampleBasis::of(&counters, None, head).bytes(counters.live_bytes());
        assert!(
            lower <= low && high <= higher,
            "{lower} {low} {high} {higher}"
        );
        assert!(low <= 5_000_000 && 5_000_000 <= high);
    }
}
