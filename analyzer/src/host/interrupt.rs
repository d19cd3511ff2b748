//! Owns being interrupted while a process is asked for something: Ctrl-C ends the command, but not
//! before the request was withdrawn.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

const SIGNALS: [libc::c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// The last of them that came; 0: none.
static CAME: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: libc::c_int) {
    CAME.store(signal, Relaxed);
}

/// Signals that would end the command are noted instead, as long as it exists.
pub struct Interrupts {
    before: Vec<(libc::c_int, libc::sigaction)>,
}

impl Interrupts {
    /// Notes them from now on. Those that are ignored or caught already stay so.
    pub fn note() -> Self {
        CAME.store(0, Relaxed);
        let before = SIGNALS.into_iter().filter_map(|signal| {
            let mut before = MaybeUninit::<libc::sigaction>::uninit();
            // SAFETY: all pointers are to live locals; a zeroed action has an empty mask and no
            // flags, so that waiting calls are interrupted; the handler only stores a number.
            unsafe {
                if libc::sigaction(signal, std::ptr::null(), before.as_mut_ptr()) != 0 {
                    return None;
                }
                let before = before.assume_init();
                if before.sa_sigaction != libc::SIG_DFL {
                    return None;
                }
                let mut noted: libc::sigaction = std::mem::zeroed();
                noted.sa_sigaction = note as extern "C" fn(libc::c_int) as libc::sighandler_t;
                let set = libc::sigaction(signal, &raw const noted, std::ptr::null_mut());
                (set == 0).then_some((signal, before))
            }
        });
        Self {
            before: before.collect(),
        }
    }

    /// True if one came.
    pub fn came(&self) -> bool {
        CAME.load(Relaxed) != 0
    }

    /// Ends this command by the one that came, if one did, as if it had not been noted.
    pub fn obey(self) {
        drop(self);
        let signal = CAME.swap(0, Relaxed);
        if signal != 0 {
            // SAFETY: raises a signal whose action is the default again.
            unsafe { libc::raise(signal) };
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for (signal, before) in &self.before {
            // SAFETY: puts back what was there.
            unsafe { libc::sigaction(*signal, before, std::ptr::null_mut()) };
        }
    }
}
