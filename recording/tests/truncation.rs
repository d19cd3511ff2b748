//! A file that ends anywhere yields every record that is whole before its end.

mod common;

use common::*;
use leaktrack_recording::*;

#[test]
fn the_sample_is_whole() {
    let file = sample();
    read(&file.0, |records, problems| {
        assert_eq!(problems, []);
        assert_eq!(records.len(), frames(&file.0).len());
        assert!(matches!(records.first(), Some(Record::Process(_))));
        assert!(matches!(records.last(), Some(Record::End { .. })));
        let kinds: std::collections::HashSet<_> =
            records.iter().map(std::mem::discriminant).collect();
        assert_eq!(kinds.len(), 19, "a kind of record is missing in the sample");
    });
}

#[test]
fn every_length_yields_what_is_whole() {
    let file = sample();
    let frames = frames(&file.0);
    let used = frames.iter().map(|frame| frame.end).max().unwrap();
    let last_segment = used - used % BLOCK_BYTES;
    read(&file.0, |all, _| {
        for len in 0..=file.0.len() {
            let cut = &file.0[..len];
            if len <= 8 {
                let error = Recording::open(cut).unwrap_err();
                assert_eq!(error.what, OpenFault::Empty, "at {len}");
                continue;
            }
            read(cut, |records, problems| {
                // The sample's segments are in logical order, so the records are a prefix.
                let whole = frames.iter().filter(|frame| frame.end <= len).count();
                assert_eq!(records, all[..whole], "at {len}");
                let faults = faults(&problems);
                assert_eq!(
                    faults.contains(&Fault::Header),
                    len < FILE_HEADER_BYTES,
                    "at {len}"
                );
                let amid = frames.iter().any(|f| (f.start + 8..f.end).contains(&len));
                assert_eq!(faults.contains(&Fault::Unfinished), amid, "at {len}");
                let in_segment = (BLOCK_BYTES..last_segment + BLOCK_BYTES).contains(&len);
                let into = len % BLOCK_BYTES;
                let headless = in_segment && (1..SEGMENT_HEADER_BYTES).contains(&into);
                assert_eq!(faults.contains(&Fault::NoSegment), headless, "at {len}");
                let short = in_segment && into >= SEGMENT_HEADER_BYTES;
                assert_eq!(faults.contains(&Fault::CutOff), short, "at {len}");
            });
        }
    });
}

/// A block that was not written, as after a power cut, in place of each.
#[test]
fn a_lost_block_loses_only_its_own_records() {
    let file = sample();
    for block in (BLOCK_BYTES..file.0.len()).step_by(BLOCK_BYTES) {
        let mut holed = file.clone();
        let lost = block..block + BLOCK_BYTES;
        holed.0[lost.clone()].fill(0);
        let left = frames(&file.0)
            .iter()
            .filter(|frame| !lost.contains(&frame.start))
            .count();
        read(&holed.0, |records, problems| {
            assert_eq!(records.len(), left);
            assert_eq!(problems, []);
        });
    }
}

#[test]
fn files_that_are_no_recording_say_so() {
    let error = |bytes: &[u8]| Recording::open(bytes).unwrap_err().to_string();
    assert_eq!(
        error(&[]),
        "the recording is empty: the process ended before anything was written to it"
    );
    assert_eq!(error(&[0; 5000]), error(&[]));
    assert_eq!(error(b"\x7fELF and so on"), "not a leaktrack recording");
    let mut newer = FileHeader::new([0; 16], 0);
    newer.major = MAJOR + 1;
    newer.minor = 3;
    assert_eq!(
        error(&newer.encode()),
        "the recording is of format 2.3, this leaktrack reads format 1: \
         use the leaktrack that recorded it, or a newer one"
    );
}

#[test]
fn problems_name_their_place() {
    let file = sample();
    let cut = BLOCK_BYTES + 2000;
    let first = read(&file.0[..cut], |_, problems| problems[0].to_string());
    assert_eq!(
        first,
        "2096 bytes at offset 6096: missing, the file was cut off here"
    );
}
