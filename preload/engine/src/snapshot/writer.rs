//! Owns the making of a snapshot: the process's figures, what changed, ages, and what to tell of
//! limits met.

use leaktrack_recording::{
    AllocatorStats, EventKind, LifetimesHead, Record, SiteKind, SliceSink, SnapshotHead, System,
    Totals, encode_ages, encode_lifetimes,
};

use super::ages::Ages;
use super::changes::{Changes, Definer, Pass, Sums};
use super::code::Names;
use super::counts::Counts;
use super::defs::Defs;
use super::epochs::Epochs;
use super::faults;
use super::sizes;
use super::source::Source;
use super::spreads;
use crate::alerts::Figures;
use crate::facts::limit::{self, LimitKind};
use crate::facts::{process, system};
use crate::recorder::{Buffer, FRAME_BYTES, Failure, Kept, Recorder, TAIL_BYTES};
use crate::sampler::Calls;
use crate::sites::tally::Sizes;
use crate::text::Text;

/// Room for an encoded head.
const HEAD_BYTES: usize = 768;
const MINUTE_MS: u64 = 60_000;
/// Sizes are told first after this long, then after twice as long, until it is a minute.
const FIRST_SIZES_MS: u64 = 1_000;
/// Blocks up to which the live table is walked once a minute: about 20 ms.
const CHEAP_WALK_BLOCKS: u64 = 1 << 20;
/// Blocks up to which it is walked at the end: about a second.
const LONG_WALK_BLOCKS: u64 = 1 << 25;
/// Blocks up to which it is walked for the spreads of samples at every snapshot: about a
/// millisecond.
const FEW_BLOCKS: u64 = 1 << 16;
/// The memory limit is read again after this long.
const LIMIT_AGE_MS: u64 = 10_000;
/// The system is looked at again after this long.
const SYSTEM_AGE_MS: u64 = 5_000;

/// Everything that a snapshot needs to know of those before it.
pub struct Writer {
    changes: Changes,
    /// What the counters were when this process was forked.
    base: Sums,
    /// What was known of sizes by then.
    sizes_base: Sizes,
    /// What the sites' counters lacked by then.
    calls_base: Calls,
    defs: Defs,
    names: Names,
    epochs: Epochs,
    index: u64,
    totals: Totals,
    last_ages_ms: u64,
    last_sizes_ms: u64,
    limit: Option<(u64, LimitKind)>,
    limit_read_ms: Option<u64>,
    system: System,
    system_read_ms: Option<u64>,
    allocator: Option<AllocatorStats>,
    own_cpu_ns: u64,
    growth_told: bool,
    figures: Figures,
    faults_ms: Option<u64>,
}

impl Writer {
    /// Nothing written.
    pub const fn new() -> Writer {
        Writer {
            changes: Changes::new(FRAME_BYTES + HEAD_BYTES),
            base: [Counts::ZERO; 2],
            sizes_base: Sizes::new(),
            calls_base: Calls::NONE,
            defs: Defs::new(),
            names: Names::new(),
            epochs: Epochs::new(),
            index: 0,
            totals: NO_TOTALS,
            last_ages_ms: 0,
            last_sizes_ms: 0,
            limit: None,
            limit_read_ms: None,
            system: System::UNKNOWN,
            system_read_ms: None,
            allocator: None,
            own_cpu_ns: 0,
            growth_told: false,
            figures: Figures::NONE,
            faults_ms: None,
        }
    }

    /// In a forked child: what the counters say now belongs to the parent. Returns the sums of the
    /// malloc family.
    pub fn inherit(&mut self, source: &impl Source) -> Counts {
        self.base = self.changes.inherit(source);
        self.sizes_base = source.sizes().unwrap_or_default();
        self.calls_base = source.beyond_sites().unwrap_or_default();
        self.defs.set_inherited(source.sites());
        self.epochs.note(source.epoch(), source.now_ms());
        let [heap, _] = self.base;
        heap
    }

    /// When blocks were born.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Figures of the allocator for the next snapshot.
    pub fn set_allocator_stats(&mut self, stats: AllocatorStats) {
        self.allocator = Some(stats);
    }

