//! Owns the walk that nearly all captures are: it yields the hash of a stack, or at once its site,
//! and nothing else.
//!
//! Each thread remembers, for the places of its stack, the pcs it found there last and the rules of
//! these pcs. A walk by the shared table of rules waits for each pc before it can look for its rule,
//! and for the rule before it can read the next pc; here the rules are found by SP, while the pc is
//! on its way, and the pc only chooses among two. What is remembered is no more than a guess at which
//! rule is wanted: a step is taken by the rule of the very pc that was read, or not at all.
//!
//! Before the walk, [`super::guess`] leads to the memo of whole stacks ([`super::memo`]) where these
//! repeat; after a few frames, the walk itself asks it.
//!
//! What is not simple (signals' frames, realigned stacks, other stacks, code without a rule) is left
//! to [`super::capture`], which comes to the same hash.

use super::bounds::Bounds;
use super::guess::Guesses;
use super::memo::{Asked, INNER, Keeper, Memos, Place as Start};
use super::rule::Rule;
use super::rules::View;
use super::trail::{finish, mix, seed};
use super::x86_64::choose;
use super::{Entry, word};

/// Places remembered.
const PLACES: usize = 256;
/// Distance of two places on the stack: frames begin at multiples of it.
const FRAME_ALIGN: usize = 16;

/// RBP plus `bytes` is the CFA.
const BY_BP: u64 = 1;
/// The outermost frame.
const END: u64 = 2;
const KIND: u64 = 7;
/// Words from the CFA down to the saved RBP, 0 if it is not changed.
const SAVED_SHIFT: u32 = 16;

/// Two pcs and their rules: `words from the CFA down to the saved RBP << 16 | bytes up to the CFA |
/// kind`; kind 0: from SP.
#[repr(C, align(32))]
#[derive(Clone, Copy)]
struct Place {
    pcs: [usize; 2],
    rules: [u64; 2],
}

/// What a thread remembers. Zeroed memory remembers nothing.
#[repr(C)]
pub struct Steps {
    /// One more than the generation of modules that all this belongs to; 0: nothing was ever
    /// remembered.
    generation: u64,
    guesses: Guesses,
    memos: Memos,
    places: [Place; PLACES],
}

/// What a walk found.
#[derive(Clone, Copy, Debug)]
pub enum Walked {
    /// The site of the stack, which is remembered as a whole.
    Site(u32),
    /// The hash of the stack, and where the memo was asked if the walk came so far.
    Hash(u64, Option<Asked>),
    /// It is not of the simple kind.
    Unknown,
}

/// Where a walk is.
#[derive(Clone, Copy)]
struct At {
    pc: usize,
    sp: usize,
    hash: u64,
    /// Frames that may follow.
    left: usize,
    /// The frame that saved RBP last: its CFA, 0 for none, and its rule.
    saver: (usize, u64),
}

/// What comes after a step.
enum Next {
    Frame(At),
    /// The whole stack's hash.
    End(u64),
    Unknown,
}

/// Who is told of the words that a walk depends on.
trait Witness {
    fn read(&mut self, addr: usize, value: usize);
    fn needs_bp(&mut self);
}

/// Nobody.
impl Witness for () {
    #[inline(always)]
    fn read(&mut self, _: usize, _: usize) {}
    #[inline(always)]
    fn needs_bp(&mut self) {}
}

impl Witness for (Keeper<'_>, usize) {
    fn read(&mut self, addr: usize, value: usize) {
        self.0.keep(addr, value);
    }
    fn needs_bp(&mut self) {
        self.0.needs_bp(self.1);
    }
}

impl Steps {
    /// Remembers nothing.
    pub const fn new() -> Steps {
        Steps {
            generation: 0,
            guesses: Guesses::new(),
            memos: Memos::new(),
            places: [NOTHING; PLACES],
        }
    }

    /// Forgets all at the next walk.
    pub fn forget(&mut self) {
        if self.generation != 0 {
            self.generation = STALE;
        }
    }

    /// Forgets all: rules of another generation may be of other code.
    #[cold]
    #[inline(never)]
    fn begin(&mut self, generation: u32) {
        self.places.fill(NOTHING);
        // Not when it is new: that would touch memory that may never be used.
        if self.generation != 0 {
            self.memos.forget();
            self.guesses.forget();
        }
        self.generation = u64::from(generation) + 1;
    }

