//! The comparison as data: schema `leaktrack.diff/1`. Every format is made from this.
//!
//! The field names are a contract: add fields, never rename or remove one. Unknown is `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Frame;
use crate::model::identity::file_name;
use crate::report::document::{BlameReport, Generator};
use crate::report::{self, Report};
use crate::verdict::{Estimate, Verdict};

/// Name of the schema.
pub const SCHEMA: &str = "leaktrack.diff/1";

/// What changed from one run to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Who made it, and when.
    pub generator: Generator,
    /// The first run.
    pub old: Run,
    /// The second run.
    pub new: Run,
    /// What makes the two hard to compare, a sentence each.
    pub notes: Vec<String>,
    /// Levels are compared over the last quarter of so many seconds after the start: the shorter
    /// of the two runs.
    pub compared_at_s: f64,
    /// Sites by change, before `--top`.
    pub counts: BTreeMap<Change, u64>,
    /// Sites left out by `--top`.
    pub left_out: u64,
    /// Sites that changed, worst first.
    pub sites: Vec<SiteChange>,
}

/// One of the two runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Recordings, as given.
    pub paths: Vec<String>,
    /// The program's name, as in the report; empty in documents that do not have it.
    #[serde(default)]
    pub name: String,
    /// Executable of the first process, of what it became if it was started through others.
    pub exe: String,
    /// Its build-id.
    pub build_id: Option<String>,
    /// Labels of the user's.
    pub labels: BTreeMap<String, String>,
    /// Processes recorded.
    pub processes: usize,
    /// Start, Unix seconds.
    pub started_unix_s: f64,
    /// From the first start to the last record.
    pub duration_s: f64,
    /// `exact`, `sample`, `budget` or `dormant`.
    pub mode: String,
    /// False if the recording says nothing about most of the program's memory.
    pub usable: bool,
    /// Live bytes at the end.
    pub live_bytes: u64,
    /// Findings.
    pub finding_count: u64,
    /// Growth of all findings together, bytes per second.
    pub finding_rate: Option<Estimate>,
}

impl Run {
    /// Of a report.
    pub fn of(report: &Report) -> Self {
        let (root, first) = (report::root(report), report.processes.first());
        let end = |process: &crate::report::document::ProcessInfo| {
            let since = process.started_unix_s - first.map_or(0.0, |first| first.started_unix_s);
            since.max(0.0) + process.duration_s
        };
        Self {
            paths: report.extra.paths.clone(),
            name: report::program(report),
            exe: root.map_or_else(String::new, |root| root.exe.clone()),
            build_id: root.and_then(|root| root.build_id.clone()),
            labels: root.map(|root| root.labels.clone()).unwrap_or_default(),
            processes: report.processes.len(),
            started_unix_s: first.map_or(0.0, |first| first.started_unix_s),
            duration_s: report.processes.iter().map(end).fold(0.0, f64::max),
            mode: report.recording.mode.clone(),
            usable: report.coverage.usable,
            live_bytes: report.totals.live_bytes,
            finding_count: report.finding_count,
            finding_rate: report.extra.finding_rate,
        }
    }

    /// The program's name.
    pub fn program(&self) -> &str {
        match self.name.is_empty() {
            true => file_name(&self.exe),
            false => &self.name,
        }
    }
}

/// What became of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It holds more, or grows faster.
    Grew,
    /// It is only in the new run.
    Appeared,
    /// It holds less, or grows more slowly.
    Shrank,
    /// It is only in the old run.
    Gone,
    /// One of the runs was too short to say.
    Unclear,
    /// No difference beyond the uncertainty.
    Same,
}

impl Change {
    /// As in the document.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grew => "grew",
            Self::Appeared => "appeared",
            Self::Shrank => "shrank",
            Self::Gone => "gone",
            Self::Unclear => "unclear",
            Self::Same => "same",
        }
    }
}

/// How the two sides of a site found each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatchedBy {
    /// Same build, same addresses.
    Id,
    /// Same functions and files.
    Key,
    /// The rest of the stack: a function was renamed or moved, or a library without symbols was
    /// rebuilt.
    Stack,
}

/// A function that has another name or file in the new run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// Function and file in the old run.
    pub from: String,
    /// Function and file in the new run.
    pub to: String,
}

/// A site in one run, or several with one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Their ids.
    pub ids: Vec<String>,
    /// The worst verdict among them.
    pub verdict: Verdict,
    /// Live bytes at the end.
    pub live_bytes: u64,
    /// Live blocks at the end.
    pub live_blocks: u64,
    /// Of the live bytes, those that are lost.
    #[serde(default)]
    pub lost_bytes: u64,
    /// Blocks allocated.
    pub allocations: u64,
    /// Growth that is going on, bytes per second; `null` without growth and where it is unclear.
    pub rate: Option<Estimate>,
    /// Live bytes around `compared_at_s`: median, and the range that holds four fifths of the time.
    pub level_bytes: Estimate,
    /// First allocation, seconds after the start.
    pub first_seen_s: f64,
    /// The line to look at.
    pub blame: Option<BlameReport>,
}

/// A site in both runs, or in one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteChange {
    /// What became of it.
    pub change: Change,
    /// Evidence, a sentence each.
    pub why: Vec<String>,
    /// How the two sides found each other; `null` for a site of one run.
    pub matched_by: Option<MatchedBy>,
    /// Functions of its stack that have another name now.
    pub renamed: Vec<Renamed>,
    /// Key of the new side, else of the old one.
    pub key: String,
    /// Difference of the levels at the same age of the process, bytes.
    pub level_change_bytes: f64,
    /// Difference of the rates with its 95% interval, bytes per second; `null` where one is
    /// unclear or neither grows.
    pub rate_change: Option<Estimate>,
    /// In the old run.
    pub old: Option<Side>,
    /// In the new run.
    pub new: Option<Side>,
    /// The stack of the new side, else of the old one.
    pub frames: Vec<Frame>,
}

impl SiteChange {
    /// Most live bytes of the two sides.
    pub fn most_bytes(&self) -> u64 {
        let sides = [&self.old, &self.new].into_iter().flatten();
        sides
            .map(|side| side.live_bytes.max(side.level_bytes.value as u64))
            .max()
            .unwrap_or(0)
    }

    /// The side to show.
    pub fn shown(&self) -> Option<&Side> {
        self.new.as_ref().or(self.old.as_ref())
    }
}
