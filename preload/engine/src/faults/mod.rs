//! Owns the attribution of page faults to the sites whose memory was touched.
//!
//! The helper opens perf software events on the threads there are, one per processor and kind, which
//! later threads inherit; the events' descriptors stay in the helper's own table. The kernel puts
//! every so many faults into a ring, with address, instruction and time, and the helper looks up who
//! owns the address. The events' own counts say exactly how many faults could be seen in all.
//!
//! All but [`large`] runs in the helper. It must never run in a hook or without the helper's own
//! descriptor table.

mod duty;
pub mod large;
mod owner;
pub mod recent;
mod regions;
mod tally;

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use leaktrack_recording::{FaultCount, FaultSource, Faults};

use crate::arena::{self, AVec, PAGE_BYTES};
use crate::config::PageFaults;
use crate::facts::{process, system, tasks};
use crate::lock::WordLock;
use crate::permit::{self, means::PERF};
use crate::sampler::budget;
use crate::sys::{self, Errno, perf};
use crate::{config, helper, modules, state};
use duty::{Duty, Reading, Scale, Step};
use owner::Since;
use perf::{Event, Ring, Sample};
use regions::Regions;
pub use tally::OfSite;
use tally::{Tally, Touch};

/// One of so many minor faults is sampled: a prime, so that programs that touch several areas by
/// turns are not always caught at the same one.
pub const PERIOD: u64 = 61;
/// Pages of a ring: minor faults, and major ones, each of which is sampled. 16 pages hold 1,638
/// samples: 99,000 minor faults, or as many major ones as a fast disk serves between two looks.
const RING_PAGES: [usize; 5] = [16, 8, 4, 2, 1];
/// Of minor faults, where each is sampled.
const RING_PAGES_OF_EVERY: [usize; 5] = [2048, 1024, 512, 256, 128];
/// All rings of minor faults together are no larger then: 64 MiB.
const MOST_PAGES_OF_EVERY: usize = 16 << 10;
/// One part in so many of what a user may lock.
const LOCKED_SHARE: u64 = 32;
/// Inherited events cost the kernel about 1.2 KiB each, per thread: no more of them than this.
const MOST_EVENTS: usize = 16 << 10;
/// More processors would need too many events for even one thread.
const MOST_CPUS: u32 = 64;
/// Samples looked up per second, and how many may be saved up.
const LOOKUPS_PER_S: u64 = 2_000;
const LOOKUPS_SAVED: u64 = 4_000;
/// Samples kept to be looked up again.
const MOST_UNPLACED: usize = 1024;
/// Between two looks at the rings while there is something in them: what is freed meanwhile is harder to
/// tell. Looks take at most one part in so many of the time.
const LEAST_WAIT_MS: u64 = 10;
const LOOK_COST_SHARE: u64 = 500;
/// Between two looks where each fault is sampled.
const WAIT_OF_EVERY_MS: u64 = 1;
/// Time for looks that may be saved up, so that a burst is looked at often.
const LOOK_SAVED_US: u64 = 20_000;
/// No processor takes more minor faults in this time than a ring holds, so that a burst after a quiet
/// time is not lost.
const MOST_WAIT_MS: u64 = 50;

/// Likewise, where each fault is sampled.
const MOST_UNPLACED_OF_EVERY: usize = 64 << 10;

/// A ring, the processor that it is of, and the event that it belongs to.
#[derive(Clone, Copy)]
struct MinorOrMajor {
    ring: Ring,
    major: bool,
    cpu: u32,
    fd: i32,
}

/// An event.
#[derive(Clone, Copy)]
struct Opened {
    fd: i32,
    major: bool,
}

/// A sample whose address was in nothing known, to be looked up once more when the list of mappings has
/// been read again.
#[derive(Clone, Copy)]
struct Unplaced {
    addr: usize,
    time_ns: u64,
    is_own: bool,
    weight: u64,
    major: bool,
    touch: Touch,
}

