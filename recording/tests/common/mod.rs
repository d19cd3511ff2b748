//! Builds recordings in memory, the way the library does.
#![allow(dead_code, reason = "each test uses its part")]

use leaktrack_recording::*;

/// A sink that grows.
#[derive(Default)]
pub struct Bytes(pub Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// `record` with its frame.
pub fn framed(seq: u64, record: &Record<'_>) -> Vec<u8> {
    let mut payload = Bytes::default();
    encode(record, &mut payload).unwrap();
    framed_payload(seq, &payload.0)
}

/// `payload` with its frame.
pub fn framed_payload(seq: u64, payload: &[u8]) -> Vec<u8> {
    [&frame_header(seq, payload).unwrap()[..], payload].concat()
}

/// Packed deltas.
pub fn deltas(deltas: &[SiteDelta]) -> Vec<u8> {
    let mut sink = Bytes::default();
    let mut writer = DeltaWriter::new(&mut sink);
    deltas.iter().for_each(|delta| writer.push(delta).unwrap());
    sink.0
}

/// Packed temporary blocks.
pub fn temporary(deltas: &[SiteDelta]) -> Vec<u8> {
    let mut sink = Bytes::default();
    let mut writer = TemporaryWriter::new(&mut sink);
    deltas.iter().for_each(|delta| writer.push(delta).unwrap());
    sink.0
}

/// Packed ages.
pub fn sizes(list: &[SiteSizes]) -> Vec<u8> {
    let mut bytes = Bytes::default();
    let mut writer = SizesWriter::new(&mut bytes);
    list.iter().for_each(|site| writer.push(site).unwrap());
    bytes.0
}

pub fn lifetimes(list: &[SiteLifetimes]) -> Vec<u8> {
    let mut bytes = Bytes::default();
    let mut writer = LifetimesWriter::new(&mut bytes);
    for site in list {
        writer.push(site).unwrap();
    }
    bytes.0
}

pub fn ages(ages: &[SiteAge]) -> Vec<u8> {
    let mut sink = Bytes::default();
    let mut writer = AgeWriter::new(&mut sink);
    ages.iter().for_each(|age| writer.push(age).unwrap());
    sink.0
}

/// A delta of `count` blocks of 10 bytes, none freed.
pub fn allocated(site: u32, count: u64) -> SiteDelta {
    SiteDelta {
        site,
        allocations: count,
        allocated_bytes: count * 10,
        ..Default::default()
    }
}

/// A snapshot over `merged` indices.
pub fn snapshot(index: u64, merged: u32, deltas: &[u8]) -> Record<'_> {
    let at_ms = (index + u64::from(merged)) * 1000;
    let head = SnapshotHead {
        index,
        merged,
        at_ms,
        ..Default::default()
    };
    Record::Snapshot(Snapshot {
        head,
        temporary: None,
        deltas,
    })
}

/// A file under construction.
#[derive(Clone)]
pub struct File(pub Vec<u8>);

impl File {
    /// Just the first block.
    pub fn new() -> Self {
        let mut bytes = FileHeader::new([7; 16], 1_700_000_000_000_000_000)
            .encode()
            .to_vec();
        bytes.resize(BLOCK_BYTES, 0);
        File(bytes)
    }

