//! Helpers of the tests: a made-up process, and recordings read back.

use core::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::string::String;
use std::vec::Vec;

use leaktrack_recording::{
    Call, Coverage, Module, Node, OCTAVES, Octaves, Record, Recording, Sampling, Site, SiteKind,
    SiteLifetimes,
};

use super::Source;
use super::counts::Counts;
use super::defs::OTHER_HEAP;
use super::writer::Writer;
use crate::recorder::testing::{Folder, path_of};
use crate::recorder::{Failure, Recorder};
use crate::sampler::Calls;
use crate::sites::tally::Sizes;

/// A process of which the test decides everything.
pub struct Fake {
    pub now_ms: Cell<u64>,
    pub epoch: Cell<u32>,
    pub fork_epoch: u32,
    pub counts: RefCell<Vec<Counts>>,
    pub births: RefCell<Vec<(u32, u32)>>,
    pub freed: RefCell<BTreeMap<u32, Option<Octaves>>>,
    /// Temporary blocks, and allocations by class of size.
    pub sizes: RefCell<Vec<(u64, [u64; 16])>>,
}

impl Fake {
    pub fn new() -> Fake {
        Fake {
            now_ms: Cell::new(0),
            epoch: Cell::new(1),
            fork_epoch: 0,
            counts: RefCell::new(Vec::new()),
            births: RefCell::new(Vec::new()),
            freed: RefCell::new(BTreeMap::new()),
            sizes: RefCell::new(Vec::new()),
        }
    }

    pub fn add(&self, site: u32, more: Counts) {
        let mut counts = self.counts.borrow_mut();
        while counts.len() < site as usize {
            counts.push(Counts::ZERO);
        }
        counts[site as usize - 1].add(&more);
    }

    pub fn allocate(&self, site: u32, bytes: u64) {
        self.add(
            site,
            Counts {
                allocations: 1,
                allocated_bytes: bytes,
                ..Counts::ZERO
            },
        );
    }

    pub fn free(&self, site: u32, bytes: u64) {
        let c = &mut self.counts.borrow_mut()[site as usize - 1];
        c.frees += 1;
        c.freed_bytes += bytes;
        // At some sites all are temporary, at others none.
        c.temporary += u64::from(site.is_multiple_of(3));
    }

    pub fn sums(&self, kind: SiteKind) -> Counts {
        let mut sum = Counts::ZERO;
        for (id, counts) in (1..).zip(self.counts.borrow().iter()) {
            if kind_of(id) == kind {
                sum.add(counts);
            }
        }
        sum
    }
}

pub fn kind_of(id: u32) -> SiteKind {
    if id.is_multiple_of(10) {
        SiteKind::Mmap
    } else {
        SiteKind::Heap
    }
}

impl Source for Fake {
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }
    fn next_epoch(&self) -> u32 {
        self.epoch.set(self.epoch.get() + 1);
        self.epoch.get()
    }
    fn epoch(&self) -> u32 {
        self.epoch.get()
    }
    fn fork_epoch(&self) -> u32 {
        self.fork_epoch
    }
    fn sites(&self) -> u32 {
        self.counts.borrow().len() as u32
    }
    fn site(&self, id: u32) -> Option<Site> {
        let leaf = id * 4; // four frames of its own for each site
        Some(Site {
            id,
            leaf,
            kind: kind_of(id),
            cut: false,
            folded: false,
            first_seen_ms: 1,
            thread: 0,
            call: Call::Malloc,
        })
    }
    fn counts(&self, id: u32) -> Counts {
        self.counts
            .borrow()
            .get(id as usize - 1)
            .copied()
            .unwrap_or_default()
    }
    fn beyond_sites(&self) -> Option<Calls> {
        None
    }
    fn frees_are_exact(&self) -> bool {
        true
    }
    fn sampling(&self) -> Option<Sampling> {
        None
    }
    fn coarsest_bytes(&self) -> u64 {
        0
    }
    fn for_each_block(&self, _: &mut dyn FnMut(u32, u64, u32, u64)) {}
    fn nodes(&self) -> u32 {
        self.sites() * 4
    }
    fn node(&self, id: u32) -> Option<Node> {
        let parent = if id % 4 == 1 { 0 } else { id - 1 };
        Some(Node {
            id,
            parent,
            module: 1,
            offset: u64::from(id) * 77,
            exact: false,
        })
    }
    fn modules(&self) -> u32 {
        1
    }
    fn with_module(&self, id: u32, show: &mut dyn FnMut(&Module<'_>, u64)) {
        let module = Module {
            id,
            bias: 0x1000,
            start: 0x1000,
            end: 0x9000,
            generation: 0,
            at_ms: 0,
            path: b"/bin/fake",
            build_id: b"12345678901234567890",
        };
        show(&module, 0);
    }
    fn coverage(&self) -> Coverage {
        Coverage::default()
    }
    fn brk_bytes(&self) -> u64 {
        0
    }
    fn own_memory_bytes(&self) -> u64 {
        0
    }
    fn own_threads(&self) -> u32 {
        0
    }
    fn sizes(&self) -> Option<Sizes> {
        Some(Sizes::of(&self.sizes.borrow()))
    }
    fn freed(&self, id: u32) -> Option<Octaves> {
        let freed = self.freed.borrow();
        freed.get(&id).copied().unwrap_or(Some([0; OCTAVES]))
    }
    fn live_blocks(&self) -> u64 {
        self.births.borrow().len() as u64
    }
    fn for_each_live(&self, show: &mut dyn FnMut(u32, u32)) {
        self.births
            .borrow()
            .iter()
            .for_each(|&(site, epoch)| show(site, epoch));
    }
}

pub struct Run {
    pub folder: Folder,
    pub fake: Fake,
    pub writer: Writer,
    pub recorder: Recorder,
}

