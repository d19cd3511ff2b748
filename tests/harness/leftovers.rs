//! Owns the processes that a program under test leaves behind: daemons, orphans, workers. It never touches a process that
//! does not carry the mark of the run it is asked about.

use std::time::{Duration, Instant};

/// Environment variable that marks all processes of one run; it survives fork, exec and daemon().
pub(crate) const MARK: &str = "LEAKTRACK_TEST_RUN";

/// Pids of the processes of one run that still live (zombies do not count).
pub(crate) fn alive(mark: &str) -> Vec<i32> {
    let needle = format!("{MARK}={mark}");
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ
                .split(|byte| *byte == 0)
                .any(|variable| variable == needle.as_bytes())
        })
        .collect()
}

/// Waits until no process of the run lives; kills what is left at the deadline and returns how many that were.
pub(crate) fn wait(mark: &str, limit: Duration) -> usize {
    let deadline = Instant::now() + limit;
    loop {
        let left = alive(mark);
        if left.is_empty() {
            return 0;
        }
        if Instant::now() >= deadline {
            for pid in &left {
                // SAFETY: plain kill(2); the pid was just read from /proc and carries this run's mark.
                unsafe { libc::kill(*pid, libc::SIGKILL) };
            }
            return left.len();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
