//! What the keys do.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::row;
use super::theme::Theme;

const KEYS: [(&str, &str); 18] = [
    (
        "Up Down PgUp PgDn Home End",
        "choose (also j, k, G), or scroll a stack",
    ),
    ("Enter, Right", "open: a process, a call site's stack"),
    ("Esc, Left, Backspace", "back; clears the filter first"),
    (
        "/",
        "show only rows with these words: functions, files, threads, verdicts; folders if with a slash",
    ),
    (
        "g",
        "sort by growth: findings by rate, then what rose most in the last minute",
    ),
    ("l", "sort by live bytes"),
    ("b", "sort by live blocks"),
    ("R", "sort by resident bytes"),
    ("a", "sort by allocations per second"),
    ("f", "sort by page faults"),
    ("n", "sort by name"),
    ("r", "reverse the order"),
    (
        "m",
        "mark this moment in the recording, for report --since mark:LABEL",
    ),
    ("s", "have the process take a snapshot now"),
    ("S", "have the process look for lost blocks now"),
    ("t", "charts: all, the last hour, ten minutes, one minute"),
    ("p", "pause what is shown; the recording goes on"),
    ("Ctrl-L, Ctrl-Z, q", "draw anew, suspend, quit"),
];

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, theme: &Theme) {
    for (at, (key, does)) in (1..).zip(KEYS) {
        let line = Line::from(vec![
            Span::styled(format!("  {key:<28}"), theme.bold),
            Span::raw(does),
        ]);
        frame.render_widget(line, row(area, at));
    }
}
