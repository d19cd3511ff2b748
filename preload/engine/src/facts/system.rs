//! Owns the reading of the system around the process: locked memory, swap traffic, the memory
//! cgroup, pressure, the OOM killer's score. A file that is not there is an unknown.
//!
//! Ten small files, read with some seconds between: `memory.stat` and `smaps`-like files make the
//! kernel add up figures of all processors, so nobody reads them in a loop.

use leaktrack_recording::System;

use super::lines;
use crate::config::units::number;
use crate::sys;
use crate::text::{Path, Text};

const RLIMIT_MEMLOCK: usize = 8;
/// Version 1 says "no limit" by a number just below 2^63.
const NO_LIMIT_FROM_BYTES: u64 = 1 << 62;

/// How much the process may lock (`RLIMIT_MEMLOCK`, soft); `u64::MAX` is unlimited.
pub fn locked_limit_bytes() -> Option<u64> {
    sys::getrlimit(RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft)
}

/// Reads what there is; `prefix` stands before `/proc` and `/sys` (for tests, else empty).
pub fn read(prefix: &[u8]) -> System {
    let mut system = System {
        locked_limit_bytes: locked_limit_bytes(),
        ..System::default()
    };
    let kib = |value: Option<u64>| value.and_then(|kib| kib.checked_mul(1024));
    fields(prefix, b"/proc/self/status", &mut |name, value| {
        if name == b"VmLck" {
            system.locked_bytes = kib(value);
        }
    });
    fields(prefix, b"/proc/meminfo", &mut |name, value| match name {
        b"MemTotal" => system.host_memory_bytes = kib(value),
        b"MemAvailable" => system.host_available_bytes = kib(value),
        b"Mlocked" => system.host_locked_bytes = kib(value),
        _ => {}
    });
    fields(prefix, b"/proc/vmstat", &mut |name, value| match name {
        b"pswpin" => system.host_swap_in_pages = value,
        b"pswpout" => system.host_swap_out_pages = value,
        _ => {}
    });
    system.oom_score = single(prefix, b"/proc/self/oom_score", b"");
    let mut folder = Path::new();
    match cgroup(prefix, &mut folder) {
        Some(Version::Two) => version_2(folder.as_bytes(), &mut system),
        Some(Version::One) => version_1(folder.as_bytes(), &mut system),
        None => {}
    }
    if system.pressure_some_us.is_none() {
        let mut path = Path::new();
        path.push_bytes(prefix).push_bytes(b"/proc/pressure");
        pressure(path.as_bytes(), b"/memory", 0, &mut system);
    }
    system
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Finds the folder of the memory cgroup that this process is charged to. A container often sees
/// only its own part of the tree, so that the nearest folder above that is there is the right one.
fn cgroup(prefix: &[u8], folder: &mut Path) -> Option<Version> {
    let mut path = Path::new();
    path.push_bytes(prefix).push_bytes(b"/proc/self/cgroup");
    let mut found = None;
    let _ = lines::for_each_line(path.c_str()?, |line| {
        let mut parts = line.splitn(3, |&byte| byte == b':');
        let (Some(id), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next())
        else {
            return true;
        };
        let mut try_in = |mount: &[u8], file: &[u8], version| {
            if found.is_none() && nearest(prefix, mount, group, file, folder) {
                found = Some(version);
            }
        };
        if id == b"0" && controllers.is_empty() {
            try_in(b"/sys/fs/cgroup", b"/memory.current", Version::Two);
            try_in(b"/sys/fs/cgroup/unified", b"/memory.current", Version::Two);
        } else if controllers
            .split(|&byte| byte == b',')
            .any(|name| name == b"memory")
        {
            let file = b"/memory.usage_in_bytes";
            try_in(b"/sys/fs/cgroup/memory", file, Version::One);
        }
        true
    });
    found
}

/// The folder of `group` under `mount`, or the nearest above it, that has `file`.
fn nearest(prefix: &[u8], mount: &[u8], group: &[u8], file: &[u8], folder: &mut Path) -> bool {
    let mut group = group.strip_suffix(b"/").unwrap_or(group);
    for _ in 0..64 {
        folder.clear();
        folder
            .push_bytes(prefix)
            .push_bytes(mount)
            .push_bytes(group);
        let outside = group.split(|&byte| byte == b'/').any(|part| part == b"..");
        if !outside && single(folder.as_bytes(), file, b"").is_some() {
            return true;
        }
        let Some(parent) = group.iter().rposition(|&byte| byte == b'/') else {
            break;
        };
        group = group.get(..parent).unwrap_or_default();
    }
    false
}

fn version_2(folder: &[u8], system: &mut System) {
    system.cgroup_bytes = single(folder, b"/memory.current", b"");
    system.cgroup_high_bytes = single(folder, b"/memory.high", b"max");
    system.cgroup_max_bytes = single(folder, b"/memory.max", b"max");
    system.cgroup_swap_bytes = single(folder, b"/memory.swap.current", b"");
    fields(folder, b"/memory.events", &mut |name, value| match name {
        b"high" => system.cgroup_high_events = value,
        b"max" => system.cgroup_max_events = value,
        b"oom" => system.cgroup_oom_events = value,
        b"oom_kill" => system.cgroup_oom_kills = value,
        _ => {}
    });
    fields(folder, b"/memory.stat", &mut |name, value| match name {
        b"anon" => system.cgroup_anon_bytes = value,
        b"file" => system.cgroup_file_bytes = value,
        b"shmem" => system.cgroup_shmem_bytes = value,
        b"kernel" => system.cgroup_kernel_bytes = value,
        _ => {}
    });
    pressure(folder, b"/memory.pressure", 1, system);
}

fn version_1(folder: &[u8], system: &mut System) {
    system.cgroup_bytes = single(folder, b"/memory.usage_in_bytes", b"");
    system.cgroup_max_bytes = single(folder, b"/memory.limit_in_bytes", b"").map(|bytes| {
        if bytes < NO_LIMIT_FROM_BYTES {
            bytes
        } else {
            u64::MAX
        }
    });
    system.cgroup_max_events = single(folder, b"/memory.failcnt", b"");
    fields(folder, b"/memory.oom_control", &mut |name, value| {
        if name == b"oom_kill" {
            system.cgroup_oom_kills = value;
        }
    });
    fields(folder, b"/memory.stat", &mut |name, value| match name {
        b"rss" => system.cgroup_anon_bytes = value,
        b"cache" => system.cgroup_file_bytes = value,
        b"shmem" => system.cgroup_shmem_bytes = value,
        b"swap" => system.cgroup_swap_bytes = value,
        _ => {}
    });
    system.cgroup_kernel_bytes = single(folder, b"/memory.kmem.usage_in_bytes", b"");
}

/// `some avg10=0.12 avg60=0.00 avg300=0.00 total=345`, and the same with `full`.
fn pressure(folder: &[u8], file: &[u8], is_cgroup: u64, system: &mut System) {
    for_each(folder, file, &mut |line| {
        let mut words = line.split(|&byte| byte == b' ');
        let kind = words.next().unwrap_or_default();
        let (mut share, mut total) = (None, None);
        for word in words {
            if let Some(text) = word.strip_prefix(b"avg10=") {
                share = hundredths(text);
            } else if let Some(text) = word.strip_prefix(b"total=") {
                total = number(text);
            }
        }
        match kind {
            b"some" => (system.pressure_some, system.pressure_some_us) = (share, total),
            b"full" => (system.pressure_full, system.pressure_full_us) = (share, total),
            _ => return,
        }
        system.pressure_is_cgroup = Some(is_cgroup);
    });
}

/// `12.34` as 1234.
fn hundredths(text: &[u8]) -> Option<u64> {
    let dot = text.iter().position(|&byte| byte == b'.')?;
    let (whole, rest) = text.split_at_checked(dot)?;
    let fraction = rest.get(1..3).filter(|_| rest.len() == 3)?;
    number(whole)?
        .checked_mul(100)?
        .checked_add(number(fraction)?)
}

/// The number that a file consists of; `unlimited` stands for the highest.
fn single(folder: &[u8], file: &[u8], unlimited: &[u8]) -> Option<u64> {
    let mut path = Path::new();
    path.push_bytes(folder).push_bytes(file);
    let mut buf = [0u8; 32];
    let len = lines::read_start(path.c_str()?, &mut buf).ok()?;
    let text = buf.get(..len)?.trim_ascii();
    if !unlimited.is_empty() && text == unlimited {
        return Some(u64::MAX);
    }
    number(text)
}

/// Lines of a name and a number, with or without a colon.
fn fields(folder: &[u8], file: &[u8], each: &mut dyn FnMut(&[u8], Option<u64>)) {
    for_each(folder, file, &mut |line| {
        let mut words = line
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|word| !word.is_empty());
        let name = words.next().unwrap_or_default();
        let name = name.strip_suffix(b":").unwrap_or(name);
        each(name, words.next().and_then(number));
    });
}

