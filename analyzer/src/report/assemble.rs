//! Puts the report together.

use std::collections::{HashMap, HashSet};

use super::diagnosis::{self, Evidence};
use super::document::*;
use super::gc;
use super::group::{self, GroupBy, Members};
use super::growth::{GrowingLine, Growth};
use super::judge::Judgement;
use super::recording::{process_info, recording_info};
use super::runtime::Runtime;
use super::select::{Selected, select};
use super::sites::{activity, site_report};
use super::undecided::Undecided;
use super::{
    ReportOptions, account, correlate, coverage, faults, memory, places, scans, source, system,
    timeline,
};
use crate::blame::carried;
use crate::model::{Family, Site};
use crate::parallel;
use crate::verdict::{self, Estimate, Opinion, Verdict};

/// The report on `family`.
pub fn assemble(family: &Family, options: &ReportOptions) -> Report {
    let judgement = Judgement::of(family);
    let paths = family.processes.iter().map(|process| &process.path);
    let mut extra = Extra {
        paths: paths.map(|path| path.display().to_string()).collect(),
        ..Extra::default()
    };
    let mut sites = select(family, &judgement.opinions, options, &mut extra);
    let unsuppressed = sites.iter().filter(|site| site.suppressed_by.is_none());
    let unsuppressed: Vec<usize> = unsuppressed.map(|site| site.index).collect();

    let lines = grouped(family, &judgement, &unsuppressed, GroupBy::Line);
    let growth = growth(family, &lines, &judgement.opinions);
    extra.finding_rate = growth.rate();
    extra.finding_freed = growth.is_freed();
    extra.lines = lines
        .iter()
        .filter_map(|line| Some((line.members.key.clone(), line.opinion.clone()?)))
        .collect();
    let is_finding = |line: &&Grouped| line.group.verdict.is_finding();
    let mut findings: Vec<&Grouped> = lines.iter().filter(is_finding).collect();
    findings.sort_by(|a, b| worst_first(&a.group, &b.group));
    let finding_count = findings.len() as u64;
    let (finding_of, worst_stacks) = stacks_of_findings(&findings);
    // Findings first: the worst stack of each, then the others that make it one; then all that is none.
    sites.sort_by_cached_key(|site| {
        let number = finding_of.get(&site.index).copied();
        let place = match (worst_stacks.get(&site.index), site.is_finding) {
            (Some(place), _) => Some(*place),
            (None, true) => Some(STACKS),
            (None, false) => None,
        };
        place.map_or((2, 0, 0), |place| {
            (place.min(1), number.unwrap_or(u64::MAX), place)
        })
    });
    let filtered: HashSet<usize> = sites
        .iter()
        .filter(|site| site.is_filtered)
        .map(|site| site.index)
        .collect();
    let is_left = |line: &Grouped| {
        let mut sites = line.members.sites.iter();
        sites.any(|index| !filtered.contains(index))
    };
    extra.filtered_findings = findings.iter().filter(|line| !is_left(line)).count() as u64;
    if options.curves {
        let left = findings.iter().filter(|line| is_left(line));
        extra.findings = left.map(|line| line.group.clone()).collect();
    }
    let grouped = match options.group_by {
        GroupBy::Site | GroupBy::Line => lines,
        by => {
            let all: Vec<usize> = sites.iter().map(|site| site.index).collect();
            grouped(family, &judgement, &all, by)
        }
    };
    let left = grouped.into_iter().filter(is_left);
    let mut groups: Vec<Group> = left.map(|grouped| grouped.group).collect();
    groups.sort_by(worst_first);

    let is_listed = |site: &&Selected| {
        let opinion = judgement.opinions.get(site.index);
        // Of a finding the stacks that make it one are told, whatever their own verdict.
        !site.is_filtered
            && (options.show_healthy
                || worst_stacks.contains_key(&site.index)
                || opinion.is_some_and(|it| it.verdict != Verdict::Healthy))
    };
    let top = match options.top {
        0 => usize::MAX,
        top => top,
    };
    for site in sites.iter().filter(is_listed).skip(top) {
        extra.left_out += 1;
        extra.left_out_bytes = extra.left_out_bytes.saturating_add(site.live_bytes);
    }
    let listed = sites.iter().filter(is_listed).take(top);
    let (reports, plumbing): (Vec<SiteReport>, _) = listed
        .filter_map(|site| {
            let report = SiteReport {
                finding: finding_of.get(&site.index).copied(),
                ..site_report(family, &judgement, site)?
            };
            let frames = family.sites.get(site.index)?.frames_and_roles();
            Some((report, carried(frames.map(|(_, role)| role))))
        })
        .unzip();
    extra.plumbing = plumbing;
    if !options.no_source {
        let places = reports
            .iter()
            .filter_map(|site| site.blame.as_ref())
            .filter_map(|blame| Some((blame.file.as_deref()?, blame.line?)));
        let mut sources = source::Sources::default();
        extra.source = sources.excerpts(places);
        if options.curves {
            quote_findings(&reports, &mut sources, &mut extra);
        }
    }
    if options.curves {
        let mut listed: Vec<usize> = sites
            .iter()
            .filter(is_listed)
            .take(top)
            .map(|site| site.index)
            .collect();
        extra.activity = parallel::map(&mut listed, |index| {
            let site = family.sites.get(*index);
            site.map_or_else(Vec::new, |site| activity(family, site))
        });
    }

    let system = system::system(family);
    let mut faults = faults::faults(family);
    let swapped_in = system.as_ref().and_then(|system| system.swap_in_bytes);
    faults.diagnosis = faults::diagnosis(&faults, family.end_s(), swapped_in.unwrap_or(0));
    extra.fault_sites = fault_sites(family, &judgement, &sites);
    extra.filled_sites = filled_sites(family, &judgement, &sites);
    extra.fault_correlation = fault_correlation(family).filter(|_| faults.why_not.is_some());
    let timeline = timeline::timeline(family);
    let totals = memory::totals(family, &timeline);
    let mut memory = memory::memory(family, &totals, &timeline);
    let fragmentation = memory::fragmentation(family);
    let coverage = coverage::coverage(family);
    memory.verdict = diagnosis::sentence(&Evidence {
        family,
        opinions: &judgement.opinions,
        memory: &memory,
        fragmentation: &fragmentation,
        timeline: &timeline,
        growth: &growth,
        blind: !coverage.usable,
    });
    extra.live_growth = judgement.on_heap(family);
    extra.undecided = Undecided::of(family, &judgement, &unsuppressed, &growth);
    extra.too_short = too_short(family);
    extra.limit_in_s = memory::headroom_bytes(family)
        .zip(extra.finding_rate)
        .and_then(|(left, rate)| rate.time_for(left as f64));
    let mut events = timeline::events(family);
    events.extend(gc::events(family, options.gc_log.as_deref()));
    events.sort_by(|a, b| a.t_s.total_cmp(&b.t_s));
    let (address_space, blocks) = places::places(family, options);
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
        coverage,
        fragmentation,
        address_space,
        blocks,
        faults,
        system,
        gc: gc::gc(
            family,
            options.gc_log.as_deref(),
            native_rate(family, &judgement),
        ),
        scans: scans::scans(family),
        finding_count,
        sites: reports,
        groups,
        events,
        totals,
        memory,
        timeline,
        extra,
    }
}

