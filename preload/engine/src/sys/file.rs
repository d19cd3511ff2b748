//! Files and paths.

use super::{CStr, Result, check, nr, syscall6};

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

/// Reads entries of an open folder, each a `linux_dirent64`; 0 at the end.
pub fn getdents(fd: i32, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the exclusive buffer.
    check(unsafe {
        syscall6(
            nr::GETDENTS64,
            fd as usize,
            buf.as_mut_ptr() as usize,
            buf.len(),
            0,
            0,
            0,
        )
    })
}

/// `flock`: true if the lock was taken.
pub fn flock(fd: i32, operation: usize) -> bool {
    // SAFETY: touches no memory.
    unsafe { syscall6(nr::FLOCK, fd as usize, operation, 0, 0, 0, 0) == 0 }
}

/// Removes a file.
pub fn unlink(path: &CStr) -> Result<()> {
    // SAFETY: the path is NUL-terminated and only read.
    check(unsafe { syscall6(nr::UNLINK, path.as_ptr() as usize, 0, 0, 0, 0, 0) }).map(drop)
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

/// Reads entries of a directory; the bytes they take in `buf`, 0 at the end.
pub fn read_directory(fd: i32, buf: &mut [u64]) -> Result<usize> {
    // SAFETY: the kernel writes at most so many bytes into the exclusive buffer.
    check(unsafe {
        syscall6(
            nr::GETDENTS64,
            fd as usize,
            buf.as_mut_ptr() as usize,
            size_of_val(buf),
            0,
            0,
            0,
        )
    })
}
