//! One call stack of a family: the same stack of all its processes, with what it did in each.

use std::collections::BTreeSet;

use leaktrack_recording::{SiteKind, SiteLoss, SiteResidency};

use super::faults::PartFaults;
use super::frame::Frame;
use super::history::{Counters, History};
use super::lifetimes::Lifetimes;
use super::process::Ages;
use super::sampling::SampleBasis;
use super::sizes::Sizes;
use super::stacks::Stack;
use crate::blame::Role;

/// What a site did in one process.
#[derive(Clone, Debug)]
pub struct Part {
    /// Index of the process in the family.
    pub process: usize,
    /// Ids of its sites in the recording of that process.
    pub ids: Vec<u32>,
    /// Counters over the grid of that process.
    pub history: History,
    /// Ages of its live blocks, if the live table was walked.
    pub ages: Option<Ages>,
    /// Where its live memory is, as of the last account.
    pub residency: Option<SiteResidency>,
    /// How long its blocks lived, if that was counted.
    pub lifetimes: Option<Lifetimes>,
    /// How large its blocks were, if that was counted.
    pub sizes: Option<Sizes>,
    /// What the last scan found of it; unknown without one.
    pub losses: Option<SiteLoss>,
    /// What its figures rest on, if it was sampled.
    pub basis: Option<SampleBasis>,
    /// When it first allocated there.
    pub first_seen_ms: u64,
    /// Page faults on its blocks, if they were attributed.
    pub faults: Option<PartFaults>,
}

impl Part {
    /// Bytes that the last scan found lost, directly or through lost blocks.
    pub fn lost_bytes(&self) -> u64 {
        self.losses.as_ref().map_or(0, |loss| {
            loss.definite_bytes.saturating_add(loss.indirect_bytes)
        })
    }

    /// Blocks that the last scan found lost, directly or through lost blocks.
    pub fn lost_blocks(&self) -> u64 {
        self.losses.as_ref().map_or(0, |loss| {
            loss.definite_blocks.saturating_add(loss.indirect_blocks)
        })
    }
}

/// A call stack at allocation.
#[derive(Clone, Debug)]
pub struct Site {
    /// Same in every run of the same build.
    pub id: String,
    /// Survives a rebuild.
    pub key: String,
    /// Kind of memory.
    pub kind: SiteKind,
    /// Deeper than what was kept.
    pub cut: bool,
    /// Folded into a shorter stack for want of memory.
    pub folded: bool,
    /// Innermost machine frame first; empty if the stack was not recorded.
    pub stack: Stack,
    /// Index into `frames()` of the frame to blame.
    pub blame: Option<usize>,
    /// What was called for the memory; several where pointers to functions are.
    pub calls: BTreeSet<&'static str>,
    /// Names of threads that allocated there first.
    pub threads: BTreeSet<String>,
    /// Per process, ascending; never empty.
    pub parts: Vec<Part>,
}

impl Site {
    /// The stack as people read it, innermost first.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.stack.iter().flat_map(|machine| machine.frames.iter())
    }

    /// The same with what each frame does.
    pub fn frames_and_roles(&self) -> impl Iterator<Item = (&Frame, Role)> + Clone {
        let machines = self.stack.iter();
        machines.flat_map(|machine| machine.frames.iter().zip(machine.roles.iter().copied()))
    }

    /// The frame to blame.
    pub fn blamed(&self) -> Option<&Frame> {
        self.frames().nth(self.blame?)
    }

    /// Live bytes at the end of the window, all processes together.
    pub fn live_bytes(&self) -> u64 {
        self.sum(|part| part.history.last().live_bytes())
    }

    /// Live bytes at the first snapshots of its processes.
    pub fn first_live_bytes(&self) -> u64 {
        self.sum(|part| part.history.first().live_bytes())
    }

    /// Live blocks at the end of the window.
    pub fn live_blocks(&self) -> u64 {
        self.sum(|part| part.history.last().live_blocks())
    }

    /// Bytes that the last scans found lost, directly or through lost blocks, all processes together.
    pub fn lost_bytes(&self) -> u64 {
        self.sum(Part::lost_bytes)
    }

    /// Blocks that the last scans found lost, directly or through lost blocks.
    pub fn lost_blocks(&self) -> u64 {
        self.sum(Part::lost_blocks)
    }

    /// What was counted inside the window.
    pub fn counted(&self) -> Counters {
        self.parts.iter().fold(Counters::default(), |sum, part| {
            sum.plus(&part.history.last().since(&part.history.base))
        })
    }

    /// What its live figures rest on; `None` if every block was recorded.
    pub fn basis(&self) -> Option<SampleBasis> {
        self.parts
            .iter()
            .filter_map(|part| part.basis)
            .reduce(SampleBasis::beside)
    }

    fn sum(&self, f: impl Fn(&Part) -> u64) -> u64 {
        self.parts
            .iter()
            .fold(0, |sum, part| sum.saturating_add(f(part)))
    }
}
