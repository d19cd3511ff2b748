//! Curves that go up and down: what they do under the noise.
//!
//! Claims a pattern only if it leads its rivals, and growth only if chance is excluded, among all sites
//! together, and no shape that has come to rest explains the curve as well.

use super::super::curve::Curve;
use super::super::opinion::{Estimate, Opinion, Pattern, Verdict};
use super::super::shape::{Kind, Shape, Trend};
use super::super::{Context, Rule};
use super::{comes_and_goes, is_material};
use crate::human;

/// Lead in BIC of growth over everything that has come to rest.
const LEAD: f64 = 5.0;
/// How sure it must be that the later half rises too.
const STILL: f64 = 0.95;
/// A level may drift by this share of it, or by half a standard deviation.
const DRIFT: f64 = 0.01;
/// A rise that chance brings about more often than this is no sign of growth.
const NO_SIGN: f64 = 0.05;
/// How many standard errors from zero a rise must be, to be a finding.
const ENOUGH_SIGMAS: f64 = 4.5;

pub struct Noisy;

impl Rule for Noisy {
    fn check(&self, curve: &Curve<'_>, context: &Context) -> Option<Opinion> {
        if !curve.is_noisy() {
            return None;
        }
        let shape = curve.shape()?;
        let trend = shape.trend;
        let surely = |trend: &Trend| trend.low > 0.0 && context.believes(trend.p);
        let goes_on = shape.best.rises && shape.still >= STILL;
        if goes_on && shape.lead >= LEAD && trend.as_ref().is_some_and(surely) {
            return Some(growth(curve, shape, &trend?.with_steps(shape.uneven)));
        }
        Some(rest(curve, shape).unwrap_or_else(|| undecided(curve, shape)))
    }
}

fn growth(curve: &Curve<'_>, shape: &Shape, trend: &Trend) -> Opinion {
    let span_s = curve.window_s();
    let moved = format!(
        "Under its ups and downs, live bytes rose by {} in {} ({} to {} with 95% certainty; {}).",
        human::bytes_f(trend.value.max(0.0)),
        human::duration(span_s),
        human::bytes_f(trend.low.max(0.0)),
        human::bytes_f(trend.high),
        chance(trend.p)
    );
    if trend.value < super::MATERIAL.0 && !is_material(curve) {
        return Opinion::new(Verdict::Unclear, Pattern::Unclear, moved)
            .because("That is too little to matter yet.")
            .settled_by("A longer recording would show whether it goes on.");
    }
    let pattern = match shape.kind {
        Some(Kind::Accelerating) => Pattern::Accelerating,
        Some(Kind::Staircase) => Pattern::Staircase,
        Some(Kind::PeriodicTrend) => Pattern::Periodic,
        Some(Kind::Linear) => Pattern::Linear,
        _ => Pattern::Unclear,
    };
    let rate = Estimate {
        value: trend.value / span_s,
        low: Some(trend.low / span_s),
        high: Some(trend.high / span_s),
    };
    let mut opinion =
        Opinion::new(Verdict::Growing, pattern, moved).because(super::freed_share(curve));
    opinion.why.extend(particulars(curve, shape, rate));
    opinion.limit_in_s = curve
        .frame
        .headroom_bytes
        .and_then(|room| rate.time_for(room as f64));
    opinion.rate = Some(rate);
    opinion
}

/// What is peculiar to the pattern.
fn particulars(curve: &Curve<'_>, shape: &Shape, rate: Estimate) -> Option<String> {
    let span_s = curve.window_s();
    let best = &shape.best;
    match (shape.kind?, best.cycles, best.steps) {
        (Kind::PeriodicTrend, Some(cycles), _) => {
            let period_s = span_s / cycles;
            Some(format!(
                "It repeats itself every {}, and each time its trough is {} higher.",
                human::duration(period_s),
                human::bytes_f(rate.value * period_s)
            ))
        }
        (Kind::Staircase, _, Some(steps)) => Some(format!(
            "It rises in steps of {}, one every {}.",
            human::bytes_f(rate.value * span_s / steps),
            human::duration(span_s / steps)
        )),
        (Kind::Accelerating, ..) => Some("Its rate rises.".to_owned()),
        _ => {
            let until = best.warm_until.filter(|until| *until < 0.5)?;
            Some(format!(
                "The first {} were warm-up and do not count towards the rate.",
                human::duration(until * span_s)
            ))
        }
    }
}

