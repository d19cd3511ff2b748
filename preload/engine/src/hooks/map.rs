//! The hooks of the program's own mappings: `mmap`, `munmap`, `mremap`, `brk`.
//!
//! What the allocator maps is its arena and not recorded: such calls come nested in a hook, or from
//! the allocator's own code. Of those nested in a hook it is noted where they lie, so that an
//! account of memory knows the allocator's. `munmap` and `mremap` forget before the real call, as `free` does.

use core::sync::atomic::Ordering::Relaxed;

use leaktrack_recording::Call;

use super::real::{ORIGINALS, original};
use super::{in_allocator, in_allocators_own_library, ready, record};
use crate::faults::large;
use crate::guard::{self, IDLE, OURS, REAL};
use crate::mappings::{Mapping, Taken, UNRECORDED};
use crate::sites::Kind;
use crate::state::{self, HELD, MAPPINGS};
use crate::tls::{self, Local};
use crate::unwind::{self, Entry};
use crate::{sites, sys, wiped};

type Mmap = unsafe extern "C" fn(usize, usize, i32, i32, i32, i64) -> usize;
type Munmap = unsafe extern "C" fn(usize, usize) -> i32;
type Mremap = unsafe extern "C" fn(usize, usize, usize, i32, usize) -> usize;

const FAILED: usize = usize::MAX;
/// `MREMAP_DONTUNMAP`: the old range stays mapped, empty.
const DONTUNMAP: i32 = 4;

#[inline]
fn local() -> &'static Local {
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    unsafe { &*tls::local() }
}

/// True if a call of the program's own code should be recorded.
fn recorded(t: &Local, sp: usize) -> bool {
    if !ready() || !state::tracking() {
        return false;
    }
    if t.phase.load(Relaxed) != IDLE && guard::nested_phase(t, sp) != IDLE {
        return false;
    }
    // SAFETY: at the entry of the exported function the stack pointer is at the return address.
    let caller = unsafe { *core::ptr::with_exposed_provenance::<usize>(sp) };
    if in_allocator(caller) {
        return false;
    }
    crate::lifecycle::hook_called(t);
    state::tracking()
}

/// Notes a range that an allocator has mapped: while it ran for a hook of this thread, or by itself
/// where it is a library of its own. Where it is a part of the program, the program may have.
fn held(t: &Local, start: usize, len: usize, sp: usize) {
    // SAFETY: at the entry of the exported function the stack pointer is at the return address.
    let caller = unsafe { *core::ptr::with_exposed_provenance::<usize>(sp) };
    if t.phase.load(Relaxed) == REAL || in_allocators_own_library(caller) {
        note_held(t, sp, || {
            HELD.insert(start, len, UNRECORDED, 0, &mut |_, _| {});
        });
    }
}

/// A range may be the allocator's, which is about to unmap it.
fn let_go(t: &Local, start: usize, len: usize, sp: usize) {
    if HELD.total_bytes() != 0 {
        note_held(t, sp, || no_allocators(start, len));
    }
}

/// Nothing of a range is an allocator's any more. Signals are blocked.
fn no_allocators(start: usize, len: usize) {
    if HELD.total_bytes() != 0 {
        HELD.remove(start, len, &mut |_, _| {});
    }
}

fn note_held(t: &Local, sp: usize, note: impl FnOnce()) {
    let phase = t.phase.load(Relaxed);
    // In a copy that nobody has noticed yet a thread that is not there may hold the table.
    if phase == OURS || !state::tracking() || wiped::is_new_copy() {
        return;
    }
    // A handler that comes now, and leaves for good, has the table's lock given up.
    match phase {
        REAL => guard::turn(t, OURS),
        // SAFETY: `sp` is that of the exported function.
        _ => unsafe { guard::enter_hook(t, OURS, sp) },
    }
    let signals = sys::block_signals();
    note();
    sys::restore_signals(signals);
    match phase {
        REAL => guard::turn(t, REAL),
        _ => guard::leave(t),
    }
}

/// Takes a range out of the table, before the kernel is asked.
fn take(start: usize, len: usize) -> Taken {
    let mut taken = Taken::new();
    MAPPINGS.take(start, len, &mut taken, &mut settle);
    taken.mappings().for_each(|piece| large::unmapped(&piece));
    taken
}