struct Session {
    source: FaultSource,
    error: u32,
    rings: AVec<MinorOrMajor>,
    /// Most pages of each.
    ring_pages: usize,
    /// One of so many minor faults is sampled; 1: each is looked at, whatever it costs.
    period: u64,
    /// All events, to be counted and closed.
    events: AVec<Opened>,
    /// Without forked children in their counts.
    counts_exactly: bool,
    cpus: usize,
    /// Faults that could be seen, those of sessions before this helper's included; those of times in
    /// which nothing was looked at are estimated.
    counted: Option<FaultCount>,
    /// What the events had counted when `counted` was brought up to date.
    counted_raw: FaultCount,
    /// Of these, the minor ones when all began to be looked at.
    whole_raw: u64,
    duty: Duty,
    /// CPU time of the last switch of the events.
    switch_us: u64,
    lost: u64,
    since_ms: u64,
    before: FaultCount,
    /// Pages that leaktrack had filled until then.
    filled_before: u64,
    tally: Tally,
    map: Regions,
    unplaced: AVec<Unplaced>,
    since: Since,
    own: (usize, usize),
    /// Where the C library lies.
    libc: (usize, usize),
    wait_ms: u64,
    /// CPU time of the last look.
    cost_us: u64,
    /// CPU time that looks may take.
    look_us: u64,
    drained_ms: u64,
    lookups: u64,
    attached: bool,
}

impl Session {
    const fn new() -> Session {
        Session {
            source: FaultSource::Off,
            error: 0,
            rings: AVec::new(),
            ring_pages: 0,
            period: PERIOD,
            events: AVec::new(),
            counts_exactly: false,
            cpus: 0,
            counted: None,
            counted_raw: FaultCount { minor: 0, major: 0 },
            whole_raw: 0,
            duty: Duty::new(),
            switch_us: 0,
            lost: 0,
            since_ms: 0,
            before: FaultCount { minor: 0, major: 0 },
            filled_before: 0,
            tally: Tally::new(),
            map: Regions::new(),
            unplaced: AVec::new(),
            since: Since { graves: 0, turn: 0 },
            own: (0, 0),
            libc: (0, 0),
            wait_ms: LEAST_WAIT_MS,
            cost_us: 0,
            look_us: LOOK_SAVED_US,
            drained_ms: 0,
            lookups: LOOKUPS_SAVED,
            attached: false,
        }
    }
}

struct Cell(UnsafeCell<Session>);

// SAFETY: reached only under `LOCK`, or by a forked child while it is alone.
unsafe impl Sync for Cell {}

static LOCK: WordLock = WordLock::new();
static SESSION: Cell = Cell(UnsafeCell::new(Session::new()));
/// CPU time of the helper.
static CPU_NS: AtomicU64 = AtomicU64::new(0);
/// Bytes of rings mapped.
static RING_BYTES: AtomicU64 = AtomicU64::new(0);

fn with<R>(f: impl FnOnce(&mut Session) -> R) -> R {
    let _guard = LOCK.lock();
    // SAFETY: the lock is held, and nothing called from here comes back.
    unsafe { f(&mut *SESSION.0.get()) }
}

/// Begins, in a helper with a descriptor table of its own.
pub fn attach() {
    // What the kernel does for it at each fault of the program's cannot be measured.
    if config::get().faults == PageFaults::Off || budget::is_on() {
        return;
    }
    with(|session| {
        if !permit::allows(PERF) {
            return session.refuse(Errno::EPERM);
        }
        if let Err(error) = session.open() {
            session.close();
            session.refuse(error);
        }
    });
}

/// Ends, before the helper does: what waits is taken in.
pub fn detach() {
    with(|session| {
        session.drain(true);
        session.close();
    });
}

/// How long the rings may be left alone.
pub fn wait_ms() -> u64 {
    with(|session| match session.attached {
        true => session.wait_ms,
        false => u64::MAX,
    })
}

/// Takes in what waits in the rings.
pub fn drain() {
    if RING_BYTES.load(Relaxed) == 0 {
        return;
    }
    let began_ns = sys::clock_ns(sys::clock::THREAD_CPU);
    let cost_ns = with(|session| {
        session.drain(false);
        let cost_ns = sys::clock_ns(sys::clock::THREAD_CPU).saturating_sub(began_ns);
        session.cost_us = cost_ns / 1_000;
        session.look_us = session.look_us.saturating_sub(session.cost_us);
        cost_ns
    });
    CPU_NS.fetch_add(cost_ns, Relaxed);
}

/// CPU time that went into this since the last call.
pub fn take_cpu_ns() -> u64 {
    CPU_NS.swap(0, Relaxed)
}

/// Ends attribution when the process has too many threads; each costs the kernel memory.
pub fn bound(threads: u32) {
    with(|session| {
        if session.attached && threads as usize * session.cpus * 2 > MOST_EVENTS {
            session.drain(true);
            session.close();
            session.source = FaultSource::TooMany;
        }
    });
}

