//! Totals, coverage and how to go on.

use super::page::{Page, Style};
use super::system;
use crate::human;
use crate::verdict::Verdict;

use super::super::document::{Glob, Report, SiteReport};
use super::super::suppress;
use super::super::{ReportOptions, account};

/// Writes what stands under the sites.
pub fn write(report: &Report, options: &ReportOptions, page: &mut Page) {
    page.heading("Totals");
    totals(report, page);
    system::write(report, page);
    page.prose("  Sites      ", Style::Plain, &sites(report, options));
    page.prose("  leaktrack  ", Style::Plain, &recording(report));
    if !report.coverage.notes.is_empty() {
        page.heading("What could not be seen");
    }
    for note in &report.coverage.notes {
        page.prose("  - ", Style::Plain, note);
    }
    page.heading("How to go on");
    for (command, purpose) in commands(report) {
        page.command(&command);
        page.prose("      ", Style::Dim, &purpose);
    }
}

fn totals(report: &Report, page: &mut Page) {
    let totals = &report.totals;
    page.prose(
        "  Heap       ",
        Style::Plain,
        &format!(
            "{}, {}, {} allocated; {} live in {}; peak {} after {}",
            human::plural(totals.allocations, "allocation"),
            human::plural(totals.frees, "free"),
            human::bytes(totals.allocated_bytes),
            match totals.live_bytes_estimate.low == totals.live_bytes_estimate.high {
                true => human::bytes_exact(totals.live_bytes),
                false => totals.live(),
            },
            human::plural(totals.live_blocks, "block"),
            totals.peak(),
            human::duration(totals.peak_at_s)
        ),
    );
    if totals.mappings > 0 {
        page.prose(
            "  Mappings   ",
            Style::Plain,
            &format!(
                "{} made by the program, {} mapped now",
                human::plural(totals.mappings, "mapping"),
                human::bytes(totals.mapped_bytes)
            ),
        );
    }
    if let Some(rss) = report.memory.latest_rss_bytes {
        let swap = report
            .memory
            .swap_bytes
            .filter(|swap| *swap > 0)
            .map(|swap| format!(", {} swapped out", human::bytes(swap)))
            .unwrap_or_default();
        let limit = report.memory.limit_bytes.map_or_else(
            || ", no limit known".to_owned(),
            |limit| format!(", limit {}", human::bytes(limit)),
        );
        page.prose(
            "  Resident   ",
            Style::Plain,
            &format!("{}{swap}{limit}", human::bytes(rss)),
        );
    }
    let fragmentation = &report.fragmentation;
    if let (Some(allocator), Some(held), Some(free)) = (
        &fragmentation.allocator,
        fragmentation.held_bytes,
        fragmentation.free_bytes,
    ) {
        let releasable = fragmentation
            .releasable_bytes
            .map(|bytes| format!(", {} could be trimmed", human::bytes(bytes)))
            .unwrap_or_default();
        page.prose(
            "  Allocator  ",
            Style::Plain,
            &format!(
                "{allocator} holds {}{}, of which {} are free{releasable}",
                human::bytes(held),
                // Without a look at its pages there is only its own word.
                match fragmentation.arenas.is_empty() {
                    true => "",
                    false => " in memory",
                },
                human::bytes(free)
            ),
        );
    }
    if let (Some(minor), Some(major)) = (report.faults.minor, report.faults.major) {
        page.prose(
            "  Faults     ",
            Style::Plain,
            &format!(
                "{} minor, {} major since the process started",
                human::count(minor),
                human::count(major)
            ),
        );
    }
}

fn sites(report: &Report, options: &ReportOptions) -> String {
    let extra = &report.extra;
    let all: u64 = extra.counts.values().sum();
    let each: Vec<String> = extra
        .counts
        .iter()
        .map(|(verdict, count)| format!("{} {}", human::count(*count), verdict.name()))
        .collect();
    let mut words = if each.is_empty() {
        "none".to_owned()
    } else {
        format!("{}: {}", human::count(all), each.join(", "))
    };
    if !options.show_healthy && extra.counts.contains_key(&Verdict::Healthy) {
        words.push_str(" (not shown; --show healthy)");
    }
    if extra.suppressed > 0 {
        words.push_str(&format!("; {} suppressed", human::count(extra.suppressed)));
    }
    if extra.filtered > 0 {
        words.push_str(&format!(
            "; {} of them not listed (--older-than, --min-bytes)",
            human::count(extra.filtered)
        ));
    }
    words
}

