//! A frame as people read it: one line of source, or as much as is known of it.

use serde::{Deserialize, Serialize};

/// One frame of a stack. A machine frame with inlined functions becomes several of these,
/// innermost first; they share `module`, `build_id` and `offset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// Demangled name; `None` without symbols.
    pub function: Option<String>,
    /// Source file, after `--path-map`.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Path of the module as recorded; empty for code outside every module (JIT).
    #[serde(with = "empty_as_null")]
    pub module: String,
    /// GNU build-id of the recorded module in lower-case hex; empty when it has none.
    #[serde(with = "empty_as_null")]
    pub build_id: String,
    /// Address in the module's file (an address in the process when `module` is empty). For a
    /// return address it lies inside the call instruction: `addr2line -e MODULE OFFSET` agrees.
    pub offset: u64,
    /// True: this function was inlined into the next frame.
    pub inlined: bool,
}

/// In the report unknown is `null`.
mod empty_as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        (!text.is_empty()).then_some(text).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or_default())
    }
}
