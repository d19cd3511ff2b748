//! Hand-made recordings for tests: written with the encoder that the library uses.

pub mod browser;

use std::path::Path;
use std::sync::Arc;

use leaktrack_recording::{
    AgeWriter, BLOCK_BYTES, Coverage, DeltaWriter, EndKind, EventKind, FileHeader, LifetimesHead,
    LifetimesWriter, Mode, Module, Node, Process, Record, SEGMENT_HEADER_BYTES, SegmentHeader,
    SegmentKind, Site, SiteAge, SiteDelta, SiteKind, SiteLifetimes, SiteSizes, SizesWriter,
    SliceSink, Snapshot, SnapshotHead, TemporaryWriter, Totals, frame_into,
};

use crate::model::stacks::MachineFrame;
use crate::model::{Family, Frame, LoadOptions};

/// Seconds from the epoch to the start of every hand-made process.
pub const STARTED_S: u64 = 1_795_219_200;

/// A recording in the making.
pub struct Recording {
    /// Seeds the recording's id.
    pub number: u8,
    /// Recording of the parent.
    pub parent: Option<u8>,
    /// Who.
    pub pid: u32,
    /// Parent's pid.
    pub ppid: u32,
    /// Executable.
    pub exe: String,
    /// Milliseconds after [`STARTED_S`].
    pub started_ms: u64,
    /// Kernel's start time.
    pub start_ticks: u64,
    /// How recorded.
    pub mode: Mode,
    /// Head of the snapshots to come, but for the sums.
    pub head: SnapshotHead,
    defs: Vec<Vec<u8>>,
    snapshots: Vec<Vec<u8>>,
    ages: Vec<Vec<u8>>,
    events: Vec<Vec<u8>>,
    modules: u32,
    nodes: u32,
    sites: Vec<SiteKind>,
    /// A site, and how many temporary blocks it has with the snapshot at each moment (ms).
    pub temporary_each: Option<(u32, AtMoment)>,
}

/// A number for each moment in milliseconds.
pub type AtMoment = fn(u64) -> u64;

/// What a site did since the last snapshot: blocks and bytes allocated, blocks and bytes freed.
pub type Did = (u32, u64, u64, u64, u64);

impl Recording {
    /// A process with one module, `/opt/app`, and no snapshot.
    pub fn new() -> Self {
        let mut recording = Self {
            number: 1,
            parent: None,
            pid: 4711,
            ppid: 1,
            exe: "/opt/app".to_owned(),
            started_ms: 0,
            start_ticks: 1000,
            mode: Mode::Exact,
            head: SnapshotHead {
                merged: 1,
                rss_bytes: 10 << 20,
                threads: 2,
                minor_faults: 1234,
                major_faults: 5,
                own_memory_bytes: 1 << 20,
                own_cpu_ms: 20,
                ..SnapshotHead::default()
            },
            defs: Vec::new(),
            snapshots: Vec::new(),
            ages: Vec::new(),
            events: Vec::new(),
            modules: 0,
            nodes: 0,
            sites: Vec::new(),
            temporary_each: None,
        };
        recording.module("/opt/app", b"\xab\xcd");
        recording
    }

    /// Adds any record; the kind of segment is its own.
    pub fn record(&mut self, record: &Record<'_>) {
        let list = match record.segment_kind() {
            SegmentKind::Defs => &mut self.defs,
            SegmentKind::Snapshots => &mut self.snapshots,
            SegmentKind::Ages => &mut self.ages,
            _ => &mut self.events,
        };
        list.push(Vec::new());
        // Encoded with its segment's number at the end; kept as a closure would be, but plain.
        let mut buffer = vec![0; 1 << 20];
        let length = frame_into(seq(record.segment_kind()), record, &mut buffer).expect("room");
        buffer.truncate(length);
        *list.last_mut().expect("just pushed") = buffer;
    }

    /// Adds a module; ids count from 1.
    pub fn module(&mut self, path: &str, build_id: &[u8]) -> u32 {
        self.modules += 1;
        let base = u64::from(self.modules) << 32;
        let module = Module {
            id: self.modules,
            bias: base,
            start: base,
            end: base + 0x10_0000,
            generation: 0,
            at_ms: 0,
            path: path.as_bytes(),
            build_id,
        };
        self.record(&Record::Module(module));
        self.modules
    }

    /// Adds a site with a stack of (module, return address), innermost first.
    pub fn site(&mut self, kind: SiteKind, stack: &[(u32, u64)]) -> u32 {
        self.site_first_seen(kind, stack, 0)
    }

