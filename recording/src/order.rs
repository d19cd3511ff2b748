//! Owns the logical order of records, whatever their order in the file.

use core::slice;

use crate::header::SegmentKind;
use crate::reader::{Segment, SegmentRecords};
use crate::types::{Record, Snapshot};

/// All records in logical order: definitions in the order in which they were written, snapshots
/// by index, then ages, then events, both in the order in which they were written.
///
/// The two slices hold what [`Recording::segments`](crate::Recording::segments) and
/// [`Recording::snapshots`](crate::Recording::snapshots) returned; they are sorted here. Where
/// thinning was interrupted, a snapshot is in the file twice, alone and merged: only the newer is
/// returned. No two that are returned overlap.
pub fn in_order<'a, 's>(
    segments: &'s mut [Segment<'a>],
    snapshots: &'s mut [SnapshotRef<'a>],
) -> Records<'a, 's> {
    segments.sort_unstable_by_key(|s| (rank(s.header.kind), s.header.seq, s.offset));
    supersede(snapshots);
    Records {
        segments: segments.iter(),
        snapshots: snapshots.iter(),
        current: None,
    }
}

/// The place of a kind of segment in the logical order.
fn rank(kind: SegmentKind) -> u8 {
    match kind {
        SegmentKind::Defs => 0,
        SegmentKind::Snapshots => 1,
        SegmentKind::Ages => 2,
        SegmentKind::Events => 3,
        SegmentKind::Free | SegmentKind::Symbols | SegmentKind::Other(_) => 4,
    }
}

/// Where a snapshot is and what it covers.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotRef<'a> {
    /// First snapshot index covered.
    pub index: u64,
    /// One past the last.
    pub end_index: u64,
    /// The segment it is in.
    pub seq: u64,
    offset: u64,
    snapshot: Snapshot<'a>,
    superseded: bool,
}

impl<'a> SnapshotRef<'a> {
    /// Of `snapshot`, which is at `offset` in the file.
    pub(crate) fn new(snapshot: Snapshot<'a>, seq: u64, offset: u64) -> Self {
        SnapshotRef {
            index: snapshot.head.index,
            end_index: snapshot.head.end_index(),
            seq,
            offset,
            snapshot,
            superseded: false,
        }
    }

    /// The higher, the later it was written.
    fn age(&self) -> (u64, u64) {
        (self.seq, self.offset)
    }
}

/// Sorts by index and marks, of any two that overlap, the older.
///
/// The last one kept is the only one kept that the next can overlap: those before it end where it
/// begins or earlier, and the next does not begin before it.
fn supersede(snapshots: &mut [SnapshotRef<'_>]) {
    snapshots.sort_unstable_by_key(|s| (s.index, s.age()));
    let mut kept: Option<&mut SnapshotRef<'_>> = None;
    for next in snapshots {
        next.superseded = false;
        kept = match kept {
            Some(last) if next.index < last.end_index => {
                let (newer, older) = if next.age() > last.age() {
                    (next, last)
                } else {
                    (last, next)
                };
                older.superseded = true;
                Some(newer)
            }
            _ => Some(next),
        };
    }
}

/// See [`in_order`].
#[derive(Clone, Debug)]
pub struct Records<'a, 's> {
    segments: slice::Iter<'s, Segment<'a>>,
    snapshots: slice::Iter<'s, SnapshotRef<'a>>,
    current: Option<SegmentRecords<'a>>,
}

impl<'a> Iterator for Records<'a, '_> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            if let Some(record) = self.current.as_mut().and_then(Iterator::next) {
                return Some(record);
            }
            self.current = None;
            let defs = |s: &&Segment<'_>| s.header.kind == SegmentKind::Defs;
            if !self.segments.as_slice().first().as_ref().is_some_and(defs) {
                let mut kept = self.snapshots.by_ref().filter(|s| !s.superseded);
                if let Some(kept) = kept.next() {
                    return Some(Record::Snapshot(kept.snapshot));
                }
            }
            let mut others = self
                .segments
                .by_ref()
                .filter(|s| s.header.kind != SegmentKind::Snapshots);
            self.current = Some(others.next()?.records());
        }
    }
}
