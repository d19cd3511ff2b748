//! Owns the evaluation of DWARF expressions, as call frame information uses them.
//!
//! Never reads memory itself: the context does, and may refuse. Ends after a bounded number of
//! steps whatever the bytes say.

use super::reader::{Reader, Tables};

/// What an expression may ask about the frame.
pub trait Context {
    /// The value of a register by DWARF number, if it is known.
    fn register(&self, number: u64) -> Option<u64>;
    /// Eight bytes of memory, if they may be read.
    fn word(&mut self, addr: u64) -> Option<u64>;
}

/// Values that an expression may keep at once.
const STACK: usize = 24;
/// Operations that one evaluation may take.
const STEPS: usize = 500;

struct Stack {
    values: [u64; STACK],
    len: usize,
}

impl Stack {
    fn push(&mut self, value: u64) -> Option<()> {
        *self.values.get_mut(self.len)? = value;
        self.len += 1;
        Some(())
    }

    fn pop(&mut self) -> Option<u64> {
        self.len = self.len.checked_sub(1)?;
        self.values.get(self.len).copied()
    }

    /// The value `depth` below the top.
    fn peek(&self, depth: u64) -> Option<u64> {
        let at = (self.len as u64).checked_sub(1)?.checked_sub(depth)?;
        self.values.get(at as usize).copied()
    }

    fn unary(&mut self, f: impl FnOnce(u64) -> u64) -> Option<()> {
        let a = self.pop()?;
        self.push(f(a))
    }

    /// `f` gets the second value from the top first.
    fn binary(&mut self, f: impl FnOnce(u64, u64) -> Option<u64>) -> Option<()> {
        let b = self.pop()?;
        let a = self.pop()?;
        self.push(f(a, b)?)
    }
}

/// Evaluates the `len` bytes at `addr`; `initial`, if any, is on the stack to begin with.
pub fn evaluate(
    tables: &impl Tables,
    addr: usize,
    len: u32,
    initial: Option<u64>,
    context: &mut impl Context,
) -> Option<u64> {
    let whole = Reader::at(tables, addr)?.take(len as usize)?;
    let mut code = whole;
    let mut s = Stack {
        values: [0; STACK],
        len: 0,
    };
    if let Some(value) = initial {
        s.push(value)?;
    }
    for _ in 0..STEPS {
        if code.is_empty() {
            return s.pop();
        }
        let op = code.u8()?;
        match op {
            0x03 => s.push(code.u64()?)?,
            0x06 => {
                let addr = s.pop()?;
                s.push(context.word(addr)?)?;
            }
            0x08 => s.push(u64::from(code.u8()?))?,
            0x09 => s.push(code.u8()? as i8 as u64)?,
            0x0a => s.push(u64::from(code.u16()?))?,
            0x0b => s.push(code.u16()? as i16 as u64)?,
            0x0c => s.push(u64::from(code.u32()?))?,
            0x0d => s.push(code.u32()? as i32 as u64)?,
            0x0e | 0x0f => s.push(code.u64()?)?,
            0x10 => s.push(code.uleb()?)?,
            0x11 => s.push(code.sleb()? as u64)?,
            0x12 => s.push(s.peek(0)?)?,
            0x13 => {
                s.pop()?;
            }
            0x14 => s.push(s.peek(1)?)?,
            0x15 => {
                let depth = u64::from(code.u8()?);
                s.push(s.peek(depth)?)?;
            }
            0x16 => {
                let (b, a) = (s.pop()?, s.pop()?);
                s.push(b)?;
                s.push(a)?;
            }
            0x17 => {
                let (c, b, a) = (s.pop()?, s.pop()?, s.pop()?);
                s.push(c)?;
                s.push(a)?;
                s.push(b)?;
            }
            0x19 => s.unary(|a| (a as i64).unsigned_abs())?,
            0x1a => s.binary(|a, b| Some(a & b))?,
            0x1b => s.binary(|a, b| (a as i64).checked_div(b as i64).map(|q| q as u64))?,
            0x1c => s.binary(|a, b| Some(a.wrapping_sub(b)))?,
            0x1d => s.binary(|a, b| a.checked_rem(b))?,
            0x1e => s.binary(|a, b| Some(a.wrapping_mul(b)))?,
            0x1f => s.unary(u64::wrapping_neg)?,
            0x20 => s.unary(|a| !a)?,
            0x21 => s.binary(|a, b| Some(a | b))?,
            0x22 => s.binary(|a, b| Some(a.wrapping_add(b)))?,
            0x23 => {
                let n = code.uleb()?;
                s.unary(|a| a.wrapping_add(n))?;
            }
            0x24 => s.binary(|a, b| Some(if b < 64 { a << b } else { 0 }))?,
            0x25 => s.binary(|a, b| Some(if b < 64 { a >> b } else { 0 }))?,
            0x26 => s.binary(|a, b| Some((a as i64 >> b.min(63)) as u64))?,
            0x27 => s.binary(|a, b| Some(a ^ b))?,
            0x28 | 0x2f => {
                let delta = code.u16()? as i16;
                if op == 0x2f || s.pop()? != 0 {
                    let at = (code.addr - whole.addr).checked_add_signed(isize::from(delta))?;
                    code = whole;
                    code.take(at)?;
                }
            }
            0x29 => s.binary(|a, b| Some(u64::from(a == b)))?,
            0x2a => s.binary(|a, b| Some(u64::from(a as i64 >= b as i64)))?,
            0x2b => s.binary(|a, b| Some(u64::from(a as i64 > b as i64)))?,
            0x2c => s.binary(|a, b| Some(u64::from(a as i64 <= b as i64)))?,
            0x2d => s.binary(|a, b| Some(u64::from((a as i64) < b as i64)))?,
            0x2e => s.binary(|a, b| Some(u64::from(a != b)))?,
            0x30..=0x4f => s.push(u64::from(op - 0x30))?,
            0x50..=0x6f => s.push(context.register(u64::from(op - 0x50))?)?,
            0x70..=0x8f => {
                let offset = code.sleb()? as u64;
                s.push(context.register(u64::from(op - 0x70))?.wrapping_add(offset))?;
            }
            0x90 => {
                let number = code.uleb()?;
                s.push(context.register(number)?)?;
            }
            0x92 => {
                let (number, offset) = (code.uleb()?, code.sleb()? as u64);
                s.push(context.register(number)?.wrapping_add(offset))?;
            }
            0x94 => {
                let bytes = code.u8()?;
                let addr = s.pop()?;
                let word = context.word(addr)?;
                s.push(match bytes {
                    1 | 2 | 4 => word & ((1 << (8 * bytes)) - 1),
                    8 => word,
                    _ => return None,
                })?;
            }
            0x96 => {}
            _ => return None,
        }
    }
    None
}

