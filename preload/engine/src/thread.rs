//! Owns the state of a thread: scratch memory for its stacks and the ring of frees that wait.
//!
//! States come from the arena, are given back when the thread ends (a `pthread_key` destructor) and
//! are used again: threads by the thousand cost as much memory as lived at once.

use core::marker::PhantomData;
use core::mem::{align_of, size_of};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, compiler_fence};

use crate::live::holder::Holder;
use crate::lock::WordLock;
use crate::permit::means::{ASK, SNAPSHOT};
use crate::sampler::{self, Countdown};
use crate::sites::tally::Tally;
use crate::tls::Local;
use crate::unwind::Scratch;
use crate::{arena, guard, permit, state, sys};

/// Frees that a signal handler may leave behind while the thread is in our code.
const RING: usize = 64;

/// What a thread needs beyond its thread-local words. Zeroed memory is a valid fresh state.
#[repr(C)]
pub struct ThreadState {
    /// Working memory of stack capture.
    pub scratch: Scratch,
    /// Kernel's id of the thread.
    pub tid: u32,
    /// Times the destructor ran for the current thread.
    ended: u32,
    /// 1 while a thread has it.
    taken: AtomicU32,
    next: *mut ThreadState,
    waiting: AtomicU32,
    ring: [AtomicUsize; RING],
    /// What the threads that had this state counted. It stays when the state changes hands.
    tally: Tally,
    /// What it holds of the live table; that stays with the state, too.
    holder: Holder,
    /// Address of the block that its thread allocated last, if it has freed nothing since; else 0.
    last: AtomicUsize,
    /// What `realloc` is at.
    moving: Moving,
    /// What it samples; its totals stay as well.
    pub countdown: Countdown,
    /// The one made before this: all that there are, in use or not.
    made_before: *mut ThreadState,
}

/// Marks a thread whose last destructor ran: it borrows a state for each call from then on.
pub fn ended() -> *mut ThreadState {
    core::ptr::without_provenance_mut(1)
}

/// States made before it is looked for those of threads that are gone, where no key tells.
const FIRST_SWEEP: u32 = 64;

struct Pool {
    lock: WordLock,
    /// States made.
    count: AtomicU32,
    /// How many there are to be when it is looked again for those of threads that are gone.
    sweep_at: AtomicU32,
    free: AtomicPtr<ThreadState>,
    /// The state made last.
    made: AtomicPtr<ThreadState>,
}

static POOL: Pool = Pool {
    lock: WordLock::new(),
    count: AtomicU32::new(0),
    sweep_at: AtomicU32::new(FIRST_SWEEP),
    free: AtomicPtr::new(null_mut()),
    made: AtomicPtr::new(null_mut()),
};

/// `pthread_setspecific` and the key, once there is one.
static SETSPECIFIC: AtomicUsize = AtomicUsize::new(0);
static KEY: AtomicU32 = AtomicU32::new(0);

/// Names the function and key by which the end of a thread is noticed.
pub fn set_key(setspecific: usize, key: u32) {
    KEY.store(key, Relaxed);
    SETSPECIFIC.store(setspecific, Relaxed);
}

fn remember(state: *mut ThreadState) {
    let f = SETSPECIFIC.load(Relaxed);
    if f != 0 {
        // SAFETY: `set_key` was given `pthread_setspecific`. Its key lies among the first 32,
        // which glibc keeps in the thread's control block: nothing is allocated.
        let f: extern "C" fn(u32, *const ThreadState) -> i32 = unsafe { core::mem::transmute(f) };
        f(KEY.load(Relaxed), state);
    }
}

