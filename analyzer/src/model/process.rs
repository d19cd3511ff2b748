//! One recording, decoded into owned values: who ran, its snapshots, and its sites' histories.
//!
//! Takes every record as possibly damaged: ids may be missing or repeated, times may run backwards.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use leaktrack_recording::{
    self as format, EndKind, EventKind, Mode, Record, RecordingId, SnapshotHead,
};

mod parts;
mod time;

use super::account::{Arenas, MemoryAccount};
use super::faults::ProcessFaults;
use super::history::Counters;
use super::lifetimes::Lifetimes;
use super::places::{AddressSpace, LiveBlocks};
use super::sampling::SampleBasis;
use super::scans::{self, Scan};
use super::sizes;
use super::window::Window;
use crate::parallel;
use crate::symbolize::Symbols;
pub(super) use parts::ById;
pub use parts::ByNumber;
pub use parts::{Ages, Ended, Event, Module, RawSite};
pub use time::EmptyWindow;

/// Points at which histories are kept: enough for the statistics, bounded for long recordings.
pub const GRID_POINTS: usize = 120;

/// From so many snapshots on, two threads go through them.
const LONG: usize = 512;

/// One recording.
#[derive(Clone, Debug)]
pub struct Process {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub file_bytes: u64,
    /// Identity of the recording.
    pub id: RecordingId,
    /// The recording of the process that forked this one.
    pub parent: Option<RecordingId>,
    /// Process id in its own namespace.
    pub pid: u32,
    /// Its parent's.
    pub ppid: u32,
    /// Began by a fork rather than by exec.
    pub forked: bool,
    /// Executable.
    pub exe: String,
    /// Host name.
    pub host: String,
    /// Start of the recording, Unix nanoseconds.
    pub started_unix_ns: u64,
    /// Start time from `/proc/PID/stat`.
    pub start_ticks: u64,
    /// How allocations were chosen.
    pub mode: Mode,
    /// The largest mean distance between samples, 0 if every block was recorded.
    pub sample_mean_bytes: u64,
    /// Interval asked for.
    pub interval_ms: u64,
    /// Bytes that came with the fork; they count in the parent.
    pub inherited_bytes: u64,
    /// Module that provides the real `malloc`.
    pub allocator: String,
    /// Version of the library.
    pub version: String,
    /// Arguments, masked as asked for.
    pub argv: Vec<String>,
    /// Labels of the user's.
    pub labels: BTreeMap<String, String>,
    /// Allocator and runtime variables.
    pub env: BTreeMap<String, String>,
    /// Modules by id.
    pub modules: HashMap<u32, Module>,
    /// Frames by id.
    pub nodes: ByNumber<format::Node>,
    /// What runtimes call the generated code that frames are in, by the frame's id.
    pub code: HashMap<u32, Arc<str>>,
    /// Names of threads by id.
    pub threads: HashMap<u32, String>,
    /// Every snapshot of the recording, in order; those of the window are `window_heads()`.
    pub heads: Vec<SnapshotHead>,
    /// Indices into `heads` at which histories have values.
    pub grid: Vec<usize>,
    /// Sites tell their temporary blocks with each snapshot up to the end of the window. Older
    /// recordings do not, nor do samples.
    pub tells_temporary: bool,
    /// Sites that did something up to the end of the window.
    pub sites: Vec<RawSite>,
    /// Accounts of resident memory, by time.
    pub accounts: Vec<MemoryAccount>,
    /// The allocator's arenas, as of the last account.
    pub arenas: Arenas,
    /// The address space, as of the last account.
    pub address_space: Option<AddressSpace>,
    /// Single live blocks, as of the last account.
    pub blocks: Option<LiveBlocks>,
    /// Page faults by address, if they were recorded.
    pub faults: Option<ProcessFaults>,
    /// Events, by time.
    pub events: Vec<Event>,
    /// Reachability scans, by time.
    pub scans: Vec<Scan>,
    /// How it ended.
    pub ended: Ended,
    /// When it said that it was about to end or to become another program.
    leaves_ms: Option<u64>,
    /// Where the window opens: nothing up to here is counted.
    pub from_ms: u64,
    /// Where it closes.
    pub to_ms: u64,
    /// The window that was asked for holds nothing of this process.
    pub empty_window: Option<EmptyWindow>,
    /// When the recording's last record was made.
    pub last_record_ms: u64,
    /// The first recording of the family.
    pub family: Option<RecordingId>,
    /// What became of recordings of the family that there was no room for.
    pub family_counts: format::control::FamilyCounts,
    /// Damage to the file, in words, with offsets.
    pub problems: Vec<String>,
    /// Names of frames that are inside the recording.
    pub symbols: Arc<Symbols>,
}

