//! Where the library puts recordings, told from outside: the path of one before it is made, and
//! all those of a family afterwards.
//!
//! The library decides; this follows the same rules and then looks.

mod family;
mod folder;
mod template;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::library_options::Environment;
pub use family::recordings_of;
pub use folder::Unwritable;
pub use template::Names;

/// Name of a recording when none is given.
const DEFAULT_NAME: &[u8] = b"leaktrack.%e.%p.%t.ltk";

/// The option `output` as the library will read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Empty: the default.
    template: Vec<u8>,
}

impl Output {
    /// As an environment has it.
    pub fn of(environment: &Environment) -> Self {
        Self {
            template: environment.value("output").unwrap_or_default(),
        }
    }

    /// Where the recording of a process will be, if nothing has that name yet. Fails where none can
    /// be made.
    pub fn path(&self, names: &Names) -> Result<PathBuf, Unwritable> {
        let mut first = None;
        for template in self.templates(&names.cwd) {
            let path = PathBuf::from(OsString::from_vec(names.expand(&template)));
            match check(&path, &template) {
                Ok(()) => return Ok(unused(path)),
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first.unwrap_or_else(|| Unwritable {
            folder: names.cwd.clone(),
            why: "it is gone".to_owned(),
        }))
    }

    /// Whole templates, absolute, in the order in which the library tries them.
    fn templates(&self, cwd: &Path) -> Vec<Vec<u8>> {
        if self.template.is_empty() {
            let folders = default_folders(cwd).into_iter();
            return folders
                .map(|folder| joined(&folder, DEFAULT_NAME))
                .collect();
        }
        let place = cwd.join(OsStr::from_bytes(&self.template));
        let is_folder = self.template.ends_with(b"/") || place.is_dir();
        vec![if is_folder {
            joined(&place, DEFAULT_NAME)
        } else {
            place.into_os_string().into_vec()
        }]
    }
}

/// Fails if no recording could be made at `path`, which is `template` filled in.
fn check(path: &Path, template: &[u8]) -> Result<(), Unwritable> {
    let folder = path.parent().unwrap_or(path);
    let unwritable = |why| Unwritable {
        folder: folder.to_owned(),
        why,
    };
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() && !found.is_symlink() => {
            let name = path.file_name().unwrap_or_default().display();
            return Err(unwritable(format!(
                "{name} is there and is no regular file"
            )));
        }
        Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {
            return Err(unwritable(folder::words(&error)));
        }
        _ => {}
    }
    // What is made from the pid or the time may be there when the process starts.
    let mut folders = template.rsplit(|&byte| byte == b'/').skip(1);
    let is_known = !folders.any(|part| part.windows(2).any(|two| two == b"%p" || two == b"%t"));
    if is_known {
        folder::check(folder)
    } else {
        Ok(())
    }
}

fn joined(folder: &Path, name: &[u8]) -> Vec<u8> {
    folder
        .join(OsStr::from_bytes(name))
        .into_os_string()
        .into_vec()
}

/// Folders that the library tries for the default name, in order.
fn default_folders(cwd: &Path) -> Vec<PathBuf> {
    let from_env = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let mut folders = vec![cwd.to_owned()];
    folders.extend(from_env("XDG_STATE_HOME").map(|home| home.join("leaktrack")));
    folders.extend(from_env("TMPDIR"));
    // SAFETY: it only returns a number.
    folders.push(PathBuf::from(format!("/var/tmp/leaktrack-{}", unsafe {
        libc::geteuid()
    })));
    folders
}

/// `path`, or the first of `path.2`, `path.3`, … that does not exist.
fn unused(path: PathBuf) -> PathBuf {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if path.symlink_metadata().is_err() {
        return path;
    }
    (2..10_000)
        .map(numbered)
        .find(|path| path.symlink_metadata().is_err())
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(path: &str) -> Output {
        Output {
            template: path.as_bytes().to_vec(),
        }
    }

    #[test]
    fn existing_recordings_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names {
            cwd: dir.path().to_owned(),
            ..Names::default()
        };
        let given = output("x.ltk");
        let path = |name: &str| dir.path().join(name);
        assert_eq!(given.path(&names), Ok(path("x.ltk")));
        std::fs::write(path("x.ltk"), "").unwrap();
        assert_eq!(given.path(&names), Ok(path("x.ltk.2")));
        std::fs::write(path("x.ltk.2"), "").unwrap();
        assert_eq!(given.path(&names), Ok(path("x.ltk.3")));
        let why = |path: &str| output(path).path(&names).unwrap_err().to_string();
        assert_eq!(
            why("/proc/nowhere/x.ltk"),
            "cannot make recordings in /proc/nowhere: no such folder"
        );
        let device = why("/dev/null");
        assert!(
            device.ends_with("/dev: null is there and is no regular file"),
            "{device}"
        );
        assert!(why(&"x".repeat(300)).ends_with("the path is too long"));
    }
}
