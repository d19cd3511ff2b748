//! Reads what V8 says of its garbage collections: the lines of `node --trace-gc`, or the file of
//! `node --trace-event-categories v8`. Lines that are no collections are passed over.

mod trace_events;
mod trace_gc;

use std::path::Path;

/// Where the time of a collection counts from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Seconds since the process began.
    SinceStart(f64),
    /// Seconds of `CLOCK_MONOTONIC`.
    Monotonic(f64),
}

/// One collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// Process id in its own namespace.
    pub pid: u32,
    /// When it ended.
    pub when: When,
    /// Of the whole heap, not only of young objects.
    pub major: bool,
    /// What V8 calls it.
    pub name: String,
    /// Bytes of objects before.
    pub before_bytes: u64,
    /// Bytes of objects that are left.
    pub after_bytes: u64,
    /// How long JavaScript stood still, milliseconds.
    pub pause_ms: f64,
    /// Why, in V8's words; empty if it does not say.
    pub reason: String,
}

/// Why a log cannot be used: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum GcLogError {
    /// The operating system refused.
    #[error("cannot read the log of garbage collections {0}: {1}")]
    Io(String, std::io::Error),
    /// Nothing in it is a collection.
    #[error(
        "{0}: no garbage collection in it; allowed are the output of `node --trace-gc` and the file of `node --trace-event-categories v8`"
    )]
    Nothing(String),
}

/// The collections in a file, in its order.
pub fn read(path: &Path) -> Result<Vec<Collection>, GcLogError> {
    let shown = || path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| GcLogError::Io(shown(), error))?;
    let found = parse(&bytes);
    if found.is_empty() {
        return Err(GcLogError::Nothing(shown()));
    }
    Ok(found)
}

fn parse(bytes: &[u8]) -> Vec<Collection> {
    let text = String::from_utf8_lossy(bytes);
    if text.trim_start().starts_with('{') {
        trace_events::parse(&text)
    } else {
        text.lines().filter_map(trace_gc::parse).collect()
    }
}
