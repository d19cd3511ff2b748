//! The table of call sites.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::cells::{self, Column};
use super::row;
use super::theme::Theme;
use crate::human;
use crate::report::document::SiteReport;
use crate::report::text;
use crate::top::chart;
use crate::top::state::{Sort, State};
use crate::top::view::{RECENT_S, Row};

/// Columns of a curve.
const TREND: usize = 16;

const COLUMNS: [Column; 11] = [
    column("VERDICT", 8, false, 40),
    column("RATE", 11, true, 0),
    column("LAST 60 s", 10, true, 64),
    column("LIVE", 9, true, 0),
    column("LOST", 9, true, 90),
    column("BLOCKS", 9, true, 110),
    column("ALLOC/s", 8, true, 120),
    column("FAULTS", 8, true, 156),
    column("RESIDENT", 9, true, 170),
    column("TREND", TREND, false, 138),
    column("WHERE", 0, false, 0),
];

const fn column(name: &'static str, width: usize, right: bool, from: usize) -> Column {
    Column {
        name,
        width,
        right,
        from,
    }
}

/// The column that shows what the table is sorted by.
fn column_of(sort: Sort) -> Option<usize> {
    match sort {
        Sort::Growth | Sort::Live | Sort::Name => None,
        Sort::Blocks => Some(5),
        Sort::Allocations => Some(6),
        Sort::Faults => Some(7),
        Sort::Resident => Some(8),
    }
}

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State, theme: &Theme) {
    if area.height < 2
        || state
            .process()
            .is_none_or(|(_, view)| view.report.is_none())
    {
        return;
    }
    let width = usize::from(area.width);
    let fitting = usize::from(area.height).saturating_sub(2);
    let columns = cells::fitting(&COLUMNS, width, column_of(state.sort));
    let room = columns.last().map_or(0, |(_, column)| column.width);
    let chosen = state.site().map(|(at, _, _)| at);
    let rows = state.rows();
    let count = rows.len();
    let offset = cells::scrolled(state.offset[1], chosen.unwrap_or(0), fitting, count);
    let lines: Vec<Line<'static>> = rows
        .iter()
        .enumerate()
        .skip(offset)
        .take(fitting)
        .map(|(at, (row, site))| {
            let line = cells::row(&columns, &values(row, site, room, theme), theme);
            match chosen == Some(at) {
                true => line.patch_style(theme.chosen),
                false => line,
            }
        })
        .collect();
    let heading = heading(state, count, theme);
    frame.render_widget(heading, row(area, 0));
    frame.render_widget(cells::headings(&columns, theme), row(area, 1));
    for (at, line) in (2..).zip(lines) {
        frame.render_widget(line, row(area, at));
    }
    (state.fitting, state.offset[1]) = (fitting, offset);
}

fn heading(state: &State, count: usize, theme: &Theme) -> Line<'static> {
    let report = state.process().and_then(|(_, view)| view.report.as_ref());
    let left_out = report.map_or(0, |report| report.extra.left_out);
    let all = report.map_or(0, |report| report.sites.len());
    let mut words = format!(
        " {} by {}",
        human::plural(count as u64, "call site"),
        state.sort.name()
    );
    if state.reverse {
        words.push_str(", reversed");
    }
    if count < all {
        words.push_str(&format!(", of {}", human::count(all as u64)));
    }
    let mut spans = vec![Span::styled(words, theme.bold)];
    if !state.filter.is_empty() {
        spans.push(Span::styled(
            format!(" with \"{}\"", theme.clean(&state.filter)),
            theme.caution,
        ));
    }
    if left_out > 0 {
        let words = format!("; {} that hold least are left out", human::count(left_out));
        spans.push(Span::styled(words, theme.dim));
    }
    Line::from(spans)
}

fn values(row: &Row, site: &SiteReport, room: usize, theme: &Theme) -> Vec<(String, Style)> {
    let plain = Style::new();
    let none = || "-".to_owned();
    let suppressed = site.suppressed_by.is_some();
    let verdict = theme.of_verdict(site.verdict, suppressed);
    // A stack of a line that grows, whatever it does itself.
    let finding = site.finding.filter(|_| !site.verdict.is_finding());
    let rate = site
        .growth
        .rate
        .map_or_else(none, |rate| format!("+{}", human::rate(rate.value)));
    let change = match row.change_bytes {
        0 => none(),
        up @ 1.. => format!("+{}", human::bytes(up.unsigned_abs())),
        down => format!("-{}", human::bytes(down.unsigned_abs())),
    };
    let allocations = row.allocations_per_s.map_or_else(none, |rate| match rate {
        0.0 => none(),
        slow if slow < 10.0 => format!("{slow:.1}"),
        fast => human::count(fast as u64),
    });
    let lost = text::lost(site).map_or_else(none, |(bytes, _)| human::bytes(bytes));
    let resident = site.resident_bytes.map_or_else(none, human::bytes);
    let (name, place) = cells::name_and_place(
        &theme.clean(&row.name),
        &theme.clean(&row.place),
        room,
        theme.unicode,
    );
    let place = match (site.kind.as_str(), place.is_empty()) {
        ("mmap", true) => "  mapped".to_owned(),
        (_, true) => String::new(),
        _ => format!("  {place}"),
    };
    vec![
        (site.verdict.name().to_owned(), verdict),
        (rate, verdict),
        (change, plain),
        (human::bytes(site.live_bytes.value), theme.bold),
        (lost, verdict),
        (human::count(site.live_blocks.value), plain),
        (allocations, plain),
        (row.faults.map_or_else(none, human::count), plain),
        (resident, plain),
        (chart::line(&site.series, TREND, theme.unicode), theme.curve),
        (
            match finding {
                Some(number) => format!("{name}{place}  in finding {number}"),
                None => name + &place,
            },
            plain,
        ),
    ]
}

const _: () = assert!(RECENT_S == 60.0);
