//! The report as data: schema `leaktrack.report/1`. Every format is made from this.
//!
//! The field names are a contract: add fields, never rename or remove one. Unknown is `None`,
//! which is `null` in JSON, never 0.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::faults::{FaultRegion, TouchPlace};
pub use super::gc::GcReport;
pub use super::lifetimes::LifetimesReport;
pub use super::places::{AddressSpace, AreaReport, BlockReport, Blocks};
use super::system::{SystemMoment, SystemReport};
use crate::human;
use crate::model::Frame;
use crate::verdict::{Estimate, Pattern, Verdict};

/// Name of the schema.
pub const SCHEMA: &str = "leaktrack.report/1";

/// The report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Who made it, and when.
    pub generator: Generator,
    /// The family, root first.
    pub processes: Vec<ProcessInfo>,
    /// How it was recorded.
    pub recording: RecordingInfo,
    /// What could not be recorded or judged.
    pub coverage: Coverage,
    /// Sums over the family.
    pub totals: Totals,
    /// Where resident memory went.
    pub memory: Memory,
    /// The allocator's own view.
    pub fragmentation: Fragmentation,
    /// What lies where, of the processes with most live bytes; empty where no account was taken.
    #[serde(default)]
    pub address_space: Vec<AddressSpace>,
    /// Single live blocks of these processes.
    #[serde(default)]
    pub blocks: Vec<Blocks>,
    /// Page faults.
    pub faults: Faults,
    /// The system around the processes; unknown in recordings that did not look.
    pub system: Option<SystemReport>,
    /// Garbage collections, if a log of them was given.
    pub gc: Option<GcReport>,
    /// Reachability scans.
    pub scans: Vec<Scan>,
    /// Blamed lines with a site, or all sites together, that are lost or growing; suppressed ones
    /// do not count.
    pub finding_count: u64,
    /// Call sites, worst first.
    pub sites: Vec<SiteReport>,
    /// Sites taken together.
    pub groups: Vec<Group>,
    /// The family over time.
    pub timeline: Vec<Moment>,
    /// Events, by time.
    pub events: Vec<EventReport>,
    /// What the text adds and the JSON does not carry.
    #[serde(skip)]
    pub extra: Extra,
}

/// Who made the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Version of the analyzer.
    pub version: String,
    /// When, Unix seconds.
    pub report_unix_s: u64,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Position in the list.
    pub index: usize,
    /// Its parent's position.
    pub parent: Option<usize>,
    /// Process id in its own namespace.
    pub pid: u32,
    /// Executable.
    pub exe: String,
    /// Arguments, masked as asked for.
    pub argv: Vec<String>,
    /// Build-id of the executable.
    pub build_id: Option<String>,
    /// Host name.
    pub host: String,
    /// Labels of the user's.
    pub labels: BTreeMap<String, String>,
    /// Start of the recording, Unix seconds.
    pub started_unix_s: f64,
    /// From start to last record.
    pub duration_s: f64,
    /// `exit`, `signal`, `exec`, `running` or `unfinished`.
    pub ended: String,
    /// If it exited.
    pub exit_status: Option<i32>,
    /// If a signal is known to have ended it.
    pub signal: Option<i32>,
    /// Last record, seconds after its start.
    pub last_record_s: f64,
    /// Did it run out of memory?
    pub oom: Oom,
    /// Live bytes that came with the fork and count in the parent.
    pub inherited_bytes: u64,
    /// Its file is not whole.
    #[serde(default)]
    pub damaged: bool,
}

impl ProcessInfo {
    /// The name that it was started by, else its executable's file name.
    pub fn name(&self) -> &str {
        let argument = self.argv.first().map_or("", String::as_str);
        let name = leaktrack_recording::program_name(self.exe.as_bytes(), argument.as_bytes());
        std::str::from_utf8(name).unwrap_or(&self.exe)
    }
}

