//! Owns where a recording goes: the path template's expansion and the folders that stand in for
//! an unwritable default one. Never creates a file; folders only those it names itself.

use leaktrack_recording::program_name;

use crate::config::Config;
use crate::facts::env::Environment;
use crate::facts::lines;
use crate::sys::{self, CStr, Errno, o};
use crate::text::{Path, Text};

/// The name of a recording when none is given.
pub const DEFAULT_NAME: &[u8] = b"leaktrack.%e.%p.%t.ltk";

/// What templates are filled with.
#[derive(Clone)]
pub struct Names {
    /// Absolute path of the executable.
    pub exe: Path,
    /// First argument that the program was started with.
    pub argument: Text<512>,
    /// Host name.
    pub host: Text<65>,
    /// Start in Unix seconds.
    pub started_unix_s: u64,
    /// Working directory at start; empty when it cannot be told.
    pub folder: Path,
    /// Folder of last resort from the environment, `$XDG_STATE_HOME`.
    pub state_home: Text<1024>,
    /// `$TMPDIR`.
    pub temporary: Text<1024>,
}

impl Names {
    /// Nothing known.
    pub const fn new() -> Names {
        Names {
            exe: Text::new(),
            argument: Text::new(),
            host: Text::new(),
            started_unix_s: 0,
            folder: Text::new(),
            state_home: Text::new(),
            temporary: Text::new(),
        }
    }

    /// Asks the kernel and the environment. `trusted` is false when the process runs with more
    /// rights than its starter (`AT_SECURE`): then the environment names no folders.
    pub fn read(&mut self, env: Environment, trusted: bool) {
        let mut buf = [0u8; 4096];
        let len = sys::readlink(c"/proc/self/exe", &mut buf).unwrap_or(0);
        let exe = buf.get(..len).unwrap_or_default();
        self.exe.clear();
        self.exe
            .push_bytes(exe.strip_suffix(b" (deleted)").unwrap_or(exe));
        self.argument.clear();
        let _ = lines::for_each_item(c"/proc/self/cmdline", |argument| {
            self.argument.push_bytes(argument);
            false
        });
        if self.argument.is_cut() {
            self.argument.clear();
        }
        let mut host = [0u8; 65];
        let len = sys::host_name(&mut host);
        self.host.clear();
        self.host.push_bytes(host.get(..len).unwrap_or_default());
        self.started_unix_s = sys::clock_ns(sys::clock::REALTIME) / 1_000_000_000;
        let len = sys::getcwd(&mut buf).unwrap_or(0);
        self.folder.clear();
        // The kernel says `(unreachable)/...` of a folder outside the root.
        if let Some(folder) = buf
            .get(..len.saturating_sub(1))
            .filter(|folder| folder.starts_with(b"/"))
        {
            self.folder.push_bytes(folder);
        }
        for (name, kept) in [
            (&b"XDG_STATE_HOME"[..], &mut self.state_home),
            (b"TMPDIR", &mut self.temporary),
        ] {
            kept.clear();
            if let Some(value) = env
                .get(name)
                .filter(|value| trusted && value.starts_with(b"/"))
            {
                kept.push_bytes(value);
            }
        }
    }

    /// The name of the program, without its folder.
    pub fn program_name(&self) -> &[u8] {
        program_name(self.exe.as_bytes(), self.argument.as_bytes())
    }

    /// Appends `template` with its `%` sequences replaced.
    pub fn expand(&self, template: &[u8], pid: u32, out: &mut Path) {
        let mut bytes = template.iter();
        while let Some(&byte) = bytes.next() {
            if byte != b'%' {
                out.push(byte);
                continue;
            }
            match bytes.next() {
                Some(b'e') => push_safe(self.program_name(), out),
                Some(b'h') => push_safe(self.host.as_bytes(), out),
                Some(b'p') => {
                    out.push_u64(u64::from(pid));
                }
                Some(b't') => {
                    out.push_u64(self.started_unix_s);
                }
                Some(&other) => {
                    out.push(other);
                }
                None => {}
            }
        }
    }
}

impl Default for Names {
    fn default() -> Names {
        Names::new()
    }
}

