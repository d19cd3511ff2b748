//! The outcome for people: the answer, what fails the gate, what it could not see.

use std::io::{self, Write};

use super::document::{Finding, Outcome, Status};
use crate::human;
use crate::model::identity::file_name;
use crate::report::Look;
use crate::report::text::page::{Page, Style};
use crate::verdict::Verdict;

/// Frames shown of a stack.
const FRAMES: usize = 8;

/// Writes the outcome.
pub fn write(outcome: &Outcome, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page::new(look);
    let style = match outcome.status {
        Status::Clean => Style::Calm,
        Status::Findings => Style::Alarm,
        Status::Inconclusive => Style::Caution,
    };
    page.prose("", style, &answer(outcome));
    page.blank();
    for (position, finding) in outcome.findings.iter().enumerate() {
        one(finding, position + 1, &mut page);
    }
    for reason in &outcome.inconclusive {
        page.prose("  Not seen: ", Style::Caution, &reason.text);
        page.prose("            ", Style::Dim, &reason.remedy);
    }
    for finding in &outcome.tolerated {
        let by = finding.tolerated_by.map_or("", |by| by.option());
        let words = format!("{}{} ({by})", finding.title(), growth(finding));
        page.prose("  Tolerated: ", Style::Dim, &words);
    }
    if outcome.suppressed_sites > 0 {
        let words = human::plural(outcome.suppressed_sites, "site");
        page.prose("  Suppressed: ", Style::Dim, &words);
    }
    if outcome.unclear_sites > 0 {
        let words = format!(
            "{} held too short a time to say",
            human::plural(outcome.unclear_sites, "site")
        );
        page.prose("  Unclear: ", Style::Dim, &words);
    }
    if let Some(run) = &outcome.run {
        page.prose(
            "  Recorded: ",
            Style::Dim,
            &format!(
                "{} for {}, {}: {}",
                run.program(),
                human::duration(run.duration_s),
                match run.processes {
                    1 => "one process".to_owned(),
                    many => format!("{many} processes"),
                },
                run.paths.join(" ")
            ),
        );
    }
    out.write_all(page.finish().as_bytes())
}

/// The answer in one sentence.
pub fn answer(outcome: &Outcome) -> String {
    let name = outcome.program();
    let asked: Vec<&str> = outcome.fail_on.iter().map(|it| it.name()).collect();
    let asked = asked.join(" or ");
    match (outcome.status, outcome.exit_code) {
        (Status::Clean, _) => {
            let but = match outcome.tolerated.is_empty() {
                true => "",
                false => " but what is tolerated",
            };
            format!("{name}: clean, no {asked} memory was found{but}.")
        }
        (Status::Findings, _) => format!(
            "{name}: {}.",
            human::plural(outcome.findings.len() as u64, "finding")
        ),
        (Status::Inconclusive, 0) => format!(
            "{name}: nothing was found; not everything could be seen, which --allow-incomplete allows."
        ),
        (Status::Inconclusive, _) => format!(
            "{name}: inconclusive. No {asked} memory was found, but it might not have been seen."
        ),
    }
}

fn growth(finding: &Finding) -> String {
    let size = match finding.verdict {
        Verdict::Lost => finding.size(),
        _ if finding.finding_bytes > finding.live_bytes => format!(
            "{} at its peak, freed at exit",
            human::bytes(finding.finding_bytes)
        ),
        _ => human::bytes(finding.live_bytes),
    };
    match finding.rate {
        Some(rate) => format!(
            ", {size}, +{}",
            human::rate_between(rate.value, rate.low, rate.high)
        ),
        None => format!(", {size}"),
    }
}

fn one(finding: &Finding, number: usize, page: &mut Page) {
    page.pieces(&[
        (Style::Bold, &format!("{number:>3}. ")),
        (Style::Alarm, &finding.title()),
        (Style::Plain, &growth(finding)),
    ]);
    for frame in finding.frames.iter().take(FRAMES) {
        let function = frame.function.as_deref().map_or_else(
            || format!("{}+{:#x}", file_name(&frame.module), frame.offset),
            |function| crate::blame::short(function).to_owned(),
        );
        let place = match (&frame.file, frame.line) {
            (Some(file), Some(line)) => format!("  {file}:{line}"),
            _ => String::new(),
        };
        page.pieces(&[
            (Style::Plain, &format!("       {function}")),
            (Style::Place, &place),
        ]);
    }
    if let Some(more) = finding
        .frames
        .len()
        .checked_sub(FRAMES)
        .filter(|more| *more > 0)
    {
        page.line(
            Style::Dim,
            &format!("       and {}", human::plural(more as u64, "frame")),
        );
    }
    page.prose("     Why: ", Style::Plain, &finding.why.join(" "));
    page.prose("     Do:  ", Style::Plain, &finding.advice);
    if !finding.suppression.is_empty() {
        page.prose(
            "     ",
            Style::Dim,
            &format!("key {}", finding.keys.first().map_or("", String::as_str)),
        );
    }
    page.blank();
}
