//! Logarithm and exponential for the sampler, where there is no libm to call.
//!
//! Never called on the fast path. Both are accurate to a few units in the last place, which a test
//! checks against the standard library's.

const LN_2: f64 = core::f64::consts::LN_2;
const MANTISSA_BITS: u32 = 52;
const BIAS: i64 = 1023;

/// 2 to a power from -1022 to 1023.
fn exp2(power: i64) -> f64 {
    f64::from_bits(((power + BIAS) as u64) << MANTISSA_BITS)
}

/// Natural logarithm of a normal, positive number.
///
/// With x = 2^k * m, m between 0.7 and 1.42: ln x = k ln 2 + 2 artanh((m - 1) / (m + 1)).
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut power = (bits >> MANTISSA_BITS) as i64 - BIAS;
    let mut m = f64::from_bits(bits & ((1 << MANTISSA_BITS) - 1) | (BIAS as u64) << MANTISSA_BITS);
    if m > core::f64::consts::SQRT_2 {
        m /= 2.0;
        power += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    // s + s^3/3 + s^5/5 + ...; s is at most 0.172, so that the first term left out is below 1e-18.
    let mut sum = 0.0;
    let mut odd = 21.0;
    while odd > 0.0 {
        sum = sum * square + 1.0 / odd;
        odd -= 2.0;
    }
    power as f64 * LN_2 + 2.0 * s * sum
}

/// 1 - e^-x for x from 0 on, also where that is tiny.
pub fn one_minus_exp(x: f64) -> f64 {
    if x < 0.5 {
        return -exp_minus_one(-x);
    }
    if x > 700.0 {
        return 1.0;
    }
    let power = (-x / LN_2 - 0.5) as i64;
    1.0 - exp2(power) * (1.0 + exp_minus_one(-x - power as f64 * LN_2))
}

/// e^x - 1 for x from -0.5 to 0.5, by its series.
fn exp_minus_one(x: f64) -> f64 {
    let mut sum = 1.0;
    let mut n = 17.0;
    while n > 1.0 {
        sum = 1.0 + x / n * sum;
        n -= 1.0;
    }
    x * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(ours: f64, theirs: f64, at: f64) {
        let error = (ours - theirs).abs() / theirs.abs().max(f64::MIN_POSITIVE);
        assert!(
            error < 2e-15 || ours == theirs,
            "{at}: {ours} {theirs} {error}"
        );
    }

    #[test]
    fn logarithms_are_those_of_libm() {
        let mut x: f64 = 5e-300;
        while x < 1e300 {
            close(ln(x), x.ln(), x);
            x *= 1.07;
        }
        for step in 1..4_096 {
            let x = f64::from(step) / 4_096.0;
            close(ln(x), x.ln(), x);
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn probabilities_are_those_of_libm() {
        let mut x: f64 = 1e-18;
        while x < 1_000.0 {
            close(one_minus_exp(x), -(-x).exp_m1(), x);
            x *= 1.01;
        }
        assert_eq!(one_minus_exp(0.0), 0.0);
    }
}
