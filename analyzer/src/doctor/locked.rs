//! Memory that may not be swapped: how much is allowed here, how much there is, and whose.

use std::fs;

use super::Finding;
use crate::host::{ProcessFiles, printable};
use crate::human;

/// Shares of the host's memory above which what is locked is worth a note, and a warning.
const NOTED: f64 = 0.5;
const HIGH: f64 = 0.8;
/// Processes named.
const NAMED: usize = 3;

/// Findings about locked memory; `limit` is the soft `RLIMIT_MEMLOCK`, `None` without one.
pub fn locked(limit: Option<u64>) -> Vec<Finding> {
    let words = match limit {
        Some(bytes) => format!("{} may be locked per process", human::bytes(bytes)),
        None => "any amount may be locked".to_owned(),
    };
    let mut findings = vec![match limit.filter(|bytes| *bytes < 64 << 10) {
        Some(_) => Finding::note(
            "ulimit -l",
            format!("{words}: page faults may not be attributable"),
            "ulimit -l 64 (KiB) or more",
        ),
        None => Finding::good("ulimit -l", words),
    }];
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if let (Some(locked), Some(total)) = (kib(&meminfo, "Mlocked:"), kib(&meminfo, "MemTotal:")) {
        findings.push(share(locked, total, &holders()));
    }
    findings
}

fn share(locked: u64, total: u64, holders: &[(u64, String)]) -> Finding {
    let share = locked as f64 / total.max(1) as f64;
    let mut text = format!(
        "{} of the host's {} is locked in memory ({:.0}%)",
        human::bytes(locked),
        human::bytes(total),
        share * 100.0
    );
    let named: Vec<String> = holders
        .iter()
        .take(NAMED)
        .map(|(bytes, name)| format!("{name} {}", human::bytes(*bytes)))
        .collect();
    if !named.is_empty() {
        // Of a process the kernel tells address space, which may never have been touched.
        text.push_str(&format!(
            "; address space that is locked, touched or not: {}",
            named.join(", ")
        ));
    }
    if share > HIGH {
        text.push_str(": nearly nothing is left to reclaim, and processes are killed soon");
        Finding::note("locked memory", text, "lock less, or add memory")
    } else if share > NOTED {
        text.push_str(": the rest has to make room for everything else");
        Finding::note("locked memory", text, "lock only what must not fault")
    } else {
        Finding::good("locked memory", text)
    }
}

/// Processes that lock memory, most first, as far as they may be looked at.
fn holders() -> Vec<(u64, String)> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut holders: Vec<(u64, String)> = folders
        .filter_map(|folder| {
            let pid: u32 = folder.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(folder.path().join("status")).ok()?;
            let bytes = kib(&status, "VmLck:").filter(|bytes| *bytes > 0)?;
            let name = printable(&ProcessFiles::new(pid).name());
            Some((bytes, format!("{name} ({pid})")))
        })
        .collect();
    holders.sort_by(|a, b| b.cmp(a));
    holders
}

/// Bytes of a line such as `VmLck:     12 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn shares_are_judged() {
        let holders = [(5 << 30, "redis (7)".to_owned())];
        let level = |locked: u64| share(locked << 30, 10 << 30, &holders).level;
        assert_eq!(level(5), Level::Good);
        assert_eq!((level(6), level(9)), (Level::Note, Level::Note));
        let high = share(9 << 30, 10 << 30, &holders);
        assert!(
            high.text
                .contains("(90%); address space that is locked, touched or not: redis (7) 5.0 GiB"),
            "{}",
            high.text
        );
        assert!(high.text.contains("killed"));
        assert!(!share(6 << 30, 10 << 30, &[]).text.contains("address space"));
    }

    #[test]
    fn lines_of_proc() {
        assert_eq!(
            kib("VmPin: 1 kB\nVmLck:\t   12 kB\n", "VmLck:"),
            Some(12 << 10)
        );
        assert_eq!(kib("x", "VmLck:"), None);
    }
}
