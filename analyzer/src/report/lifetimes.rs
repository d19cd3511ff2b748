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

#[cfg(test)]
mod tests {
    use crate::report::{ReportOptions, assemble};
    use crate::testing::Recording;
    use crate::verdict::Verdict;

    #[test]
    fn survivors_under_the_noise_are_found_and_told() {
        // A site that frees most of its blocks at once; what is live goes up and down by 1,000 blocks,
        // in which one kept each second does not show.
        let mut recording = Recording::new();
        let site = recording.heap(0x10);
        let other = recording.heap(0x20);
        let mut live = 0_u64;
        recording.every_second(600, |second| {
            let wanted = second + 1_000 * (second * 7 % 5);
            let (more, less) = (wanted.saturating_sub(live), live.saturating_sub(wanted));
            live = wanted;
            vec![
                (
                    site,
                    5_000 + more,
                    100 * (5_000 + more),
                    5_000 + less,
                    100 * (5_000 + less),
                ),
                (other, 10, 100, 10, 100),
            ]
        });
        let kept = [
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 4),
            (4, 8),
            (5, 16),
            (6, 32),
            (7, 64),
            (8, 128),
            (9, 256),
            (10, 89),
        ];
        recording.lifetimes(600_000, &[(site, &[], &kept)]);
        let options = ReportOptions {
            top: 0,
            show_healthy: true,
            ..ReportOptions::default()
        };
        let report = assemble(&recording.family(), &options);
        let of = |offset: u64| {
            let mut sites = report.sites.iter();
            sites
                .find(|site| site.frames[0].offset == offset - 1)
                .expect("the site")
        };
        let found = of(0x10);
        assert_eq!(found.verdict, Verdict::Growing, "{:?}", found.why);
        let why = found.why.join(" ");
        assert!(why.contains("live ones are older than"), "{why}");
        let lifetimes = found.lifetimes.as_ref().expect("lifetimes");
        assert_eq!(lifetimes.freed, [(1.0, found.frees)]);
        assert_eq!(
            lifetimes.live.iter().map(|it| it.1).sum::<u64>(),
            found.live_blocks.value
        );
        // One kept each second, of 100 bytes on average.
        let rate = found.growth.rate.expect("a rate");
        assert!(rate.value > 80.0 && rate.value < 120.0, "{rate:?}");
        // A site that is not in the list freed each block in the second of its birth.
        let healthy = of(0x20);
        assert_eq!(healthy.verdict, Verdict::Healthy);
        assert_eq!(
            healthy.lifetimes.as_ref().map(|it| it.freed.clone()),
            Some(vec![(1.0, 6_000)])
        );
    }
}