/// Whether a process was probably killed for want of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oom {
    /// True if it looks like it.
    pub likely: bool,
    /// Why.
    pub why: String,
}

/// How it was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordingInfo {
    /// `exact`, `sample`, `budget` or `dormant`.
    pub mode: String,
    /// Mean distance between samples.
    pub sample_bytes: Option<u64>,
    /// How blocks were sampled in the course of it; `None` if every block was recorded.
    #[serde(default)]
    pub sampling: Option<SamplingInfo>,
    /// Every process ended in order and nothing is damaged.
    pub complete: bool,
    /// Snapshots taken.
    pub snapshots: u64,
    /// Size of the files.
    pub size_bytes: u64,
    /// leaktrack's own memory in the processes.
    pub own_memory_bytes: u64,
    /// CPU time of leaktrack's own threads.
    pub own_cpu_s: f64,
    /// Times that this report covers, seconds after the root's start.
    pub windows: Vec<Span>,
    /// Time that the report is about, added up over the processes.
    #[serde(default)]
    pub span_s: f64,
    /// Of it, how long recording was off (`mode=dormant`, `leaktrack disable`).
    #[serde(default)]
    pub off_s: f64,
}

/// How blocks were sampled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SamplingInfo {
    /// The budget in percent of the program's CPU, if one was given.
    pub budget_percent: Option<f64>,
    /// Blocks are sampled from here on, seconds after the start.
    pub from_s: f64,
    /// The largest mean distance between samples.
    pub coarsest_bytes: u64,
    /// The mean over time: one entry where it changed.
    pub means: Vec<MeanAt>,
    /// CPU time that the hooks took, where it was measured.
    pub hooks_cpu_s: Option<f64>,
    /// CPU time of the program alone, where it was measured.
    pub program_cpu_s: Option<f64>,
}

/// Mean distance between samples from a moment on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeanAt {
    /// Seconds after the start.
    pub at_s: f64,
    /// The mean.
    pub mean_bytes: u64,
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// From here.
    pub from_s: f64,
    /// To here.
    pub to_s: f64,
}

/// What could not be recorded or judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// False if the report says nothing about most of the program's memory.
    pub usable: bool,
    /// Frees of blocks that were never recorded.
    pub unknown_frees: u64,
    /// Allocations that were not recorded.
    pub dropped: u64,
    /// Stacks deeper than what was kept.
    pub cut_stacks: u64,
    /// Stacks folded for want of memory.
    pub folded_stacks: u64,
    /// An allocator that leaktrack cannot see.
    pub untracked_allocator: Option<String>,
    /// Child processes without a recording.
    pub children_unrecorded: Option<u64>,
    /// Why silence of this report means little, what weighs most first. A gate asks them all.
    #[serde(default)]
    pub unseen: Vec<Unseen>,
    /// All of it in sentences.
    pub notes: Vec<String>,
}

/// Something that the recording did not see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// A short name, the same in every version; `leaktrack check` has it, too.
    pub code: String,
    /// What happened.
    pub text: String,
    /// What to do; may be empty.
    pub remedy: String,
}

impl Unseen {
    /// What happened and what to do.
    pub fn sentence(&self) -> String {
        format!("{} {}", self.text, self.remedy)
            .trim_end()
            .to_owned()
    }
}

/// Sums over the family, the malloc family counted as valgrind does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Allocations.
    pub allocations: u64,
    /// Frees.
    pub frees: u64,
    /// Bytes allocated.
    pub allocated_bytes: u64,
    /// Blocks live at the end.
    pub live_blocks: u64,
    /// Bytes live at the end.
    pub live_bytes: u64,
    /// Highest live bytes.
    pub peak_live_bytes: u64,
    /// When.
    pub peak_at_s: f64,
    /// Mappings that the program made.
    pub mappings: u64,
    /// Bytes that it has mapped.
    pub mapped_bytes: u64,
    /// Of the blocks freed, those that were freed before their thread allocated or freed anything
    /// else; unknown where blocks are sampled.
    #[serde(default)]
    pub temporary: Option<u64>,
    /// `live_bytes` with its interval, call sites without a sample included.
    #[serde(default)]
    pub live_bytes_estimate: Amount,
    /// `peak_live_bytes` with its interval.
    #[serde(default)]
    pub peak_live_bytes_estimate: Amount,
}

