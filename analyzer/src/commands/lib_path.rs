//! `lib-path`: where the library is on this machine.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use crate::library;

/// Prints the path, for `LD_PRELOAD=$(leaktrack lib-path)`.
pub fn execute() -> anyhow::Result<ExitCode> {
    let path = library::path()?;
    let mut out = std::io::stdout();
    out.write_all(path.as_os_str().as_bytes())?;
    out.write_all(b"\n")?;
    Ok(ExitCode::SUCCESS)
}