    /// Begins an epoch; the one before.
    pub fn begin_epoch(&mut self, source: &impl Source) -> u32 {
        let epoch = source.next_epoch();
        self.epochs.note(epoch, source.now_ms());
        epoch.saturating_sub(1)
    }

    /// The next snapshot tells page faults, whenever it did so last.
    pub fn tell_faults(&mut self) {
        self.faults_ms = None;
    }

    /// Adds to the CPU time of leaktrack.
    pub fn add_cpu_ns(&mut self, ns: u64) {
        self.own_cpu_ns = self.own_cpu_ns.saturating_add(ns);
    }

    /// Takes a snapshot. `last`: more will hardly follow, so everything must get in.
    pub fn take(
        &mut self,
        source: &impl Source,
        recorder: &mut Recorder,
        last: bool,
    ) -> Result<(), Failure> {
        let now_ms = source.now_ms();
        if self.epochs.is_due(now_ms) {
            let epoch = source.next_epoch();
            self.epochs.note(epoch, now_ms);
        }
        let minute = now_ms >= self.last_ages_ms + MINUTE_MS;
        if minute || last {
            self.last_ages_ms = now_ms;
            self.defs.refresh_threads(recorder);
        }
        self.defs.modules(source, recorder, now_ms)?;
        let mut head = self.head(source, now_ms, last);
        self.figures = self.figures_of(&head);
        let mut limit = recorder.payload_limit() as usize;
        while let Err(failure) = self.changes(source, recorder, &mut head, limit, last) {
            // Smaller pieces may find room where a large one did not; a later snapshot may, too.
            if failure != Failure::Full {
                return Err(failure);
            }
            if !last || limit < 4096 {
                break;
            }
            limit /= 4;
        }
        let walk_blocks = if last {
            LONG_WALK_BLOCKS
        } else {
            CHEAP_WALK_BLOCKS
        };
        if (last || minute) && source.live_blocks() <= walk_blocks {
            match self.ages(source, recorder, now_ms) {
                Ok(()) | Err(Failure::Full) => {}
                other => return other,
            }
        }
        let age_ms = now_ms.saturating_sub(self.last_sizes_ms);
        if last || age_ms >= self.last_sizes_ms.clamp(FIRST_SIZES_MS, MINUTE_MS) {
            self.last_sizes_ms = now_ms;
            match sizes::write(source, &self.sizes_base, recorder, now_ms) {
                Ok(()) | Err(Failure::Full) => {}
                other => return other,
            }
        }
        let few = source.live_blocks() <= FEW_BLOCKS;
        if source.beyond_sites().is_some() && (few || last || minute) {
            match spreads::write(source, recorder, now_ms) {
                Ok(()) | Err(Failure::Full) => {}
                other => return other,
            }
        }
        crate::faults::bound(head.threads);
        let told_ms = self.faults_ms;
        if last || told_ms.is_none_or(|told_ms| faults::is_due(told_ms, now_ms)) || self.index <= 1
        {
            self.faults_ms = Some(now_ms);
            self.define_faulted(source, recorder)?;
            match faults::write(recorder, now_ms) {
                Ok(()) | Err(Failure::Full) => {}
                other => return other,
            }
        }
        self.names.take(source, recorder, last)?;
        recorder.flush()?;
        self.tell_limits(recorder, now_ms)
    }

    /// A forked child may never have allocated where its parent did, and yet touch that memory.
    fn define_faulted(
        &mut self,
        source: &impl Source,
        recorder: &mut Recorder,
    ) -> Result<(), Failure> {
        let mut definer = FileDefiner {
            defs: &mut self.defs,
            source,
            recorder,
            weighty_bytes: 0,
        };
        let mut result = Ok(());
        crate::faults::for_each_site(|id| {
            if result.is_ok() {
                result = self.changes.define(id, source, &mut definer);
            }
        });
        result
    }

