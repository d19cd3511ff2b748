//! Owns the walk that nearly all captures are: it yields the hash of a stack and nothing else.
//!
//! Each thread remembers, for the places of its stack, the pc it found there last and the rule of
//! that pc. A walk by the shared table of rules waits for each pc before it can look for its rule,
//! and for the rule before it can read the next pc; here the rule is found by SP, while the pc is
//! on its way, and the pc is only compared. What is remembered is no more than a guess at which
//! rule is wanted: a step is taken by the rule of the very pc that was read, or not at all.
//!
//! What is not simple (signals' frames, realigned stacks, other stacks, code without a rule) is left
//! to [`super::capture`], which comes to the same hash.

use super::bounds::Bounds;
use super::rule::Rule;
use super::rules::View;
use super::trail::{finish, mix, seed};
use super::{Entry, word};

/// Places remembered.
const PLACES: usize = 512;
/// Distance of two places on the stack: frames begin at multiples of it.
const FRAME_ALIGN: usize = 16;

/// RBP plus `bytes` is the CFA.
const BY_BP: u64 = 1;
/// The outermost frame.
const END: u64 = 2;
const KIND: u64 = 7;
/// Words from the CFA down to the saved RBP, 0 if it is not changed.
const SAVED_SHIFT: u32 = 16;

/// A pc and its rule: `words from the CFA down to the saved RBP << 16 | bytes up to the CFA | kind`;
/// kind 0: from SP.
#[repr(C)]
#[derive(Clone, Copy)]
struct Step {
    pc: usize,
    rule: u64,
}

/// What a thread remembers. Zeroed memory remembers nothing.
#[repr(C)]
pub struct Steps {
    steps: [Step; PLACES],
    /// One more than the generation of modules that the rules belong to.
    generation: u64,
}

impl Steps {
    /// Remembers nothing.
    pub const fn new() -> Steps {
        Steps {
            steps: [Step { pc: 0, rule: END }; PLACES],
            generation: 0,
        }
    }

    /// Forgets all: rules of another generation may be of other code.
    #[cold]
    #[inline(never)]
    fn begin(&mut self, generation: u32) {
        self.steps.fill(Step { pc: 0, rule: END });
        self.generation = u64::from(generation) + 1;
    }

    /// The hash of the stack; `None` if it is not of the simple kind.
    ///
    /// # Safety
    /// As for [`super::capture`].
    #[inline(always)]
    pub unsafe fn hash(
        &mut self,
        bounds: &mut Bounds,
        entry: &Entry,
        depth: usize,
        generation: u32,
    ) -> Option<u64> {
        let top = bounds.top(entry.sp)?;
        if self.generation != u64::from(generation) + 1 {
            self.begin(generation);
        }
        // SAFETY: at the entry, SP points at the return address.
        let mut pc = unsafe { word(entry.sp) };
        let mut sp = entry.sp + 8;
        let mut hash = seed(generation);
        let mut left = depth;
        // The frame that saved RBP last: its CFA, 0 for none, and its rule.
        let mut saver = (0, 0);
        loop {
            // SAFETY: a remainder by the number of places.
            let step = unsafe { self.steps.get_unchecked_mut(sp / FRAME_ALIGN % PLACES) };
            if step.pc != pc && !learn(step, pc) {
                return None;
            }
            let rule = step.rule;
            let mut cfa = sp + usize::from(rule as u16);
            if rule & KIND != 0 {
                if rule & KIND == END {
                    // A pc of zero is not a frame.
                    let hash = if pc == 0 { hash } else { mix(hash, pc as u64) };
                    return (pc == 0 || left > 0).then(|| finish(hash, false));
                }
                // The saver's slot was found to lie on the stack.
                let bp = match saver.0 {
                    0 => entry.bp,
                    // SAFETY: it lies between SP and the CFA of the frame that saved it.
                    cfa => unsafe { word(cfa - saved_bytes(saver.1)) },
                };
                cfa = bp.wrapping_add(usize::from(rule as u16 & !(KIND as u16)));
                let slot = cfa.wrapping_sub(saved_bytes(rule));
                if cfa <= sp || !cfa.is_multiple_of(8) || slot < sp {
                    return None;
                }
            }
            if cfa > top || left == 0 {
                return None;
            }
            left -= 1;
            hash = mix(hash, pc as u64);
            if rule >> SAVED_SHIFT != 0 {
                saver = (cfa, rule);
            }
            sp = cfa;
            // SAFETY: the return address is the word below the CFA, which is above SP and not
            // above the top.
            pc = unsafe { word(cfa - 8) };
        }
    }
}

#[inline(always)]
fn saved_bytes(rule: u64) -> usize {
    (rule >> SAVED_SHIFT) as usize * 8
}

/// Looks the rule of a pc up; false if there is none yet, or none that is simple.
#[inline(never)]
fn learn(step: &mut Step, pc: usize) -> bool {
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
    *step = Step { pc, rule };
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
