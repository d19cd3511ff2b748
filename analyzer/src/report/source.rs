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
        let text = self.around(file, line, 0)?.pop()?.1;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Up to `reach` lines before and after `line`, and the line itself, numbered and as indented
    /// as they are; `None` if there is no such line.
    pub fn around(&mut self, file: &str, line: u32, reach: u32) -> Option<Vec<(u32, String)>> {
        let content = self.0.entry(file.to_owned()).or_insert_with(|| {
            let path = Path::new(file);
            let metadata = path.metadata().ok().filter(|metadata| {
                path.is_absolute() && metadata.is_file() && metadata.len() <= LARGEST_BYTES
            });
            metadata.and_then(|_| std::fs::read(path).ok())
        });
        let first = line.checked_sub(1)?.saturating_sub(reach);
        let lines = content.as_ref()?.split(|byte| *byte == b'\n');
        let near: Vec<(u32, String)> = (first + 1..=line.saturating_add(reach))
            .zip(lines.skip(first as usize))
            .map(|(number, bytes)| {
                let text = String::from_utf8_lossy(bytes).replace('\t', "    ");
                let shown = text.trim_end().chars();
                let cleaned = shown.map(|c| if c.is_control() { ' ' } else { c });
                (number, cleaned.collect())
            })
            .collect();
        near.iter()
            .any(|(number, _)| *number == line)
            .then_some(near)
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