/// The offset, if the expression is nothing but "register plus offset", optionally followed by a
/// load: `(register, offset, loaded)`.
pub fn as_register_offset(tables: &impl Tables, addr: usize, len: u32) -> Option<(u64, i64, bool)> {
    let mut code = Reader::at(tables, addr)?.take(len as usize)?;
    let op = code.u8()?;
    if !(0x70..=0x8f).contains(&op) {
        return None;
    }
    let offset = code.sleb()?;
    let loaded = !code.is_empty();
    if loaded && code.u8()? != 0x06 {
        return None;
    }
    code.is_empty()
        .then_some((u64::from(op - 0x70), offset, loaded))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Frame;

    impl Context for Frame {
        fn register(&self, number: u64) -> Option<u64> {
            (number < 17).then_some(1000 * number)
        }
        fn word(&mut self, addr: u64) -> Option<u64> {
            (addr > 100).then_some(addr + 1)
        }
    }

    fn eval(code: &[u8]) -> Option<u64> {
        let code = code.to_vec();
        evaluate(&code, 0, code.len() as u32, None, &mut Frame)
    }

    #[test]
    fn the_procedure_linkage_table() {
        // breg7 8; breg16 0; lit15; and; lit11; ge; lit3; shl; plus
        let plt = [0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
        assert_eq!(eval(&plt), Some(7008)); // 16000 & 15 is 0
    }

    #[test]
    fn arithmetic_and_branches() {
        assert_eq!(eval(&[0x77, 0xa0, 1, 6]), Some(7161));
        assert_eq!(eval(&[0x35, 0x33, 0x1c]), Some(2));
        assert_eq!(eval(&[0x35, 0x30, 0x1b]), None);
        assert_eq!(eval(&[0x31, 0x28, 1, 0, 0x42, 0x35]), Some(5));
        assert_eq!(eval(&[0x30, 0x28, 1, 0, 0x42, 0x35]), Some(5));
        assert_eq!(eval(&[0x31, 0x2f, 0xfc, 0xff]), None);
        assert_eq!(eval(&[0x22]), None);
        assert_eq!(eval(&[0x31, 0x32, 0x33, 0x17]), Some(2));
    }

    #[test]
    fn simple_forms_are_recognised() {
        let form = |code: &[u8]| as_register_offset(&code.to_vec(), 0, code.len() as u32);
        assert_eq!(form(&[0x76, 0x78, 0x06]), Some((6, -8, true)));
        assert_eq!(form(&[0x76, 0]), Some((6, 0, false)));
        assert_eq!(form(&[0x76, 0, 0x96]), None);
        assert_eq!(form(&[0x76, 0, 0x06, 0x06]), None);
    }
}
