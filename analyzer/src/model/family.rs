//! Recordings of processes that descend from one another, as one.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::faults::PartFaults;
use super::history::History;
use super::identity::{site_id, site_key};
use super::link;
use super::process::{Process, RawSite};
use super::sampling::SampleBasis;
use super::scans;
use super::site::{Part, Site};
use super::stacks::{Stack, Stacks};
use super::window::Window;
use crate::blame::Blame;
use crate::parallel;
use crate::symbolize::SymbolOptions;

/// How recordings are to be loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The part of the recording to look at.
    pub window: Window,
    /// Where symbols come from.
    pub symbols: SymbolOptions,
    /// Which frames may be blamed.
    pub blame: Blame,
}

/// The recordings are not of one family.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these recordings are of {} families of processes that did not start one another:\n{}\nreport each family on its own, or compare two with `leaktrack diff`",
    .0.len(), .0.iter().map(|family| format!("  {}", family.join(", "))).collect::<Vec<_>>().join("\n"))]
pub struct DifferentFamilies(pub Vec<Vec<String>>);

/// A family of processes.
#[derive(Clone, Debug)]
pub struct Family {
    /// The root first, the others by start.
    pub processes: Vec<Process>,
    /// Index of each process's parent.
    pub parents: Vec<Option<usize>>,
    /// For each process whether it became another one of the family by exec: its memory is gone
    /// and no part of the report.
    pub superseded: Vec<bool>,
    /// Call stacks, in no particular order.
    pub sites: Vec<Site>,
    /// What symbols are missing, in words.
    pub symbol_notes: Vec<String>,
    /// Recordings of it in which nothing was written.
    pub unwritten: Vec<PathBuf>,
}

impl Family {
    /// Links processes and merges their sites.
    pub fn merge(
        processes: Vec<Process>,
        options: &LoadOptions,
    ) -> Result<Self, DifferentFamilies> {
        let mut stacks = Stacks::new(options.symbols.clone());
        Self::merge_with(processes, options, &mut stacks)
    }

    /// As [`Family::merge`], with the names that `stacks` has looked up before: for who reads the
    /// same recording again and again.
    pub fn merge_with(
        mut processes: Vec<Process>,
        options: &LoadOptions,
        stacks: &mut Stacks,
    ) -> Result<Self, DifferentFamilies> {
        processes
            .sort_by_key(|process| (process.started_unix_ns, process.start_ticks, process.pid));
        let mut seen = BTreeSet::new();
        processes.retain(|process| seen.insert(process.id));
        let roots = link::roots(&link::parents(&processes));
        let families: BTreeSet<usize> = roots.iter().copied().collect();
        if families.len() > 1 {
            let name = |process: &Process| {
                format!(
                    "{} ({}, pid {})",
                    process.path.display(),
                    process.name(),
                    process.pid
                )
            };
            return Err(DifferentFamilies(
                families
                    .iter()
                    .map(|root| {
                        processes
                            .iter()
                            .zip(&roots)
                            .filter(|(_, of)| *of == root)
                            .map(|(process, _)| name(process))
                            .collect()
                    })
                    .collect(),
            ));
        }
        if let Some(root) = families.first().copied() {
            processes
                .get_mut(..=root)
                .into_iter()
                .for_each(|head| head.rotate_right(1));
        }
        for process in &processes {
            stacks.add_bundled(process.symbols.clone());
        }
        let parents = link::parents(&processes);
        let superseded = link::superseded(&processes, &parents);
        let sites = merge_sites(&processes, &superseded, stacks, &options.blame);
        Ok(Self {
            processes,
            parents,
            superseded,
            sites,
            symbol_notes: stacks.notes().to_vec(),
            unwritten: Vec::new(),
        })
    }

    /// The processes whose memory is reported, with their indices.
    pub fn present(&self) -> impl Iterator<Item = (usize, &Process)> {
        let all = self.processes.iter().enumerate();
        all.filter(|(index, _)| self.superseded.get(*index) != Some(&true))
    }

