//! Owns the answer to "up to where may the stack be read": what is known about the stacks that a
//! thread runs on.
//!
//! Never touches memory that it does not know to be mapped: a thread's own stack is known from the
//! thread library, any other (fiber, signal stack, raw clone) page by page from the kernel.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use crate::loader;
use crate::sys;

const PAGE: usize = 4096;
/// Pages asked for at once.
const AHEAD: usize = 16;
/// The kernel keeps at least this much below the main stack's top free for it.
const MAIN_STACK_BYTES: usize = 64 << 20;

/// One past the main thread's outermost frame, rounded up to a page; 0 before `init`.
static MAIN_TOP: AtomicUsize = AtomicUsize::new(0);
/// Raised with every unmapping: what was found readable before may be gone.
static UNMAPS: AtomicU32 = AtomicU32::new(0);
static PROBE_FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// Learns where the main thread's stack ends.
pub fn init() {
    // SAFETY: libc's `__libc_stack_end` is one word of initialised data.
    let top =
        loader::resolve_libc(b"__libc_stack_end").map_or(0, |p| unsafe { *(p as *const usize) });
    MAIN_TOP.store(top.next_multiple_of(PAGE), Relaxed);
}

/// Something was unmapped by the host.
pub fn note_unmap() {
    UNMAPS.fetch_add(1, Relaxed);
}

/// Never ask the kernel again (a seccomp filter would kill), or do so again.
pub fn forbid_probe(on: bool) {
    PROBE_FORBIDDEN.store(on, Relaxed);
}

/// A range of stack that may be read. All zeroes is an empty one.
#[repr(C)]
#[derive(Clone, Copy)]
struct Range {
    low: usize,
    bytes: usize,
    high: usize,
    /// Found by asking the kernel, so valid only as long as `unmaps` is current.
    probed: bool,
    unmaps: u32,
}

impl Range {
    const EMPTY: Range = Range {
        low: 0,
        bytes: 0,
        high: 0,
        probed: false,
        unmaps: 0,
    };

    fn new(low: usize, high: usize) -> Range {
        Range {
            low,
            bytes: high - low,
            high,
            ..Range::EMPTY
        }
    }

    #[inline(always)]
    fn holds(&self, sp: usize) -> bool {
        sp.wrapping_sub(self.low) < self.bytes
            && (!self.probed || self.unmaps == UNMAPS.load(Relaxed))
    }
}

/// What one thread knows about the stacks it runs on. Zeroed memory knows nothing.
#[repr(C)]
pub struct Bounds {
    /// The first is the one used last.
    ranges: [Range; 4],
}

impl Bounds {
    /// Knows nothing.
    pub const fn new() -> Bounds {
        Bounds {
            ranges: [Range::EMPTY; 4],
        }
    }

    /// As [`Bounds::top`], if it is the stack that was used last.
    #[inline(always)]
    pub fn known_top(&self, sp: usize) -> Option<usize> {
        let [range, ..] = &self.ranges;
        range.holds(sp).then_some(range.high)
    }

    /// One past the last readable byte above `sp`, if `sp` may be read at all; the range so found
    /// is the one that [`Bounds::extend`] is about.
    #[inline(always)]
    pub fn top(&mut self, sp: usize) -> Option<usize> {
        self.known_top(sp).or_else(|| self.find(sp))
    }

    #[cold]
    #[inline(never)]
    fn find(&mut self, sp: usize) -> Option<usize> {
        let known = self.ranges.iter().position(|r| r.holds(sp));
        let (at, range) = match known {
            Some(at) => (at, *self.ranges.get(at)?),
            None => match own_stack(sp) {
                Some((low, high)) => (self.ranges.len() - 1, Range::new(low, high)),
                None => self.probe(sp)?,
            },
        };
        // The found one moves to the front, those before it one place back.
        self.ranges.copy_within(..at, 1);
        *self.ranges.first_mut()? = range;
        Some(range.high)
    }

