//! Reports on hand-made recordings.

use std::path::Path;

use leaktrack_recording::{
    BLOCK_BYTES, Coverage, EndKind, EventKind, FileHeader, Mode, Record, RssPeak, SegmentHeader,
    SegmentKind, SiteKind,
};
use proptest::prelude::*;

use super::*;
use crate::blame::Blame;
use crate::model::{Ended, Family, LoadOptions, Window};
use crate::testing::{self, Recording};
use crate::verdict::{Pattern, Verdict};

const LOOK: Look = Look {
    colour: false,
    width: None,
    unicode: false,
};

/// Return addresses in the program of [`server`].
const NAMES: testing::Names<'_> = &[
    (
        0x1000,
        "alloc::vec::Vec<T>::with_capacity",
        "/rustc/abc/library/alloc/src/vec/mod.rs",
        480,
    ),
    (0x1111, "shop::session::open", "/nowhere/src/session.rs", 42),
    (0x2222, "shop::serve", "/nowhere/src/serve.rs", 7),
    (0x3333, "shop::cache::page", "/nowhere/src/cache.rs", 19),
    (0x4444, "shop::request::read", "/nowhere/src/request.rs", 88),
    (0x5555, "shop::spool::map", "/nowhere/src/spool.rs", 5),
    (
        0x6666,
        "shop::metrics::register",
        "/nowhere/src/metrics.rs",
        11,
    ),
    (0x0100, "main", "/nowhere/src/main.rs", 3),
];

/// A server that leaks sessions and mappings, fills a cache, handles requests, and registers
/// something just before the end.
fn server() -> Recording {
    let mut r = Recording::new();
    let libc = r.module("/nowhere/libc.so.6", b"\x01");
    let session = r.site(
        SiteKind::Heap,
        &[
            (1, 0x1000),
            (1, 0x1111),
            (1, 0x2222),
            (1, 0x100),
            (libc, 0x90),
        ],
    );
    let page = r.site(
        SiteKind::Heap,
        &[(1, 0x3333), (1, 0x2222), (1, 0x100), (libc, 0x90)],
    );
    let request = r.site(
        SiteKind::Heap,
        &[(1, 0x4444), (1, 0x2222), (1, 0x100), (libc, 0x90)],
    );
    let spool = r.site(
        SiteKind::Mmap,
        &[(1, 0x5555), (1, 0x2222), (1, 0x100), (libc, 0x90)],
    );
    let metrics = r.site(SiteKind::Heap, &[(1, 0x6666), (1, 0x100), (libc, 0x90)]);
    r.record(&Record::Thread {
        tid: 1,
        name: b"worker",
    });
    r.record(&Record::Arg(b"/opt/app"));
    r.record(&Record::Arg(b"--port=80"));
    r.head.limit_bytes = Some(512 << 20);
    r.every_second(30, |second| {
        let mut did = vec![(session, 10, 1000, 0, 0)];
        if second <= 8 {
            did.push((page, 128, 128 << 11, 0, 0));
        }
        let kept = u64::from(second == 1);
        did.push((request, 500, 500 << 10, 500 - kept, (500 - kept) << 10));
        did.push((spool, 1, 1 << 16, 0, 0));
        if second >= 28 {
            did.push((metrics, 3, 48, 0, 0));
        }
        did
    });
    r.ages(
        30_000,
        &[
            (session, 300, 500, 15_000),
            (page, 1024, 400, 4_000),
            (request, 1, 29_990, 29_990),
        ],
    );
    r.event(12_000, EventKind::Mark, "deploy");
    r.exit(30_500, 0);
    r
}

fn named(recording: &Recording) -> Family {
    let mut family = recording.family();
    testing::name(&mut family, NAMES, &Blame::default());
    family
}

fn all() -> ReportOptions {
    ReportOptions {
        top: 0,
        show_healthy: true,
        ..ReportOptions::default()
    }
}

fn text(report: &Report, options: &ReportOptions, look: Look) -> String {
    let mut out = Vec::new();
    render(report, options, Format::Text, look, &mut out).expect("in memory");
    String::from_utf8(out).expect("text")
}

fn site<'a>(report: &'a Report, function: &str) -> &'a document::SiteReport {
    let blames = |site: &&document::SiteReport| {
        site.blame
            .as_ref()
            .and_then(|blame| blame.function.as_deref())
            == Some(function)
    };
    report
        .sites
        .iter()
        .find(blames)
        .expect("a site that blames it")
}

#[test]
fn the_example_server_is_judged_as_planned() {
    let report = assemble(&named(&server()), &all());
    let seen: Vec<(&str, Verdict, Pattern)> = report
        .sites
        .iter()
        .map(|site| {
            (
                site.blame
                    .as_ref()
                    .and_then(|blame| blame.function.as_deref())
                    .unwrap_or(""),
                site.verdict,
                site.growth.pattern,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("shop::spool::map", Verdict::Growing, Pattern::Linear),
            ("shop::session::open", Verdict::Growing, Pattern::Linear),
            ("shop::cache::page", Verdict::Retained, Pattern::Plateau),
            ("shop::request::read", Verdict::Healthy, Pattern::Flat),
            (
                "shop::metrics::register",
                Verdict::Unclear,
                Pattern::Unclear
            ),
        ]
    );
    assert_eq!(report.finding_count, 2);
    let session = site(&report, "shop::session::open");
    assert_eq!(
        (
            session.live_bytes.value,
            session.live_blocks.value,
            session.allocations,
            session.frees
        ),
        (30_000, 300, 300, 0)
    );
    assert_eq!(
        (session.oldest_s, session.median_age_s),
        (Some(29.5), Some(15.0))
    );
    assert_eq!(session.growth.rate.map(|rate| rate.value), Some(1000.0));
    assert_eq!(
        session
            .blame
            .as_ref()
            .map(|blame| (blame.frame, blame.line)),
        Some((1, Some(42)))
    );
    assert_eq!(session.threads, ["worker"]);
    assert!(
        session.suppression.contains("fun:shop::session::open\n"),
        "{}",
        session.suppression
    );
    assert_eq!(session.lost, None, "no scan was made");
    assert!(session.growth.limit_in_s.is_some());
    let totals = &report.totals;
    assert_eq!(
        (totals.allocations, totals.frees),
        (300 + 1024 + 15_000 + 9, 14_999)
    );
    assert_eq!(totals.live_bytes, 30_000 + (1024 << 11) + 1024 + 144);
    assert_eq!((totals.mappings, totals.mapped_bytes), (30, 30 << 16));
}

#[test]
fn text_is_as_expected() {
    let options = ReportOptions::default();
    let report = assemble(&named(&server()), &options);
    golden("report.txt", &text(&report, &options, LOOK));
    golden(
        "report-narrow.txt",
        &text(
            &report,
            &options,
            Look {
                width: Some(60),
                unicode: true,
                ..LOOK
            },
        ),
    );
    let by_function = ReportOptions {
        group_by: GroupBy::Function,
        ..all()
    };
    golden(
        "report-by-function.txt",
        &text(
            &assemble(&named(&server()), &by_function),
            &by_function,
            LOOK,
        ),
    );
}

#[test]
fn markdown_is_as_expected() {
    let mut out = Vec::new();
    let report = assemble(&named(&server()), &ReportOptions::default());
    render(
        &report,
        &ReportOptions::default(),
        Format::Markdown,
        LOOK,
        &mut out,
    )
    .expect("in memory");
    golden("report.md", &String::from_utf8(out).expect("text"));
}

/// Compares with `tests/golden/NAME`; `UPDATE_GOLDEN=1` writes it instead.
#[track_caller]
fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        std::fs::write(&path, actual).expect("written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs (UPDATE_GOLDEN=1 accepts):\n{actual}",
        path.display()
    );
}

