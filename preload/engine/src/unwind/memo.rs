//! Owns the memo of whole stacks: what a thread found the last times that it came by the same
//! innermost frames at the same place of its stack.
//!
//! A walk is a function of the words that it reads from the stack, of RBP at its entry, and of the
//! rules, which change with the generation of modules only. A memo keeps the addresses of these words
//! and what they were: where all are as they were, the stack is the same to its end, and so is its
//! site. That is one comparison a word, none of which has to wait for another, and none for a rule.
//!
//! To keep one costs as much as two walks, so a place in the memo has to be earned: by leading to the
//! same site again and again. What leads elsewhere every time costs a look.

use super::{Entry, word};

/// Frames that lie between the hook and the pc that comes last in [`Asked`].
pub const INNER: usize = 3;
/// Memos.
const MEMOS: usize = 128;
/// Words of a stack that a memo has room for, in steps of [`GROUP`].
const WORDS: usize = 36;
/// Words compared without a branch.
const GROUP: usize = 4;
/// Times in a row that a place must lead to the same site.
const EARNED: u16 = 2;
/// A stack that does not fit.
const NEVER: u16 = u16::MAX;
/// Others that come by before a memo that is used gives way.
const PATIENCE: u16 = 8;

const _: () = assert!(WORDS.is_multiple_of(GROUP));

/// Where a walk began and what else its site depends on, as one word; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u64);

impl Place {
    /// Stacks lie below this.
    const STACKS_END_BITS: u32 = 48;

    /// `about`: 15 bits.
    #[inline(always)]
    pub fn new(start: usize, about: u64) -> Place {
        Place(start as u64 ^ about << Self::STACKS_END_BITS)
    }

    /// Tells this place, entered from `pc`, from others, by most of its bits.
    #[inline(always)]
    pub fn entered_from(self, pc: usize) -> u64 {
        self.0.rotate_left(32) ^ pc as u64
    }

    #[inline(always)]
    fn start(self) -> usize {
        (self.0 & ((1 << Self::STACKS_END_BITS) - 1)) as usize
    }
}

/// Spreads what a word holds over its upper bits.
#[inline(always)]
pub fn spread(word: u64) -> u64 {
    word.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Where a walk asks the memo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of the place and the pcs of the inner frames and of the next: says where to look.
    key: u64,
    place: Place,
    /// One past the stack that may be read.
    top: usize,
}

impl Asked {
    /// For a hook that was called from `pc`, and from there on from these.
    #[inline(always)]
    pub fn new(place: Place, pc: usize, pcs: [usize; INNER], top: usize) -> Asked {
        let [one, two, three] = pcs.map(|pc| pc as u64);
        let rest = one.rotate_left(11) ^ two.rotate_left(23) ^ three.rotate_left(37);
        Asked {
            key: spread(place.entered_from(pc) ^ rest),
            place,
            top,
        }
    }

    /// One past the stack that may be read.
    pub fn top(&self) -> usize {
        self.top
    }
}

/// Words read from a stack, relative to where the walk began.
#[repr(C, align(64))]
struct Memo {
    key: u64,
    /// 0: not earned yet.
    place: u64,
    top: usize,
    /// RBP at the entry, as far as the walk needed it: all of its bits, or none.
    bp: usize,
    bp_mask: usize,
    site: u32,
    /// Words kept where there is a place: a multiple of [`GROUP`], not 0 and at most [`WORDS`].
    len: u16,
    trust: u16,
    patience: u16,
    offsets: [u16; WORDS],
    words: [usize; WORDS],
}

const NOTHING: Memo = Memo {
    key: 0,
    place: 0,
    top: 0,
    bp: 0,
    bp_mask: 0,
    site: 0,
    len: 0,
    trust: 0,
    patience: 0,
    offsets: [0; WORDS],
    words: [0; WORDS],
};

/// What a thread remembers. Zeroed memory remembers nothing.
#[repr(C)]
pub struct Memos {
    /// One bit for each memo that was used: the memory of others is not touched.
    used: [u64; MEMOS / 64],
    memos: [Memo; MEMOS],
}

impl Memos {
    /// Remembers nothing.
    pub const fn new() -> Memos {
        Memos {
            used: [0; MEMOS / 64],
            memos: [NOTHING; MEMOS],
        }
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        for (word, memos) in self.used.iter_mut().zip(self.memos.chunks_mut(64)) {
            let used = core::mem::take(word);
            let is_used = |at: &usize| used >> at & 1 != 0;
            for (_, memo) in memos.iter_mut().enumerate().filter(|(at, _)| is_used(at)) {
                *memo = NOTHING;
            }
        }
    }

