//! The sampler against what probability theory says of it.

use std::vec::Vec;

use super::*;

/// A thread's words, as zeroed memory.
fn thread() -> Countdown {
    Countdown {
        left: AtomicI64::new(0),
        class: AtomicU32::new(0),
        random: AtomicU64::new(0),
        calls: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        frees: AtomicU64::new(0),
        stood_for: [const { AtomicU64::new(0) }; 3],
        exact_frees: AtomicU64::new(0),
        samples: AtomicU64::new(0),
        ticks: AtomicU64::new(0),
    }
}

/// The tests of one process share the mean in force.
fn with_mean(mean_bytes: u64, test: impl FnOnce()) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    SEED.store(fresh_seed(), Relaxed);
    rate::reset(weight::class_of(mean_bytes));
    test();
    rate::reset(EXACT);
    drop(guard);
}

/// Allocates; the weight if it was sampled.
fn allocate(thread: &Countdown, size: usize, addr: usize) -> u64 {
    if thread.passes(size) {
        return 0;
    }
    let class = thread.chooses(size);
    class.map_or(0, |class| weight::weight(class, size as u64, addr))
}

#[test]
fn each_block_is_sampled_with_its_probability() {
    const MEAN: u64 = 10_000;
    with_mean(MEAN, || {
        let sizes = [0usize, 1, 100, 1_000, 9_999, 40_000, 1 << 20];
        let mut sampled = [0u64; 7];
        const ROUNDS: u64 = 200_000;
        let thread = thread();
        for _ in 0..ROUNDS {
            for (size, sampled) in sizes.iter().zip(&mut sampled) {
                *sampled += u64::from(allocate(&thread, *size, 4_096) > 0);
            }
        }
        for (size, sampled) in sizes.iter().zip(sampled) {
            let p = -(-((*size as f64) + 1.0) / MEAN as f64).exp_m1();
            let expected = p * ROUNDS as f64;
            let error = (ROUNDS as f64 * p * (1.0 - p)).sqrt();
            let off = (sampled as f64 - expected).abs();
            // Five standard errors: once in two million runs by chance.
            assert!(off <= 5.0 * error + 1e-9, "{size}: {sampled} of {expected}");
        }
        assert_eq!(thread.calls.load(Relaxed), ROUNDS * 7);
        assert_eq!(
            thread.bytes.load(Relaxed),
            ROUNDS * sizes.iter().sum::<usize>() as u64
        );
    });
}

#[test]
fn estimates_and_their_variance_are_unbiased() {
    const MEAN: u64 = 4_096;
    with_mean(MEAN, || {
        // One site of 60 blocks, estimated again and again.
        let sizes: Vec<usize> = (0..60).map(|block| 16 + block * 31).collect();
        let truth: usize = sizes.iter().sum();
        const RUNS: usize = 20_000;
        let (mut sum, mut squares, mut variances) = (0.0f64, 0.0f64, 0.0f64);
        let thread = thread();
        let mut addr = 0;
        for _ in 0..RUNS {
            let (mut estimate, mut variance) = (0.0, 0.0);
            for size in &sizes {
                addr += 32;
                let weight = allocate(&thread, *size, addr) as f64;
                let bytes = *size as f64;
                estimate += bytes * weight;
                if weight > 0.0 {
                    variance += bytes * bytes * weight * (weight - 1.0);
                }
            }
            let off = estimate - truth as f64;
            sum += off;
            squares += off * off;
            variances += variance;
        }
        let runs = RUNS as f64;
        let (bias, spread, told) = (sum / runs, squares / runs, variances / runs);
        assert!(
            bias.abs() < 5.0 * (spread / runs).sqrt(),
            "biased by {bias}"
        );
        assert!(
            (told / spread - 1.0).abs() < 0.05,
            "{told} told, {spread} seen"
        );
    });
}

#[test]
fn a_change_of_the_mean_biases_nothing() {
    // The mean follows the load, as a budget has it; what a thread drew before stays valid.
    with_mean(1_000, || {
        let means = [1_000, 64_000, 4_000, 500, 32_000].map(weight::class_of);
        let (mut estimate, mut truth, mut variance) = (0.0, 0.0, 0.0);
        let thread = thread();
        for step in 0..400_000usize {
            if step % 777 == 0 {
                rate::want(means[step / 777 % means.len()]);
                thread.catch_up(rate::class());
            }
            // The load itself depends on the mean: the worst case for an estimate.
            let size = 20 + weight::mean_of(rate::class()) as usize / 100 + step % 50;
            let weight = allocate(&thread, size, step * 64) as f64;
            truth += size as f64;
            estimate += size as f64 * weight;
            if weight > 0.0 {
                variance += (size * size) as f64 * weight * (weight - 1.0);
            }
        }
        let off: f64 = estimate - truth;
        assert!(off.abs() < 5.0 * variance.sqrt(), "{estimate} of {truth}");
    });
}

#[test]
fn no_size_upsets_the_countdown() {
    with_mean(1 << 19, || {
        let thread = thread();
        allocate(&thread, 1, 0);
        for size in [usize::MAX, usize::MAX - 1, 1 << 63, (1 << 63) - 1, 1 << 62] {
            assert!(!thread.passes(size), "{size}");
        }
        let left = thread.left.load(Relaxed);
        assert!((0..1 << 26).contains(&left), "{left}");
    });
}