#[test]
fn colour_only_where_asked_for() {
    let report = assemble(&named(&server()), &all());
    assert!(!text(&report, &all(), LOOK).contains('\x1b'));
    let coloured = text(
        &report,
        &all(),
        Look {
            colour: true,
            ..LOOK
        },
    );
    assert!(coloured.contains("\x1b[1;31mgrowing\x1b[0m"));
    let narrow = text(
        &report,
        &all(),
        Look {
            width: Some(50),
            ..LOOK
        },
    );
    let widest = narrow
        .lines()
        .filter(|line| !line.contains("leaktrack report") && !line.contains("known.supp"))
        .map(|line| line.chars().count())
        .max();
    assert!(widest <= Some(50), "{widest:?}");
}

fn json(report: &Report) -> serde_json::Value {
    let mut out = Vec::new();
    render(report, &all(), Format::Json, LOOK, &mut out).expect("in memory");
    serde_json::from_slice(&out).expect("JSON")
}

#[track_caller]
fn assert_valid(report: &Report) {
    let value = json(report);
    let validator = jsonschema::validator_for(&crate::schema::report()).expect("a valid schema");
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn json_follows_its_schema_and_the_schema_names_every_field() {
    let report = assemble(&named(&server()), &all());
    assert_valid(&report);
    assert_valid(&assemble(&Recording::new().family(), &all()));
    let names = |value: &serde_json::Value| -> Vec<String> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    let (value, schema) = (json(&report), crate::schema::report());
    for pointer in [
        "",
        "/processes/0",
        "/recording",
        "/coverage",
        "/totals",
        "/memory",
        "/fragmentation",
        "/faults",
        "/sites/0",
        "/sites/0/growth",
        "/sites/0/growth/rate",
        "/sites/0/frames/0",
        "/groups/0",
        "/timeline/0",
        "/events/0",
    ] {
        let mut of_schema = schema.clone();
        for step in pointer.split('/').skip(1) {
            let next = if step == "0" {
                of_schema["items"].take()
            } else {
                of_schema["properties"][step].take()
            };
            of_schema = if next["anyOf"].is_array() {
                next["anyOf"][0].clone()
            } else {
                next
            };
        }
        let mut in_schema = names(&of_schema["properties"]);
        let mut in_value = names(value.pointer(pointer).expect(pointer));
        in_schema.sort();
        in_value.sort();
        assert_eq!(in_schema, in_value, "{pointer}");
    }
}

#[test]
fn json_reads_back() {
    let mut report = assemble(&named(&server()), &all());
    let back: Report = serde_json::from_value(json(&report)).expect("the same types");
    report.extra = document::Extra::default();
    assert_eq!(back, report);
}

#[test]
fn frames_stand_on_one_line_each_in_json() {
    let report = assemble(&named(&server()), &all());
    let mut out = Vec::new();
    render(&report, &all(), Format::Json, LOOK, &mut out).expect("in memory");
    let written = String::from_utf8(out).expect("text");
    let frames: usize = report.sites.iter().map(|site| site.frames.len()).sum();
    let lines = written.lines();
    let of_frames = lines.filter(|line| line.trim_start().starts_with("{\"function\": "));
    assert_eq!(of_frames.count(), frames);
}

#[test]
fn top_filters_and_healthy_sites() {
    let family = named(&server());
    let top = assemble(&family, &ReportOptions { top: 1, ..all() });
    assert_eq!(
        (top.sites.len(), top.extra.left_out, top.finding_count),
        (1, 4, 2)
    );
    let large = assemble(
        &family,
        &ReportOptions {
            min_bytes: 1 << 20,
            ..all()
        },
    );
    assert_eq!(
        (large.sites.len(), large.extra.filtered, large.finding_count),
        (2, 3, 2),
        "a filter is on what is listed, not on what is true"
    );
    assert_eq!(super::sentence(&large), super::sentence(&top));
    assert_eq!(
        (large.extra.filtered_findings, large.groups.len()),
        (1, 2),
        "the line of the others has no site left"
    );
    let said = text(&large, &all(), LOOK);
    let one_line = said.replace('\n', " ");
    assert!(
        one_line.contains(
            "Not listed: 3 call sites that --older-than or --min-bytes leave out, 1 finding among them"
        ),
        "{said}"
    );
    let old = assemble(
        &family,
        &ReportOptions {
            older_than_ms: Some(29_600),
            ..all()
        },
    );
    let functions: Vec<_> = old
        .sites
        .iter()
        .filter_map(|site| site.blame.as_ref()?.function.as_deref())
        .collect();
    assert_eq!(
        functions,
        ["shop::cache::page"],
        "29.6 s; unknown ages do not match"
    );
    let default = ReportOptions::default();
    let shown = |options: &ReportOptions| {
        text(&assemble(&family, options), options, LOOK).contains("shop::request::read")
    };
    assert!(!shown(&default));
    assert!(
        !shown(&ReportOptions {
            show_healthy: true,
            ..default
        }),
        "1 KiB is a trifle"
    );
    assert!(shown(&all()));
}

#[test]
fn suppressed_sites_are_no_findings() {
    let mut options = all();
    options
        .suppressions
        .add("leak:session.rs\n")
        .expect("well-formed");
    let report = assemble(&named(&server()), &options);
    assert_eq!((report.finding_count, report.extra.suppressed), (1, 1));
    let session = site(&report, "shop::session::open");
    assert_eq!(
        (session.verdict, session.suppressed_by.as_deref()),
        (Verdict::Growing, Some("leak:session.rs"))
    );
    assert!(text(&report, &options, LOOK).contains("Suppressed by leak:session.rs."));
}

#[test]
fn groups_add_up() {
    let family = named(&server());
    let keys = |by| -> Vec<(String, u64, usize)> {
        let report = assemble(
            &family,
            &ReportOptions {
                group_by: by,
                ..all()
            },
        );
        report
            .groups
            .into_iter()
            .map(|group| (group.key, group.live_bytes, group.sites.len()))
            .collect()
    };
    let everything: u64 = family
        .sites
        .iter()
        .map(crate::model::Site::live_bytes)
        .sum();
    assert_eq!(
        keys(GroupBy::Module),
        [("/opt/app".to_owned(), everything, 5)]
    );
    assert_eq!(
        keys(GroupBy::Process),
        [("app (pid 4711)".to_owned(), everything, 5)]
    );
    assert_eq!(
        keys(GroupBy::Thread),
        [("worker".to_owned(), everything, 5)]
    );
    assert_eq!(
        keys(GroupBy::File)[0],
        ("/nowhere/src/spool.rs".to_owned(), 30 << 16, 1)
    );
    assert_eq!(
        keys(GroupBy::Line)[1],
        ("/nowhere/src/session.rs:42".to_owned(), 30_000, 1)
    );
    assert_eq!(keys(GroupBy::Function).len(), 5);
}

#[test]
fn many_small_sites_of_one_line_are_one_finding() {
    let mut r = Recording::new();
    // Each of 24 callers leaks one small block in turn; alone none says anything.
    let sites: Vec<u32> = (0..24)
        .map(|caller| {
            r.site(
                SiteKind::Heap,
                &[(1, 0x1111), (1, 0x8000 + caller), (1, 0x100)],
            )
        })
        .collect();
    r.every_second(48, |second| {
        vec![(sites[(second as usize - 1) % 24], 1, 100, 0, 0)]
    });
    r.exit(48_000, 0);
    let report = assemble(&named(&r), &all());
    assert!(report.sites.iter().all(|site| !site.verdict.is_finding()));
    assert_eq!(
        (
            report.finding_count,
            report.groups.len(),
            report.groups[0].verdict
        ),
        (1, 1, Verdict::Growing)
    );
    golden("report-line.txt", &text(&report, &all(), LOOK));
}

#[test]
fn the_worst_stack_of_a_line_that_grows_is_the_one_that_rose() {
    let mut r = Recording::new();
    let mut stack = |caller: u64| {
        r.site(
            SiteKind::Heap,
            &[(1, 0x1111), (1, 0x8000 + caller), (1, 0x100)],
        )
    };
    let sites: Vec<u32> = (0..24).map(&mut stack).collect();
    let from_the_start = stack(100);
    r.every_second(48, |second| {
        let mut did = vec![(sites[(second as usize - 1) % 24], 1, 100, 0, 0)];
        if second == 1 {
            did.push((from_the_start, 1, 1 << 20, 0, 0));
        }
        did
    });
    r.exit(48_000, 0);
    let report = assemble(&named(&r), &all());
    assert_eq!(report.groups[0].verdict, Verdict::Growing);
    let text = text(&report, &all(), LOOK);
    let worst = text.lines().find(|line| line.contains("the worst of them"));
    assert!(worst.is_some_and(|line| line.contains("200 B")), "{text}");
    // The stack that stays is told as what it is, and as a part of the finding.
    let stays = report
        .sites
        .iter()
        .find(|site| site.live_bytes.value == 1 << 20)
        .expect("the stack that was there from the start");
    assert_eq!((stays.verdict, stays.finding), (Verdict::Retained, Some(1)));
    assert_eq!(report.groups[0].sites.last(), Some(&stays.id));
    // What the others rose by stands with them.
    assert!(text.contains("200 B (+200 B) through"), "{text}");
    // A report of one site has the worst stack.
    let short = assemble(&named(&r), &ReportOptions { top: 1, ..all() });
    assert_eq!(short.sites[0].id, report.groups[0].sites[0]);
    assert_eq!(short.sites[0].live_bytes.value, 200);
    assert_eq!((short.sites.len(), short.sites[0].finding), (1, Some(1)));
}

#[test]
fn stacks_of_a_growing_line_that_hold_nothing_are_a_number() {
    let mut r = Recording::new();
    let mut stack = |caller: u64| {
        r.site(
            SiteKind::Heap,
            &[(1, 0x1111), (1, 0x8000 + caller), (1, 0x100)],
        )
    };
    let (grows, holds) = (stack(1), stack(2));
    let come_and_gone: Vec<u32> = (3..9).map(&mut stack).collect();
    r.every_second(48, |second| {
        let mut did = vec![(grows, 1, 1000, 0, 0)];
        match second {
            1 => did.push((holds, 1, 1 << 20, 0, 0)),
            2 => did.extend(come_and_gone.iter().map(|site| (*site, 1, 100, 1, 100))),
            _ => {}
        }
        did
    });
    r.exit(48_000, 0);
    let report = assemble(&named(&r), &all());
    let said = text(&report, &all(), LOOK);
    let (_, below) = said.split_once("the worst of them").expect("a line");
    assert!(!below.contains("0 B through"), "{said}");
    let others: Vec<&str> = below
        .lines()
        .filter(|line| line.contains(" through ") || line.contains("more stack"))
        .collect();
    assert!(
        others.len() == 2
            && others[0].contains("1.0 MiB (+0 B) through")
            && others[1].contains("and 6 more stacks"),
        "{said}"
    );
}

#[test]
fn a_cut_recording_is_called_cut_and_cannot_be_read_where_no_snapshot_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.ltk");
    let whole = server().bytes();
    let mut refused = 0;
    for length in (BLOCK_BYTES..whole.len()).step_by(BLOCK_BYTES / 4) {
        std::fs::write(&file, &whole[..length]).unwrap();
        match crate::read::load(&[&file], &LoadOptions::default()) {
            // At the end of a segment a cut does not show.
            Ok(family) if family.processes[0].heads.is_empty() => {
                assert_eq!(length % BLOCK_BYTES, 0);
            }
            Ok(family) => {
                let report = assemble(&family, &all());
                let reasons: Vec<&str> = (report.coverage.unseen.iter())
                    .map(|reason| reason.code.as_str())
                    .collect();
                assert!(!reasons.contains(&"nothing-recorded"), "{reasons:?}");
            }
            Err(crate::read::LoadError::Unwritten { .. }) => {}
            Err(error) => {
                let said = error.to_string();
                assert!(
                    said.contains("the file was cut off here"),
                    "{length}: {said}"
                );
                assert!(said.contains("no snapshot of it can be read"), "{said}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn of_a_run_too_short_to_judge_few_sites_are_told_and_how_to_see_more() {
    let mut r = Recording::new();
    let mut stack = |line: u64| r.site(SiteKind::Heap, &[(1, 0x5000 + line), (1, 0x100)]);
    let sites: Vec<u32> = (0..30).map(&mut stack).collect();
    r.every_second(1, |_| {
        sites.iter().map(|site| (*site, 1, 1_000, 0, 0)).collect()
    });
    r.exit(1_000, 0);
    let report = assemble(&named(&r), &ReportOptions::default());
    let told = |options: &ReportOptions| text(&report, options, LOOK);
    let unclear = |text: &str| text.matches(". unclear").count();
    let few = told(&ReportOptions::default());
    assert_eq!(unclear(&few), 5, "{few}");
    assert!(
        few.contains("25 smaller sites with 24.4 KiB live: --top 20 shows more, --top 0 all"),
        "{few}"
    );
    assert_eq!(few.matches("a trend needs 8").count(), 1, "{few}");
    let asked = ReportOptions {
        few_if_short: false,
        ..ReportOptions::default()
    };
    assert_eq!(unclear(&told(&asked)), 20);
}

fn loaded(recording: &Recording, since: Option<&str>, until: Option<&str>) -> Report {
    let bound = |text: Option<&str>| text.map(|text| text.parse().expect("a bound"));
    let options = LoadOptions {
        window: Window {
            since: bound(since),
            until: bound(until),
        },
        ..LoadOptions::default()
    };
    let mut family = recording.family_with(&options);
    testing::name(&mut family, NAMES, &Blame::default());
    assemble(&family, &all())
}

#[test]
fn since_and_until_cut_the_recording() {
    let report = loaded(&server(), Some("10s"), None);
    let session = site(&report, "shop::session::open");
    assert_eq!(
        (session.allocations, session.live_bytes.value),
        (100, 30_000)
    );
    assert_eq!(report.totals.allocations, 100 + 5_000 + 9);
    assert_eq!(
        site(&report, "shop::cache::page").verdict,
        Verdict::Retained,
        "its warm-up is outside"
    );
    let report = loaded(&server(), None, Some("mark:deploy"));
    assert_eq!(
        site(&report, "shop::session::open").live_bytes.value,
        12_000
    );
    assert_eq!(report.sites.len(), 4, "metrics came later");
    let at = crate::human::utc(testing::STARTED_S + 20).replace(" UTC", "Z");
    let report = loaded(&server(), Some(&at), Some("2s"));
    assert_eq!(
        report.recording.windows,
        [document::Span {
            from_s: 20.0,
            to_s: 28.0
        }]
    );
    assert_eq!(site(&report, "shop::session::open").allocations, 80);
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.ltk");
    std::fs::write(&file, server().bytes()).unwrap();
    let refused = |since: Option<&str>, until: Option<&str>| {
        let bound = |text: Option<&str>| text.map(|text| text.parse().expect("a bound"));
        let options = LoadOptions {
            window: Window {
                since: bound(since),
                until: bound(until),
            },
            ..LoadOptions::default()
        };
        let error = crate::read::load(&[&file], &options).expect_err("refused");
        let place = format!("{}: ", folder.path().join("x.ltk").display());
        let said = error.to_string();
        said.strip_prefix(&place).expect("the place").to_owned()
    };
    assert_eq!(
        refused(Some("mark:release"), Some("0s")),
        "it has no mark `release`; its marks: deploy"
    );
    let utc = |after_s: u64| crate::human::utc(testing::STARTED_S + after_s);
    let at = |after_s: u64| utc(after_s).replace(" UTC", "Z");
    let there_is = format!(
        "; there are snapshots from {} to {}, one every 1.0 s",
        utc(1),
        utc(30)
    );
    assert_eq!(
        refused(Some("5s"), Some("10s")),
        format!(
            "--since ({}) is after --until ({}){there_is}",
            utc(25),
            utc(20)
        )
    );
    let after = at(31);
    assert_eq!(
        refused(Some(&after), None),
        format!("no snapshot was taken after {}{there_is}", utc(31))
    );
    let before = at(0);
    assert_eq!(
        refused(None, Some(&before)),
        format!("no snapshot was taken before {}{there_is}", utc(0))
    );
    assert_eq!(
        refused(Some(&at(40)), Some(&at(50))),
        format!(
            "no snapshot was taken between {} and {}{there_is}",
            utc(40),
            utc(50)
        )
    );
}

#[test]
fn an_empty_recording_says_so_instead_of_looking_clean() {
    let report = assemble(&Recording::new().family(), &all());
    assert!(!report.coverage.usable);
    let written = text(&report, &all(), LOOK);
    assert!(
        written.starts_with(
            "app: this recording cannot say whether it leaks. The recording holds no snapshot"
        ),
        "{written}"
    );
    let mut silent = Recording::new();
    silent.every_second(10, |_| Vec::new());
    let report = assemble(&silent.family(), &all());
    assert!(
        !report.coverage.usable
            && report.coverage.notes[0].starts_with("Not one allocation was recorded")
    );
}

#[test]
fn a_program_that_only_maps_memory_is_no_empty_recording() {
    let mut r = Recording::new();
    let map = r.site(SiteKind::Mmap, &[(1, 0x5555), (1, 0x100)]);
    r.every_second(10, |_| vec![(map, 1, 1 << 16, 0, 0)]);
    let report = assemble(&named(&r), &all());
    assert_eq!((report.coverage.usable, report.finding_count), (true, 1));
}

#[test]
fn losses_are_told() {
    let mut r = server();
    r.lose(Coverage {
        dropped: 10_000,
        unknown_frees: 1,
        cut_stacks: 2,
        folded_stacks: 3,
        broken_stacks: 4,
        nested: 5,
        ..Coverage::default()
    });
    r.snapshot(31_000, &[]);
    let report = assemble(&named(&r), &all());
    assert!(!report.coverage.usable, "over one percent dropped");
    assert_eq!(
        (
            report.coverage.dropped,
            report.coverage.unknown_frees,
            report.coverage.cut_stacks,
            report.coverage.folded_stacks
        ),
        (10_000, 1, 2, 3)
    );
    let notes = report.coverage.notes.join("\n");
    for words in [
        "10,000 allocations could not be recorded",
        "5 allocations made by signal handlers",
        "4 stacks ended early",
        "1 free of blocks that were allocated before recording, or elsewhere, was ignored.",
        "No reachability scan",
    ] {
        assert!(notes.contains(words), "{words}: {notes}");
    }
}

#[test]
fn a_sampled_recording_claims_no_exact_figures() {
    let mut r = server();
    r.mode = Mode::Sample {
        mean_bytes: 1 << 19,
    };
    let report = assemble(&named(&r), &all());
    assert_eq!(
        (
            report.recording.mode.as_str(),
            report.recording.sample_bytes
        ),
        ("sample", Some(1 << 19))
    );
    let heap = report.sites.iter().filter(|site| site.kind == "heap");
    for site in heap.filter(|site| site.live_bytes.value > 0) {
        let crate::report::document::Amount { value, low, high } = site.live_bytes;
        assert!(
            low < Some(value) && Some(value) < high,
            "{:?}",
            site.live_bytes
        );
    }
    let mapped = report.sites.iter().filter(|site| site.kind == "mmap");
    for site in mapped {
        assert_eq!(site.live_bytes.low, Some(site.live_bytes.value));
    }
    let notes = report.coverage.notes.join(" ");
    assert!(notes.contains("a sample every 512 KiB"), "{notes}");
    assert_valid(&report);
}

#[test]
fn a_killed_process_at_its_limit_was_probably_out_of_memory() {
    let mut r = Recording::new();
    let site = r.heap(0x1111);
    r.head.limit_bytes = Some(64 << 20);
    r.head.rss_bytes = 63 << 20;
    r.every_second(10, |_| vec![(site, 1, 1 << 20, 0, 0)]);
    let report = assemble(&r.family(), &all());
    assert_eq!(report.processes[0].ended, "unfinished");
    assert!(report.processes[0].oom.likely);
    assert!(text(&report, &all(), LOOK).contains("probably killed for want of memory"));
}

#[test]
fn a_family_is_one_report() {
    let mut parent = server();
    let mut child = Recording::new();
    (
        child.number,
        child.parent,
        child.pid,
        child.ppid,
        child.started_ms,
    ) = (2, Some(1), 4712, 4711, 5_000);
    let libc = child.module("/nowhere/libc.so.6", b"\x01");
    // Not the same ids as in the parent, but the same places.
    child.heap(0x9999);
    let session = child.site(
        SiteKind::Heap,
        &[
            (1, 0x1000),
            (1, 0x1111),
            (1, 0x2222),
            (1, 0x100),
            (libc, 0x90),
        ],
    );
    child.every_second(20, |_| vec![(session, 5, 500, 0, 0)]);
    child.exit(20_000, 0);
    parent.event(1_000, EventKind::Note, "first");
    let options = LoadOptions::default();
    let mut family = Family::merge(
        vec![
            child.process(&options),
            parent.process(&options),
            parent.process(&options),
        ],
        &options,
    )
    .expect("one family");
    testing::name(&mut family, NAMES, &Blame::default());
    let report = assemble(&family, &all());
    assert_eq!(
        report
            .processes
            .iter()
            .map(|process| (process.pid, process.parent))
            .collect::<Vec<_>>(),
        [(4711, None), (4712, Some(0))]
    );
    let session = site(&report, "shop::session::open");
    assert_eq!(
        (session.live_bytes.value, session.verdict),
        (40_000, Verdict::Growing)
    );
    assert_eq!(
        session.growth.rate.map(|rate| rate.value),
        Some(1_500.0),
        "the sum of both"
    );
    assert_eq!(
        session
            .by_process
            .iter()
            .map(|share| (share.process, share.live_bytes))
            .collect::<Vec<_>>(),
        [(0, 30_000), (1, 10_000)]
    );
    assert_eq!(session.series.first().map(|point| point.0), Some(1.0));
    assert!(report.totals.peak_at_s > 5.0);
    assert_valid(&report);
}

#[test]
fn a_process_goes_on_after_exec() {
    let mut before = Recording::new();
    before.every_second(3, |_| Vec::new());
    before.event(3_000, EventKind::Exec, "/opt/other");
    let mut after = Recording::new();
    (after.number, after.exe, after.started_ms) = (2, "/opt/other".to_owned(), 3_100);
    after.every_second(3, |_| Vec::new());
    let options = LoadOptions::default();
    let family = Family::merge(
        vec![after.process(&options), before.process(&options)],
        &options,
    )
    .expect("one family");
    assert_eq!(family.parents, [None, Some(0)]);
    let report = assemble(&family, &all());
    assert_eq!(
        report
            .processes
            .iter()
            .map(|process| process.ended.as_str())
            .collect::<Vec<_>>(),
        ["exec", "unfinished"]
    );
}

/// `nice`, which became `/opt/other`, started under the name `server`.
fn after_exec() -> Report {
    let mut before = Recording::new();
    before.exe = "/usr/bin/nice".to_owned();
    before.every_second(3, |_| Vec::new());
    before.event(3_000, EventKind::Exec, "/opt/other");
    let mut after = Recording::new();
    (after.number, after.exe, after.started_ms) = (2, "/opt/other".to_owned(), 3_100);
    after.every_second(3, |_| Vec::new());
    let options = LoadOptions::default();
    let processes = vec![after.process(&options), before.process(&options)];
    let family = Family::merge(processes, &options).expect("one family");
    let mut report = assemble(&family, &all());
    report.processes[0].argv = vec!["nice".to_owned(), "server".to_owned()];
    report.processes[1].argv = vec!["server".to_owned()];
    report
}

#[test]
fn a_program_has_one_name_everywhere() {
    let report = after_exec();
    let name = super::program(&report);
    assert_ne!(name, "nice");
    assert_eq!(crate::diff::Run::of(&report).program(), name);
    let mut markdown = Vec::new();
    super::markdown::write(&report, &mut markdown).expect("written");
    let markdown = String::from_utf8(markdown).expect("text");
    assert!(
        markdown.starts_with(&format!("# leaktrack: {name}\n")),
        "{markdown}"
    );
}

#[test]
fn arenas_of_several_processes_name_theirs() {
    let mut report = after_exec();
    report.memory.measured_at_s = Some(1.0);
    report.memory.unexplained_bytes = Some(1 << 20);
    report.memory.parts = vec![document::MemoryPart {
        name: "live blocks".to_owned(),
        bytes: 8 << 20,
        measured_by: String::new(),
    }];
    report.processes[1].pid = 99;
    let arena = |process| document::ArenaReport {
        process,
        number: 1,
        free_bytes: 1 << 20,
        resident_bytes: 4 << 20,
        ..Default::default()
    };
    report.fragmentation.arenas = vec![arena(1), arena(0)];
    let told = text(&report, &all(), LOOK)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let first = report.processes[0].pid;
    assert!(
        told.contains(&format!(
            "most in number 1 of server (pid 99): 1.0 MiB of 4.0 MiB, number 1 of nice (pid {first}): 1.0 MiB of 4.0 MiB"
        )),
        "{told}"
    );
}

#[test]
fn what_was_before_an_exec_is_gone() {
    let (mut before, mut after) = (Recording::new(), server());
    let site = before.heap(0x7777);
    before.snapshot(1, &[(site, 1, 1 << 20, 0, 0)]);
    before.event(1, EventKind::Exec, "/opt/app");
    (before.exe, after.number, after.started_ms) = ("/usr/bin/env".to_owned(), 2, 3);
    let options = LoadOptions::default();
    let processes = vec![before.process(&options), after.process(&options)];
    let mut family = Family::merge(processes, &options).expect("one family");
    testing::name(&mut family, NAMES, &Blame::default());
    let alone = assemble(&named(&server()), &all());
    let report = assemble(&family, &all());
    assert_eq!(report.totals.live_bytes, alone.totals.live_bytes);
    assert_eq!(report.sites.len(), alone.sites.len());
    let written = text(&report, &all(), LOOK);
    assert!(written.starts_with("app: 2 findings"), "{written}");
    assert!(
        written.contains("/opt/app --port=80 (before exec: env)"),
        "{written}"
    );
    let alone = assemble(&before.family(), &all());
    assert_eq!(
        alone.totals.live_bytes,
        1 << 20,
        "unless it is all there is"
    );
}

#[test]
fn recordings_of_relatives_are_found_beside() {
    let folder = tempfile::tempdir().expect("a folder");
    let save = |name: &str, recording: &Recording| {
        let path = folder.path().join(name);
        std::fs::write(&path, recording.bytes()).expect("written");
        path
    };
    let (mut child, mut stranger) = (Recording::new(), Recording::new());
    (child.number, child.parent, child.pid, child.ppid) = (2, Some(1), 4712, 4711);
    (stranger.number, stranger.pid, stranger.start_ticks) = (3, 99, 7);
    let first = save("a.ltk", &server());
    let second = save("a.ltk.2", &child);
    save("b.ltk", &stranger);
    std::fs::write(folder.path().join("c.ltk"), "no recording").expect("written");
    let family = crate::read::load(&[&first], &LoadOptions::default()).expect("loaded");
    assert_eq!(
        crate::relatives::beside(&family),
        std::slice::from_ref(&second)
    );
    let both = crate::read::load(&[&first, &second], &LoadOptions::default()).expect("loaded");
    assert!(crate::relatives::beside(&both).is_empty());

    let told = |family: &Family| {
        let mut report = assemble(family, &all());
        crate::relatives::tell(family, &mut report.extra);
        text(&report, &all(), LOOK).replace('\n', " ")
    };
    let said = told(&family);
    assert!(
        said.contains("Not in this report: one other process of its family"),
        "{said}"
    );
    assert!(!told(&both).contains("Not in this report"));
}

#[test]
fn what_a_program_became_is_named_with_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let save = |name: &str, recording: &Recording| {
        let path = folder.path().join(name);
        std::fs::write(&path, recording.bytes()).expect("written");
        path
    };
    let mut shell = Recording::new();
    shell.exe = "/bin/sh".to_owned();
    shell.every_second(3, |_| Vec::new());
    shell.event(3_000, EventKind::Exec, "/usr/bin/env");
    let mut env = Recording::new();
    (env.number, env.exe, env.started_ms) = (2, "/usr/bin/env".to_owned(), 3_100);
    env.every_second(1, |_| Vec::new());
    env.event(1_000, EventKind::Exec, "/opt/other");
    let mut last = Recording::new();
    (last.number, last.exe, last.started_ms) = (3, "/opt/other".to_owned(), 4_200);
    last.every_second(3, |_| Vec::new());
    let first = save("a.ltk", &shell);
    save("a.ltk.2", &env);
    let program = save("a.ltk.3", &last);
    let family = crate::read::load(&[&first], &LoadOptions::default()).expect("loaded");
    let mut report = assemble(&family, &all());
    crate::relatives::tell(&family, &mut report.extra);
    let said = text(&report, &all(), LOOK).replace('\n', " ");
    let command = format!("leaktrack report {}", program.display());
    assert!(
        said.contains("It became other by exec") && said.contains(&command),
        "{said}"
    );
}

/// RLIMIT_AS is on address space: of that 500,000 bytes are left here, and 900,000,000 of memory.
#[test]
fn the_limit_on_address_space_is_forecast_from_address_space() {
    let forecast = |is_address_space| {
        let mut r = Recording::new();
        let site = r.heap(0x1111);
        r.head.limit_bytes = Some(1_000_000_000);
        r.head.limit_is_address_space = is_address_space;
        (r.head.rss_bytes, r.head.vm_bytes) = (100_000_000, 999_500_000);
        r.every_second(60, |_| vec![(site, 1, 1_000, 0, 0)]);
        let report = super::assemble(&r.family(), &ReportOptions::default());
        let site = report.sites[0].growth.limit_in_s.expect("a forecast").value;
        (site, report.extra.limit_in_s.expect("a forecast").value)
    };
    let near = |(site, whole): (f64, f64), expected: f64| {
        (site / expected - 1.0).abs() < 0.02 && (whole / expected - 1.0).abs() < 0.02
    };
    assert!(near(forecast(true), 500.0), "{:?}", forecast(true));
    assert!(near(forecast(false), 900_000.0), "{:?}", forecast(false));
}

#[test]
fn the_highest_resident_set_outlasts_thinning() {
    let mut r = Recording::new();
    let site = r.heap(0x1111);
    r.snapshot(1_000, &[(site, 1, 10, 0, 0)]);
    r.head.merged = 3;
    r.head.rss_peak = Some(RssPeak {
        bytes: 77 << 20,
        at_ms: 2_500,
    });
    r.snapshot(4_000, &[(site, 1, 10, 0, 0)]);
    r.head.rss_peak = None;
    r.head.merged = 1;
    r.head.index += 2;
    for second in 5..2_000 {
        r.head.rss_bytes = if second == 1_234 { 60 << 20 } else { 9 << 20 };
        r.snapshot(second * 1_000, &[(site, 1, 10, 0, 0)]);
    }
    let report = super::assemble(&r.family(), &ReportOptions::default());
    assert!((300..=600).contains(&report.timeline.len()));
    let peaks: Vec<_> = report
        .timeline
        .iter()
        .filter(|moment| moment.rss_bytes > 10 << 20)
        .map(|moment| (moment.t_s, moment.rss_bytes >> 20, moment.live_bytes))
        .collect();
    assert_eq!(peaks, [(2.5, 77, 10), (1_234.0, 60, 12_320)]);
    assert_eq!(report.memory.peak_rss_bytes, Some(77 << 20));
    assert_eq!(report.memory.peak_rss_at_s, Some(2.5));
    let text = text(&report, &all(), LOOK);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("MiB (peak 77.0 MiB)."), "{text}");
}

#[test]
fn who_goes_on_after_an_end_has_not_ended() {
    let ended = |end: Record<'_>, seconds: u64, then: Option<Record<'_>>| {
        let mut r = Recording::new();
        let site = r.heap(0x1111);
        r.every_second(3, |_| vec![(site, 1, 10, 0, 0)]);
        r.record(&end);
        (4..4 + seconds).for_each(|second| r.snapshot(second * 1_000, &[(site, 1, 10, 0, 0)]));
        then.iter().for_each(|record| r.record(record));
        r.process(&LoadOptions::default()).ended
    };
    let end = |kind| Record::End {
        at_ms: 3_000,
        kind,
        status: 4,
    };
    let exec = Record::Event {
        at_ms: 3_000,
        kind: EventKind::Exec,
        text: b"",
    };
    // A child by vfork under a filter; an exec that failed.
    assert_eq!(ended(end(EndKind::FastExit), 9, None), Ended::Unfinished);
    assert_eq!(ended(exec, 9, None), Ended::Unfinished);
    assert_eq!(ended(exec, 9, Some(end(EndKind::Exit))), Ended::Exit(4));
    // A snapshot may come between the last word and the end; writing out stdio may take long.
    assert_eq!(ended(end(EndKind::FastExit), 1, None), Ended::Exit(4));
    assert_eq!(ended(exec, 1, None), Ended::Exec);
    assert_eq!(ended(end(EndKind::Exit), 9, None), Ended::Exit(4));
}

/// What a process leaves that is killed while it creates its recording.
#[test]
fn a_child_that_had_written_nothing_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let save = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let server = save("a.ltk", &server().bytes());
    let header = FileHeader::new([9; 16], 1).of_family([1; 16]).encode();
    let segment = |kind| {
        SegmentHeader {
            kind,
            level: 0,
            blocks: 3,
            seq: 1,
        }
        .encode()
    };
    let file = |header: &[u8], segment: &[u8]| {
        let mut bytes = vec![0; 4 * BLOCK_BYTES];
        bytes[..header.len()].copy_from_slice(header);
        bytes[BLOCK_BYTES..BLOCK_BYTES + segment.len()].copy_from_slice(segment);
        bytes
    };
    let stages = [
        Vec::new(),
        file(&[], &[]),
        file(&[], &segment(SegmentKind::Free)),
        header.to_vec(),
        file(&header, &[]),
        file(&header, &segment(SegmentKind::Free)),
        file(&header, &segment(SegmentKind::Defs)),
    ];
    for (stage, bytes) in stages.iter().enumerate() {
        let child = save("a.ltk.2", bytes);
        let family = crate::read::load(&[&server, &child], &LoadOptions::default())
            .unwrap_or_else(|error| panic!("stage {stage}: {error}"));
        assert_eq!(
            family.unwritten,
            std::slice::from_ref(&child),
            "stage {stage}"
        );
        let report = super::assemble(&family, &ReportOptions::default());
        let told = |note: &String| note.starts_with(&child.display().to_string());
        assert_eq!(
            report
                .coverage
                .notes
                .iter()
                .filter(|note| told(note))
                .count(),
            1
        );
        assert_eq!(report.processes.len(), 1);
        let alone = crate::read::load(&[&child], &LoadOptions::default());
        assert!(
            matches!(alone, Err(crate::read::LoadError::Unwritten { .. })),
            "stage {stage}"
        );
    }
    // What was there and is lost is not the same.
    let mut damaged = self::server().bytes();
    damaged[BLOCK_BYTES + 20] ^= 1;
    let child = save("a.ltk.2", &damaged);
    let error = crate::read::load(&[&server, &child], &LoadOptions::default());
    assert!(matches!(error, Err(crate::read::LoadError::Decode { .. })));
}

#[test]
fn short_recordings_say_once_what_is_missing() {
    let mut r = Recording::new();
    let site = r.heap(0x1111);
    r.every_second(3, |_| vec![(site, 1, 64, 0, 0)]);
    r.exit(3_000, 0);
    let written = text(&assemble(&named(&r), &all()), &all(), LOOK);
    assert!(
        written
            .contains("Only 3 snapshots were taken; a trend needs 8. A run at least 5.0 s longer"),
        "{written}"
    );
}

#[test]
fn strangers_are_refused_by_name() {
    let (mut a, mut b) = (Recording::new(), Recording::new());
    a.snapshot(1_000, &[]);
    (b.number, b.pid, b.ppid, b.start_ticks, b.exe) = (2, 99, 98, 7, "/opt/other".to_owned());
    let options = LoadOptions::default();
    let error = Family::merge(vec![a.process(&options), b.process(&options)], &options)
        .expect_err("two families")
        .to_string();
    for words in [
        "2 families",
        "1.ltk (app, pid 4711)",
        "2.ltk (other, pid 99)",
        "leaktrack diff",
    ] {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_child_without_its_parents_id_is_known_by_pid_and_time() {
    let (mut parent, mut child) = (Recording::new(), Recording::new());
    parent.every_second(10, |_| Vec::new());
    (
        child.number,
        child.pid,
        child.ppid,
        child.start_ticks,
        child.started_ms,
    ) = (2, 5000, 4711, 1500, 5_000);
    child.snapshot(1_000, &[]);
    let options = LoadOptions::default();
    let merge = |child: &Recording| {
        Family::merge(
            vec![parent.process(&options), child.process(&options)],
            &options,
        )
    };
    assert!(merge(&child).is_ok());
    child.started_ms = 60_000; // the parent was long gone: the pid was reused
    assert!(merge(&child).is_err());
}

#[test]
fn reloaded_modules_are_one_site() {
    let mut r = Recording::new();
    let again = r.module("/opt/app", b"\xab\xcd");
    let first = r.site(SiteKind::Heap, &[(1, 0x1111), (1, 0x100)]);
    let second = r.site(SiteKind::Heap, &[(again, 0x1111), (1, 0x100)]);
    r.every_second(10, |at| {
        vec![if at <= 5 {
            (first, 2, 200, 0, 0)
        } else {
            (second, 2, 200, 0, 0)
        }]
    });
    let report = assemble(&r.family(), &all());
    assert_eq!(report.sites.len(), 1);
    assert_eq!(
        (report.sites[0].live_bytes.value, report.sites[0].verdict),
        (2_000, Verdict::Growing)
    );
}

#[test]
fn own_frames_never_appear_and_lost_stacks_are_told() {
    let mut r = Recording::new();
    let own = r.module("/usr/lib/libleaktrack.so", b"\x07");
    let site = r.site(SiteKind::Heap, &[(own, 0x10), (1, 0x1111)]);
    r.every_second(3, |_| vec![(site, 1, 10, 0, 0), (77, 1, 10, 0, 0)]);
    let report = assemble(&r.family(), &all());
    assert!(
        report
            .sites
            .iter()
            .flat_map(|site| &site.frames)
            .all(|frame| frame.module == "/opt/app")
    );
    assert!(
        report
            .sites
            .iter()
            .any(|site| site.frames.is_empty() && site.blame.is_none())
    );
    assert!(text(&report, &all(), LOOK).contains("(no stack was recorded)"));
}

/// Everything that a user can do with the bytes of a file, in every format.
fn exercise(bytes: &[u8]) {
    for since in [None, Some("3s")] {
        let bound = since.map(|text: &str| text.parse().expect("a bound"));
        let options = LoadOptions {
            window: Window {
                since: bound,
                until: None,
            },
            ..LoadOptions::default()
        };
        let Ok(process) = crate::read::decode(Path::new("x.ltk"), bytes, &options) else {
            continue;
        };
        let Ok(family) = Family::merge(vec![process], &options) else {
            continue;
        };
        for group_by in [GroupBy::Site, GroupBy::Process, GroupBy::Thread] {
            let options = ReportOptions {
                group_by,
                show_healthy: true,
                curves: true,
                ..all()
            };
            let report = assemble(&family, &options);
            for format in [Format::Text, Format::Json, Format::Markdown, Format::Html] {
                render(
                    &report,
                    &options,
                    format,
                    Look {
                        colour: true,
                        width: Some(50),
                        unicode: true,
                    },
                    &mut Vec::new(),
                )
                .expect("in memory");
            }
        }
    }
}

#[test]
fn any_truncation_is_survived() {
    let bytes = server().bytes();
    for length in (0..bytes.len()).step_by(401) {
        exercise(&bytes[..length]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_is_survived(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let mut bytes = server().bytes();
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        exercise(&bytes);
    }

    /// Checksums right, content absurd.
    #[test]
    fn any_content_is_survived(
        times in prop::collection::vec(any::<u64>(), 1..12),
        deltas in prop::collection::vec((1_u32..9, any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()), 0..12),
        nodes in prop::collection::vec((any::<u32>(), any::<u32>(), 0_u32..4, any::<u64>()), 0..12),
        name in any::<Vec<u8>>(),
    ) {
        let mut r = Recording::new();
        r.record(&Record::Arg(&name));
        r.record(&Record::Thread { tid: 1, name: &name });
        r.module(&String::from_utf8_lossy(&name), &name[..name.len().min(32)]);
        for (id, parent, module, offset) in nodes {
            r.record(&Record::Node(leaktrack_recording::Node { id, parent, module, offset, exact: offset % 2 == 0 }));
            r.record(&Record::Site(leaktrack_recording::Site { id: id % 9, leaf: id, kind: if id % 2 == 0 { SiteKind::Heap } else { SiteKind::Mmap }, cut: false, folded: true, first_seen_ms: offset, thread: 1, call: leaktrack_recording::Call::of(id) }));
        }
        let mut sorted = deltas;
        sorted.sort();
        sorted.dedup_by_key(|delta| delta.0);
        for at_ms in times {
            r.absurd(at_ms, &sorted);
        }
        exercise(&r.bytes());
    }
}

#[test]
fn figures_of_the_system_are_those_of_the_end_and_events_those_of_the_run() {
    use leaktrack_recording::System;
    let mut r = Recording::new();
    let site = r.heap(0x4444);
    let at = |second: u64| System {
        locked_bytes: Some(second << 20),
        locked_limit_bytes: Some(u64::MAX),
        host_memory_bytes: Some(100 << 30),
        host_locked_bytes: Some(60 << 30),
        host_swap_out_pages: Some(1000 + second),
        oom_score: Some(900),
        cgroup_bytes: Some(400 << 20),
        cgroup_max_bytes: Some(512 << 20),
        cgroup_high_bytes: Some(u64::MAX),
        cgroup_max_events: Some(7 + second),
        cgroup_oom_kills: Some(3),
        pressure_some: Some(1250),
        pressure_some_us: Some(second * 500_000),
        pressure_is_cgroup: Some(1),
        ..System::default()
    };
    for second in 1..=20 {
        // Looked at every five seconds.
        r.figures((second % 5 == 1).then(|| at(second)));
        r.snapshot(second * 1000, &[(site, 1, 100, 1, 100)]);
    }
    let report = assemble(&named(&r), &all());
    assert_valid(&report);
    let system = report.system.as_ref().expect("figures");
    assert_eq!(system.locked_bytes, Some(16 << 20));
    assert_eq!(system.locked_limit_bytes, None);
    assert_eq!(system.host_locked_share, Some(0.6));
    assert_eq!(system.swap_out_bytes, Some(15 * 4096));
    assert_eq!(system.swap_in_bytes, None);
    let cgroup = system.cgroup.as_ref().expect("a cgroup");
    assert_eq!(
        (cgroup.max_bytes, cgroup.high_bytes),
        (Some(512 << 20), None)
    );
    assert_eq!((cgroup.max_events, cgroup.oom_kills), (Some(15), Some(0)));
    let pressure = system.pressure.as_ref().expect("pressure");
    assert_eq!(
        (pressure.of.as_str(), pressure.some_s),
        ("cgroup", Some(7.5))
    );
    assert_eq!((pressure.some_share, pressure.full_s), (Some(0.125), None));
    let locked: Vec<_> = report
        .timeline
        .iter()
        .map(|moment| moment.system.locked_bytes)
        .collect();
    assert_eq!(
        locked[..6],
        [1, 1, 1, 1, 1, 6].map(|mib: u64| Some(mib << 20))
    );
    let text = text(&report, &all(), LOOK);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "Locked 16.0 MiB, no limit; 60.0 GiB of the host's memory is locked (60%)",
        "Cgroup 400 MiB of 512 MiB; memory.max met 15 times",
        "tasks of the cgroup waited 7.5 s for memory",
        "the host swapped 0 B in and 60.0 KiB out meanwhile",
        "oom_score 900",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

/// The commands at the end are what a shell takes: it is asked, with a program that prints its arguments.
#[test]
fn commands_at_the_end_name_every_file_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("it's a folder");
    std::fs::create_dir(&place).expect("made");
    let save = |name: &str, recording: &Recording| {
        let path = place.join(name);
        std::fs::write(&path, recording.bytes()).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let mut files = vec![save("app.4711.ltk", &server())];
    for number in 2..=40 {
        let mut child = Recording::new();
        (child.number, child.parent) = (number, Some(1));
        (child.pid, child.ppid) = (4710 + u32::from(number), 4711);
        files.push(save(&format!("app.{}.ltk", child.pid), &child));
    }
    let taken = |given: &[String]| {
        let family = crate::read::load(given, &LoadOptions::default()).expect("loaded");
        let mut report = assemble(&family, &all());
        crate::relatives::tell(&family, &mut report.extra);
        let look = Look {
            width: Some(40),
            ..LOOK
        };
        let written = text(&report, &all(), look);
        let (_, end) = written.split_once("How to go on\n\n").expect("commands");
        let commands = end.lines().filter(|line| !line.starts_with("      "));
        let run = |command: &str| {
            let shell = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!(
                    "leaktrack() {{ for word; do case $word in *app*) printf '%s\\n' \"$word\";; esac; done; }}\n{command}"
                ))
                .current_dir(folder.path())
                .output()
                .expect("a shell");
            assert!(
                shell.status.success() && shell.stderr.is_empty(),
                "{command}"
            );
            let named = String::from_utf8(shell.stdout).expect("text");
            let mut named: Vec<String> = named.lines().map(str::to_owned).collect();
            named.sort();
            named
        };
        commands
            .map(|command| (command.len(), run(command)))
            .collect::<Vec<_>>()
    };
    files.sort();
    // One is given, of 40: the first command is on all, the others on that one.
    let of_one = taken(&files[..1]);
    assert_eq!(of_one[0].1, files);
    assert!(of_one[0].0 < 200, "a pattern, not 40 names: {of_one:?}");
    assert!(of_one.len() >= 3);
    assert!(of_one[1..].iter().all(|(_, named)| *named == files[..1]));
    // All are given.
    let of_all = taken(&files);
    assert!(of_all.len() >= 2);
    assert!(
        of_all
            .iter()
            .all(|(length, named)| *named == files && *length < 250)
    );
    // A few less: a pattern would take the others, too.
    let of_some = taken(&files[..20]);
    assert_eq!(of_some[0].1, files);
    assert!(of_some[1..].iter().all(|(_, named)| *named == files[..20]));
}

#[test]
fn the_peak_of_resident_memory_is_the_kernels_where_it_is_known() {
    let mut report = assemble(&named(&server()), &all());
    assert_eq!(report.memory.kernel_peak_rss_bytes, None);
    let said = |report: &Report| text(report, &all(), LOOK).replace('\n', " ");
    assert!(!said(&report).contains("by the kernel"));
    report.memory.kernel_peak_rss_bytes = Some(99 << 20);
    assert!(said(&report).contains("(peak 99.0 MiB by the kernel)"));
}

#[test]
fn a_program_has_one_name_where_its_executable_is_called_otherwise() {
    let mut r = Recording::new();
    let stack = r.site(SiteKind::Heap, &[(1, 0x77), (1, 0x100)]);
    r.every_second(12, |_| vec![(stack, 1, 1_000, 0, 0)]);
    r.exit(12_000, 0);
    let family = r.family();
    let mut report = assemble(&family, &all());
    let exe = "/usr/bin/store-check".to_owned();
    for process in &mut report.processes {
        process.exe.clone_from(&exe);
        process.argv = vec!["store-server".to_owned(), "--port".to_owned()];
    }
    for frame in report.sites.iter_mut().flat_map(|site| &mut site.frames) {
        frame.module.clone_from(&exe);
    }
    let shown = text(&report, &all(), LOOK);
    assert!(!shown.contains("store-check"), "{shown}");
    assert!(shown.contains("store-server+0x76"), "{shown}");
    // For programs the file is the file.
    let mut json = Vec::new();
    render(&report, &all(), Format::Json, LOOK, &mut json).expect("in memory");
    assert!(String::from_utf8_lossy(&json).contains(&exe));
}
