//! The gate on hand-made recordings with known answers.

use leaktrack_recording::{Coverage, EventKind, Mode, SiteKind, SiteLoss, System};

use super::*;
use crate::blame::Blame;
use crate::report::document::Generator;
use crate::report::{GroupBy, ReportOptions, Suppressions, assemble};
use crate::testing::{Did, Names, Recording, name};

const NAMES: Names<'_> = &[
    (0x10, "keep<int>(a & \"b\")", "/src/a b/ü.c", 10),
    (0x20, "cache", "/src/b.c", 20),
    (0x30, "other", "/src/c.c", 30),
    (0x100, "main", "/src/main.c", 5),
];

fn asked(verdicts: &[Verdict]) -> CheckOptions {
    CheckOptions {
        fail_on: verdicts.to_vec(),
        max_growth_bytes_per_s: None,
        min_bytes: 0,
        allow_incomplete: false,
        baseline: Baseline::default(),
    }
}

fn growing() -> CheckOptions {
    asked(&[Verdict::Growing])
}

/// `keep` leaks 1,000 bytes a second, `cache` holds 50,000, for a minute.
fn leaky() -> Recording {
    leaking(&[0x10])
}

/// The same, with a leak at each of some addresses.
fn leaking(offsets: &[u64]) -> Recording {
    let mut recording = clean();
    let leaks: Vec<u32> = offsets.iter().map(|at| recording.heap(*at)).collect();
    recording.every_second(60, |second| {
        let mut did = level(second);
        did.extend(leaks.iter().map(|site| (*site, 10, 1000, 0, 0)));
        did
    });
    recording
}

fn level(second: u64) -> Vec<Did> {
    match second {
        1 => vec![(1, 1, 50_000, 0, 0)],
        _ => vec![],
    }
}

fn clean() -> Recording {
    let mut recording = Recording::new();
    recording.heap(0x20);
    recording
}

fn judged(recording: &Recording, suppressions: &str, options: &CheckOptions) -> Outcome {
    let mut family = recording.family();
    name(&mut family, NAMES, &Blame::default());
    let mut known = Suppressions::default();
    known.add(suppressions).expect("well-formed");
    judge(&family, &assemble(&family, &whole(known)), options)
}

fn whole(suppressions: Suppressions) -> ReportOptions {
    ReportOptions {
        top: 0,
        show_healthy: true,
        group_by: GroupBy::Line,
        no_source: true,
        suppressions,
        ..ReportOptions::default()
    }
}

fn answer(outcome: &Outcome) -> (Status, u8, Vec<&str>) {
    let codes = outcome.inconclusive.iter().map(|it| it.code.as_str());
    (outcome.status, outcome.exit_code, codes.collect())
}

/// A gate cannot know whether a step is the first of many.
#[test]
fn a_rise_that_may_or_may_not_go_on_is_not_green() {
    let mut recording = clean();
    let steps = recording.heap(0x10);
    recording.every_second(60, |second| {
        let mut did = level(second);
        if matches!(second, 10 | 30 | 50) {
            did.push((steps, 200, 100_000, 0, 0));
        }
        did
    });
    let outcome = judged(&recording, "", &growing());
    assert_eq!(
        answer(&outcome),
        (Status::Inconclusive, 3, vec!["undecided"])
    );
    let reason = outcome.inconclusive.first().expect("one");
    assert!(
        reason.text.contains("rose by 97.7 KiB") && reason.text.contains("(ü.c:10)"),
        "{reason:?}"
    );
    // What is asked about is more, or not this.
    let min_bytes = CheckOptions {
        min_bytes: 150_000,
        ..growing()
    };
    let max_growth = CheckOptions {
        max_growth_bytes_per_s: Some(5_000.0),
        ..growing()
    };
    for options in [min_bytes, max_growth, asked(&[Verdict::Retained])] {
        let outcome = judged(&recording, "", &options);
        assert_eq!(answer(&outcome), (Status::Clean, 0, vec![]));
    }
    let outcome = judged(&recording, "leak:keep", &growing());
    assert_eq!(answer(&outcome), (Status::Clean, 0, vec![]));
}

