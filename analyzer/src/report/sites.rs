//! One site as the report has it.

use leaktrack_recording::SiteKind;

use super::account;
use super::document::*;
use super::faults;
use super::judge::Judgement;
use super::lifetimes;
use super::memory::round;
use super::runtime::Runtime;
use super::scans;
use super::select::Selected;
use super::sizes;
use super::suppress;
use crate::model::sampling::{Peak, SampleBasis};
use crate::model::site::Part;
use crate::model::{Counters, Family, Site};
use crate::verdict::{self, Estimate, Opinion, Verdict};

/// What to do; where only a runtime knows what it keeps, how to ask it.
fn advice(opinion: &Opinion, site: &Site) -> String {
    match Runtime::of(site).filter(|_| opinion.verdict == Verdict::Growing) {
        Some(runtime) => runtime.advice().to_owned(),
        None => verdict::advice::advice(opinion, site.kind),
    }
}

/// The report on a selected site.
pub fn site_report(
    family: &Family,
    judgement: &Judgement,
    selected: &Selected,
) -> Option<SiteReport> {
    let site = family.sites.get(selected.index)?;
    let opinion = judgement.opinions.get(selected.index)?;
    let rates = judgement.rates.get(selected.index)?;
    let counted = site.counted();
    let basis = site.basis();
    let amount = |value: u64, interval: fn(&SampleBasis, u64) -> (u64, u64)| {
        let (low, high) = basis
            .as_ref()
            .map_or((value, value), |basis| interval(basis, value));
        Amount {
            value,
            low: Some(low),
            high: Some(high),
        }
    };
    let peak = peak(family, site, &amount(site.live_bytes(), SampleBasis::bytes));
    let seconds = |ms: u64| round(ms as f64 / 1e3);
    let live = selected.live_bytes > 0;
    let ages = || {
        site.parts
            .iter()
            .filter_map(|part| part.ages)
            .filter(|_| live)
    };
    let residency = account::residency(site);
    let largest = site
        .parts
        .iter()
        .max_by_key(|part| part.history.last().live_bytes());
    Some(SiteReport {
        id: site.id.clone(),
        key: site.key.clone(),
        kind: match site.kind {
            SiteKind::Heap => "heap",
            SiteKind::Mmap => "mmap",
        }
        .to_owned(),
        verdict: opinion.verdict,
        why: opinion.why.clone(),
        advice: advice(opinion, site),
        suppression: match opinion.verdict.is_finding() {
            true => {
                let frames: Vec<_> = site.frames().cloned().collect();
                suppress::exactly(&format!("leaktrack {}", site.key), &frames)
            }
            false => suppress::suggestion(site.blamed()),
        },
        suppressed_by: selected.suppressed_by.clone(),
        finding: None,
        blame: site
            .blame
            .zip(site.blamed())
            .map(|(frame, blamed)| BlameReport {
                frame,
                function: blamed.function.clone(),
                file: blamed.file.clone(),
                line: blamed.line,
            }),
        live_bytes: amount(selected.live_bytes, SampleBasis::bytes),
        live_blocks: amount(site.live_blocks(), SampleBasis::blocks),
        allocated_bytes: counted.allocated_bytes,
        allocations: counted.allocations,
        frees: counted.frees,
        peak_live_bytes: peak.value,
        peak_live_bytes_estimate: peak,
        first_seen_s: round(
            site.parts
                .iter()
                .map(|part| family.start_s(part.process) + part.first_seen_ms as f64 / 1e3)
                .fold(f64::INFINITY, f64::min),
        ),
        oldest_s: ages().map(|ages| ages.oldest_ms).max().map(seconds),
        median_age_s: largest
            .and_then(|part| part.ages)
            .filter(|_| live)
            .map(|ages| seconds(ages.median_ms)),
        lifetimes: lifetimes::lifetimes(site),
        temporary: sizes::temporary(family, site),
        sizes: sizes::sizes(site),
        calls: site.calls.iter().map(|&name| name.to_owned()).collect(),
        growth: GrowthReport {
            pattern: opinion.pattern,
            rate: opinion.rate.map(rounded),
            limit_in_s: opinion.limit_in_s.map(rounded),
        },
        resident_bytes: residency.map(|it| it.resident_bytes),
        swapped_bytes: residency.map(|it| it.swapped_bytes),
        untouched_bytes: residency.map(|it| {
            let there = it.resident_bytes.saturating_add(it.swapped_bytes);
            it.live_bytes.saturating_sub(there)
        }),
        lost: scans::lost_report(family, site),
        faults: faults::of_site(family, site),
        series: series(family, site),
        by_process: shares(site, rates),
        threads: site.threads.iter().cloned().collect(),
        frames: site.frames().cloned().collect(),
    })
}

