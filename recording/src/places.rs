//! Owns the records that tell where things lie: the areas of the address space, and single live
//! blocks.
//! It must never hold more than its writer chose: both lists are bounded, and say of how many.

use crate::fields::{Input, Output};
use crate::sink::{Full, Sink, WriteError};
use crate::types::TimeMs;

/// Areas lie at multiples of this.
pub const AREA_BYTES: u64 = 4096;

/// What areas are. The numbers only grow.
pub mod area {
    /// A heap of the allocator; `which` is its arena, 0 where that is not known.
    pub const HEAP: u32 = 1;
    /// Blocks of the allocator with pages of their own; `which` is the site of all of them, if it is
    /// one.
    pub const LARGE_BLOCKS: u32 = 2;
    /// A mapping of the program's; `which` is its site.
    pub const MAPPING: u32 = 3;
    /// A thread's stack with its guard; `which` is the thread, if it is known.
    pub const STACK: u32 = 4;
    /// The executable or a library; `which` is the module.
    pub const MODULE: u32 = 5;
    /// Another file; it has a name.
    pub const FILE: u32 = 6;
    /// Shared memory; it may have a name.
    pub const SHARED_MEMORY: u32 = 7;
    /// leaktrack's own.
    pub const OWN: u32 = 8;
    /// Heap of the Go runtime.
    pub const GO: u32 = 9;
    /// Heap of V8.
    pub const V8: u32 = 10;
    /// Heap of a JVM.
    pub const JVM: u32 = 11;
    /// Another mapping that its owner named.
    pub const NAMED: u32 = 12;
    /// Pages that the kernel puts there.
    pub const KERNEL: u32 = 13;
    /// Nobody wrote down what it is.
    pub const UNKNOWN: u32 = 14;
    /// Small areas of several kinds, for want of room told as one.
    pub const SEVERAL: u32 = 15;
}

/// A moment's address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Areas<'a> {
    /// The sums.
    pub head: AreasHead,
    /// Encoded [`Area`]s, ascending; read with `areas()`.
    pub areas: &'a [u8],
}

/// What is true of all areas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AreasHead {
    /// When.
    pub at_ms: TimeMs,
    /// There was no memory to look at all of them.
    pub incomplete: bool,
}

/// A range of addresses that is one thing, or several of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area<'a> {
    /// First address, in units of [`AREA_BYTES`].
    pub start: u64,
    /// Length, in these units, from its first to its last address.
    pub pages: u64,
    /// What, see [`area`].
    pub kind: u32,
    /// Which of its kind; 0: unknown, or several.
    pub which: u32,
    /// Pages resident.
    pub resident_pages: u64,
    /// Pages swapped out.
    pub swapped_pages: u64,
    /// Pages between its first and last address that are not mapped.
    pub gap_pages: u64,
    /// Ranges that it was made of.
    pub ranges: u32,
    /// Path of a file, or a name that its owner gave; may be empty.
    pub name: &'a [u8],
}

impl Area<'_> {
    /// One past its last page; `None` if there is no such number.
    fn end(&self) -> Option<u64> {
        self.start.checked_add(self.pages)
    }
}

/// Single live blocks at a moment: some of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a> {
    /// What they were chosen from.
    pub head: BlocksHead,
    /// Encoded [`LiveBlock`]s, ascending by address; read with `blocks()`.
    pub blocks: &'a [u8],
}

/// What blocks were chosen from, and how: of `sites_looked_at` sites, those with most live bytes,
/// each `largest` largest and `oldest` oldest blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlocksHead {
    /// When.
    pub at_ms: TimeMs,
    /// Not every live block was known or looked at.
    pub incomplete: bool,
    /// Live blocks and mappings that were there to choose from, those of other sites among them.
    pub known_blocks: u64,
    /// Their bytes.
    pub known_bytes: u64,
    /// Sites with live blocks.
    pub sites: u64,
    /// Sites from which blocks were chosen.
    pub sites_looked_at: u64,
    /// The largest of each, so many at most.
    pub largest: u64,
    /// The oldest of each, so many at most.
    pub oldest: u64,
}

/// A live block, or a mapping of the program's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveBlock {
    /// Its address.
    pub address: u64,
    /// Bytes asked for.
    pub bytes: u64,
    /// Site id.
    pub site: u32,
    /// Age.
    pub age_ms: u64,
    /// Of its bytes, resident.
    pub resident_bytes: u64,
}

/// Packs [`Area`]s.
pub struct AreaWriter<'a> {
    sink: &'a mut dyn Sink,
    end: u64,
}

impl<'a> AreaWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        AreaWriter { sink, end: 0 }
    }

    /// Appends one; they must ascend and not overlap. After an error the sink is to be thrown away.
    pub fn push(&mut self, area: &Area<'_>) -> Result<(), WriteError> {
        let gap = area.start.checked_sub(self.end);
        let (Some(gap), Some(end), Some(more)) = (gap, area.end(), area.ranges.checked_sub(1))
        else {
            return Err(WriteError::Disorder);
        };
        self.end = end;
        let mut out = Output(self.sink);
        out.varints(&[
            gap,
            area.pages,
            u64::from(area.kind),
            u64::from(area.which),
            area.resident_pages,
            area.swapped_pages,
            area.gap_pages,
            u64::from(more),
        ])?;
        Ok(out.bytes(area.name)?)
    }
}

