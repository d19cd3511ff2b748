//! Owns call frame instructions: from a frame description to the rules in force at one address.
//!
//! The working state lives in the caller's scratch memory, not on the host's stack. Never loops
//! beyond the instructions' bytes; anything malformed is `None`.

use super::eh_frame::Frame;
use super::reader::Reader;
use super::x86_64::{RBP, RETURN, RSP};

/// Columns kept: the general registers and the return address (`x86_64` numbering).
pub const COLUMNS: usize = 17;

/// Deepest nesting of `DW_CFA_remember_state`.
const MAX_REMEMBERED: usize = 6;

/// How to find the caller's value of a register. All zero bytes are `Same`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterRule {
    /// Not changed by this frame.
    Same = 0,
    /// Lost; for the return address: this is the outermost frame.
    Undefined,
    /// Saved at CFA + n.
    At(i64),
    /// Is CFA + n.
    Is(i64),
    /// Is in another register.
    Register(u64),
    /// Saved where an expression says.
    AtExpression {
        /// Bytes of the expression.
        len: u32,
        /// Address of its first byte.
        addr: usize,
    },
    /// Is what an expression says.
    IsExpression {
        /// Bytes of the expression.
        len: u32,
        /// Address of its first byte.
        addr: usize,
    },
}

/// How to find the canonical frame address: the caller's SP before its call. All zero bytes are
/// `Unset`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CfaRule {
    /// No rule given.
    Unset = 0,
    /// A register plus an offset.
    Register {
        /// Which.
        register: u64,
        /// Bytes to add.
        offset: i64,
    },
    /// What an expression says.
    Expression {
        /// Bytes of the expression.
        len: u32,
        /// Address of its first byte.
        addr: usize,
    },
}

/// Which columns are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that tell the rule of a usual frame: RBP, the return address, RSP.
    Few = 3,
    /// Those that are kept at all.
    All = COLUMNS as isize,
}

/// Where a row keeps a column: those of [`Wanted::Few`] come first, in the places of those that they
/// change with.
const fn place(column: usize) -> usize {
    match column {
        RBP => 0,
        RETURN => 1,
        RSP => 2,
        0 => RBP,
        1 => RETURN,
        2 => RSP,
        other => other,
    }
}

/// The rules in force at an address.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The canonical frame address.
    pub cfa: CfaRule,
    /// The caller's registers, see [`place`].
    registers: [RegisterRule; COLUMNS],
}

impl Row {
    const EMPTY: Row = Row {
        cfa: CfaRule::Unset,
        registers: [RegisterRule::Same; COLUMNS],
    };

    /// The rule of a column; columns that are not kept count as unchanged.
    pub fn register(&self, column: usize) -> RegisterRule {
        self.registers
            .get(place(column))
            .copied()
            .unwrap_or(RegisterRule::Same)
    }

    /// Takes over another row. A large function remembers its rules at each of its returns, and all
    /// of them lie before the last of its calls.
    #[inline(always)]
    fn take<const COUNT: usize>(&mut self, other: &Row) {
        self.cfa = other.cfa;
        let rules = self.registers.iter_mut().zip(&other.registers);
        for (rule, other) in rules.take(COUNT) {
            *rule = *other;
        }
    }

    #[inline(always)]
    fn set<const COUNT: usize>(&mut self, column: u64, rule: RegisterRule) {
        // Vector registers and the like are no one's concern here.
        let place = usize::try_from(column).map_or(usize::MAX, place);
        if place < COUNT
            && let Some(slot) = self.registers.get_mut(place)
        {
            *slot = rule;
        }
    }
}

/// Working state of the interpreter; zeroed memory is a valid one.
#[repr(C)]
pub struct Machine {
    row: Row,
    initial: Row,
    remembered: [Row; MAX_REMEMBERED],
    depth: usize,
}

impl Machine {
    /// A machine for use outside scratch memory.
    pub const fn new() -> Machine {
        Machine {
            row: Row::EMPTY,
            initial: Row::EMPTY,
            remembered: [Row::EMPTY; MAX_REMEMBERED],
            depth: 0,
        }
    }

    /// The rules in force at `pc`, which the frame covers; those of columns that are not wanted are
    /// `Same`.
    pub fn rules_at(&mut self, frame: &Frame, pc: usize, wanted: Wanted) -> Option<&Row> {
        self.row = Row::EMPTY;
        self.depth = 0;
        match wanted {
            Wanted::Few => self.run::<{ Wanted::Few as usize }>(frame, pc)?,
            Wanted::All => self.run::<COLUMNS>(frame, pc)?,
        }
        Some(&self.row)
    }

    fn run<const COUNT: usize>(&mut self, frame: &Frame, pc: usize) -> Option<()> {
        self.initial.take::<COUNT>(&Row::EMPTY);
        self.run_code::<COUNT>(frame, frame.initial, None)?;
        self.initial.take::<COUNT>(&self.row);
        self.run_code::<COUNT>(frame, frame.instructions, Some(pc))
    }

