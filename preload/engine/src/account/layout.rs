//! Owns the walk over the mappings: what the kernel's list alone says each of them is, and the
//! ranges of anonymous memory that need a closer look.
//! It must never keep more than what is resident.

use leaktrack_recording::part;

use super::areas::{Ranges, Sort};
use super::known::{self, Known};
use super::maps::{self, Vma};
use super::pagemap::PageMap;
use super::regions::Regions;
use super::tally::{Kind, Parts, Tally};
use crate::arena::AVec;
use crate::facts::lines;

/// Guards below stacks are not longer than this.
const LONGEST_GUARD_BYTES: usize = 1 << 20;

/// What the list says of a private anonymous mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The heap that grows by `brk`.
    Break,
    /// It begins right above a guard without access, as a thread's stack does.
    AboveGuard,
    /// Nothing.
    Plain,
    /// Its name says that it is a part of this number.
    Named(u32),
}

/// A private anonymous mapping with pages in memory or swap.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// First address.
    pub start: usize,
    /// One past the last address.
    pub end: usize,
    /// What the list says.
    pub look: Look,
}

/// The file that consecutive mappings show.
#[derive(Default)]
struct File {
    inode: u64,
    device: [u8; 16],
    executable: bool,
    /// leaktrack's library itself.
    own: bool,
    /// Pages of the file, and pages of our own over it.
    shared: Tally,
    private: Tally,
}

/// The result.
pub struct Layout {
    /// Pages of private anonymous mappings.
    pub regions: Regions,
    /// Those mappings.
    pub spans: AVec<Span>,
    /// Every mapping, in memory or not.
    pub ranges: Ranges,
    /// Parts that the list alone tells.
    pub parts: Parts,
    /// Everything found, whether it can be told or not.
    pub all: Tally,
    /// Mappings.
    pub mappings: u64,
    /// Not all spans found room.
    pub incomplete: bool,
    file: File,
    guard_end: usize,
}

impl Layout {
    /// Reads the list; `own_file` is the path of the recording, `resident_bytes` about how much
    /// there is.
    pub fn read(pagemap: &mut PageMap, own_file: &[u8], resident_bytes: u64) -> Option<Layout> {
        let mut layout = Layout {
            regions: Regions::new(resident_bytes),
            spans: AVec::new(),
            ranges: Ranges::new(),
            parts: Parts::new(),
            all: Tally::default(),
            mappings: 0,
            incomplete: false,
            file: File::default(),
            guard_end: 0,
        };
        layout.spans.reserve(256);
        let done = if pagemap.is_exact() {
            lines::for_each_line(c"/proc/self/maps", |line| {
                if let Some(vma) = maps::parse(line) {
                    layout.add(&vma, pagemap, own_file);
                }
                true
            })
        } else {
            layout.read_smaps(pagemap, own_file)
        };
        layout.end_file();
        done.ok().map(|()| layout)
    }

    /// What a range of private anonymous memory holds.
    pub fn tally(&self, start: usize, end: usize) -> Tally {
        let count = self.regions.count(start, end);
        let mut tally = Tally::default();
        tally.bytes(Kind::Anonymous, true, count.exclusive << 12);
        tally.bytes(Kind::Anonymous, false, count.shared << 12);
        tally.swapped(count.swapped << 12);
        tally
    }

    /// leaktrack's own memory grew while the list was read: counts it as it is now.
    pub fn look_again_at_own(&mut self, known: &Known, pagemap: &mut PageMap) {
        for range in known.ranges() {
            if range.kind == known::Kind::Own {
                let mut now = Tally::default();
                pagemap.visit(range.start, range.end, false, &mut |page| {
                    now.page(Kind::Anonymous, page.resident, page.exclusive);
                });
                let before = self.tally(range.start, range.end);
                self.all.exchange(&before, &now);
                self.parts.add(part::OWN, &now);
            }
        }
    }

