//! What the last scan found: the kinds first, then the sites that lost something.

use std::cmp::Reverse;
use std::io::{self, Write};

use super::page::{Page, Style};
use super::site;
use crate::human;
use crate::report::Look;
use crate::report::document::{LostReport, Report, Scan};

/// Blocks and bytes of one kind.
type Kind = fn(&LostReport) -> (u64, u64);

/// Sites with blocks that are possibly lost, at most.
const POSSIBLE: usize = 10;

const KINDS: [(&str, Style, Kind); 4] = [
    ("definitely lost", Style::Alarm, |lost| {
        (lost.definite_blocks, lost.definite_bytes)
    }),
    ("indirectly lost", Style::Alarm, |lost| {
        (lost.indirect_blocks, lost.indirect_bytes)
    }),
    ("possibly lost", Style::Caution, |lost| {
        (lost.possible_blocks, lost.possible_bytes)
    }),
    ("still reachable", Style::Calm, |lost| {
        (lost.reachable_blocks, lost.reachable_bytes)
    }),
];

/// Writes the last scan of a report that has all sites.
pub fn write(report: &Report, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page::new(look);
    if let Some(scan) = report.scans.iter().rev().find(|scan| scan.complete) {
        page.prose("", Style::Bold, &made(scan));
        page.blank();
    }
    for (name, style, of) in KINDS {
        let found = report.sites.iter().filter_map(|site| site.lost);
        let (blocks, bytes) = found.fold((0u64, 0u64), |sum, lost| {
            let (blocks, bytes) = of(&lost);
            (sum.0.saturating_add(blocks), sum.1.saturating_add(bytes))
        });
        let style = if blocks == 0 { Style::Plain } else { style };
        let amount = format!(
            "{:>10} in {}",
            human::bytes(bytes),
            human::plural(blocks, "block")
        );
        page.pieces(&[(style, &format!("  {name:<17}")), (Style::Plain, &amount)]);
    }
    page.blank();
    for (position, index) in losing(report).into_iter().enumerate() {
        site::full(report, index, position + 1, &mut page);
    }
    possible(report, &mut page);
    for note in &report.coverage.notes {
        page.prose("  ", Style::Dim, note);
    }
    out.write_all(page.finish().as_bytes())?;
    out.flush()
}

/// Sites that lost something, the most bytes first.
fn losing(report: &Report) -> Vec<usize> {
    of_kinds(report, |lost| {
        (
            lost.definite_blocks.saturating_add(lost.indirect_blocks),
            lost.definite_bytes.saturating_add(lost.indirect_bytes),
        )
    })
}

/// Sites with blocks of a kind, the most bytes first.
fn of_kinds(report: &Report, of: Kind) -> Vec<usize> {
    let mut sites: Vec<(u64, usize)> = Vec::new();
    for (index, site) in report.sites.iter().enumerate() {
        match site.lost.map(|lost| of(&lost)) {
            None | Some((0, _)) => {}
            Some((_, bytes)) => sites.push((bytes, index)),
        }
    }
    sites.sort_by_key(|&(bytes, index)| (Reverse(bytes), index));
    sites.into_iter().map(|(_, index)| index).collect()
}

/// Where blocks come from of which it cannot be said: no findings, so a few lines each.
fn possible(report: &Report, page: &mut Page) {
    let sites = of_kinds(report, |lost| (lost.possible_blocks, lost.possible_bytes));
    if sites.is_empty() {
        return;
    }
    page.heading("Possibly lost, no finding by itself");
    page.prose(
        "  ",
        Style::Dim,
        "Something points into these blocks, not to their start, or a register that could not be read may hold them.",
    );
    page.blank();
    for index in sites.iter().take(POSSIBLE) {
        let Some((site, lost)) = report.sites.get(*index).and_then(|it| Some((it, it.lost?)))
        else {
            continue;
        };
        let blocks = human::plural(lost.possible_blocks, "block");
        let amount = format!("  {} in {blocks}", human::bytes(lost.possible_bytes));
        page.pieces(&[(Style::Caution, "  possibly lost"), (Style::Bold, &amount)]);
        site::place(report, site, page);
        let callers = site::callers(report, *index, page);
        if !callers.is_empty() {
            page.line(Style::Dim, &format!("     called by {callers}"));
        }
        page.blank();
    }
    if let Some(more) = sites.len().checked_sub(POSSIBLE).filter(|more| *more > 0) {
        let more = human::plural(more as u64, "more site");
        page.line(Style::Dim, &format!("  {more}: --format json has all"));
        page.blank();
    }
}

/// How the scan was made, in a sentence.
fn made(scan: &Scan) -> String {
    let how = match scan.kind.as_str() {
        "fork" => "a forked copy of the process",
        "live" => "the running process",
        _ => "the process at its end",
    };
    let passes = match scan.passes {
        0 => "there was no block to look for".to_owned(),
        1 => "one pass".to_owned(),
        passes => format!("{passes} passes"),
    };
    format!(
        "Scanned {how}: {} in {}, {passes}.",
        human::plural(scan.blocks, "live block"),
        human::duration(scan.duration_s)
    )
}
