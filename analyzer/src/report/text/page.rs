//! The paper: widths, wrapping, colours. Recorded text never reaches the terminal uncleaned.

use std::borrow::Cow;

use super::super::Look;

/// Prose is set no wider than this.
const PROSE: usize = 96;
/// Names longer than this are cut in the middle, also in pipes: JSON has them whole.
const LONGEST: usize = 200;

/// How a piece of text looks on a terminal with colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// The answer, headings.
    Bold,
    /// Findings.
    Alarm,
    /// Unclear.
    Caution,
    /// Healthy, retained.
    Calm,
    /// Source places.
    Place,
    /// Plumbing, ids.
    Dim,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Alarm => "1;31",
            Self::Caution => "33",
            Self::Calm => "32",
            Self::Place => "36",
            Self::Dim => "2",
        }
    }
}

/// Text in the making.
#[derive(Debug)]
pub struct Page {
    look: Look,
    text: String,
}

impl Page {
    /// An empty page.
    pub fn new(look: Look) -> Self {
        Self {
            look,
            text: String::new(),
        }
    }

    /// Everything, without blank lines at the end.
    pub fn finish(self) -> String {
        format!("{}\n", self.text.trim_end())
    }

    /// True if signs beyond ASCII may be used.
    pub fn unicode(&self) -> bool {
        self.look.unicode
    }

    /// Columns there are; `None` in pipes and files.
    pub fn width(&self) -> Option<usize> {
        self.look.width
    }

    /// A blank line, but never two.
    pub fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A heading with a blank line around it.
    pub fn heading(&mut self, words: &str) {
        self.blank();
        self.line(Style::Bold, words);
        self.blank();
    }

    /// A line of one style, cut to the width.
    pub fn line(&mut self, style: Style, words: &str) {
        self.pieces(&[(style, words)]);
    }

    /// A line of several styles; on a terminal what does not fit is cut.
    pub fn pieces(&mut self, pieces: &[(Style, &str)]) {
        let mut left = self.look.width.unwrap_or(usize::MAX);
        for (style, words) in pieces {
            let cleaned = clean(words);
            let length = cleaned.chars().count();
            let fitting = if length > left {
                fit(&cleaned, left, self.look.unicode)
            } else {
                cleaned
            };
            left = left.saturating_sub(length);
            self.paint(*style, &fitting);
            if left == 0 {
                break;
            }
        }
        let kept = self.text.trim_end_matches(' ').len();
        self.text.truncate(kept);
        self.text.push('\n');
    }

    /// A command to be copied: a line of its own however long it is, neither wrapped nor cut.
    pub fn command(&mut self, words: &str) {
        self.text.push_str("  ");
        self.paint(Style::Bold, &clean(words));
        self.text.push('\n');
    }