/// Appends a name with everything that means something in a path or a terminal replaced by `_`.
fn push_safe(name: &[u8], out: &mut Path) {
    if name.is_empty() {
        out.push(b'_');
    }
    for (place, &byte) in name.iter().take(64).enumerate() {
        let safe = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.');
        // No leading dot: neither hidden files nor `..`.
        out.push(if safe && !(place == 0 && byte == b'.') {
            byte
        } else {
            b'_'
        });
    }
}

/// Places to try, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The path that was given.
    Given,
    /// The default name in the working directory.
    Folder,
    /// The default name in `$XDG_STATE_HOME/leaktrack`.
    StateHome,
    /// The default name in `$TMPDIR`.
    Temporary,
    /// The default name in `/var/tmp/leaktrack-UID`.
    VarTmp,
}

/// The places to try for this configuration: a given path never falls back.
pub fn places(config: &Config) -> &'static [Place] {
    if config.output.is_empty() {
        &[
            Place::Folder,
            Place::StateHome,
            Place::Temporary,
            Place::VarTmp,
        ]
    } else {
        &[Place::Given]
    }
}

/// The path of a recording in `place`, absolute, without its `.2`. Makes the folders that belong
/// to leaktrack.
pub fn path_in(
    place: Place,
    config: &Config,
    names: &Names,
    pid: u32,
    out: &mut Path,
) -> sys::Result<()> {
    out.clear();
    match place {
        Place::Given => {
            let template = config.output.as_bytes();
            if !template.starts_with(b"/") {
                if names.folder.is_empty() {
                    return Err(Errno::ENOENT);
                }
                out.push_bytes(names.folder.as_bytes()).push(b'/');
            }
            names.expand(template, pid, out);
            let is_folder = out.as_bytes().ends_with(b"/")
                || out.c_str().is_some_and(|path| {
                    sys::open(path, o::PATH | o::DIRECTORY, 0)
                        .map(sys::close)
                        .is_ok()
                });
            if !is_folder {
                return checked(out);
            }
        }
        Place::Folder => known_folder(names.folder.as_bytes(), out)?,
        Place::StateHome => {
            known_folder(names.state_home.as_bytes(), out)?;
            out.push_bytes(b"/leaktrack");
            own_folder(out)?;
        }
        Place::Temporary => known_folder(names.temporary.as_bytes(), out)?,
        Place::VarTmp => {
            out.push_bytes(b"/var/tmp/leaktrack-")
                .push_u64(u64::from(sys::geteuid()));
            own_folder(out)?;
        }
    }
    if !out.as_bytes().ends_with(b"/") {
        out.push(b'/');
    }
    names.expand(DEFAULT_NAME, pid, out);
    checked(out)
}

fn checked(path: &Path) -> sys::Result<()> {
    if path.is_cut() {
        Err(Errno::ENAMETOOLONG)
    } else {
        Ok(())
    }
}

fn known_folder(folder: &[u8], out: &mut Path) -> sys::Result<()> {
    if folder.is_empty() {
        return Err(Errno::ENOENT);
    }
    out.push_bytes(folder);
    Ok(())
}