/// Shapes that do not grow, if one of them is certain.
fn rest(curve: &Curve<'_>, shape: &Shape) -> Option<Opinion> {
    let level = curve.level();
    let span = human::duration(curve.span_s());
    let quiet = match comes_and_goes(curve) {
        true => Verdict::Healthy,
        false => Verdict::Retained,
    };
    let is_level = shape.drift.is_some_and(|(low, high)| {
        let least = f64::max(DRIFT * level, 0.5 * shape.sd);
        -least < low && high < least
    });
    if let Some((_, points, height)) = shape.spike
        && !matches!(shape.kind, Some(Kind::Plateau | Kind::PeriodicLevel))
        && shape.trend.is_none_or(|it| it.p > NO_SIGN)
    {
        let why = format!(
            "Once it stood {} above its level of {}, for {}, and came back.",
            human::bytes_f(height),
            human::bytes_f(level),
            human::duration(points as f64 * curve.frame.interval_s)
        );
        return Some(Opinion::new(quiet, Pattern::Spike, why));
    }
    match shape.kind? {
        Kind::Flat if is_level => {
            let why = format!(
                "{} of {} were freed; what is live stays near {}.",
                human::count(curve.counted.frees),
                human::plural(curve.counted.allocations, "block"),
                human::bytes_f(level)
            );
            Some(Opinion::new(quiet, Pattern::Flat, why))
        }
        Kind::Plateau => {
            let why = match shape.best.full_at {
                Some(at) => format!(
                    "It rose to {} within {} and has stayed there since.",
                    human::bytes_f(level),
                    human::duration(at.min(1.0) * curve.window_s())
                ),
                None => format!("It rose to {} and stayed there.", human::bytes_f(level)),
            };
            Some(Opinion::new(quiet, Pattern::Plateau, why))
        }
        Kind::PeriodicLevel => {
            let period = shape
                .best
                .cycles
                .map(|cycles| human::duration(curve.window_s() / cycles));
            let why = format!(
                "It repeats itself every {}, and its troughs stay level over {span}.",
                period.unwrap_or_default()
            );
            Some(Opinion::new(quiet, Pattern::Periodic, why))
        }
        _ => None,
    }
}

/// No shape is certain: healthy if nothing speaks for growth and what is live is new, else unclear.
fn undecided(curve: &Curve<'_>, shape: &Shape) -> Opinion {
    let (level, span_s) = (curve.level(), curve.window_s());
    let p = shape.trend.map_or(1.0, |trend| trend.p);
    let drift = shape.drift.map(|(low, high)| {
        format!(
            "Its drift lies between {} and {}.",
            human::rate(low / span_s),
            human::rate(high / span_s)
        )
    });
    if p > NO_SIGN && comes_and_goes(curve) {
        let why = format!(
            "{} of {} were freed; around {} nothing speaks for growth ({}).",
            human::count(curve.counted.frees),
            human::plural(curve.counted.allocations, "block"),
            human::bytes_f(level),
            chance(p)
        );
        let mut opinion = Opinion::new(Verdict::Healthy, Pattern::Unclear, why);
        opinion.why.extend(drift);
        return opinion;
    }
    let why = format!(
        "Live bytes go up and down by {} around {}; whether they also rise cannot be told after {} ({}).",
        human::bytes_f(shape.sd),
        human::bytes_f(level),
        human::duration(span_s),
        chance(p)
    );
    let mut opinion = Opinion::new(Verdict::Unclear, Pattern::Unclear, why);
    opinion.why.extend(drift);
    opinion.rose = shape
        .trend
        .is_some_and(|trend| trend.p < NO_SIGN && trend.low > 0.0);
    let more = curve.frame.more_time(more_points(curve, shape));
    opinion.settled_by(more)
}

/// Snapshots until the rise, if it is one and goes on, stands out: the precision of a slope improves with
/// the power 3/2 of the time.
fn more_points(curve: &Curve<'_>, shape: &Shape) -> usize {
    let points = curve.points.len() as f64;
    let sigmas = shape.trend.map_or(0.0, |trend| {
        let error = (trend.high - trend.low) / (2.0 * 1.96);
        if error > 0.0 {
            trend.value / error
        } else {
            0.0
        }
    });
    let factor = (ENOUGH_SIGMAS / sigmas.max(0.5))
        .powf(2.0 / 3.0)
        .clamp(1.25, 5.0);
    (points * (factor - 1.0)).ceil() as usize
}

fn chance(p: f64) -> String {
    match p {
        p if p < 1e-9 => "chance alone: less than 1 in 1,000,000,000".to_owned(),
        p if p < 0.01 => format!(
            "chance alone: 1 in {}",
            human::count((1.0 / p).round() as u64)
        ),
        p => format!("chance alone: {:.0}%", 100.0 * p),
    }
}
