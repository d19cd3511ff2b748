//! A finding that is a blamed line with several call stacks.

use super::page::{Page, Style};
use super::site;
use crate::human;
use crate::verdict::Estimate;

use super::super::document::{Group, Report, SiteReport};

/// Further stacks named under the worst.
const STACKS: usize = 4;

/// Writes the line's sum, its worst stack in full, and the others in a line each.
pub fn write(report: &Report, group: &Group, members: &[usize], number: usize, page: &mut Page) {
    let sites = || members.iter().filter_map(|index| report.sites.get(*index));
    let opinion = report.extra.lines.get(&group.key);
    let judged = opinion.filter(|opinion| opinion.verdict.is_finding());
    let rate = judged.and_then(|opinion| opinion.rate).or_else(|| {
        group.rate.map(|value| Estimate {
            value,
            low: None,
            high: None,
        })
    });
    let number = format!("{number:>3}. ");
    let stacks = human::plural(group.sites.len() as u64, "call stack");
    let size = match group.live_bytes {
        0 => format!("  in {stacks}, freed at exit"),
        bytes => format!("  {} in {stacks}", human::bytes(bytes)),
    };
    let mut rest = judged.map_or_else(String::new, |opinion| {
        format!(", {}", opinion.pattern.name())
    });
    if let Some(rate) = rate {
        let rate = human::rate_between(rate.value, rate.low, rate.high);
        rest.push_str(&format!(", +{rate}"));
    }
    page.pieces(&[
        (Style::Bold, &number),
        (Style::Alarm, group.verdict.name()),
        (Style::Bold, &size),
        (Style::Plain, &rest),
    ]);
    let Some((worst, index)) = sites().next().zip(members.first()) else {
        page.pieces(&[(Style::Plain, "     "), (Style::Place, &group.key)]);
        page.blank();
        return;
    };
    site::place(report, worst, page);
    page.line(
        Style::Dim,
        &format!("     the worst of them{}:", held(worst)),
    );
    site::stack(report, *index, page);
    for (other, index) in sites().zip(members).skip(1).take(STACKS) {
        page.line(
            Style::Dim,
            &format!("     {}", another(report, other, *index, page)),
        );
    }
    let named = members.len().min(STACKS + 1);
    if let Some(more) = group
        .sites
        .len()
        .checked_sub(named)
        .filter(|more| *more > 0)
    {
        page.line(
            Style::Dim,
            &format!("     and {}", human::plural(more as u64, "more stack")),
        );
    }
    let why = judged.map_or_else(|| worst.why.join(" "), |opinion| opinion.why.join(" "));
    page.prose("     Why: ", Style::Plain, &why);
    let advice = judged.map(|opinion| {
        let kind = match worst.kind.as_str() {
            "mmap" => leaktrack_recording::SiteKind::Mmap,
            _ => leaktrack_recording::SiteKind::Heap,
        };
        crate::verdict::advice::advice(opinion, kind)
    });
    page.prose(
        "     Do:  ",
        Style::Plain,
        advice.as_deref().unwrap_or(&worst.advice),
    );
    page.blank();
}

fn held(site: &SiteReport) -> String {
    match site.live_bytes.value {
        0 => String::new(),
        bytes => format!(", {}", human::bytes(bytes)),
    }
}

fn another(report: &Report, site: &SiteReport, index: usize, page: &Page) -> String {
    let callers = site::callers(report, index, page);
    let size = human::bytes(site.live_bytes.value);
    if callers.is_empty() {
        format!("{size}: {}", site.id)
    } else {
        format!("{size} through {callers}")
    }
}