    /// The same, first seen so late.
    pub fn site_first_seen(&mut self, kind: SiteKind, stack: &[(u32, u64)], at_ms: u64) -> u32 {
        let mut parent = 0;
        for (module, offset) in stack.iter().rev() {
            self.nodes += 1;
            self.record(&Record::Node(Node {
                id: self.nodes,
                parent,
                module: *module,
                offset: *offset,
                exact: false,
            }));
            parent = self.nodes;
        }
        let id = self.sites.len() as u32 + 1;
        self.sites.push(kind);
        self.record(&Record::Site(Site {
            id,
            leaf: parent,
            kind,
            cut: false,
            folded: false,
            first_seen_ms: at_ms,
            thread: 1,
            call: leaktrack_recording::Call::Malloc,
        }));
        id
    }

    /// A heap site with a stack of its own in `/opt/app`.
    pub fn heap(&mut self, offset: u64) -> u32 {
        self.site(SiteKind::Heap, &[(1, offset), (1, 0x100)])
    }

    /// Takes a snapshot; the head's sums follow from what the sites did.
    pub fn snapshot(&mut self, at_ms: u64, did: &[Did]) {
        let mut buffer = vec![0; 1 << 20];
        let mut sink = SliceSink::new(&mut buffer);
        let mut writer = DeltaWriter::new(&mut sink);
        for (site, allocations, allocated_bytes, frees, freed_bytes) in did {
            writer
                .push(&SiteDelta {
                    site: *site,
                    allocations: *allocations,
                    frees: *frees,
                    allocated_bytes: *allocated_bytes,
                    freed_bytes: *freed_bytes,
                    temporary: 0,
                })
                .expect("ascending sites");
            let totals = &mut self.head.totals;
            match self.sites.get(*site as usize - 1) {
                Some(SiteKind::Mmap) => {
                    totals.mappings += allocations;
                    totals.mapped_bytes += allocated_bytes - freed_bytes;
                }
                _ => {
                    totals.allocations += allocations;
                    totals.frees += frees;
                    totals.allocated_bytes += allocated_bytes;
                    totals.freed_bytes += freed_bytes;
                    let live = totals.allocated_bytes - totals.freed_bytes;
                    if live > totals.peak_live_bytes {
                        (totals.peak_live_bytes, totals.peak_at_ms) = (live, at_ms);
                    }
                }
            }
        }
        let deltas = sink.written().to_vec();
        self.head.at_ms = at_ms;
        let mut buffer = [0; 32];
        let mut sink = SliceSink::new(&mut buffer);
        let temporary = self.temporary_each.map(|(site, temporary)| {
            let temporary = temporary(at_ms);
            self.head.temporary = Some(self.head.temporary.unwrap_or(0) + temporary);
            TemporaryWriter::new(&mut sink)
                .push(&SiteDelta {
                    site,
                    temporary,
                    ..SiteDelta::default()
                })
                .expect("room for one");
            sink.written()
        });
        let head = self.head;
        self.head.index += 1;
        self.record(&Record::Snapshot(Snapshot {
            head,
            temporary,
            deltas: &deltas,
        }));
    }

    /// Snapshots every second from 1 s on: what `did` says of each.
    pub fn every_second(&mut self, seconds: u64, mut did: impl FnMut(u64) -> Vec<Did>) {
        for second in 1..=seconds {
            self.snapshot(second * 1000, &did(second));
        }
    }

    /// Walks the live table: (site, blocks, oldest birth, median birth).
    pub fn ages(&mut self, at_ms: u64, ages: &[(u32, u64, u64, u64)]) {
        let mut buffer = vec![0; 1 << 12];
        let mut sink = SliceSink::new(&mut buffer);
        let mut writer = AgeWriter::new(&mut sink);
        for (site, blocks, oldest_ms, median_ms) in ages {
            writer
                .push(&SiteAge {
                    site: *site,
                    blocks: *blocks,
                    oldest_ms: *oldest_ms,
                    median_ms: *median_ms,
                })
                .expect("ascending sites");
        }
        let packed = sink.written().to_vec();
        self.record(&Record::Ages(leaktrack_recording::Ages {
            at_ms,
            ages: &packed,
        }));
    }