/// Why a file's records make no process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record that says who was recorded is missing.
    #[error("it does not say which process it is of: the record was never written, or is damaged")]
    NoProcess,
    /// A mark of `--since` or `--until` is not there.
    #[error("it has no mark `{0}`; its marks: {1}")]
    NoMark(String, String),
}

/// Lossy text of recorded bytes.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// True of what [`Process::read_sites`] reads.
fn is_over_time(record: &Record<'_>) -> bool {
    matches!(
        record,
        Record::Snapshot(_)
            | Record::Lifetimes(_)
            | Record::Sizes(_)
            | Record::Ages(_)
            | Record::Residency(_)
            | Record::Losses(_)
            | Record::Spreads(_)
    )
}

impl Process {
    /// Decodes what `records` yields. What tells of sites over time is looked at again, once the frame of time
    /// is known.
    pub fn decode<'a, I>(
        path: PathBuf,
        file_bytes: u64,
        window: &Window,
        records: impl Fn() -> I,
    ) -> Result<Self, DecodeError>
    where
        I: Iterator<Item = Record<'a>>,
    {
        let mut process = records()
            .find_map(|record| match record {
                Record::Process(process) => Some(Self::new(path.clone(), file_bytes, &process)),
                _ => None,
            })
            .ok_or(DecodeError::NoProcess)?;
        let mut definitions = ByNumber::default();
        let mut over_time = Vec::new();
        for record in records() {
            if is_over_time(&record) {
                over_time.push(record);
            }
            process.define(record, &mut definitions);
        }
        process.forget_false_end();
        process.events.sort_by_key(|event| event.at_ms);
        process.accounts.sort_by_key(|account| account.head.at_ms);
        process.scans.sort_by_key(|scan| scan.at_ms);
        process.open_window(window)?;
        process.read_sites(&definitions, &over_time);
        Ok(process)
    }

    fn new(path: PathBuf, file_bytes: u64, process: &format::Process<'_>) -> Self {
        Self {
            path,
            file_bytes,
            id: process.id,
            parent: process.parent,
            pid: process.pid,
            ppid: process.ppid,
            forked: process.forked,
            exe: text(process.exe),
            host: text(process.host),
            started_unix_ns: process.started_unix_ns,
            start_ticks: process.start_ticks,
            mode: process.mode,
            sample_mean_bytes: 0,
            interval_ms: process.interval_ms,
            inherited_bytes: process.inherited_bytes,
            allocator: text(process.allocator),
            version: text(process.version),
            argv: Vec::new(),
            labels: BTreeMap::new(),
            env: BTreeMap::new(),
            modules: HashMap::new(),
            nodes: ByNumber::default(),
            code: HashMap::new(),
            threads: HashMap::new(),
            heads: Vec::new(),
            grid: Vec::new(),
            tells_temporary: false,
            sites: Vec::new(),
            accounts: Vec::new(),
            arenas: Arenas::default(),
            address_space: None,
            blocks: None,
            faults: None,
            events: Vec::new(),
            scans: Vec::new(),
            ended: Ended::Unfinished,
            leaves_ms: None,
            from_ms: 0,
            to_ms: 0,
            empty_window: None,
            last_record_ms: 0,
            family: None,
            family_counts: Default::default(),
            problems: Vec::new(),
            symbols: Arc::default(),
        }
    }

    fn define(&mut self, record: Record<'_>, sites: &mut ByNumber<format::Site>) {
        match record {
            Record::Process(_) | Record::ModuleGone { .. } => {}
            Record::Arg(arg) => self.argv.push(text(arg)),
            Record::Label { key, value } => {
                self.labels.insert(text(key), text(value));
            }
            Record::Env { name, value } => {
                self.env.insert(text(name), text(value));
            }
            Record::Module(module) => {
                self.modules.insert(
                    module.id,
                    Module {
                        path: module.path.to_vec(),
                        build_id: module.build_id.to_vec(),
                        content: None,
                        mapped_bytes: module.end.saturating_sub(module.start),
                        at_ms: module.at_ms,
                    },
                );
            }
            Record::Node(node) => {
                self.nodes.insert(node.id, node);
            }
            Record::Site(site) => {
                sites.insert(site.id, site);
            }
            Record::Content { module, hash } => {
                if let Some(module) = self.modules.get_mut(&module) {
                    module.content = Some(hash);
                }
            }
            Record::Code(code) => {
                let name: Arc<str> = text(code.name).into();
                self.code
                    .extend(code.nodes().map(|node| (node, name.clone())));
            }
            Record::Thread { tid, name } => {
                self.threads.insert(tid, text(name));
            }
            Record::Snapshot(snapshot) => {
                let mut head = snapshot.head;
                head.at_ms = head.at_ms.max(self.last_record_ms);
                self.last_record_ms = head.at_ms;
                self.heads.push(head);
            }
            Record::Ages(_)
            | Record::Lifetimes(_)
            | Record::Sizes(_)
            | Record::Residency(_)
            | Record::Losses(_)
            | Record::Spreads(_) => {}
            // Taken right after a snapshot, which is the last moment that is told.
            Record::Account(account) => {
                let mut account = MemoryAccount::of(&account);
                account.head.at_ms = account.head.at_ms.min(self.last_record_ms);
                self.accounts.push(account);
            }
            Record::Arenas(arenas) => self.arenas = Arenas::of(&arenas),
            Record::Areas(areas) => self.address_space = Some(AddressSpace::of(&areas)),
            Record::Blocks(blocks) => self.blocks = Some(LiveBlocks::of(&blocks)),
            Record::Scan(scan) => {
                // The one at exit comes after the last snapshot.
                self.last_record_ms = self.last_record_ms.max(scan.at_ms);
                self.scans.push(Scan::of(&scan));
            }
            Record::Faults(faults) => self.faults = Some(ProcessFaults::new(&faults)),
            Record::Event {
                at_ms,
                kind,
                text: words,
            } => {
                if kind == EventKind::Exec && self.ended == Ended::Unfinished {
                    self.ended = Ended::Exec;
                    self.leaves_ms = Some(at_ms);
                }
                self.events.push(Event {
                    at_ms,
                    kind,
                    text: text(words),
                });
            }
            Record::End {
                at_ms,
                status,
                kind,
            } => {
                self.ended = Ended::Exit(status);
                self.leaves_ms = (kind == EndKind::FastExit).then_some(at_ms);
            }
        }
    }

    /// An exec that failed, and a child by `vfork` that ends under a seccomp filter which keeps the
    /// library from asking whose end it is, are no end: snapshots go on.
    fn forget_false_end(&mut self) {
        const LATE_MS: u64 = 1_000;
        let last_ms = self.heads.iter().map(|head| head.at_ms).max().unwrap_or(0);
        let late_ms = LATE_MS.saturating_add(self.interval_ms.saturating_mul(2));
        let goes_on = |left: u64| last_ms > left.saturating_add(late_ms);
        if self.leaves_ms.is_some_and(goes_on) {
            self.ended = Ended::Unfinished;
        }
    }

    fn read_sites(&mut self, definitions: &ByNumber<format::Site>, records: &[Record<'_>]) {
        let spreads = records.iter().rev().find_map(|record| match record {
            Record::Spreads(found) if found.head.at_ms <= self.to_ms => Some(found),
            _ => None,
        });
        let mut head = spreads.map_or_else(format::SpreadsHead::default, |found| found.head);
        let spreads: HashMap<u32, format::SiteSpread> = spreads
            .into_iter()
            .flat_map(|found| found.spreads())
            .map(|spread| (spread.site, spread))
            .collect();
        let mut told = records.iter().filter_map(|record| match record {
            Record::Snapshot(snapshot) if snapshot.head.at_ms <= self.to_ms => Some(snapshot),
            _ => None,
        });
        self.tells_temporary = told.all(|snapshot| snapshot.temporary.is_some());
        let long = records
            .iter()
            .filter(|record| matches!(record, Record::Snapshot(_)));
        let shares = match long.count() {
            ..LONG => 1,
            _ => 2,
        };
        // Neighbours stay together.
        let share_of = |site: u32| (site >> 6) % shares;
        let mut parts = parallel::shares(shares, |share| {
            self.sites_over_time(definitions, records, |site| share_of(site) == share)
        });
        self.scans.retain(|scan| scan.at_ms <= self.to_ms);
        // A forked child touches memory of its parent's sites, where it never allocated itself.
        for id in self.faults.iter().flat_map(|faults| faults.sites.keys()) {
            if let Some(site) = definitions.get(id)
                && let Some(sites) = parts.get_mut(share_of(*id) as usize)
            {
                sites.entry(*id).or_insert_with(|| RawSite::idle(*site));
            }
        }
        let asked = match self.mode {
            Mode::Sample { mean_bytes } => Some(mean_bytes),
            _ => None,
        };
        let used = self.heads.iter().filter(|head| head.at_ms <= self.to_ms);
        let used = used
            .filter_map(|head| Some(head.sampling?.mean_bytes))
            .max();
        if let Some(mean_bytes) = used.max(asked) {
            head.mean_bytes = head.mean_bytes.max(mean_bytes);
            let most_unseen_bytes = self.most_unseen_bytes();
            for (id, raw) in parts.iter_mut().flatten() {
                if raw.site.kind == format::SiteKind::Heap {
                    let spread = spreads.get(id);
                    raw.basis = Some(SampleBasis::of(
                        &raw.history.last(),
                        spread,
                        head,
                        most_unseen_bytes,
                    ));
                }
            }
        }
        self.sample_mean_bytes = head.mean_bytes;
        let sites = parts.into_iter().flat_map(ById::into_values);
        self.sites = sites.collect();
        self.sites.sort_by_key(|site| site.site.id);
    }

    /// What `records` say of those sites that are `mine`.
    fn sites_over_time(
        &self,
        definitions: &ByNumber<format::Site>,
        records: &[Record<'_>],
        mine: impl Fn(u32) -> bool,
    ) -> ById {
        let mut sites = ById::default();
        let undefined = |id| format::Site {
            id,
            leaf: 0,
            kind: format::SiteKind::Heap,
            cut: false,
            folded: false,
            first_seen_ms: 0,
            thread: 0,
            call: format::Call::Unknown,
        };
        let mut last_ms = 0;
        let mut snapshot_index = 0;
        let (mut point, mut cell_start) = (0, 0);
        for record in records {
            match record {
                Record::Snapshot(snapshot) => {
                    let at_ms = snapshot.head.at_ms.max(last_ms);
                    last_ms = at_ms;
                    if at_ms > self.to_ms {
                        continue;
                    }
                    let at = if self.in_window(at_ms) {
                        while self
                            .grid
                            .get(point)
                            .is_some_and(|index| *index < snapshot_index)
                        {
                            cell_start = snapshot_index;
                            point += 1;
                        }
                        Some(point as u32)
                    } else {
                        cell_start = snapshot_index + 1;
                        None
                    };
                    let cell_end = self.grid.get(point).map_or(snapshot_index, |end| *end);
                    let share = (cell_end + 1).saturating_sub(snapshot_index) as f64
                        / (cell_end + 1).saturating_sub(cell_start).max(1) as f64;
                    snapshot_index += 1;
                    for delta in snapshot.deltas().only(&mine) {
                        sites
                            .entry(delta.site)
                            .or_insert_with(|| {
                                let known = definitions.get(&delta.site).copied();
                                RawSite::idle(known.unwrap_or_else(|| undefined(delta.site)))
                            })
                            .history
                            .add_part(at, share, &Counters::from(&delta));
                    }
                }
                Record::Lifetimes(list) if list.head.at_ms <= self.to_ms => {
                    self.read_lifetimes(list, &mut sites);
                }
                Record::Sizes(list) if list.at_ms <= self.to_ms => {
                    sizes::assign(list, &mut sites);
                }
                Record::Ages(ages) if ages.at_ms <= self.to_ms => {
                    for age in ages.ages() {
                        if let Some(site) = sites.get_mut(&age.site) {
                            site.ages = (age.blocks > 0).then(|| Ages {
                                oldest_ms: ages.at_ms.saturating_sub(age.oldest_ms),
                                median_ms: ages.at_ms.saturating_sub(age.median_ms),
                            });
                        }
                    }
                }
                Record::Residency(residency)
                    if residency.at_ms.min(self.last_record_ms) <= self.to_ms =>
                {
                    for of_site in residency.sites() {
                        if let Some(site) = sites.get_mut(&of_site.site) {
                            site.residency = Some(of_site);
                        }
                    }
                }
                Record::Losses(losses) if losses.at_ms <= self.to_ms => {
                    scans::assign(&self.scans, losses, &mut sites);
                }
                _ => {}
            }
        }
        sites
    }

    /// The last account of memory in the window.
    pub fn last_account(&self) -> Option<&MemoryAccount> {
        let mut accounts = self.accounts.iter().rev();
        accounts.find(|account| account.head.at_ms <= self.to_ms)
    }

    /// Takes in how long blocks lived; a site that is not in a whole list freed each block in the
    /// epoch of its birth.
    fn read_lifetimes(&self, list: &format::Lifetimes<'_>, sites: &mut ById) {
        let walked = self
            .grid
            .iter()
            .filter_map(|index| self.heads.get(*index))
            .take_while(|head| head.at_ms <= list.head.at_ms)
            .count() as u32;
        let frees = |site: &RawSite| {
            let changes = site.history.changes.iter();
            let before = changes.take_while(|(point, _)| *point < walked).last();
            before.map_or(site.history.base.frees, |(_, counters)| counters.frees)
        };
        for site in sites.values_mut() {
            let whole = list.head.least_blocks <= 1 && site.site.kind == format::SiteKind::Heap;
            let nothing = format::SiteLifetimes {
                site: site.site.id,
                freed: Some([0; format::OCTAVES]),
                live: [0; format::OCTAVES],
            };
            let frees = frees(site);
            site.lifetimes = whole
                .then(|| Lifetimes::of(&list.head, &nothing, frees))
                .flatten();
        }
        for entry in list.lifetimes() {
            if let Some(site) = sites.get_mut(&entry.site) {
                site.lifetimes = Lifetimes::of(&list.head, &entry, frees(site));
            }
        }
    }

    /// At most so many live bytes were not sampled: what was allocated since blocks are sampled, which is an exact
    /// sum, or what glibc's own books have in use, where they were looked into with the last snapshot.
    pub fn most_unseen_bytes(&self) -> u64 {
        let bytes = |head: &SnapshotHead| head.totals.allocated_bytes;
        let from_the_start = matches!(self.mode, Mode::Sample { .. } | Mode::Budget { .. });
        let exact = self.heads.iter().take_while(|head| head.sampling.is_none());
        let before = match from_the_start {
            true => 0,
            false => exact.last().map_or(0, bytes),
        };
        let last = self.last_head();
        let allocated = last.map_or(0, bytes).saturating_sub(before);
        let file = super::identity::file_name(&self.allocator);
        let is_glibc = file.starts_with("libc.so") || file.starts_with("libc-2");
        let books = last.and_then(|head| head.allocator).filter(|_| is_glibc);
        books.map_or(allocated, |books| {
            allocated.min(books.held_bytes.saturating_sub(books.free_bytes))
        })
    }

    /// The name that it was started by, else its executable's file name.
    pub fn name(&self) -> &str {
        let argument = self.argv.first().map_or("", String::as_str);
        let name = format::program_name(self.exe.as_bytes(), argument.as_bytes());
        str::from_utf8(name)
            .ok()
            .filter(|name| !name.is_empty())
            .unwrap_or("unknown program")
    }
}
