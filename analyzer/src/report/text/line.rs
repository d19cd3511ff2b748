//! A finding that is a blamed line with several call stacks.

use std::cmp::Reverse;

use super::page::{Page, Style};
use super::site;
use crate::human;
use crate::verdict::{Estimate, Opinion, Verdict};

use super::super::document::{Group, Report, SiteReport};
use super::super::growth::is_freed;

/// Further stacks named under the worst.
const STACKS: usize = 4;

/// Writes the line's sum, its worst stack in full, and the others in a line each.
pub fn write(report: &Report, group: &Group, members: &[usize], number: usize, page: &mut Page) {
    let sites = || members.iter().filter_map(|index| report.sites.get(*index));
    let judged = opinion_on(report, group);
    let rate = judged.and_then(|opinion| opinion.rate).or_else(|| {
        group.rate.map(|value| Estimate {
            value,
            low: None,
            high: None,
        })
    });
    let number = format!("{number:>3}. ");
    let stacks = human::plural(group.sites.len() as u64, "call stack");
    let size = match (group.verdict, group.live_bytes) {
        (Verdict::Lost, live_bytes) => {
            let of_live = match live_bytes > group.lost_bytes {
                true => format!(" of {} live", human::bytes(live_bytes)),
                false => String::new(),
            };
            format!(
                "  {}{of_live}, lost in {} of {stacks}",
                human::bytes(group.lost_bytes),
                human::count(group.lost_sites)
            )
        }
        (_, 0) => format!(
            "  to {} at its peak, freed at exit, in {stacks}",
            human::bytes(group.peak_live_bytes)
        ),
        (_, bytes) => format!("  {} in {stacks}", human::bytes(bytes)),
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
        &format!("     the worst of them, {}:", size_of_stack(group, worst)),
    );
    site::stack(report, *index, page);
    let others = sites().zip(members).skip(1);
    let others = others.filter(|(site, _)| holds_or_grew(group, site));
    let mut others: Vec<_> = others.take(STACKS).collect();
    // As the figures that stand there.
    others.sort_by_key(|(site, _)| {
        let grown = grown_bytes(group, site);
        (Reverse(grown), Reverse(size_bytes(group, site)))
    });
    for (other, index) in &others {
        page.line(
            Style::Dim,
            &format!("     {}", another(report, group, other, **index, page)),
        );
    }
    if let Some(more) = group
        .sites
        .len()
        .checked_sub(others.len() + 1)
        .filter(|more| *more > 0)
    {
        page.line(
            Style::Dim,
            &format!("     and {}", human::plural(more as u64, "more stack")),
        );
    }
    page.prose(
        "     Why: ",
        Style::Plain,
        &why_on(report, group, Some(worst)).join(" "),
    );
    page.prose(
        "     Do:  ",
        Style::Plain,
        &advice_on(report, group, Some(worst)),
    );
    page.blank();
}

/// The opinion on all sites of a line together, if it is why the line is a finding.
pub fn opinion_on<'a>(report: &'a Report, group: &Group) -> Option<&'a Opinion> {
    let opinion = report.extra.lines.get(&group.key);
    opinion.filter(|opinion| opinion.verdict.is_finding())
}

/// Why a line whose worst site is `worst` is a finding.
pub fn why_on(report: &Report, group: &Group, worst: Option<&SiteReport>) -> Vec<String> {
    let of_line = group.sites.len() > 1;
    // Growth of the whole line says nothing of what nothing points to.
    let is_lost = group.verdict == Verdict::Lost;
    if let Some(opinion) = opinion_on(report, group).filter(|_| of_line && !is_lost) {
        return opinion.why.clone();
    }
    let mut why = worst.map_or_else(Vec::new, |site| site.why.clone());
    if of_line
        && is_lost
        && let Some((bytes, _)) = worst.and_then(site::lost)
        && bytes < group.lost_bytes
    {
        let sum = format!(
            "{} in {} are lost on this line, in {}; of the worst of them:",
            human::bytes(group.lost_bytes),
            human::plural(group.lost_blocks, "block"),
            human::plural(group.lost_sites, "call stack")
        );
        why.insert(0, sum);
    }
    why
}

/// What to do about a line whose worst site is `worst`.
pub fn advice_on(report: &Report, group: &Group, worst: Option<&SiteReport>) -> String {
    let of_line = group.sites.len() > 1 && group.verdict != Verdict::Lost;
    let Some(opinion) = opinion_on(report, group).filter(|_| of_line) else {
        return worst.map_or_else(String::new, |site| site.advice.clone());
    };
    let kind = match worst.map(|site| site.kind.as_str()) {
        Some("mmap") => leaktrack_recording::SiteKind::Mmap,
        _ => leaktrack_recording::SiteKind::Heap,
    };
    crate::verdict::advice::advice(opinion, kind)
}

/// What [`size_of_stack`] tells.
fn size_bytes(group: &Group, site: &SiteReport) -> u64 {
    match site::lost(site) {
        Some((bytes, _)) => bytes,
        None if is_freed(group.live_bytes, group.peak_live_bytes) => site.peak_live_bytes,
        None => site.live_bytes.value,
    }
}

/// Of a line that gave back what it grew to, what a stack had at its peak.
fn size_of_stack(group: &Group, site: &SiteReport) -> String {
    let was_freed =
        group.verdict == Verdict::Growing && is_freed(group.live_bytes, group.peak_live_bytes);
    match was_freed && site.live_bytes.value < site.peak_live_bytes {
        true => format!("{} at its peak", human::bytes(site.peak_live_bytes)),
        false => site::size(site),
    }
}

/// What a stack rose by since its first snapshot, where that is why its line is told.
fn grown_bytes(group: &Group, site: &SiteReport) -> Option<u64> {
    let was_freed = is_freed(group.live_bytes, group.peak_live_bytes);
    let (first, last) = (site.series.first()?, site.series.last()?);
    let grown = last.1.saturating_sub(first.1);
    (group.verdict == Verdict::Growing && !was_freed).then_some(grown)
}

/// Stacks that neither hold nor lost anything are a number.
fn holds_or_grew(group: &Group, site: &SiteReport) -> bool {
    let was_freed = is_freed(group.live_bytes, group.peak_live_bytes);
    match site::lost(site) {
        Some((bytes, _)) => bytes > 0,
        None => site.live_bytes.value > 0 || was_freed && site.peak_live_bytes > 0,
    }
}

fn another(report: &Report, group: &Group, site: &SiteReport, index: usize, page: &Page) -> String {
    let callers = site::callers(report, index, page);
    let mut size = size_of_stack(group, site);
    if let Some(grown) = grown_bytes(group, site) {
        size.push_str(&format!(" (+{})", human::bytes(grown)));
    }
    if callers.is_empty() {
        format!("{size} through no other function (id {})", site.id)
    } else {
        format!("{size} through {callers}")
    }
}
