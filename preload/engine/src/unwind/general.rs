//! Owns the walk that knows all registers: for stacks with a frame whose rule needs more than SP
//! and RBP.
//!
//! It starts at our own frames, whose call frame information tells what the caller's registers
//! were. Slow and uncached; correctness is all it is for.

use super::bounds::{self, Bounds};
use super::cfi::{COLUMNS, CfaRule, RegisterRule, Row, Wanted};
use super::expression::{self, Context};
use super::learn::{Loaded, describe};
use super::rule::Rule;
use super::trail::{Ending, Trail, is_plausible};
use super::x86_64::{RBP, RBX, RETURN, RSP, own_registers, signal_frame};
use super::{Entry, Scratch};

/// Register values, by DWARF number.
#[derive(Clone, Copy)]
struct Registers {
    values: [usize; COLUMNS],
    known: u32,
}

impl Registers {
    fn get(&self, number: usize) -> Option<usize> {
        let known = number < COLUMNS && self.known >> number & 1 == 1;
        self.values.get(number).copied().filter(|_| known)
    }

    fn set(&mut self, number: usize, value: Option<usize>) {
        if let (Some(slot), Some(value)) = (self.values.get_mut(number), value) {
            *slot = value;
            self.known |= 1 << number;
        } else {
            self.known &= !(1u32.checked_shl(number as u32).unwrap_or(0));
        }
    }
}

/// Memory as the walk may read it: the stack directly, anything else through the kernel.
struct Memory {
    low: usize,
    high: usize,
}

impl Memory {
    fn word(&self, addr: usize) -> Option<usize> {
        if self.low <= addr && addr.checked_add(8)? <= self.high {
            // SAFETY: between SP and the known top of its stack.
            return Some(unsafe { (addr as *const usize).read_unaligned() });
        }
        let mut bytes = [0; 8];
        bounds::read_unknown(addr, &mut bytes).then(|| usize::from_le_bytes(bytes))
    }
}

struct Asked<'a> {
    registers: &'a Registers,
    memory: &'a Memory,
}

impl Context for Asked<'_> {
    fn register(&self, number: u64) -> Option<u64> {
        self.registers
            .get(usize::try_from(number).ok()?)
            .map(|v| v as u64)
    }

    fn word(&mut self, addr: u64) -> Option<u64> {
        self.memory.word(addr as usize).map(|v| v as u64)
    }
}

/// Walks from our own frame; the trail gets the frames from the hook's caller on.
///
/// # Safety
/// As for [`super::capture`].
#[cold]
#[inline(never)]
pub unsafe fn walk(scratch: &mut Scratch, entry: Entry, trail: &mut Trail) -> Ending {
    const CALLEE_SAVED: u32 = 1 << RBX | 1 << RBP | 1 << RSP | 0xf << 12 | 1 << RETURN;
    let mut registers = Registers {
        values: own_registers(),
        known: CALLEE_SAVED,
    };
    let mut exact = true;
    let mut ours = true;
    loop {
        if !ours {
            let pc = registers.get(RETURN).unwrap_or(0);
            if !is_plausible(pc) {
                return if pc == 0 {
                    Ending::Complete
                } else {
                    Ending::Broken
                };
            }
            if trail.is_full() {
                return Ending::Cut;
            }
        }
        // SAFETY: the pc is that of a frame of this thread.
        let step = unsafe { step(scratch, &mut registers, exact) };
        if !ours && step != Step::Astray {
            trail.push(registers_pc(step, &registers));
            if exact {
                trail.mark_exact();
            }
        }
        match step {
            Step::Caller { exact: next, .. } => exact = next,
            Step::Outermost { .. } if !ours => return Ending::Complete,
            _ if !ours => return Ending::Broken,
            _ => registers.set(RSP, Some(usize::MAX)),
        }
        if ours && registers.get(RSP).is_none_or(|sp| sp > entry.sp) {
            ours = false;
            exact = false;
            if registers.get(RSP) != Some(entry.sp + 8) || registers.get(RBP) != Some(entry.bp) {
                // Our own frames are not described: only what the entry says is known.
                registers.known = 0;
                registers.set(RSP, Some(entry.sp + 8));
                registers.set(RBP, Some(entry.bp));
            }
            // SAFETY: at the entry, SP points at the return address.
            registers.set(RETURN, Some(unsafe { *(entry.sp as *const usize) }));
        }
    }
}

/// What a step led to; `pc` is that of the frame left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Caller { pc: usize, exact: bool },
    Outermost { pc: usize },
    Stuck { pc: usize },
    Astray,
}

fn registers_pc(step: Step, registers: &Registers) -> usize {
    match step {
        Step::Caller { pc, .. } | Step::Outermost { pc } | Step::Stuck { pc } => pc,
        Step::Astray => registers.get(RETURN).unwrap_or(0),
    }
}

