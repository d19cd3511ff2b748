//! What the tests of the command share.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The command, with an environment that holds nothing of leaktrack's.
pub fn leaktrack(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leaktrack"));
    command.args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LEAKTRACK") {
            command.env_remove(name);
        }
    }
    command.env_remove("LD_PRELOAD");
    command
}

/// Runs the command in a folder of its own.
pub fn run_in(dir: &Path, arguments: &[&str]) -> Output {
    leaktrack(arguments).current_dir(dir).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines on stderr that are the command's own.
pub fn said(output: &Output) -> Vec<String> {
    stderr(output)
        .lines()
        .filter(|line| line.starts_with("leaktrack:"))
        .map(str::to_owned)
        .collect()
}

/// Compiles C source; `None` if there is no such compiler here.
pub fn compile(
    dir: &Path,
    name: &str,
    source: &str,
    compiler: &str,
    flags: &[&str],
) -> Option<PathBuf> {
    let path = dir.join(name);
    let file = dir.join(format!("{name}.c"));
    std::fs::write(&file, source).unwrap();
    let status = Command::new(compiler)
        .arg(&file)
        .arg("-o")
        .arg(&path)
        .args(flags)
        .status();
    status.is_ok_and(|status| status.success()).then_some(path)
}
