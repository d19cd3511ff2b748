//! Owns the figures of `/proc/self/stat` and `status`. Unknown is 0, for figures that a living
//! process never has at 0.

use super::lines;
use crate::config::units::number;
use crate::sys::{self, CStr};

/// The process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Resident set, bytes.
    pub rss_bytes: u64,
    /// Highest resident set since the program began, bytes.
    pub peak_rss_bytes: u64,
    /// Address space, bytes.
    pub vm_bytes: u64,
    /// Swapped out, bytes.
    pub swap_bytes: u64,
    /// Threads, leaktrack's own included.
    pub threads: u32,
    /// Minor faults since the process began.
    pub minor_faults: u64,
    /// Those of children that ended and were waited for, and of theirs; `None` without `/proc`.
    pub children_minor_faults: Option<u64>,
    /// Major faults since the process began.
    pub major_faults: u64,
    /// When the process began, clock ticks since boot.
    pub start_ticks: u64,
    /// Parent's process id.
    pub ppid: u32,
}

impl ProcessFacts {
    /// Takes in the `stat` file of a process; false if it cannot be read.
    pub fn read_stat(&mut self, path: &CStr) -> bool {
        let mut buf = [0u8; 1024];
        let len = lines::read_start(path, &mut buf).unwrap_or(0);
        parse_stat(buf.get(..len).unwrap_or_default(), self)
    }
}

/// True if a seccomp filter is in force for the calling thread.
pub fn has_seccomp_filter() -> bool {
    let mut filter = false;
    let _ = lines::for_each_line(c"/proc/thread-self/status", |line| {
        let mode = line.strip_prefix(b"Seccomp:").and_then(first_number);
        filter = mode == Some(2);
        mode.is_none()
    });
    filter
}

/// True if every thread but the calling helper has ended: then the process's first thread is a
/// zombie that waits for the rest, and there are two of them in the count.
pub fn only_helper_is_left() -> bool {
    let mut buf = [0u8; 1024];
    let len = lines::read_start(c"/proc/self/stat", &mut buf).unwrap_or(0);
    let stat = buf.get(..len).unwrap_or_default();
    // The name may hold anything; the fields begin behind its last parenthesis.
    let Some(end) = stat.iter().rposition(|&byte| byte == b')') else {
        return false;
    };
    let mut fields = stat
        .get(end + 1..)
        .unwrap_or_default()
        .split(|&byte| byte == b' ')
        .skip(1);
    let is_zombie = fields.next() == Some(b"Z");
    let threads = fields.nth(16); // state is field 3, the number of threads field 20
    is_zombie && threads == Some(b"2")
}

/// Asks the kernel. Without `/proc` only the faults are known.
pub fn read() -> ProcessFacts {
    let mut facts = ProcessFacts::default();
    let _ = lines::for_each_line(c"/proc/self/status", |line| {
        for (name, field) in [
            (&b"VmSize:"[..], &mut facts.vm_bytes),
            (b"VmHWM:", &mut facts.peak_rss_bytes),
            (b"VmRSS:", &mut facts.rss_bytes),
            (b"VmSwap:", &mut facts.swap_bytes),
        ] {
            if let Some(kib) = line.strip_prefix(name).and_then(first_number) {
                *field = kib.saturating_mul(1024);
            }
        }
        if let Some(threads) = line.strip_prefix(b"Threads:").and_then(first_number) {
            facts.threads = threads as u32;
        }
        facts.threads == 0 // the rest of the file is of no interest
    });
    if !facts.read_stat(c"/proc/self/stat")
        && let Ok(usage) = sys::getrusage()
    {
        facts.minor_faults = usage.minor_faults;
        facts.major_faults = usage.major_faults;
    }
    facts
}

fn first_number(text: &[u8]) -> Option<u64> {
    text.split(|byte| byte.is_ascii_whitespace())
        .find(|word| !word.is_empty())
        .and_then(number)
}

/// Fields 4, 10, 11, 12 and 22 of `proc(5)`, counted after the last `)` of the name.
fn parse_stat(text: &[u8], facts: &mut ProcessFacts) -> bool {
    let Some(name_end) = text.iter().rposition(|&byte| byte == b')') else {
        return false;
    };
    let mut complete = false;
    let fields = text.get(name_end + 1..).unwrap_or_default().trim_ascii();
    for (place, word) in fields.split(|&byte| byte == b' ').enumerate() {
        let value = number(word);
        match (place + 3, value) {
            (4, Some(n)) => facts.ppid = n as u32,
            (10, Some(n)) => facts.minor_faults = n,
            (11, n) => facts.children_minor_faults = n,
            (12, Some(n)) => facts.major_faults = n,
            (22, Some(n)) => {
                facts.start_ticks = n;
                complete = true;
            }
            _ => {}
        }
    }
    complete
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        let text =
            b"42 (a) b (c) R 1) S 1 42 42 0 -1 4194304 1234 77 56 0 1 2 0 0 20 0 7 0 987654 1 2\n";
        let mut facts = ProcessFacts::default();
        assert!(parse_stat(text, &mut facts));
        assert_eq!(
            (facts.minor_faults, facts.major_faults, facts.start_ticks),
            (1234, 56, 987_654)
        );
        assert_eq!(facts.children_minor_faults, Some(77));
        assert!(!parse_stat(b"", &mut facts));
        assert!(!parse_stat(b"42 (x) S 1 2", &mut facts));
    }

    #[test]
    fn this_process() {
        let touched = core::hint::black_box(std::vec![1u8; 32 << 20]);
        let facts = read();
        assert!(
            facts.rss_bytes > 32 << 20 && facts.vm_bytes > facts.rss_bytes,
            "{facts:?}"
        );
        assert!(
            facts.threads >= 1 && facts.minor_faults > 100 && facts.start_ticks > 0,
            "{facts:?}"
        );
        let usage = sys::getrusage().unwrap();
        assert!(
            usage.minor_faults >= facts.minor_faults
                && usage.minor_faults < facts.minor_faults + 5_000
        );
        assert_eq!(touched[4096], 1);
    }
}
