//! Growth that slows down from third to third: a cache that fills, perhaps. Time will tell.

use super::super::curve::Curve;
use super::super::opinion::{Opinion, Pattern, Verdict};
use super::super::{Context, Rule};
use super::comes_and_goes;
use crate::human;

/// A third of fewer points has no slope worth comparing.
const THIRD_POINTS: usize = 4;
/// Rising by less than this share of the level in the last third is rest.
const AT_REST: f64 = 0.02;

pub struct Slowing;

impl Rule for Slowing {
    fn check(&self, curve: &Curve<'_>, _: &Context) -> Option<Opinion> {
        let third = curve.points.len() / 3;
        if third < THIRD_POINTS {
            return None;
        }
        let slope = |from: usize, to: usize| curve.trend_of(from..to);
        let first = slope(0, third + 1)?;
        // A later third that rises more slowly and does not fall asks for a first one that rises.
        if first.slope <= 0.0 {
            return None;
        }
        let second = slope(third, 2 * third + 1)?;
        if second.slope >= 0.8 * first.slope {
            return None;
        }
        let last = slope(2 * third, curve.points.len())?;
        let slows = last.slope < 0.8 * second.slope && last.high < 0.5 * first.slope;
        if !slows || last.slope < 0.0 {
            return None;
        }
        let (level, third_s) = (curve.level(), curve.span_s() / 3.0);
        if last.slope * third_s <= AT_REST * level {
            let verdict = if comes_and_goes(curve) {
                Verdict::Healthy
            } else {
                Verdict::Retained
            };
            let why = format!(
                "It rose to {} ever more slowly and has all but come to rest.",
                human::bytes_f(level)
            );
            return Some(Opinion::new(verdict, Pattern::Plateau, why));
        }
        if last.low <= 0.0 {
            return None;
        }
        // Were each third to keep the last ratio, the rises would form a geometric series.
        let ratio = last.slope / second.slope;
        let rest = last.slope * third_s * ratio / (1.0 - ratio);
        let settles_at = curve.ends().1 + rest;
        Some(
            Opinion::new(
                Verdict::Unclear,
                Pattern::Unclear,
                format!("It grows, but ever more slowly: {} in the first third of the time, {} in the last.", human::rate(first.slope), human::rate(last.slope)),
            )
            .that_rose()
            .because(format!("If it goes on like this it will settle near {}.", human::bytes_f(settles_at)))
            .settled_by(format!("Recording for {} more would show whether it comes to rest.", human::duration(curve.span_s()))),
        )
    }
}