/// A program that tidies up when it ends has grown all the same.
#[test]
fn what_was_freed_at_exit_counts_by_what_it_had_grown_to() {
    let mut recording = clean();
    let leak = recording.heap(0x10);
    recording.every_second(60, |second| {
        let mut did = level(second);
        did.push(match second {
            ..60 => (leak, 10, 1000, 0, 0),
            _ => (leak, 0, 0, 590, 59_000),
        });
        did
    });
    recording.exit(60_000, 0);
    for (min_bytes, code) in [(59_000, 1), (59_001, 0)] {
        let options = CheckOptions {
            min_bytes,
            ..growing()
        };
        let outcome = judged(&recording, "", &options);
        assert_eq!(outcome.exit_code, code, "{min_bytes}: {outcome:?}");
    }
}

#[test]
fn findings_fail_the_gate_and_options_let_them_pass() {
    let recording = leaky();
    let outcome = judged(&recording, "", &growing());
    assert_eq!(answer(&outcome), (Status::Findings, 1, vec![]));
    let finding = outcome.findings.first().expect("one");
    assert_eq!((outcome.findings.len(), finding.live_bytes), (1, 60_000));
    assert_eq!(finding.line, "/src/a b/ü.c:10");

    // 1,000 bytes a second are 3,600,000 an hour.
    for (per_hour, by) in [
        (3_700_000.0, Some(Tolerated::MaxGrowth)),
        (3_500_000.0, None),
    ] {
        let options = CheckOptions {
            max_growth_bytes_per_s: Some(per_hour / 3_600.0),
            ..growing()
        };
        let outcome = judged(&recording, "", &options);
        assert_eq!(outcome.exit_code, u8::from(by.is_none()));
        assert_eq!(outcome.tolerated.first().and_then(|it| it.tolerated_by), by);
    }
    for (min_bytes, code) in [(60_000, 1), (60_001, 0)] {
        let options = CheckOptions {
            min_bytes,
            ..growing()
        };
        assert_eq!(judged(&recording, "", &options).exit_code, code);
    }
    let suppressed = judged(&recording, "leak:keep", &growing());
    assert_eq!((suppressed.exit_code, suppressed.suppressed_sites), (0, 1));
}

#[test]
fn the_suppression_of_a_finding_suppresses_it_and_no_other() {
    let recording = leaking(&[0x10, 0x30]);
    let findings = judged(&recording, "", &growing()).findings;
    assert_eq!(findings.len(), 2);
    for (own, other) in [(0, 1), (1, 0)] {
        let left = judged(&recording, &findings[own].suppression, &growing());
        let lines: Vec<&str> = left.findings.iter().map(|it| it.line.as_str()).collect();
        assert_eq!(lines, [findings[other].line.as_str()]);
        assert_eq!(left.suppressed_sites, 1);
    }
}

#[test]
fn a_baseline_knows_findings_by_key_in_all_its_forms() {
    let recording = leaky();
    let outcome = judged(&recording, "", &growing());
    let mut family = recording.family();
    name(&mut family, NAMES, &Blame::default());
    let report = assemble(&family, &whole(Suppressions::default()));

    let mut of_report = Baseline::default();
    of_report.add_report(&report);
    let mut of_outcome = Baseline::default();
    of_outcome
        .add_json(&serde_json::to_vec(&outcome).expect("JSON"))
        .expect("an outcome");
    let mut of_json = Baseline::default();
    of_json
        .add_json(&serde_json::to_vec(&report).expect("JSON"))
        .expect("a report");
    for baseline in [of_report, of_outcome, of_json] {
        let options = CheckOptions {
            baseline,
            ..growing()
        };
        let known = judged(&recording, "", &options);
        assert_eq!(answer(&known), (Status::Clean, 0, vec![]));
        assert_eq!(known.tolerated.len(), 1);
        // Another leak is news.
        let outcome = judged(&leaking(&[0x10, 0x30]), "", &options);
        assert!(
            outcome.findings.iter().any(|it| it.line == "/src/c.c:30"),
            "{outcome:?}"
        );
        assert!(
            outcome
                .findings
                .iter()
                .all(|it| it.line != "/src/a b/ü.c:10"),
            "{outcome:?}"
        );
    }
    let wrong = Baseline::default().add_json(b"{\"schema\": \"x/1\"}");
    assert!(wrong.is_err_and(|error| error.to_string().contains("x/1")));
}

