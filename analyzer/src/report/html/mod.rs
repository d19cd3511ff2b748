//! The report as one self-contained page: markup, style, script and data in a single file.
//!
//! Nothing recorded is ever written as markup: names travel as JSON in which `<`, `>` and `&` are
//! escaped, and the script sets them as text. The page asks the network for nothing; its
//! content-security policy forbids it.

mod columns;
mod curves;
mod data;
mod page;
mod stacks;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use super::document::Report;
use super::{Look, ReportOptions, text};

/// Writes the page.
pub fn write(report: &Report, options: &ReportOptions, out: &mut dyn Write) -> io::Result<()> {
    let data = data::json(report)?;
    let mut plain = Vec::new();
    let plain_look = Look {
        colour: false,
        width: None,
        unicode: true,
    };
    let brief = ReportOptions {
        show_healthy: false,
        top: 1,
        ..options.clone()
    };
    text::write(&without_trifles(report), &brief, plain_look, &mut plain)?;
    let page = page::Page {
        title: &text::sentence(report),
        data: &data,
        text: &String::from_utf8_lossy(&plain),
    };
    page.write(out)
}

/// The report with as many sites as the text shows by itself, for readers without scripts.
fn without_trifles(report: &Report) -> Report {
    let mut brief = report.clone();
    let shown = ReportOptions::default().top;
    for site in brief.sites.iter().skip(shown) {
        brief.extra.left_out += 1;
        brief.extra.left_out_bytes = brief
            .extra
            .left_out_bytes
            .saturating_add(site.live_bytes.value);
    }
    brief.sites.truncate(shown);
    brief.groups.truncate(shown);
    brief
}
