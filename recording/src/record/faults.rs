//! Owns the fields of [`Faults`]: a head, whose length stands before it so that it can grow, and the
//! packed list of sites.

use crate::fields::{Input, Output};
use crate::sink::{Full, Measure};
use crate::types::{FAULT_REGIONS, FaultCount, FaultSource, Faults};

pub(super) fn put_head(faults: &Faults<'_>, out: &mut Output<'_>) -> Result<(), Full> {
    let mut len = Measure::default();
    put_fields(faults, &mut Output(&mut len))?;
    out.varint(len.0 as u64)?;
    put_fields(faults, out)
}

fn put_fields(faults: &Faults<'_>, out: &mut Output<'_>) -> Result<(), Full> {
    out.varint(faults.at_ms)?;
    out.byte(match faults.source {
        FaultSource::Off => 0,
        FaultSource::All => 1,
        FaultSource::User => 2,
        FaultSource::Refused => 3,
        FaultSource::TooMany => 4,
    })?;
    out.varint(faults.error)?;
    out.varints(&[
        faults.period,
        faults.since_ms,
        faults.before.minor,
        faults.before.major,
        faults.all.minor,
        faults.all.major,
        faults.seen.map_or(0, |seen| seen.saturating_add(1)),
        faults.lost,
        FAULT_REGIONS.len() as u64,
    ])?;
    faults
        .regions
        .iter()
        .try_for_each(|region| out.varints(&[region.minor, region.major]))?;
    out.varint(faults.seen_major.map_or(0, |seen| seen.saturating_add(1)))?;
    out.bytes(faults.touches)
}

pub(super) fn get<'a>(input: &mut Input<'a>) -> Option<Faults<'a>> {
    let head = &mut Input(input.bytes()?);
    let at_ms = head.varint()?;
    let source = match head.byte()? {
        0 => FaultSource::Off,
        1 => FaultSource::All,
        2 => FaultSource::User,
        4 => FaultSource::TooMany,
        _ => FaultSource::Refused,
    };
    let error = head.u32()?;
    let [period, since_ms] = head.varints()?;
    let before = count(head)?;
    let all = count(head)?;
    let [seen, lost, regions_len] = head.varints()?;
    let mut regions = [FaultCount::default(); FAULT_REGIONS.len()];
    for place in 0..regions_len {
        let count = count(head)?;
        if let Some(slot) = usize::try_from(place)
            .ok()
            .and_then(|at| regions.get_mut(at))
        {
            *slot = count;
        }
    }
    // A head of the first version ends here.
    let (seen_major, touches) = match head.is_empty() {
        true => (0, &[][..]),
        false => (head.varint()?, head.bytes()?),
    };
    let faults = Faults {
        at_ms,
        source,
        error,
        period,
        since_ms,
        before,
        all,
        seen: seen.checked_sub(1),
        lost,
        regions,
        seen_major: seen_major.checked_sub(1),
        touches,
        sites: input.0,
    };
    let whole = faults.sites().ends_well() && faults.touches().ends_well();
    whole.then_some(faults)
}

fn count(input: &mut Input<'_>) -> Option<FaultCount> {
    let [minor, major] = input.varints()?;
    Some(FaultCount { minor, major })
}
