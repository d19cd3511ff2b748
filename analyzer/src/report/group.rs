//! Sites taken together: by blamed line, function, file, module, by thread or by process.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::document::Group;
use super::growth::{grown_bytes, is_freed};
use super::judge::Judgement;
use crate::model::site::Part;
use crate::model::{Family, Frame, History, Site};
use crate::verdict::{Opinion, Verdict};

/// What sites may have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GroupBy {
    /// Nothing: each call stack on its own.
    #[default]
    Site,
    /// The blamed line.
    Line,
    /// The blamed function.
    Function,
    /// The file of the blamed line.
    File,
    /// The module of the blamed frame.
    Module,
    /// The thread that allocated there first.
    Thread,
    /// The process.
    Process,
}

impl GroupBy {
    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Line => "line",
            Self::Function => "function",
            Self::File => "file",
            Self::Module => "module",
            Self::Thread => "thread",
            Self::Process => "process",
        }
    }
}

/// A group before it is judged.
#[derive(Debug)]
pub struct Members {
    /// What its sites share.
    pub key: String,
    /// Indices of sites, in the order given.
    pub sites: Vec<usize>,
    /// Only this process's part counts, if grouped by process.
    pub process: Option<usize>,
}

/// Sorts `sites` (indices into the family's) into groups.
pub fn members(family: &Family, sites: &[usize], by: GroupBy) -> Vec<Members> {
    let mut groups: BTreeMap<(String, Option<usize>), Vec<usize>> = BTreeMap::new();
    for index in sites {
        let Some(site) = family.sites.get(*index) else {
            continue;
        };
        if by == GroupBy::Process {
            for part in &site.parts {
                let name = family
                    .processes
                    .get(part.process)
                    .map_or_else(String::new, |process| {
                        format!("{} (pid {})", process.name(), process.pid)
                    });
                groups
                    .entry((name, Some(part.process)))
                    .or_default()
                    .push(*index);
            }
        } else {
            groups
                .entry((key(site, by), None))
                .or_default()
                .push(*index);
        }
    }
    groups
        .into_iter()
        .map(|((key, process), sites)| Members {
            key,
            sites,
            process,
        })
        .collect()
}

fn key(site: &Site, by: GroupBy) -> String {
    let Some(frame) = site.blamed() else {
        return match by {
            GroupBy::Thread => threads(site),
            _ => "(no stack)".to_owned(),
        };
    };
    match by {
        GroupBy::Site | GroupBy::Process => site.id.clone(),
        GroupBy::Line => line(frame),
        GroupBy::Function => frame.function.clone().unwrap_or_else(|| place(frame)),
        GroupBy::File => frame
            .file
            .clone()
            .unwrap_or_else(|| format!("(no line numbers) {}", module(frame))),
        GroupBy::Module => module(frame).to_owned(),
        GroupBy::Thread => threads(site),
    }
}

/// `file:line`, else the function and its module, else module and offset.
pub fn line(frame: &Frame) -> String {
    match (&frame.file, frame.line, &frame.function) {
        (Some(file), Some(line), _) => format!("{file}:{line}"),
        (Some(file), None, Some(function)) => format!("{function} in {file}"),
        (_, _, Some(function)) => format!("{function} in {}", module(frame)),
        _ => place(frame),
    }
}

fn place(frame: &Frame) -> String {
    format!("{}+{:#x}", module(frame), frame.offset)
}

fn module(frame: &Frame) -> &str {
    if frame.module.is_empty() {
        "[jit]"
    } else {
        &frame.module
    }
}

