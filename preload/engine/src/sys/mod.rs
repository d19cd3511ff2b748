//! System calls as typed wrappers that bypass libc: no `errno`, no cancellation point, no
//! interposed symbol. Errors are positive errno numbers.

mod x86_64;

pub use x86_64::{clone_thread, nr, syscall6, thread_pointer};

/// A positive errno number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

#[allow(missing_docs)]
impl Errno {
    pub const EPERM: Errno = Errno(1);
    pub const ENOENT: Errno = Errno(2);
    pub const EINTR: Errno = Errno(4);
    pub const EAGAIN: Errno = Errno(11);
    pub const ENOMEM: Errno = Errno(12);
    pub const EACCES: Errno = Errno(13);
    pub const EFAULT: Errno = Errno(14);
    pub const ENXIO: Errno = Errno(6);
    pub const EEXIST: Errno = Errno(17);
    pub const ENOTDIR: Errno = Errno(20);
    pub const EINVAL: Errno = Errno(22);
    pub const ENFILE: Errno = Errno(23);
    pub const EMFILE: Errno = Errno(24);
    pub const EFBIG: Errno = Errno(27);
    pub const ENOSPC: Errno = Errno(28);
    pub const EROFS: Errno = Errno(30);
    pub const ENAMETOOLONG: Errno = Errno(36);
    pub const ENOSYS: Errno = Errno(38);
    pub const ELOOP: Errno = Errno(40);
    pub const EOPNOTSUPP: Errno = Errno(95);
    pub const EDQUOT: Errno = Errno(122);
}

/// Result of a system call.
pub type Result<T> = core::result::Result<T, Errno>;

#[inline(always)]
fn check(r: isize) -> Result<usize> {
    if (-4095..0).contains(&r) {
        Err(Errno(-r as i32))
    } else {
        Ok(r as usize)
    }
}

/// A NUL-terminated path.
pub use core::ffi::CStr;

/// Anonymous private memory, zeroed; `Err` when the kernel refuses.
pub fn map_anonymous(bytes: usize) -> Result<*mut u8> {
    // PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE
    // SAFETY: a fresh mapping chosen by the kernel disturbs nothing.
    check(unsafe { syscall6(nr::MMAP, 0, bytes, 3, 0x4022, usize::MAX, 0) }).map(|p| p as *mut u8)
}

/// Zeroed memory that a forked child shares.
pub fn map_shared(bytes: usize) -> Result<*mut u8> {
    // PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS
    // SAFETY: a fresh mapping chosen by the kernel disturbs nothing.
    check(unsafe { syscall6(nr::MMAP, 0, bytes, 3, 0x21, usize::MAX, 0) }).map(|p| p as *mut u8)
}

/// Raw `mmap`.
///
/// # Safety
/// As `mmap(2)`: with `MAP_FIXED` the range must be the caller's.
pub unsafe fn mmap(
    addr: usize,
    len: usize,
    prot: i32,
    flags: i32,
    fd: i32,
    offset: usize,
) -> Result<usize> {
    // SAFETY: promised by the caller.
    check(unsafe {
        syscall6(
            nr::MMAP,
            addr,
            len,
            prot as usize,
            flags as usize,
            fd as isize as usize,
            offset,
        )
    })
}

/// Unmaps.
///
/// # Safety
/// Nothing may use the range afterwards.
pub unsafe fn munmap(addr: *mut u8, bytes: usize) -> Result<()> {
    // SAFETY: promised by the caller.
    check(unsafe { syscall6(nr::MUNMAP, addr as usize, bytes, 0, 0, 0, 0) }).map(drop)
}

/// `madvise` on memory of our own.
///
/// # Safety
/// The range is the caller's and may lose its content if the advice says so.
pub unsafe fn madvise(addr: *mut u8, bytes: usize, advice: i32) -> Result<()> {
    // SAFETY: promised by the caller.
    check(unsafe { syscall6(nr::MADVISE, addr as usize, bytes, advice as usize, 0, 0, 0) })
        .map(drop)
}

