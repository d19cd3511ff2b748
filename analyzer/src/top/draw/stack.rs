//! One call site, as the report tells it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::theme::Theme;
use super::{row, text};
use crate::report;
use crate::top::state::State;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &mut State, theme: &Theme) {
    let look = report::Look {
        colour: false,
        width: Some(usize::from(area.width)),
        unicode: theme.unicode,
    };
    let told = (|| {
        let (at, row, site) = state.site()?;
        let (_, view) = state.process()?;
        let report = view.report.as_ref()?;
        Some((
            report::text::site_in_full(report, row.site, at + 1, look),
            theme.of_verdict(site.verdict, site.suppressed_by.is_some()),
        ))
    })();
    let Some((words, headline)) = told else {
        text(
            frame,
            area,
            "this call site is not there any more; Esc goes back",
        );
        return;
    };
    let lines: Vec<&str> = words.lines().collect();
    let fitting = usize::from(area.height).saturating_sub(1);
    let most = u16::try_from(lines.len().saturating_sub(fitting)).unwrap_or(u16::MAX);
    state.scroll = state.scroll.min(most);
    let shown = lines.iter().enumerate().skip(usize::from(state.scroll));
    for (at, (number, line)) in (1..).zip(shown.take(fitting)) {
        let style = match line.trim_start() {
            _ if number == 0 => headline,
            blamed if blamed.starts_with("> ") => theme.bold,
            source if source.starts_with("| ") => theme.place,
            curve if curve.starts_with(['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']) => {
                theme.curve
            }
            dots if dots.starts_with(['…', '.']) => theme.dim,
            _ => ratatui::style::Style::new(),
        };
        // Recorded names have no control characters left here.
        frame.render_widget(
            Line::from(Span::styled((*line).to_owned(), style)),
            row(area, at),
        );
    }
}
