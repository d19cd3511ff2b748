//! Too few snapshots to say anything of a shape.

use super::super::curve::Curve;
use super::super::opinion::{Opinion, Pattern, Verdict};
use super::super::{Context, Rule};
use super::ENOUGH_POINTS;

pub struct Few;

impl Rule for Few {
    fn check(&self, curve: &Curve<'_>, _: &Context) -> Option<Opinion> {
        let points = curve.points.len();
        if points >= ENOUGH_POINTS && curve.span_s() > 0.0 {
            return None;
        }
        let seen = match points {
            1 => "1 snapshot covers".to_owned(),
            _ => format!("{points} snapshots cover"),
        };
        let why = format!("Only {seen} this site; a trend needs {ENOUGH_POINTS}.");
        let missing = ENOUGH_POINTS.saturating_sub(points).max(1);
        let settle = curve.frame.more_time(missing);
        Some(Opinion::new(Verdict::Unclear, Pattern::Unclear, why).settled_by(settle))
    }
}
