//! Too few snapshots to say anything of a shape.

use super::super::curve::Curve;
use super::super::opinion::{Opinion, Pattern, Verdict};
use super::super::{Context, Rule};
use super::ENOUGH_POINTS;
use crate::human;

pub struct Few;

impl Rule for Few {
    fn check(&self, curve: &Curve<'_>, _: &Context) -> Option<Opinion> {
        let points = curve.points.len();
        if points >= ENOUGH_POINTS && curve.span_s() > 0.0 {
            return None;
        }
        let seen = human::plural(points as u64, "snapshot");
        let why = format!("Only {seen} cover this site; a trend needs {ENOUGH_POINTS}.");
        let missing = ENOUGH_POINTS.saturating_sub(points).max(1) as f64 * curve.frame.interval_s;
        let settle = if curve.frame.exited {
            format!(
                "A run at least {} longer, or more snapshots (interval={}), would settle it.",
                human::duration(missing),
                finer(curve)
            )
        } else {
            format!(
                "{} more of recording would settle it.",
                human::duration(missing)
            )
        };
        Some(Opinion::new(Verdict::Unclear, Pattern::Unclear, why).settled_by(settle))
    }
}

/// An interval that would have given some twenty snapshots, as the option is written.
fn finer(curve: &Curve<'_>) -> String {
    let lived_s = curve.frame.times_s.last().copied().unwrap_or(0.0);
    let steps_ms = [10, 20, 50, 100, 200, 500];
    let wanted_ms = lived_s * 1e3 / 20.0;
    let interval_ms = steps_ms
        .iter()
        .rev()
        .find(|ms| f64::from(**ms) <= wanted_ms)
        .unwrap_or(&10);
    format!("{interval_ms}ms")
}