/// Stacks of a finding that come with it.
const STACKS: usize = 5;

/// For each site of a finding the finding's number, and of its worst stacks their places in it. `findings` come
/// worst first.
fn stacks_of_findings(findings: &[&Grouped]) -> (HashMap<usize, u64>, HashMap<usize, usize>) {
    let (mut numbers, mut worst) = (HashMap::new(), HashMap::new());
    for (number, line) in (1..).zip(findings) {
        numbers.extend(line.members.sites.iter().map(|index| (*index, number)));
        worst.extend(line.order.iter().copied().zip(0..STACKS));
    }
    (numbers, worst)
}

/// Growth of findings that are not a runtime's own heap, bytes per second.
fn native_rate(family: &Family, judgement: &Judgement) -> f64 {
    let sites = family.sites.iter().zip(&judgement.opinions);
    let findings =
        sites.filter(|(site, opinion)| opinion.verdict.is_finding() && !Runtime::owns(site));
    findings
        .filter_map(|(_, opinion)| Some(opinion.rate?.value))
        .sum()
}

/// Lines quoted around the blamed line of a finding, on each side.
const AROUND: u32 = 3;

/// The source around the blamed lines of findings, and of every frame of their stacks.
fn quote_findings(reports: &[SiteReport], sources: &mut source::Sources, extra: &mut Extra) {
    for site in reports.iter().filter(|site| site.verdict.is_finding()) {
        for (index, frame) in site.frames.iter().enumerate() {
            let Some(place) = frame.file.clone().zip(frame.line) else {
                continue;
            };
            if let Some(line) = sources.line(&place.0, place.1) {
                extra.source.insert(place.clone(), line);
            }
            let blamed = site.blame.as_ref().map(|blame| blame.frame);
            if blamed == Some(index)
                && let Some(lines) = sources.around(&place.0, place.1, AROUND)
            {
                extra.excerpts.insert(place, lines);
            }
        }
    }
}

/// The sites with most page faults.
fn fault_sites(family: &Family, judgement: &Judgement, sites: &[Selected]) -> Vec<SiteReport> {
    const MOST: usize = 8;
    let faults = |site: &Selected| {
        let parts = family.sites.get(site.index).map(|it| it.parts.iter());
        let counts = parts
            .into_iter()
            .flatten()
            .filter_map(|part| part.faults.as_ref());
        counts.fold(0_u64, |sum, faults| {
            sum.saturating_add(faults.count.minor)
                .saturating_add(faults.count.major)
        })
    };
    let mut most: Vec<(u64, &Selected)> = sites
        .iter()
        .filter(|site| !site.is_filtered)
        .map(|site| (faults(site), site))
        .filter(|(count, _)| *count > 0)
        .collect();
    most.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let reports = most.into_iter().take(MOST);
    reports
        .filter_map(|(_, site)| site_report(family, judgement, site))
        .collect()
}