    /// Without `pagemap`: what `smaps` says of files, `mincore` of anonymous memory.
    fn read_smaps(&mut self, pagemap: &mut PageMap, own_file: &[u8]) -> crate::sys::Result<()> {
        let mut counted = false;
        let [mut resident, mut anonymous] = [0; 2];
        lines::for_each_line(c"/proc/self/smaps", |line| {
            if let Some(vma) = maps::parse(line) {
                counted = vma.inode != 0 || vma.shared || vma.name.starts_with(b"[v");
                match counted {
                    true => self.add_file_head(&vma, own_file),
                    false => self.add(&vma, pagemap, own_file),
                }
            } else if let Some(bytes) = maps::value(line, b"Rss:") {
                resident = bytes;
            } else if let Some(bytes) = maps::value(line, b"Anonymous:") {
                anonymous = bytes;
            } else if line.starts_with(b"VmFlags:") && counted {
                self.ranges.set_resident(resident);
                let mine = Tally::exclusive(Kind::Anonymous, anonymous);
                let theirs = Tally::exclusive(Kind::File, resident.saturating_sub(anonymous));
                self.file.private.add(&mine);
                self.file.shared.add(&theirs);
                self.all.add(&mine);
                self.all.add(&theirs);
            }
            true
        })
    }

    fn add(&mut self, vma: &Vma<'_>, pagemap: &mut PageMap, own_file: &[u8]) {
        let private_anonymous = vma.inode == 0 && !vma.shared && !vma.name.starts_with(b"[v");
        if !private_anonymous {
            return self.add_file(vma, pagemap, own_file);
        }
        self.mappings += 1;
        let above_guard = core::mem::take(&mut self.guard_end) == vma.start;
        if vma.is_barred() && vma.bytes() <= LONGEST_GUARD_BYTES {
            self.guard_end = vma.end;
        }
        let mut tally = Tally::default();
        let regions = &mut self.regions;
        pagemap.visit(vma.start, vma.end, vma.is_barred(), &mut |page| {
            tally.page(Kind::Anonymous, page.resident, page.exclusive);
            regions.note(page.addr, page.resident, page.exclusive);
        });
        self.all.add(&tally);
        let look = match vma.name {
            b"[heap]" => Look::Break,
            b"[stack]" => Look::Named(part::STACKS),
            name => named(name).map_or(
                if above_guard {
                    Look::AboveGuard
                } else {
                    Look::Plain
                },
                Look::Named,
            ),
        };
        // Go's runtime puts its heap here, on every Linux of 64 bits.
        let is_go = (0xc0_0000_0000..0xc8_0000_0000).contains(&vma.start) && look == Look::Plain;
        let look = if is_go { Look::Named(part::GO) } else { look };
        let (start, end) = (vma.start, vma.end);
        self.ranges.note(vma, Sort::Anonymous(look));
        if tally.is_empty() {
            return;
        }
        self.incomplete |= !self.spans.try_push(Span { start, end, look });
    }

    /// Begins another file, if it is another.
    fn add_file_head(&mut self, vma: &Vma<'_>, own_file: &[u8]) {
        self.mappings += 1;
        let mut device = [0; 16];
        for (to, from) in device.iter_mut().zip(vma.device) {
            *to = *from;
        }
        let number = of_memory(vma, own_file);
        let sort = match number {
            _ if vma.name.starts_with(b"[v") => Sort::Kernel,
            Some(part::OWN) => Sort::Own,
            Some(_) => Sort::Shared,
            None => Sort::File,
        };
        self.ranges.note(vma, sort);
        if number.is_some() || vma.inode != self.file.inode || device != self.file.device {
            self.end_file();
        }
        if number.is_none() {
            self.file.inode = vma.inode;
            self.file.device = device;
            self.file.executable |= vma.executable || vma.inode == 0;
            let here = of_memory as *const () as usize;
            self.file.own |= (vma.start..vma.end).contains(&here);
        }
    }

