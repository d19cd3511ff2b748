//! `leaktrack check`: what fails a build, what passes it, and that a gate that saw nothing never passes it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use leaktrack_tests::{
    Case, Tracked, copy_executable, is_root, product, program, program_as, tool,
};
use serde_json::Value;

fn check(recordings: &[&Path], more: &[&str]) -> Output {
    Command::new(&product().command)
        .arg("check")
        .args(recordings)
        .args(more)
        .arg("--no-debuginfod")
        .output()
        .expect("leaktrack check")
}

/// The exit code, and the codes of what was not seen.
fn answer(recordings: &[&Path], more: &[&str]) -> (i32, Vec<String>) {
    let output = check(recordings, &[more, &["--format", "json"]].concat());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let reasons = json["inconclusive"].as_array().cloned().unwrap_or_default();
    let codes = reasons
        .iter()
        .filter_map(|reason| Some(reason["code"].as_str()?.to_owned()));
    (output.status.code().unwrap_or(-1), codes.collect())
}

const GROWING: &[&str] = &["--fail-on", "growing"];

fn quick(program: impl AsRef<Path>) -> Case {
    Case::new(program).option("interval=20ms")
}

/// Where the recording would be that a run did not make.
fn missing(tracked: &Tracked) -> PathBuf {
    assert!(tracked.recordings.is_empty(), "{:?}", tracked.recordings);
    tracked.folder.join("server.ltk")
}

#[test]
fn a_leak_fails_the_build_and_a_known_one_does_not() {
    let leaky = quick(program_as("rebuilt.c", "rebuilt", &[]))
        .arg("1")
        .tracked();
    let next = quick(program_as("rebuilt.c", "rebuilt", &["-DAGAIN"]))
        .arg("1")
        .tracked();
    let (leaky, next) = (leaky.recordings[0].as_path(), next.recordings[0].as_path());
    assert_eq!(answer(&[leaky], GROWING), (1, vec![]));
    // The next build has two new leaks: one by name, one by deed. Line numbers do not matter.
    let known = leaky.to_string_lossy();
    let output = check(&[next], &["--fail-on", "growing", "--baseline", &known]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("growing: named_anew at") && text.contains("growing: only_in_new at"),
        "{text}"
    );
    assert!(!text.contains(". growing: steady_leak"), "{text}");
    let own = ["--fail-on", "growing", "--baseline", &known];
    assert_eq!(answer(&[leaky], &own), (0, vec![]));
    // 860 kB a second are 2.9 GiB an hour.
    for (rate, code) in [("4g/h", 0), ("1g/h", 1)] {
        let more = ["--fail-on", "growing", "--max-growth", rate];
        assert_eq!(answer(&[leaky], &more), (code, vec![]), "{rate}");
    }
}

#[test]
fn the_suppression_of_each_finding_suppresses_it_alone() {
    let tracked = quick(program_as("rebuilt.c", "rebuilt", &[]))
        .arg("1")
        .tracked();
    let recording = tracked.recordings[0].as_path();
    let findings = |more: &[&str]| -> Vec<Value> {
        let output = check(
            &[recording],
            &[GROWING, &["--format", "json"], more].concat(),
        );
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        json["findings"].as_array().cloned().unwrap_or_default()
    };
    let all = findings(&[]);
    assert_eq!(all.len(), 6);
    let file = tracked.folder.join("known.supp");
    for finding in &all {
        let block = finding["suppression"].as_str().expect("a suppression");
        std::fs::write(&file, block).expect("a file");
        let left = findings(&["--suppressions", &file.to_string_lossy()]);
        let keys = |findings: &[Value]| -> Vec<String> {
            findings.iter().map(|it| it["keys"].to_string()).collect()
        };
        let mut expected = keys(&all);
        let suppressed = finding["keys"].to_string();
        expected.retain(|keys| *keys != suppressed);
        assert_eq!(keys(&left), expected, "{block}");
    }
    // All of them together: nothing is left.
    let blocks: Vec<&str> = all
        .iter()
        .filter_map(|it| it["suppression"].as_str())
        .collect();
    std::fs::write(&file, blocks.concat()).expect("a file");
    assert_eq!(
        findings(&["--suppressions", &file.to_string_lossy()]).len(),
        0
    );
}

