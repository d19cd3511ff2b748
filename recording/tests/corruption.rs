//! Damaged, hostile and random bytes: nothing panics, nothing is invented, what is whole is read.

mod common;

use common::*;
use leaktrack_recording::*;

/// True if `part` is `whole` with some left out.
fn is_subsequence(part: &[Record<'_>], whole: &[Record<'_>]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|record| rest.any(|other| other == record))
}

/// One byte changed, at every place and to several values: only the frame it is in is lost, as
/// long as it is not a length or a segment's header.
#[test]
fn a_changed_byte_loses_no_more_than_its_record() {
    let file = sample();
    let frames = frames(&file.0);
    read(&file.0, |all, _| {
        let used = |at: &usize| {
            let before = at.saturating_sub(SEGMENT_HEADER_BYTES);
            file.0[before..=*at].iter().any(|&byte| byte != 0)
        };
        for at in (0..file.0.len()).filter(used) {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = file.clone();
                changed.0[at] ^= change;
                if at < 8 {
                    assert!(Recording::open(&changed.0).is_err());
                    continue;
                }
                read(&changed.0, |records, problems| {
                    assert!(is_subsequence(&records, &all), "invented at {at}");
                    let frame = frames.iter().find(|frame| frame.contains(&at));
                    match frame {
                        Some(frame) if at >= frame.start + 4 => {
                            assert_eq!(records.len(), all.len() - 1, "at {at}");
                            assert_eq!(problems.len(), 1);
                            assert_eq!(problems[0].offset, frame.start as u64);
                            assert_eq!(problems[0].len, frame.len() as u64);
                        }
                        Some(frame) => {
                            assert!(records.len() < all.len());
                            assert_eq!(problems[0].offset, frame.start as u64);
                        }
                        None if records.len() < all.len() => assert!(!problems.is_empty()),
                        None => {}
                    }
                });
            }
        }
    });
}

/// Many changes at once: bytes, runs, blocks copied over others, cuts.
#[test]
fn wild_changes_invent_nothing() {
    let file = sample();
    let mut dice = Dice(42);
    read(&file.0, |all, _| {
        for _ in 0..1500 {
            let mut bytes = file.0.clone();
            for _ in 0..1 + dice.below(8) {
                let at = 8 + dice.below(bytes.len() - 8);
                match dice.below(5) {
                    0 => bytes[at] = dice.roll() as u8,
                    1 => bytes[at] ^= 1 << dice.below(8),
                    2 => {
                        let end = (at + dice.below(300)).min(bytes.len());
                        bytes[at..end].fill_with(|| dice.roll() as u8);
                    }
                    3 => {
                        let end = (at + dice.below(300)).min(bytes.len());
                        bytes[at..end].fill(0);
                    }
                    _ => {
                        let from = dice.below(bytes.len());
                        let len = dice.below(3000).min(bytes.len() - at.max(from));
                        bytes.copy_within(from..from + len, at);
                    }
                }
            }
            bytes.truncate(bytes.len() - dice.below(2) * dice.below(bytes.len() / 2));
            read_anything(&bytes);
            if let Ok(recording) = Recording::open(&bytes) {
                let known = |record: Record<'_>| all.contains(&record);
                assert!(recording.segments().flat_map(|s| s.records()).all(known));
            }
        }
    });
}

/// Reads as if `bytes` were a recording, and checks what holds for any.
fn read_anything(bytes: &[u8]) {
    if Recording::open(bytes).is_err() {
        return;
    }
    read(bytes, |records, problems| {
        let mut covered = 0;
        for record in records {
            match record {
                Record::Snapshot(snapshot) => {
                    assert!(snapshot.head.index >= covered, "two snapshots overlap");
                    covered = snapshot.head.end_index();
                    assert!(snapshot.deltas().is_sorted_by(|a, b| a.site < b.site));
                }
                Record::Lifetimes(list) => {
                    assert!(list.lifetimes().is_sorted_by(|a, b| a.site < b.site));
                }
                Record::Sizes(list) => {
                    assert!(list.sizes().is_sorted_by(|a, b| a.site < b.site));
                }
                Record::Losses(l) => assert!(l.losses().is_sorted_by(|a, b| a.site < b.site)),
                Record::Ages(ages) => assert!(ages.ages().is_sorted_by(|a, b| a.site < b.site)),
                Record::Node(node) => assert!(node.parent < node.id),
                _ => {}
            }
        }
        for problem in problems {
            assert!(problem.len > 0, "{problem}");
            let inside = problem.offset + problem.len <= bytes.len() as u64;
            assert!(inside || problem.fault == Fault::CutOff, "{problem}");
        }
    });
}

/// Records of random bytes whose checksums are right, as someone might make them by hand.
#[test]
fn hostile_records_make_sense_or_are_left_out() {
    let mut dice = Dice(7);
    for round in 0..1000 {
        let mut file = File::new();
        for seq in 0..4 {
            let kind = [
                SegmentKind::Defs,
                SegmentKind::Snapshots,
                SegmentKind::Ages,
                SegmentKind::Events,
            ][dice.below(4)];
            let blocks = 1 + dice.below(2) as u32;
            let start = file.segment(kind, seq % 3, blocks, &[]);
            let mut at = start + SEGMENT_HEADER_BYTES;
            while let room @ 9.. = file.0.len() - at {
                let mut payload = vec![0; 1 + dice.below(200.min(room - 8))];
                // Small numbers make longer records.
                let most = if round % 2 == 0 { 256 } else { 4 };
                payload.fill_with(|| dice.below(most) as u8);
                payload[0] = dice.below(34) as u8;
                let frame = framed_payload(seq % 3, &payload);
                file.0[at..at + frame.len()].copy_from_slice(&frame);
                at += frame.len();
            }
        }
        read_anything(&file.0);
    }
}