fn rounded(estimate: Estimate) -> Estimate {
    Estimate {
        value: round(estimate.value),
        low: estimate.low.map(round),
        high: estimate.high.map(round),
    }
}

fn shares(site: &Site, rates: &[Option<f64>]) -> Vec<ProcessShare> {
    let share = |(part, rate): (&Part, &Option<f64>)| ProcessShare {
        process: part.process,
        live_bytes: part.history.last().live_bytes(),
        rate: rate.map(round),
    };
    let mut shares: Vec<ProcessShare> = site.parts.iter().zip(rates).map(share).collect();
    shares.sort_by_key(|share| (std::cmp::Reverse(share.live_bytes), share.process));
    shares
}

/// A site's live bytes over time.
fn series(family: &Family, site: &Site) -> Vec<(f64, u64)> {
    let point = |(t_s, moment): (f64, Moment)| (t_s, moment.live_bytes);
    curve(family, site).into_iter().map(point).collect()
}

/// What was allocated at a site over time, from the opening of the window on.
pub fn activity(family: &Family, site: &Site) -> Vec<Activity> {
    let tells_temporary = sizes::tells_over_time(family, site);
    let point = |(t_s, moment): (f64, Moment)| Activity {
        t_s,
        allocations: moment.counted.allocations,
        allocated_bytes: moment.counted.allocated_bytes,
        temporary: tells_temporary.then_some(moment.counted.temporary),
    };
    curve(family, site).into_iter().map(point).collect()
}

/// A site at a moment, in one process or in all.
#[derive(Clone, Copy, Default)]
struct Moment {
    live_bytes: u64,
    /// In the window.
    counted: Counters,
}

/// The sum of a site's counters over the processes that run, at every grid point of any.
fn curve(family: &Family, site: &Site) -> Vec<(f64, Moment)> {
    let mut changes: Vec<(f64, usize, Moment)> = Vec::new();
    for (slot, part) in site.parts.iter().enumerate() {
        let Some(process) = family.processes.get(part.process) else {
            continue;
        };
        let start_s = family.start_s(part.process);
        let times = process.grid_s();
        let values = part.history.at_points(times.len());
        changes.extend(times.into_iter().zip(values).map(|(t_s, counters)| {
            let moment = Moment {
                live_bytes: counters.live_bytes(),
                counted: counters.since(&part.history.base),
            };
            (round(start_s + t_s), slot, moment)
        }));
    }
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut current = vec![Moment::default(); site.parts.len()];
    let mut curve: Vec<(f64, Moment)> = Vec::new();
    for (t_s, slot, moment) in changes {
        if let Some(value) = current.get_mut(slot) {
            *value = moment;
        }
        let sum = current.iter().fold(Moment::default(), |sum, one| Moment {
            live_bytes: sum.live_bytes.saturating_add(one.live_bytes),
            counted: sum.counted.plus(&one.counted),
        });
        match curve.last_mut() {
            Some(last) if last.0 == t_s => last.1 = sum,
            _ => curve.push((t_s, sum)),
        }
    }
    curve
}

/// The sum of what each process had at most of a site, with its interval; `live`: what there is at the end.
fn peak(family: &Family, site: &Site, live: &Amount) -> Amount {
    let value = site.parts.iter().fold(0, |sum: u64, part| {
        sum.saturating_add(part.history.peak_live_bytes)
    });
    let certain = Amount {
        value,
        low: Some(value),
        high: Some(value),
    };
    let processes = || {
        let parts = site.parts.iter();
        parts.filter_map(|part| family.processes.get(part.process))
    };
    let mean_bytes = processes().map(|process| process.sample_mean_bytes).max();
    let Some(mean_bytes) = mean_bytes.filter(|mean| *mean > 0 && site.kind == SiteKind::Heap)
    else {
        return certain;
    };
    let all = site.counted();
    let (allocations, bytes) = (all.allocations, all.allocated_bytes);
    let largest = site.parts.iter().map(|part| part.history.peak_counters());
    let largest = largest.max_by_key(Counters::live_bytes).unwrap_or_default();
    let block_bytes = match largest.live_blocks() {
        0 => bytes as f64 / allocations.max(1) as f64,
        blocks => largest.live_bytes() as f64 / blocks as f64,
    };
    let most_bytes = processes()
        .filter_map(|process| process.last_head())
        .map(|head| head.totals.allocated_bytes)
        .sum();
    let (low, high) = Peak {
        bytes: value,
        block_bytes,
        mean_bytes,
        allocated_bytes: bytes,
        most_bytes,
        snapshots: processes().map(|process| process.heads.len()).sum(),
    }
    .interval();
    Amount {
        low: Some(low.max(live.low.unwrap_or(0)).min(value)),
        high: match value == live.value {
            true => live.high,
            false => Some(high),
        },
        ..certain
    }
}
