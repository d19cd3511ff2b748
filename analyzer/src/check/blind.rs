//! What the recording could not see: each reason why no finding would not mean no leak.

use std::path::Path;

use leaktrack_recording::EventKind;

use super::CheckOptions;
use super::document::Reason;
use crate::human;
use crate::model::{Ended, Family, Process};
use crate::report::{Report, coverage};
use crate::verdict::{self, Verdict};

/// Above this share of allocations dropped the figures are not to be relied on.
const DROPPED_SHARE: f64 = 0.01;

fn reason(code: &str, text: impl Into<String>, remedy: &str) -> Reason {
    Reason {
        code: code.to_owned(),
        text: text.into(),
        remedy: remedy.to_owned(),
        fatal: false,
    }
}

/// The share of allocations made in processes too short to be judged, if it is most of them: a shell
/// that lives long says nothing of the programs that it runs.
fn in_short_processes(family: &Family) -> Option<f64> {
    let (mut all, mut short) = (0_u64, 0_u64);
    for (_, process) in family.present() {
        let made = process.last_head().map_or(0, |head| {
            head.totals.allocations.saturating_add(head.totals.mappings)
        });
        all = all.saturating_add(made);
        if process.grid.len() < verdict::ENOUGH_POINTS {
            short = short.saturating_add(made);
        }
    }
    let share = short as f64 / all.max(1) as f64;
    (share > 0.5).then_some(share)
}

/// What sampling may have missed, if the gate is asked for as little: a leak whose blocks were never sampled
/// does not show, and memory that was not sampled may point at blocks that are lost.
fn sampled(family: &Family, report: &Report, options: &CheckOptions) -> Option<Reason> {
    let unseen = family
        .present()
        .filter_map(|(_, process)| coverage::unseen_bytes(process))
        .reduce(u64::saturating_add)?;
    let windows = report.recording.windows.iter();
    let recorded_s: f64 = windows.map(|span| span.to_s - span.from_s).sum();
    let grown = options.max_growth_bytes_per_s.unwrap_or(0.0) * recorded_s;
    let does_not_matter = options.min_bytes.max(grown as u64);
    let lost = options.fail_on.contains(&Verdict::Lost);
    (lost || does_not_matter < unseen).then(|| {
        reason(
            "sampled",
            format!(
                "Blocks were sampled: call sites that were never sampled hold up to {}{}.",
                human::bytes(unseen),
                if lost { ", and what was not sampled may hide lost blocks" } else { "" }
            ),
            "Record every block (mode=exact), or ask for growth that sampling cannot miss: --fail-on growing with \
             a --min-bytes or --max-growth above that.",
        )
    })
}

/// The share of all page faults that children took of which there is no recording, if it is most of them: they
/// ended before their first snapshot. The kernel counts the faults of children that a process waited for.
fn in_children_unseen(family: &Family) -> Option<f64> {
    let root = family.processes.first()?;
    let children = root.window_heads().rev();
    let children = children
        .map(|head| head.system)
        .find_map(|it| it?.children_minor_faults)?;
    let own = |process: &Process| process.last_head().map_or(0, |head| head.minor_faults);
    let recorded = family.processes.iter().skip(1).map(own);
    let unseen = children.saturating_sub(recorded.fold(0, u64::saturating_add));
    let share = unseen as f64 / own(root).saturating_add(children).max(1) as f64;
    (share > 0.5).then_some(share)
}

/// There is no recording, or nothing in it: the program ran untracked.
pub fn nothing_recorded(path: &Path, what: &str) -> Reason {
    Reason {
        fatal: true,
        ..reason(
            "no-recording",
            format!("{}: {what}: nothing was recorded.", path.display()),
            "See what the tracked run said on stderr: a wrong option, a static or set-user-ID program, a full disk \
             and a program that ended at once leave no recording; `leaktrack doctor CMD` tells which it is.",
        )
    }
}

