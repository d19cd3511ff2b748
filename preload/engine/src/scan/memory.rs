//! Owns reading the process's memory for a scan: which pages were ever touched, and what they hold.
//! It must never touch a page that was not touched before, nor fault: all is asked of the kernel.
//!
//! Small blocks are read through a cache of [`WINDOW_BYTES`] windows, since neighbours in the heap
//! are scanned after each other more often than not; ranges in pieces of [`PIECE_BYTES`].

use core::sync::atomic::Ordering::Relaxed;

use super::index::BlockIndex;
use super::regions::{Kind, Region};
use super::room::Room;
use super::x86_64::prefetch;
use crate::arena::PAGE_BYTES;
use crate::facts::process;
use crate::sys::{self, PageRange, o, page};
use crate::{guard, permit};

/// Read at once of a range.
const PIECE_BYTES: usize = 256 << 10;
/// Read at once of the heap.
pub const WINDOW_BYTES: usize = 16 << 10;
const MOST_WINDOWS: usize = 1024;
const FEWEST_WINDOWS: usize = 8;
/// Pages asked for at once.
const ASK_PAGES: usize = 4096;
/// Steps without a rest ([`Memory::steps`]): half a millisecond's work, or less than one.
pub const REST_STEPS: usize = 32 << 10;
/// Of the processor's caches.
const LINE_BYTES: usize = 64;
/// Bits of an entry in `pagemap`.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE_PAGE: u64 = 1 << 61;

/// Why a scan ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its time is up.
    Late,
    /// Something more urgent came up.
    Interrupted,
    /// The kernel refuses to have memory read.
    Refused,
}

/// How a range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Shared memory: absent pages may exist in other processes; read what is in memory.
    pub shared: bool,
    /// Pages that are still as in the file hold no pointers.
    pub file: bool,
    /// Not readable for the program: read as a debugger would.
    pub hidden: bool,
}

impl Manner {
    /// How a region is read.
    pub fn of(region: &Region) -> Manner {
        Manner {
            shared: region.shared,
            file: region.kind == Kind::File,
            hidden: !region.readable,
        }
    }
}

/// Limits of a scan.
#[derive(Clone, Copy)]
pub struct Limits {
    /// `CLOCK_MONOTONIC` at which it must end.
    pub deadline_ns: u64,
    /// Asked now and then: true ends the scan.
    pub interrupted: fn() -> bool,
    /// Swapped bytes that may be brought back.
    pub swap_bytes: u64,
    /// How much of a processor it may use; `None`: one.
    pub pace: Option<Pace>,
}

#[cfg(test)]
impl Limits {
    /// None but that nothing is brought back from swap space.
    pub fn none() -> Limits {
        Limits {
            deadline_ns: u64::MAX,
            interrupted: || false,
            swap_bytes: 0,
            pace: None,
        }
    }
}

/// A share of a processor.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Of one processor.
    pub percent: u64,
    /// Waits so many milliseconds, at least one; true ends the scan.
    pub rest: fn(u64) -> bool,
}

impl Pace {
    /// What is to be waited after work of `busy_ns`, all in all `passed_ns` after the beginning.
    fn owed_ms(&self, busy_ns: u64, passed_ns: u64) -> u64 {
        let due_ns = busy_ns.saturating_mul(100) / self.percent.clamp(1, 100);
        due_ns.saturating_sub(passed_ns) / 1_000_000
    }
}

/// A part of a block, in touched pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Piece {
    /// Of its first word.
    pub addr: usize,
    /// A multiple of eight.
    pub bytes: usize,
    /// Whose.
    pub block: u32,
}

impl Piece {
    /// Starts fetching what the kernel will copy: of blocks all over the heap it would else wait for one after
    /// the other. Where nothing is, nothing happens: no page is touched.
    fn fetch(&self) {
        /// Of longer ones the processor sees by itself what comes next.
        const MOST_BYTES: usize = 256;
        for at in (0..self.bytes.min(MOST_BYTES)).step_by(LINE_BYTES) {
            prefetch(core::ptr::without_provenance(self.addr + at));
        }
    }

    fn parts(&self) -> (usize, usize) {
        (self.addr, self.bytes)
    }
}

/// Pieces read together at most, and bytes in them.
pub const MOST_PIECES: usize = 64;
/// See there.
pub const MOST_PIECE_BYTES: usize = PIECE_BYTES;

