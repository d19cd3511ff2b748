//! Markdown: for issues and pull requests.

use std::io::{self, Write};

use super::document::{Report, SiteReport};
use super::text::{blocks, left_out, name, not_seen, sentence, size};
use crate::human;

/// Writes the report.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# leaktrack: {}\n", escape(&name(report)))?;
    writeln!(out, "**{}**\n", escape(&sentence(report)))?;
    for reason in not_seen(report) {
        writeln!(out, "{}\n", escape(&reason))?;
    }
    if let Some(words) = left_out(report) {
        writeln!(out, "{}\n", escape(&words))?;
    }
    let shown: Vec<&SiteReport> = report.sites.iter().collect();
    if !shown.is_empty() {
        writeln!(
            out,
            "| # | verdict | size | blocks | growth | line |\n|--:|---|--:|--:|---|---|"
        )?;
        for (index, site) in shown.iter().enumerate() {
            let rate = site.growth.rate.map_or_else(String::new, |rate| {
                human::rate_between(rate.value, rate.low, rate.high)
            });
            writeln!(
                out,
                "| {} | {}{} | {} | {} | {} {} | {} |",
                index + 1,
                site.verdict.name(),
                if site.suppressed_by.is_some() {
                    " (suppressed)"
                } else {
                    ""
                },
                size(site),
                human::count(blocks(site)),
                site.growth.pattern.name(),
                rate,
                code(&blamed(site)),
            )?;
        }
        writeln!(out)?;
    }
    for (index, site) in shown
        .iter()
        .enumerate()
        .filter(|(_, site)| site.verdict.is_finding() && site.suppressed_by.is_none())
    {
        writeln!(
            out,
            "## {}. {} in {}\n",
            index + 1,
            site.verdict.name(),
            code(&blamed(site))
        )?;
        writeln!(
            out,
            "{}\n\n{}\n",
            escape(&site.why.join(" ")),
            escape(&site.advice)
        )?;
        writeln!(out, "<details><summary>Stack</summary>\n\n```text")?;
        for frame in &site.frames {
            let name = frame.function.as_deref().unwrap_or("(no symbol)");
            writeln!(
                out,
                "{}{}  {}",
                fenced(name),
                if frame.inlined { " (inlined)" } else { "" },
                fenced(&super::text::place(frame))
            )?;
        }
        writeln!(out, "```\n\n</details>\n")?;
    }
    let totals = &report.totals;
    writeln!(
        out,
        "{}, {}, {} allocated; {} live in {}; peak {}.\n",
        human::plural(totals.allocations, "allocation"),
        human::plural(totals.frees, "free"),
        human::bytes(totals.allocated_bytes),
        human::bytes_exact(totals.live_bytes),
        human::plural(totals.live_blocks, "block"),
        human::bytes(totals.peak_live_bytes)
    )?;
    for note in &report.coverage.notes {
        writeln!(out, "- {}", escape(note))?;
    }
    Ok(())
}

fn blamed(site: &SiteReport) -> String {
    let frame = site
        .blame
        .as_ref()
        .and_then(|blame| site.frames.get(blame.frame));
    frame.map_or_else(
        || "(no stack)".to_owned(),
        |frame| {
            format!(
                "{} {}",
                frame.function.as_deref().unwrap_or(""),
                super::text::place(frame)
            )
            .trim()
            .to_owned()
        },
    )
}

/// Text between backticks, inside a table if need be.
fn code(text: &str) -> String {
    format!(
        "`{}`",
        text.replace('`', "'")
            .replace('|', "¦")
            .replace(char::is_control, " ")
    )
}

/// Text in a fenced block: it must not end the block.
fn fenced(text: &str) -> String {
    text.replace("```", "'''").replace(char::is_control, " ")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\`*_{}[]<>#|".contains(c) {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}
