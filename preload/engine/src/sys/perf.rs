//! Page faults as the kernel tells them: perf software events and their rings.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{Result, check, nr, syscall6};

const PAGE_BYTES: usize = 4096;
const TYPE_SOFTWARE: u64 = 1;
/// Size of `struct perf_event_attr` up to the last field used (version 5, Linux 4.1).
const ATTR_BYTES: u64 = 112;
/// IP, TID, TIME, ADDR, STACK_USER.
const SAMPLE_TYPE: u64 = 1 | 2 | 4 | 8 | 1 << 13;
/// Of the stack: where a function that keeps nothing there, such as `memset`, returns to.
const STACK_BYTES: u64 = 8;
/// Header and fields of a sample, with the size of the stack before it and after it.
pub const SAMPLE_BYTES: u64 = 40 + 8 + STACK_BYTES + 8;
const INHERIT: u64 = 1 << 1;
/// The kernel's own code, and the hypervisor's.
const EXCLUDE_KERNEL: u64 = 1 << 5 | 1 << 6;
const USE_CLOCKID: u64 = 1 << 25;
const INHERIT_THREAD: u64 = 1 << 35;
const CLOCK_MONOTONIC: u64 = 1;
const CLOSE_ON_EXEC: usize = 8;
const ENABLE: usize = 0x2400;
const DISABLE: usize = 0x2401;
const SET_OUTPUT: usize = 0x2405;

/// What an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFaults {
    /// Minor and major.
    All = 2,
    /// Without I/O.
    Minor = 5,
    /// With I/O.
    Major = 6,
}

/// How an event is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What it counts.
    pub kind: PageFaults,
    /// Every so many are sampled; 0: counts only.
    pub period: u64,
    /// Without faults that the kernel takes in a system call.
    pub user_only: bool,
    /// Threads inherit it, and forked children do not (Linux 5.13); else both do.
    pub threads_only: bool,
}

/// Opens an event of a thread on one processor (`None`: on all), inherited by the threads that it
/// makes.
pub fn open_page_faults(event: &Event, tid: u32, cpu: Option<u32>) -> Result<i32> {
    let mut attr = [0u64; ATTR_BYTES as usize / 8];
    let flags = INHERIT
        | USE_CLOCKID
        | if event.user_only { EXCLUDE_KERNEL } else { 0 }
        | if event.threads_only {
            INHERIT_THREAD
        } else {
            0
        };
    let sample_type = if event.period == 0 { 0 } else { SAMPLE_TYPE };
    for (at, value) in [
        (0, TYPE_SOFTWARE | ATTR_BYTES << 32),
        (1, event.kind as u64),
        (2, event.period),
        (3, sample_type),
        (5, flags),
        (11, STACK_BYTES | CLOCK_MONOTONIC << 32),
    ] {
        if let Some(slot) = attr.get_mut(at) {
            *slot = value;
        }
    }
    let cpu = cpu.map_or(usize::MAX, |cpu| cpu as usize);
    // SAFETY: the attribute is as long as it says and only read.
    check(unsafe {
        syscall6(
            nr::PERF_EVENT_OPEN,
            attr.as_ptr().addr(),
            tid as usize,
            cpu,
            usize::MAX,
            CLOSE_ON_EXEC,
            0,
        )
    })
    .map(|fd| fd as i32)
}

/// Has an event write into the ring of another one on the same processor.
pub fn redirect(fd: i32, to: i32) -> Result<()> {
    // SAFETY: touches no memory.
    check(unsafe { syscall6(nr::IOCTL, fd as usize, SET_OUTPUT, to as usize, 0, 0, 0) }).map(drop)
}

/// Switches an event, with all that inherited it.
pub fn switch(fd: i32, on: bool) -> Result<()> {
    let order = if on { ENABLE } else { DISABLE };
    // SAFETY: touches no memory.
    check(unsafe { syscall6(nr::IOCTL, fd as usize, order, 0, 0, 0, 0) }).map(drop)
}

