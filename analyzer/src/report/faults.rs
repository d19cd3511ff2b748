//! Page faults: sums over the family, what each site has of them, and what would help.

use leaktrack_recording::{
    FAULT_REGIONS, FaultCount, FaultSource, SiteKind, SiteTouch, SnapshotHead,
};
use serde::{Deserialize, Serialize};

use super::document::{Faults, SiteFaults};
use super::memory::round;
use crate::model::faults::{PartFaults, ProcessFaults};
use crate::model::process::Ended;
use crate::model::site::Part;
use crate::model::{Family, Process, Site};

/// Faults whose addresses are in no site's block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRegion {
    /// What lies there.
    pub name: String,
    /// Without I/O.
    pub minor: u64,
    /// With I/O.
    pub major: u64,
}

/// The code that touched most of a site's pages first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchPlace {
    /// Function.
    pub function: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line.
    pub line: Option<u32>,
    /// Module.
    pub module: Option<String>,
}

/// Faults of a running process since the last record of them.
const UNTOLD: &str = "since they were last told";
const MIB: f64 = (1 << 20) as f64;
const PAGE_BYTES: u64 = 4096;
/// A site with fewer faults gets no advice.
const MANY_MINOR: u64 = 1_000;
const MANY_MAJOR: u64 = 10;

/// Sums over the family since the processes' start.
pub fn faults(family: &Family) -> Faults {
    let known: Vec<&ProcessFaults> = family
        .processes
        .iter()
        .filter_map(|process| process.faults.as_ref())
        .filter(|faults| faults.by_address())
        .collect();
    let by_address = !known.is_empty();
    // The record of the faults is taken a moment after the head of its snapshot.
    let all = |get: fn(&FaultCount) -> u64, of_head: fn(&SnapshotHead) -> u64| {
        let of = |process: &Process| {
            let head = process.last_head().map(of_head);
            let faults = process.faults.as_ref().filter(|faults| faults.by_address());
            head.map(|count| faults.map_or(count, |faults| count.max(get(&faults.all))))
        };
        family
            .processes
            .iter()
            .filter_map(of)
            .reduce(u64::saturating_add)
    };
    let attributed = |get: fn(&FaultCount) -> u64| {
        by_address.then(|| {
            let counts = known.iter().flat_map(|it| it.sites.values());
            counts.fold(0_u64, |sum, fault| sum.saturating_add(get(&fault.count)))
        })
    };
    let total = |count: FaultCount| count.minor.saturating_add(count.major);
    Faults {
        minor: all(|count| count.minor, |head| head.minor_faults),
        major: all(|count| count.major, |head| head.major_faults),
        source: if by_address { "perf" } else { "counters" }.to_owned(),
        attributed_minor: attributed(|count| count.minor),
        attributed_major: attributed(|count| count.major),
        in_kernel: known
            .iter()
            .map(|faults| faults.in_kernel())
            .reduce(|a, b| Some(a?.saturating_add(b?)))
            .flatten(),
        before: by_address.then(|| {
            known
                .iter()
                .fold(0_u64, |sum, it| sum.saturating_add(total(it.before)))
        }),
        user_only: by_address.then(|| known.iter().any(|it| it.source == FaultSource::User)),
        sampled_one_in: known.first().map(|faults| faults.period),
        regions: by_address.then(|| regions(&known, untold(family))),
        told_at_s: told_at_s(family),
        why_not: (!by_address).then(|| why_not(family)),
        diagnosis: None,
    }
}

/// Faults of running processes after their last record of whose they are, which is up to ten seconds old.
fn untold(family: &Family) -> FaultCount {
    let mut sum = FaultCount::default();
    for process in &family.processes {
        let faults = process.faults.as_ref().filter(|faults| faults.by_address());
        if let (Some(faults), Some(head)) = (faults, process.last_head()) {
            let minor = head.minor_faults.saturating_sub(faults.all.minor);
            let major = head.major_faults.saturating_sub(faults.all.major);
            sum.minor = sum.minor.saturating_add(minor);
            sum.major = sum.major.saturating_add(major);
        }
    }
    sum
}

/// When it was last told whose they are, of the process where that is longest ago; nothing of processes that ended.
fn told_at_s(family: &Family) -> Option<f64> {
    let at_s = |(index, process): (usize, &Process)| {
        let faults = process
            .faults
            .as_ref()
            .filter(|faults| faults.by_address())?;
        let at_s = family.start_s(index) + faults.at_ms as f64 / 1e3;
        (process.ended == Ended::Running).then_some(at_s)
    };
    let all = family.processes.iter().enumerate().filter_map(at_s);
    all.reduce(f64::min).map(round)
}

