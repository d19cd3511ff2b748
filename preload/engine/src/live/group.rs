//! Owns one group of the live table: the blocks that begin in one MiB of addresses, who may go in,
//! and the decision when to change tables.
//! It must never be left in a state that [`Group::repair`] cannot complete, at any instruction.

use core::ptr;

use super::cells::{BUCKET_BYTES, Bucket, Cells, ENTRIES, Put, unpack};
use super::holder::{self, Holder};
use super::{Block, addr_of};
use crate::atomic::{
    AtomicPtr, AtomicU16, AtomicU32,
    Ordering::{Relaxed, SeqCst},
    compiler_fence, fence_if_asked,
};
use crate::lock::{Guard, WordLock};
use crate::{arena, sampler};

/// Logarithms of the numbers of buckets: a page, and room for a block at every 16 bytes.
const FIRST_BITS: u32 = 6;
const LAST_BITS: u32 = 14;
/// Of a table without blocks that would tell: a bucket for 256 bytes.
const FIRST_SHIFT: u32 = 4;

/// Somebody was torn out: repair before use.
const TORN: u16 = 1;
/// Several threads use it: it belongs to nobody until it is empty, or for good.
const SHARED: u16 = 2;
/// One of the times that a thread took it from another; they are counted up to [`MOST_LOSSES`].
const LOSS: u16 = 4;
/// After so many it stays [`SHARED`] when it is empty: memory that one thread allocates and another frees,
/// again and again, would cost a fence each time.
const MOST_LOSSES: u16 = 8;
const LOSSES: u16 = 15 * LOSS;
/// In the address of an owner: it is about to lose the group, with all others.
const LEAVING: usize = 1;
/// In the address of an owner: somebody who holds the lock is taking the group from it.
const TAKEN: usize = 2;

#[cfg(test)]
std::thread_local! {
    /// How often this thread made a table or tried to.
    pub(super) static REBUILDS: core::cell::Cell<u32> = const { core::cell::Cell::new(0) };
}

/// One group, alone on its cache line. All zeroes is one without blocks. All but the lock, the marks
/// and the owner is changed only by who is inside, alone; relaxed throughout, as the ways in order
/// between threads and compiler fences order against a signal handler that does not return.
#[repr(C, align(64))]
pub struct Group {
    owner: AtomicPtr<Holder>,
    table: AtomicPtr<Bucket>,
    len: AtomicU32,
    /// A new block at this length grows the table first.
    grow_at: AtomicU32,
    /// A removal at this length shrinks the table after.
    shrink_at: AtomicU32,
    mask: AtomicU16,
    shift: AtomicU16,
    lock: WordLock,
    /// Journal of a change of tables: the new one, `next_bits` 0 when there is none.
    next_table: AtomicPtr<Bucket>,
    next_bits: AtomicU16,
    next_shift: AtomicU16,
    marks: AtomicU16,
    /// Blocks of these addresses that are kept elsewhere; at least so many.
    aside: AtomicU16,
}

const _: () = assert!(size_of::<Group>() == 64);

/// Stands for being inside a group, alone.
pub(super) enum Inside<'a> {
    /// As its owner.
    Own(&'a Holder),
    /// By its lock.
    Locked(#[allow(dead_code)] Guard<'a>),
}

impl Drop for Inside<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Inside::Own(me) = self {
            compiler_fence(SeqCst);
            me.go_out();
        }
    }
}

/// What to do with a block for which there is no room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grow {
    /// Make room.
    Yes,
    /// Do without it.
    No,
}

