//! Owns the fields of [`Process`].

use crate::fields::{Input, Output};
use crate::sink::Full;
use crate::types::{Mode, Process};

const HAS_PARENT: u8 = 1;
const FORKED: u8 = 2;

pub(super) fn put(process: &Process<'_>, out: &mut Output<'_>) -> Result<(), Full> {
    out.raw(&process.id)?;
    let parent = if process.parent.is_some() {
        HAS_PARENT
    } else {
        0
    };
    let forked = if process.forked { FORKED } else { 0 };
    out.byte(parent | forked)?;
    if let Some(parent) = &process.parent {
        out.raw(parent)?;
    }
    out.varint(process.pid)?;
    out.varint(process.ppid)?;
    out.bytes(process.exe)?;
    out.bytes(process.host)?;
    out.varint(process.started_unix_ns)?;
    out.varint(process.start_ticks)?;
    let (mode, value) = match process.mode {
        Mode::Exact => (0, 0),
        Mode::Sample { mean_bytes } => (1, mean_bytes),
        Mode::Budget { milli_percent } => (2, u64::from(milli_percent)),
        Mode::Dormant => (3, 0),
    };
    out.byte(mode)?;
    out.varint(value)?;
    out.varint(process.depth)?;
    out.varint(process.interval_ms)?;
    out.varint(process.page_bytes)?;
    out.varint(process.inherited_bytes)?;
    out.varint(process.inherited_blocks)?;
    out.bytes(process.allocator)?;
    out.bytes(process.options)?;
    out.bytes(process.version)
}

pub(super) fn get<'a>(input: &mut Input<'a>) -> Option<Process<'a>> {
    let id = input.array()?;
    let flags = input.byte()?;
    Some(Process {
        id,
        parent: if flags & HAS_PARENT != 0 {
            Some(input.array()?)
        } else {
            None
        },
        forked: flags & FORKED != 0,
        pid: input.u32()?,
        ppid: input.u32()?,
        exe: input.bytes()?,
        host: input.bytes()?,
        started_unix_ns: input.varint()?,
        start_ticks: input.varint()?,
        mode: match (input.byte()?, input.varint()?) {
            (0, _) => Mode::Exact,
            (1, mean_bytes) => Mode::Sample { mean_bytes },
            (2, share) => Mode::Budget {
                milli_percent: u32::try_from(share).ok()?,
            },
            (3, _) => Mode::Dormant,
            _ => return None,
        },
        depth: input.u32()?,
        interval_ms: input.varint()?,
        page_bytes: input.u32()?,
        inherited_bytes: input.varint()?,
        inherited_blocks: input.varint()?,
        allocator: input.bytes()?,
        options: input.bytes()?,
        version: input.bytes()?,
    })
}
