//! Owns thinning: one snapshot that says what two said.

use core::iter;

use crate::deltas::TemporaryWriter;
use crate::record::{PutTemporary, encode_snapshot_with};
use crate::sink::{Sink, WriteError};
use crate::types::{RssPeak, SiteDelta, Snapshot, SnapshotHead};

/// Writes, as one record without a frame, a snapshot that stands for both: the later head (its
/// counters are cumulative; the system's figures, which not each has, from the later that has them;
/// the highest resident set of both), the index of the earlier, and the sum of the deltas. It tells
/// temporary blocks of sites if both do.
///
/// The order of the two does not matter, but their ranges must not overlap: that is `Disorder`.
/// What lies between them counts as covered.
pub fn merge(a: &Snapshot<'_>, b: &Snapshot<'_>, sink: &mut dyn Sink) -> Result<(), WriteError> {
    let (first, last) = if a.head.index <= b.head.index {
        (a, b)
    } else {
        (b, a)
    };
    let index = first.head.index;
    if index == last.head.index || first.head.end_index() > last.head.index {
        return Err(WriteError::Disorder);
    }
    let covered = last.head.end_index().saturating_sub(index);
    let merged = u32::try_from(covered).unwrap_or(u32::MAX);
    let put = |sink: &mut dyn Sink| {
        let mut writer = TemporaryWriter::new(sink);
        sums(first, last).try_for_each(|sum| writer.push(&sum))
    };
    let temporary = first.temporary.zip(last.temporary);
    let mut writer = encode_snapshot_with(
        &SnapshotHead {
            index,
            merged,
            system: last.head.system.or(first.head.system),
            rss_peak: rss_peak(&first.head, &last.head),
            ..last.head
        },
        temporary.map(|_| -> PutTemporary<'_> { &put }),
        sink,
    )?;
    for sum in sums(first, last) {
        writer.push(&sum)?;
    }
    Ok(())
}

/// What each site did in both.
fn sums<'a>(
    first: &Snapshot<'a>,
    last: &Snapshot<'a>,
) -> impl Iterator<Item = SiteDelta> + use<'a> {
    let (mut left, mut right) = (first.deltas().peekable(), last.deltas().peekable());
    iter::from_fn(move || {
        let site = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => l.site.min(r.site),
            (Some(one), None) | (None, Some(one)) => one.site,
            (None, None) => return None,
        };
        let l = left.next_if(|delta| delta.site == site).unwrap_or_default();
        let r = right
            .next_if(|delta| delta.site == site)
            .unwrap_or_default();
        Some(SiteDelta {
            site,
            allocations: l.allocations.saturating_add(r.allocations),
            frees: l.frees.saturating_add(r.frees),
            allocated_bytes: l.allocated_bytes.saturating_add(r.allocated_bytes),
            freed_bytes: l.freed_bytes.saturating_add(r.freed_bytes),
            temporary: l.temporary.saturating_add(r.temporary),
        })
    })
}

/// The highest resident set of two snapshots and those that they stand for, unless the last shows
/// it.
fn rss_peak(first: &SnapshotHead, last: &SnapshotHead) -> Option<RssPeak> {
    let own = RssPeak {
        bytes: first.rss_bytes,
        at_ms: first.at_ms,
    };
    [Some(own), first.rss_peak, last.rss_peak]
        .into_iter()
        .flatten()
        .max_by_key(|peak| peak.bytes)
        .filter(|peak| peak.bytes > last.rss_bytes)
}

impl SnapshotHead {
    /// One past the last snapshot index covered.
    pub fn end_index(&self) -> u64 {
        self.index.saturating_add(u64::from(self.merged.max(1)))
    }
}