/// Everything that makes silence worthless.
pub fn reasons(family: &Family, report: &Report, options: &CheckOptions) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let made = report
        .totals
        .allocations
        .saturating_add(report.totals.mappings);
    if report.recording.snapshots == 0 || made == 0 {
        reasons.push(reason(
            "nothing-recorded",
            "Not one allocation was recorded.",
            "Record for longer or with a shorter interval; `leaktrack doctor CMD` tells what a preloaded library can see of it.",
        ));
    }
    if let Some(allocator) = &report.coverage.untracked_allocator {
        reasons.push(reason(
            "untracked-allocator",
            format!("The program brings its own allocator ({allocator}), which a preloaded library cannot see."),
            "Build it for the gate with the system's malloc.",
        ));
    }
    let dropped = report.coverage.dropped;
    if dropped as f64 > DROPPED_SHARE * made as f64 {
        reasons.push(reason(
            "dropped",
            format!(
                "{} of {} could not be recorded.",
                human::count(dropped),
                human::plural(made.saturating_add(dropped), "allocation")
            ),
            "Give leaktrack more memory (memory=).",
        ));
    }
    reasons.extend(sampled(family, report, options));
    // Recordings that were removed for want of room had been looked at: their memory did not grow.
    let unrecorded = family.present().fold(0_u64, |sum, (_, process)| {
        sum.saturating_add(process.family_counts.unrecorded.into())
    });
    if unrecorded > 0 {
        reasons.push(reason(
            "children-unrecorded",
            format!(
                "{} of the family found no room for a recording.",
                human::plural(unrecorded, "process")
            ),
            "Give the family more room (family-disk=), or record fewer of its processes.",
        ));
    }
    if let Some(damaged) = family.processes.iter().find(|it| !it.problems.is_empty()) {
        reasons.push(reason(
            "damaged",
            format!(
                "{} is damaged: {}.",
                damaged.path.display(),
                damaged.problems.first().map_or("", String::as_str)
            ),
            "Record again; do not copy a recording while it is being written.",
        ));
    }
    for process in &family.processes {
        let limits = process.events.iter().rev();
        let limit = limits.clone().find(|event| event.kind == EventKind::Limit);
        if let (Ended::Unfinished, Some(limit)) = (process.ended, limit) {
            reasons.push(reason(
                "stopped",
                format!(
                    "The recording of {} (pid {}) stops before the program's end: {}.",
                    process.name(),
                    process.pid,
                    limit.text
                ),
                "Give the recording room on its disk, and the program a sandbox that leaves leaktrack's calls alone.",
            ));
        }
    }
    if options.fail_on.contains(&Verdict::Growing)
        && let Some(why) = &report.extra.too_short
    {
        reasons.push(reason(
            "too-short",
            why.clone(),
            "Record for longer, or with a shorter interval.",
        ));
    } else if options.fail_on.contains(&Verdict::Growing)
        && let Some(share) = in_short_processes(family)
    {
        reasons.push(reason(
            "too-short",
            format!(
                "{:.0}% of all allocations were made in processes with fewer than {} snapshots.",
                share * 100.0,
                verdict::ENOUGH_POINTS
            ),
            "Exercise the program in a process that lives longer, or record with a shorter interval.",
        ));
    }
    if let Some(share) = in_children_unseen(family) {
        reasons.push(reason(
            "short-children",
            format!(
                "Children without a recording took {:.0}% of all page faults: they ended before their first \
                 snapshot, or could not be tracked.",
                share * 100.0
            ),
            "Record the program under test, not a script that starts it many times.",
        ));
    }
    if options.fail_on.contains(&Verdict::Lost) && !report.scans.iter().any(|scan| scan.complete) {
        let why_not = report.scans.iter().find_map(|scan| scan.why_not.as_deref());
        let text = match (report.scans.is_empty(), why_not) {
            (true, _) => "No reachability scan was made: lost memory would not show.".to_owned(),
            (false, None) => {
                "No reachability scan saw all memory: lost memory might not show.".to_owned()
            }
            (false, Some(why)) => {
                format!("No reachability scan saw all memory ({why}): lost memory might not show.")
            }
        };
        reasons.push(reason(
            "no-scan",
            text,
            "Let the program end by itself, so that it is scanned at exit, or ask for growth alone: --fail-on growing.",
        ));
    }
    reasons
}
