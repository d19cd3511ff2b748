//! Owns the first pass in a forked copy of the process, in which nothing moves while it is read.
//!
//! The copy is made by a bare `clone`: no handler of the host runs, its end raises no signal, no
//! `wait` of the host tells of it unless it asks for every kind of child (`__WALL`, `__WCLONE`), and
//! the kernel ends it with this thread. It holds no file of the
//! host's (the helper has a descriptor table of its own), is the first to go when memory runs out,
//! and gives way to everybody else. Threads of the process wait while the kernel copies the page
//! tables, and memory that they write to meanwhile is there twice. It must never call a hook.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::mark::Marks;
use super::memory::{Limits, Memory};
use super::passes::Scan;
use super::threads::{self, Doing, Thread};
use super::{Failure, NO_MAPS, NO_MEMORY, Notes, SWAP_BYTES};
use crate::arena::{AVec, PAGE_BYTES};
use crate::{fork, helper, sys};

const OVERCOMMIT: &[u8] =
    b"the kernel refuses a copy of the process: memory (vm.overcommit_memory) does not suffice";
const TOO_MANY: &[u8] =
    b"the kernel refuses a copy of the process: there are too many (RLIMIT_NPROC, pids.max)";
const FORBIDDEN: &[u8] = b"the kernel or a seccomp filter forbids a copy of the process";
const KILLED: &[u8] = b"the copy of the process was killed, perhaps for want of memory";
const THREADS: &[u8] = b"threads were started faster than they could be listed";

/// Threads that may be started while the copy is made.
const MORE_THREADS: usize = 256;
const STACK_BYTES: usize = 256 << 10;
/// Looks for the threads, 10 ms apart.
const MOST_WAITS: u32 = 1_000;
/// Between looks at whether the copy has ended.
const POLL_MS: u64 = 5;

/// What copy and original share; the threads and the marks lie behind it.
#[repr(C)]
struct Shared {
    /// 1: the threads are told.
    go: AtomicU32,
    /// 1: the marks are complete.
    done: AtomicU32,
    threads: AtomicU32,
    unread_threads: AtomicU32,
    hidden: AtomicU64,
    /// Why there are no marks: address and length of words that are part of the library.
    why_not: [AtomicU64; 2],
}

const THREADS_AT: usize = 64;
const _: () =
    assert!(size_of::<Shared>() <= THREADS_AT && THREADS_AT.is_multiple_of(align_of::<Thread>()));

/// What the copy is to do.
struct Job<'a, 'o> {
    scan: &'a mut Scan<'o>,
    marks: Option<Marks>,
    notes: Notes,
    area: &'a Area,
}

/// Memory that both see; unmapped with its owner.
struct Area {
    start: *mut u8,
    bytes: usize,
    most_threads: usize,
}

impl Area {
    fn new(most_threads: usize, blocks: usize) -> Option<Area> {
        let bytes = THREADS_AT + most_threads * size_of::<Thread>() + blocks;
        let bytes = bytes.checked_next_multiple_of(PAGE_BYTES)?;
        Some(Area {
            start: sys::map_shared(bytes).ok()?,
            bytes,
            most_threads,
        })
    }

    fn shared(&self) -> &Shared {
        // SAFETY: zeroed, aligned, large enough, and mapped as long as `self`.
        unsafe { &*self.start.cast::<Shared>() }
    }

    fn thread(&self, at: usize) -> *mut Thread {
        // SAFETY: inside the mapping for all places below `most_threads`.
        unsafe { self.start.add(THREADS_AT).cast::<Thread>().add(at) }
    }

    fn marks(&self) -> *mut u8 {
        self.thread(self.most_threads).cast()
    }

