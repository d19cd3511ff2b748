//! Tables: columns of fixed widths, of which the lesser ones go when there is no room.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::theme::Theme;
use crate::report::text::page::shorten;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// Columns of the terminal; 0: what is left.
    pub width: usize,
    /// Figures stand at the right.
    pub right: bool,
    /// The table must be at least so wide for it to be there.
    pub from: usize,
}

/// The columns that there is room for, with their places in `all`; `must` is there in any case.
pub fn fitting(all: &[Column], width: usize, must: Option<usize>) -> Vec<(usize, Column)> {
    let mut kept: Vec<(usize, Column)> = all
        .iter()
        .copied()
        .enumerate()
        .filter(|(at, column)| width >= column.from || must == Some(*at))
        .collect();
    let used: usize = kept.iter().map(|(_, column)| column.width + 1).sum();
    for (_, column) in kept.iter_mut().filter(|(_, column)| column.width == 0) {
        column.width = width.saturating_sub(used + 1);
    }
    kept
}

/// The headings.
pub fn headings(columns: &[(usize, Column)], theme: &Theme) -> Line<'static> {
    let words = columns
        .iter()
        .map(|(_, column)| Span::styled(cell(column, column.name, theme.unicode), theme.bold));
    Line::from(words.collect::<Vec<_>>())
}

/// A row: what stands in each of all columns, and how.
pub fn row(
    columns: &[(usize, Column)],
    values: &[(String, Style)],
    theme: &Theme,
) -> Line<'static> {
    let spans = columns.iter().filter_map(|(at, column)| {
        let (text, style) = values.get(*at)?;
        Some(Span::styled(cell(column, text, theme.unicode), *style))
    });
    Line::from(spans.collect::<Vec<_>>())
}

fn cell(column: &Column, text: &str, unicode: bool) -> String {
    let text = shorten(text, column.width, unicode);
    let pad = " ".repeat(column.width.saturating_sub(text.chars().count()));
    match column.right {
        true => format!(" {pad}{text}"),
        false => format!(" {text}{pad}"),
    }
}

/// Text of at most `width` columns, cut at its end.
pub fn fit(text: &str, width: usize, unicode: bool) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let sign = if unicode { "…" } else { "..." };
    let kept = width.saturating_sub(sign.chars().count());
    text.chars()
        .take(kept)
        .chain(sign.chars())
        .take(width)
        .collect()
}

/// A function and its place in `width` columns. Of a long name the end is kept: its outer namespaces
/// go first.
pub fn name_and_place(name: &str, place: &str, width: usize, unicode: bool) -> (String, String) {
    let place = shorten(place, width / 2, unicode).into_owned();
    let gap = if place.is_empty() { 0 } else { 2 };
    let room = width.saturating_sub(place.chars().count() + gap);
    let mut kept = name;
    while kept.chars().count() > room
        && let Some(rest) = without_outermost(kept)
    {
        kept = rest;
    }
    (shorten(kept, room, unicode).into_owned(), place)
}

/// The name without what stands before its first `::` that is in no brackets.
fn without_outermost(name: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, c) in name.char_indices() {
        match c {
            '<' | '(' | '{' | '[' => depth += 1,
            '>' | ')' | '}' | ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => {
                return name
                    .get(at..)?
                    .strip_prefix("::")
                    .filter(|rest| !rest.is_empty());
            }
            _ => {}
        }
    }
    None
}

/// Text in lines of at most `width`, at most `lines` of them.
pub fn wrap(text: &str, width: usize, lines: usize, unicode: bool) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let is_full = line.chars().count() + 1 + word.chars().count() > width;
        if is_full && !line.is_empty() {
            if out.len() + 1 >= lines {
                line.push(' ');
                line.push_str(word);
                continue;
            }
            out.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    out.push(fit(&line, width, unicode));
    out
}

/// The first row to show so that the one at `at` is seen.
pub fn scrolled(offset: usize, at: usize, fitting: usize, count: usize) -> usize {
    let most = count.saturating_sub(fitting);
    let offset = offset.min(at).max((at + 1).saturating_sub(fitting.max(1)));
    offset.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_is_seen() {
        assert_eq!(scrolled(0, 3, 5, 10), 0);
        assert_eq!(scrolled(0, 5, 5, 10), 1);
        assert_eq!(scrolled(4, 3, 5, 10), 3);
        assert_eq!(scrolled(9, 9, 5, 10), 5);
        assert_eq!(scrolled(7, 0, 5, 1), 0);
    }

    #[test]
    fn text_is_wrapped_and_cut() {
        assert_eq!(wrap("one two three", 8, 3, true), ["one two", "three"]);
        assert_eq!(wrap("one two three", 8, 1, true), ["one two…"]);
        assert_eq!(fit("abcdef", 4, false), "a...");
    }

    #[test]
    fn of_long_names_the_end_is_kept() {
        let short = |name, width| name_and_place(name, "a.rs:1", width, true);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            short("app::pool::take", 40),
            pair("app::pool::take", "a.rs:1")
        );
        assert_eq!(short("app::pool::take", 20), pair("pool::take", "a.rs:1"));
        assert_eq!(short("app::pool::take", 12), pair("take", "a.rs:1"));
        assert_eq!(short("<A as b::C>::get", 14), pair("get", "a.rs:1"));
        assert_eq!(
            short("operator new(unsigned long)", 20),
            pair("operat…long)", "a.rs:1")
        );
    }

    #[test]
    fn lesser_columns_go_first() {
        let column = |width, from| Column {
            name: "x",
            width,
            right: false,
            from,
        };
        let all = [column(10, 0), column(10, 50), column(0, 0)];
        let wide = fitting(&all, 60, None);
        assert_eq!(wide.len(), 3);
        assert_eq!(wide[2].1.width, 60 - 11 - 11 - 1 - 1);
        let narrow = fitting(&all, 40, None);
        assert_eq!(narrow.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(fitting(&all, 40, Some(1)).len(), 3);
    }
}
