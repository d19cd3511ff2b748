//! Owns the fields of [`Snapshot`] and [`Ages`]: a head, whose length stands before it so that it
//! can grow, and the packed list that fills the rest of the record.

use super::system;
use crate::deltas::temporary_is_whole;
use crate::fields::{Input, Output};
use crate::sink::{Full, Measure, Sink, WriteError};
use crate::types::{
    Ages, AllocatorStats, Coverage, RssPeak, Sampling, Snapshot, SnapshotHead, TimeMs, Totals,
};

const HAS_LIMIT: u8 = 1;
const HAS_ALLOCATOR: u8 = 2;
const LIMITS_ADDRESS_SPACE: u8 = 4;
const HAS_SYSTEM: u8 = 8;
const HAS_SAMPLING: u8 = 16;
const HAS_RSS_PEAK: u8 = 32;
const HAS_TEMPORARY: u8 = 64;
const HAS_TEMPORARY_OF_SITES: u8 = 128;

/// Writes the packed temporary blocks of sites.
pub(crate) type PutTemporary<'a> = &'a dyn Fn(&mut dyn Sink) -> Result<(), WriteError>;

pub(super) fn put_head(
    head: &SnapshotHead,
    temporary: Option<PutTemporary<'_>>,
    out: &mut Output<'_>,
) -> Result<(), WriteError> {
    let mut len = Measure::default();
    put_head_fields(head, temporary, &mut Output(&mut len))?;
    out.varint(len.0 as u64)?;
    put_head_fields(head, temporary, out)
}

fn put_head_fields(
    head: &SnapshotHead,
    put_temporary: Option<PutTemporary<'_>>,
    out: &mut Output<'_>,
) -> Result<(), WriteError> {
    let limit = if head.limit_bytes.is_some() {
        HAS_LIMIT
    } else {
        0
    };
    let allocator = if head.allocator.is_some() {
        HAS_ALLOCATOR
    } else {
        0
    };
    let space = if head.limit_is_address_space {
        LIMITS_ADDRESS_SPACE
    } else {
        0
    };
    let system = if head.system.is_some() { HAS_SYSTEM } else { 0 };
    let sampling = if head.sampling.is_some() {
        HAS_SAMPLING
    } else {
        0
    };
    let peak = if head.rss_peak.is_some() {
        HAS_RSS_PEAK
    } else {
        0
    };
    let temporary = if head.temporary.is_some() {
        HAS_TEMPORARY
    } else {
        0
    };
    let of_sites = if put_temporary.is_some() {
        HAS_TEMPORARY_OF_SITES
    } else {
        0
    };
    out.byte(limit | allocator | space | system | sampling | peak | temporary | of_sites)?;
    out.varints(&[
        head.index,
        u64::from(head.merged),
        head.at_ms,
        head.rss_bytes,
        head.vm_bytes,
        head.swap_bytes,
        head.minor_faults,
        head.major_faults,
        u64::from(head.threads),
    ])?;
    let t = &head.totals;
    out.varints(&[
        t.allocations,
        t.frees,
        t.allocated_bytes,
        t.freed_bytes,
        t.peak_live_bytes,
        t.peak_at_ms,
        t.mappings,
        t.mapped_bytes,
        t.brk_bytes,
    ])?;
    let c = &head.coverage;
    out.varints(&[
        c.unknown_frees,
        c.dropped,
        c.nested,
        c.replaced,
        c.cut_stacks,
        c.folded_stacks,
        c.broken_stacks,
        c.inherited_freed_blocks,
        c.inherited_freed_bytes,
    ])?;
    out.varints(&[head.own_memory_bytes, head.own_cpu_ms])?;
    if let Some(limit_bytes) = head.limit_bytes {
        out.varint(limit_bytes)?;
    }
    if let Some(a) = &head.allocator {
        out.varints(&[a.held_bytes, a.free_bytes, a.releasable_bytes])?;
    }
    if let Some(figures) = &head.system {
        system::put(figures, out)?;
    }
    if let Some(sampling) = &head.sampling {
        out.varints(&[
            sampling.mean_bytes,
            sampling.hooks_cpu_us,
            sampling.program_cpu_us,
        ])?;
    }
    if let Some(peak) = &head.rss_peak {
        out.varints(&[peak.bytes, peak.at_ms])?;
    }
    if let Some(temporary) = head.temporary {
        out.varint(temporary)?;
    }
    if let Some(put) = put_temporary {
        let mut len = Measure::default();
        put(&mut len)?;
        out.varint(len.0 as u64)?;
        put(out.0)?;
    }
    Ok(())
}

