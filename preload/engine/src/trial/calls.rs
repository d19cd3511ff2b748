//! Owns the list of system calls that the library makes, and what each is good for. Whoever adds a
//! call to the engine adds it here.

use crate::permit::means::{
    ADVISE, ASK, COPY, DESCRIPTORS, EITHER, FENCE, FOLDER, MAP, Means, PATHS, PERF, PROBE, SAY,
    SCAN, SIGNALS, SNAPSHOT, STAGING, UNMAP,
};
use crate::sys::nr;

/// A call of ours: its name, its number, arguments like the real ones that make it do nothing, and
/// what cannot be done without it.
pub struct Call(pub &'static [u8], pub usize, pub [usize; 6], pub Means);

const BAD_FD: usize = usize::MAX;
const AT_FDCWD: usize = -100isize as usize;
const NOBODY: usize = i32::MAX as usize;
/// Stands for the page that the last `mmap` of the list returned.
pub const PAGE: usize = usize::MAX - 1;

/// Stand for arguments of `clone`, which is really made.
pub const A_PROCESS: [usize; 6] = [0; 6];
pub const A_THREAD: [usize; 6] = [1; 6];

/// How many calls of the list hooks make; the rest is for the helper and snapshots.
pub const IN_HOOKS: usize = 17;

/// Hooks' calls first. The very first also keeps a killed child from leaving a core file.
pub static CALLS: [Call; 68] = [
    Call(b"prctl", nr::PRCTL, [4, 0, 0, 0, 0, 0], SNAPSHOT), // PR_SET_DUMPABLE
    Call(b"getpid", nr::GETPID, [0; 6], ASK),
    Call(b"gettid", nr::GETTID, [0; 6], ASK),
    Call(b"sigaltstack", nr::SIGALTSTACK, [0; 6], ASK),
    Call(b"clock_gettime", nr::CLOCK_GETTIME, [1, 0, 0, 0, 0, 0], ASK),
    Call(b"futex", nr::FUTEX, [0, 128, 0, 0, 0, 0], ASK),
    Call(b"futex", nr::FUTEX, [0, 129, 0, 0, 0, 0], ASK),
    Call(b"mmap", nr::MMAP, [0, 4096, 3, 0xC022, BAD_FD, 0], MAP),
    Call(b"mmap", nr::MMAP, [0, 4096, 3, 0x4022, BAD_FD, 0], MAP),
    Call(b"madvise", nr::MADVISE, [PAGE, 4096, 16, 0, 0, 0], ADVISE),
    Call(b"munmap", nr::MUNMAP, [PAGE, 4096, 0, 0, 0, 0], UNMAP),
    Call(
        b"process_vm_readv",
        nr::PROCESS_VM_READV,
        [0; 6],
        PROBE.and(COPY),
    ),
    Call(
        b"rt_sigprocmask",
        nr::RT_SIGPROCMASK,
        [2, 0, 0, 8, 0, 0],
        SIGNALS,
    ),
    Call(b"readlink", nr::READLINK, [0; 6], PATHS),
    Call(b"getcwd", nr::GETCWD, [0; 6], PATHS),
    Call(b"membarrier", nr::MEMBARRIER, [16, 0, 0, 0, 0, 0], FENCE),
    Call(b"membarrier", nr::MEMBARRIER, [8, 0, 0, 0, 0, 0], FENCE),
    // Beyond hooks: the helper and snapshots.
    Call(b"process_vm_writev", nr::PROCESS_VM_WRITEV, [0; 6], COPY),
    Call(
        b"close_range",
        nr::CLOSE_RANGE,
        [BAD_FD, 0, 0, 0, 0, 0],
        DESCRIPTORS,
    ),
    Call(b"futex_waitv", nr::FUTEX_WAITV, [0; 6], EITHER),
    Call(b"futex", nr::FUTEX, [0; 6], SNAPSHOT),
    Call(b"futex", nr::FUTEX, [0, 1, 0, 0, 0, 0], SNAPSHOT),
    Call(b"mmap", nr::MMAP, [0, 4096, 3, 1, BAD_FD, 0], SNAPSHOT),
    Call(b"madvise", nr::MADVISE, [0, 0, 4, 0, 0, 0], SNAPSHOT), // MADV_DONTNEED
    Call(b"madvise", nr::MADVISE, [0, 0, 10, 0, 0, 0], SNAPSHOT), // MADV_DONTFORK
    Call(b"madvise", nr::MADVISE, [0, 0, 18, 0, 0, 0], SNAPSHOT), // MADV_WIPEONFORK
    Call(b"getppid", nr::GETPPID, [0; 6], SNAPSHOT),
    Call(b"getuid", nr::GETUID, [0; 6], SNAPSHOT),
    Call(b"geteuid", nr::GETEUID, [0; 6], SNAPSHOT),
    Call(b"getgid", nr::GETGID, [0; 6], SNAPSHOT),
    Call(b"getegid", nr::GETEGID, [0; 6], SNAPSHOT),
    Call(
        b"openat",
        nr::OPENAT,
        [AT_FDCWD, 0, 0o2000000, 0, 0, 0],
        SNAPSHOT,
    ),
    Call(
        b"openat",
        nr::OPENAT,
        [AT_FDCWD, 0, 0o2000302, 0o600, 0, 0],
        SNAPSHOT,
    ),
    Call(b"close", nr::CLOSE, [BAD_FD, 0, 0, 0, 0, 0], SNAPSHOT),
    Call(b"read", nr::READ, [BAD_FD, 0, 0, 0, 0, 0], SNAPSHOT),
    Call(b"fstat", nr::FSTAT, [BAD_FD, 0, 0, 0, 0, 0], SNAPSHOT),
    Call(b"fchmod", nr::FCHMOD, [BAD_FD, 0, 0, 0, 0, 0], SNAPSHOT),
    Call(b"unlink", nr::UNLINK, [0; 6], SNAPSHOT),
    Call(b"mkdir", nr::MKDIR, [0; 6], SNAPSHOT),
    Call(b"pread64", nr::PREAD64, [BAD_FD, 0, 0, 0, 0, 0], SNAPSHOT),
    Call(b"pwrite64", nr::PWRITE64, [BAD_FD, 0, 0, 0, 0, 0], SNAPSHOT),
    Call(
        b"fallocate",
        nr::FALLOCATE,
        [BAD_FD, 0, 0, 0, 0, 0],
        SNAPSHOT,
    ),
    Call(
        b"ftruncate",
        nr::FTRUNCATE,
        [BAD_FD, 0, 0, 0, 0, 0],
        SNAPSHOT,
    ),
    Call(
        b"prlimit64",
        nr::PRLIMIT64,
        [0, usize::MAX, 0, 0, 0, 0],
        SNAPSHOT,
    ),
    Call(b"getrandom", nr::GETRANDOM, [0, 0, 1, 0, 0, 0], SNAPSHOT),
    Call(b"tgkill", nr::TGKILL, [0; 6], SNAPSHOT),
    Call(b"sched_yield", nr::SCHED_YIELD, [0; 6], SNAPSHOT),
    Call(b"uname", nr::UNAME, [0; 6], SNAPSHOT),
    Call(b"getrusage", nr::GETRUSAGE, [0; 6], SNAPSHOT),
    Call(b"perf_event_open", nr::PERF_EVENT_OPEN, [0; 6], PERF),
    Call(b"ioctl", nr::IOCTL, [BAD_FD, 0x2405, BAD_FD, 0, 0, 0], PERF),
    Call(b"ioctl", nr::IOCTL, [BAD_FD, 0x2400, 0, 0, 0, 0], PERF),
    Call(b"ioctl", nr::IOCTL, [BAD_FD, 0x2401, 0, 0, 0, 0], PERF),
    Call(b"mmap", nr::MMAP, [0, 4096, 3, 1, BAD_FD, 0], PERF),
    Call(b"getdents64", nr::GETDENTS64, [BAD_FD, 0, 0, 0, 0, 0], PERF),
    Call(b"wait4", nr::WAIT4, [NOBODY, 0, 1, 0, 0, 0], SNAPSHOT),
    Call(b"clone", nr::CLONE, A_PROCESS, SNAPSHOT), // the next trial
    Call(b"clone", nr::CLONE, A_THREAD, SNAPSHOT),  // the helper
    // Scans.
    Call(
        b"getdents64",
        nr::GETDENTS64,
        [BAD_FD, 0, 0, 0, 0, 0],
        SCAN.and(FOLDER),
    ),
    Call(b"mincore", nr::MINCORE, [0; 6], SCAN),
    Call(b"get_robust_list", nr::GET_ROBUST_LIST, [0; 6], SCAN),
    Call(b"memfd_create", nr::MEMFD_CREATE, [0; 6], STAGING),
    Call(b"pwritev", nr::PWRITEV, [BAD_FD, 0, 0, 0, 0, 0], STAGING),
    // The folder of a family's recordings.
    Call(b"flock", nr::FLOCK, [BAD_FD, 0, 0, 0, 0, 0], FOLDER),
    // What a message on stderr needs.
    Call(b"write", nr::WRITE, [BAD_FD, 0, 0, 0, 0, 0], SAY),
    Call(b"poll", nr::POLL, [0; 6], SAY),
    Call(b"rt_sigpending", nr::RT_SIGPENDING, [0, 8, 0, 0, 0, 0], SAY),
    Call(
        b"rt_sigtimedwait",
        nr::RT_SIGTIMEDWAIT,
        [0, 0, 0, 8, 0, 0],
        SAY,
    ),
];