fn for_each(folder: &[u8], file: &[u8], each: &mut dyn FnMut(&[u8])) {
    let mut path = Text::<4096>::new();
    path.push_bytes(folder).push_bytes(file);
    if let Some(path) = path.c_str() {
        let _ = lines::for_each_line(path, |line| {
            each(line);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};
    use std::{fs, path::PathBuf};

    fn tree(name: &str, files: &[(&str, &str)]) -> (PathBuf, System) {
        let folder = std::format!("leaktrack-system-{}-{name}", std::process::id());
        let root = std::env::temp_dir().join(folder);
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let system = read(root.to_str().unwrap().as_bytes());
        let _ = fs::remove_dir_all(&root);
        (root, system)
    }

    #[test]
    fn a_cgroup_of_version_2() {
        let in_group = "sys/fs/cgroup/a/b/";
        let at = |file: &str| in_group.to_string() + file;
        let files: [(String, &str); 13] = [
            ("proc/self/cgroup".into(), "0::/a/b/c\n"),
            (
                "proc/self/status".into(),
                "Name:\tx\nVmLck:\t     128 kB\nVmRSS:\t 9 kB\n",
            ),
            (
                "proc/meminfo".into(),
                "MemTotal:       1000 kB\nMemAvailable:    500 kB\nMlocked:         10 kB\n",
            ),
            (
                "proc/vmstat".into(),
                "nr_free_pages 1\npswpin 7\npswpout 8\n",
            ),
            ("proc/self/oom_score".into(), "666\n"),
            (at("memory.current"), "123456\n"),
            (at("memory.high"), "max\n"),
            (at("memory.max"), "1000000\n"),
            (at("memory.swap.current"), "4096\n"),
            (
                at("memory.events"),
                "low 0\nhigh 3\nmax 4\noom 5\noom_kill 6\n",
            ),
            (
                at("memory.stat"),
                "anon 11\nfile 12\nkernel 13\nshmem 14\nanon_thp 99\n",
            ),
            (
                at("memory.pressure"),
                "some avg10=12.34 avg60=0.00 avg300=0.00 total=345\nfull avg10=0.05 avg60=0.00 avg300=0.00 total=56\n",
            ),
            (
                "proc/pressure/memory".into(),
                "some avg10=99.00 avg60=0.00 avg300=0.00 total=1\n",
            ),
        ];
        let files: std::vec::Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), *text))
            .collect();
        let (_, system) = tree("v2", &files);
        let expected = System {
            locked_bytes: Some(128 << 10),
            locked_limit_bytes: system.locked_limit_bytes,
            host_memory_bytes: Some(1000 << 10),
            host_available_bytes: Some(500 << 10),
            host_locked_bytes: Some(10 << 10),
            host_swap_in_pages: Some(7),
            host_swap_out_pages: Some(8),
            oom_score: Some(666),
            cgroup_bytes: Some(123_456),
            cgroup_high_bytes: Some(u64::MAX),
            cgroup_max_bytes: Some(1_000_000),
            cgroup_swap_bytes: Some(4096),
            cgroup_high_events: Some(3),
            cgroup_max_events: Some(4),
            cgroup_oom_events: Some(5),
            cgroup_oom_kills: Some(6),
            cgroup_anon_bytes: Some(11),
            cgroup_file_bytes: Some(12),
            cgroup_shmem_bytes: Some(14),
            cgroup_kernel_bytes: Some(13),
            pressure_some: Some(1234),
            pressure_some_us: Some(345),
            pressure_full: Some(5),
            pressure_full_us: Some(56),
            pressure_is_cgroup: Some(1),
            children_minor_faults: None,
            peak_resident_bytes: None,
        };
        assert_eq!(system, expected);
    }

    #[test]
    fn a_cgroup_of_version_1_and_the_pressure_of_the_host() {
        let (_, system) = tree(
            "v1",
            &[
                ("proc/self/cgroup", "4:memory:/pod\n0::/\n"),
                ("sys/fs/cgroup/memory/pod/memory.usage_in_bytes", "5000\n"),
                (
                    "sys/fs/cgroup/memory/pod/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
                ("sys/fs/cgroup/memory/pod/memory.failcnt", "2\n"),
                (
                    "sys/fs/cgroup/memory/pod/memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
                ),
                (
                    "sys/fs/cgroup/memory/pod/memory.stat",
                    "cache 1\nrss 2\nshmem 3\nswap 4\n",
                ),
                (
                    "proc/pressure/memory",
                    "some avg10=1.00 avg60=0.00 avg300=0.00 total=9\n",
                ),
            ],
        );
        assert_eq!(
            (system.cgroup_bytes, system.cgroup_max_bytes),
            (Some(5000), Some(u64::MAX))
        );
        assert_eq!(
            (system.cgroup_max_events, system.cgroup_oom_kills),
            (Some(2), Some(1))
        );
        assert_eq!(
            (system.cgroup_anon_bytes, system.cgroup_swap_bytes),
            (Some(2), Some(4))
        );
        assert_eq!(
            (system.pressure_some, system.pressure_is_cgroup),
            (Some(100), Some(0))
        );
        assert_eq!(system.pressure_full, None);
    }

    #[test]
    fn what_is_not_there_is_unknown() {
        let (_, system) = tree("none", &[]);
        let known = System {
            locked_limit_bytes: system.locked_limit_bytes,
            ..System::default()
        };
        assert_eq!(system, known);
    }

    #[test]
    fn this_process() {
        let system = read(b"");
        let total = system.host_memory_bytes.unwrap();
        assert!(system.host_available_bytes.unwrap() <= total);
        assert!(system.locked_bytes.is_some() && system.oom_score.is_some());
    }
}