    /// Prose, wrapped, after `label` in the first line and as much space in the others.
    pub fn prose(&mut self, label: &str, style: Style, words: &str) {
        let width = self
            .look
            .width
            .unwrap_or(PROSE)
            .min(PROSE)
            .max(label.chars().count() + 20);
        let indent = " ".repeat(label.chars().count());
        let words = clean(words);
        let mut line = String::new();
        let mut first = true;
        let mut flush = |page: &mut Self, line: &mut String| {
            let head = if std::mem::take(&mut first) {
                label
            } else {
                indent.as_str()
            };
            page.paint(
                if style == Style::Plain {
                    Style::Plain
                } else {
                    style
                },
                head,
            );
            page.paint(style, line);
            page.text.push('\n');
            line.clear();
        };
        for word in glued(&words) {
            if !line.is_empty()
                && indent.len() + line.chars().count() + 1 + word.chars().count() > width
            {
                flush(self, &mut line);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        flush(self, &mut line);
    }

    fn paint(&mut self, style: Style, words: &str) {
        if self.look.colour && style != Style::Plain && !words.trim().is_empty() {
            self.text.push_str("\x1b[");
            self.text.push_str(style.code());
            self.text.push('m');
            self.text.push_str(words);
            self.text.push_str("\x1b[0m");
        } else {
            self.text.push_str(words);
        }
    }
}

/// Words, numbers together with their units.
fn glued(text: &str) -> Vec<String> {
    const UNITS: [&str; 12] = [
        "B", "KiB", "MiB", "GiB", "TiB", "ms", "s", "min", "h", "d", "B/s", "KiB/s",
    ];
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let is_unit = UNITS.contains(&word.trim_end_matches([',', '.', ';', ':', ')']));
        match words.last_mut() {
            Some(last) if is_unit && last.ends_with(|c: char| c.is_ascii_digit()) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

/// Without control characters: a recorded name must not steer the terminal.
pub fn clean(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(harmful) {
        Cow::Owned(
            text.chars()
                .map(|c| if harmful(c) { '?' } else { c })
                .collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

/// Cuts the end off.
fn fit(text: &str, width: usize, unicode: bool) -> Cow<'_, str> {
    let sign = if unicode { "…" } else { "..." };
    let keep = width.saturating_sub(sign.chars().count());
    Cow::Owned(
        text.chars()
            .take(keep)
            .chain(sign.chars())
            .take(width)
            .collect(),
    )
}

/// Cuts the middle out of a name that is longer than `width`.
pub fn shorten(name: &str, width: usize, unicode: bool) -> Cow<'_, str> {
    let width = width.min(LONGEST);
    let length = name.chars().count();
    if length <= width {
        return Cow::Borrowed(name);
    }
    let sign = if unicode { "…" } else { "..." };
    let keep = width.saturating_sub(sign.chars().count());
    let head = keep - keep / 2;
    let tail = name.chars().skip(length - keep / 2);
    Cow::Owned(
        name.chars()
            .take(head)
            .chain(sign.chars())
            .chain(tail)
            .collect(),
    )
}

/// Cuts the start off a path that is longer than `width`.
pub fn shorten_path(path: &str, width: usize, unicode: bool) -> Cow<'_, str> {
    let length = path.chars().count();
    if length <= width {
        return Cow::Borrowed(path);
    }
    let sign = if unicode { "…" } else { "..." };
    let keep = width.saturating_sub(sign.chars().count());
    let tail: String = path.chars().skip(length - keep).collect();
    // From a slash on, if one is near: half a folder's name helps nobody.
    let tail = tail
        .find('/')
        .filter(|at| *at * 2 < tail.len())
        .and_then(|at| tail.get(at..))
        .unwrap_or(&tail)
        .to_owned();
    Cow::Owned(format!("{sign}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: Option<usize>) -> Page {
        Page::new(Look {
            colour: false,
            width,
            unicode: false,
        })
    }

    #[test]
    fn prose_wraps_under_its_label() {
        let mut page = page(Some(30));
        page.prose("  Why: ", Style::Plain, "one two three four five six seven");
        assert_eq!(
            page.finish(),
            "  Why: one two three four five\n       six seven\n"
        );
    }

    #[test]
    fn terminal_lines_are_cut_and_pipes_are_not() {
        let mut narrow = page(Some(10));
        narrow.pieces(&[(Style::Plain, "123456"), (Style::Dim, "789012345")]);
        assert_eq!(narrow.finish(), "1234567...\n");
        let mut wide = page(None);
        wide.line(Style::Plain, &"x".repeat(300));
        assert_eq!(wide.finish().len(), 301);
    }

    #[test]
    fn commands_are_neither_wrapped_nor_cut() {
        let mut page = page(Some(10));
        let long = format!("report {}  a.ltk", "x".repeat(300));
        page.command(&long);
        assert_eq!(page.finish(), format!("  {long}\n"));
    }

    #[test]
    fn recorded_text_cannot_steer_the_terminal() {
        let mut page = page(None);
        page.line(Style::Plain, "a\x1b[2Jb\rc\u{202e}d");
        assert_eq!(page.finish(), "a?[2Jb?c?d\n");
    }

    #[test]
    fn shortening() {
        assert_eq!(shorten("abcdefghij", 7, false), "ab...ij");
        assert_eq!(
            shorten_path("/home/me/project/src/main.rs", 16, false),
            ".../src/main.rs"
        );
        assert_eq!(shorten_path("short", 16, false), "short");
        for width in 0..12 {
            assert!(shorten("abcdefghij", width, true).chars().count() <= width.max(1));
            shorten_path("/a/b/c/d/e/f", width, false);
        }
    }
}
