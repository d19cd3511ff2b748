//! Single live blocks and the address space, for those who ask.

use super::page::{Page, Style, shorten};
use crate::human;
use crate::report::ReportOptions;
use crate::report::document::{AddressSpace, AreaReport, BlockReport, Blocks, Report};

/// Columns of a name.
const NAME: usize = 60;

/// Writes what the options ask for.
pub fn write(report: &Report, options: &ReportOptions, page: &mut Page) {
    if let Some(most) = options.blocks {
        page.heading("Single live blocks");
        if report.blocks.is_empty() {
            page.prose("  ", Style::Plain, "None were written down: blocks are listed with each account of memory, and there is none of this time.");
        }
        for blocks in &report.blocks {
            list(report, blocks, most, page);
        }
    }
    if options.areas {
        page.heading("Address space");
        if report.address_space.is_empty() {
            page.prose("  ", Style::Plain, "It was not written down: it is told with each account of memory, and there is none of this time.");
        }
        for space in &report.address_space {
            areas(report, space, page);
        }
    }
}

/// Whose it is, where there are several.
fn whose(report: &Report, process: usize) -> String {
    let found = report.processes.iter().find(|it| it.index == process);
    match found.filter(|_| report.processes.len() > 1) {
        Some(process) => format!("{} (pid {}): ", process.name(), process.pid),
        None => String::new(),
    }
}

/// Of how many blocks the list is, and how they were chosen.
pub fn chosen(blocks: &Blocks) -> String {
    let of = format!(
        "{} of {} with {}, {} after the start",
        human::count(blocks.chosen),
        human::plural(blocks.known_blocks, "live block"),
        human::bytes(blocks.known_bytes),
        human::duration(blocks.at_s)
    );
    let sites = match blocks.known_sites > blocks.sites {
        true => format!(
            "the {} call sites with most live bytes, of {}",
            human::count(blocks.sites),
            human::count(blocks.known_sites)
        ),
        false => "each call site".to_owned(),
    };
    let known = match blocks.complete {
        true => "",
        false => " Not every live block was known.",
    };
    format!(
        "{of}: of {sites}, the {} largest and the {} oldest.{known}",
        human::count(blocks.largest),
        human::count(blocks.oldest)
    )
}

fn list(report: &Report, blocks: &Blocks, most: usize, page: &mut Page) {
    let words = format!("{}{}", whose(report, blocks.process), chosen(blocks));
    page.prose("  ", Style::Plain, &words);
    page.blank();
    let shown = match most {
        0 => blocks.list.len(),
        most => most.min(blocks.list.len()),
    };
    if shown > 0 {
        let head = format!(
            "  {:<14} {:>10} {:>10} {:>9}  {}",
            "address", "size", "resident", "age", "allocated by"
        );
        page.line(Style::Dim, &head);
    }
    for block in blocks.list.iter().take(shown) {
        page.line(Style::Plain, &row(block, page.unicode()));
    }
    let left = (blocks.list.len() - shown) as u64;
    if left > 0 {
        let more = human::plural(left, "smaller block");
        let words = format!("  {more} in the list: --blocks=0 shows all");
        page.line(Style::Dim, &words);
    }
    page.blank();
}

fn row(block: &BlockReport, unicode: bool) -> String {
    let name = match (&block.function, &block.site) {
        (Some(function), _) => shorten(function, NAME, unicode).into_owned(),
        (None, Some(site)) => format!("site {site}"),
        (None, None) => "(not known)".to_owned(),
    };
    let mut place = match (&block.file, block.line) {
        (Some(file), Some(line)) => format!("  {file}:{line}"),
        _ => String::new(),
    };
    if block.lost == Some(true) {
        place.push_str("  (lost)");
    }
    format!(
        "  {:<14} {:>10} {:>10} {:>9}  {name}{place}",
        block.address,
        human::bytes(block.bytes),
        human::bytes(block.resident_bytes),
        human::duration(block.age_s),
    )
}

fn areas(report: &Report, space: &AddressSpace, page: &mut Page) {
    let sum = |of: fn(&AreaReport) -> u64| space.areas.iter().map(of).sum::<u64>();
    let words = format!(
        "{}{} with {} of addresses, {} resident, {} after the start.{}",
        whose(report, space.process),
        human::plural(space.areas.len() as u64, "area"),
        human::bytes(sum(|area| area.bytes.saturating_sub(area.unmapped_bytes))),
        human::bytes(sum(|area| area.resident_bytes)),
        human::duration(space.at_s),
        match space.complete {
            true => "",
            false => " Not every mapping is in it.",
        }
    );
    page.prose("  ", Style::Plain, &words);
    page.blank();
    let head = format!(
        "  {:<14} {:>10} {:>10}  {}",
        "from", "length", "resident", "what"
    );
    page.line(Style::Dim, &head);
    for area in &space.areas {
        let words = format!(
            "  {:<14} {:>10} {:>10}  {}",
            area.start,
            human::bytes(area.bytes),
            human::bytes(area.resident_bytes),
            what(report, area)
        );
        page.line(Style::Plain, &words);
    }
    page.blank();
}

/// What an area is, in words.
pub fn what(report: &Report, area: &AreaReport) -> String {
    let mut words = area.kind.clone();
    if let Some(arena) = area.arena {
        words += &format!(", arena {arena}");
    }
    if let Some(thread) = area.thread {
        words += &format!(" {thread}");
    }
    if let Some(name) = &area.name {
        words += &format!(" {name}");
    }
    let site = area.site.as_ref();
    if let Some(id) = site {
        let sites = report.sites.iter();
        let function = sites
            .filter(|it| it.id == *id)
            .find_map(|it| it.blame.as_ref()?.function.clone());
        words += &match function {
            Some(function) => format!(" by {function}"),
            None => format!(" by site {id}"),
        };
    }
    if area.ranges > 1 {
        words += &format!(" ({} ranges)", human::count(u64::from(area.ranges)));
    }
    words
}
