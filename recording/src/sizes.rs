//! Owns the packed list of how large the blocks were that each site allocated, and how many of them
//! were temporary.
//!
//! Counted in classes that double, upper ends included: up to 8 bytes, up to 16, up to 32, ...

use crate::fields::{Input, Output};
use crate::lifetimes::{get, put};
use crate::sink::{Full, Measure, Sink, WriteError};
use crate::types::TimeMs;

/// Class 0 holds blocks of up to 8 bytes, class `n` those of more than 2^(n+2) and up to 2^(n+3);
/// the last one holds all that are larger still.
pub const SIZE_CLASSES: usize = 40;

/// Blocks by class of size.
pub type BySize = [u64; SIZE_CLASSES];

/// The class of a size in bytes.
#[inline]
pub fn size_class(bytes: u64) -> usize {
    let log2 = (bytes.saturating_sub(1) | 7).ilog2() as usize;
    log2.saturating_sub(2).min(SIZE_CLASSES - 1)
}

/// Sizes as of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes<'a> {
    /// The moment.
    pub at_ms: TimeMs,
    /// Sites that allocated less often were left out for want of room.
    pub least_allocations: u64,
    /// Encoded [`SiteSizes`], ascending by site; read with `sizes()`.
    pub sizes: &'a [u8],
}

/// What a site allocated since recording began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteSizes {
    /// Site id.
    pub site: u32,
    /// Blocks that were freed before their thread allocated or freed anything else; `None` where
    /// blocks are sampled.
    pub temporary: Option<u64>,
    /// Blocks by size; `None` if there was no memory to count.
    pub allocated: Option<BySize>,
}

/// Packs [`SiteSizes`].
pub struct SizesWriter<'a> {
    sink: &'a mut dyn Sink,
    last: u32,
}

impl<'a> SizesWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        SizesWriter { sink, last: 0 }
    }

    /// Appends one; site ids must ascend. After an error the sink is to be thrown away.
    pub fn push(&mut self, site: &SiteSizes) -> Result<(), WriteError> {
        let step = site.site.checked_sub(self.last).filter(|&step| step > 0);
        let mut out = Output(self.sink);
        out.varint(step.ok_or(WriteError::Disorder)?)?;
        self.last = site.site;
        // One more than the number: 0 is unknown.
        let temporary = site.temporary.map_or(0, |count| count.saturating_add(1));
        out.varint(temporary)?;
        match &site.allocated {
            None => out.byte(0)?,
            Some(allocated) => put(allocated, 1, &mut out)?,
        }
        Ok(())
    }
}

/// The [`SiteSizes`] of [`Sizes`], ascending by site.
#[derive(Clone, Debug)]
pub struct AllSizes<'a> {
    input: Input<'a>,
    last: u32,
}

impl AllSizes<'_> {
    fn take(&mut self) -> Option<SiteSizes> {
        let mut ahead = self.input;
        let step = ahead.u32().filter(|&step| step > 0)?;
        let site = self.last.checked_add(step)?;
        let temporary = ahead.varint()?.checked_sub(1);
        let allocated = match usize::from(ahead.byte()?) {
            0 => None,
            used => {
                let mut allocated = [0; SIZE_CLASSES];
                get(&mut allocated, used.checked_sub(1)?, &mut ahead)?;
                Some(allocated)
            }
        };
        self.input = ahead;
        self.last = site;
        Some(SiteSizes {
            site,
            temporary,
            allocated,
        })
    }

    /// True at the end of a well-formed list, false where it stopped at malformed bytes.
    pub(crate) fn ends_well(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.input.is_empty()
    }
}

impl Iterator for AllSizes<'_> {
    type Item = SiteSizes;

    fn next(&mut self) -> Option<SiteSizes> {
        self.take()
    }
}

impl<'a> Sizes<'a> {
    /// The sizes, ascending by site. Of a record that a reader returned the list is whole; of
    /// hand-made bytes it ends before the first that are malformed.
    pub fn sizes(&self) -> AllSizes<'a> {
        AllSizes {
            input: Input(self.sizes),
            last: 0,
        }
    }
}

pub(crate) fn put_head(
    at_ms: TimeMs,
    least_allocations: u64,
    out: &mut Output<'_>,
) -> Result<(), Full> {
    let fields = [at_ms, least_allocations];
    let mut len = Measure::default();
    Output(&mut len).varints(&fields)?;
    out.varint(len.0 as u64)?;
    out.varints(&fields)
}

pub(crate) fn get_sizes<'a>(input: &mut Input<'a>) -> Option<Sizes<'a>> {
    let [at_ms, least_allocations] = Input(input.bytes()?).varints()?;
    let sizes = Sizes {
        at_ms,
        least_allocations,
        sizes: input.0,
    };
    sizes.sizes().ends_well().then_some(sizes)
}