    /// Tells the copy what the threads did when it was made.
    fn put_threads(&self, threads: impl Iterator<Item = Thread>) -> bool {
        let mut count = 0;
        for thread in threads {
            if count == self.most_threads {
                return false;
            }
            // SAFETY: below the most; the copy reads them once `go` is set.
            unsafe { self.thread(count).write(thread) };
            count += 1;
        }
        self.shared().threads.store(count as u32, Ordering::Relaxed);
        // Release pairs with the acquire in `read_threads`.
        self.shared().go.store(1, Ordering::Release);
        sys::futex_wake(&self.shared().go, 1, true);
        true
    }

    fn read_threads(&self, most_waits: u32) -> Option<AVec<Thread>> {
        // The original may be gone before it could say that the copy is to go with it.
        for _ in 0..most_waits {
            // Acquire pairs with the release in `put_threads`.
            if self.shared().go.load(Ordering::Acquire) != 0 {
                break;
            }
            let _ = sys::futex_wait(&self.shared().go, 0, Some(10_000_000), true);
        }
        // Without them nobody knows what registers may hold.
        if self.shared().go.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut threads = AVec::new();
        let count = self.shared().threads.load(Ordering::Relaxed) as usize;
        for at in 0..count.min(self.most_threads) {
            // SAFETY: written before `go` was set.
            if !threads.try_push(unsafe { self.thread(at).read() }) {
                return None;
            }
        }
        Some(threads)
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; the copy, if there was one, is gone.
        let _ = unsafe { sys::munmap(self.start, self.bytes) };
    }
}

/// The child; it is ended and reaped with its owner.
struct Copy(usize);

impl Drop for Copy {
    fn drop(&mut self) {
        if self.0 != 0 {
            sys::kill_child(self.0);
            while !sys::reap(self.0, false) {}
        }
    }
}

/// The first pass, in a copy.
pub(super) fn first_pass(
    scan: &mut Scan<'_>,
    marks: Marks,
    notes: &mut Notes,
) -> Result<Marks, Failure> {
    let read = || threads::read(helper::tid(), &scan.order().caller).ok_or(Failure(NO_MAPS));
    let before = read()?;
    let area = Area::new(before.len() + MORE_THREADS, scan.blocks()).ok_or(Failure(NO_MEMORY))?;
    let stack = super::Room::<u64>::zeroed(STACK_BYTES / 8).ok_or(Failure(NO_MEMORY))?;
    let top = (stack.as_slice().as_ptr_range().end.addr()) & !15;
    let mut job = Job {
        scan,
        marks: Some(marks),
        notes: Notes {
            lower_bound: notes.lower_bound,
            ..Notes::default()
        },
        area: &area,
    };
    // SAFETY: the child has its own copy of the stack and of all that the job refers to, and the
    // thread pointer of this thread, which does not run there.
    let pid = unsafe { sys::vm_child(0, top, in_copy, (&raw mut job).addr()) };
    let mut copy = match pid {
        -11 => return Err(Failure(TOO_MANY)),
        -12 => return Err(Failure(OVERCOMMIT)),
        pid if pid < 0 => return Err(Failure(FORBIDDEN)),
        pid => Copy(pid as usize),
    };
    let Job { scan, marks, .. } = job;
    let after = threads::read(helper::tid(), &scan.order().caller).ok_or(Failure(NO_MAPS))?;
    if !area.put_threads(at_that_moment(before.as_slice(), after.as_slice())) {
        return Err(Failure(THREADS));
    }
    while !sys::reap(copy.0, true) {
        scan.rest(POLL_MS)?;
    }
    copy.0 = 0;
    let shared = area.shared();
    // Acquire pairs with the release in `in_copy`; the end of a process orders anyway.
    let (Some(mut marks), 1) = (marks, shared.done.load(Ordering::Acquire)) else {
        return Err(Failure(why_not(shared)));
    };
    notes.hidden = shared.hidden.load(Ordering::Relaxed);
    notes.unread_threads = shared.unread_threads.load(Ordering::Relaxed);
    // SAFETY: a byte for each block, written by the copy, which has ended.
    marks.take_from(unsafe { core::slice::from_raw_parts(area.marks(), scan.blocks()) });
    Ok(marks)
}