    /// What was seen at the last snapshot.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// What counts against the limit now, and the limit, as it was when it was last read; `None`
    /// without one.
    pub fn use_of_limit(&self) -> Option<(u64, u64)> {
        let (limit_bytes, _) = self.limit?;
        let facts = process::read();
        let used_bytes = self.used_bytes(facts.rss_bytes, facts.vm_bytes);
        Some((used_bytes, limit_bytes))
    }

    fn used_bytes(&self, rss_bytes: u64, vm_bytes: u64) -> u64 {
        let kind = self.limit.map(|(_, kind)| kind);
        limit::used_bytes(kind, rss_bytes, vm_bytes, &self.system)
    }

    fn figures_of(&self, head: &SnapshotHead) -> Figures {
        Figures {
            at_ms: head.at_ms,
            minor_faults: head.minor_faults,
            major_faults: head.major_faults,
            live_bytes: live_bytes(&head.totals).saturating_add(head.totals.mapped_bytes),
            rss_bytes: head.rss_bytes,
            used_bytes: self.used_bytes(head.rss_bytes, head.vm_bytes),
            limit_bytes: head.limit_bytes,
            host_locked_bytes: self.system.host_locked_bytes,
            host_memory_bytes: self.system.host_memory_bytes,
        }
    }

    /// The process as it is.
    fn head(&mut self, source: &impl Source, now_ms: u64, last: bool) -> SnapshotHead {
        if self
            .limit_read_ms
            .is_none_or(|read| now_ms >= read + LIMIT_AGE_MS)
        {
            self.limit = limit::read();
            self.limit_read_ms = Some(now_ms);
        }
        let looks = last
            || self
                .system_read_ms
                .is_none_or(|read| now_ms >= read + SYSTEM_AGE_MS);
        if looks {
            self.system = system::read(b"");
            self.system_read_ms = Some(now_ms);
        }
        let facts = process::read();
        self.system.children_minor_faults = facts.children_minor_faults;
        self.system.peak_resident_bytes = Some(facts.peak_rss_bytes).filter(|bytes| *bytes > 0);
        self.add_cpu_ns(crate::faults::take_cpu_ns());
        SnapshotHead {
            index: 0,
            merged: 1,
            at_ms: now_ms,
            rss_bytes: facts.rss_bytes,
            vm_bytes: facts.vm_bytes,
            swap_bytes: facts.swap_bytes,
            minor_faults: facts.minor_faults,
            major_faults: facts.major_faults,
            threads: facts.threads.saturating_sub(source.own_threads()),
            limit_bytes: self.limit.map(|(bytes, _)| bytes),
            limit_is_address_space: matches!(self.limit, Some((_, LimitKind::AddressSpace))),
            totals: self.totals,
            coverage: source.coverage(),
            own_memory_bytes: source.own_memory_bytes(),
            own_cpu_ms: self.own_cpu_ns / 1_000_000,
            allocator: self.allocator,
            system: looks.then_some(self.system),
            sampling: source.sampling(),
            rss_peak: None,
            temporary: None,
        }
    }

    /// Writes what changed, in as many records of at most `limit` bytes as it takes.
    fn changes(
        &mut self,
        source: &impl Source,
        recorder: &mut Recorder,
        head: &mut SnapshotHead,
        limit: usize,
        last: bool,
    ) -> Result<(), Failure> {
        let limit = limit.saturating_sub(HEAD_BYTES).max(256);
        let survey = self.changes.survey(source.sites(), limit, source);
        head.totals = self.totals_of(&survey, source, head.at_ms);
        head.temporary = self.temporary_of(&survey, source);
        let mut sums: Sums = [Counts::ZERO; 2];
        let mut next = Some(1);
        while let Some(from) = next {
            let weighty_bytes = live_bytes(&head.totals) / 256;
            let mut definer = FileDefiner {
                defs: &mut self.defs,
                source,
                recorder,
                weighty_bytes,
            };
            let pass = self.changes.encode(from, limit, source, &mut definer)?;
            for (sum, part) in sums.iter_mut().zip(&pass.sums) {
                sum.add(part);
            }
            next = pass.rest;
            if next.is_none() {
                // Exactly what the changes add up to.
                head.totals = self.totals_of(&sums, source, head.at_ms);
                head.temporary = self.temporary_of(&sums, source);
            }
            if let Err(failure) = self.append(recorder, head, &pass, last) {
                self.changes.take_back(&pass);
                return Err(failure);
            }
            self.changes.written(&pass);
            self.totals = head.totals;
            self.index += 1;
        }
        self.allocator = None;
        Ok(())
    }

