//! What a recording holds, as plain borrowed values. Encoding lives elsewhere.

use crate::account::{Account, Arenas, Residency};
use crate::code::Code;
use crate::spread::Spreads;
use crate::system::System;

pub use crate::faults::{FAULT_REGIONS, FaultCount, FaultSource, Faults, SiteFault, SiteTouch};

/// Milliseconds of `CLOCK_MONOTONIC` since the process was first recorded.
pub type TimeMs = u64;

/// Identifies one recording; random, drawn when the file is created.
pub type RecordingId = [u8; 16];

/// How allocations were chosen for recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every allocation.
    Exact,
    /// Poisson sampling over bytes with this mean.
    Sample {
        /// Mean distance between samples in bytes.
        mean_bytes: u64,
    },
    /// Sampling whose mean follows a share of the process's CPU, in thousandths of a percent.
    Budget {
        /// 1000 = one percent.
        milli_percent: u32,
    },
    /// Loaded but off until enabled.
    Dormant,
}

/// Who is recorded. Exactly one per recording, the first record of the first segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process<'a> {
    /// Random identity of this recording.
    pub id: RecordingId,
    /// The recording of the process that forked this one, if that was recorded.
    pub parent: Option<RecordingId>,
    /// Process id, in its own pid namespace.
    pub pid: u32,
    /// Parent's process id at start.
    pub ppid: u32,
    /// True if this process image began with a fork of a recorded process, false after exec.
    pub forked: bool,
    /// Absolute path of the executable (`/proc/self/exe`), raw bytes.
    pub exe: &'a [u8],
    /// Host name.
    pub host: &'a [u8],
    /// `CLOCK_REALTIME` at start, nanoseconds since the epoch.
    pub started_unix_ns: u64,
    /// `CLOCK_BOOTTIME`-independent start time from `/proc/self/stat`, clock ticks since boot.
    pub start_ticks: u64,
    /// How allocations are chosen.
    pub mode: Mode,
    /// Frames kept of a stack.
    pub depth: u32,
    /// Time between snapshots asked for.
    pub interval_ms: u64,
    /// Size of a page.
    pub page_bytes: u32,
    /// Live bytes and blocks inherited by fork; they count in the parent.
    pub inherited_bytes: u64,
    /// See `inherited_bytes`.
    pub inherited_blocks: u64,
    /// Path of the module that provides the real `malloc`.
    pub allocator: &'a [u8],
    /// The options as given (`LEAKTRACK`).
    pub options: &'a [u8],
    /// Version of the library that wrote this.
    pub version: &'a [u8],
}

/// A mapped ELF object (or the vDSO). Ids count from 1 in the order of discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// Id, from 1. Id 0 in a [`Node`] means: in no module (JIT or unknown).
    pub id: u32,
    /// Load bias: address in the process = bias + address in the file's program headers.
    pub bias: u64,
    /// First mapped address.
    pub start: u64,
    /// One past the last mapped address.
    pub end: u64,
    /// Load generation: raised each time a module was unloaded.
    pub generation: u32,
    /// When it was first seen.
    pub at_ms: TimeMs,
    /// Path as the loader knows it, absolute where it could be found.
    pub path: &'a [u8],
    /// GNU build-id, empty when there is none.
    pub build_id: &'a [u8],
}

/// One frame in the stack tree. Ids count from 1; parent 0 is the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Id, from 1, ascending in the file.
    pub id: u32,
    /// The frame that called this one (0: none, this is the outermost).
    pub parent: u32,
    /// Module, or 0.
    pub module: u32,
    /// Address minus the module's bias; the absolute address when `module` is 0.
    pub offset: u64,
    /// False: `offset` is a return address, look up `offset - 1`. True: the instruction itself
    /// (the frame that a signal interrupted).
    pub exact: bool,
}

/// What kind of memory a site hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SiteKind {
    /// The malloc family.
    Heap,
    /// The program's own mappings.
    Mmap,
}

/// One call stack at allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Id, from 1.
    pub id: u32,
    /// Innermost frame (the caller of malloc); 0 when there is no stack.
    pub leaf: u32,
    /// Kind of memory.
    pub kind: SiteKind,
    /// The stack was deeper than `depth`.
    pub cut: bool,
    /// The stack was folded into a shorter known part for want of memory.
    pub folded: bool,
    /// When it was first seen.
    pub first_seen_ms: TimeMs,
    /// The thread that allocated there first.
    pub thread: u32,
    /// What it called first.
    pub call: Call,
}

