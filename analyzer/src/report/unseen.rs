//! Owns why the silence of a report would mean little: each reason with what happened and what to do.
//!
//! The report tells them at its top and `check` asks them, so that the two never disagree. What depends on the
//! question (what is to fail a gate) is not here.

use leaktrack_recording::{EventKind, Mode};

use super::coverage::DROPPED_SHARE;
use super::document::{Coverage, Unseen};
use super::recording::{enabled, span_and_off_ms};
use crate::human;
use crate::model::{Ended, Family, Process};
use crate::report::coverage;

/// Above this share of the time without recording, silence means little: as with dropped allocations.
const OFF_SHARE: f64 = DROPPED_SHARE;
/// Switching on takes a moment.
const LEAST_OFF_MS: u64 = 200;
/// From this share of the time or of the memory on a report says nothing about most of it.
const MOST: f64 = 0.5;

/// All of them, what weighs most first; `usable` is taken away where most of the memory was not seen.
pub fn reasons(family: &Family, coverage: &mut Coverage, made: u64) -> Vec<Unseen> {
    let mut found = Vec::new();
    found.extend(untracked(coverage));
    if let Some((share, reason)) = switched_off(family) {
        coverage.usable &= share <= MOST;
        found.push(reason);
    }
    if made == 0 {
        let has_reason = !found.is_empty();
        found.push(nothing_recorded(family, has_reason));
    }
    found.extend(damaged(family));
    found.extend(dropped(coverage.dropped, made));
    for (_, process) in family.present() {
        if let Some(reason) = coarse(process) {
            coverage.usable = false;
            found.push(reason);
        }
    }
    found.extend(family.processes.iter().filter_map(stopped));
    found.extend(no_room(family));
    found.extend(in_short_children(family));
    found
}

fn unseen(code: &str, text: String, remedy: impl Into<String>) -> Unseen {
    Unseen {
        code: code.to_owned(),
        text,
        remedy: remedy.into(),
    }
}

fn untracked(coverage: &Coverage) -> Option<Unseen> {
    let allocator = coverage.untracked_allocator.as_ref()?;
    Some(unseen(
        "untracked-allocator",
        format!(
            "The program brings its own allocator ({allocator}): what it allocates there cannot be seen by a preloaded library, so this report covers only what went through the C library's malloc."
        ),
        "Build it with the system's malloc, at least for the recording.",
    ))
}

fn nothing_recorded(family: &Family, has_reason: bool) -> Unseen {
    let mut processes = family.processes.iter();
    let (text, remedy) = if processes.all(|process| process.heads.is_empty()) {
        (
            "The recording holds no snapshot: the process ended, or was killed, before the first was taken, or the file was cut before it.",
            "A shorter interval (interval=10ms) helps.",
        )
    } else if has_reason {
        ("Not one allocation was recorded.", "")
    } else {
        (
            "Not one allocation was recorded. The program may use an allocator of its own, linked into it.",
            "`leaktrack doctor CMD` tells what a preloaded library can see of it.",
        )
    };
    unseen("nothing-recorded", text.to_owned(), remedy)
}

/// Recording was off for a time that matters: the share of the time, over all processes.
fn switched_off(family: &Family) -> Option<(f64, Unseen)> {
    let (all_ms, off_ms) = span_and_off_ms(family);
    let (mut dormant, mut never) = (true, true);
    // So long before the end it was switched on last, where it is on to the end.
    let mut last_on_ms: Option<u64> = Some(0);
    for (_, process) in family.present() {
        let spans = enabled(process);
        dormant &= process.mode == Mode::Dormant;
        never &= spans.is_empty();
        match spans.last() {
            Some((from, to)) if *to == process.to_ms && to > from => {
                let was_off = *from > process.from_ms;
                last_on_ms = last_on_ms.map(|most| most.max(if was_off { to - from } else { 0 }));
            }
            _ => last_on_ms = None,
        }
    }
    let share = match never {
        true => 1.0,
        false => off_ms as f64 / all_ms.max(1) as f64,
    };
    if !never && (off_ms < LEAST_OFF_MS || share <= OFF_SHARE) {
        return None;
    }
    let time = |ms: u64| human::duration(ms as f64 / 1e3);
    let text = match (never, dormant) {
        (true, true) => format!(
            "Recording was off all the time, {}: it began dormant (mode=dormant) and was not enabled.",
            time(all_ms)
        ),
        (true, false) => format!(
            "Recording was off all the time, {}: it was disabled before.",
            time(all_ms)
        ),
        (false, _) => format!(
            "Recording was off for {} of {}: what was allocated meanwhile is in no figure here, and may be lost or grow.",
            time(off_ms),
            time(all_ms)
        ),
    };
    let remedy = match last_on_ms.map(|ms| ms / 1000).filter(|s| *s > 0) {
        Some(seconds) if !never => format!(
            "Leave recording on, or ask about the time since it was switched on alone: --since {seconds}s."
        ),
        _ => "Leave recording on: `leaktrack enable` switches it on in a running process, mode=exact from the start."
            .to_owned(),
    };
    Some((share, unseen("switched-off", text, remedy)))
}

