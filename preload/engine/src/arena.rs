//! Owns leaktrack's own memory: every byte that the engine keeps comes from here, straight from
//! the kernel. It must never touch the host's allocator, and nothing under its lock calls out.
//!
//! Pieces of at most [`SMALL_MAX_BYTES`] come in powers of two from chunks that are kept; larger
//! ones are mappings of their own and go back to the kernel when freed. The arena's lock is the
//! innermost of all (see [`crate::lock`]).

mod avec;
mod chunked;
mod pieces;

pub use avec::AVec;
pub use chunked::Chunked;

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, compiler_fence};

use pieces::Pieces;

use crate::lock::WordLock;
use crate::sys;

/// Size of a page.
pub const PAGE_BYTES: usize = 4096;
/// Largest piece that comes from a shared chunk.
pub const SMALL_MAX_BYTES: usize = 2048;

const SMALLEST_BYTES: usize = 16;
const CLASSES: usize = 8;
const FIRST_CHUNK_BYTES: usize = 64 << 10;
const LARGEST_CHUNK_BYTES: usize = 1 << 20;
const MADV_DONTDUMP: i32 = 16;
const PROT_READ_WRITE: i32 = 3;
/// MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE.
const MAP_PLAIN: i32 = 0x4022;
const MAP_POPULATE: i32 = 0x8000;

static ARENA: Arena = Arena::new();

/// Zeroed memory of `bytes` bytes aligned to `align`; null when the cap is reached, when the kernel
/// refuses or may not be asked, when `bytes` is 0, or when `align` is no power of two up to a page.
pub fn alloc(bytes: usize, align: usize) -> *mut u8 {
    ARENA.alloc(bytes, align, 0)
}

