//! Owns the record of page faults: when it is written, and what goes in where room is short.

use leaktrack_recording::{FaultCount, FaultSource, SiteFault, SliceSink, encode_faults};

use crate::recorder::{Buffer, FRAME_BYTES, Failure, Kept, Recorder, TAIL_BYTES};
use crate::{faults, modules};

/// Between two records of a running process.
pub const EVERY_MS: u64 = 10_000;
/// Room for the head, and for each site.
const HEAD_BYTES: usize = 400;
const SITE_BYTES: usize = 40;

/// Puts the sums so far in the place of the last ones.
pub fn write(recorder: &mut Recorder, at_ms: u64, all: FaultCount) -> Result<(), Failure> {
    faults::show(at_ms, all, |head, sites| {
        if head.source == FaultSource::Off {
            return Ok(());
        }
        let limit = recorder.payload_limit() as usize;
        let fitting = limit.saturating_sub(HEAD_BYTES + FRAME_BYTES + TAIL_BYTES) / SITE_BYTES;
        let shown = fitting.min(sites.len());
        let bytes = HEAD_BYTES + shown * SITE_BYTES + FRAME_BYTES + TAIL_BYTES;
        let Some(mut buffer) = Buffer::of(bytes) else {
            return Ok(());
        };
        // Where not all fit, the least are left out.
        let mut least = 0;
        while sites.iter().filter(|of| total(&of.count) >= least).count() > shown {
            least = least * 2 + 1;
        }
        let end = bytes - TAIL_BYTES;
        let room = buffer.as_mut_slice().get_mut(FRAME_BYTES..end);
        let mut sink = SliceSink::new(room.unwrap_or_default());
        let mut writer = encode_faults(head, &mut sink).map_err(|_| Failure::Full)?;
        for of in sites.iter().filter(|of| total(&of.count) >= least) {
            let touch = modules::find(of.ip as usize)
                .and_then(|placement| modules::by_id(placement.module));
            let fault = SiteFault {
                site: of.site,
                count: of.count,
                touch_module: touch.map_or(0, |module| module.id),
                touch_offset: touch.map_or(0, |module| of.ip.wrapping_sub(module.bias as u64)),
            };
            writer.push(&fault).map_err(|_| Failure::Full)?;
        }
        let len = sink.len();
        recorder.replace(Kept::Faults, buffer.as_mut_slice(), len)
    })
}

fn total(count: &FaultCount) -> u64 {
    count.minor.saturating_add(count.major)
}
