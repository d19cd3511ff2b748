//! Decides what became of a site: rates against rates, levels against levels, both at the same age
//! of the process.
//!
//! A longer run is not growth: a site that grows as fast as before is the same, however much more
//! it holds.

use std::cmp::Ordering;

use super::document::{Change, Side, SiteChange};
use super::pairs::Pair;
use super::side::side;
use crate::human;
use crate::verdict::{Estimate, Verdict};

/// Smaller differences come from load and timing; two runs of one build differ by as much.
const TOLERANCE: f64 = 0.1;

/// How long the runs lasted.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    /// The old run.
    pub old_s: f64,
    /// The new run.
    pub new_s: f64,
    /// Age of the process at which levels are compared.
    pub compared_at_s: f64,
}

/// What became of a pair; `None` if it did nothing in either run.
pub fn site_change(pair: Pair<'_>, spans: &Spans) -> Option<SiteChange> {
    let old = side(&pair.old, spans.compared_at_s);
    let new = side(&pair.new, spans.compared_at_s);
    let shown = pair.new.first().or(pair.old.first())?;
    let level = |side: &Option<Side>| side.as_ref().map_or(0.0, |side| side.level_bytes.value);
    let (change, why) = match (&old, &new) {
        (Some(old), Some(new)) => in_both(old, new, spans),
        (None, Some(new)) => in_one(new, Change::Appeared, "old", spans.old_s),
        (Some(old), None) => in_one(old, Change::Gone, "new", spans.new_s),
        (None, None) => return None,
    };
    Some(SiteChange {
        change,
        why,
        matched_by: pair.by,
        renamed: pair.renamed,
        key: shown.key.clone(),
        level_change_bytes: level(&new) - level(&old),
        rate_change: rate_change(old.as_ref(), new.as_ref()),
        frames: shown.frames.clone(),
        old,
        new,
    })
}

/// How a side grows.
enum Growth {
    /// It does not.
    None,
    /// It does.
    Rate(Estimate),
    /// The run was too short, or the interval is unknown.
    Unknown,
}

impl Growth {
    fn of(side: &Side) -> Self {
        match (side.verdict, side.rate) {
            (_, Some(rate)) => Self::Rate(rate),
            (Verdict::Retained | Verdict::Healthy, None) => Self::None,
            (Verdict::Lost | Verdict::Growing | Verdict::Unclear, None) => Self::Unknown,
        }
    }
}

/// The difference of two rates. Their errors are independent: they add up as squares.
fn difference(old: &Estimate, new: &Estimate) -> Estimate {
    let value = new.value - old.value;
    let together = |a: Option<f64>, b: Option<f64>| Some(a?.hypot(b?));
    let below = |rate: &Estimate| Some(rate.value - rate.low?);
    let above = |rate: &Estimate| Some(rate.high? - rate.value);
    Estimate {
        value,
        low: together(below(new), above(old)).map(|error| value - error),
        high: together(above(new), below(old)).map(|error| value + error),
    }
}

fn rate_change(old: Option<&Side>, new: Option<&Side>) -> Option<Estimate> {
    let growth = |side: Option<&Side>| side.map_or(Growth::None, Growth::of);
    let zero = Estimate::exact(0.0);
    match (growth(old), growth(new)) {
        (Growth::Rate(old), Growth::Rate(new)) => Some(difference(&old, &new)),
        (Growth::None, Growth::Rate(new)) => Some(difference(&zero, &new)),
        (Growth::Rate(old), Growth::None) => Some(difference(&old, &zero)),
        _ => None,
    }
}

fn in_both(old: &Side, new: &Side, spans: &Spans) -> (Change, Vec<String>) {
    let lost = |side: &Side| side.verdict == Verdict::Lost;
    match (lost(old), lost(new)) {
        (false, true) => {
            let why = "Nothing points to its blocks any more; in the old run something did.";
            return (Change::Grew, vec![why.to_owned()]);
        }
        (true, false) => {
            let why = "In the old run nothing pointed to its blocks; now something does.";
            return (Change::Shrank, vec![why.to_owned()]);
        }
        _ => {}
    }
    match (Growth::of(old), Growth::of(new)) {
        (Growth::Rate(before), Growth::Rate(now)) => rates(&before, &now),
        (Growth::None, Growth::Rate(now)) => match would_show(&now, old, new, spans.old_s) {
            true => (
                Change::Grew,
                vec![format!("It grows by {} and did not before.", shown(&now))],
            ),
            false => (
                Change::Unclear,
                vec![format!(
                    "It grows by {}, too little to show in the {} of the old run.",
                    shown(&now),
                    human::duration(spans.old_s)
                )],
            ),
        },
        (Growth::Rate(before), Growth::None) => match would_show(&before, new, old, spans.new_s) {
            true => (
                Change::Shrank,
                vec![format!(
                    "It grew by {} and does not any more.",
                    shown(&before)
                )],
            ),
            false => (
                Change::Unclear,
                vec![format!(
                    "It grew by {}, too little to show in the {} of the new run.",
                    shown(&before),
                    human::duration(spans.new_s)
                )],
            ),
        },
        (Growth::Unknown, Growth::Rate(now)) => (
            Change::Unclear,
            vec![format!(
                "It grows by {}; whether it did in the old run is unclear.",
                shown(&now)
            )],
        ),
        (Growth::Rate(before), Growth::Unknown) => (
            Change::Unclear,
            vec![format!(
                "It grew by {}; whether it still does is unclear.",
                shown(&before)
            )],
        ),
        _ => levels(&old.level_bytes, &new.level_bytes, spans),
    }
}

