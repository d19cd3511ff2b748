//! A task that comes again, on a curve without noise: its troughs are level, or rise each time.
//!
//! Looks at curves that move now and then only; those that always move are left to the rule on noise.

use super::super::curve::Curve;
use super::super::opinion::{Estimate, Opinion, Pattern, Verdict};
use super::super::{Context, Rule, stats};
use super::{comes_and_goes, freed_share, is_material};
use crate::human;

/// Fewer troughs are no habit.
const ENOUGH_TROUGHS: usize = 4;
/// Waits may differ by this share of the usual one.
const IRREGULAR: f64 = 0.35;

pub struct Troughs;

impl Rule for Troughs {
    fn check(&self, curve: &Curve<'_>, _: &Context) -> Option<Opinion> {
        let troughs = troughs(curve);
        let period_s = period_s(curve, &troughs)?;
        let levels: Vec<f64> = troughs.iter().map(|at| curve.bytes_at(*at)).collect();
        let again = format!(
            "It repeats itself every {}, {} times so far.",
            human::duration(period_s),
            troughs.len()
        );
        let (first, last) = (levels.first()?, levels.last()?);
        if levels.windows(2).all(|pair| pair[1] > pair[0]) && is_material(curve) {
            let points: Vec<(f64, f64)> = troughs
                .iter()
                .map(|at| (curve.time_at(*at), curve.bytes_at(*at)))
                .collect();
            let trend = stats::trend(&points)?;
            let rate = Estimate {
                value: trend.slope,
                low: Some(trend.low),
                high: Some(trend.high),
            };
            let rose = format!(
                "Each of its {} troughs is higher than the one before, by {} on average.",
                troughs.len(),
                human::bytes_f((last - first) / (troughs.len() - 1) as f64)
            );
            let mut opinion = Opinion::new(Verdict::Growing, Pattern::Periodic, again)
                .because(rose)
                .because(freed_share(curve));
            opinion.limit_in_s = curve
                .frame
                .headroom_bytes
                .and_then(|room| rate.time_for(room as f64));
            opinion.rate = Some(rate);
            return Some(opinion);
        }
        let level = levels.windows(2).all(|pair| pair[1] <= pair[0]);
        level.then(|| {
            let verdict = match comes_and_goes(curve) {
                true => Verdict::Healthy,
                false => Verdict::Retained,
            };
            let low = format!("Its troughs stay at {}.", human::bytes_f(*last));
            Opinion::new(verdict, Pattern::Periodic, again).because(low)
        })
    }
}

/// The usual wait from trough to trough, if there is one.
pub fn period_s(curve: &Curve<'_>, troughs: &[usize]) -> Option<f64> {
    if troughs.len() < ENOUGH_TROUGHS {
        return None;
    }
    let times = troughs.iter().map(|at| curve.time_at(*at));
    let times: Vec<f64> = times.collect();
    let waits: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let usual = stats::quantile(&mut waits.clone(), 0.5);
    let slack = IRREGULAR * usual + curve.frame.interval_s;
    let since_s = curve.time_at(curve.points.len() - 1) - times.last()?;
    let regular = waits.iter().all(|wait| (wait - usual).abs() <= slack);
    (regular && since_s <= 2.0 * usual + slack).then_some(usual)
}

/// The last points of the troughs: places from which the curve rises by half of its greatest fall, after
/// having fallen as far.
pub fn troughs(curve: &Curve<'_>) -> Vec<usize> {
    let live: Vec<f64> = (0..curve.points.len())
        .map(|at| curve.bytes_at(at))
        .collect();
    let falls = live.windows(2).map(|pair| pair[0] - pair[1]);
    let swing = 0.5 * falls.fold(0.0, f64::max);
    let mut troughs = Vec::new();
    let (mut top, mut low, mut falling) = (f64::NEG_INFINITY, (0, f64::INFINITY), false);
    for (at, bytes) in live.iter().enumerate() {
        if falling {
            if *bytes <= low.1 {
                low = (at, *bytes);
            } else if bytes - low.1 >= swing && swing > 0.0 {
                troughs.push(low.0);
                (falling, top) = (false, *bytes);
            }
        } else if *bytes >= top {
            top = *bytes;
        } else if top - bytes >= swing && swing > 0.0 {
            (falling, low) = (true, (at, *bytes));
        }
    }
    if falling {
        troughs.push(low.0);
    }
    troughs
}
