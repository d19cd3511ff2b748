//! Owns what the writer remembers of a segment in use.

use super::space::{Extent, blocks_for};
use leaktrack_recording::{FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentKind};

/// Zeros after the last frame: where they stand a reader stops, whatever an earlier use left there.
pub const END_BYTES: u64 = 8;
/// Room in front of a payload for its frame.
pub const FRAME_BYTES: usize = FRAME_HEADER_BYTES;
/// Room in front of the first frame.
pub const HEADER_BYTES: u64 = SEGMENT_HEADER_BYTES as u64;

/// A segment in use.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Where.
    pub extent: Extent,
    /// Its number.
    pub seq: u64,
    /// What it holds.
    pub kind: SegmentKind,
    /// How often its snapshots were thinned.
    pub level: u8,
    /// Bytes in use, the header included, the end mark not.
    pub used: u64,
    /// Records in it.
    pub records: u32,
    /// First snapshot index covered.
    pub first: u64,
    /// One past the last.
    pub end: u64,
    /// Its snapshots cannot be merged any further.
    pub stuck: bool,
}

impl Segment {
    /// An empty one.
    pub fn new(extent: Extent, seq: u64, kind: SegmentKind, level: u8) -> Segment {
        Segment {
            extent,
            seq,
            kind,
            level,
            used: HEADER_BYTES,
            records: 0,
            first: u64::MAX,
            end: 0,
            stuck: false,
        }
    }

    /// Blocks that a segment with `bytes` of frames needs.
    pub fn blocks_for(bytes: u64) -> u32 {
        blocks_for(HEADER_BYTES.saturating_add(bytes).saturating_add(END_BYTES))
    }

    /// Bytes of frames that still fit.
    pub fn room(&self) -> u64 {
        self.extent
            .bytes()
            .saturating_sub(self.used.saturating_add(END_BYTES))
    }

    /// Its header on disk.
    pub fn header(&self) -> SegmentHeader {
        SegmentHeader {
            kind: self.kind,
            level: self.level,
            blocks: self.extent.blocks,
            seq: self.seq,
        }
    }

    /// Where the next frame goes.
    pub fn write_offset(&self) -> u64 {
        self.extent.offset() + self.used
    }

    /// Counts a snapshot's frame.
    pub fn add(&mut self, bytes: u64, first: u64, end: u64) {
        self.used += bytes;
        self.records += 1;
        self.first = self.first.min(first);
        self.end = self.end.max(end);
    }

    /// How fine its snapshots are for their age: age over spacing, in 256ths.
    pub fn fineness(&self, now: u64) -> u64 {
        let span = self.end.saturating_sub(self.first).max(1);
        let middle = self.first.saturating_add(span / 2);
        let age = now.saturating_sub(middle).max(1);
        let points = age
            .saturating_mul(u64::from(self.records))
            .saturating_mul(256);
        points / span
    }
}