/// The [`Area`]s of a record, ascending.
#[derive(Clone, Debug)]
pub struct AreaList<'a> {
    input: Input<'a>,
    end: u64,
}

impl AreaList<'_> {
    /// True at the end of a well-formed list, false where it stopped at malformed bytes.
    pub(crate) fn ends_well(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.input.is_empty()
    }
}

impl<'a> Iterator for AreaList<'a> {
    type Item = Area<'a>;

    fn next(&mut self) -> Option<Area<'a>> {
        let mut ahead = self.input;
        let [
            gap,
            pages,
            kind,
            which,
            resident_pages,
            swapped_pages,
            gap_pages,
            more,
        ] = ahead.varints()?;
        let area = Area {
            start: self.end.checked_add(gap)?,
            pages,
            kind: u32::try_from(kind).ok()?,
            which: u32::try_from(which).ok()?,
            resident_pages,
            swapped_pages,
            gap_pages,
            ranges: u32::try_from(more).ok()?.checked_add(1)?,
            name: ahead.bytes()?,
        };
        // Its last address must be one.
        area.end()?.checked_mul(AREA_BYTES)?;
        self.end = area.end()?;
        self.input = ahead;
        Some(area)
    }
}

impl<'a> Areas<'a> {
    /// The areas. Of a record that a reader returned the list is whole.
    pub fn areas(&self) -> AreaList<'a> {
        AreaList {
            input: Input(self.areas),
            end: 0,
        }
    }
}

/// Packs [`LiveBlock`]s.
pub struct BlockWriter<'a> {
    sink: &'a mut dyn Sink,
    last: u64,
}

impl<'a> BlockWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        BlockWriter { sink, last: 0 }
    }

    /// Appends one; addresses must ascend. After an error the sink is to be thrown away.
    pub fn push(&mut self, block: &LiveBlock) -> Result<(), WriteError> {
        let step = block
            .address
            .checked_sub(self.last)
            .filter(|step| *step > 0);
        let step = step.ok_or(WriteError::Disorder)?;
        self.last = block.address;
        Ok(Output(self.sink).varints(&[
            step,
            block.bytes,
            u64::from(block.site),
            block.age_ms,
            block.resident_bytes,
        ])?)
    }
}

/// The [`LiveBlock`]s of a record, ascending by address.
#[derive(Clone, Debug)]
pub struct BlockList<'a> {
    input: Input<'a>,
    last: u64,
}

impl BlockList<'_> {
    /// True at the end of a well-formed list, false where it stopped at malformed bytes.
    pub(crate) fn ends_well(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.input.is_empty()
    }
}

impl Iterator for BlockList<'_> {
    type Item = LiveBlock;

    fn next(&mut self) -> Option<LiveBlock> {
        let mut ahead = self.input;
        let [step, bytes, site, age_ms, resident_bytes] = ahead.varints()?;
        let block = LiveBlock {
            address: self.last.checked_add(step).filter(|_| step > 0)?,
            bytes,
            site: u32::try_from(site).ok()?,
            age_ms,
            resident_bytes,
        };
        self.last = block.address;
        self.input = ahead;
        Some(block)
    }
}

impl<'a> Blocks<'a> {
    /// The blocks; see [`Areas::areas`].
    pub fn blocks(&self) -> BlockList<'a> {
        BlockList {
            input: Input(self.blocks),
            last: 0,
        }
    }
}

const INCOMPLETE: u8 = 1;

fn flags(incomplete: bool) -> u8 {
    match incomplete {
        true => INCOMPLETE,
        false => 0,
    }
}

pub(crate) fn put_areas_head(head: &AreasHead, out: &mut Output<'_>) -> Result<(), Full> {
    out.byte(flags(head.incomplete))?;
    out.varint(head.at_ms)
}

pub(crate) fn get_areas<'a>(input: &mut Input<'a>) -> Option<Areas<'a>> {
    let fields = &mut Input(input.bytes()?);
    let flags = fields.byte()?;
    let areas = Areas {
        head: AreasHead {
            at_ms: fields.varint()?,
            incomplete: flags & INCOMPLETE != 0,
        },
        areas: input.0,
    };
    areas.areas().ends_well().then_some(areas)
}

pub(crate) fn put_blocks_head(head: &BlocksHead, out: &mut Output<'_>) -> Result<(), Full> {
    out.byte(flags(head.incomplete))?;
    out.varints(&[
        head.at_ms,
        head.known_blocks,
        head.known_bytes,
        head.sites,
        head.sites_looked_at,
        head.largest,
        head.oldest,
    ])
}

pub(crate) fn get_blocks<'a>(input: &mut Input<'a>) -> Option<Blocks<'a>> {
    let fields = &mut Input(input.bytes()?);
    let flags = fields.byte()?;
    let [
        at_ms,
        known_blocks,
        known_bytes,
        sites,
        sites_looked_at,
        largest,
        oldest,
    ] = fields.varints()?;
    let blocks = Blocks {
        head: BlocksHead {
            at_ms,
            incomplete: flags & INCOMPLETE != 0,
            known_blocks,
            known_bytes,
            sites,
            sites_looked_at,
            largest,
            oldest,
        },
        blocks: input.0,
    };
    blocks.blocks().ends_well().then_some(blocks)
}
