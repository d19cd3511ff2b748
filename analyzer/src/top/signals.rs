//! Signals that end or stop `top` arrive as happenings, so that the terminal is put back first.
//!
//! Installs no handler: they are blocked and waited for.

use std::io;
use std::mem::zeroed;

/// Waited for. SIGWINCH is not: the terminal's events tell of it.
const SIGNALS: [libc::c_int; 5] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGTSTP,
];

/// The signals are blocked in this thread and those that it starts.
pub struct Blocked(libc::sigset_t);

impl Blocked {
    /// Blocks them. Call before any thread is started.
    pub fn now() -> io::Result<Self> {
        // SAFETY: `sigset_t` is plain data that `sigemptyset` initialises; all pointers are to
        // live locals, and a null old set is not written.
        let (set, status) = unsafe {
            let mut set: libc::sigset_t = zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in SIGNALS {
                libc::sigaddset(&raw mut set, signal);
            }
            let status =
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            (set, status)
        };
        match status {
            0 => Ok(Self(set)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Calls `happened` with each of them, in a thread of its own, as long as it returns true.
    pub fn each(self, happened: impl Fn(libc::c_int) -> bool + Send + 'static) {
        std::thread::spawn(move || {
            loop {
                let mut signal = 0;
                // SAFETY: the set is initialised, and `signal` a live local.
                let status = unsafe { libc::sigwait(&raw const self.0, &raw mut signal) };
                if status == 0 && !happened(signal) {
                    return;
                }
            }
        });
    }
}
