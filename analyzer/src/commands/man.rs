//! `man`: manual pages, made from the command line's own help.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::Cli;

/// Where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for all pages (leaktrack.1, leaktrack-run.1, …); without it the main page is printed
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// What the main page says beyond the help: variables, and how to go on.
const ENVIRONMENT: &str = r".SH ENVIRONMENT
.TP
\fBLEAKTRACK\fR=\fIkey\fR=\fIvalue\fR,...
options of the library, as \fBleaktrack run\fR takes them as flags; \\, stands for a comma
.TP
\fBLEAKTRACK_OUTPUT\fR, \fBLEAKTRACK_INTERVAL\fR, ...
one option each; \fBLEAKTRACK\fR wins
.TP
\fBLEAKTRACK_LIB_DIR\fR
folder into which the library is unpacked
.TP
\fBDEBUGINFOD_URLS\fR
servers that are asked for symbols
.TP
\fBNO_COLOR\fR, \fBCOLUMNS\fR, \fBTERM\fR
no colours, the width of text, what the terminal can do
";

/// Prints one page or writes them all.
pub fn execute(args: &Args) -> anyhow::Result<ExitCode> {
    // `help COMMAND` needs no page of its own for each command.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = &args.dir else {
        let page = page(&command, "leaktrack")?;
        std::io::stdout().write_all(page.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let write = |name: &str, page: String| {
        let path = dir.join(format!("{name}.1"));
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
    };
    write("leaktrack", page(&command, "leaktrack")?)?;
    for subcommand in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        let name = format!("leaktrack-{}", subcommand.get_name());
        write(&name, page(subcommand, &name)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A page: what the help has, and what a page has besides.
fn page(command: &clap::Command, name: &str) -> anyhow::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    let page = String::from_utf8(page).context("the page is not text")?;
    let mut page = page.replace(".SH EXTRA\n", ".SH NOTES\n");
    let see = match name {
        "leaktrack" => {
            page.push_str(ENVIRONMENT);
            "ld.so(8), malloc(3)"
        }
        _ => "leaktrack(1)",
    };
    page.push_str(&format!(".SH \"SEE ALSO\"\n{see}\n"));
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_named_and_complete() {
        let folder = tempfile::tempdir().unwrap();
        let args = Args {
            dir: Some(folder.path().to_owned()),
        };
        execute(&args).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let main = read("leaktrack.1");
        assert!(main.contains("DEBUGINFOD_URLS") && main.contains("leaktrack\\-top(1)"));
        let top = read("leaktrack-top.1");
        assert!(top.contains("leaktrack\\-top \\- Watch"), "{top}");
        for option in ["interval", "sort", "plain", "sysroot"] {
            assert!(top.contains(&format!("\\-\\-{option}")), "{option}");
        }
        assert!(!folder.path().join("leaktrack-demo-server.1").exists());
        assert!(!folder.path().join("leaktrack-help.1").exists());
    }
}