/// A state from the pool or the arena; null when there is no memory.
fn take() -> *mut ThreadState {
    let signals = sys::block_signals();
    POOL.lock.lock_raw();
    let mut p = POOL.free.load(Relaxed);
    if p.is_null() && POOL.count.load(Relaxed) >= POOL.sweep_at.load(Relaxed) {
        sweep();
        p = POOL.free.load(Relaxed);
    }
    if !p.is_null() {
        // SAFETY: states in the pool are valid and only reached under its lock.
        POOL.free.store(unsafe { (*p).next }, Relaxed);
    }
    // SAFETY: taken above by this thread.
    unsafe { POOL.lock.unlock_raw() };
    if p.is_null() {
        let bytes = size_of::<ThreadState>();
        p = arena::alloc(bytes, align_of::<ThreadState>()).cast();
        if !p.is_null() {
            // SAFETY: the memory is new, zeroed and as large as a state; states are never freed.
            unsafe {
                Tally::enlist(&raw mut (*p).tally);
                Holder::enlist(&raw const (*p).holder);
                publish(p);
                POOL.count.fetch_add(1, Relaxed);
            }
        }
    }
    if !p.is_null() {
        // SAFETY: out of the pool, the state is this thread's alone. What another thread knew of its
        // stack must go; what is new stays untouched, as much of it may never be used.
        unsafe {
            (*p).scratch.forget();
            (*p).ended = 0;
            (*p).waiting.store(0, Relaxed);
            let ring = &(*p).ring;
            ring.iter().for_each(|slot| slot.store(0, Relaxed));
            (*p).countdown.forget();
            (*p).last.store(0, Relaxed);
            (*p).moving.end();
            (*p).tid = if guard::QUIET.load(Relaxed) == 0 {
                sys::gettid()
            } else {
                0
            };
            (*p).taken.store(1, Relaxed);
        }
    }
    sys::restore_signals(signals);
    p
}

/// Without a key nobody tells that a thread has ended: looks which ones are gone, and takes their
/// states back. Each time there may be twice as many threads before it looks again. The pool's lock
/// is held.
#[cold]
fn sweep() {
    if SETSPECIFIC.load(Relaxed) != 0 || !permit::allows(SNAPSHOT.and(ASK)) {
        POOL.sweep_at.store(u32::MAX, Relaxed);
        return;
    }
    let mut alive = 0;
    // Acquire pairs with the release in `publish`.
    let mut next = POOL.made.load(Acquire);
    while !next.is_null() {
        // SAFETY: states are never freed. One that is taken by a thread that does not exist any
        // more is nobody's; its id may be that of a younger thread, which makes it wait longer.
        unsafe {
            let p = next;
            next = (*p).made_before;
            let taken = (*p).taken.load(Relaxed) != 0;
            if taken && !sys::thread_exists(state::pid(), (*p).tid) {
                put_in_pool(p);
            } else {
                alive += u32::from(taken);
            }
        }
    }
    POOL.sweep_at.store((alive * 2).max(FIRST_SWEEP), Relaxed);
}

/// # Safety
/// The state is nobody's, and the pool's lock is held.
unsafe fn put_in_pool(p: *mut ThreadState) {
    // SAFETY: the state is ours until it is in the list.
    unsafe {
        (*p).taken.store(0, Relaxed);
        (*p).next = POOL.free.load(Relaxed);
    }
    POOL.free.store(p, Relaxed);
}

/// Puts a state into the list of all, where it stays.
///
/// # Safety
/// The state is zeroed and nobody else's yet; it is never freed.
unsafe fn publish(p: *mut ThreadState) {
    let mut last = POOL.made.load(Relaxed);
    loop {
        // SAFETY: nobody else knows it.
        unsafe { (*p).made_before = last };
        // Release pairs with the acquire in `countdowns`.
        match POOL.made.compare_exchange_weak(last, p, Release, Relaxed) {
            Ok(_) => return,
            Err(other) => last = other,
        }
    }
}

/// The countdowns of all threads that there are or were.
pub fn countdowns() -> impl Iterator<Item = &'static Countdown> + Clone {
    // SAFETY: the field is made of atomics.
    states().map(|state| unsafe { &(*state).countdown })
}

/// Blocks, address and bytes, that `realloc` is at in some thread: they are not in the live table. `None`:
/// such a block may be there still, or has been taken out just now.
pub fn moving() -> impl Iterator<Item = (usize, Option<usize>)> {
    // SAFETY: the field is made of atomics.
    states().filter_map(|state| unsafe { (*state).moving.block() })
}