#[test]
fn a_gate_that_was_blind_is_not_green() {
    let mut seen = clean();
    seen.every_second(60, level);
    assert_eq!(
        answer(&judged(&seen, "", &growing())),
        (Status::Clean, 0, vec![])
    );
    let lost = asked(&[Verdict::Lost, Verdict::Growing]);
    assert_eq!(
        answer(&judged(&seen, "", &lost)),
        (Status::Inconclusive, 3, vec!["no-scan"])
    );
    let allowed = CheckOptions {
        allow_incomplete: true,
        ..lost
    };
    assert_eq!(
        answer(&judged(&seen, "", &allowed)),
        (Status::Inconclusive, 0, vec!["no-scan"])
    );

    let nothing = judged(&Recording::new(), "", &growing());
    assert_eq!(
        answer(&nothing),
        (Status::Inconclusive, 3, vec!["nothing-recorded"])
    );
    let mut short = clean();
    short.every_second(3, level);
    assert_eq!(
        answer(&judged(&short, "", &growing())),
        (Status::Inconclusive, 3, vec!["too-short"])
    );
    let mut dropping = clean();
    dropping.lose(Coverage {
        dropped: 1,
        ..Coverage::default()
    });
    dropping.every_second(60, level);
    assert_eq!(
        answer(&judged(&dropping, "", &growing())),
        (Status::Inconclusive, 3, vec!["dropped"])
    );
    let mut stopped = clean();
    stopped.every_second(60, level);
    stopped.event(60_000, EventKind::Limit, "no room left on the disk");
    assert_eq!(
        answer(&judged(&stopped, "", &growing())),
        (Status::Inconclusive, 3, vec!["stopped"])
    );
    // Three means of 64 KiB may have gone unsampled.
    let mut sampled = clean();
    sampled.mode = Mode::Sample {
        mean_bytes: 64 << 10,
    };
    sampled.every_second(60, level);
    assert_eq!(
        answer(&judged(&sampled, "", &growing())),
        (Status::Inconclusive, 3, vec!["sampled"])
    );
    let beyond = CheckOptions {
        min_bytes: 3 << 16,
        ..growing()
    };
    assert_eq!(judged(&sampled, "", &beyond).exit_code, 0);
    let per_minute = CheckOptions {
        max_growth_bytes_per_s: Some(f64::from(3 << 16) / 59.0),
        ..growing()
    };
    assert_eq!(judged(&sampled, "", &per_minute).exit_code, 0);
    let lost_beyond = CheckOptions {
        min_bytes: 3 << 16,
        ..asked(&[Verdict::Lost, Verdict::Growing])
    };
    assert_eq!(
        answer(&judged(&sampled, "", &lost_beyond)),
        (Status::Inconclusive, 3, vec!["sampled", "no-scan"])
    );
    // The process itself took 1,234 faults.
    for (children, codes) in [(1_200, vec![]), (2_000, vec!["short-children"])] {
        let mut script = clean();
        script.figures(Some(System {
            children_minor_faults: Some(children),
            ..System::default()
        }));
        script.every_second(60, level);
        assert_eq!(answer(&judged(&script, "", &growing())).2, codes);
    }
    // Findings are facts, however little was seen of the rest.
    assert_eq!(
        judged(&leaky(), "", &asked(&[Verdict::Lost, Verdict::Growing])).exit_code,
        1
    );
}

/// Codes of the gate, and whether the report itself says that most was not seen.
fn blind(recording: &Recording) -> (u8, Vec<String>, bool) {
    let family = recording.family();
    let report = assemble(&family, &whole(Suppressions::default()));
    let outcome = judge(&family, &report, &growing());
    let codes = outcome.inconclusive.into_iter().map(|it| it.code);
    (outcome.exit_code, codes.collect(), report.coverage.usable)
}

