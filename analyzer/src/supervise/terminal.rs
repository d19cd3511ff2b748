//! Owns the terminal's foreground: hands it to the command and takes it back.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// The controlling terminal, in whose foreground this process was started.
pub struct Terminal {
    tty: File,
    own_group: libc::pid_t,
}

impl Terminal {
    /// The terminal, if there is one and this process is in its foreground.
    pub fn in_foreground() -> Option<Self> {
        let tty = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        // SAFETY: both only return a number; the descriptor is open.
        let (own_group, foreground) =
            unsafe { (libc::getpgrp(), libc::tcgetpgrp(tty.as_raw_fd())) };
        (own_group == foreground).then_some(Self { tty, own_group })
    }

    /// For [`lead_foreground`] in the child.
    pub fn descriptor(&self) -> RawFd {
        self.tty.as_raw_fd()
    }

    /// Makes this process's group the foreground again.
    pub fn take_back(&self) {
        self.give_to(self.own_group);
    }

    /// `child` was stopped by a key: stops this process too, so that the shell notices; when the
    /// shell continues it, so is the child, in the foreground if the shell put us there.
    pub fn stop_with(&self, child: libc::pid_t) {
        self.take_back();
        // SAFETY: plain system calls on our own process, and on the group of a child that has not
        // been reaped.
        unsafe {
            libc::kill(libc::getpid(), libc::SIGSTOP);
            if libc::tcgetpgrp(self.tty.as_raw_fd()) == self.own_group {
                self.give_to(child);
            }
            libc::kill(-child, libc::SIGCONT);
        }
    }

    fn give_to(&self, group: libc::pid_t) {
        // SAFETY: a plain system call; SIGTTOU is blocked, so that it cannot stop us.
        unsafe { libc::tcsetpgrp(self.tty.as_raw_fd(), group) };
    }
}

/// In the child, before exec: leads a new group and takes the terminal. Async-signal-safe.
pub fn lead_foreground(tty: RawFd) -> io::Result<()> {
    // SAFETY: plain system calls; SIGTTOU is ignored meanwhile, because a group that is not in
    // the foreground would be stopped by it.
    unsafe {
        if libc::setpgid(0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        let before = libc::signal(libc::SIGTTOU, libc::SIG_IGN);
        libc::tcsetpgrp(tty, libc::getpid());
        libc::signal(libc::SIGTTOU, before);
    }
    Ok(())
}
