//! Finds out what can and cannot be measured here, and what to do about it.

mod limits;
mod locked;
mod machine;
mod process;
mod program;

use std::fmt;

pub use machine::machine;
pub use process::process;
pub use program::program;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// Something is measured less well, or worth knowing.
    Note,
    /// Tracking cannot work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub text: String,
    /// What can be done; empty if nothing needs to be.
    pub remedy: String,
}

impl Finding {
    fn good(subject: &'static str, text: impl Into<String>) -> Self {
        Self {
            level: Level::Good,
            subject,
            text: text.into(),
            remedy: String::new(),
        }
    }

    fn note(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Note,
            subject,
            text: text.into(),
            remedy: remedy.into(),
        }
    }

    fn bad(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Bad,
            subject,
            text: text.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.level {
            Level::Good => "ok  ",
            Level::Note => "note",
            Level::Bad => "BAD ",
        };
        write!(
            f,
            "{mark}  {:<14}  {}",
            self.subject,
            crate::host::printable(&self.text)
        )?;
        if !self.remedy.is_empty() {
            write!(f, "\n{:22}to do: {}", "", self.remedy)?;
        }
        Ok(())
    }
}