/// What the copy says of itself, if it had time to.
fn why_not(shared: &Shared) -> &'static [u8] {
    let [addr, len] = &shared.why_not;
    // The copy has ended.
    match len.load(Ordering::Acquire) as usize {
        0 => KILLED,
        // SAFETY: words of the library's own, at the same place in the copy and here.
        len => unsafe {
            let words = core::ptr::with_exposed_provenance(addr.load(Ordering::Relaxed) as usize);
            core::slice::from_raw_parts(words, len)
        },
    }
}

/// What the threads did when the copy was made, from lists of just before and after: who has run in
/// between may have been anywhere.
fn at_that_moment<'a>(
    before: &'a [Thread],
    after: &'a [Thread],
) -> impl Iterator<Item = Thread> + 'a {
    let earlier = |tid| before.iter().find(move |thread| thread.tid == tid);
    let later = |tid| after.iter().any(|thread| thread.tid == tid);
    let running = |thread: &Thread| Thread {
        doing: Doing::Runs,
        ..*thread
    };
    let still = after.iter().map(move |thread| match earlier(thread.tid) {
        Some(earlier) if thread.slept_since(earlier) => *thread,
        _ => running(thread),
    });
    let ended = before.iter().filter(move |thread| !later(thread.tid));
    still.chain(ended.map(running))
}

/// The copy: 0 when it is done.
extern "C" fn in_copy(job: usize) -> i32 {
    // SAFETY: this process's own copy of what `first_pass` made, which nobody else uses here.
    let job = unsafe { &mut *(job as *mut Job<'_, '_>) };
    sys::begin_copy();
    first_to_go(c"/proc/self/oom_score_adj");
    // SAFETY: this thread is the only one here, and its original was in none of them.
    unsafe { fork::abandon_tables() };
    let done = job.area.read_threads(MOST_WAITS).zip(job.marks.take());
    let Some((threads, marks)) = done else {
        return 1;
    };
    let limits = Limits {
        deadline_ns: u64::MAX,
        interrupted: || false,
        swap_bytes: SWAP_BYTES,
        pace: None,
    };
    let Some(memory) = Memory::new(limits) else {
        return 1;
    };
    let shared = job.area.shared();
    let marks = match job
        .scan
        .pass_in_copy(memory, marks, threads, &mut job.notes)
    {
        Ok(marks) => marks,
        Err(Failure(why)) => {
            let [addr, len] = &shared.why_not;
            addr.store(why.as_ptr().addr() as u64, Ordering::Relaxed);
            len.store(why.len() as u64, Ordering::Release);
            return 1;
        }
    };
    // SAFETY: room for a byte of each block; the original reads it when this process has ended.
    unsafe { marks.copy_to(job.area.marks()) };
    shared.hidden.store(job.notes.hidden, Ordering::Relaxed);
    let unread = &shared.unread_threads;
    unread.store(job.notes.unread_threads, Ordering::Relaxed);
    // Release pairs with the acquire in `first_pass`.
    shared.done.store(1, Ordering::Release);
    0
}

/// The kernel shall choose the copy when it needs memory.
fn first_to_go(path: &CStr) {
    if let Ok(fd) = sys::open(path, sys::o::WRONLY, 0) {
        let _ = sys::write(fd, b"1000");
        sys::close(fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_told_no_threads_does_not_go_on_without_them() {
        let area = Area::new(2, 0).expect("memory");
        assert!(area.read_threads(1).is_none());
        let thread = |tid| Thread {
            tid,
            doing: Doing::Runs,
            control_block: 0,
            ran_ns: None,
        };
        // More than there is room for are none, too.
        assert!(!area.put_threads((1..=3).map(thread)));
        assert!(area.read_threads(1).is_none());
        assert!(area.put_threads((1..=2).map(thread)));
        let told = area.read_threads(1).expect("threads");
        let ids: std::vec::Vec<_> = told.as_slice().iter().map(|it| it.tid).collect();
        assert_eq!(ids, [1, 2]);
    }
}
