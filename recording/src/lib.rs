//! The file format of leaktrack recordings: the one thing that the preload library and the
//! analyzer share.
//!
//! This crate never allocates, never panics on any input, and depends on nothing.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod control;
mod crc32c;
mod deltas;
mod fields;
mod frame;
mod header;
mod merge;
mod order;
mod problem;
mod reader;
mod record;
mod sink;
mod types;

pub use crc32c::{Crc32c, crc32c};
pub use deltas::{AgeWriter, DeltaWriter, Deltas, SiteAges};
pub use frame::{FRAME_HEADER_BYTES, Frame, Frames, frame_header, frame_into};
pub use header::{
    BLOCK_BYTES, FILE_HEADER_BYTES, FileHeader, MAJOR, MINOR, SEGMENT_HEADER_BYTES, SegmentHeader,
    SegmentKind,
};
pub use merge::merge;
pub use order::{Records, SnapshotRef, in_order};
pub use problem::{Fault, OpenError, OpenFault, Problem};
pub use reader::{Problems, Recording, Segment, SegmentRecords, Segments, Snapshots};
pub use record::{encode, encode_ages, encode_snapshot};
pub use sink::{Full, Measure, Sink, SliceSink, WriteError};
pub use types::*;
