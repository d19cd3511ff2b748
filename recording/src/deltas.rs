//! Owns the packed lists of per-site values inside snapshots and ages.
//!
//! An entry is the difference of its site id to the one before (the first: to 0; never 0) and its
//! values, all varints. So ids ascend, each occurs once, and neighbours cost a byte.

use crate::fields::{Input, Output};
use crate::sink::{Sink, WriteError};
use crate::types::{
    Ages, FaultCount, Faults, Losses, SiteAge, SiteDelta, SiteFault, SiteLoss, SiteTouch, Snapshot,
};

/// Appends packed entries of `N` values to a sink.
pub(crate) struct Packer<'a> {
    pub(crate) sink: &'a mut dyn Sink,
    pub(crate) last: u32,
}

impl Packer<'_> {
    pub(crate) fn push(&mut self, site: u32, values: &[u64]) -> Result<(), WriteError> {
        let step = site.checked_sub(self.last).filter(|&step| step > 0);
        let step = step.ok_or(WriteError::Disorder)?;
        self.last = site;
        let mut out = Output(self.sink);
        out.varint(step)?;
        Ok(out.varints(values)?)
    }
}

/// Takes the next entry off `input`; `None` at its end or where it is malformed.
pub(crate) fn unpack<const N: usize>(
    input: &mut Input<'_>,
    last: &mut u32,
) -> Option<(u32, [u64; N])> {
    let mut ahead = *input;
    let step = ahead.u32().filter(|&step| step > 0)?;
    let site = last.checked_add(step)?;
    let values = ahead.varints()?;
    *input = ahead;
    *last = site;
    Some((site, values))
}

/// Packs [`SiteDelta`]s, the `deltas` of a [`Snapshot`], but for what of them was temporary.
pub struct DeltaWriter<'a>(Packer<'a>);

impl<'a> DeltaWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        DeltaWriter(Packer { sink, last: 0 })
    }

    /// Appends one; site ids must ascend. After an error the sink is to be thrown away.
    pub fn push(&mut self, delta: &SiteDelta) -> Result<(), WriteError> {
        let SiteDelta {
            site,
            allocations,
            frees,
            allocated_bytes,
            freed_bytes,
            temporary: _,
        } = *delta;
        self.0
            .push(site, &[allocations, frees, allocated_bytes, freed_bytes])
    }
}

/// Packs the temporary blocks of sites, the `temporary` of a [`Snapshot`].
pub struct TemporaryWriter<'a>(Packer<'a>);

impl<'a> TemporaryWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        TemporaryWriter(Packer { sink, last: 0 })
    }

    /// Appends those of `delta`, if it has any; site ids must ascend. After an error the sink is to
    /// be thrown away.
    pub fn push(&mut self, delta: &SiteDelta) -> Result<(), WriteError> {
        match delta.temporary {
            0 => Ok(()),
            temporary => self.0.push(delta.site, &[temporary]),
        }
    }
}

/// Temporary blocks by site, looked up in ascending order.
#[derive(Clone, Debug)]
struct Temporaries<'a> {
    input: Input<'a>,
    last: u32,
    next: Option<(u32, u64)>,
}

impl<'a> Temporaries<'a> {
    fn new(list: &'a [u8]) -> Self {
        let mut new = Temporaries {
            input: Input(list),
            last: 0,
            next: None,
        };
        new.step();
        new
    }

    fn step(&mut self) {
        let entry = unpack(&mut self.input, &mut self.last);
        self.next = entry.map(|(site, [count])| (site, count));
    }

    /// Those of `site`, which is after all that were asked for before.
    fn of(&mut self, site: u32) -> u64 {
        while let Some((other, count)) = self.next {
            if other > site {
                break;
            }
            self.step();
            if other == site {
                return count;
            }
        }
        0
    }
}

/// Whether a list of temporary blocks is well-formed.
pub(crate) fn temporary_is_whole(list: &[u8]) -> bool {
    let mut all = Temporaries::new(list);
    while all.next.is_some() {
        all.step();
    }
    all.input.is_empty()
}

/// Packs [`SiteAge`]s, the `ages` of [`Ages`].
pub struct AgeWriter<'a>(Packer<'a>);

impl<'a> AgeWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        AgeWriter(Packer { sink, last: 0 })
    }

    /// Appends one; site ids must ascend. After an error the sink is to be thrown away.
    pub fn push(&mut self, age: &SiteAge) -> Result<(), WriteError> {
        let SiteAge {
            site,
            blocks,
            oldest_ms,
            median_ms,
        } = *age;
        self.0.push(site, &[blocks, oldest_ms, median_ms])
    }
}