impl Group {
    /// Goes in as the owner; `None` for everybody else.
    #[inline(always)]
    pub(super) fn enter_as_owner<'a>(&self, me: Option<&'a Holder>) -> Option<Inside<'a>> {
        let me = me?;
        me.go_in(self);
        if ptr::eq(self.owner.load(Relaxed), me) {
            return Some(Inside::Own(me));
        }
        me.go_out();
        None
    }

    /// Goes in, waiting for others if need be.
    #[inline(never)]
    pub(super) fn enter<'a>(&'a self, me: Option<&'a Holder>) -> Inside<'a> {
        if let Some(inside) = self.enter_as_owner(me) {
            return inside;
        }
        let (guard, abandoned) = self.lock().lock_checked();
        let owner = self.owner.load(Relaxed);
        if me.is_some_and(|me| ptr::eq(unmarked(owner), me)) {
            // It was about to be taken from me: I am not inside, and nobody has to be waited for.
            self.owner.store(ptr::null_mut(), Relaxed);
        } else if !owner.is_null() {
            self.take_from(owner, me.is_some());
        }
        if abandoned || self.is_marked(TORN) {
            self.repair();
        }
        if let Some(me) = me
            && self.owner.load(Relaxed).is_null()
            && holder::may_give()
            && !self.is_shared()
        {
            self.owner.store((&raw const *me).cast_mut(), Relaxed);
            // Either who forbids this meanwhile sees the store, or it is seen here that he did.
            fence_if_asked();
            if !holder::may_give() {
                self.owner.store(ptr::null_mut(), Relaxed);
            }
        }
        Inside::Locked(guard)
    }

    /// Takes the group away from its owner; the lock is held. The owner's name stays until it is
    /// outside: should this thread be torn out of here, the next one takes the group again.
    #[cold]
    fn take_from(&self, owner: *mut Holder, for_thread: bool) {
        let marked = owner.map_addr(|addr| addr | TAKEN);
        // SAFETY: holders live for ever.
        let owner = unsafe { &*unmarked(owner) };
        self.owner.store(marked, Relaxed);
        holder::fence_others();
        owner.wait_until_outside(self);
        self.owner.store(ptr::null_mut(), Relaxed);
        if for_thread {
            self.marks.fetch_or(SHARED, Relaxed);
            if !self.goes_to_and_fro() {
                self.marks.fetch_add(LOSS, Relaxed);
            }
            holder::note_loss();
        }
    }

    /// First step of taking groups away from all owners: true if this one has one. Before the
    /// second, [`holder::fence_others`] and [`holder::wait_for_all`].
    pub(super) fn begin_taking(&self) -> bool {
        let owner = self.owner.load(Relaxed);
        if owner.is_null() || owner.addr() & (LEAVING | TAKEN) != 0 {
            return false;
        }
        let leaving = owner.map_addr(|addr| addr | LEAVING);
        self.owner
            .compare_exchange(owner, leaving, Relaxed, Relaxed)
            .is_ok()
    }

    /// Second step.
    pub(super) fn end_taking(&self) {
        let owner = self.owner.load(Relaxed);
        if owner.addr() & (LEAVING | TAKEN) == LEAVING {
            let _ = self
                .owner
                .compare_exchange(owner, ptr::null_mut(), Relaxed, Relaxed);
        }
    }

    /// Gives up what the calling thread holds because it was torn out.
    ///
    /// # Safety
    /// The calling thread, which is `me`, is not inside except in calls that never return.
    pub(super) unsafe fn abandon(&self, me: Option<&Holder>) {
        let was_inside = me.is_some_and(|me| ptr::eq(me.inside(), self));
        if !was_inside && !self.lock.held_here() {
            return;
        }
        self.marks.fetch_or(TORN, Relaxed);
        compiler_fence(SeqCst);
        let owner = self.owner.load(Relaxed);
        if me.is_some_and(|me| ptr::eq(owner, me)) {
            let _ = self
                .owner
                .compare_exchange(owner, ptr::null_mut(), Relaxed, Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { self.lock.abandon() };
        if let Some(me) = me
            && was_inside
        {
            me.go_out();
        }
    }

    /// In a forked child: gives up the lock for whoever holds it.
    ///
    /// # Safety
    /// No other thread exists, and the calling one is not inside.
    pub(super) unsafe fn abandon_in_child(&self) {
        // SAFETY: the holder, if any, does not exist here.
        unsafe { self.lock.abandon_for_holder() }
    }

    /// In a forked child: its owner was inside.
    pub(super) fn note_torn(&self) {
        self.marks.fetch_or(TORN, Relaxed);
        self.owner.store(ptr::null_mut(), Relaxed);
    }

    fn is_marked(&self, mark: u16) -> bool {
        self.marks.load(Relaxed) & mark != 0
    }

    /// Several threads use it.
    pub(super) fn is_shared(&self) -> bool {
        self.is_marked(SHARED)
    }

    /// Threads have taken it from each other so often that it belongs to nobody any more.
    fn goes_to_and_fro(&self) -> bool {
        self.marks.load(Relaxed) & LOSSES >= MOST_LOSSES * LOSS
    }

    pub(super) fn lock(&self) -> &WordLock {
        &self.lock
    }

    /// Blocks of its addresses that are kept elsewhere, at least.
    #[inline(always)]
    pub(super) fn aside(&self) -> u16 {
        self.aside.load(Relaxed)
    }

    /// Counts one of these more or less.
    pub(super) fn change_aside(&self, by: i16) {
        // It stays at the most that it can count.
        let more = |n: u16| (n != u16::MAX).then(|| n.saturating_add_signed(by));
        let _ = self.aside.fetch_update(Relaxed, Relaxed, more);
    }

    #[inline(always)]
    pub(super) fn len(&self) -> u32 {
        self.len.load(Relaxed)
    }

    /// False if no block of its addresses is known, here or elsewhere.
    #[inline(always)]
    pub(super) fn knows_any(&self) -> bool {
        self.has_table() || self.aside() != 0
    }

    pub(super) fn has_table(&self) -> bool {
        self.grow_at.load(Relaxed) != 0
    }

    /// The current table, for who is inside, or for a prefetch.
    #[inline(always)]
    fn cells(&self) -> Cells {
        Cells {
            first: self.table.load(Relaxed),
            mask: self.mask.load(Relaxed).into(),
            shift: self.shift.load(Relaxed).into(),
        }
    }

    /// Starts fetching what an insert or a removal will touch.
    #[inline(always)]
    pub(super) fn prefetch(&self, key: u16) {
        self.cells().prefetch(key);
    }

    /// Puts a block as the owner; false where somebody else is that, or there is more to do: nothing
    /// was done.
    #[inline(always)]
    pub(super) fn put_as_owner(&self, me: Option<&Holder>, key: u16, word: u64) -> bool {
        let Some(_inside) = self.enter_as_owner(me) else {
            return false;
        };
        let len = self.len();
        let done = len < self.grow_at.load(Relaxed)
            && (self.cells().put_quickly(key, word) || self.put_crowded(key, word));
        if done {
            self.len.store(len + 1, Relaxed);
        }
        done
    }

    /// As [`Cells::put_crowded`]: half of the inserts into a dense heap. For who is inside.
    #[inline(never)]
    fn put_crowded(&self, key: u16, word: u64) -> bool {
        self.cells().put_crowded(key, word)
    }

    /// Takes a block out as the owner; `None` where somebody else is that, or there is more to do,
    /// or no such block: nothing was done.
    #[inline(always)]
    pub(super) fn take_as_owner(&self, me: Option<&Holder>, key: u16) -> Option<u64> {
        let _inside = self.enter_as_owner(me)?;
        let len = self.len();
        if len <= self.shrink_at.load(Relaxed) {
            return None;
        }
        let word = match self.cells().take_quickly(key) {
            Some(word) => word,
            None => self.take_crowded(key)?,
        };
        self.len.store(len - 1, Relaxed);
        Some(word)
    }

    /// As [`Cells::take`], where the block lies elsewhere than it belongs. For who is inside.
    #[inline(never)]
    fn take_crowded(&self, key: u16) -> Option<u64> {
        self.cells().take(key)
    }

    /// Puts a block. For who is inside.
    pub(super) fn put(&self, key: u16, word: u64, grow: Grow) -> Put {
        if self.len() >= self.grow_at.load(Relaxed) && self.get(key).is_none() {
            // Without memory it fills up further, at the price of moving blocks around.
            let room = grow == Grow::Yes && (self.grow() || self.has_table());
            if !room {
                return Put::Full;
            }
        }
        match self.put_here(key, word) {
            Put::Full if grow == Grow::Yes && self.grow() => self.put_here(key, word),
            put => put,
        }
    }

    fn put_here(&self, key: u16, word: u64) -> Put {
        let put = self.cells().put(key, word);
        if matches!(put, Put::New) {
            self.len.store(self.len() + 1, Relaxed);
        }
        put
    }

    /// Takes a block out. For who is inside.
    pub(super) fn take(&self, key: u16) -> Option<u64> {
        if !self.has_table() {
            return None;
        }
        let word = self.cells().take(key)?;
        let len = self.len() - 1;
        self.len.store(len, Relaxed);
        if len < self.shrink_at.load(Relaxed) {
            let bits = self.mask.load(Relaxed).count_ones();
            if !self.rebuild(bits - 1) {
                // They crowd too much for half the table: asked again at each removal, that would
                // cost more than everything else.
                self.shrink_at.store(len / 2, Relaxed);
            }
        }
        if len == 0 && !self.goes_to_and_fro() {
            self.marks.fetch_and(!SHARED, Relaxed);
        }
        Some(word)
    }

    /// The block of a key. For who is inside.
    pub(super) fn get(&self, key: u16) -> Option<u64> {
        self.has_table().then(|| self.cells().get(key)).flatten()
    }

    /// The block with the highest key of these. For who is inside.
    pub(super) fn last_in(&self, least: u16, most: u16) -> Option<(u16, u64)> {
        let of = |cells: Cells| cells.last_in(least, most);
        self.has_table().then(|| of(self.cells())).flatten()
    }

    /// Shows every block of the group whose addresses begin at `start`.
    pub(super) fn show(&self, start: usize, f: &mut impl FnMut(usize, Block)) {
        if self.len() == 0 {
            return;
        }
        let _inside = self.enter(None);
        if self.has_table() {
            self.cells()
                .for_each(|key, word| f(start + addr_of(key), unpack(word)));
        }
    }

    /// Makes every block as old as can be. For who is inside.
    pub(super) fn forget_births(&self) {
        if self.has_table() {
            self.cells().forget_births();
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&self) -> bool {
        if !self.has_table() {
            return self.rebuild(FIRST_BITS);
        }
        let bits = self.mask.load(Relaxed).count_ones();
        // Blocks may crowd because they lie otherwise than those that the table was made for.
        let crowded = self.len() < self.grow_at.load(Relaxed);
        let spread = crowded && fitting_shift(&self.cells(), bits) != self.cells().shift;
        spread && self.rebuild(bits)
            || (bits + 1..=LAST_BITS)
                .take(2)
                .any(|bits| self.rebuild(bits))
    }

    /// Moves everything to a table of so many buckets; false if there is no memory, or it cannot take
    /// them all.
    fn rebuild(&self, bits: u32) -> bool {
        #[cfg(test)]
        REBUILDS.with(|count| count.set(count.get() + 1));
        let bytes = BUCKET_BYTES << bits;
        let first = arena::alloc_table(bytes, BUCKET_BYTES).cast::<Bucket>();
        if first.is_null() {
            sampler::table_changed(true);
            return false;
        }
        let old = self.has_table().then(|| self.cells());
        let shift = old.map_or(FIRST_SHIFT, |old| fitting_shift(&old, bits));
        let new = Cells {
            first,
            mask: (1 << bits) - 1,
            shift,
        };
        if old.is_some_and(|old| !old.copy_to(new)) {
            // SAFETY: allocated with this size and not published.
            unsafe { arena::dealloc_table(first.cast(), bytes, BUCKET_BYTES) };
            return false;
        }
        self.next_table.store(first, Relaxed);
        self.next_shift.store(shift as u16, Relaxed);
        compiler_fence(SeqCst);
        self.next_bits.store(bits as u16, Relaxed);
        compiler_fence(SeqCst);
        self.adopt_next();
        if let Some(old) = old {
            // SAFETY: allocated with this size, and no longer the group's table. Torn out just
            // before, it is lost to the arena, which costs memory only.
            unsafe { free(&old) };
        }
        sampler::table_changed(false);
        true
    }

    /// Makes the table in the journal the current one. Can be repeated.
    fn adopt_next(&self) {
        let bits = u32::from(self.next_bits.load(Relaxed));
        let entries = ENTRIES as u32 * (1 << bits);
        let shrink_at = if bits > FIRST_BITS { entries / 4 } else { 0 };
        self.table.store(self.next_table.load(Relaxed), Relaxed);
        self.shift.store(self.next_shift.load(Relaxed), Relaxed);
        self.mask
            .store((1u32 << bits).wrapping_sub(1) as u16, Relaxed);
        self.shrink_at.store(shrink_at, Relaxed);
        // Half of this is after a growth: 24 bytes a block.
        self.grow_at.store(entries / 32 * 29, Relaxed);
        compiler_fence(SeqCst);
        self.next_bits.store(0, Relaxed);
    }

    /// Gives the table of a group without blocks back, and forgets how often threads took it from each
    /// other. For who is inside.
    pub(super) fn trim(&self) {
        // Who took it from whom weeks ago says nothing of today; a few more times are soon over.
        self.marks.fetch_and(!LOSSES, Relaxed);
        if self.len() != 0 || !self.has_table() {
            return;
        }
        let old = self.cells();
        self.shrink_at.store(0, Relaxed);
        self.grow_at.store(0, Relaxed);
        compiler_fence(SeqCst);
        // SAFETY: nobody finds the table any more.
        unsafe { free(&old) };
    }

    /// Completes what somebody began who was torn out.
    #[cold]
    #[inline(never)]
    fn repair(&self) {
        if self.next_bits.load(Relaxed) != 0 {
            self.adopt_next();
        }
        let blocks = if self.has_table() {
            self.cells().repair()
        } else {
            0
        };
        self.len.store(blocks, Relaxed);
        self.marks.fetch_and(!TORN, Relaxed);
    }
}

/// An owner, whether or not it is about to lose the group.
fn unmarked(owner: *mut Holder) -> *mut Holder {
    owner.map_addr(|addr| addr & !(LEAVING | TAKEN))
}

/// # Safety
/// The table came from `rebuild`, and nobody uses it any more.
unsafe fn free(cells: &Cells) {
    let bytes = BUCKET_BYTES * (cells.mask as usize + 1);
    // SAFETY: the caller's promise.
    unsafe { arena::dealloc_table(cells.first.cast(), bytes, BUCKET_BYTES) }
}

/// How many low bits of a key should not choose its bucket among `1 << bits`: so that the range that
/// the blocks lie in goes around the table two to four times. A table that a part of the range fills
/// is full evenly then, and the range may go on.
fn fitting_shift(cells: &Cells, bits: u32) -> u32 {
    let (mut low, mut high) = (u16::MAX, 0);
    cells.for_each(|key, _| {
        low = low.min(key);
        high = high.max(key);
    });
    let range = u32::from(high.saturating_sub(low)) + 1;
    (range >> (bits + 1)).checked_ilog2().unwrap_or(0)
}
