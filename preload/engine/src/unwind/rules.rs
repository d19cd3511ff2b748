//! Owns the rules learnt so far: one table for all threads, read without locks.
//!
//! A key is (pc, is it a return address); its 48 bits are mixed by a bijection, the upper bits
//! choose a cache line and the lower 38 are kept in the entry, so a hit is always exact. Entries
//! are single words: a reader sees a whole one or none. Losing an entry costs a look at the call
//! frame information, never a wrong step.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::rule::{Rule, TAG_BITS};
use crate::arena;
use crate::modules;
use crate::owned::Owned;

const KEY_BITS: u32 = 48;
/// Entries in a cache line.
const LINE: usize = 8;
/// Lines at first: with the tag they make up the whole key, so never fewer.
const FIRST_LINE_BITS: u32 = KEY_BITS - TAG_BITS;
/// Lines at most: one MiB.
const LAST_LINE_BITS: u32 = 14;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
/// Odd, so multiplying by it loses nothing modulo 2^48.
const MIX: u64 = 0x9e37_79b9_7f4b;

#[repr(align(64))]
struct Line([AtomicU64; LINE]);

struct State {
    /// Entries written to the table since it was new.
    used: usize,
    /// Tables that were outgrown: readers may still be in them, so they stay (all of them
    /// together are no larger than the newest).
    former: [usize; (LAST_LINE_BITS - FIRST_LINE_BITS) as usize],
}

struct Rules {
    /// Address of the lines, with the logarithm of their number in the low six bits; 0: none yet.
    table: AtomicUsize,
    lock: Owned,
    state: UnsafeCell<State>,
}

// SAFETY: `state` is reached only under the lock.
unsafe impl Sync for Rules {}

static RULES: Rules = Rules {
    table: AtomicUsize::new(0),
    lock: Owned::new(),
    state: UnsafeCell::new(State {
        used: 0,
        former: [0; (LAST_LINE_BITS - FIRST_LINE_BITS) as usize],
    }),
};

/// The table as one walk sees it.
#[derive(Clone, Copy)]
pub struct View {
    lines: *const Line,
    shift: u32,
}

impl View {
    /// The table as it is now.
    #[inline(always)]
    pub fn now() -> View {
        // Acquire pairs with the release in `grow`.
        View::of(RULES.table.load(Ordering::Acquire))
    }

    /// Before the first rule, a single line that stays empty.
    #[inline(always)]
    fn of(table: usize) -> View {
        static EMPTY: Line = Line([const { AtomicU64::new(0) }; LINE]);
        if table == 0 {
            return View {
                lines: &raw const EMPTY,
                shift: KEY_BITS,
            };
        }
        View {
            lines: (table & !63) as *const Line,
            shift: KEY_BITS - (table & 63) as u32,
        }
    }

    fn capacity(&self) -> usize {
        LINE << (KEY_BITS - self.shift)
    }

    fn is_empty(&self) -> bool {
        self.shift == KEY_BITS
    }

    #[inline(always)]
    fn line(&self, mixed: u64) -> &[AtomicU64; LINE] {
        // SAFETY: `mixed` has 48 bits, so the index is below the number of lines; tables are never
        // freed.
        unsafe { &(*self.lines.add((mixed >> self.shift) as usize)).0 }
    }

    /// The packed rule of a pc below 2^47; 0 if it is not here.
    #[inline(always)]
    pub fn get(&self, pc: usize, exact: bool) -> u64 {
        let mixed = mixed(pc, exact);
        let line = self.line(mixed);
        let home = home(mixed);
        // SAFETY: `home` is below the length of a line.
        let word = unsafe { line.get_unchecked(home) }.load(Ordering::Relaxed);
        if (word ^ mixed) & TAG_MASK == 0 && word != 0 {
            return word;
        }
        Self::elsewhere(line, mixed)
    }