/// Flags of `open`.
#[allow(missing_docs)]
pub mod o {
    pub const RDONLY: i32 = 0;
    pub const WRONLY: i32 = 1;
    pub const RDWR: i32 = 2;
    pub const CREAT: i32 = 0o100;
    pub const EXCL: i32 = 0o200;
    pub const DIRECTORY: i32 = 0o200000;
    pub const NOFOLLOW: i32 = 0o400000;
    pub const CLOEXEC: i32 = 0o2000000;
    pub const NOCTTY: i32 = 0o400;
    pub const NONBLOCK: i32 = 0o4000;
    pub const PATH: i32 = 0o10000000;
}

/// Opens; `O_CLOEXEC` is always added.
pub fn open(path: &CStr, flags: i32, perm: u32) -> Result<i32> {
    // SAFETY: the path is NUL-terminated and only read.
    check(unsafe {
        syscall6(
            nr::OPENAT,
            -100isize as usize,
            path.as_ptr() as usize,
            (flags | o::CLOEXEC) as usize,
            perm as usize,
            0,
            0,
        )
    })
    .map(|fd| fd as i32)
}

/// Closes.
pub fn close(fd: i32) {
    // SAFETY: closing touches no memory; the descriptor is the caller's.
    unsafe { syscall6(nr::CLOSE, fd as usize, 0, 0, 0, 0, 0) };
}

/// Reads once.
pub fn read(fd: i32, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the exclusive buffer.
    check(unsafe {
        syscall6(
            nr::READ,
            fd as usize,
            buf.as_mut_ptr() as usize,
            buf.len(),
            0,
            0,
            0,
        )
    })
}

/// Reads at an offset.
pub fn pread(fd: i32, buf: &mut [u8], offset: u64) -> Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the exclusive buffer.
    check(unsafe {
        syscall6(
            nr::PREAD64,
            fd as usize,
            buf.as_mut_ptr() as usize,
            buf.len(),
            offset as usize,
            0,
            0,
        )
    })
}

/// Writes once.
pub fn write(fd: i32, buf: &[u8]) -> Result<usize> {
    // SAFETY: the kernel only reads the buffer.
    check(unsafe {
        syscall6(
            nr::WRITE,
            fd as usize,
            buf.as_ptr() as usize,
            buf.len(),
            0,
            0,
            0,
        )
    })
}

/// Writes at an offset.
pub fn pwrite(fd: i32, buf: &[u8], offset: u64) -> Result<usize> {
    // SAFETY: the kernel only reads the buffer.
    check(unsafe {
        syscall6(
            nr::PWRITE64,
            fd as usize,
            buf.as_ptr() as usize,
            buf.len(),
            offset as usize,
            0,
            0,
        )
    })
}

/// Reserves blocks of a file (mode 0: extends it).
pub fn fallocate(fd: i32, offset: u64, len: u64) -> Result<()> {
    // SAFETY: touches no memory.
    check(unsafe {
        syscall6(
            nr::FALLOCATE,
            fd as usize,
            0,
            offset as usize,
            len as usize,
            0,
            0,
        )
    })
    .map(drop)
}

/// Sets a file's length.
pub fn ftruncate(fd: i32, len: u64) -> Result<()> {
    // SAFETY: touches no memory.
    check(unsafe { syscall6(nr::FTRUNCATE, fd as usize, len as usize, 0, 0, 0, 0) }).map(drop)
}

/// Identity, size and owner of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Mode bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// `fstat`.
pub fn fstat(fd: i32) -> Result<Stat> {
    let mut b = [0u64; 18]; // struct stat is 144 bytes on x86-64
    // SAFETY: the buffer holds a whole `struct stat`.
    check(unsafe { syscall6(nr::FSTAT, fd as usize, b.as_mut_ptr() as usize, 0, 0, 0, 0) })?;
    Ok(Stat {
        dev: b[0],
        ino: b[1],
        mode: b[3] as u32,
        uid: (b[3] >> 32) as u32,
        size_bytes: b[6],
    })
}

