//! Owns what one run of a program gave: status and output. It never judges them.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Exit status and output of one run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// As wait(2) told it.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Outcome {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Lines on standard error that leaktrack wrote.
    pub fn own_lines(&self) -> Vec<String> {
        self.errors()
            .lines()
            .filter(|line| line.starts_with("leaktrack["))
            .map(str::to_owned)
            .collect()
    }

    /// Fails the test unless the program ended with `code`.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => writeln!(f, "exit status {code}")?,
            (_, Some(signal)) => writeln!(f, "ended by signal {signal}")?,
            _ => writeln!(f, "{:?}", self.status)?,
        }
        writeln!(f, "--- stdout\n{}", clip(&self.text()))?;
        write!(f, "--- stderr\n{}", clip(&self.errors()))
    }
}

fn clip(text: &str) -> String {
    const LIMIT: usize = 4000;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