fn regions(known: &[&ProcessFaults], untold: FaultCount) -> Vec<FaultRegion> {
    let of = |(place, name): (usize, &&str)| {
        let counts = known.iter().filter_map(|it| it.regions.get(place));
        counts.fold(
            FaultRegion {
                name: (*name).to_owned(),
                minor: 0,
                major: 0,
            },
            |mut sum, count| {
                sum.minor = sum.minor.saturating_add(count.minor);
                sum.major = sum.major.saturating_add(count.major);
                sum
            },
        )
    };
    let mut regions: Vec<FaultRegion> = FAULT_REGIONS.iter().enumerate().map(of).collect();
    if untold != FaultCount::default() {
        regions.push(FaultRegion {
            name: UNTOLD.to_owned(),
            minor: untold.minor,
            major: untold.major,
        });
    }
    regions
}

fn why_not(family: &Family) -> String {
    let refused = family
        .processes
        .iter()
        .filter_map(|process| process.faults.as_ref())
        .next();
    match refused.map(|faults| (faults.source, faults.error)) {
        Some((FaultSource::Refused, 1 | 13)) => "the kernel does not let this user watch page faults: sysctl kernel.perf_event_paranoid=2 (or lower), CAP_PERFMON, or a seccomp profile that allows perf_event_open".to_owned(),
        Some((FaultSource::Refused, 12)) => "the memory that this user may lock (ulimit -l, LimitMEMLOCK=) is too little for the kernel's buffers beside what the program needs of it: raise it".to_owned(),
        Some((FaultSource::Refused, error)) => format!("perf_event_open failed with error {error}"),
        Some((FaultSource::TooMany, _)) => "too many threads for the number of processors: the kernel's bookkeeping had become too dear".to_owned(),
        _ => "not recorded (faults=off, no helper thread, or an older library)".to_owned(),
    }
}

/// What a site has of them.
pub fn of_site(family: &Family, site: &Site) -> SiteFaults {
    let parts: Vec<_> = site
        .parts
        .iter()
        .filter_map(|part| Some((part, part.faults.as_ref()?)))
        .collect();
    if parts.is_empty() {
        return SiteFaults::default();
    }
    let sum = |get: fn(&FaultCount) -> u64| {
        let counts = parts.iter().map(|(_, faults)| get(&faults.count));
        counts.fold(0, u64::saturating_add)
    };
    let (minor, major) = (sum(|count| count.minor), sum(|count| count.major));
    let allocated_bytes = site.counted().allocated_bytes;
    let weight = |faults: &PartFaults| faults.count.minor.saturating_add(faults.count.major);
    let most = parts
        .iter()
        .filter(|(_, faults)| faults.touch.is_some())
        .max_by_key(|(_, faults)| weight(faults));
    let touch = most.and_then(|(_, faults)| faults.touch.as_ref()?.first());
    let times = || {
        parts
            .iter()
            .filter_map(|(part, faults)| Some((part, faults.order?)))
    };
    let at_s = |process: usize, ms: u64| family.start_s(process) + ms as f64 / 1e3;
    let order = parts.iter().max_by_key(|(_, faults)| weight(faults));
    let order = order.and_then(|(_, faults)| Order::of(&faults.order?));
    SiteFaults {
        minor: Some(minor),
        major: Some(major),
        per_mib: (allocated_bytes > 0)
            .then(|| round(minor as f64 / (allocated_bytes as f64 / MIB))),
        first_touch: touch.map(|frame| TouchPlace {
            function: frame.function.clone(),
            file: frame.file.clone(),
            line: frame.line,
            module: Some(frame.module.clone()).filter(|module| !module.is_empty()),
        }),
        order: order.map(|order| order.name().to_owned()),
        first_s: times()
            .map(|(part, touch)| at_s(part.process, touch.first_ms))
            .reduce(f64::min)
            .map(round),
        last_s: times()
            .map(|(part, touch)| at_s(part.process, touch.last_ms))
            .reduce(f64::max)
            .map(round),
        filled: filled(family, site, minor.saturating_add(major)).map(str::to_owned),
        advice: advice(family, site, order, minor, major),
    }
}

/// In which order a site's memory was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Ascending,
    Random,
}

impl Order {
    /// What most steps from one sample to the next say; none of few.
    fn of(touch: &SiteTouch) -> Option<Self> {
        match touch
            .in_order
            .saturating_mul(100)
            .checked_div(touch.compared)?
        {
            _ if touch.compared < 8 => None,
            70.. => Some(Self::Ascending),
            0..=40 => Some(Self::Random),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ascending => "in order",
            Self::Random => "at random",
        }
    }
}

