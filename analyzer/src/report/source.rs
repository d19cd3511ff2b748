//! Lines of source files, for the excerpts under blamed frames.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Source files larger than this are not read.
const LARGEST_BYTES: u64 = 8 << 20;

/// Reads each file once.
#[derive(Debug, Default)]
pub struct Sources(HashMap<String, Option<Vec<u8>>>);

impl Sources {
    /// Line `line` (from 1) of `file`, trimmed; `None` if there is none, or nothing in it.
    pub fn line(&mut self, file: &str, line: u32) -> Option<String> {
        let content = self.0.entry(file.to_owned()).or_insert_with(|| {
            let path = Path::new(file);
            let metadata = path.metadata().ok().filter(|metadata| {
                path.is_absolute() && metadata.is_file() && metadata.len() <= LARGEST_BYTES
            });
            metadata.and_then(|_| std::fs::read(path).ok())
        });
        let wanted = usize::try_from(line).ok()?.checked_sub(1)?;
        let bytes = content.as_ref()?.split(|byte| *byte == b'\n').nth(wanted)?;
        let text = String::from_utf8_lossy(bytes);
        let text: String = text
            .trim()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        (!text.is_empty()).then_some(text)
    }

    /// The lines of several places.
    pub fn excerpts<'a>(
        &mut self,
        places: impl Iterator<Item = (&'a str, u32)>,
    ) -> BTreeMap<(String, u32), String> {
        places
            .filter_map(|(file, line)| Some(((file.to_owned(), line), self.line(file, line)?)))
            .collect()
    }
}