/// See the module.
pub struct Memory {
    pagemap: Option<i32>,
    /// The kernel may be asked for the next touched page.
    may_skip: bool,
    hidden: Option<i32>,
    /// A file in memory, through which many small pieces are copied.
    staging: Option<i32>,
    limits: Limits,
    pages: Room<u64>,
    piece: Room<u64>,
    windows: Room<u8>,
    tags: Room<usize>,
    /// Bytes read.
    pub read_bytes: u64,
    next_look_bytes: u64,
    /// Since the last rest for their sake.
    steps: usize,
    swapped_read_bytes: u64,
    /// Swapped bytes that were left alone.
    pub skipped_bytes: u64,
    /// Monotonic and processor time when the pace began.
    paced_ns: (u64, u64),
}

impl Drop for Memory {
    fn drop(&mut self) {
        let files = [self.pagemap, self.hidden, self.staging];
        for fd in files.into_iter().flatten() {
            sys::close(fd);
        }
    }
}

impl Memory {
    /// `None` without memory for the buffers.
    pub fn new(limits: Limits) -> Option<Memory> {
        let mut count = MOST_WINDOWS;
        let windows = loop {
            match Room::zeroed(count * WINDOW_BYTES) {
                Some(windows) => break windows,
                None if count > FEWEST_WINDOWS => count /= 2,
                None => return None,
            }
        };
        let open = |path| sys::open(path, o::RDONLY | o::NOCTTY, 0).ok();
        Some(Memory {
            pages: Room::zeroed(ASK_PAGES)?,
            piece: Room::zeroed(PIECE_BYTES / 8)?,
            windows,
            tags: Room::zeroed(count)?,
            pagemap: open(c"/proc/thread-self/pagemap"),
            // A call that no trial was made of may be deadly under a filter.
            may_skip: guard::QUIET.load(Relaxed) == 0 && !process::has_seccomp_filter(),
            hidden: open(c"/proc/thread-self/mem"),
            staging: staging(),
            limits,
            read_bytes: 0,
            next_look_bytes: 0,
            steps: 0,
            swapped_read_bytes: 0,
            skipped_bytes: 0,
            paced_ns: (now_ns(), sys::clock_ns(sys::clock::THREAD_CPU)),
        })
    }

    /// Ends the scan when it must end.
    pub fn look(&mut self) -> Result<(), Stop> {
        /// Half a millisecond's work, or less than one.
        const EVERY_BYTES: u64 = 1 << 20;
        if self.read_bytes < self.next_look_bytes {
            return Ok(());
        }
        self.next_look_bytes = self.read_bytes + EVERY_BYTES;
        self.rest(0)
    }

    /// Notes steps of work that reads no memory, such as a look at what is known of a block; ends the
    /// scan when it must end.
    #[inline(always)]
    pub fn steps(&mut self, count: usize) -> Result<(), Stop> {
        self.steps += count;
        if self.steps < REST_STEPS {
            return Ok(());
        }
        self.steps = 0;
        self.rest(0)
    }

    /// Waits for at least `ms`, and for as long as the pace demands; ends the scan when it must end.
    pub fn rest(&mut self, ms: u64) -> Result<(), Stop> {
        if (self.limits.interrupted)() {
            return Err(Stop::Interrupted);
        }
        if let Some(pace) = self.limits.pace {
            /// What was not used cannot be saved up.
            const CREDIT_NS: u64 = 5_000_000;
            let (now, busy) = (now_ns(), sys::clock_ns(sys::clock::THREAD_CPU));
            let (began_ns, before_ns) = self.paced_ns;
            let busy_ns = busy.saturating_sub(before_ns);
            let owed_ms = pace.owed_ms(busy_ns, now.saturating_sub(began_ns));
            let ms = ms.max(owed_ms);
            if ms > 0 && (pace.rest)(ms) {
                return Err(Stop::Interrupted);
            }
            if owed_ms == 0 {
                self.paced_ns = (now.saturating_sub(CREDIT_NS), busy);
            }
        }
        if now_ns() > self.limits.deadline_ns {
            Err(Stop::Late)
        } else {
            Ok(())
        }
    }

