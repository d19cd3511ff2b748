//! The words a verdict is made of.

use serde::{Deserialize, Serialize};

/// What a site does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No pointer to blocks is left.
    Lost,
    /// Live bytes keep rising.
    Growing,
    /// Too little data to say.
    Unclear,
    /// Long-lived but no longer growing.
    Retained,
    /// Comes and goes.
    Healthy,
}

impl Verdict {
    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Growing => "growing",
            Self::Unclear => "unclear",
            Self::Retained => "retained",
            Self::Healthy => "healthy",
        }
    }

    /// True if someone should look at it.
    pub fn is_finding(self) -> bool {
        matches!(self, Self::Lost | Self::Growing)
    }
}

/// The shape of a live-bytes curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// The same amount per time.
    Linear,
    /// More and more per time.
    Accelerating,
    /// In steps.
    Staircase,
    /// Up and down with a period.
    Periodic,
    /// One peak, given back or not.
    Spike,
    /// Rose, then stayed.
    Plateau,
    /// Level.
    Flat,
    /// None that can be told.
    Unclear,
}

impl Pattern {
    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Accelerating => "accelerating",
            Self::Staircase => "staircase",
            Self::Periodic => "periodic",
            Self::Spike => "spike",
            Self::Plateau => "plateau",
            Self::Flat => "flat",
            Self::Unclear => "unclear",
        }
    }
}

/// A value with its 95% interval; a bound that cannot be told is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The best single value.
    pub value: f64,
    /// Lower bound.
    pub low: Option<f64>,
    /// Upper bound.
    pub high: Option<f64>,
}

impl Estimate {
    /// A value known exactly.
    pub fn exact(value: f64) -> Self {
        Self {
            value,
            low: Some(value),
            high: Some(value),
        }
    }

    /// The sum of two; its interval is the sum of theirs, which is never too narrow.
    pub fn plus(self, other: Self) -> Self {
        let add = |a: Option<f64>, b: Option<f64>| Some(a? + b?);
        Self {
            value: self.value + other.value,
            low: add(self.low, other.low),
            high: add(self.high, other.high),
        }
    }

    /// With another, independent error, of which `half` is half the width of the 95% interval.
    pub fn widened(self, half: f64) -> Self {
        let wider = |bound: f64| (bound - self.value).hypot(half);
        Self {
            value: self.value,
            low: self.low.map(|low| self.value - wider(low)),
            high: self.high.map(|high| self.value + wider(high)),
        }
    }

    /// How long until `amount` is used up at this rate; `None` if it never is.
    pub fn time_for(self, amount: f64) -> Option<Self> {
        let at = |rate: Option<f64>| rate.filter(|rate| *rate > 0.0).map(|rate| amount / rate);
        Some(Self {
            value: at(Some(self.value))?,
            low: at(self.high),
            high: at(self.low),
        })
    }
}

/// What a rule says of a curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// The verdict.
    pub verdict: Verdict,
    /// The shape.
    pub pattern: Pattern,
    /// Growth in bytes per second, for growth that is going on.
    pub rate: Option<Estimate>,
    /// Seconds until the limit, were this the only growth.
    pub limit_in_s: Option<Estimate>,
    /// The evidence, a sentence each.
    pub why: Vec<String>,
    /// What would settle it, if it is unclear.
    pub settle: Option<String>,
    /// The growth is that of a container that doubles its storage.
    pub doubling: bool,
    /// It is unclear, but it rose: whether that goes on is what cannot be told.
    pub rose: bool,
}

impl Opinion {
    /// An opinion without a rate.
    pub fn new(verdict: Verdict, pattern: Pattern, why: impl Into<String>) -> Self {
        Self {
            verdict,
            pattern,
            rate: None,
            limit_in_s: None,
            why: vec![why.into()],
            settle: None,
            doubling: false,
            rose: false,
        }
    }

    /// The same with a further sentence of evidence.
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why.push(why.into());
        self
    }

    /// The same of a curve that rose, if not for certain for good.
    pub fn that_rose(mut self) -> Self {
        self.rose = true;
        self
    }

    /// The same with what would settle it.
    pub fn settled_by(mut self, what: impl Into<String>) -> Self {
        self.settle = Some(what.into());
        self
    }
}
