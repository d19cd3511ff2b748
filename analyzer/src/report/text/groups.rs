//! Sites taken together, as `--group-by` asks.

use super::page::{Page, Style, shorten, shorten_path};
use crate::human;
use crate::verdict::Verdict;

use super::super::ReportOptions;
use super::super::document::Report;

/// Member sites named per group.
const MEMBERS: usize = 3;

/// Writes the groups, worst first.
pub fn write(report: &Report, options: &ReportOptions, page: &mut Page) {
    page.heading(&format!("By {}, the worst first", options.group_by.name()));
    let shown: Vec<_> = report
        .groups
        .iter()
        .filter(|group| options.show_healthy || group.verdict != Verdict::Healthy)
        .collect();
    let top = if options.top == 0 {
        shown.len()
    } else {
        options.top
    };
    for (position, group) in shown.iter().take(top).enumerate() {
        let number = format!("{:>3}. ", position + 1);
        let size = format!(
            "  {} at {}",
            match group.verdict {
                Verdict::Lost if group.lost_bytes < group.live_bytes => format!(
                    "{} of {} live",
                    human::bytes(group.lost_bytes),
                    human::bytes(group.live_bytes)
                ),
                Verdict::Lost => human::bytes(group.lost_bytes),
                Verdict::Growing if group.live_bytes == 0 => format!(
                    "to {} at the peak, freed at exit,",
                    human::bytes(group.peak_live_bytes)
                ),
                _ => human::bytes(group.live_bytes),
            },
            human::plural(group.sites.len() as u64, "site")
        );
        let rate = group
            .rate
            .filter(|_| group.verdict.is_finding())
            .map(|rate| format!(", +{}", human::rate(rate)))
            .unwrap_or_default();
        page.pieces(&[
            (Style::Bold, &number),
            (
                if group.verdict.is_finding() {
                    Style::Alarm
                } else {
                    Style::Calm
                },
                group.verdict.name(),
            ),
            (Style::Bold, &size),
            (Style::Plain, &rate),
        ]);
        let key = match page.width() {
            Some(width) => shorten_path(&group.key, width.saturating_sub(6), page.unicode()),
            None => shorten(&group.key, usize::MAX, page.unicode()),
        };
        page.pieces(&[(Style::Plain, "     "), (Style::Place, &key)]);
        for id in group.sites.iter().take(MEMBERS) {
            let Some(site) = report.sites.iter().find(|site| site.id == *id) else {
                continue;
            };
            let function = site
                .blame
                .as_ref()
                .and_then(|blame| blame.function.as_deref())
                .unwrap_or("(no symbol)");
            page.line(
                Style::Dim,
                &format!(
                    "       {}  {}  {}",
                    site.id,
                    super::site::size(site),
                    shorten(function, 80, page.unicode())
                ),
            );
        }
        if group.sites.len() > MEMBERS {
            page.line(
                Style::Dim,
                &format!("       and {} more", group.sites.len() - MEMBERS),
            );
        }
        page.blank();
    }
    if shown.len() > top {
        page.line(
            Style::Dim,
            &format!(
                "  {}: --top 0 shows all",
                human::plural((shown.len() - top) as u64, "more group")
            ),
        );
        page.blank();
    }
}
