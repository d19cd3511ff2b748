//! The report in the formats of other people's tools.
//!
//! Each format is a pure function of the report's document: its figures are those of the report.

mod blocks;
mod csv;
mod firefox;
mod flamegraph;
mod folded;
pub mod listen;
mod measure;
mod openmetrics;
mod pprof;

#[cfg(test)]
mod tests;

use std::io::Write;

pub use measure::Measure;
pub use openmetrics::Dialect;

use crate::model::Frame;
use crate::model::identity::file_name;
use crate::report::Report;

/// A format of another tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For go tool pprof, Pyroscope, speedscope: gzipped profile.proto
    Pprof,
    /// A line per call stack, outermost frame first, for flame graph tools
    Folded,
    /// A flame graph as SVG
    Flamegraph,
    /// For profiler.firefox.com: allocations over time
    Firefox,
    /// A row per call site, for spreadsheets and notebooks
    Csv,
    /// A row per single live block: of each call site the largest and the oldest, as CSV
    Blocks,
    /// For Prometheus and its kin, such as node exporter's textfile collector
    Openmetrics,
}

/// Writes `report` in `format`; `measure` is what folded stacks and the flame graph add up.
pub fn write(
    report: &Report,
    format: Format,
    measure: Measure,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    match format {
        Format::Pprof => pprof::write(report, out)?,
        Format::Folded => folded::write(report, measure, out)?,
        Format::Flamegraph => flamegraph::write(report, measure, out)?,
        Format::Firefox => firefox::write(report, out)?,
        Format::Csv => csv::write(report, out)?,
        Format::Blocks => blocks::write(report, out)?,
        Format::Openmetrics => openmetrics::write(report, Dialect::OpenMetrics, out)?,
    }
    Ok(())
}

/// Writes the figures that Prometheus scrapes, in one of its two dialects.
pub fn write_metrics(
    report: &Report,
    dialect: Dialect,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    openmetrics::write(report, dialect, out)
}

/// The function, else the module and the address in it.
fn name(frame: &Frame) -> String {
    match &frame.function {
        Some(function) => function.clone(),
        None if frame.module.is_empty() => format!("[jit] {:#x}", frame.offset),
        None => format!("{}+{:#x}", file_name(&frame.module), frame.offset),
    }
}

/// Name of the program under which the root process ended.
fn program(report: &Report) -> String {
    crate::report::program(report)
}
