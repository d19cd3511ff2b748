//! Garbage collections beside the recording: what V8's heap holds after each, and what that says.

use serde::{Deserialize, Serialize};

use super::document::EventReport;
use super::memory::round;
use crate::gc_log::{Collection, When};
use crate::human::{bytes, bytes_f, duration, plural, rate_between};
use crate::model::{Family, Process};
use crate::verdict::Estimate;
use crate::verdict::stats::trend;

/// More collections than this are thinned evenly.
const POINTS: usize = 600;
/// Collections of the whole heap are events of the timeline, as long as they are few.
const EVENTS: usize = 200;
/// Collections of the whole heap after which its trend can be told.
const ENOUGH: usize = 6;
/// Native growth below this share of the heap's is beside the point.
const NOTABLE: f64 = 0.1;
/// Clock ticks of the kernel's times of processes.
const TICKS_PER_S: f64 = 100.0;

/// What the collector did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GcReport {
    /// Collections of young objects.
    pub minor: u64,
    /// Collections of the whole heap.
    pub major: u64,
    /// Time in which JavaScript stood still for them, seconds.
    pub pause_s: f64,
    /// The longest such pause, seconds.
    pub longest_pause_s: f64,
    /// Bytes of objects after the last collection of the whole heap, else after the last one.
    pub heap_bytes: Option<u64>,
    /// Trend of what is left after collections of the whole heap, bytes per second; unknown with few.
    pub rate: Option<Estimate>,
    /// Each collection: seconds, bytes before, bytes after, seconds of pause, 1 for the whole heap.
    pub collections: Vec<(f64, u64, u64, f64, u8)>,
    /// What that says, in a sentence or two.
    pub verdict: String,
}

/// What the logs say of the family's processes, in its window; `None` without a log. `native_rate`:
/// growth of what leaktrack sees outside of V8's heap, bytes per second.
pub fn gc(family: &Family, log: Option<&[Collection]>, native_rate: f64) -> Option<GcReport> {
    let mut inside = placed(family, log?);
    inside.sort_by(|a, b| a.0.total_cmp(&b.0));
    let of_kind = |major| {
        let same = inside.iter().filter(move |(_, one)| one.major == major);
        same.map(|(t_s, one)| (*t_s, one.after_bytes as f64))
    };
    let majors: Vec<(f64, f64)> = of_kind(true).collect();
    let last = of_kind(true)
        .next_back()
        .or_else(|| of_kind(false).next_back());
    let trend = trend(&majors).filter(|_| majors.len() >= ENOUGH);
    let pauses = || inside.iter().map(|(_, one)| one.pause_ms / 1e3);
    let step = inside.len().div_ceil(POINTS).max(1);
    let mut report = GcReport {
        minor: of_kind(false).count() as u64,
        major: majors.len() as u64,
        pause_s: round(pauses().sum()),
        longest_pause_s: round(pauses().fold(0.0, f64::max)),
        heap_bytes: last.map(|(_, left)| left as u64),
        rate: trend.map(|trend| Estimate {
            value: trend.slope,
            low: Some(trend.low),
            high: Some(trend.high),
        }),
        collections: inside
            .iter()
            .enumerate()
            .filter(|(at, (_, one))| at % step == 0 || one.major && majors.len() < POINTS)
            .map(|(_, (t_s, one))| {
                let pause_s = round(one.pause_ms / 1e3);
                (
                    round(*t_s),
                    one.before_bytes,
                    one.after_bytes,
                    pause_s,
                    one.major.into(),
                )
            })
            .collect(),
        verdict: String::new(),
    };
    let rises = trend.is_some_and(|trend| trend.low > 0.0) && ends_higher(&majors);
    let heap_rate = trend.map_or(0.0, |trend| trend.slope).max(0.0);
    let native_grows = native_rate > if rises { heap_rate * NOTABLE } else { 0.0 };
    report.verdict = verdict(&report, &majors, rises, native_grows);
    Some(report)
}

/// True if nothing of the last third is as low as the first third: no heap that breathes does that.
fn ends_higher(majors: &[(f64, f64)]) -> bool {
    let third = majors.len() / 3;
    let value = |(_, left): &(f64, f64)| *left;
    let first = majors.iter().take(third).map(value).fold(0.0, f64::max);
    let last = majors.iter().rev().take(third);
    last.map(value).fold(f64::INFINITY, f64::min) > first
}

/// The collections of the window's processes, with their time since the root's start.
fn placed<'a>(family: &Family, log: &'a [Collection]) -> Vec<(f64, &'a Collection)> {
    let place = |one: &'a Collection| {
        let candidates = family.processes.iter().enumerate();
        let mut of_pid = candidates.filter(|(_, process)| process.pid == one.pid);
        let (index, process) = of_pid.next_back()?;
        let at_s = since_start(process, one.when);
        let inside = process.from_ms as f64 / 1e3..=process.to_ms as f64 / 1e3 + 1.0;
        inside
            .contains(&at_s)
            .then_some((family.start_s(index) + at_s, one))
    };
    log.iter().filter_map(place).collect()
}

/// Seconds since the process was first recorded, which is when it began.
fn since_start(process: &Process, when: When) -> f64 {
    match when {
        When::SinceStart(at_s) => at_s,
        When::Monotonic(at_s) => at_s - process.start_ticks as f64 / TICKS_PER_S,
    }
}

