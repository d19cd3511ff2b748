//! Owns telling on stderr how far something is that takes long, where that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// It is shown so often, and not for what takes no longer.
pub const SHOW: Duration = Duration::from_millis(300);

/// One line on the terminal that is written over and over, and erased at the end.
pub struct Progress {
    began: Instant,
    last: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    /// Of what began then.
    pub fn since(began: Instant) -> Self {
        Self {
            began,
            last: None,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Shows the words, if it is time for them.
    pub fn show(&mut self, words: impl FnOnce() -> String) {
        let last = self.last.unwrap_or(self.began);
        if !self.is_terminal || last.elapsed() < SHOW {
            return;
        }
        self.last = Some(Instant::now());
        let text = format!("\r\x1b[K{}", words());
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
