//! Writes a recording of a simulated day: 24 hours, 3,600 snapshots, 20,000 call sites.
//!
//! ```sh
//! cargo run --release -p leaktrack --example day -- FILE [SITES [SNAPSHOTS]]
//! command time -v target/release/leaktrack report FILE > /dev/null
//! ```
//!
//! Of 100 sites 59.9 set something up at the start, 25 allocate at one snapshot in 200, 10 at one in 20,
//! and 5 at every one: their live bytes go up and down, with a daily cycle in one of five. One in 1,000
//! keeps something each time as well.

use leaktrack_recording::{
    BLOCK_BYTES, Call, DeltaWriter, EndKind, FileHeader, Mode, Module, Node, Process, Record,
    SEGMENT_HEADER_BYTES, SegmentHeader, SegmentKind, Site, SiteDelta, SiteKind, SliceSink,
    Snapshot, SnapshotHead, frame_into,
};

const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// Frames of a stack; every site shares the outer ones with others, as in a real program.
const DEPTH: u32 = 16;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// What one site holds.
#[derive(Clone, Copy)]
struct Live {
    blocks: u64,
    bytes: u64,
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().expect("the name of the file to write");
    let mut number = |default: u64| {
        args.next()
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let (sites, snapshots) = (number(20_000), number(3_600));
    let mut random = Random(42);
    let mut defs = Segment::new(SegmentKind::Defs, 1);
    defs.push(&Record::Process(Process {
        id: [7; 16],
        parent: None,
        pid: 4711,
        ppid: 1,
        forked: false,
        exe: b"/opt/app",
        host: b"host",
        started_unix_ns: 1_795_219_200_000_000_000,
        start_ticks: 1,
        mode: Mode::Exact,
        depth: 128,
        interval_ms: 1_000,
        page_bytes: 4_096,
        inherited_bytes: 0,
        inherited_blocks: 0,
        allocator: b"/lib/x86_64-linux-gnu/libc.so.6",
        options: b"",
        version: b"0.1.0",
    }));
    defs.push(&Record::Module(Module {
        id: 1,
        bias: 1 << 32,
        start: 1 << 32,
        end: (1 << 32) + (1 << 28),
        generation: 0,
        at_ms: 0,
        path: b"/opt/app",
        build_id: b"\xab\xcd",
    }));
    stacks(&mut defs, sites as u32);
    let taken = taken(sites, snapshots, &mut random);
    let mut file = FileHeader::new([7; 16], 1_795_219_200_000_000_000)
        .encode()
        .to_vec();
    file.resize(BLOCK_BYTES, 0);
    let mut events = Segment::new(SegmentKind::Events, 4);
    events.push(&Record::End {
        at_ms: DAY_MS,
        kind: EndKind::Exit,
        status: 0,
    });
    for segment in [defs, taken, events] {
        segment.write(&mut file);
    }
    println!("{path}: {} MiB", file.len() >> 20);
    std::fs::write(path, file)
}

/// A tree in which about three stacks in four share all but their innermost frames.
fn stacks(defs: &mut Segment, sites: u32) {
    let mut node = 0;
    let mut add = |defs: &mut Segment, parent: u32, offset: u64| {
        node += 1;
        defs.push(&Record::Node(Node {
            id: node,
            parent,
            module: 1,
            offset,
            exact: false,
        }));
        node
    };
    let mut trunk = 0;
    for site in 0..sites {
        if site % 64 == 0 {
            trunk = 0;
            for depth in 0..DEPTH - 3 {
                trunk = add(
                    defs,
                    trunk,
                    0x1_0000 + u64::from(site / 64 * DEPTH + depth) * 32,
                );
            }
        }
        let mut leaf = trunk;
        for depth in 0..3 {
            leaf = add(defs, leaf, 0x100_0000 + u64::from(site * 4 + depth) * 16);
        }
        defs.push(&Record::Site(Site {
            id: site + 1,
            leaf,
            kind: SiteKind::Heap,
            cut: false,
            folded: false,
            first_seen_ms: 1_000,
            thread: 1,
            call: Call::Malloc,
        }));
    }
}

fn taken(sites: u64, snapshots: u64, random: &mut Random) -> Segment {
    let mut all = Segment::new(SegmentKind::Snapshots, 2);
    let mut live = vec![
        Live {
            blocks: 0,
            bytes: 0
        };
        sites as usize
    ];
    let mut head = SnapshotHead {
        merged: (DAY_MS / 1_000 / snapshots) as u32,
        rss_bytes: 2 << 30,
        threads: 40,
        ..SnapshotHead::default()
    };
    let mut buffer = vec![0; 2 << 20];
    for snapshot in 1..=snapshots {
        head.at_ms = DAY_MS * snapshot / snapshots;
        let mut sink = SliceSink::new(&mut buffer);
        let mut writer = DeltaWriter::new(&mut sink);
        for (index, live) in live.iter_mut().enumerate() {
            let Some(delta) = did(index as u64, snapshot, snapshots, live, random) else {
                continue;
            };
            head.totals.allocations += delta.allocations;
            head.totals.frees += delta.frees;
            head.totals.allocated_bytes += delta.allocated_bytes;
            head.totals.freed_bytes += delta.freed_bytes;
            writer.push(&delta).expect("ascending sites");
        }
        let totals = &mut head.totals;
        let bytes = totals.allocated_bytes - totals.freed_bytes;
        if bytes > totals.peak_live_bytes {
            (totals.peak_live_bytes, totals.peak_at_ms) = (bytes, head.at_ms);
        }
        let deltas = sink.written().to_vec();
        all.push(&Record::Snapshot(Snapshot {
            head,
            temporary: None,
            deltas: &deltas,
        }));
        head.index += u64::from(head.merged);
    }
    all
}

/// What a site did since the snapshot before; `None`: nothing.
fn did(
    site: u64,
    snapshot: u64,
    snapshots: u64,
    live: &mut Live,
    random: &mut Random,
) -> Option<SiteDelta> {
    let size = 16 + site % 97 * 8;
    let kind = site % 1_000;
    let wanted = match kind {
        // Set up at the start.
        0..599 => return (snapshot == 1).then(|| change(site, live, 1 + site % 50, 0, size)),
        599 => live.blocks + 1 + random.below(4),
        600..850 if random.below(200) > 0 => return None,
        850..950 if random.below(20) > 0 => return None,
        600..950 => random.below(60),
        _ => {
            let day = std::f64::consts::TAU * snapshot as f64 / snapshots as f64;
            let swing = if kind.is_multiple_of(5) {
                1.0 + 0.5 * day.sin()
            } else {
                1.0
            };
            (swing * (100 + random.below(50)) as f64) as u64
        }
    };
    let replaced = if kind == 599 { 0 } else { live.blocks };
    Some(change(
        site,
        live,
        wanted - (live.blocks - replaced),
        replaced,
        size,
    ))
}

fn change(site: u64, live: &mut Live, allocations: u64, frees: u64, size: u64) -> SiteDelta {
    let delta = SiteDelta {
        site: site as u32 + 1,
        allocations,
        frees,
        allocated_bytes: allocations * size,
        freed_bytes: frees * size,
        temporary: 0,
    };
    live.blocks = live.blocks + allocations - frees;
    live.bytes = live.bytes + delta.allocated_bytes - delta.freed_bytes;
    delta
}

/// One segment in the making.
struct Segment {
    kind: SegmentKind,
    seq: u64,
    content: Vec<u8>,
    buffer: Vec<u8>,
}

impl Segment {
    fn new(kind: SegmentKind, seq: u64) -> Self {
        Self {
            kind,
            seq,
            content: Vec::new(),
            buffer: vec![0; 4 << 20],
        }
    }

    fn push(&mut self, record: &Record<'_>) {
        let length = frame_into(self.seq, record, &mut self.buffer).expect("room");
        self.content.extend_from_slice(&self.buffer[..length]);
    }

    fn write(self, file: &mut Vec<u8>) {
        let blocks = (SEGMENT_HEADER_BYTES + self.content.len()).div_ceil(BLOCK_BYTES);
        let header = SegmentHeader {
            kind: self.kind,
            level: 0,
            blocks: blocks as u32,
            seq: self.seq,
        };
        let start = file.len();
        file.extend_from_slice(&header.encode());
        file.extend_from_slice(&self.content);
        file.resize(start + blocks * BLOCK_BYTES, 0);
    }
}
