//! Who was recorded, how, when, and how it ended.

use leaktrack_recording::{EventKind, Mode};

use super::coverage;
use super::document::{Oom, ProcessInfo, RecordingInfo, Span};
use super::means;
use super::memory::round;
use crate::human;
use crate::model::process::Ended;
use crate::model::{Family, Process};
use crate::symbolize::hex;

/// The process at `index` of the family.
pub fn process_info(family: &Family, index: usize) -> Option<ProcessInfo> {
    let process = family.processes.get(index)?;
    let (ended, exit_status) = match process.ended {
        Ended::Exit(status) => ("exit", Some(status)),
        Ended::Exec => ("exec", None),
        Ended::Running => ("running", None),
        Ended::Unfinished => ("unfinished", None),
    };
    let last_record_s = round(process.last_record_ms as f64 / 1e3);
    Some(ProcessInfo {
        index,
        parent: family.parents.get(index).copied().flatten(),
        pid: process.pid,
        exe: process.exe.clone(),
        argv: process.argv.clone(),
        build_id: coverage::build_id(process).map(|id| hex(&id)),
        host: process.host.clone(),
        labels: process.labels.clone(),
        started_unix_s: round(process.started_unix_ns as f64 / 1e9),
        duration_s: last_record_s,
        ended: ended.to_owned(),
        exit_status,
        signal: None,
        last_record_s,
        oom: oom(process),
        inherited_bytes: process.inherited_bytes,
        damaged: !process.problems.is_empty(),
    })
}

/// An end without a word at the limit is most likely the kernel's doing.
fn oom(process: &Process) -> Oom {
    let head = process
        .heads
        .last()
        .filter(|_| process.ended == Ended::Unfinished);
    let limit = head.and_then(|head| {
        Some((
            head.rss_bytes.saturating_add(head.swap_bytes),
            head.limit_bytes?,
        ))
    });
    match limit {
        Some((used, limit)) if used as f64 >= 0.9 * limit as f64 => Oom {
            likely: true,
            why: format!(
                "The recording stops without an end at {} of a limit of {}.",
                human::bytes(used),
                human::bytes(limit)
            ),
        },
        _ => Oom::default(),
    }
}

/// How the family was recorded.
pub fn recording_info(family: &Family) -> RecordingInfo {
    let root = family.processes.first();
    let (mode, sample_bytes) = match root.map(|process| process.mode) {
        Some(Mode::Sample { mean_bytes }) => ("sample", Some(mean_bytes)),
        Some(Mode::Budget { .. }) => ("budget", None),
        Some(Mode::Dormant) => ("dormant", None),
        Some(Mode::Exact) | None => ("exact", None),
    };
    let heads = || {
        family
            .processes
            .iter()
            .filter_map(|process| process.last_head())
    };
    let in_order = |process: &Process| {
        process.problems.is_empty() && matches!(process.ended, Ended::Exit(_) | Ended::Exec)
    };
    let (span_ms, off_ms) = span_and_off_ms(family);
    RecordingInfo {
        mode: mode.to_owned(),
        sample_bytes,
        sampling: means::info(family),
        complete: family.processes.iter().all(in_order),
        snapshots: family
            .processes
            .iter()
            .flat_map(|process| &process.heads)
            .fold(0, |sum, head| {
                sum.saturating_add(u64::from(head.merged.max(1)))
            }),
        size_bytes: family
            .processes
            .iter()
            .fold(0, |sum, process| sum.saturating_add(process.file_bytes)),
        own_memory_bytes: heads().fold(0, |sum, head| sum.saturating_add(head.own_memory_bytes)),
        own_cpu_s: round(heads().fold(0.0, |sum, head| sum + head.own_cpu_ms as f64 / 1e3)),
        windows: windows(family),
        span_s: round(span_ms as f64 / 1e3),
        off_s: round(off_ms as f64 / 1e3),
    }
}

/// The time that is reported, and how much of it recording was off, both added up over the processes.
pub fn span_and_off_ms(family: &Family) -> (u64, u64) {
    let times = family.present().map(|(_, process)| {
        let span_ms = process.to_ms.saturating_sub(process.from_ms);
        let on_ms: u64 = enabled(process).iter().map(|(from, to)| to - from).sum();
        (span_ms, span_ms.saturating_sub(on_ms))
    });
    times.fold((0, 0), |sum: (u64, u64), (span_ms, off_ms)| {
        (sum.0.saturating_add(span_ms), sum.1.saturating_add(off_ms))
    })
}

/// The spans of time that were recorded and are reported, overlapping ones joined.
fn windows(family: &Family) -> Vec<Span> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for (index, process) in family.processes.iter().enumerate() {
        let start_ms = (family.start_s(index) * 1e3) as u64;
        let shifted = enabled(process)
            .into_iter()
            .map(|(from, to)| (start_ms.saturating_add(from), start_ms.saturating_add(to)));
        spans.extend(shifted);
    }
    spans.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    let seconds = |ms: u64| round(ms as f64 / 1e3);
    let span = |(from, to)| Span {
        from_s: seconds(from),
        to_s: seconds(to),
    };
    joined.into_iter().map(span).collect()
}

/// When recording was switched on, within the window.
pub fn enabled(process: &Process) -> Vec<(u64, u64)> {
    let mut spans = Vec::new();
    let mut on_since = (process.mode != Mode::Dormant).then_some(process.from_ms);
    for event in &process.events {
        let at_ms = event.at_ms.clamp(process.from_ms, process.to_ms);
        match (event.kind, on_since) {
            (EventKind::Enable, None) => on_since = Some(at_ms),
            (EventKind::Disable, Some(from)) => {
                spans.push((from, at_ms));
                on_since = None;
            }
            _ => {}
        }
    }
    spans.extend(on_since.map(|from| (from, process.to_ms)));
    spans
}
