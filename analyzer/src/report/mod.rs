//! From a family to a report: what is in it, and how it is written down.
//!
//! The formats are pure functions of the [`document::Report`].

pub mod account;
mod assemble;
mod correlate;
pub mod coverage;
mod diagnosis;
pub mod document;
pub mod faults;
pub mod gc;
pub mod group;
mod growth;
mod html;
mod json;
mod judge;
mod lifetimes;
mod markdown;
mod means;
mod memory;
mod names;
pub mod places;
mod recording;
pub mod runtime;
mod sampled;
mod scans;
mod select;
mod sites;
mod sizes;
pub mod source;
pub mod suppress;
pub mod system;
pub(crate) mod text;
mod timeline;
pub mod undecided;
pub mod unseen;

#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thin_tests;

use std::borrow::Cow;
use std::io::Write;

use crate::gc_log::Collection;
pub use assemble::assemble;
pub use document::Report;
pub use group::GroupBy;
pub use names::{Aliases, call_as_started};
pub use suppress::Suppressions;
pub use text::{name as program, root, sentence};

/// How a report is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people, in a terminal or a pipe.
    #[default]
    Text,
    /// Schema leaktrack.report/1; see `leaktrack schema`.
    Json,
    /// One self-contained page.
    Html,
    /// For issues and pull requests.
    Markdown,
}

/// What goes into a report.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// At most this many sites; 0: all.
    pub top: usize,
    /// A text about a run that was too short to judge may show fewer: nobody asked for a number.
    pub few_if_short: bool,
    /// Only sites with a live block at least this old.
    pub older_than_ms: Option<u64>,
    /// Only sites with at least so many live bytes.
    pub min_bytes: u64,
    /// Sites that match are no findings.
    pub suppressions: Suppressions,
    /// With sites whose blocks come and go.
    pub show_healthy: bool,
    /// What to take together.
    pub group_by: GroupBy,
    /// When the report is made, Unix seconds.
    pub now_unix_s: u64,
    /// What logs of garbage collections say, if any were given.
    pub gc_log: Option<Vec<Collection>>,
    /// Do not read source files.
    pub no_source: bool,
    /// So many single live blocks in the text; `None`: not asked for.
    pub blocks: Option<usize>,
    /// The address space in the text.
    pub areas: bool,
    /// With what formats need that draw: each site's allocations over time, more source lines.
    pub curves: bool,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            top: 20,
            few_if_short: true,
            older_than_ms: None,
            min_bytes: 0,
            suppressions: Suppressions::default(),
            show_healthy: false,
            group_by: GroupBy::Site,
            now_unix_s: 0,
            gc_log: None,
            no_source: false,
            blocks: None,
            areas: false,
            curves: false,
        }
    }
}

/// How the text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// With ANSI colours.
    pub colour: bool,
    /// Columns of the terminal; `None` for pipes and files: lines are not cut.
    pub width: Option<usize>,
    /// With signs beyond ASCII.
    pub unicode: bool,
}

/// Writes for people what the last scan found, kind by kind and site by site.
pub fn render_scan(report: &Report, look: Look, out: &mut dyn Write) -> std::io::Result<()> {
    text::scan(report, look, out)
}

/// Writes `report` down.
pub fn render(
    report: &Report,
    options: &ReportOptions,
    format: Format,
    look: Look,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let named = match format {
        Format::Json => Cow::Borrowed(report),
        Format::Text | Format::Markdown | Format::Html => names::as_started(report),
    };
    let report = named.as_ref();
    match format {
        Format::Text => text::write(report, options, look, out)?,
        Format::Json => json::write(report, out)?,
        Format::Markdown => markdown::write(report, out)?,
        Format::Html => html::write(report, options, out)?,
    }
    Ok(())
}