/// Process id (asks the kernel each time: never cached, so it is right after any kind of fork).
pub fn getpid() -> u32 {
    // SAFETY: no arguments.
    unsafe { syscall6(nr::GETPID, 0, 0, 0, 0, 0, 0) as u32 }
}

/// Parent's process id.
pub fn getppid() -> u32 {
    // SAFETY: no arguments.
    unsafe { syscall6(nr::GETPPID, 0, 0, 0, 0, 0, 0) as u32 }
}

/// Thread id.
pub fn gettid() -> u32 {
    // SAFETY: no arguments.
    unsafe { syscall6(nr::GETTID, 0, 0, 0, 0, 0, 0) as u32 }
}

/// Clocks.
#[allow(missing_docs)]
pub mod clock {
    pub const REALTIME: usize = 0;
    pub const MONOTONIC: usize = 1;
    pub const THREAD_CPU: usize = 3;
}

/// Reads a clock, in nanoseconds; 0 if refused.
pub fn clock_ns(clock: usize) -> u64 {
    let mut ts = [0u64; 2];
    // SAFETY: the buffer holds a `struct timespec`.
    let r = unsafe {
        syscall6(
            nr::CLOCK_GETTIME,
            clock,
            ts.as_mut_ptr() as usize,
            0,
            0,
            0,
            0,
        )
    };
    if r < 0 {
        0
    } else {
        ts[0].wrapping_mul(1_000_000_000).wrapping_add(ts[1])
    }
}

/// Waits while `*word == expected`, at most `timeout_ns` (forever if `None`). `shared`: the word
/// may lie in memory shared between processes.
pub fn futex_wait(
    word: &core::sync::atomic::AtomicU32,
    expected: u32,
    timeout_ns: Option<u64>,
    shared: bool,
) -> Result<()> {
    let ts = timeout_ns.map(|n| [n / 1_000_000_000, n % 1_000_000_000]);
    let p = ts.as_ref().map_or(0, |t| t.as_ptr() as usize);
    let op = if shared { 0 } else { 128 };
    // SAFETY: the word and the timeout outlive the call; the kernel only reads them.
    check(unsafe {
        syscall6(
            nr::FUTEX,
            word.as_ptr() as usize,
            op,
            expected as usize,
            p,
            0,
            0,
        )
    })
    .map(drop)
}

/// Wakes up to `count` waiters.
pub fn futex_wake(word: &core::sync::atomic::AtomicU32, count: u32, shared: bool) {
    let op = if shared { 1 } else { 129 };
    // SAFETY: the word is only used as an address.
    unsafe {
        syscall6(
            nr::FUTEX,
            word.as_ptr() as usize,
            op,
            count as usize,
            0,
            0,
            0,
        )
    };
}

/// Copies memory of this process through the kernel: an unmapped or unreadable source is an error
/// or a short count, never a fault.
pub fn read_own_memory(source: usize, dest: &mut [u8]) -> Result<usize> {
    let local = [dest.as_mut_ptr() as usize, dest.len()];
    let remote = [source, dest.len()];
    // Any thread names its memory; the process itself may be a zombie whose first thread has ended.
    let pid = gettid() as usize;
    // SAFETY: the kernel writes at most `len` bytes into the exclusive buffer and checks the source.
    check(unsafe {
        syscall6(
            nr::PROCESS_VM_READV,
            pid,
            local.as_ptr() as usize,
            1,
            remote.as_ptr() as usize,
            1,
            0,
        )
    })
}

/// Stores into memory of this process through the kernel: a page that lost its file is an error
/// code, not SIGBUS.
///
/// # Safety
/// The destination must be memory that the caller may overwrite.
pub unsafe fn write_own_memory(dest: usize, source: &[u8]) -> Result<usize> {
    let local = [source.as_ptr() as usize, source.len()];
    let remote = [dest, source.len()];
    // Any thread names its memory; the process itself may be a zombie whose first thread has ended.
    let pid = gettid() as usize;
    // SAFETY: the source is a live slice; the destination is the caller's promise.
    check(unsafe {
        syscall6(
            nr::PROCESS_VM_WRITEV,
            pid,
            local.as_ptr() as usize,
            1,
            remote.as_ptr() as usize,
            1,
            0,
        )
    })
}

