//! The state as a picture. Pure: nothing here reads files, clocks apart, or talks to anybody.

mod cells;
mod help;
mod process;
mod processes;
mod sites;
mod stack;
mod theme;

use std::time::{SystemTime, UNIX_EPOCH};

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::state::{Page, State, Typing};
use super::view::{Condition, View};
use crate::human;
use theme::Theme;

/// How it looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// With colours.
    pub colour: bool,
    /// With signs beyond ASCII.
    pub unicode: bool,
    /// Keys are read: what is chosen is shown, and what they do.
    pub keys: bool,
}

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, state: &mut State, look: Look) {
    let theme = Theme::of(look);
    let area = frame.area();
    if area.width < 20 || area.height < 4 {
        frame.render_widget(Line::from("leaktrack top"), row(area, 0));
        return;
    }
    let footer = u16::from(look.keys);
    let body = Rect {
        y: 1,
        height: area.height - 1 - footer,
        ..area
    };
    title(frame, state, &theme, row(area, 0));
    match state.page {
        _ if state.views.is_none() => text(frame, body, "reading ..."),
        Page::Help => help::draw(frame, body, &theme),
        Page::Processes => processes::draw(frame, body, state, &theme),
        Page::Sites => {
            let rest = process::draw(frame, body, state, &theme);
            sites::draw(frame, rest, state, &theme);
        }
        Page::Stack => stack::draw(frame, body, state, &theme),
    }
    if look.keys {
        bottom(frame, state, &theme, row(area, area.height - 1));
    }
}

/// A line of an area, counted from its top; empty if it has none there.
fn row(area: Rect, at: u16) -> Rect {
    Rect {
        y: area.y + at.min(area.height),
        height: u16::from(at < area.height),
        ..area
    }
}

fn text(frame: &mut Frame<'_>, area: Rect, words: &str) {
    frame.render_widget(Line::from(format!("  {words}")), row(area, 1));
}

/// What is looked at, and the time.
fn title(frame: &mut Frame<'_>, state: &State, theme: &Theme, area: Rect) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0.0, |now| now.as_secs_f64());
    let left = match (state.page, state.process()) {
        (Page::Sites | Page::Stack, Some((_, view))) => of_process(view, now),
        (Page::Help, _) => "help".to_owned(),
        _ => {
            let count = state.views.as_ref().map_or(0, Vec::len);
            human::plural(count as u64, "tracked process").replace("processs", "processes")
        }
    };
    let paused = if state.paused { "PAUSED  " } else { "" };
    let time = human::utc(now as u64);
    let time = time.get(11..).unwrap_or_default();
    let left = format!(" leaktrack top  {}", theme.clean(&left));
    let right = format!("{paused}{time} ");
    let width = usize::from(area.width);
    let room = width.saturating_sub(right.chars().count() + 1);
    let left = cells::fit(&left, room, theme.unicode);
    let bar = format!("{left:<room$} {right}");
    frame.render_widget(Line::from(Span::styled(bar, theme.title)), area);
}

fn of_process(view: &View, now: f64) -> String {
    let mut words = format!("{} (pid {})", view.name, view.pid);
    let root = view
        .report
        .as_ref()
        .and_then(|report| report.processes.first());
    if let Some(root) = root {
        words.push_str(&format!(", {} recorded", human::duration(root.duration_s)));
    }
    match &view.condition {
        Condition::Recording if view.written_unix_s > 0.0 => {
            let age = (now - view.written_unix_s).max(0.0);
            words.push_str(&format!(", last snapshot {} ago", human::duration(age)));
        }
        Condition::Recording => {}
        Condition::Ended(how) | Condition::Not(how) => {
            words.push_str(", ");
            words.push_str(how);
        }
    }
    words
}

/// What is typed, else what came of a request, else what the keys do.
fn bottom(frame: &mut Frame<'_>, state: &State, theme: &Theme, area: Rect) {
    let width = usize::from(area.width);
    let cursor = if theme.unicode { "▏" } else { "_" };
    let line = match (&state.typing, &state.answer) {
        (Some(Typing::Filter), _) => Line::from(vec![
            Span::styled(" Filter: ", theme.bold),
            Span::raw(format!("{}{cursor}", theme.clean(&state.filter))),
            Span::styled("   Enter keeps it, Esc clears it", theme.dim),
        ]),
        (Some(Typing::Mark(label)), _) => Line::from(vec![
            Span::styled(" Mark this moment as: ", theme.bold),
            Span::raw(format!("{}{cursor}", theme.clean(label))),
            Span::styled("   Enter marks, Esc leaves it", theme.dim),
        ]),
        (None, Some(answer)) => {
            let style = if answer.failed {
                theme.caution
            } else {
                theme.calm
            };
            let words = format!(" {}", theme.clean(&answer.words));
            Line::from(Span::styled(
                cells::fit(&words, width, theme.unicode),
                style,
            ))
        }
        (None, None) => keys(state, theme, width),
    };
    frame.render_widget(line, area);
}

fn keys(state: &State, theme: &Theme, width: usize) -> Line<'static> {
    let all: &[(&str, &str)] = match state.page {
        Page::Processes => &[
            ("Enter", "open"),
            ("/", "filter"),
            ("glRfn", "sort"),
            ("m", "mark"),
            ("s", "snap"),
            ("S", "scan"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Page::Sites => &[
            ("Enter", "stack"),
            ("/", "filter"),
            ("glbRafn", "sort"),
            ("m", "mark"),
            ("s", "snap"),
            ("S", "scan"),
            ("t", "time"),
            ("p", "pause"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Page::Stack => &[
            ("Esc", "back"),
            ("Up Down", "scroll"),
            ("m", "mark"),
            ("s", "snap"),
            ("S", "scan"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Page::Help => &[("any key", "back"), ("q", "quit")],
    };
    let mut spans = Vec::new();
    let mut used = 0;
    // Those that matter most are last: they stay when others do not fit.
    let room = |key: &str, does: &str| key.len() + does.len() + 3;
    let (must, may): (Vec<_>, Vec<_>) = all
        .iter()
        .partition(|(key, _)| matches!(*key, "?" | "q" | "any key"));
    let reserved: usize = must.iter().map(|(key, does)| room(key, does)).sum();
    for (key, does) in may.into_iter().chain(must.iter().copied()) {
        let is_must = must.iter().any(|(name, _)| *name == key);
        let limit = if is_must {
            width
        } else {
            width.saturating_sub(reserved)
        };
        if used + room(key, does) > limit {
            continue;
        }
        used += room(key, does);
        spans.push(Span::raw(" "));
        spans.push(Span::styled((*key).to_owned(), theme.bold));
        spans.push(Span::styled(format!(" {does} "), theme.dim));
    }
    Line::from(spans)
}
