//! A row per call site. Unknown is an empty cell.

use std::io::{self, Write};

use ::csv::Writer;

use super::name;
use crate::report::Report;
use crate::report::document::SiteReport;

const COLUMNS: &[&str] = &[
    "id",
    "key",
    "kind",
    "verdict",
    "pattern",
    "suppressed_by",
    "live_bytes",
    "live_bytes_low",
    "live_bytes_high",
    "live_blocks",
    "allocated_bytes",
    "allocations",
    "frees",
    "peak_live_bytes",
    "first_seen_s",
    "oldest_s",
    "median_age_s",
    "rate_bytes_per_s",
    "rate_low",
    "rate_high",
    "limit_in_s",
    "lost_bytes",
    "resident_bytes",
    "minor_faults",
    "major_faults",
    "function",
    "file",
    "line",
    "module",
    "threads",
    "stack",
    "temporary",
    "calls",
    "sizes",
    "finding",
];

/// Writes a heading and the rows.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = Writer::from_writer(out);
    writer.write_record(COLUMNS).map_err(io::Error::other)?;
    for site in &report.sites {
        writer.write_record(row(site)).map_err(io::Error::other)?;
    }
    writer.flush()
}

fn row(site: &SiteReport) -> Vec<String> {
    let blamed = site
        .blame
        .as_ref()
        .and_then(|blame| site.frames.get(blame.frame));
    let rate = site.growth.rate;
    let lost = |lost: crate::report::document::LostReport| {
        lost.definite_bytes.saturating_add(lost.indirect_bytes)
    };
    let stack: Vec<String> = site.frames.iter().rev().map(name).collect();
    vec![
        site.id.clone(),
        site.key.clone(),
        site.kind.clone(),
        site.verdict.name().to_owned(),
        site.growth.pattern.name().to_owned(),
        words(site.suppressed_by.as_deref()),
        site.live_bytes.value.to_string(),
        known(site.live_bytes.low),
        known(site.live_bytes.high),
        site.live_blocks.value.to_string(),
        site.allocated_bytes.to_string(),
        site.allocations.to_string(),
        site.frees.to_string(),
        site.peak_live_bytes.to_string(),
        site.first_seen_s.to_string(),
        known(site.oldest_s),
        known(site.median_age_s),
        known(rate.map(|rate| rate.value)),
        known(rate.and_then(|rate| rate.low)),
        known(rate.and_then(|rate| rate.high)),
        known(site.growth.limit_in_s.map(|limit| limit.value)),
        known(site.lost.map(lost)),
        known(site.resident_bytes),
        known(site.faults.minor),
        known(site.faults.major),
        words(blamed.and_then(|frame| frame.function.as_deref())),
        words(blamed.and_then(|frame| frame.file.as_deref())),
        known(blamed.and_then(|frame| frame.line)),
        words(blamed.map(|frame| frame.module.as_str())),
        words(Some(&site.threads.join(", "))),
        words(Some(&stack.join(";"))),
        known(site.temporary),
        words(Some(&site.calls.join(", "))),
        words(site.sizes.as_deref().map(sizes).as_deref()),
        known(site.finding),
    ]
}

/// Pairs of size and number, as `16:5 32:1`; blocks larger than all classes as `inf:2`.
fn sizes(sizes: &[(Option<u64>, u64)]) -> String {
    let pair = |(up_to, count): &(Option<u64>, u64)| {
        let up_to = up_to.map_or_else(|| "inf".to_owned(), |bytes| bytes.to_string());
        format!("{up_to}:{count}")
    };
    sizes.iter().map(pair).collect::<Vec<_>>().join(" ")
}

pub fn known<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Recorded text. A spreadsheet takes what starts with one of these signs for a formula.
pub fn words(text: Option<&str>) -> String {
    match text {
        Some(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Some(text) => text.to_owned(),
        None => String::new(),
    }
}
