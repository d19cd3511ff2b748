//! Owns call frame instructions: from a frame description to the rules in force at one address.
//!
//! The working state lives in the caller's scratch memory, not on the host's stack. Never loops
//! beyond the instructions' bytes; anything malformed is `None`.

use super::eh_frame::Frame;
use super::reader::Reader;

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

/// The rules in force at an address.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The canonical frame address.
    pub cfa: CfaRule,
    /// The caller's registers, by DWARF number.
    pub registers: [RegisterRule; COLUMNS],
}

impl Row {
    const EMPTY: Row = Row {
        cfa: CfaRule::Unset,
        registers: [RegisterRule::Same; COLUMNS],
    };

    /// The rule of a column; columns that are not kept count as unchanged.
    pub fn register(&self, column: usize) -> RegisterRule {
        self.registers
            .get(column)
            .copied()
            .unwrap_or(RegisterRule::Same)
    }

    fn set(&mut self, column: u64, rule: RegisterRule) {
        // Vector registers and the like are no one's concern here.
        if let Some(slot) = usize::try_from(column)
            .ok()
            .and_then(|c| self.registers.get_mut(c))
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

    /// The rules in force at `pc`, which the frame covers.
    pub fn rules_at(&mut self, frame: &Frame, pc: usize) -> Option<&Row> {
        self.row = Row::EMPTY;
        self.initial = Row::EMPTY;
        self.depth = 0;
        self.run(frame, frame.initial, None)?;
        self.initial = self.row;
        self.run(frame, frame.instructions, Some(pc))?;
        Some(&self.row)
    }

    /// Runs instructions up to `pc`, or all of them.
    fn run(&mut self, frame: &Frame, mut code: Reader, pc: Option<usize>) -> Option<()> {
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
                    self.row.set(low, At(offset));
                }
                0xc0..=0xff => self.restore(low),
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
                    self.row.set(column, At(factored(offset, frame)?));
                }
                0x06 => self.restore(code.uleb()?),
                0x07 => self.row.set(code.uleb()?, Undefined),
                0x08 => self.row.set(code.uleb()?, Same),
                0x09 => {
                    let (column, source) = (code.uleb()?, code.uleb()?);
                    self.row.set(column, Register(source));
                }
                0x0a => {
                    *self.remembered.get_mut(self.depth)? = self.row;
                    self.depth += 1;
                }
                0x0b => {
                    self.depth = self.depth.checked_sub(1)?;
                    self.row = *self.remembered.get(self.depth)?;
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
                    self.row.set(column, AtExpression { len, addr });
                }
                0x11 => {
                    let (column, offset) = (code.uleb()?, code.sleb()?);
                    self.row
                        .set(column, At(offset.checked_mul(frame.data_align)?));
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
                    self.row.set(column, Is(factored(offset, frame)?));
                }
                0x15 => {
                    let (column, offset) = (code.uleb()?, code.sleb()?);
                    self.row
                        .set(column, Is(offset.checked_mul(frame.data_align)?));
                }
                0x16 => {
                    let column = code.uleb()?;
                    let (len, addr) = block(&mut code)?;
                    self.row.set(column, IsExpression { len, addr });
                }
                // DW_CFA_GNU_args_size: of no use without landing pads.
                0x2e => {
                    code.uleb()?;
                }
                // DW_CFA_GNU_negative_offset_extended
                0x2f => {
                    let (column, offset) = (code.uleb()?, code.uleb()?);
                    self.row
                        .set(column, At(factored(offset, frame)?.checked_neg()?));
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

    fn restore(&mut self, column: u64) {
        let rule = self
            .initial
            .register(usize::try_from(column).unwrap_or(usize::MAX));
        self.row.set(column, rule);
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
