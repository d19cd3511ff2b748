//! Takes the findings out of a report: blamed lines with all their sites.

use std::collections::HashMap;

use super::document::Finding;
use crate::report::document::{Group, SiteReport};
use crate::report::{Report, suppress, text};
use crate::verdict::{Estimate, Verdict, advice};

/// The findings of a report that is grouped by line, worst first.
pub fn findings(report: &Report) -> Vec<Finding> {
    let by_id: HashMap<&str, &SiteReport> = report
        .sites
        .iter()
        .map(|site| (site.id.as_str(), site))
        .collect();
    let is_finding = |group: &&Group| group.verdict.is_finding();
    report
        .groups
        .iter()
        .filter(is_finding)
        .filter_map(|group| {
            let sites: Vec<&SiteReport> = group
                .sites
                .iter()
                .filter_map(|id| by_id.get(id.as_str()).copied())
                .collect();
            finding(report, group, &sites)
        })
        .collect()
}

/// A block for each of its stacks; for more than these one for the blamed function.
fn suppression(sites: &[&SiteReport]) -> String {
    const MOST: usize = 50;
    let block =
        |site: &&SiteReport| suppress::exactly(&format!("leaktrack {}", site.key), &site.frames);
    match sites {
        [worst, ..] if sites.len() > MOST => {
            let frame = worst.blame.as_ref().map_or(0, |blame| blame.frame);
            suppress::suggestion(worst.frames.get(frame))
        }
        _ => sites.iter().map(block).collect(),
    }
}

fn finding(report: &Report, group: &Group, sites: &[&SiteReport]) -> Option<Finding> {
    let worst = sites.first()?;
    let opinion = report.extra.lines.get(&group.key);
    let opinion = opinion.filter(|opinion| opinion.verdict.is_finding());
    let own = sites.iter().filter(|site| site.verdict.is_finding());
    let rate = opinion.and_then(|opinion| opinion.rate).or_else(|| {
        own.clone()
            .filter_map(|site| site.growth.rate)
            .reduce(Estimate::plus)
    });
    let kind = match worst.kind.as_str() {
        "mmap" => leaktrack_recording::SiteKind::Mmap,
        _ => leaktrack_recording::SiteKind::Heap,
    };
    let of_line = opinion.filter(|opinion| opinion.verdict == group.verdict);
    let is_lost = group.verdict == Verdict::Lost;
    Some(Finding {
        verdict: group.verdict,
        line: group.key.clone(),
        blame: worst.blame.clone(),
        pattern: of_line.map_or(worst.growth.pattern, |opinion| opinion.pattern),
        live_bytes: group.live_bytes,
        lost_bytes: group.lost_bytes,
        finding_bytes: group.finding_bytes,
        rate,
        why: text::why_on(report, group, Some(worst)),
        advice: match of_line.filter(|_| !is_lost) {
            Some(opinion) => advice::advice(opinion, kind),
            None => worst.advice.clone(),
        },
        suppression: suppression(sites),
        keys: sites.iter().map(|site| site.key.clone()).collect(),
        finding_keys: own.map(|site| site.key.clone()).collect(),
        sites: sites.iter().map(|site| site.id.clone()).collect(),
        frames: worst.frames.clone(),
        tolerated_by: None,
    })
}
