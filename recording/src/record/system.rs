//! Owns the fields of [`System`] in the head of a snapshot: their length, a mask of those that are
//! known, and these in order. Readers take what they know of the mask and skip the rest.

use crate::fields::{Input, Output};
use crate::sink::{Full, Measure};
use crate::system::System;

pub(super) fn put(system: &System, out: &mut Output<'_>) -> Result<(), Full> {
    let mut len = Measure::default();
    put_fields(system, &mut Output(&mut len))?;
    out.varint(len.0 as u64)?;
    put_fields(system, out)
}

fn put_fields(system: &System, out: &mut Output<'_>) -> Result<(), Full> {
    let values = system.values();
    let known = |mask: u64, (place, value): (u32, &Option<u64>)| {
        mask | u64::from(value.is_some()).checked_shl(place).unwrap_or(0)
    };
    out.varint((0..).zip(&values).fold(0, known))?;
    values
        .iter()
        .flatten()
        .try_for_each(|&value| out.varint(value))
}

pub(super) fn get(input: &mut Input<'_>) -> Option<System> {
    let input = &mut Input(input.bytes()?);
    let mask = input.varint()?;
    let mut values = [None; System::FIELDS];
    for (place, value) in (0..).zip(&mut values) {
        if mask.checked_shr(place).unwrap_or(0) & 1 != 0 {
            *value = Some(input.varint()?);
        }
    }
    Some(System::from_values(values))
}
