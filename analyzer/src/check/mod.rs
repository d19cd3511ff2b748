//! Owns the CI gate: which findings of a report fail it, and whether the recording saw enough for
//! silence to mean anything.
//!
//! A gate that was blind is never green: what it could not see makes it inconclusive, unless the
//! user allows that by name.

mod baseline;
mod blind;
mod document;
mod finding;
mod junit;
mod sarif;
#[cfg(test)]
mod tests;
mod text;

use std::io::Write;

pub use baseline::Baseline;
pub use blind::{nothing_recorded, unreadable};
pub use document::{Finding, Outcome, Reason, SCHEMA, Status, Tolerated};

use crate::diff::Run;
use crate::model::Family;
use crate::report::{Aliases, Look, Report};
use crate::verdict::Verdict;

/// What fails the gate.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// Verdicts that do.
    pub fail_on: Vec<Verdict>,
    /// Growth of all findings together up to which none of them does, bytes per second.
    pub max_growth_bytes_per_s: Option<f64>,
    /// Findings with fewer bytes do not: lost ones, or live ones of what grows.
    pub min_bytes: u64,
    /// An incomplete recording does not.
    pub allow_incomplete: bool,
    /// Findings that are known do not.
    pub baseline: Baseline,
}

/// How the outcome is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// Schema leaktrack.check/1.
    Json,
    /// JUnit XML, for Jenkins, GitLab and the like.
    Junit,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// Judges a report that was made with all its sites, grouped by line.
pub fn judge(family: &Family, report: &Report, options: &CheckOptions) -> Outcome {
    let mut outcome = Outcome::new(report.generator.clone(), options);
    outcome.run = Some(Run::of(report));
    outcome.aliases = Aliases::of(report);
    outcome.inconclusive = blind::reasons(family, report, options);
    let unsuppressed = |site: &&crate::report::document::SiteReport| {
        site.verdict.is_finding() && site.suppressed_by.is_some()
    };
    outcome.suppressed_sites = report.sites.iter().filter(unsuppressed).count() as u64;
    let unclear = |site: &&crate::report::document::SiteReport| site.verdict == Verdict::Unclear;
    outcome.unclear_sites = report.sites.iter().filter(unclear).count() as u64;

    let mut candidates = Vec::new();
    for mut finding in finding::findings(report) {
        finding.tolerated_by = if !options.fail_on.contains(&finding.verdict) {
            Some(Tolerated::FailOn)
        } else if finding.finding_bytes < options.min_bytes {
            Some(Tolerated::MinBytes)
        } else if options.baseline.knows(&finding) {
            Some(Tolerated::Baseline)
        } else {
            None
        };
        match finding.tolerated_by {
            None => candidates.push(finding),
            Some(_) => outcome.tolerated.push(finding),
        }
    }
    if let Some(most) = options.max_growth_bytes_per_s
        && growth(&candidates).is_some_and(|rate| rate <= most)
    {
        for finding in &mut candidates {
            if finding.verdict == Verdict::Growing {
                finding.tolerated_by = Some(Tolerated::MaxGrowth);
            }
        }
    }
    let (tolerated, failing) = candidates
        .into_iter()
        .partition(|finding| finding.tolerated_by.is_some());
    outcome.findings = failing;
    outcome.tolerated.extend::<Vec<Finding>>(tolerated);
    outcome.conclude(options.allow_incomplete);
    outcome
}

/// Growth of the growing ones together; unknown if that of one is.
fn growth(findings: &[Finding]) -> Option<f64> {
    let growing = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Growing);
    growing
        .map(|finding| finding.rate.map(|rate| rate.value))
        .sum()
}

/// Writes the outcome down.
pub fn write(
    outcome: &Outcome,
    format: Format,
    look: Look,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match format {
        Format::Text => text::write(&outcome.as_started(), look, out)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, outcome)?;
            writeln!(out)?;
        }
        Format::Junit => junit::write(&outcome.as_started(), out)?,
        Format::Sarif => sarif::write(&outcome.as_started(), out)?,
    }
    out.flush()?;
    Ok(())
}
