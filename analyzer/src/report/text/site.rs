//! One call site: in full, or in three lines.

use super::page::{Page, Style, shorten};
use super::stack;
use crate::human;
use crate::model::Frame;
use crate::verdict::{Pattern, Verdict};

use super::super::document::{Amount, Report, SiteReport};

/// Callers named in the brief form.
const CALLERS: usize = 4;

/// Everything about a site.
pub fn full(report: &Report, index: usize, number: usize, page: &mut Page) {
    let Some(site) = report.sites.get(index) else {
        return;
    };
    headline(site, number, page);
    place(report, site, page);
    if let Some(line) = sparkline(site, page) {
        page.line(Style::Dim, &format!("     {line}"));
    }
    stack(report, index, page);
    let nameless = site.frames.iter();
    let nameless = nameless.filter(|frame| frame.module.is_empty() && frame.function.is_none());
    if let Some(frames) = Some(nameless.count() as u64).filter(|frames| *frames > 0) {
        let words = format!(
            "{} of generated code without a name: node --perf-basic-prof, python -X perf or a JVM's agent \
             tell names (docs/runtimes.md).",
            human::plural(frames, "frame")
        );
        page.prose("     ", Style::Dim, &words);
    }
    // That the run was too short is said once, with the answer.
    if site.verdict != Verdict::Unclear || report.extra.too_short.is_none() {
        page.prose("     Why: ", Style::Plain, &site.why.join(" "));
        page.prose("     Do:  ", Style::Plain, &site.advice);
    }
    page.prose("     ", Style::Dim, &facts(report, site));
    page.blank();
}

/// The frames of the site at `index`.
pub fn stack(report: &Report, index: usize, page: &mut Page) {
    let Some(site) = report.sites.get(index) else {
        return;
    };
    let blamed = site.blame.as_ref().map(|blame| blame.frame);
    stack::write(&site.frames, blamed, plumbing(report, index), page);
}

fn plumbing(report: &Report, index: usize) -> &[bool] {
    let of_site = report.extra.plumbing.get(index);
    of_site.map(Vec::as_slice).unwrap_or_default()
}

/// A site that is no finding.
pub fn brief(report: &Report, index: usize, number: usize, page: &mut Page) {
    let Some(site) = report.sites.get(index) else {
        return;
    };
    headline(site, number, page);
    place(report, site, page);
    let callers = callers(report, index, page);
    if !callers.is_empty() {
        page.line(Style::Dim, &format!("     called by {callers}"));
    }
    let mut words = match site.verdict {
        // Said once, with the answer.
        Verdict::Unclear if report.extra.too_short.is_some() => String::new(),
        Verdict::Unclear => format!("{} {}", site.why.join(" "), site.advice),
        _ => site.why.join(" "),
    };
    if let Some(name) = &site.suppressed_by {
        words = format!("{words} Suppressed by {name}.");
    }
    if !words.is_empty() {
        page.prose("     ", Style::Dim, &words);
    }
    page.blank();
}

fn style_of(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Lost | Verdict::Growing => Style::Alarm,
        Verdict::Unclear => Style::Caution,
        Verdict::Retained | Verdict::Healthy => Style::Calm,
    }
}

fn headline(site: &SiteReport, number: usize, page: &mut Page) {
    let number = format!("{number:>3}. ");
    let size = match lost(site) {
        Some((bytes, blocks)) => {
            let blocks = human::plural(blocks, "block");
            let of_live = match site.live_bytes.value > bytes {
                true => format!(" of {} live", amount(&site.live_bytes)),
                false => String::new(),
            };
            // All of it: then its interval is that of what is live.
            let bytes = match site.live_bytes.value == bytes {
                true => amount(&site.live_bytes),
                false => human::bytes(bytes),
            };
            format!("  {bytes} in {blocks}{of_live}")
        }
        // Given back at exit: what it had grown to tells more than what is left.
        None if is_gone(site) => {
            format!(
                "  to {}, freed at exit",
                amount(&site.peak_live_bytes_estimate)
            )
        }
        None => {
            let blocks = human::plural(site.live_blocks.value, "block");
            format!("  {} in {blocks}", amount(&site.live_bytes))
        }
    };
    let kind = if site.kind == "mmap" { ", mapped" } else { "" };
    let mut rest = kind.to_owned();
    if !matches!(site.growth.pattern, Pattern::Unclear) {
        rest.push_str(&format!(", {}", site.growth.pattern.name()));
    }
    if let Some(rate) = site.growth.rate {
        rest.push_str(&format!(
            ", +{}",
            human::rate_between(rate.value, rate.low, rate.high)
        ));
    }
    let verdict = if site.suppressed_by.is_some() {
        format!("{} (suppressed)", site.verdict.name())
    } else {
        site.verdict.name().to_owned()
    };
    let style = if site.suppressed_by.is_some() {
        Style::Dim
    } else {
        style_of(site.verdict)
    };
    page.pieces(&[
        (Style::Bold, &number),
        (style, &verdict),
        (Style::Bold, &size),
        (Style::Plain, &rest),
    ]);
}

/// Lost bytes and blocks of a site that is lost.
pub fn lost(site: &SiteReport) -> Option<(u64, u64)> {
    let lost = site.lost.filter(|_| site.verdict == Verdict::Lost)?;
    Some((
        lost.definite_bytes.saturating_add(lost.indirect_bytes),
        lost.definite_blocks.saturating_add(lost.indirect_blocks),
    ))
}

/// True if it grew and all of it was given back at exit.
fn is_gone(site: &SiteReport) -> bool {
    site.live_bytes.value == 0 && site.verdict == Verdict::Growing
}

