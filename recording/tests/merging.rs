//! Thinning: what two snapshots said, one says.

mod common;

use std::collections::BTreeMap;

use common::*;
use leaktrack_recording::*;

fn merged(a: &Snapshot<'_>, b: &Snapshot<'_>) -> Vec<u8> {
    let mut sink = Bytes::default();
    merge(a, b, &mut sink).unwrap();
    framed_payload(1, &sink.0)
}

fn decoded(framed: &[u8]) -> Snapshot<'_> {
    match Frames::new(1, framed, 0).next().unwrap().unwrap().record() {
        Ok(Some(Record::Snapshot(snapshot))) => snapshot,
        other => panic!("{other:?}"),
    }
}

/// Up to 30 sites out of 40, so that two lists share some.
fn some_deltas(dice: &mut Dice) -> Vec<SiteDelta> {
    let mut sites: Vec<u32> = (0..dice.below(30))
        .map(|_| dice.below(40) as u32 + 1)
        .collect();
    sites.sort_unstable();
    sites.dedup();
    let mut value = || dice.roll() >> (1 + dice.below(60));
    let delta = |site| SiteDelta {
        site,
        allocations: value(),
        frees: value(),
        allocated_bytes: value(),
        freed_bytes: value(),
        temporary: value() % 3,
    };
    sites.into_iter().map(delta).collect()
}

#[test]
fn deltas_add_up_and_the_later_head_wins() {
    let mut dice = Dice(1);
    for _ in 0..500 {
        let (left, right) = (some_deltas(&mut dice), some_deltas(&mut dice));
        let mut expected = BTreeMap::<u32, SiteDelta>::new();
        for delta in left.iter().chain(&right) {
            let sum = expected.entry(delta.site).or_default();
            sum.site = delta.site;
            sum.allocations += delta.allocations;
            sum.frees += delta.frees;
            sum.allocated_bytes += delta.allocated_bytes;
            sum.freed_bytes += delta.freed_bytes;
            sum.temporary += delta.temporary;
        }
        let [of_left, of_right] = [temporary(&left), temporary(&right)];
        let (left, right) = (deltas(&left), deltas(&right));
        let early = SnapshotHead {
            index: 7,
            merged: 3,
            at_ms: 10,
            rss_bytes: 9,
            ..Default::default()
        };
        let totals = Totals {
            allocations: 44,
            peak_live_bytes: 99,
            ..Default::default()
        };
        let late = SnapshotHead {
            index: 10,
            merged: 2,
            at_ms: 12,
            totals,
            ..Default::default()
        };
        let early = Snapshot {
            head: early,
            temporary: Some(&of_left),
            deltas: &left,
        };
        let late = Snapshot {
            head: late,
            temporary: Some(&of_right),
            deltas: &right,
        };
        for bytes in [merged(&early, &late), merged(&late, &early)] {
            let sum = decoded(&bytes);
            assert_eq!(
                sum.head,
                SnapshotHead {
                    index: 7,
                    merged: 5,
                    rss_peak: Some(RssPeak {
                        bytes: 9,
                        at_ms: 10
                    }),
                    ..late.head
                }
            );
            assert!(sum.deltas().eq(expected.values().copied()));
        }
        // A part of them would look like the whole.
        let silent = Snapshot {
            temporary: None,
            ..late
        };
        let bytes = merged(&early, &silent);
        let sum = decoded(&bytes);
        assert_eq!(sum.temporary, None);
        assert!(sum.deltas().all(|delta| delta.temporary == 0));
    }
}

#[test]
fn sums_saturate() {
    let most = SiteDelta {
        site: 1,
        allocations: u64::MAX,
        ..Default::default()
    };
    let list = deltas(&[most]);
    let at = |index| Snapshot {
        head: SnapshotHead {
            index,
            merged: 1,
            ..Default::default()
        },
        temporary: None,
        deltas: &list,
    };
    assert!(decoded(&merged(&at(0), &at(1))).deltas().eq([most]));
}

