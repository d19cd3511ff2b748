//! Owns what a sampled block stands for.
//!
//! A block of `size` bytes is sampled with p = 1 - e^(-(size + 1) / mean) and weighs 1 / p. Counters
//! are integers, so the weight of one block is one of the two integers next to 1 / p, chosen by
//! chance such that it is 1 / p on average: sums stay unbiased. The choice follows from the block's
//! address and a secret, so that a free takes back what the allocation added.
//!
//! For a sum of y over live blocks, T = sum of y W over the sampled ones is unbiased, and so is
//! sum of y^2 W (W - 1) for its variance: E[W] = 1 / p makes E[W^2 - W] p = p E[W^2] - 1, which is
//! what one block adds to it.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::math::one_minus_exp;

/// Number of classes.
pub const CLASSES: usize = 64;
/// Blocks recorded as they came: each stands for itself.
pub const EXACT: u8 = 0;
/// The mean of one byte, at which nearly every block stands for itself. From here on each class has
/// twice the mean of the one before.
pub const FINEST: u8 = 1;
/// The last of those: 2^41 bytes. Classes behind it have means as they are asked for.
pub const LAST_POWER: u8 = 42;

/// Means in bytes of the classes behind the last power of two; 0: not used yet.
static OTHERS: [AtomicU64; CLASSES - LAST_POWER as usize - 1] =
    [const { AtomicU64::new(0) }; CLASSES - LAST_POWER as usize - 1];
/// Keeps a program from choosing how its blocks are rounded.
static SECRET: AtomicU64 = AtomicU64::new(0);

/// Sets the secret, before the first block is sampled.
pub fn set_secret(secret: u64) {
    SECRET.store(secret, Relaxed);
}

/// The class of a mean; a new one if need be. Once all are in use, that of the nearest mean.
pub fn class_of(mean_bytes: u64) -> u8 {
    let mean_bytes = mean_bytes.max(1);
    let last = mean_of(LAST_POWER);
    if mean_bytes.is_power_of_two() || mean_bytes >= last {
        return FINEST + mean_bytes.min(last).ilog2() as u8;
    }
    let mut nearest = (u64::MAX, FINEST);
    for (class, mean) in (LAST_POWER + 1..).zip(&OTHERS) {
        // The constructor alone asks for other means than powers of two.
        let known = mean.load(Relaxed);
        if known == 0 {
            mean.store(mean_bytes, Relaxed);
            return class;
        }
        if known == mean_bytes {
            return class;
        }
        nearest = nearest.min((known.abs_diff(mean_bytes), class));
    }
    nearest.1
}

/// The mean of a class in bytes; 0 of [`EXACT`].
pub fn mean_of(class: u8) -> u64 {
    match class {
        EXACT => 0,
        FINEST..=LAST_POWER => 1 << (class - FINEST),
        _ => OTHERS
            .get(usize::from(class - LAST_POWER - 1))
            .map_or(0, |mean| mean.load(Relaxed)),
    }
}

/// The one of two classes with the larger mean.
pub fn coarser(one: u8, other: u8) -> u8 {
    if mean_of(one) >= mean_of(other) {
        one
    } else {
        other
    }
}

/// What a block stands for: 1 or more blocks like it.
#[inline]
pub fn weight(class: u8, size: u64, addr: usize) -> u64 {
    if class == EXACT {
        return 1;
    }
    of_mean(mean_of(class), size, addr as u64 ^ SECRET.load(Relaxed))
}

fn of_mean(mean_bytes: u64, size: u64, chance: u64) -> u64 {
    let p = one_minus_exp((size as f64 + 1.0) / mean_bytes.max(1) as f64);
    let exact = 1.0 / p;
    let whole = exact as u64;
    let part = exact - whole as f64;
    let chance = mix(chance ^ size.rotate_left(32)) >> 11;
    let rounded_up = (chance as f64) < part * (1u64 << 53) as f64;
    whole.max(1) + u64::from(rounded_up)
}

/// 64 well-mixed bits (splitmix64).
pub fn mix(seed: u64) -> u64 {
    let a = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let b = (a ^ a >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let c = (b ^ b >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    c ^ c >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_one_over_p_on_average() {
        for (mean, size) in [
            (512 << 10, 64),
            (512 << 10, 3_000),
            (4_096, 4_095),
            (100, 1_000),
        ] {
            let expected = 1.0 / -(-((size + 1) as f64) / mean as f64).exp_m1();
            let (least, most) = (expected.floor() as u64, expected.ceil() as u64);
            let mut sum = 0u64;
            const BLOCKS: u64 = 200_000;
            for block in 0..BLOCKS {
                let weight = of_mean(mean, size, block * 4_096);
                assert!(
                    (least.max(1)..=most.max(1)).contains(&weight),
                    "{weight} {expected}"
                );
                sum += weight;
            }
            let error = sum as f64 / BLOCKS as f64 - expected;
            // The standard error of a coin's mean is 0.0011 at most.
            assert!(error.abs() < 0.006, "{mean} {size}: {error}");
        }
    }

    #[test]
    fn a_block_weighs_the_same_at_its_end() {
        let class = class_of(777);
        assert_eq!(class_of(777), class);
        assert_eq!(mean_of(class), 777);
        for addr in (0..100_000).step_by(16) {
            assert_eq!(weight(class, 300, addr), weight(class, 300, addr));
        }
        assert_eq!(weight(EXACT, 300, 16), 1);
        for mean in [1, 2, 512 << 10, 1 << 41] {
            assert_eq!(mean_of(class_of(mean)), mean);
        }
        assert_eq!(mean_of(class_of(u64::MAX)), 1 << 41);
        assert_eq!(coarser(EXACT, FINEST), FINEST);
        assert_eq!(coarser(class_of(777), class_of(512)), class_of(777));
    }
}
