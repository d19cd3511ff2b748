//! The outcome as data: schema `leaktrack.check/1`. Every format is made from this.
//!
//! The field names are a contract: add fields, never rename or remove one. Unknown is `null`.

use serde::{Deserialize, Serialize};

use super::CheckOptions;
use crate::diff::Run;
use crate::human;
use crate::model::Frame;
use crate::report::Aliases;
use crate::report::document::{BlameReport, Generator};
use crate::verdict::{Estimate, Pattern, Verdict};

/// Name of the schema.
pub const SCHEMA: &str = "leaktrack.check/1";

/// What the gate says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Who made it, and when.
    pub generator: Generator,
    /// The answer.
    pub status: Status,
    /// The exit code: 0, 1 or 3.
    pub exit_code: u8,
    /// Verdicts that fail the gate.
    pub fail_on: Vec<Verdict>,
    /// Growth up to which it does not fail, bytes per second.
    pub max_growth_bytes_per_s: Option<f64>,
    /// Bytes up to which a finding does not fail it: lost ones, or live ones of what grows.
    pub min_bytes: u64,
    /// What was recorded; `null` if nothing was.
    pub run: Option<Run>,
    /// Why silence would mean nothing.
    pub inconclusive: Vec<Reason>,
    /// What fails the gate, worst first: blamed lines.
    pub findings: Vec<Finding>,
    /// Findings that do not fail it.
    pub tolerated: Vec<Finding>,
    /// Sites that would be findings but for a suppression.
    pub suppressed_sites: u64,
    /// Sites of which too little is known.
    pub unclear_sites: u64,
    /// What executables are called by people.
    #[serde(skip)]
    pub aliases: Aliases,
}

/// The answer of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No findings, in a recording that would have shown them.
    Clean,
    /// Findings.
    Findings,
    /// No findings, in a recording that might not have shown them.
    Inconclusive,
}

/// Something that the recording did not see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A short name, the same in every version.
    pub code: String,
    /// What happened.
    pub text: String,
    /// What to do.
    pub remedy: String,
    /// `--allow-incomplete` does not help: there is nothing to look at.
    pub fatal: bool,
}

/// A blamed line that is a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// `lost` or `growing`.
    pub verdict: Verdict,
    /// The line, as the report's groups name it.
    pub line: String,
    /// Its worst site's blame.
    pub blame: Option<BlameReport>,
    /// Shape of its curve.
    pub pattern: Pattern,
    /// Live bytes at the end, all its sites together.
    pub live_bytes: u64,
    /// Of these, those that are lost, directly or through lost blocks.
    #[serde(default)]
    pub lost_bytes: u64,
    /// Of the live ones, those that make it a finding: of what is lost the lost ones, of what grows all.
    /// This is what `--min-bytes` asks for.
    #[serde(default)]
    pub finding_bytes: u64,
    /// Growth, bytes per second.
    pub rate: Option<Estimate>,
    /// Evidence, a sentence each.
    pub why: Vec<String>,
    /// What to do.
    pub advice: String,
    /// What suppresses it.
    pub suppression: String,
    /// Keys of its sites, the worst first; they survive a rebuild.
    pub keys: Vec<String>,
    /// Keys of those of its sites that are findings by themselves.
    pub finding_keys: Vec<String>,
    /// Ids of its sites, the worst first.
    pub sites: Vec<String>,
    /// The worst site's stack.
    pub frames: Vec<Frame>,
    /// Why it does not fail the gate; `null` if it does.
    pub tolerated_by: Option<Tolerated>,
}

/// What keeps a finding from failing the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerated {
    /// Its verdict was not asked for.
    FailOn,
    /// It holds little.
    MinBytes,
    /// It is known.
    Baseline,
    /// All growth together is within the limit.
    MaxGrowth,
}

impl Tolerated {
    /// The option that asks for it.
    pub fn option(self) -> &'static str {
        match self {
            Self::FailOn => "--fail-on",
            Self::MinBytes => "--min-bytes",
            Self::Baseline => "--baseline",
            Self::MaxGrowth => "--max-growth",
        }
    }
}

impl Outcome {
    /// Without anything found yet.
    pub fn new(generator: Generator, options: &CheckOptions) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            generator,
            status: Status::Clean,
            exit_code: 0,
            fail_on: options.fail_on.clone(),
            max_growth_bytes_per_s: options.max_growth_bytes_per_s,
            min_bytes: options.min_bytes,
            run: None,
            inconclusive: Vec::new(),
            findings: Vec::new(),
            tolerated: Vec::new(),
            suppressed_sites: 0,
            unclear_sites: 0,
            aliases: Aliases::default(),
        }
    }

    /// With modules called as their processes are; what is compared, such as keys, stays.
    pub fn as_started(&self) -> Self {
        let mut outcome = self.clone();
        let aliases = &self.aliases;
        for finding in outcome.findings.iter_mut().chain(&mut outcome.tolerated) {
            finding.line = aliases.in_text(&finding.line);
            aliases.in_frames(&mut finding.frames);
        }
        outcome
    }

    /// Draws the conclusion: findings are facts, whatever else was not seen.
    pub fn conclude(&mut self, allow_incomplete: bool) {
        let fatal = self.inconclusive.iter().any(|reason| reason.fatal);
        (self.status, self.exit_code) = match (&*self.findings, &*self.inconclusive) {
            ([_, ..], _) => (Status::Findings, 1),
            (_, [_, ..]) if allow_incomplete && !fatal => (Status::Inconclusive, 0),
            (_, [_, ..]) => (Status::Inconclusive, 3),
            _ => (Status::Clean, 0),
        };
    }

    /// The program's name, if it is known.
    pub fn program(&self) -> &str {
        self.run.as_ref().map_or("leaktrack", Run::program)
    }
}

impl Finding {
    /// `349 B lost of 89.7 KiB live`, `1.2 MiB live`.
    pub fn size(&self) -> String {
        let live = human::bytes(self.live_bytes);
        match self.verdict {
            Verdict::Lost if self.lost_bytes < self.live_bytes => {
                format!("{} lost of {live} live", human::bytes(self.lost_bytes))
            }
            Verdict::Lost => format!("{} lost", human::bytes(self.lost_bytes)),
            _ => format!("{live} live"),
        }
    }

    /// `growing: frozendict_new_barebone at frozendictobject.c:1382`.
    pub fn title(&self) -> String {
        let function = self
            .blame
            .as_ref()
            .and_then(|blame| blame.function.as_deref());
        match function {
            Some(function) if !self.line.starts_with(function) => format!(
                "{}: {} at {}",
                self.verdict.name(),
                crate::blame::short(function),
                self.line
            ),
            _ => format!("{}: {}", self.verdict.name(), self.line),
        }
    }
}
