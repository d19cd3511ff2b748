//! Whether a running process is tracked, and why not.

use std::io;
use std::os::unix::ffi::OsStrExt;

use super::{Finding, program};
use crate::host::{ProcessFiles, State, tracked};
use crate::target::{ElfFacts, Linkage, sanitizer};

/// All findings about a process.
pub fn process(pid: u32) -> Vec<Finding> {
    let process = ProcessFiles::new(pid);
    if !process.exists() {
        return vec![Finding::bad(
            "process",
            format!("there is no process {pid}"),
            "leaktrack list shows those that are tracked",
        )];
    }
    let mut findings = vec![Finding::good(
        "process",
        format!("{pid} is {}", process.name()),
    )];
    let inner = process.inner_pid();
    if inner != pid {
        findings.push(Finding::note(
            "container",
            format!("in its container it is process {inner}"),
            format!("read its recording with --sysroot /proc/{pid}/root"),
        ));
    }
    findings.push(state(&process));
    if process.status("Seccomp").is_some_and(|mode| mode != "0") {
        findings.push(Finding::note(
            "seccomp",
            "its system calls are filtered",
            "if its recording stays empty, allow process_vm_readv",
        ));
    }
    match ElfFacts::read(&process.executable_file()) {
        Ok(facts) => findings.extend(executable(&process, &facts)),
        Err(error) => findings.push(Finding::note(
            "program",
            format!("its executable cannot be read: {error:#}"),
            "run as root or as its user",
        )),
    }
    findings
}

fn state(process: &ProcessFiles) -> Finding {
    match tracked::look(process.clone()) {
        Ok(Some(found)) => match found.state {
            State::Recording { path, .. } => {
                Finding::good("tracked", format!("records into {}", path.display()))
            }
            State::Deleted(path) => Finding::bad(
                "tracked",
                format!("its recording {path} was deleted"),
                "start it again",
            ),
            State::Idle(why) => Finding::bad(
                "tracked",
                format!("it has the library, but does not record: {why}"),
                "start it again with LEAKTRACK=verbose=1",
            ),
            State::Absent(why) => Finding::bad(
                "tracked",
                format!("LD_PRELOAD names the library, but it is not loaded: {why}"),
                "leaktrack doctor CMD tells more about the program",
            ),
        },
        Ok(None) => Finding::bad(
            "tracked",
            "it was started without the library, which cannot be added to a running process",
            "start it with leaktrack run -- CMD",
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::note(
            "tracked",
            "it cannot be told: it belongs to another user",
            "run as root",
        ),
        Err(error) => Finding::note("tracked", format!("it cannot be told: {error}"), ""),
    }
}

fn executable(process: &ProcessFiles, facts: &ElfFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let trouble = match &facts.linkage {
        Linkage::Static => {
            Some("it is statically linked: no library can be preloaded into it".to_owned())
        }
        Linkage::Musl(loader) => Some(format!("it uses musl ({loader}); the library is for glibc")),
        Linkage::Foreign(what) => Some(format!("it is {what}")),
        Linkage::Missing(_) | Linkage::Dynamic(_) => None,
    };
    findings.extend(
        trouble.map(|text| Finding::bad("linkage", text, "build it dynamically for glibc")),
    );
    let asan_options = process.environment("ASAN_OPTIONS").ok().flatten();
    let asan_options = asan_options.map(|options| String::from_utf8_lossy(&options).into_owned());
    if let Some((why, remedy)) = sanitizer::problem(facts, asan_options.as_deref()) {
        findings.push(Finding::bad("sanitizer", why, remedy));
    }
    if let Some(warning) = sanitizer::warning(facts) {
        let (what, remedy) = warning.split_once("; ").unwrap_or((&warning, ""));
        findings.push(Finding::note("sanitizer", format!("it {what}"), remedy));
    }
    if let Ok(path) = process.executable() {
        if path.as_os_str().as_bytes().ends_with(b" (deleted)") {
            findings.push(Finding::note(
                "program",
                "its executable was replaced or deleted since it started",
                "keep the file that runs: its symbols are in no other",
            ));
        }
        findings.extend(program::symbols(path.as_os_str().as_bytes(), facts));
    }
    findings
}