/// Packs [`SiteLoss`]es, the `losses` of [`Losses`].
pub struct LossWriter<'a>(Packer<'a>);

impl<'a> LossWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        LossWriter(Packer { sink, last: 0 })
    }

    /// Appends one; site ids must ascend. After an error the sink is to be thrown away.
    pub fn push(&mut self, loss: &SiteLoss) -> Result<(), WriteError> {
        let values = [
            loss.since_ms,
            loss.definite_bytes,
            loss.definite_blocks,
            loss.indirect_bytes,
            loss.indirect_blocks,
            loss.possible_bytes,
            loss.possible_blocks,
            loss.reachable_bytes,
            loss.reachable_blocks,
        ];
        self.0.push(loss.site, &values)
    }
}

/// Packs [`SiteFault`]s, the `sites` of [`Faults`].
pub struct FaultWriter<'a>(Packer<'a>);

impl<'a> FaultWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        FaultWriter(Packer { sink, last: 0 })
    }

    /// Appends one; site ids must ascend. After an error the sink is to be thrown away.
    pub fn push(&mut self, fault: &SiteFault) -> Result<(), WriteError> {
        let SiteFault {
            site,
            count: FaultCount { minor, major },
            touch_module,
            touch_offset,
        } = *fault;
        let values = [minor, major, u64::from(touch_module), touch_offset];
        self.0.push(site, &values)
    }
}

/// Packs [`SiteTouch`]es, the `touches` of [`Faults`].
pub struct TouchWriter<'a>(Packer<'a>);

impl<'a> TouchWriter<'a> {
    /// Appends to `sink`.
    pub fn new(sink: &'a mut dyn Sink) -> Self {
        TouchWriter(Packer { sink, last: 0 })
    }

    /// Appends one; site ids must ascend. After an error the sink is to be thrown away.
    pub fn push(&mut self, touch: &SiteTouch) -> Result<(), WriteError> {
        let SiteTouch {
            site,
            compared,
            in_order,
            first_ms,
            last_ms,
        } = *touch;
        self.0.push(site, &[compared, in_order, first_ms, last_ms])
    }
}

/// The [`SiteTouch`]es of [`Faults`], ascending by site.
#[derive(Clone, Debug)]
pub struct SiteTouches<'a> {
    input: Input<'a>,
    last: u32,
}

impl SiteTouches<'_> {
    /// See [`Deltas::ends_well`].
    pub(crate) fn ends_well(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.input.is_empty()
    }
}

impl Iterator for SiteTouches<'_> {
    type Item = SiteTouch;

    fn next(&mut self) -> Option<SiteTouch> {
        let (site, [compared, in_order, first_ms, last_ms]) =
            unpack(&mut self.input, &mut self.last)?;
        Some(SiteTouch {
            site,
            compared,
            in_order,
            first_ms,
            last_ms,
        })
    }
}

/// The [`SiteFault`]s of [`Faults`], ascending by site.
#[derive(Clone, Debug)]
pub struct SiteFaults<'a> {
    input: Input<'a>,
    last: u32,
}

impl SiteFaults<'_> {
    /// See [`Deltas::ends_well`].
    pub(crate) fn ends_well(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.input.is_empty()
    }
}

impl Iterator for SiteFaults<'_> {
    type Item = SiteFault;

    fn next(&mut self) -> Option<SiteFault> {
        let mut ahead = self.input;
        let mut last = self.last;
        let (site, [minor, major, module, touch_offset]) = unpack(&mut ahead, &mut last)?;
        let touch_module = u32::try_from(module).ok()?;
        (self.input, self.last) = (ahead, last);
        Some(SiteFault {
            site,
            count: FaultCount { minor, major },
            touch_module,
            touch_offset,
        })
    }
}

impl<'a> Faults<'a> {
    /// When sites were touched, ascending; see [`Snapshot::deltas`] on malformed bytes.
    pub fn touches(&self) -> SiteTouches<'a> {
        SiteTouches {
            input: Input(self.touches),
            last: 0,
        }
    }

    /// Faults by site, ascending; see [`Snapshot::deltas`] on malformed bytes.
    pub fn sites(&self) -> SiteFaults<'a> {
        SiteFaults {
            input: Input(self.sites),
            last: 0,
        }
    }
}

/// The [`SiteDelta`]s of a snapshot, ascending by site.
#[derive(Clone, Debug)]
pub struct Deltas<'a> {
    input: Input<'a>,
    last: u32,
    temporary: Temporaries<'a>,
}

/// Numbers of a [`SiteDelta`] beside its site.
const OF_A_DELTA: usize = 4;

