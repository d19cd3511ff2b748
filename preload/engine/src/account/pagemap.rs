//! Owns the question which pages are in memory: `pagemap`, helped by `PAGEMAP_SCAN` where the
//! kernel has it, else `mincore`.
//! It must never read a page itself: that would bring it into memory.

use crate::facts::process;
use crate::recorder::Buffer;
use crate::sys::{self, PageRange, o};
use crate::{guard, permit};

const PAGE: usize = 4096;
/// Entries read at once, and where there is little memory; the kernel lets go of the address space
/// after every 512.
const ENTRIES: [usize; 2] = [8192, 512];
/// Ranges from here on are first asked for their runs of pages, as most may never have been touched.
const LARGE_BYTES: usize = 32 << 20;
/// Entries looked at without `PAGEMAP_SCAN` at most: 512 GiB of address space, about a second.
const MOST_ENTRIES: usize = 1 << 27;

/// A page that is in memory or swapped out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its address.
    pub addr: usize,
    /// In memory; else swapped out.
    pub resident: bool,
    /// It belongs to a file or to shared memory.
    pub file: bool,
    /// No other process maps it.
    pub exclusive: bool,
}

/// The page table as the kernel shows it.
pub struct PageMap {
    /// `None`: the kernel refused.
    fd: Option<i32>,
    buffer: Buffer,
    may_scan: bool,
    entries_left: usize,
    /// Address space that was not looked at.
    pub skipped_bytes: u64,
}

impl PageMap {
    /// Opens it; `None` without memory, or where nothing may be asked.
    pub fn open() -> Option<PageMap> {
        if !permit::open() {
            return None;
        }
        let mut sizes = ENTRIES.iter();
        let buffer = sizes.find_map(|entries| Buffer::of(entries * size_of::<u64>()))?;
        // Calls that no trial was made of may be deadly under a filter.
        let filtered = guard::QUIET.load(core::sync::atomic::Ordering::Relaxed) != 0
            || process::has_seccomp_filter();
        let fd = sys::open(
            c"/proc/self/pagemap",
            o::RDONLY | o::NOFOLLOW | o::NOCTTY | o::CLOEXEC,
            0,
        );
        if fd.is_err() && filtered {
            return None;
        }
        Some(PageMap {
            fd: fd.ok(),
            buffer,
            may_scan: !filtered,
            entries_left: MOST_ENTRIES,
            skipped_bytes: 0,
        })
    }

    /// The kernel showed the page table itself; else only `mincore` is left, which knows nothing of
    /// swap and of files only what is cached.
    pub fn is_exact(&self) -> bool {
        self.fd.is_some()
    }

    /// Visits the pages of a range that are resident or swapped out, in order. `barred`: without
    /// access, so that a large one is hardly worth a look.
    pub fn visit(&mut self, start: usize, end: usize, barred: bool, visit: &mut impl FnMut(Page)) {
        let Some(fd) = self.fd else {
            return self.visit_by_mincore(start, end, visit);
        };
        let large = end - start >= LARGE_BYTES;
        if large && self.may_scan && self.visit_runs(fd, start, end, visit) {
            return;
        }
        let entries = (end - start) / PAGE;
        if large && barred || entries > self.entries_left {
            if !barred {
                self.skipped_bytes += (end - start) as u64;
            }
            return;
        }
        self.entries_left -= entries;
        self.visit_entries(fd, start, end, visit);
    }

    /// Asks for the runs first; false if the kernel cannot tell.
    fn visit_runs(
        &mut self,
        fd: i32,
        start: usize,
        end: usize,
        visit: &mut impl FnMut(Page),
    ) -> bool {
        let mut from = start as u64;
        while from < end as u64 {
            let mut runs = [PageRange::default(); 64];
            let wanted = sys::page::PRESENT | sys::page::SWAPPED;
            let Ok((count, next)) = sys::scan_pages(fd, from, end as u64, wanted, &mut runs) else {
                self.may_scan = from != start as u64;
                return from != start as u64;
            };
            for run in runs.iter().take(count) {
                self.visit_entries(fd, run.start as usize, run.end as usize, visit);
            }
            if next <= from {
                break;
            }
            from = next;
        }
        true
    }

