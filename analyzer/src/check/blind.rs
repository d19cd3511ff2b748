//! What the recording could not see: each reason why no finding would not mean no leak.

use std::path::Path;

use super::CheckOptions;
use super::document::Reason;
use crate::human;
use crate::model::Family;
use crate::report::{Report, coverage, unseen};
use crate::verdict::{self, Verdict};

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

fn recorded_s(report: &Report) -> f64 {
    let windows = report.recording.windows.iter();
    windows.map(|span| span.to_s - span.from_s).sum()
}

/// What sampling may have missed, if the gate is asked for as little: a leak whose blocks were never sampled
/// does not show, and memory that was not sampled may point at blocks that are lost.
fn sampled(family: &Family, report: &Report, options: &CheckOptions) -> Option<Reason> {
    let unseen = family
        .present()
        .filter_map(|(_, process)| coverage::unseen_bytes(process))
        .reduce(u64::saturating_add)?;
    let mut sampled = family
        .present()
        .filter(|(_, process)| process.sample_mean_bytes > 0);
    let mode = sampled.next()?.1.mode;
    let grown = options.max_growth_bytes_per_s.unwrap_or(0.0) * recorded_s(report);
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
            &format!(
                "{} Or ask for growth that sampling cannot miss: --fail-on growing with a --min-bytes or \
                 --max-growth above that.",
                unseen::finer(mode)
            ),
        )
    })
}

/// Memory rose, and whether that is growth cannot be told: silence would say that it is none.
fn undecided(report: &Report, options: &CheckOptions) -> Option<Reason> {
    let undecided = report.extra.undecided.as_ref()?;
    let grown = options.max_growth_bytes_per_s.unwrap_or(0.0) * recorded_s(report) / 2.0;
    let matters = undecided.bytes > options.min_bytes.max(grown as u64);
    (options.fail_on.contains(&Verdict::Growing) && matters).then(|| {
        let settle = undecided.settle.clone();
        reason(
            "undecided",
            format!("No finding, but {}.", undecided.sentence()),
            &settle.unwrap_or_else(|| "Record for longer.".to_owned()),
        )
    })
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

/// There is a recording, and nothing of it is left.
pub fn unreadable(path: &Path, problem: &str) -> Reason {
    Reason {
        fatal: true,
        ..reason(
            "damaged",
            format!(
                "{} is damaged: {problem}. No snapshot of it can be read.",
                path.display()
            ),
            "Copy it again, once its process has ended, or record again.",
        )
    }
}

/// Everything that makes silence worthless.
pub fn reasons(family: &Family, report: &Report, options: &CheckOptions) -> Vec<Reason> {
    let unseen = report.coverage.unseen.iter();
    let mut reasons: Vec<Reason> = unseen
        .map(|it| reason(&it.code, it.text.clone(), &it.remedy))
        .collect();
    if !reasons.iter().any(|it| it.code == "coarse-samples") {
        reasons.extend(sampled(family, report, options));
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
    reasons.extend(undecided(report, options));
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
            // The reason names the option that was too small.
            match why_not.is_some_and(|why| why.contains("(option memory)")) {
                true => "Give leaktrack more memory (memory=), or ask for growth alone: --fail-on growing.",
                false => {
                    "Let the program end by itself, so that it is scanned at exit, or ask for growth alone: --fail-on growing."
                }
            },
        ));
    }
    reasons
}
