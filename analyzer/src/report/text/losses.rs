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
    for note in &report.coverage.notes {
        page.prose("  ", Style::Dim, note);
    }
    out.write_all(page.finish().as_bytes())?;
    out.flush()
}

/// Sites that lost something, the most bytes first.
fn losing(report: &Report) -> Vec<usize> {
    let mut sites: Vec<(u64, usize)> = Vec::new();
    for (index, site) in report.sites.iter().enumerate() {
        if let Some(lost) = site.lost
            && lost.definite_blocks.saturating_add(lost.indirect_blocks) > 0
        {
            sites.push((
                lost.definite_bytes.saturating_add(lost.indirect_bytes),
                index,
            ));
        }
    }
    sites.sort_by_key(|&(bytes, index)| (Reverse(bytes), index));
    sites.into_iter().map(|(_, index)| index).collect()
}

/// How the scan was made, in a sentence.
fn made(scan: &Scan) -> String {
    let how = match scan.kind.as_str() {
        "fork" => "a forked copy of the process",
        "live" => "the running process",
        _ => "the process at its end",
    };
    let passes = match scan.passes {
        1 => "one pass".to_owned(),
        passes => format!("{passes} passes"),
    };
    format!(
        "Scanned {how}: {} in {}, {passes}.",
        human::plural(scan.blocks, "live block"),
        human::duration(scan.duration_s)
    )
}