    /// Shows all words of a range that may hold something, in runs: address and words.
    pub fn each(
        &mut self,
        start: usize,
        end: usize,
        manner: Manner,
        show: &mut dyn FnMut(usize, &[u64]),
    ) -> Result<(), Stop> {
        let mut page = start & !(PAGE_BYTES - 1);
        while page < end {
            let count = ((end - page).div_ceil(PAGE_BYTES)).min(ASK_PAGES);
            self.ask(page, count, manner);
            let mut at = 0;
            let before = self.read_bytes;
            while at < count {
                let here = self.pages.get(at) == Some(1);
                let run = self.run(at, count, here);
                if here {
                    let from = (page + at * PAGE_BYTES).max(start).next_multiple_of(8);
                    let to = (page + run * PAGE_BYTES).min(end);
                    self.show(from, to, manner, show)?;
                }
                at = run;
            }
            page += count * PAGE_BYTES;
            if self.read_bytes == before && page < end && !manner.shared {
                page = self.next_touched(page, end);
            }
            self.read_bytes += count as u64; // much empty space takes time, too
            self.look()?;
        }
        Ok(())
    }

    /// Where the next page lies that may hold something: a heap may have a TiB set aside.
    fn next_touched(&mut self, from: usize, end: usize) -> usize {
        let Some(fd) = self.pagemap.filter(|_| self.may_skip) else {
            return from;
        };
        let mut runs = [PageRange::default()];
        let categories = page::PRESENT | page::SWAPPED;
        match sys::scan_pages(fd, from as u64, end as u64, categories, &mut runs) {
            Ok((0, walked)) if walked >= end as u64 => end,
            Ok((1, _)) => {
                let [first] = runs;
                (first.start as usize).clamp(from, end)
            }
            Ok(_) => from,
            Err(_) => {
                self.may_skip = false; // before Linux 6.7
                from
            }
        }
    }

    /// Where the run of equal answers from `at` on ends.
    fn run(&self, at: usize, count: usize, here: bool) -> usize {
        let rest = self.pages.as_slice().get(at..count).unwrap_or_default();
        let len = rest.iter().position(|&answer| (answer == 1) != here);
        at + len.unwrap_or(rest.len()).max(1)
    }

    fn show(
        &mut self,
        mut from: usize,
        to: usize,
        manner: Manner,
        show: &mut dyn FnMut(usize, &[u64]),
    ) -> Result<(), Stop> {
        while from + 8 <= to {
            let wanted = (to - from).min(PIECE_BYTES) & !7;
            let got = self.copy(from, wanted, manner.hidden)?;
            self.read_bytes += got as u64;
            let words = self.piece.as_slice().get(..got / 8).unwrap_or_default();
            show(from, words);
            // A page that went away meanwhile ends the copy: go on behind it.
            from = if got < wanted {
                (from + got + PAGE_BYTES) & !(PAGE_BYTES - 1)
            } else {
                from + got
            };
            self.look()?;
        }
        Ok(())
    }

    fn copy(&mut self, from: usize, bytes: usize, hidden: bool) -> Result<usize, Stop> {
        let piece = self.piece.as_mut_slice();
        let room = piece.len() * 8;
        // SAFETY: the words as bytes.
        let piece = unsafe { core::slice::from_raw_parts_mut(piece.as_mut_ptr().cast(), room) };
        let piece = piece.get_mut(..bytes).unwrap_or_default();
        let got = match (hidden, self.hidden) {
            (false, _) => sys::read_own_memory(from, piece),
            (true, Some(fd)) => sys::pread(fd, piece, from as u64),
            (true, None) => Ok(0),
        };
        match got {
            Ok(got) => Ok(got & !7),
            Err(sys::Errno::EPERM | sys::Errno::ENOSYS) => Err(Stop::Refused),
            Err(_) => Ok(0),
        }
    }

    /// Puts 1 into `pages` for each page that may hold something, else 0.
    fn ask(&mut self, page: usize, count: usize, manner: Manner) {
        let Some(answers) = self.pages.as_mut_slice().get_mut(..count) else {
            return;
        };
        let known = match self.pagemap {
            Some(fd) if !manner.shared => read_pagemap(fd, page, answers),
            _ => false,
        };
        if !known {
            // A hidden page cannot be asked about otherwise, and is left alone.
            if manner.hidden || !mincore(page, answers) {
                answers.fill(0);
            }
            return;
        }
        for answer in answers {
            let bits = *answer;
            let swapped = bits & SWAPPED != 0;
            *answer = u64::from(bits & (PRESENT | SWAPPED) != 0);
            if manner.file && bits & FILE_PAGE != 0 {
                *answer = 0;
            } else if swapped {
                if self.swapped_read_bytes >= self.limits.swap_bytes {
                    self.skipped_bytes += PAGE_BYTES as u64;
                    *answer = 0;
                } else {
                    self.swapped_read_bytes += PAGE_BYTES as u64;
                }
            }
        }
    }

