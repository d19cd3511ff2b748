//! The shape of a curve under noise: which mean curve explains it best, how surely it rises, how fast.
//!
//! Works on bare numbers; knows neither sites nor words. Shapes are compared under a common error model
//! ([`ar1`]); what cannot be told from its rivals stays untold.

pub mod ar1;
pub mod around;
pub mod atoms;
pub mod choice;
pub mod clean;
pub mod design;
pub mod factor;
pub mod grid;
pub mod known;
pub mod search;
pub mod space;
pub mod steps;

pub use choice::{Shape, Trend, mean_rate, of, rate_change};

/// What a shape stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A level.
    Flat,
    /// Rises or falls evenly.
    Linear,
    /// Rises ever faster.
    Accelerating,
    /// Rose and stayed.
    Plateau,
    /// Rises ever more slowly, and has not come to rest.
    Slowing,
    /// Repeats itself around a level.
    PeriodicLevel,
    /// Repeats itself around a line.
    PeriodicTrend,
    /// Rises in steps.
    Staircase,
}
