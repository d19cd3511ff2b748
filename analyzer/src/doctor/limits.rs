//! Limits in force on memory and files.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Finding, locked};
use crate::human;

/// Findings about resource limits and the memory cgroup.
pub fn limits() -> Vec<Finding> {
    let mut findings = Vec::new();
    match soft_limit(libc::RLIMIT_FSIZE) {
        Some(bytes) => findings.push(Finding::note(
            "ulimit -f",
            format!(
                "files may have {} at most: recordings stop there",
                human::bytes(bytes)
            ),
            "ulimit -f unlimited, or disk=SIZE below it",
        )),
        None => findings.push(Finding::good("ulimit -f", "files may grow")),
    }
    if let Some(bytes) = soft_limit(libc::RLIMIT_AS) {
        findings.push(Finding::note(
            "ulimit -v",
            format!(
                "address space is limited to {}: leaktrack's tables count too",
                human::bytes(bytes)
            ),
            "memory=SIZE bounds them",
        ));
    }
    findings.extend(locked::locked(soft_limit(libc::RLIMIT_MEMLOCK)));
    findings.push(match cgroup_limit() {
        Some((path, bytes)) => Finding::good(
            "memory limit",
            format!("{} by {}", human::bytes(bytes), path.display()),
        ),
        None => Finding::good("memory limit", "none by cgroup"),
    });
    findings
}

fn soft_limit(resource: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: `limit` is writable and of the right type.
    unsafe { libc::getrlimit(resource, &mut limit) };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// The lowest limit on the way up from this process's cgroup, and the file it is in.
fn cgroup_limit() -> Option<(PathBuf, u64)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut lowest: Option<(PathBuf, u64)> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let (root, file) = if id == "0" && controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        for folder in Path::new(path.trim_start_matches('/')).ancestors() {
            let file = Path::new(root).join(folder).join(file);
            let limit = fs::read_to_string(&file)
                .ok()
                .and_then(|text| text.trim().parse::<u64>().ok());
            // Version 1 says "no limit" by a number near the highest.
            if let Some(bytes) = limit.filter(|bytes| *bytes < 1 << 60)
                && lowest.as_ref().is_none_or(|(_, least)| bytes < *least)
            {
                lowest = Some((file, bytes));
            }
        }
    }
    lowest
}