impl<'a> Deltas<'a> {
    /// True at the end of a well-formed list, false where it stopped at malformed bytes.
    pub(crate) fn ends_well(mut self) -> bool {
        while !self.input.is_empty() {
            let entry = self
                .next_site()
                .and_then(|_| self.input.skip_varints::<OF_A_DELTA>());
            if entry.is_none() {
                return false;
            }
        }
        true
    }

    /// Those of sites to `keep`; what the others have is passed over unread.
    pub fn only(mut self, keep: impl Fn(u32) -> bool + 'a) -> impl Iterator<Item = SiteDelta> + 'a {
        core::iter::from_fn(move || {
            loop {
                let site = self.next_site()?;
                if keep(site) {
                    let numbers = self.input.varints()?;
                    return Some(of_site(site, numbers, self.temporary.of(site)));
                }
                self.input.skip_varints::<OF_A_DELTA>()?;
            }
        })
    }

    /// The site of the next entry, whose numbers follow.
    fn next_site(&mut self) -> Option<u32> {
        let step = self.input.u32().filter(|&step| step > 0)?;
        self.last = self.last.checked_add(step)?;
        Some(self.last)
    }
}

fn of_site(site: u32, numbers: [u64; OF_A_DELTA], temporary: u64) -> SiteDelta {
    let [allocations, frees, allocated_bytes, freed_bytes] = numbers;
    SiteDelta {
        site,
        allocations,
        frees,
        allocated_bytes,
        freed_bytes,
        temporary,
    }
}

impl Iterator for Deltas<'_> {
    type Item = SiteDelta;

    fn next(&mut self) -> Option<SiteDelta> {
        let (site, numbers) = unpack(&mut self.input, &mut self.last)?;
        Some(of_site(site, numbers, self.temporary.of(site)))
    }
}

/// The [`SiteAge`]s of [`Ages`], ascending by site.
#[derive(Clone, Debug)]
pub struct SiteAges<'a> {
    input: Input<'a>,
    last: u32,
}

impl SiteAges<'_> {
    /// See [`Deltas::ends_well`].
    pub(crate) fn ends_well(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.input.is_empty()
    }
}

impl Iterator for SiteAges<'_> {
    type Item = SiteAge;

    fn next(&mut self) -> Option<SiteAge> {
        let (site, [blocks, oldest_ms, median_ms]) = unpack(&mut self.input, &mut self.last)?;
        Some(SiteAge {
            site,
            blocks,
            oldest_ms,
            median_ms,
        })
    }
}

/// The [`SiteLoss`]es of [`Losses`], ascending by site.
#[derive(Clone, Debug)]
pub struct SiteLosses<'a> {
    input: Input<'a>,
    last: u32,
}

impl SiteLosses<'_> {
    /// See [`Deltas::ends_well`].
    pub(crate) fn ends_well(mut self) -> bool {
        self.by_ref().for_each(drop);
        self.input.is_empty()
    }
}

impl Iterator for SiteLosses<'_> {
    type Item = SiteLoss;

    fn next(&mut self) -> Option<SiteLoss> {
        let (site, values) = unpack(&mut self.input, &mut self.last)?;
        let [
            since_ms,
            definite_bytes,
            definite_blocks,
            indirect_bytes,
            indirect_blocks,
            possible_bytes,
            possible_blocks,
            reachable_bytes,
            reachable_blocks,
        ] = values;
        Some(SiteLoss {
            site,
            since_ms,
            definite_bytes,
            definite_blocks,
            indirect_bytes,
            indirect_blocks,
            possible_bytes,
            possible_blocks,
            reachable_bytes,
            reachable_blocks,
        })
    }
}

impl<'a> Losses<'a> {
    /// The results, ascending by site; see [`Snapshot::deltas`] on malformed bytes.
    pub fn losses(&self) -> SiteLosses<'a> {
        SiteLosses {
            input: Input(self.losses),
            last: 0,
        }
    }
}

impl<'a> Snapshot<'a> {
    /// What each site did, ascending by site. Of a snapshot that a reader returned the list is
    /// whole; of hand-made bytes it ends before the first that are malformed.
    pub fn deltas(&self) -> Deltas<'a> {
        Deltas {
            input: Input(self.deltas),
            last: 0,
            temporary: Temporaries::new(self.temporary.unwrap_or_default()),
        }
    }
}

impl<'a> Ages<'a> {
    /// The ages, ascending by site; see [`Snapshot::deltas`] on malformed bytes.
    pub fn ages(&self) -> SiteAges<'a> {
        SiteAges {
            input: Input(self.ages),
            last: 0,
        }
    }
}
