//! The system around the process: locked memory, cgroup, pressure, swap traffic. Unknown is `None`.

use leaktrack_recording::{SnapshotHead, System};
use serde::{Deserialize, Serialize};

use super::memory::round;
use crate::model::Family;

/// What the system said of memory when it was last looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SystemReport {
    /// Locked memory of the processes together.
    pub locked_bytes: Option<u64>,
    /// Lowest `RLIMIT_MEMLOCK`; also `None` if there is no limit.
    pub locked_limit_bytes: Option<u64>,
    /// Memory of the host.
    pub host_memory_bytes: Option<u64>,
    /// Of it, available without swapping.
    pub host_available_bytes: Option<u64>,
    /// Locked memory of all processes of the host.
    pub host_locked_bytes: Option<u64>,
    /// That as a share of the host's memory, 0 to 1.
    pub host_locked_share: Option<f64>,
    /// Bytes that the host swapped in while it was recorded.
    pub swap_in_bytes: Option<u64>,
    /// Bytes that the host swapped out while it was recorded.
    pub swap_out_bytes: Option<u64>,
    /// The highest `oom_score`.
    pub oom_score: Option<u64>,
    /// The memory cgroup; `None` outside of one.
    pub cgroup: Option<CgroupReport>,
    /// Time lost waiting for memory.
    pub pressure: Option<PressureReport>,
}

/// A memory cgroup; the events are those since the recording began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupReport {
    /// Memory charged to it.
    pub current_bytes: Option<u64>,
    /// `memory.high`; `None` if there is none.
    pub high_bytes: Option<u64>,
    /// `memory.max`; `None` if there is none.
    pub max_bytes: Option<u64>,
    /// Swap charged to it.
    pub swap_bytes: Option<u64>,
    /// Anonymous memory.
    pub anon_bytes: Option<u64>,
    /// Page cache.
    pub file_bytes: Option<u64>,
    /// Of that, shared memory and tmpfs.
    pub shmem_bytes: Option<u64>,
    /// The kernel's memory.
    pub kernel_bytes: Option<u64>,
    /// Times that `memory.high` was passed.
    pub high_events: Option<u64>,
    /// Times that `memory.max` was met.
    pub max_events: Option<u64>,
    /// Times that it was out of memory.
    pub oom_events: Option<u64>,
    /// Processes killed for that.
    pub oom_kills: Option<u64>,
}

/// Time lost waiting for memory (PSI).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PressureReport {
    /// `cgroup` or `host`.
    pub of: String,
    /// Share of the last ten seconds in which some task waited, 0 to 1.
    pub some_share: Option<f64>,
    /// Share of the last ten seconds in which all tasks waited, 0 to 1.
    pub full_share: Option<f64>,
    /// Seconds since the recording began in which some task waited.
    pub some_s: Option<f64>,
    /// Seconds since the recording began in which all tasks waited.
    pub full_s: Option<f64>,
}

/// What the system says at one moment of the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SystemMoment {
    /// Locked memory of the processes together.
    pub locked_bytes: Option<u64>,
    /// Memory charged to the cgroup.
    pub cgroup_bytes: Option<u64>,
    /// The highest `oom_score`.
    pub oom_score: Option<u64>,
    /// Share of the last ten seconds in which some task waited for memory, 0 to 1.
    pub pressure_some: Option<f64>,
    /// Share of the last ten seconds in which all tasks waited for memory, 0 to 1.
    pub pressure_full: Option<f64>,
    /// Bytes that the host swapped in since it was started.
    pub host_swap_in_bytes: Option<u64>,
    /// Bytes that the host swapped out since it was started.
    pub host_swap_out_bytes: Option<u64>,
}

const PAGE_BYTES: u64 = 4096;

