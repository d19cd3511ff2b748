//! Owns the recording as a file: its creation, its identity, and making it longer.
//!
//! Never keeps a descriptor open, never follows a link, never opens what is not the file that was
//! created, never lets the kernel raise SIGXFSZ.

use crate::permit;
use crate::sys::{self, Errno, o};
use crate::text::{Path, Text};

const RLIMIT_FSIZE: usize = 1;
const FLAGS: i32 = o::RDWR | o::NOFOLLOW | o::NOCTTY | o::NONBLOCK;
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
/// `.2` to `.9999` are tried.
const MOST_NAMES: u32 = 9_999;

/// Why a file could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// The kernel says so.
    Kernel(Errno),
    /// Something that is not a regular file has this name.
    NotAFile,
    /// Too many recordings of this name exist.
    TooManyNames,
    /// The path leads to another file now, or to none.
    Replaced,
    /// Somebody shortened the file.
    Truncated,
    /// The recordings of the family take all that they may.
    FamilyFull,
}

impl FileError {
    /// In words, for a message.
    pub fn describe<const N: usize>(self, out: &mut Text<N>) {
        let words: &[u8] = match self {
            FileError::Kernel(errno) => match errno {
                Errno::EPERM | Errno::EACCES => b"permission denied",
                Errno::ENOENT => b"no such folder",
                Errno::ENOTDIR => b"a part of the path is not a folder",
                Errno::EROFS => b"the file system is read-only",
                Errno::ENOSPC => b"no space left on the device",
                Errno::EDQUOT => b"the disk quota is used up",
                Errno::EFBIG => b"RLIMIT_FSIZE or the file system does not allow a larger file",
                Errno::ENAMETOOLONG => b"the path is too long",
                Errno::ELOOP => b"too many links in the path",
                Errno::ENOMEM => b"no memory",
                Errno(number) => {
                    out.push_bytes(b"error ")
                        .push_u64(number.unsigned_abs().into());
                    return;
                }
            },
            FileError::NotAFile => b"something that is not a regular file has this name",
            FileError::TooManyNames => b"there are too many recordings of this name",
            FileError::Replaced => b"the file was removed or replaced",
            FileError::Truncated => b"the file was truncated",
            FileError::FamilyFull => b"the recordings of this family take all of family-disk",
        };
        out.push_bytes(words);
    }
}

impl From<Errno> for FileError {
    fn from(errno: Errno) -> FileError {
        FileError::Kernel(errno)
    }
}

/// The file, closed.
#[derive(Debug)]
pub struct File {
    path: Path,
    dev: u64,
    ino: u64,
}

/// A descriptor that closes itself: nothing of ours stays open.
#[derive(Debug)]
pub struct Open(i32);

impl Open {
    /// Owns a descriptor.
    pub fn of(fd: i32) -> Open {
        Open(fd)
    }

    /// The number, for the kernel.
    pub fn fd(&self) -> i32 {
        self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

impl File {
    /// Creates `path`, or `path.2` and so on where that exists. With `exact` the permission bits
    /// are set whatever the umask says.
    pub fn create(path: &Path, perm: u32, exact: bool) -> Result<(File, Open), FileError> {
        if !permit::open() {
            return Err(FileError::Kernel(Errno::EPERM));
        }
        let mut file = File {
            path: *path,
            dev: 0,
            ino: 0,
        };
        let stem = path.len();
        let mut number = 1;
        let open = loop {
            let name = file.path.c_str().ok_or(Errno::ENAMETOOLONG)?;
            match sys::open(name, FLAGS | o::CREAT | o::EXCL, perm) {
                Ok(fd) => break Open(fd),
                Err(Errno::EINTR) => continue,
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            if number == 1 && !is_file_or_link(&mut file.path) {
                return Err(FileError::NotAFile);
            }
            number += 1;
            if number > MOST_NAMES {
                return Err(FileError::TooManyNames);
            }
            file.path.truncate(stem);
            file.path.push(b'.').push_u64(u64::from(number));
        };
        if exact {
            let _ = sys::fchmod(open.fd(), perm);
        }
        let stat = sys::fstat(open.fd())?;
        (file.dev, file.ino) = (stat.dev, stat.ino);
        Ok((file, open))
    }

    /// Where it is.
    pub fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    /// Opens it again, if the path still leads to it and it is at least `bytes` long.
    pub fn reopen(&mut self, bytes: u64) -> Result<Open, FileError> {
        if !permit::open() {
            return Err(FileError::Kernel(Errno::EPERM));
        }
        let name = self.path.c_str().ok_or(Errno::ENAMETOOLONG)?;
        let open = match sys::open(name, FLAGS, 0) {
            Ok(fd) => Open(fd),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENXIO) => {
                return Err(FileError::Replaced);
            }
            Err(errno) => return Err(errno.into()),
        };
        let stat = sys::fstat(open.fd())?;
        if (stat.dev, stat.ino) != (self.dev, self.ino) {
            return Err(FileError::Replaced);
        }
        if stat.size_bytes < bytes {
            Err(FileError::Truncated)
        } else {
            Ok(open)
        }
    }

    /// Removes it, if the path still leads to it; true if it is gone.
    pub fn remove(&mut self) -> bool {
        self.reopen(0).is_ok()
            && self
                .path
                .c_str()
                .is_some_and(|name| sys::unlink(name).is_ok())
    }
}

/// A link is passed over like a file: its name is taken.
fn is_file_or_link(path: &mut Path) -> bool {
    let Some(name) = path.c_str() else {
        return false;
    };
    let Ok(fd) = sys::open(name, o::PATH | o::NOFOLLOW, 0) else {
        return true;
    };
    let open = Open(fd);
    match sys::fstat(open.fd()) {
        Ok(stat) => stat.mode & S_IFMT == S_IFREG || stat.mode & S_IFMT == S_IFLNK,
        Err(_) => true,
    }
}

const S_IFLNK: u32 = 0o120_000;

/// Makes the file `to` bytes long with its blocks reserved, from `from`. On failure it is as long
/// as before.
pub fn reserve(open: &Open, from: u64, to: u64) -> Result<(), FileError> {
    if !may_reach(to) {
        return Err(Errno::EFBIG.into());
    }
    let result = match fallocate(open, from, to) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL | Errno::EPERM) => {
            fill_with_zeros(open, from, to)
        }
        other => other,
    };
    if result.is_err() {
        let _ = sys::ftruncate(open.fd(), from);
    }
    Ok(result?)
}

