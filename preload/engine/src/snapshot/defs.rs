//! Owns the definitions: modules, frames, sites and threads are written when a snapshot first needs
//! them, each once, as far as their share of the file goes.

use leaktrack_recording::{Call, Module, Record, Site, SiteKind};

use super::content;
use super::source::Source;
use crate::arena::AVec;
use crate::facts::threads;
use crate::recorder::{Failure, Recorder};

/// Stands for all sites of the malloc family that have no definition for want of disk.
pub const OTHER_HEAP: u32 = u32::MAX - 1;
/// The same for mappings.
pub const OTHER_MMAP: u32 = u32::MAX;

/// Quarters of the definitions' budget for any site, for sites that matter, for what must be told.
const FOR_ANY: u64 = 3;
const FOR_WEIGHTY: u64 = 4;
const FOR_ALL: u64 = 6;
/// Frames of the longest stack.
const LONGEST: usize = 512;
/// Threads whose names are followed.
const THREADS: usize = 1024;

#[derive(Clone, Copy)]
struct Thread {
    tid: u32,
    /// Hash of the name as last written.
    name: u64,
}

/// What has been written.
#[derive(Default)]
pub struct Defs {
    modules: u32,
    modules_gone: AVec<u32>,
    /// A bit for each node.
    nodes: AVec<u64>,
    threads: AVec<Thread>,
    other_heap: bool,
    other_mmap: bool,
    /// Sites seen before this one was forked have times of the parent's clock.
    inherited_sites: u32,
}

impl Defs {
    /// Nothing written.
    pub const fn new() -> Defs {
        Defs {
            modules: 0,
            modules_gone: AVec::new(),
            nodes: AVec::new(),
            threads: AVec::new(),
            other_heap: false,
            other_mmap: false,
            inherited_sites: 0,
        }
    }

    /// Sites up to this one were first seen by the parent.
    pub fn set_inherited(&mut self, sites: u32) {
        self.inherited_sites = sites;
    }

    /// Writes what is new of the modules: loaded, unloaded.
    pub fn modules(
        &mut self,
        source: &impl Source,
        recorder: &mut Recorder,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let forked = self.inherited_sites > 0;
        while self.modules < source.modules() {
            let mut result = Ok(());
            source.with_module(self.modules + 1, &mut |module, _| {
                let at_ms = if forked {
                    module.at_ms.min(now_ms)
                } else {
                    module.at_ms
                };
                result = recorder.append_def(&Record::Module(Module { at_ms, ..*module }), FOR_ALL);
                if result.is_ok()
                    && module.build_id.is_empty()
                    && let Some(hash) = content::hash(module.path)
                {
                    let module = module.id;
                    let _ = recorder.append_def(&Record::Content { module, hash }, FOR_ALL);
                }
            });
            match result {
                Ok(()) => self.modules += 1,
                Err(Failure::Full) => return Ok(()),
                Err(other) => return Err(other),
            }
        }
        for id in 1..=self.modules {
            let mut gone_ms = 0;
            source.with_module(id, &mut |_, gone| gone_ms = gone);
            if gone_ms > 0
                && !self.modules_gone.as_slice().contains(&id)
                && self.modules_gone.try_push(id)
            {
                let _ = recorder.append_def(
                    &Record::ModuleGone {
                        id,
                        at_ms: gone_ms.min(now_ms),
                    },
                    FOR_ALL,
                );
            }
        }
        Ok(())
    }

    /// Writes a site with its stack. `Full`: it will be counted among the others.
    pub fn site(
        &mut self,
        id: u32,
        weighty: bool,
        source: &impl Source,
        recorder: &mut Recorder,
    ) -> Result<(), Failure> {
        let share = if weighty { FOR_WEIGHTY } else { FOR_ANY };
        let site = source.site(id).ok_or(Failure::Full)?;
        let mut chain = [0u32; LONGEST];
        let mut len = 0;
        let mut next = site.leaf;
        while next != 0 && !self.has_node(next) {
            *chain.get_mut(len).ok_or(Failure::Full)? = next;
            len += 1;
            next = source.node(next).ok_or(Failure::Full)?.parent;
        }
        for &node in chain.get(..len).unwrap_or_default().iter().rev() {
            if let Some(record) = source.node(node) {
                recorder.append_def(&Record::Node(record), share)?;
                self.note_node(node);
            }
        }
        let mut record = site;
        if id <= self.inherited_sites {
            record.first_seen_ms = 0;
        }
        recorder.append_def(&Record::Site(record), share)?;
        self.thread(site.thread, recorder);
        Ok(())
    }

    /// Writes the site that stands for all without a definition.
    pub fn others(&mut self, kind: SiteKind, recorder: &mut Recorder) -> Result<(), Failure> {
        let (id, written) = match kind {
            SiteKind::Heap => (OTHER_HEAP, &mut self.other_heap),
            SiteKind::Mmap => (OTHER_MMAP, &mut self.other_mmap),
        };
        if !*written {
            let site = Site {
                id,
                leaf: 0,
                kind,
                cut: false,
                folded: true,
                first_seen_ms: 0,
                thread: 0,
                call: Call::Unknown,
            };
            recorder.append_def(&Record::Site(site), FOR_ALL)?;
            *written = true;
        }
        Ok(())
    }

    /// Reads the names of known threads again: most threads are named after their first
    /// allocation.
    pub fn refresh_threads(&mut self, recorder: &mut Recorder) {
        for thread in self.threads.as_mut_slice() {
            write_name(thread, recorder);
        }
    }

    fn thread(&mut self, tid: u32, recorder: &mut Recorder) {
        let known = self
            .threads
            .as_slice()
            .iter()
            .rev()
            .any(|thread| thread.tid == tid);
        if tid != 0 && !known && self.threads.len() < THREADS {
            let mut thread = Thread { tid, name: 0 };
            write_name(&mut thread, recorder);
            self.threads.try_push(thread);
        }
    }

    fn has_node(&self, id: u32) -> bool {
        self.nodes
            .get(id as usize / 64)
            .is_some_and(|word| word & 1 << (id % 64) != 0)
    }

    fn note_node(&mut self, id: u32) {
        while self.nodes.len() <= id as usize / 64 {
            if !self.nodes.try_push(0) {
                return; // it will be written again: harmless
            }
        }
        if let Some(word) = self.nodes.get_mut(id as usize / 64) {
            *word |= 1 << (id % 64);
        }
    }
}

fn write_name(thread: &mut Thread, recorder: &mut Recorder) {
    let Some(name) = threads::name(thread.tid) else {
        return;
    };
    let hash = name
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let record = Record::Thread {
        tid: thread.tid,
        name: name.as_bytes(),
    };
    if hash != thread.name && recorder.append_def(&record, FOR_ALL).is_ok() {
        thread.name = hash;
    }
}