#[test]
fn what_overlaps_is_not_merged() {
    let over = |index, merged| Snapshot {
        head: SnapshotHead {
            index,
            merged,
            ..Default::default()
        },
        temporary: None,
        deltas: &[],
    };
    let result = |a, b| merge(&a, &b, &mut Measure::default());
    assert_eq!(result(over(4, 2), over(6, 1)), Ok(()));
    assert_eq!(result(over(4, 2), over(5, 1)), Err(WriteError::Disorder));
    assert_eq!(result(over(5, 1), over(4, 2)), Err(WriteError::Disorder));
    assert_eq!(result(over(4, 2), over(4, 2)), Err(WriteError::Disorder));
    assert_eq!(
        result(over(u64::MAX, 9), over(u64::MAX, 9)),
        Err(WriteError::Disorder)
    );
}

#[test]
fn a_full_sink_is_refused_at_every_length() {
    let (left, right) = (
        deltas(&[allocated(1, 300)]),
        deltas(&[allocated(1, 1), allocated(9, 1)]),
    );
    let (Record::Snapshot(a), Record::Snapshot(b)) =
        (snapshot(0, 1, &left), snapshot(1, 1, &right))
    else {
        unreachable!()
    };
    let mut measure = Measure::default();
    merge(&a, &b, &mut measure).unwrap();
    let mut buffer = vec![0; measure.0];
    for len in 0..measure.0 {
        let result = merge(&a, &b, &mut SliceSink::new(&mut buffer[..len]));
        assert_eq!(result, Err(WriteError::Full));
    }
    assert_eq!(merge(&a, &b, &mut SliceSink::new(&mut buffer)), Ok(()));
}

#[test]
fn the_latest_figures_of_the_system_are_kept() {
    let at = |index, system| Snapshot {
        head: SnapshotHead {
            index,
            merged: 1,
            system,
            ..Default::default()
        },
        temporary: None,
        deltas: &[],
    };
    let figures = |locked_bytes| {
        Some(System {
            locked_bytes: Some(locked_bytes),
            ..System::default()
        })
    };
    let kept = |a, b| decoded(&merged(&at(0, a), &at(1, b))).head.system;
    assert_eq!(kept(figures(1), figures(2)), figures(2));
    assert_eq!(kept(figures(1), None), figures(1));
    assert_eq!(kept(None, figures(2)), figures(2));
    assert_eq!(kept(None, None), None);
}

/// However snapshots are thinned, the highest resident set and its time are told.
#[test]
fn the_highest_resident_set_is_kept() {
    let mut dice = Dice(5);
    for _ in 0..300 {
        let count = 2 + dice.below(30);
        let sizes: Vec<u64> = (0..count).map(|_| dice.below(50) as u64).collect();
        let head = |index: usize| SnapshotHead {
            index: index as u64,
            merged: 1,
            at_ms: index as u64 * 1000,
            rss_bytes: sizes[index],
            ..Default::default()
        };
        let mut heads: Vec<SnapshotHead> = (0..sizes.len()).map(head).collect();
        while heads.len() > 1 {
            let at = dice.below(heads.len() - 1);
            let of = |head| Snapshot {
                head,
                temporary: None,
                deltas: &[],
            };
            heads[at] = decoded(&merged(&of(heads[at]), &of(heads[at + 1]))).head;
            heads.remove(at + 1);
        }
        let (last, highest) = (sizes[sizes.len() - 1], *sizes.iter().max().unwrap());
        assert_eq!(heads[0].rss_bytes, last);
        match heads[0].rss_peak {
            None => assert_eq!(last, highest, "{sizes:?}"),
            Some(peak) => {
                assert!(
                    peak.bytes == highest && highest > last,
                    "{sizes:?}: {peak:?}"
                );
                assert_eq!(sizes[peak.at_ms as usize / 1000], highest);
            }
        }
    }
}

#[test]
fn merging_over_a_gap_covers_it() {
    let first = Snapshot {
        head: SnapshotHead {
            index: 4,
            ..Default::default()
        },
        temporary: None,
        deltas: &[],
    };
    let last = SnapshotHead {
        index: 9,
        merged: 2,
        at_ms: 11,
        ..Default::default()
    };
    let mut sink = Bytes::default();
    merge(
        &first,
        &Snapshot {
            head: last,
            temporary: None,
            deltas: &[],
        },
        &mut sink,
    )
    .unwrap();
    let expected = SnapshotHead {
        index: 4,
        merged: 7,
        at_ms: 11,
        ..Default::default()
    };
    let mut whole = Bytes::default();
    encode(
        &Record::Snapshot(Snapshot {
            head: expected,
            temporary: None,
            deltas: &[],
        }),
        &mut whole,
    )
    .unwrap();
    assert_eq!(sink.0, whole.0);
}