/// Soft and hard limit of a resource (`RLIMIT_FSIZE` 1, `RLIMIT_AS` 9); `u64::MAX` is unlimited.
pub fn getrlimit(resource: usize) -> Result<(u64, u64)> {
    let mut r = [0u64; 2];
    // SAFETY: the buffer holds a `struct rlimit64`.
    check(unsafe { syscall6(nr::PRLIMIT64, 0, resource, 0, r.as_mut_ptr() as usize, 0, 0) })?;
    Ok((r[0], r[1]))
}

/// Reads a symbolic link; returns the length (not NUL-terminated).
pub fn readlink(path: &CStr, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the exclusive buffer.
    check(unsafe {
        syscall6(
            nr::READLINK,
            path.as_ptr() as usize,
            buf.as_mut_ptr() as usize,
            buf.len(),
            0,
            0,
            0,
        )
    })
}

/// Working directory with its NUL; returns the length including it.
pub fn getcwd(buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the exclusive buffer.
    check(unsafe { syscall6(nr::GETCWD, buf.as_mut_ptr() as usize, buf.len(), 0, 0, 0, 0) })
}

/// Random bytes; false if the kernel has none to give without waiting.
pub fn getrandom(buf: &mut [u8]) -> bool {
    // SAFETY: the kernel writes at most `len` bytes into the exclusive buffer. Flag 1: do not block.
    unsafe {
        syscall6(
            nr::GETRANDOM,
            buf.as_mut_ptr() as usize,
            buf.len(),
            1,
            0,
            0,
            0,
        ) == buf.len() as isize
    }
}

/// Gives up the processor.
pub fn sched_yield() {
    // SAFETY: no arguments.
    unsafe { syscall6(nr::SCHED_YIELD, 0, 0, 0, 0, 0, 0) };
}

/// Sets an open file's permission bits.
pub fn fchmod(fd: i32, perm: u32) -> Result<()> {
    // SAFETY: touches no memory.
    check(unsafe { syscall6(nr::FCHMOD, fd as usize, perm as usize, 0, 0, 0, 0) }).map(drop)
}

/// Makes a directory.
pub fn mkdir(path: &CStr, perm: u32) -> Result<()> {
    // SAFETY: the path is NUL-terminated and only read.
    check(unsafe { syscall6(nr::MKDIR, path.as_ptr() as usize, perm as usize, 0, 0, 0, 0) })
        .map(drop)
}

/// Removes a file.
pub fn unlink(path: &CStr) -> Result<()> {
    // SAFETY: the path is NUL-terminated and only read.
    check(unsafe { syscall6(nr::UNLINK, path.as_ptr() as usize, 0, 0, 0, 0, 0) }).map(drop)
}

/// Real user id.
pub fn getuid() -> u32 {
    // SAFETY: no arguments.
    unsafe { syscall6(nr::GETUID, 0, 0, 0, 0, 0, 0) as u32 }
}

/// Effective user id.
pub fn geteuid() -> u32 {
    // SAFETY: no arguments.
    unsafe { syscall6(nr::GETEUID, 0, 0, 0, 0, 0, 0) as u32 }
}

/// Host name of this UTS namespace; the length.
pub fn host_name(buf: &mut [u8; 65]) -> usize {
    let mut names = [[0u8; 65]; 6];
    // SAFETY: the buffer holds a whole `struct new_utsname`, six names of 65 bytes.
    if check(unsafe { syscall6(nr::UNAME, names.as_mut_ptr() as usize, 0, 0, 0, 0, 0) }).is_ok() {
        *buf = names[1];
    }
    buf.iter().position(|&byte| byte == 0).unwrap_or(buf.len())
}

