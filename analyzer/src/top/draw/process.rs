//! One process: the answer, memory over time, faults, findings, alerts.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::cells::{fit, wrap};
use super::theme::Theme;
use super::{row, text};
use crate::human;
use crate::report::{self, Report};
use crate::top::chart::{self, Scale};
use crate::top::state::State;
use crate::top::view::{Condition, View};

/// Rows of a chart, where there is room.
const CHART: u16 = 4;

/// Draws it; what is left is for the call sites.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, theme: &Theme) -> Rect {
    let Some((_, view)) = state.process() else {
        text(
            frame,
            area,
            "no tracked process; start one with: leaktrack run -- CMD",
        );
        return row(area, area.height);
    };
    let Some(report) = &view.report else {
        let why = match &view.condition {
            Condition::Not(why) | Condition::Ended(why) => why.clone(),
            Condition::Recording => "reading ...".to_owned(),
        };
        for (at, line) in (1..).zip(wrap(
            &theme.clean(&why),
            usize::from(area.width).saturating_sub(4),
            6,
            theme.unicode,
        )) {
            frame.render_widget(Line::from(format!("  {line}")), row(area, at));
        }
        return row(area, area.height);
    };
    let mut at = 0;
    for line in answer(report, area, theme) {
        frame.render_widget(line, row(area, at));
        at += 1;
    }
    let is_tall = area.height >= 18;
    let chart = if is_tall { CHART } else { 1 };
    charts(
        frame,
        view,
        report,
        state,
        theme,
        Rect {
            y: area.y + at,
            height: chart + 1,
            ..area
        },
    );
    at += chart + 1;
    for line in figures(view, report, theme, usize::from(area.width)) {
        frame.render_widget(line, row(area, at));
        at += 1;
    }
    Rect {
        y: area.y + at.min(area.height),
        height: area.height.saturating_sub(at),
        ..area
    }
}

/// The sentence of the report.
fn answer(report: &Report, area: Rect, theme: &Theme) -> Vec<Line<'static>> {
    let style = match (report.coverage.usable, report.finding_count) {
        (false, _) => theme.caution,
        (true, 0) => theme.calm,
        (true, _) => theme.alarm,
    };
    let lines = if area.height >= 14 { 2 } else { 1 };
    let words = theme.clean(&report::sentence(report));
    let words = words.strip_prefix("leaktrack: ").unwrap_or(&words);
    let width = usize::from(area.width).saturating_sub(2);
    let wrapped = wrap(words, width, lines, theme.unicode).into_iter();
    wrapped
        .map(|line| Line::from(Span::styled(format!(" {line}"), style)))
        .collect()
}

fn charts(
    frame: &mut Frame<'_>,
    view: &View,
    report: &Report,
    state: &State,
    theme: &Theme,
    area: Rect,
) {
    let half = area.width / 2;
    let left = Rect {
        width: half,
        ..area
    };
    let right = Rect {
        x: area.x + half,
        width: area.width - half,
        ..area
    };
    let limit = report.memory.limit_bytes;
    let resident = view.resident_bytes().unwrap_or(0);
    let of_limit = limit.filter(|limit| *limit > 0).map(|limit| {
        let share = resident as f64 / limit as f64 * 100.0;
        format!(" of {} ({share:.0}%)", human::bytes(limit))
    });
    curve(
        frame,
        left,
        state,
        theme,
        "RSS",
        human::bytes(resident) + &of_limit.unwrap_or_default(),
        &view.resident(),
    );
    let totals = &report.totals;
    let live = format!(
        "{} in {}",
        human::bytes(totals.live_bytes),
        human::plural(totals.live_blocks, "block")
    );
    curve(frame, right, state, theme, "Live", live, &view.live());
}

