//! The Firefox Profiler's format: live memory over time as allocations and deallocations.
//!
//! A recording holds each site's curve, not each block. A rise is written as one allocation of that
//! size, a fall as deallocations of the latest rises: sums and retained memory are exact at every
//! snapshot kept, the number of allocations is not the program's.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use fxprof_processed_profile::{
    CategoryHandle, Frame, FrameFlags, FrameInfo, ProcessHandle, Profile, ReferenceTimestamp,
    SamplingInterval, StackHandle, ThreadHandle, Timestamp,
};

use super::{name, program};
use crate::report::Report;
use crate::report::document::SiteReport;

/// Points of a curve that are written, at most.
const POINTS: usize = 60;

/// Writes the profile.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let root = report.processes.first();
    let started_s = root.map_or(0.0, |root| root.started_unix_s.max(0.0));
    let start = Duration::try_from_secs_f64(started_s).unwrap_or_default();
    let reference = ReferenceTimestamp::from(SystemTime::UNIX_EPOCH + start);
    let interval = SamplingInterval::from_millis(1_000);
    let mut profile = Profile::new(&program(report), reference, interval);
    let pid = root.map_or(0, |root| root.pid);
    let begin = Timestamp::from_millis_since_reference(0.0);
    let process: ProcessHandle = profile.add_process(&program(report), pid, begin);
    let thread = profile.add_thread(process, pid, begin, true);
    profile.set_thread_name(thread, "live memory");
    let mut changes: Vec<Change> = Vec::new();
    for (index, site) in report.sites.iter().enumerate() {
        let stack = stack(&mut profile, thread, site);
        changes.extend(blocks(site, index as u64, stack));
    }
    changes.sort_by(|a, b| a.t_s.total_cmp(&b.t_s));
    for change in changes {
        let at = Timestamp::from_millis_since_reference(change.t_s * 1e3);
        profile.add_allocation_sample(thread, at, change.stack, change.address, change.bytes);
    }
    serde_json::to_writer(&mut *out, &profile)?;
    writeln!(out)?;
    out.flush()
}

/// An allocation, or a deallocation.
#[derive(Clone, Copy)]
struct Change {
    t_s: f64,
    stack: Option<StackHandle>,
    address: u64,
    bytes: i64,
}

fn stack(profile: &mut Profile, thread: ThreadHandle, site: &SiteReport) -> Option<StackHandle> {
    let frames: Vec<FrameInfo> = site
        .frames
        .iter()
        .rev()
        .map(|frame| FrameInfo {
            frame: Frame::Label(profile.intern_string(&name(frame))),
            category_pair: CategoryHandle::OTHER.into(),
            flags: FrameFlags::empty(),
        })
        .collect();
    profile.intern_stack_frames(thread, frames.into_iter())
}

/// A site's curve as blocks that come and go.
fn blocks(site: &SiteReport, index: u64, stack: Option<StackHandle>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut held: Vec<(u64, i64)> = Vec::new();
    let mut next = (index + 1) << 24;
    let mut allocate = |held: &mut Vec<(u64, i64)>, changes: &mut Vec<Change>, t_s, bytes| {
        next += 16;
        held.push((next, bytes));
        changes.push(Change {
            t_s,
            stack,
            address: next,
            bytes,
        });
    };
    let mut now: i64 = 0;
    let last = site.series.len();
    let step = last.div_ceil(POINTS).max(1);
    for (at, (t_s, live_bytes)) in site.series.iter().enumerate() {
        if at % step != 0 && at + 1 != last {
            continue;
        }
        let live = i64::try_from(*live_bytes).unwrap_or(i64::MAX);
        if live > now {
            allocate(&mut held, &mut changes, *t_s, live - now);
        }
        while now > live
            && let Some((address, bytes)) = held.pop()
        {
            changes.push(Change {
                t_s: *t_s,
                stack,
                address,
                bytes: -bytes,
            });
            now -= bytes;
            if now < live {
                allocate(&mut held, &mut changes, *t_s, live - now);
                now = live;
            }
        }
        now = live;
    }
    changes
}
