//! Owns the relation between epochs, in which births of blocks are dated, and time.

/// Most entries kept.
const ENTRIES: usize = 512;
/// Epochs are 20 bits wide in the live table: their spacing grows with the run so that they last.
const SPACING_SHARE: u64 = 65_536;

/// When epochs began; thinned as it fills, so that it covers the whole run.
#[derive(Debug)]
pub struct Epochs {
    entries: [(u32, u64); ENTRIES],
    len: usize,
    /// Only every so many epochs are kept: this power of two.
    step_log2: u32,
    last: (u32, u64),
}

impl Epochs {
    /// Knows nothing: all was born at 0.
    pub const fn new() -> Epochs {
        Epochs {
            entries: [(0, 0); ENTRIES],
            len: 0,
            step_log2: 0,
            last: (0, 0),
        }
    }

    /// True if it is time for a new epoch.
    pub fn is_due(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last.1) > now_ms / SPACING_SHARE
    }

    /// Notes that `epoch` began at `now_ms`.
    pub fn note(&mut self, epoch: u32, now_ms: u64) {
        self.last = (epoch, now_ms);
        if self.len == ENTRIES {
            let mut kept = 0;
            for place in (0..ENTRIES).step_by(2) {
                if let Some(&entry) = self.entries.get(place)
                    && let Some(slot) = self.entries.get_mut(kept)
                {
                    *slot = entry;
                    kept += 1;
                }
            }
            self.len = kept;
            self.step_log2 = (self.step_log2 + 1).min(31);
        }
        let newest = self.len.checked_sub(1).and_then(|at| self.entries.get(at));
        if newest.is_none_or(|&(before, _)| epoch.saturating_sub(before) >> self.step_log2 > 0)
            && let Some(slot) = self.entries.get_mut(self.len)
        {
            *slot = (epoch, now_ms);
            self.len += 1;
        }
    }

    /// When `epoch` began, interpolated where that was not kept.
    pub fn begin_ms(&self, epoch: u32) -> u64 {
        if epoch >= self.last.0 {
            return self.last.1;
        }
        let known = self.entries.get(..self.len).unwrap_or_default();
        let after = known.partition_point(|&(number, _)| number <= epoch);
        let Some(&before) = after.checked_sub(1).and_then(|at| known.get(at)) else {
            return 0;
        };
        let after = known.get(after).copied().unwrap_or(self.last);
        let epochs = u64::from(after.0.saturating_sub(before.0)).max(1);
        let passed = u64::from(epoch.saturating_sub(before.0));
        before.1 + after.1.saturating_sub(before.1).saturating_mul(passed) / epochs
    }

    /// The middle of `epoch`: the best guess for a block's birth.
    pub fn birth_ms(&self, epoch: u32, now_ms: u64) -> u64 {
        let begin = self.begin_ms(epoch);
        let end = if epoch >= self.last.0 {
            now_ms
        } else {
            self.begin_ms(epoch + 1)
        };
        begin + end.saturating_sub(begin) / 2
    }
}

impl Default for Epochs {
    fn default() -> Epochs {
        Epochs::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_while_it_fits_and_near_afterwards() {
        let mut epochs = Epochs::new();
        epochs.note(1, 0);
        for epoch in 2..=400 {
            epochs.note(epoch, u64::from(epoch) * 1_000);
        }
        assert_eq!(epochs.begin_ms(1), 0);
        assert_eq!(epochs.begin_ms(2), 2_000);
        assert_eq!(epochs.begin_ms(400), 400_000);
        assert_eq!(epochs.birth_ms(7, 401_000), 7_500);
        assert_eq!(epochs.birth_ms(400, 401_000), 400_500);
        assert_eq!(epochs.begin_ms(9_999), 400_000);
        assert_eq!(epochs.begin_ms(0), 0);
        for epoch in 401..=100_000u32 {
            epochs.note(epoch, u64::from(epoch) * 1_000);
        }
        for epoch in [2, 3, 777, 50_000, 99_999] {
            let error = epochs.begin_ms(epoch).abs_diff(u64::from(epoch) * 1_000);
            assert!(error <= 2_000, "{epoch} is off by {error}");
        }
    }

    #[test]
    fn a_year_at_the_finest_interval_fits_in_20_bits() {
        for interval_ms in [10, 1_000] {
            let mut epochs = Epochs::new();
            let (mut now, mut count) = (0u64, 1u32);
            while now < 366 * 86_400_000 {
                if epochs.is_due(now) {
                    count += 1;
                    epochs.note(count, now);
                }
                now += interval_ms.max(now / SPACING_SHARE / 4); // later ticks are not due anyway
            }
            assert!(count < 1 << 20, "{count}");
        }
    }
}
