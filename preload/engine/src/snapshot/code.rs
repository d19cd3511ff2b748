//! Owns the names of generated code: of frames in no module what the runtime calls the code there,
//! read from its perf map or jitdump soon after the frames were seen, before the address is used
//! for something else and before the file goes.
//!
//! A program that runs no generated code pays nothing. Else the files are looked for at each snapshot,
//! and read from their beginning when there are new frames, paced to a share of time.

use leaktrack_recording::{Code, CodeWriter, Record, SliceSink};

use super::source::Source;
use crate::arena::AVec;
use crate::code_map::{CodeMap, Entry, NAME_BYTES};
use crate::recorder::{Failure, Recorder};
use crate::sys;

/// Reading the files may cost this share of time at most: one part in so many.
const COST_SHARE: u64 = 100;
/// A jitdump is looked for only so often: where it is the list of mappings tells.
const DUMP_MS: u64 = 30_000;
/// Frames without a name that are kept in mind.
const MOST_WAITING: usize = 1 << 14;
/// Frames of one record.
const NODES: usize = 400;
/// Quarters of the definitions' budget that names may fill.
const SHARE: u64 = 4;

/// A frame whose code has no name yet.
#[derive(Clone, Copy)]
struct Waiting {
    /// An address inside the calling instruction.
    address: u64,
    node: u32,
    /// Where the file tells of it; 0: it does not.
    place: u64,
}

/// Which frames still have no name.
pub struct Names {
    waiting: AVec<Waiting>,
    /// Nodes up to this one were looked at.
    seen: u32,
    /// How far the perf map and the jitdump were read for those that wait.
    read_to: [u64; 2],
    due_ms: u64,
    dump_due_ms: u64,
    /// There is no room for more.
    over: bool,
}

impl Names {
    /// Nothing seen.
    pub const fn new() -> Names {
        Names {
            waiting: AVec::new(),
            seen: 0,
            read_to: [0; 2],
            due_ms: 0,
            dump_due_ms: 0,
            over: false,
        }
    }

    /// Writes the names that are new. `last`: there will hardly be another time.
    pub fn take(
        &mut self,
        source: &impl Source,
        recorder: &mut Recorder,
        last: bool,
    ) -> Result<(), Failure> {
        let now_ms = source.now_ms();
        if self.over || (now_ms < self.due_ms && !last) {
            return Ok(());
        }
        self.collect(source);
        if self.waiting.is_empty() {
            return Ok(());
        }
        let began_ns = sys::clock_ns(sys::clock::THREAD_CPU);
        let mut result = Ok(());
        if let Some(map) = CodeMap::perf_map() {
            result = self.name_by(&map, 0, recorder);
        }
        if result.is_ok() && !self.waiting.is_empty() && (last || now_ms >= self.dump_due_ms) {
            self.dump_due_ms = now_ms.saturating_add(DUMP_MS);
            if let Some(map) = CodeMap::dump() {
                self.dump_due_ms = now_ms;
                result = self.name_by(&map, 1, recorder);
            }
        }
        let cost_ns = sys::clock_ns(sys::clock::THREAD_CPU).saturating_sub(began_ns);
        let pause_ms = cost_ns.saturating_mul(COST_SHARE) / 1_000_000;
        self.due_ms = now_ms.saturating_add(pause_ms);
        match result {
            Err(Failure::Full) => {
                self.over = true;
                Ok(())
            }
            other => other,
        }
    }

    fn name_by(
        &mut self,
        map: &CodeMap,
        which: usize,
        recorder: &mut Recorder,
    ) -> Result<(), Failure> {
        let from = self.read_to.get(which).copied().unwrap_or(0);
        if map.len_bytes() <= from {
            return Ok(());
        }
        let waiting = self.waiting.as_mut_slice();
        waiting.sort_unstable_by_key(|it| it.address);
        let mut last_place = 0;
        map.for_each(from, &mut |entry| {
            find(waiting, entry);
            last_place = entry.place;
        });
        // From its last entry on next time, which may have been torn.
        if let Some(slot) = self.read_to.get_mut(which).filter(|_| last_place > 0) {
            *slot = last_place.saturating_sub(1);
        }
        waiting.sort_unstable_by_key(|it| (it.place, it.node));
        let unnamed = waiting.partition_point(|it| it.place == 0);
        let mut named = waiting.get(unnamed..).unwrap_or_default();
        while let Some(place) = named.first().map(|it| it.place) {
            let many = named.iter().take_while(|it| it.place == place).count();
            let Some((same, others)) = named.split_at_checked(many) else {
                break;
            };
            named = others;
            let mut name = [0u8; NAME_BYTES];
            let len = map.name(place, &mut name);
            // Moved code of which nothing was told before.
            if len == 0 {
                continue;
            }
            for some in same.chunks(NODES) {
                write(name.get(..len).unwrap_or_default(), some, recorder)?;
            }
        }
        while self.waiting.len() > unnamed {
            self.waiting.pop();
        }
        Ok(())
    }

    /// Takes in frames that are new. For them the files are read from their beginning.
    fn collect(&mut self, source: &impl Source) {
        for id in self.seen.saturating_add(1)..=source.nodes() {
            let Some(node) = source.node(id) else { break };
            if node.module == 0 && node.offset != 0 {
                let waiting = Waiting {
                    address: node.offset.saturating_sub(u64::from(!node.exact)),
                    node: id,
                    place: 0,
                };
                if self.waiting.len() >= MOST_WAITING || !self.waiting.try_push(waiting) {
                    break;
                }
                self.read_to = [0; 2];
            }
            self.seen = id;
        }
    }
}

/// Notes at the frames in an entry's code that it is theirs.
fn find(waiting: &mut [Waiting], entry: Entry) {
    let first = waiting.partition_point(|it| it.address < entry.start);
    let inside = waiting.get_mut(first..).unwrap_or_default();
    for it in inside.iter_mut().take_while(|it| it.address < entry.end) {
        it.place = entry.place;
    }
}

/// Frames that no snapshot needed yet are named as well: one may need them later.
fn write(name: &[u8], nodes: &[Waiting], recorder: &mut Recorder) -> Result<(), Failure> {
    let mut room = [0u8; NODES * 5];
    let mut sink = SliceSink::new(&mut room);
    let mut writer = CodeWriter::new(&mut sink);
    for it in nodes {
        writer.push(it.node).map_err(|_| Failure::Full)?;
    }
    let nodes = sink.written();
    recorder.append_def(&Record::Code(Code { name, nodes }), SHARE)
}
