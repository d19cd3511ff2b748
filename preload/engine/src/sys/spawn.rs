//! Another program, started without a copy of this process's memory and without a trace in it.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{CStr, Errno, Result, check, nr, o, syscall6, vm_child};

const CLONE_VM: usize = 0x100;
const CLONE_VFORK: usize = 0x4000;
const RLIMIT_CORE: usize = 4;
const SIGKILL: u64 = 9;
const SIGSTOP: u64 = 19;
/// Bytes of stack for [`start_program`]: half for each of the two.
pub const STACK_BYTES: usize = 16 << 10;

/// How long a program may run that this process would be told of.
const PATIENCE_MS: u32 = 30_000;
const POLL_MS: u32 = 50;

/// What is to run; at the lower end of the stack.
struct Program {
    path: *const CStr,
    args: *const *const u8,
    env: *const *const u8,
    /// End of the second child's stack.
    stack_top: usize,
    /// The first child stays until the program has ended.
    stays: bool,
    /// 1: the program was loaded; 2: it could not be started. A futex word.
    state: AtomicU32,
}

/// Starts a program that no one waits for. It is the child of a child that has already ended, so
/// that init takes it over; the first one ends without a signal and is reaped here. Both run on the
/// given stack in this process's memory, so that nothing is copied however large the process is,
/// and the caller waits until the program is loaded.
///
/// Where this process itself takes over orphans (`adopts_orphans`), the first child stays to take
/// the program's end, and kills it after half a minute: then its id is returned, to be given to
/// [`reap`], and the stack is in use until that says that it is gone.
///
/// Signals are blocked in the caller.
///
/// # Safety
/// `stack` is [`STACK_BYTES`] of memory, aligned to 16, that nothing else uses meanwhile; `args` and
/// `env` are arrays as `execve` takes them.
pub unsafe fn start_program(
    path: &CStr,
    args: *const *const u8,
    env: *const *const u8,
    stack: *mut u8,
) -> Result<Option<usize>> {
    let program = stack.cast::<Program>();
    let stays = adopts_orphans();
    // SAFETY: the lower end of the stack is far below what the second child uses.
    let state = unsafe {
        program.write(Program {
            path,
            args,
            env,
            stack_top: stack.addr() + STACK_BYTES / 2,
            stays,
            state: AtomicU32::new(0),
        });
        &(*program).state
    };
    // SAFETY: the upper half of the stack is the first child's own.
    let pid = check(unsafe {
        vm_child(
            CLONE_VM,
            stack.addr() + STACK_BYTES,
            first_child,
            program.addr(),
        )
    })?;
    // Pairs with the release in `first_child`.
    while state.load(Ordering::Acquire) == 0 {
        let _ = super::futex_wait(state, 0, Some(1_000_000), true);
        // A seccomp filter may have killed it.
        if state.load(Ordering::Acquire) == 0 && reap(pid, true) {
            return Err(Errno::EPERM);
        }
    }
    let started = state.load(Ordering::Acquire) == 1;
    if stays && started {
        return Ok(Some(pid));
    }
    while !reap(pid, false) {}
    if started {
        Ok(None)
    } else {
        Err(Errno::EAGAIN)
    }
}

/// `execveat` of the program itself; returns the errno of its failure.
///
/// # Safety
/// As `execveat`.
pub unsafe fn execveat(
    folder: i32,
    path: *const u8,
    argv: *const *const u8,
    envp: *const *const u8,
    flags: i32,
) -> i32 {
    let (folder, flags) = (folder as usize, flags as usize);
    // SAFETY: passed on.
    let r = unsafe {
        syscall6(
            nr::EXECVEAT,
            folder,
            path.addr(),
            argv.addr(),
            envp.addr(),
            flags,
            0,
        )
    };
    check(r).map_or_else(|Errno(errno)| errno, |_| 0)
}

/// Takes the end of the child that [`start_program`] named; true when it is gone. `poll`: does not
/// wait for it.
pub fn reap(pid: usize, poll: bool) -> bool {
    const WALL: usize = 0x4000_0000;
    let flags = WALL | usize::from(poll);
    let mut status = 0u32;
    let to = &raw mut status as usize;
    // SAFETY: the kernel writes the status of this one child.
    let waited = check(unsafe { syscall6(nr::WAIT4, pid, to, flags, 0, 0, 0) });
    !matches!(waited, Ok(0) | Err(Errno::EINTR))
}