/// What `getrusage` says of the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Minor faults.
    pub minor_faults: u64,
    /// Major faults.
    pub major_faults: u64,
}

/// Resource use of this process: needs no file.
pub fn getrusage() -> Result<Usage> {
    let mut words = [0u64; 18];
    // SAFETY: the buffer holds a `struct rusage`, 144 bytes; `who` 0 is RUSAGE_SELF.
    check(unsafe { syscall6(nr::GETRUSAGE, 0, words.as_mut_ptr() as usize, 0, 0, 0, 0) })?;
    // Two timevals, then ru_maxrss, ixrss, idrss, isrss, minflt, majflt.
    Ok(Usage {
        minor_faults: words[8],
        major_faults: words[9],
    })
}

/// True if the calling thread runs on its alternate signal stack.
pub fn on_alternate_stack() -> bool {
    let mut old = [0usize; 3];
    // SAFETY: the buffer holds a `stack_t`; nothing is changed.
    let r = unsafe { syscall6(nr::SIGALTSTACK, 0, old.as_mut_ptr() as usize, 0, 0, 0, 0) };
    r == 0 && old[1] as u32 & 1 != 0
}

/// Set when `rt_sigprocmask` must not be called (seccomp).
static KEEP_SIGNALS: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// Forbids or allows [`block_signals`] to call the kernel.
pub fn forbid_blocking_signals(forbid: bool) {
    KEEP_SIGNALS.store(forbid, core::sync::atomic::Ordering::Relaxed);
}

/// Blocks every signal for the calling thread; returns the mask to restore.
pub fn block_signals() -> Option<u64> {
    if KEEP_SIGNALS.load(core::sync::atomic::Ordering::Relaxed) {
        return None;
    }
    let (all, mut old) = (u64::MAX, 0u64);
    // SAFETY: both masks are 8 bytes long, as told. 2 is SIG_SETMASK.
    let r = unsafe {
        syscall6(
            nr::RT_SIGPROCMASK,
            2,
            &raw const all as usize,
            &raw mut old as usize,
            8,
            0,
            0,
        )
    };
    (r == 0).then_some(old)
}

/// Restores the mask that [`block_signals`] returned.
pub fn restore_signals(mask: Option<u64>) {
    if let Some(mask) = mask {
        // SAFETY: the mask is 8 bytes long, as told.
        unsafe { syscall6(nr::RT_SIGPROCMASK, 2, &raw const mask as usize, 0, 8, 0, 0) };
    }
}

/// How many whole pages may be read, from the page at `start` on, up to `count` (at most 16 are
/// looked at). Asks the kernel to copy one byte of each.
pub fn readable_pages(start: usize, count: usize) -> usize {
    const PAGE_BYTES: usize = 4096;
    const MOST: usize = 16;
    let mut bytes = [0u8; MOST];
    let local = [bytes.as_mut_ptr() as usize, MOST];
    let mut remote = [[0usize; 2]; MOST];
    for (i, range) in remote.iter_mut().enumerate() {
        *range = [start.wrapping_add(i * PAGE_BYTES), 1];
    }
    let pid = getpid() as usize;
    let count = count.min(MOST);
    // SAFETY: the kernel writes at most 16 bytes into the buffer and checks every source.
    let read = check(unsafe {
        syscall6(
            nr::PROCESS_VM_READV,
            pid,
            local.as_ptr() as usize,
            1,
            remote.as_ptr() as usize,
            count,
            0,
        )
    });
    read.unwrap_or(0)
}

/// Names the calling thread, as `ps -L` and debuggers show it.
pub fn set_thread_name(name: &CStr) {
    const PR_SET_NAME: usize = 15;
    // SAFETY: the name is NUL-terminated and only read.
    unsafe { syscall6(nr::PRCTL, PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0, 0) };
}

/// True while the thread is in the process.
pub fn thread_exists(pid: u32, tid: u32) -> bool {
    // SAFETY: signal 0 is only a question.
    unsafe { syscall6(nr::TGKILL, pid as usize, tid as usize, 0, 0, 0, 0) == 0 }
}

