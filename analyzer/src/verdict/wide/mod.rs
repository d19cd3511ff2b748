//! Arithmetic in wider registers than every processor has. What is computed is the same to the last bit, so that
//! a report does not depend on where it is made.

#[cfg(not(target_arch = "x86_64"))]
mod other;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(not(target_arch = "x86_64"))]
use other as here;
#[cfg(target_arch = "x86_64")]
use x86_64 as here;

/// What [`super::stats::dots`] says, if this processor has wider registers.
pub fn dots<const N: usize>(a: &[f64], others: [&[f64]; N]) -> Option<[f64; N]> {
    here::dots(a, others)
}

/// What can be compiled for several processors.
pub trait Work {
    /// What comes of it.
    type Outcome;

    /// Does it. To be inlined always: only so it is compiled with what calls it.
    fn run(self) -> Self::Outcome;
}

/// Does `work`, compiled for wider registers where there are any.
pub fn compiled<W: Work>(work: W) -> W::Outcome {
    here::compiled(work)
}