/// Counts a piece as unmapped; the mapping itself is gone with its last piece.
fn settle(piece: Mapping, whole: bool) {
    large::unmapped(&piece);
    if piece.epoch <= state::fork_epoch() {
        return;
    }
    if let Some(c) = sites::counters(piece.site) {
        c.frees.fetch_add(u64::from(whole), Relaxed);
        c.freed_bytes.fetch_add(piece.bytes(), Relaxed);
    }
}

/// Writes a new mapping down; the guard is in phase `OURS`. While recording is off it is one of no
/// site: still the program's.
fn add(t: &Local, start: usize, len: usize, entry: Entry, call: Call) {
    if HELD.total_bytes() != 0 {
        let signals = sys::block_signals();
        no_allocators(start, len); // nobody saw it unmap this
        sys::restore_signals(signals);
    }
    if state::is_paused() {
        let signals = sys::block_signals();
        MAPPINGS.insert(start, len, UNRECORDED, state::epoch(), &mut settle);
        sys::restore_signals(signals);
        return;
    }
    let site = record::site(t, entry, Kind::Mmap, call);
    if site == 0 {
        state::COVERAGE.dropped.fetch_add(1, Relaxed);
        let signals = sys::block_signals();
        MAPPINGS.remove(start, len, &mut settle); // what it may have been laid over
        sys::restore_signals(signals);
        return;
    }
    let signals = sys::block_signals();
    let stored = MAPPINGS.insert(start, len, site, state::epoch(), &mut settle);
    sys::restore_signals(signals);
    if !stored {
        state::COVERAGE.dropped.fetch_add(1, Relaxed);
        return;
    }
    let bytes = (len as u64).next_multiple_of(4096);
    if let Some(c) = sites::counters(site) {
        c.add_alloc(bytes);
    }
    sites::sizes::note(site, bytes, 1);
}

/// `mmap` and `mmap64`, which are one on 64-bit systems.
///
/// # Safety
/// As `mmap`; `sp` and `bp` are the stack and frame pointer at the entry of the exported symbol.
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn mmap(
    addr: usize,
    len: usize,
    prot: i32,
    flags: i32,
    fd: i32,
    offset: i64,
    sp: usize,
    bp: usize,
) -> usize {
    let t = local();
    let recorded = recorded(t, sp);
    // SAFETY: the original has this type.
    let real = || unsafe { original::<Mmap>(&ORIGINALS.mmap)(addr, len, prot, flags, fd, offset) };
    if !recorded {
        if ORIGINALS.mmap.load(Relaxed) == 0 {
            // Called while the originals are being looked up.
            // SAFETY: the caller's arguments.
            return unsafe { sys::mmap(addr, len, prot, flags, fd, offset as usize) }
                .unwrap_or(FAILED);
        }
        let r = real();
        if r != FAILED && fd < 0 {
            held(t, r, len, sp);
        }
        return r;
    }
    // SAFETY: `sp` is that of the exported function.
    unsafe { guard::enter_hook(t, REAL, sp) };
    let r = real();
    if r != FAILED {
        guard::turn(t, OURS);
        add(t, r, len, Entry { sp, bp }, Call::Mmap);
    }
    record::leave(t);
    r
}

/// `munmap`.
///
/// # Safety
/// As `munmap`; see [`mmap`].
pub unsafe extern "C" fn munmap(addr: usize, len: usize, sp: usize, _bp: usize) -> i32 {
    let t = local();
    let recorded = recorded(t, sp);
    let real = || {
        // SAFETY: the original has this type.
        let r = unsafe { original::<Munmap>(&ORIGINALS.munmap)(addr, len) };
        unwind::note_unmap();
        r
    };
    if !recorded || addr & 4095 != 0 {
        if ORIGINALS.munmap.load(Relaxed) == 0 {
            // SAFETY: the caller's arguments.
            let r = unsafe { sys::munmap(core::ptr::with_exposed_provenance_mut(addr), len) };
            return if r.is_ok() { 0 } else { -1 };
        }
        let_go(t, addr, len, sp);
        return real();
    }
    // SAFETY: `sp` is that of the exported function.
    unsafe { guard::enter_hook(t, OURS, sp) };
    let signals = sys::block_signals();
    let taken = take(addr, len);
    no_allocators(addr, len); // a program may unmap for its allocator
    sys::restore_signals(signals);
    guard::turn(t, REAL);
    let r = real();
    guard::turn(t, OURS);
    let signals = sys::block_signals();
    if r == 0 {
        MAPPINGS.settle(&taken, &mut settle)
    } else {
        MAPPINGS.put_back(&taken, &mut settle)
    }
    sys::restore_signals(signals);
    record::leave(t);
    r
}

