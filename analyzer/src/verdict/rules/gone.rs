//! Nothing is live any more: healthy, whatever happened in between.

use super::super::curve::Curve;
use super::super::opinion::{Opinion, Pattern, Verdict};
use super::super::{Context, Rule};
use super::troughs;
use crate::human;

/// A peak of at least this many bytes, seen at less than a fifth of the points, is a spike.
const SPIKE_BYTES: u64 = 1 << 20;

pub struct Gone;

impl Rule for Gone {
    fn check(&self, curve: &Curve<'_>, _: &Context) -> Option<Opinion> {
        if curve.end.live_bytes() > 0 || curve.end.live_blocks() > 0 || curve.freed_at_exit {
            return None;
        }
        let above = curve
            .points
            .iter()
            .filter(|point| point.counters.live_bytes() > curve.peak_live_bytes / 4)
            .count();
        let spiked = curve.peak_live_bytes >= SPIKE_BYTES && above * 5 < curve.points.len();
        let period_s = match curve.is_noisy() {
            true => None,
            false => troughs::period_s(curve, &troughs::troughs(curve)),
        };
        let pattern = match (spiked, period_s) {
            (true, _) => Pattern::Spike,
            (false, Some(_)) => Pattern::Periodic,
            (false, None) => Pattern::Flat,
        };
        let opinion = Opinion::new(
            Verdict::Healthy,
            pattern,
            match curve.counted.frees {
                1 => "Its one block was freed.".to_owned(),
                frees => format!("All of its {} were freed.", human::plural(frees, "block")),
            },
        );
        if let (false, Some(period_s)) = (spiked, period_s) {
            let again = human::duration(period_s);
            return Some(opinion.because(format!("It repeats itself every {again}.")));
        }
        Some(if spiked {
            opinion.because(format!(
                "It peaked at {} for a short time.",
                human::bytes(curve.peak_live_bytes)
            ))
        } else {
            opinion
        })
    }
}