    /// The site of the stack, if it is one that is remembered and where it was guessed to be; 0
    /// otherwise. `about`: what else the site depends on.
    ///
    /// # Safety
    /// As for [`super::capture`].
    #[inline(always)]
    pub unsafe fn recall(
        &mut self,
        bounds: &Bounds,
        entry: &Entry,
        generation: u32,
        about: u64,
    ) -> u32 {
        let Some(top) = bounds.known_top(entry.sp) else {
            return 0;
        };
        if self.generation != u64::from(generation) + 1 {
            return 0;
        }
        let Steps { guesses, memos, .. } = self;
        let start = Start::new(entry.sp, about);
        // SAFETY: at the entry, SP points at the return address.
        let pc = unsafe { word(entry.sp) };
        let guess = guesses.at(start, pc);
        let Some([one, two, three]) = guess.slots(entry.sp) else {
            return 0;
        };
        if three + 8 > top {
            return 0;
        }
        // SAFETY: the highest lies below the top, and the others between it and SP.
        let pcs = [one, two, three].map(|slot| unsafe { word(slot) });
        let asked = Asked::new(start, pc, pcs, top);
        // SAFETY: this is SP at the entry, and the top above it.
        let site = unsafe { memos.site(asked, entry) };
        if site == 0 {
            guess.fail();
        }
        site
    }

    /// The site or the hash of the stack. `about`: what else the site depends on.
    ///
    /// # Safety
    /// As for [`super::capture`].
    #[inline(always)]
    pub unsafe fn walk(
        &mut self,
        bounds: &mut Bounds,
        entry: &Entry,
        depth: usize,
        generation: u32,
        about: u64,
    ) -> Walked {
        let Some(top) = bounds.top(entry.sp) else {
            return Walked::Unknown;
        };
        if self.generation != u64::from(generation) + 1 {
            self.begin(generation);
        }
        let Steps {
            guesses,
            memos,
            places,
            ..
        } = self;
        let start = Start::new(entry.sp, about);
        // SAFETY: passed on to the caller.
        let mut at = unsafe { At::begin(entry, depth, generation) };
        let pc = at.pc;
        let (mut pcs, mut slots) = ([0; INNER], [0; INNER]);
        for (next_pc, slot) in pcs.iter_mut().zip(&mut slots) {
            // SAFETY: as above.
            match unsafe { step(places, at, entry, top, &mut ()) } {
                Next::Frame(next) => at = next,
                Next::End(hash) => return Walked::Hash(hash, None),
                Next::Unknown => return Walked::Unknown,
            }
            (*next_pc, *slot) = (at.pc, at.sp - 8);
        }
        let asked = Asked::new(start, pc, pcs, top);
        // SAFETY: this is SP at the entry, and the top above it.
        let site = unsafe { memos.site(asked, entry) };
        if site != 0 {
            guesses.at(start, pc).learn(entry.sp, slots);
            return Walked::Site(site);
        }
        loop {
            // SAFETY: as above.
            match unsafe { step(places, at, entry, top, &mut ()) } {
                Next::Frame(next) => at = next,
                Next::End(hash) => return Walked::Hash(hash, Some(asked)),
                Next::Unknown => return Walked::Unknown,
            }
        }
    }

    /// The walk that asked the memo led to this site.
    ///
    /// # Safety
    /// As for [`super::capture`], with what was given to the walk.
    #[inline(always)]
    pub unsafe fn note(&mut self, asked: Asked, entry: &Entry, depth: usize, site: u32) {
        if self.memos.is_earned(asked, site) {
            // SAFETY: passed on to the caller.
            unsafe { self.keep(asked, entry, depth, site) }
        }
    }

    /// Walks once more, to keep what the walk depends on.
    ///
    /// # Safety
    /// As for [`Steps::note`].
    #[cold]
    #[inline(never)]
    unsafe fn keep(&mut self, asked: Asked, entry: &Entry, depth: usize, site: u32) {
        let Steps {
            places,
            memos,
            generation,
            ..
        } = self;
        let top = asked.top();
        let generation = generation.wrapping_sub(1) as u32;
        // SAFETY: passed on to the caller.
        let mut at = unsafe { At::begin(entry, depth, generation) };
        let mut witness = (memos.begin(asked, site), entry.bp);
        witness.read(entry.sp, at.pc);
        loop {
            // SAFETY: as above.
            match unsafe { step(places, at, entry, top, &mut witness) } {
                Next::Frame(next) => at = next,
                Next::End(_) => return witness.0.end(),
                Next::Unknown => return witness.0.give_up(),
            }
        }
    }
}

