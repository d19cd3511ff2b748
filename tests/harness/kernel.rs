//! Owns what only root can set up around a program: swap space, huge pages, a memory cgroup. All of it goes again when its value is
//! dropped; where it cannot be had there is none, and the test that wanted it ends.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tools::{find_tool, is_root};

/// Swap space in a file of its own, or that of the machine.
#[derive(Debug)]
pub struct Swap(Option<CString>);

impl Swap {
    /// `folder` must lie on a disk.
    pub fn of(mib: u64, folder: &Path) -> Option<Swap> {
        let there = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
        if there.lines().count() > 1 {
            return Some(Swap(None));
        }
        if !is_root() {
            return None;
        }
        let path = folder.join(format!("swap.{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        // Without holes, which swap space must not have.
        let made = Command::new("dd")
            .args(["if=/dev/zero", "bs=1M", "status=none"])
            .arg(format!("count={mib}"))
            .arg(format!("of={}", path.display()))
            .status();
        let chmod = Command::new("chmod").arg("600").arg(&path).status();
        let mkswap = Command::new(find_tool("mkswap")?).arg(&path).output();
        let ready = made.is_ok_and(|it| it.success())
            && chmod.is_ok_and(|it| it.success())
            && mkswap.is_ok_and(|it| it.status.success());
        let name = CString::new(path.as_os_str().as_bytes()).ok()?;
        // SAFETY: a path that ends with NUL.
        if ready && unsafe { libc::swapon(name.as_ptr(), 0) } == 0 {
            return Some(Swap(Some(name)));
        }
        let _ = std::fs::remove_file(&path);
        None
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        if let Some(name) = &self.0 {
            // SAFETY: a path that ends with NUL.
            unsafe { libc::swapoff(name.as_ptr()) };
            let _ = std::fs::remove_file(std::ffi::OsStr::from_bytes(name.as_bytes()));
        }
    }
}

/// Huge pages that are free, of which there are as many as before when it is dropped.
#[derive(Debug)]
pub struct HugePages {
    before: u64,
}

impl HugePages {
    const COUNT: &str = "/proc/sys/vm/nr_hugepages";

    fn count() -> Option<u64> {
        let text = std::fs::read_to_string(Self::COUNT).ok()?;
        text.trim().parse().ok()
    }

    /// So many more; `None` unless root asks, and there is memory in one piece for them.
    pub fn reserve(more: u64) -> Option<HugePages> {
        let before = Self::count().filter(|_| is_root())?;
        let pages = HugePages { before };
        std::fs::write(Self::COUNT, (before + more).to_string()).ok()?;
        (Self::count()? >= before + more).then_some(pages)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::COUNT, self.before.to_string());
    }
}

/// A memory cgroup of its own.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// With a limit.
    pub fn of(limit_bytes: u64) -> Option<Cgroup> {
        if !is_root() {
            return None;
        }
        let name = format!("leaktrack-test-{}", std::process::id());
        let second = Path::new("/sys/fs/cgroup");
        let controllers = std::fs::read_to_string(second.join("cgroup.subtree_control"));
        let of_second =
            controllers.is_ok_and(|text| text.split_whitespace().any(|it| it == "memory"));
        let (folder, file) = match of_second {
            true => (second.join(name), "memory.max"),
            false => (second.join("memory").join(name), "memory.limit_in_bytes"),
        };
        std::fs::create_dir(&folder).ok()?;
        let group = Cgroup(folder);
        std::fs::write(group.0.join(file), limit_bytes.to_string()).ok()?;
        Some(group)
    }

    /// The file that takes the pids of its processes.
    pub fn procs(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It is empty only a moment after its last process has ended.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
