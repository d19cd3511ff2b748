//! Owns the fields of [`Account`], [`Residency`] and [`Arenas`]: a head behind its length, so that
//! it can grow, and the packed list that fills the rest of the record.

use crate::account::{Account, AccountHead, Arenas, Residency};
use crate::fields::{Input, Output};
use crate::sink::{Full, Measure};
use crate::types::TimeMs;

const HAS_PSS: u8 = 1;
const BY_MINCORE: u8 = 2;

pub(super) fn put_head(account: &Account<'_>, out: &mut Output<'_>) -> Result<(), Full> {
    let mut len = Measure::default();
    put_fields(account, &mut Output(&mut len))?;
    out.varint(len.0 as u64)?;
    put_fields(account, out)
}

fn put_fields(account: &Account<'_>, out: &mut Output<'_>) -> Result<(), Full> {
    let head = &account.head;
    let pss = if head.pss_bytes.is_some() { HAS_PSS } else { 0 };
    let mincore = if head.by_mincore { BY_MINCORE } else { 0 };
    out.byte(pss | mincore)?;
    out.varints(&[
        head.at_ms,
        head.rss_bytes,
        head.swap_bytes,
        head.huge_bytes,
        head.mappings,
        head.duration_us,
        head.cpu_us,
        head.live_bytes,
        head.untouched_bytes,
        head.live_swapped_bytes,
        head.skipped_bytes,
        head.stacks,
    ])?;
    if let Some(pss_bytes) = head.pss_bytes {
        out.varint(pss_bytes)?;
    }
    out.bytes(account.nodes)
}

pub(super) fn get<'a>(input: &mut Input<'a>) -> Option<Account<'a>> {
    let fields = &mut Input(input.bytes()?);
    let flags = fields.byte()?;
    let [
        at_ms,
        rss_bytes,
        swap_bytes,
        huge_bytes,
        mappings,
        duration_us,
        cpu_us,
        live_bytes,
        untouched_bytes,
        live_swapped_bytes,
        skipped_bytes,
        stacks,
    ] = fields.varints()?;
    let pss_bytes = if flags & HAS_PSS != 0 {
        Some(fields.varint()?)
    } else {
        None
    };
    // A head of the first version ends here.
    let nodes = match fields.is_empty() {
        true => &[][..],
        false => fields.bytes()?,
    };
    let account = Account {
        nodes,
        head: AccountHead {
            at_ms,
            rss_bytes,
            pss_bytes,
            swap_bytes,
            huge_bytes,
            mappings,
            duration_us,
            cpu_us,
            live_bytes,
            untouched_bytes,
            live_swapped_bytes,
            skipped_bytes,
            stacks,
            by_mincore: flags & BY_MINCORE != 0,
        },
        parts: input.0,
    };
    let whole = account.parts().ends_well() && account.nodes().ends_well();
    whole.then_some(account)
}

pub(super) fn put_moment(at_ms: TimeMs, out: &mut Output<'_>) -> Result<(), Full> {
    let mut len = Measure::default();
    Output(&mut len).varint(at_ms)?;
    out.varint(len.0 as u64)?;
    out.varint(at_ms)
}

pub(super) fn get_residency<'a>(input: &mut Input<'a>) -> Option<Residency<'a>> {
    let at_ms = Input(input.bytes()?).varint()?;
    let residency = Residency {
        at_ms,
        sites: input.0,
    };
    residency.sites().ends_well().then_some(residency)
}

pub(super) fn get_arenas<'a>(input: &mut Input<'a>) -> Option<Arenas<'a>> {
    let at_ms = Input(input.bytes()?).varint()?;
    let arenas = Arenas {
        at_ms,
        arenas: input.0,
    };
    arenas.arenas().ends_well().then_some(arenas)
}
