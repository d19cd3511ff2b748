//! Reads what `/proc/PID` says of a process.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use leaktrack_recording::program_name;

/// The files of one process below `/proc`.
#[derive(Clone, Debug)]
pub struct ProcessFiles {
    /// Its number here.
    pub pid: u32,
    folder: PathBuf,
}

impl ProcessFiles {
    /// Of the process `pid`; touches nothing yet.
    pub fn new(pid: u32) -> Self {
        Self {
            pid,
            folder: PathBuf::from(format!("/proc/{pid}")),
        }
    }

    /// All processes of this host, ascending.
    pub fn all() -> io::Result<Vec<Self>> {
        let entries = std::fs::read_dir("/proc")?;
        let mut pids: Vec<u32> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        Ok(pids.into_iter().map(Self::new).collect())
    }

    /// True if there is such a process.
    pub fn exists(&self) -> bool {
        self.folder.exists()
    }

    /// Its mappings, as text.
    pub fn maps(&self) -> io::Result<String> {
        std::fs::read(self.folder.join("maps"))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// A field of its status, such as `NSpid`.
    pub fn status(&self, field: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.folder.join("status")).ok()?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// A variable of the environment that it was started with.
    pub fn environment(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let text = std::fs::read(self.folder.join("environ"))?;
        let mut variables = text.split(|byte| *byte == 0);
        Ok(variables.find_map(|variable| {
            variable
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b"=")
                .map(<[u8]>::to_vec)
        }))
    }

    /// All variables that it was started with.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let text = std::fs::read(self.folder.join("environ")).unwrap_or_default();
        let variables = text.split(|byte| *byte == 0).filter_map(|variable| {
            let equals = variable.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&variable[..equals], &variable[equals + 1..]);
            let owned = |bytes| OsStr::from_bytes(bytes).to_owned();
            Some((owned(name), owned(value)))
        });
        variables.collect()
    }

    /// Its executable as it is called in its own file system.
    pub fn executable(&self) -> io::Result<PathBuf> {
        std::fs::read_link(self.folder.join("exe"))
    }

    /// A path that opens its executable, also after that was deleted or when it is in a container.
    pub fn executable_file(&self) -> PathBuf {
        self.folder.join("exe")
    }

    /// The name that it was started by or that its executable has, else its command name.
    pub fn name(&self) -> String {
        let exe = self.executable().unwrap_or_default();
        let arguments = std::fs::read(self.folder.join("cmdline")).unwrap_or_default();
        let first = arguments
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        let name = program_name(exe.as_os_str().as_bytes(), first);
        if name.is_empty() {
            return self.status("Name").unwrap_or_default();
        }
        String::from_utf8_lossy(name).into_owned()
    }

    /// Its number in its innermost pid namespace: in a container another than here.
    pub fn inner_pid(&self) -> u32 {
        let pids = self.status("NSpid").unwrap_or_default();
        pids.split_whitespace()
            .next_back()
            .and_then(|pid| pid.parse().ok())
            .unwrap_or(self.pid)
    }

    /// Its start in clock ticks since boot.
    pub fn start_ticks(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.folder.join("stat")).ok()?;
        text.rsplit_once(')')?
            .1
            .split_ascii_whitespace()
            .nth(19)?
            .parse()
            .ok()
    }

    /// What the kernel says it is doing: `R`, `S`, `T` for stopped, `Z` for ended.
    pub fn state(&self) -> Option<char> {
        self.status("State")?.chars().next()
    }

    /// Its resident memory.
    pub fn resident_bytes(&self) -> Option<u64> {
        let kib = self.status("VmRSS")?;
        let kib: u64 = kib.split_ascii_whitespace().next()?.parse().ok()?;
        Some(kib.saturating_mul(1024))
    }

    /// True if the library's background thread runs in it.
    pub fn has_helper(&self) -> bool {
        let tasks = std::fs::read_dir(self.folder.join("task"));
        tasks.into_iter().flatten().flatten().any(|task| {
            std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.trim_end() == "leaktrack")
        })
    }

    /// Where a path of its file system is found from here: the path itself if that is the same
    /// file, else through `/proc/PID/root`.
    pub fn reach(&self, path: &str, inode: u64) -> PathBuf {
        let here = Path::new(OsStr::from_bytes(path.as_bytes()));
        if here
            .symlink_metadata()
            .is_ok_and(|data| data.ino() == inode)
        {
            return here.to_owned();
        }
        self.folder.join("root").join(path.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let own = ProcessFiles::new(std::process::id());
        assert!(own.exists());
        assert!(own.maps().unwrap().contains("[stack]"));
        assert!(own.start_ticks().unwrap() > 0);
        assert_eq!(own.executable().unwrap(), std::env::current_exe().unwrap());
        assert_eq!(
            own.environment("PATH").unwrap(),
            std::env::var("PATH").ok().map(String::into_bytes)
        );
        assert!(
            ProcessFiles::all()
                .unwrap()
                .iter()
                .any(|other| other.pid == own.pid)
        );
    }
}