#[test]
fn time_without_recording_is_not_green() {
    let off = |mode: Mode, events: &[(u64, EventKind)]| {
        let mut recording = clean();
        recording.mode = mode;
        for (at_ms, kind) in events {
            recording.event(*at_ms, *kind, "");
        }
        recording.every_second(60, level);
        blind(&recording)
    };
    let code = || vec!["switched-off".to_owned()];
    let (disable, enable) = (EventKind::Disable, EventKind::Enable);
    assert_eq!(off(Mode::Exact, &[]), (0, vec![], true));
    // 50 of 60 seconds, 20 of them, and a hundredth.
    assert_eq!(off(Mode::Exact, &[(10_000, disable)]), (3, code(), false));
    let some = [(10_000, disable), (30_000, enable)];
    assert_eq!(off(Mode::Exact, &some), (3, code(), true));
    let hardly = [(10_000, disable), (10_600, enable)];
    assert_eq!(off(Mode::Exact, &hardly), (0, vec![], true));
    assert_eq!(off(Mode::Dormant, &[]), (3, code(), false));
    assert_eq!(off(Mode::Dormant, &[(45_000, enable)]), (3, code(), false));
    assert_eq!(off(Mode::Dormant, &[(100, enable)]), (0, vec![], true));
}

#[test]
fn what_is_asked_of_the_time_with_recording_is_answered() {
    let mut late = clean();
    late.mode = Mode::Dormant;
    late.event(20_000, EventKind::Enable, "");
    late.every_second(60, level);
    let answer = |window: &str| {
        let since = Some(window.parse().expect("a bound"));
        let family = late.family_with(&crate::model::LoadOptions {
            window: crate::model::Window { since, until: None },
            ..crate::model::LoadOptions::default()
        });
        let report = assemble(&family, &whole(Suppressions::default()));
        let outcome = judge(&family, &report, &growing());
        let recording = (report.recording.span_s, report.recording.off_s);
        (outcome.exit_code, recording, outcome.inconclusive)
    };
    let (exit_code, times, reasons) = answer("60s");
    assert_eq!((exit_code, times), (3, (60.0, 20.0)));
    // What the remedy says is what helps.
    let remedy = &reasons.first().expect("one").remedy;
    assert!(remedy.contains("--since 40s"), "{remedy}");
    assert_eq!(answer("40s"), (0, (40.0, 0.0), vec![]));
}

#[test]
fn samples_that_say_nothing_are_told_as_such_with_their_own_remedy() {
    for (mode, remedy) in [
        (Mode::Exact, "memory="),
        (
            Mode::Budget {
                milli_percent: 1000,
            },
            "budget",
        ),
        (
            Mode::Sample {
                mean_bytes: 16 << 30,
            },
            "smaller mean",
        ),
    ] {
        let mut recording = clean();
        recording.mode = mode;
        recording.head.rss_bytes = 10 << 20;
        let made = |second: u64| vec![(1, second, 16 << 20, second, 16 << 20)];
        recording.snapshot(1_000, &made(1));
        recording.head.sampling = Some(leaktrack_recording::Sampling {
            mean_bytes: 16 << 30,
            ..leaktrack_recording::Sampling::default()
        });
        (2..60).for_each(|second| recording.snapshot(second * 1_000, &made(second)));
        let (exit_code, codes, usable) = blind(&recording);
        assert_eq!((exit_code, usable), (3, false), "{mode:?}");
        assert_eq!(codes, ["coarse-samples"], "{mode:?}");
        let report = assemble(&recording.family(), &whole(Suppressions::default()));
        let told = &report.coverage.unseen[0];
        assert!(told.remedy.contains(remedy), "{mode:?}: {told:?}");
        let sentence = crate::report::sentence(&report);
        assert!(
            sentence.starts_with("app: this recording cannot say whether it leaks. app (pid 4711)"),
            "{sentence}"
        );
        let memory = report.memory.verdict.unwrap_or_default();
        assert!(!memory.contains("nothing grows"), "{memory}");
    }
}