    /// Has the index know which pages of the heap were touched.
    pub fn note_touched(&mut self, index: &mut BlockIndex) -> Result<(), Stop> {
        let manner = Manner {
            shared: false,
            file: false,
            hidden: false,
        };
        index.note_touched(|page, answers| {
            self.ask(page, answers.len(), manner);
            for (to, from) in answers.iter_mut().zip(self.pages.as_slice()) {
                *to = *from as u32;
            }
            self.steps(answers.len())
        })
    }

    /// The window of the heap that an address lies in; pages that were not touched read as zero.
    fn window(&mut self, addr: usize, index: &BlockIndex) -> Result<&[u8], Stop> {
        let window = addr & !(WINDOW_BYTES - 1);
        let slots = self.tags.len().max(1);
        // Their number is a power of two.
        let slot = (window / WINDOW_BYTES) & (slots - 1);
        let range = slot * WINDOW_BYTES..(slot + 1) * WINDOW_BYTES;
        if self.tags.get(slot) != Some(window) {
            self.look()?;
            if let Some(tag) = self.tags.as_mut_slice().get_mut(slot) {
                *tag = window;
            }
            let bytes = self.windows.as_mut_slice();
            let bytes = bytes.get_mut(range.clone()).unwrap_or_default();
            self.read_bytes += fill_window(window, bytes, index)?;
        }
        Ok(self.windows.as_slice().get(range).unwrap_or_default())
    }

    /// One word of a block; `None` where nothing is.
    pub fn word(&mut self, addr: usize, index: &BlockIndex) -> Result<Option<u64>, Stop> {
        if !addr.is_multiple_of(8) {
            return Ok(None);
        }
        if !index.is_touched(addr & !(PAGE_BYTES - 1)) {
            return Ok(self.words_at::<1>(addr).map(|[word]| word)); // of a large block
        }
        let window = self.window(addr, index)?;
        let at = addr & (WINDOW_BYTES - 1);
        let word = window.get(at..at + 8).and_then(|w| w.try_into().ok());
        Ok(word.map(u64::from_ne_bytes))
    }

    /// Words anywhere, without the cache.
    pub fn words_at<const N: usize>(&self, addr: usize) -> Option<[u64; N]> {
        let mut words = [0u64; N];
        // SAFETY: the words as bytes.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), N * 8) };
        let len = bytes.len();
        (sys::read_own_memory(addr, bytes) == Ok(len)).then_some(words)
    }

    /// False if a page was surely never touched, or given back since: a look at its words would map it.
    pub fn was_touched(&self, addr: usize) -> bool {
        let mut entry = [0];
        let page = addr & !(PAGE_BYTES - 1);
        match self.pagemap {
            Some(fd) if read_pagemap(fd, page, &mut entry) => entry[0] & (PRESENT | SWAPPED) != 0,
            _ => true,
        }
    }

    /// Shows all words of a small block.
    pub fn block(
        &mut self,
        addr: usize,
        bytes: usize,
        index: &BlockIndex,
        show: &mut dyn FnMut(&[u64]),
    ) -> Result<(), Stop> {
        let (mut from, end) = (addr, addr + (bytes & !7));
        while from < end {
            let to = ((from & !(WINDOW_BYTES - 1)) + WINDOW_BYTES).min(end);
            let at = from & (WINDOW_BYTES - 1);
            let window = self.window(from, index)?;
            let part = window.get(at..at + (to - from)).unwrap_or_default();
            // SAFETY: blocks and windows begin at multiples of eight, and any bytes are words.
            let (_, words, _) = unsafe { part.align_to::<u64>() };
            show(words);
            from = to;
        }
        Ok(())
    }

