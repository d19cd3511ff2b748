//! Owns the record of page faults: when it is written, and what goes in where room is short.

use leaktrack_recording::{
    FaultCount, FaultSource, Faults, SiteFault, SiteTouch, SliceSink, TouchWriter, encode_faults,
};

use crate::recorder::{Buffer, FRAME_BYTES, Failure, Kept, Recorder, TAIL_BYTES};
use crate::{faults, modules};

/// Between two records of a running process at most, and at least.
const MOST_MS: u64 = 10_000;
const LEAST_MS: u64 = 1_000;
/// Room for the head, and for each site.
const HEAD_BYTES: usize = 400;
const SITE_BYTES: usize = 40;
/// Sites with fewer faults have no order to speak of; and of so many sites it is kept.
const LEAST_TOUCHED: u64 = 500;
const MOST_TOUCHED: usize = 64;
const TOUCH_BYTES: usize = 48;

/// True if another record is due: in a young process soon, so that the last one holds most of its faults.
pub fn is_due(told_ms: u64, now_ms: u64) -> bool {
    now_ms >= told_ms + (told_ms / 8).clamp(LEAST_MS, MOST_MS)
}

/// Puts the sums so far in the place of the last ones.
pub fn write(recorder: &mut Recorder, at_ms: u64) -> Result<(), Failure> {
    faults::show(at_ms, |head, sites| {
        if head.source == FaultSource::Off {
            return Ok(());
        }
        let limit = recorder.payload_limit() as usize;
        let around = HEAD_BYTES + MOST_TOUCHED * TOUCH_BYTES + FRAME_BYTES + TAIL_BYTES;
        let fitting = limit.saturating_sub(around) / SITE_BYTES;
        let shown = fitting.min(sites.len());
        let Some(mut room) = Buffer::of(MOST_TOUCHED * TOUCH_BYTES) else {
            return Ok(());
        };
        let mut touches = SliceSink::new(room.as_mut_slice());
        write_touches(sites, &mut touches);
        let touches = touches.written();
        let head_bytes = HEAD_BYTES + touches.len();
        let bytes = head_bytes + shown * SITE_BYTES + FRAME_BYTES + TAIL_BYTES;
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
        let head = Faults { touches, ..*head };
        let mut writer = encode_faults(&head, &mut sink).map_err(|_| Failure::Full)?;
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

/// When and in which order the sites with most faults were touched.
fn write_touches(sites: &[faults::OfSite], sink: &mut SliceSink<'_>) {
    let mut least = LEAST_TOUCHED;
    while sites.iter().filter(|of| total(&of.count) >= least).count() > MOST_TOUCHED {
        least = least.saturating_mul(2);
    }
    let mut writer = TouchWriter::new(sink);
    for of in sites.iter().filter(|of| total(&of.count) >= least) {
        // There is room for all.
        let _ = writer.push(&SiteTouch {
            site: of.site,
            compared: of.order.compared,
            in_order: of.order.in_order,
            first_ms: of.order.first_ms,
            last_ms: of.order.last_ms,
        });
    }
}

fn total(count: &FaultCount) -> u64 {
    count.minor.saturating_add(count.major)
}
