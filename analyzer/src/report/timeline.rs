//! The family over time: the sum of its processes at each moment when one of them was looked at.

use leaktrack_recording::{EventKind, SnapshotHead, System};

use super::document::{EventReport, Moment};
use super::memory::{live_bytes, round};
use super::system;
use crate::model::{Family, Process};

/// More moments than this are thinned evenly in time.
const MOMENTS: usize = 600;

/// What a process adds from a time on: seconds, its index, its snapshot; `None` after its end.
type Change = (f64, usize, Option<SnapshotHead>);

/// The moments of the window.
pub fn timeline(family: &Family) -> Vec<Moment> {
    let mut changes: Vec<Change> = Vec::new();
    for (index, process) in family.processes.iter().enumerate() {
        let start_s = family.start_s(index);
        let at = |at_ms: u64| start_s + at_ms as f64 / 1e3;
        let heads = with_peaks(process);
        changes.extend(heads.map(|head| (at(head.at_ms), index, Some(head))));
        let goes_on = at_end(family, index, process);
        if let Some(last) = process.window_heads().next_back().filter(|_| !goes_on) {
            // At an exec the memory is gone at once, else by the next snapshot at the latest.
            let replaced = family.superseded.get(index) == Some(&true);
            let until_s = if replaced {
                0.0
            } else {
                process.interval_ms.max(1) as f64 / 1e3
            };
            changes.push((at(last.at_ms) + until_s, index, None));
        }
    }
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut current: Vec<Option<SnapshotHead>> = vec![None; family.processes.len()];
    // What each process last knew of the system, which not every snapshot looks at.
    let mut known: Vec<Option<System>> = vec![None; family.processes.len()];
    let mut moments: Vec<Moment> = Vec::new();
    // What ended processes counted stays.
    let mut ended: Option<u64> = Some(0);
    for (t_s, index, head) in changes {
        if let Some(slot) = current.get_mut(index) {
            if let (Some(last), None) = (&slot, &head) {
                ended = ended.zip(last.temporary).map(|(a, b)| a.saturating_add(b));
            }
            *slot = head;
        }
        if let Some(slot) = known.get_mut(index) {
            *slot = head.and_then(|head| head.system.or(*slot));
        }
        let mut moment = sum(t_s, &current);
        moment.system = system::moment(known.iter().flatten());
        moment.temporary = current.iter().flatten().fold(ended, |sum, head| {
            sum.zip(head.temporary).map(|(a, b)| a.saturating_add(b))
        });
        match moments.last_mut() {
            Some(last) if last.t_s == moment.t_s => *last = moment,
            _ => moments.push(moment),
        }
    }
    thinned(moments)
}

/// The snapshots of a process, those that stand for several preceded by the moment when their
/// resident set was highest. Of that moment nothing else is known: the rest is as it was before.
fn with_peaks(process: &Process) -> impl Iterator<Item = SnapshotHead> {
    let mut before: Option<SnapshotHead> = None;
    let from_ms = process.from_ms;
    process.window_heads().flat_map(move |head| {
        let rest = before.replace(*head).unwrap_or(*head);
        let peak = head.rss_peak.filter(|peak| peak.at_ms >= from_ms);
        let peak = peak.map(|peak| SnapshotHead {
            at_ms: peak.at_ms,
            rss_bytes: peak.bytes,
            ..rest
        });
        [peak, Some(*head)].into_iter().flatten()
    })
}

/// The first moment, and at most two for each part of the time: the last, and that of the highest
/// resident set.
fn thinned(moments: Vec<Moment>) -> Vec<Moment> {
    let (Some((first, rest)), true) = (moments.split_first(), moments.len() > MOMENTS) else {
        return moments;
    };
    let span_s = moments.last().map_or(0.0, |last| last.t_s).max(1e-3);
    let part = |moment: &Moment| (moment.t_s / span_s * (MOMENTS / 2 - 1) as f64) as usize;
    let parts = rest.chunk_by(|a, b| part(a) == part(b));
    let kept = parts
        .flat_map(|moments| {
            let last = moments.last();
            let highest = moments.iter().max_by_key(|moment| moment.rss_bytes);
            let lower = last.map_or(0, |last| last.rss_bytes);
            [highest.filter(|it| it.rss_bytes > lower), last]
        })
        .flatten();
    [first].into_iter().chain(kept).copied().collect()
}

/// True if no other process is seen after `process` ended: what it last held is then the end state.
fn at_end(family: &Family, index: usize, process: &Process) -> bool {
    if family.superseded.get(index) == Some(&true) {
        return false;
    }
    family.start_s(index) + process.to_ms as f64 / 1e3 + 2.0 * process.interval_ms as f64 / 1e3
        >= family.end_s()
}

fn sum(t_s: f64, heads: &[Option<SnapshotHead>]) -> Moment {
    let mut moment = Moment {
        t_s: round(t_s),
        ..Moment::default()
    };
    for head in heads.iter().flatten() {
        moment.live_bytes = moment.live_bytes.saturating_add(live_bytes(head));
        let blocks = head.totals.allocations.saturating_sub(head.totals.frees);
        moment.live_blocks = moment.live_blocks.saturating_add(blocks);
        moment.rss_bytes = moment.rss_bytes.saturating_add(head.rss_bytes);
        moment.swap_bytes = moment.swap_bytes.saturating_add(head.swap_bytes);
        moment.threads = moment.threads.saturating_add(u64::from(head.threads));
        moment.minor_faults = moment.minor_faults.saturating_add(head.minor_faults);
        moment.major_faults = moment.major_faults.saturating_add(head.major_faults);
        moment.limit_bytes = [moment.limit_bytes, head.limit_bytes]
            .into_iter()
            .flatten()
            .min();
    }
    moment
}

/// The events of the window.
pub fn events(family: &Family) -> Vec<EventReport> {
    let mut events: Vec<EventReport> = Vec::new();
    for (index, process) in family.processes.iter().enumerate() {
        let start_s = family.start_s(index);
        let inside = process
            .events
            .iter()
            .filter(|event| (process.from_ms..=process.to_ms).contains(&event.at_ms));
        events.extend(inside.map(|event| EventReport {
            t_s: round(start_s + event.at_ms as f64 / 1e3),
            kind: kind(event.kind).to_owned(),
            text: event.text.clone(),
        }));
    }
    events.sort_by(|a, b| a.t_s.total_cmp(&b.t_s));
    events
}

fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Mark => "mark",
        EventKind::Alert => "alert",
        EventKind::Scan => "scan",
        EventKind::Enable => "enable",
        EventKind::Disable => "disable",
        EventKind::Dlopen => "dlopen",
        EventKind::Limit => "limit",
        EventKind::Exec => "exec",
        EventKind::Note => "note",
    }
}