/// The states of all threads that there are or were: valid for ever, but other threads change them.
fn states() -> impl Iterator<Item = *const ThreadState> + Clone {
    // Acquire pairs with the release in `publish`.
    let mut next = POOL.made.load(Acquire).cast_const();
    core::iter::from_fn(move || {
        let state = next;
        if state.is_null() {
            return None;
        }
        // SAFETY: states are never freed, and this was written before the state was in the list.
        next = unsafe { (*state).made_before };
        Some(state)
    })
}

/// A block that is out of the live table while `realloc` tries to move it.
pub struct Moving {
    /// 0: none.
    addr: AtomicUsize,
    /// [`UNKNOWN_BYTES`]: not said yet.
    bytes: AtomicUsize,
}

const UNKNOWN_BYTES: usize = usize::MAX;

impl Moving {
    /// A block is about to be taken out of the table.
    #[inline(always)]
    fn begin(&self, addr: usize) {
        self.bytes.store(UNKNOWN_BYTES, Relaxed);
        self.addr.store(addr, Release);
        // Who sees that it is out of the table sees this: the table's lock, or the barrier of who takes a
        // group away from its owner, comes after.
        compiler_fence(SeqCst);
    }

    /// It is out of it, and so long.
    #[inline(always)]
    fn note_bytes(&self, bytes: usize) {
        self.bytes.store(bytes, Relaxed);
    }

    /// It is in the table again, or another one in its stead.
    #[inline(always)]
    fn end(&self) {
        // Release: who sees this finds the block in the table.
        self.addr.store(0, Release);
    }

    fn block(&self) -> Option<(usize, Option<usize>)> {
        // Acquire pairs with the releases in `begin` and `end`.
        let addr = self.addr.load(Acquire);
        let bytes = self.bytes.load(Relaxed);
        (addr != 0).then_some((addr, (bytes != UNKNOWN_BYTES).then_some(bytes)))
    }
}

/// What a thread says of the block that its `realloc` is at; `None` where it has no state of its own:
/// without memory, and at its very end.
#[inline(always)]
fn moving_of(t: &Local) -> Option<&Moving> {
    let state = t.state.load(Relaxed);
    // SAFETY: a state other than the two marks is valid while its thread runs; the field is made of
    // atomics.
    (state.addr() > 1).then(|| unsafe { &(*state).moving })
}

/// Says that `realloc` is about to take a block out of the live table. The guard is held.
#[inline(always)]
pub fn begin_moving(t: &Local, addr: usize) {
    if t.state.load(Relaxed).is_null() {
        make_state(t);
    }
    if let Some(moving) = moving_of(t) {
        moving.begin(addr);
    }
}

/// The block is out of the table, and so long.
#[inline(always)]
pub fn note_moving(t: &Local, bytes: usize) {
    if let Some(moving) = moving_of(t) {
        moving.note_bytes(bytes);
    }
}

/// It is in the table again, or another one in its stead, or it is gone.
#[inline(always)]
pub fn end_moving(t: &Local) {
    if let Some(moving) = moving_of(t) {
        moving.end();
    }
}

/// Makes the state of a thread that has none yet.
#[cold]
#[inline(never)]
fn make_state(t: &Local) {
    drop(Borrowed::get(t));
}

/// Gives a state back.
///
/// # Safety
/// `p` came from `take`, and its thread will not use it again.
unsafe fn give_back(p: *mut ThreadState) {
    // A handler in the middle of a `realloc` may have ended the thread.
    // SAFETY: the state is ours until it is in the list.
    unsafe { (*p).moving.end() };
    let signals = sys::block_signals();
    POOL.lock.lock_raw();
    // SAFETY: the state is ours until it is in the list; the lock is held.
    unsafe { put_in_pool(p) };
    // SAFETY: taken above by this thread.
    unsafe { POOL.lock.unlock_raw() };
    sys::restore_signals(signals);
}