fn threads(site: &Site) -> String {
    match site.threads.len() {
        0 => "(unknown thread)".to_owned(),
        _ => site
            .threads
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

impl Members {
    /// Live bytes of all together.
    pub fn live_bytes(&self, family: &Family) -> u64 {
        self.parts(family).fold(0, |sum, (_, history)| {
            sum.saturating_add(history.last().live_bytes())
        })
    }

    /// The opinion on the sites together.
    pub fn judge(&self, family: &Family, judgement: &Judgement) -> Option<Opinion> {
        match (self.sites.as_slice(), self.process) {
            ([one], None) => judgement.opinions.get(*one).cloned(),
            _ => judgement.on_sum(self.parts(family)),
        }
    }

    fn parts<'a>(&'a self, family: &'a Family) -> impl Iterator<Item = (usize, &'a History)> {
        self.site_parts(family)
            .map(|(_, part)| (part.process, &part.history))
    }

    /// What its sites did in the processes that count, each with the site's index.
    fn site_parts<'a>(&'a self, family: &'a Family) -> impl Iterator<Item = (usize, &'a Part)> {
        self.sites
            .iter()
            .filter_map(|index| Some((*index, family.sites.get(*index)?)))
            .flat_map(|(index, site)| site.parts.iter().map(move |part| (index, part)))
            .filter(|(_, part)| self.process.is_none_or(|process| process == part.process))
    }

    /// Most live bytes of all together, process by process: they need not have been live at one time.
    fn peak_live_bytes(&self, family: &Family) -> u64 {
        if let ([_], Some((_, one)), None) = (
            self.sites.as_slice(),
            self.parts(family).next(),
            self.parts(family).nth(1),
        ) {
            return one.peak_live_bytes;
        }
        let mut histories: BTreeMap<usize, Vec<&History>> = BTreeMap::new();
        for (process, history) in self.parts(family) {
            histories.entry(process).or_default().push(history);
        }
        histories
            .into_iter()
            .fold(0, |sum: u64, (process, histories)| {
                let points = family.processes.get(process).map_or(0, |it| it.grid.len());
                sum.saturating_add(History::sum(histories, points).peak_live_bytes)
            })
    }

    /// Its sites, those first that make it grow: that are findings themselves by their rate, then the others by
    /// what they rose since their first snapshot (to their peak, if most of it `was_freed`). Those that are known
    /// to stay level come after what rose, and by what they hold; what is gone comes last. What is largest may
    /// have been there from the start.
    pub fn those_that_rose_first(
        &self,
        family: &Family,
        opinions: &[Opinion],
        was_freed: bool,
    ) -> Vec<usize> {
        let mut sites = self.sites.clone();
        let rank = |index: &usize| {
            let opinion = opinions.get(*index);
            let rate = opinion
                .filter(|opinion| opinion.verdict.is_finding())
                .and_then(|opinion| opinion.rate);
            let stays = opinion.is_some_and(|opinion| opinion.verdict == Verdict::Retained);
            let rose = family.sites.get(*index).map_or(0, |site| {
                let rises = site
                    .parts
                    .iter()
                    .map(|part| part.history.rise_bytes(was_freed));
                rises.fold(0, u64::saturating_add)
            });
            // Whole bytes per second order as well as fractions of them.
            let rate = rate.map_or(0, |rate| rate.value.max(0.0) as u64);
            let still_rises = if stays { 0 } else { rose };
            let held = family.sites.get(*index).map_or(0, Site::live_bytes);
            (
                Reverse(rate),
                Reverse(still_rises),
                Reverse(rose),
                Reverse(held),
            )
        };
        sites.sort_by_cached_key(rank);
        sites
    }

    /// Bytes that make it a finding: the lost ones of sites that only lost some, the live ones of those
    /// that grow.
    fn finding_bytes(&self, family: &Family, opinions: &[Opinion]) -> u64 {
        let bytes = self.site_parts(family).map(|(index, part)| {
            let opinion = opinions.get(index);
            match opinion.map(|opinion| (opinion.verdict, opinion.rate)) {
                Some((Verdict::Lost, None)) => part.lost_bytes(),
                Some((verdict, _)) if verdict.is_finding() => {
                    let history = &part.history;
                    grown_bytes(history.last().live_bytes(), history.peak_live_bytes)
                }
                _ => 0,
            }
        });
        bytes.fold(0, u64::saturating_add)
    }

    /// As in the report, and the indices of its sites in the same order. `opinions` are those on the sites; a
    /// finding among them makes the group one.
    pub fn report(
        &self,
        by: GroupBy,
        family: &Family,
        judged: Option<&Opinion>,
        opinions: &[Opinion],
    ) -> (Group, Vec<usize>) {
        let own = || self.sites.iter().filter_map(|index| opinions.get(*index));
        let findings = || own().filter(|opinion| opinion.verdict.is_finding());
        let worst = findings().map(|opinion| opinion.verdict).min();
        let whole = judged.filter(|opinion| opinion.verdict.is_finding());
        let verdict = worst
            .into_iter()
            .chain(judged.map(|opinion| opinion.verdict))
            .min()
            .unwrap_or(Verdict::Unclear);
        let rate = whole
            .and_then(|opinion| opinion.rate)
            .map(|rate| rate.value)
            .or_else(|| {
                findings()
                    .filter_map(|opinion| Some(opinion.rate?.value))
                    .reduce(|a, b| a + b)
            });
        let verdict = if worst.is_none() && whole.is_none() {
            judged.map_or(verdict, |opinion| opinion.verdict)
        } else {
            verdict
        };
        let live_bytes = self.live_bytes(family);
        let peak_live_bytes = self.peak_live_bytes(family);
        let sites = match verdict {
            Verdict::Growing => {
                self.those_that_rose_first(family, opinions, is_freed(live_bytes, peak_live_bytes))
            }
            _ => self.sites.clone(),
        };
        let lost = || self.site_parts(family).map(|(_, part)| part);
        let lost_sites: BTreeSet<usize> = self
            .site_parts(family)
            .filter(|(_, part)| part.lost_blocks() > 0)
            .map(|(index, _)| index)
            .collect();
        let group = Group {
            by: by.name().to_owned(),
            key: self.key.clone(),
            live_bytes,
            peak_live_bytes,
            lost_bytes: lost().fold(0, |sum, part| sum.saturating_add(part.lost_bytes())),
            lost_blocks: lost().fold(0, |sum, part| sum.saturating_add(part.lost_blocks())),
            lost_sites: lost_sites.len() as u64,
            finding_bytes: match verdict {
                Verdict::Lost if whole.is_none() => self.finding_bytes(family, opinions),
                verdict if verdict.is_finding() => grown_bytes(live_bytes, peak_live_bytes),
                _ => 0,
            },
            rate,
            verdict,
            sites: sites
                .iter()
                .filter_map(|index| Some(family.sites.get(*index)?.id.clone()))
                .collect(),
        };
        (group, sites)
    }
}