    /// Appends the record of one pass.
    fn append(
        &mut self,
        recorder: &mut Recorder,
        head: &mut SnapshotHead,
        pass: &Pass,
        last: bool,
    ) -> Result<(), Failure> {
        head.index = self.index;
        let (record, len) = self
            .changes
            .record(head, FRAME_BYTES, pass)
            .map_err(|_| Failure::Full)?;
        recorder.flush()?;
        recorder.append_snapshot(record, len, self.index, self.index + 1, last)
    }

    /// Totals of this process: what the counters say without what was inherited.
    fn totals_of(&self, sums: &Sums, source: &impl Source, now_ms: u64) -> Totals {
        let [heap, maps] = sums;
        let [base_heap, base_maps] = &self.base;
        let (mut heap, maps) = (heap.since(base_heap), maps.since(base_maps));
        if let Some(beyond) = source.beyond_sites() {
            heap = exact(beyond, &self.calls_base, &heap, source);
            // Threads go on while they are read one by one.
            heap.allocations = heap.allocations.max(self.totals.allocations);
            heap.allocated_bytes = heap.allocated_bytes.max(self.totals.allocated_bytes);
        }
        let mut totals = Totals {
            allocations: heap.allocations,
            frees: heap.frees,
            allocated_bytes: heap.allocated_bytes,
            freed_bytes: heap.freed_bytes,
            mappings: maps.allocations,
            mapped_bytes: maps.live_bytes(),
            brk_bytes: source.brk_bytes(),
            ..self.totals
        };
        if live_bytes(&totals) > totals.peak_live_bytes {
            totals.peak_live_bytes = live_bytes(&totals);
            totals.peak_at_ms = now_ms;
        }
        totals
    }

    /// Temporary blocks of this process, where each block is recorded.
    fn temporary_of(&self, [heap, _]: &Sums, source: &impl Source) -> Option<u64> {
        let [base, _] = &self.base;
        let temporary = heap.since(base).temporary;
        source.beyond_sites().is_none().then_some(temporary)
    }

    /// Writes the ages of live blocks; of all sites if they fit, else of those that matter.
    fn ages(
        &mut self,
        source: &impl Source,
        recorder: &mut Recorder,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let Some(ages) = Ages::walk(source) else {
            return Ok(());
        };
        let limit = recorder.payload_limit() as usize;
        let Some(mut buffer) = Buffer::of((ages.bytes() + FRAME_BYTES + TAIL_BYTES).min(limit))
        else {
            return Ok(());
        };
        for least_blocks in [1, 8, 64, 512, 4096] {
            let end = buffer.len() - TAIL_BYTES;
            let room = buffer
                .as_mut_slice()
                .get_mut(FRAME_BYTES..end)
                .unwrap_or_default();
            let mut sink = SliceSink::new(room);
            let Ok(mut writer) = encode_ages(now_ms, &mut sink) else {
                break;
            };
            if ages.write(&self.epochs, now_ms, &mut writer, least_blocks) {
                let len = sink.len();
                recorder.replace(Kept::Ages, buffer.as_mut_slice(), len)?;
                break;
            }
        }
        self.lifetimes(&ages, source, recorder, now_ms)
    }