    /// Runs instructions up to `pc`, or all of them.
    fn run_code<const COUNT: usize>(
        &mut self,
        frame: &Frame,
        mut code: Reader,
        pc: Option<usize>,
    ) -> Option<()> {
        use RegisterRule::{At, AtExpression, Is, IsExpression, Register, Same, Undefined};
        let mut location = frame.start;
        while !code.is_empty() {
            let op = code.u8()?;
            let low = u64::from(op & 0x3f);
            let mut next = None;
            match op {
                0x40..=0x7f => next = Some(low),
                0x80..=0xbf => {
                    let offset = factored(code.uleb()?, frame)?;
                    self.row.set::<COUNT>(low, At(offset));
                }
                0xc0..=0xff => self.restore::<COUNT>(low),
                0x00 => {}
                0x01 => {
                    location = code.pointer(frame.encoding, 0)?;
                    if pc.is_some_and(|pc| location > pc) {
                        return Some(());
                    }
                }
                0x02 => next = Some(u64::from(code.u8()?)),
                0x03 => next = Some(u64::from(code.u16()?)),
                0x04 => next = Some(u64::from(code.u32()?)),
                0x05 => {
                    let (column, offset) = (code.uleb()?, code.uleb()?);
                    self.row.set::<COUNT>(column, At(factored(offset, frame)?));
                }
                0x06 => self.restore::<COUNT>(code.uleb()?),
                0x07 => self.row.set::<COUNT>(code.uleb()?, Undefined),
                0x08 => self.row.set::<COUNT>(code.uleb()?, Same),
                0x09 => {
                    let (column, source) = (code.uleb()?, code.uleb()?);
                    self.row.set::<COUNT>(column, Register(source));
                }
                0x0a => {
                    self.remembered
                        .get_mut(self.depth)?
                        .take::<COUNT>(&self.row);
                    self.depth += 1;
                }
                0x0b => {
                    self.depth = self.depth.checked_sub(1)?;
                    self.row.take::<COUNT>(self.remembered.get(self.depth)?);
                }
                0x0c => {
                    let (register, offset) = (code.uleb()?, i64::try_from(code.uleb()?).ok()?);
                    self.row.cfa = CfaRule::Register { register, offset };
                }
                0x0d => {
                    let CfaRule::Register { offset, .. } = self.row.cfa else {
                        return None;
                    };
                    self.row.cfa = CfaRule::Register {
                        register: code.uleb()?,
                        offset,
                    };
                }
                0x0e => self.set_cfa_offset(i64::try_from(code.uleb()?).ok()?)?,
                0x0f => {
                    let (len, addr) = block(&mut code)?;
                    self.row.cfa = CfaRule::Expression { len, addr };
                }
                0x10 => {
                    let column = code.uleb()?;
                    let (len, addr) = block(&mut code)?;
                    self.row.set::<COUNT>(column, AtExpression { len, addr });
                }
                0x11 => {
                    let (column, offset) = (code.uleb()?, code.sleb()?);
                    self.row
                        .set::<COUNT>(column, At(offset.checked_mul(frame.data_align)?));
                }
                0x12 => {
                    let (register, offset) = (code.uleb()?, code.sleb()?);
                    self.row.cfa = CfaRule::Register {
                        register,
                        offset: offset.checked_mul(frame.data_align)?,
                    };
                }
                0x13 => self.set_cfa_offset(code.sleb()?.checked_mul(frame.data_align)?)?,
                0x14 => {
                    let (column, offset) = (code.uleb()?, code.uleb()?);
                    self.row.set::<COUNT>(column, Is(factored(offset, frame)?));
                }
                0x15 => {
                    let (column, offset) = (code.uleb()?, code.sleb()?);
                    self.row
                        .set::<COUNT>(column, Is(offset.checked_mul(frame.data_align)?));
                }
                0x16 => {
                    let column = code.uleb()?;
                    let (len, addr) = block(&mut code)?;
                    self.row.set::<COUNT>(column, IsExpression { len, addr });
                }
                // DW_CFA_GNU_args_size: of no use without landing pads.
                0x2e => {
                    code.uleb()?;
                }
                // DW_CFA_GNU_negative_offset_extended
                0x2f => {
                    let (column, offset) = (code.uleb()?, code.uleb()?);
                    self.row
                        .set::<COUNT>(column, At(factored(offset, frame)?.checked_neg()?));
                }
                _ => return None,
            }
            if let Some(delta) = next {
                let bytes = delta.checked_mul(frame.code_align)?;
                location = location.checked_add(usize::try_from(bytes).ok()?)?;
                if pc.is_some_and(|pc| location > pc) {
                    return Some(());
                }
            }
        }
        Some(())
    }

    fn set_cfa_offset(&mut self, offset: i64) -> Option<()> {
        let CfaRule::Register { register, .. } = self.row.cfa else {
            return None;
        };
        self.row.cfa = CfaRule::Register { register, offset };
        Some(())
    }

    fn restore<const COUNT: usize>(&mut self, column: u64) {
        let rule = self
            .initial
            .register(usize::try_from(column).unwrap_or(usize::MAX));
        self.row.set::<COUNT>(column, rule);
    }
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new()
    }
}

fn factored(offset: u64, frame: &Frame) -> Option<i64> {
    i64::try_from(offset).ok()?.checked_mul(frame.data_align)
}

fn block(code: &mut Reader) -> Option<(u32, usize)> {
    let len = u32::try_from(code.uleb()?).ok()?;
    let body = code.take(len as usize)?;
    Some((len, body.addr))
}
