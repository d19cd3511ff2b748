//! Sums over the family: totals, memory, the allocator's view, page faults.

use leaktrack_recording::SnapshotHead;

use super::account::{self, Accounts};
use super::document::{Amount, Fragmentation, Memory, MemoryPart, Moment, Totals};
use crate::model::identity::file_name;
use crate::model::process::Ended;
use crate::model::sampling::{Peak, SampleBasis};
use crate::model::{Family, Process};

/// The 95% interval of the live bytes of all processes; no wider than a point if every block was recorded.
fn live_interval(family: &Family, value: u64) -> (u64, u64) {
    let of_process = |process: &Process| {
        let live = process.last_head().map_or(0, live_bytes);
        SampleBasis::of_process(process).unwrap_or_else(|| SampleBasis::certain(live))
    };
    let all = family.present().map(|(_, process)| of_process(process));
    all.reduce(SampleBasis::beside)
        .map_or((value, value), |basis| basis.bytes(value))
}

/// Totals at the end of the window; counts are those of the window.
pub fn totals(family: &Family, timeline: &[Moment]) -> Totals {
    let mut totals = Totals {
        temporary: Some(0),
        ..Totals::default()
    };
    for (_, process) in family.present() {
        let Some(last) = process.last_head() else {
            continue;
        };
        let base = process
            .base_head()
            .map(|head| head.totals)
            .unwrap_or_default();
        let now = &last.totals;
        let add = |sum: &mut u64, value: u64| *sum = sum.saturating_add(value);
        add(
            &mut totals.allocations,
            now.allocations.saturating_sub(base.allocations),
        );
        add(&mut totals.frees, now.frees.saturating_sub(base.frees));
        add(
            &mut totals.allocated_bytes,
            now.allocated_bytes.saturating_sub(base.allocated_bytes),
        );
        add(
            &mut totals.live_blocks,
            now.allocations.saturating_sub(now.frees),
        );
        add(&mut totals.live_bytes, live_bytes(last));
        add(
            &mut totals.mappings,
            now.mappings.saturating_sub(base.mappings),
        );
        add(&mut totals.mapped_bytes, now.mapped_bytes);
        let before = process.base_head().and_then(|head| head.temporary);
        totals.temporary = totals
            .temporary
            .zip(last.temporary)
            .map(|(sum, count)| sum.saturating_add(count.saturating_sub(before.unwrap_or(0))));
    }
    let (low, high) = live_interval(family, totals.live_bytes);
    totals.live_bytes_estimate = Amount {
        value: totals.live_bytes,
        low: Some(low),
        high: Some(high),
    };
    // One process knows its peak to the byte; of several the highest sum at a snapshot is known.
    match family.processes.as_slice() {
        [process] if process.from_ms == 0 && process.to_ms == process.last_record_ms => {
            let last = process
                .last_head()
                .map(|head| head.totals)
                .unwrap_or_default();
            (totals.peak_live_bytes, totals.peak_at_s) = (
                last.peak_live_bytes.max(totals.live_bytes),
                last.peak_at_ms as f64 / 1e3,
            );
        }
        _ => {
            let highest = timeline.iter().max_by_key(|moment| moment.live_bytes);
            (totals.peak_live_bytes, totals.peak_at_s) =
                highest.map_or((0, 0.0), |moment| (moment.live_bytes, moment.t_s));
        }
    }
    totals.peak_live_bytes_estimate = peak_estimate(family, &totals);
    totals
}

