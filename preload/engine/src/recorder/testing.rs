//! Helpers of the tests: folders that clean up, forked children, small file systems.

use crate::text::Path;
use std::path::PathBuf;

pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(std::format!("leaktrack-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn path_of(path: &std::path::Path) -> Path {
    let mut out = Path::new();
    out.push_bytes(path.to_str().unwrap().as_bytes());
    out
}

/// Forks; the child runs `body` and leaves by `_exit` with its code. The child's process number.
pub fn forked(body: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the child only runs `body`, which touches no locks of other threads but the engine's, and
    // leaves by `_exit`. A test beside this one may hold any of these at this moment: they are freed
    // in the child, where this is the only thread.
    unsafe {
        let pid = libc::fork();
        assert!(pid >= 0);
        if pid == 0 {
            crate::fork::abandon_tables();
            crate::faults::forget_in_child();
            let body = std::panic::AssertUnwindSafe(body);
            libc::_exit(std::panic::catch_unwind(body).unwrap_or(101));
        }
        pid
    }
}

/// Waits for a child of [`forked`]; its exit code, or 128 + signal.
pub fn ended(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: our own child; the kernel writes a live local.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    }
}

/// Runs `body` in a forked child; its exit code, or 128 + signal.
pub fn in_child(body: impl FnOnce() -> i32) -> i32 {
    ended(forked(body))
}

/// A write into a recording: where and what.
pub type Write = (u64, std::vec::Vec<u8>);

std::thread_local! {
    static WRITES: core::cell::RefCell<Option<std::vec::Vec<Write>>> = const { core::cell::RefCell::new(None) };
}

/// Keeps what this thread writes into recordings while `body` runs.
pub fn writes_of(body: impl FnOnce()) -> std::vec::Vec<Write> {
    WRITES.with(|writes| *writes.borrow_mut() = Some(std::vec::Vec::new()));
    body();
    WRITES.with(|writes| writes.borrow_mut().take().unwrap())
}

pub fn note_write(offset: u64, bytes: &[u8]) {
    WRITES.with(|writes| {
        if let Some(list) = writes.borrow_mut().as_mut() {
            list.push((offset, bytes.to_vec()));
        }
    });
}
