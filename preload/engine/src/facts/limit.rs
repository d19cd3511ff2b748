//! Owns the memory limit in force: the smallest of the cgroup's, its parents', and `RLIMIT_AS`.

use leaktrack_recording::System;

use super::lines;
use crate::config::units::number;
use crate::sys;
use crate::text::{Path, Text};

const RLIMIT_AS: usize = 9;
/// Version 1 says "no limit" by a number just below 2^63.
const NO_LIMIT_FROM_BYTES: u64 = 1 << 62;

/// Which rule sets the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// `memory.max` or `memory.limit_in_bytes`.
    Cgroup,
    /// `RLIMIT_AS`.
    AddressSpace,
}

/// The limit in bytes, if there is one.
pub fn read() -> Option<(u64, LimitKind)> {
    let cgroup = cgroup_bytes(b"").map(|bytes| (bytes, LimitKind::Cgroup));
    let space = address_space_bytes().map(|bytes| (bytes, LimitKind::AddressSpace));
    match (cgroup, space) {
        (Some(c), Some(s)) => Some(if c.0 <= s.0 { c } else { s }),
        (one, other) => one.or(other),
    }
}

/// What counts against a limit of a kind. Of a cgroup what cannot be dropped counts, of all its processes; its page
/// cache can. Where the system does not tell, as much as the process has.
pub fn used_bytes(kind: Option<LimitKind>, rss_bytes: u64, vm_bytes: u64, system: &System) -> u64 {
    let parts = [
        system.cgroup_anon_bytes,
        system.cgroup_shmem_bytes,
        system.cgroup_kernel_bytes,
    ];
    match kind {
        Some(LimitKind::AddressSpace) => vm_bytes,
        _ => rss_bytes.max(parts.into_iter().flatten().sum()),
    }
}

fn address_space_bytes() -> Option<u64> {
    sys::getrlimit(RLIMIT_AS)
        .ok()
        .map(|(soft, _)| soft)
        .filter(|bytes| *bytes < NO_LIMIT_FROM_BYTES)
}

/// The smallest limit from this process's cgroup up to the root; `prefix` stands before `/proc`
/// and `/sys` (for tests).
fn cgroup_bytes(prefix: &[u8]) -> Option<u64> {
    let mut path = Path::new();
    path.push_bytes(prefix).push_bytes(b"/proc/self/cgroup");
    let mut least: Option<u64> = None;
    let mut keep = |found: Option<u64>| least = [least, found].into_iter().flatten().min();
    let _ = lines::for_each_line(path.c_str()?, |line| {
        // `0::/path` is version 2, `N:memory,...:/path` version 1.
        let mut fields = line.splitn(3, |&byte| byte == b':');
        let (Some(number), Some(controllers), Some(group)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return true;
        };
        if number == b"0" && controllers.is_empty() {
            keep(least_of_parents(
                prefix,
                b"/sys/fs/cgroup",
                group,
                b"memory.max",
            ));
            keep(least_of_parents(
                prefix,
                b"/sys/fs/cgroup/unified",
                group,
                b"memory.max",
            ));
        } else if controllers
            .split(|&byte| byte == b',')
            .any(|name| name == b"memory")
        {
            keep(least_of_parents(
                prefix,
                b"/sys/fs/cgroup/memory",
                group,
                b"memory.limit_in_bytes",
            ));
        }
        true
    });
    least
}

