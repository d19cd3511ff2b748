//! Builds recordings in memory, the way the library does.
#![allow(dead_code, reason = "each test uses its part")]

use leaktrack_recording::*;

/// A sink that grows.
#[derive(Default)]
pub struct Bytes(pub Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// `record` with its frame.
pub fn framed(seq: u64, record: &Record<'_>) -> Vec<u8> {
    let mut payload = Bytes::default();
    encode(record, &mut payload).unwrap();
    framed_payload(seq, &payload.0)
}

/// `payload` with its frame.
pub fn framed_payload(seq: u64, payload: &[u8]) -> Vec<u8> {
    [&frame_header(seq, payload).unwrap()[..], payload].concat()
}

/// Packed deltas.
pub fn deltas(deltas: &[SiteDelta]) -> Vec<u8> {
    let mut sink = Bytes::default();
    let mut writer = DeltaWriter::new(&mut sink);
    deltas.iter().for_each(|delta| writer.push(delta).unwrap());
    sink.0
}

/// A delta of `count` blocks of 10 bytes, none freed.
pub fn allocated(site: u32, count: u64) -> SiteDelta {
    SiteDelta {
        site,
        allocations: count,
        allocated_bytes: count * 10,
        ..Default::default()
    }
}

/// A snapshot over `merged` indices.
pub fn snapshot(index: u64, merged: u32, deltas: &[u8]) -> Record<'_> {
    let head = SnapshotHead {
        index,
        merged,
        at_ms: (index + u64::from(merged)) * 1000,
        ..Default::default()
    };
    Record::Snapshot(Snapshot { head, deltas })
}

/// A file under construction.
pub struct File(pub Vec<u8>);

impl File {
    /// Just the first block.
    pub fn new() -> Self {
        let mut bytes = FileHeader::new([7; 16], 1_700_000_000_000_000_000)
            .encode()
            .to_vec();
        bytes.resize(BLOCK_BYTES, 0);
        File(bytes)
    }

    /// Appends a segment of `blocks` and returns where it begins.
    pub fn segment(
        &mut self,
        kind: SegmentKind,
        seq: u64,
        blocks: u32,
        records: &[Record<'_>],
    ) -> usize {
        let start = self.0.len();
        self.0.resize(start + blocks as usize * BLOCK_BYTES, 0);
        self.reuse(start, kind, seq, blocks, records);
        start
    }

    /// Writes a segment over what is there.
    pub fn reuse(
        &mut self,
        start: usize,
        kind: SegmentKind,
        seq: u64,
        blocks: u32,
        records: &[Record<'_>],
    ) {
        let mut bytes = SegmentHeader {
            kind,
            level: 0,
            blocks,
            seq,
        }
        .encode()
        .to_vec();
        for record in records {
            bytes.extend(framed(seq, record));
        }
        let room = blocks as usize * BLOCK_BYTES;
        assert!(bytes.len() <= room, "records do not fit");
        if bytes.len() + FRAME_HEADER_BYTES <= room {
            bytes.extend([0; FRAME_HEADER_BYTES]);
        }
        self.0[start..start + bytes.len()].copy_from_slice(&bytes);
    }
}

/// Reads all in logical order and hands it to `look`.
pub fn read<T>(bytes: &[u8], look: impl FnOnce(Vec<Record<'_>>, Vec<Problem>) -> T) -> T {
    let recording = Recording::open(bytes).expect("a recording");
    let mut segments: Vec<_> = recording.segments().collect();
    let mut snapshots: Vec<_> = recording.snapshots().collect();
    let records = in_order(&mut segments, &mut snapshots).collect();
    look(records, recording.problems().collect())
}