    #[inline(always)]
    fn number(key: u64) -> usize {
        (key >> (u64::BITS - MEMOS.ilog2())) as usize
    }

    #[inline(always)]
    fn memo(&mut self, key: u64) -> &mut Memo {
        // SAFETY: the upper bits of a word are below the number of memos.
        unsafe { self.memos.get_unchecked_mut(Self::number(key)) }
    }

    fn note_used(&mut self, key: u64) {
        let at = Self::number(key);
        if let Some(word) = self.used.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    /// The site of the stack, if it is one that is remembered; 0 otherwise. `entry`: where the walk
    /// began.
    ///
    /// # Safety
    /// The calling thread's stack may be read from the entry to its top.
    #[inline(always)]
    pub unsafe fn site(&mut self, asked: Asked, entry: &Entry) -> u32 {
        let memo = self.memo(asked.key);
        // SAFETY: passed on.
        if memo.key == asked.key && unsafe { memo.holds(asked, entry) } {
            memo.patience = PATIENCE;
            return memo.site;
        }
        0
    }

    /// The walk that asked went on to the end. True: its words should be kept.
    #[inline(always)]
    pub fn is_earned(&mut self, asked: Asked, site: u32) -> bool {
        let memo = self.memo(asked.key);
        if memo.key != asked.key {
            let patience = memo.patience.saturating_sub(1);
            if patience != 0 {
                memo.patience = patience;
                return false;
            }
            self.note_used(asked.key);
            let memo = self.memo(asked.key);
            memo.key = asked.key;
            memo.patience = 0;
            memo.begin(site);
            return false;
        }
        // Its words were not these, or it has none.
        if memo.site != site || memo.place != 0 {
            memo.begin(site);
        }
        if memo.trust == NEVER {
            return false;
        }
        memo.trust += 1;
        memo.trust > EARNED
    }

    /// Begins to keep the words of a walk.
    pub fn begin(&mut self, asked: Asked, site: u32) -> Keeper<'_> {
        self.note_used(asked.key);
        let memo = self.memo(asked.key);
        memo.key = asked.key;
        memo.place = 0;
        memo.site = site;
        memo.bp_mask = 0;
        Keeper {
            memo,
            asked,
            len: 0,
        }
    }
}

impl Default for Memos {
    fn default() -> Memos {
        Memos::new()
    }
}

impl Memo {
    /// To be earned from here on.
    #[inline(always)]
    fn begin(&mut self, site: u32) {
        self.place = 0;
        self.site = site;
        self.trust = 0;
    }

    /// # Safety
    /// As [`Memos::site`].
    #[inline(always)]
    unsafe fn holds(&self, asked: Asked, entry: &Entry) -> bool {
        let about = self.place ^ asked.place.0 | (self.top ^ asked.top) as u64;
        if about | ((self.bp ^ entry.bp) & self.bp_mask) as u64 != 0 {
            return false;
        }
        let mut at = 0;
        loop {
            let mut differ = 0;
            for i in at..at + GROUP {
                // SAFETY: what is kept is a group at least, whole groups, and not more than there is
                // room for; the word was read between this start and this top.
                unsafe {
                    let offset = usize::from(*self.offsets.get_unchecked(i)) * 8;
                    differ |= word(entry.sp + offset) ^ *self.words.get_unchecked(i);
                }
            }
            if differ != 0 {
                return false;
            }
            at += GROUP;
            if at >= usize::from(self.len) {
                return true;
            }
        }
    }
}

/// Takes down the words of one walk.
pub struct Keeper<'a> {
    memo: &'a mut Memo,
    asked: Asked,
    len: usize,
}