/// The function that a site called for its memory. Numbers are never used again for another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    /// Not known, or added by a newer version.
    #[default]
    Unknown = 0,
    /// `malloc`.
    Malloc = 1,
    /// `calloc`.
    Calloc = 2,
    /// `realloc` or `reallocarray`.
    Realloc = 3,
    /// `aligned_alloc`.
    AlignedAlloc = 4,
    /// `memalign`.
    Memalign = 5,
    /// `posix_memalign`.
    PosixMemalign = 6,
    /// `valloc`.
    Valloc = 7,
    /// `pvalloc`.
    Pvalloc = 8,
    /// `operator new` of an allocator that has its own.
    New = 9,
    /// `operator new[]` of an allocator that has its own.
    NewArray = 10,
    /// `mmap`.
    Mmap = 11,
    /// `mremap`.
    Mremap = 12,
}

impl Call {
    /// All that are known.
    pub const ALL: [Call; 13] = [
        Call::Unknown,
        Call::Malloc,
        Call::Calloc,
        Call::Realloc,
        Call::AlignedAlloc,
        Call::Memalign,
        Call::PosixMemalign,
        Call::Valloc,
        Call::Pvalloc,
        Call::New,
        Call::NewArray,
        Call::Mmap,
        Call::Mremap,
    ];

    /// The call of a number.
    pub fn of(number: u32) -> Call {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        Call::ALL.get(number).copied().unwrap_or_default()
    }

    /// The function's name; `None` if it is not known.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Call::Unknown => return None,
            Call::Malloc => "malloc",
            Call::Calloc => "calloc",
            Call::Realloc => "realloc",
            Call::AlignedAlloc => "aligned_alloc",
            Call::Memalign => "memalign",
            Call::PosixMemalign => "posix_memalign",
            Call::Valloc => "valloc",
            Call::Pvalloc => "pvalloc",
            Call::New => "operator new",
            Call::NewArray => "operator new[]",
            Call::Mmap => "mmap",
            Call::Mremap => "mremap",
        })
    }
}

/// What could not be recorded, cumulative since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Frees of addresses that were never recorded.
    pub unknown_frees: u64,
    /// Allocations that were not recorded for want of memory.
    pub dropped: u64,
    /// Allocations nested in a hook (a signal handler), passed through unrecorded.
    pub nested: u64,
    /// Inserts that found their address already live.
    pub replaced: u64,
    /// Stacks cut at `depth`.
    pub cut_stacks: u64,
    /// Stacks folded for want of memory.
    pub folded_stacks: u64,
    /// Stacks that ended early because no rule was found.
    pub broken_stacks: u64,
    /// Blocks inherited by fork and freed here.
    pub inherited_freed_blocks: u64,
    /// Bytes of them.
    pub inherited_freed_bytes: u64,
}

/// Cumulative and current totals of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Allocations of the malloc family, counted as valgrind does.
    pub allocations: u64,
    /// Frees of the malloc family.
    pub frees: u64,
    /// Bytes ever allocated.
    pub allocated_bytes: u64,
    /// Bytes ever freed.
    pub freed_bytes: u64,
    /// Highest live bytes seen.
    pub peak_live_bytes: u64,
    /// When.
    pub peak_at_ms: TimeMs,
    /// Mappings made by the program, cumulative.
    pub mappings: u64,
    /// Bytes mapped by the program now.
    pub mapped_bytes: u64,
    /// Bytes by which the program itself moved the break.
    pub brk_bytes: u64,
}

/// What the allocator says of itself (glibc: `mallinfo2`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorStats {
    /// Bytes obtained from the system, mapped chunks included.
    pub held_bytes: u64,
    /// Bytes in free chunks.
    pub free_bytes: u64,
    /// Bytes at the top that trimming would return.
    pub releasable_bytes: u64,
}

