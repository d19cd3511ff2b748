//! Processors of which nothing is known.

use super::Work;

/// Nothing wider.
pub fn dots<const N: usize>(_: &[f64], _: [&[f64]; N]) -> Option<[f64; N]> {
    None
}

/// As everything else.
pub fn compiled<W: Work>(work: W) -> W::Outcome {
    work.run()
}