/// The file is not whole. What was lost with it may be anything.
fn damaged(family: &Family) -> Option<Unseen> {
    let mut damaged = family.processes.iter().filter(|it| !it.problems.is_empty());
    let first = damaged.next()?;
    let problem = first.problems.first().map_or("", String::as_str);
    let more = match first.problems.len() - 1 {
        0 => String::new(),
        more => format!(", and {}", human::plural(more as u64, "more place")),
    };
    let others = match damaged.count() {
        0 => String::new(),
        others => format!(
            "; so {} of its family",
            if others == 1 {
                "is another recording".to_owned()
            } else {
                format!("are {others} other recordings")
            }
        ),
    };
    let stackless = family.sites.iter().filter(|site| site.stack.is_empty());
    let nameless = match stackless.count() {
        0 => String::new(),
        sites => format!(
            " {} with it.",
            match sites {
                1 => "One call site lost its stack".to_owned(),
                sites => format!(
                    "{} call sites lost their stacks",
                    human::count(sites as u64)
                ),
            }
        ),
    };
    Some(unseen(
        "damaged",
        format!(
            "{} is damaged: {problem}{more}{others}. What follows is what could be read.{nameless}",
            first.path.display()
        ),
        "Copy it again, once its process has ended, or record again.",
    ))
}

fn dropped(dropped: u64, made: u64) -> Option<Unseen> {
    (dropped as f64 > DROPPED_SHARE * made as f64).then(|| {
        unseen(
            "dropped",
            format!(
                "{} of {} could not be recorded for want of memory.",
                human::count(dropped),
                human::plural(made.saturating_add(dropped), "allocation")
            ),
            "Give leaktrack more memory (memory=).",
        )
    })
}

/// Sampled so coarsely that most of the memory may belong to call sites that no sample fell on.
fn coarse(process: &Process) -> Option<Unseen> {
    let unseen_bytes = coverage::unseen_bytes(process)?;
    let last = process.last_head()?;
    let live_bytes = last
        .totals
        .allocated_bytes
        .saturating_sub(last.totals.freed_bytes);
    let heads = process.window_heads();
    let resident = heads.map(|head| head.rss_bytes.saturating_add(head.swap_bytes));
    let memory_bytes = resident.max().unwrap_or(0).max(live_bytes);
    let most = unseen_bytes as f64 >= MOST * memory_bytes as f64 && memory_bytes > 0;
    most.then(|| {
        unseen(
            "coarse-samples",
            format!(
                "{} (pid {}) was sampled too coarsely, down to a sample every {}{}: call sites without a sample may hold {} of its {}.",
                process.name(),
                process.pid,
                human::bytes(process.sample_mean_bytes),
                match process.mode {
                    Mode::Exact | Mode::Dormant => " since leaktrack's memory was full",
                    _ => "",
                },
                human::bytes(unseen_bytes.min(memory_bytes)),
                human::bytes(memory_bytes)
            ),
            finer(process.mode),
        )
    })
}

/// How to have every block recorded, or more of them.
pub fn finer(mode: Mode) -> &'static str {
    match mode {
        Mode::Exact | Mode::Dormant => "Give leaktrack more memory (memory=).",
        Mode::Budget { .. } => "Raise the budget, or record every block (mode=exact).",
        Mode::Sample { .. } => "Sample with a smaller mean, or record every block (mode=exact).",
    }
}

fn stopped(process: &Process) -> Option<Unseen> {
    let mut events = process.events.iter().rev();
    let limit = events.find(|event| event.kind == EventKind::Limit)?;
    (process.ended == Ended::Unfinished).then(|| {
        unseen(
            "stopped",
            format!(
                "The recording of {} (pid {}) stops before the program's end: {}.",
                process.name(),
                process.pid,
                limit.text
            ),
            "Give the recording room on its disk, and the program a sandbox that leaves leaktrack's calls alone.",
        )
    })
}

/// Recordings that were removed for want of room had been looked at: their memory did not grow.
fn no_room(family: &Family) -> Option<Unseen> {
    let unrecorded = family.present().fold(0_u64, |sum, (_, process)| {
        sum.saturating_add(process.family_counts.unrecorded.into())
    });
    (unrecorded > 0).then(|| {
        unseen(
            "children-unrecorded",
            format!(
                "{} of the family found no room for a recording.",
                human::plural(unrecorded, "process")
            ),
            "Give the family more room (family-disk=), or record fewer of its processes.",
        )
    })
}

/// Most page faults were taken by children of which there is no recording: they ended before their first
/// snapshot. The kernel counts the faults of children that a process waited for.
fn in_short_children(family: &Family) -> Option<Unseen> {
    let root = family.processes.first()?;
    let mut heads = root.window_heads().rev();
    let children = heads.find_map(|head| head.system?.children_minor_faults)?;
    let own = |process: &Process| process.last_head().map_or(0, |head| head.minor_faults);
    let recorded = family.processes.iter().skip(1).map(own);
    let without = children.saturating_sub(recorded.fold(0, u64::saturating_add));
    let share = without as f64 / own(root).saturating_add(children).max(1) as f64;
    (share > MOST).then(|| {
        unseen(
            "short-children",
            format!(
                "Children without a recording took {:.0}% of all page faults: they ended before their first \
                 snapshot, or could not be tracked.",
                share * 100.0
            ),
            "Record the program under test, not a script that starts it many times.",
        )
    })
}
