//! Owns what the library says on stderr: whole lines that start with `leaktrack[PID]: `.
//!
//! Says nothing once descriptor 2 is another file than at the start, never waits for a reader, and
//! never lets the kernel raise SIGPIPE in the host.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::facts::process;
use crate::permit::{self, means::SAY, means::SNAPSHOT};
use crate::sys;
use crate::text::Text;

const STDERR: i32 = 2;

static DEV: AtomicU64 = AtomicU64::new(0);
static INO: AtomicU64 = AtomicU64::new(0);

/// Remembers which file descriptor 2 is now.
pub fn remember_stderr() {
    if let Ok(stat) = sys::fstat(STDERR) {
        DEV.store(stat.dev, Relaxed);
        INO.store(stat.ino, Relaxed);
    }
}

/// Says one line (given without its end).
pub fn say(text: &[u8]) {
    if !permit::allows(SAY.and(SNAPSHOT)) {
        return;
    }
    let same = |stat: sys::Stat| {
        stat.ino != 0 && (stat.dev, stat.ino) == (DEV.load(Relaxed), INO.load(Relaxed))
    };
    // The helper has a descriptor table of its own, where the number may be another file's, and
    // takes a copy for as long as it writes.
    let borrowed = if sys::fstat(STDERR).is_ok_and(same) || process::has_seccomp_filter() {
        None
    } else {
        sys::borrow_descriptor(STDERR).ok()
    };
    let stderr = borrowed.unwrap_or(STDERR);
    if sys::fstat(stderr).is_ok_and(same) {
        write(stderr, text);
    }
    if let Some(fd) = borrowed {
        sys::close(fd);
    }
}

fn write(stderr: i32, text: &[u8]) {
    // Shorter than PIPE_BUF: where the kernel says that it can be written, it is written whole.
    let mut line = Text::<1500>::new();
    line.push_bytes(b"leaktrack[")
        .push_u64(u64::from(sys::getpid()))
        .push_bytes(b"]: ");
    line.push_bytes(text.get(..text.len().min(1_400)).unwrap_or_default())
        .push(b'\n');
    if sys::is_writable_now(stderr) {
        sys::write_without_sigpipe(stderr, line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::testing::in_child;
    use std::io::Read;
    use std::os::fd::{AsRawFd, FromRawFd};

    fn pipe() -> (std::fs::File, std::fs::File) {
        let mut fds = [0; 2];
        // SAFETY: the array has room for two descriptors, which the files then own.
        unsafe {
            assert_eq!(libc::pipe(fds.as_mut_ptr()), 0);
            (
                std::fs::File::from_raw_fd(fds[0]),
                std::fs::File::from_raw_fd(fds[1]),
            )
        }
    }

    #[test]
    fn one_line_and_silence_after_stderr_changed() {
        let (mut read, write) = pipe();
        let code = in_child(|| {
            // SAFETY: the child owns its descriptors.
            unsafe { libc::dup2(write.as_raw_fd(), 2) };
            remember_stderr();
            say(b"hello");
            // SAFETY: as above.
            unsafe {
                let other = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY);
                libc::dup2(other, 2);
            }
            say(b"not this");
            // SAFETY: as above.
            unsafe { libc::close(2) };
            say(b"nor this");
            0
        });
        assert_eq!(code, 0);
        drop(write);
        let mut text = std::string::String::new();
        read.read_to_string(&mut text).unwrap();
        assert!(
            text.starts_with("leaktrack[") && text.ends_with("]: hello\n"),
            "{text:?}"
        );
    }

    #[test]
    fn a_reader_that_is_gone_or_slow_does_no_harm() {
        let (read, write) = pipe();
        drop(read);
        let code = in_child(|| {
            // SAFETY: the child owns its descriptors and signal dispositions.
            unsafe {
                libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                libc::dup2(write.as_raw_fd(), 2);
            }
            remember_stderr();
            say(b"to nobody");
            7
        });
        assert_eq!(code, 7);
        let (_read, write) = pipe();
        let code = in_child(|| {
            // SAFETY: as above.
            unsafe {
                libc::dup2(write.as_raw_fd(), 2);
                libc::alarm(240);
            }
            remember_stderr();
            for _ in 0..10_000 {
                say(b"to somebody who never reads");
            }
            8
        });
        assert_eq!(code, 8);
    }
}
