//! Owns the memo of whole stacks: what a thread found the last times that it came by the same
//! innermost frames at the same place of its stack.
//!
//! A walk is a function of the words that it reads from the stack, of RBP at its entry, and of the
//! rules, which change with the generation of modules only. A memo keeps the addresses of these words
//! and what they were: where all are as they were, the stack is the same to its end, and so is its
//! site. That is one comparison a frame, none of which has to wait for another.
//!
//! To keep one costs as much as two walks, so a place in the memo has to be earned: by leading to the
//! same site again and again. What leads elsewhere every time costs a look.

use super::word;

/// Frames that are walked before the memo is asked: they tell who asks.
pub const INNER: usize = 3;
/// Memos.
const MEMOS: usize = 64;
/// Words of a stack that a memo has room for, in steps of [`GROUP`].
const WORDS: usize = 32;
/// Words compared without a branch.
const GROUP: usize = 4;
/// Times in a row that a place must lead to the same site.
const EARNED: u16 = 2;
/// A stack that does not fit.
const NEVER: u16 = u16::MAX;
/// Others that come by before a memo that is used gives way.
const PATIENCE: u16 = 8;

/// Words read from a stack, relative to where the walk began.
#[repr(C, align(64))]
struct Memo {
    asked: Asked,
    /// RBP at the entry, if the walk needed it.
    bp: usize,
    site: u32,
    needs_bp: bool,
    /// Words kept; 0: not earned yet.
    len: u16,
    trust: u16,
    patience: u16,
    offsets: [u16; WORDS],
    words: [usize; WORDS],
}

/// Where a walk asks the memo: what its rest depends on besides the words that it will read.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of the inner frames and the pc that comes next; 0: none.
    pub key: u64,
    /// SP at the entry.
    pub start: usize,
    /// SP after the inner frames.
    pub sp: usize,
    /// Where RBP was saved last.
    pub saved_bp: usize,
    /// One past the stack that may be read.
    pub top: usize,
}

/// What a thread remembers. Zeroed memory remembers nothing.
#[repr(C)]
pub struct Memos([Memo; MEMOS]);

impl Memos {
    /// Remembers nothing.
    pub const fn new() -> Memos {
        Memos(
            [const {
                Memo {
                    asked: Asked {
                        key: 0,
                        start: 0,
                        sp: 0,
                        saved_bp: 0,
                        top: 0,
                    },
                    bp: 0,
                    site: 0,
                    needs_bp: false,
                    len: 0,
                    trust: 0,
                    patience: 0,
                    offsets: [0; WORDS],
                    words: [0; WORDS],
                }
            }; MEMOS],
        )
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        self.0.iter_mut().for_each(|memo| memo.asked.key = 0);
    }

    #[inline(always)]
    fn memo(&mut self, key: u64) -> &mut Memo {
        let at = (key >> (u64::BITS - MEMOS.ilog2())) as usize;
        // SAFETY: the upper bits of a word are below the number of memos.
        unsafe { self.0.get_unchecked_mut(at) }
    }

    /// The site of the stack, if it is one that is remembered; 0 otherwise.
    ///
    /// # Safety
    /// The calling thread's stack may be read from `asked.start` to `asked.top`.
    #[inline(always)]
    pub unsafe fn site(&mut self, asked: Asked, bp: usize) -> u32 {
        let memo = self.memo(asked.key);
        if memo.asked.key != asked.key || memo.len == 0 {
            return 0;
        }
        // SAFETY: passed on.
        if unsafe { memo.holds(asked, bp) } {
            memo.patience = PATIENCE;
            return memo.site;
        }
        0
    }

    /// The walk that asked went on to the end. True: its words should be kept.
    #[inline(always)]
    pub fn is_earned(&mut self, asked: Asked, site: u32) -> bool {
        let memo = self.memo(asked.key);
        if memo.asked.key != asked.key {
            memo.patience = memo.patience.saturating_sub(1);
            if memo.patience == 0 {
                memo.asked = asked;
                memo.site = site;
                memo.len = 0;
                memo.trust = 0;
            }
            return false;
        }
        // Its words were not these, or it has none.
        if memo.site != site || memo.len != 0 {
            memo.site = site;
            memo.len = 0;
            memo.trust = 0;
        }
        if memo.trust == NEVER {
            return false;
        }
        memo.trust += 1;
        memo.trust > EARNED
    }

    /// Begins to keep the words of a walk.
    pub fn begin(&mut self, asked: Asked, site: u32) -> Keeper<'_> {
        let memo = self.memo(asked.key);
        memo.len = 0;
        memo.asked = asked;
        memo.site = site;
        memo.needs_bp = false;
        Keeper { memo, len: 0 }
    }
}

impl Default for Memos {
    fn default() -> Memos {
        Memos::new()
    }
}

impl Memo {
    /// # Safety
    /// As [`Memos::site`].
    #[inline(always)]
    unsafe fn holds(&self, asked: Asked, bp: usize) -> bool {
        if self.asked != asked || self.needs_bp && self.bp != bp {
            return false;
        }
        let mut at = 0;
        while at < usize::from(self.len).min(WORDS) {
            let mut differ = 0;
            for i in at..at + GROUP {
                // SAFETY: `len` is a multiple of the group and not above the number of words; the
                // word was read between this start and this top.
                unsafe {
                    let offset = usize::from(*self.offsets.get_unchecked(i)) * 8;
                    differ |= word(asked.start + offset) ^ *self.words.get_unchecked(i);
                }
            }
            if differ != 0 {
                return false;
            }
            at += GROUP;
        }
        true
    }
}

/// Takes down the words of one walk.
pub struct Keeper<'a> {
    memo: &'a mut Memo,
    len: usize,
}

impl Keeper<'_> {
    /// A word that the walk read after its inner frames.
    pub fn keep(&mut self, addr: usize, value: usize) {
        let offset = addr.wrapping_sub(self.memo.asked.start) / 8;
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
        self.memo.needs_bp = true;
        self.memo.bp = bp;
    }

    /// This stack is not to be remembered.
    pub fn give_up(&mut self) {
        self.len = WORDS + 1;
        self.memo.trust = NEVER;
    }

    /// The walk reached its end.
    pub fn end(self) {
        let Some(last) = self.len.checked_sub(1).filter(|last| *last < WORDS) else {
            return;
        };
        let len = self.len.next_multiple_of(GROUP);
        let offset = self.memo.offsets.get(last).copied().unwrap_or(0);
        let word = self.memo.words.get(last).copied().unwrap_or(0);
        let rest = self.len..len;
        let offsets = self.memo.offsets.get_mut(rest.clone());
        if let (Some(offsets), Some(words)) = (offsets, self.memo.words.get_mut(rest)) {
            offsets.fill(offset);
            words.fill(word);
        } else {
            return;
        }
        self.memo.len = len as u16;
    }
}