    /// A range around an unknown `sp`, and the place of the range that it supersedes.
    fn probe(&self, sp: usize) -> Option<(usize, Range)> {
        let low = sp & !(PAGE - 1);
        let unmaps = UNMAPS.load(Relaxed);
        // The same stack, deeper than before?
        let above = self.ranges.iter().position(|r| {
            r.probed && r.unmaps == unmaps && low < r.low && r.low - low <= AHEAD * PAGE
        });
        if let Some(range) = above.and_then(|at| self.ranges.get(at)) {
            let pages = (range.low - low) / PAGE;
            if readable_pages(low, pages) == pages {
                let grown = Range {
                    probed: true,
                    unmaps,
                    ..Range::new(low, range.high)
                };
                return Some((above?, grown));
            }
        }
        let pages = readable_pages(low, 2);
        let range = Range {
            probed: true,
            unmaps,
            ..Range::new(low, low + pages * PAGE)
        };
        (pages > 0).then_some((self.ranges.len() - 1, range))
    }

    /// What may be read around a CFA outside of what was known above `sp`, from lowest to top: the
    /// stack reaches further than was known, or the CFA is on another stack. `None` if it may not
    /// be followed.
    #[cold]
    #[inline(never)]
    pub fn switch(&mut self, sp: usize, cfa: usize) -> Option<(usize, usize)> {
        let here = *self.ranges.first()?;
        if !cfa.is_multiple_of(8) || cfa < 8 || here.low <= cfa && cfa <= sp {
            return None;
        }
        if cfa > sp
            && let Some(top) = self.extend(cfa)
        {
            return Some((sp, top));
        }
        let top = self.top(cfa - 8)?;
        self.ranges.first().map(|range| (range.low, top))
    }

    /// Makes sure that the range found last reaches up to `end`, if that can be; its new top.
    #[cold]
    #[inline(never)]
    pub fn extend(&mut self, end: usize) -> Option<usize> {
        let range = self.ranges.first_mut().filter(|r| r.probed)?;
        // A frame of more than a MiB on a stack that nobody knows is a walk gone astray.
        if end.checked_sub(range.high)? > 1 << 20 {
            return None;
        }
        while range.high < end {
            let pages = readable_pages(range.high, AHEAD);
            *range = Range {
                high: range.high.checked_add(pages * PAGE)?,
                bytes: range.bytes + pages * PAGE,
                ..*range
            };
            if pages < AHEAD {
                break;
            }
        }
        (range.high >= end).then_some(range.high)
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds::new()
    }
}

/// Readable pages from an address on, up to `count`.
fn readable_pages(start: usize, count: usize) -> usize {
    if PROBE_FORBIDDEN.load(Relaxed) {
        return 0;
    }
    sys::readable_pages(start, count.min(AHEAD))
}

/// Copies memory through the kernel, so that nothing is assumed of it; false if it may not be
/// read.
pub fn read_unknown(addr: usize, dest: &mut [u8]) -> bool {
    !PROBE_FORBIDDEN.load(Relaxed) && sys::read_own_memory(addr, dest) == Ok(dest.len())
}

/// The stack that the system gave this thread, if `sp` is on it.
fn own_stack(sp: usize) -> Option<(usize, usize)> {
    let main_top = MAIN_TOP.load(Relaxed);
    if sp < main_top && main_top - sp <= MAIN_STACK_BYTES {
        return Some((main_top - MAIN_STACK_BYTES, main_top));
    }
    let (low, high) = thread_stack(sys::thread_pointer())?;
    (low <= sp && sp < high).then_some((low, high))
}

/// The stack of a thread that glibc made: its thread control block lies at the top of the stack's
/// memory and says where that is, in three words whose place differs between versions: start, size
/// and guard size. They are recognised by what must hold between them and the block's own address.
fn thread_stack(control_block: usize) -> Option<(usize, usize)> {
    const SEARCHED: core::ops::Range<usize> = 0x200..0x800;
    /// The block and what rounds it up end within this.
    const BLOCK_MAX_BYTES: usize = 0x2000;
    let word = |offset: usize| {
        // SAFETY: the ABI has the first word; if it and the third point at the block, as glibc's
        // do, then the block is glibc's and longer than what is searched, on every version.
        unsafe { ((control_block + offset) as *const usize).read() }
    };
    if word(0) != control_block || word(16) != control_block {
        return None;
    }
    SEARCHED.step_by(8).find_map(|offset| {
        let (start, bytes, guard) = (word(offset), word(offset + 8), word(offset + 16));
        let end = start.checked_add(bytes)?;
        let whole_pages = (start | bytes | guard).is_multiple_of(PAGE);
        let holds_block =
            start < control_block && end > control_block && end - control_block <= BLOCK_MAX_BYTES;
        let plausible = start != 0 && whole_pages && holds_block && guard < bytes;
        plausible.then(|| (start + guard, control_block))
    })
}
