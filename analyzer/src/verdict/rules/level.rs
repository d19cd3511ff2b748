//! No trend at all: held from the start, or coming and going at one level.

use super::super::curve::Curve;
use super::super::opinion::{Opinion, Pattern, Verdict};
use super::super::{Context, Rule};
use super::comes_and_goes;
use crate::human;

/// Drift over the whole time, as a share of the level, that is still level.
const DRIFT: f64 = 0.05;

pub struct Level;

impl Rule for Level {
    fn check(&self, curve: &Curve<'_>, _: &Context) -> Option<Opinion> {
        let (whole, level) = (curve.whole()?, curve.level());
        let drift = whole.slope * curve.span_s();
        let includes_none = whole.low <= 0.0 && 0.0 <= whole.high;
        if drift > DRIFT * level && !includes_none {
            return None;
        }
        // An interval so wide that it holds both none and a doubling says nothing.
        let says_nothing =
            whole.high * curve.span_s() > level.max(1.0) && whole.high * curve.span_s() > 1024.0;
        if includes_none && says_nothing {
            return None;
        }
        let last = curve.points.last()?.counters;
        let span = human::duration(curve.span_s());
        if comes_and_goes(curve) {
            let why = format!(
                "{} of {} were freed; what is live stays near {}.",
                human::count(curve.counted.frees),
                human::plural(curve.counted.allocations, "block"),
                human::bytes_f(level)
            );
            return Some(Opinion::new(Verdict::Healthy, Pattern::Flat, why));
        }
        let why = if drift < -DRIFT * level {
            format!("Live bytes fell by {} in {span}.", human::bytes_f(-drift))
        } else {
            format!(
                "Its {} have been held at the same level for {span}.",
                human::plural(last.live_blocks(), "block")
            )
        };
        Some(Opinion::new(Verdict::Retained, Pattern::Flat, why))
    }
}