/// A heading with the value now and the range of the curve, and the curve.
fn curve(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &State,
    theme: &Theme,
    name: &str,
    now: String,
    points: &[(f64, u64)],
) {
    let columns = usize::from(area.width).saturating_sub(2);
    let last_s = points.last().map_or(0.0, |point| point.0);
    let from_s = state.span_s().map_or(0.0, |span| (last_s - span).max(0.0));
    let values = chart::resample(points, from_s, columns);
    let scale = Scale::of(values.iter().copied());
    let shown_s = last_s - points.first().map_or(0.0, |point| point.0).max(from_s);
    let range = format!(
        "  (scale {} to {}, {})",
        human::bytes(scale.low),
        human::bytes(scale.high),
        human::duration(shown_s)
    );
    let room = columns.saturating_sub(name.len() + now.chars().count() + 2);
    let heading = Line::from(vec![
        Span::styled(format!(" {name} "), theme.bold),
        Span::styled(now, theme.bold),
        Span::styled(
            if range.chars().count() <= room {
                range
            } else {
                String::new()
            },
            theme.dim,
        ),
    ]);
    frame.render_widget(heading, row(area, 0));
    let height = usize::from(area.height.saturating_sub(1));
    for (at, line) in (1..).zip(chart::rows(&values, scale, height, theme.unicode)) {
        frame.render_widget(
            Line::from(Span::styled(format!(" {line}"), theme.curve)),
            row(area, at),
        );
    }
}

/// Findings, faults, threads; then the last alert.
fn figures(view: &View, report: &Report, theme: &Theme, width: usize) -> Vec<Line<'static>> {
    let per_s = |rate: Option<f64>| rate.map_or_else(String::new, |rate| format!(" ({rate:.0}/s)"));
    let mut parts: Vec<(String, Style)> = Vec::new();
    let findings = human::plural(report.finding_count, "finding");
    let rate = report
        .extra
        .finding_rate
        .map(|rate| format!(" +{}", human::rate(rate.value)));
    let style = if report.finding_count > 0 {
        theme.alarm
    } else {
        theme.calm
    };
    parts.push((findings + &rate.unwrap_or_default(), style));
    if let Some(limit) = report.extra.limit_in_s {
        parts.push((
            format!("limit in {}", human::duration(limit.value)),
            theme.alarm,
        ));
    }
    let faults = &report.faults;
    if let (Some(minor), Some(major)) = (faults.minor, faults.major) {
        let sums = &view.sums;
        let words = format!(
            "faults {} minor{}, {} major{}",
            human::count(minor),
            per_s(sums.minor_per_s),
            human::count(major),
            per_s(sums.major_per_s.filter(|rate| *rate >= 0.5)),
        );
        let thrashes = sums.major_per_s.is_some_and(|rate| rate >= 10.0);
        parts.push((
            words,
            if thrashes {
                theme.caution
            } else {
                Style::new()
            },
        ));
    }
    if let Some(moment) = report.timeline.last() {
        parts.push((human::plural(moment.threads, "thread"), Style::new()));
        if moment.swap_bytes > 0 {
            parts.push((
                format!("{} swapped out", human::bytes(moment.swap_bytes)),
                theme.caution,
            ));
        }
    }
    if let Some(rate) = view.sums.allocations_per_s {
        parts.push((
            format!("{} allocations/s", human::count(rate as u64)),
            Style::new(),
        ));
    }
    let mut spans = Vec::new();
    let mut used = 0;
    for (words, style) in parts {
        let length = words.chars().count() + 3;
        if used + length > width {
            break;
        }
        used += length;
        spans.push(Span::styled(format!(" {words} "), style));
        spans.push(Span::raw(" "));
    }
    let mut lines = vec![Line::from(spans)];
    let alerts = view.alerts();
    if let Some(last) = alerts.last() {
        let now_s = report.timeline.last().map_or(last.t_s, |moment| moment.t_s);
        let age = human::duration((now_s - last.t_s).max(0.0));
        let count = human::plural(alerts.len() as u64, "alert");
        let words = format!(" {count}, last {age} ago: {}", theme.clean(&last.text));
        lines.push(Line::from(Span::styled(
            fit(&words, width, theme.unicode),
            theme.alarm,
        )));
    }
    lines
}