    fn add_file(&mut self, vma: &Vma<'_>, pagemap: &mut PageMap, own_file: &[u8]) {
        self.guard_end = 0;
        self.add_file_head(vma, own_file);
        if vma.name.starts_with(b"[vvar") || vma.name == b"[vsyscall]" {
            return; // no RSS counts them
        }
        let number = of_memory(vma, own_file);
        let kind = match number {
            Some(part::SHARED_MEMORY) => Kind::Shared,
            _ => Kind::File,
        };
        let [mut shared, mut private] = [Tally::default(), Tally::default()];
        let regions = &mut self.regions;
        pagemap.visit(vma.start, vma.end, vma.is_barred(), &mut |page| {
            if page.file || vma.shared {
                shared.page(kind, page.resident, page.exclusive);
            } else {
                private.page(Kind::Anonymous, page.resident, page.exclusive);
            }
            regions.note(page.addr, page.resident, page.exclusive);
        });
        self.all.add(&shared);
        self.all.add(&private);
        match number {
            Some(number) => {
                self.parts.add(number, &shared);
                self.parts.add(number, &private);
            }
            None => {
                self.file.shared.add(&shared);
                self.file.private.add(&private);
            }
        }
    }

    fn end_file(&mut self) {
        let file = core::mem::take(&mut self.file);
        let (shared, private) = match (file.own, file.executable) {
            (true, _) => (part::OWN, part::OWN),
            (false, true) => (part::MODULES_SHARED, part::MODULES_PRIVATE),
            (false, false) => (part::FILES, part::FILES),
        };
        self.parts.add(shared, &file.shared);
        self.parts.add(private, &file.private);
    }
}

/// The part of a mapping that is no module and no file of the program's.
fn of_memory(vma: &Vma<'_>, own_file: &[u8]) -> Option<u32> {
    let path = vma.name.strip_suffix(b" (deleted)").unwrap_or(vma.name);
    if vma.inode != 0 && path == own_file {
        return Some(part::OWN);
    }
    let in_memory = [
        &b"/memfd:"[..],
        b"/SYSV",
        b"/dev/zero",
        b"/dev/shm/",
        b"/[aio]",
    ]
    .iter()
    .any(|prefix| path.starts_with(prefix));
    (vma.shared && (in_memory || vma.inode == 0)).then_some(part::SHARED_MEMORY)
}

/// The part that a name stands for, given by `prctl(PR_SET_VMA_ANON_NAME)`.
fn named(name: &[u8]) -> Option<u32> {
    let name = name.strip_prefix(b"[anon:")?.trim_ascii_start();
    let has = |word: &[u8]| {
        name.windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word))
    };
    if has(b"leaktrack") {
        Some(part::OWN)
    } else if name.starts_with(b"glibc: pthread stack") || has(b"stack_and_tls") {
        Some(part::STACKS)
    } else if name.starts_with(b"glibc: malloc") || has(b"scudo") {
        None // as if it had none: the walk over the blocks knows better
    } else if has(b"v8") {
        Some(part::V8)
    } else if name.starts_with(b"Go:") || name.starts_with(b"go:") {
        Some(part::GO)
    } else if has(b"jvm") || has(b"java") || has(b"dalvik") || has(b"codecache") {
        Some(part::JVM)
    } else {
        Some(part::NAMED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places() {
        assert_eq!(named(b"[anon:v8]"), Some(part::V8));
        assert_eq!(named(b"[anon: Go: heap]"), Some(part::GO));
        assert_eq!(named(b"[anon: glibc: malloc arena]"), None);
        assert_eq!(
            named(b"[anon: glibc: pthread stack: 12]"),
            Some(part::STACKS)
        );
        assert_eq!(named(b"[anon:mine]"), Some(part::NAMED));
        let of = |line: &[u8]| of_memory(&maps::parse(line).unwrap(), b"/tmp/a.ltk");
        assert_eq!(
            of(b"1-2 rw-s 0 00:01 5 /dev/zero (deleted)"),
            Some(part::SHARED_MEMORY)
        );
        assert_eq!(
            of(b"1-2 rw-s 0 00:01 5 /tmp/a.ltk (deleted)"),
            Some(part::OWN)
        );
        assert_eq!(of(b"1-2 rw-s 0 00:01 5 /tmp/b"), None);
        assert_eq!(of(b"1-2 r-xp 0 00:01 5 /usr/lib/libc.so.6"), None);
    }
}