impl Totals {
    /// Live bytes for people, with their interval if blocks were sampled.
    pub fn live(&self) -> String {
        Self::with_interval(self.live_bytes, &self.live_bytes_estimate)
    }

    /// Likewise the highest.
    pub fn peak(&self) -> String {
        Self::with_interval(self.peak_live_bytes, &self.peak_live_bytes_estimate)
    }

    fn with_interval(value: u64, estimate: &Amount) -> String {
        let value = human::bytes(value);
        let Amount { low, high, .. } = *estimate;
        match low.zip(high) {
            Some((low, high)) if low < high => format!(
                "{value} (95%: {} to {})",
                human::bytes(low),
                human::bytes(high)
            ),
            _ => value,
        }
    }
}

/// Where resident memory went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident set, all processes.
    pub rss_bytes: Option<u64>,
    /// Proportional set.
    pub pss_bytes: Option<u64>,
    /// Swapped out.
    pub swap_bytes: Option<u64>,
    /// Limit in force.
    pub limit_bytes: Option<u64>,
    /// What sets it.
    pub limit_kind: Option<String>,
    /// Highest resident set at a snapshot of the window, all processes.
    pub peak_rss_bytes: Option<u64>,
    /// When that was, seconds after the root's start.
    pub peak_rss_at_s: Option<f64>,
    /// The highest resident set at any time, as the kernel counts it (`VmHWM`): of a single process, and of all of
    /// its recording. It stands as of the last look at the system around it.
    #[serde(default)]
    pub kernel_peak_rss_bytes: Option<u64>,
    /// Parts that were measured.
    pub parts: Vec<MemoryPart>,
    /// What the parts and `unexplained_bytes` add up to: `rss`, or `pss` where several processes are told of;
    /// unknown unless all parts were measured.
    #[serde(default)]
    pub parts_of: Option<String>,
    /// What no part explains; unknown unless all parts were measured. Below 0 if the parts were
    /// measured a moment later than the whole.
    pub unexplained_bytes: Option<i64>,
    /// In a sentence.
    pub verdict: Option<String>,
    /// Of the resident set, in transparent huge pages.
    pub huge_page_bytes: Option<u64>,
    /// Live bytes on pages that were never touched or were given back.
    pub untouched_bytes: Option<u64>,
    /// Thread stacks found, the first thread's included.
    pub thread_stacks: Option<u64>,
    /// The resident set at the last snapshot, which may be younger than `rss_bytes` and its parts.
    #[serde(default)]
    pub latest_rss_bytes: Option<u64>,
    /// When that was, seconds after the root's start.
    #[serde(default)]
    pub latest_rss_at_s: Option<f64>,
    /// When the parts were measured, seconds after the root's start.
    pub measured_at_s: Option<f64>,
    /// How long that took, in leaktrack's own thread.
    pub measured_in_s: Option<f64>,
    /// NUMA nodes; `null` where there is one.
    pub nodes: Option<Vec<NodeReport>>,
    /// The resident parts whenever they were measured, process by process.
    pub over_time: Vec<MemoryMoment>,
}

/// A NUMA node, and what of the processes is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The kernel's number.
    pub node: u32,
    /// Resident memory on it; unknown of large processes while they run.
    pub resident_bytes: Option<u64>,
    /// The node's memory.
    pub host_bytes: u64,
    /// Of it, free.
    pub host_free_bytes: u64,
    /// Threads that ran there last.
    pub threads: u64,
}

