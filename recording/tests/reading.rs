//! What a reader gets from whole files.

mod common;

use common::*;
use leaktrack_recording::*;

#[test]
fn records_come_in_logical_order() {
    let (first, second) = (
        deltas(&[allocated(1, 5)]),
        deltas(&[allocated(1, 2), allocated(9, 1)]),
    );
    let defs_1 = [Record::Arg(b"server"), Record::Arg(b"-v")];
    let defs_2 = [Record::Thread {
        tid: 12,
        name: b"worker",
    }];
    let events = [Record::Event {
        at_ms: 3,
        kind: EventKind::Mark,
        text: b"here",
    }];
    let mut file = File::new();
    file.segment(SegmentKind::Events, 4, 1, &events);
    file.segment(
        SegmentKind::Snapshots,
        3,
        2,
        &[snapshot(1, 1, &second), snapshot(0, 1, &first)],
    );
    file.segment(SegmentKind::Defs, 5, 1, &defs_2);
    file.segment(SegmentKind::Free, 2, 3, &[]);
    file.segment(SegmentKind::Defs, 1, 1, &defs_1);
    file.0.resize(file.0.len() + 10 * BLOCK_BYTES, 0);

    read(&file.0, |records, problems| {
        assert_eq!(problems, []);
        let expected = [
            defs_1[0],
            defs_1[1],
            defs_2[0],
            snapshot(0, 1, &first),
            snapshot(1, 1, &second),
            events[0],
        ];
        assert_eq!(records, expected);
    });
}

/// The snapshots that a reader sees: first index, indices, blocks allocated at site 1.
fn seen(bytes: &[u8]) -> Vec<(u64, u32, u64)> {
    read(bytes, |records, problems| {
        assert_eq!(problems, []);
        let look = |record: &Record<'_>| match record {
            Record::Snapshot(s) => (
                s.head.index,
                s.head.merged,
                s.deltas().map(|d| d.allocations).sum(),
            ),
            other => panic!("{other:?}"),
        };
        records.iter().map(look).collect()
    })
}

/// Thinning, stopped after each of its steps: the sum over the snapshots never changes.
#[test]
fn an_interrupted_thinning_counts_nothing_twice() {
    let lists: Vec<_> = (0..6).map(|i| deltas(&[allocated(1, 1 << i)])).collect();
    let single: Vec<_> = (0..6).map(|i| snapshot(i as u64, 1, &lists[i])).collect();
    let pairs: Vec<_> = (0..3)
        .map(|i| {
            let mut sink = Bytes::default();
            let (Record::Snapshot(a), Record::Snapshot(b)) = (single[2 * i], single[2 * i + 1])
            else {
                unreachable!()
            };
            merge(&a, &b, &mut sink).unwrap();
            framed_payload(3, &sink.0)
        })
        .collect();
    let mut file = File::new();
    let kind = SegmentKind::Snapshots;
    let old = [
        file.segment(kind, 1, 1, &single[..4]),
        file.segment(kind, 2, 1, &single[4..]),
    ];
    let new = file.segment(kind, 3, 1, &[]);

    let mut end = new + SEGMENT_HEADER_BYTES;
    for (done, pair) in pairs.iter().enumerate() {
        let expected: Vec<_> = (0..6u64)
            .filter(|i| *i as usize >= 2 * done || i % 2 == 0)
            .map(|i| {
                if (i as usize) < 2 * done {
                    (i, 2, 3 << i)
                } else {
                    (i, 1, 1 << i)
                }
            })
            .collect();
        assert_eq!(seen(&file.0), expected);
        file.0[end..end + pair.len()].copy_from_slice(pair);
        end += pair.len();
    }
    let thinned = [(0, 2, 3), (2, 2, 12), (4, 2, 48)];
    assert_eq!(seen(&file.0), thinned);
    for (start, seq) in [(old[0], 1), (old[1], 2)] {
        file.write(start, SegmentKind::Free, seq, 1, &[]);
        assert_eq!(seen(&file.0), thinned);
    }
}