#[test]
fn one_leak_through_many_stacks_is_one_finding() {
    let tracked = quick(program("many_ways.c")).tracked();
    let said = String::from_utf8_lossy(&tracked.outcome.stdout).into_owned();
    let said: Vec<u64> = said
        .split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect();
    let output = check(
        &[&tracked.recordings[0]],
        &[GROWING, &["--format", "json"]].concat(),
    );
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = json["findings"].as_array().expect("findings");
    assert_eq!(findings.len(), 2, "{json:#}");
    let of = |function: &str| {
        let own = findings
            .iter()
            .find(|it| it["frames"][0]["function"] == function);
        own.unwrap_or_else(|| panic!("no {function}: {json:#}"))
    };
    let (one, many) = (of("through_one"), of("through_many"));
    let stacks = |finding: &Value| finding["sites"].as_array().map_or(0, Vec::len) as u64;
    assert_eq!((stacks(one), stacks(many)), (1, said[0]));
    assert_eq!(many["live_bytes"].as_u64(), Some(said[1]));
    // None of the stacks is a finding by itself, and together they grow as the one does.
    assert_eq!(many["finding_keys"], Value::Array(vec![]));
    let rate = |finding: &Value| finding["rate"]["value"].as_f64().expect("a rate");
    let off = rate(many) / rate(one) - 1.0;
    assert!(off.abs() < 0.02, "{} {}", one["rate"], many["rate"]);
}

#[test]
fn a_program_that_holds_its_level_passes() {
    let tracked = quick(program("keep_some.c"))
        .args(["10", "1000", "1"])
        .tracked();
    let recording = tracked.recordings[0].as_path();
    assert_eq!(answer(&[recording], GROWING), (0, vec![]));
    // Without a scan nothing can be said of lost memory, by default part of the question.
    let (code, reasons) = answer(&[recording], &[]);
    let scanned = scans(recording);
    assert_eq!(
        (code, reasons.is_empty()),
        if scanned { (0, true) } else { (3, false) }
    );
    assert_eq!(answer(&[recording], &["--allow-incomplete"]).0, 0);
}

fn scans(recording: &Path) -> bool {
    let report = leaktrack_tests::Report::read(&[recording]);
    report.json["scans"]
        .as_array()
        .is_some_and(|scans| scans.iter().any(|scan| scan["complete"] == true))
}

#[test]
fn programs_that_a_preload_cannot_reach_are_inconclusive() {
    // A wrong option: the program runs untracked.
    let wrong = Case::of("keep_some.c").option("interval=soon").tracked();
    assert_eq!(
        answer(&[&missing(&wrong)], GROWING),
        (3, vec!["no-recording".to_owned()])
    );
    // The user may accept gaps, but not nothing.
    assert_eq!(answer(&[&missing(&wrong)], &["--allow-incomplete"]).0, 3);
    // A static program.
    let fixed = program_as("keep_some.c", "keep_static", &["-static"]);
    assert_eq!(
        answer(&[&missing(&Case::new(fixed).tracked())], GROWING).0,
        3
    );
    // An allocator of its own.
    let own = quick(program("own_malloc.c")).tracked();
    if let Some(recording) = own.recordings.first() {
        let (code, reasons) = answer(&[recording], GROWING);
        assert_eq!(code, 3, "{reasons:?}");
        assert!(
            reasons.contains(&"untracked-allocator".to_owned()),
            "{reasons:?}"
        );
    }
    // A set-user-ID program.
    if is_root() {
        let case = Case::of("keep_some.c");
        let setuid = case.folder().join("setuid");
        copy_executable(&program("keep_some.c"), &setuid);
        for (command, argument) in [("chown", "nobody"), ("chmod", "u+s")] {
            let done = Command::new(tool(command))
                .arg(argument)
                .arg(&setuid)
                .status();
            assert!(done.is_ok_and(|status| status.success()));
        }
        let case = Case::new(setuid);
        assert_eq!(answer(&[&missing(&case.tracked())], GROWING).0, 3);
    }
}

