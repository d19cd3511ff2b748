//! A flame graph as SVG, drawn by `inferno`.

use std::io::{self, Write};

use inferno::flamegraph::{Options, from_lines};

use super::{Measure, folded, program};
use crate::report::Report;

/// Writes the picture; one that says so if there is nothing to show.
pub fn write(report: &Report, measure: Measure, out: &mut dyn Write) -> io::Result<()> {
    let lines = folded::lines(report, measure);
    let (words, unit) = measure.words();
    let mut options = Options::default();
    options.title = format!("{}: {words}", program(report));
    options.count_name = unit.to_owned();
    options.deterministic = true;
    if lines.is_empty() {
        lines_of_nothing(&options.title, out)?;
        return out.flush();
    }
    from_lines(&mut options, lines.iter().map(String::as_str), &mut *out)
        .map_err(io::Error::other)?;
    out.flush()
}

fn lines_of_nothing(title: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut escaped = String::new();
    for c in title.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"60\"><text x=\"20\" y=\"35\" font-family=\"sans-serif\">{escaped}: nothing at any call site</text></svg>"
    )
}
