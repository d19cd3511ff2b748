//! Owns the encoding of records: a tag byte and the fields.
//!
//! Readers ignore bytes after the last field they know, so that a newer minor version can add
//! fields at the end.

mod account;
mod defs;
mod faults;
mod process;
mod scan;
mod spread;
mod state;
mod system;

use crate::account::{ArenaWriter, ResidencyWriter};
use crate::code::Code;
use crate::deltas::{AgeWriter, DeltaWriter, FaultWriter, LossWriter};
use crate::fields::{Input, Output};
use crate::header::SegmentKind;
use crate::lifetimes::{self, LifetimesHead, LifetimesWriter};
use crate::places::{self, AreaWriter, AreasHead, BlockWriter, BlocksHead};
use crate::sink::{Full, Measure, Sink, WriteError};
use crate::sizes::{self, SizesWriter};
use crate::spread::{SpreadWriter, SpreadsHead};
use crate::types::{EndKind, EventKind, Faults, Record, SnapshotHead, TimeMs};
pub(crate) use state::PutTemporary;

/// The first byte of a record. Numbers are never used again for something else.
mod tag {
    pub const PROCESS: u8 = 1;
    pub const ARG: u8 = 2;
    pub const LABEL: u8 = 3;
    pub const ENV: u8 = 4;
    pub const MODULE: u8 = 5;
    pub const MODULE_GONE: u8 = 6;
    pub const NODE: u8 = 7;
    pub const SITE: u8 = 8;
    pub const THREAD: u8 = 9;
    pub const SNAPSHOT: u8 = 10;
    pub const AGES: u8 = 11;
    pub const EVENT: u8 = 12;
    pub const END: u8 = 13;
    pub const SPREADS: u8 = 14;
    pub const LIFETIMES: u8 = 18;
    pub const SIZES: u8 = 19;
    pub const ACCOUNT: u8 = 20;
    pub const RESIDENCY: u8 = 21;
    pub const ARENAS: u8 = 22;
    pub const AREAS: u8 = 23;
    pub const BLOCKS: u8 = 24;
    pub const SCAN: u8 = 30;
    pub const LOSSES: u8 = 31;
    pub const FAULTS: u8 = 25;
    pub const CODE: u8 = 40;
    pub const CONTENT: u8 = 41;
}

/// Writes one record, without a frame.
pub fn encode(record: &Record<'_>, sink: &mut dyn Sink) -> Result<(), Full> {
    let mut out = Output(sink);
    match record {
        Record::Process(process) => {
            out.byte(tag::PROCESS)?;
            process::put(process, &mut out)
        }
        Record::Arg(arg) => {
            out.byte(tag::ARG)?;
            out.bytes(arg)
        }
        Record::Label { key, value } => {
            out.byte(tag::LABEL)?;
            out.bytes(key)?;
            out.bytes(value)
        }
        Record::Env { name, value } => {
            out.byte(tag::ENV)?;
            out.bytes(name)?;
            out.bytes(value)
        }
        Record::Module(module) => {
            out.byte(tag::MODULE)?;
            defs::put_module(module, &mut out)
        }
        Record::ModuleGone { id, at_ms } => {
            out.byte(tag::MODULE_GONE)?;
            out.varint(*id)?;
            out.varint(*at_ms)
        }
        Record::Node(node) => {
            out.byte(tag::NODE)?;
            defs::put_node(node, &mut out)
        }
        Record::Site(site) => {
            out.byte(tag::SITE)?;
            defs::put_site(site, &mut out)
        }
        Record::Content { module, hash } => {
            out.byte(tag::CONTENT)?;
            out.varint(*module)?;
            out.varint(*hash)
        }
        Record::Code(code) => {
            out.byte(tag::CODE)?;
            out.bytes(code.name)?;
            sink.put(code.nodes)
        }
        Record::Thread { tid, name } => {
            out.byte(tag::THREAD)?;
            out.varint(*tid)?;
            out.bytes(name)
        }
        Record::Snapshot(snapshot) => {
            encode_snapshot(&snapshot.head, snapshot.temporary, sink)?;
            sink.put(snapshot.deltas)
        }
        Record::Ages(ages) => {
            encode_ages(ages.at_ms, sink)?;
            sink.put(ages.ages)
        }
        Record::Account(account) => {
            out.byte(tag::ACCOUNT)?;
            account::put_head(account, &mut out)?;
            sink.put(account.parts)
        }
        Record::Residency(residency) => {
            encode_residency(residency.at_ms, sink)?;
            sink.put(residency.sites)
        }
        Record::Arenas(arenas) => {
            encode_arenas(arenas.at_ms, sink)?;
            sink.put(arenas.arenas)
        }
        Record::Areas(areas) => {
            encode_areas(&areas.head, sink)?;
            sink.put(areas.areas)
        }
        Record::Blocks(blocks) => {
            encode_blocks(&blocks.head, sink)?;
            sink.put(blocks.blocks)
        }
        Record::Lifetimes(lifetimes) => {
            encode_lifetimes(&lifetimes.head, sink)?;
            sink.put(lifetimes.lifetimes)
        }
        Record::Sizes(all) => {
            encode_sizes(all.at_ms, all.least_allocations, sink)?;
            sink.put(all.sizes)
        }
        Record::Scan(scan) => {
            out.byte(tag::SCAN)?;
            scan::put(scan, &mut out)
        }
        Record::Losses(losses) => {
            encode_losses(losses.at_ms, sink)?;
            sink.put(losses.losses)
        }
        Record::Spreads(spreads) => {
            encode_spreads(&spreads.head, sink)?;
            sink.put(spreads.spreads)
        }
        Record::Faults(faults) => {
            encode_faults(faults, sink)?;
            sink.put(faults.sites)
        }
        Record::Event { at_ms, kind, text } => {
            out.byte(tag::EVENT)?;
            out.varint(*at_ms)?;
            out.byte(event_byte(*kind))?;
            out.bytes(text)
        }
        Record::End {
            at_ms,
            kind,
            status,
        } => {
            out.byte(tag::END)?;
            out.varint(*at_ms)?;
            out.byte(match kind {
                EndKind::Exit => 0,
                EndKind::FastExit => 1,
            })?;
            out.signed(i64::from(*status))
        }
    }
}