/// The highest live bytes with their interval: what was allocated before blocks were sampled is certain, and the program had at
/// least what it has at the end.
fn peak_estimate(family: &Family, totals: &Totals) -> Amount {
    let value = totals.peak_live_bytes;
    let mut estimate = Amount {
        value,
        low: Some(value),
        high: Some(value),
    };
    let alone = family.processes.len() == 1;
    let peak_ms = (totals.peak_at_s * 1e3).round() as u64;
    let is_sampled = |process: &Process| {
        let heads = process.heads.iter();
        let mut exact = heads.take_while(|head| head.sampling.is_none());
        let was_exact = alone && exact.any(|head| head.at_ms >= peak_ms);
        process.sample_mean_bytes > 0 && !was_exact
    };
    let sampled = || {
        family
            .present()
            .map(|(_, process)| process)
            .filter(|it| is_sampled(it))
    };
    let (mut allocations, mut allocated_bytes) = (0, 0);
    for head in sampled().filter_map(Process::last_head) {
        allocations += head.totals.allocations;
        allocated_bytes += head.totals.allocated_bytes;
    }
    if let Some(mean_bytes) = sampled().map(|process| process.sample_mean_bytes).max() {
        let peak = Peak {
            bytes: value,
            block_bytes: allocated_bytes as f64 / allocations.max(1) as f64,
            mean_bytes,
            allocated_bytes,
            most_bytes: allocated_bytes,
            snapshots: sampled().map(|process| process.heads.len()).sum(),
        };
        let (low, high) = peak.interval();
        let at_the_end = totals.live_bytes_estimate.low.unwrap_or(0);
        estimate.low = Some(low.max(at_the_end).min(value));
        estimate.high = Some(match value == totals.live_bytes {
            true => totals.live_bytes_estimate.high.unwrap_or(high),
            false => high,
        });
    }
    estimate
}

/// Live bytes of the malloc family at a snapshot.
pub fn live_bytes(head: &SnapshotHead) -> u64 {
    head.totals
        .allocated_bytes
        .saturating_sub(head.totals.freed_bytes)
}

/// Last snapshots of the processes that had not ended when the window closed; of all, if none is left.
fn present(family: &Family) -> Vec<(usize, &Process, &SnapshotHead)> {
    let last = |(index, process)| Some((index, process, Process::last_head(process)?));
    let all = || family.present().filter_map(last);
    let end_s = family.end_s();
    let open: Vec<_> = family
        .present()
        .filter(|(index, process)| {
            matches!(process.ended, Ended::Running | Ended::Unfinished)
                || family.start_s(*index) + process.to_ms as f64 / 1e3
                    >= end_s - 2.0 * process.interval_ms as f64 / 1e3
        })
        .filter_map(last)
        .collect();
    if open.is_empty() {
        all().collect()
    } else {
        open
    }
}

/// Resident memory and the parts of it that were measured.
pub fn memory(family: &Family, totals: &Totals, timeline: &[Moment]) -> Memory {
    let heads = present(family);
    let sum = |f: fn(&SnapshotHead) -> u64| {
        (!heads.is_empty()).then(|| {
            heads
                .iter()
                .fold(0_u64, |sum, (.., head)| sum.saturating_add(f(head)))
        })
    };
    let part = |name: &str, bytes: u64, measured_by: &str| MemoryPart {
        name: name.to_owned(),
        bytes,
        measured_by: measured_by.to_owned(),
    };
    let mut parts = Vec::new();
    if !heads.is_empty() {
        parts.push(part(
            "live blocks",
            totals.live_bytes,
            "live table, requested bytes, touched or not",
        ));
        parts.push(part(
            "program's mappings",
            totals.mapped_bytes,
            "mapping table, address space, touched or not",
        ));
        if let Some(stats) = allocator_stats(family) {
            parts.push(part(
                "allocator's free memory",
                stats.free_bytes,
                "mallinfo2, resident or not",
            ));
        }
        parts.push(part(
            account::OWN,
            heads.iter().fold(0, |sum, (.., head)| {
                sum.saturating_add(head.own_memory_bytes)
            }),
            "its arena, mapped bytes",
        ));
    }
    let peak = timeline
        .iter()
        .max_by_key(|moment| moment.rss_bytes)
        .filter(|moment| moment.rss_bytes > 0);
    let mut memory = Memory {
        peak_rss_bytes: peak.map(|moment| moment.rss_bytes),
        peak_rss_at_s: peak.map(|moment| moment.t_s),
        kernel_peak_rss_bytes: kernel_peak(family),
        rss_bytes: sum(|head| head.rss_bytes),
        latest_rss_bytes: sum(|head| head.rss_bytes),
        latest_rss_at_s: heads
            .iter()
            .map(|(index, _, head)| family.start_s(*index) + head.at_ms as f64 / 1e3)
            .reduce(f64::max)
            .map(round),
        swap_bytes: sum(|head| head.swap_bytes),
        limit_bytes: limit(family).map(|(bytes, _)| bytes),
        limit_kind: limit(family).map(|(_, kind)| kind.to_owned()),
        parts,
        ..Memory::default()
    };
    accounts(family).fill(family, &mut memory);
    // The account may have been taken after the kernel was asked.
    let kernel = memory.kernel_peak_rss_bytes;
    memory.kernel_peak_rss_bytes = kernel.map(|peak| peak.max(memory.rss_bytes.unwrap_or(0)));
    memory
}