/// Resident memory of a process at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryMoment {
    /// Seconds after the root's start.
    pub t_s: f64,
    /// Index of the process.
    pub process: usize,
    /// Resident set.
    pub rss_bytes: u64,
    /// Names and bytes of its parts.
    pub parts: BTreeMap<String, u64>,
    /// What no part explains.
    pub unexplained_bytes: i64,
}

/// A part of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPart {
    /// What it is.
    pub name: String,
    /// How much.
    pub bytes: u64,
    /// How that is known.
    pub measured_by: String,
}

/// The allocator's own view.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fragmentation {
    /// Which allocator.
    pub allocator: Option<String>,
    /// Bytes that it holds from the system.
    pub held_bytes: Option<u64>,
    /// Of these, free.
    pub free_bytes: Option<u64>,
    /// Of these, what trimming would return.
    pub releasable_bytes: Option<u64>,
    /// Free as a share of held.
    pub ratio: Option<f64>,
    /// Bytes that the allocator itself says it holds from the system, asked at the end.
    pub own_held_bytes: Option<u64>,
    /// Of these, free by its own account.
    pub own_free_bytes: Option<u64>,
    /// Of these, what it could return at once by its own account.
    pub own_releasable_bytes: Option<u64>,
    /// Sites whose blocks keep pages from being returned.
    pub pinned_by: Option<Vec<Pin>>,
    /// The allocator's arenas, those with most free memory first.
    pub arenas: Vec<ArenaReport>,
}

/// An arena of the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArenaReport {
    /// Index of the process.
    pub process: usize,
    /// From 1; 1 is the main one.
    pub number: u32,
    /// Address space that it uses.
    pub held_bytes: u64,
    /// Resident.
    pub resident_bytes: u64,
    /// Of these, in live blocks.
    pub live_bytes: u64,
    /// Of these, headers and rounding.
    pub overhead_bytes: u64,
    /// Of these, free.
    pub free_bytes: u64,
    /// Of the free ones, what trimming returns.
    pub releasable_bytes: u64,
    /// Of the free ones, what lies at the arena's end and goes with a later free.
    pub top_bytes: u64,
}

/// A site that keeps pages from being returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its id.
    pub site: String,
    /// Pages.
    pub pages: u64,
    /// Free bytes on them.
    pub bytes: u64,
}

/// Page faults of the processes themselves, since their start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Faults {
    /// Without I/O.
    pub minor: Option<u64>,
    /// With I/O.
    pub major: Option<u64>,
    /// `counters` or `perf`.
    pub source: String,
    /// Minor faults attributed to sites.
    pub attributed_minor: Option<u64>,
    /// Major faults attributed to sites.
    pub attributed_major: Option<u64>,
    /// Faults without an address: the kernel took them while it worked for the process (`read(2)`
    /// into fresh memory where only the program's own may be watched, `MAP_POPULATE`, `mlock`).
    pub in_kernel: Option<u64>,
    /// Faults before attribution began.
    pub before: Option<u64>,
    /// Only faults in the program's own code may be watched; those that the kernel takes for it
    /// (`read(2)` into fresh memory) are among `in_kernel`.
    pub user_only: Option<bool>,
    /// One of so many minor faults was looked at.
    pub sampled_one_in: Option<u64>,
    /// Attributed to something other than a site's blocks.
    pub regions: Option<Vec<FaultRegion>>,
    /// While a process runs: when it was last told whose they are, seconds after the root's start; faults since
    /// then are one of `regions`.
    #[serde(default)]
    pub told_at_s: Option<f64>,
    /// Why faults are not attributed.
    pub why_not: Option<String>,
    /// Which way to look; none where faults are few.
    pub diagnosis: Option<String>,
}

