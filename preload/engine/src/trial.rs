//! Owns the trial of a seccomp filter that was there before us (systemd's `SystemCallFilter=`, a
//! container's profile): which of the calls that the library makes the filter answers by killing.
//!
//! A throw-away child makes them one by one. It is a plain fork without a signal at its end, so
//! that the host notices nothing; a child that a filter kills names the call by where it stopped.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::facts::process;
use crate::sys::{self, nr, syscall6};
use crate::text::Text;
use crate::{message, permit, unwind};

/// A call of ours: its name, its number, arguments that make it do nothing.
struct Call(&'static [u8], usize, [usize; 6]);

const BAD_FD: usize = usize::MAX;

/// What the library calls in hooks, helper and snapshots, beyond what the loader itself needs.
/// The first also keeps a killed child from leaving a core file.
static CALLS: [Call; 29] = [
    Call(b"prctl", nr::PRCTL, [PR_SET_DUMPABLE, 0, 0, 0, 0, 0]),
    Call(b"process_vm_readv", nr::PROCESS_VM_READV, [0; 6]),
    Call(b"process_vm_writev", nr::PROCESS_VM_WRITEV, [0; 6]),
    Call(b"close_range", nr::CLOSE_RANGE, [BAD_FD, 0, 0, 0, 0, 0]),
    Call(b"futex_waitv", nr::FUTEX_WAITV, [0; 6]),
    Call(b"sigaltstack", nr::SIGALTSTACK, [0; 6]),
    Call(b"getpid", nr::GETPID, [0; 6]),
    Call(b"gettid", nr::GETTID, [0; 6]),
    Call(b"getppid", nr::GETPPID, [0; 6]),
    Call(b"clock_gettime", nr::CLOCK_GETTIME, [BAD_FD, 0, 0, 0, 0, 0]),
    Call(b"futex", nr::FUTEX, [0, 129, 0, 0, 0, 0]),
    Call(b"mmap", nr::MMAP, [0; 6]),
    Call(b"munmap", nr::MUNMAP, [0; 6]),
    Call(b"madvise", nr::MADVISE, [0; 6]),
    Call(b"openat", nr::OPENAT, [BAD_FD, 0, 0, 0, 0, 0]),
    Call(b"pread64", nr::PREAD64, [BAD_FD, 0, 0, 0, 0, 0]),
    Call(b"pwrite64", nr::PWRITE64, [BAD_FD, 0, 0, 0, 0, 0]),
    Call(b"fallocate", nr::FALLOCATE, [BAD_FD, 0, 0, 0, 0, 0]),
    Call(b"ftruncate", nr::FTRUNCATE, [BAD_FD, 0, 0, 0, 0, 0]),
    Call(b"prlimit64", nr::PRLIMIT64, [0, usize::MAX, 0, 0, 0, 0]),
    Call(b"getrandom", nr::GETRANDOM, [0, 0, 1, 0, 0, 0]),
    Call(b"readlink", nr::READLINK, [0; 6]),
    Call(b"tgkill", nr::TGKILL, [0; 6]),
    Call(b"uname", nr::UNAME, [0; 6]),
    Call(b"getrusage", nr::GETRUSAGE, [0; 6]),
    Call(b"poll", nr::POLL, [0; 6]),
    Call(b"rt_sigprocmask", nr::RT_SIGPROCMASK, [0, 0, 0, 8, 0, 0]),
    Call(b"rt_sigpending", nr::RT_SIGPENDING, [0, 8, 0, 0, 0, 0]),
    Call(b"rt_sigtimedwait", nr::RT_SIGTIMEDWAIT, [0, 0, 0, 8, 0, 0]),
];
/// Without one of these two, own memory is written through the file.
const COPIES: core::ops::Range<usize> = 1..3;
/// Without this one the helper shares the host's descriptor table.
const DESCRIPTORS: usize = 3;
/// Without this one the helper looks for requests now and then.
const EITHER: usize = 4;
/// From here on: what a message on stderr needs itself.
const SAYING: usize = CALLS.len() - 4;
const PR_SET_DUMPABLE: usize = 4;

/// Finds out what a filter that is in force leaves us. False: too little, which has been said; the
/// process then runs untracked.
pub fn passed() -> bool {
    if !process::has_seccomp_filter() {
        return true;
    }
    let Ok(page) = sys::map_shared(4096) else {
        return true;
    };
    // SAFETY: the page is ours, aligned, zeroed, and mapped until the end of this function.
    let next = unsafe { &*page.cast::<AtomicU32>() };
    let mut killer = None;
    while (next.load(Relaxed) as usize) < CALLS.len() {
        if run_in_child(next) {
            break;
        }
        let at = next.load(Relaxed) as usize;
        if COPIES.contains(&at) {
            permit::set_copy_memory(false);
            unwind::forbid_probe(true);
        } else if at == DESCRIPTORS {
            sys::keep_descriptor_table();
        } else if at == EITHER {
            sys::keep_to_single_waits();
        } else {
            killer = Some(at);
            break;
        }
        next.store(at as u32 + 1, Relaxed);
    }
    // SAFETY: nobody else knows the page; the child is gone.
    let _ = unsafe { sys::munmap(page, 4096) };
    let Some(at) = killer else {
        return true;
    };
    let Some(Call(name, ..)) = CALLS.get(at).filter(|_| at < SAYING) else {
        return false;
    };
    let mut text = Text::<256>::new();
    text.push_bytes(b"the seccomp filter of this process kills on ")
        .push_bytes(name)
        .push_bytes(b", which leaktrack needs: allow it (systemd: SystemCallFilter=) or set SystemCallErrorNumber=EPERM; running untracked");
    message::remember_stderr();
    message::say(text.as_bytes());
    false
}

/// Makes the calls from `next` on in a child; true if it survived them all.
fn run_in_child(next: &AtomicU32) -> bool {
    const WALL: usize = 0x4000_0000;
    let signals = sys::block_signals();
    // SAFETY: a fork without flags and without a signal at its end; the child only makes the calls
    // below and ends, without touching anything of the host's.
    let pid = unsafe { syscall6(nr::CLONE, 0, 0, 0, 0, 0, 0) };
    if pid == 0 {
        let make = |Call(_, number, arguments): &Call| {
            let [a, b, c, d, e, f] = *arguments;
            // SAFETY: the arguments make the call fail or do nothing, but for the first.
            unsafe { syscall6(*number, a, b, c, d, e, f) }
        };
        if next.load(Relaxed) != 0 {
            CALLS.first().map(make);
        }
        while let Some(call) = CALLS.get(next.load(Relaxed) as usize) {
            make(call);
            next.fetch_add(1, Relaxed);
        }
        loop {
            sys::exit_group(0);
        }
    }
    let mut status = 0u32;
    let mut waited = 0;
    if pid > 0 {
        loop {
            // SAFETY: the kernel writes the status of this one child.
            waited = unsafe {
                syscall6(
                    nr::WAIT4,
                    pid as usize,
                    &raw mut status as usize,
                    WALL,
                    0,
                    0,
                    0,
                )
            };
            if waited != -4 {
                break; // EINTR
            }
        }
    }
    sys::restore_signals(signals);
    // No child could be made, or it is not ours to wait for: nothing is known against the calls.
    pid <= 0 || waited != pid || status & 0x7f == 0
}
