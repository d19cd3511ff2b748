//! What the host allows: kernel, C library, places to write, permissions.

use std::ffi::CStr;
use std::fs;
use std::path::Path;

use super::{Finding, limits};
use crate::host::tracked::is_library;
use crate::library;
use crate::library_options::Environment;
use crate::output::{Names, Output};

/// Oldest C library whose symbols are enough for the library.
const LEAST_GLIBC: (u32, u32) = (2, 31);

/// All findings about this host, for a command started here.
pub fn machine() -> Vec<Finding> {
    let mut findings = vec![kernel(), c_library(), own_library(), recordings()];
    findings.extend(options(&Environment::own()));
    findings.extend(preload());
    findings.extend(system_preload());
    findings.extend(limits::limits());
    findings.push(page_faults());
    findings.push(ptrace());
    findings.extend(sandbox());
    findings
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Finding::good(
        "kernel",
        format!("Linux {} on {}", release.trim(), std::env::consts::ARCH),
    )
}

fn c_library() -> Finding {
    // SAFETY: returns a constant string of the C library.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    let version = version.to_string_lossy();
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found >= LEAST_GLIBC {
        Finding::good("C library", format!("glibc {version}"))
    } else {
        let (major, minor) = LEAST_GLIBC;
        Finding::bad(
            "C library",
            format!("glibc {version}; the library needs {major}.{minor} or newer"),
            "run leaktrack in a container with a newer C library",
        )
    }
}

fn own_library() -> Finding {
    match library::path() {
        Ok(path) => Finding::good("library", path.display().to_string()),
        Err(error) => Finding::bad("library", format!("{error:#}"), "set LEAKTRACK_LIB_DIR"),
    }
}

fn recordings() -> Finding {
    let output = Output::of(&Environment::own());
    let names = Names::of(Path::new("CMD"), std::process::id());
    match output.path(&names) {
        Ok(path) => {
            let folder = path.parent().unwrap_or(&path).display().to_string();
            Finding::good("recordings", format!("are made in {folder}"))
        }
        Err(unwritable) => Finding::bad(
            "recordings",
            unwritable.to_string(),
            "make room there, or name another place with output=PATH",
        ),
    }
}

/// What is wrong with the options in the environment, and with the names of their variables.
fn options(environment: &Environment) -> Vec<Finding> {
    let mut findings: Vec<Finding> = environment
        .first_bad()
        .map(|bad| {
            Finding::bad(
                "options",
                format!("{}: {}", bad.variable, bad.problem),
                "programs run untracked until that is mended",
            )
        })
        .into_iter()
        .collect();
    let names = environment.misspelt().into_iter();
    findings.extend(names.map(|line| Finding::note("options", line, "rename it, or unset it")));
    findings
}

fn preload() -> Option<Finding> {
    let value = std::env::var_os("LD_PRELOAD").filter(|value| !value.is_empty())?;
    let value = value.to_string_lossy().into_owned();
    let libraries: Vec<&str> = value
        .split([' ', ':'])
        .filter(|path| !path.is_empty())
        .collect();
    let first = libraries.first().copied().unwrap_or_default();
    if is_library(first) {
        return Some(match Path::new(first).exists() {
            true => Finding::good(
                "LD_PRELOAD",
                "has the library first: every program started here is recorded",
            ),
            false => Finding::bad(
                "LD_PRELOAD",
                format!("names {first}, which does not exist"),
                "leaktrack lib-path prints the right path",
            ),
        });
    }
    if libraries.iter().any(|path| is_library(path)) {
        return Some(Finding::bad(
            "LD_PRELOAD",
            format!("has {first} before the library: what that takes over is not seen"),
            "put libleaktrack.so first",
        ));
    }
    Some(Finding::note(
        "LD_PRELOAD",
        format!("has {value}"),
        "leaktrack run keeps it, after the library",
    ))
}

fn system_preload() -> Option<Finding> {
    let text = fs::read_to_string("/etc/ld.so.preload").ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| {
        Finding::note(
            "ld.so.preload",
            format!("/etc/ld.so.preload has {text}"),
            "an allocator in it comes before ours is asked: remove it",
        )
    })
}

fn page_faults() -> Finding {
    match number("/proc/sys/kernel/perf_event_paranoid") {
        None => Finding::note(
            "page faults",
            "this kernel has no perf events: faults are counted, not attributed to sites",
            "",
        ),
        Some(level) if level > 2 && !is_root() => Finding::note(
            "page faults",
            format!("perf_event_paranoid is {level}: faults are counted, not attributed to sites"),
            "sysctl kernel.perf_event_paranoid=2, or CAP_PERFMON",
        ),
        Some(level) => Finding::good(
            "page faults",
            format!("perf_event_paranoid is {level}: faults can be attributed"),
        ),
    }
}

fn ptrace() -> Finding {
    match number("/proc/sys/kernel/yama/ptrace_scope") {
        Some(level) if level > 1 => Finding::note(
            "ptrace",
            format!("ptrace_scope is {level}: pointers held in registers alone cannot be seen"),
            "sysctl kernel.yama.ptrace_scope=1",
        ),
        Some(level) => Finding::good("ptrace", format!("ptrace_scope is {level}")),
        None => Finding::good("ptrace", "not restricted by yama"),
    }
}

fn sandbox() -> Option<Finding> {
    let status = crate::host::ProcessFiles::new(std::process::id()).status("Seccomp")?;
    (status != "0").then(|| {
        Finding::note(
            "seccomp",
            "system calls are filtered here, as in containers",
            "if recordings stay empty, allow process_vm_readv",
        )
    })
}

fn number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn is_root() -> bool {
    // SAFETY: it only returns a number.
    unsafe { libc::geteuid() == 0 }
}
