//! `install`: this executable and the library, side by side in a folder.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::library;

/// Where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder to copy into; made if it is missing
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

/// Copies both; each file appears whole or not at all.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let own = std::env::current_exe().context("cannot find this executable")?;
    let bytes = fs::read(&own).with_context(|| format!("cannot read {}", own.display()))?;
    fs::create_dir_all(&args.dir)
        .with_context(|| format!("cannot create {}", args.dir.display()))?;
    let library = library::install_into(&args.dir)?;
    let executable = args.dir.join("leaktrack");
    library::write_atomically(&executable, &bytes, 0o755)?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", executable.display())?;
    writeln!(out, "{}", library.display())?;
    Ok(ExitCode::SUCCESS)
}
