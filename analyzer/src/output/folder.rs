//! Tells whether the library could make a recording in a folder, by making a file there that never
//! gets a name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The smallest recording that the library begins.
const LEAST_BYTES: usize = 64 << 10;

/// A folder in which no recording can be made, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot make recordings in {folder}: {why}")]
pub struct Unwritable {
    /// The folder.
    pub folder: PathBuf,
    /// In words.
    pub why: String,
}

/// Fails if no recording can be made in `folder`. One that the library makes itself need not be
/// there yet.
pub fn check(folder: &Path) -> Result<(), Unwritable> {
    let unwritable = |why| Unwritable {
        folder: folder.to_owned(),
        why,
    };
    match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => return Err(unwritable("it is not a folder".to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_librarys_own(folder) => {
            return folder.parent().map_or(Ok(()), check);
        }
        Err(error) => return Err(unwritable(words(&error))),
    }
    if file_size_limit() < LEAST_BYTES as u64 {
        return Err(unwritable(
            "the limit of file sizes (ulimit -f) is below 64 KiB".to_owned(),
        ));
    }
    let file = match nameless_file(folder) {
        Ok(file) => file,
        Err(error) => return Err(unwritable(words(&error))),
    };
    fill(file).map_err(|error| unwritable(words(&error)))
}

fn is_librarys_own(folder: &Path) -> bool {
    let name = folder.file_name();
    name.is_some_and(|name| name.as_bytes().starts_with(b"leaktrack"))
}

fn nameless_file(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(folder) {
        // A file system without such files: it gets a name for a moment.
        Err(error) if !is_refusal(&error) => {
            let name = folder.join(format!(".leaktrack.{}.probe", std::process::id()));
            let file = options.create_new(true).open(&name)?;
            fs::remove_file(&name)?;
            Ok(file)
        }
        made => made,
    }
}

fn is_refusal(error: &io::Error) -> bool {
    use libc::{EACCES, EDQUOT, ENOSPC, EPERM, EROFS};
    matches!(
        error.raw_os_error(),
        Some(EACCES | EDQUOT | ENOSPC | EPERM | EROFS)
    )
}

/// Reserves what the library reserves at first; writes it where the file system cannot reserve.
fn fill(mut file: File) -> io::Result<()> {
    // SAFETY: an open descriptor.
    let reserved = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, LEAST_BYTES as libc::off_t) };
    if reserved == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if is_refusal(&error) && error.raw_os_error() != Some(libc::EPERM) {
        return Err(error);
    }
    file.write_all(&[0; LEAST_BYTES])
}

/// Bytes; a write beyond would end this process by a signal.
fn file_size_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: it writes one `rlimit` to the address of a live local.
    match unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } {
        0 => limit.rlim_cur,
        _ => u64::MAX,
    }
}

/// What the system said, in the library's words.
pub fn words(error: &io::Error) -> String {
    let words = match error.raw_os_error() {
        Some(libc::ENOENT) => "no such folder",
        Some(libc::EACCES | libc::EPERM) => "permission denied",
        Some(libc::ENOTDIR) => "a part of the path is not a folder",
        Some(libc::EROFS) => "the file system is read-only",
        Some(libc::ENOSPC) => "no space left on the device",
        Some(libc::EDQUOT) => "the disk quota is used up",
        Some(libc::ENAMETOOLONG) => "the path is too long",
        Some(libc::ELOOP) => "too many links in the path",
        _ => return error.to_string(),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_can_and_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check(dir.path()), Ok(()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(check(&dir.path().join("leaktrack-7")), Ok(()));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let why = |folder: &Path| check(folder).unwrap_err().to_string();
        let missing = dir.path().join("none");
        assert_eq!(
            why(&missing),
            format!(
                "cannot make recordings in {}: no such folder",
                missing.display()
            )
        );
        assert!(why(&file).ends_with("it is not a folder"));
        assert!(why(&file.join("x")).ends_with("a part of the path is not a folder"));
        assert!(check(Path::new("/proc")).is_err());
    }
}