#[test]
fn of_overlapping_snapshots_the_one_written_last_is_kept() {
    let list = |count| deltas(&[allocated(1, count)]);
    let (one, two, four) = (list(1), list(2), list(4));
    let kind = SegmentKind::Snapshots;
    for (first, second, kept) in [(1, 2, (4, 1, 2)), (2, 1, (4, 1, 1))] {
        let mut file = File::new();
        file.segment(kind, first, 1, &[snapshot(4, 1, &one)]);
        file.segment(kind, second, 1, &[snapshot(4, 1, &two)]);
        assert_eq!(seen(&file.0), [kept]);
    }
    // In one segment, the later.
    let mut file = File::new();
    file.segment(kind, 1, 1, &[snapshot(4, 1, &one), snapshot(4, 1, &two)]);
    assert_eq!(seen(&file.0), [(4, 1, 2)]);
    // Twice merged.
    let mut file = File::new();
    file.segment(kind, 9, 1, &[snapshot(0, 4, &four), snapshot(4, 1, &one)]);
    file.segment(kind, 7, 1, &[snapshot(0, 2, &two), snapshot(2, 2, &two)]);
    file.segment(kind, 3, 1, &[0, 1, 2, 3].map(|i| snapshot(i, 1, &one)));
    assert_eq!(seen(&file.0), [(0, 4, 4), (4, 1, 1)]);
}

/// Blocks used again, from one big segment to smaller ones and back: only what was written for
/// the present use is seen, whatever is left behind it.
#[test]
fn stale_bytes_of_an_earlier_use_never_look_valid() {
    let mut file = File::new();
    let names: Vec<String> = (0..600).map(|i| format!("argument number {i}")).collect();
    let args: Vec<_> = names
        .iter()
        .map(|name| Record::Arg(name.as_bytes()))
        .collect();
    let start = file.segment(SegmentKind::Defs, 1, 4, &args[..500]);
    let second = start + BLOCK_BYTES;
    let look = |file: &File, expected: &[Record<'_>]| {
        read(&file.0, |records, problems| {
            assert_eq!(records, expected);
            assert_eq!(problems, []);
        });
    };
    look(&file, &args[..500]);
    // Freed, and used again under every number and with every length.
    for seq in 2..400u64 {
        // Just the new header: what follows it was valid under the number before.
        let header = SegmentHeader {
            kind: SegmentKind::Defs,
            level: 0,
            blocks: 4,
            seq,
        };
        file.0[start..start + SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode());
        read(&file.0, |records, _| assert_eq!(records, []));
        file.write(start, SegmentKind::Free, seq - 1, 4, &[]);
        look(&file, &[]);
        let count = (seq as usize * 7) % 500;
        file.write(start, SegmentKind::Defs, seq, 4, &args[..count]);
        look(&file, &args[..count]);
    }
    // Divided: the rest first.
    file.write(start, SegmentKind::Free, 399, 4, &[]);
    file.write(second, SegmentKind::Free, 399, 3, &[]);
    look(&file, &[]);
    file.write(start, SegmentKind::Defs, 500, 1, &args[590..]);
    look(&file, &args[590..]);
    file.write(second, SegmentKind::Defs, 501, 3, &args[..3]);
    look(&file, &[&args[590..], &args[..3]].concat());
    // Joined.
    file.write(start, SegmentKind::Free, 500, 4, &[]);
    look(&file, &[]);
    file.write(start, SegmentKind::Defs, 502, 4, &args[5..6]);
    look(&file, &args[5..6]);
}

/// An append as the crate's documentation asks for it, stopped after each byte.
#[test]
fn an_append_is_seen_whole_or_not_at_all() {
    let mut file = File::new();
    let first = [Record::Arg(b"one")];
    let start = file.segment(SegmentKind::Defs, 1, 1, &first);
    let at = start + SEGMENT_HEADER_BYTES + framed(1, &first[0]).len();
    file.0[at + END_OF_FRAMES.len()..].fill(0xa5);
    let frame = framed(1, &Record::Arg(b"two"));
    let (head, record) = frame.split_at(FRAME_HEADER_BYTES);
    for byte in 0..record.len() + END_OF_FRAMES.len() {
        file.0[at + head.len() + byte] = record.get(byte).copied().unwrap_or(0);
        read(&file.0, |records, problems| {
            assert_eq!(records, first);
            assert_eq!(problems, []);
        });
    }
    file.0[at..at + head.len()].copy_from_slice(head);
    read(&file.0, |records, problems| {
        assert_eq!(records, [Record::Arg(b"one"), Record::Arg(b"two")]);
        assert_eq!(problems, []);
    });
}

