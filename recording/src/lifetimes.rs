//! Owns the packed list of per-site lifetimes: how long blocks that were freed had lived, and how
//! old those are that live.
//!
//! Counted in octaves of epochs, the unit of age in the live table. Octave 0 holds what was freed
//! in the epoch of its birth: it is not stored, since it is what is left of all frees.

use crate::fields::{Input, Output};
use crate::sink::{Full, Measure, Sink, WriteError};
use crate::types::TimeMs;

/// Octave 0 is an age of 0 epochs, octave `n` one of 2^(n-1) up to 2^n - 1; epochs have 20 bits.
pub const OCTAVES: usize = 21;

/// Blocks by octave of age.
pub type Octaves = [u64; OCTAVES];

/// The octave of an age in epochs.
#[inline]
pub fn octave(age_epochs: u32) -> usize {
    (u32::BITS.saturating_sub(age_epochs.leading_zeros()) as usize).min(OCTAVES - 1)
}

/// What goes before the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifetimesHead {
    /// When the live table was walked.
    pub at_ms: TimeMs,
    /// Mean length of an epoch so far, microseconds.
    pub epoch_us: u64,
    /// Sites with fewer blocks in both histograms together were left out for want of room; with
    /// 1, a site that is not in the list has no live block and freed each in the epoch of its birth.
    pub least_blocks: u64,
}

/// Lifetimes at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes<'a> {
    /// The moment.
    pub head: LifetimesHead,
    /// Encoded [`SiteLifetimes`], ascending by site; read with `lifetimes()`.
    pub lifetimes: &'a [u8],
}

/// Lifetimes of a site's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteLifetimes {
    /// Site id.
    pub site: u32,
    /// Blocks freed, by their age then, from octave 1 on; `None` if there was no memory to count.
    pub freed: Option<Octaves>,
    /// Live blocks by their age.
    pub live: Octaves,
}

/// Packs [`SiteLifetimes`].
pub struct LifetimesWriter<'a> {
    sink: &'a mut dyn Sink,
    last: u32,
}

impl<'a> LifetimesWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        LifetimesWriter { sink, last: 0 }
    }

    /// Appends one; site ids must ascend. After an error the sink is to be thrown away.
    pub fn push(&mut self, site: &SiteLifetimes) -> Result<(), WriteError> {
        let step = site.site.checked_sub(self.last).filter(|&step| step > 0);
        let mut out = Output(self.sink);
        out.varint(step.ok_or(WriteError::Disorder)?)?;
        self.last = site.site;
        match &site.freed {
            None => out.byte(0)?,
            Some(freed) => put(freed.get(1..).unwrap_or_default(), 1, &mut out)?,
        }
        Ok(put(&site.live, 0, &mut out)?)
    }
}

/// Writes the counts up to the last that is not 0, and before them how many, plus `offset`.
pub(crate) fn put(counts: &[u64], offset: u8, out: &mut Output<'_>) -> Result<(), Full> {
    let used = counts.iter().rposition(|&count| count > 0);
    let used = used.map_or(0, |last| last.saturating_add(1));
    out.byte((used as u8).saturating_add(offset))?;
    out.varints(counts.get(..used).unwrap_or_default())
}

pub(crate) fn get(counts: &mut [u64], used: usize, input: &mut Input<'_>) -> Option<()> {
    for count in counts.get_mut(..used)? {
        *count = input.varint()?;
    }
    Some(())
}

/// The [`SiteLifetimes`] of [`Lifetimes`], ascending by site.
#[derive(Clone, Debug)]
pub struct AllLifetimes<'a> {
    input: Input<'a>,
    last: u32,
}

impl AllLifetimes<'_> {
    fn take(&mut self) -> Option<SiteLifetimes> {
        let mut ahead = self.input;
        let step = ahead.u32().filter(|&step| step > 0)?;
        let site = self.last.checked_add(step)?;
        let freed = match usize::from(ahead.byte()?) {
            0 => None,
            used => {
                let mut freed = [0; OCTAVES];
                get(freed.get_mut(1..)?, used.checked_sub(1)?, &mut ahead)?;
                Some(freed)
            }
        };
        let mut live = [0; OCTAVES];
        let used = usize::from(ahead.byte()?);
        get(&mut live, used, &mut ahead)?;
        self.input = ahead;
        self.last = site;
        Some(SiteLifetimes { site, freed, live })
    }

    /// True at the end of a well-formed list, false where it stopped at malformed bytes.
    pub(crate) fn ends_well(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.input.is_empty()
    }
}

impl Iterator for AllLifetimes<'_> {
    type Item = SiteLifetimes;

    fn next(&mut self) -> Option<SiteLifetimes> {
        self.take()
    }
}

impl<'a> Lifetimes<'a> {
    /// The lifetimes, ascending by site. Of a record that a reader returned the list is whole; of
    /// hand-made bytes it ends before the first that are malformed.
    pub fn lifetimes(&self) -> AllLifetimes<'a> {
        AllLifetimes {
            input: Input(self.lifetimes),
            last: 0,
        }
    }
}

pub(crate) fn put_head(head: &LifetimesHead, out: &mut Output<'_>) -> Result<(), Full> {
    let fields = [head.at_ms, head.epoch_us, head.least_blocks];
    let mut len = Measure::default();
    Output(&mut len).varints(&fields)?;
    out.varint(len.0 as u64)?;
    out.varints(&fields)
}

pub(crate) fn get_lifetimes<'a>(input: &mut Input<'a>) -> Option<Lifetimes<'a>> {
    let [at_ms, epoch_us, least_blocks] = Input(input.bytes()?).varints()?;
    let lifetimes = Lifetimes {
        head: LifetimesHead {
            at_ms,
            epoch_us,
            least_blocks,
        },
        lifetimes: input.0,
    };
    lifetimes.lifetimes().ends_well().then_some(lifetimes)
}