/// The highest resident set of a single process, if all of its recording is looked at.
fn kernel_peak(family: &Family) -> Option<u64> {
    let [process] = family.processes.as_slice() else {
        return None; // the highest of each need not have been at one time
    };
    let is_whole = process.from_ms == 0 && process.to_ms == process.last_record_ms;
    let mut heads = process.window_heads().rev().filter(|_| is_whole);
    let kernel = heads.find_map(|head| head.system?.peak_resident_bytes)?;
    // The last snapshots may not have asked.
    let seen = process.window_heads().map(|head| head.rss_bytes).max();
    Some(kernel.max(seen.unwrap_or(0)))
}

/// The accounts of the processes that memory is told of.
fn accounts(family: &Family) -> Accounts<'_> {
    let present = present(family).into_iter();
    let processes: Vec<_> = present
        .map(|(index, process, _)| (index, process))
        .collect();
    Accounts::of(&processes)
}

/// What is left under the nearest limit: a cgroup's is on the memory of all processes, `RLIMIT_AS` on
/// the address space of each.
pub fn headroom_bytes(family: &Family) -> Option<u64> {
    let heads = present(family);
    let resident = heads
        .iter()
        .fold(0_u64, |sum, (.., head)| sum.saturating_add(head.rss_bytes));
    let left = |head: &SnapshotHead| {
        let used = if head.limit_is_address_space {
            head.vm_bytes
        } else {
            resident
        };
        Some(head.limit_bytes?.saturating_sub(used))
    };
    heads.iter().filter_map(|(.., head)| left(head)).min()
}

/// The lowest limit that any process reports, and what sets it.
fn limit(family: &Family) -> Option<(u64, &'static str)> {
    let of = |head: &SnapshotHead| {
        let kind = if head.limit_is_address_space {
            "RLIMIT_AS"
        } else {
            "cgroup"
        };
        Some((head.limit_bytes?, kind))
    };
    present(family)
        .iter()
        .filter_map(|(.., head)| of(head))
        .min()
}

fn allocator_stats(family: &Family) -> Option<leaktrack_recording::AllocatorStats> {
    match family.processes.as_slice() {
        // Several allocators' figures may be from different moments: only one process is sure.
        [process] => process.window_heads().rev().find_map(|head| head.allocator),
        _ => None,
    }
}

/// The allocator's view, where it was taken.
pub fn fragmentation(family: &Family) -> Fragmentation {
    let stats = allocator_stats(family);
    let path = family
        .processes
        .first()
        .map(|process| process.allocator.as_str())
        .filter(|path| !path.is_empty());
    let allocator = path.map(|path| {
        let file = file_name(path);
        let known = [
            ("libc.so", "glibc"),
            ("libc-2", "glibc"),
            ("libjemalloc", "jemalloc"),
            ("libtcmalloc", "tcmalloc"),
            ("libmimalloc", "mimalloc"),
        ];
        known
            .iter()
            .find(|(prefix, _)| file.starts_with(prefix))
            .map_or_else(|| file.to_owned(), |(_, name)| (*name).to_owned())
    });
    let mut fragmentation = Fragmentation {
        allocator,
        held_bytes: stats.map(|stats| stats.held_bytes),
        free_bytes: stats.map(|stats| stats.free_bytes),
        releasable_bytes: stats.map(|stats| stats.releasable_bytes),
        ratio: stats
            .filter(|stats| stats.held_bytes > 0)
            .map(|stats| round(stats.free_bytes as f64 / stats.held_bytes as f64)),
        own_held_bytes: stats.map(|stats| stats.held_bytes),
        own_free_bytes: stats.map(|stats| stats.free_bytes),
        own_releasable_bytes: stats.map(|stats| stats.releasable_bytes),
        pinned_by: None,
        arenas: Vec::new(),
    };
    accounts(family).fill_fragmentation(family, &mut fragmentation);
    fragmentation
}

/// To a thousandth: figures in reports do not need more.
pub fn round(value: f64) -> f64 {
    if value.is_finite() {
        (value * 1e3).round() / 1e3
    } else {
        0.0
    }
}
