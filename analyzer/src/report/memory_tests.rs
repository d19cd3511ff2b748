//! The memory section on hand-made accounts: what tests on real programs cannot bring about here.

use leaktrack_recording::{
    Account, AccountHead, EventKind, Part, PartWriter, Record, Residency, ResidencyWriter,
    SiteKind, SiteResidency, SliceSink, part,
};

use super::{Format, ReportOptions, assemble, render};
use crate::commands::report::file_look;
use crate::model::{Family, LoadOptions};
use crate::report::document::Report;
use crate::testing::Recording;

const MIB: u64 = 1 << 20;

/// Adds an account at a moment: resident and proportional bytes of parts.
fn account(r: &mut Recording, head: AccountHead, parts: &[(u32, u64, u64)]) {
    let mut room = [0; 512];
    let mut sink = SliceSink::new(&mut room);
    let mut writer = PartWriter::new(&mut sink);
    for (number, resident_bytes, proportional_bytes) in parts {
        let part = Part {
            number: *number,
            resident_bytes: *resident_bytes,
            proportional_bytes: *proportional_bytes,
            swapped_bytes: 0,
        };
        writer.push(&part).expect("ascending parts");
    }
    r.record(&Record::Account(Account {
        nodes: &[],
        head,
        parts: sink.written(),
    }));
}

fn report(family: &Family) -> Report {
    assemble::assemble(family, &ReportOptions::default())
}

fn steady(r: &mut Recording, bytes: u64) -> u32 {
    let site = r.site(SiteKind::Heap, &[(1, 0x1111)]);
    r.every_second(30, |second| match second {
        1 => vec![(site, 10, bytes, 0, 0)],
        _ => vec![],
    });
    site
}

#[test]
fn swapped_memory_is_swap_pressure() {
    let mut r = Recording::new();
    r.head.limit_bytes = Some(64 * MIB);
    r.head.swap_bytes = 40 * MIB;
    r.head.rss_bytes = 60 * MIB;
    let site = steady(&mut r, 90 * MIB);
    let head = AccountHead {
        at_ms: 30_000,
        rss_bytes: 60 * MIB,
        swap_bytes: 40 * MIB,
        live_bytes: 90 * MIB,
        live_swapped_bytes: 38 * MIB,
        ..AccountHead::default()
    };
    account(&mut r, head, &[(part::LIVE_BLOCKS, 52 * MIB, 52 * MIB)]);
    let mut room = [0; 64];
    let mut sink = SliceSink::new(&mut room);
    let residency = SiteResidency {
        site,
        live_bytes: 90 * MIB,
        resident_bytes: 50 * MIB,
        swapped_bytes: 38 * MIB,
        ..SiteResidency::default()
    };
    ResidencyWriter::new(&mut sink)
        .push(&residency)
        .expect("one");
    r.record(&Record::Residency(Residency {
        at_ms: 30_000,
        sites: sink.written(),
    }));
    let report = report(&r.family());
    let said = report.memory.verdict.expect("a sentence");
    assert!(
        said.starts_with("Swap pressure: 40.0 MiB are swapped out and 60.0 MiB resident under a limit of 64.0 MiB"),
        "{said}"
    );
    assert_eq!(report.memory.unexplained_bytes, Some(8 * MIB as i64));
    let site = report.sites.first().expect("the site");
    assert_eq!(site.resident_bytes, Some(50 * MIB));
    assert_eq!(site.swapped_bytes, Some(38 * MIB));
    assert_eq!(site.untouched_bytes, Some(2 * MIB));
}