#[test]
fn a_long_lived_shell_does_not_speak_for_its_short_children() {
    let mut shell = clean();
    shell.every_second(60, level);
    let mut child = Recording::new();
    (child.number, child.parent) = (2, Some(1));
    (child.pid, child.ppid, child.start_ticks) = (4712, 4711, 2000);
    child.started_ms = 5_000;
    let site = child.heap(0x30);
    child.every_second(2, |_| vec![(site, 100, 10_000, 0, 0)]);
    child.exit(2_000, 0);
    let options = crate::model::LoadOptions::default();
    let both = vec![shell.process(&options), child.process(&options)];
    let family = Family::merge(both, &options).expect("one family");
    let report = assemble(&family, &whole(Suppressions::default()));
    let outcome = judge(&family, &report, &growing());
    assert_eq!(
        answer(&outcome),
        (Status::Inconclusive, 3, vec!["too-short"])
    );
}

#[test]
fn without_a_recording_nothing_helps() {
    let options = CheckOptions {
        allow_incomplete: true,
        ..growing()
    };
    let generator = Generator {
        version: "0".to_owned(),
        report_unix_s: 0,
    };
    let mut outcome = Outcome::new(generator, &options);
    outcome.inconclusive.push(nothing_recorded(
        std::path::Path::new("x.ltk"),
        "it is empty",
    ));
    outcome.conclude(true);
    assert_eq!(
        answer(&outcome),
        (Status::Inconclusive, 3, vec!["no-recording"])
    );
}

