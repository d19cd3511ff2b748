//! Where the library puts recordings, told from outside: the path of one before it is made, and
//! all those of a family afterwards.
//!
//! The library decides; this follows the same rules and then looks.

mod family;
mod template;

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::library_options;
pub use family::recordings_of;
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
    /// From the value of `LEAKTRACK`, else that of `LEAKTRACK_OUTPUT`.
    pub fn new(variable: &OsStr, single: Option<&OsStr>) -> Self {
        let template = last_value(variable.as_bytes(), b"output");
        let single = || single.map(|value| value.as_bytes().to_vec());
        Self {
            template: template.or_else(single).unwrap_or_default(),
        }
    }

    /// Where the recording of a process will be, if nothing has that name yet. Fails with the
    /// folder that cannot be written.
    pub fn path(&self, names: &Names) -> Result<PathBuf, PathBuf> {
        let pattern = self.pattern(names.cwd.as_path())?;
        Ok(unused(PathBuf::from(OsString::from_vec(
            names.expand(&pattern),
        ))))
    }

    /// The whole template, absolute, of the folder that will be used.
    fn pattern(&self, cwd: &Path) -> Result<Vec<u8>, PathBuf> {
        let place = cwd.join(OsStr::from_bytes(&self.template));
        if self.template.is_empty() {
            let folder = default_folders(cwd)
                .into_iter()
                .find(|folder| may_write(folder));
            return folder
                .map(|folder| joined(&folder, DEFAULT_NAME))
                .ok_or_else(|| cwd.to_owned());
        }
        let is_folder = self.template.ends_with(b"/") || place.is_dir();
        let folder = if is_folder {
            Some(place.as_path())
        } else {
            place.parent()
        };
        match folder {
            // A folder with a % in it is not known yet.
            Some(folder)
                if !folder.as_os_str().as_bytes().contains(&b'%') && !may_write(folder) =>
            {
                Err(folder.to_owned())
            }
            _ if is_folder => Ok(joined(&place, DEFAULT_NAME)),
            _ => Ok(place.into_os_string().into_vec()),
        }
    }
}

fn joined(folder: &Path, name: &[u8]) -> Vec<u8> {
    folder
        .join(OsStr::from_bytes(name))
        .into_os_string()
        .into_vec()
}

/// The last value of `key` in `key=value,key=value`, where `\,` is a comma.
fn last_value(list: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let items = library_options::items(list);
    let mut values = items.iter().filter_map(|item| {
        item.trim_ascii_start()
            .strip_prefix(key)?
            .strip_prefix(b"=")
            .map(<[u8]>::to_vec)
    });
    values.next_back()
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

/// True if files can be made in `folder`, or it can be made itself.
fn may_write(folder: &Path) -> bool {
    let Ok(name) = CString::new(folder.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: `name` ends with NUL and outlives the call.
    if unsafe { libc::access(name.as_ptr(), libc::W_OK | libc::X_OK) } == 0 {
        return true;
    }
    let is_own = folder
        .file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b"leaktrack"));
    is_own && !folder.exists() && folder.parent().is_some_and(may_write)
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

    #[test]
    fn the_last_output_of_the_list_counts() {
        let output = |list: &str, single| Output::new(OsStr::new(list), single).template;
        assert_eq!(output("output=a,depth=3,output=b\\,c", None), b"b,c");
        assert_eq!(output("depth=3", Some(OsStr::new("single"))), b"single");
        assert_eq!(output("output=x", Some(OsStr::new("single"))), b"x");
        assert_eq!(output("", None), b"");
    }

    #[test]
    fn existing_recordings_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names {
            cwd: dir.path().to_owned(),
            ..Names::default()
        };
        let output = Output::new(OsStr::new("output=x.ltk"), None);
        let path = |name: &str| dir.path().join(name);
        assert_eq!(output.path(&names), Ok(path("x.ltk")));
        std::fs::write(path("x.ltk"), "").unwrap();
        assert_eq!(output.path(&names), Ok(path("x.ltk.2")));
        std::fs::write(path("x.ltk.2"), "").unwrap();
        assert_eq!(output.path(&names), Ok(path("x.ltk.3")));
        let output = Output::new(OsStr::new("output=/proc/nowhere/x.ltk"), None);
        assert_eq!(output.path(&names), Err(PathBuf::from("/proc/nowhere")));
    }
}
