//! Owns what is done when the process confines itself: drops privileges, changes its root or
//! namespaces, installs a seccomp filter.
//!
//! The helper would keep the old credentials and keeps a process from counting as single-threaded,
//! so it ends before and starts again after. The recording is created and room in it reserved
//! before, since paths may not lead anywhere afterwards.

use core::sync::atomic::Ordering::Relaxed;

use leaktrack_recording::EventKind;

use crate::helper::Stopped;
use crate::permit::means::{self, MAP, Means, SNAPSHOT};
use crate::text::Text;
use crate::{
    arena, guard, helper, lifecycle, permit, restrict, sampler, snapshot, state, tls, trial,
};

/// Room reserved in the recording before its path may become unreachable.
const RESERVE_BYTES: u64 = 4 << 20;

/// Runs a call that changes credentials or the view of the file system.
pub fn around(real: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    let t = unsafe { &*tls::local() };
    if !is_ours(t) {
        return real();
    }
    let capable = permit::allows(SNAPSHOT);
    guard::enter(t, guard::OURS, usize::MAX);
    if capable {
        lifecycle::activate();
        snapshot::secure(RESERVE_BYTES);
    }
    let stopped = helper::begin_confining();
    guard::leave(t);
    let r = real();
    // Under a filter no new helper may be made: it would be bound by it.
    if helper::end_confining() && capable {
        start_again(stopped);
    }
    r
}

/// Starts a helper in the place of one that was stopped.
fn start_again(stopped: Stopped) {
    match stopped {
        Stopped::None => {}
        Stopped::Gone if helper::start() => {}
        Stopped::Gone => lifecycle::without_helper(),
        Stopped::Hangs => lifecycle::await_end_of_helper(),
    }
}

/// What the flags of a seccomp call mean for us.
#[derive(Clone, Copy)]
pub struct Filter {
    /// It binds all threads of the process (`SECCOMP_FILTER_FLAG_TSYNC`).
    pub all_threads: bool,
    /// It returns a descriptor (`SECCOMP_FILTER_FLAG_NEW_LISTENER`).
    pub listener: bool,
    /// A child may install it: not strict mode, which lets it do nothing else, nor one whose
    /// answers come from another process.
    pub can_be_tried: bool,
}

/// Runs a call that installs a seccomp filter.
///
/// Before, a throw-away child tries what the filter leaves us. What it takes is done without, for
/// good; a helper that a filter on all threads would kill ends first, and what it did until then is
/// in the recording.
pub fn around_seccomp(filter: Filter, real: impl Fn() -> isize) -> isize {
    // SAFETY: the block exists as long as the thread; its fields are atomics.
    let t = unsafe { &*tls::local() };
    if !is_ours(t) {
        return real();
    }
    guard::enter(t, guard::OURS, usize::MAX);
    if !filter.can_be_tried {
        // Strict mode forbids the processor's clock as well.
        sampler::budget::forbid_clock();
    }
    let may_try = trial::is_possible();
    let mut lost = means::ALL;
    let mut stopped = Stopped::None;
    if may_try {
        lifecycle::activate();
        let mut names = Text::new();
        if filter.can_be_tried {
            let found = trial::of_filter(&real);
            (lost, names) = (found.lost, found.names);
        }
        let helper_ends = filter.all_threads && lost.has(SNAPSHOT);
        if lost.has(SNAPSHOT) {
            snapshot::secure(RESERVE_BYTES);
        }
        if lost.has(MAP) {
            // Room for what the hooks will need: they will not ask the kernel for more.
            arena::prefill();
        }
        if lost != means::NONE {
            note(names.as_bytes(), lost, helper_ends);
        }
        if helper_ends {
            stopped = helper::stop();
        }
    }
    restrict::begin(lost);
    guard::leave(t);
    let mut r = real();
    // With TSYNC the kernel names a thread that could not follow by a positive number. If that is
    // the helper, the program must not see it.
    if filter.all_threads && !filter.listener && helper::is_thread(r) {
        stopped = helper::stop();
        r = real();
    }
    let failed = r < 0 || (r > 0 && !filter.listener);
    restrict::end(if failed { means::NONE } else { lost });
    if permit::allows(SNAPSHOT) {
        start_again(stopped);
    }
    r
}

/// The program is about to forbid or allow to read the processor's clock (`prctl(PR_SET_TSC)`).
pub fn clock_may_be_forbidden() {
    sampler::budget::forbid_clock();
}

/// Notes what a filter takes from us.
fn note(names: &[u8], lost: Means, helper_ends: bool) {
    let mut text = Text::<512>::new();
    text.push_bytes(b"a seccomp filter");
    if !names.is_empty() {
        text.push_bytes(b" that kills on ").push_bytes(names);
    }
    if lost.has(MAP) {
        text.push_bytes(b": no memory for more blocks and stacks");
    }
    if helper_ends {
        text.push_bytes(b": no snapshots from here on");
    }
    snapshot::note(EventKind::Limit, text.as_bytes());
}

/// True if the call changes the recorded process: not a nested one, nor that of a child by vfork,
/// whose memory is the parent's (under a filter that question may not be asked).
fn is_ours(t: &tls::Local) -> bool {
    lifecycle::is_recording()
        && guard::phase_here(t) == guard::IDLE
        && (guard::QUIET.load(Relaxed) != 0 || state::in_recorded_process())
}
