//! The shape of a curve under noise: which mean curve explains it best, how surely it rises, how fast.
//!
//! Works on bare numbers; knows neither sites nor words. Candidates are compared by BIC under a common
//! error model ([`ar1`]); what cannot be told from its rivals stays untold.

pub mod ar1;
pub mod candidates;
pub mod choice;
pub mod clean;
pub mod design;
pub mod steps;

pub use candidates::Kind;
pub use choice::{Shape, Trend, mean_rate, of, rate_change};
