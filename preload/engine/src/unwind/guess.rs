//! Owns the guess at where the innermost return addresses of a stack lie, made from the hook's place
//! on the stack and its own return address alone.
//!
//! A guess is no more than where the last remembered stack that began here had them. What lies there
//! says which memo to look at, and the memo compares every word that a walk would read: a wrong guess
//! finds none. So a stack that is remembered is found without walking a single frame.

use super::memo::{INNER, Place, spread};

/// Guesses.
const GUESSES: usize = 128;
/// Wrong guesses in all before no more are made here; a walk that ends in the memo makes up for them.
const PATIENCE: u16 = 4;

/// Where the return addresses of the inner frames lie, in words from the hook's, from low to high.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Guess {
    offsets: [u16; INNER],
    /// 0: none.
    patience: u16,
}

/// What a thread guesses. Zeroed memory guesses nothing.
#[repr(C)]
pub struct Guesses([Guess; GUESSES]);

const NOTHING: Guess = Guess {
    offsets: [0; INNER],
    patience: 0,
};

impl Guesses {
    /// None.
    pub const fn new() -> Guesses {
        Guesses([NOTHING; GUESSES])
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        self.0.fill(NOTHING);
    }

    /// The guess for a hook that was called from `pc`.
    #[inline(always)]
    pub fn at(&mut self, place: Place, pc: usize) -> &mut Guess {
        let at = spread(place.entered_from(pc)) >> (u64::BITS - GUESSES.ilog2());
        // SAFETY: the upper bits of a word are below the number of guesses.
        unsafe { self.0.get_unchecked_mut(at as usize) }
    }
}

impl Guess {
    /// Addresses of the return addresses, ascending, for a hook that entered at `sp`.
    #[inline(always)]
    pub fn slots(&self, sp: usize) -> Option<[usize; INNER]> {
        let slots = self.offsets.map(|offset| sp + usize::from(offset) * 8);
        (self.patience != 0).then_some(slots)
    }

    /// It led to no stack that is remembered.
    #[inline(always)]
    pub fn fail(&mut self) {
        self.patience -= 1;
    }

    /// A walk came by these return addresses, and to a stack that is remembered.
    pub fn learn(&mut self, sp: usize, slots: [usize; INNER]) {
        let offsets = slots.map(|slot| u16::try_from((slot - sp) / 8).ok());
        if let [Some(one), Some(two), Some(three)] = offsets {
            *self = Guess {
                offsets: [one, two, three],
                patience: PATIENCE,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_what_was_learnt_until_it_failed_often_enough() {
        let (sp, pc) = (0x7ffe_1000, 0x40_1234);
        let slots = [sp + 16, sp + 48, sp + 8 * usize::from(u16::MAX)];
        let mut guesses = Guesses::new();
        let guess = guesses.at(Place::new(sp, 0), pc);
        assert_eq!(guess.slots(sp), None);
        guess.learn(sp, slots);
        for _ in 0..PATIENCE {
            assert_eq!(guess.slots(sp), Some(slots));
            guess.fail();
        }
        assert_eq!(guess.slots(sp), None);
        guess.learn(sp, [sp + 16, sp + 48, sp + 8 * (usize::from(u16::MAX) + 1)]);
        assert_eq!(guess.slots(sp), None, "too far away");
    }
}
