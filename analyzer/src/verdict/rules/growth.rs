//! Steady or accelerating growth that is still going on.

use super::super::curve::Curve;
use super::super::opinion::{Estimate, Opinion, Pattern, Verdict};
use super::super::shape;
use super::super::stats::{self, Trend};
use super::super::{Context, Rule};
use super::{freed_share, is_material, last_third};
use crate::human;

/// Significance asked of the later half alone: is it still going on?
const STILL_P: f64 = 0.05;
/// Separate rises without a single fall that are as good as a test.
const RATCHET_RISES: usize = 6;

/// By how much an interval for the mean of what is added is widened: traffic has long tails, and a mean of
/// few points is further off than the normal distribution says. Found on generated curves.
const SKEWED: f64 = 1.15;
/// Fewer intervals show no change of their rate.
const ENOUGH_RATES: usize = 15;
/// So sure must it be that the rate rises.
const SURELY: f64 = 0.995;

pub struct Growth;

impl Rule for Growth {
    fn check(&self, curve: &Curve<'_>, context: &Context) -> Option<Opinion> {
        let whole = curve.whole()?;
        let goes_on = |later: Trend| later.p <= STILL_P && later.low > 0.0;
        let ratchet = is_ratchet(curve);
        let tested = || {
            whole.p <= STILL_P
                && whole.low > 0.0
                && curve.later_half().is_some_and(goes_on)
                && context.believes(whole.p)
        };
        if !ratchet && !tested() {
            return None;
        }
        let warm = warm_up_end(curve);
        let trend = curve.trend_of(warm..curve.points.len()).unwrap_or(whole);
        if !is_material(curve) {
            let (first, last) = curve.ends();
            return Some(
                Opinion::new(
                    Verdict::Unclear,
                    Pattern::Linear,
                    format!(
                        "It grew by {} in {}: too little to matter yet.",
                        human::bytes_f(last - first),
                        human::duration(curve.span_s())
                    ),
                )
                .settled_by("A longer recording would show whether it goes on."),
            );
        }
        let (pattern, particulars) = pattern(curve, warm);
        let rates = curve.rates(warm);
        let own = shape::mean_rate(&rates, pattern == Pattern::Accelerating).filter(|_| ratchet);
        let rate = match own {
            // Nothing was given back: the rate cannot be below none.
            Some(rate) => Estimate {
                value: rate.value,
                low: Some((rate.value - SKEWED * (rate.value - rate.low)).max(0.0)),
                high: Some(rate.value + SKEWED * (rate.high - rate.value)),
            },
            None => Estimate {
                value: trend.slope,
                low: Some(trend.low),
                high: Some(trend.high),
            },
        };
        let mut opinion = Opinion::new(
            Verdict::Growing,
            pattern,
            evidence(curve, warm, ratchet, &whole),
        )
        .because(freed_share(curve));
        opinion.why.extend(particulars);
        if warm > 0 {
            opinion = opinion.because(format!(
                "The first {} were warm-up and do not count towards the rate.",
                human::duration(curve.time_at(warm) - curve.time_at(0))
            ));
        }
        opinion.rate = Some(rate);
        opinion.limit_in_s = curve
            .frame
            .headroom_bytes
            .and_then(|room| rate.time_for(room as f64));
        Some(opinion)
    }
}

/// Only ever rises, often, and rose lately: nothing was given back at any time.
fn is_ratchet(curve: &Curve<'_>) -> bool {
    let rises = curve.rises();
    if rises.len() < RATCHET_RISES || !curve.falls().is_empty() {
        return false;
    }
    let late = rises
        .iter()
        .filter(|rise| **rise >= last_third(curve))
        .count();
    let times: Vec<f64> = rises.iter().map(|rise| curve.time_at(*rise)).collect();
    let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let usual_s = stats::quantile(&mut gaps, 0.5);
    let since_last_s = curve.time_at(curve.points.len() - 1) - times.last().copied().unwrap_or(0.0);
    late >= 2 && since_last_s <= 3.0 * usual_s
}

/// Index of the point where the steady part begins: up to there it rose more than twice as fast.
fn warm_up_end(curve: &Curve<'_>) -> usize {
    let points = curve.points.len();
    if points < 16 {
        return 0;
    }
    let by_parts = (1..=4).map(|eighths| points * eighths / 8).find(|end| {
        let parts = curve.trend_of(0..end + 1).zip(curve.trend_of(*end..points));
        parts.is_some_and(|(before, after)| before.low > 2.0 * after.high)
    });
    fast_start(&curve.rates(0)).or(by_parts).unwrap_or(0)
}

/// The end of a start in which the rates were far above those of the later half, all of them.
fn fast_start(rates: &[f64]) -> Option<usize> {
    let later = rates.get(rates.len() / 2..)?;
    let usual = stats::quantile(&mut later.to_vec(), 0.5);
    let mut off: Vec<f64> = later.iter().map(|rate| (rate - usual).abs()).collect();
    let spread = (1.4826 * stats::quantile(&mut off, 0.5)).max(0.05 * usual);
    let fast = |rate: &f64| *rate > usual + 2.0 * spread;
    // Two in a row that are not.
    let end = rates.windows(2).position(|pair| !pair.iter().any(fast))?;
    let gained: f64 = rates.iter().take(end).sum();
    let sure = usual > 0.0 && end >= 2 && gained > 2.0 * (usual + spread) * end as f64;
    // What is left of an exponential start fades over as long again.
    (sure && end * 4 <= rates.len()).then_some((end + end / 2).min(rates.len() / 2))
}

/// Accelerating if the rate surely rises, by half of what it was or more; else linear.
fn pattern(curve: &Curve<'_>, warm: usize) -> (Pattern, Option<String>) {
    let mut rates = curve.rates(warm);
    // Part of the last one is the way out: a rate of its own that would drown what came before.
    if curve.frame.exited && !curve.freed_at_exit {
        rates.pop();
    }
    let Some((surely, change)) = shape::rate_change(&rates) else {
        return (Pattern::Linear, None);
    };
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let (first, last) = ((mean - change / 2.0).max(0.0), mean + change / 2.0);
    if rates.len() < ENOUGH_RATES || surely < SURELY || last < 1.5 * first {
        return (Pattern::Linear, None);
    }
    let words = format!(
        "Its rate rises: from about {} at first to {} at the end.",
        human::rate(first),
        human::rate(last)
    );
    (Pattern::Accelerating, Some(words))
}

fn evidence(curve: &Curve<'_>, warm: usize, ratchet: bool, whole: &Trend) -> String {
    let gained = human::bytes_f(curve.ends().1 - curve.bytes_at(warm));
    let span = human::duration(curve.time_at(curve.points.len() - 1) - curve.time_at(warm));
    if ratchet {
        format!(
            "Live bytes rose by {gained} in {span}, in {} of {} intervals, and never fell.",
            curve.rises().len(),
            curve.points.len() - 1
        )
    } else {
        format!(
            "Live bytes rose by {gained} in {span} (Mann–Kendall test: p {}).",
            p_value(whole.p)
        )
    }
}

fn p_value(p: f64) -> String {
    if p < 0.000_1 {
        "< 0.0001".to_owned()
    } else {
        format!("= {p:.4}")
    }
}
