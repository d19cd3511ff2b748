//! Owns the scan itself: passes over all memory, of which each can only reach more blocks.
//!
//! One pass over memory that changes may miss a pointer that moves from where the pass has yet to
//! look to where it has looked. What nothing points to is missed by every pass; a block counts as
//! lost only if it is older than the first pass and no pass reaches it. The first pass follows every
//! pointer. Later ones read the same memory and all blocks reached so far in order of address, and
//! look for the rest alone. They end when there is none left, when a pass was made while no thread
//! ran at all, or when enough of them in a row have reached nothing more.

use leaktrack_recording::control::{ScanPhase, ScanProgress};

use super::fork;
use super::index::BlockIndex;
use super::mark::{Marker, Marks, State};
use super::memory::{Limits, Memory, Stop};
use super::regions::Region;
use super::room::Room;
use super::roots::{self, Roots};
use super::strays::Strays;
use super::threads::{self, Thread};
use super::{
    Failure, INTERRUPTED, NO_MAPS, NO_MEMORY, Notes, Order, Outcome, RESTLESS, SWAP_BYTES, SWAPPED,
    Scanned, Way, every_block_is_known, kernel, regions, stacks, young,
};
use crate::arena::AVec;
use crate::live::{Block, Calm, LiveTable};
use crate::state::{self, LIVE};
use crate::{helper, sites, sys};

/// Passes in a row that reach nothing more. A pointer that moves all the time between two places is
/// missed by a pass with a chance of 1/4; by these and the first one once in a million scans. Where
/// one is found others may follow, such as the rest of a list: counting begins anew.
const VAIN_PASSES: u32 = 9;
/// Passes after which it is given up.
const MOST_PASSES: u32 = 200;
/// Passes in which blocks that are possibly lost are looked for, too: the pointer to the start of one
/// may have moved while one into it was found.
const POSSIBLE_PASSES: u32 = 3;
/// Between the beginning of the first epoch of young blocks and the first pass: a thread that read
/// the clock before records its block meanwhile.
const SETTLE_MS: u64 = 5;
/// A look at the live table takes as long as so many looks at what is known of a block.
const LOOK_UP_STEPS: usize = 32;
/// At the end of the process: roots and blocks up to which odd words are looked at.
const ODD_BYTES: u64 = 256 << 20;

/// See the module.
pub(super) struct Scan<'o> {
    order: &'o Order,
    memory: Memory,
    index: BlockIndex,
    strays: Strays,
    /// Sites when the index was made.
    sites: u32,
    lower_bound: bool,
    /// Bytes of roots in the last pass.
    root_bytes: u64,
    /// No thread ran during the last pass: it was exact.
    still: bool,
}

/// What a pass begins with.
struct Setting {
    regions: AVec<Region>,
    threads: AVec<Thread>,
    roots: Roots,
}

/// Scans.
pub(super) fn scan(order: &Order) -> Scanned {
    let mut notes = Notes {
        lower_bound: !every_block_is_known(),
        ..Notes::default()
    };
    let found = try_scan(order, &mut notes).map_err(|Failure(why)| why);
    Scanned {
        found,
        lower_bound: notes.lower_bound,
        unread_threads: notes.unread_threads,
        hidden: notes.hidden,
        passes: notes.passes,
    }
}

