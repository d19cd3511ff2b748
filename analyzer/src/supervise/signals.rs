//! Owns signal masks, waiting and forwarding. Installs no handler: signals are blocked and waited
//! for, so nothing here runs at an awkward moment.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Left alone: they are raised by our own faults, or belong to job control.
const NOT_FORWARDED: &[libc::c_int] = &[
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGPIPE,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGTTIN,
];

/// What SIGPIPE did before Rust's runtime set it to be ignored. Written once, before `main`.
static SIGPIPE_AT_START: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

extern "C" fn note_sigpipe() {
    // SAFETY: `sigaction` is plain data for which all zeros is a value; a null new action only asks.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut action) == 0 {
            SIGPIPE_AT_START.store(action.sa_sigaction, Ordering::Relaxed);
        }
    }
}

// SAFETY: the C library calls this before Rust's runtime starts; it uses nothing of that.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_SIGPIPE: extern "C" fn() = note_sigpipe;

/// The signal state this process was started with, which belongs to the command.
#[derive(Clone)]
pub struct Inherited {
    mask: libc::sigset_t,
    sigpipe: usize,
}

impl Inherited {
    /// Taken at the start, before anything is blocked.
    pub fn take() -> Self {
        // SAFETY: `sigset_t` is plain data; a null new set only asks.
        let mask = unsafe {
            let mut mask: libc::sigset_t = zeroed();
            libc::sigprocmask(libc::SIG_SETMASK, std::ptr::null(), &mut mask);
            mask
        };
        Self {
            mask,
            sigpipe: SIGPIPE_AT_START.load(Ordering::Relaxed),
        }
    }

    /// Puts mask and SIGPIPE back as they were. Async-signal-safe.
    pub fn restore(&self) -> io::Result<()> {
        // SAFETY: the value came from `sigaction` and is SIG_DFL or SIG_IGN: no handler survives
        // the exec that started this process.
        unsafe { libc::signal(libc::SIGPIPE, self.sigpipe) };
        self.restore_mask()
    }

    /// Puts the mask back as it was. Async-signal-safe.
    pub fn restore_mask(&self) -> io::Result<()> {
        // SAFETY: `mask` is an initialised set.
        check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.mask, std::ptr::null_mut()) })
    }
}

/// A signal and where it came from.
pub struct Received {
    /// Its number.
    pub number: libc::c_int,
    /// It came from the kernel (a key at the terminal), not from a process.
    pub from_kernel: bool,
}

/// Blocks everything that [`wait`] takes, and SIGTTOU, so that the terminal can be handed over.
pub fn block_all() -> io::Result<()> {
    let mut set = awaited();
    // SAFETY: `set` is an initialised set.
    check(unsafe {
        libc::sigaddset(&mut set, libc::SIGTTOU);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut())
    })
}

/// Waits for the next signal.
pub fn wait() -> Received {
    let set = awaited();
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: both pointers are valid for the call; all zeros is a `siginfo_t`.
        let (number, info) = unsafe {
            let number = libc::sigwaitinfo(&set, info.as_mut_ptr());
            (number, info.assume_init())
        };
        if number > 0 {
            return Received {
                number,
                from_kernel: info.si_code == libc::SI_KERNEL,
            };
        }
    }
}

/// Passes a signal on: to the whole of the command's own group, else to the command alone, and
/// then not what the kernel has already sent to the group that both are in.
pub fn forward(received: &Received, child: libc::pid_t, own_group: bool) {
    if received.from_kernel && !own_group {
        return;
    }
    let to = if own_group { -child } else { child };
    // SAFETY: `child` is not reaped yet, so its number, and that of its group, mean nothing else.
    unsafe { libc::kill(to, received.number) };
}

/// The next child that changed, with its raw status.
pub fn reap() -> Option<(libc::pid_t, libc::c_int)> {
    let mut status = 0;
    // SAFETY: `status` is writable.
    let pid = unsafe {
        libc::waitpid(
            -1,
            &mut status,
            libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED,
        )
    };
    (pid > 0).then_some((pid, status))
}

fn awaited() -> libc::sigset_t {
    // SAFETY: `set` is initialised by sigfillset; the numbers are valid.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigfillset(&mut set);
        for &number in NOT_FORWARDED {
            libc::sigdelset(&mut set, number);
        }
        libc::sigdelset(&mut set, libc::SIGTTOU);
        set
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
