//! Owns the relation between epochs, in which births of blocks are dated, and time.

use crate::state;

/// Most entries kept.
const ENTRIES: usize = 512;
/// Epochs are 20 bits wide in the live table: their spacing grows with the run so that they last. A
/// process uses up less than this share of those that it begins with in any time that it may run;
/// what its children begin with is the rest.
const SHARE_OF_REST: u32 = 16;

/// When epochs began; thinned as it fills, so that it covers the whole run.
#[derive(Debug)]
pub struct Epochs {
    entries: [(u32, u64); ENTRIES],
    len: usize,
    /// Only every so many epochs are kept: this power of two.
    step_log2: u32,
    /// A new epoch begins when this share of the run has passed in the last.
    spacing_share: u64,
    last: (u32, u64),
}

impl Epochs {
    /// Knows nothing: all was born at 0.
    pub const fn new() -> Epochs {
        Epochs {
            entries: [(0, 0); ENTRIES],
            len: 0,
            step_log2: 0,
            spacing_share: 0,
            last: (0, 0),
        }
    }

    /// True if it is time for a new epoch.
    pub fn is_due(&self, now_ms: u64) -> bool {
        // Nothing noted yet: the first is due.
        let spacing_ms = now_ms.checked_div(self.spacing_share).unwrap_or(0);
        now_ms.saturating_sub(self.last.1) > spacing_ms && state::epochs_left(self.last.0) > 0
    }

    /// Notes that `epoch` began at `now_ms`.
    pub fn note(&mut self, epoch: u32, now_ms: u64) {
        self.last = (epoch, now_ms);
        if self.spacing_share == 0 {
            self.spacing_share = u64::from(state::epochs_left(epoch) / SHARE_OF_REST).max(1);
        }
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

    /// The epoch after so many days of snapshots every `interval_ms`.
    fn after_days(first: u32, interval_ms: u64, days: u64) -> u32 {
        let mut epochs = Epochs::new();
        epochs.note(first, 0);
        let (mut now, mut count) = (0u64, first);
        while now < days * 86_400_000 {
            if epochs.is_due(now) {
                count += 1;
                epochs.note(count, now);
            }
            // Later ticks are not due anyway.
            now += interval_ms.max(now / epochs.spacing_share / 4);
        }
        count
    }

    #[test]
    fn a_year_at_the_finest_interval_fits_in_20_bits() {
        for interval_ms in [10, 1_000] {
            let count = after_days(1, interval_ms, 366);
            assert!(count < 1 << 20, "{count}");
        }
    }

    #[test]
    fn so_do_years_of_servers_that_fork_their_successors() {
        let mut epoch = 1;
        for generation in 0..12 {
            let end = after_days(epoch, 1_000, 366);
            assert!(end < (1 << 20) - 1, "{generation}: {end}");
            assert!(end > epoch, "{generation}: no epoch of its own");
            epoch = end + 1;
        }
    }
}
