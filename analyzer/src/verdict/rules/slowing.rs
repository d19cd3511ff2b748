//! Growth that slows down from third to third: a cache that fills, perhaps. Time will tell.

use super::super::curve::Curve;
use super::super::opinion::{Opinion, Pattern, Verdict};
use super::super::{Context, Rule};
use crate::human;

/// A third of fewer points has no slope worth comparing.
const THIRD_POINTS: usize = 4;

pub struct Slowing;

impl Rule for Slowing {
    fn check(&self, curve: &Curve<'_>, _: &Context) -> Option<Opinion> {
        let third = curve.points.len() / 3;
        if third < THIRD_POINTS {
            return None;
        }
        let slope = |from: usize, to: usize| curve.trend_of(from..to);
        let (first, second, last) = (
            slope(0, third + 1)?,
            slope(third, 2 * third + 1)?,
            slope(2 * third, curve.points.len())?,
        );
        let slows = second.slope < 0.8 * first.slope
            && last.slope < 0.8 * second.slope
            && last.high < 0.5 * first.slope;
        let rises_on = last.low > 0.0 && last.slope * curve.span_s() / 3.0 > 0.02 * curve.level();
        if !slows || !rises_on {
            return None;
        }
        // Were each third to keep the last ratio, the rises would form a geometric series.
        let ratio = last.slope / second.slope;
        let rest = last.slope * curve.span_s() / 3.0 * ratio / (1.0 - ratio);
        let settles_at = curve.ends().1 + rest;
        Some(
            Opinion::new(
                Verdict::Unclear,
                Pattern::Unclear,
                format!("It grows, but ever more slowly: {} in the first third of the time, {} in the last.", human::rate(first.slope), human::rate(last.slope)),
            )
            .because(format!("If it goes on like this it will settle near {}.", human::bytes_f(settles_at)))
            .settled_by(format!("Recording for {} more would show whether it comes to rest.", human::duration(curve.span_s()))),
        )
    }
}