    /// Writes the lifetimes of blocks; of all sites if they fit, else of those that matter.
    fn lifetimes(
        &self,
        ages: &Ages,
        source: &impl Source,
        recorder: &mut Recorder,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let limit = recorder.payload_limit() as usize;
        let bytes = 2 * ages.bytes() + 4 * source.sites() as usize;
        let Some(mut buffer) = Buffer::of((bytes + FRAME_BYTES + TAIL_BYTES).min(limit)) else {
            return Ok(());
        };
        let epochs = source.epoch().saturating_sub(source.fork_epoch()).max(1);
        for least_blocks in [1, 8, 64, 512, 4096] {
            let head = LifetimesHead {
                at_ms: now_ms,
                epoch_us: now_ms.saturating_mul(1_000) / u64::from(epochs),
                least_blocks,
            };
            let end = buffer.len() - TAIL_BYTES;
            let room = buffer.as_mut_slice().get_mut(FRAME_BYTES..end);
            let mut sink = SliceSink::new(room.unwrap_or_default());
            let Ok(mut writer) = encode_lifetimes(&head, &mut sink) else {
                break;
            };
            if ages.write_lifetimes(source, &mut writer, least_blocks) {
                let len = sink.len();
                return recorder.replace(Kept::Lifetimes, buffer.as_mut_slice(), len);
            }
        }
        Ok(())
    }

    /// Says once in the recording that the file cannot grow as far as it might.
    fn tell_limits(&mut self, recorder: &mut Recorder, now_ms: u64) -> Result<(), Failure> {
        let health = recorder.health();
        if let (Some(reason), false) = (health.growth_stopped, self.growth_told) {
            let mut text = Text::<160>::new();
            text.push_bytes(b"the recording stays at ")
                .push_u64(health.file_bytes >> 10)
                .push_bytes(b" KiB: ");
            reason.describe(&mut text);
            let event = Record::Event {
                at_ms: now_ms,
                kind: EventKind::Limit,
                text: text.as_bytes(),
            };
            recorder.append_event(&event)?;
            self.growth_told = true;
        }
        Ok(())
    }
}

/// Totals of the malloc family while its sites are sampled: the calls are exact, what is live is
/// estimated. Frees cannot be told from those of inherited blocks, or of blocks that were allocated
/// while recording was off: then they follow from what is live.
fn exact(beyond: Calls, base: &Calls, estimate: &Counts, source: &impl Source) -> Counts {
    let with = |counted: u64, beyond: u64, base: u64| {
        let sum = counted.wrapping_add(beyond).wrapping_sub(base);
        // Below zero for as long as a sample is counted at its site alone.
        sum.cast_signed().max(0).cast_unsigned()
    };
    let allocations = with(estimate.allocations, beyond.allocations, base.allocations);
    let allocated_bytes = with(
        estimate.allocated_bytes,
        beyond.allocated_bytes,
        base.allocated_bytes,
    );
    let frees = if source.frees_are_exact() {
        with(estimate.frees, beyond.frees, base.frees).min(allocations)
    } else {
        allocations.saturating_sub(estimate.allocations.saturating_sub(estimate.frees))
    };
    Counts {
        allocations,
        frees,
        allocated_bytes,
        freed_bytes: allocated_bytes.saturating_sub(estimate.live_bytes()),
        temporary: 0,
    }
}

const NO_TOTALS: Totals = Totals {
    allocations: 0,
    frees: 0,
    allocated_bytes: 0,
    freed_bytes: 0,
    peak_live_bytes: 0,
    peak_at_ms: 0,
    mappings: 0,
    mapped_bytes: 0,
    brk_bytes: 0,
};

fn live_bytes(totals: &Totals) -> u64 {
    totals.allocated_bytes.saturating_sub(totals.freed_bytes)
}

/// Writes definitions into the recording.
struct FileDefiner<'a, S> {
    defs: &'a mut Defs,
    source: &'a S,
    recorder: &'a mut Recorder,
    /// A site with more live bytes than this matters.
    weighty_bytes: u64,
}

impl<S: Source> Definer for FileDefiner<'_, S> {
    fn site(&mut self, id: u32, live_bytes: u64, again: bool) -> Result<(), Failure> {
        let weighty = live_bytes > self.weighty_bytes;
        if again && !weighty {
            return Err(Failure::Full);
        }
        self.defs.site(id, weighty, self.source, self.recorder)
    }

    fn others(&mut self, kind: SiteKind) -> Result<(), Failure> {
        self.defs.others(kind, self.recorder)
    }
}