/// A reachability scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// When.
    pub at_s: f64,
    /// `exit`, `live` or `fork`.
    pub kind: String,
    /// How long it took.
    pub duration_s: f64,
    /// It saw all memory.
    pub complete: bool,
    /// If not, why.
    pub why_not: Option<String>,
    /// Times that memory was gone through.
    #[serde(default)]
    pub passes: u32,
    /// Live blocks looked at.
    #[serde(default)]
    pub blocks: u64,
    /// More may be lost than was found: not every live block was known.
    #[serde(default)]
    pub lower_bound: bool,
    /// Threads whose registers could not be read.
    #[serde(default)]
    pub unread_threads: u32,
    /// Lost blocks of each site that these may hold, at most, and that are called possibly lost.
    #[serde(default)]
    pub excused_per_site: u64,
    /// Blocks that the scan before called lost and that were freed since: somebody held them.
    #[serde(default)]
    pub freed_since: u64,
}

/// A number of bytes or blocks with its 95% interval; all three are equal in exact mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// The best single value.
    pub value: u64,
    /// Lower bound.
    pub low: Option<u64>,
    /// Upper bound.
    pub high: Option<u64>,
}

/// A call site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteReport {
    /// Same in every run of the same build.
    pub id: String,
    /// Survives a rebuild.
    pub key: String,
    /// `heap` or `mmap`.
    pub kind: String,
    /// What it does.
    pub verdict: Verdict,
    /// Evidence, a sentence each.
    pub why: Vec<String>,
    /// What to do.
    pub advice: String,
    /// For `--suppressions`: of a finding, a block that matches its stack and no other; of other
    /// sites, a line that matches those of the same function.
    pub suppression: String,
    /// The suppression that matched it, if any: then it is no finding.
    pub suppressed_by: Option<String>,
    /// The number of the finding that its line is, the worst is 1; its own verdict may be another: of the
    /// stacks of a line that grows, some stay.
    #[serde(default)]
    pub finding: Option<u64>,
    /// The line to look at.
    pub blame: Option<BlameReport>,
    /// Live bytes at the end.
    pub live_bytes: Amount,
    /// Live blocks at the end.
    pub live_blocks: Amount,
    /// Bytes allocated.
    pub allocated_bytes: u64,
    /// Blocks allocated.
    pub allocations: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Highest live bytes at a snapshot, the sum of the processes' peaks.
    pub peak_live_bytes: u64,
    /// `peak_live_bytes` with its interval.
    #[serde(default)]
    pub peak_live_bytes_estimate: Amount,
    /// First allocation, seconds after the root's start.
    pub first_seen_s: f64,
    /// Age of the oldest live block.
    pub oldest_s: Option<f64>,
    /// Age of the median live block.
    pub median_age_s: Option<f64>,
    /// How long its blocks lived; unknown if it was not counted.
    pub lifetimes: Option<LifetimesReport>,
    /// Blocks freed before their thread allocated or freed anything else, since the recording began;
    /// unknown where blocks are sampled, and of mappings.
    #[serde(default)]
    pub temporary: Option<u64>,
    /// Blocks allocated since the recording began: up to so many bytes (and over those of the one
    /// before; `None`: any), and how many. Estimated where blocks are sampled.
    #[serde(default)]
    pub sizes: Option<Vec<(Option<u64>, u64)>>,
    /// The functions that were called for the memory.
    #[serde(default)]
    pub calls: Vec<String>,
    /// Growth.
    pub growth: GrowthReport,
    /// Reachability; unknown until a scan ran.
    pub lost: Option<LostReport>,
    /// Of the live bytes, resident.
    pub resident_bytes: Option<u64>,
    /// Of the live bytes, swapped out.
    pub swapped_bytes: Option<u64>,
    /// Of the live bytes, never touched or given back.
    pub untouched_bytes: Option<u64>,
    /// Page faults on its blocks.
    pub faults: SiteFaults,
    /// Seconds and live bytes.
    pub series: Vec<(f64, u64)>,
    /// Each process's share.
    pub by_process: Vec<ProcessShare>,
    /// Threads that were the first to allocate here.
    pub threads: Vec<String>,
    /// The stack, from the allocating caller outwards.
    pub frames: Vec<Frame>,
}