/// `mremap`.
///
/// # Safety
/// As `mremap`; see [`mmap`].
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn mremap(
    old: usize,
    old_len: usize,
    new_len: usize,
    flags: i32,
    new: usize,
    sp: usize,
    bp: usize,
) -> usize {
    let t = local();
    let recorded = recorded(t, sp);
    let real = || {
        // SAFETY: the original has this type; it reads the last argument only when `flags` say so.
        let r = unsafe { original::<Mremap>(&ORIGINALS.mremap)(old, old_len, new_len, flags, new) };
        unwind::note_unmap();
        r
    };
    if !recorded {
        let_go(t, old, old_len, sp);
        let r = real();
        match r {
            FAILED => held(t, old, old_len, sp),
            _ => held(t, r, new_len, sp),
        }
        return r;
    }
    // SAFETY: `sp` is that of the exported function.
    unsafe { guard::enter_hook(t, OURS, sp) };
    let moved = flags & DONTUNMAP == 0 && old_len != 0;
    let signals = sys::block_signals();
    let taken = if moved {
        take(old, old_len)
    } else {
        Taken::new()
    };
    sys::restore_signals(signals);
    guard::turn(t, REAL);
    let r = real();
    guard::turn(t, OURS);
    let signals = sys::block_signals();
    if r == FAILED {
        MAPPINGS.put_back(&taken, &mut settle)
    } else {
        MAPPINGS.settle(&taken, &mut settle)
    }
    sys::restore_signals(signals);
    if r != FAILED {
        add(t, r, new_len, Entry { sp, bp }, Call::Mremap);
    }
    record::leave(t);
    r
}

/// True if the program itself moves the break: neither the allocator during a hook, nor an allocator that is a
/// library of its own at some other time.
fn moves_break(sp: usize) -> bool {
    // SAFETY: at the entry of the exported function the stack pointer is at the return address.
    let caller = unsafe { *core::ptr::with_exposed_provenance::<usize>(sp) };
    local().phase.load(Relaxed) == IDLE && !in_allocators_own_library(caller)
}

/// `sbrk`: accounted as a total; glibc's own calls do not come here.
///
/// # Safety
/// As `sbrk`; `sp` is the stack pointer at the entry of the exported symbol.
pub unsafe extern "C" fn sbrk(increment: isize, sp: usize, _bp: usize) -> usize {
    type F = unsafe extern "C" fn(isize) -> usize;
    if !ready() || ORIGINALS.sbrk.load(Relaxed) == 0 {
        return FAILED;
    }
    // SAFETY: the original has this type.
    let r = unsafe { original::<F>(&ORIGINALS.sbrk)(increment) };
    if r != FAILED && moves_break(sp) {
        state::note_break_moved(increment as u64);
    }
    r
}

/// `brk`: accounted as `sbrk` is.
///
/// # Safety
/// As `brk`; see [`sbrk`].
pub unsafe extern "C" fn brk(end: usize, sp: usize, _bp: usize) -> i32 {
    type F = unsafe extern "C" fn(usize) -> i32;
    type Sbrk = unsafe extern "C" fn(isize) -> usize;
    if !ready() || ORIGINALS.brk.load(Relaxed) == 0 {
        return -1;
    }
    // SAFETY: the originals have these types.
    unsafe {
        let before = original::<Sbrk>(&ORIGINALS.sbrk)(0);
        let r = original::<F>(&ORIGINALS.brk)(end);
        if r == 0 && moves_break(sp) {
            state::note_break_moved(end.wrapping_sub(before) as u64);
        }
        r
    }
}
