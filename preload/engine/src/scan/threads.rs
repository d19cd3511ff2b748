//! Owns what can be learnt of the other threads without disturbing them: how deep their stacks
//! are, and where glibc keeps its account of them.
//! It must never stop or signal a thread.
//!
//! `/proc/self/task/TID/syscall` gives stack pointer and arguments of a thread that sleeps in the
//! kernel, and says `running` of any other. Registers that a call preserves cannot be read so.

use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::regions::hex;
use super::x86_64::PRESERVED;
use crate::arena::AVec;
use crate::facts::lines;
use crate::text::Text;
use crate::{permit, sys};

/// What of a thread's registers matters at the entry of a function: the stack pointer, and those
/// that a function must preserve for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    /// Stack pointer.
    pub sp: usize,
    /// The others.
    pub preserved: [usize; PRESERVED as usize],
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It sleeps in the kernel: its stack pointer, and its arguments of the call.
    Sleeps {
        /// Stack pointer.
        sp: usize,
        /// Arguments; `None`: it is in no call (a page fault, a stop), and none of its registers but
        /// the stack pointer is known.
        args: Option<[usize; 6]>,
    },
    /// It runs, or cannot be asked.
    Runs,
    /// It is the one that waits for this scan; registers at the entry of our hook.
    Waits(Registers),
}

/// A thread of the program.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// Kernel's id.
    pub tid: u32,
    /// See there.
    pub doing: Doing,
    /// Its thread control block; 0 if unknown.
    pub control_block: usize,
    /// How long it has run on a processor: unchanged, it has not moved. `None`: not told.
    pub ran_ns: Option<u64>,
}

impl Thread {
    /// True if nothing of the program has run in it since `before` was read: it has slept in the
    /// same place, or waits for the scan all along.
    pub fn slept_since(&self, before: &Thread) -> bool {
        let slept = || self.ran_ns.is_some() && self.ran_ns == before.ran_ns;
        match self.doing {
            Doing::Waits(_) => self.doing == before.doing,
            Doing::Sleeps { .. } => self.doing == before.doing && slept(),
            Doing::Runs => false,
        }
    }
}

/// The thread on whose behalf the process is scanned, at the entry of its hook.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Kernel's id; 0: nobody waits.
    pub tid: u32,
    /// Its registers.
    pub registers: Registers,
}

impl Caller {
    /// Nobody waits.
    pub const NOBODY: Caller = Caller {
        tid: 0,
        registers: Registers {
            sp: 0,
            preserved: [0; PRESERVED as usize],
        },
    };
}

/// From a thread control block to the list head that glibc tells the kernel; 0: not known.
static ROBUST_LIST_AT: AtomicUsize = AtomicUsize::new(0);
/// The word behind that list head, the same in all threads; 0: not known.
static LIST_OFFSET: AtomicUsize = AtomicUsize::new(0);
/// glibc keeps the thread's id this far before that list head.
const TID_BEFORE_LIST: usize = 16;

/// Learns how glibc lays its control blocks out, from the calling thread's own.
pub fn init() {
    let head = sys::robust_list(0).unwrap_or(0);
    let at = head.wrapping_sub(sys::thread_pointer());
    if at < 4096 && at > TID_BEFORE_LIST {
        ROBUST_LIST_AT.store(at, Relaxed);
        // SAFETY: the kernel was told that the list's head, two words and more, is here: it lies in this thread's
        // own control block, which lives as long as the thread.
        let offset = unsafe {
            core::ptr::with_exposed_provenance::<usize>(head)
                .add(1)
                .read()
        };
        LIST_OFFSET.store(offset, Relaxed);
    }
}

/// True if between two lists the same threads were there and none but the caller, who waits, ran.
pub fn nobody_ran(before: &[Thread], now: &[Thread]) -> bool {
    before.len() == now.len()
        && now
            .iter()
            .zip(before)
            .all(|(now, before)| now.tid == before.tid && now.slept_since(before))
}

/// What tells the control block of a thread that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The id of the thread lies this far from its start; the kernel clears it at the end, and
    /// `pthread_join` makes it -1.
    pub tid_at: usize,
    /// The list head that glibc tells the kernel lies this far from its start.
    pub list_at: usize,
    /// The word behind the list head.
    pub list_offset: u64,
}

/// How glibc lays its control blocks out, if it is known.
pub fn layout() -> Option<Layout> {
    let list_at = ROBUST_LIST_AT.load(Relaxed);
    let list_offset = LIST_OFFSET.load(Relaxed) as u64;
    let tid_at = list_at.checked_sub(TID_BEFORE_LIST)?;
    (tid_at > 0 && list_offset != 0).then_some(Layout {
        tid_at,
        list_at,
        list_offset,
    })
}

fn control_block(tid: u32) -> usize {
    let at = ROBUST_LIST_AT.load(Relaxed);
    match sys::robust_list(tid) {
        Ok(head) if head > at && at != 0 => head - at,
        _ => 0,
    }
}

/// All threads but `own`; `None` if they cannot be listed.
pub fn read(own: u32, caller: &Caller) -> Option<AVec<Thread>> {
    let mut threads = AVec::new();
    let mut whole = true;
    each_task(|tid| {
        if tid == own {
            return;
        }
        let doing = if tid == caller.tid {
            Doing::Waits(caller.registers)
        } else {
            match doing(tid) {
                Some(doing) => doing,
                None => return, // of the kernel (io_uring): it has no registers of the program
            }
        };
        whole &= threads.try_push(Thread {
            tid,
            doing,
            control_block: control_block(tid),
            ran_ns: ran_ns(tid),
        });
    })?;
    whole.then_some(threads)
}

