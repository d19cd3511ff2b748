//! No trend at all: held from the start, or coming and going at one level.

use super::super::curve::Curve;
use super::super::opinion::{Opinion, Pattern, Verdict};
use super::super::{Context, Rule, stats};
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
        // An interval so wide that it holds both none and a doubling says nothing by itself.
        let drift_at_most = whole.high * curve.span_s();
        if includes_none && drift_at_most > level.max(1024.0) && !swings(curve) {
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
            match last.live_blocks() {
                1 => format!("Its one block has been held for {span}."),
                blocks => format!(
                    "Its {} have been held at the same level for {span}.",
                    human::plural(blocks, "block")
                ),
            }
        };
        Some(Opinion::new(Verdict::Retained, Pattern::Flat, why))
    }
}

/// Up and down several times, and the later half reaches no higher than the earlier one.
fn swings(curve: &Curve<'_>) -> bool {
    const CROSSINGS: usize = 6;
    let live: Vec<f64> = (0..curve.points.len())
        .map(|index| curve.bytes_at(index))
        .collect();
    let middle = stats::quantile(&mut live.clone(), 0.5);
    let sides: Vec<bool> = live
        .iter()
        .filter(|bytes| **bytes != middle)
        .map(|bytes| *bytes > middle)
        .collect();
    let crossings = sides.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let highest = |bytes: &[f64]| bytes.iter().copied().fold(0.0, f64::max);
    let (earlier, later) = live.split_at(live.len() / 2);
    crossings >= CROSSINGS && highest(later) <= (1.0 + DRIFT) * highest(earlier)
}