fn try_scan(order: &Order, notes: &mut Notes) -> Result<Outcome, Failure> {
    super::check_permits()?;
    if LIVE.is_empty() {
        // Nothing can be lost: memory need not be read.
        return Ok(Outcome::of_nothing());
    }
    super::check_room(order.way)?;
    let now_ns = sys::clock_ns(sys::clock::MONOTONIC);
    let limits = Limits {
        deadline_ns: now_ns.saturating_add(order.limit_ms.saturating_mul(1_000_000)),
        interrupted: order.interrupted,
        swap_bytes: SWAP_BYTES,
        pace: order.pace,
    };
    let mut memory = Memory::new(limits).ok_or(Failure(NO_MEMORY))?;
    if order.way != Way::AtEnd {
        memory.rest(SETTLE_MS)?;
    }
    let tell = |phase, pass, left| {
        (order.progress)(ScanProgress {
            phase,
            pass,
            left: u32::try_from(left).unwrap_or(u32::MAX),
        });
    };
    tell(ScanPhase::Listing, 0, 0);
    let sites = sites::len();
    let index = BlockIndex::build(&LIVE, &mut || memory.rest(0))?;
    let strays = Strays::default();
    let mut marks = Marks::new(index.len()).ok_or(Failure(NO_MEMORY))?;
    let mut scan = Scan {
        order,
        memory,
        index,
        strays,
        sites,
        lower_bound: notes.lower_bound,
        root_bytes: 0,
        still: false,
    };
    tell(ScanPhase::Passing, 1, scan.blocks());
    if order.way == Way::InCopy {
        marks = fork::first_pass(&mut scan, marks, notes)?;
    } else {
        let setting = scan.setting()?;
        marks = scan.pass(marks, setting, notes, false)?;
    }
    notes.passes = 1;
    let mut vain = 0;
    let mut left = scan.count(&marks, State::Unreached)?;
    while left > 0 || (notes.passes < POSSIBLE_PASSES && scan.count(&marks, State::Possible)? > 0) {
        // Asked after a pass: what it did not know of may have held something all through it.
        if scan.knows_fewer() {
            vain = 0;
            scan.still = false;
        }
        let last = scan.still || vain >= VAIN_PASSES;
        if notes.passes == POSSIBLE_PASSES || (last && notes.passes < POSSIBLE_PASSES) {
            marks = scan.odd_words(marks)?;
        }
        if last {
            break;
        }
        if notes.passes >= MOST_PASSES || scan.is_late(now_ns) {
            return Err(Failure(RESTLESS));
        }
        tell(ScanPhase::Passing, notes.passes + 1, left);
        if order.way != Way::AtEnd {
            scan.memory.rest(order.apart_ms)?;
        }
        scan.let_go_of_freed(&mut marks, &LIVE)?;
        let before = scan.count(&marks, State::Unreached)?;
        let setting = scan.setting()?;
        marks = scan.pass(marks, setting, notes, false)?;
        notes.passes += 1;
        left = scan.count(&marks, State::Unreached)?;
        vain = if left < before { 0 } else { vain + 1 };
    }
    notes.lower_bound = scan.lower_bound;
    tell(ScanPhase::Judging, notes.passes, left);
    scan.judge(marks, notes)
}

