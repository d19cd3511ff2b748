//! Folded stacks: `main;serve;open 4096`, outermost frame first.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Measure, name};
use crate::report::Report;

/// A line per stack with something of `measure`.
pub fn lines(report: &Report, measure: Measure) -> Vec<String> {
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for site in &report.sites {
        let value = measure.of(site);
        if value == 0 {
            continue;
        }
        let names: Vec<String> = site
            .frames
            .iter()
            .rev()
            .map(|it| plain(&name(it)))
            .collect();
        let stack = match names.is_empty() {
            true => "(no stack)".to_owned(),
            false => names.join(";"),
        };
        let sum = stacks.entry(stack).or_default();
        *sum = sum.saturating_add(value);
    }
    let line = |(stack, value): (String, u64)| format!("{stack} {value}");
    stacks.into_iter().map(line).collect()
}

/// Writes the lines.
pub fn write(report: &Report, measure: Measure, out: &mut dyn Write) -> io::Result<()> {
    for line in lines(report, measure) {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// A name without what separates frames and lines.
fn plain(name: &str) -> String {
    let is_bad = |c: char| c == ';' || c.is_control();
    name.chars()
        .map(|c| if is_bad(c) { ':' } else { c })
        .collect()
}
