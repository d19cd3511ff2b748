//! Owns the account of what the recording says of each site, and the encoding of what changed
//! since.
//!
//! The sum of all changes written is what the counters were then. A change is noted as written when
//! it is encoded; if the record finds no room it is taken back, and so is part of the next one.

use core::cell::Cell;

use leaktrack_recording::{
    DeltaWriter, Full, Measure, Sink, SiteKind, SliceSink, Snapshot, SnapshotHead, TemporaryWriter,
    encode_snapshot,
};

use super::counts::Counts;
use super::defs::{OTHER_HEAP, OTHER_MMAP};
use super::source::Source;
use crate::arena::AVec;
use crate::recorder::{Buffer, Failure, TAIL_BYTES};

/// Room for a typical change; more make another record.
const DELTA_BYTES: usize = 24;
/// Room for any change: five varints.
const MOST_DELTA_BYTES: usize = 48;
/// Room for the temporary blocks of a typical site; more make another record.
const TEMPORARY_BYTES: usize = 6;
/// Room for those of any site: two varints.
const MOST_TEMPORARY_BYTES: usize = 16;

/// Sums for sites of the malloc family and for mappings.
pub type Sums = [Counts; 2];

/// The place of a kind in [`Sums`].
pub fn place(kind: SiteKind) -> usize {
    match kind {
        SiteKind::Heap => 0,
        SiteKind::Mmap => 1,
    }
}

fn add(sums: &mut Sums, kind: SiteKind, counts: &Counts) {
    if let Some(sum) = sums.get_mut(place(kind)) {
        sum.add(counts);
    }
}

/// Whether a site's changes are written under its own id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Never changed yet.
    New,
    /// It has a definition.
    Defined,
    /// It is counted among the others: there was no disk left for its definition.
    Other,
}

#[derive(Clone, Copy)]
struct Known {
    counts: Counts,
    kind: SiteKind,
    standing: Standing,
}

/// What the recording says of the sites.
pub struct Changes {
    /// By site id minus 1.
    known: AVec<Known>,
    /// There was no memory for more; sites beyond are counted among the others for good.
    full: bool,
    /// Counters of those beyond, as of the last record and as of the last pass.
    beyond_written: Sums,
    beyond: Sums,
    /// Changes of the others that are not written yet.
    others: Sums,
    buffer: Buffer,
    /// Temporary blocks of the sites that changed, encoded.
    temporary: Buffer,
    /// What stays free at the front of the buffer beside room for those.
    front: usize,
    /// Encoded changes begin here in the buffer.
    start: usize,
}

/// What one pass over the sites encoded.
pub struct Pass {
    /// Bytes of encoded changes.
    pub len: usize,
    /// Bytes of encoded temporary blocks.
    temporary_len: usize,
    /// The site to go on with, if not all found room.
    pub rest: Option<u32>,
    /// Counters of all sites passed.
    pub sums: Sums,
    /// Whether the changes of the others are among them.
    others: [bool; 2],
}

/// Writes definitions.
pub trait Definer {
    /// Of a site with so many live bytes; `Full` puts it among the others, from where it is asked
    /// for `again` with every change.
    fn site(&mut self, id: u32, live_bytes: u64, again: bool) -> Result<(), Failure>;
    /// Of the one that stands for the others.
    fn others(&mut self, kind: SiteKind) -> Result<(), Failure>;
}

impl Changes {
    /// Nothing written; `front` bytes stay free for the head of a record.
    pub const fn new(front: usize) -> Changes {
        Changes {
            known: AVec::new(),
            full: false,
            beyond_written: [Counts::ZERO; 2],
            beyond: [Counts::ZERO; 2],
            others: [Counts::ZERO; 2],
            buffer: Buffer::new(),
            temporary: Buffer::new(),
            front,
            start: front,
        }
    }

    /// In a forked child: what the counters say now is the parent's. Returns the sums.
    pub fn inherit(&mut self, source: &impl Source) -> Sums {
        source.refresh();
        let sites = source.sites();
        self.learn(sites, source);
        let mut sums = [Counts::ZERO; 2];
        for id in 1..=sites {
            let counts = source.counts(id);
            match self.known.get_mut(id as usize - 1) {
                Some(known) => {
                    add(&mut sums, known.kind, &counts);
                    known.counts = counts;
                }
                None => {
                    let kind = source.site(id).map_or(SiteKind::Heap, |site| site.kind);
                    add(&mut sums, kind, &counts);
                    add(&mut self.beyond_written, kind, &counts);
                }
            }
        }
        sums
    }