fn recording(report: &Report) -> String {
    let recording = &report.recording;
    let sampling = recording.sampling.as_ref();
    let hooks = sampling
        .and_then(|sampling| sampling.hooks_cpu_s)
        .map_or(String::new(), |seconds| {
            format!(", {} in the program's", human::duration(seconds))
        });
    let part = report.memory.parts.iter();
    let part =
        part.filter(|part| part.name == account::OWN && report.memory.measured_at_s.is_some());
    let mapped = human::bytes(recording.own_memory_bytes);
    let memory = match part.map(|part| human::bytes(part.bytes)).next() {
        Some(resident) => {
            format!("{resident} of resident memory, with its library ({mapped} mapped)")
        }
        None => format!("{mapped} of memory"),
    };
    format!(
        "used {memory} and {} of CPU in its own thread{hooks}; {} in {}",
        human::duration(recording.own_cpu_s),
        human::plural(recording.snapshots, "snapshot"),
        human::bytes(recording.size_bytes)
    )
}

/// Commands worth running next, each with its purpose. A shell takes each as it stands.
pub fn commands(report: &Report) -> Vec<(String, String)> {
    let extra = &report.extra;
    if extra.paths.is_empty() {
        return Vec::new();
    }
    let files = words(&extra.paths, extra.paths_glob.as_ref());
    let mut commands = Vec::new();
    if !extra.relatives.is_empty() {
        let all = extra.family_files();
        commands.push((
            format!(
                "leaktrack report {}",
                words(&all, extra.family_glob.as_ref())
            ),
            format!(
                "with {} of this family, which {}",
                match extra.relatives.len() {
                    1 => "the other process".to_owned(),
                    more => format!("the {more} other processes"),
                },
                match extra.relatives.len() {
                    1 => "has a recording of its own",
                    _ => "have recordings of their own",
                }
            ),
        ));
    }
    commands.extend([
        (
            format!("leaktrack report --group-by function {files}"),
            "the same, taken together by function; also by line, file, module, thread, process"
                .to_owned(),
        ),
        (
            format!("leaktrack report --format json --top 0 {files}"),
            "everything, for programs; --format markdown for an issue".to_owned(),
        ),
    ]);
    let findings = report.sites.iter().filter(|site| {
        site.verdict.is_finding() && site.suppressed_by.is_none() && !site.suppression.is_empty()
    });
    // Short enough for a line; the JSON has a block for this stack alone.
    let of_function = |site: &SiteReport| {
        let blamed = site.frames.get(site.blame.as_ref()?.frame);
        // One for a whole module would hide what comes later, and modules are called as they were started here.
        blamed?.function.as_ref()?;
        Some(suppress::suggestion(blamed)).filter(|line| !line.is_empty())
    };
    let short = findings.into_iter().find_map(of_function);
    if let Some(suppression) = short {
        commands.push((
            format!(
                "echo {} >> known.supp; leaktrack report --suppressions known.supp {files}",
                quote(&suppression)
            ),
            "if the first finding is known and meant to be".to_owned(),
        ));
    }
    if report
        .recording
        .windows
        .iter()
        .any(|window| window.to_s - window.from_s > 60.0)
    {
        commands.push((
            format!("leaktrack report --since 1m {files}"),
            "only the last minute, without the warm-up".to_owned(),
        ));
    }
    commands
}

/// The files as arguments: by the pattern that stands for exactly them, else one by one.
fn words(paths: &[String], glob: Option<&Glob>) -> String {
    match glob {
        Some(glob) => format!(
            "{}*{}",
            quote(&not_an_option(&glob.before)),
            match glob.after.is_empty() {
                true => String::new(),
                false => quote(&glob.after),
            }
        ),
        None => {
            let each: Vec<String> = paths
                .iter()
                .map(|path| quote(&not_an_option(path)))
                .collect();
            each.join(" ")
        }
    }
}

/// What begins with a dash is taken for an option, what is empty for a pattern of everything.
fn not_an_option(path: &str) -> String {
    match path.starts_with('-') || path.is_empty() {
        true => format!("./{path}"),
        false => path.to_owned(),
    }
}

/// As a shell takes it.
pub fn quote(word: &str) -> String {
    let plain = !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-+:=@%,".contains(c));
    if plain {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn commands_can_be_pasted() {
        assert_eq!(super::quote("/tmp/a.ltk"), "/tmp/a.ltk");
        assert_eq!(super::quote("it's (1).ltk"), r"'it'\''s (1).ltk'");
    }
}
