//! What the curves mean: a verdict per site and per group, with its evidence.
//!
//! Never says more than the data holds: whatever no rule is sure of is *unclear*, with what would
//! settle it.

pub mod advice;
pub mod curve;
#[cfg(test)]
mod noise_tests;
pub mod opinion;
mod rules;
pub mod shape;
pub mod stats;
pub mod survival;
#[cfg(test)]
mod tests;
mod wide;

use std::cell::Cell;

use crate::human;

pub use curve::{Curve, Frame};
pub use opinion::{Estimate, Opinion, Pattern, Verdict};
pub use rules::{ENOUGH_POINTS, lost};

/// A rule looks at a curve and has an opinion on it, or none.
pub trait Rule {
    /// The opinion; `None` leaves the curve to the next rule.
    fn check(&self, curve: &Curve<'_>, context: &Context) -> Option<Opinion>;
}

/// How rare a trend has to be to be none of the chance finds among so many sites: known only once the chances of
/// all are, but of most trends it makes no difference.
#[derive(Clone, Debug)]
pub struct Context {
    /// A trend with a p-value up to here is told as one.
    surely: f64,
    /// One with a higher p-value than this is not.
    at_most: f64,
    in_doubt: Cell<bool>,
}

/// Share of false ones among the trends taken for real.
const FALSE_DISCOVERY_RATE: f64 = 0.02;
/// However few sites there are, a rise that chance brings about more often than this is no finding.
const CHANCE: f64 = 1e-4;

impl Context {
    /// Where a trend with a higher p-value may be one of the chance finds.
    pub fn of_cut(p_cut: f64) -> Self {
        Self {
            surely: p_cut,
            at_most: p_cut,
            in_doubt: Cell::new(false),
        }
    }

    /// As long as of so many curves no more is known than the one that is judged.
    pub fn before_others(curves: usize) -> Self {
        Self {
            surely: CHANCE / curves.max(1) as f64,
            at_most: CHANCE,
            in_doubt: Cell::new(false),
        }
    }

    /// True if a trend with this p-value is more than chance.
    pub fn believes(&self, p: f64) -> bool {
        let believed = p <= self.at_most;
        if believed && p > self.surely {
            self.in_doubt.set(true);
        }
        believed
    }

    /// True if an opinion may be another one once all chances are known.
    pub fn was_in_doubt(&self) -> bool {
        self.in_doubt.get()
    }
}

/// The cut of [`Context::of_cut`] from the chances of all trends.
pub fn p_cut(chances: impl IntoIterator<Item = f64>) -> f64 {
    let mut p_values: Vec<f64> = chances.into_iter().collect();
    stats::false_discovery_cut(&mut p_values, FALSE_DISCOVERY_RATE)
        .clamp(CHANCE / p_values.len().max(1) as f64, CHANCE)
}

/// The opinion on one curve: of the first rule that has one.
pub fn judge(curve: &Curve<'_>, context: &Context) -> Opinion {
    let mut opinion = since_given_back(curve, context).unwrap_or_else(|| {
        let rules = rules::all();
        let mut opinions = rules.iter().filter_map(|rule| rule.check(curve, context));
        opinions.next().unwrap_or_else(|| rules::undecided(curve))
    });
    if opinion.verdict == Verdict::Growing && curve.frame.ended_while_starting() {
        opinion = only_started(curve, opinion);
    }
    if let Some(idle_s) = curve.frame.idle_s {
        opinion.why.push(format!(
            "The process was idle for the last {}; the judgement is on the time before.",
            human::duration(idle_s)
        ));
    }
    if curve.freed_at_exit {
        if curve.end.live_bytes() == 0 && !opinion.verdict.is_finding() {
            opinion.verdict = Verdict::Healthy;
        }
        opinion.why.push(match curve.end.live_bytes() {
            0 => "It was given back when the process exited.".to_owned(),
            left => format!(
                "It was given back when the process exited, down to {}.",
                human::bytes(left)
            ),
        });
    }
    opinion
}

/// What grew until the program ended, when it had only just begun: that may have been all that it loads.
fn only_started(curve: &Curve<'_>, grown: Opinion) -> Opinion {
    let why = format!(
        "The program ended {} after its start: what rose until then may be all that it loads.",
        human::duration(curve.frame.end_s())
    );
    Opinion {
        verdict: Verdict::Unclear,
        pattern: Pattern::Unclear,
        rate: None,
        limit_in_s: None,
        doubling: false,
        ..grown
    }
    .that_rose()
    .because(why)
    .settled_by("A run that goes on for longer would settle it.")
}

/// Growth that goes on after everything was given back once.
fn since_given_back(curve: &Curve<'_>, context: &Context) -> Option<Opinion> {
    if curve.is_noisy() {
        return None;
    }
    let later = curve.since_given_back()?;
    let rules = rules::all();
    let opinion = rules.iter().find_map(|rule| rule.check(&later, context))?;
    opinion.verdict.is_finding().then(|| {
        opinion.because(format!(
            "After {} it was given back once; the judgement is on the time since, in which it rose to \
             more than before.",
            human::duration(later.time_at(0))
        ))
    })
}

/// One opinion from those on each process: growth anywhere is growth; else the process with the
/// most live bytes decides. Rates add up.
pub fn combine(opinions: Vec<(u64, Opinion)>) -> Option<Opinion> {
    let rate = opinions
        .iter()
        .filter(|(_, opinion)| opinion.verdict.is_finding())
        .filter_map(|(_, opinion)| opinion.rate)
        .reduce(Estimate::plus);
    let limit_in_s = opinions
        .iter()
        .filter_map(|(_, opinion)| opinion.limit_in_s)
        .min_by(|a, b| a.value.total_cmp(&b.value));
    let growing = opinions
        .iter()
        .filter(|(_, opinion)| opinion.verdict.is_finding())
        .count();
    let processes = opinions.len();
    let (_, mut opinion) = opinions.into_iter().max_by(|(a_bytes, a), (b_bytes, b)| {
        let rank = |bytes: &u64, opinion: &Opinion| {
            (
                opinion.verdict.is_finding(),
                if opinion.verdict.is_finding() {
                    opinion.rate.map_or(0.0, |rate| rate.value)
                } else {
                    *bytes as f64
                },
            )
        };
        let (a_rank, b_rank) = (rank(a_bytes, a), rank(b_bytes, b));
        a_rank.0.cmp(&b_rank.0).then(a_rank.1.total_cmp(&b_rank.1))
    })?;
    if rate.is_some() {
        opinion.rate = rate;
        opinion.limit_in_s = limit_in_s;
    }
    if processes > 1 && growing > 0 {
        opinion.why.push(format!(
            "It grows in {growing} of {processes} processes; the rate is their sum."
        ));
    }
    Some(opinion)
}
