//! SARIF 2.1.0, for code scanning: a result per finding, with its stack.
//!
//! Fingerprints are keys, which survive a rebuild; paths below the current folder are relative to it.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::document::{Finding, Outcome, Status, Tolerated};
use crate::human;
use crate::model::Frame;

/// Writes the log.
pub fn write(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let here = std::env::current_dir().unwrap_or_default();
    serde_json::to_writer_pretty(&mut *out, &log(outcome, &here))?;
    writeln!(out)
}

/// The log; paths below `root` become relative to it.
pub fn log(outcome: &Outcome, root: &Path) -> Value {
    let results: Vec<Value> = outcome
        .findings
        .iter()
        .chain(&outcome.tolerated)
        .map(|finding| result(finding, root))
        .collect();
    let notifications: Vec<Value> = outcome
        .inconclusive
        .iter()
        .map(|reason| {
            json!({
                "level": if outcome.exit_code == 0 { "warning" } else { "error" },
                "descriptor": {"id": reason.code},
                "message": {"text": format!("{} {}", reason.text, reason.remedy)},
            })
        })
        .collect();
    let rule = |id: &str, words: &str| {
        json!({
            "id": id,
            "shortDescription": {"text": words},
            "defaultConfiguration": {"level": "error"},
        })
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "leaktrack",
                "version": outcome.generator.version,
                "semanticVersion": outcome.generator.version,
                "rules": [
                    rule("lost", "No pointer to the memory is left"),
                    rule("growing", "The memory that this line holds keeps growing"),
                ],
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": outcome.status != Status::Inconclusive || outcome.exit_code == 0,
                "exitCode": outcome.exit_code,
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    })
}

fn result(finding: &Finding, root: &Path) -> Value {
    let grows = finding.rate.map_or_else(String::new, |rate| {
        format!(
            ", growing by {}",
            human::rate_between(rate.value, rate.low, rate.high)
        )
    });
    let text = format!(
        "{}: {}{grows}. {} {}",
        finding.title(),
        finding.size(),
        finding.why.join(" "),
        finding.advice
    );
    let blamed = finding
        .blame
        .as_ref()
        .and_then(|blame| finding.frames.get(blame.frame));
    let frames: Vec<Value> = finding
        .frames
        .iter()
        .map(|frame| json!({"location": location(frame, root), "module": frame.module}))
        .collect();
    let mut result = json!({
        "ruleId": finding.verdict.name(),
        "level": "error",
        "message": {"text": text.trim_end()},
        "locations": blamed.map(|frame| location(frame, root)).into_iter().collect::<Vec<_>>(),
        "stacks": [{"message": {"text": "Allocated by"}, "frames": frames}],
        "partialFingerprints": {
            "leaktrackKey/v1": finding.keys.first().map_or("", String::as_str),
        },
    });
    // A finding that does not fail the gate is there, marked as accepted.
    if let Some(by) = finding.tolerated_by {
        if by == Tolerated::Baseline {
            result["baselineState"] = json!("unchanged");
        }
        result["suppressions"] = json!([{
            "kind": "external",
            "status": "accepted",
            "justification": format!("leaktrack check {}", by.option()),
        }]);
    }
    result
}

fn location(frame: &Frame, root: &Path) -> Value {
    let path = frame.file.as_deref().unwrap_or(&frame.module);
    let mut location = json!({});
    if !path.is_empty() {
        location["physicalLocation"] = json!({"artifactLocation": artifact(path, root)});
        if let (Some(_), Some(line)) = (&frame.file, frame.line.filter(|line| *line > 0)) {
            location["physicalLocation"]["region"] = json!({"startLine": line});
        }
    }
    if let Some(function) = &frame.function {
        location["logicalLocations"] =
            json!([{"fullyQualifiedName": function, "kind": "function"}]);
    }
    location
}

fn artifact(path: &str, root: &Path) -> Value {
    let below = Path::new(path)
        .strip_prefix(root)
        .ok()
        .and_then(Path::to_str);
    match below {
        Some(relative) => json!({"uri": percent(relative), "uriBaseId": "%SRCROOT%"}),
        None if path.starts_with('/') => json!({"uri": format!("file://{}", percent(path))}),
        None => json!({"uri": percent(path)}),
    }
}

/// Percent-encodes what may not stand in the path of a URI (RFC 3986).
fn percent(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => uri.push(byte as char),
            b'/' | b'-' | b'.' | b'_' | b'~' | b'+' | b',' | b'@' | b'=' => uri.push(byte as char),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