    /// Makes room for new sites.
    fn learn(&mut self, sites: u32, source: &impl Source) {
        while !self.full && self.known.len() < sites as usize {
            let kind = source
                .site(self.known.len() as u32 + 1)
                .map_or(SiteKind::Heap, |site| site.kind);
            let known = Known {
                counts: Counts::ZERO,
                kind,
                standing: Standing::New,
            };
            self.full = !self.known.try_push(known);
        }
    }

    /// Counters of all `sites` sites; prepares the buffer for the changes.
    pub fn survey(&mut self, sites: u32, limit: usize, source: &impl Source) -> Sums {
        source.refresh();
        self.learn(sites, source);
        let mut sums = [Counts::ZERO; 2];
        let (mut changed, mut temporary) = (0usize, 0usize);
        for (id, known) in (1..).zip(self.known.as_slice()) {
            let counts = source.counts(id);
            changed += usize::from(counts != known.counts);
            temporary += usize::from(counts.temporary != known.counts.temporary);
            add(&mut sums, known.kind, &counts);
        }
        self.beyond = [Counts::ZERO; 2];
        for id in self.known.len() as u32 + 1..=sites {
            let kind = source.site(id).map_or(SiteKind::Heap, |site| site.kind);
            add(&mut self.beyond, kind, &source.counts(id));
        }
        for (sum, beyond) in sums.iter_mut().zip(&self.beyond) {
            sum.add(beyond);
        }
        let room = (temporary * TEMPORARY_BYTES).min(limit) + 4 * MOST_TEMPORARY_BYTES;
        let _ = self.temporary.grow(room);
        self.start = self.front + self.temporary.len().min(room);
        let wanted = (changed * DELTA_BYTES).min(limit) + self.start + 4096;
        let _ = self.buffer.grow(wanted) || self.buffer.grow(self.start + 4096);
        sums
    }

    /// Encodes the changes of the known sites from `from` on, as far as `limit` bytes and the
    /// buffer go, and notes them as written.
    pub fn encode(
        &mut self,
        from: u32,
        limit: usize,
        source: &impl Source,
        definer: &mut impl Definer,
    ) -> Result<Pass, Failure> {
        let mut pass = Pass {
            len: 0,
            temporary_len: 0,
            rest: None,
            sums: [Counts::ZERO; 2],
            others: [false; 2],
        };
        let room = self
            .buffer
            .len()
            .saturating_sub(self.start + TAIL_BYTES)
            .min(limit);
        let area = self
            .buffer
            .as_mut_slice()
            .get_mut(self.start..self.start + room)
            .unwrap_or_default();
        let len = Cell::new(0);
        let mut sink = Area {
            bytes: area,
            len: &len,
        };
        let mut writer = DeltaWriter::new(&mut sink);
        let most = self.start - self.front;
        let temporary_len = Cell::new(0);
        let mut sink = Area {
            bytes: self
                .temporary
                .as_mut_slice()
                .get_mut(..most)
                .unwrap_or_default(),
            len: &temporary_len,
        };
        let mut temporary = TemporaryWriter::new(&mut sink);
        let sites = self
            .known
            .as_mut_slice()
            .get_mut(from as usize - 1..)
            .unwrap_or_default();
        for (id, known) in (from..).zip(sites) {
            let counts = source.counts(id);
            if counts != known.counts {
                // Room for this change and those of the others.
                let taken = temporary_len.get();
                if len.get() + taken + 3 * MOST_DELTA_BYTES + 3 * MOST_TEMPORARY_BYTES > room
                    || taken + 3 * MOST_TEMPORARY_BYTES > most
                {
                    pass.rest = Some(id);
                    break;
                }
                known.define(id, &counts, definer)?;
                let delta = counts.since(&known.counts).delta(id);
                if known.standing == Standing::Other {
                    add(&mut self.others, known.kind, &delta.into());
                } else {
                    writer.push(&delta).map_err(|_| Failure::Full)?;
                    temporary.push(&delta).map_err(|_| Failure::Full)?;
                }
                known.counts = counts;
            }
            add(&mut pass.sums, known.kind, &counts);
        }
        if pass.rest.is_none() {
            for (sum, beyond) in pass.sums.iter_mut().zip(&self.beyond) {
                sum.add(beyond);
            }
            for (kind, id) in [(SiteKind::Heap, OTHER_HEAP), (SiteKind::Mmap, OTHER_MMAP)] {
                let delta = pending(&self.others, &self.beyond, &self.beyond_written, kind);
                if delta != Counts::ZERO && definer.others(kind).is_ok() {
                    let delta = delta.delta(id);
                    writer.push(&delta).map_err(|_| Failure::Full)?;
                    temporary.push(&delta).map_err(|_| Failure::Full)?;
                    if let Some(included) = pass.others.get_mut(place(kind)) {
                        *included = true;
                    }
                }
            }
        }
        pass.len = len.get();
        pass.temporary_len = temporary_len.get();
        Ok(pass)
    }