/// Shows the id and the control block of every thread that has one.
pub fn each_control_block(mut show: impl FnMut(u32, usize)) {
    each_task(|tid| match control_block(tid) {
        0 => {}
        addr => show(tid, addr),
    });
}

/// What a thread does; `None` if it has no stack in this process.
pub fn doing(tid: u32) -> Option<Doing> {
    read_file(tid, b"/syscall", parse).unwrap_or(Some(Doing::Runs))
}

/// The first number of `schedstat`, which is there unless the kernel was built without it.
fn ran_ns(tid: u32) -> Option<u64> {
    read_file(tid, b"/schedstat", |text| {
        let first = text.split(|&byte| byte == b' ').next()?;
        crate::config::units::number(first)
    })?
}

/// Reads the start of a file that the kernel has of a thread.
fn read_file<R>(tid: u32, name: &[u8], of: impl FnOnce(&[u8]) -> R) -> Option<R> {
    let mut path = Text::<64>::new();
    path.push_bytes(b"/proc/self/task/")
        .push_u64(u64::from(tid))
        .push_bytes(name);
    let mut buf = [0u8; 256];
    let len = lines::read_start(path.c_str()?, &mut buf).ok()?;
    Some(of(buf.get(..len).unwrap_or_default()))
}

/// `running`, `-1 SP PC`, or `NUMBER ARG... SP PC`.
fn parse(text: &[u8]) -> Option<Doing> {
    let mut words = text.trim_ascii().split(|&byte| byte == b' ').skip(1);
    let mut numbers = [0usize; 8];
    let mut count = 0;
    for (to, word) in numbers.iter_mut().zip(&mut words) {
        let Some(number) = hex(word) else {
            return Some(Doing::Runs);
        };
        *to = number;
        count += 1;
    }
    let (sp, args) = match (count, numbers) {
        (2, [sp, ..]) => (sp, None),
        (8, [a, b, c, d, e, f, sp, _]) => (sp, Some([a, b, c, d, e, f])),
        _ => return Some(Doing::Runs),
    };
    (sp != 0).then_some(Doing::Sleeps { sp, args })
}

/// Shows the id of every thread.
fn each_task(show: impl FnMut(u32)) -> Option<()> {
    each_number_in(c"/proc/self/task", show)
}

/// Shows the names in a directory that are numbers.
pub fn each_number_in(path: &CStr, mut show: impl FnMut(u32)) -> Option<()> {
    if !permit::open() {
        return None;
    }
    let flags = sys::o::RDONLY | sys::o::DIRECTORY;
    let fd = sys::open(path, flags, 0).ok()?;
    let mut buf = [0u64; 256];
    let result = loop {
        let len = match sys::read_directory(fd, &mut buf) {
            Ok(0) => break Some(()),
            Ok(len) => len,
            Err(_) => break None,
        };
        // SAFETY: the words as bytes.
        let bytes =
            unsafe { core::slice::from_raw_parts(buf.as_ptr().cast::<u8>(), size_of_val(&buf)) };
        let mut rest = bytes.get(..len).unwrap_or_default();
        // struct linux_dirent64: inode, offset, length of the entry (u16), type, name.
        while let Some(length) = rest.get(16..18).and_then(|l| l.try_into().ok()) {
            let length = usize::from(u16::from_ne_bytes(length));
            let entry = rest.get(..length).unwrap_or_default();
            let name = entry.get(19..).unwrap_or_default();
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            if let Some(number) = crate::config::units::number(name) {
                show(number as u32);
            }
            rest = match rest.get(length..) {
                Some(rest) if length > 0 => rest,
                _ => break,
            };
        }
    };
    sys::close(fd);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn answers_of_the_kernel() {
        assert_eq!(parse(b"running\n"), Some(Doing::Runs));
        assert_eq!(
            parse(b"-1 0x7ffd10 0x55d5\n"),
            Some(Doing::Sleeps {
                sp: 0x7ffd10,
                args: None
            })
        );
        assert_eq!(
            parse(b"34 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffd10 0x7f00\n"),
            Some(Doing::Sleeps {
                sp: 0x7ffd10,
                args: Some([1, 2, 3, 4, 5, 6])
            })
        );
        assert_eq!(parse(b"-1 0x0 0x0\n"), None);
        assert_eq!(parse(b""), Some(Doing::Runs));
    }

    #[test]
    fn a_sleeping_thread_tells_its_stack_pointer_and_control_block() {
        init();
        let (told, heard) = mpsc::channel();
        let (end, wait) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let local = 0u8;
            let addresses = ((&raw const local).addr(), sys::thread_pointer());
            told.send((sys::gettid(), addresses)).unwrap();
            let _ = wait.recv();
        });
        let (tid, (local, pointer)) = heard.recv().unwrap();
        let found = loop {
            let threads = read(0, &Caller::NOBODY).unwrap();
            let found = *threads.as_slice().iter().find(|t| t.tid == tid).unwrap();
            if found.doing != Doing::Runs {
                break found;
            }
            std::thread::yield_now();
        };
        let Doing::Sleeps { sp, .. } = found.doing else {
            panic!("{found:?}");
        };
        assert!(sp < local && local - sp < 64 << 10);
        let again = read(0, &Caller::NOBODY).unwrap();
        let again = again.as_slice().iter().find(|t| t.tid == tid).unwrap();
        assert!(again.slept_since(&found) && again.ran_ns > Some(0));
        assert_eq!(found.control_block, pointer);
        drop(end);
        thread.join().unwrap();
    }
}