#[test]
fn a_family_is_told_in_proportional_shares() {
    let of = |number: u8, parent: Option<u8>, rss: u64, pss: u64, shared: (u64, u64)| {
        let mut r = Recording::new();
        r.number = number;
        r.parent = parent;
        r.pid += u32::from(number);
        steady(&mut r, MIB);
        let head = AccountHead {
            at_ms: 30_000,
            rss_bytes: rss,
            pss_bytes: Some(pss),
            ..AccountHead::default()
        };
        let (resident, proportional) = shared;
        let parts = [
            (part::LIVE_BLOCKS, MIB, MIB),
            (part::MODULES_SHARED, resident, proportional),
        ];
        account(&mut r, head, &parts);
        r
    };
    let parent = of(1, None, 9 * MIB, 5 * MIB, (8 * MIB, 4 * MIB));
    let child = of(2, Some(1), 10 * MIB, 6 * MIB, (8 * MIB, 4 * MIB));
    let options = LoadOptions::default();
    let processes = vec![parent.process(&options), child.process(&options)];
    let family = Family::merge(processes, &options).expect("one family");
    let memory = report(&family).memory;
    assert_eq!(memory.rss_bytes, Some(19 * MIB));
    assert_eq!(memory.pss_bytes, Some(11 * MIB));
    let bytes: Vec<(&str, u64)> = memory
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part.bytes))
        .collect();
    assert_eq!(
        bytes,
        [
            ("live blocks", 2 * MIB),
            ("executable and libraries, unchanged", 8 * MIB)
        ]
    );
    assert_eq!(memory.unexplained_bytes, Some(MIB as i64));
    assert_eq!(memory.parts_of.as_deref(), Some("pss"));
    // Over time each process is told by itself, in what is resident there.
    let moment = memory.over_time.first().expect("an account");
    assert_eq!(moment.rss_bytes, 9 * MIB);
    assert_eq!(moment.parts["executable and libraries, unchanged"], 8 * MIB);
}

#[test]
fn what_became_another_program_is_told_in_what_is_resident() {
    let of = |number: u8, started_ms: u64| {
        let mut r = Recording::new();
        (r.number, r.started_ms) = (number, started_ms);
        steady(&mut r, MIB);
        let head = AccountHead {
            at_ms: 30_000,
            rss_bytes: 9 * MIB,
            pss_bytes: Some(5 * MIB),
            ..AccountHead::default()
        };
        let parts = [
            (part::LIVE_BLOCKS, MIB, MIB),
            (part::MODULES_SHARED, 8 * MIB, 4 * MIB),
        ];
        account(&mut r, head, &parts);
        r
    };
    let mut shell = of(1, 0);
    shell.event(30_000, EventKind::Exec, "/opt/app");
    let options = LoadOptions::default();
    let processes = vec![shell.process(&options), of(2, 30_100).process(&options)];
    let family = Family::merge(processes, &options).expect("one family");
    let report = report(&family);
    let memory = &report.memory;
    let parts: u64 = memory.parts.iter().map(|part| part.bytes).sum();
    assert_eq!(
        (memory.rss_bytes, parts, memory.unexplained_bytes),
        (Some(9 * MIB), 9 * MIB, Some(0))
    );
    assert_eq!(memory.parts_of.as_deref(), Some("rss"));
    let mut said = Vec::new();
    let options = ReportOptions::default();
    render(&report, &options, Format::Text, file_look(), &mut said).expect("written");
    let said = String::from_utf8(said).expect("text");
    let whole = said
        .lines()
        .find(|line| line.contains("resident set (RSS)"));
    assert!(whole.is_some_and(|line| line.contains("9.0 MiB")), "{said}");
    assert!(!said.contains("PSS"), "{said}");
}

/// An account in which live blocks are most of what is resident.
fn accounted(r: &mut Recording, rss: u64) {
    let head = AccountHead {
        at_ms: 1_000,
        rss_bytes: rss,
        ..AccountHead::default()
    };
    account(r, head, &[(part::LIVE_BLOCKS, rss, rss)]);
}

