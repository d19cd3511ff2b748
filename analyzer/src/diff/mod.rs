//! Owns the comparison of two reports: which call sites changed from one run to another.
//!
//! Works on reports alone, never on recordings: what it says can be said of any two reports that
//! hold all their sites.

mod change;
mod document;
mod pairs;
mod side;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::io::{self, Write};

pub use document::{Change, Diff, MatchedBy, Renamed, Run, SCHEMA, Side, SiteChange};

use crate::report::{Look, Report};

/// What goes into a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiffOptions {
    /// At most this many sites; 0: all.
    pub top: usize,
    /// Only sites that hold so many bytes in at least one of the runs.
    pub min_bytes: u64,
    /// With sites that did not change.
    pub show_same: bool,
}

impl Default for DiffOptions {
    fn default() -> Self {
        Self {
            top: 20,
            min_bytes: 0,
            show_same: false,
        }
    }
}

/// Compares two reports, both made with all their sites.
pub fn compare(old: &Report, new: &Report, options: DiffOptions) -> Diff {
    let (old_run, new_run) = (Run::of(old), Run::of(new));
    // Before its first snapshot nothing is known of a run, which is not that it held nothing.
    let first_s = |report: &Report| report.timeline.first().map_or(0.0, |moment| moment.t_s);
    let compared_at_s = old_run
        .duration_s
        .min(new_run.duration_s)
        .max(first_s(old))
        .max(first_s(new));
    let spans = change::Spans {
        old_s: old_run.duration_s,
        new_s: new_run.duration_s,
        compared_at_s,
    };
    let mut sites: Vec<SiteChange> = pairs::pairs(&old.sites, &new.sites)
        .into_iter()
        .filter_map(|pair| change::site_change(pair, &spans))
        .filter(|site| site.most_bytes() >= options.min_bytes)
        .collect();
    sites.sort_by(change::worst_first);
    let mut diff = Diff {
        schema: SCHEMA.to_owned(),
        generator: new.generator.clone(),
        notes: notes(&old_run, &new_run),
        old: old_run,
        new: new_run,
        compared_at_s,
        counts: counts(&sites),
        left_out: 0,
        sites,
    };
    if !options.show_same {
        diff.sites.retain(|site| site.change != Change::Same);
    }
    if options.top > 0 && diff.sites.len() > options.top {
        diff.left_out = (diff.sites.len() - options.top) as u64;
        diff.sites.truncate(options.top);
    }
    diff
}

fn counts(sites: &[SiteChange]) -> BTreeMap<Change, u64> {
    let mut counts = BTreeMap::new();
    for site in sites {
        *counts.entry(site.change).or_default() += 1;
    }
    counts
}

/// What makes the two hard to compare.
fn notes(old: &Run, new: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    for (which, run) in [("OLD", old), ("NEW", new)] {
        if !run.usable {
            notes.push(format!(
                "{which} says nothing about most of its program's memory: `leaktrack report {}` says why.",
                run.paths.join(" ")
            ));
        }
    }
    if old.program() != new.program() {
        notes.push(format!(
            "The two are of different programs: {} and {}.",
            old.program(),
            new.program()
        ));
    }
    if old.mode != new.mode {
        notes.push(format!(
            "OLD was recorded in mode {}, NEW in mode {}: their figures differ in how sure they are.",
            old.mode, new.mode
        ));
    }
    notes
}

/// Writes the comparison for people.
pub fn write_text(diff: &Diff, look: Look, out: &mut dyn Write) -> io::Result<()> {
    text::write(diff, look, out)
}

/// Writes the comparison as JSON.
pub fn write_json(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, diff)?;
    writeln!(out)
}