impl Keeper<'_> {
    /// A word that the walk read.
    pub fn keep(&mut self, addr: usize, value: usize) {
        let offset = addr.wrapping_sub(self.asked.place.start()) / 8;
        if let (Some(offset_place), Some(word_place), Ok(offset)) = (
            self.memo.offsets.get_mut(self.len),
            self.memo.words.get_mut(self.len),
            u16::try_from(offset),
        ) {
            *offset_place = offset;
            *word_place = value;
            self.len += 1;
        } else {
            self.give_up();
        }
    }

    /// The walk needed RBP as it was at its entry.
    pub fn needs_bp(&mut self, bp: usize) {
        self.memo.bp_mask = usize::MAX;
        self.memo.bp = bp;
    }

    /// This stack is not to be remembered.
    pub fn give_up(&mut self) {
        self.len = WORDS + 1;
        self.memo.trust = NEVER;
    }

    /// The walk reached its end.
    pub fn end(self) {
        let Keeper { memo, asked, len } = self;
        let Some(last) = len.checked_sub(1).filter(|last| *last < WORDS) else {
            return;
        };
        let whole = len.next_multiple_of(GROUP);
        let offset = memo.offsets.get(last).copied().unwrap_or(0);
        let word = memo.words.get(last).copied().unwrap_or(0);
        if let (Some(offsets), Some(words)) = (
            memo.offsets.get_mut(len..whole),
            memo.words.get_mut(len..whole),
        ) {
            offsets.fill(offset);
            words.fill(word);
            memo.len = whole as u16;
            memo.top = asked.top;
            memo.place = asked.place.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const SITE: u32 = 7;
    /// Words of the stack that the walk read, the hook's own return address first.
    const READ: [usize; 9] = [0, 3, 4, 9, 15, 16, 22, 30, 38];

    /// A stack, where it ends, and what is asked about it.
    fn stack() -> (Vec<usize>, Entry, usize) {
        let words: Vec<usize> = (0..40).map(|i| 0x5000 + i * 0x111).collect();
        let sp = words.as_ptr().addr();
        let top = sp + words.len() * 8;
        (words, Entry { sp, bp: 0xb9 }, top)
    }

    fn asked(words: &[usize], sp: usize, top: usize, about: u64) -> Asked {
        let pcs = [words[3], words[9], words[15]];
        Asked::new(Place::new(sp, about), words[0], pcs, top)
    }

    fn remember(memos: &mut Memos, words: &[usize], entry: &Entry, top: usize, needs_bp: bool) {
        let mut keeper = memos.begin(asked(words, entry.sp, top, 0), SITE);
        for at in READ {
            keeper.keep(entry.sp + at * 8, words[at]);
        }
        if needs_bp {
            keeper.needs_bp(entry.bp);
        }
        keeper.end();
    }

    #[test]
    fn a_stack_is_remembered_as_long_as_every_word_that_was_read_is_the_same() {
        let (mut words, entry, top) = stack();
        let mut memos = std::boxed::Box::new(Memos::new());
        remember(&mut memos, &words, &entry, top, false);
        for at in 0..words.len() {
            let kept = words[at];
            // What is asked stays as it was: the memo is to see the change itself.
            let asked = asked(&words, entry.sp, top, 0);
            // SAFETY: the words lie from SP up to the top.
            let mut site = || unsafe { memos.site(asked, &entry) };
            assert_eq!(site(), SITE);
            words[at] ^= 1 << (at % 48);
            assert_eq!(site() == 0, READ.contains(&at), "word {at}");
            words[at] = kept;
            assert_eq!(site(), SITE);
        }
    }

    #[test]
    fn what_else_a_walk_depends_on_is_compared_too() {
        let (words, entry, top) = stack();
        let other_bp = Entry { bp: 1, ..entry };
        for needs_bp in [false, true] {
            let mut memos = std::boxed::Box::new(Memos::new());
            remember(&mut memos, &words, &entry, top, needs_bp);
            let same = asked(&words, entry.sp, top, 0);
            // SAFETY: the words lie from SP up to the top.
            let mut site = |asked, entry: &Entry| unsafe { memos.site(asked, entry) };
            assert_eq!(site(same, &entry), SITE);
            assert_eq!(site(same, &other_bp) == 0, needs_bp);
            // As if the key were the same by chance.
            let other_top = Asked {
                top: top + 8,
                ..same
            };
            let other_kind = Asked {
                place: Place::new(entry.sp, 1),
                ..same
            };
            assert_eq!(site(other_top, &entry), 0);
            assert_eq!(site(other_kind, &entry), 0);
            memos.forget();
            // SAFETY: as above.
            assert_eq!(unsafe { memos.site(same, &entry) }, 0);
            // It has to be earned as if nothing had been.
            for _ in 0..EARNED + 1 {
                assert!(!memos.is_earned(same, SITE));
            }
            assert!(memos.is_earned(same, SITE));
        }
    }

    #[test]
    fn a_stack_of_more_words_than_there_is_room_for_is_not_remembered() {
        let words: Vec<usize> = (0..WORDS + 2).collect();
        let entry = Entry {
            sp: words.as_ptr().addr(),
            bp: 0,
        };
        let top = entry.sp + words.len() * 8;
        for len in [WORDS - 1, WORDS, WORDS + 1] {
            let mut memos = std::boxed::Box::new(Memos::new());
            let asked = asked(&words, entry.sp, top, 0);
            let mut keeper = memos.begin(asked, SITE);
            for (at, word) in words.iter().enumerate().take(len) {
                keeper.keep(entry.sp + at * 8, *word);
            }
            keeper.end();
            // SAFETY: the words lie from SP up to the top.
            let site = unsafe { memos.site(asked, &entry) };
            assert_eq!(site != 0, len <= WORDS, "{len} words");
        }
    }
}
