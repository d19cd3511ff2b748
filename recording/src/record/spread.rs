//! Owns the fields of [`Spreads`]: a head, whose length stands before it so that it can grow, and the
//! packed list that fills the rest of the record.

use crate::fields::{Input, Output};
use crate::sink::{Full, Measure};
use crate::spread::{Spreads, SpreadsHead};

pub(super) fn put_head(head: &SpreadsHead, out: &mut Output<'_>) -> Result<(), Full> {
    let fields = [head.at_ms, head.mean_bytes];
    let mut len = Measure::default();
    Output(&mut len).varints(&fields)?;
    out.varint(len.0 as u64)?;
    out.varints(&fields)
}

pub(super) fn get<'a>(input: &mut Input<'a>) -> Option<Spreads<'a>> {
    let [at_ms, mean_bytes] = Input(input.bytes()?).varints()?;
    let spreads = Spreads {
        head: SpreadsHead { at_ms, mean_bytes },
        spreads: input.0,
    };
    spreads.spreads().ends_well().then_some(spreads)
}
