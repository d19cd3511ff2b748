//! A stack, one frame per line: the blamed one marked, plumbing dimmed, the middle shortened.

use super::page::{Page, Style, shorten, shorten_path};
use crate::model::Frame;
use crate::model::identity::file_name;

/// Longer stacks are shortened.
const LONGEST: usize = 18;
/// Frames kept at the outer end of a shortened stack.
const OUTER: usize = 3;
/// A longer run of plumbing is told by its length.
const PLUMBING_RUN: usize = 3;

/// Writes the frames; `plumbing` says which are.
pub fn write(frames: &[Frame], blamed: Option<usize>, plumbing: &[bool], page: &mut Page) {
    let is_plumbing =
        |index: usize| plumbing.get(index).copied().unwrap_or(false) && Some(index) != blamed;
    let last = frames.len();
    let keep_inner = LONGEST
        .saturating_sub(OUTER + 1)
        .max(blamed.map_or(0, |at| at + 4));
    let mut index = 0;
    while index < last {
        let run = (index..last).take_while(|at| is_plumbing(*at)).count();
        if run > PLUMBING_RUN {
            page.line(
                Style::Dim,
                &format!(
                    "       {} {run} frames of libraries and runtime",
                    dots(page)
                ),
            );
            index += run;
            continue;
        }
        if last > LONGEST && index >= keep_inner && index < last - OUTER && Some(index) != blamed {
            page.line(
                Style::Dim,
                &format!("       {} {} more frames", dots(page), last - OUTER - index),
            );
            index = last - OUTER;
            continue;
        }
        if let Some(one) = frames.get(index) {
            frame(one, Some(index) == blamed, is_plumbing(index), page);
        }
        index += 1;
    }
}

fn dots(page: &Page) -> &'static str {
    if page.unicode() { "…" } else { "..." }
}

fn frame(frame: &Frame, blamed: bool, plumbing: bool, page: &mut Page) {
    let style = if plumbing { Style::Dim } else { Style::Plain };
    let mark = if blamed { "     > " } else { "       " };
    let (name, place) = name_and_place(frame, page);
    let inlined = if frame.inlined { " (inlined)" } else { "" };
    let place_style = if plumbing { Style::Dim } else { Style::Place };
    page.pieces(&[
        (if blamed { Style::Bold } else { style }, mark),
        (if blamed { Style::Bold } else { style }, &name),
        (Style::Dim, inlined),
        (Style::Plain, "  "),
        (place_style, &place),
    ]);
}

/// The function and where it is, cut so that both fit in a line.
pub fn name_and_place(frame: &Frame, page: &Page) -> (String, String) {
    let room = page
        .width()
        .map_or(usize::MAX, |width| width.saturating_sub(10).max(24));
    let unicode = page.unicode();
    let place = place(frame);
    let Some(name) = frame.function.as_deref() else {
        return (shorten(&place, room, unicode).into_owned(), String::new());
    };
    let (name_length, place_length) = (name.chars().count(), place.chars().count());
    if name_length.saturating_add(place_length) <= room {
        return (shorten(name, usize::MAX, unicode).into_owned(), place);
    }
    let for_place = place_length.min(room / 2);
    let for_name = name_length.min(room - for_place);
    (
        shorten(name, for_name, unicode).into_owned(),
        shorten_path(
            &place,
            room.saturating_sub(for_name).max(for_place),
            unicode,
        )
        .into_owned(),
    )
}

/// `file:line`, else the module, else the address.
pub fn place(frame: &Frame) -> String {
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (Some(file), None) => file.clone(),
        _ if frame.module.is_empty() => format!("[jit] {:#x}", frame.offset),
        _ if frame.function.is_some() => file_name(&frame.module).to_owned(),
        _ => format!("{}+{:#x}", file_name(&frame.module), frame.offset),
    }
}