#[test]
fn sarif_is_valid_and_finds_its_way_to_the_line() {
    let mut schema: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/schemas/sarif-2.1.0.json")).expect("JSON");
    // A pattern of the published schema is no regular expression: it closes a bracket never opened.
    for part in ["run", "toolComponent"] {
        let language = &mut schema["definitions"][part]["properties"]["language"];
        language
            .as_object_mut()
            .expect("an object")
            .remove("pattern");
    }
    let valid = jsonschema::validator_for(&schema).expect("a schema");
    let known = CheckOptions {
        max_growth_bytes_per_s: Some(1e9),
        ..growing()
    };
    let lost = asked(&[Verdict::Lost, Verdict::Growing]);
    let outcomes = [
        judged(&leaky(), "", &growing()),
        judged(&leaky(), "", &known),
        judged(&clean(), "", &lost),
        judged(&leaky(), "", &lost),
    ];
    for outcome in &outcomes {
        let log = sarif::log(outcome, std::path::Path::new("/src"));
        let errors: Vec<String> = valid.iter_errors(&log).map(|it| it.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{log:#}");
    }
    let log = sarif::log(&outcomes[0], std::path::Path::new("/src"));
    let result = &log["runs"][0]["results"][0];
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b/%C3%BC.c");
    assert_eq!(place["region"]["startLine"], 10);
    let key = outcomes[0].findings[0].keys[0].as_str();
    assert_eq!(result["partialFingerprints"]["leaktrackKey/v1"], key);
    assert_eq!(
        sarif::log(&outcomes[1], std::path::Path::new("/"))["runs"][0]["results"][0]["suppressions"]
            [0]["status"],
        "accepted"
    );
    assert_eq!(
        sarif::log(&outcomes[2], std::path::Path::new("/"))["runs"][0]["invocations"][0]["executionSuccessful"],
        false
    );
}

#[test]
fn json_reads_back() {
    let outcome = judged(&leaky(), "", &growing());
    let mut json = Vec::new();
    let look = Look {
        colour: false,
        width: None,
        unicode: false,
    };
    write(&outcome, Format::Json, look, &mut json).expect("written");
    assert_eq!(
        serde_json::from_slice::<Outcome>(&json).expect("JSON"),
        outcome
    );
}

#[test]
fn lost_memory_is_sized_and_gated_by_what_is_lost() {
    let mut r = Recording::new();
    // Two stacks with one blamed line: the first lost 300 of its 400 bytes, the second holds 64 KiB.
    let lost = r.site(SiteKind::Heap, &[(1, 0x10), (1, 0x100)]);
    let held = r.site(SiteKind::Heap, &[(1, 0x10), (1, 0x20)]);
    r.every_second(3, |second| match second {
        1 => vec![(lost, 4, 400, 0, 0), (held, 1, 1 << 16, 0, 0)],
        _ => vec![],
    });
    r.scan(
        3000,
        &[SiteLoss {
            site: lost,
            since_ms: 3000,
            definite_blocks: 2,
            definite_bytes: 200,
            indirect_blocks: 1,
            indirect_bytes: 100,
            reachable_blocks: 1,
            reachable_bytes: 100,
            ..SiteLoss::default()
        }],
    );
    for (min_bytes, is_finding) in [(300, true), (301, false)] {
        let options = CheckOptions {
            min_bytes,
            ..asked(&[Verdict::Lost])
        };
        let outcome = judged(&r, "", &options);
        assert_eq!(outcome.exit_code == 1, is_finding, "{outcome:?}");
        let of = match is_finding {
            true => &outcome.findings,
            false => &outcome.tolerated,
        };
        let finding = of.first().expect("one");
        assert_eq!(
            (finding.lost_bytes, finding.live_bytes),
            (300, 400 + (1 << 16))
        );
        assert_eq!(finding.size(), "300 B lost of 64.4 KiB live");
    }
}

#[test]
fn of_a_line_that_lost_on_several_stacks_head_and_reason_tell_one_sum() {
    let mut r = Recording::new();
    let stacks = [0x100, 0x20].map(|caller| r.site(SiteKind::Heap, &[(1, 0x10), (1, caller)]));
    r.every_second(3, |second| match second {
        1 => stacks.iter().map(|site| (*site, 2, 200, 0, 0)).collect(),
        _ => vec![],
    });
    let loss = |(site, blocks): (u32, u64)| SiteLoss {
        site,
        since_ms: 3000,
        definite_blocks: blocks,
        definite_bytes: 100 * blocks,
        ..SiteLoss::default()
    };
    r.scan(3000, &[(stacks[0], 2), (stacks[1], 1)].map(loss));
    let outcome = judged(&r, "", &asked(&[Verdict::Lost]));
    let mut said = Vec::new();
    let look = crate::report::Look {
        colour: false,
        width: None,
        unicode: false,
    };
    write(&outcome, Format::Text, look, &mut said).expect("in memory");
    let said = String::from_utf8(said).expect("text");
    let why = said.lines().find(|line| line.contains("Why: "));
    assert!(said.contains("300 B lost of 400 B live"), "{said}");
    assert!(
        why.is_some_and(
            |line| line.contains("300 B in 3 blocks are lost on this line, in 2 call stacks")
        ),
        "{said}"
    );
}

#[test]
fn a_program_goes_by_the_name_that_it_was_started_by() {
    let mut r = Recording::new();
    r.exe = "/opt/app".to_owned();
    r.record(&leaktrack_recording::Record::Arg(b"store-server"));
    let site = r.site(SiteKind::Heap, &[(1, 0x77)]);
    r.every_second(60, |_| vec![(site, 10, 1000, 0, 0)]);
    let outcome = judge(
        &r.family(),
        &assemble(&r.family(), &whole(Suppressions::default())),
        &growing(),
    );
    let written = |format| {
        let look = crate::report::Look {
            colour: false,
            width: None,
            unicode: false,
        };
        let mut out = Vec::new();
        write(&outcome, format, look, &mut out).expect("in memory");
        String::from_utf8(out).expect("text")
    };
    for format in [Format::Text, Format::Junit, Format::Sarif] {
        let said = written(format);
        assert!(said.contains("store-server+0x76"), "{said}");
        assert!(!said.contains("app+0x76"), "{said}");
    }
    // For programs the file is the file.
    assert!(written(Format::Json).contains("/opt/app"));
}