/// The process at one moment; per-site changes follow as [`SiteDelta`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotHead {
    /// First snapshot index covered, from 0.
    pub index: u64,
    /// Snapshots merged into this one (1 when not thinned).
    pub merged: u32,
    /// When the last of them was taken.
    pub at_ms: TimeMs,
    /// Resident set.
    pub rss_bytes: u64,
    /// Address space.
    pub vm_bytes: u64,
    /// Swapped out.
    pub swap_bytes: u64,
    /// Minor faults since process start.
    pub minor_faults: u64,
    /// Major faults since process start.
    pub major_faults: u64,
    /// Threads, leaktrack's own not counted.
    pub threads: u32,
    /// Memory limit in force, if any.
    pub limit_bytes: Option<u64>,
    /// That limit is `RLIMIT_AS`, on address space; else it is the cgroup's, on memory.
    pub limit_is_address_space: bool,
    /// Totals.
    pub totals: Totals,
    /// What could not be recorded.
    pub coverage: Coverage,
    /// leaktrack's own memory.
    pub own_memory_bytes: u64,
    /// CPU time of leaktrack's helper.
    pub own_cpu_ms: u64,
    /// Allocator figures, when they could be taken without stalling the host.
    pub allocator: Option<AllocatorStats>,
    /// The system around the process, where it was looked at. Snapshots that are merged keep the
    /// latest.
    pub system: Option<System>,
    /// How blocks were sampled, if they were.
    pub sampling: Option<Sampling>,
    /// The highest resident set of the snapshots merged into this one, if that is not its own.
    pub rss_peak: Option<RssPeak>,
    /// Blocks so far that were freed before their thread allocated or freed anything else; `None`
    /// where blocks are sampled.
    pub temporary: Option<u64>,
}

impl SnapshotHead {
    /// What counts towards the limit in force: address space or memory.
    pub fn used_of_limit_bytes(&self) -> u64 {
        if self.limit_is_address_space {
            self.vm_bytes
        } else {
            self.rss_bytes
        }
    }
}

/// How blocks were sampled at the moment of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// Mean distance between samples in bytes.
    pub mean_bytes: u64,
    /// CPU time that hooks spent until then, where it is measured (`mode=budget`), microseconds.
    pub hooks_cpu_us: u64,
    /// CPU time of the program without all of ours, where it is measured, microseconds.
    pub program_cpu_us: u64,
}

/// A resident set, and when it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RssPeak {
    /// Resident set.
    pub bytes: u64,
    /// When.
    pub at_ms: TimeMs,
}

/// What one site did since the previous snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteDelta {
    /// Site id.
    pub site: u32,
    /// Blocks allocated.
    pub allocations: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Bytes allocated.
    pub allocated_bytes: u64,
    /// Bytes freed.
    pub freed_bytes: u64,
    /// Of the blocks freed, those that were temporary: freed before their thread allocated or freed
    /// anything else. 0 where the snapshot does not tell them.
    pub temporary: u64,
}

/// Ages of the live blocks of a site, from a walk over the live table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteAge {
    /// Site id.
    pub site: u32,
    /// Live blocks counted.
    pub blocks: u64,
    /// Birth of the oldest.
    pub oldest_ms: TimeMs,
    /// Birth of the median one.
    pub median_ms: TimeMs,
}

/// How a reachability scan was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScanKind {
    /// At the end of the process.
    #[default]
    Exit,
    /// While the process ran.
    Live,
    /// In a forked copy of the process.
    Fork,
}

/// A reachability scan, or the attempt at one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan<'a> {
    /// When it began.
    pub at_ms: TimeMs,
    /// How it was made.
    pub kind: ScanKind,
    /// How long it took.
    pub duration_ms: u64,
    /// All memory that may hold pointers was looked at. If not, nothing was called lost.
    pub complete: bool,
    /// Not every live block was known, so free memory counted as holding pointers, too: more may be
    /// lost than was found.
    pub lower_bound: bool,
    /// [`Losses`] leave out sites that lost nothing, for want of room.
    pub partial: bool,
    /// Times that memory was gone through.
    pub passes: u32,
    /// Threads whose registers could not be read.
    pub unread_threads: u32,
    /// Lost blocks of a site that were called possibly lost at most, because those registers may
    /// hold them.
    pub excused_per_site: u64,
    /// Live blocks looked at.
    pub blocks: u64,
    /// Why it is not complete; empty if it is.
    pub why_not: &'a [u8],
    /// Blocks that the scan before called lost and that were freed since: somebody held them.
    pub freed_since: u64,
}

/// What a scan found of the live blocks of a site; valgrind's kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteLoss {
    /// Site id.
    pub site: u32,
    /// The first scan that found some of its blocks definitely or indirectly lost, without a scan
    /// in between that found none; 0 if this one found none.
    pub since_ms: TimeMs,
    /// Nothing points to them.
    pub definite_bytes: u64,
    /// See `definite_bytes`.
    pub definite_blocks: u64,
    /// Only lost blocks point to them.
    pub indirect_bytes: u64,
    /// See `indirect_bytes`.
    pub indirect_blocks: u64,
    /// Held by pointers into them only, or perhaps by a register.
    pub possible_bytes: u64,
    /// See `possible_bytes`.
    pub possible_blocks: u64,
    /// Held by pointers to them.
    pub reachable_bytes: u64,
    /// See `reachable_bytes`.
    pub reachable_blocks: u64,
}

