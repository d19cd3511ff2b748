//! Comparisons of hand-made recordings with known answers.

use super::*;
use crate::blame::Blame;
use crate::report::{ReportOptions, assemble};
use crate::testing::{Names, Recording, name};
use leaktrack_recording::SiteKind;

const NAMES: Names<'_> = &[
    (0x10, "alpha", "/src/a.c", 10),
    (0x20, "beta", "/src/b.c", 20),
    (0x30, "gamma", "/src/c.c", 30),
    (0x40, "caller", "/src/d.c", 40),
    (0x50, "main", "/src/m.c", 50),
    (0x60, "delta", "/src/b.c", 21),
];

fn report(recording: &Recording) -> Report {
    let mut family = recording.family();
    name(&mut family, NAMES, &Blame::default());
    let options = ReportOptions {
        top: 0,
        show_healthy: true,
        no_source: true,
        ..ReportOptions::default()
    };
    assemble(&family, &options)
}

/// A run in which each site allocates so many bytes every second, in blocks of a hundred.
fn run(seconds: u64, build_id: &[u8], sites: &[(&[u64], u64)]) -> Report {
    let mut recording = Recording::new();
    let module = recording.module("/opt/app", build_id);
    let ids: Vec<u32> = sites
        .iter()
        .map(|(stack, _)| {
            let frames: Vec<(u32, u64)> = stack.iter().map(|offset| (module, *offset)).collect();
            recording.site(SiteKind::Heap, &frames)
        })
        .collect();
    recording.every_second(seconds, |_| {
        let rates = ids.iter().zip(sites);
        rates
            .map(|(id, (_, bytes))| (*id, bytes / 100, *bytes, 0, 0))
            .collect()
    });
    recording.exit(seconds * 1000, 0);
    report(&recording)
}

fn all(old: &Report, new: &Report) -> Diff {
    let options = DiffOptions {
        top: 0,
        min_bytes: 0,
        show_same: true,
    };
    compare(old, new, options)
}

/// Change, how it was found, and the innermost function, sorted.
fn changes(diff: &Diff) -> Vec<(Change, Option<MatchedBy>, String)> {
    let of = |site: &SiteChange| {
        let function = site.frames.first().and_then(|frame| frame.function.clone());
        (site.change, site.matched_by, function.unwrap_or_default())
    };
    let mut changes: Vec<_> = diff.sites.iter().map(of).collect();
    changes.sort_by(|a, b| (a.0, &a.2).cmp(&(b.0, &b.2)));
    changes
}

#[test]
fn a_longer_run_is_not_growth_and_a_faster_one_is() {
    let old = run(60, b"\x01", &[(&[0x10, 0x50], 1000), (&[0x20, 0x50], 1000)]);
    let new = run(
        600,
        b"\x01",
        &[(&[0x10, 0x50], 1000), (&[0x20, 0x50], 1500)],
    );
    let diff = all(&old, &new);
    assert_eq!(
        changes(&diff),
        [
            (Change::Grew, Some(MatchedBy::Id), "beta".to_owned()),
            (Change::Same, Some(MatchedBy::Id), "alpha".to_owned()),
        ]
    );
    let beta = diff.sites.first().expect("beta");
    let rate = beta.rate_change.expect("both grow").value;
    assert!((rate - 500.0).abs() < 5.0, "{rate}");
}

#[test]
fn a_renamed_function_is_found_by_the_rest_of_the_stack() {
    // beta became delta, wherever it stands; alpha went and gamma came, but not in one place.
    let stacks_before: &[(&[u64], u64)] = &[
        (&[0x20, 0x40, 0x50], 1000),
        (&[0x40, 0x20, 0x50], 2000),
        (&[0x10, 0x50], 3000),
    ];
    let stacks_after: &[(&[u64], u64)] = &[
        (&[0x60, 0x40, 0x50], 1000),
        (&[0x40, 0x60, 0x50], 2000),
        (&[0x30, 0x40, 0x50], 3000),
    ];
    let diff = all(
        &run(60, b"\x01", stacks_before),
        &run(60, b"\x02", stacks_after),
    );
    // gamma, caller, main could be what beta, caller, main became: only the other stack of beta
    // says that delta is, and gamma could then still be meant. So nothing is.
    let found = changes(&diff);
    assert_eq!(
        found
            .iter()
            .filter(|change| change.0 == Change::Same)
            .count(),
        0,
        "{found:?}"
    );

    let diff = all(
        &run(60, b"\x01", stacks_before.get(..2).expect("two")),
        &run(60, b"\x02", stacks_after.get(..2).expect("two")),
    );
    assert_eq!(
        changes(&diff),
        [
            (Change::Same, Some(MatchedBy::Stack), "caller".to_owned()),
            (Change::Same, Some(MatchedBy::Stack), "delta".to_owned()),
        ]
    );
    let renamed = &diff.sites.first().expect("a site").renamed;
    assert_eq!(renamed.len(), 1);
    assert_eq!(
        renamed.first().map(|it| it.from.as_str()),
        Some("beta (b.c)")
    );
}