/// In a copy of the process that this thread made: it ends with the thread, leaves no core file of
/// the host's memory, has no file of the host's open, and gives way to everybody else.
pub fn begin_copy() {
    const PR_SET_PDEATHSIG: usize = 1;
    const LEAST: usize = 19;
    let none = [0u64; 2];
    // SAFETY: a whole `struct rlimit64`, and the copy's own limits, descriptors and priority.
    unsafe {
        let signal = SIGKILL as usize;
        syscall6(nr::PRCTL, PR_SET_PDEATHSIG, signal, 0, 0, 0, 0);
        let to = none.as_ptr().addr();
        syscall6(nr::PRLIMIT64, 0, RLIMIT_CORE, to, 0, 0, 0);
        syscall6(nr::CLOSE_RANGE, 0, u32::MAX as usize, 0, 0, 0, 0);
        syscall6(nr::SETPRIORITY, 0, 0, LEAST, 0, 0, 0);
    }
}

/// Kills a child of this process, unless it is gone: the host may have taken its end (`__WALL`), and the number may be
/// that of another process since.
pub fn kill_child(pid: usize) {
    if reap(pid, true) {
        return;
    }
    // SAFETY: the number of a child that was not reaped a moment ago, so nobody else's.
    unsafe { syscall6(nr::TGKILL, pid, pid, SIGKILL as usize, 0, 0, 0) };
}

extern "C" fn first_child(program: usize) -> i32 {
    // SAFETY: written by `start_program`, which keeps the stack until this child is gone.
    let shared = unsafe { &*(program as *const Program) };
    // Should a filter kill it, no core file of the host's memory is to be left.
    let none = [0u64; 2];
    // SAFETY: a whole `struct rlimit64`, of this child's own limits.
    unsafe {
        let to = none.as_ptr().addr();
        syscall6(nr::PRLIMIT64, 0, RLIMIT_CORE, to, 0, 0, 0);
    }
    // SAFETY: the lower half of the stack is the second child's own; this one sleeps until that has
    // its own memory or has ended.
    let pid = unsafe {
        vm_child(
            CLONE_VM | CLONE_VFORK,
            shared.stack_top,
            second_child,
            program,
        )
    };
    // Release pairs with the acquire in `start_program`.
    shared
        .state
        .store(if pid > 0 { 1 } else { 2 }, Ordering::Release);
    super::futex_wake(&shared.state, 1, true);
    if pid > 0 && shared.stays {
        stay(pid as usize);
    }
    0
}

/// Waits for the program, and kills it with all that it started when it takes too long.
fn stay(pid: usize) {
    for _ in 0..PATIENCE_MS / POLL_MS {
        if reap(pid, true) {
            return;
        }
        super::sleep_ms(POLL_MS);
    }
    // SAFETY: a session of its own, so that the group is the program's.
    unsafe { syscall6(nr::KILL, pid.wrapping_neg(), SIGKILL as usize, 0, 0, 0, 0) };
    while !reap(pid, false) {}
}

extern "C" fn second_child(program: usize) -> i32 {
    // SAFETY: as in the first child.
    let program = unsafe { &*(program as *const Program) };
    // Handlers are reset by `execve`; what the host ignores is not, and the mask is the helper's.
    let default = [0u64; 4];
    for signal in (1..=64u64).filter(|signal| *signal != SIGKILL && *signal != SIGSTOP) {
        // SAFETY: a whole `struct sigaction`; the table is this child's own copy.
        unsafe {
            syscall6(
                nr::RT_SIGACTION,
                signal as usize,
                default.as_ptr().addr(),
                0,
                8,
                0,
                0,
            )
        };
    }
    let none = 0u64;
    // SAFETY: the descriptors are this child's own copies; the mask is 8 bytes long, as told;
    // strings and arrays are as `execve` takes them.
    unsafe {
        syscall6(nr::SETSID, 0, 0, 0, 0, 0, 0);
        syscall6(nr::CLOSE_RANGE, 0, u32::MAX as usize, 0, 0, 0, 0);
        for _ in 0..3 {
            let null = c"/dev/null".as_ptr() as usize;
            let flags = o::RDWR as usize;
            syscall6(nr::OPENAT, -100isize as usize, null, flags, 0, 0, 0);
        }
        let mask = &raw const none as usize;
        syscall6(nr::RT_SIGPROCMASK, 2, mask, 0, 8, 0, 0);
        let path = program.path.cast::<u8>().addr();
        syscall6(
            nr::EXECVE,
            path,
            program.args.addr(),
            program.env.addr(),
            0,
            0,
            0,
        );
    }
    127
}

/// True if children of children that ended come to this process: then it would be told of a program
/// started by [`start_program`].
pub fn adopts_orphans() -> bool {
    const PR_GET_CHILD_SUBREAPER: usize = 37;
    let mut adopts = 0i32;
    let to = &raw mut adopts as usize;
    // SAFETY: the kernel writes one int.
    unsafe { syscall6(nr::PRCTL, PR_GET_CHILD_SUBREAPER, to, 0, 0, 0, 0) };
    adopts != 0 || super::getpid() == 1
}