/// A finding's size in a word: what it lost, what it grew to, what it holds.
pub fn size(site: &SiteReport) -> String {
    match lost(site) {
        Some((bytes, _)) => format!("{} lost", human::bytes(bytes)),
        None if is_gone(site) => format!("{} at its peak", human::bytes(site.peak_live_bytes)),
        None => human::bytes(site.live_bytes.value),
    }
}

/// The blocks of [`size`].
pub fn blocks(site: &SiteReport) -> u64 {
    lost(site).map_or(site.live_blocks.value, |(_, blocks)| blocks)
}

/// Bytes, with their interval if they are an estimate.
fn amount(bytes: &Amount) -> String {
    let value = human::bytes(bytes.value);
    match (bytes.low, bytes.high) {
        (Some(low), Some(high)) if low != high => {
            format!("{value} ({} to {})", human::bytes(low), human::bytes(high))
        }
        _ => value,
    }
}

/// The line to look at, with its source if that is here.
pub fn place(report: &Report, site: &SiteReport, page: &mut Page) {
    let blamed = site
        .blame
        .as_ref()
        .and_then(|blame| site.frames.get(blame.frame));
    let Some(frame) = blamed else {
        page.line(Style::Dim, "     (no stack was recorded)");
        return;
    };
    let (name, place) = stack::name_and_place(frame, page);
    page.pieces(&[
        (Style::Plain, "     "),
        (Style::Bold, &name),
        (Style::Plain, "  "),
        (Style::Place, &place),
    ]);
    let source = frame
        .file
        .clone()
        .zip(frame.line)
        .and_then(|place| report.extra.source.get(&place));
    if let Some(source) = source {
        page.pieces(&[(Style::Dim, "     | "), (Style::Plain, source)]);
    }
}

/// Who calls the blamed frame, innermost first, plumbing left out.
pub fn callers(report: &Report, index: usize, page: &Page) -> String {
    let Some(site) = report.sites.get(index) else {
        return String::new();
    };
    let plumbing = plumbing(report, index);
    let blamed = site.blame.as_ref().map_or(0, |blame| blame.frame);
    let is_own = |index: &usize| !plumbing.get(*index).copied().unwrap_or(false);
    let own: Vec<&Frame> = (blamed + 1..site.frames.len())
        .filter(is_own)
        .filter_map(|index| site.frames.get(index))
        .collect();
    let sign = if page.unicode() { " ← " } else { " < " };
    let mut names: Vec<String> = own
        .iter()
        .take(CALLERS)
        .map(|frame| {
            frame.function.as_deref().map_or_else(
                || stack::place(frame),
                |function| shorten(&crate::blame::short(function), 40, page.unicode()).into_owned(),
            )
        })
        .collect();
    if own.len() > CALLERS {
        names.push(format!("{} more", own.len() - CALLERS));
    }
    names.join(sign)
}

/// The curve of live bytes in a line of bars; none without Unicode or for a level curve.
fn sparkline(site: &SiteReport, page: &Page) -> Option<String> {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const COLUMNS: usize = 48;
    let (first, last) = (site.series.first()?, site.series.last()?);
    let highest = site.series.iter().map(|point| point.1).max()?;
    let span = last.0 - first.0;
    if !page.unicode() || span <= 0.0 || highest == 0 || site.series.len() < 4 {
        return None;
    }
    let columns = COLUMNS.min(site.series.len());
    let mut bars = vec![0_u64; columns];
    for (t_s, live_bytes) in &site.series {
        let column = (((t_s - first.0) / span) * (columns - 1) as f64).round() as usize;
        if let Some(bar) = bars.get_mut(column) {
            *bar = (*bar).max(*live_bytes);
        }
    }
    // A column between two snapshots shows what the last one saw.
    for column in 1..columns {
        let before = bars.get(column - 1).copied().unwrap_or(0);
        let empty = !site.series.iter().any(|(t_s, _)| {
            (((t_s - first.0) / span) * (columns - 1) as f64).round() as usize == column
        });
        if let Some(bar) = bars.get_mut(column).filter(|_| empty) {
            *bar = before;
        }
    }
    let bar = |bytes: &u64| {
        BARS.get((*bytes as f64 / highest as f64 * 7.0).round() as usize)
            .copied()
            .unwrap_or('█')
    };
    let drawn: String = bars.iter().map(bar).collect();
    Some(format!(
        "{drawn}  {} over {}",
        human::bytes(highest),
        human::duration(span)
    ))
}

fn facts(report: &Report, site: &SiteReport) -> String {
    let mut facts = vec![format!(
        "{} allocated, {} freed",
        human::count(site.allocations),
        human::count(site.frees)
    )];
    if let Some(oldest_s) = site.oldest_s {
        let median = site
            .median_age_s
            .map(|median_s| format!(", median {}", human::duration(median_s)))
            .unwrap_or_default();
        facts.push(format!(
            "oldest block {} old{median}",
            human::duration(oldest_s)
        ));
    }
    if let Some(limit) = site.growth.limit_in_s {
        facts.push(format!(
            "alone would reach the limit in {}",
            human::duration(limit.value)
        ));
    }
    match site.threads.as_slice() {
        [] => {}
        [one] => facts.push(format!("thread {one}")),
        [first, rest @ ..] => facts.push(format!("threads {first} and {} more", rest.len())),
    }
    if report.processes.len() > 1 {
        let pids: Vec<String> = site
            .by_process
            .iter()
            .filter_map(|share| Some(report.processes.get(share.process)?.pid.to_string()))
            .collect();
        let shown = pids.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        facts.push(if pids.len() > 4 {
            format!("in pids {shown} and {} more", pids.len() - 4)
        } else {
            format!("in pid {shown}")
        });
    }
    facts.push(format!("id {}", site.id));
    facts.join("; ")
}
