//! Owns NUMA: on which nodes this process's memory lies, and where its threads ran last.
//!
//! On one node there is nothing to tell. `numa_maps` walks the page table under the address space's
//! lock, a mapping at a time, as `smaps` does: it must never be read of a large process that serves.

use leaktrack_recording::NumaNode;

use crate::arena::AVec;
use crate::config::units::number;
use crate::facts::lines;
use crate::facts::sets::Set;
use crate::facts::tasks;
use crate::text::Text;
use crate::{helper, sys};

/// NumaNodes looked at.
const MOST_NODES: usize = 16;
/// Threads looked at.
const MOST_THREADS: usize = 1024;
const FOLDER: &[u8] = b"/sys/devices/system/node/";
/// Fields of `stat` after the name: state is the first, the processor that ran it last this one.
const PROCESSOR: usize = 36;

/// The nodes by number, empty on a machine with one. `with_memory`: `numa_maps` may be read; `prefix` stands before `/proc` and `/sys` (for
/// tests, else empty).
pub fn read(prefix: &[u8], with_memory: bool) -> AVec<NumaNode> {
    let mut nodes = AVec::new();
    let mut path = Text::<300>::new();
    path.push_bytes(prefix)
        .push_bytes(FOLDER)
        .push_bytes(b"online");
    let mut buf = [0u8; 128];
    let online = path.c_str().and_then(|path| {
        let len = lines::read_start(path, &mut buf).ok()?;
        Set::parse(buf.get(..len)?.trim_ascii())
    });
    let Some(online) = online.filter(|set| set.iter().nth(1).is_some()) else {
        return nodes;
    };
    let mut processors: AVec<Set> = AVec::new();
    for node in online.iter().take(MOST_NODES) {
        let mut of = NumaNode {
            number: node + 1,
            ..NumaNode::default()
        };
        host(prefix, node, &mut of);
        processors.try_push(cpulist(prefix, node).unwrap_or_default());
        nodes.try_push(of);
    }
    if with_memory {
        resident(prefix, nodes.as_mut_slice());
    }
    threads(prefix, processors.as_slice(), nodes.as_mut_slice());
    nodes
}

fn path_of<'a>(
    path: &'a mut Text<300>,
    prefix: &[u8],
    node: u32,
    file: &[u8],
) -> Option<&'a sys::CStr> {
    path.push_bytes(prefix)
        .push_bytes(FOLDER)
        .push_bytes(b"node")
        .push_u64(u64::from(node))
        .push_bytes(file);
    path.c_str()
}

/// `Node 0 MemTotal:       24689548 kB`.
fn host(prefix: &[u8], node: u32, of: &mut NumaNode) {
    let mut path = Text::new();
    let Some(path) = path_of(&mut path, prefix, node, b"/meminfo") else {
        return;
    };
    let _ = lines::for_each_line(path, |line| {
        let mut words = words(line).skip(2);
        let name = words.next().unwrap_or_default();
        let bytes = words
            .next()
            .and_then(number)
            .unwrap_or(0)
            .saturating_mul(1024);
        match name {
            b"MemTotal:" => of.host_bytes = bytes,
            b"MemFree:" => of.host_free_bytes = bytes,
            _ => {}
        }
        true
    });
}

fn cpulist(prefix: &[u8], node: u32) -> Option<Set> {
    let mut path = Text::new();
    let path = path_of(&mut path, prefix, node, b"/cpulist")?;
    let mut buf = [0u8; 512];
    let len = lines::read_start(path, &mut buf).ok()?;
    Set::parse(buf.get(..len)?.trim_ascii())
}

/// `7f01 default anon=3 dirty=3 N0=1 N1=2 kernelpagesize_kB=4`.
fn resident(prefix: &[u8], nodes: &mut [NumaNode]) {
    let mut path = Text::<300>::new();
    path.push_bytes(prefix).push_bytes(b"/proc/self/numa_maps");
    let Some(path) = path.c_str() else {
        return;
    };
    let _ = lines::for_each_line(path, |line| {
        let size = words(line)
            .find_map(|word| word.strip_prefix(b"kernelpagesize_kB="))
            .and_then(number)
            .unwrap_or(4)
            .saturating_mul(1024);
        for word in words(line) {
            let Some(rest) = word.strip_prefix(b"N") else {
                continue;
            };
            let mut sides = rest.splitn(2, |&byte| byte == b'=');
            let node = sides.next().and_then(number);
            let pages = sides.next().and_then(number);
            if let (Some(node), Some(pages)) = (node, pages)
                && let Some(of) = nodes.iter_mut().find(|of| u64::from(of.number) == node + 1)
            {
                let bytes = pages.saturating_mul(size);
                of.resident_bytes = of.resident_bytes.saturating_add(bytes);
            }
        }
        true
    });
}