    /// Sees to a definition of a site that has not changed, but of which something else is to be told.
    pub fn define(
        &mut self,
        id: u32,
        source: &impl Source,
        definer: &mut impl Definer,
    ) -> Result<(), Failure> {
        let place = (id as usize).checked_sub(1);
        match place.and_then(|place| self.known.get_mut(place)) {
            Some(known) if known.standing == Standing::New => {
                known.define(id, &source.counts(id), definer)
            }
            _ => Ok(()),
        }
    }

    /// Puts `head` before the changes of the last pass. Returns the record with `front` bytes before
    /// it, and its length. Sites tell what was temporary if the process does.
    pub fn record(
        &mut self,
        head: &SnapshotHead,
        front: usize,
        pass: &Pass,
    ) -> Result<(&mut [u8], usize), Full> {
        let list = self.temporary.as_slice().get(..pass.temporary_len);
        let list = list.filter(|_| head.temporary.is_some());
        let mut len = Measure::default();
        encode_snapshot(head, list, &mut len)?;
        let before = (self.start.checked_sub(len.0 + front)).ok_or(Full)?;
        let record = self.buffer.as_mut_slice().get_mut(before..).ok_or(Full)?;
        let room = record.get_mut(front..front + len.0).ok_or(Full)?;
        encode_snapshot(head, list, &mut SliceSink::new(room))?;
        Ok((record, len.0 + pass.len))
    }

    /// The record of this pass is in the file.
    pub fn written(&mut self, pass: &Pass) {
        for (at, included) in pass.others.iter().enumerate() {
            if *included
                && let Some(others) = self.others.get_mut(at)
                && let Some(beyond) = self.beyond_written.get_mut(at)
            {
                *others = Counts::ZERO;
                *beyond = self.beyond.get(at).copied().unwrap_or_default();
            }
        }
    }

    /// The record of this pass found no room: its changes are still to be written.
    pub fn take_back(&mut self, pass: &Pass) {
        let deltas = self
            .buffer
            .as_slice()
            .get(self.start..self.start + pass.len)
            .unwrap_or_default();
        for delta in (Snapshot {
            head: SnapshotHead::default(),
            temporary: self.temporary.as_slice().get(..pass.temporary_len),
            deltas,
        })
        .deltas()
        {
            if let Some(known) = self.known.get_mut(delta.site as usize - 1) {
                known.counts = known.counts.since(&delta.into());
            }
        }
    }
}

/// What the others did that is not written.
fn pending(others: &Sums, beyond: &Sums, beyond_written: &Sums, kind: SiteKind) -> Counts {
    let of = |sums: &Sums| sums.get(place(kind)).copied().unwrap_or_default();
    let mut counts = of(beyond).since(&of(beyond_written));
    counts.add(&of(others));
    counts
}

impl Known {
    /// Sees to a definition, where there is none.
    fn define(
        &mut self,
        id: u32,
        counts: &Counts,
        definer: &mut impl Definer,
    ) -> Result<(), Failure> {
        if self.standing == Standing::Defined {
            return Ok(());
        }
        let again = self.standing == Standing::Other;
        self.standing = match definer.site(id, counts.live_bytes(), again) {
            Ok(()) => Standing::Defined,
            Err(Failure::Full) => Standing::Other,
            Err(other) => return Err(other),
        };
        Ok(())
    }
}

/// Fills a slice; its length can be seen from outside.
struct Area<'a> {
    bytes: &'a mut [u8],
    len: &'a Cell<usize>,
}

impl Sink for Area<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.len.get().checked_add(bytes.len()).ok_or(Full)?;
        self.bytes
            .get_mut(self.len.get()..end)
            .ok_or(Full)?
            .copy_from_slice(bytes);
        self.len.set(end);
        Ok(())
    }
}