/// Walks from `group` up to the mount; a container often sees only its own part of the tree, so
/// folders that do not exist are passed over.
fn least_of_parents(prefix: &[u8], mount: &[u8], group: &[u8], file: &[u8]) -> Option<u64> {
    let mut group = group.strip_suffix(b"/").unwrap_or(group);
    let mut least: Option<u64> = None;
    for _ in 0..64 {
        let outside = group.split(|&byte| byte == b'/').any(|part| part == b"..");
        let mut path = Path::new();
        path.push_bytes(prefix)
            .push_bytes(mount)
            .push_bytes(group)
            .push(b'/')
            .push_bytes(file);
        if !outside && let Some(path) = path.c_str() {
            let mut text = Text::<64>::new();
            let mut buf = [0u8; 64];
            if let Ok(len) = lines::read_start(path, &mut buf) {
                text.push_bytes(buf.get(..len).unwrap_or_default());
            }
            let bytes =
                number(text.as_bytes().trim_ascii()).filter(|bytes| *bytes < NO_LIMIT_FROM_BYTES);
            least = [least, bytes].into_iter().flatten().min();
        }
        let Some(parent) = group.iter().rposition(|&byte| byte == b'/') else {
            break;
        };
        group = group.get(..parent).unwrap_or_default();
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::PathBuf, string::String};

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Tree {
            let root = std::env::temp_dir().join(std::format!(
                "leaktrack-limit-{}-{name}",
                std::process::id()
            ));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Tree(root)
        }

        fn limit(&self) -> Option<u64> {
            cgroup_bytes(self.0.to_str().unwrap().as_bytes())
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn version_2_takes_the_smallest_on_the_way_up() {
        let tree = Tree::new(
            "v2",
            &[
                ("proc/self/cgroup", "0::/a/b/c\n"),
                ("sys/fs/cgroup/a/memory.max", "1000000\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/b/c/memory.max", "2000000\n"),
            ],
        );
        assert_eq!(tree.limit(), Some(1_000_000));
    }

    #[test]
    fn a_container_sees_only_its_own_group() {
        let tree = Tree::new(
            "container",
            &[
                ("proc/self/cgroup", "0::/docker/0123\n"),
                ("sys/fs/cgroup/memory.max", "536870912\n"),
            ],
        );
        assert_eq!(tree.limit(), Some(512 << 20));
        let tree = Tree::new(
            "ns",
            &[
                ("proc/self/cgroup", "0::/\n"),
                ("sys/fs/cgroup/memory.max", "4096\n"),
            ],
        );
        assert_eq!(tree.limit(), Some(4096));
        let tree = Tree::new(
            "out",
            &[
                ("proc/self/cgroup", "0::/../x\n"),
                ("sys/fs/cgroup/memory.max", "4096\n"),
            ],
        );
        assert_eq!(tree.limit(), Some(4096));
    }

    #[test]
    fn version_1_and_hybrid() {
        let tree = Tree::new(
            "v1",
            &[
                (
                    "proc/self/cgroup",
                    "5:cpu:/x\n4:memory:/pod\n1:name=systemd:/y\n0::/pod\n",
                ),
                (
                    "sys/fs/cgroup/memory/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
                ("sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "777216\n"),
            ],
        );
        assert_eq!(tree.limit(), Some(777_216));
    }

    #[test]
    fn what_counts_against_a_limit() {
        const MIB: u64 = 1 << 20;
        let full = System {
            cgroup_bytes: Some(1000 * MIB),
            cgroup_anon_bytes: Some(900 * MIB),
            cgroup_file_bytes: Some(40 * MIB),
            cgroup_shmem_bytes: Some(30 * MIB),
            cgroup_kernel_bytes: Some(30 * MIB),
            ..System::default()
        };
        let used = |kind, system: &System| used_bytes(Some(kind), 120 * MIB, 500 * MIB, system);
        // Eight workers: what the others have counts, too.
        assert_eq!(used(LimitKind::Cgroup, &full), 960 * MIB);
        assert_eq!(used(LimitKind::Cgroup, &System::default()), 120 * MIB);
        assert_eq!(used(LimitKind::AddressSpace, &full), 500 * MIB);
    }

    #[test]
    fn no_limit_is_none() {
        let tree = Tree::new(
            "none",
            &[
                ("proc/self/cgroup", "0::/\n"),
                ("sys/fs/cgroup/memory.max", "max\n"),
            ],
        );
        assert_eq!(tree.limit(), None);
        assert_eq!(Tree::new("empty", &[]).limit(), None);
        let deep: String = "/x".repeat(500);
        let tree = Tree::new(
            "deep",
            &[("proc/self/cgroup", &std::format!("0::{deep}\n"))],
        );
        assert_eq!(tree.limit(), None);
    }
}
