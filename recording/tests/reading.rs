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