#[test]
fn what_the_other_run_was_too_short_for_is_unclear() {
    let mut recording = Recording::new();
    let early = recording.site(SiteKind::Heap, &[(1, 0x10), (1, 0x50)]);
    recording.every_second(10, |_| vec![(early, 1, 100, 0, 0)]);
    recording.exit(10_000, 0);
    let old = report(&recording);
    let mut recording = Recording::new();
    let early = recording.site(SiteKind::Heap, &[(1, 0x10), (1, 0x50)]);
    let late = recording.site_first_seen(SiteKind::Heap, &[(1, 0x20), (1, 0x50)], 100_000);
    recording.every_second(200, |second| match second {
        ..100 => vec![(early, 1, 100, 0, 0)],
        _ => vec![(early, 1, 100, 0, 0), (late, 1, 100, 0, 0)],
    });
    recording.exit(200_000, 0);
    let diff = all(&old, &report(&recording));
    let late = diff
        .sites
        .iter()
        .find(|site| site.old.is_none())
        .expect("the late site");
    assert_eq!(late.change, Change::Unclear, "{:?}", late.why);
    let why = late.why.join(" ");
    assert!(why.contains("the old run lasted 10 s"), "{why}");
}

#[test]
fn levels_are_compared_at_the_same_age() {
    // A cache that fills for 100 s, seen for 50 s and for 200 s: at 50 s both held the same.
    let fill = |seconds: u64, bytes: u64| {
        let mut recording = Recording::new();
        let cache = recording.site(SiteKind::Heap, &[(1, 0x10), (1, 0x50)]);
        recording.every_second(seconds, |second| match second {
            1 => vec![(cache, 1, bytes, 0, 0)],
            _ => vec![],
        });
        recording.exit(seconds * 1000, 0);
        report(&recording)
    };
    let same = all(&fill(50, 100_000), &fill(200, 100_000));
    assert_eq!(
        same.sites.first().map(|site| site.change),
        Some(Change::Same)
    );
    let grew = all(&fill(50, 100_000), &fill(200, 150_000));
    let site = grew.sites.first().expect("a site");
    assert_eq!(
        (site.change, site.level_change_bytes),
        (Change::Grew, 50_000.0)
    );
    let shrank = all(&fill(50, 100_000), &fill(200, 50_000));
    assert_eq!(
        shrank.sites.first().map(|site| site.change),
        Some(Change::Shrank)
    );
}

#[test]
fn before_its_first_snapshot_a_run_did_not_hold_nothing() {
    // Two short programs that hold the same, each with one snapshot, at its end.
    let short = |end_ms: u64| {
        let mut recording = Recording::new();
        let kept = recording.site(SiteKind::Heap, &[(1, 0x10), (1, 0x50)]);
        recording.snapshot(end_ms, &[(kept, 1, 2_600, 0, 0)]);
        recording.exit(end_ms, 0);
        report(&recording)
    };
    for (old_ms, new_ms) in [(65, 247), (247, 65)] {
        let diff = all(&short(old_ms), &short(new_ms));
        assert_eq!(diff.sites[0].level_change_bytes, 0.0);
        assert!(!matches!(
            diff.sites[0].change,
            Change::Grew | Change::Shrank
        ));
    }
}

#[test]
fn the_json_reads_back_and_the_text_names_both_runs() {
    let old = run(60, b"\x01", &[(&[0x10, 0x50], 1000)]);
    let new = run(60, b"\x02", &[(&[0x10, 0x50], 4000)]);
    let diff = all(&old, &new);
    let mut json = Vec::new();
    write_json(&diff, &mut json).expect("written");
    let back: Diff = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(back, diff);
    let look = Look {
        colour: false,
        width: None,
        unicode: true,
    };
    let mut text = Vec::new();
    write_text(&diff, look, &mut text).expect("written");
    let text = String::from_utf8(text).expect("text");
    assert!(
        text.starts_with("app: 1 site grew; 1 → 1 finding."),
        "{text}"
    );
    assert!(text.contains("alpha  /src/a.c:10"), "{text}");
}
