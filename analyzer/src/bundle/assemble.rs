//! Writes the file of a bundle: the records of a recording and, in a last segment, its symbols.
//!
//! The file is built from readable records alone: free space, stale bytes of an earlier use and
//! damaged parts do not come along.

use anyhow::{Context, Result};
use leaktrack_recording::{
    BLOCK_BYTES, FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, Measure, Record, Recording,
    SEGMENT_HEADER_BYTES, SegmentHeader, SegmentKind, SliceSink, control, encode, frame_header,
};

use super::redact::{Redaction, Redactor};
use crate::symbolize::Symbols;

/// The content of a bundle's file.
pub fn assemble(
    recording: &Recording<'_>,
    symbols: &Symbols,
    redaction: Redaction,
) -> Result<Vec<u8>> {
    let process = recording
        .segments()
        .flat_map(|segment| segment.records())
        .find_map(|record| match record {
            Record::Process(process) => Some(process),
            _ => None,
        });
    let process = process.context("it does not say which process it is of")?;
    let redactor = Redactor::new(redaction, process.host);
    let symbols = symbols.redacted(&redactor);

    let mut file = vec![0; BLOCK_BYTES];
    let header = recording
        .header()
        .unwrap_or_else(|| FileHeader::new(process.id, process.started_unix_ns));
    let header = FileHeader::new(header.id, header.created_unix_ns).of_family(header.family);
    file[..FILE_HEADER_BYTES].copy_from_slice(&header.encode());
    if let Some(counts) = recording.family_counts() {
        let at = control::FAMILY as usize;
        file[at..at + control::FamilyCounts::BYTES].copy_from_slice(&counts.encode());
    }
    let mut last_seq = 0;
    for segment in recording.segments() {
        let seq = segment.header.seq;
        last_seq = last_seq.max(seq);
        let mut body = Vec::new();
        let mut result = Ok(());
        for record in segment.records() {
            redactor.record(&record, &mut |record| {
                if let Err(error) = put_record(&mut body, seq, record) {
                    result = Err(error);
                }
            });
        }
        result?;
        put_segment(&mut file, segment.header, &body)?;
    }
    if !symbols.is_empty() {
        let seq = last_seq
            .checked_add(1)
            .context("its last segment has the highest number")?;
        let mut body = Vec::new();
        put_frame(&mut body, seq, &symbols.encode())?;
        let header = SegmentHeader {
            kind: SegmentKind::Symbols,
            level: 0,
            blocks: 1,
            seq,
        };
        put_segment(&mut file, header, &body)?;
    }
    Ok(file)
}

fn put_record(body: &mut Vec<u8>, seq: u64, record: &Record<'_>) -> Result<()> {
    let mut measure = Measure::default();
    encode(record, &mut measure)?;
    let mut payload = vec![0; measure.0];
    encode(record, &mut SliceSink::new(&mut payload))?;
    put_frame(body, seq, &payload)
}

fn put_frame(body: &mut Vec<u8>, seq: u64, payload: &[u8]) -> Result<()> {
    let header = frame_header(seq, payload).context("too many symbols for one recording")?;
    body.extend_from_slice(&header);
    body.extend_from_slice(payload);
    Ok(())
}

/// Appends a segment of as many blocks as `body` needs.
fn put_segment(file: &mut Vec<u8>, header: SegmentHeader, body: &[u8]) -> Result<()> {
    // The end of frames, eight zero bytes, is part of the padding where there is room for it.
    let len =
        (SEGMENT_HEADER_BYTES + body.len() + FRAME_HEADER_BYTES).next_multiple_of(BLOCK_BYTES);
    let blocks = u32::try_from(len / BLOCK_BYTES).context("a segment is too long")?;
    let end = file.len() + len;
    file.extend_from_slice(&SegmentHeader { blocks, ..header }.encode());
    file.extend_from_slice(body);
    file.resize(end, 0);
    Ok(())
}
