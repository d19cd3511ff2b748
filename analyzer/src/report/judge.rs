//! The verdicts on a family: on each site, on sites together, on each process as a whole.

use std::collections::BTreeMap;

use super::sampled;
use super::scans;
use crate::model::{Counters, Family, History, Process, Site};
use crate::parallel;
use crate::verdict::{self, Context, Curve, Opinion, Pattern, Verdict};

/// What was found out about a family's curves.
pub struct Judgement {
    frames: Vec<verdict::Frame>,
    /// See [`Context::of_cut`].
    p_cut: f64,
    /// On each site, in the order of the family.
    pub opinions: Vec<Opinion>,
    /// Growth of each site in each of its processes, bytes per second.
    pub rates: Vec<Vec<Option<f64>>>,
}

impl Judgement {
    /// Judges every site.
    pub fn of(family: &Family) -> Self {
        let frames: Vec<verdict::Frame> = family.processes.iter().map(verdict::Frame::of).collect();
        let mut sites: Vec<&Site> = family.sites.iter().collect();
        // Nearly all are told at once, so that no curve has to be made twice or kept.
        let all = sites.iter().map(|site| site.parts.len()).sum();
        let early = parallel::map(&mut sites, |site| {
            let context = Context::before_others(all);
            let curves = curves(site, &frames);
            let chances = curves.iter().map(Curve::chance_of_trend);
            let chances: Vec<f64> = chances.flatten().collect();
            (
                on_curves(&curves, &context),
                chances,
                context.was_in_doubt(),
            )
        });
        let chances = early.iter().flat_map(|(_, chances, _)| chances);
        let p_cut = verdict::p_cut(chances.copied());
        let judged = early.into_iter().zip(&family.sites);
        let judged = judged.map(|((told, _, in_doubt), site)| match in_doubt {
            true => on_curves(&curves(site, &frames), &Context::of_cut(p_cut)),
            false => told,
        });
        let (mut opinions, rates): (Vec<Opinion>, Vec<_>) = judged.unzip();
        for (opinion, site) in opinions.iter_mut().zip(&family.sites) {
            weigh_lifetimes(opinion, site, family);
            if let Some(basis) = site.basis() {
                sampled::temper(opinion, site, &basis, &frames);
            }
            let found = scans::found(family, site);
            let lost = found.and_then(|found| verdict::lost::overrule(opinion, &found));
            *opinion = lost.unwrap_or_else(|| opinion.clone());
        }
        Self {
            p_cut,
            opinions,
            rates,
            frames,
        }
    }

    /// The opinion on the sum of some histories, each with its process.
    pub fn on_sum<'a>(&self, parts: impl Iterator<Item = (usize, &'a History)>) -> Option<Opinion> {
        let mut histories: BTreeMap<usize, Vec<&History>> = BTreeMap::new();
        for (process, history) in parts {
            histories.entry(process).or_default().push(history);
        }
        let opinions = histories.into_iter().filter_map(|(process, histories)| {
            let frame = self.frames.get(process)?;
            let sum = History::sum(histories, frame.times_s.len());
            Some(self.on(frame, &sum))
        });
        verdict::combine(opinions.collect())
    }

    /// The opinion on all live bytes of the malloc family.
    pub fn on_heap(&self, family: &Family) -> Option<Opinion> {
        let present = family.present();
        let processes =
            present.filter_map(|(index, process)| Some((process, self.frames.get(index)?)));
        let recorded = processes.filter(|(process, _)| !process.heads.is_empty());
        verdict::combine(
            recorded
                .map(|(process, frame)| self.on(frame, &heap(process)))
                .collect(),
        )
    }

    fn on(&self, frame: &verdict::Frame, history: &History) -> (u64, Opinion) {
        let curve = Curve::new(frame, history, None);
        (
            curve.end.live_bytes(),
            verdict::judge(&curve, &Context::of_cut(self.p_cut)),
        )
    }
}

/// Takes into account how long the site's blocks lived, in the process that holds most of them.
fn weigh_lifetimes(opinion: &mut Opinion, site: &Site, family: &Family) {
    let live = |part: &&crate::model::site::Part| part.history.last().live_bytes();
    let Some(part) = site.parts.iter().max_by_key(live) else {
        return;
    };
    let Some((lifetimes, process)) = part
        .lifetimes
        .as_ref()
        .zip(family.processes.get(part.process))
    else {
        return;
    };
    let last = part.history.last();
    if last.live_blocks() == 0 {
        return;
    }
    let span_s = process.to_ms.saturating_sub(part.first_seen_ms) as f64 / 1e3;
    let block_bytes = last.live_bytes() as f64 / last.live_blocks() as f64;
    verdict::survival::weigh(opinion, lifetimes, span_s, block_bytes);
}

fn curves<'a>(site: &Site, frames: &'a [verdict::Frame]) -> Vec<Curve<'a>> {
    let curve = |part: &crate::model::site::Part| {
        let frame = frames.get(part.process)?;
        Some(Curve::new(frame, &part.history, part.ages))
    };
    site.parts.iter().filter_map(curve).collect()
}

/// The opinion on a site, and the rate in each of its processes.
fn on_curves(curves: &[Curve<'_>], context: &Context) -> (Opinion, Vec<Option<f64>>) {
    let judge = |curve: &Curve<'_>| (curve.end.live_bytes(), verdict::judge(curve, context));
    let opinions: Vec<(u64, Opinion)> = curves.iter().map(judge).collect();
    let rate = |(_, opinion): &(u64, Opinion)| Some(opinion.rate?.value);
    let rates = opinions.iter().map(rate).collect();
    let unknown = || {
        let why = "Nothing is known of it over time.";
        Opinion::new(Verdict::Unclear, Pattern::Unclear, why)
    };
    (verdict::combine(opinions).unwrap_or_else(unknown), rates)
}

/// The totals of a process as a history.
fn heap(process: &Process) -> History {
    let counters = |head: &leaktrack_recording::SnapshotHead| Counters {
        allocations: head.totals.allocations,
        frees: head.totals.frees,
        allocated_bytes: head.totals.allocated_bytes,
        freed_bytes: head.totals.freed_bytes,
        temporary: head.temporary.unwrap_or(0),
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
        means: Vec::new(),
        changes,
        peak_live_bytes,
    }
}