#[test]
fn what_was_freed_at_exit_is_not_told_as_growth_to_be_freed() {
    let mut r = Recording::new();
    let site = r.heap(0x1111);
    r.every_second(60, |second| match second {
        60 => vec![(site, 0, 0, 590, 59 * MIB)],
        _ => vec![(site, 10, MIB, 0, 0)],
    });
    accounted(&mut r, 60 * MIB);
    r.exit(60_000, 0);
    let report = report(&r.family());
    assert_eq!((report.finding_count, report.totals.live_bytes), (1, 0));
    let said = report.memory.verdict.clone().expect("a sentence");
    assert!(
        said.starts_with(
            "Growth while it ran: live blocks grew by 1.0 MiB/s, to 59.0 MiB at the peak"
        ) && said.contains("all of it was freed at exit"),
        "{said}"
    );
    assert!(!said.contains("0 B so far"), "{said}");
    let headline = super::sentence(&report);
    assert!(
        headline.contains("its memory grew by 1.0 MiB/s"),
        "{headline}"
    );
}

#[test]
fn the_first_sentence_and_the_one_on_memory_add_up_the_same() {
    let mut r = Recording::new();
    // A mapping that grows by 2 MiB/s, and 24 callers of one line with 1 MiB/s between them, each too
    // rare to be a finding alone.
    let mapped = r.site(SiteKind::Mmap, &[(1, 0x7777)]);
    let callers: Vec<u32> = (0..24)
        .map(|caller| r.site(SiteKind::Heap, &[(1, 0x1111), (1, 0x8000 + caller)]))
        .collect();
    r.every_second(48, |second| {
        vec![
            (mapped, 1, 2 * MIB, 0, 0),
            (callers[(second as usize - 1) % 24], 1, MIB, 0, 0),
        ]
    });
    accounted(&mut r, 144 * MIB);
    r.exit(48_000, 0);
    let report = report(&r.family());
    let rate = report.extra.finding_rate.expect("growth").value;
    assert!((rate / (3 * MIB) as f64 - 1.0).abs() < 0.02, "{rate}");
    let said = report.memory.verdict.clone().expect("a sentence");
    assert!(
        said.starts_with(
            "Growth: live blocks and mappings grow by 3.0 MiB/s (144 MiB so far), most of it mapped in"
        ),
        "{said}"
    );
    let headline = super::sentence(&report);
    assert!(headline.contains("grows by 3.0 MiB/s"), "{headline}");
}

#[test]
fn what_was_mostly_freed_at_exit_is_told_as_that() {
    let mut r = Recording::new();
    let site = r.heap(0x1111);
    r.every_second(60, |second| match second {
        60 => vec![(site, 0, 0, 580, 58 * MIB)],
        _ => vec![(site, 10, MIB, 0, 0)],
    });
    accounted(&mut r, 60 * MIB);
    r.exit(60_000, 0);
    let report = report(&r.family());
    assert_eq!(
        (report.finding_count, report.totals.live_bytes),
        (1, MIB),
        "a finding, of which a sixtieth is left"
    );
    let said = report.memory.verdict.clone().expect("a sentence");
    assert!(
        said.starts_with("Growth while it ran: ")
            && said.contains("all but 1.0 MiB was freed at exit"),
        "{said}"
    );
    let headline = super::sentence(&report);
    assert!(
        headline.contains("its memory grew by 1.0 MiB/s"),
        "{headline}"
    );
    assert!(headline.contains("was freed at exit"), "{headline}");
}

#[test]
fn what_one_line_freed_is_told_beside_what_another_holds() {
    let mut r = Recording::new();
    let kept = r.site(SiteKind::Heap, &[(1, 0x1111)]);
    let freed = r.site(SiteKind::Heap, &[(1, 0x7777)]);
    r.every_second(60, |second| match second {
        60 => vec![(freed, 0, 0, 590, 59 * MIB)],
        _ => vec![(kept, 10, 2 * MIB, 0, 0), (freed, 10, MIB, 0, 0)],
    });
    accounted(&mut r, 120 * MIB);
    r.exit(60_000, 0);
    let report = report(&r.family());
    let said = report.memory.verdict.clone().expect("a sentence");
    assert!(
        said.contains("(118 MiB so far, besides 59.0 MiB freed at exit)"),
        "{said}"
    );
    let headline = super::sentence(&report);
    assert!(headline.contains("its memory grows by"), "{headline}");
}
