//! Makes one side of a comparison from the sites of one run: how much they hold at a given age of
//! the process, and how fast they grow.

use super::document::Side;
use crate::report;
use crate::report::document::SiteReport;
use crate::verdict::{Estimate, Verdict, stats};

/// The sites of one run together; `None` if there are none.
pub fn side(sites: &[&SiteReport], at_s: f64) -> Option<Side> {
    let first = sites.first()?;
    let sum = |f: fn(&SiteReport) -> u64| {
        sites
            .iter()
            .fold(0_u64, |sum, site| sum.saturating_add(f(site)))
    };
    let verdict = sites.iter().map(|site| site.verdict).min();
    let growing = sites.iter().filter(|site| site.verdict.is_finding());
    Some(Side {
        ids: sites.iter().map(|site| site.id.clone()).collect(),
        verdict: verdict.unwrap_or(Verdict::Unclear),
        live_bytes: sum(|site| site.live_bytes.value),
        live_blocks: sum(|site| site.live_blocks.value),
        lost_bytes: sum(|site| report::text::lost(site).map_or(0, |(bytes, _)| bytes)),
        allocations: sum(|site| site.allocations),
        rate: growing
            .filter_map(|site| site.growth.rate)
            .reduce(Estimate::plus),
        level_bytes: sites
            .iter()
            .map(|site| level(site, at_s))
            .fold(Estimate::exact(0.0), Estimate::plus),
        first_seen_s: sites
            .iter()
            .map(|site| site.first_seen_s)
            .fold(f64::INFINITY, f64::min),
        blame: first.blame.clone(),
    })
}

/// Live bytes over the last quarter of the time up to `at_s`: median, first and last decile. In
/// sampled recordings the range is widened by the interval of the estimate.
fn level(site: &SiteReport, at_s: f64) -> Estimate {
    let value_at = |t_s: f64| {
        let before = site.series.iter().take_while(|point| point.0 <= t_s + 1e-9);
        before.last().map_or(0, |point| point.1)
    };
    let from_s = at_s * 0.75;
    let mut values: Vec<f64> = site
        .series
        .iter()
        .filter(|point| point.0 >= from_s && point.0 <= at_s)
        .map(|point| point.1 as f64)
        .collect();
    if values.is_empty() {
        values.push(value_at(at_s) as f64);
    }
    let live = &site.live_bytes;
    let share = |bound: Option<u64>| match (bound, live.value) {
        (Some(bound), 1..) => bound as f64 / live.value as f64,
        _ => 1.0,
    };
    let at = |values: &[f64], q: f64| stats::quantile(&mut values.to_vec(), q);
    Estimate {
        value: at(&values, 0.5),
        low: Some(at(&values, 0.1) * share(live.low).min(1.0)),
        high: Some(at(&values, 0.9) * share(live.high).max(1.0)),
    }
}
