//! Owns [`Rule`], how to get from a frame to its caller, and its packed form in one word.
//!
//! ```text
//! 63               30 29      28     26 25      16 15       2 1  0
//! tag: pc >> 13 (34) | exact | away (3) | RBP (10) | CFA (14) | kind
//! ```
//! Offsets count in words of eight bytes. What does not fit goes the general way: never rounded,
//! never cut off. A packed rule is never zero below its key, the upper 38 bits, which belong to the
//! table.

use super::cfi::{CfaRule, RegisterRule, Row};
use super::expression::as_register_offset;
use super::reader::Tables;
use super::x86_64::{RBP, RETURN, RSP, signal_frame};

/// Lowest bit of the key: what lies below is the rule.
pub const KEY_SHIFT: u32 = 26;
const RBP_BITS: u32 = 10;
const RBP_SHIFT: u32 = 16;
const CFA_BITS: u32 = 14;
const CFA_SHIFT: u32 = 2;
const KIND_MASK: u64 = 3;

const SPECIAL: u64 = 0;
const SP: u64 = 1;
const BP: u64 = 2;
const LOAD: u64 = 3;

/// How to find the caller of a frame. The return address is always below the CFA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// CFA = SP + `cfa` words; RBP saved `bp` words below the CFA (0: not changed).
    Sp {
        /// Words from SP up to the CFA.
        cfa: u32,
        /// Words from the CFA down to the saved RBP.
        bp: u32,
    },
    /// CFA = RBP + `cfa` words; RBP saved `bp` words below the CFA (0: not changed).
    Bp {
        /// Words from RBP up to the CFA.
        cfa: u32,
        /// Words from the CFA down to the saved RBP.
        bp: u32,
    },
    /// CFA = *(RBP + `cfa` words), for frames that realign the stack; RBP saved at RBP + `bp`
    /// words.
    Load {
        /// Words from RBP to the word that holds the CFA.
        cfa: i32,
        /// Words from RBP to the saved RBP.
        bp: i32,
    },
    /// The kernel's frame for a signal: the caller is what it interrupted.
    Signal,
    /// The outermost frame.
    End,
    /// No description: follow the frame pointer.
    Chain,
    /// Anything else: by all registers.
    General,
    /// Its description is malformed: nobody knows its caller.
    Stuck,
    /// Not code: the walk went astray before this.
    Broken,
}

const SPECIALS: [Rule; 6] = [
    Rule::Signal,
    Rule::End,
    Rule::Chain,
    Rule::General,
    Rule::Stuck,
    Rule::Broken,
];
const CFA_BIAS: i32 = 1 << (CFA_BITS - 1);
const RBP_BIAS: i32 = 1 << (RBP_BITS - 1);

impl Rule {
    /// Packs, with a tag of zero. What does not fit becomes [`Rule::General`].
    pub fn pack(self) -> u64 {
        let word = |kind: u64, cfa: u64, bp: u64| {
            (cfa < 1 << CFA_BITS && bp < 1 << RBP_BITS)
                .then_some(kind | cfa << CFA_SHIFT | bp << RBP_SHIFT)
        };
        let special = |rule: Rule| {
            SPECIALS
                .iter()
                .position(|&r| r == rule)
                .map_or(4, |i| i as u64 + 1)
        };
        let packed = match self {
            Rule::Sp { cfa: 0, .. } => None,
            Rule::Sp { cfa, bp } => word(SP, cfa.into(), bp.into()),
            Rule::Bp { cfa, bp } => word(BP, cfa.into(), bp.into()),
            Rule::Load { cfa, bp } => word(
                LOAD,
                (cfa + CFA_BIAS) as u32 as u64,
                (bp + RBP_BIAS) as u32 as u64,
            ),
            rule => word(SPECIAL, special(rule), 0),
        };
        packed.unwrap_or(special(Rule::General) << CFA_SHIFT)
    }

    /// Unpacks; the tag does not matter.
    pub fn unpack(word: u64) -> Rule {
        let cfa = (word >> CFA_SHIFT) as u32 & ((1 << CFA_BITS) - 1);
        let bp = (word >> RBP_SHIFT) as u32 & ((1 << RBP_BITS) - 1);
        match word & KIND_MASK {
            SP => Rule::Sp { cfa, bp },
            BP => Rule::Bp { cfa, bp },
            LOAD => Rule::Load {
                cfa: cfa as i32 - CFA_BIAS,
                bp: bp as i32 - RBP_BIAS,
            },
            _ => SPECIALS
                .get((cfa as usize).wrapping_sub(1))
                .copied()
                .unwrap_or(Rule::General),
        }
    }

    /// Bytes from SP up to the CFA, if the packed rule is [`Rule::Sp`].
    #[inline(always)]
    pub fn packed_sp(word: u64) -> Option<usize> {
        (word & KIND_MASK == SP).then_some(packed_cfa_bytes(word))
    }

    /// Bytes from RBP up to the CFA, if the packed rule is [`Rule::Bp`].
    #[inline(always)]
    pub fn packed_bp(word: u64) -> Option<usize> {
        (word & KIND_MASK == BP).then_some(packed_cfa_bytes(word))
    }