#[test]
fn recordings_that_stop_short_are_inconclusive() {
    // Three snapshots say nothing of growth.
    let short = Case::of("keep_some.c").tracked();
    assert_eq!(
        answer(&[&short.recordings[0]], GROWING),
        (3, vec!["too-short".to_owned()])
    );
    // Less than one is no recording.
    let empty = short.folder.join("empty.ltk");
    std::fs::write(&empty, "").expect("a file");
    assert_eq!(
        answer(&[&empty], GROWING),
        (3, vec!["no-recording".to_owned()])
    );
    // Damage.
    let mut bytes = std::fs::read(&short.recordings[0]).expect("the recording");
    let middle = bytes.len() / 2;
    bytes[4096..middle].fill(0x5a);
    let damaged = short.folder.join("damaged.ltk");
    std::fs::write(&damaged, bytes).expect("a file");
    assert!(matches!(answer(&[&damaged], GROWING).0, 2 | 3));
    // Something else altogether is wrong usage.
    assert_eq!(answer(&[Path::new("/etc/passwd")], GROWING).0, 2);
    // A sandbox that ends the snapshots.
    let confined = Case::of("seccomp_filter.c")
        .args(["tsync", "nofutex", "400"])
        .option("interval=20ms")
        .tracked();
    let (code, reasons) = answer(&[&confined.recordings[0]], GROWING);
    assert!(
        code == 3 && reasons.contains(&"stopped".to_owned()),
        "{code} {reasons:?}"
    );
    // A full disk.
    if is_root() {
        let script = format!(
            "mkdir small && mount -t tmpfs -o size=4k tmpfs small && {} 10 1000 1; umount small",
            program("keep_some.c").display()
        );
        let full = Case::new(tool("unshare"))
            .args(["-m", "sh", "-c", &script])
            .option("only=keep_some")
            .output("small/%e.ltk")
            .tracked();
        assert_eq!(answer(&[&missing(&full)], GROWING).0, 3, "{}", full.outcome);
    }
}

#[test]
fn recordings_that_leave_things_out_are_inconclusive() {
    let quiet = |mode: &str| {
        let case = quick(program("keep_some.c")).args(["10", "1000", "1"]);
        case.option(mode).tracked()
    };
    // Never switched on.
    let dormant = quiet("mode=dormant");
    let (code, reasons) = answer(&[&dormant.recordings[0]], GROWING);
    assert_eq!(
        (code, reasons.join(" ")),
        (3, "switched-off nothing-recorded".to_owned())
    );
    // What it keeps is far below the mean: not one block need have been sampled.
    let sampled = quiet("mode=sample:64k");
    let (code, reasons) = answer(&[&sampled.recordings[0]], GROWING);
    assert_eq!((code, reasons), (3, vec!["sampled".to_owned()]));
    let beyond = [GROWING, &["--min-bytes", "1m"]].concat();
    assert_eq!(answer(&[&sampled.recordings[0]], &beyond), (0, vec![]));
}

#[test]
fn a_script_does_not_speak_for_children_without_a_recording() {
    // Each ends long before its first snapshot; the shell lives for ten and more.
    let command = program("keep_some.c").display().to_string();
    let script =
        format!("i=0; while [ $i -lt 60 ]; do {command} 10 1000 0; i=$((i+1)); done; sleep 4");
    let run = Case::new(tool("sh"))
        .args(["-c", &script])
        .option("interval=400ms")
        .tracked();
    let shell = &run.recordings[0];
    let (code, reasons) = answer(&[shell], GROWING);
    assert!(
        code == 3
            && reasons
                .iter()
                .any(|it| it == "short-children" || it == "too-short"),
        "{code} {reasons:?}"
    );
}