impl Scan<'_> {
    /// At the end of the process somebody waits: half of the time must be enough for the passes.
    fn is_late(&self, began_ns: u64) -> bool {
        let passed_ns = sys::clock_ns(sys::clock::MONOTONIC).saturating_sub(began_ns);
        self.order.way == Way::AtEnd && passed_ns / 500_000 >= self.order.limit_ms
    }

    /// True if not every live block is known any more: from now on free memory counts as roots, too.
    fn knows_fewer(&mut self) -> bool {
        let knows_fewer = !self.lower_bound && !every_block_is_known();
        self.lower_bound |= knows_fewer;
        knows_fewer
    }

    /// Where pointers may be at this moment.
    fn setting(&mut self) -> Result<Setting, Failure> {
        let threads = threads::read(helper::tid(), &self.order.caller).ok_or(Failure(NO_MAPS))?;
        self.setting_of(threads)
    }

    fn setting_of(&mut self, threads: AVec<Thread>) -> Result<Setting, Failure> {
        let regions = regions::read().ok_or(Failure(NO_MAPS))?;
        let roots = roots::find(
            regions.as_slice(),
            threads.as_slice(),
            &self.index,
            &mut self.memory,
            self.lower_bound,
            self.order.own_file,
        )?
        .ok_or(Failure(NO_MEMORY))?;
        Ok(Setting {
            regions,
            threads,
            roots,
        })
    }

    /// The pass in a copy of the process in which nothing moves; `memory` is the copy's.
    pub(super) fn pass_in_copy(
        &mut self,
        memory: Memory,
        marks: Marks,
        threads: AVec<Thread>,
        notes: &mut Notes,
    ) -> Result<Marks, Failure> {
        self.memory = memory;
        let setting = self.setting_of(threads)?;
        self.pass(marks, setting, notes, true)
    }

    /// Goes through all memory once. `frozen`: nothing changes meanwhile.
    fn pass(
        &mut self,
        marks: Marks,
        mut setting: Setting,
        notes: &mut Notes,
        frozen: bool,
    ) -> Result<Marks, Failure> {
        let first = notes.passes == 0;
        self.memory.forget();
        self.index.note_usable(setting.roots.heaps.take());
        self.memory.note_touched(&mut self.index)?;
        let possible = notes.passes < POSSIBLE_PASSES;
        self.want(&marks, |state| match state {
            State::Unreached => !first,
            State::Possible => !first && possible,
            State::Reachable | State::Indirect => false,
        })?;
        let Setting {
            regions,
            threads,
            roots,
        } = setting;
        // What hides in registers does so in every pass.
        if first || roots.hidden < notes.hidden {
            notes.hidden = roots.hidden;
            notes.unread_threads = roots.unread_threads;
        }
        let marker = Marker::new(&self.index, regions.as_slice(), marks, !first);
        let mut marker = marker.ok_or(Failure(NO_MEMORY))?;
        let memory = &mut self.memory;
        marker.roots_alone(roots.words.as_slice());
        let mut root_bytes = 0;
        for range in roots.ranges.as_slice() {
            memory.each(range.start, range.end, range.manner, &mut |_, words| {
                root_bytes += size_of_val(words) as u64;
                marker.roots(words);
            })?;
            marker.follow(memory)?;
        }
        self.root_bytes = root_bytes;
        if !first {
            marker.held_blocks(memory)?;
        }
        // Where free memory counts, so do young blocks.
        if !self.lower_bound {
            let epoch = self.order.epoch;
            if !young::mark(&LIVE, epoch, &mut marker, memory)?
                || !self.strays.mark(&LIVE, epoch, &mut marker, memory)?
            {
                return Err(Failure(NO_MEMORY));
            }
        }
        if !frozen {
            let now = threads::read(helper::tid(), &self.order.caller).ok_or(Failure(NO_MAPS))?;
            let mapped = regions::read().ok_or(Failure(NO_MAPS))?;
            let (mapped, before, now) = (mapped.as_slice(), threads.as_slice(), now.as_slice());
            stacks::woken(mapped, before, now, memory, &mut |words| {
                marker.roots(words);
            })?;
            self.still = threads::nobody_ran(before, now);
        }
        marker.follow(memory)?;
        if memory.skipped_bytes > 0 {
            return Err(Failure(SWAPPED));
        }
        Ok(marker.into_marks())
    }

    /// Blocks that were freed are looked for no longer: their addresses are given to others, whose
    /// pointers would seem to reach one more all the time.
    fn let_go_of_freed(&mut self, marks: &mut Marks, table: &LiveTable) -> Result<(), Failure> {
        let mut looks = Looks::new(table);
        for at in 0..self.index.len() as u32 {
            looks.rest(&mut self.memory)?;
            if marks.state(at) == State::Unreached
                && let Some((addr, block)) = self.index.block(at)
                && !is_the_same(looks.get(addr), &block)
            {
                marks.hold(at);
            }
        }
        Ok(())
    }

    /// Looks for blocks that are held so, and for no others.
    fn want(&mut self, marks: &Marks, which: impl Fn(State) -> bool) -> Result<(), Failure> {
        self.index
            .want_none(&mut |count| self.memory.steps(count))?;
        for at in 0..self.index.len() as u32 {
            self.memory.steps(1)?;
            if which(marks.state(at)) {
                self.index.want(at);
            }
        }
        Ok(())
    }

    /// Number of blocks that are held so.
    fn count(&mut self, marks: &Marks, state: State) -> Result<usize, Failure> {
        Ok(marks.count(state, &mut self.memory)?)
    }

    /// Looks for the rest at odd addresses.
    fn odd_words(&mut self, marks: Marks) -> Result<Marks, Failure> {
        if self.order.way == Way::AtEnd && self.root_bytes + self.index.bytes() > ODD_BYTES {
            return Ok(marks);
        }
        self.want(&marks, |state| state == State::Unreached)?;
        let Setting { regions, roots, .. } = self.setting()?;
        let marker = Marker::new(&self.index, regions.as_slice(), marks, true);
        let mut marker = marker.ok_or(Failure(NO_MEMORY))?;
        for range in roots.ranges.as_slice() {
            self.memory
                .each(range.start, range.end, range.manner, &mut |_, words| {
                    marker.odd_roots(words);
                })?;
        }
        marker.odd_blocks(&mut self.memory)?;
        Ok(marker.into_marks())
    }

    /// Says of what no pass has reached how it is lost.
    fn judge(mut self, marks: Marks, notes: &mut Notes) -> Result<Outcome, Failure> {
        if (self.order.interrupted)() {
            return Err(Failure(INTERRUPTED));
        }
        let regions = regions::read().ok_or(Failure(NO_MAPS))?;
        let marker = Marker::new(&self.index, regions.as_slice(), marks, false);
        let mut marker = marker.ok_or(Failure(NO_MEMORY))?;
        let memory = &mut self.memory;
        if self.order.way != Way::AtEnd {
            memory.forget();
        }
        // Who was freed meanwhile, or grown, was held; who is that young may be.
        let mut looks = Looks::new(&LIVE);
        for at in 0..self.index.len() as u32 {
            looks.rest(memory)?;
            if marker.is_unreached(at)
                && let Some((addr, block)) = self.index.block(at)
                && (block.epoch > self.order.epoch || !is_the_same(looks.get(addr), &block))
            {
                marker.root_block(at);
            }
        }
        drop(looks);
        if !self.lower_bound {
            let epoch = self.order.epoch;
            if !self.strays.mark(&LIVE, epoch, &mut marker, memory)? {
                return Err(Failure(NO_MEMORY));
            }
        }
        if marker.has_unreached(memory)? {
            let threads =
                threads::read(helper::tid(), &self.order.caller).ok_or(Failure(NO_MAPS))?;
            kernel::each_word(threads.as_slice(), |word| marker.roots_alone(&[word]));
        }
        marker.follow(memory)?;
        marker.lose_rest(memory)?;
        if notes.hidden > 0 {
            let mut excused = Room::zeroed(self.sites as usize + 1).ok_or(Failure(NO_MEMORY))?;
            marker.excuse_hidden(notes.hidden, &mut excused, memory)?;
        }
        let marks = marker.into_marks();
        let inherited = state::fork_epoch();
        Outcome::count(&self.index, &marks, self.sites, inherited, memory)?
            .ok_or(Failure(NO_MEMORY))
    }

    /// Number of blocks in the index.
    pub(super) fn blocks(&self) -> usize {
        self.index.len()
    }

    /// See there.
    pub(super) fn order(&self) -> &Order {
        self.order
    }

    /// As [`Memory::rest`].
    pub(super) fn rest(&mut self, ms: u64) -> Result<(), Failure> {
        Ok(self.memory.rest(ms)?)
    }
}

