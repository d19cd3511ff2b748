//! Finds out what a command line would really execute, and whether the library can be preloaded
//! into it. Reads files only; starts nothing.

mod elf;
mod privileges;
pub mod sanitizer;
mod script;

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use elf::{ElfFacts, Linkage};

/// Interpreters that may follow each other, as in the kernel.
const MAX_SCRIPTS: usize = 5;

/// A program that can be started and tracked.
#[derive(Debug)]
pub struct Target {
    /// What is given to `execve`.
    pub path: PathBuf,
    /// The ELF file that runs in the end: `path`, or the interpreter of a script.
    pub program: PathBuf,
    /// What is known of `program`.
    pub facts: ElfFacts,
}

/// Why a command cannot be started, or not be tracked.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Nothing by that name.
    #[error("cannot run {0:?}: no such file{1}")]
    NotFound(OsString, &'static str),
    /// It is there but may not or cannot be executed.
    #[error("cannot run {0}: {1}")]
    NotExecutable(PathBuf, String),
    /// It could run, but not with the library in it.
    #[error("cannot track {path}: {why}; {remedy}")]
    Untrackable {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What can be done.
        remedy: &'static str,
    },
}

impl Refusal {
    /// Exit status as env(1) and timeout(1) have it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Refusal::NotFound(..) => 127,
            Refusal::NotExecutable(..) => 126,
            Refusal::Untrackable { .. } => 125,
        }
    }
}

/// Looks `command` up as execvp(3) does and follows `#!` lines to the program behind it.
pub fn inspect(command: &OsStr) -> Result<Target, Refusal> {
    let path = find(command)?;
    let mut program = path.clone();
    for _ in 0..=MAX_SCRIPTS {
        match script::interpreter(&program)? {
            Some(next) => program = next,
            None => {
                let facts = ElfFacts::read(&program).map_err(|error| {
                    Refusal::NotExecutable(program.clone(), format!("{error:#}"))
                })?;
                return Ok(Target {
                    path,
                    program,
                    facts,
                });
            }
        }
    }
    Err(Refusal::NotExecutable(
        path,
        format!("more than {MAX_SCRIPTS} scripts follow each other"),
    ))
}

impl Target {
    /// Fails if the library could not be loaded, or would not be.
    pub fn require_trackable(&self) -> Result<(), Refusal> {
        let asan_options = std::env::var("ASAN_OPTIONS").ok();
        let found = linkage_problem(&self.facts)
            .or_else(|| sanitizer::problem(&self.facts, asan_options.as_deref()))
            .or_else(|| privileges::problem(&self.program));
        match found {
            None => Ok(()),
            Some((why, remedy)) => {
                let mut why = why;
                if self.program != self.path {
                    why = format!("{why} (it is the interpreter of {})", self.path.display());
                }
                Err(Refusal::Untrackable {
                    path: self.program.clone(),
                    why,
                    remedy,
                })
            }
        }
    }

    /// What limits tracking without preventing it: one line each.
    pub fn warnings(&self) -> Vec<String> {
        let name = self.program.display();
        let mut warnings = Vec::new();
        if let Some(warning) = sanitizer::warning(&self.facts) {
            warnings.push(format!("{name} {warning}"));
        } else if self.facts.defines_malloc {
            warnings.push(format!(
                "{name} defines malloc itself: its own allocations cannot be seen by a preloaded library; \
                 link it against the system's malloc to track them"
            ));
        }
        if let Some(allocator) = self.facts.own_allocator {
            warnings.push(format!(
                "{name} contains {allocator}: only what goes through the C library's malloc is seen; \
                 build it without {allocator} to track the rest"
            ));
        }
        if self.facts.is_go {
            warnings.push(format!(
                "{name} is a Go program: only the allocations of its C code are seen"
            ));
        }
        warnings
    }
}

fn linkage_problem(facts: &ElfFacts) -> Option<(String, &'static str)> {
    match &facts.linkage {
        Linkage::Foreign(what) => Some((
            format!(
                "it is {what}, and this leaktrack is for 64-bit {}",
                std::env::consts::ARCH
            ),
            "use a leaktrack built for that architecture",
        )),
        Linkage::Static => Some((
            "it is statically linked, so that no library can be preloaded into it".to_owned(),
            "link it dynamically",
        )),
        Linkage::Musl(loader) => Some((
            format!("it uses musl ({loader}), and the library is for glibc"),
            "build it for glibc",
        )),
        Linkage::Missing(loader) => Some((
            format!("its loader {loader} is not on this machine"),
            "install the C library that it was built for",
        )),
        Linkage::Dynamic(_) => None,
    }
}

/// Resolves a command through `PATH`.
pub fn find(command: &OsStr) -> Result<PathBuf, Refusal> {
    if command.is_empty() {
        return Err(Refusal::NotFound(command.to_owned(), ""));
    }
    if command.as_bytes().contains(&b'/') {
        let path = PathBuf::from(command);
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(Access::Missing) => Err(Refusal::NotFound(command.to_owned(), "")),
            Err(Access::Refused(why)) => Err(Refusal::NotExecutable(path, why)),
        };
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut refused = None;
    for folder in std::env::split_paths(&folders) {
        let folder = if folder.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            folder
        };
        let path = folder.join(command);
        match executable(&path) {
            Ok(()) => return Ok(path),
            Err(Access::Missing) => {}
            Err(Access::Refused(why)) => {
                refused.get_or_insert(Refusal::NotExecutable(path, why));
            }
        }
    }
    Err(refused.unwrap_or_else(|| Refusal::NotFound(command.to_owned(), " in PATH")))
}

enum Access {
    Missing,
    Refused(String),
}

fn executable(path: &Path) -> Result<(), Access> {
    let data = std::fs::metadata(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => Access::Missing,
        _ => Access::Refused(error.to_string()),
    })?;
    if data.is_dir() {
        return Err(Access::Refused("it is a folder".to_owned()));
    }
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
        return Err(Access::Missing);
    };
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    if unsafe { libc::access(name.as_ptr(), libc::X_OK) } != 0 {
        return Err(Access::Refused(std::io::Error::last_os_error().to_string()));
    }
    Ok(())
}
