//! The report for people: the answer first, then the evidence, then how to go on.

mod answer;
mod faults;
mod footer;
mod gc;
mod groups;
mod line;
mod losses;
mod memory;
pub(crate) mod page;
mod places;
mod site;
pub(crate) mod stack;
mod system;

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::document::{Group, Report};
use super::group::GroupBy;
use super::{Look, ReportOptions};
use crate::human;
use page::{Page, Style};

/// Writes the report.
pub fn write(
    report: &Report,
    options: &ReportOptions,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut page = Page::new(look);
    answer::write(report, &mut page);
    memory::write(report, &mut page);
    if let Some(words) = left_out(report) {
        page.prose("", Style::Caution, &words);
        page.blank();
    }
    if options.group_by == GroupBy::Site {
        sites(report, options, &mut page);
    } else {
        groups::write(report, options, &mut page);
    }
    gc::write(report, &mut page);
    faults::write(report, &mut page);
    places::write(report, options, &mut page);
    footer::write(report, options, &mut page);
    out.write_all(page.finish().as_bytes())?;
    out.flush()
}

/// What the filters leave out of the lists. All else counts it.
pub fn left_out(report: &Report) -> Option<String> {
    let extra = &report.extra;
    let sites = (extra.filtered > 0).then(|| human::plural(extra.filtered, "call site"))?;
    let findings = match extra.filtered_findings {
        0 => String::new(),
        findings => format!(", {} among them", human::plural(findings, "finding")),
    };
    Some(format!(
        "Not listed: {sites} that --older-than or --min-bytes leave out{findings}; all else counts them."
    ))
}

/// Sites other than findings that are shown with their stack if there is no finding.
const FULL_WITHOUT_FINDINGS: usize = 3;
/// Sites other than findings that are shown of a run that was too short to judge them.
const OF_SHORT_RUNS: usize = 5;

fn sites(report: &Report, options: &ReportOptions, page: &mut Page) {
    let findings: Vec<&Group> = report
        .groups
        .iter()
        .filter(|group| group.verdict.is_finding())
        .collect();
    if !findings.is_empty() {
        page.heading(match findings.len() {
            1 => "Finding",
            _ => "Findings, the worst first",
        });
    }
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for (position, group) in findings.iter().enumerate() {
        let members = members(report, group);
        told.extend(&members);
        match (group.sites.as_slice(), members.as_slice()) {
            ([_], [one]) => site::full(report, *one, position + 1, page),
            _ => line::write(report, group, &members, position + 1, page),
        }
    }
    let trifle_bytes = if options.top == 0 {
        0
    } else {
        trifle_bytes(report)
    };
    let live = |index: &usize| {
        report
            .sites
            .get(*index)
            .map_or(0, |site| site.live_bytes.value)
    };
    let others = (0..report.sites.len()).filter(|index| !told.contains(index));
    let (mut others, mut trifles): (Vec<usize>, Vec<usize>) =
        others.partition(|index| live(index) >= trifle_bytes);
    let is_short = report.extra.too_short.is_some() && options.few_if_short;
    let in_full = match (findings.is_empty(), is_short) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => FULL_WITHOUT_FINDINGS,
    };
    let mut shows_all = "--top 0 shows all".to_owned();
    if is_short && others.len() > OF_SHORT_RUNS {
        shows_all = format!("--top {} shows more, --top 0 all", options.top);
        trifles.extend(others.split_off(OF_SHORT_RUNS));
    }
    if !others.is_empty() {
        page.heading(match findings.len() {
            0 => "Call sites by live bytes",
            _ => "Other call sites by live bytes",
        });
    }
    for (position, index) in others.iter().enumerate() {
        if position < in_full {
            site::full(report, *index, position + 1, page);
        } else {
            site::brief(report, *index, findings.len() + position + 1, page);
        }
    }
    let left_out = report.extra.left_out + trifles.len() as u64;
    if left_out > 0 {
        let bytes = report.extra.left_out_bytes + trifles.iter().map(live).sum::<u64>();
        let more = human::plural(left_out, "smaller site");
        let live = human::bytes(bytes);
        page.line(
            Style::Dim,
            &format!("  {more} with {live} live: {shows_all}"),
        );
        page.blank();
    }
}

/// Sites with less than this that are no findings are not worth a paragraph: a thousandth of
/// what is live.
fn trifle_bytes(report: &Report) -> u64 {
    let live = report
        .totals
        .live_bytes
        .saturating_add(report.totals.mapped_bytes);
    live / 1000
}

/// Indices of the sites of a group that are in the report, in the group's order: those first that make it
/// what it is.
pub fn members(report: &Report, group: &Group) -> Vec<usize> {
    let position = |id: &String| report.sites.iter().position(|site| site.id == *id);
    group.sites.iter().filter_map(position).collect()
}

/// One site, as the report tells of findings.
pub fn site_in_full(report: &Report, index: usize, number: usize, look: Look) -> String {
    let mut page = Page::new(look);
    site::full(report, index, number, &mut page);
    page.finish()
}

pub use answer::{details, name, not_seen, root, sentence, subjects};
pub use footer::commands;
pub use line::{advice_on, opinion_on, why_on};
pub use losses::write as scan;
pub use site::{blocks, lost, size};
pub use stack::place;
