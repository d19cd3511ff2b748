//! Findings that are known: those of an earlier recording, report or outcome, by `key`.

use std::collections::HashSet;

use serde_json::Value;

use super::document::Finding;
use super::finding::findings;
use crate::report::Report;

/// Keys of all sites of known findings.
#[derive(Clone, Debug, Default)]
pub struct Baseline(HashSet<String>);

/// The text is JSON, but neither a report nor an outcome.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// Not even JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of something else.
    #[error(
        "its schema is {0}; a baseline is a recording, or JSON of `leaktrack check` or `leaktrack report`"
    )]
    Schema(String),
}

impl Baseline {
    /// Adds the findings of a report, suppressed ones included.
    pub fn add_report(&mut self, report: &Report) {
        let known = findings(report).into_iter().flat_map(|it| it.keys);
        self.0.extend(known);
    }

    /// Adds the findings of a `leaktrack.report/1` or `leaktrack.check/1` document.
    pub fn add_json(&mut self, text: &[u8]) -> Result<(), BaselineError> {
        let document: Value = serde_json::from_slice(text)?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut add = |key: &Value| self.0.extend(key.as_str().map(str::to_owned));
        match document["schema"].as_str() {
            Some(super::SCHEMA) => {
                let known = list(&document["findings"]).into_iter();
                for finding in known.chain(list(&document["tolerated"])) {
                    list(&finding["keys"]).iter().for_each(&mut add);
                }
            }
            Some(crate::report::document::SCHEMA) => {
                let is_finding = |verdict: &Value| *verdict == "lost" || *verdict == "growing";
                let in_groups: HashSet<String> = list(&document["groups"])
                    .iter()
                    .filter(|group| group["by"] == "line" && is_finding(&group["verdict"]))
                    .flat_map(|group| list(&group["sites"]))
                    .filter_map(|id| Some(id.as_str()?.to_owned()))
                    .collect();
                for site in list(&document["sites"]) {
                    let grouped = site["id"].as_str().is_some_and(|id| in_groups.contains(id));
                    if grouped || is_finding(&site["verdict"]) {
                        add(&site["key"]);
                    }
                }
            }
            other => return Err(BaselineError::Schema(other.unwrap_or("missing").to_owned())),
        }
        Ok(())
    }

    /// True if every site that makes this a finding is known; if only all sites together do, at
    /// least half of them.
    pub fn knows(&self, finding: &Finding) -> bool {
        let known = |keys: &[String]| keys.iter().filter(|key| self.0.contains(*key)).count();
        match finding.finding_keys.as_slice() {
            [] => known(&finding.keys) * 2 >= finding.keys.len().max(1),
            keys => known(keys) == keys.len(),
        }
    }
}
