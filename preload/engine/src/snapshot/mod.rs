//! Owns the recording of this process from its start to its end: when the file is created, and
//! that one snapshot at a time is taken.
//!
//! Runs in the helper or in a thread that exits, never inside a hook. Its lock is not taken for
//! `fork`: a child starts afresh and never looks at what the parent was in the middle of.

mod account;
mod ages;
mod begin;
mod changes;
mod code;
mod content;
mod counts;
mod defs;
mod epochs;
mod faults;
mod losses;
mod scanning;
mod sizes;
mod source;
mod spreads;
mod watch;
mod writer;

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use leaktrack_recording::{AllocatorStats, EndKind, EventKind, Mode, Record};

use crate::alerts::{Watch, command};
use crate::config::{self, Config};
use crate::lock::WordLock;
use crate::recorder::{Failure, Recorder};
use crate::sampler::budget;
use crate::scan::Caller;
use crate::text::Text;
use crate::{control, guard, helper, lifecycle, message, sites, state, sys};
use begin::Start;
use losses::Losses;
pub use scanning::{scan, scan_if_due};
pub use source::{Engine, Source};
use writer::Writer;

/// Why a snapshot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The interval is over.
    Periodic,
    /// A tool asks for it.
    Asked,
    /// `exit` or return from main.
    Exit {
        /// Exit status.
        status: i32,
    },
    /// `_exit` and its kin.
    FastExit {
        /// Exit status.
        status: i32,
    },
    /// The process is about to exec.
    Exec,
}

/// Periodic snapshots may cost this share of time at most: one part in so many.
const COST_SHARE: u64 = 50;

struct State {
    writer: Writer,
    losses: Losses,
    scans: scanning::Schedule,
    recorder: Option<Recorder>,
    accounts: account::Schedule,
    /// Creating the file failed, or recording ended for good.
    over: bool,
    /// In a forked child: the counters at the fork were not read yet.
    inherits: bool,
    /// A snapshot was taken.
    told: bool,
    /// The last one found no room, in leaktrack's memory or in the file.
    lacks_room: bool,
    /// What the alerts compare with.
    watch: Watch,
    /// When the last one was taken, and what it cost: periodic ones wait, so that they stay cheap.
    took_ms: u64,
    cost_ns: u64,
}

/// Why there is no snapshot: never again.
const ENDED: &[u8] = b"the recording has ended";
/// Why there is no snapshot: not now.
pub const NO_ROOM: &[u8] = b"a snapshot finds no room (options memory, disk)";

/// Held while a snapshot is taken.
static LOCK: WordLock = WordLock::new();

struct Shared<T>(UnsafeCell<T>);

// SAFETY: reached only under `LOCK`, or by a forked child while it is alone.
unsafe impl<T> Sync for Shared<T> {}

static STATE: Shared<State> = Shared(UnsafeCell::new(State::new(false)));
static START: Shared<Start> = Shared(UnsafeCell::new(Start::new()));
/// What a forked child begins with; never written.
static FRESH: Shared<State> = Shared(UnsafeCell::new(State::new(true)));

/// A file exists: children name it as their parent's.
static CREATED: AtomicBool = AtomicBool::new(false);
/// Bytes and blocks that were inherited and are freed, in this process and those it was forked
/// from.
static INHERITED_FREED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

impl State {
    const fn new(inherits: bool) -> State {
        State {
            writer: Writer::new(),
            losses: Losses::new(),
            scans: scanning::Schedule::new(),
            recorder: None,
            accounts: account::Schedule::new(),
            over: false,
            inherits,
            watch: Watch::new(),
            took_ms: 0,
            cost_ns: 0,
            told: false,
            lacks_room: false,
        }
    }
}

/// How long a thread waits for a snapshot that another takes.
const PATIENCE_MS: u64 = 10_000;
/// Somebody waited in vain: a file system hangs. Until a snapshot ends nobody waits any more.
static HANGS: AtomicBool = AtomicBool::new(false);

/// Runs `f` under the lock; `None` if it cannot be had in time. Whoever writes may hang with the
/// file system, and the program must not hang with him.
fn with<R>(f: impl FnOnce(&mut State, &mut Start) -> R) -> Option<R> {
    let mut waits_until_ms = None;
    let guard = LOCK.lock_while(|| {
        // Under a seccomp filter the time may not be asked for.
        if guard::QUIET.load(Relaxed) != 0 {
            return true;
        }
        let now_ms = state::tick();
        !HANGS.load(Relaxed) && now_ms < *waits_until_ms.get_or_insert(now_ms + PATIENCE_MS)
    });
    HANGS.store(guard.is_none(), Relaxed);
    let _guard = guard?;
    // SAFETY: the lock is held, and nothing called from here comes back.
    Some(unsafe { f(&mut *STATE.0.get(), &mut *START.0.get()) })
}

/// True if somebody waited for a snapshot in vain and none has ended since.
pub fn hangs() -> bool {
    HANGS.load(Relaxed)
}

