//! The comparison for people: one sentence, then each change with its evidence.

use std::io::{self, Write};

use super::document::{Change, Diff, Run, Side, SiteChange};
use crate::blame::{plumbing, short};
use crate::human;
use crate::report::Look;
use crate::report::text::page::{Page, Style, shorten, shorten_path};
use crate::verdict::Verdict;

/// Callers named under a site.
const CALLERS: usize = 4;

/// Writes the comparison.
pub fn write(diff: &Diff, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page::new(look);
    page.prose("", Style::Bold, &sentence(diff));
    page.blank();
    run("  OLD  ", &diff.old, &mut page);
    run("  NEW  ", &diff.new, &mut page);
    for note in &diff.notes {
        page.prose("  Note ", Style::Caution, note);
    }
    let mut number = 0;
    for sites in diff.sites.chunk_by(|a, b| a.change == b.change) {
        let Some(first) = sites.first() else { continue };
        page.heading(heading(first.change));
        for site in sites {
            number += 1;
            one(site, number, &mut page);
        }
    }
    if diff.left_out > 0 {
        page.line(
            Style::Dim,
            &format!("  {} more: --top 0 shows all", human::count(diff.left_out)),
        );
    }
    let same = diff.counts.get(&Change::Same).copied().unwrap_or(0);
    if same > 0 {
        page.blank();
        let words = human::plural(same, "site");
        page.line(Style::Dim, &format!("  {words} did not change."));
    }
    out.write_all(page.finish().as_bytes())?;
    out.flush()
}

fn sentence(diff: &Diff) -> String {
    let count = |change: Change| diff.counts.get(&change).copied().unwrap_or(0);
    let parts: Vec<String> = [
        (Change::Grew, "grew"),
        (Change::Appeared, "appeared"),
        (Change::Shrank, "shrank"),
        (Change::Gone, "went away"),
    ]
    .into_iter()
    .filter(|(change, _)| count(*change) > 0)
    .map(|(change, verb)| format!("{} {verb}", human::plural(count(change), "site")))
    .collect();
    let name = diff.new.program();
    let findings = match (diff.old.finding_count, diff.new.finding_count) {
        (0, 0) => "no findings in either run".to_owned(),
        (old, new) => format!("{old} → {}", human::plural(new, "finding")),
    };
    let changes = match parts.is_empty() {
        true => "nothing changed beyond chance".to_owned(),
        false => parts.join(", "),
    };
    format!("{name}: {changes}; {findings}.")
}

fn run(label: &str, run: &Run, page: &mut Page) {
    let mut words = format!(
        "{} for {}, {} live",
        human::utc(run.started_unix_s.max(0.0) as u64),
        human::duration(run.duration_s),
        human::bytes(run.live_bytes)
    );
    if let Some(rate) = &run.finding_rate {
        let rate = human::rate_between(rate.value, rate.low, rate.high);
        words.push_str(&format!(", findings grow by {rate}"));
    }
    if run.processes > 1 {
        words.push_str(&format!(", {} processes", run.processes));
    }
    for (key, value) in &run.labels {
        words.push_str(&format!(", {key}:{value}"));
    }
    let id = run.build_id.as_deref().unwrap_or("none");
    let id: String = id.chars().take(12).collect();
    words.push_str(&format!(", build-id {id}: {}", run.paths.join(" ")));
    page.prose(label, Style::Plain, &words);
}

fn heading(change: Change) -> &'static str {
    match change {
        Change::Grew => "Grew",
        Change::Appeared => "Appeared",
        Change::Shrank => "Shrank",
        Change::Gone => "Went away",
        Change::Unclear => "Unclear",
        Change::Same => "Did not change",
    }
}

fn style(site: &SiteChange) -> Style {
    let is_finding = site
        .new
        .as_ref()
        .is_some_and(|side| side.verdict.is_finding());
    match site.change {
        Change::Grew => Style::Alarm,
        Change::Appeared if is_finding => Style::Alarm,
        Change::Shrank | Change::Gone => Style::Calm,
        Change::Appeared | Change::Unclear => Style::Caution,
        Change::Same => Style::Plain,
    }
}

fn one(site: &SiteChange, number: usize, page: &mut Page) {
    let held = |side: &Option<Side>| match side {
        None => "-".to_owned(),
        Some(side) if side.verdict == Verdict::Lost => match side.live_bytes > side.lost_bytes {
            true => format!(
                "lost {} of {} live",
                human::bytes(side.lost_bytes),
                human::bytes(side.live_bytes)
            ),
            false => format!("lost {}", human::bytes(side.lost_bytes)),
        },
        Some(side) => format!("{} {}", side.verdict.name(), human::bytes(side.live_bytes)),
    };
    let mut rest = format!("  {} → {}", held(&site.old), held(&site.new));
    if let Some(rate) = site.rate_change.filter(|rate| rate.value != 0.0) {
        let sign = if rate.value > 0.0 { "+" } else { "" };
        let words = human::rate_between(rate.value, rate.low, rate.high);
        rest.push_str(&format!(", {sign}{words}"));
    }
    page.pieces(&[
        (Style::Bold, &format!("{number:>3}. ")),
        (style(site), site.change.name()),
        (Style::Plain, &rest),
    ]);
    let Some(side) = site.shown() else { return };
    let frame = side.blame.as_ref().map(|blame| blame.frame);
    let blamed = frame.and_then(|index| site.frames.get(index));
    let unicode = page.unicode();
    let width = page
        .width()
        .map_or(usize::MAX, |width| width.saturating_sub(8));
    if let Some(frame) = blamed {
        let function = match &frame.function {
            Some(function) => short(function).to_owned(),
            None => format!("{}+{:#x}", frame.module, frame.offset),
        };
        let place = match (&frame.file, frame.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            _ => frame.module.clone(),
        };
        page.pieces(&[
            (
                Style::Bold,
                &format!("     {}", shorten(&function, width, unicode)),
            ),
            (
                Style::Place,
                &format!("  {}", shorten_path(&place, width, unicode)),
            ),
        ]);
    }
    let plumbing = plumbing(&site.frames);
    let callers: Vec<String> = site
        .frames
        .iter()
        .zip(plumbing)
        .skip(frame.map_or(0, |index| index + 1))
        .filter(|(_, plumbing)| !plumbing)
        .filter_map(|(frame, _)| Some(short(frame.function.as_deref()?).to_owned()))
        .take(CALLERS)
        .collect();
    if !callers.is_empty() {
        let arrow = if unicode { " ← " } else { " <- " };
        page.line(
            Style::Dim,
            &format!("     called by {}", callers.join(arrow)),
        );
    }
    for renamed in &site.renamed {
        page.prose(
            "     ",
            Style::Dim,
            &format!("{} is {} now.", renamed.from, renamed.to),
        );
    }
    if let (Some(old), Some(new)) = (&site.old, &site.new)
        && old.ids.len() != new.ids.len()
    {
        let words = format!(
            "{} of these functions before, {} now: they count together.",
            human::plural(old.ids.len() as u64, "call site"),
            new.ids.len()
        );
        page.prose("     ", Style::Dim, &words);
    }
    if !site.why.is_empty() {
        page.prose("     ", Style::Dim, &site.why.join(" "));
    }
    page.blank();
}