fn rates(before: &Estimate, now: &Estimate) -> (Change, Vec<String>) {
    let difference = difference(before, now);
    let why = format!(
        "It grew by {}, and grows by {} now.",
        shown(before),
        shown(now)
    );
    let (Some(low), Some(high)) = (difference.low, difference.high) else {
        let unknown = "How sure these rates are is not known.".to_owned();
        return (Change::Unclear, vec![why, unknown]);
    };
    let matters = difference.value.abs() > TOLERANCE * before.value.abs().max(now.value.abs());
    match (matters, low > 0.0, high < 0.0) {
        (true, true, _) => (Change::Grew, vec![why]),
        (true, _, true) => (Change::Shrank, vec![why]),
        _ => {
            let agree = "That is no more than chance and load explain.".to_owned();
            (Change::Same, vec![why, agree])
        }
    }
}

/// True if growth at `rate` would have been seen in the run of `other`, which lasted `span_s`: it
/// exceeds what that run's level varies by and a few blocks.
fn would_show(rate: &Estimate, other: &Side, own: &Side, span_s: f64) -> bool {
    const BLOCKS: f64 = 5.0;
    let level = &other.level_bytes;
    let spread = level.high.unwrap_or(level.value) - level.low.unwrap_or(level.value);
    let block = own.live_bytes as f64 / own.live_blocks.max(1) as f64;
    rate.value * span_s > spread + BLOCKS * block
}

/// Compares what is held at the same age of the process.
fn levels(before: &Estimate, now: &Estimate, spans: &Spans) -> (Change, Vec<String>) {
    let range = |level: &Estimate| {
        let value = level.value;
        (level.low.unwrap_or(value), level.high.unwrap_or(value))
    };
    let ((low, high), (now_low, now_high)) = (range(before), range(now));
    let matters = (now.value - before.value).abs() > TOLERANCE * before.value.max(now.value);
    let why = || {
        format!(
            "It held {} and holds {} now, both {} after the start.",
            human::bytes_f(before.value.round()),
            human::bytes_f(now.value.round()),
            human::duration(spans.compared_at_s)
        )
    };
    if matters && now_low > high {
        (Change::Grew, vec![why()])
    } else if matters && now_high < low {
        (Change::Shrank, vec![why()])
    } else {
        (Change::Same, Vec::new())
    }
}

/// A site of one run. If it began later than the other run lasted, nothing follows.
fn in_one(side: &Side, change: Change, other: &str, other_s: f64) -> (Change, Vec<String>) {
    let mut why = Vec::new();
    if let Growth::Rate(rate) = Growth::of(side) {
        let verb = match change {
            Change::Gone => "grew",
            _ => "grows",
        };
        why.push(format!("It {verb} by {}.", shown(&rate)));
    }
    if side.first_seen_s > other_s {
        why.push(format!(
            "It first allocated after {}; the {other} run lasted {}.",
            human::duration(side.first_seen_s),
            human::duration(other_s)
        ));
        return (Change::Unclear, why);
    }
    (change, why)
}

fn shown(rate: &Estimate) -> String {
    human::rate_between(rate.value, rate.low, rate.high)
}

/// By change, then findings by rate, then by bytes.
pub fn worst_first(a: &SiteChange, b: &SiteChange) -> Ordering {
    let rate = |site: &SiteChange| site.rate_change.map_or(0.0, |rate| rate.value.abs());
    a.change
        .cmp(&b.change)
        .then(rate(b).total_cmp(&rate(a)))
        .then(
            b.level_change_bytes
                .abs()
                .total_cmp(&a.level_change_bytes.abs()),
        )
        .then_with(|| a.key.cmp(&b.key))
}
