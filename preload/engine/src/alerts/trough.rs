//! Owns the growth of a figure that goes up and down: the lowest value of one span of time compared
//! with the lowest of the span before. What comes and goes within a span does not count.

/// Spans are this many snapshots long, and within these bounds.
const SNAPSHOTS: u64 = 10;
const LEAST_MS: u64 = 2_000;
const MOST_MS: u64 = 60_000;

/// The lowest values of two spans.
#[derive(Debug)]
pub struct Trough {
    /// Begin and lowest value of the span at hand.
    current: Option<(u64, u64)>,
    /// The same of the span before.
    before: Option<(u64, u64)>,
}

impl Trough {
    pub const fn new() -> Trough {
        Trough {
            current: None,
            before: None,
        }
    }

    /// Takes in a value; at the end of a span, the growth in bytes per hour.
    pub fn look(&mut self, at_ms: u64, value: u64, interval_ms: u64) -> Option<u64> {
        let Some((begin, lowest)) = self.current else {
            self.current = Some((at_ms, value));
            return None;
        };
        let span = interval_ms
            .saturating_mul(SNAPSHOTS)
            .clamp(LEAST_MS, MOST_MS.max(interval_ms));
        if at_ms < begin.saturating_add(span) {
            self.current = Some((begin, lowest.min(value)));
            return None;
        }
        self.current = Some((at_ms, value));
        let before = self.before.replace((begin, lowest));
        let (before_ms, before) = before?;
        let passed_ms = begin.saturating_sub(before_ms).max(1);
        let grown = u128::from(lowest.saturating_sub(before));
        Some(u64::try_from(grown * 3_600_000 / u128::from(passed_ms)).unwrap_or(u64::MAX))
    }
}