/// Begins a [`Record::Snapshot`]: writes its head, with the packed temporary blocks of sites, and
/// returns the writer for its deltas, so that they need not be packed elsewhere first.
pub fn encode_snapshot<'a>(
    head: &SnapshotHead,
    temporary: Option<&[u8]>,
    sink: &'a mut dyn Sink,
) -> Result<DeltaWriter<'a>, Full> {
    let list = temporary.unwrap_or_default();
    let put = |sink: &mut dyn Sink| Ok(sink.put(list)?);
    let put: PutTemporary<'_> = &put;
    // Bytes are never in disorder.
    encode_snapshot_with(head, temporary.map(|_| put), sink).map_err(|_| Full)
}

/// The same with temporary blocks that are packed as they are written, which is done several times.
pub(crate) fn encode_snapshot_with<'a>(
    head: &SnapshotHead,
    temporary: Option<PutTemporary<'_>>,
    sink: &'a mut dyn Sink,
) -> Result<DeltaWriter<'a>, WriteError> {
    let mut out = Output(sink);
    out.byte(tag::SNAPSHOT)?;
    state::put_head(head, temporary, &mut out)?;
    Ok(DeltaWriter::new(sink))
}

/// Begins a [`Record::Ages`], see [`encode_snapshot`].
pub fn encode_ages(at_ms: TimeMs, sink: &mut dyn Sink) -> Result<AgeWriter<'_>, Full> {
    let mut out = Output(sink);
    out.byte(tag::AGES)?;
    state::put_ages_head(at_ms, &mut out)?;
    Ok(AgeWriter::new(sink))
}

/// Begins a [`Record::Residency`], see [`encode_snapshot`].
pub fn encode_residency(at_ms: TimeMs, sink: &mut dyn Sink) -> Result<ResidencyWriter<'_>, Full> {
    let mut out = Output(sink);
    out.byte(tag::RESIDENCY)?;
    account::put_moment(at_ms, &mut out)?;
    Ok(ResidencyWriter::new(sink))
}

/// Begins a [`Record::Arenas`], see [`encode_snapshot`].
pub fn encode_arenas(at_ms: TimeMs, sink: &mut dyn Sink) -> Result<ArenaWriter<'_>, Full> {
    let mut out = Output(sink);
    out.byte(tag::ARENAS)?;
    account::put_moment(at_ms, &mut out)?;
    Ok(ArenaWriter::new(sink))
}

