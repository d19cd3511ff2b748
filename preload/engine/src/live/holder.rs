//! Owns biased holding: a thread that comes back to a group of the live table goes in without a
//! locked instruction. It must never wait for a thread that waits for a lock.
//!
//! A group may belong to a thread. Its owner says in its own [`Holder`] that it goes in, and looks
//! whether the group is still its own; everybody else takes the group's lock, takes the group away
//! from its owner, has every processor of this process pass a memory barrier (`membarrier`), and
//! waits until the former owner is not inside any more. So the owner's two steps need no barrier:
//! either it sees that it has lost the group, or it is seen inside. Where `membarrier` is not to be
//! had, no group belongs to anybody and the lock is taken each time.

use core::ptr::null_mut;

use super::group::Group;
use crate::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
    fence_if_asked, sizes, spin_loop,
};
use crate::{guard, sys};

/// Groups that may be taken away between two rests: each time costs some microseconds on every
/// processor, so after that they go to nobody.
const CREDIT: i32 = 256;

/// What a thread says of itself to those who want its groups. All zeroes at first; it lives for ever
/// and may pass on to another thread, with all that it owns.
#[repr(C)]
pub struct Holder {
    /// The group it is inside of as its owner.
    inside: AtomicPtr<Group>,
    next: AtomicPtr<Holder>,
}

/// All holders there are.
static ALL: AtomicPtr<Holder> = AtomicPtr::new(null_mut());
/// Groups may belong to threads.
static ALLOWED: AtomicBool = AtomicBool::new(false);
/// Those who want to go through all groups undisturbed.
static PAUSES: AtomicU32 = AtomicU32::new(0);
static LEFT: AtomicI32 = AtomicI32::new(4 * CREDIT);

impl Holder {
    /// One that owns nothing.
    pub const fn new() -> Holder {
        Holder {
            inside: AtomicPtr::new(null_mut()),
            next: AtomicPtr::new(null_mut()),
        }
    }

    /// Makes the holder known to those who wait for all.
    ///
    /// # Safety
    /// It is never freed, and is given here once.
    pub unsafe fn enlist(holder: *const Holder) {
        let mut first = ALL.load(Relaxed);
        loop {
            // SAFETY: valid, by the caller's promise.
            unsafe { (*holder).next.store(first, Relaxed) };
            // Release pairs with the acquire in `wait_for_all`.
            match ALL.compare_exchange_weak(first, holder.cast_mut(), Release, Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Says that it goes in.
    #[inline(always)]
    pub(super) fn go_in(&self, group: &Group) {
        self.inside.store((&raw const *group).cast_mut(), Relaxed);
        fence_if_asked();
    }

    /// Says that it is out again.
    #[inline(always)]
    pub(super) fn go_out(&self) {
        // Release pairs with the acquire in `wait_until_outside` and `wait_for_all`.
        self.inside.store(null_mut(), Release);
    }

    /// The group it was torn out of, or was in when the process was forked.
    pub(super) fn inside(&self) -> *mut Group {
        self.inside.load(Relaxed)
    }

    /// Waits until it has left the group; it cannot go in again.
    pub(super) fn wait_until_outside(&self, group: &Group) {
        // Acquire pairs with the release in `go_out`.
        wait_while(|| core::ptr::eq(self.inside.load(Acquire), group));
    }
}

impl Default for Holder {
    fn default() -> Holder {
        Holder::new()
    }
}

/// Lets groups belong to threads where the kernel can make that safe, or no more. Those that belong
/// to one are taken away at [`super::LiveTable::calm`].
pub fn allow(on: bool) {
    ALLOWED.store(on && sys::can_fence_others(), Relaxed);
}

/// No group may belong to a thread from now on. True if one might until now: then what is to see it
/// needs a fence.
pub fn forbid() -> bool {
    ALLOWED.swap(false, Relaxed)
}

/// May a group be given to a thread now?
pub(super) fn may_give() -> bool {
    ALLOWED.load(Relaxed) && PAUSES.load(Relaxed) == 0 && LEFT.load(Relaxed) > 0
}

/// One group was taken away for another thread.
pub(super) fn note_loss() {
    LEFT.fetch_sub(1, Relaxed);
}

/// Nothing is given away until as many [`resume`].
pub(super) fn pause() {
    PAUSES.fetch_add(1, Relaxed);
}

/// Groups may be taken away again that have been too often.
pub(super) fn give_credit() {
    LEFT.fetch_max(CREDIT, Relaxed);
}

/// See [`pause`].
pub(super) fn resume() {
    PAUSES.fetch_sub(1, Relaxed);
}

/// In a forked child: nobody else is there to be waited for.
pub(super) fn reset_in_child() {
    PAUSES.store(0, Relaxed);
    allow(ALLOWED.load(Relaxed));
}

/// After this, every thread sees what was stored before, or what it stored before is seen here.
pub fn fence_others() {
    /// Long after every processor has made its stores visible.
    const LONG_NS: u64 = 2_000_000;
    if !sys::fence_others() {
        // A filter took the call away behind our back.
        ALLOWED.store(false, Relaxed);
        nap(LONG_NS);
    }
}

/// Waits until something is not so any more that another thread is about to change.
fn wait_while(is_so: impl Fn() -> bool) {
    /// About a change of tables.
    const NAP_NS: u64 = 20_000;
    let mut spins = 0;
    while is_so() {
        if spins < sizes::SPINS {
            spins += 1;
            spin_loop();
        } else {
            nap(NAP_NS);
        }
    }
}

/// Sleeps for a while, if the kernel may be asked to.
fn nap(ns: u64) {
    static NEVER_WOKEN: AtomicU32 = AtomicU32::new(0);
    if guard::QUIET.load(Relaxed) == 0 {
        // Any result means the same.
        let _ = sys::futex_wait(&NEVER_WOKEN, 0, Some(ns), false);
    } else {
        spin_loop();
    }
}

/// After a fence: waits until nobody is inside a group that was his before.
pub(super) fn wait_for_all() {
    // Acquire pairs with the release in `enlist`.
    let mut next = ALL.load(Acquire).cast_const();
    // SAFETY: holders in the list are never freed.
    while let Some(holder) = unsafe { next.as_ref() } {
        // Acquire pairs with the release in `go_out`.
        let group = holder.inside.load(Acquire);
        if !group.is_null() {
            wait_while(|| core::ptr::eq(holder.inside.load(Acquire), group));
        }
        next = holder.next.load(Relaxed);
    }
}

/// In a forked child: shows the holders of threads that are not there, and the groups they were in.
pub(super) fn for_each_torn(mut show: impl FnMut(&Holder, *mut Group)) {
    let mut next = ALL.load(Acquire).cast_const();
    // SAFETY: holders in the list are never freed.
    while let Some(holder) = unsafe { next.as_ref() } {
        let group = holder.inside();
        if !group.is_null() {
            show(holder, group);
        }
        next = holder.next.load(Relaxed);
    }
}