/// Ends the process.
pub fn exit_group(status: i32) {
    // SAFETY: ends the process; returns only if the kernel refuses.
    unsafe { syscall6(nr::EXIT_GROUP, status as usize, 0, 0, 0, 0, 0) };
}

/// True if a short write would not wait.
pub fn is_writable_now(fd: i32) -> bool {
    const POLLOUT: u64 = 4;
    let mut poll: u64 = u64::from(fd as u32) | POLLOUT << 32; // struct pollfd
    // SAFETY: one `struct pollfd`; no waiting.
    let ready = unsafe { syscall6(nr::POLL, &raw mut poll as usize, 1, 0, 0, 0, 0) };
    ready == 1 && (poll >> 48) & POLLOUT != 0
}

/// Writes once. A reader that is gone is an error, not a signal.
pub fn write_without_sigpipe(fd: i32, bytes: &[u8]) {
    const SIGPIPE: u64 = 1 << 12;
    const SIGXFSZ: u64 = 1 << 24;
    const EPIPE: Errno = Errno(32);
    const EFBIG: Errno = Errno(27);
    let pending = || {
        let mut set = 0u64;
        // SAFETY: the mask is 8 bytes long, as told.
        unsafe { syscall6(nr::RT_SIGPENDING, &raw mut set as usize, 8, 0, 0, 0, 0) };
        set
    };
    let Some(mask) = block_signals() else { return };
    let before = pending();
    let raised = match write(fd, bytes) {
        Err(EPIPE) => SIGPIPE,
        Err(EFBIG) => SIGXFSZ,
        _ => 0,
    };
    if raised & !before != 0 {
        let (set, zero) = (raised, [0u64; 2]);
        // SAFETY: the mask is 8 bytes long, as told; the time is zero: no waiting.
        unsafe {
            syscall6(
                nr::RT_SIGTIMEDWAIT,
                &raw const set as usize,
                0,
                zero.as_ptr() as usize,
                8,
                0,
                0,
            );
        }
    }
    restore_signals(Some(mask));
}

/// True if real and effective ids differ.
pub fn has_changed_ids() -> bool {
    // SAFETY: no arguments.
    let (gid, egid) = unsafe {
        (
            syscall6(nr::GETGID, 0, 0, 0, 0, 0, 0),
            syscall6(nr::GETEGID, 0, 0, 0, 0, 0, 0),
        )
    };
    getuid() != geteuid() || gid != egid
}

static KEEP_DESCRIPTORS: core::sync::atomic::AtomicBool =
    core::sync::atomic::AtomicBool::new(false);

/// Makes [`leave_descriptor_table`] do nothing: a seccomp filter would kill.
pub fn keep_descriptor_table() {
    KEEP_DESCRIPTORS.store(true, core::sync::atomic::Ordering::Relaxed);
}

/// Gives the calling thread an empty descriptor table of its own: what it opens never takes a
/// number in the table of the others, and the others' files are not shared with it. False where
/// the kernel cannot (before 5.9): then the table stays shared.
pub fn leave_descriptor_table() -> bool {
    if KEEP_DESCRIPTORS.load(core::sync::atomic::Ordering::Relaxed) {
        return false;
    }
    const CLOSE_RANGE_UNSHARE: usize = 2;
    // SAFETY: concerns this thread's descriptors only, of which it has none.
    unsafe {
        syscall6(
            nr::CLOSE_RANGE,
            0,
            u32::MAX as usize,
            CLOSE_RANGE_UNSHARE,
            0,
            0,
            0,
        ) == 0
    }
}

/// True for a regular file, without opening it for anything; links are not followed.
pub fn is_regular_file(path: &CStr) -> bool {
    let Ok(fd) = open(path, o::PATH | o::NOFOLLOW, 0) else {
        return false;
    };
    let stat = fstat(fd);
    close(fd);
    stat.is_ok_and(|stat| stat.mode & 0o170_000 == 0o100_000)
}
