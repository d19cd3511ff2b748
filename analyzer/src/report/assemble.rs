//! Judges a family's sites and puts the report together.

use leaktrack_recording::{EventKind, Mode, SiteKind};

use super::document::*;
use super::group::{self, GroupBy};
use super::memory::round;
use super::{ReportOptions, coverage, memory, source, suppress, timeline};
use crate::blame::is_plumbing;
use crate::model::process::Ended;
use crate::model::{Counters, Family, Frame, History, Process, Site};
use crate::symbolize::hex;
use crate::verdict::{self, Context, Curve, Estimate, Opinion, Verdict};

/// A site while the report is put together.
struct Judged {
    /// Index into the family's sites.
    index: usize,
    suppressed_by: Option<String>,
    is_finding: bool,
    harm: f64,
    live_bytes: u64,
}

/// The report on `family`.
pub fn assemble(family: &Family, options: &ReportOptions) -> Report {
    let frames: Vec<verdict::Frame> = family.processes.iter().map(verdict::Frame::of).collect();
    let (opinions, context) = judge_sites(family, &frames);
    let mut extra = Extra {
        paths: family
            .processes
            .iter()
            .map(|process| process.path.display().to_string())
            .collect(),
        ..Extra::default()
    };
    let sites = select(family, &opinions, options, &mut extra);

    let unsuppressed: Vec<usize> = sites
        .iter()
        .filter(|site| site.suppressed_by.is_none())
        .map(|site| site.index)
        .collect();
    let lines = group::members(family, &unsuppressed, GroupBy::Line);
    let line_opinions: Vec<Option<Opinion>> = lines
        .iter()
        .map(|members| members.judge(family, &frames, &context))
        .collect();
    let mut line_groups: Vec<Group> = lines
        .iter()
        .zip(&line_opinions)
        .map(|(members, judged)| members.report(GroupBy::Line, family, judged.as_ref(), &opinions))
        .collect();
    let finding_count = line_groups
        .iter()
        .filter(|group| group.verdict.is_finding())
        .count() as u64;
    extra.lines = lines
        .iter()
        .zip(&line_opinions)
        .filter_map(|(members, judged)| Some((members.key.clone(), judged.clone()?)))
        .collect();
    extra.finding_rate = finding_rate(&lines, &line_opinions, &opinions);

    let mut groups = match options.group_by {
        GroupBy::Site | GroupBy::Line => std::mem::take(&mut line_groups),
        by => group::members(
            family,
            &sites.iter().map(|site| site.index).collect::<Vec<_>>(),
            by,
        )
        .iter()
        .map(|members| {
            members.report(
                by,
                family,
                members.judge(family, &frames, &context).as_ref(),
                &opinions,
            )
        })
        .collect(),
    };
    groups.sort_by(|a, b| {
        let rank = |group: &Group| {
            (
                !group.verdict.is_finding(),
                std::cmp::Reverse(group.live_bytes),
            )
        };
        let rate = |group: &Group| {
            if group.verdict.is_finding() {
                group.rate.unwrap_or(0.0)
            } else {
                0.0
            }
        };
        rank(a)
            .0
            .cmp(&rank(b).0)
            .then(rate(b).total_cmp(&rate(a)))
            .then(rank(a).1.cmp(&rank(b).1))
            .then_with(|| a.key.cmp(&b.key))
    });

    let shown = if options.top == 0 {
        sites.len()
    } else {
        options.top.min(sites.len())
    };
    for site in sites.iter().skip(shown) {
        extra.left_out += 1;
        extra.left_out_bytes = extra.left_out_bytes.saturating_add(site.live_bytes);
    }
    let reports: Vec<SiteReport> = sites
        .iter()
        .take(shown)
        .filter_map(|site| site_report(family, &frames, &opinions, site, &context))
        .collect();
    extra.plumbing = reports
        .iter()
        .map(|site| site.frames.iter().map(is_plumbing).collect())
        .collect();
    if !options.no_source {
        let places = reports
            .iter()
            .filter_map(|site| site.blame.as_ref())
            .filter_map(|blame| Some((blame.file.as_deref()?, blame.line?)));
        extra.source = source::Sources::default().excerpts(places);
    }

    let timeline = timeline::timeline(family);
    let totals = memory::totals(family, &timeline);
    let memory = memory::memory(family, &totals);
    extra.live_growth = live_growth(family, &frames, &context);
    extra.limit_in_s = memory
        .limit_bytes
        .zip(memory.rss_bytes)
        .zip(extra.finding_rate)
        .and_then(|((limit, rss), rate)| rate.time_for(limit.saturating_sub(rss) as f64));
    Report {
        schema: SCHEMA.to_owned(),
        generator: Generator {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            report_unix_s: options.now_unix_s,
        },
        processes: (0..family.processes.len())
            .filter_map(|index| process_info(family, index))
            .collect(),
        recording: recording_info(family),
        coverage: coverage::coverage(family),
        fragmentation: memory::fragmentation(family),
        faults: memory::faults(family),
        scans: Vec::new(),
        finding_count,
        sites: reports,
        groups,
        events: timeline::events(family),
        totals,
        memory,
        timeline,
        extra,
    }
}

