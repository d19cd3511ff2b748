//! Follows `#!` lines as the kernel does, and `env` as the shell's users do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Refusal, find};

/// Bytes of a file that the kernel looks at.
const LINE_BYTES: u64 = 256;

/// What runs `path`: `None` if it is an ELF file itself; the shell for text without `#!`, which
/// execvp(3) gives to the shell.
pub fn interpreter(path: &Path) -> Result<Option<PathBuf>, Refusal> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LINE_BYTES).read_to_end(&mut head));
    if let Err(error) = read {
        return Err(Refusal::NotExecutable(
            path.to_owned(),
            format!("cannot read it: {error}"),
        ));
    }
    if head.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let Some(line) = head.strip_prefix(b"#!") else {
        return Ok(Some(PathBuf::from("/bin/sh")));
    };
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or(line);
    let mut words = line
        .split(|byte| b" \t\r".contains(byte))
        .filter(|word| !word.is_empty());
    let Some(first) = words.next() else {
        return Ok(Some(PathBuf::from("/bin/sh")));
    };
    let interpreter = Path::new(OsStr::from_bytes(first));
    if interpreter.file_name() == Some(OsStr::new("env")) {
        let wanted = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='));
        if let Some(wanted) = wanted {
            return find(OsStr::from_bytes(wanted)).map(Some);
        }
    }
    find(interpreter.as_os_str()).map(Some).map_err(|_| {
        Refusal::NotExecutable(
            path.to_owned(),
            format!(
                "its interpreter {} is missing or not executable",
                interpreter.display()
            ),
        )
    })
}