/// Looks blocks up, many at a time while the table is calm.
struct Looks<'a> {
    table: &'a LiveTable,
    calm: Option<Calm<'a>>,
    /// Blocks gone by, and looked up, since the table was left to others.
    steps: usize,
}

impl<'a> Looks<'a> {
    /// Blocks that go by before the table is left to others.
    const MOST_STEPS: usize = 512 * LOOK_UP_STEPS;

    fn new(table: &'a LiveTable) -> Looks<'a> {
        Looks {
            table,
            calm: None,
            steps: 0,
        }
    }

    fn get(&mut self, addr: usize) -> Option<Block> {
        self.steps += LOOK_UP_STEPS;
        if self.calm.is_none() {
            self.calm = Some(self.table.hush());
        }
        self.table.get(addr)
    }

    /// Between blocks: rests where it is time for it.
    #[inline(always)]
    fn rest(&mut self, memory: &mut Memory) -> Result<(), Stop> {
        self.steps += 1;
        if self.steps < Self::MOST_STEPS {
            return Ok(());
        }
        self.calm = None;
        memory.steps(core::mem::take(&mut self.steps))
    }
}

/// True if a block is still the one that the index knows: born in the same epoch, which was over
/// when the index was made.
fn is_the_same(now: Option<Block>, then: &Block) -> bool {
    now.is_some_and(|now| (now.epoch, now.site) == (then.epoch, then.site))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Caller;
    use crate::scan::memory::REST_STEPS;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    static LOOKS: AtomicUsize = AtomicUsize::new(0);

    /// How often it was looked whether there is to be a rest.
    fn looks(of: impl FnOnce()) -> usize {
        LOOKS.store(0, Relaxed);
        of();
        LOOKS.load(Relaxed)
    }

    #[test]
    fn steps_that_go_through_all_blocks_rest_on_the_way() {
        static TABLE: LiveTable = LiveTable::new();
        const MANY: usize = 1 << 20;
        const SITE: u32 = 3;
        let order = Order {
            way: Way::InPlace,
            limit_ms: 60_000,
            apart_ms: 0,
            pace: None,
            caller: Caller::NOBODY,
            interrupted: || false,
            progress: |_| (),
            own_file: None,
            epoch: 2,
        };
        let limits = Limits {
            deadline_ns: u64::MAX,
            interrupted: || {
                LOOKS.fetch_add(1, Relaxed);
                false
            },
            swap_bytes: 0,
            pace: None,
        };
        for n in 0..MANY {
            let block = Block {
                size: 48,
                site: SITE,
                epoch: 2,
                class: 0,
            };
            let _ = TABLE.insert(0x10_0000_0000 + n * 64, block);
        }
        let mut scan = Scan {
            order: &order,
            memory: Memory::new(limits).expect("memory"),
            index: BlockIndex::build(&TABLE, &mut || Ok(())).unwrap_or_else(|_| panic!("memory")),
            strays: Strays::default(),
            sites: SITE,
            lower_bound: false,
            root_bytes: 0,
            still: false,
        };
        let often = MANY / (2 * REST_STEPS);
        let mut marks = Marks::new(MANY).expect("memory");
        let expect = |what: &str, looks: usize| {
            assert!(looks >= often, "{what}: {looks} looks, not {often}");
        };
        let of = looks(|| assert!(scan.let_go_of_freed(&mut marks, &TABLE).is_ok()));
        expect("freed", of / LOOK_UP_STEPS);
        let of = looks(|| {
            let count = scan.count(&marks, State::Unreached);
            assert!(count.is_ok_and(|count| count == MANY));
        });
        expect("counted", of);
        let of = looks(|| assert!(scan.want(&marks, |_| true).is_ok()));
        expect("looked for", of);
        let of = looks(|| {
            let memory = &mut scan.memory;
            assert_eq!(scan.strays.look(&TABLE, 2, &scan.index, memory), Ok(true));
        });
        expect("strays", of);
        let marker = Marker::new(&scan.index, &[], marks, false);
        let mut marker = marker.expect("memory");
        let of = looks(|| {
            let memory = &mut scan.memory;
            assert_eq!(young::mark(&TABLE, 2, &mut marker, memory), Ok(true));
        });
        expect("young", of);
        let of = looks(|| assert_eq!(marker.held_blocks(&mut scan.memory), Ok(())));
        expect("held", of);
        let of = looks(|| assert_eq!(marker.odd_blocks(&mut scan.memory), Ok(())));
        expect("odd", of);
        let of = looks(|| assert_eq!(marker.lose_rest(&mut scan.memory), Ok(())));
        expect("lost", of);
        let of = looks(|| {
            let mut excused = Room::zeroed(SITE as usize + 1).expect("memory");
            let memory = &mut scan.memory;
            assert_eq!(marker.excuse_hidden(1, &mut excused, memory), Ok(()));
        });
        expect("excused", of);
        let marks = marker.into_marks();
        let of = looks(|| {
            let memory = &mut scan.memory;
            let outcome = Outcome::count(&scan.index, &marks, SITE, 0, memory);
            let outcome = outcome.expect("no end").expect("memory");
            assert_eq!(outcome.lost().0, MANY as u64 - 1);
        });
        expect("outcome", of);
    }
}
