//! Where the files of a module may be, as paths to try in order. Touches no file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{SymbolOptions, hex};

/// Where distributions put separate debug files.
const DEBUG_ROOT: &str = "/usr/lib/debug";

/// A path to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The path.
    pub path: PathBuf,
    /// The user named it or its folder: it may be another file altogether, but not an outdated
    /// one.
    pub given: bool,
}

/// The module's own file.
pub fn binaries(path: &[u8], options: &SymbolOptions) -> Vec<Candidate> {
    let recorded = Path::new(OsStr::from_bytes(path));
    let mut list = Vec::new();
    match &options.sysroot {
        Some(root) => list.push(Candidate {
            path: below(root, recorded),
            given: true,
        }),
        None if recorded.is_absolute() => {
            list.push(Candidate {
                path: recorded.to_owned(),
                given: false,
            });
        }
        None => {}
    }
    for given in &options.symbols {
        list.push(Candidate {
            path: given.clone(),
            given: true,
        });
        list.push(Candidate {
            path: below(given, recorded),
            given: true,
        });
        if let Some(name) = recorded.file_name() {
            list.push(Candidate {
                path: given.join(name),
                given: true,
            });
        }
    }
    list
}

/// Debug files filed under a build-id.
pub fn debug_by_build_id(build_id: &[u8], options: &SymbolOptions) -> Vec<PathBuf> {
    let Some((first, rest)) = build_id.split_first() else {
        return Vec::new();
    };
    let name = format!(".build-id/{first:02x}/{}.debug", hex(rest));
    debug_roots(options)
        .into_iter()
        .map(|root| root.join(&name))
        .collect()
}

/// Debug files that `.gnu_debuglink` of the file at `binary` names; `recorded` is where that file
/// was on the recorded host.
pub fn debug_by_link(
    binary: &Path,
    recorded: &[u8],
    name: &[u8],
    options: &SymbolOptions,
) -> Vec<PathBuf> {
    let name = Path::new(OsStr::from_bytes(name));
    let mut list = Vec::new();
    if let Some(folder) = binary.parent() {
        list.push(folder.join(name));
        list.push(folder.join(".debug").join(name));
    }
    let recorded = Path::new(OsStr::from_bytes(recorded));
    for root in debug_roots(options) {
        if let Some(folder) = recorded.parent() {
            list.push(below(&root, folder).join(name));
        }
        list.push(root.join(name));
    }
    list
}

/// Files that `.gnu_debugaltlink` of the debug file at `debug` names.
pub fn alternates(
    debug: &Path,
    link: &[u8],
    build_id: &[u8],
    options: &SymbolOptions,
) -> Vec<PathBuf> {
    let link = Path::new(OsStr::from_bytes(link));
    let mut list = Vec::new();
    if link.is_absolute() {
        list.extend(options.sysroot.as_ref().map(|root| below(root, link)));
        list.push(link.to_owned());
    } else if let Some(folder) = debug.parent() {
        list.push(folder.join(link));
        // Debian: `../../.dwz/x86_64-linux-gnu/x.debug`, relative to the real file.
        list.extend(
            debug
                .canonicalize()
                .ok()
                .and_then(|real| Some(real.parent()?.join(link))),
        );
    }
    list.extend(debug_by_build_id(build_id, options));
    for root in debug_roots(options) {
        let from_dwz = link
            .iter()
            .skip_while(|part| *part != ".dwz")
            .collect::<PathBuf>();
        if !from_dwz.as_os_str().is_empty() {
            list.push(root.join(from_dwz));
        }
    }
    list
}

/// Folders laid out like `/usr/lib/debug`.
fn debug_roots(options: &SymbolOptions) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = options.symbols.clone();
    roots.extend(
        options
            .symbols
            .iter()
            .map(|given| below(given, Path::new(DEBUG_ROOT))),
    );
    roots.extend(
        options
            .sysroot
            .iter()
            .map(|root| below(root, Path::new(DEBUG_ROOT))),
    );
    roots.push(PathBuf::from(DEBUG_ROOT));
    roots
}

/// `path` as if `root` were `/`.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(sysroot: Option<&str>, symbols: &[&str]) -> SymbolOptions {
        SymbolOptions {
            sysroot: sysroot.map(PathBuf::from),
            symbols: symbols.iter().map(PathBuf::from).collect(),
            ..SymbolOptions::default()
        }
    }

    #[test]
    fn a_sysroot_replaces_the_host() {
        let paths = |options: &SymbolOptions| -> Vec<String> {
            let list = binaries(b"/usr/bin/x", options);
            list.iter()
                .map(|candidate| candidate.path.display().to_string())
                .collect()
        };
        assert_eq!(paths(&options(None, &[])), ["/usr/bin/x"]);
        assert_eq!(
            paths(&options(Some("/r"), &["/s"])),
            ["/r/usr/bin/x", "/s", "/s/usr/bin/x", "/s/x"]
        );
    }

    #[test]
    fn build_ids_make_paths() {
        assert_eq!(
            debug_by_build_id(&[0xab, 0xcd, 0xef], &options(None, &[])),
            [PathBuf::from("/usr/lib/debug/.build-id/ab/cdef.debug")]
        );
        assert!(debug_by_build_id(&[], &options(None, &["/s"])).is_empty());
    }

    #[test]
    fn links_are_looked_for_beside_the_file_and_in_the_debug_folders() {
        let found = debug_by_link(
            Path::new("/here/x"),
            b"/usr/bin/x",
            b"x.debug",
            &options(None, &[]),
        );
        assert_eq!(
            found,
            [
                "/here/x.debug",
                "/here/.debug/x.debug",
                "/usr/lib/debug/usr/bin/x.debug",
                "/usr/lib/debug/x.debug"
            ]
            .map(PathBuf::from)
        );
    }
}
