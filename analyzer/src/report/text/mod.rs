//! The report for people: the answer first, then the evidence, then how to go on.

mod answer;
mod footer;
mod groups;
mod page;
mod site;
mod stack;

use std::io::{self, Write};

use super::document::Report;
use super::group::GroupBy;
use super::{Look, ReportOptions};
use crate::verdict::Verdict;
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
    if options.group_by == GroupBy::Site {
        sites(report, options, &mut page);
    } else {
        groups::write(report, options, &mut page);
    }
    footer::write(report, options, &mut page);
    out.write_all(page.finish().as_bytes())?;
    out.flush()
}

/// Sites other than findings that are shown with their stack if there is no finding.
const FULL_WITHOUT_FINDINGS: usize = 3;

fn sites(report: &Report, options: &ReportOptions, page: &mut Page) {
    let is_finding = |index: &usize| {
        report
            .sites
            .get(*index)
            .is_some_and(|site| site.verdict.is_finding() && site.suppressed_by.is_none())
    };
    let (findings, others): (Vec<usize>, Vec<usize>) =
        (0..report.sites.len()).partition(is_finding);
    if !findings.is_empty() {
        page.heading(if findings.len() == 1 {
            "Finding"
        } else {
            "Findings, the worst first"
        });
        for (position, index) in findings.iter().enumerate() {
            site::full(report, *index, position + 1, page);
        }
    }
    let shown: Vec<usize> = others
        .into_iter()
        .filter(|index| {
            report
                .sites
                .get(*index)
                .is_some_and(|site| options.show_healthy || site.verdict != Verdict::Healthy)
        })
        .collect();
    if shown.is_empty() {
        return;
    }
    page.heading(if findings.is_empty() {
        "Call sites by live bytes"
    } else {
        "Other call sites by live bytes"
    });
    for (position, index) in shown.iter().enumerate() {
        if findings.is_empty() && position < FULL_WITHOUT_FINDINGS {
            site::full(report, *index, position + 1, page);
        } else {
            site::brief(report, *index, findings.len() + position + 1, page);
        }
    }
    if report.extra.left_out > 0 {
        let left_out = crate::human::plural(report.extra.left_out, "more site");
        page.line(
            Style::Dim,
            &format!(
                "  {left_out} with {} live: --top 0 shows all",
                crate::human::bytes(report.extra.left_out_bytes)
            ),
        );
        page.blank();
    }
}

pub use answer::sentence;
pub use stack::place;
