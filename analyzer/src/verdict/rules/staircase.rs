//! Growth in steps: a batch that leaves memory behind, or a container that doubles.

use super::super::curve::Curve;
use super::super::opinion::{Estimate, Opinion, Pattern, Verdict};
use super::super::{Context, Rule, stats};
use super::is_material;
use crate::human;

/// Steps, the first allocation included, from which growth is taken to go on.
const ENOUGH_STEPS: usize = 4;
/// Fewer blocks than this per step are single allocations, not a batch.
const BATCH_BLOCKS: f64 = 4.0;

pub struct Staircase;

impl Rule for Staircase {
    fn check(&self, curve: &Curve<'_>, _: &Context) -> Option<Opinion> {
        let rises = curve.rises();
        if rises.is_empty()
            || rises.len() * 4 > curve.points.len()
            || !curve.falls().is_empty()
            || !is_material(curve)
        {
            return None;
        }
        // Rises at neighbouring points are one step that took long; it stands at its last point.
        let mut steps = vec![0];
        for (index, rise) in rises.iter().enumerate() {
            if rises.get(index + 1) != Some(&(rise + 1)) {
                steps.push(*rise);
            }
        }
        let tops: Vec<(f64, f64)> = steps
            .iter()
            .map(|index| (curve.time_at(*index), curve.bytes_at(*index)))
            .collect();
        let gaps: Vec<f64> = tops.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        let longest_s = gaps.iter().copied().fold(0.0, f64::max);
        let since_last_s = curve.time_at(curve.points.len() - 1) - tops.last()?.0;
        let blocks_per_step = curve.blocks_gained() as f64 / gaps.len() as f64;
        let doubling = blocks_per_step < 1.0 && doubles(&tops);
        let wait_s = if doubling {
            2.5 * gaps.last()?
        } else {
            1.5 * longest_s
        };
        if since_last_s > wait_s || (blocks_per_step < BATCH_BLOCKS && !doubling) {
            return None;
        }
        let gained = curve.ends().1 - curve.ends().0;
        let seen = format!(
            "{} added {} in {}.",
            human::plural(gaps.len() as u64, "step"),
            human::bytes_f(gained),
            human::duration(curve.span_s())
        );
        if steps.len() < ENOUGH_STEPS {
            return Some(
                Opinion::new(Verdict::Unclear, Pattern::Staircase, seen)
                    .that_rose()
                    .settled_by(format!(
                        "The next steps would settle it: {} more of recording.",
                        human::duration(longest_s * (ENOUGH_STEPS - steps.len()) as f64 * 1.5)
                    )),
            );
        }
        let rate = stats::trend(&tops).map(|trend| Estimate {
            value: trend.slope,
            low: Some(trend.low),
            high: Some(trend.high),
        });
        let mut opinion =
            Opinion::new(Verdict::Growing, Pattern::Staircase, seen).because(format!(
                "The last step was {} ago, the longest wait between two was {}.",
                human::duration(since_last_s),
                human::duration(longest_s)
            ));
        if doubling {
            opinion = opinion
                .because("Each step doubles one block: a container whose content keeps growing.");
        }
        opinion.doubling = doubling;
        opinion.limit_in_s = rate
            .zip(curve.frame.headroom_bytes)
            .and_then(|(rate, room)| rate.time_for(room as f64));
        opinion.rate = rate;
        Some(opinion)
    }
}

/// The last few steps: earlier ones may have come faster than snapshots.
fn doubles(tops: &[(f64, f64)]) -> bool {
    tops.windows(2)
        .rev()
        .take(3)
        .all(|pair| pair[0].1 > 0.0 && (1.3..2.6).contains(&(pair[1].1 / pair[0].1)))
}