/// Where each thread ran last.
fn threads(prefix: &[u8], processors: &[Set], nodes: &mut [NumaNode]) {
    let mut folder = Text::<300>::new();
    folder.push_bytes(prefix).push_bytes(b"/proc/self/task");
    let mut tids: AVec<u32> = AVec::new();
    if let Some(folder) = folder.c_str() {
        tasks::list_in(folder, &mut tids);
    }
    let own = helper::tid();
    let tids = tids.as_slice().iter().filter(|tid| **tid != own);
    for tid in tids.take(MOST_THREADS) {
        let mut path = Text::<340>::new();
        path.push_bytes(folder.as_bytes())
            .push(b'/')
            .push_u64(u64::from(*tid))
            .push_bytes(b"/stat");
        let mut buf = [0u8; 512];
        let place = path.c_str().and_then(|path| {
            let len = lines::read_start(path, &mut buf).ok()?;
            let line = buf.get(..len)?;
            // The name may hold anything, brackets too.
            let after = line.iter().rposition(|&byte| byte == b')')?;
            let cpu = words(line.get(after + 1..)?)
                .nth(PROCESSOR)
                .and_then(number)?;
            processors.iter().position(|set| set.contains(cpu as u32))
        });
        if let Some(node) = place.and_then(|place| nodes.get_mut(place)) {
            node.threads += 1;
        }
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, string::String, vec::Vec};

    fn tree(name: &str, files: &[(&str, &str)]) -> Vec<NumaNode> {
        let folder = std::format!("leaktrack-nodes-{}-{name}", std::process::id());
        let root = std::env::temp_dir().join(folder);
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let nodes = read(root.to_str().unwrap().as_bytes(), true);
        let _ = fs::remove_dir_all(&root);
        nodes.as_slice().to_vec()
    }

    fn stat(name: &str, cpu: u32) -> String {
        // `processor` is field 39 of proc(5).
        let zeros = |count| "0 ".repeat(count);
        std::format!("7 ({name}) S {}{cpu} {}\n", zeros(35), zeros(13))
    }

    const NODE: &str = "sys/devices/system/node/";

    #[test]
    fn two_nodes() {
        let at = |file: &str| std::format!("{NODE}{file}");
        let meminfo = |node, total, free| {
            std::format!("Node {node} MemTotal:  {total} kB\nNode {node} MemFree:  {free} kB\n")
        };
        let files: [(String, String); 9] = [
            (at("online"), "0,2\n".into()),
            (at("node0/meminfo"), meminfo(0, 1000, 400)),
            (at("node0/cpulist"), "0-3,128-131\n".into()),
            (at("node2/meminfo"), meminfo(2, 2000, 1500)),
            (at("node2/cpulist"), "4-7\n".into()),
            (
                "proc/self/numa_maps".into(),
                "55a0 default file=/bin/x N0=1 mapped=5 N0=2 kernelpagesize_kB=4\n\
                 7f00 bind:2 anon=10 dirty=10 N0=3 N2=7 kernelpagesize_kB=4\n\
                 7f40 default huge anon=2 dirty=2 N2=2 kernelpagesize_kB=2048\n\
                 7f80 default\n7f90 default N9=5\n"
                    .into(),
            ),
            ("proc/self/task/11/stat".into(), stat("a", 130)),
            ("proc/self/task/12/stat".into(), stat("b) R (c", 5)),
            ("proc/self/task/13/stat".into(), stat("d", 7)),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        let nodes = tree("two", &files);
        let expected = [
            NumaNode {
                number: 1,
                resident_bytes: 6 * 4096,
                host_bytes: 1000 << 10,
                host_free_bytes: 400 << 10,
                threads: 1,
            },
            NumaNode {
                number: 3,
                resident_bytes: 7 * 4096 + (4 << 20),
                host_bytes: 2000 << 10,
                host_free_bytes: 1500 << 10,
                threads: 2,
            },
        ];
        assert_eq!(nodes, expected);
    }

    #[test]
    fn one_node_or_none_is_not_worth_a_word() {
        let online = std::format!("{NODE}online");
        let maps = ("proc/self/numa_maps", "7f00 default N0=3\n");
        assert_eq!(tree("one", &[(&online, "0\n"), maps]), []);
        assert_eq!(tree("none", &[maps]), []);
    }
}