/// Takes the head and what sites had temporary off `input` and leaves the deltas.
fn get_head<'a>(input: &mut Input<'a>) -> Option<(SnapshotHead, Option<&'a [u8]>)> {
    let input = &mut Input(input.bytes()?);
    let flags = input.byte()?;
    let [
        index,
        merged,
        at_ms,
        rss_bytes,
        vm_bytes,
        swap_bytes,
        minor_faults,
        major_faults,
        threads,
    ] = input.varints()?;
    let totals = {
        let [
            allocations,
            frees,
            allocated_bytes,
            freed_bytes,
            peak_live_bytes,
            peak_at_ms,
            mappings,
            mapped_bytes,
            brk_bytes,
        ] = input.varints()?;
        Totals {
            allocations,
            frees,
            allocated_bytes,
            freed_bytes,
            peak_live_bytes,
            peak_at_ms,
            mappings,
            mapped_bytes,
            brk_bytes,
        }
    };
    let coverage = {
        let [
            unknown_frees,
            dropped,
            nested,
            replaced,
            cut_stacks,
            folded_stacks,
            broken_stacks,
            inherited_freed_blocks,
            inherited_freed_bytes,
        ] = input.varints()?;
        Coverage {
            unknown_frees,
            dropped,
            nested,
            replaced,
            cut_stacks,
            folded_stacks,
            broken_stacks,
            inherited_freed_blocks,
            inherited_freed_bytes,
        }
    };
    // The range of indices must end somewhere.
    index.checked_add(merged.max(1))?;
    let [own_memory_bytes, own_cpu_ms] = input.varints()?;
    let limit_bytes = if flags & HAS_LIMIT != 0 {
        Some(input.varint()?)
    } else {
        None
    };
    let allocator = if flags & HAS_ALLOCATOR != 0 {
        let [held_bytes, free_bytes, releasable_bytes] = input.varints()?;
        Some(AllocatorStats {
            held_bytes,
            free_bytes,
            releasable_bytes,
        })
    } else {
        None
    };
    let system = if flags & HAS_SYSTEM != 0 {
        Some(system::get(input)?)
    } else {
        None
    };
    let sampling = if flags & HAS_SAMPLING != 0 {
        let [mean_bytes, hooks_cpu_us, program_cpu_us] = input.varints()?;
        Some(Sampling {
            mean_bytes,
            hooks_cpu_us,
            program_cpu_us,
        })
    } else {
        None
    };
    let rss_peak = if flags & HAS_RSS_PEAK != 0 {
        let [bytes, at_ms] = input.varints()?;
        Some(RssPeak { bytes, at_ms })
    } else {
        None
    };
    let temporary = if flags & HAS_TEMPORARY != 0 {
        Some(input.varint()?)
    } else {
        None
    };
    let of_sites = if flags & HAS_TEMPORARY_OF_SITES != 0 {
        Some(input.bytes()?)
    } else {
        None
    };
    let head = SnapshotHead {
        index,
        merged: u32::try_from(merged).ok()?,
        at_ms,
        rss_bytes,
        vm_bytes,
        swap_bytes,
        minor_faults,
        major_faults,
        threads: u32::try_from(threads).ok()?,
        limit_bytes,
        limit_is_address_space: flags & LIMITS_ADDRESS_SPACE != 0,
        totals,
        coverage,
        own_memory_bytes,
        own_cpu_ms,
        allocator,
        system,
        sampling,
        rss_peak,
        temporary,
    };
    Some((head, of_sites))
}

pub(super) fn get_snapshot<'a>(input: &mut Input<'a>) -> Option<Snapshot<'a>> {
    let (head, temporary) = get_head(input)?;
    let snapshot = Snapshot {
        head,
        temporary,
        deltas: input.0,
    };
    let is_whole = temporary.is_none_or(temporary_is_whole) && snapshot.deltas().ends_well();
    is_whole.then_some(snapshot)
}

pub(super) fn put_ages_head(at_ms: TimeMs, out: &mut Output<'_>) -> Result<(), Full> {
    let mut len = Measure::default();
    Output(&mut len).varint(at_ms)?;
    out.varint(len.0 as u64)?;
    out.varint(at_ms)
}

/// Takes the head off `input` and leaves the list.
pub(super) fn get_ages_head(input: &mut Input<'_>) -> Option<TimeMs> {
    Input(input.bytes()?).varint()
}

pub(super) fn get_ages<'a>(input: &mut Input<'a>) -> Option<Ages<'a>> {
    let ages = Ages {
        at_ms: get_ages_head(input)?,
        ages: input.0,
    };
    ages.ages().ends_well().then_some(ages)
}