/// Begins a [`Record::Areas`], see [`encode_snapshot`].
pub fn encode_areas<'a>(head: &AreasHead, sink: &'a mut dyn Sink) -> Result<AreaWriter<'a>, Full> {
    let mut len = Measure::default();
    places::put_areas_head(head, &mut Output(&mut len))?;
    let mut out = Output(sink);
    out.byte(tag::AREAS)?;
    out.varint(len.0 as u64)?;
    places::put_areas_head(head, &mut out)?;
    Ok(AreaWriter::new(sink))
}

/// Begins a [`Record::Blocks`], see [`encode_snapshot`].
pub fn encode_blocks<'a>(
    head: &BlocksHead,
    sink: &'a mut dyn Sink,
) -> Result<BlockWriter<'a>, Full> {
    let mut len = Measure::default();
    places::put_blocks_head(head, &mut Output(&mut len))?;
    let mut out = Output(sink);
    out.byte(tag::BLOCKS)?;
    out.varint(len.0 as u64)?;
    places::put_blocks_head(head, &mut out)?;
    Ok(BlockWriter::new(sink))
}

/// Begins a [`Record::Lifetimes`], see [`encode_snapshot`].
pub fn encode_lifetimes<'a>(
    head: &LifetimesHead,
    sink: &'a mut dyn Sink,
) -> Result<LifetimesWriter<'a>, Full> {
    let mut out = Output(sink);
    out.byte(tag::LIFETIMES)?;
    lifetimes::put_head(head, &mut out)?;
    Ok(LifetimesWriter::new(sink))
}

/// Begins a [`Record::Sizes`], see [`encode_snapshot`].
pub fn encode_sizes(
    at_ms: TimeMs,
    least_allocations: u64,
    sink: &mut dyn Sink,
) -> Result<SizesWriter<'_>, Full> {
    let mut out = Output(sink);
    out.byte(tag::SIZES)?;
    sizes::put_head(at_ms, least_allocations, &mut out)?;
    Ok(SizesWriter::new(sink))
}

/// Begins a [`Record::Losses`], see [`encode_snapshot`].
pub fn encode_losses(at_ms: TimeMs, sink: &mut dyn Sink) -> Result<LossWriter<'_>, Full> {
    let mut out = Output(sink);
    out.byte(tag::LOSSES)?;
    scan::put_losses_head(at_ms, &mut out)?;
    Ok(LossWriter::new(sink))
}

/// Begins a [`Record::Spreads`], see [`encode_snapshot`].
pub fn encode_spreads<'a>(
    head: &SpreadsHead,
    sink: &'a mut dyn Sink,
) -> Result<SpreadWriter<'a>, Full> {
    let mut out = Output(sink);
    out.byte(tag::SPREADS)?;
    spread::put_head(head, &mut out)?;
    Ok(SpreadWriter::new(sink))
}

/// Begins a [`Record::Faults`], see [`encode_snapshot`]; the sites of `faults` are not looked at.
pub fn encode_faults<'a>(
    faults: &Faults<'_>,
    sink: &'a mut dyn Sink,
) -> Result<FaultWriter<'a>, Full> {
    let mut out = Output(sink);
    out.byte(tag::FAULTS)?;
    faults::put_head(faults, &mut out)?;
    Ok(FaultWriter::new(sink))
}

/// A record that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads one record without its frame; `Ok(None)` if a newer version added its tag.
pub(crate) fn decode(payload: &[u8]) -> Result<Option<Record<'_>>, Malformed> {
    let mut input = Input(payload);
    let tag = input.byte().ok_or(Malformed)?;
    let known = matches!(
        tag,
        tag::PROCESS..=tag::SPREADS
            | tag::LIFETIMES
            | tag::SIZES
            | tag::ACCOUNT..=tag::FAULTS
            | tag::SCAN
            | tag::LOSSES
            | tag::CODE
            | tag::CONTENT
    );
    if !known {
        return Ok(None);
    }
    decode_tagged(tag, input).map(Some).ok_or(Malformed)
}

