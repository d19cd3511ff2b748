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
use super::index::{BlockIndex, Hit, LARGE_BYTES};
use super::memory::{Manner, Memory, Stop};
use super::regions::Region;
use super::room::Room;

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
/// Blocks on the stack at most.
const STACK_BLOCKS: usize = 1 << 20;

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

    /// Blocks that were not reached.
    pub fn unreached(&self) -> impl Iterator<Item = u32> {
        let marks = (0u32..).zip(self.0.as_slice());
        marks
            .filter(|(_, mark)| **mark & STATE == State::Unreached as u8)
            .map(|(at, _)| at)
    }

    /// Number of blocks that are lost, definitely or indirectly.
    pub fn count_lost(&self) -> usize {
        let lost = [State::Unreached as u8, State::Indirect as u8];
        let marks = self.0.as_slice().iter();
        marks
            .filter(|mark| lost.contains(&(**mark & STATE)))
            .count()
    }

    /// Blocks that only pointers into them hold.
    pub fn possible(&self) -> impl Iterator<Item = u32> {
        let marks = (0u32..).zip(self.0.as_slice());
        marks
            .filter(|(_, mark)| **mark & STATE == State::Possible as u8)
            .map(|(at, _)| at)
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
        })
    }

    /// What is known by now.
    pub fn into_marks(self) -> Marks {
        self.marks
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
    }

    /// True if nothing has led to a block yet.
    pub fn is_unreached(&self, at: u32) -> bool {
        self.state(at) == State::Unreached
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
            let definite = match self.state(at) {
                State::Reachable => true,
                State::Possible => false,
                State::Unreached | State::Indirect => continue,
            };
            let Some((addr, block)) = index.block(at) else {
                break;
            };
            each_word(addr, block.size, index, memory, &mut |words| {
                for &word in words {
                    self.point(word as usize, definite);
                }
            })?;
            if !self.stack.is_empty() {
                self.empty_stack(memory)?;
            }
        }
        self.follow(memory)
    }

    /// Roots in a row.
    pub fn roots(&mut self, words: &[u64]) {
        for &word in words {
            self.point(word as usize, true);
        }
    }

    #[inline(always)]
    fn point(&mut self, word: usize, definite: bool) {
        let hit = if self.wanted {
            self.index.find_wanted(word)
        } else {
            self.index.find(word)
        };
        if let Some(hit) = hit {
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
        while let Some(top) = self.stack.pop() {
            let offset = top & ((1 << OFFSET_BITS) - 1);
            self.look_into((top >> OFFSET_BITS) as u32, offset, memory)?;
        }
        Ok(())
    }

    fn look_into(&mut self, at: u32, offset: u64, memory: &mut Memory) -> Result<(), Stop> {
        let Some((addr, block)) = self.index.block(at) else {
            return Ok(());
        };
        if offset != 0
            && self.state(at) == State::Possible
            && heuristics::holds(addr, block.size, offset, self.index, self.regions, memory)?
        {
            self.set(at, State::Reachable);
        }
        if self.change(at, |mark| mark | SEEN) & SEEN != 0 {
            return Ok(());
        }
        let definite = self.state(at) == State::Reachable;
        let index = self.index;
        each_word(addr, block.size, index, memory, &mut |words| {
            for &word in words {
                self.point(word as usize, definite);
            }
        })
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
            if matches!(self.state(at), State::Reachable | State::Possible)
                && let Some((addr, block)) = index.block(at)
            {
                each_word(addr, block.size, index, memory, &mut |words| {
                    self.odd_roots(words)
                })?;
            }
        }
        self.follow(memory)
    }

    /// Sorts what was not reached into blocks that are lost themselves and those lost with them.
    pub fn lose_rest(&mut self, memory: &mut Memory) -> Result<(), Stop> {
        for at in 0..self.index.len() as u32 {
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
