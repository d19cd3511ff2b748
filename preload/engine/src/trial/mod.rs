//! Owns the trial of a seccomp filter: which of the calls that the library makes the filter
//! answers by killing. For a filter that was there before us (systemd's `SystemCallFilter=`, a
//! container's profile), and for one that the program is about to install.
//!
//! A throw-away child makes the calls one by one. It is a plain fork without a signal at its end,
//! so that the host notices nothing; a child that a filter kills names the call by where it
//! stopped, and the next one tries the rest.

mod calls;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::facts::process;
use crate::permit::means::{ALL, ASK, MAP, Means, NONE, SAY, SNAPSHOT};
use crate::sys::{self, nr, syscall6};
use crate::text::Text;
use crate::{message, permit, restrict};
use calls::{A_PROCESS, A_THREAD, CALLS, Call, IN_HOOKS, PAGE};

/// What a trial found.
pub struct Found {
    /// What cannot be had any more.
    pub lost: Means,
    /// The calls that kill, with commas.
    pub names: Text<160>,
}

/// Finds out what a filter that is in force leaves us. False: too little, which has been said; the
/// process then runs untracked.
pub fn passed() -> bool {
    use crate::permit::means::{ADVISE, PATHS, SIGNALS, UNMAP};
    const NEEDED: Means = ASK
        .and(MAP)
        .and(UNMAP)
        .and(ADVISE)
        .and(SIGNALS)
        .and(PATHS)
        .and(SNAPSHOT);
    if !process::has_seccomp_filter() {
        return true;
    }
    let Some(found) = find(None, |lost, _| lost.has(NEEDED)) else {
        return true;
    };
    if !found.lost.has(NEEDED.and(SAY)) {
        restrict::at_start(found.lost);
        return true;
    }
    if !found.lost.has(SAY) {
        let mut text = Text::<512>::new();
        text.push_bytes(b"the seccomp filter of this process kills on ")
            .push_bytes(found.names.as_bytes())
            .push_bytes(b", which leaktrack needs: allow it (systemd: SystemCallFilter=) or set SystemCallErrorNumber=EPERM; running untracked");
        message::remember_stderr();
        message::say(text.as_bytes());
    }
    false
}

/// Finds out what a filter will leave us that `install` puts on the calling process.
pub fn of_filter(install: &dyn Fn() -> isize) -> Found {
    let first_of_rest = |lost: Means, at| lost.has(SNAPSHOT) && at >= IN_HOOKS;
    find(Some(install), first_of_rest).unwrap_or(Found {
        lost: ALL,
        names: Text::new(),
    })
}

/// What parent and child share: one page, all zeroes at first. The upper end is the stack of the
/// thread that the child tries to start.
#[repr(C)]
struct Shared {
    /// The call that comes next.
    next: AtomicU32,
    /// The child could not install the filter.
    refused: AtomicU32,
    /// The child's thread; the kernel clears it.
    thread: AtomicU32,
}

const PAGE_BYTES: usize = 4096;

/// Runs trials until a child survives, or what is lost is `enough` to know (with the place of the
/// call that killed). `None`: no child could be made, or it could not install the filter.
fn find(
    install: Option<&dyn Fn() -> isize>,
    enough: impl Fn(Means, usize) -> bool,
) -> Option<Found> {
    let page = sys::map_shared(PAGE_BYTES).ok()?;
    // SAFETY: the page is ours, aligned, zeroed, and mapped until the end of this function.
    let shared = unsafe { &*page.cast::<Shared>() };
    let mut found = Some(Found {
        lost: NONE,
        names: Text::new(),
    });
    loop {
        let killed = run_in_child(shared, page.addr(), install);
        if killed.is_none() || shared.refused.load(Relaxed) != 0 {
            found = None;
        }
        let (Some(true), Some(found)) = (killed, &mut found) else {
            break;
        };
        let at = shared.next.load(Relaxed) as usize;
        let Some(Call(name, _, _, needed_for)) = CALLS.get(at) else {
            break; // killed when all was over
        };
        found.lost = found.lost.and(*needed_for);
        if !found.names.as_bytes().ends_with(name) {
            if !found.names.is_empty() {
                found.names.push_bytes(b", ");
            }
            found.names.push_bytes(name);
        }
        if enough(found.lost, at) {
            break;
        }
        shared.next.store(at as u32 + 1, Relaxed);
    }
    // SAFETY: nobody else knows the page; the children are gone.
    let _ = unsafe { sys::munmap(page, PAGE_BYTES) };
    found
}