fn verdict(report: &GcReport, majors: &[(f64, f64)], rises: bool, native_grows: bool) -> String {
    const SNAPSHOT: &str = "take a V8 heap snapshot now and another when it has grown by as much again (`kill -USR2` with `node --heapsnapshot-signal=SIGUSR2`, or `v8.writeHeapSnapshot()`), and compare the two";
    let left = report.heap_bytes.unwrap_or(0);
    if report.major + report.minor == 0 {
        return "No collection in the log is one of these processes, in this window: logs say the pid of the process in its own namespace.".to_owned();
    }
    let few = format!(
        "After {} of the whole heap nothing can be said of its trend: record for longer, or let `node --expose-gc` call `global.gc()` now and then.",
        plural(majors.len() as u64, "collection")
    );
    if majors.len() < ENOUGH {
        return few;
    }
    let rate = report.rate.map_or(String::new(), |rate| {
        rate_between(rate.value, rate.low, rate.high)
    });
    let ends = match (majors.first(), majors.last()) {
        (Some(first), Some(last)) => format!(
            "from {} to {} in {}",
            bytes_f(first.1),
            bytes_f(last.1),
            duration(last.0 - first.0)
        ),
        _ => String::new(),
    };
    match (rises, native_grows) {
        (true, false) => format!(
            "JavaScript keeps more and more objects: what is left after each collection of the whole heap rose {ends}, {rate}, while no native call site grows as much. The next step is inside V8: {SNAPSHOT}."
        ),
        (true, true) => format!(
            "Both grow: what is left after each collection of the whole heap rose {ends}, {rate}, and so do the native call sites above. Buffers and handles are often held by JavaScript objects: {SNAPSHOT}; who refers to what grows in it holds the native memory, too."
        ),
        (false, true) => format!(
            "V8's own heap does not grow: {} are left after a collection of the whole heap. A heap snapshot would not show what grows; the findings above do.",
            bytes(left)
        ),
        (false, false) => format!(
            "V8's heap does not grow: {} are left after a collection of the whole heap.",
            bytes(left)
        ),
    }
}

/// Collections of the whole heap as events of the timeline.
pub fn events(family: &Family, log: Option<&[Collection]>) -> Vec<EventReport> {
    let placed = placed(family, log.unwrap_or_default());
    let majors = placed.into_iter().filter(|(_, one)| one.major);
    let majors: Vec<_> = majors.collect();
    let step = majors.len().div_ceil(EVENTS).max(1);
    let event = |(t_s, one): &(f64, &Collection)| EventReport {
        t_s: round(*t_s),
        kind: "gc".to_owned(),
        text: format!(
            "{} {} to {} in {:.1} ms{}",
            one.name,
            bytes(one.before_bytes),
            bytes(one.after_bytes),
            one.pause_ms,
            if one.reason.is_empty() {
                String::new()
            } else {
                format!(": {}", one.reason)
            }
        ),
    };
    majors.iter().step_by(step).map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(after: &[u64], native_rate: f64) -> GcReport {
        let mut recording = crate::testing::Recording::new();
        (recording.pid, recording.start_ticks) = (7, 500);
        recording.every_second(100, |_| Vec::new());
        let family = recording.family();
        let log: Vec<Collection> = after
            .iter()
            .enumerate()
            .map(|(at, after)| Collection {
                pid: 7,
                when: if at % 2 == 0 {
                    When::SinceStart(at as f64)
                } else {
                    When::Monotonic(5.0 + at as f64)
                },
                major: true,
                name: "Mark-Compact".to_owned(),
                before_bytes: after * 2,
                after_bytes: *after,
                pause_ms: 2.0,
                reason: String::new(),
            })
            .collect();
        let events = events(&family, Some(&log));
        assert_eq!(events.len(), log.len());
        assert!(
            events
                .iter()
                .enumerate()
                .all(|(at, event)| event.t_s == at as f64)
        );
        gc(&family, Some(&log), native_rate).unwrap()
    }

    #[test]
    fn what_is_left_decides() {
        let rising: Vec<u64> = (0..20).map(|at| (10 + at) << 20).collect();
        let level: Vec<u64> = (0..20).map(|at| (10 << 20) + at % 3).collect();
        let grows = report(&rising, 0.0);
        assert_eq!((grows.major, grows.heap_bytes), (20, Some(29 << 20)));
        let rate = grows.rate.unwrap().value;
        assert!((rate - 1_048_576.0).abs() < 1.0, "{rate}");
        assert!(
            grows.verdict.contains("heap snapshot now"),
            "{}",
            grows.verdict
        );
        assert!(report(&rising, 1e6).verdict.starts_with("Both grow"));
        let beside = report(&rising, 900.0).verdict;
        assert!(beside.contains("no native call site"), "{beside}");
        assert!(
            report(&level, 900.0)
                .verdict
                .contains("would not show what grows")
        );
        assert!(
            report(&level, 0.0)
                .verdict
                .starts_with("V8's heap does not grow")
        );
        assert!(
            report(&rising[..3], 0.0)
                .verdict
                .contains("record for longer")
        );
    }
}
