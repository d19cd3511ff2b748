//! What the recording could not see, said plainly.
//!
//! An empty or half-blind report must never look like a clean one.

use std::path::Path;

use leaktrack_recording::control::FamilyCounts;
use leaktrack_recording::{EventKind, Mode};

use super::document::{Coverage, Unseen};
use super::{means, unseen};
use crate::human;
use crate::model::process::Ended;
use crate::model::sampling;
use crate::model::{Family, Process};
use crate::target::ElfFacts;

/// Above this share of allocations dropped the figures are not to be relied on.
pub const DROPPED_SHARE: f64 = 0.01;

/// The coverage of a family's recordings.
pub fn coverage(family: &Family) -> Coverage {
    let mut coverage = Coverage {
        usable: true,
        ..Coverage::default()
    };
    let mut allocations: u64 = 0;
    for (_, process) in family.present() {
        let Some(head) = process.last_head() else {
            continue;
        };
        allocations = allocations
            .saturating_add(head.totals.allocations)
            .saturating_add(head.totals.mappings);
        let lost = &head.coverage;
        coverage.unknown_frees = coverage.unknown_frees.saturating_add(lost.unknown_frees);
        coverage.dropped = coverage.dropped.saturating_add(lost.dropped);
        coverage.cut_stacks = coverage.cut_stacks.saturating_add(lost.cut_stacks);
        coverage.folded_stacks = coverage.folded_stacks.saturating_add(lost.folded_stacks);
    }
    coverage.untracked_allocator = family.processes.iter().find_map(untracked_allocator);
    if allocations == 0 || coverage.untracked_allocator.is_some() {
        coverage.usable = false;
    }
    if coverage.dropped as f64 > DROPPED_SHARE * allocations as f64 {
        coverage.usable = false;
    }
    coverage.unseen = unseen::reasons(family, &mut coverage, allocations);
    let notes = &mut coverage.notes;
    // The others have a note of their own below, with what else is known of them.
    let only_here = ["untracked-allocator", "nothing-recorded", "short-children"];
    let unseen = coverage.unseen.iter();
    notes.extend(
        unseen
            .filter(|it| only_here.contains(&it.code.as_str()))
            .map(Unseen::sentence),
    );
    for (_, process) in family.present() {
        process_notes(process, notes);
    }
    for path in &family.unwritten {
        coverage.notes.push(format!(
            "{}: nothing was recorded in it: its process ended, or was killed, before it could write. It is left out.",
            path.display()
        ));
    }
    loss_notes(family, &mut coverage);
    family_notes(family, &mut coverage);
    coverage.notes.extend(super::scans::notes(family));
    coverage
}

/// The allocator that is linked into the executable or its own, if the file is here and the same.
fn untracked_allocator(process: &Process) -> Option<String> {
    let facts = ElfFacts::read(Path::new(&process.exe)).ok()?;
    let recorded = build_id(process).unwrap_or_default();
    if !recorded.is_empty() && recorded != facts.build_id {
        return None;
    }
    let name = process.name();
    if let Some(allocator) = facts.own_allocator {
        return Some(format!("{allocator}, linked into {name}"));
    }
    if facts.is_go {
        return Some(format!("the Go runtime's, in {name}"));
    }
    facts
        .defines_malloc
        .then(|| format!("a malloc of its own, in {name}"))
}

/// Build-id of the executable as recorded.
pub fn build_id(process: &Process) -> Option<Vec<u8>> {
    let module = process
        .modules
        .values()
        .find(|module| module.path == process.exe.as_bytes())?;
    (!module.build_id.is_empty()).then(|| module.build_id.clone())
}

fn process_notes(process: &Process, notes: &mut Vec<String>) {
    let name = format!("{} (pid {})", process.name(), process.pid);
    match process.ended {
        Ended::Unfinished if !process.problems.is_empty() => notes.push(format!(
            "How {name} ended is not in its recording, which is damaged. What happened after the last snapshot that could be read is not in it."
        )),
        Ended::Unfinished => notes.push(format!(
            "The recording of {name} stops without an end: it was killed or crashed, its file was cut, or it runs where this host cannot see it. What happened after the last snapshot is not in it."
        )),
        Ended::Running => notes.push(format!("{name} is still running; this is its state at the last snapshot.")),
        Ended::Exit(_) | Ended::Exec => {}
    }
    let limits = process.events.iter();
    for event in limits.filter(|event| event.kind == EventKind::Limit) {
        notes.push(format!(
            "{name}, {:.1} s after its start: {}.",
            event.at_ms as f64 / 1e3,
            event.text
        ));
    }
    const SHOWN: usize = 3;
    for problem in process.problems.iter().take(SHOWN) {
        notes.push(format!("{}: {problem}.", process.path.display()));
    }
    if let Some(more) = process
        .problems
        .len()
        .checked_sub(SHOWN)
        .filter(|more| *more > 0)
    {
        notes.push(format!(
            "{}: {more} more damaged places.",
            process.path.display()
        ));
    }
    let is_python = ["python", "uwsgi", "gunicorn"]
        .iter()
        .any(|prefix| process.name().starts_with(prefix));
    if is_python
        && process
            .env
            .get("PYTHONMALLOC")
            .is_none_or(|value| !value.starts_with("malloc"))
    {
        notes.push(format!("{name} is Python with its own pool allocator, which hides objects up to 512 bytes in mappings: `leaktrack run --python` shows them."));
    }
    let switched = process.mode == Mode::Dormant
        || process
            .events
            .iter()
            .any(|event| event.kind == EventKind::Disable && event.at_ms <= process.to_ms);
    if switched {
        notes.push(format!(
            "Recording of {name} was switched off at times (recording.windows says when it was on): blocks allocated meanwhile are not in it, and their frees count as frees of unknown blocks."
        ));
    }
    if let Some(unseen) = unseen_bytes(process) {
        notes.push(sampled(process, &name, unseen));
    }
}