    /// Seconds from the root's start to that of `process`.
    pub fn start_s(&self, process: usize) -> f64 {
        let started = |process: &Process| process.started_unix_ns as i128;
        match (self.processes.first(), self.processes.get(process)) {
            (Some(root), Some(process)) => (started(process) - started(root)).max(0) as f64 / 1e9,
            _ => 0.0,
        }
    }

    /// Seconds from the root's start to the end of the window, over all processes.
    pub fn end_s(&self) -> f64 {
        (0..self.processes.len())
            .filter_map(|index| {
                Some(self.start_s(index) + self.processes.get(index)?.to_ms as f64 / 1e3)
            })
            .fold(0.0, f64::max)
    }
}

/// Raw sites of one merged site: in which process, and which.
type Members<'a> = Vec<(usize, &'a RawSite)>;

fn merge_sites(
    processes: &[Process],
    superseded: &[bool],
    stacks: &mut Stacks,
    blame: &Blame,
) -> Vec<Site> {
    let mut order: Vec<(String, Option<String>, Stack, Members<'_>)> = Vec::new();
    let mut by_id: HashMap<String, usize> = HashMap::new();
    for (index, process) in processes.iter().enumerate() {
        if superseded.get(index) == Some(&true) {
            continue;
        }
        let mut of_process = stacks.of(process);
        let sites = process.sites.iter();
        let mut resolved: Vec<(Stack, &RawSite)> = sites
            .map(|raw| (of_process.resolve(raw.site.leaf), raw))
            .collect();
        let seen = stacks.identities();
        let names = parallel::map(&mut resolved, |(stack, raw)| {
            let kind = raw.site.kind;
            let id = || site_id(kind, stack.iter().map(|machine| &machine.place));
            match &seen {
                None => (id(), None),
                Some(seen) => seen.get(kind, stack).map_or_else(
                    || (id(), Some(key_of(kind, stack))),
                    |(id, key)| (id, Some(key)),
                ),
            }
        });
        let mut seen = stacks.identities();
        for ((id, key), (stack, raw)) in names.into_iter().zip(resolved) {
            if let (Some(seen), Some(key)) = (&mut seen, &key) {
                seen.keep(raw.site.kind, &stack, &id, key);
            }
            match by_id.get(&id).and_then(|known| order.get_mut(*known)) {
                Some((.., members)) => members.push((index, raw)),
                None => {
                    by_id.insert(id.clone(), order.len());
                    order.push((id, key, stack, vec![(index, raw)]));
                }
            }
        }
    }
    let mut sites = parallel::map(&mut order, |(id, key, stack, members)| {
        site(
            processes,
            (std::mem::take(id), std::mem::take(key)),
            std::mem::take(stack),
            members,
            blame,
        )
    });
    // Names of instructions that touched memory first are looked up one after the other.
    for (site, (.., members)) in sites.iter_mut().zip(&order) {
        for (part, run) in site.parts.iter_mut().zip(by_process(members)) {
            let process = processes.get(part.process);
            part.faults = process.and_then(|it| part_faults(it, run, stacks));
        }
    }
    sites
}

fn key_of(kind: leaktrack_recording::SiteKind, stack: &Stack) -> String {
    site_key(kind, stack.iter().flat_map(|machine| &machine.key))
}

/// The members of each process, which lie together: one part of the site each.
fn by_process<'a, 'p>(
    members: &'a [(usize, &'p RawSite)],
) -> impl Iterator<Item = &'a [(usize, &'p RawSite)]> {
    members.chunk_by(|a, b| a.0 == b.0)
}

