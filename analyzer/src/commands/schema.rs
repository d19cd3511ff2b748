//! `schema`: the JSON Schema of the report.

use std::io::{self, Write};
use std::process::ExitCode;

/// Prints it.
pub fn execute() -> anyhow::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, &crate::schema::report()).map_err(io::Error::from)?;
    writeln!(stdout)?;
    Ok(ExitCode::SUCCESS)
}
