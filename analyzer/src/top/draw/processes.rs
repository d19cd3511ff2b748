//! The table of processes.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::cells::{self, Column};
use super::theme::Theme;
use super::{row, text};
use crate::human;
use crate::top::chart;
use crate::top::state::State;
use crate::top::view::{Condition, View};

/// Columns of a curve.
const TREND: usize = 12;

const COLUMNS: [Column; 10] = [
    column("PID", 8, true, 0),
    column("PROGRAM", 18, false, 0),
    column("RECORDED", 11, true, 106),
    column("RSS", 9, true, 0),
    column("", TREND, false, 88),
    column("LIVE", 9, true, 50),
    column("", TREND, false, 124),
    column("FINDINGS", 18, false, 0),
    column("FAULTS/s", 8, true, 136),
    column("STATE", 0, false, 0),
];

const fn column(name: &'static str, width: usize, right: bool, from: usize) -> Column {
    Column {
        name,
        width,
        right,
        from,
    }
}

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State, theme: &Theme) {
    let fitting = usize::from(area.height).saturating_sub(2);
    let columns = cells::fitting(&COLUMNS, usize::from(area.width), None);
    let chosen = state.process().map(|(at, _)| at);
    let views = state.processes();
    if views.is_empty() {
        let words = match state.filter.is_empty() {
            true => "no tracked process; start one with: leaktrack run -- CMD",
            false => "no process has these words; Esc clears the filter",
        };
        text(frame, area, words);
        return;
    }
    let offset = cells::scrolled(state.offset[0], chosen.unwrap_or(0), fitting, views.len());
    let shown = views.iter().enumerate().skip(offset).take(fitting);
    let lines: Vec<Line<'static>> = shown
        .map(|(at, view)| {
            let line = cells::row(&columns, &values(view, theme), theme);
            match chosen == Some(at) {
                true => line.patch_style(theme.chosen),
                false => line,
            }
        })
        .collect();
    frame.render_widget(cells::headings(&columns, theme), row(area, 1));
    for (at, line) in (2..).zip(lines) {
        frame.render_widget(line, row(area, at));
    }
    (state.fitting, state.offset[0]) = (fitting, offset);
}

fn values(view: &View, theme: &Theme) -> Vec<(String, Style)> {
    let plain = Style::new();
    let (words, style) = match &view.condition {
        Condition::Recording => (alert(view), theme.alarm),
        Condition::Ended(how) => (how.clone(), theme.dim),
        Condition::Not(why) => (why.clone(), theme.caution),
    };
    let report = view.report.as_deref();
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let duration = report.and_then(|report| report.processes.first());
    let findings = report.map(
        |report| match (report.finding_count, report.extra.finding_rate) {
            (0, _) => ("none".to_owned(), theme.calm),
            (count, Some(rate)) => (
                format!("{count}, +{}", human::rate(rate.value)),
                theme.alarm,
            ),
            (count, None) => (count.to_string(), theme.alarm),
        },
    );
    vec![
        (view.pid.to_string(), plain),
        (theme.clean(&view.name), theme.bold),
        (
            or_none(duration.map(|root| human::duration(root.duration_s))),
            plain,
        ),
        (or_none(view.resident_bytes().map(human::bytes)), plain),
        (
            chart::line(&view.resident(), TREND, theme.unicode),
            theme.curve,
        ),
        (
            or_none(report.map(|report| human::bytes(report.totals.live_bytes))),
            plain,
        ),
        (chart::line(&view.live(), TREND, theme.unicode), theme.curve),
        findings.unwrap_or_else(|| ("-".to_owned(), plain)),
        (
            or_none(view.sums.minor_per_s.map(|rate| format!("{rate:.0}"))),
            plain,
        ),
        (theme.clean(&words), style),
    ]
}

fn alert(view: &View) -> String {
    let alerts = view.alerts();
    let last = alerts.last().map(|event| event.text.as_str());
    match (alerts.len(), last) {
        (0, _) | (_, None) => String::new(),
        (1, Some(text)) => format!("alert: {text}"),
        (count, Some(text)) => format!("{count} alerts: {text}"),
    }
}
