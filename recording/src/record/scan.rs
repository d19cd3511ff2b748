//! Owns the fields of [`Scan`] and of the head of [`Losses`].

use super::state::{get_ages_head, put_ages_head};
use crate::fields::{Input, Output};
use crate::sink::Full;
use crate::types::{Losses, Scan, ScanKind, TimeMs};

const COMPLETE: u8 = 1;
const LOWER_BOUND: u8 = 2;
const PARTIAL: u8 = 4;

pub(super) fn put(scan: &Scan<'_>, out: &mut Output<'_>) -> Result<(), Full> {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.varint(scan.at_ms)?;
    out.byte(match scan.kind {
        ScanKind::Exit => 0,
        ScanKind::Live => 1,
        ScanKind::Fork => 2,
    })?;
    out.byte(
        flag(scan.complete, COMPLETE)
            | flag(scan.lower_bound, LOWER_BOUND)
            | flag(scan.partial, PARTIAL),
    )?;
    out.varints(&[
        scan.duration_ms,
        u64::from(scan.passes),
        u64::from(scan.unread_threads),
        scan.excused_per_site,
        scan.blocks,
    ])?;
    out.bytes(scan.why_not)?;
    match scan.freed_since {
        0 => Ok(()),
        blocks => out.varint(blocks),
    }
}

pub(super) fn get<'a>(input: &mut Input<'a>) -> Option<Scan<'a>> {
    let at_ms = input.varint()?;
    // A kind that a newer version added was made on the running process, one way or the other.
    let kind = match input.byte()? {
        0 => ScanKind::Exit,
        2 => ScanKind::Fork,
        _ => ScanKind::Live,
    };
    let flags = input.byte()?;
    let duration_ms = input.varint()?;
    Some(Scan {
        at_ms,
        kind,
        duration_ms,
        complete: flags & COMPLETE != 0,
        lower_bound: flags & LOWER_BOUND != 0,
        partial: flags & PARTIAL != 0,
        passes: input.u32()?,
        unread_threads: input.u32()?,
        excused_per_site: input.varint()?,
        blocks: input.varint()?,
        why_not: input.bytes()?,
        // Left out by older versions, and when there is nothing to tell.
        freed_since: if input.0.is_empty() {
            0
        } else {
            input.varint()?
        },
    })
}

pub(super) fn put_losses_head(at_ms: TimeMs, out: &mut Output<'_>) -> Result<(), Full> {
    put_ages_head(at_ms, out)
}

pub(super) fn get_losses<'a>(input: &mut Input<'a>) -> Option<Losses<'a>> {
    let losses = Losses {
        at_ms: get_ages_head(input)?,
        losses: input.0,
    };
    losses.losses().ends_well().then_some(losses)
}
