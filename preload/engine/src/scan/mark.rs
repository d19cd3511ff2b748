//! Owns [`Marker`]: which blocks are reached, how, and which are lost with which.
//!
//! The kinds are valgrind's. From the roots: a pointer to a block's start makes it reachable, a
//! pointer into it makes it possibly lost at least, and so does any pointer out of a block that is
//! possibly lost. What is left is lost; in order of address each lost block takes those with it
//! that it leads to (indirectly lost), also such as had seemed to be the first of their own.
//!
//! The stack of blocks to look into is bounded. What does not fit is flagged, and found again by
//! walking the flags.

use super::heuristics;
use super::index::{Aim, BlockIndex, Hit, LARGE_BYTES};
use super::memory::{MOST_PIECE_BYTES, MOST_PIECES, Manner, Memory, Piece, Stop};
use super::regions::{self, Region};
use super::room::Room;
use super::x86_64::prefetch;
use crate::arena::PAGE_BYTES;

/// How a block is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not reached: definitely lost, once all is done.
    Unreached = 0,
    /// Only by pointers into it, or from such blocks.
    Possible = 1,
    /// From the roots, start by start.
    Reachable = 2,
    /// Only from lost blocks.
    Indirect = 3,
}

const STATE: u8 = 3;
/// It did not fit on the stack.
const PENDING: u8 = 4;
/// Its words were looked at, for the state it is in.
const SEEN: u8 = 8;
/// The heuristics were tried for a pointer to its second, or fourth, word.
const TRIED_8: u8 = 16;
const TRIED_24: u8 = 32;

/// A block on the stack: its number, and how far into it the pointer led that is still to be judged
/// by the heuristics (0: none).
const OFFSET_BITS: u32 = 32;
/// Blocks up to this size are read together with others.
const BATCH_BLOCK_BYTES: usize = 4 * PAGE_BYTES;
/// Blocks on the stack at most.
const STACK_BLOCKS: usize = 1 << 20;

/// Words that are looked up together.
const AIMS: usize = 32;

/// What a word that leads to a block does to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// From the roots.
    Reach,
    /// From this lost block.
    Lose(u32),
    /// From lost blocks that a register may hold: whatever they lead to is possibly lost.
    Excuse,
}

/// What is known of each block of an index: kept from one pass over memory to the next.
pub struct Marks(Room<u8>);

impl Marks {
    /// Nothing is reached; `None` without memory.
    pub fn new(blocks: usize) -> Option<Marks> {
        Some(Marks(Room::zeroed(blocks)?))
    }

    /// How a block is held.
    #[inline(always)]
    pub fn state(&self, at: u32) -> State {
        match self.0.get(at as usize).unwrap_or(0) & STATE {
            0 => State::Unreached,
            1 => State::Possible,
            2 => State::Reachable,
            _ => State::Indirect,
        }
    }

    /// Number of blocks that are held so.
    pub fn count(&self, state: State, memory: &mut Memory) -> Result<usize, Stop> {
        let mut count = 0;
        for marks in self.0.as_slice().chunks(PAGE_BYTES) {
            let here = marks.iter().filter(|mark| **mark & STATE == state as u8);
            count += here.count();
            memory.steps(marks.len())?;
        }
        Ok(count)
    }

    /// A block of which it turned out that somebody held it; later passes read it.
    pub fn hold(&mut self, at: u32) {
        if let Some(mark) = self.0.as_mut_slice().get_mut(at as usize) {
            *mark = *mark & !STATE | State::Reachable as u8;
        }
    }

    /// Takes over what a copy of the process has marked, a byte for each block.
    pub fn take_from(&mut self, marks: &[u8]) {
        for (to, from) in self.0.as_mut_slice().iter_mut().zip(marks) {
            *to = *from;
        }
    }

    /// Writes a byte for each block.
    ///
    /// # Safety
    /// There is room for them, which nobody else uses.
    pub unsafe fn copy_to(&self, to: *mut u8) {
        let from = self.0.as_slice();
        // SAFETY: the caller's promise.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) }
    }
}

/// See the module.
pub struct Marker<'a> {
    index: &'a BlockIndex,
    regions: &'a [Region],
    marks: Marks,
    stack: Room<u64>,
    overflowed: bool,
    mode: Mode,
    /// Only blocks that are looked for count.
    wanted: bool,
    /// Words on their way to a block, and whether they hold what they point to for certain.
    aims: [(Aim, bool); AIMS],
    aimed: usize,
}

