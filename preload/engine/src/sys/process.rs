//! What the kernel says of this process and host, and its end.

use super::{Result, check, nr, syscall6};

/// Soft and hard limit of a resource (`RLIMIT_FSIZE` 1, `RLIMIT_AS` 9); `u64::MAX` is unlimited.
pub fn getrlimit(resource: usize) -> Result<(u64, u64)> {
    let mut r = [0u64; 2];
    // SAFETY: the buffer holds a `struct rlimit64`.
    check(unsafe { syscall6(nr::PRLIMIT64, 0, resource, 0, r.as_mut_ptr() as usize, 0, 0) })?;
    Ok((r[0], r[1]))
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

/// Host name of this UTS namespace; the length.
pub fn host_name(buf: &mut [u8; 65]) -> usize {
    let mut names = [[0u8; 65]; 6];
    // SAFETY: the buffer holds a whole `struct new_utsname`, six names of 65 bytes.
    if check(unsafe { syscall6(nr::UNAME, names.as_mut_ptr() as usize, 0, 0, 0, 0, 0) }).is_ok() {
        *buf = names[1];
    }
    buf.iter().position(|&byte| byte == 0).unwrap_or(buf.len())
}

/// True unless this thread, or the one that started it, has forbidden to read the processor's clock
/// (`prctl(PR_SET_TSC)`).
pub fn clock_may_be_read() -> bool {
    const PR_GET_TSC: usize = 25;
    const PR_TSC_ENABLE: i32 = 1;
    let mut state = 0i32;
    // SAFETY: the kernel writes one int.
    let r = unsafe { syscall6(nr::PRCTL, PR_GET_TSC, (&raw mut state).addr(), 0, 0, 0, 0) };
    check(r).is_ok() && state == PR_TSC_ENABLE
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

/// False if there is no such thread in the process. True also where the kernel does not say: a
/// question that is forbidden, or senseless.
pub fn thread_exists(pid: u32, tid: u32) -> bool {
    const ESRCH: isize = 3;
    // SAFETY: signal 0 is only a question.
    unsafe { syscall6(nr::TGKILL, pid as usize, tid as usize, 0, 0, 0, 0) != -ESRCH }
}

/// Ends the process.
pub fn exit_group(status: i32) {
    // SAFETY: ends the process; returns only if the kernel refuses.
    unsafe { syscall6(nr::EXIT_GROUP, status as usize, 0, 0, 0, 0, 0) };
}