    /// Reads pieces of blocks, all at once. What has gone meanwhile reads as zero.
    pub fn gather(&mut self, pieces: &[Piece]) -> Result<&[u64], Stop> {
        self.look()?;
        pieces.iter().for_each(Piece::fetch);
        let total: usize = pieces.iter().map(|piece| piece.bytes).sum();
        let words = self.piece.as_mut_slice();
        let room = size_of_val(words);
        // SAFETY: the words as bytes.
        let bytes = unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), room) };
        let bytes: &mut [u8] = bytes.get_mut(..total).unwrap_or_default();
        let (mut rest, mut done) = (pieces, 0);
        while !rest.is_empty() {
            let to = bytes.get_mut(done..).unwrap_or_default();
            let mut got = match copy_pieces(self.staging, rest, to) {
                Ok(got) => got,
                Err(sys::Errno::EPERM | sys::Errno::ENOSYS) => return Err(Stop::Refused),
                Err(_) => 0,
            };
            self.read_bytes += got as u64;
            // The kernel copies whole pieces up to the first that it cannot copy.
            while let Some((piece, after)) = rest.split_first() {
                if got < piece.bytes {
                    break;
                }
                got -= piece.bytes;
                done += piece.bytes;
                rest = after;
            }
            if let Some((piece, after)) = rest.split_first() {
                // Gone, or forbidden to this thread by a protection key.
                let part = bytes.get_mut(done..done + piece.bytes);
                let part = part.unwrap_or_default();
                if sys::read_own_memory(piece.addr, part) != Ok(part.len()) {
                    part.fill(0);
                }
                done += piece.bytes;
                rest = after;
            }
        }
        Ok(self.piece.as_slice().get(..total / 8).unwrap_or_default())
    }

    /// Forgets what was read of the heap.
    pub fn forget(&mut self) {
        self.tags.as_mut_slice().fill(0);
    }
}

/// A file in memory, if it may grow as far as is needed: beyond the limit a write raises a signal.
fn staging() -> Option<i32> {
    const RLIMIT_FSIZE: usize = 1;
    let may_grow =
        || sys::getrlimit(RLIMIT_FSIZE).is_ok_and(|(soft, _)| soft >= PIECE_BYTES as u64);
    (permit::staging() && may_grow())
        .then(sys::memory_file)?
        .ok()
}

/// Copies pieces behind each other; the number of bytes up to the first that cannot be read.
fn copy_pieces(staging: Option<i32>, pieces: &[Piece], to: &mut [u8]) -> sys::Result<usize> {
    let parts = || pieces.iter().map(Piece::parts);
    if let Some(fd) = staging
        && let Ok(written) = sys::write_own_pieces(fd, parts())
        && let Some(to) = to.get_mut(..written)
        && sys::pread(fd, to, 0) == Ok(written)
    {
        return Ok(written);
    }
    sys::read_own_pieces(parts(), to)
}

fn now_ns() -> u64 {
    sys::clock_ns(sys::clock::MONOTONIC)
}

/// Reads the touched pages of a window; bytes read.
fn fill_window(window: usize, bytes: &mut [u8], index: &BlockIndex) -> Result<u64, Stop> {
    let pages = WINDOW_BYTES / PAGE_BYTES;
    let touched = |at: usize| index.is_touched(window + at * PAGE_BYTES);
    let mut read = 0;
    let mut at = 0;
    while at < pages {
        let here = touched(at);
        let mut end = at + 1;
        while end < pages && touched(end) == here {
            end += 1;
        }
        let part = bytes.get_mut(at * PAGE_BYTES..end * PAGE_BYTES);
        let part = part.unwrap_or_default();
        if here {
            let got = match sys::read_own_memory(window + at * PAGE_BYTES, part) {
                Ok(got) => got,
                Err(sys::Errno::EPERM | sys::Errno::ENOSYS) => return Err(Stop::Refused),
                Err(_) => 0,
            };
            read += got as u64;
            part.get_mut(got..).unwrap_or_default().fill(0);
            if got < part.len() {
                // One of the pages has gone: the others, each on its own.
                for (page, one) in (at..).zip(part.chunks_mut(PAGE_BYTES)) {
                    if (page - at) * PAGE_BYTES >= got
                        && sys::read_own_memory(window + page * PAGE_BYTES, one).is_err()
                    {
                        one.fill(0);
                    }
                }
            }
        } else {
            part.fill(0);
        }
        at = end;
    }
    Ok(read)
}

/// Reads the kernel's entries of pages; false if it does not tell.
fn read_pagemap(fd: i32, page: usize, entries: &mut [u64]) -> bool {
    let len = size_of_val(entries);
    // SAFETY: the entries as bytes.
    let bytes = unsafe { core::slice::from_raw_parts_mut(entries.as_mut_ptr().cast::<u8>(), len) };
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match sys::pread(fd, rest, (page / PAGE_BYTES * 8 + done) as u64) {
            Ok(got) if got > 0 => done += got,
            Err(sys::Errno::EINTR) => {}
            _ => return false,
        }
    }
    true
}