/// The options in force.
pub fn config<R>(f: impl FnOnce(&Config) -> R) -> R {
    f(config::get())
}

/// Reads the options and creates the recording; called by the constructor, once. False when this
/// process is not to be recorded; what went wrong has been said.
pub fn begin(env: crate::facts::env::Environment) -> bool {
    message::remember_stderr();
    if with(|_, start| start.read(env)) != Some(true) {
        return false;
    }
    state::start_clock();
    state::set_pid(sys::getpid());
    with(|state, start| start.is_lazy() || state.create(start)) == Some(true)
}

impl State {
    /// Creates the file; false when that cannot be.
    fn create(&mut self, start: &mut Start) -> bool {
        if self.recorder.is_some() {
            return true;
        }
        if self.over {
            return false;
        }
        match start.create_recorder() {
            Some(recorder) => {
                CREATED.store(true, Relaxed);
                let recorder = self.recorder.insert(recorder);
                // How it begins is told by the mode, unless that has been changed before. In the
                // constructor a dormant one is not yet paused.
                let dormant = config::get().mode == Mode::Dormant;
                if lifecycle::has_recording() && dormant != state::is_paused() {
                    let kind = if dormant {
                        EventKind::Enable
                    } else {
                        EventKind::Disable
                    };
                    let _ = recorder.append_event(&Record::Event {
                        at_ms: 0,
                        kind,
                        text: b"",
                    });
                }
                true
            }
            None => {
                self.over = true;
                false
            }
        }
    }

    fn inherit(&mut self, start: &mut Start) {
        if core::mem::take(&mut self.inherits) {
            let counts = self.writer.inherit(&Engine);
            sites::lifetimes::forget();
            sites::sizes::forget_large();
            let [bytes, blocks] = &INHERITED_FREED;
            start.set_inherited(
                counts.live_bytes().saturating_sub(bytes.load(Relaxed)),
                counts
                    .allocations
                    .saturating_sub(counts.frees)
                    .saturating_sub(blocks.load(Relaxed)),
            );
        }
    }

    fn take(&mut self, start: &mut Start, reason: Reason) {
        let periodic = matches!(reason, Reason::Periodic | Reason::Asked);
        // A child that ends before its first snapshot leaves no file, not even one that was made
        // because it was about to drop its privileges. One that execs has nothing to tell: the next
        // image tells of itself.
        let ends = !periodic && reason != Reason::Exec;
        let kept = ends && start.keeps_short() && lifecycle::has_recording();
        if !periodic && start.is_lazy() && !self.told && !kept {
            // But a server that dropped its privileges and ends has that to tell.
            let Some(recorder) = self.recorder.as_mut() else {
                return;
            };
            if reason == Reason::Exec && recorder.discard() {
                self.recorder = None;
                return;
            }
        }
        if self.recorder.is_none() && !periodic && !self.over && !kept {
            return;
        }
        self.inherit(start);
        let now_ms = state::tick();
        if reason == Reason::Periodic && now_ms < self.took_ms + rest_ms(self.cost_ns) {
            return;
        }
        if !self.create(start) {
            lifecycle::become_unrecorded();
            return;
        }
        let Some(recorder) = self.recorder.as_mut() else {
            return;
        };
        let began_ns = sys::clock_ns(sys::clock::THREAD_CPU);
        if reason == Reason::Asked {
            self.writer.tell_faults();
        }
        let taken = self.writer.take(&Engine, recorder, !periodic);
        self.lacks_room = taken == Err(Failure::Full);
        let result = taken
            .and_then(|()| match reason {
                // What comes after the exec is another program's.
                Reason::Exec => Ok(()),
                Reason::Periodic
                    if !self
                        .accounts
                        .is_due(now_ms, self.writer.figures().rss_bytes) =>
                {
                    Ok(())
                }
                _ => {
                    let thorough = reason != Reason::Periodic;
                    let epochs = self.writer.epochs();
                    let rss_bytes = self.writer.figures().rss_bytes;
                    self.accounts
                        .take(&Engine, epochs, recorder, thorough, rss_bytes)
                }
            })
            .and_then(|()| {
                if ends && config::get().scan != config::Scan::Off {
                    let epoch = self.writer.begin_epoch(&Engine);
                    self.losses.scan_at_exit(recorder, epoch)?;
                }
                finish(recorder, reason)
            });
        if periodic {
            watch::look(&mut self.watch, self.writer.figures(), recorder);
        }
        self.told = true;
        recorder.release_pages();
        let cost_ns = sys::clock_ns(sys::clock::THREAD_CPU).saturating_sub(began_ns);
        self.writer.add_cpu_ns(cost_ns);
        if !helper::is_running() {
            budget::note_borrowed(cost_ns);
        }
        (self.took_ms, self.cost_ns) = (now_ms, cost_ns);
        if let Err(Failure::Stopped(error)) = result {
            let mut text = Text::<256>::new();
            text.push_bytes(b"recording ended: ");
            error.describe(&mut text);
            if config::get().verbose > 0 {
                message::say(text.as_bytes());
            }
            self.over = true;
            self.recorder = None;
            lifecycle::become_unrecorded();
        }
    }
}