/// Bytes of the rings, beside the arena's.
pub fn ring_bytes() -> u64 {
    RING_BYTES.load(Relaxed)
}

/// Calls `each` with every site that has faults.
pub fn for_each_site(mut each: impl FnMut(u32)) {
    with(|session| {
        let sites = session.tally.sites().iter();
        sites.for_each(|of| each(of.site));
    });
}

/// Shows the sums: the head, the sites, and how an instruction is named.
pub fn show<R>(at_ms: u64, f: impl FnOnce(&Faults<'_>, &[OfSite]) -> R) -> R {
    with(|session| {
        // Only the helper has the descriptors.
        if helper::tid() == sys::gettid() {
            session.drain(true);
            session.count(Scale::ONE);
        }
        if !session.unplaced.is_empty() {
            session.map.want();
            session.place();
        }
        // Of the same moment: the snapshot at hand has taken some faults itself.
        let now = process::read();
        let all = FaultCount {
            minor: now.minor_faults,
            major: now.major_faults,
        };
        let mut seen = session.seen(all.minor);
        let mut regions = session.tally.regions;
        if let Some(seen) = &mut seen {
            // What the kernel fills at leaktrack's bidding has no address, but is no secret.
            let filled = arena::filled_pages().saturating_sub(session.filled_before);
            let told = seen.minor.saturating_add(session.before.minor);
            let filled = filled.min(all.minor.saturating_sub(told));
            let sampled = seen
                .minor
                .saturating_sub(session.lost.saturating_mul(session.period));
            // The reader scales all of it to what was seen.
            let weight = filled.saturating_mul(session.tally.minor());
            if let (Some(weight), Some(own)) =
                (weight.checked_div(sampled), regions.get_mut(regions::OWN))
                && weight > 0
            {
                own.minor = own.minor.saturating_add(weight);
                seen.minor = seen.minor.saturating_add(filled);
            }
        }
        let faults = Faults {
            at_ms,
            source: session.source,
            error: session.error,
            period: session.period,
            since_ms: session.since_ms,
            before: session.before,
            all,
            seen: seen.map(|seen| seen.minor.saturating_add(seen.major)),
            seen_major: seen.map(|seen| seen.major),
            lost: session.lost,
            regions,
            touches: &[],
            sites: &[],
        };
        f(&faults, session.tally.sites())
    })
}

/// In a forked child, alone: rings and descriptors are the parent's and not here.
///
/// # Safety
/// Only the forking thread exists.
pub unsafe fn forget_in_child() {
    // SAFETY: the only thread; what the session owned stays where it is.
    unsafe {
        LOCK.reset();
        SESSION.0.get().write(Session::new());
        large::abandon_in_child();
        recent::enable(false);
    }
    RING_BYTES.store(0, Relaxed);
}

impl Session {
    fn refuse(&mut self, error: Errno) {
        self.source = FaultSource::Refused;
        self.error = error.0 as u32;
    }

    fn open(&mut self) -> sys::Result<()> {
        self.period = match config::get().faults {
            PageFaults::Every => 1,
            _ => PERIOD,
        };
        let mut event = Event {
            kind: perf::PageFaults::Minor,
            period: self.period,
            user_only: false,
            threads_only: true,
        };
        self.since.graves = large::buried();
        large::enable(true);
        recent::enable(true);
        let mut already: AVec<(usize, crate::live::Block)> = AVec::new();
        state::LIVE.for_each(|addr, block| {
            if block.size >= large::LARGE_BYTES {
                already.try_push((addr, block));
            }
        });
        for (addr, block) in already.as_slice() {
            large::born(*addr, block);
        }
        let mut tids: AVec<u32> = AVec::new();
        tasks::list(&mut tids);
        let first = tids.get(0).copied().unwrap_or_else(state::pid);
        let cpus = tasks::processors(MOST_CPUS).ok_or(Errno::EMFILE)?;
        let rings = cpus.iter().count().saturating_mul(2);
        let sizes = ring_sizes(self.period == 1);
        self.ring_pages =
            most_ring_pages(rings, locked_limit_bytes(), sizes).ok_or(Errno::ENOMEM)?;
        // The first attempt tells what is allowed.
        let mut opened = perf::open_page_faults(&event, first, cpus.iter().next());
        for (user_only, threads_only) in [(true, true), (false, false), (true, false)] {
            if !matches!(opened, Err(Errno::EACCES | Errno::EPERM | Errno::EINVAL)) {
                break;
            }
            (event.user_only, event.threads_only) = (user_only, threads_only);
            opened = perf::open_page_faults(&event, first, cpus.iter().next());
        }
        sys::close(opened?);
        for &tid in tids.as_slice() {
            for cpu in cpus.iter() {
                match self.open_on(&event, tid, cpu) {
                    // A thread may have ended, a processor gone off.
                    Err(Errno::ESRCH | Errno::ENODEV) if !self.rings.is_empty() => {}
                    other => other?,
                }
            }
        }
        // Otherwise forked children are in the counts.
        self.counts_exactly = event.threads_only;
        let now = process::read();
        self.cpus = cpus.iter().count();
        if self.source == FaultSource::Off || self.source == FaultSource::Refused {
            self.before = FaultCount {
                minor: now.minor_faults,
                major: now.major_faults,
            };
            self.since_ms = state::tick();
            self.filled_before = arena::filled_pages();
        }
        self.source = if event.user_only {
            FaultSource::User
        } else {
            FaultSource::All
        };
        let here = attach as *const () as usize;
        self.own = modules::find(here)
            .and_then(|placement| modules::by_id(placement.module))
            .map_or((0, 0), |module| (module.start, module.end));
        self.libc = libc_range();
        self.attached = true;
        self.duty = Duty::new();
        self.begin_whole(process::read().minor_faults);
        self.switch_us = 0;
        self.wait_ms = LEAST_WAIT_MS;
        self.drained_ms = state::tick();
        self.map.forget();
        if self.period == 1 {
            self.map.is_of_every();
            self.wait_ms = WAIT_OF_EVERY_MS;
        }
        Ok(())
    }

    /// Opens the two events of a thread on a processor; the first thread's make the rings.
    fn open_on(&mut self, event: &Event, tid: u32, cpu: u32) -> sys::Result<()> {
        for major in [false, true] {
            let event = Event {
                kind: if major {
                    perf::PageFaults::Major
                } else {
                    perf::PageFaults::Minor
                },
                period: if major { 1 } else { event.period },
                ..*event
            };
            let fd = perf::open_page_faults(&event, tid, Some(cpu))?;
            if !self.events.try_push(Opened { fd, major }) {
                sys::close(fd);
                return Err(Errno::ENOMEM);
            }
            let mut rings = self.rings.as_slice().iter();
            let first = rings.find(|ring| ring.cpu == cpu && ring.major == major);
            if let Some(first) = first {
                perf::redirect(fd, first.fd)?;
                continue;
            }
            let ring = map_ring(fd, self.ring_pages, self.period == 1 && !major)?;
            let made = MinorOrMajor {
                ring,
                major,
                cpu,
                fd,
            };
            if !self.rings.try_push(made) {
                ring.unmap();
                return Err(Errno::ENOMEM);
            }
            RING_BYTES.fetch_add(ring.mapped_bytes() as u64, Relaxed);
        }
        Ok(())
    }

    /// What the events of this session have counted.
    fn read_counts(&self) -> Option<FaultCount> {
        if !self.attached || !self.counts_exactly {
            return None;
        }
        let mut sum = FaultCount::default();
        for event in self.events.as_slice() {
            let count = perf::read_count(event.fd)?;
            let of = match event.major {
                true => &mut sum.major,
                false => &mut sum.minor,
            };
            *of = of.saturating_add(count);
        }
        Some(sum)
    }

    /// Brings the number of faults seen up to date; minor ones since the last time stand for so many.
    fn count(&mut self, scale: Scale) {
        let Some(now) = self.read_counts() else {
            return;
        };
        let before = core::mem::replace(&mut self.counted_raw, now);
        let counted = self.counted.get_or_insert_default();
        let minor = scale.of(now.minor.saturating_sub(before.minor));
        counted.minor = counted.minor.saturating_add(minor);
        let major = now.major.saturating_sub(before.major);
        counted.major = counted.major.saturating_add(major);
    }

    /// Faults that could be seen, those included that nobody looked at. `minor`: faults of the process.
    fn seen(&self, minor: u64) -> Option<FaultCount> {
        let unseen = match self.attached {
            true => self.duty.unseen(minor),
            false => 0,
        };
        self.counted.map(|counted| FaultCount {
            minor: counted.minor.saturating_add(unseen),
            ..counted
        })
    }

    fn close(&mut self) {
        self.count(Scale::ONE);
        for event in self.events.as_slice() {
            sys::close(event.fd);
        }
        for ring in self.rings.as_slice() {
            RING_BYTES.fetch_sub(ring.ring.mapped_bytes() as u64, Relaxed);
            ring.ring.unmap();
        }
        self.events.clear();
        self.rings.clear();
        self.counted_raw = FaultCount::default();
        self.attached = false;
        large::enable(false);
        recent::enable(false);
    }

    /// Takes in what waits, and sees to it that the events cost no more than they may. `ends`: what is
    /// known now is to be told.
    fn drain(&mut self, ends: bool) {
        if !self.attached {
            return;
        }
        let now_ms = state::tick();
        let passed_ms = now_ms.saturating_sub(self.drained_ms);
        self.drained_ms = now_ms;
        let earned = passed_ms.saturating_mul(LOOKUPS_PER_S) / 1_000;
        self.lookups = self.lookups.saturating_add(earned).min(LOOKUPS_SAVED);
        let earned_us = passed_ms.saturating_mul(1_000) / LOOK_COST_SHARE;
        self.look_us = self.look_us.saturating_add(earned_us).min(LOOK_SAVED_US);
        let waiting = self.waiting().saturating_mul(self.period);
        let bounded = self.period != 1 && self.duty.is_whole();
        let spent = if bounded { waiting } else { 0 };
        match self.duty.step(now_ms, spent, ends) {
            Step::Take => {
                self.set_wait();
                self.take_in(true, Scale::ONE);
            }
            Step::Wait => self.take_in(false, Scale::ONE),
            Step::Settle => {
                let minor = process::read().minor_faults;
                let scale = self.end_look(Reading::between(minor, minor), waiting);
                self.take_in(true, scale);
                self.begin_whole(minor);
            }
            Step::Off => {
                let (cost_us, minor) = self.switch(false);
                let scale = if self.duty.is_look() {
                    self.end_look(minor, waiting)
                } else {
                    if let Some(now) = self.read_counts() {
                        let seen = now.minor.saturating_sub(self.whole_raw);
                        self.duty.ends_whole(minor, seen);
                    }
                    Scale::ONE
                };
                self.take_in(true, scale);
                self.duty.rests(now_ms, minor, cost_us);
            }
            Step::On => {
                self.take_in(false, Scale::ONE);
                let (cost_us, minor) = self.switch(true);
                self.switch_us = cost_us;
                self.duty.looks(now_ms, minor);
            }
        }
        if let Some(wait_ms) = self.duty.wait_ms(now_ms) {
            self.wait_ms = wait_ms;
        }
    }

    /// All faults are looked at from now on; `minor`: those of the process.
    fn begin_whole(&mut self, minor: u64) {
        self.duty.is_at(minor);
        self.whole_raw = self.counted_raw.minor;
    }

    /// What the samples of a look that is over stand for.
    fn end_look(&mut self, minor: Reading, estimate: u64) -> Scale {
        let exact = self.read_counts();
        let seen = exact.map(|now| now.minor.saturating_sub(self.counted_raw.minor));
        let scale = self.duty.ends_look(minor, seen.unwrap_or(estimate));
        self.count(scale);
        scale
    }

    /// Switches the events of minor faults; CPU time of this switch and the last, in microseconds, and
    /// the minor faults of the process when it was made.
    fn switch(&mut self, on: bool) -> (u64, Reading) {
        let before = process::read().minor_faults;
        let began_ns = sys::clock_ns(sys::clock::THREAD_CPU);
        for event in self.events.as_slice().iter().filter(|it| !it.major) {
            let _ = perf::switch(event.fd, on);
        }
        let cost_ns = sys::clock_ns(sys::clock::THREAD_CPU).saturating_sub(began_ns);
        let after = process::read().minor_faults;
        let cost_us = cost_ns / 1_000 + core::mem::take(&mut self.switch_us);
        (cost_us, Reading::between(before, after))
    }

    /// Samples of minor faults that wait.
    fn waiting(&self) -> u64 {
        let rings = self.rings.as_slice().iter().filter(|ring| !ring.major);
        let bytes: u64 = rings.map(|ring| ring.ring.waiting_bytes()).sum();
        bytes / perf::SAMPLE_BYTES
    }

    /// How long the rings may be left alone, by how full they have become.
    fn set_wait(&mut self) {
        let fullest = |ring: &MinorOrMajor| {
            let waiting = ring.ring.waiting_bytes().saturating_mul(100);
            waiting.checked_div(ring.ring.room_bytes()).unwrap_or(0)
        };
        let fill = self.rings.as_slice().iter().map(fullest).max().unwrap_or(0);
        let dear_ms = self.cost_us.saturating_mul(LOOK_COST_SHARE) / 1_000;
        self.wait_ms = match fill {
            _ if self.period == 1 && self.waits() => WAIT_OF_EVERY_MS,
            _ if self.period == 1 => (self.wait_ms * 2).min(LEAST_WAIT_MS),
            26.. => (self.wait_ms / 2).max(LEAST_WAIT_MS),
            _ if self.waits() && self.look_us > self.cost_us => LEAST_WAIT_MS,
            _ if self.waits() => dear_ms.clamp(LEAST_WAIT_MS, MOST_WAIT_MS),
            0..=6 => (self.wait_ms * 2).min(MOST_WAIT_MS),
            _ => self.wait_ms,
        };
    }

    /// True if there is anything in the rings.
    fn waits(&self) -> bool {
        let mut rings = self.rings.as_slice().iter();
        rings.any(|ring| ring.ring.waiting_bytes() != 0)
    }

    /// Takes in what waits of major faults, and of minor ones if they are wanted: each stands for so
    /// many.
    fn take_in(&mut self, minor: bool, scale: Scale) {
        // Where there are more than may be looked up, one of so many is.
        let waiting = self.waiting();
        let (step, most_unplaced) = match self.period {
            1 => (1, MOST_UNPLACED_OF_EVERY),
            _ => (waiting.div_ceil(self.lookups.max(64)).max(1), MOST_UNPLACED),
        };
        let (pid, mut turn) = (state::pid(), 0u64);
        let (own_start, own_end) = self.own;
        // What was freed while nothing was looked at may still be asked for.
        let since = Since {
            graves: self.since.graves,
            turn: if minor { recent::next_turn() } else { 0 },
        };
        self.since = Since {
            graves: large::buried(),
            turn: since.turn,
        };
        let began_ns = state::started_ns();
        // Blocks are looked up by the hundred, some times a second.
        let _calm = (waiting != 0).then(|| state::LIVE.hush());
        let (libc_start, libc_end) = self.libc;
        let weight = scale.of(self.period.saturating_mul(step));
        for at in 0..self.rings.len() {
            let Some(&MinorOrMajor { ring, major, .. }) = self.rings.get(at) else {
                break;
            };
            if !major && !minor {
                continue;
            }
            let (tally, map, lookups) = (&mut self.tally, &mut self.map, &mut self.lookups);
            let unplaced = &mut self.unplaced;
            let lost = ring.drain(|sample: Sample| {
                if sample.pid != pid {
                    return;
                }
                turn += 1;
                if !major && !turn.is_multiple_of(step) {
                    return;
                }
                *lookups = lookups.saturating_sub(1);
                let weight = if major { 1 } else { weight };
                let is_own = (own_start..own_end).contains(&(sample.ip as usize));
                let owner = owner::owner(sample.addr as usize, sample.time_ns, since, is_own, map);
                let of_libc = (libc_start..libc_end).contains(&(sample.ip as usize));
                let touch = Touch {
                    ip: toucher(&sample, of_libc),
                    addr: sample.addr,
                    at_ms: sample.time_ns.saturating_sub(began_ns) / 1_000_000,
                };
                let again = Unplaced {
                    addr: sample.addr as usize,
                    time_ns: sample.time_ns,
                    is_own,
                    weight,
                    major,
                    touch,
                };
                let unknown = owner == owner::Owner::Region(regions::UNKNOWN);
                if !unknown || unplaced.len() >= most_unplaced || !unplaced.try_push(again) {
                    tally.count(owner, weight, major, &touch);
                }
            });
            if !major {
                self.lost = self.lost.saturating_add(scale.of(lost));
            }
        }
        if self.map.is_due() && !self.unplaced.is_empty() {
            self.place();
        }
    }
}

/// The instruction that touched memory; for libc's `memset` and the like, and for the kernel, the call
/// that led there.
fn toucher(sample: &Sample, of_libc: bool) -> u64 {
    let of_kernel = sample.ip >> 63 != 0;
    let caller = sample.stack.wrapping_sub(1);
    if (of_libc || of_kernel)
        && sample.stack != 0
        && modules::find(caller as usize)
            .is_some_and(|placement| placement.image.is_text(caller as usize))
    {
        return caller;
    }
    sample.ip
}

/// Where the C library's code and data lie; empty if it has none of its own.
fn libc_range() -> (usize, usize) {
    let mut range = (0, 0);
    modules::for_each(|module| {
        let name = module.path().rsplit(|&byte| byte == b'/').next();
        let name = name.unwrap_or_default();
        let is_libc = name.starts_with(b"libc.so") || name.starts_with(b"libc-2");
        if is_libc && module.gone_ms() == 0 {
            range = (module.start, module.end);
        }
    });
    range
}

impl Session {
    /// Looks up once more what was in nothing known, with the mappings as they are now.
    fn place(&mut self) {
        let (tally, map, since) = (&mut self.tally, &mut self.map, self.since);
        for it in self.unplaced.as_slice() {
            let owner = owner::owner(it.addr, it.time_ns, since, it.is_own, map);
            tally.count(owner, it.weight, it.major, &it.touch);
        }
        self.unplaced.clear();
    }
}

/// How many pages a ring may have, the most first.
fn ring_sizes(of_every: bool) -> &'static [usize] {
    match of_every {
        true => &RING_PAGES_OF_EVERY,
        false => &RING_PAGES,
    }
}

