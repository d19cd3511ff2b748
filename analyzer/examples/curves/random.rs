//! Reproducible random numbers: SplitMix64 (Steele, Lea & Flood 2014) and what is made of it.

/// A stream of random numbers; the same seed gives the same stream on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Standard normal (Box & Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A stationary first-order autoregression with standard deviation 1 and coefficient `rho`.
    pub fn ar1(&mut self, points: usize, rho: f64) -> Vec<f64> {
        let mut value = self.normal();
        let fresh = (1.0 - rho * rho).sqrt();
        (0..points)
            .map(|_| {
                let now = value;
                value = rho * value + fresh * self.normal();
                now
            })
            .collect()
    }

    /// Poisson (by inversion below 30, by the normal above).
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 30.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (mut product, limit, mut count) = (self.uniform(), (-mean).exp(), 0.0);
        while product > limit {
            product *= self.uniform();
            count += 1.0;
        }
        count
    }
}