    /// Appends a segment of `blocks` and returns where it begins.
    pub fn segment(
        &mut self,
        kind: SegmentKind,
        seq: u64,
        blocks: u32,
        records: &[Record<'_>],
    ) -> usize {
        let start = self.0.len();
        self.0.resize(start + blocks as usize * BLOCK_BYTES, 0);
        self.write(start, kind, seq, blocks, records);
        start
    }

    /// Writes a segment over what is there.
    pub fn write(
        &mut self,
        start: usize,
        kind: SegmentKind,
        seq: u64,
        blocks: u32,
        records: &[Record<'_>],
    ) {
        let mut bytes = SegmentHeader {
            kind,
            level: 0,
            blocks,
            seq,
        }
        .encode()
        .to_vec();
        records
            .iter()
            .for_each(|record| bytes.extend(framed(seq, record)));
        let room = blocks as usize * BLOCK_BYTES;
        assert!(bytes.len() <= room, "records do not fit");
        if bytes.len() + END_OF_FRAMES.len() <= room {
            bytes.extend(END_OF_FRAMES);
        }
        self.0[start..start + bytes.len()].copy_from_slice(&bytes);
    }
}

/// Reads all in logical order and hands it to `look`.
pub fn read<T>(bytes: &[u8], look: impl FnOnce(Vec<Record<'_>>, Vec<Problem>) -> T) -> T {
    let recording = Recording::open(bytes).expect("a recording");
    let mut segments: Vec<_> = recording.segments().collect();
    let mut snapshots: Vec<_> = recording.snapshots().collect();
    let records = in_order(&mut segments, &mut snapshots).collect();
    look(records, recording.problems().collect())
}

/// Which faults a file has.
pub fn faults(problems: &[Problem]) -> Vec<Fault> {
    problems.iter().map(|problem| problem.fault).collect()
}

/// A file with every record there is, in four segments of one block each, and space after them.
pub fn sample() -> File {
    let process = Process {
        id: [7; 16],
        parent: Some([9; 16]),
        pid: 4711,
        ppid: 1,
        forked: true,
        exe: b"/usr/bin/server",
        host: b"build-7",
        started_unix_ns: 1_700_000_000_000_000_000,
        start_ticks: 123_456,
        mode: Mode::Sample {
            mean_bytes: 524_288,
        },
        depth: 128,
        interval_ms: 1000,
        page_bytes: 4096,
        inherited_bytes: 1 << 33,
        inherited_blocks: 17,
        allocator: b"/lib/x86_64-linux-gnu/libc.so.6",
        options: b"interval=1s",
        version: b"0.1.0",
    };
    let module = Module {
        id: 1,
        bias: 0x5555_5555_4000,
        start: 0x5555_5555_4000,
        end: 0x5555_5556_0000,
        generation: 0,
        at_ms: 1,
        path: b"/usr/bin/server",
        build_id: &[0xab; 20],
    };
    let node = |id, exact| {
        Record::Node(Node {
            id,
            parent: id - 1,
            module: 1,
            offset: 0x1234,
            exact,
        })
    };
    let site = |id, kind| {
        let (leaf, first_seen_ms, thread) = (id + 1, 20, 4711);
        Record::Site(Site {
            id,
            leaf,
            kind,
            cut: false,
            folded: true,
            first_seen_ms,
            thread,
            call: Call::Calloc,
        })
    };
    let defs = [
        Record::Process(process),
        Record::Arg(b"server"),
        Record::Arg(b""),
        Record::Label {
            key: b"tier",
            value: b"front",
        },
        Record::Env {
            name: b"MALLOC_ARENA_MAX",
            value: b"2",
        },
        Record::Module(module),
        Record::ModuleGone { id: 1, at_ms: 900 },
        Record::Content {
            module: 1,
            hash: u64::MAX,
        },
        node(1, false),
        node(2, false),
        node(3, true),
        site(1, SiteKind::Heap),
        site(2, SiteKind::Mmap),
        Record::Code(Code {
            name: b"JS:*f",
            nodes: &[2, 1],
        }),
        Record::Thread {
            tid: 4711,
            name: b"server",
        },
    ];
    let head = SnapshotHead {
        index: 2,
        merged: 1,
        at_ms: 3000,
        limit_bytes: Some(1 << 30),
        allocator: Some(AllocatorStats {
            held_bytes: 5,
            free_bytes: 300,
            releasable_bytes: 1,
        }),
        ..Default::default()
    };
    let lists = [
        deltas(&[allocated(1, 3), allocated(2, 1)]),
        deltas(&[]),
        deltas(&[allocated(2, 1000)]),
    ];
    let snapshots = [
        snapshot(0, 1, &lists[0]),
        snapshot(1, 1, &lists[1]),
        Record::Snapshot(Snapshot {
            head,
            temporary: Some(&[2, 7]),
            deltas: &lists[2],
        }),
    ];
    let list = ages(&[SiteAge {
        site: 2,
        blocks: 3,
        oldest_ms: 20,
        median_ms: 2000,
    }]);
    let mut octaves = [0; OCTAVES];
    (octaves[1], octaves[20]) = (300, 1);
    let lived = lifetimes(&[
        SiteLifetimes {
            site: 1,
            freed: Some(octaves),
            live: octaves,
        },
        SiteLifetimes {
            site: 2,
            freed: None,
            live: [0; OCTAVES],
        },
    ]);
    let mut by_size = [0; SIZE_CLASSES];
    (by_size[0], by_size[SIZE_CLASSES - 1]) = (9, 1);
    let allocated = sizes(&[
        SiteSizes {
            site: 1,
            temporary: Some(8),
            allocated: Some(by_size),
        },
        SiteSizes {
            site: 2,
            temporary: None,
            allocated: None,
        },
    ]);
    let events = [
        Record::Event {
            at_ms: 1,
            kind: EventKind::Dlopen,
            text: b"libx.so",
        },
        Record::Event {
            at_ms: 2000,
            kind: EventKind::Mark,
            text: b"warm",
        },
        Record::Scan(Scan {
            at_ms: 2998,
            duration_ms: 2,
            complete: true,
            passes: 1,
            blocks: 3,
            ..Scan::default()
        }),
        Record::End {
            at_ms: 3001,
            kind: EndKind::FastExit,
            status: -1,
        },
    ];
    let mut losses = [0; 64];
    let mut sink = SliceSink::new(&mut losses);
    let loss = SiteLoss {
        site: 1,
        since_ms: 2998,
        definite_bytes: 300,
        definite_blocks: 1,
        ..SiteLoss::default()
    };
    LossWriter::new(&mut sink).push(&loss).unwrap();
    let losses = Losses {
        at_ms: 2998,
        losses: sink.written(),
    };
    let mut file = File::new();
    file.segment(SegmentKind::Defs, 1, 1, &defs);
    file.segment(SegmentKind::Snapshots, 2, 1, &snapshots);
    file.segment(
        SegmentKind::Ages,
        3,
        1,
        &[
            Record::Ages(Ages {
                at_ms: 2999,
                ages: &list,
            }),
            Record::Lifetimes(Lifetimes {
                head: LifetimesHead {
                    at_ms: 2999,
                    epoch_us: 1_000_500,
                    least_blocks: 1,
                },
                lifetimes: &lived,
            }),
            Record::Losses(losses),
            Record::Sizes(Sizes {
                at_ms: 2999,
                least_allocations: 1,
                sizes: &allocated,
            }),
        ],
    );
    file.segment(SegmentKind::Events, 4, 1, &events);
    file.0.resize(file.0.len() + 2 * BLOCK_BYTES, 0);
    file
}

/// Where the frames of `bytes` are, by walking it with nothing but lengths.
pub fn frames(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    for block in (BLOCK_BYTES..bytes.len()).step_by(BLOCK_BYTES) {
        let mut at = block + SEGMENT_HEADER_BYTES;
        while let Some(len) = bytes.get(at..at + 4) {
            let len = u32::from_le_bytes(len.try_into().unwrap()) as usize;
            if len == 0 {
                break;
            }
            found.push(at..at + FRAME_HEADER_BYTES + len);
            at += FRAME_HEADER_BYTES + len;
        }
    }
    found
}

/// Small random numbers that are the same in every run (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end` - 1.
    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }
}