impl Run {
    pub fn new(name: &str, disk_bytes: u64) -> Run {
        let folder = Folder::new(name);
        let path = path_of(&folder.join("r.ltk"));
        let recorder = Recorder::create(
            &path,
            0o600,
            disk_bytes,
            crate::recorder::Family::new([9; 16], u64::MAX),
            [9; 16],
            1,
        )
        .unwrap();
        Run {
            folder,
            fake: Fake::new(),
            writer: Writer::new(),
            recorder,
        }
    }

    /// Another recording, at this path.
    pub fn at(path: &std::path::Path, disk_bytes: u64) -> Run {
        let recorder = Recorder::create(
            &path_of(path),
            0o600,
            disk_bytes,
            crate::recorder::Family::new([9; 16], u64::MAX),
            [9; 16],
            1,
        )
        .unwrap();
        let folder = Folder::new(&std::format!("at-{}", std::process::id()));
        Run {
            folder,
            fake: Fake::new(),
            writer: Writer::new(),
            recorder,
        }
    }

    /// A path beside the recording.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn tick(&mut self, last: bool) -> Result<(), Failure> {
        self.fake.now_ms.set(self.fake.now_ms.get() + 1_000);
        self.writer.take(&self.fake, &mut self.recorder, last)
    }

    pub fn path(&mut self) -> PathBuf {
        PathBuf::from(String::from_utf8(self.recorder.path().to_vec()).unwrap())
    }

    pub fn read(&mut self) -> ReadBack {
        ReadBack::of(&std::fs::read(self.path()).unwrap())
    }
}

#[derive(Default, Debug)]
pub struct ReadBack {
    /// Sums of all changes by site.
    pub sums: BTreeMap<u32, Counts>,
    pub sites: BTreeMap<u32, Site>,
    pub nodes: BTreeMap<u32, Node>,
    pub times_ms: Vec<u64>,
    pub totals: leaktrack_recording::Totals,
    pub ages: BTreeMap<u32, leaktrack_recording::SiteAge>,
    pub lifetimes: BTreeMap<u32, SiteLifetimes>,
    pub epoch_us: u64,
    /// When sizes were told last.
    pub sizes_ms: Option<u64>,
    pub events: usize,
    pub problems: usize,
}

impl ReadBack {
    pub fn of(bytes: &[u8]) -> ReadBack {
        let recording = Recording::open(bytes).unwrap();
        let mut back = ReadBack {
            problems: recording.problems().count(),
            ..Default::default()
        };
        let mut segments: Vec<_> = recording.segments().collect();
        let mut snapshots: Vec<_> = recording.snapshots().collect();
        for record in leaktrack_recording::in_order(&mut segments, &mut snapshots) {
            match record {
                Record::Site(site) => drop(back.sites.insert(site.id, site)),
                Record::Node(node) => drop(back.nodes.insert(node.id, node)),
                Record::Snapshot(snapshot) => {
                    back.times_ms.push(snapshot.head.at_ms);
                    back.totals = snapshot.head.totals;
                    for delta in snapshot.deltas() {
                        back.sums.entry(delta.site).or_default().add(&delta.into());
                    }
                }
                Record::Lifetimes(list) => {
                    back.epoch_us = list.head.epoch_us;
                    back.lifetimes = list.lifetimes().map(|it| (it.site, it)).collect();
                }
                Record::Sizes(sizes) => back.sizes_ms = Some(sizes.at_ms),
                Record::Ages(ages) => back.ages = ages.ages().map(|age| (age.site, age)).collect(),
                Record::Event { .. } => back.events += 1,
                _ => {}
            }
        }
        back
    }

    /// The changes add up to what the last snapshot says.
    pub fn check_totals(&self) {
        let mut sums = [Counts::ZERO; 2];
        for (id, sum) in &self.sums {
            let site = self
                .sites
                .get(id)
                .unwrap_or_else(|| panic!("site {id} has no definition"));
            sums[usize::from(site.kind == SiteKind::Mmap)].add(sum);
        }
        let [heap, maps] = sums;
        let totals = &self.totals;
        assert_eq!(
            (totals.allocations, totals.frees),
            (heap.allocations, heap.frees)
        );
        assert_eq!(
            (totals.allocated_bytes, totals.freed_bytes),
            (heap.allocated_bytes, heap.freed_bytes)
        );
        assert_eq!(totals.mappings, maps.allocations);
        assert!(self.times_ms.is_sorted());
    }

    /// Everything adds up to what the process says.
    pub fn check(&self, fake: &Fake) {
        assert_eq!(self.problems, 0);
        let mut sums = [Counts::ZERO; 2];
        for (id, sum) in &self.sums {
            let site = self
                .sites
                .get(id)
                .unwrap_or_else(|| panic!("site {id} has no definition"));
            sums[usize::from(site.kind == SiteKind::Mmap)].add(sum);
            let mut node = site.leaf;
            while node != 0 {
                node = self.nodes[&node].parent;
            }
            if *id < OTHER_HEAP && !self.sites.contains_key(&OTHER_HEAP) {
                assert_eq!(*sum, fake.counts(*id), "site {id}");
            }
        }
        assert_eq!(sums, [fake.sums(SiteKind::Heap), fake.sums(SiteKind::Mmap)]);
        self.check_totals();
    }
}

/// A small generator of pseudo-random numbers.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

pub fn busy(fake: &Fake, random: &mut Random, sites: u64, changes: u64) {
    for _ in 0..changes {
        let site = random.below(sites) as u32 + 1;
        let bytes = random.below(10_000) + 1;
        fake.allocate(site, bytes);
        if random.below(3) > 0 {
            fake.free(site, bytes);
        }
    }
}