/// A right checksum over what makes no sense.
#[test]
fn senseless_records_are_reported_and_left_out() {
    let cut_list = [&deltas(&[allocated(1, 300)])[..], &[1, 2]].concat();
    let zero_step = [0, 1, 1, 1, 1];
    let mut endless = Bytes::default();
    encode(&snapshot(0, 1, &[]), &mut endless).unwrap();
    let (index, merged) = (3, 4);
    endless.0.splice(
        index..merged,
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    );
    endless.0[1] += 9;

    let mut file = File::new();
    let records = [
        snapshot(0, 1, &cut_list),
        snapshot(1, 1, &zero_step),
        snapshot(2, 1, &[]),
    ];
    let start = file.segment(SegmentKind::Snapshots, 1, 1, &records);
    let end =
        start + SEGMENT_HEADER_BYTES + records.map(|r| framed(1, &r).len()).iter().sum::<usize>();
    let frame = framed_payload(1, &endless.0);
    file.0[end..end + frame.len()].copy_from_slice(&frame);
    let own_parent = Node {
        id: 5,
        parent: 5,
        module: 0,
        offset: 0,
        exact: false,
    };
    let node = Record::Node(own_parent);
    let younger = Record::Node(Node {
        parent: 6,
        ..own_parent
    });
    file.segment(
        SegmentKind::Defs,
        2,
        1,
        &[node, younger, Record::Arg(b"fine")],
    );

    read(&file.0, |read, problems| {
        assert_eq!(read, [Record::Arg(b"fine"), records[2]]);
        assert_eq!(faults(&problems), [Fault::Unreadable; 5]);
    });
}

/// A length that became zero is not taken for the end, nor one that leads out of the segment.
#[test]
fn an_impossible_length_is_reported() {
    let file = sample();
    for frame in frames(&file.0) {
        for len in [0, BLOCK_BYTES as u32, u32::MAX] {
            let mut wrong = file.clone();
            wrong.0[frame.start..frame.start + 4].copy_from_slice(&len.to_le_bytes());
            read(&wrong.0, |_, problems| {
                assert_eq!(faults(&problems), [Fault::Damaged]);
                assert_eq!(problems[0].offset, frame.start as u64);
                let end = problems[0].offset + problems[0].len;
                assert_eq!(end, frame.start.next_multiple_of(BLOCK_BYTES) as u64);
            });
        }
    }
}

#[test]
fn a_segment_of_no_blocks_is_none() {
    let header = SegmentHeader {
        kind: SegmentKind::Defs,
        level: 0,
        blocks: 0,
        seq: 1,
    };
    assert_eq!(SegmentHeader::decode(&header.encode()), None);
    let mut file = File::new();
    file.0.extend(header.encode());
    read(&file.0, |records, problems| {
        assert_eq!(records, []);
        assert_eq!(faults(&problems), [Fault::NoSegment]);
    });
}

/// Files shaped to take more time than their length deserves: with a square of their length in
/// steps these would not end.
#[test]
fn time_is_linear() {
    const LEN: usize = 1 << 20;
    let repeat = |pattern: &[u8]| -> Vec<u8> {
        let mut bytes = File::new().0;
        bytes.extend(pattern.iter().copied().cycle().take(LEN));
        bytes
    };
    let header = |kind, blocks| {
        SegmentHeader {
            kind,
            level: 0,
            blocks,
            seq: 1,
        }
        .encode()
    };
    let one_segment = |frame: &[u8]| {
        let mut bytes = repeat(frame);
        let header = header(SegmentKind::Snapshots, (LEN / BLOCK_BYTES) as u32);
        bytes[BLOCK_BYTES..][..SEGMENT_HEADER_BYTES].copy_from_slice(&header);
        let frames = &mut bytes[BLOCK_BYTES + SEGMENT_HEADER_BYTES..];
        let len = frames.len();
        let pattern: Vec<u8> = frame.iter().copied().cycle().take(len).collect();
        frames.copy_from_slice(&pattern);
        bytes
    };

    let mut block = header(SegmentKind::Defs, 1).to_vec();
    block.resize(BLOCK_BYTES, 0);
    read_anything(&repeat(&block));
    block[..SEGMENT_HEADER_BYTES].copy_from_slice(&header(SegmentKind::Defs, u32::MAX));
    block[5] = 9;
    read_anything(&repeat(&block));
    read_anything(&repeat(&[0xff]));
    read_anything(&repeat(b"LTSG"));
    // Damaged frames in a row; damaged and good ones in turn; good ones that all overlap.
    let good = framed(1, &snapshot(3, 2, &[]));
    let mut bad = good.clone();
    bad[9] ^= 1;
    read_anything(&one_segment(&bad));
    read_anything(&one_segment(&[&bad[..], &good].concat()));
    read_anything(&one_segment(&good));
    read_anything(&one_segment(&framed(1, &Record::Arg(b""))));
    read_anything(&one_segment(&framed_payload(1, &[99])));
}