/// The calling thread's state for one hook, which holds the guard.
pub struct Borrowed {
    state: *mut ThreadState,
    once: bool,
}

impl Borrowed {
    /// The thread's own state, made at its first call. `None`: no memory.
    #[inline(always)]
    pub fn get(t: &Local) -> Option<Borrowed> {
        let state = t.state.load(Relaxed);
        if state.addr() > 1 {
            return Some(Borrowed { state, once: false });
        }
        Self::get_slow(t)
    }

    #[cold]
    fn get_slow(t: &Local) -> Option<Borrowed> {
        let once = t.state.load(Relaxed) == ended();
        let state = take();
        if state.is_null() {
            return None;
        }
        if !once {
            t.state.store(state, Relaxed);
            remember(state);
        }
        Some(Borrowed { state, once })
    }

    /// The state.
    #[inline(always)]
    pub fn state(&mut self) -> &mut ThreadState {
        // SAFETY: the state belongs to this thread, and the guard keeps its signal handlers from
        // borrowing it a second time (they only touch the ring, through atomics).
        unsafe { &mut *self.state }
    }
}

impl Drop for Borrowed {
    #[inline(always)]
    fn drop(&mut self) {
        if self.once {
            // SAFETY: taken for this call only.
            unsafe { give_back(self.state) };
        }
    }
}

/// The state of the calling thread, which it has to itself until it ends.
#[derive(Clone, Copy)]
pub struct Own<'a> {
    state: *mut ThreadState,
    thread: PhantomData<&'a Local>,
}

/// What the calling thread has, if it has a state of its own.
#[inline(always)]
pub fn own(t: &Local) -> Option<Own<'_>> {
    let state = t.state.load(Relaxed);
    (state.addr() > 1).then_some(Own {
        state,
        thread: PhantomData,
    })
}

impl<'a> Own<'a> {
    /// Working memory of stack capture, for as long as nothing else is done with the state.
    ///
    /// # Safety
    /// The thread holds the guard in phase `OURS`, and no other borrow of this memory lives.
    #[inline(always)]
    pub unsafe fn scratch(&mut self) -> &mut Scratch {
        // SAFETY: a state other than the two marks is valid while its thread runs; the guard keeps
        // signal handlers from taking it a second time.
        unsafe { &mut (*self.state).scratch }
    }

    /// What it holds parts of the live table by, and what it counts.
    #[inline(always)]
    pub fn hands(self) -> (&'a Holder, Counts<'a>) {
        // SAFETY: a state other than the two marks is valid while its thread runs; these fields are
        // made of atomics.
        unsafe {
            let counts = Counts {
                tally: &(*self.state).tally,
                last: &(*self.state).last,
            };
            (&(*self.state).holder, counts)
        }
    }
}

/// What the calling thread holds parts of the live table by, if it has a state.
#[inline(always)]
pub fn holder(t: &Local) -> Option<&Holder> {
    let state = t.state.load(Relaxed);
    // SAFETY: a state other than the two marks is valid while its thread runs.
    (state.addr() > 1).then(|| unsafe { &(*state).holder })
}

/// What a thread counts of the blocks that it records.
pub struct Counts<'a> {
    tally: &'a Tally,
    last: &'a AtomicUsize,
}

impl Counts<'_> {
    /// Counts a block as allocated.
    #[inline(always)]
    pub fn add_alloc(&self, addr: usize, site: u32, bytes: u64) {
        self.last.store(addr, Relaxed);
        self.tally.add_alloc(site, bytes);
    }

    /// Counts a block as freed.
    #[inline(always)]
    pub fn add_free(&self, addr: usize, site: u32, bytes: u64) {
        let temporary = self.last.load(Relaxed) == addr;
        self.last.store(0, Relaxed);
        self.tally.add_free(site, bytes, temporary);
    }
}

