//! `bundle`: a recording with its symbols inside, to be read on any machine.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueHint;
use leaktrack_recording::Recording;

use crate::bundle::{self, Redaction};
use crate::commands::files::not_to_a_terminal;
use crate::commands::symbol_args::SymbolArgs;
use crate::model::{Ended, LoadOptions};
use crate::symbolize::Symbolizer;
use crate::{human, library, read, say};

/// Of which recording, and what to leave out.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recording of one process
    #[arg(value_name = "REC", value_hint = ValueHint::FilePath)]
    recording: PathBuf,
    /// Write to FILE, or to stdout if it is -, instead of putting the symbols into REC
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Take out the arguments, the host's name, the folders of all paths
    #[arg(long, value_name = "argv,host,paths", default_value = "", hide_default_value = true, value_parser = redaction)]
    redact: Redaction,
    /// Where symbols come from
    #[command(flatten)]
    symbols: SymbolArgs,
}

fn redaction(text: &str) -> Result<Redaction, String> {
    if text.is_empty() {
        Ok(Redaction::default())
    } else {
        text.parse()
    }
}

/// Reads, names, writes.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    let path = &args.recording;
    if args
        .output
        .as_ref()
        .is_some_and(|output| output.as_os_str() == "-")
    {
        not_to_a_terminal("a recording")?;
    }
    let process = read::process(path, &LoadOptions::default())?;
    if args.output.is_none() && process.ended == Ended::Running {
        bail!(
            "{}: its process is still writing to it; name another file with -o FILE",
            path.display()
        );
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let recording = Recording::open(&bytes).with_context(|| path.display().to_string())?;
    let mut symbolizer = Symbolizer::new(args.symbols.options());
    symbolizer.add_bundled(process.symbols.clone());
    let symbols = bundle::symbols(&process, &mut symbolizer);
    let content = bundle::assemble(&recording, &symbols, args.redact)
        .with_context(|| path.display().to_string())?;

    for note in symbolizer.notes() {
        say!("{note}");
    }
    let (named, all) = symbols.counts();
    let to = match &args.output {
        Some(output) if output.as_os_str() == "-" => {
            io::stdout().lock().write_all(&content)?;
            "stdout".to_owned()
        }
        Some(output) => written(output, &content, mode(path)?)?,
        None => written(&path.canonicalize()?, &content, mode(path)?)?,
    };
    say!(
        "{named} of {all} addresses have a name; {} written to {to}",
        human::bytes(content.len() as u64)
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that appears whole; what to call it.
fn written(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<String> {
    library::write_atomically(path, content, mode)?;
    Ok(path.display().to_string())
}

/// Permissions of the recording, which its bundle gets too.
fn mode(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}