/// The sites with most memory that came without faults.
fn filled_sites(family: &Family, judgement: &Judgement, sites: &[Selected]) -> Vec<SiteReport> {
    const MOST: usize = 5;
    let resident = |site: &Site| account::residency(site).map_or(0, |it| it.resident_bytes);
    let mut filled: Vec<(u64, &Selected)> = sites
        .iter()
        .filter(|site| !site.is_filtered)
        .filter_map(|selected| Some((family.sites.get(selected.index)?, selected)))
        .filter(|(site, _)| faults::of_site(family, site).filled.is_some())
        .map(|(site, selected)| (resident(site), selected))
        .collect();
    filled.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let reports = filled.into_iter().take(MOST);
    reports
        .filter_map(|(_, site)| site_report(family, judgement, site))
        .collect()
}

fn fault_correlation(family: &Family) -> Option<String> {
    let (place, r, steps) = correlate::with_minor_faults(family)?;
    let site = family.sites.get(place)?;
    let name = site.blamed().and_then(|frame| frame.function.clone());
    let name = name.unwrap_or_else(|| format!("site {}", site.id));
    Some(format!(
        "Minor faults rise and fall with what {name} allocates (correlation {r:.2} over {steps} snapshots): a hint, not an attribution."
    ))
}

/// A group with what it was made from.
struct Grouped {
    members: Members,
    opinion: Option<Opinion>,
    group: Group,
    /// Indices of the sites in the group's order.
    order: Vec<usize>,
}

fn grouped(family: &Family, judgement: &Judgement, sites: &[usize], by: GroupBy) -> Vec<Grouped> {
    let mut members = group::members(family, sites, by);
    let reported = parallel::map(&mut members, |members| {
        let opinion = members.judge(family, judgement);
        let report = members.report(by, family, opinion.as_ref(), &judgement.opinions);
        (opinion, report)
    });
    let pairs = members.into_iter().zip(reported);
    pairs
        .map(|(members, (opinion, (group, order)))| Grouped {
            group,
            members,
            opinion,
            order,
        })
        .collect()
}

/// Findings by rate and by what makes them one, then the others by live bytes.
fn worst_first(a: &Group, b: &Group) -> std::cmp::Ordering {
    let harm = |group: &Group| match group.verdict.is_finding() {
        true => (true, group.rate.unwrap_or(0.0)),
        false => (false, 0.0),
    };
    let (a_harm, b_harm) = (harm(a), harm(b));
    b_harm
        .0
        .cmp(&a_harm.0)
        .then(b_harm.1.total_cmp(&a_harm.1))
        .then(b.finding_bytes.cmp(&a.finding_bytes))
        .then(b.live_bytes.cmp(&a.live_bytes))
        .then_with(|| a.key.cmp(&b.key))
}

/// The lines that grow: each with its own rate, else the sum of its sites'.
fn growth(family: &Family, lines: &[Grouped], opinions: &[Opinion]) -> Growth {
    let of_finding = |opinion: &Opinion| opinion.rate.filter(|_| opinion.verdict.is_finding());
    let of_line = |line: &Grouped| {
        let sites = &line.order;
        let speed = |index: &usize| opinions.get(*index).and_then(of_finding);
        let rate = line
            .opinion
            .as_ref()
            .and_then(of_finding)
            .or_else(|| sites.iter().filter_map(speed).reduce(Estimate::plus));
        if rate.is_none() && line.group.verdict != Verdict::Growing {
            return None;
        }
        let first = |index: &usize| family.sites.get(*index).map_or(0, Site::first_live_bytes);
        Some(GrowingLine {
            verdict: line.group.verdict,
            rate,
            live_bytes: line.group.live_bytes,
            peak_live_bytes: line.group.peak_live_bytes,
            first_live_bytes: sites.iter().map(first).fold(0, u64::saturating_add),
            kind: family.sites.get(*sites.first()?)?.kind,
            sites: sites.clone(),
        })
    };
    Growth {
        lines: lines.iter().filter_map(of_line).collect(),
    }
}

/// What to say if no process was recorded for long enough to judge any of its sites.
fn too_short(family: &Family) -> Option<String> {
    let (points, process) = family
        .present()
        .map(|(_, process)| (process.grid.len(), process))
        .max_by_key(|(points, _)| *points)?;
    if points >= verdict::ENOUGH_POINTS || points == 0 {
        return None;
    }
    let taken = match points {
        1 => "Only one snapshot was taken".to_owned(),
        _ => format!("Only {points} snapshots were taken"),
    };
    let frame = verdict::Frame::of(process);
    let needed = verdict::ENOUGH_POINTS;
    let more = frame.more_time(needed - points);
    Some(format!("{taken}; a trend needs {needed}. {more}"))
}