/// Makes a private folder; one that exists must be a real folder of this user.
fn own_folder(path: &mut Path) -> sys::Result<()> {
    let path: &CStr = path.c_str().ok_or(Errno::ENAMETOOLONG)?;
    match sys::mkdir(path, 0o700) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => return Err(error),
    }
    let fd = sys::open(path, o::PATH | o::DIRECTORY | o::NOFOLLOW, 0)?;
    let stat = sys::fstat(fd);
    sys::close(fd);
    if stat?.uid == sys::geteuid() {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::string::String;

    fn names(exe: &str) -> Names {
        let mut names = Names::new();
        names.exe.push_bytes(exe.as_bytes());
        names.host.push_bytes(b"web-1.example");
        names.folder.push_bytes(b"/srv/app");
        names.started_unix_s = 1_700_000_000;
        names
    }

    fn config(list: &str) -> Config {
        let mut config = Config::new();
        config.read_list(list.as_bytes()).unwrap();
        config
    }

    fn path(place: Place, list: &str, names: &Names) -> sys::Result<String> {
        let mut out = Path::new();
        path_in(place, &config(list), names, 42, &mut out)
            .map(|()| String::from_utf8(out.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn expansion_is_safe_in_a_path() {
        for (exe, shown) in [
            ("/usr/bin/redis-server", "redis-server"),
            ("/opt/My App/a b", "a_b"),
            ("/x/..", "_."),
            ("/x/.hidden", "_hidden"),
            ("/x/\u{e9}\n", "___"),
            ("", "_"),
        ] {
            let mut out = Path::new();
            names(exe).expand(b"%e.%p.%h.%t.%%", 42, &mut out);
            let expected = std::format!("{shown}.42.web-1.example.1700000000.%");
            assert_eq!(String::from_utf8_lossy(out.as_bytes()), expected);
        }
        let mut out = Path::new();
        names(&"x".repeat(300)).expand(b"%e", 1, &mut out);
        assert_eq!(out.len(), 64);
    }

    #[test]
    fn relative_paths_are_made_absolute() {
        let names = names("/bin/x");
        assert_eq!(
            path(Place::Given, "output=rec/%e.ltk", &names).unwrap(),
            "/srv/app/rec/x.ltk"
        );
        assert_eq!(
            path(Place::Given, "output=/tmp/no/%p", &names).unwrap(),
            "/tmp/no/42"
        );
        assert_eq!(
            path(Place::Folder, "", &names).unwrap(),
            "/srv/app/leaktrack.x.42.1700000000.ltk"
        );
        assert_eq!(places(&config("output=x")), [Place::Given]);
        assert_eq!(places(&config("")).first(), Some(&Place::Folder));
        let mut lost = names.clone();
        lost.folder.clear();
        assert_eq!(path(Place::Given, "output=x", &lost), Err(Errno::ENOENT));
        assert_eq!(path(Place::Folder, "", &lost), Err(Errno::ENOENT));
        assert_eq!(path(Place::StateHome, "", &names), Err(Errno::ENOENT));
        let long = "y".repeat(3_990);
        let mut deep = names.clone();
        deep.folder.push_bytes(&[b'z'; 200]);
        assert_eq!(
            path(Place::Given, &std::format!("output={long}"), &deep),
            Err(Errno::ENAMETOOLONG)
        );
    }

    #[test]
    fn a_folder_given_takes_the_default_name() {
        let names = names("/bin/x");
        assert_eq!(
            path(Place::Given, "output=/tmp", &names).unwrap(),
            "/tmp/leaktrack.x.42.1700000000.ltk"
        );
        assert_eq!(
            path(Place::Given, "output=rec/", &names).unwrap(),
            "/srv/app/rec/leaktrack.x.42.1700000000.ltk"
        );
    }

    #[test]
    fn own_folders_are_private_and_real() {
        let root =
            std::env::temp_dir().join(std::format!("leaktrack-naming-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let mut names = names("/bin/x");
        names
            .state_home
            .push_bytes(root.to_str().unwrap().as_bytes());
        let made = path(Place::StateHome, "", &names).unwrap();
        assert!(
            made.ends_with("/leaktrack/leaktrack.x.42.1700000000.ltk"),
            "{made}"
        );
        let mode = std::fs::metadata(root.join("leaktrack"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::remove_dir(root.join("leaktrack")).unwrap();
        symlink("/etc", root.join("leaktrack")).unwrap();
        assert!(path(Place::StateHome, "", &names).is_err());
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn this_process() {
        let mut names = Names::new();
        // SAFETY: null is an empty environment.
        names.read(unsafe { Environment::new(core::ptr::null()) }, true);
        let exe = std::env::current_exe().unwrap();
        assert_eq!(names.exe.as_bytes(), exe.to_str().unwrap().as_bytes());
        assert_eq!(
            names.folder.as_bytes(),
            std::env::current_dir()
                .unwrap()
                .to_str()
                .unwrap()
                .as_bytes()
        );
        assert!(!names.host.is_empty() && names.started_unix_s > 1_600_000_000);
    }
}