    /// How long blocks lived: per site freed and live ones by octave of seconds.
    #[allow(clippy::type_complexity)] // a table in the test's own words
    pub fn lifetimes(&mut self, at_ms: u64, sites: &[(u32, &[(usize, u64)], &[(usize, u64)])]) {
        let octaves = |counts: &[(usize, u64)]| {
            let mut octaves = [0; leaktrack_recording::OCTAVES];
            for (octave, count) in counts {
                octaves[*octave] = *count;
            }
            octaves
        };
        let mut buffer = vec![0; 1 << 12];
        let mut sink = SliceSink::new(&mut buffer);
        let mut writer = LifetimesWriter::new(&mut sink);
        for (site, freed, live) in sites {
            writer
                .push(&SiteLifetimes {
                    site: *site,
                    freed: Some(octaves(freed)),
                    live: octaves(live),
                })
                .expect("ascending sites");
        }
        let packed = sink.written().to_vec();
        self.record(&Record::Lifetimes(leaktrack_recording::Lifetimes {
            head: LifetimesHead {
                at_ms,
                epoch_us: 1_000_000,
                least_blocks: 1,
            },
            lifetimes: &packed,
        }));
    }

    /// How large blocks were: per site temporary ones, and allocations by class of size.
    #[allow(clippy::type_complexity)] // as above
    pub fn sizes(&mut self, at_ms: u64, sites: &[(u32, u64, &[(usize, u64)])]) {
        let mut buffer = vec![0; 1 << 20];
        let mut sink = SliceSink::new(&mut buffer);
        let mut writer = SizesWriter::new(&mut sink);
        for (site, temporary, classes) in sites {
            let mut allocated = [0; leaktrack_recording::SIZE_CLASSES];
            for (class, count) in *classes {
                allocated[*class] = *count;
            }
            writer
                .push(&SiteSizes {
                    site: *site,
                    temporary: Some(*temporary),
                    allocated: Some(allocated),
                })
                .expect("ascending sites");
        }
        let packed = sink.written().to_vec();
        self.record(&Record::Sizes(leaktrack_recording::Sizes {
            at_ms,
            least_allocations: 1,
            sizes: &packed,
        }));
    }

    /// Adds a complete scan at exit with what it found.
    pub fn scan(&mut self, at_ms: u64, losses: &[leaktrack_recording::SiteLoss]) {
        self.record(&Record::Scan(leaktrack_recording::Scan {
            at_ms,
            duration_ms: 3,
            complete: true,
            passes: 1,
            ..leaktrack_recording::Scan::default()
        }));
        let mut buffer = vec![0; 1 << 16];
        let mut sink = SliceSink::new(&mut buffer);
        let mut writer = leaktrack_recording::LossWriter::new(&mut sink);
        for loss in losses {
            writer.push(loss).expect("ascending sites");
        }
        let packed = sink.written().to_vec();
        self.record(&Record::Losses(leaktrack_recording::Losses {
            at_ms,
            losses: &packed,
        }));
    }

    /// Adds an event.
    pub fn event(&mut self, at_ms: u64, kind: EventKind, text: &str) {
        self.record(&Record::Event {
            at_ms,
            kind,
            text: text.as_bytes(),
        });
    }

    /// Ends the process.
    pub fn exit(&mut self, at_ms: u64, status: i32) {
        self.record(&Record::End {
            at_ms,
            kind: EndKind::Exit,
            status,
        });
    }