/// How long to wait after a snapshot of this cost. Under a budget that follows the load.
fn rest_ms(cost_ns: u64) -> u64 {
    let rest_ms = cost_ns.saturating_mul(COST_SHARE) / 1_000_000;
    rest_ms.max(budget::rest_ms(cost_ns))
}

/// Writes how it ended.
fn finish(recorder: &mut Recorder, reason: Reason) -> Result<(), Failure> {
    let at_ms = state::now_ms();
    let record = match reason {
        Reason::Periodic | Reason::Asked => return Ok(()),
        Reason::Exit { status } => Record::End {
            at_ms,
            kind: EndKind::Exit,
            status,
        },
        Reason::FastExit { status } => Record::End {
            at_ms,
            kind: EndKind::FastExit,
            status,
        },
        Reason::Exec => Record::Event {
            at_ms,
            kind: EventKind::Exec,
            text: b"",
        },
    };
    recorder.append_event(&record)?;
    recorder.finish()
}

/// Takes a snapshot.
pub fn take(reason: Reason) {
    let _ = with(|state, start| state.take(start, reason));
}

/// Takes a snapshot because a tool asks for it; why not, if recording is over or there is no room.
pub fn take_asked() -> Result<(), &'static [u8]> {
    let taken = with(|state, start| {
        state.take(start, Reason::Asked);
        match (state.over || state.recorder.is_none(), state.lacks_room) {
            (true, _) => Err(ENDED),
            (false, true) => Err(NO_ROOM),
            (false, false) => Ok(()),
        }
    });
    taken.unwrap_or(Err(ENDED))
}

/// Runs `f` on the recording, if there is one.
pub fn with_recorder<R>(f: impl FnOnce(&mut Recorder) -> R) -> Option<R> {
    with(|state, _| state.recorder.as_mut().map(f)).flatten()
}

/// Figures of the allocator for the next snapshot.
pub fn set_allocator_stats(stats: AllocatorStats) {
    let _ = with(|state, _| state.writer.set_allocator_stats(stats));
}

/// The thread that ends the process, as it was when it called: for the scan at exit.
pub fn set_caller(caller: Caller) {
    let _ = with(|state, _| state.losses.set_caller(caller));
}

/// In a forked child, alone, before anything is reset: forgets the parent's recording. The child's
/// own is created with its first snapshot.
pub fn begin_child() {
    let freed = state::COVERAGE.read();
    let [bytes, blocks] = &INHERITED_FREED;
    control::forget_in_child();
    bytes.fetch_add(freed.inherited_freed_bytes, Relaxed);
    blocks.fetch_add(freed.inherited_freed_blocks, Relaxed);
    command::forget_in_child();
    HANGS.store(false, Relaxed);
    state::start_clock();
    // SAFETY: the only thread. What the parent's state owned is left alone: its mapping is not
    // here, its memory is shared with the parent until written, and it may be in any condition.
    unsafe {
        LOCK.reset();
        // Not by way of the stack: that of a thread that forks may be small.
        core::ptr::copy_nonoverlapping(FRESH.0.get(), STATE.0.get(), 1);
        (*START.0.get()).fork(CREATED.swap(false, Relaxed));
    }
}

/// In a forked child, before its first change: reads what it inherited. Does nothing elsewhere.
pub fn inherit() {
    let _ = with(State::inherit);
}

/// A forked child does enough to be recorded: from now on it may have a helper.
pub fn activate_child() {
    inherit();
}

/// The process is about to lose the right to open its recording: creates it if there is none yet,
/// and reserves room in it.
pub fn secure(bytes: u64) {
    let _ = with(|state, start| {
        state.inherit(start);
        if state.create(start)
            && let Some(recorder) = state.recorder.as_mut()
        {
            recorder.ensure_reserved(bytes);
        }
    });
}

/// True if memory came near its limit since the last snapshot.
pub fn comes_near_limit() -> bool {
    with(|state, _| {
        state.recorder.is_some()
            && state
                .writer
                .use_of_limit()
                .is_some_and(|(used, limit)| state.watch.would_come_near(used, Some(limit)))
    })
    .unwrap_or(false)
}

/// Writes an event.
pub fn note(kind: EventKind, text: &[u8]) {
    let _ = with(|state, _| {
        if let Some(recorder) = state.recorder.as_mut() {
            let text = text.get(..text.len().min(1_500)).unwrap_or_default();
            let _ = recorder.append_event(&Record::Event {
                at_ms: state::tick(),
                kind,
                text,
            });
        }
    });
}

/// Address of the word that a control request raises, for a shared futex; only the kernel may
/// touch it.
pub fn control_word() -> Option<usize> {
    with(|state, _| state.recorder.as_ref()?.control_word()).flatten()
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