/// Replaces the registers by the caller's.
///
/// # Safety
/// The registers are those of a frame of this thread.
unsafe fn step(scratch: &mut Scratch, registers: &mut Registers, exact: bool) -> Step {
    let (Some(pc), Some(sp)) = (registers.get(RETURN), registers.get(RSP)) else {
        return Step::Astray;
    };
    let Scratch {
        bounds, machine, ..
    } = scratch;
    // SAFETY: passed on to the caller.
    let described = unsafe { describe(machine, pc, exact, Wanted::All) };
    let Some(high) = bounds.top(sp) else {
        return Step::Stuck { pc };
    };
    let mut memory = Memory { low: sp, high };
    let next = match (described.rule, described.row) {
        (Rule::End, _) => return Step::Outermost { pc },
        (Rule::Broken, _) => return Step::Astray,
        (Rule::Chain, _) => chain(registers, &mut memory, bounds),
        (Rule::Signal, _) => signal(registers, &memory),
        (Rule::Sp { cfa, bp }, None) => by_words(cfa, bp, registers, &mut memory, bounds),
        (_, Some((row, tables))) => by_row(row, &tables, registers, &mut memory, bounds),
        _ => None,
    };
    let Some(next) = next else {
        return Step::Stuck { pc };
    };
    // A caller is above its callee, or on another stack.
    let signal = described.rule == Rule::Signal;
    let Some(next_sp) = next.get(RSP) else {
        return Step::Stuck { pc };
    };
    if !signal && memory.low < next_sp && next_sp <= memory.high
        || bounds.switch(sp, next_sp).is_some()
    {
        *registers = next;
        return Step::Caller { pc, exact: signal };
    }
    Step::Stuck { pc }
}

fn chain(registers: &Registers, memory: &mut Memory, bounds: &mut Bounds) -> Option<Registers> {
    let bp = registers
        .get(RBP)
        .filter(|bp| bp.is_multiple_of(8) && *bp >= memory.low)?;
    let end = bp.checked_add(16)?;
    if end > memory.high {
        memory.high = bounds.extend(end)?;
    }
    let mut next = Registers {
        values: [0; COLUMNS],
        known: 0,
    };
    next.set(RBP, memory.word(bp));
    next.set(RETURN, memory.word(bp + 8));
    next.set(RSP, Some(end));
    Some(next)
}

/// By a rule that code itself gave, which changes nothing but SP and perhaps RBP.
fn by_words(
    cfa: u32,
    bp: u32,
    registers: &Registers,
    memory: &mut Memory,
    bounds: &mut Bounds,
) -> Option<Registers> {
    let cfa = registers.get(RSP)?.checked_add(cfa as usize * 8)?;
    if cfa > memory.high {
        memory.high = bounds.extend(cfa)?;
    }
    let mut next = *registers;
    next.set(RSP, Some(cfa));
    if bp > 0 {
        next.set(RBP, memory.word(cfa.checked_sub(bp as usize * 8)?));
    }
    next.set(RETURN, Some(memory.word(cfa.checked_sub(8)?)?));
    Some(next)
}

/// Everything that was interrupted is in the kernel's frame.
fn signal(registers: &Registers, memory: &Memory) -> Option<Registers> {
    let sp = registers.get(RSP)?;
    let mut next = Registers {
        values: [0; COLUMNS],
        known: 0,
    };
    for (number, offset) in signal_frame::BY_NUMBER.iter().enumerate() {
        next.set(number, Some(memory.word(sp.checked_add(*offset)?)?));
    }
    Some(next)
}

fn by_row(
    row: &Row,
    tables: &Loaded,
    registers: &Registers,
    memory: &mut Memory,
    bounds: &mut Bounds,
) -> Option<Registers> {
    let evaluate = |memory: &Memory, addr, len, initial: Option<usize>| {
        let mut asked = Asked { registers, memory };
        expression::evaluate(tables, addr, len, initial.map(|v| v as u64), &mut asked)
            .map(|v| v as usize)
    };
    let cfa = match row.cfa {
        CfaRule::Unset => return None,
        CfaRule::Register { register, offset } => registers
            .get(usize::try_from(register).ok()?)?
            .wrapping_add_signed(offset as isize),
        CfaRule::Expression { len, addr } => evaluate(memory, addr, len, None)?,
    };
    if cfa > memory.high
        && let Some(high) = bounds.extend(cfa)
    {
        memory.high = high;
    }
    let mut next = *registers;
    next.set(RSP, Some(cfa));
    for number in 0..COLUMNS {
        use RegisterRule::{At, AtExpression, Is, IsExpression, Register, Same, Undefined};
        let value = match row.register(number) {
            Same if number == RETURN => return None,
            Same => continue,
            Undefined => None,
            At(offset) => memory.word(cfa.wrapping_add_signed(offset as isize)),
            Is(offset) => Some(cfa.wrapping_add_signed(offset as isize)),
            Register(source) => registers.get(usize::try_from(source).ok()?),
            AtExpression { len, addr } => {
                evaluate(memory, addr, len, Some(cfa)).and_then(|at| memory.word(at))
            }
            IsExpression { len, addr } => evaluate(memory, addr, len, Some(cfa)),
        };
        next.set(number, value);
    }
    next.get(RETURN).map(|_| next)
}