/// One sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The instruction.
    pub ip: u64,
    /// The process that it ran in.
    pub pid: u32,
    /// `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// The address that it touched.
    pub addr: u64,
    /// The innermost word of the program's stack; 0 if unknown.
    pub stack: u64,
}

/// The ring of an event: shared with the kernel, never in a forked child.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    base: *mut u8,
    data_bytes: usize,
}

const HEAD: usize = 1024;
const TAIL: usize = 1032;
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;

impl Ring {
    /// Maps the ring of an event: `pages` pages, a power of two, and one for its head.
    pub fn map(fd: i32, pages: usize) -> Result<Ring> {
        let data_bytes = pages * PAGE_BYTES;
        // PROT_READ|PROT_WRITE, MAP_SHARED
        // SAFETY: a fresh mapping chosen by the kernel disturbs nothing.
        let base = unsafe { super::mmap(0, data_bytes + PAGE_BYTES, 3, 1, fd, 0) }?;
        Ok(Ring {
            base: base as *mut u8,
            data_bytes,
        })
    }

    /// Bytes mapped.
    pub fn mapped_bytes(&self) -> usize {
        self.data_bytes + PAGE_BYTES
    }

    /// First address and one past the last.
    pub fn range(&self) -> (usize, usize) {
        (self.base.addr(), self.base.addr() + self.mapped_bytes())
    }

    /// Gives it back; its events go with it.
    pub fn unmap(self) {
        // SAFETY: the mapping is ours, and the value is used up.
        let _ = unsafe { super::munmap(self.base, self.mapped_bytes()) };
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: callers stay within the mapping, at multiples of 8.
        unsafe { &*self.base.add(offset).cast::<AtomicU64>() }
    }

    fn data(&self, at: u64) -> u64 {
        let offset = at as usize & (self.data_bytes - 1) & !7;
        self.word(PAGE_BYTES + offset).load(Ordering::Relaxed)
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> u64 {
        let tail = self.word(TAIL).load(Ordering::Relaxed);
        self.word(HEAD).load(Ordering::Relaxed).wrapping_sub(tail)
    }

    /// Bytes that it holds.
    pub fn room_bytes(&self) -> u64 {
        self.data_bytes as u64
    }

    /// Takes what waits; returns the number of samples that the kernel had to drop.
    pub fn drain(&self, mut each: impl FnMut(Sample)) -> u64 {
        // Acquire pairs with the kernel's barrier before it moves the head: records are complete.
        let head = self.word(HEAD).load(Ordering::Acquire);
        let mut at = self.word(TAIL).load(Ordering::Relaxed);
        let mut lost = 0u64;
        while at < head {
            let header = self.data(at);
            let (kind, size) = (header as u32, header >> 48);
            if size < 8 || size % 8 != 0 {
                at = head; // cannot be: the kernel writes whole words
                break;
            }
            match kind {
                RECORD_SAMPLE => each(Sample {
                    ip: self.data(at + 8),
                    pid: self.data(at + 16) as u32,
                    time_ns: self.data(at + 24),
                    addr: self.data(at + 32),
                    stack: if size >= SAMPLE_BYTES && self.data(at + 40) >= 8 {
                        self.data(at + 48)
                    } else {
                        0
                    },
                }),
                RECORD_LOST => lost = lost.saturating_add(self.data(at + 16)),
                _ => {}
            }
            at += size;
        }
        // Release pairs with the kernel's barrier after it reads the tail: it overwrites only now.
        self.word(TAIL).store(at, Ordering::Release);
        lost
    }
}

/// The number that an event counted.
pub fn read_count(fd: i32) -> Option<u64> {
    let mut bytes = [0u8; 8];
    (super::read(fd, &mut bytes) == Ok(8)).then(|| u64::from_ne_bytes(bytes))
}