/// False if a write up to `end` would raise SIGXFSZ.
pub fn may_reach(end: u64) -> bool {
    sys::getrlimit(RLIMIT_FSIZE).is_ok_and(|(soft, _)| end <= soft)
}

fn fallocate(open: &Open, from: u64, to: u64) -> sys::Result<()> {
    for _ in 0..16 {
        match sys::fallocate(open.fd(), from, to.saturating_sub(from)) {
            Err(Errno::EINTR) => continue,
            other => return other,
        }
    }
    Err(Errno::EINTR)
}

fn fill_with_zeros(open: &Open, from: u64, to: u64) -> sys::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut at = from;
    while at < to {
        let len = to.saturating_sub(at).min(4096) as usize;
        match sys::pwrite(open.fd(), ZEROS.get(..len).unwrap_or(&ZEROS), at) {
            Ok(0) => return Err(Errno::ENOSPC),
            Ok(written) => at += written as u64,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::testing::{Folder, path_of};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn never_takes_an_existing_name() {
        let folder = Folder::new("file-names");
        let path = path_of(&folder.join("a.ltk"));
        let (first, _) = File::create(&path, 0o600, false).unwrap();
        let (second, _) = File::create(&path, 0o600, false).unwrap();
        symlink("/etc/passwd", folder.join("a.ltk.3")).unwrap();
        let (fourth, _) = File::create(&path, 0o600, false).unwrap();
        assert_eq!(first.path(), path.as_bytes());
        assert!(second.path().ends_with(b"/a.ltk.2"));
        assert!(fourth.path().ends_with(b"/a.ltk.4"));
        let mode = std::fs::metadata(folder.join("a.ltk"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let (_, _) = File::create(&path_of(&folder.join("b")), 0o666, true).unwrap();
        let mode = std::fs::metadata(folder.join("b"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o666);
    }

    #[test]
    fn devices_and_folders_are_not_files() {
        assert_eq!(
            File::create(&path_of("/dev/null".as_ref()), 0o600, false).unwrap_err(),
            FileError::NotAFile
        );
        assert_eq!(
            File::create(&path_of("/tmp".as_ref()), 0o600, false).unwrap_err(),
            FileError::NotAFile
        );
        let gone = File::create(&path_of("/nonexistent/x".as_ref()), 0o600, false).unwrap_err();
        assert_eq!(gone, FileError::Kernel(Errno::ENOENT));
        assert!(!std::path::Path::new("/dev/null.2").exists());
    }

    #[test]
    fn only_the_file_itself_is_opened_again() {
        let folder = Folder::new("file-reopen");
        let name = folder.join("a");
        let (mut file, open) = File::create(&path_of(&name), 0o600, false).unwrap();
        reserve(&open, 0, 8192).unwrap();
        assert!(file.reopen(8192).is_ok());
        assert_eq!(file.reopen(8193).unwrap_err(), FileError::Truncated);
        std::fs::rename(&name, folder.join("b")).unwrap();
        assert_eq!(file.reopen(0).unwrap_err(), FileError::Replaced);
        std::fs::write(&name, "other").unwrap();
        assert_eq!(file.reopen(0).unwrap_err(), FileError::Replaced);
        std::fs::remove_file(&name).unwrap();
        symlink(folder.join("b"), &name).unwrap();
        assert_eq!(file.reopen(0).unwrap_err(), FileError::Replaced);
        file.remove();
        assert!(folder.join("b").exists());
    }

    #[test]
    fn zeros_where_blocks_cannot_be_reserved() {
        let folder = Folder::new("file-zeros");
        let (_, open) = File::create(&path_of(&folder.join("a")), 0o600, false).unwrap();
        fill_with_zeros(&open, 0, 10_000).unwrap();
        assert_eq!(std::fs::metadata(folder.join("a")).unwrap().len(), 10_000);
    }
}
