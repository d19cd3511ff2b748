//! Where resident memory is, as a table with bars.

use super::page::{Page, Style};
use crate::human;

use super::super::document::{Memory, NodeReport, Report};

/// Cells of the longest bar.
const BAR: usize = 30;
/// Parts are as old as the last snapshot, give or take the intervals of several processes.
const OLD_S: f64 = 3.0;
/// Arenas told one by one.
const ARENAS: usize = 3;

/// Writes the account; nothing where there is none.
pub fn write(report: &Report, page: &mut Page) {
    let memory = &report.memory;
    let whole = whole(memory);
    let (Some(whole), false) = (whole, memory.parts.is_empty()) else {
        return;
    };
    if memory.measured_at_s.is_none() {
        return;
    }
    page.heading("Where the memory is");
    if let Some(verdict) = &memory.verdict {
        page.prose("  ", Style::Bold, verdict);
        page.blank();
    }
    let mut rows: Vec<(&str, i64, Style)> = memory
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part.bytes as i64, Style::Plain))
        .collect();
    rows.sort_by_key(|(_, bytes, _)| std::cmp::Reverse(*bytes));
    if let Some(unexplained) = memory.unexplained_bytes {
        rows.push(("unexplained", unexplained, Style::Dim));
    }
    let longest = rows.iter().map(|(name, ..)| name.chars().count()).max();
    let longest = longest.unwrap_or(0);
    for (name, bytes, style) in &rows {
        row(page, *style, name, longest, *bytes, whole);
    }
    let name = match proportional(report) {
        true => "all, shared pages once (PSS)",
        false => "resident set (RSS)",
    };
    row(page, Style::Bold, name, longest, whole as i64, 0);
    if let Some(rss) = memory.rss_bytes.filter(|_| proportional(report)) {
        row(page, Style::Dim, "added up (RSS)", longest, rss as i64, 0);
    }
    page.blank();
    for line in beside(report) {
        page.prose("  ", Style::Dim, &line);
    }
}

/// How old the parts are, where that makes a difference.
fn since(memory: &Memory, measured_at_s: f64) -> Option<String> {
    let age_s = memory.latest_rss_at_s? - measured_at_s;
    let latest = memory.latest_rss_bytes?;
    (age_s >= OLD_S).then(|| {
        format!(
            " That is {} before the last snapshot, when {} were resident; `leaktrack snapshot` measures a running process anew.",
            human::duration(age_s),
            human::bytes(latest)
        )
    })
}

fn proportional(report: &Report) -> bool {
    report.memory.parts_of.as_deref() == Some("pss")
}

fn whole(memory: &Memory) -> Option<u64> {
    let unexplained = memory.unexplained_bytes?;
    let parts: u64 = memory.parts.iter().map(|part| part.bytes).sum();
    u64::try_from(parts as i64 + unexplained).ok()
}

fn row(page: &mut Page, style: Style, name: &str, longest: usize, bytes: i64, whole: u64) {
    let sign = if bytes < 0 { "-" } else { "" };
    let size = format!("{sign}{}", human::bytes(bytes.unsigned_abs()));
    let share = bytes as f64 / whole.max(1) as f64;
    let percent = match whole {
        0 => String::new(),
        _ => format!("{:5.1}%", share * 100.0),
    };
    let cells = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    let (full, some) = if page.unicode() {
        ("█", "▏")
    } else {
        ("#", "")
    };
    let bar = match cells {
        0 if bytes > 0 && whole > 0 => some.to_owned(),
        cells if whole > 0 => full.repeat(cells),
        _ => String::new(),
    };
    let text = format!("  {name:<longest$}  {size:>9}  {percent}  ");
    page.pieces(&[(style, &text), (Style::Place, &bar)]);
}