    fn visit_entries(&mut self, fd: i32, start: usize, end: usize, visit: &mut impl FnMut(Page)) {
        let mut from = start;
        while from < end {
            let room = self.buffer.as_slice().len();
            let want = ((end - from) / PAGE * size_of::<u64>()).min(room);
            let place = (from / PAGE * size_of::<u64>()) as u64;
            let bytes = self.buffer.as_mut_slice().get_mut(..want);
            let got = match sys::pread(fd, bytes.unwrap_or_default(), place) {
                Err(sys::Errno::EINTR) => continue,
                Ok(got) if got >= size_of::<u64>() => got / size_of::<u64>(),
                _ => return,
            };
            let mut suspicious = false;
            let (words, _) = self.buffer.as_slice().as_chunks::<8>();
            for word in words.iter().take(got) {
                let entry = u64::from_le_bytes(*word);
                suspicious |= entry != 0 && maybe_zero(entry);
            }
            let mut zeros = [PageRange::default(); 64];
            let until = from + got * PAGE;
            // Pages that were read but never written are one page of zeros, which no RSS counts.
            let mut known = if suspicious && self.may_scan {
                let (from, until) = (from as u64, until as u64);
                sys::scan_pages(fd, from, until, sys::page::ZERO, &mut zeros).unwrap_or((0, until))
            } else {
                (0, until as u64)
            };
            let mut at = from;
            for word in words.iter().take(got) {
                let entry = u64::from_le_bytes(*word);
                if entry >> 62 != 0 {
                    let mut resident = entry >> 63 != 0;
                    if suspicious && maybe_zero(entry) {
                        if at as u64 >= known.1 {
                            let (from, until) = (at as u64, until as u64);
                            let found =
                                sys::scan_pages(fd, from, until, sys::page::ZERO, &mut zeros);
                            known = found.unwrap_or((0, until));
                        }
                        let within =
                            |range: &PageRange| range.start <= at as u64 && (at as u64) < range.end;
                        resident = !zeros.iter().take(known.0).any(within);
                    }
                    if resident || entry >> 62 & 1 != 0 {
                        visit(Page {
                            addr: at,
                            resident,
                            file: entry >> 61 & 1 != 0,
                            exclusive: entry >> 56 & 1 != 0,
                        });
                    }
                }
                at += PAGE;
            }
            from = until;
        }
    }

    fn visit_by_mincore(&mut self, start: usize, end: usize, visit: &mut impl FnMut(Page)) {
        let mut from = start;
        while from < end {
            let room = self.buffer.as_mut_slice();
            let bytes = (end - from).min(room.len() * PAGE);
            if bytes / PAGE > self.entries_left || sys::mincore(from, bytes, room).is_err() {
                self.skipped_bytes += (end - from) as u64;
                return;
            }
            self.entries_left -= bytes / PAGE;
            for (page, state) in self.buffer.as_slice().iter().enumerate().take(bytes / PAGE) {
                if state & 1 != 0 {
                    visit(Page {
                        addr: from + page * PAGE,
                        resident: true,
                        file: false,
                        exclusive: true,
                    });
                }
            }
            from += bytes;
        }
    }
}

/// In memory, anonymous, and not this process's alone: perhaps the page of zeros.
fn maybe_zero(entry: u64) -> bool {
    entry >> 63 != 0 && entry >> 61 & 1 == 0 && entry >> 56 & 1 == 0
}

impl Drop for PageMap {
    fn drop(&mut self) {
        if let Some(fd) = self.fd {
            sys::close(fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn finds_exactly_what_was_touched() {
        const PAGES: usize = 20_000;
        let memory = sys::map_anonymous(PAGES * PAGE).unwrap();
        // SAFETY: `MADV_NOHUGEPAGE` on the test's own memory.
        let _ = unsafe { sys::madvise(memory, PAGES * PAGE, 15) };
        let touched = |page: usize| page.is_multiple_of(97) || (5_000..5_100).contains(&page);
        let read = |page: usize| page.is_multiple_of(89) && !touched(page);
        for page in 0..PAGES {
            // SAFETY: inside the mapping.
            unsafe {
                if touched(page) {
                    memory.add(page * PAGE).write(1);
                } else if read(page) {
                    memory.add(page * PAGE).read_volatile();
                }
            }
        }
        let expected: Vec<usize> = (0..PAGES).filter(|page| touched(*page)).collect();
        for (scan, exact) in [(true, true), (false, true), (true, false)] {
            let mut map = PageMap::open().unwrap();
            let may_scan = map.may_scan;
            map.may_scan &= scan;
            if !exact {
                sys::close(map.fd.take().unwrap());
            }
            let mut found = Vec::new();
            let start = memory.addr();
            map.visit(start, start + PAGES * PAGE, false, &mut |page| {
                assert!(page.resident && !page.file);
                found.push((page.addr - start) / PAGE);
            });
            assert_eq!(map.skipped_bytes, 0);
            if scan && may_scan && exact {
                assert_eq!(found, expected);
            } else {
                // Without the newer call the page of zeros looks like any other.
                found.retain(|page| !read(*page));
                assert_eq!(found, expected);
            }
        }
        // SAFETY: the test's own mapping.
        unsafe { sys::munmap(memory, PAGES * PAGE).unwrap() };
    }

    #[test]
    fn a_terabyte_of_nothing_takes_no_time() {
        const BYTES: usize = 1 << 40;
        let Ok(memory) = sys::map_anonymous(BYTES) else {
            return;
        };
        // SAFETY: inside the mapping.
        unsafe { memory.add(BYTES / 2).write(1) };
        let mut map = PageMap::open().unwrap();
        let mut found = 0;
        map.visit(memory.addr(), memory.addr() + BYTES, false, &mut |page| {
            assert_eq!(page.addr, memory.addr() + BYTES / 2);
            found += 1;
        });
        assert!(found == 1 || map.skipped_bytes == BYTES as u64);
        // SAFETY: the test's own mapping.
        unsafe { sys::munmap(memory, BYTES).unwrap() };
    }
}
