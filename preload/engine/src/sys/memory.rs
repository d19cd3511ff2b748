//! Memory of this process: mapping it, giving it back, and copying it through the kernel, which
//! answers with an error where a plain access would fault.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{Errno, Result, check, gettid, nr, syscall6};

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

static KEEP_FROM_COPYING: AtomicBool = AtomicBool::new(false);

/// Has what copies memory through the kernel fail without asking: a seccomp filter would kill.
pub fn forbid_copying(on: bool) {
    KEEP_FROM_COPYING.store(on, Ordering::Relaxed);
}

fn may_copy() -> Result<()> {
    if KEEP_FROM_COPYING.load(Ordering::Relaxed) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Copies memory of this process through the kernel: an unmapped or unreadable source is an error
/// or a short count, never a fault.
pub fn read_own_memory(source: usize, dest: &mut [u8]) -> Result<usize> {
    may_copy()?;
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

/// Copies pieces of memory, address and length each, behind each other into `dest`, at most 64; the
/// number of bytes of whole pieces up to the first that cannot be read.
pub fn read_own_pieces(
    pieces: impl Iterator<Item = (usize, usize)>,
    dest: &mut [u8],
) -> Result<usize> {
    may_copy()?;
    let mut remote = [[0usize; 2]; 64];
    let (mut count, mut total) = (0, 0usize);
    for (to, (addr, len)) in remote.iter_mut().zip(pieces) {
        *to = [addr, len];
        count += 1;
        total = total.saturating_add(len);
    }
    if total > dest.len() {
        return Err(Errno::EINVAL);
    }
    let local = [dest.as_mut_ptr() as usize, total];
    let pid = gettid() as usize;
    // SAFETY: the kernel writes at most `total` bytes into the exclusive buffer, which is as long,
    // and checks the sources.
    check(unsafe {
        syscall6(
            nr::PROCESS_VM_READV,
            pid,
            local.as_ptr() as usize,
            1,
            remote.as_ptr() as usize,
            count,
            0,
        )
    })
}

/// A file in memory, for [`write_own_pieces`].
pub fn memory_file() -> Result<i32> {
    const CLOEXEC: usize = 1;
    const NOEXEC_SEAL: usize = 8;
    let create = |flags| {
        // SAFETY: the name is a string that ends in NUL.
        check(unsafe {
            let name = c"leaktrack".as_ptr() as usize;
            syscall6(nr::MEMFD_CREATE, name, flags, 0, 0, 0, 0)
        })
    };
    // Before Linux 6.3 the second flag is unknown; later its absence may be forbidden.
    let fd = create(CLOEXEC | NOEXEC_SEAL).or_else(|_| create(CLOEXEC))?;
    Ok(fd as i32)
}

/// Writes pieces of memory, address and length each, behind each other to the start of a file, at
/// most 64: the number of bytes up to the first that cannot be read. The kernel reads them as the
/// program would, so that it takes no lock and no page table is walked in software, and an
/// unmapped source is an error or a short count, never a fault.
pub fn write_own_pieces(fd: i32, pieces: impl Iterator<Item = (usize, usize)>) -> Result<usize> {
    let mut sources = [[0usize; 2]; 64];
    let mut count = 0;
    for (to, (addr, len)) in sources.iter_mut().zip(pieces) {
        *to = [addr, len];
        count += 1;
    }
    // SAFETY: the kernel only reads, and checks the sources.
    check(unsafe {
        let sources = sources.as_ptr() as usize;
        syscall6(nr::PWRITEV, fd as usize, sources, count, 0, 0, 0)
    })
}

/// Stores into memory of this process through the kernel: a page that lost its file is an error
/// code, not SIGBUS.
///
/// # Safety
/// The destination must be memory that the caller may overwrite.
pub unsafe fn write_own_memory(dest: usize, source: &[u8]) -> Result<usize> {
    may_copy()?;
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

/// How many whole pages may be read, from the page at `start` on, up to `count` (at most 16 are
/// looked at). Asks the kernel to copy one byte of each.
pub fn readable_pages(start: usize, count: usize) -> usize {
    if may_copy().is_err() {
        return 0;
    }
    const PAGE_BYTES: usize = 4096;
    const MOST: usize = 16;
    let mut bytes = [0u8; MOST];
    let local = [bytes.as_mut_ptr() as usize, MOST];
    let mut remote = [[0usize; 2]; MOST];
    for (i, range) in remote.iter_mut().enumerate() {
        *range = [start.wrapping_add(i * PAGE_BYTES), 1];
    }
    // The first thread may be gone, and with it the memory behind the process's own number.
    let pid = gettid() as usize;
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
