//! What this host can tell: its processes, and who of them is tracked.

pub mod control;
mod interrupt;
pub mod maps;
pub mod process;
pub mod tracked;

pub use process::ProcessFiles;
pub use tracked::{State, Tracked};

/// Foreign text for a terminal: control characters become `?`.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