fn curves<'a>(site: &Site, frames: &'a [verdict::Frame]) -> Vec<Curve<'a>> {
    site.parts
        .iter()
        .filter_map(|part| {
            Some(Curve::new(
                frames.get(part.process)?,
                &part.history,
                part.ages,
            ))
        })
        .collect()
}

/// An opinion per site, and what they are based on together.
fn judge_sites(family: &Family, frames: &[verdict::Frame]) -> (Vec<Opinion>, Context) {
    let curves: Vec<Vec<Curve<'_>>> = family
        .sites
        .iter()
        .map(|site| curves(site, frames))
        .collect();
    let context = Context::of(curves.iter().flatten());
    let unknown = || {
        Opinion::new(
            Verdict::Unclear,
            verdict::Pattern::Unclear,
            "Nothing is known of it over time.",
        )
    };
    let opinions = curves
        .iter()
        .map(|curves| {
            verdict::combine(
                curves
                    .iter()
                    .map(|curve| (curve.end.live_bytes(), verdict::judge(curve, &context)))
                    .collect(),
            )
            .unwrap_or_else(unknown)
        })
        .collect();
    (opinions, context)
}

/// The sites that the filters let through, worst first.
fn select(
    family: &Family,
    opinions: &[Opinion],
    options: &ReportOptions,
    extra: &mut Extra,
) -> Vec<Judged> {
    let mut sites = Vec::new();
    for (index, (site, opinion)) in family.sites.iter().zip(opinions).enumerate() {
        let live_bytes = site.live_bytes();
        if site.counted() == Counters::default() && live_bytes == 0 {
            continue; // did nothing in the window and holds nothing
        }
        let oldest_ms = site
            .parts
            .iter()
            .filter_map(|part| part.ages)
            .map(|ages| ages.oldest_ms)
            .max();
        let too_young = options.older_than_ms.is_some_and(|wanted| {
            live_bytes == 0 || oldest_ms.is_none_or(|oldest| oldest < wanted)
        });
        if too_young || live_bytes < options.min_bytes {
            extra.filtered += 1;
            continue;
        }
        let stack: Vec<&Frame> = site.frames().collect();
        let suppressed_by = options.suppressions.matching(&stack).map(str::to_owned);
        extra.suppressed += u64::from(suppressed_by.is_some());
        *extra.counts.entry(opinion.verdict).or_default() += 1;
        let is_finding = opinion.verdict.is_finding() && suppressed_by.is_none();
        let harm = if is_finding {
            opinion.rate.map_or(0.0, |rate| rate.value)
        } else {
            0.0
        };
        sites.push(Judged {
            index,
            suppressed_by,
            is_finding,
            harm,
            live_bytes,
        });
    }
    let id = |site: &Judged| family.sites.get(site.index).map(|site| site.id.as_str());
    sites.sort_by(|a, b| {
        b.is_finding
            .cmp(&a.is_finding)
            .then(b.harm.total_cmp(&a.harm))
            .then(b.live_bytes.cmp(&a.live_bytes))
            .then_with(|| id(a).cmp(&id(b)))
    });
    sites
}

/// Growth of all findings together: per line the rate of the line, else the sum of its sites'.
fn finding_rate(
    lines: &[group::Members],
    judged: &[Option<Opinion>],
    opinions: &[Opinion],
) -> Option<Estimate> {
    lines
        .iter()
        .zip(judged)
        .filter_map(|(members, whole)| {
            let whole = whole
                .as_ref()
                .filter(|opinion| opinion.verdict.is_finding())
                .and_then(|opinion| opinion.rate);
            whole.or_else(|| {
                let own = members
                    .sites
                    .iter()
                    .filter_map(|index| opinions.get(*index))
                    .filter(|opinion| opinion.verdict.is_finding());
                own.filter_map(|opinion| opinion.rate)
                    .reduce(Estimate::plus)
            })
        })
        .reduce(Estimate::plus)
}

fn site_report(
    family: &Family,
    frames: &[verdict::Frame],
    opinions: &[Opinion],
    judged: &Judged,
    context: &Context,
) -> Option<SiteReport> {
    let site = family.sites.get(judged.index)?;
    let opinion = opinions.get(judged.index)?;
    let counted = site.counted();
    let exact = is_exact(family);
    let amount = |value: u64| Amount {
        value,
        low: exact.then_some(value),
        high: exact.then_some(value),
    };
    let seconds = |ms: u64| round(ms as f64 / 1e3);
    let live = judged.live_bytes > 0;
    let ages = || {
        site.parts
            .iter()
            .filter_map(|part| part.ages)
            .filter(|_| live)
    };
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
        advice: verdict::advice::advice(opinion, site.kind),
        suppression: suppress::suggestion(site.blamed()),
        suppressed_by: judged.suppressed_by.clone(),
        blame: site
            .blame
            .zip(site.blamed())
            .map(|(frame, blamed)| BlameReport {
                frame,
                function: blamed.function.clone(),
                file: blamed.file.clone(),
                line: blamed.line,
            }),
        live_bytes: amount(judged.live_bytes),
        live_blocks: amount(site.live_blocks()),
        allocated_bytes: counted.allocated_bytes,
        allocations: counted.allocations,
        frees: counted.frees,
        peak_live_bytes: site.parts.iter().fold(0, |sum, part| {
            sum.saturating_add(part.history.peak_live_bytes)
        }),
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
        growth: GrowthReport {
            pattern: opinion.pattern,
            rate: opinion.rate.map(rounded),
            limit_in_s: opinion.limit_in_s.map(rounded),
        },
        lost: None,
        resident_bytes: None,
        swapped_bytes: None,
        faults: SiteFaults::default(),
        series: series(family, site),
        by_process: shares(site, frames, context),
        threads: site.threads.iter().cloned().collect(),
        frames: site.frames().cloned().collect(),
    })
}