impl<'a> Marker<'a> {
    /// Goes on from what is known. `wanted`: blocks that are not looked for
    /// ([`BlockIndex::want`]) stay as they are. `None` without memory.
    pub fn new(
        index: &'a BlockIndex,
        regions: &'a [Region],
        marks: Marks,
        wanted: bool,
    ) -> Option<Marker<'a>> {
        Some(Marker {
            index,
            regions,
            marks,
            stack: Room::of(STACK_BLOCKS.min(index.len() + 64))?,
            overflowed: false,
            mode: Mode::Reach,
            wanted,
            aims: [(Aim::default(), false); AIMS],
            aimed: 0,
        })
    }

    /// What is known by now.
    pub fn into_marks(self) -> Marks {
        self.marks
    }

    /// The blocks that are marked.
    pub fn index(&self) -> &'a BlockIndex {
        self.index
    }

    /// Bytes from an address on up to the next block that the index knows, or the end of the mapping.
    pub fn most_bytes_at(&self, addr: usize) -> usize {
        let next = self
            .index
            .block(self.index.first_from(addr.saturating_add(8)));
        let end = regions::at(self.regions, addr).map_or(addr, |region| region.end);
        let end = next.map_or(end, |(start, _)| start.min(end));
        end.saturating_sub(addr)
    }

    /// How a block is held.
    #[inline(always)]
    pub fn state(&self, at: u32) -> State {
        self.marks.state(at)
    }

    fn set(&mut self, at: u32, state: State) {
        self.change(at, |mark| mark & !(STATE | SEEN) | state as u8);
    }

    /// Changes what is known of a block; what was known before.
    #[inline(always)]
    fn change(&mut self, at: u32, f: impl FnOnce(u8) -> u8) -> u8 {
        let Some(mark) = self.marks.0.as_mut_slice().get_mut(at as usize) else {
            return 0;
        };
        core::mem::replace(mark, f(*mark))
    }

    fn push(&mut self, at: u32, offset: u64) {
        let offset = u64::from(u32::try_from(offset).unwrap_or(0));
        if !self.stack.push(u64::from(at) << OFFSET_BITS | offset) {
            self.change(at, |mark| mark | PENDING);
            self.overflowed = true;
        }
    }

    /// Roots that are single words.
    pub fn roots_alone(&mut self, words: &[usize]) {
        for &word in words {
            self.point(word, true);
        }
        self.settle();
    }

    /// True if nothing has led to a block yet.
    pub fn is_unreached(&self, at: u32) -> bool {
        self.state(at) == State::Unreached
    }

    /// True if nothing has led to some block yet.
    pub fn has_unreached(&self, memory: &mut Memory) -> Result<bool, Stop> {
        Ok(self.marks.count(State::Unreached, memory)? > 0)
    }

    /// A block of which it turned out that somebody holds it.
    pub fn root_block(&mut self, at: u32) {
        if self.state(at) != State::Reachable {
            self.set(at, State::Reachable);
            self.push(at, 0);
        }
    }

    /// Reads the blocks that were reached before once more, in order of address: they may hold what
    /// was not in them then.
    pub fn held_blocks(&mut self, memory: &mut Memory) -> Result<(), Stop> {
        let index = self.index;
        for at in 0..index.len() as u32 {
            memory.steps(1)?;
            let definite = match self.state(at) {
                State::Reachable => true,
                State::Possible => false,
                State::Unreached | State::Indirect => continue,
            };
            let Some((addr, bytes)) = index.extent(at) else {
                break;
            };
            each_word(addr, bytes, index, memory, &mut |words| {
                for &word in words {
                    self.point(word as usize, definite);
                }
            })?;
            if !self.stack.is_empty() {
                self.empty_stack(memory)?;
            }
        }
        self.settle();
        self.follow(memory)
    }

    /// Roots in a row.
    pub fn roots(&mut self, words: &[u64]) {
        for &word in words {
            self.point(word as usize, true);
        }
        self.settle();
    }

    /// Notes a word, which takes effect with [`Marker::settle`] or before.
    #[inline(always)]
    fn point(&mut self, word: usize, definite: bool) {
        if self.index.may_point(word) {
            self.aim(word, definite);
        }
    }

    fn aim(&mut self, word: usize, definite: bool) {
        let Some(aim) = self.index.aim(word, self.wanted) else {
            return;
        };
        if let Some(place) = self.aims.get_mut(self.aimed) {
            *place = (aim, definite);
            self.aimed += 1;
        }
        if self.aimed == AIMS {
            self.settle();
        }
    }

    /// Looks up the words that were noted: step by step for all of them, since each step waits for
    /// memory.
    fn settle(&mut self) {
        let mut count = core::mem::take(&mut self.aimed);
        if self.wanted {
            let all = core::mem::take(&mut count);
            for at in 0..all {
                if let Some(&aimed) = self.aims.get(at)
                    && self.index.is_wanted(&aimed.0)
                    && let Some(place) = self.aims.get_mut(count)
                {
                    *place = aimed;
                    count += 1;
                }
            }
        }
        for (aim, _) in self.aims.iter_mut().take(count) {
            self.index.narrow(aim);
        }
        let mut hits = [None; AIMS];
        for (to, (aim, definite)) in hits.iter_mut().zip(&self.aims).take(count) {
            *to = self.index.hit(aim).map(|hit| (hit, *definite));
            if let Some((hit, _)) = to {
                prefetch(
                    self.marks
                        .0
                        .as_slice()
                        .as_ptr()
                        .wrapping_add(hit.block as usize),
                );
            }
        }
        for (hit, definite) in hits.into_iter().take(count).flatten() {
            match self.mode {
                Mode::Reach => self.reach(hit, definite),
                Mode::Lose(first) => self.lose(hit.block, first),
                Mode::Excuse => self.excuse(hit.block),
            }
        }
    }

    fn reach(&mut self, hit: Hit, definite: bool) {
        let Hit { block, offset } = hit;
        let judged = if definite { offset } else { 0 };
        match (self.state(block), offset == 0 && definite) {
            (State::Reachable | State::Indirect, _) => {}
            (State::Unreached | State::Possible, true) => {
                self.set(block, State::Reachable);
                self.push(block, 0);
            }
            (State::Unreached, false) => {
                self.set(block, State::Possible);
                self.try_once(block, judged);
                self.push(block, judged);
            }
            (State::Possible, false) => {
                if judged != 0 && self.try_once(block, judged) {
                    self.push(block, judged);
                }
            }
        }
    }

    /// False if the heuristics were already tried for this offset.
    fn try_once(&mut self, block: u32, offset: u64) -> bool {
        let tried = match offset {
            8 => TRIED_8,
            24 => TRIED_24,
            _ => return offset.is_multiple_of(8),
        };
        self.change(block, |mark| mark | tried) & tried == 0
    }

    fn lose(&mut self, block: u32, first: u32) {
        if self.state(block) == State::Unreached && block != first {
            let seen = self.marks.0.get(block as usize).unwrap_or(0) & SEEN;
            self.set(block, State::Indirect);
            // One that took others with it before has nothing more to add.
            self.change(block, |mark| mark | seen);
            if seen == 0 {
                self.push(block, 0);
            }
        }
    }

    fn excuse(&mut self, block: u32) {
        if matches!(self.state(block), State::Unreached | State::Indirect) {
            self.set(block, State::Possible);
            self.push(block, 0);
        }
    }

    /// Follows all blocks that were put on the stack, and what they lead to.
    pub fn follow(&mut self, memory: &mut Memory) -> Result<(), Stop> {
        self.empty_stack(memory)?;
        while core::mem::take(&mut self.overflowed) {
            for at in 0..self.index.len() as u32 {
                memory.steps(1)?;
                if self.marks.0.get(at as usize).unwrap_or(0) & PENDING != 0 {
                    self.change(at, |mark| mark & !PENDING);
                    self.look_into(at, 0, memory)?;
                    self.empty_stack(memory)?;
                }
            }
        }
        Ok(())
    }

    fn empty_stack(&mut self, memory: &mut Memory) -> Result<(), Stop> {
        loop {
            let mut pieces = [Piece::default(); MOST_PIECES];
            let (mut count, mut bytes) = (0, 0);
            // A block of four pages at most, so that all of its pieces fit.
            while count + 5 <= MOST_PIECES && bytes + BATCH_BLOCK_BYTES <= MOST_PIECE_BYTES {
                let Some(top) = self.stack.pop() else { break };
                let offset = top & ((1 << OFFSET_BITS) - 1);
                let at = (top >> OFFSET_BITS) as u32;
                let Some((addr, size)) = self.open(at, offset, memory)? else {
                    continue;
                };
                if size as usize > BATCH_BLOCK_BYTES {
                    self.read_block(at, addr, size, memory)?;
                    continue;
                }
                self.split(at, addr, size, |piece| {
                    if let Some(place) = pieces.get_mut(count) {
                        *place = piece;
                        count += 1;
                        bytes += piece.bytes;
                    }
                });
            }
            if count == 0 {
                if self.stack.is_empty() {
                    return Ok(());
                }
                continue;
            }
            let pieces = pieces.get(..count).unwrap_or_default();
            let mut words = memory.gather(pieces)?;
            for piece in pieces {
                let (own, rest) = words.split_at_checked(piece.bytes / 8).unwrap_or_default();
                let definite = self.state(piece.block) == State::Reachable;
                for &word in own {
                    self.point(word as usize, definite);
                }
                words = rest;
            }
            self.settle();
        }
    }

    /// Shows the parts of a block that lie in touched pages.
    fn split(&self, block: u32, addr: usize, size: u64, mut show: impl FnMut(Piece)) {
        let (mut from, end) = (addr, addr + (size as usize & !7));
        while from < end {
            let page = from & !(PAGE_BYTES - 1);
            let mut to = page + PAGE_BYTES;
            if self.index.is_touched(page) {
                while to < end && self.index.is_touched(to) {
                    to += PAGE_BYTES;
                }
                let bytes = to.min(end) - from;
                show(Piece {
                    addr: from,
                    bytes,
                    block,
                });
            }
            from = to;
        }
    }

    fn look_into(&mut self, at: u32, offset: u64, memory: &mut Memory) -> Result<(), Stop> {
        match self.open(at, offset, memory)? {
            Some((addr, size)) => self.read_block(at, addr, size, memory),
            None => Ok(()),
        }
    }

    /// Judges a pointer into a block; address and size if the block is to be read now.
    fn open(
        &mut self,
        at: u32,
        offset: u64,
        memory: &mut Memory,
    ) -> Result<Option<(usize, u64)>, Stop> {
        let Some((addr, block)) = self.index.block(at) else {
            return Ok(None);
        };
        if offset != 0
            && self.state(at) == State::Possible
            && heuristics::holds(addr, block.size, offset, self.index, self.regions, memory)?
        {
            self.set(at, State::Reachable);
        }
        let seen = self.change(at, |mark| mark | SEEN) & SEEN != 0;
        Ok(self.index.extent(at).filter(|_| !seen))
    }

    fn read_block(
        &mut self,
        at: u32,
        addr: usize,
        size: u64,
        memory: &mut Memory,
    ) -> Result<(), Stop> {
        let definite = self.state(at) == State::Reachable;
        let index = self.index;
        each_word(addr, size, index, memory, &mut |words| {
            for &word in words {
                self.point(word as usize, definite);
            }
        })?;
        self.settle();
        Ok(())
    }

    /// Looks at the words of a root that do not begin at a multiple of eight: packed structures hold
    /// such pointers. Only starts of blocks that are looked for count, and make a block possibly
    /// lost.
    pub fn odd_roots(&mut self, words: &[u64]) {
        for two in words.windows(2) {
            let [low, high] = two else { continue };
            for shift in [8, 16, 24, 32, 40, 48, 56] {
                let word = (low >> shift | high << (64 - shift)) as usize;
                if word.is_multiple_of(8)
                    && let Some(Hit { block, offset: 0 }) = self.index.find_wanted(word)
                    && self.state(block) == State::Unreached
                {
                    self.set(block, State::Possible);
                    self.push(block, 0);
                }
            }
        }
    }

    /// The same for all blocks reached so far.
    pub fn odd_blocks(&mut self, memory: &mut Memory) -> Result<(), Stop> {
        let index = self.index;
        for at in 0..index.len() as u32 {
            memory.steps(1)?;
            if matches!(self.state(at), State::Reachable | State::Possible)
                && let Some((addr, bytes)) = index.extent(at)
            {
                each_word(addr, bytes, index, memory, &mut |words| {
                    self.odd_roots(words)
                })?;
            }
        }
        self.follow(memory)
    }

    /// Sorts what was not reached into blocks that are lost themselves and those lost with them.
    pub fn lose_rest(&mut self, memory: &mut Memory) -> Result<(), Stop> {
        for at in 0..self.index.len() as u32 {
            memory.steps(1)?;
            if self.state(at) == State::Unreached {
                self.mode = Mode::Lose(at);
                self.push(at, 0);
                self.follow(memory)?;
            }
        }
        Ok(())
    }

    /// Of the definitely lost blocks of each site, calls `hidden` possibly lost, with all that they
    /// lead to: registers that could not be read may hold them. `excused` counts per site.
    pub fn excuse_hidden(
        &mut self,
        hidden: u64,
        excused: &mut Room<u32>,
        memory: &mut Memory,
    ) -> Result<(), Stop> {
        self.mode = Mode::Excuse;
        for at in 0..self.index.len() as u32 {
            memory.steps(1)?;
            let Some((_, block)) = self.index.block(at) else {
                break;
            };
            if self.state(at) == State::Unreached
                && let Some(count) = excused.as_mut_slice().get_mut(block.site as usize)
                && u64::from(*count) < hidden
            {
                *count += 1;
                self.excuse(at);
                self.follow(memory)?;
            }
        }
        Ok(())
    }
}

/// Shows the words of a block.
pub fn each_word(
    addr: usize,
    size: u64,
    index: &BlockIndex,
    memory: &mut Memory,
    show: &mut dyn FnMut(&[u64]),
) -> Result<(), Stop> {
    if size >= LARGE_BYTES {
        let manner = Manner {
            shared: false,
            file: false,
            hidden: false,
        };
        let end = addr.saturating_add(size as usize);
        return memory.each(addr, end, manner, &mut |_, words| show(words));
    }
    memory.block(addr, size as usize, index, show)
}
