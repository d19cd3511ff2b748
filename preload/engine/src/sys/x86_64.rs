//! The x86-64 instructions of the system interface: `syscall`, and numbers of the calls we make.
//! A port writes the twin of this file.

use core::arch::{asm, naked_asm};

/// Raw system call; returns the kernel's value, `-errno` on failure. Never touches `errno`.
///
/// # Safety
/// The arguments must be valid for the call `nr`: it may read and write memory through them.
#[inline(always)]
pub unsafe fn syscall6(
    nr: usize,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    let ret: isize;
    // SAFETY: the kernel preserves everything but rax, rcx and r11; what the call does to memory
    // is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as isize => ret,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    ret
}

/// System call numbers.
pub mod nr {
    #![allow(missing_docs)]
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const FSTAT: usize = 5;
    pub const POLL: usize = 7;
    pub const LSEEK: usize = 8;
    pub const MMAP: usize = 9;
    pub const MPROTECT: usize = 10;
    pub const MUNMAP: usize = 11;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const PREAD64: usize = 17;
    pub const PWRITE64: usize = 18;
    pub const SCHED_YIELD: usize = 24;
    pub const SIGALTSTACK: usize = 131;
    pub const MREMAP: usize = 25;
    pub const MINCORE: usize = 27;
    pub const MADVISE: usize = 28;
    pub const GETPID: usize = 39;
    pub const CLONE: usize = 56;
    pub const EXIT: usize = 60;
    pub const WAIT4: usize = 61;
    pub const UNAME: usize = 63;
    pub const FTRUNCATE: usize = 77;
    pub const GETCWD: usize = 79;
    pub const FCHMOD: usize = 91;
    pub const MKDIR: usize = 83;
    pub const UNLINK: usize = 87;
    pub const READLINK: usize = 89;
    pub const GETUID: usize = 102;
    pub const GETGID: usize = 104;
    pub const GETEUID: usize = 107;
    pub const GETEGID: usize = 108;
    pub const GETPPID: usize = 110;
    pub const PRCTL: usize = 157;
    pub const RT_SIGACTION: usize = 13;
    pub const NANOSLEEP: usize = 35;
    pub const EXECVE: usize = 59;
    pub const EXECVEAT: usize = 322;
    pub const KILL: usize = 62;
    pub const SETPRIORITY: usize = 141;
    pub const SETSID: usize = 112;
    pub const PIDFD_OPEN: usize = 434;
    pub const PIDFD_GETFD: usize = 438;
    pub const PERF_EVENT_OPEN: usize = 298;
    pub const IOCTL: usize = 16;
    pub const GETTID: usize = 186;
    pub const FUTEX: usize = 202;
    pub const FUTEX_WAITV: usize = 449;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const TGKILL: usize = 234;
    pub const OPENAT: usize = 257;
    pub const RT_SIGPENDING: usize = 127;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const UNLINKAT: usize = 263;
    pub const FALLOCATE: usize = 285;
    pub const PRLIMIT64: usize = 302;
    pub const PWRITEV: usize = 296;
    pub const PROCESS_VM_READV: usize = 310;
    pub const PROCESS_VM_WRITEV: usize = 311;
    pub const FLOCK: usize = 73;
    pub const GETDENTS64: usize = 217;
    pub const GETRANDOM: usize = 318;
    pub const MEMFD_CREATE: usize = 319;
    pub const MEMBARRIER: usize = 324;
    pub const CLOSE_RANGE: usize = 436;
    pub const GETRUSAGE: usize = 98;
    pub const GET_ROBUST_LIST: usize = 274;
}

/// The thread pointer of the calling thread (on glibc: the address of its thread control block).
#[inline(always)]
pub fn thread_pointer() -> usize {
    let tp: usize;
    // SAFETY: the ABI stores the thread pointer at fs:0.
    unsafe {
        asm!("mov {}, fs:[0]", out(reg) tp, options(pure, readonly, nostack, preserves_flags))
    };
    tp
}

/// The processor's clock, which runs at a constant rate. Faults where the program forbids it
/// ([`super::clock_may_be_read`]).
#[inline(always)]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; that it is allowed is the callers' care.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Starts a kernel thread that shares everything with this process and runs `entry` on the given
/// stack with the given thread pointer; it never returns to libc. Returns the thread's id or
/// `-errno`. The kernel clears `*tid` and wakes its waiters when the thread has ended.
///
/// # Safety
/// `stack_top` is the 16-byte aligned end of memory that nothing else uses while the thread runs;
/// `thread_pointer` addresses a word that holds its own address, with this library's thread-local
/// block at its usual distance; `tid` outlives the thread.
pub unsafe fn clone_thread(
    stack_top: usize,
    thread_pointer: usize,
    tid: *const core::sync::atomic::AtomicU32,
    entry: extern "C" fn(),
) -> isize {
    // CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM|SETTLS|PARENT_SETTID|CHILD_CLEARTID
    const FLAGS: usize =
        0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000 | 0x8_0000 | 0x10_0000 | 0x20_0000;
    let ret: isize;
    // SAFETY: the child starts behind the system call on its own stack, calls `entry` and ends by
    // `exit`: it never runs this function's remaining code. The parent sees an ordinary call.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "call r9",
            "mov edi, 0",
            "mov eax, 60", // exit: this thread only
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") nr::CLONE as isize => ret,
            in("rdi") FLAGS,
            in("rsi") stack_top,
            in("rdx") tid,
            in("r10") tid,
            in("r8") thread_pointer,
            in("r9") entry,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    ret
}

/// Starts a child process that runs `entry` with `argument` on the given stack and ends with the
/// status that it returns; its end raises no signal. `flags` are those of `clone`. Returns the
/// child's id or `-errno`.
///
/// # Safety
/// `stack_top` is the 16-byte aligned end of memory that nothing else uses while the child runs.
/// With `CLONE_VM` the child is in this process's memory and runs with this thread's thread pointer:
/// `entry` touches nothing thread-local.
pub unsafe fn vm_child(
    flags: usize,
    stack_top: usize,
    entry: extern "C" fn(usize) -> i32,
    argument: usize,
) -> isize {
    let ret: isize;
    // SAFETY: the child starts behind the system call on its own stack, calls `entry` and ends: it
    // never runs this function's remaining code. The parent sees an ordinary call.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "mov edi, eax",
            "mov eax, 231", // exit_group
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") nr::CLONE as isize => ret,
            in("rdi") flags,
            in("rsi") stack_top,
            in("rdx") 0,
            in("r10") 0,
            in("r8") argument,
            in("r9") entry,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    ret
}

/// Calls `entry(argument)` on another stack, and returns when that does.
///
/// # Safety
/// `stack_top` is the 16-byte aligned end of memory that nothing else uses meanwhile and that suffices;
/// `entry` neither unwinds nor jumps out.
#[unsafe(naked)]
pub unsafe extern "C" fn call_on_stack(
    stack_top: usize,
    entry: extern "C" fn(usize),
    argument: usize,
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rdi",
        "mov rdi, rdx",
        "call rsi",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}