/// The line to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlameReport {
    /// Index into `frames`.
    pub frame: usize,
    /// Function.
    pub function: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line.
    pub line: Option<u32>,
}

/// Growth of a site.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrowthReport {
    /// Shape of the curve.
    pub pattern: Pattern,
    /// Bytes per second, for growth that is going on.
    pub rate: Option<Estimate>,
    /// Seconds until the limit, were this the only growth.
    pub limit_in_s: Option<Estimate>,
}

/// Reachability of a site's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LostReport {
    /// When a scan first found blocks of it lost; `None` while none are.
    pub since_s: Option<f64>,
    /// No pointer anywhere.
    pub definite_bytes: u64,
    /// Blocks of it.
    pub definite_blocks: u64,
    /// Pointed to by lost blocks only.
    pub indirect_bytes: u64,
    /// Blocks of it.
    pub indirect_blocks: u64,
    /// Pointed into by something.
    pub possible_bytes: u64,
    /// Blocks of it.
    pub possible_blocks: u64,
    /// Reachable.
    pub reachable_bytes: u64,
    /// Blocks of it.
    pub reachable_blocks: u64,
}

/// Page faults on a site's blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteFaults {
    /// Without I/O.
    pub minor: Option<u64>,
    /// With I/O.
    pub major: Option<u64>,
    /// Minor faults per MiB allocated; 256 is one for each page.
    pub per_mib: Option<f64>,
    /// The code that touched most of its pages first.
    pub first_touch: Option<TouchPlace>,
    /// `in order` or `at random`; none where faults are few, or neither.
    pub order: Option<String>,
    /// When the first and the last of them were seen, seconds after the start.
    pub first_s: Option<f64>,
    /// See `first_s`.
    pub last_s: Option<f64>,
    /// Its memory is resident with hardly any fault: `by the kernel` (populated, locked, read into),
    /// or `in huge pages`.
    pub filled: Option<String>,
    /// What would spare most of them, where the figures say so.
    pub advice: Option<String>,
}

/// A process's share of a site.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessShare {
    /// Index of the process.
    pub process: usize,
    /// Live bytes there.
    pub live_bytes: u64,
    /// Growth there, bytes per second.
    pub rate: Option<f64>,
}

/// Sites taken together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What they share: `line`, `function`, `file`, `module`, `thread` or `process`.
    pub by: String,
    /// Its name.
    pub key: String,
    /// Live bytes together.
    pub live_bytes: u64,
    /// Most live bytes together at a snapshot.
    #[serde(default)]
    pub peak_live_bytes: u64,
    /// Of the live ones, those that are lost, directly or through lost blocks.
    #[serde(default)]
    pub lost_bytes: u64,
    /// Lost blocks.
    #[serde(default)]
    pub lost_blocks: u64,
    /// Sites that lost any.
    #[serde(default)]
    pub lost_sites: u64,
    /// Of the live ones, those that make it a finding: of what is lost the lost ones, of what grows all, or
    /// its peak if that was given back at exit.
    #[serde(default)]
    pub finding_bytes: u64,
    /// Growth together, bytes per second.
    pub rate: Option<f64>,
    /// Verdict on all together.
    pub verdict: Verdict,
    /// Their ids, worst first.
    pub sites: Vec<String>,
}

