//! Counts right and wrong answers.

use leaktrack_analyzer::verdict::{Opinion, Pattern, Verdict};

use crate::first::Labelled;

/// What came out for some curves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    pub curves: u32,
    /// A pattern was given, and is one of the right ones.
    pub right: u32,
    /// A pattern was given, and is not.
    pub wrong: u32,
    /// Growing.
    pub findings: u32,
    /// Growing, and it does not grow.
    pub false_findings: u32,
    /// Healthy or retained, and it grows.
    pub denied: u32,
    /// Neither growing, retained nor healthy.
    pub undecided: u32,
    /// With a rate and a known truth.
    pub rates: u32,
    /// Of these, the interval holds it.
    pub held: u32,
    /// Sums, for means.
    pub growth_sigmas: f64,
    pub shape_sigmas: f64,
}

impl Score {
    pub fn add(&mut self, labelled: &Labelled, opinion: &Opinion) {
        self.curves += 1;
        if opinion.pattern != Pattern::Unclear {
            let right = labelled.accepts.contains(&opinion.pattern);
            self.right += u32::from(right);
            self.wrong += u32::from(!right);
        }
        let growing = opinion.verdict.is_finding();
        self.undecided += u32::from(opinion.verdict == Verdict::Unclear);
        self.findings += u32::from(growing);
        self.false_findings += u32::from(growing && !labelled.grows);
        let quiet = matches!(opinion.verdict, Verdict::Healthy | Verdict::Retained);
        self.denied += u32::from(quiet && labelled.grows);
        if let (true, Some(truth), Some(rate)) = (growing, labelled.rate, opinion.rate) {
            self.rates += 1;
            // A thousandth for the rounding to whole blocks.
            let (truth_low, truth_high) = (truth * 0.999, truth * 1.001);
            let below = rate.low.is_none_or(|low| low <= truth_high);
            let above = rate.high.is_none_or(|high| truth_low <= high);
            self.held += u32::from(below && above);
        }
        self.growth_sigmas += labelled.growth_sigmas;
        self.shape_sigmas += labelled.shape_sigmas;
    }

    pub fn plus(&mut self, other: &Self) {
        self.curves += other.curves;
        self.right += other.right;
        self.wrong += other.wrong;
        self.findings += other.findings;
        self.false_findings += other.false_findings;
        self.denied += other.denied;
        self.undecided += other.undecided;
        self.rates += other.rates;
        self.held += other.held;
        self.growth_sigmas += other.growth_sigmas;
        self.shape_sigmas += other.shape_sigmas;
    }

    /// No pattern was given.
    pub fn unclear(&self) -> u32 {
        self.curves - self.right - self.wrong
    }

    /// In percent of the patterns given.
    pub fn wrong_percent(&self) -> f64 {
        percent(self.wrong, self.right + self.wrong)
    }

    pub fn mean_shape_sigmas(&self) -> f64 {
        self.shape_sigmas / f64::from(self.curves.max(1))
    }
}

/// `part` of `whole` in percent; 0 of none.
pub fn percent(part: u32, whole: u32) -> f64 {
    100.0 * f64::from(part) / f64::from(whole.max(1))
}