fn is_exact(family: &Family) -> bool {
    family
        .processes
        .iter()
        .all(|process| process.mode == Mode::Exact)
}

fn rounded(estimate: Estimate) -> Estimate {
    Estimate {
        value: round(estimate.value),
        low: estimate.low.map(round),
        high: estimate.high.map(round),
    }
}

fn shares(site: &Site, frames: &[verdict::Frame], context: &Context) -> Vec<ProcessShare> {
    let several = site.parts.len() > 1;
    let rate = |part: &crate::model::site::Part| {
        let frame = frames.get(part.process)?;
        Some(round(
            verdict::judge(&Curve::new(frame, &part.history, part.ages), context)
                .rate?
                .value,
        ))
    };
    let mut shares: Vec<ProcessShare> = site
        .parts
        .iter()
        .map(|part| ProcessShare {
            process: part.process,
            live_bytes: part.history.last().live_bytes(),
            rate: rate(part),
        })
        .collect();
    if several {
        shares.sort_by_key(|share| (std::cmp::Reverse(share.live_bytes), share.process));
    }
    shares
}

/// The sum of a site's curves over the processes that run, at every grid point of any.
fn series(family: &Family, site: &Site) -> Vec<(f64, u64)> {
    let mut changes: Vec<(f64, usize, u64)> = Vec::new();
    for (slot, part) in site.parts.iter().enumerate() {
        let Some(process) = family.processes.get(part.process) else {
            continue;
        };
        let start_s = family.start_s(part.process);
        let times = process.grid_s();
        let values = part.history.at_points(times.len());
        changes.extend(
            times
                .into_iter()
                .zip(values)
                .map(|(t_s, counters)| (round(start_s + t_s), slot, counters.live_bytes())),
        );
    }
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut current = vec![0_u64; site.parts.len()];
    let mut series: Vec<(f64, u64)> = Vec::new();
    for (t_s, slot, live_bytes) in changes {
        if let Some(value) = current.get_mut(slot) {
            *value = live_bytes;
        }
        let sum = current
            .iter()
            .fold(0_u64, |sum, value| sum.saturating_add(*value));
        match series.last_mut() {
            Some(last) if last.0 == t_s => last.1 = sum,
            _ => series.push((t_s, sum)),
        }
    }
    series
}

/// The opinion on all live bytes of the process that holds most of them.
fn live_growth(family: &Family, frames: &[verdict::Frame], context: &Context) -> Option<Opinion> {
    let opinions = family
        .processes
        .iter()
        .zip(frames)
        .filter(|(process, _)| !process.heads.is_empty())
        .map(|(process, frame)| {
            let history = whole_process(process);
            (
                history.last().live_bytes(),
                verdict::judge(&Curve::new(frame, &history, None), context),
            )
        })
        .collect();
    verdict::combine(opinions)
}

/// The totals of a process as a history.
fn whole_process(process: &Process) -> History {
    let counters = |head: &leaktrack_recording::SnapshotHead| Counters {
        allocations: head.totals.allocations,
        frees: head.totals.frees,
        allocated_bytes: head.totals.allocated_bytes,
        freed_bytes: head.totals.freed_bytes,
    };
    let base = process.base_head().map(counters).unwrap_or_default();
    let points = process
        .grid
        .iter()
        .filter_map(|index| process.heads.get(*index));
    let changes: Vec<(u32, Counters)> = points
        .enumerate()
        .map(|(point, head)| (point as u32, counters(head)))
        .collect();
    let peak_live_bytes = changes
        .iter()
        .map(|(_, counters)| counters.live_bytes())
        .max()
        .unwrap_or_else(|| base.live_bytes());
    History {
        base,
        changes,
        peak_live_bytes,
    }
}

fn process_info(family: &Family, index: usize) -> Option<ProcessInfo> {
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
                crate::human::bytes(used),
                crate::human::bytes(limit)
            ),
        },
        _ => Oom::default(),
    }
}

fn recording_info(family: &Family) -> RecordingInfo {
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
    RecordingInfo {
        mode: mode.to_owned(),
        sample_bytes,
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
    }
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
fn enabled(process: &Process) -> Vec<(u64, u64)> {
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
