//! Garbage collections beside the recording.

use super::page::{Page, Style};
use crate::human;

use super::super::document::Report;

/// Writes the section; nothing without a log of collections.
pub fn write(report: &Report, page: &mut Page) {
    let Some(gc) = &report.gc else {
        return;
    };
    page.heading("Garbage collections");
    page.prose("  ", Style::Caution, &gc.verdict);
    if gc.major + gc.minor > 0 {
        let words = format!(
            "{} of the whole heap and {} of young objects stopped JavaScript for {} in all, for {} at most.",
            human::plural(gc.major, "collection"),
            human::count(gc.minor),
            human::duration(gc.pause_s),
            human::duration(gc.longest_pause_s)
        );
        page.prose("  ", Style::Plain, &words);
    }
}