/// A generation that never is.
const STALE: u64 = u64::MAX;

const NOTHING: Place = Place {
    pcs: [0; 2],
    rules: [END; 2],
};

impl At {
    /// # Safety
    /// As for [`super::capture`].
    #[inline(always)]
    unsafe fn begin(entry: &Entry, depth: usize, generation: u32) -> At {
        At {
            // SAFETY: at the entry, SP points at the return address.
            pc: unsafe { word(entry.sp) },
            sp: entry.sp + 8,
            hash: seed(generation),
            left: depth,
            saver: (0, 0),
        }
    }
}

/// One frame further.
///
/// # Safety
/// As for [`super::capture`]; the stack may be read from the entry's SP to `top`.
#[inline(always)]
unsafe fn step(
    places: &mut [Place; PLACES],
    at: At,
    entry: &Entry,
    top: usize,
    witness: &mut impl Witness,
) -> Next {
    let At {
        pc,
        sp,
        hash,
        left,
        mut saver,
    } = at;
    // SAFETY: a remainder by the number of places.
    let place = unsafe { places.get_unchecked_mut(sp / FRAME_ALIGN % PLACES) };
    let (found, mut rule) = choose(pc, place.pcs, place.rules);
    if found != pc {
        if !learn(place, pc) {
            return Next::Unknown;
        }
        rule = place.rules[0];
    }
    let mut cfa = sp + usize::from(rule as u16);
    if rule & KIND != 0 {
        if rule & KIND == END {
            // A pc of zero is not a frame.
            let hash = if pc == 0 { hash } else { mix(hash, pc as u64) };
            return if pc == 0 || left > 0 {
                Next::End(finish(hash, false))
            } else {
                Next::Unknown
            };
        }
        let bp = match saver.0 {
            0 => {
                witness.needs_bp();
                entry.bp
            }
            cfa => {
                let slot = cfa - saved_bytes(saver.1);
                // SAFETY: it was found to lie between SP and the CFA of the frame that saved it.
                let bp = unsafe { word(slot) };
                witness.read(slot, bp);
                bp
            }
        };
        cfa = bp.wrapping_add(usize::from(rule as u16 & !(KIND as u16)));
        let slot = cfa.wrapping_sub(saved_bytes(rule));
        if cfa <= sp || !cfa.is_multiple_of(8) || slot < sp {
            return Next::Unknown;
        }
    }
    if cfa > top || left == 0 {
        return Next::Unknown;
    }
    if rule >> SAVED_SHIFT != 0 {
        saver = (cfa, rule);
    }
    // SAFETY: the return address is the word below the CFA, which is above SP and not above the top.
    let next = unsafe { word(cfa - 8) };
    witness.read(cfa - 8, next);
    Next::Frame(At {
        pc: next,
        sp: cfa,
        hash: mix(hash, pc as u64),
        left: left - 1,
        saver,
    })
}

#[inline(always)]
fn saved_bytes(rule: u64) -> usize {
    (rule >> SAVED_SHIFT) as usize * 8
}

/// Looks the rule of a pc up and remembers it first; false if there is none yet, or none that is
/// simple.
#[inline(never)]
fn learn(place: &mut Place, pc: usize) -> bool {
    let rule = if pc == 0 {
        Some(END)
    } else {
        View::now()
            .search(pc, false)
            .and_then(|packed| simple(Rule::unpack(packed)))
    };
    let Some(rule) = rule else {
        return false;
    };
    let Place {
        pcs: [last_pc, _],
        rules: [last_rule, _],
    } = *place;
    *place = Place {
        pcs: [pc, last_pc],
        rules: [rule, last_rule],
    };
    true
}

fn simple(rule: Rule) -> Option<u64> {
    let pack = |kind, cfa: u32, saved: u32| {
        let bytes = u16::try_from(u64::from(cfa) * 8).ok()?;
        Some(u64::from(saved) << SAVED_SHIFT | u64::from(bytes) | kind)
    };
    match rule {
        Rule::Sp { cfa, bp } => pack(0, cfa, bp),
        Rule::Bp { cfa, bp } => pack(BY_BP, cfa, bp),
        Rule::Chain => pack(BY_BP, 2, 2),
        Rule::End => Some(END),
        _ => None,
    }
}