#[test]
fn what_a_newer_minor_version_adds_is_passed_over() {
    let mut file = File::new();
    let mut header = FileHeader::new([7; 16], 1);
    header.minor = MINOR + 1;
    file.0[..FILE_HEADER_BYTES].copy_from_slice(&header.encode());
    let start = file.segment(SegmentKind::Events, 1, 1, &[]);
    file.segment(SegmentKind::Other(77), 2, 1, &[]);
    let mut frames = framed_payload(1, &[200, 1, 2, 3]);
    // An event of kind 99 with a field more; an end with a field more.
    frames.extend(framed_payload(1, &[12, 5, 99, 2, b'h', b'i', 1, 1]));
    frames.extend(framed_payload(1, &[13, 6, 0, 2, 1, 1]));
    file.0[start + SEGMENT_HEADER_BYTES..][..frames.len()].copy_from_slice(&frames);

    // A snapshot whose head has a field more.
    let list = deltas(&[allocated(3, 3)]);
    let mut payload = Bytes::default();
    encode(&snapshot(0, 1, &list), &mut payload).unwrap();
    let head_len = usize::from(payload.0[1]);
    payload.0[1] += 2;
    payload.0.splice(2 + head_len..2 + head_len, [0xff, 0x01]);
    let start = file.segment(SegmentKind::Snapshots, 3, 1, &[]);
    let frame = framed_payload(3, &payload.0);
    file.0[start + SEGMENT_HEADER_BYTES..][..frame.len()].copy_from_slice(&frame);

    assert_eq!(Recording::open(&file.0).unwrap().header(), Some(header));
    read(&file.0, |records, problems| {
        assert_eq!(problems, []);
        let expected = [
            snapshot(0, 1, &list),
            Record::Event {
                at_ms: 5,
                kind: EventKind::Note,
                text: b"hi",
            },
            Record::End {
                at_ms: 6,
                kind: EndKind::Exit,
                status: 1,
            },
        ];
        assert_eq!(records, expected);
    });
}

/// A damaged file header costs the version and the identity, not the records.
#[test]
fn a_damaged_file_header_is_a_problem_only() {
    let mut file = sample();
    file.0[20] ^= 1;
    let recording = Recording::open(&file.0).unwrap();
    assert_eq!(recording.header(), None);
    read(&file.0, |records, problems| {
        assert_eq!(records.len(), frames(&file.0).len());
        assert_eq!(
            problems,
            [Problem {
                offset: 0,
                len: 64,
                fault: Fault::Header
            }]
        );
        assert_eq!(
            problems[0].to_string(),
            "64 bytes at offset 0: the file header is damaged"
        );
    });
}

#[test]
fn records_in_the_wrong_kind_of_segment_are_left_out() {
    let mut file = File::new();
    file.segment(
        SegmentKind::Defs,
        1,
        1,
        &[snapshot(0, 1, &[]), Record::Arg(b"right")],
    );
    file.segment(
        SegmentKind::Snapshots,
        2,
        1,
        &[Record::Arg(b"wrong"), snapshot(0, 1, &[])],
    );
    read(&file.0, |records, problems| {
        assert_eq!(records, [Record::Arg(b"right"), snapshot(0, 1, &[])]);
        assert_eq!(faults(&problems), [Fault::Unreadable, Fault::Unreadable]);
    });
}

#[test]
fn the_control_page_is_none_of_the_readers_business() {
    let mut file = sample();
    file.0[control::OFFSET as usize..][..control::LEN as usize].fill(0xff);
    read(&file.0, |_, problems| assert_eq!(problems, []));
}
