//! Owns the spreads of sampled sites: one walk over the live table that sums, per site, what its
//! samples stand for and how much that may be off.
//!
//! The walk takes the table's locks shard by shard; nothing is allocated under one but from the
//! arena.

use leaktrack_recording::{SiteSpread, SliceSink, SpreadsHead, encode_spreads};

use super::source::Source;
use crate::arena::AVec;
use crate::recorder::{Buffer, FRAME_BYTES, Failure, Kept, Recorder, TAIL_BYTES};

/// Longest encoding of one spread, and of the head.
const SPREAD_BYTES: usize = 66;

#[derive(Clone, Copy)]
struct Sums {
    samples: u64,
    sampled_bytes: u64,
    blocks: u64,
    bytes: u64,
    /// Sum of W (W - 1), the same with sizes squared.
    blocks_variance: u128,
    bytes_variance: u128,
}

impl Sums {
    const ZERO: Sums = Sums {
        samples: 0,
        sampled_bytes: 0,
        blocks: 0,
        bytes: 0,
        blocks_variance: 0,
        bytes_variance: 0,
    };

    fn add(&mut self, size: u64, weight: u64) {
        let (y, w) = (u128::from(size), u128::from(weight));
        let variance = w * w.saturating_sub(1);
        self.samples += 1;
        self.sampled_bytes = self.sampled_bytes.saturating_add(size);
        self.blocks = self.blocks.saturating_add(weight);
        self.bytes = self.bytes.saturating_add(size.saturating_mul(weight));
        self.blocks_variance = self.blocks_variance.saturating_add(variance);
        self.bytes_variance = y
            .saturating_mul(y)
            .saturating_mul(variance)
            .saturating_add(self.bytes_variance);
    }

    fn spread(&self, site: u32) -> SiteSpread {
        let sixteenths = |variance: u128| variance.saturating_mul(256).isqrt() as u64;
        SiteSpread {
            site,
            samples: self.samples,
            sampled_bytes: self.sampled_bytes,
            blocks: self.blocks,
            bytes: self.bytes,
            blocks_error_16: sixteenths(self.blocks_variance),
            bytes_error_16: sixteenths(self.bytes_variance),
        }
    }
}

/// Walks the live table and puts the result in the place of the last one. Does nothing without
/// memory.
pub fn write(source: &impl Source, recorder: &mut Recorder, now_ms: u64) -> Result<(), Failure> {
    let mut places = AVec::<u32>::new();
    let mut sums = AVec::<Sums>::new();
    for _ in 0..=source.sites() {
        if !places.try_push(0) {
            return Ok(());
        }
    }
    let inherited = source.fork_epoch();
    let mut whole = true;
    source.for_each_block(&mut |site, size, epoch, weight| {
        let Some(place) = places.get_mut(site as usize).filter(|_| epoch > inherited) else {
            return; // the parent's, or of a site born meanwhile
        };
        if *place == 0 {
            if !sums.try_push(Sums::ZERO) {
                whole = false;
                return;
            }
            *place = sums.len() as u32;
        }
        if let Some(sums) = sums.get_mut(*place as usize - 1) {
            sums.add(size, weight);
        }
    });
    let limit = recorder.payload_limit() as usize;
    let wanted = (sums.len() + 1) * SPREAD_BYTES;
    let Some(mut buffer) = Buffer::of((wanted + FRAME_BYTES + TAIL_BYTES).min(limit)) else {
        return Ok(());
    };
    if !whole {
        return Ok(());
    }
    let end = buffer.len() - TAIL_BYTES;
    let room = buffer
        .as_mut_slice()
        .get_mut(FRAME_BYTES..end)
        .unwrap_or_default();
    let mut sink = SliceSink::new(room);
    let head = SpreadsHead {
        at_ms: now_ms,
        mean_bytes: source.coarsest_bytes(),
    };
    let mut writer = encode_spreads(&head, &mut sink).map_err(|_| Failure::Full)?;
    for (site, place) in places.as_slice().iter().enumerate() {
        let sums = place.checked_sub(1).and_then(|at| sums.get(at as usize));
        // What does not fit is bounded by the mean alone: see the reader.
        if let Some(sums) = sums
            && writer.push(&sums.spread(site as u32)).is_err()
        {
            return Err(Failure::Full);
        }
    }
    let len = sink.len();
    recorder.replace(Kept::Spreads, buffer.as_mut_slice(), len)
}