/// At most so many live bytes are in call sites none of whose live blocks was sampled, with 95% confidence;
/// `None` of a process of which every block was recorded.
pub fn unseen_bytes(process: &Process) -> Option<u64> {
    let with = |samples: u64| {
        let bases = process.sites.iter().filter_map(|site| site.basis);
        bases
            .filter(|basis| basis.samples.round() as u64 == samples)
            .count() as u64
    };
    let mean_bytes = Some(process.sample_mean_bytes).filter(|mean| *mean > 0)?;
    let bound = sampling::unseen_bytes(mean_bytes, with(1), with(2));
    // Nothing of what was allocated earlier, or never, went unseen.
    Some(bound.min(process.most_unseen_bytes()))
}

/// What sampling leaves open.
fn sampled(process: &Process, name: &str, unseen: u64) -> String {
    format!(
        "{}: the figures of its heap sites are estimates with a 95% interval; its total allocations, frees and allocated bytes are exact. Sites none of whose live blocks was sampled hold {} at most (95%), all together{}.",
        means::sentence(process, name),
        human::bytes(unseen),
        // A site's interval knows of the means of its samples alone.
        if matches!(process.mode, Mode::Sample { .. }) {
            ""
        } else {
            ", with what the others hold from times of a coarser mean"
        }
    )
}

/// What the option `family-disk` left no room for.
fn family_notes(family: &Family, coverage: &mut Coverage) {
    let counts = || family.present().map(|(_, process)| process.family_counts);
    let sum = |of: fn(&FamilyCounts) -> u64| {
        counts().fold(0_u64, |sum, counts| sum.saturating_add(of(&counts)))
    };
    let (folded, unrecorded) = (sum(|c| c.folded.into()), sum(|c| c.unrecorded.into()));
    if folded > 0 {
        coverage.notes.push(format!(
            "To stay under family-disk, {} of ended children {} removed: {} with {} live at their ends, whose call sites are not shown.",
            human::plural(folded, "recording"),
            if folded == 1 { "was" } else { "were" },
            human::plural(sum(|c| c.allocations), "allocation"),
            human::bytes(sum(|c| c.live_bytes)),
        ));
    }
    if unrecorded > 0 {
        coverage.notes.push(format!(
            "{} found no room under family-disk and left no recording.",
            human::plural(unrecorded, "process"),
        ));
    }
    if folded + unrecorded > 0 {
        coverage.children_unrecorded = Some(folded.saturating_add(unrecorded));
    }
}

fn loss_notes(family: &Family, coverage: &mut Coverage) {
    let sum = |f: fn(&leaktrack_recording::Coverage) -> u64| {
        family
            .present()
            .filter_map(|(_, process)| process.last_head())
            .fold(0_u64, |sum, head| sum.saturating_add(f(&head.coverage)))
    };
    let mut note = |count: u64, noun: &str, rest: &str| {
        if count > 0 {
            coverage.notes.push(format!(
                "{} {}.",
                human::plural(count, noun),
                agreeing(count, rest)
            ));
        }
    };
    note(
        coverage.dropped,
        "allocation",
        "could not be recorded for want of memory; a higher memory= helps",
    );
    note(
        sum(|lost| lost.nested),
        "allocation",
        "made by signal handlers inside malloc passed unrecorded",
    );
    note(
        sum(|lost| lost.broken_stacks),
        "stack",
        "ended early because no unwind information was found",
    );
    note(coverage.cut_stacks, "stack", "deeper than depth= were cut");
    note(
        coverage.folded_stacks,
        "stack",
        "were folded into shorter ones for want of memory",
    );
    note(
        coverage.unknown_frees,
        "free",
        "of blocks that were allocated before recording, or elsewhere, were ignored",
    );
    note(
        sum(|lost| lost.inherited_freed_blocks),
        "block",
        "inherited by fork were freed in children",
    );
    for line in &family.symbol_notes {
        coverage.notes.push(line.clone());
    }
}

/// What is said of several, of one: its last verb agrees.
fn agreeing(count: u64, words: &str) -> String {
    match words.rsplit_once("were ") {
        Some((before, after)) if count == 1 => format!("{before}was {after}"),
        _ => words.to_owned(),
    }
}