#[test]
fn junit_is_read_by_another_parser() {
    let tracked = quick(program_as("rebuilt.c", "rebuilt", &[]))
        .arg("1")
        .tracked();
    let file = tracked.folder.join("junit.xml");
    let output = check(
        &[&tracked.recordings[0]],
        &["--format", "junit", "--output", &file.to_string_lossy()],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // The attributes are those of the schema by which Jenkins' xUnit plugin refuses files (junit-10.xsd).
    let script = "import sys, xml.etree.ElementTree as e\n\
        allowed = {'testsuites': 'name time tests failures errors',\n\
        'testsuite': 'name tests failures errors group time skipped timestamp hostname id package file log url',\n\
        'testcase': 'name time classname group', 'failure': 'type message', 'error': 'type message',\n\
        'skipped': 'type message', 'system-out': '', 'system-err': ''}\n\
        for it in e.parse(sys.argv[1]).iter():\n\
        \x20   unknown = set(it.keys()) - set(allowed[it.tag].split())\n\
        \x20   assert not unknown, (it.tag, unknown)\n\
        s = e.parse(sys.argv[1]).getroot().find('testsuite')\n\
        cases = s.findall('testcase')\n\
        failed = [c.get('name') for c in cases if c.find('failure') is not None]\n\
        assert int(s.get('tests')) == len(cases) and int(s.get('failures')) == len(failed)\n\
        print('\\n'.join(sorted(failed)))";
    let parsed = Command::new(tool("python3"))
        .args(["-c", script])
        .arg(&file)
        .output()
        .expect("python3");
    let names = String::from_utf8_lossy(&parsed.stdout).into_owned();
    let expected = "growing: also_only_in_old (rebuilt.c)\ngrowing: faster_leak (rebuilt.c)\n\
        growing: mended_leak (rebuilt.c)\ngrowing: only_in_old (rebuilt.c)\n\
        growing: renamed_leak (rebuilt.c)\ngrowing: steady_leak (rebuilt.c)\n";
    assert_eq!(names, expected, "{parsed:?}");
    // Who reads the log of the build sees the answer, too.
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("6 findings"),
        "{output:?}"
    );
}

#[test]
fn a_dormant_program_and_a_cut_file_are_not_green_and_the_report_says_so_at_its_top() {
    let dormant = quick(program("keep_some.c"))
        .option("mode=dormant")
        .tracked();
    let recording = dormant.recordings[0].as_path();
    let report = |recording: &Path| {
        let mut command = Command::new(&product().command);
        let output = command.arg("report").arg(recording).arg("--no-debuginfod");
        String::from_utf8_lossy(&output.output().expect("leaktrack report").stdout).into_owned()
    };
    let (code, reasons) = answer(&[recording], GROWING);
    assert_eq!(code, 3, "{reasons:?}");
    assert!(reasons.contains(&"switched-off".to_owned()), "{reasons:?}");
    let text = report(recording);
    let top = text.lines().next().expect("a line");
    assert!(
        top.contains("cannot say whether it leaks. Recording was off all the time"),
        "{text}"
    );

    let whole = quick(program_as("rebuilt.c", "rebuilt", &[]))
        .arg("1")
        .tracked();
    let bytes = std::fs::read(&whole.recordings[0]).expect("readable");
    let cut = whole.folder.join("cut.ltk");
    // Amid a segment: blocks have 4 KiB.
    let length = bytes.len() / 2 / 4096 * 4096 + 1234;
    std::fs::write(&cut, &bytes[..length]).expect("writable");
    let text = report(&cut);
    // Nothing but its beginning: it cannot be read, and that is why.
    let stump = whole.folder.join("stump.ltk");
    std::fs::write(&stump, &bytes[..4096 + 1234]).expect("writable");
    let output = Command::new(&product().command)
        .arg("report")
        .arg(&stump)
        .output()
        .expect("leaktrack report");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the file was cut off here"), "{said}");
    let output = check(&[&stump], GROWING);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    assert!(said.contains("is damaged"), "{said}");

    let paragraph = text.split("\n\n").next().expect("a paragraph");
    let paragraph = paragraph.replace('\n', " ");
    assert!(
        paragraph.contains(&format!("{} is damaged: ", cut.display())),
        "{text}"
    );
    assert!(!text.contains("killed or crashed"), "{text}");
    let output = check(&[&cut], GROWING);
    assert!([1, 3].contains(&output.status.code().unwrap_or(-1)));
    let said = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    assert!(said.contains("is damaged"), "{said}");
}
