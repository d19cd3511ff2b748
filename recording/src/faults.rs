//! Owns page faults by where their addresses lie. Plain values; encoding lives elsewhere.

use crate::types::TimeMs;

/// How many faults, without and with I/O.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCount {
    /// Without I/O.
    pub minor: u64,
    /// With I/O.
    pub major: u64,
}

/// Why faults are not attributed, or how they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultSource {
    /// Not asked for (`faults=off`), or without the helper thread.
    #[default]
    Off,
    /// By address, also of faults that the kernel took in a system call.
    All,
    /// By address, of those taken in the program's own code.
    User,
    /// The kernel refused (`perf_event_paranoid`, seccomp, a limit).
    Refused,
    /// There were too many threads for the processors: the kernel's bookkeeping had become too dear.
    TooMany,
}

/// Regions outside the blocks of sites, in the order of [`Faults::regions`].
pub const FAULT_REGIONS: [&str; 7] = [
    "thread stacks",
    "executable and libraries",
    "file mappings",
    "freed since, or the allocator's own",
    "other anonymous memory",
    "leaktrack",
    "unknown",
];

/// Page faults up to a moment; written again and again, the latest counts. Counts of faults by
/// address are sums of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults<'a> {
    /// When.
    pub at_ms: TimeMs,
    /// Whether and how they are attributed.
    pub source: FaultSource,
    /// The kernel's error number, if it refused.
    pub error: u32,
    /// Every so many minor faults one was looked at. Of major faults each is.
    pub period: u64,
    /// When attribution began.
    pub since_ms: TimeMs,
    /// Faults of the process before that.
    pub before: FaultCount,
    /// All faults of the process up to this moment.
    pub all: FaultCount,
    /// Exact number of faults that could be looked at, minor and major; `None` if unknown.
    pub seen: Option<u64>,
    /// Samples of minor faults that found no room.
    pub lost: u64,
    /// In the order of [`FAULT_REGIONS`].
    pub regions: [FaultCount; FAULT_REGIONS.len()],
    /// Major faults among `seen`; `None` if unknown, as in older recordings.
    pub seen_major: Option<u64>,
    /// Encoded [`SiteTouch`]es, ascending by site; read with `touches()`.
    pub touches: &'a [u8],
    /// Encoded [`SiteFault`]s, ascending by site; read with `sites()`.
    pub sites: &'a [u8],
}

/// When and in which order the blocks of a site were touched; kept of sites with many faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteTouch {
    /// Site id.
    pub site: u32,
    /// Samples that were compared with the one before.
    pub compared: u64,
    /// Of these, those a little above the one before.
    pub in_order: u64,
    /// When the first was taken.
    pub first_ms: TimeMs,
    /// When the last was taken.
    pub last_ms: TimeMs,
}

/// Faults on the blocks of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteFault {
    /// Site id.
    pub site: u32,
    /// How many.
    pub count: FaultCount,
    /// Module of the instruction that touched most pages first; 0: in none, or in the kernel.
    pub touch_module: u32,
    /// Address of that instruction minus the module's bias; 0 if it is in no module.
    pub touch_offset: u64,
}