/// What the calling thread holds parts of the live table by, and what it counts, if it has a state.
#[inline(always)]
pub fn hands(t: &Local) -> Option<(&Holder, Counts<'_>)> {
    own(t).map(Own::hands)
}

/// The thread was torn out of a hook: what its walks remember may be half-written.
#[cold]
pub fn forget_walks(t: &Local) {
    let state = t.state.load(Relaxed);
    if state.addr() > 1 {
        // SAFETY: a state other than the two marks is valid while its thread runs, and the hook that
        // was using this one never returns.
        unsafe { (*state).scratch.forget() };
    }
}

/// Puts a free aside for the hook that this one is nested in. False: no room.
pub fn defer(t: &Local, p: usize) -> bool {
    let state = t.state.load(Relaxed);
    if state.addr() <= 1 {
        return false;
    }
    // SAFETY: a state other than the two marks is valid while its thread runs; only atomic fields
    // are touched, through raw pointers.
    let (waiting, ring) = unsafe { (&(*state).waiting, &(*state).ring) };
    // A handler may itself be interrupted by another: claim a slot before filling it.
    let at = waiting.fetch_add(1, Relaxed) as usize;
    let Some(slot) = ring.get(at) else {
        waiting.fetch_sub(1, Relaxed);
        return false;
    };
    slot.store(p, Relaxed);
    t.deferred.store(1, Relaxed);
    true
}

/// Takes one waiting free, newest first. Signals are blocked meanwhile: a handler may both add to
/// the ring and, between two hooks, empty it.
pub fn undefer(t: &Local) -> Option<usize> {
    let state = t.state.load(Relaxed);
    if state.addr() <= 1 {
        return None;
    }
    // SAFETY: as in `defer`.
    let (waiting, ring) = unsafe { (&(*state).waiting, &(*state).ring) };
    let signals = sys::block_signals();
    let n = waiting.load(Relaxed) as usize;
    t.deferred.store(0, Relaxed);
    let taken = (n > 0).then(|| {
        waiting.store(n as u32 - 1, Relaxed);
        ring.get(n - 1).map_or(0, |slot| slot.swap(0, Relaxed))
    });
    sys::restore_signals(signals);
    taken
}

/// The key's destructor: the thread is ending. glibc calls destructors again while values are set;
/// staying for two rounds lets the destructors of others use the state.
///
/// # Safety
/// Called by the C library with the pointer that `remember` stored, on the thread it belongs to.
pub unsafe extern "C" fn at_thread_end(state: *mut ThreadState) {
    // SAFETY: the words of the calling thread.
    let t = unsafe { &*crate::tls::local() };
    if state.is_null() || t.state.load(Relaxed) != state {
        return;
    }
    // A handler may have ended the thread in the middle of a hook, which is gone now.
    let _ = guard::phase_here(t);
    // SAFETY: the thread's own state; no hook is active in a destructor.
    unsafe {
        (*state).ended += 1;
        if (*state).ended < 3 {
            remember(state);
            return;
        }
    }
    t.state.store(ended(), Relaxed);
    // SAFETY: the thread will only borrow from now on.
    unsafe { give_back(state) };
}

/// After fork, in the child: the pool's lock may have been held by a thread that is not here.
///
/// # Safety
/// Only the forking thread exists.
pub unsafe fn reset_in_child(t: &Local) {
    // SAFETY: passed on. A half-linked pool is abandoned rather than trusted.
    unsafe { POOL.lock.reset() };
    POOL.free.store(null_mut(), Relaxed);
    let state = t.state.load(Relaxed);
    for other in states().filter(|other| !core::ptr::eq(*other, state)) {
        // SAFETY: the field is made of atomics. Pages are written to only where there is need.
        unsafe {
            if (*other).moving.block().is_some() {
                (*other).moving.end();
            }
        }
    }
    if state.addr() > 1 {
        // SAFETY: the forking thread's own state.
        unsafe {
            (*state).tid = sys::gettid();
            sampler::reseed_in_child(Some(&(*state).countdown));
        }
    } else {
        sampler::reseed_in_child(None);
    }
}
