//! What grows, all findings together: one sum for all sentences on growth.
//!
//! Lines grow, not call stacks: a line that is a finding counts with its own rate, or, if only some of
//! its stacks are findings, with theirs together. A lost line that still grows counts too.

use leaktrack_recording::SiteKind;

use super::runtime::Runtime;
use crate::model::{Family, Site};
use crate::verdict::{Estimate, Verdict};

/// A line that grows.
#[derive(Clone, Debug)]
pub struct GrowingLine {
    /// Lost or growing.
    pub verdict: Verdict,
    /// Bytes per second; `None` where no rate could be told.
    pub rate: Option<Estimate>,
    /// Live bytes at the end.
    pub live_bytes: u64,
    /// The most that was live.
    pub peak_live_bytes: u64,
    /// Live bytes at the first snapshot.
    pub first_live_bytes: u64,
    /// Indices of its sites, the one that makes it grow first.
    pub sites: Vec<usize>,
    /// Kind of the first one's memory.
    pub kind: SiteKind,
}

impl GrowingLine {
    fn speed(&self) -> f64 {
        self.rate.map_or(0.0, |rate| rate.value)
    }

    /// What it grew to is mostly gone: what grows until the end does not shrink by half but at exit.
    fn is_freed(&self) -> bool {
        is_freed(self.live_bytes, self.peak_live_bytes)
    }
}

/// What something grew to is mostly gone.
pub fn is_freed(live_bytes: u64, peak_live_bytes: u64) -> bool {
    live_bytes < peak_live_bytes / 2
}

/// What something grew to: what is live of it, or was before it was freed at exit.
pub fn grown_bytes(live_bytes: u64, peak_live_bytes: u64) -> u64 {
    if is_freed(live_bytes, peak_live_bytes) {
        peak_live_bytes
    } else {
        live_bytes
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    /// In no order.
    pub lines: Vec<GrowingLine>,
}

impl Growth {
    /// Growth of all together, bytes per second.
    pub fn rate(&self) -> Option<Estimate> {
        let rates = self.lines.iter().filter_map(|line| line.rate);
        rates.reduce(Estimate::plus)
    }

    /// Growth of the lines of one runtime's own memory, bytes per second; whether there are others.
    pub fn rate_of(&self, runtime: Runtime, family: &Family) -> (Option<Estimate>, bool) {
        let is_of = |line: &&GrowingLine| {
            let site = line
                .sites
                .first()
                .and_then(|index| family.sites.get(*index));
            site.and_then(Runtime::of) == Some(runtime)
        };
        let of = self.lines.iter().filter(is_of);
        let rate = of.clone().filter_map(|line| line.rate);
        (rate.reduce(Estimate::plus), of.count() < self.lines.len())
    }

    /// Live bytes of all together.
    pub fn live_bytes(&self) -> u64 {
        let live = self.lines.iter().map(|line| line.live_bytes);
        live.fold(0, u64::saturating_add)
    }

    /// What grew is mostly gone, on every line.
    pub fn is_freed(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(GrowingLine::is_freed)
    }

    /// Of lines that gave back most of what they grew to: how much.
    pub fn freed_bytes(&self) -> u64 {
        let gone = self.lines.iter().filter(|line| line.is_freed());
        let bytes = gone.map(|line| line.peak_live_bytes - line.live_bytes);
        bytes.fold(0, u64::saturating_add)
    }

    /// The sum of their peaks, which need not have been at one time.
    pub fn peak_live_bytes(&self) -> u64 {
        let peaks = self.lines.iter().map(|line| line.peak_live_bytes);
        peaks.fold(0, u64::saturating_add)
    }

    /// What they held from the start, where that is much of what they held at their peak.
    pub fn held_from_the_start_bytes(&self) -> Option<u64> {
        let first = self.lines.iter().map(|line| line.first_live_bytes);
        let first = first.fold(0, u64::saturating_add);
        (first > self.peak_live_bytes() / 10).then_some(first)
    }

    /// Whether heap blocks are among them, and whether mappings are.
    pub fn kinds(&self) -> (bool, bool) {
        let has = |kind| self.lines.iter().any(|line| line.kind == kind);
        (has(SiteKind::Heap), has(SiteKind::Mmap))
    }

    /// The first site of the line that grows fastest; `None` if none grows but what is lost.
    pub fn worst<'a>(&self, family: &'a Family) -> Option<&'a Site> {
        let grows = |line: &&GrowingLine| line.verdict == Verdict::Growing;
        self.lines.iter().find(grows)?;
        let worst = self.lines.iter().max_by(|a, b| {
            let by_speed = a.speed().total_cmp(&b.speed());
            by_speed.then(a.live_bytes.cmp(&b.live_bytes))
        })?;
        family.sites.get(*worst.sites.first()?)
    }
}
