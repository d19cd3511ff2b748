//! Styles, and what may be shown of recorded text.

use ratatui::style::{Color, Modifier, Style};

use super::Look;
use crate::report::text::page::clean;
use crate::verdict::Verdict;

/// Styles by what they mean.
pub struct Theme {
    /// The first line.
    pub title: Style,
    /// Headings, what matters.
    pub bold: Style,
    /// What matters less.
    pub dim: Style,
    /// Findings.
    pub alarm: Style,
    /// What cannot be told.
    pub caution: Style,
    /// What is well.
    pub calm: Style,
    /// Where in the source.
    pub place: Style,
    /// Curves.
    pub curve: Style,
    /// What is chosen.
    pub chosen: Style,
    /// With signs beyond ASCII.
    pub unicode: bool,
}

impl Theme {
    /// With or without colours.
    pub fn of(look: Look) -> Self {
        let plain = Style::new();
        let coloured = |colour| match look.colour {
            true => plain.fg(colour),
            false => plain,
        };
        Self {
            title: plain.add_modifier(Modifier::REVERSED),
            bold: plain.add_modifier(Modifier::BOLD),
            dim: plain.add_modifier(Modifier::DIM),
            alarm: coloured(Color::Red).add_modifier(Modifier::BOLD),
            caution: coloured(Color::Yellow),
            calm: coloured(Color::Green),
            place: coloured(Color::Cyan),
            curve: coloured(Color::Blue),
            chosen: match look.keys {
                true => plain.add_modifier(Modifier::REVERSED),
                false => plain,
            },
            unicode: look.unicode,
        }
    }

    /// The style of a verdict.
    pub fn of_verdict(&self, verdict: Verdict, suppressed: bool) -> Style {
        match verdict {
            _ if suppressed => self.dim,
            Verdict::Lost | Verdict::Growing => self.alarm,
            Verdict::Unclear => self.caution,
            Verdict::Retained => self.calm,
            Verdict::Healthy => self.dim,
        }
    }

    /// Recorded text without what steers a terminal, and without signs that it cannot show.
    pub fn clean(&self, text: &str) -> String {
        let text = clean(text);
        match self.unicode {
            true => text.into_owned(),
            false => text
                .chars()
                .map(|c| if c.is_ascii() { c } else { '?' })
                .collect(),
        }
    }
}