/// Faults on the blocks of one process's raw sites.
fn part_faults(
    process: &Process,
    run: &[(usize, &RawSite)],
    stacks: &mut Stacks,
) -> Option<PartFaults> {
    let faults = process.faults.as_ref().filter(|it| it.by_address())?;
    let mut part = PartFaults::default();
    let mut most = 0;
    let of = |(_, raw): &(usize, &RawSite)| faults.sites.get(&raw.site.id);
    for fault in run.iter().filter_map(of) {
        part.count.minor = part.count.minor.saturating_add(fault.count.minor);
        part.count.major = part.count.major.saturating_add(fault.count.major);
        let weight = fault.count.minor.saturating_add(fault.count.major);
        if weight > most {
            most = weight;
            part.touch = stacks.instruction(process, fault.touch_module, fault.touch_offset);
            part.order = faults.touches.get(&fault.site).copied();
        }
    }
    Some(part)
}

fn site(
    processes: &[Process],
    (id, key): (String, Option<String>),
    stack: Stack,
    members: &[(usize, &RawSite)],
    blame: &Blame,
) -> Site {
    let kind = members
        .first()
        .map_or(leaktrack_recording::SiteKind::Heap, |(_, raw)| {
            raw.site.kind
        });
    let mut parts: Vec<Part> = Vec::new();
    let mut threads = BTreeSet::new();
    for run in by_process(members) {
        let Some((index, process)) = run
            .first()
            .and_then(|(index, _)| Some((*index, processes.get(*index)?)))
        else {
            continue;
        };
        threads.extend(
            run.iter()
                .filter_map(|(_, raw)| process.threads.get(&raw.site.thread).cloned()),
        );
        parts.push(Part {
            process: index,
            ids: run.iter().map(|(_, raw)| raw.site.id).collect(),
            history: History::sum(run.iter().map(|(_, raw)| &raw.history), process.grid.len()),
            ages: run
                .iter()
                .filter_map(|(_, raw)| raw.ages)
                .reduce(|a, b| if a.oldest_ms >= b.oldest_ms { a } else { b }),
            residency: run
                .iter()
                .filter_map(|(_, raw)| raw.residency)
                .reduce(|a, b| leaktrack_recording::SiteResidency {
                    site: a.site,
                    live_bytes: a.live_bytes.saturating_add(b.live_bytes),
                    resident_bytes: a.resident_bytes.saturating_add(b.resident_bytes),
                    swapped_bytes: a.swapped_bytes.saturating_add(b.swapped_bytes),
                    pinned_pages: a.pinned_pages.saturating_add(b.pinned_pages),
                    pinned_bytes: a.pinned_bytes.saturating_add(b.pinned_bytes),
                }),
            // Of all its stacks, or of none: a part of them would look like the whole.
            lifetimes: run
                .iter()
                .map(|(_, raw)| raw.lifetimes.clone())
                .reduce(|a, b| Some(a?.plus(&b?)))
                .flatten(),
            sizes: run
                .iter()
                .map(|(_, raw)| raw.sizes)
                .reduce(|a, b| Some(a?.plus(b?)))
                .flatten(),
            losses: scans::sum(run.iter().filter_map(|(_, raw)| raw.losses)),
            basis: run
                .iter()
                .filter_map(|(_, raw)| raw.basis)
                .reduce(SampleBasis::plus),
            first_seen_ms: run
                .iter()
                .map(|(_, raw)| raw.site.first_seen_ms)
                .min()
                .unwrap_or(0),
            faults: None,
        });
    }
    let mut site = Site {
        key: String::new(),
        id,
        kind,
        cut: members.iter().any(|(_, raw)| raw.site.cut),
        folded: members.iter().any(|(_, raw)| raw.site.folded),
        stack,
        blame: None,
        calls: members
            .iter()
            .filter_map(|(_, raw)| raw.site.call.name())
            .collect(),
        threads,
        parts,
    };
    site.key = key.unwrap_or_else(|| key_of(kind, &site.stack));
    site.blame = blame.among(site.frames_and_roles());
    site
}
