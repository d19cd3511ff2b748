//! The rules, one per file, in the order in which they are asked.

mod few;
mod gone;
mod growth;
mod level;
pub mod lost;
mod noisy;
mod plateau;
mod slowing;
mod staircase;
mod troughs;

use super::Rule;
use super::curve::Curve;
use super::opinion::{Opinion, Pattern, Verdict};
use crate::human;

/// Below this many snapshots nothing is said of a curve's shape.
pub const ENOUGH_POINTS: usize = 8;

/// Growth below this is not worth anyone's time: bytes and blocks.
const MATERIAL: (f64, i128) = (1024.0, 16);

/// All rules, first asked first.
pub fn all() -> [&'static dyn Rule; 9] {
    [
        &gone::Gone,
        &few::Few,
        &noisy::Noisy,
        &troughs::Troughs,
        &staircase::Staircase,
        &slowing::Slowing,
        &growth::Growth,
        &plateau::Plateau,
        &level::Level,
    ]
}

/// What is said when no rule is sure.
pub fn undecided(curve: &Curve<'_>) -> Opinion {
    let (first, last) = curve.ends();
    let moved = human::bytes_f(last - first);
    let mut opinion = Opinion::new(
        Verdict::Unclear,
        Pattern::Unclear,
        format!(
            "Live bytes moved by {moved} in {}, which is neither steady growth nor a level.",
            human::duration(curve.span_s())
        ),
    )
    .settled_by(format!(
        "Recording for {} more would settle it.",
        human::duration(curve.span_s().max(curve.frame.interval_s))
    ));
    opinion.rose = last > first;
    opinion
}

/// True if the growth of the curve is more than a trifle.
fn is_material(curve: &Curve<'_>) -> bool {
    let (first, last) = curve.ends();
    last - first >= MATERIAL.0 || curve.blocks_gained() >= MATERIAL.1
}

/// Index of the first point of the last third; at least four points lie behind it.
fn last_third(curve: &Curve<'_>) -> usize {
    let points = curve.points.len();
    points - (points / 3).max(4).min(points)
}

/// True if what is live is replaced all the time rather than kept.
fn comes_and_goes(curve: &Curve<'_>) -> bool {
    let (Some(middle), Some(last)) = (
        curve.points.get(curve.points.len() / 2),
        curve.points.last(),
    ) else {
        return false;
    };
    let freed = last.counters.frees.saturating_sub(middle.counters.frees);
    let young = curve
        .ages
        .is_some_and(|ages| (ages.median_ms as f64) < curve.span_s() * 1e3 / 4.0);
    freed > 0 && (freed >= last.counters.live_blocks() || young)
}

/// How much of it was freed, for the evidence.
fn freed_share(curve: &Curve<'_>) -> String {
    let counted = curve.counted;
    if counted.frees == 0 {
        match counted.allocations {
            1 => "Its one block was never freed.".to_owned(),
            blocks => format!(
                "None of its {} blocks was ever freed.",
                human::count(blocks)
            ),
        }
    } else {
        format!(
            "{} of its {} were freed.",
            human::count(counted.frees),
            human::plural(counted.allocations, "block")
        )
    }
}
