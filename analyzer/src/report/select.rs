//! Which sites are in the report, and in which order.

use leaktrack_recording::FaultCount;

use super::ReportOptions;
use super::document::Extra;
use crate::model::{Counters, Family};
use crate::verdict::{Opinion, Verdict};

/// A site while the report is put together.
pub struct Selected {
    /// Index into the family's sites.
    pub index: usize,
    /// The filters leave it out of lists.
    pub is_filtered: bool,
    /// The suppression that matched.
    pub suppressed_by: Option<String>,
    /// It is a finding by itself.
    pub is_finding: bool,
    harm: f64,
    /// Of its live bytes, those that make it a finding.
    finding_bytes: u64,
    /// Live at the end.
    pub live_bytes: u64,
}

/// All sites, worst first: what the filters leave out is not listed, and is as true as before.
pub fn select(
    family: &Family,
    opinions: &[Opinion],
    options: &ReportOptions,
    extra: &mut Extra,
) -> Vec<Selected> {
    let mut sites = Vec::new();
    for (index, (site, opinion)) in family.sites.iter().zip(opinions).enumerate() {
        let live_bytes = site.live_bytes();
        let mut faults = site.parts.iter().filter_map(|part| part.faults.as_ref());
        let faulted = faults.any(|faults| faults.count != FaultCount::default());
        if site.counted() == Counters::default() && live_bytes == 0 && !faulted {
            continue; // did nothing in the window and holds nothing
        }
        let oldest_ms = site
            .parts
            .iter()
            .filter_map(|part| part.ages)
            .map(|ages| ages.oldest_ms)
            .max();
        let too_young = options.older_than_ms.is_some_and(|wanted| {
            live_bytes == 0 || oldest_ms.is_none_or(|oldest| oldest < wanted)
        });
        let is_filtered = too_young || live_bytes < options.min_bytes;
        extra.filtered += u64::from(is_filtered);
        let suppressed_by = options.suppressions.of(site).map(str::to_owned);
        extra.suppressed += u64::from(suppressed_by.is_some());
        *extra.counts.entry(opinion.verdict).or_default() += 1;
        let is_finding = opinion.verdict.is_finding() && suppressed_by.is_none();
        let harm = if is_finding {
            opinion.rate.map_or(0.0, |rate| rate.value)
        } else {
            0.0
        };
        sites.push(Selected {
            index,
            is_filtered,
            suppressed_by,
            is_finding,
            harm,
            finding_bytes: match (is_finding, opinion.verdict) {
                (false, _) => 0,
                (true, Verdict::Lost) if opinion.rate.is_none() => site.lost_bytes(),
                (true, _) => live_bytes,
            },
            live_bytes,
        });
    }
    let id = |site: &Selected| family.sites.get(site.index).map(|site| site.id.as_str());
    sites.sort_by(|a, b| {
        b.is_finding
            .cmp(&a.is_finding)
            .then(b.harm.total_cmp(&a.harm))
            .then(b.finding_bytes.cmp(&a.finding_bytes))
            .then(b.live_bytes.cmp(&a.live_bytes))
            .then_with(|| id(a).cmp(&id(b)))
    });
    sites
}