    #[inline(never)]
    fn elsewhere(line: &[AtomicU64; LINE], mixed: u64) -> u64 {
        for entry in line {
            let word = entry.load(Ordering::Relaxed);
            if (word ^ mixed) & TAG_MASK == 0 && word != 0 {
                return word;
            }
        }
        0
    }
}

#[inline(always)]
fn mixed(pc: usize, exact: bool) -> u64 {
    let key = (pc as u64) << 1 | u64::from(exact);
    key.wrapping_mul(MIX) & ((1 << KEY_BITS) - 1)
}

/// Where in its line a key is looked for first.
#[inline(always)]
fn home(mixed: u64) -> usize {
    (mixed >> (TAG_BITS - 4)) as usize & (LINE - 1)
}

/// Keeps a rule that was learnt in this generation of modules, for a pc below 2^47.
pub fn put(pc: usize, exact: bool, rule: Rule, generation: u32) {
    RULES.lock.with(|| {
        // Under the lock no flush can come between this test and the store.
        if modules::generation() != generation {
            return;
        }
        // SAFETY: under the lock.
        let state = unsafe { &mut *RULES.state.get() };
        let view = View::now();
        if view.is_empty() || state.used >= view.capacity() / 2 {
            grow(state);
        }
        let view = View::now();
        if !view.is_empty() {
            store(&view, mixed(pc, exact), rule.pack(), state);
        }
    });
}

/// A full line loses the entry at the key's first place.
fn store(view: &View, mixed: u64, packed: u64, state: &mut State) {
    let line = view.line(mixed);
    let empty = |e: &AtomicU64| e.load(Ordering::Relaxed) == 0;
    let same = |e: &AtomicU64| (e.load(Ordering::Relaxed) ^ mixed) & TAG_MASK == 0 && !empty(e);
    let first = line.get(home(mixed));
    let slot = line
        .iter()
        .find(|e| same(e))
        .or_else(|| first.filter(|e| empty(e)))
        .or_else(|| line.iter().find(|e| empty(e)));
    if let Some(slot) = slot.or(first) {
        state.used += usize::from(empty(slot));
        slot.store(packed | mixed & TAG_MASK, Ordering::Relaxed);
    }
}

/// Four times the lines, up to the last size; without memory the old table goes on. Rules are
/// learnt anew: the entries do not hold enough of the key to be moved.
fn grow(state: &mut State) {
    let table = RULES.table.load(Ordering::Relaxed);
    let line_bits = if table == 0 {
        FIRST_LINE_BITS
    } else {
        (table & 63) as u32 + 2
    };
    if line_bits > LAST_LINE_BITS {
        return;
    }
    let lines = arena::alloc(size_of::<Line>() << line_bits, align_of::<Line>()) as usize;
    if lines == 0 {
        return;
    }
    if let Some(slot) = state.former.iter_mut().find(|t| **t == 0) {
        *slot = table;
    }
    state.used = 0;
    // Release pairs with the acquire in `View::now`.
    RULES
        .table
        .store(lines | line_bits as usize, Ordering::Release);
}

/// Forgets all rules: an object was unloaded, and something else may come to its addresses.
pub fn flush() {
    RULES.lock.with(|| {
        // SAFETY: under the lock.
        let state = unsafe { &mut *RULES.state.get() };
        state.used = 0;
        for table in state
            .former
            .iter()
            .copied()
            .chain([RULES.table.load(Ordering::Relaxed)])
        {
            let view = View::of(table);
            if view.is_empty() {
                continue;
            }
            for line in 0..1usize << (KEY_BITS - view.shift) {
                // SAFETY: the index is below the number of lines.
                let entries = unsafe { &(*view.lines.add(line)).0 };
                entries.iter().for_each(|e| e.store(0, Ordering::Relaxed));
            }
        }
    });
}

/// The lock, for `fork` and for threads torn out of it.
pub(crate) fn lock() -> &'static Owned {
    &RULES.lock
}
