//! Who this process and thread are.

use super::{nr, syscall6};

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