/// Asks which pages are in memory: 1 or 0. False if the kernel does not tell (part of the range is
/// not mapped any more).
fn mincore(page: usize, answers: &mut [u64]) -> bool {
    for (at, some) in (0..).step_by(256).zip(answers.chunks_mut(256)) {
        let mut bytes = [0u8; 256];
        let from = page + at * PAGE_BYTES;
        if sys::mincore(from, some.len() * PAGE_BYTES, &mut bytes).is_err() {
            return false;
        }
        for (to, byte) in some.iter_mut().zip(bytes) {
            *to = u64::from(byte & 1);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_a_processor_waits_nine_times_as_long_as_it_works() {
        let pace = |percent| Pace {
            percent,
            rest: |_| false,
        };
        let ms = 1_000_000;
        assert_eq!(pace(10).owed_ms(5 * ms, 5 * ms), 45);
        assert_eq!(pace(10).owed_ms(5 * ms, 50 * ms), 0);
        assert_eq!(pace(100).owed_ms(5 * ms, 5 * ms), 0);
        assert_eq!(pace(0).owed_ms(5 * ms, 0), 500);
    }

    #[test]
    fn no_more_is_brought_back_from_swap_space_than_may_be() {
        const PAGES: usize = 8;
        let start = sys::map_anonymous(PAGES * PAGE_BYTES).unwrap();
        for at in (0..PAGES * PAGE_BYTES).step_by(PAGE_BYTES) {
            // SAFETY: inside the mapping, aligned.
            unsafe { start.add(at).cast::<u64>().write(7) };
        }
        // As the kernel tells it of pages that are all swapped out but for the first.
        let mut entries = [SWAPPED; PAGES];
        entries[0] = PRESENT;
        let bytes = entries.map(u64::to_ne_bytes).concat();
        let at = start.addr() / PAGE_BYTES * 8;
        for (allowed, expected) in [(0, 1), (3, 4), (PAGES, PAGES)] {
            let swap_bytes = (allowed * PAGE_BYTES) as u64;
            let mut memory = Memory::new(Limits {
                swap_bytes,
                ..Limits::none()
            })
            .unwrap();
            let file = sys::memory_file().unwrap();
            assert_eq!(sys::pwrite(file, &bytes, at as u64), Ok(bytes.len()));
            sys::close(memory.pagemap.replace(file).unwrap());
            let mut seen = 0;
            let (from, to) = (start.addr(), start.addr() + PAGES * PAGE_BYTES);
            let manner = Manner {
                shared: false,
                file: false,
                hidden: false,
            };
            let result = memory.each(from, to, manner, &mut |_, words| {
                seen += words.iter().filter(|word| **word == 7).count();
            });
            assert_eq!((result, seen), (Ok(()), expected));
            let left = (PAGES - expected) * PAGE_BYTES;
            assert_eq!(memory.skipped_bytes, left as u64);
        }
    }

    #[test]
    fn pieces_that_are_gone_read_as_zero_and_the_others_as_they_are() {
        let start = sys::map_anonymous(3 * PAGE_BYTES).unwrap();
        let word = |at: usize| (start.addr() + at) as u64;
        for at in (0..3 * PAGE_BYTES).step_by(8) {
            // SAFETY: inside the mapping, aligned.
            unsafe { start.add(at).cast::<u64>().write(word(at)) };
        }
        unsafe extern "C" {
            fn mprotect(addr: *mut u8, bytes: usize, protection: i32) -> i32;
        }
        // Not unmapped: the tests beside this one might map something there.
        // SAFETY: the middle page of the mapping made above, to which nothing refers.
        assert_eq!(unsafe { mprotect(start.add(PAGE_BYTES), PAGE_BYTES, 0) }, 0);
        let piece = |at: usize, bytes: usize| Piece {
            addr: start.addr() + at,
            bytes,
            block: 0,
        };
        let pieces = [
            piece(8, 24),
            piece(PAGE_BYTES - 16, 32), // its second half is gone
            piece(PAGE_BYTES + 64, 16),
            piece(2 * PAGE_BYTES, 16),
        ];
        let expected = [
            [word(8), word(16), word(24)].as_slice(),
            &[0; 4],
            &[0; 2],
            &[word(2 * PAGE_BYTES), word(2 * PAGE_BYTES + 8)],
        ]
        .concat();
        let mut memory = Memory::new(Limits::none()).unwrap();
        assert!(memory.staging.is_some());
        assert_eq!(memory.gather(&pieces).unwrap(), expected);
        // As where the file is forbidden.
        sys::close(memory.staging.take().unwrap());
        assert_eq!(memory.gather(&pieces).unwrap(), expected);
    }
}
