//! Owns [`Spreads`]: how far the counters of sampled sites may be off.

use crate::deltas::{Packer, unpack};
use crate::fields::Input;
use crate::sink::{Sink, WriteError};
use crate::types::TimeMs;

/// When, and the mean in force then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpreadsHead {
    /// When the live table was walked.
    pub at_ms: TimeMs,
    /// Mean distance between samples in bytes, of what was allocated at that moment.
    pub mean_bytes: u64,
}

/// The live blocks of a site as its samples stand for them. Sites of which no sample is live are
/// left out.
///
/// Of T = sum of y W over the live samples, y being 1 or the size and W the integer weight, the
/// variance is estimated by the sum of y^2 W (W - 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteSpread {
    /// Site id.
    pub site: u32,
    /// Live samples.
    pub samples: u64,
    /// Their bytes, without weights: so much is live for certain.
    pub sampled_bytes: u64,
    /// Estimated live blocks, the sum of the weights.
    pub blocks: u64,
    /// Estimated live bytes.
    pub bytes: u64,
    /// Standard error of `blocks`, in sixteenths.
    pub blocks_error_16: u64,
    /// Standard error of `bytes`, in sixteenths.
    pub bytes_error_16: u64,
}

/// Encoded spreads at a moment. When sampled snapshots are thinned they stay: only the last are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spreads<'a> {
    /// When, and the mean.
    pub head: SpreadsHead,
    /// Encoded [`SiteSpread`]s, ascending by site; read with `spreads()`.
    pub spreads: &'a [u8],
}

/// Packs [`SiteSpread`]s, the `spreads` of [`Spreads`].
pub struct SpreadWriter<'a>(Packer<'a>);

impl<'a> SpreadWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        SpreadWriter(Packer { sink, last: 0 })
    }

    /// Appends one; site ids must ascend. After an error the sink is to be thrown away.
    pub fn push(&mut self, spread: &SiteSpread) -> Result<(), WriteError> {
        let SiteSpread {
            site,
            samples,
            sampled_bytes,
            blocks,
            bytes,
            blocks_error_16,
            bytes_error_16,
        } = *spread;
        self.0.push(
            site,
            &[
                samples,
                sampled_bytes,
                blocks,
                bytes,
                blocks_error_16,
                bytes_error_16,
            ],
        )
    }
}

/// The [`SiteSpread`]s of [`Spreads`], ascending by site.
#[derive(Clone, Debug)]
pub struct SiteSpreads<'a> {
    input: Input<'a>,
    last: u32,
}

impl SiteSpreads<'_> {
    /// True at the end of a well-formed list, false where it stopped at malformed bytes.
    pub(crate) fn ends_well(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.input.is_empty()
    }
}

impl Iterator for SiteSpreads<'_> {
    type Item = SiteSpread;

    fn next(&mut self) -> Option<SiteSpread> {
        let (site, values) = unpack::<6>(&mut self.input, &mut self.last)?;
        let [
            samples,
            sampled_bytes,
            blocks,
            bytes,
            blocks_error_16,
            bytes_error_16,
        ] = values;
        Some(SiteSpread {
            site,
            samples,
            sampled_bytes,
            blocks,
            bytes,
            blocks_error_16,
            bytes_error_16,
        })
    }
}

impl<'a> Spreads<'a> {
    /// The spreads, ascending by site; on malformed bytes as [`crate::Snapshot::deltas`].
    pub fn spreads(&self) -> SiteSpreads<'a> {
        SiteSpreads {
            input: Input(self.spreads),
            last: 0,
        }
    }
}
