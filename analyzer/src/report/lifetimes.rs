//! How long a site's blocks lived, as the report has it.

use serde::{Deserialize, Serialize};

use super::memory::round;
use crate::model::Site;
use crate::model::lifetimes::Lifetimes;
use crate::verdict::survival;

/// How long a site's blocks lived, since the start of the recording. Ages are known to a power of
/// two of snapshots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LifetimesReport {
    /// Time between snapshots, on average: the finest age that is told apart.
    pub epoch_s: f64,
    /// Age by which half of the freed blocks had been freed; `null` if none was.
    pub median_s: Option<f64>,
    /// Blocks freed: up to this age (and over the one before), and how many.
    pub freed: Vec<(f64, u64)>,
    /// Live blocks: up to this age, and how many.
    pub live: Vec<(f64, u64)>,
    /// Share of blocks that live longer than an age, with its 95% interval, live blocks counted as
    /// long as they were watched: age, share, low, high.
    pub survival: Vec<(f64, f64, f64, f64)>,
}

/// Of a site, all its processes together; `None` unless known of each.
pub fn lifetimes(site: &Site) -> Option<LifetimesReport> {
    let parts = site.parts.iter().map(|part| part.lifetimes.clone());
    let all = parts.reduce(|a, b| Some(a?.plus(&b?))).flatten()?;
    let octaves = |counts: &[u64]| -> Vec<(f64, u64)> {
        let all_counts = counts.iter().enumerate();
        all_counts
            .filter(|(_, count)| **count > 0)
            .map(|(octave, count)| (round(all.to_s(octave)), *count))
            .collect()
    };
    Some(LifetimesReport {
        epoch_s: round(all.epoch_s),
        median_s: all.freed_by(0.5).map(|octave| round(all.to_s(octave))),
        freed: octaves(&all.freed),
        live: octaves(&all.live),
        survival: steps(&all),
    })
}

fn steps(lifetimes: &Lifetimes) -> Vec<(f64, f64, f64, f64)> {
    // Shares may be far below a thousandth: one block in a million.
    let share = |value: f64| (value * 1e9).round() / 1e9;
    survival::curve(lifetimes)
        .iter()
        .map(|step| {
            let value = step.share.value;
            let (low, high) = (step.share.low, step.share.high);
            (
                round(step.age_s),
                share(value),
                share(low.unwrap_or(value)),
                share(high.unwrap_or(value)),
            )
        })
        .collect()
}