/// The family at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds after the root's start.
    pub t_s: f64,
    /// Live bytes.
    pub live_bytes: u64,
    /// Live blocks.
    #[serde(default)]
    pub live_blocks: u64,
    /// Temporary blocks so far, those of ended processes among them.
    #[serde(default)]
    pub temporary: Option<u64>,
    /// Resident set.
    pub rss_bytes: u64,
    /// Swapped out.
    pub swap_bytes: u64,
    /// Limit in force.
    pub limit_bytes: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// Minor faults so far.
    pub minor_faults: u64,
    /// Major faults so far.
    pub major_faults: u64,
    /// The system around the processes.
    #[serde(flatten)]
    pub system: SystemMoment,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventReport {
    /// Seconds after the root's start.
    pub t_s: f64,
    /// `mark`, `alert`, `scan`, `enable`, `disable`, `dlopen`, `limit`, `exec` or `note`.
    #[serde(rename = "type")]
    pub kind: String,
    /// In words.
    pub text: String,
}

/// What the text formats add.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra {
    /// The sites with most page faults, also those that are not listed.
    pub fault_sites: Vec<SiteReport>,
    /// Sites with most memory that came without faults.
    pub filled_sites: Vec<SiteReport>,
    /// Where faults are not attributed: whose allocations go with them.
    pub fault_correlation: Option<String>,
    /// Source lines by file and line.
    pub source: BTreeMap<(String, u32), String>,
    /// How the family's live bytes do, in one opinion.
    pub live_growth: Option<crate::verdict::Opinion>,
    /// If no process was recorded for long enough to judge anything: what would settle it.
    pub too_short: Option<String>,
    /// Recordings of the same family that lie beside the given ones.
    pub relatives: Vec<String>,
    /// What the program became by exec, if that is in one of these: its name, and the file.
    pub became: Option<(String, String)>,
    /// A shell's pattern for `paths`, where they are many.
    pub paths_glob: Option<Glob>,
    /// A shell's pattern for `paths` and `relatives`, where they are many.
    pub family_glob: Option<Glob>,
    /// Opinions on blamed lines of several sites, by the key of their group.
    pub lines: BTreeMap<String, crate::verdict::Opinion>,
    /// Sites by verdict, before `--top`.
    pub counts: BTreeMap<Verdict, u64>,
    /// Growth of all findings together.
    pub finding_rate: Option<Estimate>,
    /// What grew was all freed when the processes exited.
    pub finding_freed: bool,
    /// Live memory that rose, if most of the rise may or may not be growth.
    pub undecided: Option<super::undecided::Undecided>,
    /// Seconds until the limit at that growth.
    pub limit_in_s: Option<Estimate>,
    /// Sites left out by `--top`.
    pub left_out: u64,
    /// Live bytes of these.
    pub left_out_bytes: u64,
    /// Sites left out by the filters.
    pub filtered: u64,
    /// Findings of which the filters left no site.
    pub filtered_findings: u64,
    /// Sites that a suppression matched.
    pub suppressed: u64,
    /// Recordings, as given.
    pub paths: Vec<String>,
    /// Frames that are plumbing, by index, per site of `sites`.
    pub plumbing: Vec<Vec<bool>>,
    /// Blamed lines that are findings, worst first, whatever `groups` are by; only with curves.
    pub findings: Vec<Group>,
    /// What was allocated over time, per site of `sites`; only if the options ask for curves.
    pub activity: Vec<Vec<Activity>>,
    /// Source around the blamed lines of findings, each line with its number; only with curves.
    pub excerpts: BTreeMap<(String, u32), Vec<(u32, String)>>,
}

impl Extra {
    /// The files that were read, then those of the rest of their family.
    pub fn family_files(&self) -> Vec<String> {
        self.paths.iter().chain(&self.relatives).cloned().collect()
    }
}

/// A shell's pattern that stands for files of one folder: what is before the star, and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The folder, and how all names begin.
    pub before: String,
    /// How all names end.
    pub after: String,
}

/// What was allocated at a site since the window opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Activity {
    /// Seconds after the root's start.
    pub t_s: f64,
    /// Blocks allocated so far.
    pub allocations: u64,
    /// Bytes allocated so far.
    pub allocated_bytes: u64,
    /// Of the blocks, those that were temporary so far; `None` if snapshots do not tell.
    pub temporary: Option<u64>,
}
