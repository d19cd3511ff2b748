//! Owns the finding of other people's programs and small helpers on text. It never uses shims: only Debian's own folders.

use std::path::{Path, PathBuf};

/// The path that programs under test get: Debian's own binaries, no shims.
pub const DEBIAN_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Path of an installed tool; fails the test with the remedy when it is missing.
pub fn tool(name: &str) -> PathBuf {
    find_tool(name).unwrap_or_else(|| {
        panic!("{name} is not installed: tests/run installs what the tests need")
    })
}

/// Path of a tool in Debian's folders, if it is there. Names with a slash are taken as they are.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Path::new(name).is_file().then(|| name.into());
    }
    DEBIAN_PATH
        .split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// The lines of raw output, for messages and comparisons.
pub fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Copies a program by another process: a copy that this one has open for writing while another
/// test forks is "busy" when it is to be executed.
#[track_caller]
pub fn copy_executable(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp").arg(from).arg(to).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "cp {from:?} {to:?}"
    );
}