/// Something worth a line in the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Set by the user.
    Mark,
    /// A threshold was crossed.
    Alert,
    /// A reachability scan.
    Scan,
    /// Recording was switched on.
    Enable,
    /// Recording was switched off.
    Disable,
    /// Modules were loaded or unloaded.
    Dlopen,
    /// A limit was met (disk, memory, confinement).
    Limit,
    /// The process is about to exec; the recording ends here unless more follows.
    Exec,
    /// Something the reader of the report should know.
    Note,
}

/// How a process ended, as far as it could tell itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndKind {
    /// `exit` or return from main.
    Exit,
    /// `_exit`, `_Exit` or `quick_exit`.
    FastExit,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator here to box with, and records are looked at one by one"
)]
pub enum Record<'a> {
    /// Who is recorded.
    Process(Process<'a>),
    /// One argument, in order; masked as the option `argv` says.
    Arg(&'a [u8]),
    /// A label of the user's.
    Label {
        /// Key.
        key: &'a [u8],
        /// Value.
        value: &'a [u8],
    },
    /// An environment variable of an allocator, a runtime or leaktrack.
    Env {
        /// Name.
        name: &'a [u8],
        /// Value.
        value: &'a [u8],
    },
    /// A module.
    Module(Module<'a>),
    /// A module was unloaded.
    ModuleGone {
        /// Its id.
        id: u32,
        /// When it was noticed.
        at_ms: TimeMs,
    },
    /// A frame.
    Node(Node),
    /// A site.
    Site(Site),
    /// What is in the file of a module that has no build-id.
    Content {
        /// The module's id.
        module: u32,
        /// [`ContentHash`](crate::ContentHash) of its file.
        hash: u64,
    },
    /// What a runtime calls its generated code.
    Code(Code<'a>),
    /// A thread's name.
    Thread {
        /// Thread id.
        tid: u32,
        /// Name (`comm`).
        name: &'a [u8],
    },
    /// A snapshot with its per-site changes.
    Snapshot(Snapshot<'a>),
    /// Ages of live blocks.
    Ages(Ages<'a>),
    /// Where resident memory is; kept and dropped as events are.
    Account(Account<'a>),
    /// Residency of sites' memory; only the last one is kept.
    Residency(Residency<'a>),
    /// The allocator's arenas; only the last ones are kept.
    Arenas(Arenas<'a>),
    /// The address space; only the last one is kept.
    Areas(crate::places::Areas<'a>),
    /// Single live blocks; only the last ones are kept.
    Blocks(crate::places::Blocks<'a>),
    /// Lifetimes of blocks; stands for those written before.
    Lifetimes(crate::lifetimes::Lifetimes<'a>),
    /// How large blocks were; stands for those written before.
    Sizes(crate::sizes::Sizes<'a>),
    /// A reachability scan.
    Scan(Scan<'a>),
    /// What the last complete scan found.
    Losses(Losses<'a>),
    /// How far the counters of sampled sites may be off.
    Spreads(Spreads<'a>),
    /// Page faults by address.
    Faults(Faults<'a>),
    /// An event.
    Event {
        /// When.
        at_ms: TimeMs,
        /// What.
        kind: EventKind,
        /// In words.
        text: &'a [u8],
    },
    /// The process ended in an orderly way; the last snapshot before it is final.
    End {
        /// When.
        at_ms: TimeMs,
        /// How.
        kind: EndKind,
        /// Exit status.
        status: i32,
    },
}

/// A snapshot: its head and its encoded site deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// The process.
    pub head: SnapshotHead,
    /// What of the deltas was temporary, packed by a [`TemporaryWriter`](crate::TemporaryWriter), of
    /// the sites that had any; `None` where sites do not tell. Read with `deltas()`.
    pub temporary: Option<&'a [u8]>,
    /// Encoded [`SiteDelta`]s, ascending by site; read with `deltas()`.
    pub deltas: &'a [u8],
}

/// Encoded ages at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages<'a> {
    /// When the live table was walked.
    pub at_ms: TimeMs,
    /// Encoded [`SiteAge`]s, ascending by site; read with `ages()`.
    pub ages: &'a [u8],
}

/// Encoded results of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Losses<'a> {
    /// When the scan began.
    pub at_ms: TimeMs,
    /// Encoded [`SiteLoss`]es, ascending by site; read with `losses()`.
    pub losses: &'a [u8],
}
