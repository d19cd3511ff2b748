//! What the curves mean.
pub mod stats;