/// Pages that a ring may have, of so many. The kernel counts them against what a user may lock, where io_uring and
/// others look as well, of all of the user's processes: each takes a small part of it. `None`: not even the
/// smallest rings are that.
fn most_ring_pages(rings: usize, locked_limit_bytes: u64, sizes: &[usize]) -> Option<usize> {
    let room_pages = locked_limit_bytes / LOCKED_SHARE / PAGE_BYTES as u64;
    let each = usize::try_from(room_pages).unwrap_or(usize::MAX) / rings.max(1);
    // Beside its pages a ring has one that says how far it is.
    let most = MOST_PAGES_OF_EVERY / rings.div_ceil(2).max(1);
    let may = |pages: &usize| *pages < each && (*pages <= most || RING_PAGES.contains(pages));
    let mut sizes = sizes.iter().chain(&RING_PAGES).copied();
    sizes.find(may)
}

/// What this process may lock; all that there is, if the limit does not hold for it.
fn locked_limit_bytes() -> u64 {
    match sys::geteuid() {
        0 => u64::MAX,
        _ => system::locked_limit_bytes().unwrap_or(u64::MAX),
    }
}

fn map_ring(fd: i32, most: usize, of_every: bool) -> sys::Result<Ring> {
    let mut last = Err(Errno::ENOMEM);
    let sizes = ring_sizes(of_every).iter().chain(&RING_PAGES);
    for pages in sizes.filter(|pages| **pages <= most) {
        last = Ring::map(fd, *pages);
        if last.is_ok() {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_leave_what_a_user_may_lock_to_others() {
        assert_eq!(most_ring_pages(4, u64::MAX, &RING_PAGES), Some(16));
        // 8 MiB: 256 KiB are 16 pages for each of four rings, one of which is the header.
        assert_eq!(most_ring_pages(4, 8 << 20, &RING_PAGES), Some(8));
        assert_eq!(most_ring_pages(32, 8 << 20, &RING_PAGES), Some(1));
        assert_eq!(most_ring_pages(34, 8 << 20, &RING_PAGES), None);
        assert_eq!(most_ring_pages(4, 64 << 10, &RING_PAGES), None);
        // Where each fault is sampled rings are larger, if there is room.
        let of_every = |limit| most_ring_pages(4, limit, ring_sizes(true));
        assert_eq!(of_every(u64::MAX), Some(2048));
        let many = most_ring_pages(128, u64::MAX, ring_sizes(true));
        assert_eq!(many, Some(256));
        assert_eq!(of_every(256 << 20), Some(256));
        assert_eq!(of_every(8 << 20), Some(8));
        for (rings, limit) in [(2, 1 << 20), (4, 3 << 20), (16, 20 << 20), (128, 1 << 28)] {
            let pages = most_ring_pages(rings, limit, &RING_PAGES).map_or(0, |pages| pages + 1);
            assert!((rings * pages * PAGE_BYTES) as u64 <= limit / LOCKED_SHARE);
        }
    }
}
