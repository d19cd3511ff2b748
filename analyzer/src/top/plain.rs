//! For pipes, files and terminals that cannot be drawn on: one block of text after the other.

use std::io::{self, IsTerminal, Write, stdout};
use std::process::ExitCode;
use std::time::Instant;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::draw::{self, Look};
use super::load::Loader;
use super::state::{Page, State};
use super::view::Condition;
use super::{Options, View};

/// Call sites of a block.
const SITES: u16 = 20;
/// Lines of a block besides these.
const OTHER_LINES: u16 = 14;
/// Columns where the terminal does not tell.
const COLUMNS: u16 = 120;

/// Writes blocks until the last process has ended, or as many as were asked for.
pub fn run(mut loader: Loader, options: Options, mut state: State) -> anyhow::Result<ExitCode> {
    let look = Look {
        colour: false,
        unicode: options.unicode,
        keys: false,
    };
    let mut written = 0;
    loop {
        let begun = Instant::now();
        let views = loader.load();
        // Recordings of the past stay as they are: told once.
        let is_over = !loader.is_everything() && !views.iter().any(is_going_on);
        state.loaded(views);
        let block = block(&mut state, look)?;
        let mut out = stdout().lock();
        if written > 0 {
            writeln!(out)?;
        }
        out.write_all(block.as_bytes())?;
        out.flush()?;
        drop(out);
        written += 1;
        if is_over || (options.count > 0 && written >= options.count) {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(options.interval.saturating_sub(begun.elapsed()));
    }
}

fn is_going_on(view: &View) -> bool {
    view.condition == Condition::Recording
}

/// The state as text.
pub fn block(state: &mut State, look: Look) -> io::Result<String> {
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|text| text.parse().ok());
    // In a pipe it would answer with the size of some other terminal.
    let of_terminal = || {
        let size = ratatui::crossterm::terminal::size().ok();
        size.filter(|_| stdout().is_terminal()).map(|size| size.0)
    };
    let columns = columns
        .or_else(of_terminal)
        .filter(|columns| *columns > 0)
        .unwrap_or(COLUMNS)
        .clamp(40, 400);
    let rows = match state.page {
        Page::Processes => state.views.as_ref().map_or(0, Vec::len),
        _ => state.rows().len().min(usize::from(SITES)),
    };
    let lines = u16::try_from(rows)
        .unwrap_or(u16::MAX)
        .saturating_add(OTHER_LINES);
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, lines.max(18 + 1)));
    let Ok(_) = terminal.draw(|frame| draw::draw(frame, state, look));
    Ok(as_text(terminal.backend().buffer()))
}

/// The characters of a buffer, without blanks at the ends.
pub fn as_text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let lines = buffer.content.chunks(width).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