/// How a mapping's memory got there, if not by faults on it.
fn filled(family: &Family, site: &Site, faults: u64) -> Option<&'static str> {
    // A fault on a file maps up to 16 pages around it; one of a huge page stands for 512.
    const MOST_BY_FAULTS: u64 = 64;
    if site.kind != SiteKind::Mmap {
        return None; // blocks lie on pages that were touched for others before
    }
    let resident = super::account::residency(site)?.resident_bytes;
    let pages = resident / PAGE_BYTES;
    if resident < 1 << 20 || faults.saturating_mul(MOST_BY_FAULTS) > pages {
        return None;
    }
    // What a child has of its parent, and what was there before the faults were looked at.
    let own = |part: &Part| {
        let process = family.processes.get(part.process);
        let born = part.history.last().since(&part.history.base).allocations > 0;
        process.is_some_and(|process| {
            let looked = process.faults.as_ref().map(|it| it.since_ms);
            born && looked.is_some_and(|since_ms| part.first_seen_ms >= since_ms)
        })
    };
    if !site.parts.iter().all(own) {
        return None;
    }
    let huge = |process: &Process| Some(process.last_account()?.head.huge_bytes);
    let huge: u64 = family.processes.iter().filter_map(huge).sum();
    Some(match huge >= resident / 2 {
        true => "in huge pages",
        false => "by the kernel",
    })
}

/// What would spare most of a site's faults, where its figures say so.
fn advice(
    family: &Family,
    site: &Site,
    order: Option<Order>,
    minor: u64,
    major: u64,
) -> Option<String> {
    if major >= MANY_MAJOR {
        let swapped = family
            .processes
            .iter()
            .filter_map(|process| process.last_head())
            .any(|head| head.swap_bytes > 0);
        let words = match order {
            _ if swapped => {
                "Its pages come back from swap: give the process more memory, or `mlock` what must not wait."
            }
            Some(Order::Random) => {
                "Its pages are read from disk one by one, in no order: bring them in before they are needed (`MAP_POPULATE`, `madvise` with MADV_POPULATE_READ; MADV_WILLNEED stops after one read-ahead), read fewer of them, or `mlock` what must not wait."
            }
            _ => {
                "Its pages are read from disk when touched: read ahead (`madvise` with MADV_SEQUENTIAL where they are read in order, `MAP_POPULATE` or MADV_POPULATE_READ for all of them), or `mlock` what must not wait."
            }
        };
        return Some(words.to_owned());
    }
    if minor < MANY_MINOR {
        return None;
    }
    let counted = site.counted();
    let copies: u64 = site
        .parts
        .iter()
        .filter(|part| {
            let own = part.history.last().since(&part.history.base).allocations;
            own == 0
                && family
                    .processes
                    .get(part.process)
                    .is_some_and(|process| process.forked)
        })
        .filter_map(|part| Some(part.faults.as_ref()?.count.minor))
        .sum();
    if copies >= MANY_MINOR && copies * 4 >= minor {
        return Some("A forked child faults on it again. Private pages are copied when one side writes: fork before they are filled, write less to them afterwards, or share them (MAP_SHARED). Pages of a shared mapping are not copied, only mapped again.".to_owned());
    }
    let pages = counted.allocated_bytes / PAGE_BYTES;
    let mean_bytes = counted.allocated_bytes / counted.allocations.max(1);
    let is_given_back = counted.frees * 10 >= counted.allocations * 9;
    if is_given_back && counted.allocations >= 20 && mean_bytes >= 64 << 10 && minor * 4 >= pages {
        return Some("Each time it is given back to the kernel and faulted in anew: keep the buffer for the next use, or let the allocator keep it (glibc: mallopt M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).".to_owned());
    }
    if pages > 0 && minor > pages + pages / 4 {
        return Some("Its pages fault more than once: copy-on-write after a fork, or pages given up by MADV_DONTNEED and taken again.".to_owned());
    }
    (mean_bytes >= 1 << 20).then(|| {
        "It is faulted in one page of 4 KiB at a time: prefault it before it matters (`MAP_POPULATE`, `madvise` with MADV_POPULATE_WRITE, `mlock`), or use huge pages (`madvise` with MADV_HUGEPAGE), 512 times fewer.".to_owned()
    })
}

/// Which way to look, as in docs/page-faults.md.
pub fn diagnosis(faults: &Faults, seconds: f64, swapped_in_bytes: u64) -> Option<String> {
    let (minor, major) = (faults.minor?, faults.major?);
    let per_s = |count: u64| count as f64 / seconds.max(1.0);
    if per_s(major) > 10.0 || major > MANY_MAJOR && major * 100 > minor {
        return Some(if swapped_in_bytes > 0 {
            "Major faults, and the host swaps: memory is short. Look at the limit, at what could be smaller, and lock only what must not wait.".to_owned()
        } else {
            "Major faults without swapping: files are read page by page. Look at access to mapped files, and read ahead.".to_owned()
        });
    }
    if per_s(minor) > 1_000.0 {
        return Some("Many minor faults: it is how memory is used, not a lack of it. The sites below say whose memory is touched first, and where.".to_owned());
    }
    None
}
