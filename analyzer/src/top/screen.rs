//! The terminal: taken, drawn on, given back. Whatever ends the command, the terminal is as it was.

use std::io::{self, Stdout, Write, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

/// True while the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
static ON_PANIC: Once = Once::new();

/// The terminal while it is ours.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    pub fn enter() -> io::Result<Self> {
        // A panic does not unwind in a release: the hook is the last that runs.
        ON_PANIC.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        take()?;
        let terminal = fresh().inspect_err(|_| give_back())?;
        Ok(Self { terminal })
    }

    /// Draws; the size is asked for each time.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        Ok(())
    }

    /// Forgets what is on it: the next drawing is whole.
    pub fn clear(&mut self) -> io::Result<()> {
        self.terminal = fresh()?;
        Ok(())
    }

    /// Gives the terminal back, stops this process as a shell expects of Ctrl-Z, and takes the
    /// terminal again when it is continued.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // SAFETY: no memory is touched. SIGTSTP is blocked here; SIGSTOP cannot be.
        unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
        take()?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// An empty screen, and nothing known of what is on it. `Terminal::clear` would ask the terminal for
/// its cursor, which not every terminal answers, and whose answer the thread that reads keys would get.
fn fresh() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    execute!(stdout(), Clear(ClearType::All))?;
    Terminal::new(CrosstermBackend::new(stdout()))
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::Relaxed);
    execute!(stdout(), EnterAlternateScreen, Hide).inspect_err(|_| give_back())
}

/// Also called where nothing can be done about a terminal that is gone.
fn give_back() {
    if TAKEN.swap(false, Ordering::Relaxed) {
        let _ = execute!(stdout(), Show, LeaveAlternateScreen);
        let _ = stdout().flush();
        let _ = disable_raw_mode();
    }
}
