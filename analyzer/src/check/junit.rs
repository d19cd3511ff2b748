//! JUnit XML, for Jenkins, GitLab and the like: a test case per finding that fails, one per verdict
//! that was looked for in vain, one that says whether the recording saw enough.

use std::io::Write;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::document::{Finding, Outcome};
use super::text::answer;
use crate::human;
use crate::model::identity::file_name;

/// Writes the report.
pub fn write(outcome: &Outcome, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut suite = TestSuite::new("leaktrack");
    let class = format!("leaktrack.{}", outcome.program());
    let case = |name: &str, status: TestCaseStatus| {
        let mut case = TestCase::new(name, status);
        case.set_classname(class.as_str());
        case
    };
    let seen = "the recording saw enough";
    match outcome.inconclusive.as_slice() {
        [] => {
            suite.add_test_case(case(seen, TestCaseStatus::success()));
        }
        reasons => {
            let words: Vec<String> = reasons
                .iter()
                .map(|reason| format!("{} {}", reason.text, reason.remedy))
                .collect();
            let allowed = outcome.exit_code == 0;
            let mut status = match allowed {
                true => TestCaseStatus::skipped(),
                false => TestCaseStatus::non_success(NonSuccessKind::Error),
            };
            status.set_message(reasons.first().map_or("", |reason| reason.text.as_str()));
            if !allowed {
                status.set_type("inconclusive");
            }
            status.set_description(words.join("\n"));
            suite.add_test_case(case(seen, status));
        }
    }
    for verdict in &outcome.fail_on {
        let is_of = |finding: &&Finding| finding.verdict == *verdict;
        let mut found = outcome.findings.iter().filter(is_of).peekable();
        if found.peek().is_none() {
            let name = format!("no {} memory", verdict.name());
            let mut status = TestCaseStatus::success();
            if !outcome.inconclusive.is_empty() {
                status = TestCaseStatus::skipped();
                status.set_message("none was found, but not everything could be seen");
            }
            suite.add_test_case(case(&name, status));
        }
        for finding in found {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(verdict.name());
            status.set_message(message(finding));
            status.set_description(description(finding));
            suite.add_test_case(case(&name(finding), status));
        }
    }
    suite.set_system_out(answer(outcome));
    if let Some(run) = &outcome.run {
        suite.set_time(Duration::from_secs_f64(run.duration_s.clamp(0.0, 1e9)));
    }
    let mut report = Report::new("leaktrack");
    report.add_test_suite(suite);
    out.write_all(as_schema_allows(report.to_string()?).as_bytes())?;
    Ok(())
}

/// Without the sum of skipped cases in the outermost element: Jenkins' schema knows it in suites only, and the
/// plugin that goes by the schema refuses a file that has it.
fn as_schema_allows(xml: String) -> String {
    let (Some(from), Some(until)) = (xml.find("<testsuites"), xml.find("<testsuite ")) else {
        return xml;
    };
    let (Some(head), Some(before), Some(after)) =
        (xml.get(from..until), xml.get(..from), xml.get(until..))
    else {
        return xml;
    };
    let words = head.split(' ').filter(|word| !word.starts_with("skipped="));
    let words: Vec<&str> = words.collect();
    [before, &words.join(" "), after].concat()
}

/// The same in every build, so that a finding keeps its history.
fn name(finding: &Finding) -> String {
    let verdict = finding.verdict.name();
    let blame = finding.blame.as_ref();
    match blame.and_then(|blame| Some((blame.function.as_deref()?, blame.file.as_deref()))) {
        Some((function, Some(file))) => format!("{verdict}: {function} ({})", file_name(file)),
        Some((function, None)) => format!("{verdict}: {function}"),
        None => finding.title(),
    }
}

fn message(finding: &Finding) -> String {
    let size = finding.size();
    match finding.rate {
        Some(rate) => format!(
            "{size}, growing by {}",
            human::rate_between(rate.value, rate.low, rate.high)
        ),
        None => size,
    }
}

fn description(finding: &Finding) -> String {
    let mut text = format!("{}\n{}\n\n", finding.why.join(" "), finding.advice);
    for frame in &finding.frames {
        let function = frame.function.as_deref().map_or_else(
            || format!("{}+{:#x}", file_name(&frame.module), frame.offset),
            str::to_owned,
        );
        let place = match (&frame.file, frame.line) {
            (Some(file), Some(line)) => format!("  {file}:{line}"),
            _ => String::new(),
        };
        text.push_str(&format!("  {function}{place}\n"));
    }
    if let Some(key) = finding.keys.first() {
        text.push_str(&format!("\nkey {key}\n"));
    }
    text
}
