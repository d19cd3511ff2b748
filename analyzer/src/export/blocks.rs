//! A row per single live block of the list. Unknown is an empty cell.

use std::io::{self, Write};

use ::csv::Writer;

use super::csv::{known, words};
use crate::report::Report;

const COLUMNS: &[&str] = &[
    "process",
    "pid",
    "at_s",
    "address",
    "bytes",
    "resident_bytes",
    "age_s",
    "site",
    "function",
    "file",
    "line",
    "lost",
];

/// Writes a heading and the rows.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = Writer::from_writer(out);
    writer.write_record(COLUMNS).map_err(io::Error::other)?;
    for blocks in &report.blocks {
        let process = report.processes.get(blocks.process);
        for block in &blocks.list {
            let row = [
                blocks.process.to_string(),
                known(process.map(|process| process.pid)),
                blocks.at_s.to_string(),
                block.address.clone(),
                block.bytes.to_string(),
                block.resident_bytes.to_string(),
                block.age_s.to_string(),
                words(block.site.as_deref()),
                words(block.function.as_deref()),
                words(block.file.as_deref()),
                known(block.line),
                known(block.lost),
            ];
            writer.write_record(&row).map_err(io::Error::other)?;
        }
    }
    writer.flush()
}