    /// Bytes from the CFA down to the saved RBP, 0 if it is not changed, in a packed [`Rule::Sp`]
    /// or [`Rule::Bp`].
    #[inline(always)]
    pub fn packed_saved_bp(word: u64) -> usize {
        (word >> (RBP_SHIFT - 3)) as usize & ((1 << RBP_BITS) - 1) << 3
    }

    /// The rule that a row of call frame information amounts to.
    pub fn of_row(row: &Row, signal: bool, tables: &impl Tables) -> Rule {
        if row.register(RETURN) == RegisterRule::Undefined {
            return Rule::End;
        }
        let simple = if signal {
            signal_rule(row, tables)
        } else {
            frame_rule(row, tables)
        };
        simple.unwrap_or(Rule::General)
    }
}

#[inline(always)]
fn packed_cfa_bytes(word: u64) -> usize {
    const MASK: usize = ((1 << CFA_BITS) - 1) << CFA_SHIFT;
    (word as usize & MASK) << (3 - CFA_SHIFT)
}

/// Words in a number of bytes, if it is whole ones.
fn words(bytes: i64) -> Option<i32> {
    (bytes % 8 == 0)
        .then(|| i32::try_from(bytes / 8).ok())
        .flatten()
}

fn frame_rule(row: &Row, tables: &impl Tables) -> Option<Rule> {
    if row.register(RETURN) != RegisterRule::At(-8) || row.register(RSP) != RegisterRule::Same {
        return None;
    }
    // Words from the CFA down to the saved RBP.
    let saved_bp = || match row.register(RBP) {
        RegisterRule::Same => Some(0),
        RegisterRule::At(offset) => words(offset.checked_neg()?)
            .and_then(|w| u32::try_from(w).ok())
            .filter(|&w| w > 0),
        _ => None,
    };
    match row.cfa {
        CfaRule::Register { register, offset } if register == RSP as u64 => {
            let (cfa, bp) = (u32::try_from(words(offset)?).ok()?, saved_bp()?);
            (cfa >= 1 && bp <= cfa).then_some(Rule::Sp { cfa, bp })
        }
        CfaRule::Register { register, offset } if register == RBP as u64 => Some(Rule::Bp {
            cfa: u32::try_from(words(offset)?).ok()?,
            bp: saved_bp()?,
        }),
        CfaRule::Expression { len, addr } => {
            let (register, offset, loaded) = as_register_offset(tables, addr, len)?;
            let RegisterRule::AtExpression { len, addr } = row.register(RBP) else {
                return None;
            };
            let (base, bp_offset, bp_loaded) = as_register_offset(tables, addr, len)?;
            let bases = (register, loaded, base, bp_loaded);
            let (cfa, bp) = (words(offset)?, words(bp_offset)?);
            let fits = cfa.abs() < CFA_BIAS && bp.abs() < RBP_BIAS;
            (bases == (RBP as u64, true, RBP as u64, false) && fits)
                .then_some(Rule::Load { cfa, bp })
        }
        _ => None,
    }
}

/// The kernel's own layout, described as libc describes it.
fn signal_rule(row: &Row, tables: &impl Tables) -> Option<Rule> {
    let at = |column: usize, offset: usize| {
        let RegisterRule::AtExpression { len, addr } = row.register(column) else {
            return false;
        };
        as_register_offset(tables, addr, len) == Some((RSP as u64, offset as i64, false))
    };
    let by_layout =
        at(RBP, signal_frame::RBP) && at(RSP, signal_frame::RSP) && at(RETURN, signal_frame::RIP);
    by_layout.then_some(Rule::Signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_is_exact_or_general() {
        let mut rules = SPECIALS.to_vec();
        for cfa in [1, 2, 16383] {
            for bp in [0, 2, 1023] {
                rules.push(Rule::Sp { cfa, bp });
                rules.push(Rule::Bp { cfa, bp });
            }
        }
        for cfa in [-8192, -1, 0, 1, 8191] {
            for bp in [-512, -1, 0, 1, 511] {
                rules.push(Rule::Load { cfa, bp });
            }
        }
        for rule in rules {
            let packed = rule.pack();
            assert_ne!(packed, 0);
            assert_eq!(packed >> KEY_SHIFT, 0);
            let tagged = packed | 12345 << KEY_SHIFT;
            assert_eq!(Rule::unpack(tagged), rule);
            if let Rule::Sp { cfa, bp } = rule {
                assert_eq!(Rule::packed_sp(tagged), Some(cfa as usize * 8));
                assert_eq!(Rule::packed_saved_bp(tagged), bp as usize * 8);
            } else if let Rule::Bp { cfa, bp } = rule {
                assert_eq!(Rule::packed_bp(tagged), Some(cfa as usize * 8));
                assert_eq!(Rule::packed_saved_bp(tagged), bp as usize * 8);
            } else {
                assert_eq!(
                    (Rule::packed_sp(tagged), Rule::packed_bp(tagged)),
                    (None, None)
                );
            }
        }
        for rule in [
            Rule::Sp { cfa: 16384, bp: 0 },
            Rule::Sp { cfa: 1, bp: 1024 },
            Rule::Bp { cfa: 70000, bp: 2 },
            Rule::Load { cfa: 8192, bp: 0 },
            Rule::Load { cfa: -8193, bp: 0 },
            Rule::Load { cfa: 0, bp: 512 },
        ] {
            assert_eq!(Rule::unpack(rule.pack()), Rule::General, "{rule:?}");
        }
    }
}
