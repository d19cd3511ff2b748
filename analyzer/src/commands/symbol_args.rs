//! The flags that say where symbols come from, shared by all commands that read recordings.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};

use crate::symbolize::{SymbolOptions, debuginfod};

/// Where symbols may come from and how source paths are shown.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Symbols")]
pub struct SymbolArgs {
    /// Folder that stands for / of the recorded host
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath, value_parser = existing(folder))]
    sysroot: Option<PathBuf>,
    /// File or folder with executables, libraries or debug files; repeatable
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::AnyPath, value_parser = existing(file_or_folder))]
    symbols: Vec<PathBuf>,
    /// Show source paths that begin with FROM as if they began with TO; repeatable, the last fits first
    #[arg(long, value_name = "FROM=TO", value_parser = path_mapping)]
    path_map: Vec<(String, String)>,
    /// Do not ask the debuginfod servers of $DEBUGINFOD_URLS
    #[arg(long)]
    no_debuginfod: bool,
    /// Functions only, no files and lines
    #[arg(long)]
    no_source: bool,
}

impl SymbolArgs {
    /// As the symbolizer takes them.
    pub fn options(&self) -> SymbolOptions {
        SymbolOptions {
            sysroot: self.sysroot.clone(),
            symbols: self.symbols.clone(),
            path_map: self.path_map.clone(),
            debuginfod: (!self.no_debuginfod)
                .then(debuginfod::Config::from_env)
                .flatten(),
            no_source: self.no_source,
        }
    }
}

/// Takes paths that `check` finds nothing wrong with: without them names would only be missing.
fn existing(check: fn(&Path) -> io::Result<()>) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path: PathBuf| match check(&path) {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("there is no such file or folder".to_owned())
        }
        Err(error) => Err(error.to_string()),
    })
}

fn folder(path: &Path) -> io::Result<()> {
    match path.metadata()?.is_dir() {
        true => path.read_dir().map(drop),
        false => Err(io::Error::other("it is not a folder")),
    }
}

fn file_or_folder(path: &Path) -> io::Result<()> {
    let found = path.metadata()?;
    match found.is_dir() {
        true => folder(path),
        false if found.is_file() => File::open(path).map(drop),
        false => Err(io::Error::other("it is neither a file nor a folder")),
    }
}

fn path_mapping(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err("allowed is FROM=TO, such as /build/src=/home/me/src".to_owned()),
    }
}