/// As [`alloc`], for a table of live blocks, which will be used all at once: large pieces get their
/// pages in one go. Its bytes are counted apart, see [`table_bytes`].
pub fn alloc_table(bytes: usize, align: usize) -> *mut u8 {
    let p = ARENA.alloc(bytes, align, MAP_POPULATE);
    if !p.is_null() {
        ARENA.table_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    p
}

/// Takes back a table.
///
/// # Safety
/// `p` is null or came from [`alloc_table`] with the same `bytes` and `align`, and is not used again.
pub unsafe fn dealloc_table(p: *mut u8, bytes: usize, align: usize) {
    if !p.is_null() {
        ARENA.table_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
    // SAFETY: the caller's promise.
    unsafe { ARENA.dealloc(p, bytes, align) }
}

/// As [`alloc`], for what is needed for a while only. Its bytes are counted apart, see
/// [`passing_bytes`].
pub fn alloc_passing(bytes: usize, align: usize) -> *mut u8 {
    // Counted first: who looks meanwhile must not take it for lasting.
    ARENA
        .passing_bytes
        .fetch_add(bytes as u64, Ordering::Relaxed);
    let p = ARENA.alloc(bytes, align, 0);
    if p.is_null() {
        ARENA
            .passing_bytes
            .fetch_sub(bytes as u64, Ordering::Relaxed);
    }
    p
}

/// Takes it back.
///
/// # Safety
/// `p` is null or came from [`alloc_passing`] with the same `bytes` and `align`, and is not used
/// again.
pub unsafe fn dealloc_passing(p: *mut u8, bytes: usize, align: usize) {
    // SAFETY: the caller's promise.
    unsafe { ARENA.dealloc(p, bytes, align) };
    if !p.is_null() {
        ARENA
            .passing_bytes
            .fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

/// Bytes that are needed for a while only.
pub fn passing_bytes() -> u64 {
    ARENA.passing_bytes.load(Ordering::Relaxed)
}

/// Bytes of the tables of live blocks now.
pub fn table_bytes() -> u64 {
    ARENA.table_bytes.load(Ordering::Relaxed)
}

/// Pages of leaktrack's that the kernel was asked to fill at once, so far: each counts as a fault of the
/// process that nobody can see.
pub fn filled_pages() -> u64 {
    ARENA.filled_pages.load(Ordering::Relaxed)
}

/// Takes back a piece.
///
/// # Safety
/// `p` is null or came from [`alloc`] with the same `bytes` and `align`, and is not used again.
pub unsafe fn dealloc(p: *mut u8, bytes: usize, align: usize) {
    // SAFETY: the caller's promise.
    unsafe { ARENA.dealloc(p, bytes, align) }
}

/// Bytes mapped from the kernel now.
pub fn used_bytes() -> u64 {
    ARENA.used_bytes.load(Ordering::Relaxed)
}

/// Shows everything that is mapped from the kernel now: start and bytes. Under the arena's lock:
/// `show` must neither allocate nor lock.
pub fn for_each_mapping(show: &mut dyn FnMut(usize, usize)) {
    ARENA.with(|s| s.pieces.for_each(show));
}

/// Sets the most bytes that may be mapped; lowering it below what is used stops growth only.
pub fn set_cap(bytes: u64) {
    ARENA.cap_bytes.store(bytes, Ordering::Relaxed);
}

/// The most bytes that may be mapped.
pub fn cap_bytes() -> u64 {
    ARENA.cap_bytes.load(Ordering::Relaxed)
}

/// Never call `mmap` or `munmap` any more (a seccomp filter forbids them), or do so again.
pub fn forbid_mmap(on: bool) {
    ARENA.mmap_forbidden.store(on, Ordering::Relaxed);
}

/// Never call `munmap` any more, or do so again.
pub fn forbid_munmap(on: bool) {
    ARENA.munmap_forbidden.store(on, Ordering::Relaxed);
}

/// Never call `madvise` any more, or do so again: core dumps then hold this memory.
pub fn forbid_advice(on: bool) {
    ARENA.advice_forbidden.store(on, Ordering::Relaxed);
}

/// Most bytes that hooks may have mapped: the rest is for snapshots.
pub fn hook_limit_bytes() -> u64 {
    const RESERVE_BYTES: u64 = 8 << 20;
    let cap = cap_bytes();
    cap - (cap / 8).min(RESERVE_BYTES)
}

/// In a forked child, alone: what the parent's snapshots had mapped lies here unused and counts. The
/// child's own get as much again as hooks leave, half of the cap at most over all generations.
pub fn renew_reserve_in_child() {
    let cap = cap_bytes();
    let reserve = cap - hook_limit_bytes();
    let wanted = used_bytes().saturating_add(reserve).saturating_sub(cap);
    ARENA
        .more_bytes
        .fetch_max(wanted.min(cap / 2), Ordering::Relaxed);
}

/// The calling thread takes snapshots: it may use all of the memory, and goes on to ask the kernel
/// also after [`forbid_mmap`].
pub fn exempt_this_thread() {
    ARENA.exempt.store(sys::thread_pointer(), Ordering::Relaxed);
}

/// The thread named by [`exempt_this_thread`] is one like any other again.
pub fn exempt_nobody() {
    ARENA.exempt.store(0, Ordering::Relaxed);
}

/// Makes sure that there is a chunk for small pieces, for the time after [`forbid_mmap`].
pub fn prefill() {
    ARENA.with(|s| {
        if s.chunk_left < FIRST_CHUNK_BYTES {
            s.chunk_left = 0;
            compiler_fence(Ordering::SeqCst);
            ARENA.refill(
                &mut s.chunk,
                &mut s.chunk_left,
                &mut s.chunk_bytes,
                &mut s.pieces,
            );
        }
    });
}

/// Frees the arena's lock if this thread was torn out of the arena by `siglongjmp`.
///
/// # Safety
/// The calling thread is not inside [`alloc`] or [`dealloc`] except in calls that never return.
pub unsafe fn abandon() {
    // SAFETY: the caller's promise.
    unsafe { ARENA.lock.abandon() }
}

/// Frees the arena's lock in a forked child for the thread that held it in the parent.
///
/// # Safety
/// The calling thread is the only one and is not inside the arena.
pub unsafe fn abandon_in_child() {
    // SAFETY: the caller's promise: the holder, if any, is not in this process.
    unsafe { ARENA.lock.abandon_for_holder() }
}

/// A free piece; the link lies in its first word.
struct Free {
    next: *mut Free,
    /// Only for large pieces.
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Class {
    free: *mut Free,
    /// Next piece of the page that is being carved, all zero; at the end of a page it is used up.
    fresh: usize,
}

/// Whole at every instruction: each change takes effect with one store.
struct State {
    classes: [Class; CLASSES],
    /// Next page of the current chunk, if `chunk_left` is not 0.
    chunk: usize,
    chunk_left: usize,
    /// Size of the next chunk.
    chunk_bytes: usize,
    /// Large pieces that could not be unmapped.
    spare: *mut Free,
    /// Everything mapped.
    pieces: Pieces,
}

struct Arena {
    lock: WordLock,
    state: UnsafeCell<State>,
    used_bytes: AtomicU64,
    /// Of tables of live blocks.
    table_bytes: AtomicU64,
    passing_bytes: AtomicU64,
    /// Pages that the kernel was asked to fill at once, so far.
    filled_pages: AtomicU64,
    cap_bytes: AtomicU64,
    /// What snapshots may have beyond it.
    more_bytes: AtomicU64,
    mmap_forbidden: AtomicBool,
    munmap_forbidden: AtomicBool,
    advice_forbidden: AtomicBool,
    /// Thread pointer of the thread that takes snapshots.
    exempt: AtomicUsize,
}

// SAFETY: the state is reached only under the lock.
unsafe impl Sync for Arena {}

/// Rounds up to whole pages; `None` on overflow.
fn whole_pages(bytes: usize) -> Option<usize> {
    Some(bytes.checked_add(PAGE_BYTES - 1)? & !(PAGE_BYTES - 1))
}

/// Index of the smallest class that holds `bytes` at `align`; `None` if the piece is a large one.
fn class_of(bytes: usize, align: usize) -> Option<usize> {
    let need = bytes.max(align).max(SMALLEST_BYTES);
    let size = need.checked_next_power_of_two()?;
    (size <= SMALL_MAX_BYTES).then(|| (size / SMALLEST_BYTES).trailing_zeros() as usize)
}

impl Arena {
    const fn new() -> Self {
        let class = Class {
            free: ptr::null_mut(),
            fresh: 0,
        };
        Arena {
            lock: WordLock::new(),
            state: UnsafeCell::new(State {
                classes: [class; CLASSES],
                chunk: 0,
                chunk_left: 0,
                chunk_bytes: FIRST_CHUNK_BYTES,
                spare: ptr::null_mut(),
                pieces: Pieces::new(),
            }),
            used_bytes: AtomicU64::new(0),
            table_bytes: AtomicU64::new(0),
            passing_bytes: AtomicU64::new(0),
            filled_pages: AtomicU64::new(0),
            cap_bytes: AtomicU64::new(u64::MAX),
            more_bytes: AtomicU64::new(0),
            mmap_forbidden: AtomicBool::new(false),
            munmap_forbidden: AtomicBool::new(false),
            advice_forbidden: AtomicBool::new(false),
            exempt: AtomicUsize::new(0),
        }
    }

    fn alloc(&self, bytes: usize, align: usize, flags: i32) -> *mut u8 {
        if bytes == 0 || !align.is_power_of_two() || align > PAGE_BYTES {
            return ptr::null_mut();
        }
        match class_of(bytes, align) {
            Some(class) => self.alloc_small(class),
            None => match whole_pages(bytes) {
                Some(bytes) => self.alloc_large(bytes, flags),
                None => ptr::null_mut(),
            },
        }
    }

    unsafe fn dealloc(&self, p: *mut u8, bytes: usize, align: usize) {
        if p.is_null() || bytes == 0 {
            return;
        }
        match class_of(bytes, align) {
            Some(class) => {
                self.with(|s| {
                    if let Some(class) = s.classes.get_mut(class) {
                        // SAFETY: the piece is the arena's again and large enough for a link.
                        unsafe { push(&mut class.free, p, 0) }
                    }
                });
            }
            None => {
                let Some(bytes) = whole_pages(bytes) else {
                    return;
                };
                // SAFETY: the caller gives the whole mapping back.
                if unsafe { !self.unmap(p, bytes) } {
                    // SAFETY: as above.
                    self.with(|s| unsafe { push(&mut s.spare, p, bytes) });
                }
            }
        }
    }

    fn alloc_small(&self, class: usize) -> *mut u8 {
        let size = SMALLEST_BYTES << class;
        let mut recycled = false;
        let p = self.with(|s| {
            let Some(c) = s.classes.get_mut(class) else {
                return ptr::null_mut();
            };
            // SAFETY: pieces on the list are the arena's.
            let p = unsafe { pop(&mut c.free) };
            if !p.is_null() {
                recycled = true;
                return p;
            }
            let mut p = c.fresh;
            if p.is_multiple_of(PAGE_BYTES) {
                if s.chunk_left == 0 {
                    self.refill(
                        &mut s.chunk,
                        &mut s.chunk_left,
                        &mut s.chunk_bytes,
                        &mut s.pieces,
                    );
                }
                if s.chunk_left == 0 {
                    return ptr::null_mut();
                }
                p = s.chunk;
                // Torn out between these, a page is lost.
                s.chunk_left -= PAGE_BYTES;
                compiler_fence(Ordering::SeqCst);
                s.chunk += PAGE_BYTES;
                compiler_fence(Ordering::SeqCst);
            }
            c.fresh = p + size;
            p as *mut u8
        });
        let p = p.unwrap_or(ptr::null_mut());
        if recycled && !p.is_null() {
            // SAFETY: the piece has `size` bytes and belongs to this call now.
            unsafe { p.write_bytes(0, size) }
        }
        p
    }

    /// Maps a new chunk; leaves none if the kernel refuses.
    fn refill(
        &self,
        chunk: &mut usize,
        left: &mut usize,
        next_bytes: &mut usize,
        pieces: &mut Pieces,
    ) {
        let mut bytes = *next_bytes;
        let mut p = self.map(bytes, 0);
        if p.is_null() {
            bytes = PAGE_BYTES;
            p = self.map(bytes, 0);
        }
        if !p.is_null() {
            self.note(pieces, p, bytes);
            *next_bytes = (*next_bytes * 2).min(LARGEST_CHUNK_BYTES);
            *chunk = p as usize;
            // Nothing is taken from the chunk before there is something left.
            compiler_fence(Ordering::SeqCst);
            *left = bytes;
        }
    }

    fn alloc_large(&self, bytes: usize, flags: i32) -> *mut u8 {
        let p = self.map(bytes, flags);
        if !p.is_null() {
            if flags & MAP_POPULATE != 0 {
                let pages = (bytes / PAGE_BYTES) as u64;
                self.filled_pages.fetch_add(pages, Ordering::Relaxed);
            }
            self.with(|s| self.note(&mut s.pieces, p, bytes));
            return p;
        }
        // SAFETY: pieces on the list are the arena's.
        let p = self
            .with(|s| unsafe { pop_of_size(&mut s.spare, bytes) })
            .unwrap_or(ptr::null_mut());
        if !p.is_null() {
            // SAFETY: the piece has `bytes` bytes and belongs to this call now.
            unsafe { p.write_bytes(0, bytes) }
        }
        p
    }

    /// Notes a mapping. Without memory for the list it only is not told apart from the host's.
    fn note(&self, pieces: &mut Pieces, p: *mut u8, bytes: usize) {
        if pieces.add(p.addr(), bytes) {
            return;
        }
        let page = self.map(PAGE_BYTES, 0);
        if !page.is_null() {
            // SAFETY: just mapped, zeroed, kept for good.
            unsafe { pieces.extend(page) };
            pieces.add(p.addr(), bytes);
        }
    }

    /// True if the calling thread may make the call that is forbidden to others.
    fn may(&self, forbidden: &AtomicBool) -> bool {
        !forbidden.load(Ordering::Relaxed)
            || self.exempt.load(Ordering::Relaxed) == sys::thread_pointer()
    }

    /// Most bytes for the calling thread: hooks leave a quarter for the snapshot that tells what
    /// they could not record.
    fn limit_bytes(&self) -> u64 {
        if self.exempt.load(Ordering::Relaxed) == sys::thread_pointer() {
            let more_bytes = self.more_bytes.load(Ordering::Relaxed);
            self.cap_bytes
                .load(Ordering::Relaxed)
                .saturating_add(more_bytes)
        } else {
            hook_limit_bytes()
        }
    }

    fn map(&self, bytes: usize, flags: i32) -> *mut u8 {
        if !self.may(&self.mmap_forbidden) {
            return ptr::null_mut();
        }
        let limit_bytes = self.limit_bytes();
        // What does not fit is never counted, not even for a moment: others decide by the sum.
        let claim = |used: u64| {
            used.checked_add(bytes as u64)
                .filter(|all| *all <= limit_bytes)
        };
        let claimed = self
            .used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim);
        if claimed.is_ok() {
            let flags = MAP_PLAIN | flags;
            // SAFETY: a fresh mapping where the kernel likes disturbs nothing.
            if let Ok(p) = unsafe { sys::mmap(0, bytes, PROT_READ_WRITE, flags, -1, 0) } {
                let p = p as *mut u8;
                if self.may(&self.advice_forbidden) {
                    // SAFETY: the mapping is ours. A kernel that refuses only makes cores larger.
                    let _ = unsafe { sys::madvise(p, bytes, MADV_DONTDUMP) };
                }
                return p;
            }
            self.used_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        }
        ptr::null_mut()
    }

    /// # Safety
    /// The range is a whole mapping of [`Arena::map`] that nobody uses any more.
    unsafe fn unmap(&self, p: *mut u8, bytes: usize) -> bool {
        if !self.may(&self.munmap_forbidden) {
            return false;
        }
        // Before the range can be anyone else's.
        self.with(|s| s.pieces.remove(p.addr()));
        // SAFETY: the caller's promise.
        let done = unsafe { sys::munmap(p, bytes) }.is_ok();
        if done {
            self.used_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        }
        done
    }

    /// Runs `f` under the lock; `None` if this very thread is inside already (a signal handler).
    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> Option<R> {
        if self.lock.held_here() {
            return None;
        }
        let _guard = self.lock.lock();
        // SAFETY: the lock is held, and `f` does not come back here.
        Some(f(unsafe { &mut *self.state.get() }))
    }
}

/// # Safety
/// `p` is a free piece that holds a [`Free`].
unsafe fn push(list: &mut *mut Free, p: *mut u8, bytes: usize) {
    let p = p as *mut Free;
    // SAFETY: the caller's promise; pieces are 16-byte aligned.
    unsafe { p.write(Free { next: *list, bytes }) }
    compiler_fence(Ordering::SeqCst);
    *list = p;
}

/// # Safety
/// Everything on the list is a free piece.
unsafe fn pop(list: &mut *mut Free) -> *mut u8 {
    let p = *list;
    if !p.is_null() {
        // SAFETY: the caller's promise.
        *list = unsafe { (*p).next };
    }
    p as *mut u8
}

/// # Safety
/// Everything on the list is a free piece.
unsafe fn pop_of_size(list: &mut *mut Free, bytes: usize) -> *mut u8 {
    let mut link: *mut *mut Free = list;
    // SAFETY: the caller's promise: every link leads to a free piece or is null.
    unsafe {
        while !(*link).is_null() {
            let p = *link;
            if (*p).bytes == bytes {
                *link = (*p).next;
                return p as *mut u8;
            }
            link = &raw mut (*p).next;
        }
    }
    ptr::null_mut()
}