/// The figures of the window; `None` when no recording has any.
pub fn system(family: &Family) -> Option<SystemReport> {
    let with_figures = |head: &SnapshotHead| head.system.map(|system| (head.at_ms, system));
    let mut spans = Vec::new();
    for (index, process) in family.present() {
        let mut looked = process.window_heads().filter_map(with_figures);
        let first = looked.next();
        let last = looked.next_back().or(first);
        if let (Some((_, first)), Some((at_ms, last))) = (first, last) {
            let at_s = family.start_s(index) + at_ms as f64 / 1e3;
            spans.push((at_s, first, last));
        }
    }
    // What all share is told by who looked last; what began first tells how it was.
    let (_, _, last) = spans.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let (_, first, _) = spans.first()?;
    let since = |get: fn(&System) -> Option<u64>| Some(get(last)?.saturating_sub(get(first)?));
    let all = |get: fn(&System) -> Option<u64>| spans.iter().filter_map(move |(_, _, s)| get(s));
    let limit = |bytes: Option<u64>| bytes.filter(|bytes| *bytes != u64::MAX);
    let pages = |pages: Option<u64>| pages.map(|pages| pages.saturating_mul(PAGE_BYTES));
    Some(SystemReport {
        locked_bytes: all(|s| s.locked_bytes).reduce(u64::saturating_add),
        locked_limit_bytes: limit(all(|s| s.locked_limit_bytes).min()),
        host_memory_bytes: last.host_memory_bytes,
        host_available_bytes: last.host_available_bytes,
        host_locked_bytes: last.host_locked_bytes,
        host_locked_share: last
            .host_locked_bytes
            .zip(last.host_memory_bytes.filter(|total| *total > 0))
            .map(|(locked, total)| round(locked as f64 / total as f64)),
        swap_in_bytes: pages(since(|s| s.host_swap_in_pages)),
        swap_out_bytes: pages(since(|s| s.host_swap_out_pages)),
        oom_score: all(|s| s.oom_score).max(),
        cgroup: last.cgroup_bytes.map(|current| CgroupReport {
            current_bytes: Some(current),
            high_bytes: limit(last.cgroup_high_bytes),
            max_bytes: limit(last.cgroup_max_bytes),
            swap_bytes: last.cgroup_swap_bytes,
            anon_bytes: last.cgroup_anon_bytes,
            file_bytes: last.cgroup_file_bytes,
            shmem_bytes: last.cgroup_shmem_bytes,
            kernel_bytes: last.cgroup_kernel_bytes,
            high_events: since(|s| s.cgroup_high_events),
            max_events: since(|s| s.cgroup_max_events),
            oom_events: since(|s| s.cgroup_oom_events),
            oom_kills: since(|s| s.cgroup_oom_kills),
        }),
        pressure: last.pressure_is_cgroup.map(|of_cgroup| PressureReport {
            of: if of_cgroup == 1 { "cgroup" } else { "host" }.to_owned(),
            some_share: last.pressure_some.map(share),
            full_share: last.pressure_full.map(share),
            some_s: since(|s| s.pressure_some_us).map(seconds),
            full_s: since(|s| s.pressure_full_us).map(seconds),
        }),
    })
}

/// One moment of several processes, each with what it last knew.
pub fn moment<'a>(known: impl Iterator<Item = &'a System>) -> SystemMoment {
    let add = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (one, other) => one.or(other),
    };
    let pages = |pages: Option<u64>| pages.map(|pages| pages.saturating_mul(PAGE_BYTES));
    known.fold(SystemMoment::default(), |sum, system| SystemMoment {
        locked_bytes: add(sum.locked_bytes, system.locked_bytes),
        cgroup_bytes: sum.cgroup_bytes.max(system.cgroup_bytes),
        oom_score: sum.oom_score.max(system.oom_score),
        pressure_some: higher(sum.pressure_some, system.pressure_some.map(share)),
        pressure_full: higher(sum.pressure_full, system.pressure_full.map(share)),
        host_swap_in_bytes: sum.host_swap_in_bytes.max(pages(system.host_swap_in_pages)),
        host_swap_out_bytes: sum
            .host_swap_out_bytes
            .max(pages(system.host_swap_out_pages)),
    })
}

fn higher(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    [a, b].into_iter().flatten().reduce(f64::max)
}

/// Hundredths of a percent as a share.
fn share(hundredths: u64) -> f64 {
    (hundredths.min(10_000) as f64) / 1e4
}

fn seconds(us: u64) -> f64 {
    round(us as f64 / 1e6)
}