/// Makes the calls from `next` on in a child; true if that killed it. `None`: there was no child,
/// or it is not ours to wait for.
fn run_in_child(shared: &Shared, page: usize, install: Option<&dyn Fn() -> isize>) -> Option<bool> {
    let signals = sys::block_signals();
    // SAFETY: a fork without flags and without a signal at its end; the child only makes the calls
    // below and ends, without touching anything of the host's.
    let pid = unsafe { syscall6(nr::CLONE, 0, 0, 0, 0, 0, 0) };
    if pid == 0 {
        try_all(shared, page, install);
    }
    let status = wait(pid);
    sys::restore_signals(signals);
    status.map(|status| status & 0x7f != 0)
}

/// Waits for a child; its status.
fn wait(pid: isize) -> Option<u32> {
    const WALL: usize = 0x4000_0000;
    const EINTR: isize = -4;
    let mut status = 0u32;
    let to = &raw mut status as usize;
    loop {
        if pid <= 0 {
            return None;
        }
        // SAFETY: the kernel writes the status of this one child.
        let waited = unsafe { syscall6(nr::WAIT4, pid as usize, to, WALL, 0, 0, 0) };
        if waited != EINTR {
            return (waited == pid).then_some(status);
        }
    }
}

/// The child.
fn try_all(shared: &Shared, page: usize, install: Option<&dyn Fn() -> isize>) -> ! {
    let mut mapped = 0;
    // A child that is killed leaves no core file.
    if let Some(first) = CALLS.first()
        && (install.is_some() || shared.next.load(Relaxed) != 0)
    {
        make(first, mapped);
    }
    if install.is_some_and(|install| install() != 0) {
        shared.refused.store(1, Relaxed);
    } else {
        while let Some(call) = CALLS.get(shared.next.load(Relaxed) as usize) {
            match (call.1, call.2) {
                (nr::CLONE, A_PROCESS) => make_process(),
                (nr::CLONE, A_THREAD) => make_thread(shared, page),
                (nr::MMAP, _) => {
                    let result = make(call, mapped);
                    mapped = usize::try_from(result).unwrap_or(mapped);
                }
                _ => drop(make(call, mapped)),
            }
            shared.next.fetch_add(1, Relaxed);
        }
    }
    loop {
        sys::exit_group(0);
    }
}

fn make(Call(_, number, arguments, _): &Call, mapped: usize) -> isize {
    let [a, b, c, d, e, f] = arguments.map(|value| if value == PAGE { mapped } else { value });
    // SAFETY: the arguments make the call fail, do nothing, or concern a fresh page of this child.
    unsafe { syscall6(*number, a, b, c, d, e, f) }
}

fn make_process() {
    // SAFETY: a fork of the child, which ends at once.
    let pid = unsafe { syscall6(nr::CLONE, 0, 0, 0, 0, 0, 0) };
    if pid == 0 {
        loop {
            sys::exit_group(0);
        }
    }
    wait(pid);
}

fn make_thread(shared: &Shared, page: usize) {
    extern "C" fn nothing() {}
    /// Looks at a word before the thread is given up: seconds.
    const PATIENCE: u32 = 1 << 28;
    // SAFETY: the end of the page is nobody else's; the thread touches no thread-local data, and its
    // word outlives this process.
    let thread = unsafe {
        sys::clone_thread(
            page + PAGE_BYTES,
            sys::thread_pointer(),
            &raw const shared.thread,
            nothing,
        )
    };
    let mut looks = 0;
    while thread > 0 && shared.thread.load(Relaxed) != 0 && looks < PATIENCE {
        looks += 1;
        core::hint::spin_loop();
    }
}

/// True if a further trial may be made: after a filter that kills on what it takes, none may.
pub fn is_possible() -> bool {
    permit::allows(SNAPSHOT.and(MAP))
}
