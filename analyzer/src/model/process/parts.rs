//! What a recorded process is made of: its modules, sites, events, and how it ended.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use leaktrack_recording::{self as format, EventKind};

use crate::model::history::History;
use crate::model::lifetimes::Lifetimes;
use crate::model::sampling::SampleBasis;
use crate::model::sizes::Sizes;

/// A module of the recorded process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Path as recorded.
    pub path: Vec<u8>,
    /// GNU build-id; empty when it has none.
    pub build_id: Vec<u8>,
    /// Hash of its file's content, of a module without build-id.
    pub content: Option<u64>,
    /// Bytes of address space.
    pub mapped_bytes: u64,
    /// When it was first seen.
    pub at_ms: u64,
}

/// The age of a site's live blocks when the live table was last walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Age of the oldest live block.
    pub oldest_ms: u64,
    /// Age of the median one.
    pub median_ms: u64,
}

/// One recorded stack with its history; `stack` is the id of the innermost node.
#[derive(Clone, Debug)]
pub struct RawSite {
    /// As defined in the recording; made up (kind heap, no stack) if the definition was lost.
    pub site: format::Site,
    /// Its counters.
    pub history: History,
    /// Ages of what is live, if the live table was walked.
    pub ages: Option<Ages>,
    /// Where its live memory is, as of the last account.
    pub residency: Option<format::SiteResidency>,
    /// How long its blocks lived, if that was counted.
    pub lifetimes: Option<Lifetimes>,
    /// How large its blocks were, if that was counted.
    pub sizes: Option<Sizes>,
    /// What the last scan found of it; unknown without one.
    pub losses: Option<format::SiteLoss>,
    /// What its figures rest on, if it was sampled.
    pub basis: Option<SampleBasis>,
}

/// Sites by their ids.
pub(in crate::model) type ById = ByNumber<RawSite>;

/// What has ids that are handed out one after the other.
pub type ByNumber<T> = HashMap<u32, T, BuildHasherDefault<IdHasher>>;

/// Ids are handed out one after the other: neighbours stay neighbours, which a long list of deltas in their
/// order goes through several times as fast.
#[derive(Clone, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) ^ u64::from(*byte);
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = u64::from(id);
    }

    fn finish(&self) -> u64 {
        // The map tells apart what shares a place by the upper bits.
        self.0 ^ (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) & (!0 << 32))
    }
}

impl RawSite {
    /// A site that did nothing yet.
    pub(super) fn idle(site: format::Site) -> Self {
        Self {
            site,
            history: History::default(),
            ages: None,
            residency: None,
            lifetimes: None,
            sizes: None,
            losses: None,
            basis: None,
        }
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at_ms: u64,
    /// What.
    pub kind: EventKind,
    /// In words.
    pub text: String,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exit(i32),
    /// It became another program.
    Exec,
    /// It still runs.
    Running,
    /// The recording stops without an end: killed, crashed, or the host went down.
    Unfinished,
}
