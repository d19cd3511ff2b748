//! Owns how large blocks were, as a snapshot tells it.

use leaktrack_recording::{SiteSizes, SizesWriter, SliceSink, encode_sizes};

use super::source::Source;
use crate::recorder::{Buffer, FRAME_BYTES, Failure, Kept, Recorder, TAIL_BYTES};
use crate::sites::sizes;
use crate::sites::tally::Sizes;

/// Room for a typical site; if all find none, those that allocated seldom are left out.
const SITE_BYTES: usize = 20;

/// Puts the sizes of all sites, without what was counted `before`, in the place of the last ones; of
/// those that allocated most if not all find room. Does nothing without memory.
pub fn write(
    source: &impl Source,
    before: &Sizes,
    recorder: &mut Recorder,
    now_ms: u64,
) -> Result<(), Failure> {
    let sites = source.sites();
    let Some(now) = source.sizes() else {
        return Ok(());
    };
    let limit = recorder.payload_limit() as usize;
    let bytes = 64 + sites as usize * SITE_BYTES + FRAME_BYTES + TAIL_BYTES;
    let Some(mut buffer) = Buffer::of(bytes.min(limit)) else {
        return Ok(());
    };
    let is_sampled = source.beyond_sites().is_some();
    for least_allocations in [1, 8, 64, 512, 4096, 1 << 15, 1 << 20] {
        let end = buffer.len() - TAIL_BYTES;
        let room = buffer.as_mut_slice().get_mut(FRAME_BYTES..end);
        let mut sink = SliceSink::new(room.unwrap_or_default());
        let Ok(mut writer) = encode_sizes(now_ms, least_allocations, &mut sink) else {
            break;
        };
        let all = (1..=sites).map(|site| {
            let (temporary, counted) = now.since(before, site);
            SiteSizes {
                site,
                temporary: (!is_sampled).then_some(temporary),
                allocated: counted.and_then(|counted| sizes::whole(site, &counted)),
            }
        });
        if put(all, least_allocations, &mut writer) {
            let len = sink.len();
            return recorder.replace(Kept::Sizes, buffer.as_mut_slice(), len);
        }
    }
    Ok(())
}

/// False when they do not fit. A site of which nothing is known is told as such.
fn put(
    sites: impl Iterator<Item = SiteSizes>,
    least_allocations: u64,
    writer: &mut SizesWriter<'_>,
) -> bool {
    let matters = |site: &SiteSizes| {
        let counts = site.allocated.as_ref();
        counts.is_none_or(|counts| counts.iter().sum::<u64>() >= least_allocations)
    };
    let mut sites = sites.filter(matters);
    sites.all(|site| writer.push(&site).is_ok())
}
