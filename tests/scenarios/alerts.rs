//! Alerts and the figures of the system: what a program does, and what the recording says of it.

use std::process::Command;
use std::time::Instant;

use leaktrack_tests::{Case, Report, Tracked};
use serde_json::Value;

fn events<'a>(report: &'a Report, kind: &str) -> Vec<&'a str> {
    let events = report.json["events"].as_array().expect("events");
    events
        .iter()
        .filter(|event| event["type"] == kind)
        .filter_map(|event| event["text"].as_str())
        .collect()
}

/// The report as people read it.
fn text_of(run: &Tracked) -> String {
    let output = Command::new(&leaktrack_tests::product().command)
        .arg("report")
        .args(&run.recordings)
        .output()
        .expect("report");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn many_faults_raise_one_alert_and_run_the_command() {
    let case = Case::of("faulting.c")
        .args(["4000", "6"])
        .any_stderr()
        .option("interval=200ms")
        .option("verbose=1")
        .option("alert-minor-faults=200/s")
        .option("on-alert=echo $LEAKTRACK_ALERT $LEAKTRACK_ALERT_TEXT >> said; echo ${LD_PRELOAD-clean} >> said");
    let began = Instant::now();
    let run = case.tracked();
    let took_s = began.elapsed().as_secs_f64();
    assert_eq!(run.outcome.stdout, b"24000\n", "{}", run.outcome);
    let report = run.report();
    let alerts = events(&report, "alert");
    let [alert] = alerts.as_slice() else {
        panic!(
            "one alert was expected: {alerts:?}\n{}",
            report.json["events"]
        );
    };
    assert!(
        alert.ends_with(" minor page faults per second, more than 200"),
        "{alert}"
    );
    let rate: u64 = alert.split(' ').next().unwrap().parse().unwrap();
    // 4,000 a second, or what a busy machine gets to.
    let least = (24_000.0 / took_s / 2.0) as u64;
    assert!((least..=5_000).contains(&rate), "{alert}, {took_s} s");
    let said = std::fs::read_to_string(run.folder.join("said")).expect("the command ran");
    assert_eq!(said, format!("minor-faults {alert}\nclean\n"));
    let errors = String::from_utf8_lossy(&run.outcome.stderr).into_owned();
    assert!(errors.contains(&format!("alert: {alert}")), "{errors}");
    let text = text_of(&run);
    assert!(text.contains("Alerts") && text.contains(alert), "{text}");
}

/// Each kind of alert comes again no sooner than it may, and as often as it may.
#[test]
fn an_alert_is_repeated_no_sooner_than_asked_for() {
    let run = Case::of("faulting.c")
        .args(["4000", "8"])
        .any_stderr()
        .option("interval=200ms")
        .option("alert-minor-faults=200/s")
        .option("alert-repeat=2s")
        .tracked();
    run.outcome.expect_code(0);
    let report = run.report();
    let all = report.json["events"].as_array().expect("events");
    let times: Vec<f64> = all
        .iter()
        .filter(|event| event["type"] == "alert")
        .filter_map(|event| event["t_s"].as_f64())
        .collect();
    assert!(times.len() >= 2, "{all:?}");
    // Rounded to milliseconds.
    let apart = times.windows(2).all(|pair| pair[1] - pair[0] >= 1.99);
    assert!(apart, "{times:?}");
}

/// 500 kB a second meet a limit 512 MiB further on in about eighteen minutes.
#[test]
fn a_limit_that_growth_will_meet_is_foretold() {
    let run = Case::of("growing_locked.c")
        .args(["512"])
        .any_stderr()
        .option("interval=100ms")
        .option("alert-limit=1h")
        .option("on-alert=echo $LEAKTRACK_ALERT $LEAKTRACK_ALERT_TEXT >> said")
        .tracked();
    run.outcome.expect_code(0);
    let limit: u64 = String::from_utf8_lossy(&run.outcome.stdout)
        .trim()
        .parse()
        .expect("the limit that the program set");
    let report = run.report();
    let alerts = events(&report, "alert");
    let [alert] = alerts.as_slice() else {
        panic!("one alert was expected: {alerts:?}");
    };
    let words = "at this growth the memory limit of ";
    assert!(alert.starts_with(words), "{alert}");
    let said = std::fs::read_to_string(run.folder.join("said")).expect("the command ran");
    assert_eq!(said, format!("limit {alert}\n"));
    // In whole MiB or with one digit, as the words give it.
    let told = alert[words.len()..].split(' ').next().unwrap();
    let told: f64 = told.parse().unwrap();
    let unit = if alert.contains(" GiB is met") {
        30
    } else {
        20
    };
    let exact = limit as f64 / f64::from(1_u32 << unit);
    assert!(
        (told - exact).abs() <= exact * 0.06,
        "{alert}, limit {limit}"
    );
}

/// Growth and locked memory, with the thresholds that were asked for: told to the command, and in the report.
#[test]
fn growth_and_locked_memory_raise_their_alerts() {
    let run = Case::of("growing_locked.c")
        .any_stderr()
        .option("interval=100ms")
        .option("alert-growth=1m/h")
        .option("alert-mlocked=0.001%")
        .option("on-alert=echo $LEAKTRACK_ALERT $LEAKTRACK_ALERT_TEXT >> said")
        .tracked();
    run.outcome.expect_code(0);
    let report = run.report();
    let alerts = events(&report, "alert");
    let said = std::fs::read_to_string(run.folder.join("said")).expect("the command ran");
    for (kind, words) in [
        ("growth", "live memory grows by "),
        ("mlocked", "of the host's memory is locked"),
    ] {
        let told: Vec<_> = alerts.iter().filter(|text| text.contains(words)).collect();
        assert_eq!(told.len(), 1, "{kind}: {alerts:?}");
        assert!(said.contains(&format!("{kind} {}\n", told[0])), "{said}");
    }
}

#[test]
fn few_faults_raise_none() {
    let run = Case::of("faulting.c")
        .args(["200", "4"])
        .option("interval=200ms")
        .check();
    assert_eq!(events(&run.report(), "alert"), Vec::<&str>::new());
}

#[test]
fn memory_near_its_limit_is_looked_at_at_once() {
    let near = |report: &Report| !events(report, "limit").is_empty();
    let run = Case::of("near_limit.c")
        .option("interval=2s")
        .check_in_steps(&[("1", &|report| report.knows_limit(4 << 30)), ("2", &near)]);
    let report = run.report();
    let limits = events(&report, "limit");
    assert!(
        limits
            .iter()
            .any(|text| text.starts_with("memory passed 80% of the limit: 3")),
        "{limits:?}"
    );
}

#[test]
fn locked_memory_shows_in_report_and_timeline() {
    let run = Case::of("locking.c").option("interval=100ms").check();
    let report = run.report();
    let system = &report.json["system"];
    let locked = system["locked_bytes"].as_u64().expect("VmLck");
    assert_eq!(locked, 4 << 20, "{system}");
    // The kernel's own figures, from outside.
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total_kib: u64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap();
    assert_eq!(system["host_memory_bytes"].as_u64(), Some(total_kib << 10));
    let last = report.json["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!(last["locked_bytes"].as_u64(), Some(4 << 20), "{last}");
    assert!(last["oom_score"].is_u64(), "{last}");
    let text = text_of(&run);
    assert!(text.contains("Locked     4.0 MiB"), "{text}");
}

#[test]
fn doctor_tells_of_locked_memory() {
    let output = Command::new(&leaktrack_tests::product().command)
        .arg("doctor")
        .output()
        .expect("doctor");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |subject: &str| {
        text.lines()
            .find(|line| line.contains(subject))
            .unwrap_or_else(|| panic!("{subject} is missing:\n{text}"))
            .to_owned()
    };
    assert!(line("ulimit -l").contains("locked"));
    let locked = line("locked memory");
    assert!(
        locked.contains("of the host") && locked.contains('%'),
        "{locked}"
    );
}

#[test]
fn every_figure_is_a_number_or_unknown() {
    let run = Case::of("faulting.c").args(["10", "1"]).check();
    let report = run.report();
    let system = report.json["system"].as_object().expect("figures");
    assert!(
        system.values().all(|value| match value {
            Value::Object(fields) => fields
                .values()
                .all(|v| v.is_null() || v.is_number() || v.is_string()),
            other => other.is_null() || other.is_number(),
        }),
        "{system:?}"
    );
    assert!(system["host_memory_bytes"].as_u64().unwrap() > 0);
}