/// Memory and threads by NUMA node.
fn on_nodes(nodes: &[NodeReport]) -> String {
    let told: Vec<String> = nodes
        .iter()
        .filter(|node| node.resident_bytes.is_none_or(|bytes| bytes > 0) || node.threads > 0)
        .map(|node| {
            let memory = node
                .resident_bytes
                .map_or_else(String::new, |bytes| format!("{} on ", human::bytes(bytes)));
            let threads = human::plural(node.threads, "thread");
            let free = human::bytes(node.host_free_bytes);
            format!(
                "{memory}node {} ({threads} ran there last, {free} free)",
                node.node
            )
        })
        .collect();
    format!("NUMA: {}.", told.join(", "))
}

/// What stands beside the parts.
fn beside(report: &Report) -> Vec<String> {
    let memory = &report.memory;
    let mut lines = Vec::new();
    let mut also = Vec::new();
    if let Some(swap) = memory.swap_bytes.filter(|swap| *swap > 0) {
        also.push(format!("{} swapped out", human::bytes(swap)));
    }
    if let Some(untouched) = memory.untouched_bytes.filter(|bytes| *bytes >= 4096) {
        also.push(format!(
            "{} of live blocks never touched or given back, which costs no memory",
            human::bytes(untouched)
        ));
    }
    if let Some(huge) = memory.huge_page_bytes.filter(|bytes| *bytes > 0) {
        also.push(format!("{} in huge pages", human::bytes(huge)));
    }
    if let Some(stacks) = memory.thread_stacks.filter(|stacks| *stacks > 1) {
        also.push(human::plural(stacks, "thread stack"));
    }
    if proportional(report) {
        lines.push(
            "Pages that several processes share, such as those of libraries and what a child has from its \
             parent, count once in PSS, and in each of its processes in RSS."
                .to_owned(),
        );
    }
    if !also.is_empty() {
        lines.push(format!("Also: {}.", also.join("; ")));
    }
    if let Some(nodes) = &memory.nodes {
        lines.push(on_nodes(nodes));
    }
    let fragmentation = &report.fragmentation;
    let arenas = &fragmentation.arenas;
    let free: u64 = arenas.iter().map(|arena| arena.free_bytes).sum();
    if arenas.len() > 1 && free > 0 {
        let told: Vec<String> = arenas
            .iter()
            .take(ARENAS)
            .filter(|arena| arena.free_bytes > 0)
            .map(|arena| {
                let process = report.processes.iter().find(|it| it.index == arena.process);
                let of_process = match process.filter(|_| report.processes.len() > 1) {
                    Some(process) => format!(" of {} (pid {}):", process.name(), process.pid),
                    None => String::new(),
                };
                format!(
                    "number {}{of_process} {} of {}",
                    arena.number,
                    human::bytes(arena.free_bytes),
                    human::bytes(arena.resident_bytes)
                )
            })
            .collect();
        lines.push(format!(
            "Free in {}: {} in all; most in {}.",
            human::plural(arenas.len() as u64, "arena"),
            human::bytes(free),
            told.join(", ")
        ));
    }
    if let (Some(name), Some(held), Some(free)) = (
        &fragmentation.allocator,
        fragmentation.own_held_bytes,
        fragmentation.own_free_bytes,
    ) {
        lines.push(format!(
            "{name} itself says, of what is in memory and what is not: {} held, {} of it free.",
            human::bytes(held),
            human::bytes(free)
        ));
    }
    for pin in fragmentation.pinned_by.iter().flatten().take(ARENAS) {
        let site = report.sites.iter().find(|site| site.id == pin.site);
        let function = site
            .and_then(|site| site.blame.as_ref())
            .and_then(|blame| blame.function.clone());
        if pin.bytes >= 1 << 20 {
            lines.push(format!(
                "{} keeps {} of free memory from going back, on {} where nothing else lives.",
                function.unwrap_or_else(|| format!("site {}", pin.site)),
                human::bytes(pin.bytes),
                human::plural(pin.pages, "page")
            ));
        }
    }
    if let (Some(at_s), Some(in_s)) = (memory.measured_at_s, memory.measured_in_s) {
        lines.push(format!(
            "Measured part by part {} after the start, in {}.{}",
            human::duration(at_s),
            human::duration(in_s),
            since(memory, at_s).unwrap_or_default()
        ));
    }
    lines
}