    /// The content of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let id = |number: u8| [number; 16];
        let started_unix_ns = STARTED_S * 1_000_000_000 + self.started_ms * 1_000_000;
        let mut bytes = FileHeader::new(id(self.number), started_unix_ns)
            .encode()
            .to_vec();
        bytes.resize(BLOCK_BYTES, 0);
        let process = Record::Process(Process {
            id: id(self.number),
            parent: self.parent.map(id),
            pid: self.pid,
            ppid: self.ppid,
            forked: self.parent.is_some(),
            exe: self.exe.as_bytes(),
            host: b"host-a",
            started_unix_ns,
            start_ticks: self.start_ticks,
            mode: self.mode,
            depth: 128,
            interval_ms: 1000,
            page_bytes: 4096,
            inherited_bytes: 0,
            inherited_blocks: 0,
            allocator: b"/lib/x86_64-linux-gnu/libc.so.6",
            options: b"",
            version: b"0.1.0",
        });
        let mut first = vec![0; 1 << 12];
        let length = frame_into(seq(SegmentKind::Defs), &process, &mut first).expect("room");
        first.truncate(length);
        let defs: Vec<&[u8]> = std::iter::once(first.as_slice())
            .chain(self.defs.iter().map(Vec::as_slice))
            .collect();
        let lists = [
            (SegmentKind::Defs, defs),
            (SegmentKind::Snapshots, slices(&self.snapshots)),
            (SegmentKind::Ages, slices(&self.ages)),
            (SegmentKind::Events, slices(&self.events)),
        ];
        for (kind, frames) in lists {
            let content: Vec<u8> = frames.concat();
            let blocks = (SEGMENT_HEADER_BYTES + content.len()).div_ceil(BLOCK_BYTES);
            let header = SegmentHeader {
                kind,
                level: 0,
                blocks: blocks as u32,
                seq: seq(kind),
            };
            let start = bytes.len();
            bytes.extend_from_slice(&header.encode());
            bytes.extend_from_slice(&content);
            bytes.resize(start + blocks * BLOCK_BYTES, 0);
        }
        bytes
    }

    /// Decoded.
    pub fn process(&self, options: &LoadOptions) -> crate::model::Process {
        let path = format!("{}.ltk", self.number);
        crate::read::decode(Path::new(&path), &self.bytes(), options).expect("readable")
    }

    /// As a family of one.
    pub fn family(&self) -> Family {
        self.family_with(&LoadOptions::default())
    }

    /// As a family of one.
    pub fn family_with(&self, options: &LoadOptions) -> Family {
        Family::merge(vec![self.process(options)], options).expect("one family")
    }

    /// What the next snapshots say of the system.
    pub fn figures(&mut self, system: Option<leaktrack_recording::System>) {
        self.head.system = system;
    }

    /// What could not be recorded.
    pub fn lose(&mut self, coverage: Coverage) {
        self.head.coverage = coverage;
    }

    /// Takes a snapshot whose figures need not make sense.
    pub fn absurd(&mut self, at_ms: u64, did: &[Did]) {
        let mut buffer = vec![0; 1 << 20];
        let mut sink = SliceSink::new(&mut buffer);
        let mut writer = DeltaWriter::new(&mut sink);
        for (site, allocations, allocated_bytes, frees, freed_bytes) in did {
            let delta = SiteDelta {
                site: *site,
                allocations: *allocations,
                frees: *frees,
                allocated_bytes: *allocated_bytes,
                freed_bytes: *freed_bytes,
                temporary: 0,
            };
            writer.push(&delta).expect("ascending sites");
        }
        let deltas = sink.written().to_vec();
        let first = did.first().map_or(at_ms, |did| did.1);
        let totals = Totals {
            allocations: first,
            frees: at_ms,
            allocated_bytes: at_ms,
            freed_bytes: first,
            peak_live_bytes: first,
            peak_at_ms: at_ms,
            mappings: first,
            mapped_bytes: at_ms,
            brk_bytes: first,
        };
        let head = SnapshotHead {
            at_ms,
            rss_bytes: first,
            limit_bytes: Some(at_ms),
            totals,
            own_memory_bytes: at_ms,
            own_cpu_ms: first,
            threads: 7,
            ..self.head
        };
        self.head.index += 1;
        self.record(&Record::Snapshot(Snapshot {
            head,
            temporary: None,
            deltas: &deltas,
        }));
    }
}

fn slices(list: &[Vec<u8>]) -> Vec<&[u8]> {
    list.iter().map(Vec::as_slice).collect()
}

/// One segment of each kind, numbered by kind.
fn seq(kind: SegmentKind) -> u64 {
    match kind {
        SegmentKind::Defs => 1,
        SegmentKind::Snapshots => 2,
        SegmentKind::Ages => 3,
        _ => 4,
    }
}

/// Names for frames of `/opt/app` by return address: (offset, function, file, line).
pub type Names<'a> = &'a [(u64, &'a str, &'a str, u32)];

/// Gives frames names, as if there were symbols, and blames anew.
pub fn name(family: &mut Family, names: Names<'_>, blame: &crate::blame::Blame) {
    family.symbol_notes.clear();
    for site in &mut family.sites {
        for machine in &mut site.stack {
            let mut frames = machine.frames.to_vec();
            for frame in &mut frames {
                let known = names.iter().find(|(address, ..)| {
                    address - 1 == frame.offset && frame.module == "/opt/app"
                });
                if let Some((_, function, file, line)) = known {
                    frame.function = Some((*function).to_owned());
                    frame.file = (!file.is_empty()).then(|| (*file).to_owned());
                    frame.line = (*line > 0).then_some(*line);
                }
            }
            rename(machine, frames);
        }
        let parts = site.stack.iter().flat_map(|machine| &machine.key);
        site.key = crate::model::identity::site_key(site.kind, parts);
        site.blame = blame.of(site.frames());
    }
}

/// Gives a machine frame other frames.
pub fn rename(machine: &mut Arc<MachineFrame>, frames: Vec<Frame>) {
    let place = machine.place.clone();
    *machine = Arc::new(MachineFrame::new(place, frames.into()));
}