fn decode_tagged<'a>(tag: u8, mut input: Input<'a>) -> Option<Record<'a>> {
    let input = &mut input;
    Some(match tag {
        tag::PROCESS => Record::Process(process::get(input)?),
        tag::ARG => Record::Arg(input.bytes()?),
        tag::LABEL => Record::Label {
            key: input.bytes()?,
            value: input.bytes()?,
        },
        tag::ENV => Record::Env {
            name: input.bytes()?,
            value: input.bytes()?,
        },
        tag::MODULE => Record::Module(defs::get_module(input)?),
        tag::MODULE_GONE => Record::ModuleGone {
            id: input.u32()?,
            at_ms: input.varint()?,
        },
        tag::NODE => Record::Node(defs::get_node(input)?),
        tag::SITE => Record::Site(defs::get_site(input)?),
        tag::CODE => Record::Code(get_code(input)?),
        tag::CONTENT => Record::Content {
            module: input.u32()?,
            hash: input.varint()?,
        },
        tag::THREAD => Record::Thread {
            tid: input.u32()?,
            name: input.bytes()?,
        },
        tag::SNAPSHOT => Record::Snapshot(state::get_snapshot(input)?),
        tag::AGES => Record::Ages(state::get_ages(input)?),
        tag::ACCOUNT => Record::Account(account::get(input)?),
        tag::RESIDENCY => Record::Residency(account::get_residency(input)?),
        tag::ARENAS => Record::Arenas(account::get_arenas(input)?),
        tag::AREAS => Record::Areas(places::get_areas(input)?),
        tag::BLOCKS => Record::Blocks(places::get_blocks(input)?),
        tag::LIFETIMES => Record::Lifetimes(lifetimes::get_lifetimes(input)?),
        tag::SIZES => Record::Sizes(sizes::get_sizes(input)?),
        tag::SCAN => Record::Scan(scan::get(input)?),
        tag::LOSSES => Record::Losses(scan::get_losses(input)?),
        tag::SPREADS => Record::Spreads(spread::get(input)?),
        tag::FAULTS => Record::Faults(faults::get(input)?),
        tag::EVENT => Record::Event {
            at_ms: input.varint()?,
            kind: event_kind(input.byte()?),
            text: input.bytes()?,
        },
        tag::END => Record::End {
            at_ms: input.varint()?,
            kind: match input.byte()? {
                0 => EndKind::Exit,
                1 => EndKind::FastExit,
                _ => return None,
            },
            status: i32::try_from(input.signed()?).ok()?,
        },
        _ => return None,
    })
}

impl Record<'_> {
    /// The kind of segment that this record belongs in. Readers leave it out of any other.
    pub fn segment_kind(&self) -> SegmentKind {
        match self {
            Record::Process(_)
            | Record::Arg(_)
            | Record::Label { .. }
            | Record::Env { .. }
            | Record::Module(_)
            | Record::ModuleGone { .. }
            | Record::Node(_)
            | Record::Site(_)
            | Record::Code(_)
            | Record::Content { .. }
            | Record::Thread { .. } => SegmentKind::Defs,
            Record::Snapshot(_) => SegmentKind::Snapshots,
            Record::Ages(_)
            | Record::Spreads(_)
            | Record::Lifetimes(_)
            | Record::Sizes(_)
            | Record::Residency(_)
            | Record::Arenas(_)
            | Record::Areas(_)
            | Record::Blocks(_)
            | Record::Faults(_)
            | Record::Losses(_) => SegmentKind::Ages,
            Record::Event { .. } | Record::End { .. } | Record::Account(_) | Record::Scan(_) => {
                SegmentKind::Events
            }
        }
    }
}

fn get_code<'a>(input: &mut Input<'a>) -> Option<Code<'a>> {
    let name = input.bytes()?;
    let code = Code {
        name,
        nodes: input.0,
    };
    code.nodes().ends_well().then_some(code)
}

fn event_byte(kind: EventKind) -> u8 {
    match kind {
        EventKind::Mark => 0,
        EventKind::Alert => 1,
        EventKind::Scan => 2,
        EventKind::Enable => 3,
        EventKind::Disable => 4,
        EventKind::Dlopen => 5,
        EventKind::Limit => 6,
        EventKind::Exec => 7,
        EventKind::Note => 8,
    }
}

/// A kind that a newer version added reads as a note: its text still says what happened.
fn event_kind(byte: u8) -> EventKind {
    match byte {
        0 => EventKind::Mark,
        1 => EventKind::Alert,
        2 => EventKind::Scan,
        3 => EventKind::Enable,
        4 => EventKind::Disable,
        5 => EventKind::Dlopen,
        6 => EventKind::Limit,
        7 => EventKind::Exec,
        _ => EventKind::Note,
    }
}
