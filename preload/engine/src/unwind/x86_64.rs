//! What is particular to x86-64: register numbers, our own registers, the kernel's signal frame,
//! and what a call looks like. A port writes the twin of this file.

use core::arch::asm;

use super::cfi::COLUMNS;
use super::rule::Rule;

/// DWARF numbers.
pub const RBX: usize = 3;
/// Frame pointer.
pub const RBP: usize = 6;
/// Stack pointer.
pub const RSP: usize = 7;
/// Column of the return address.
pub const RETURN: usize = 16;

/// Offsets from SP in the frame that the kernel builds for a signal, seen from the restorer: the
/// interrupted registers in `ucontext_t`.
pub mod signal_frame {
    /// `REG_RBP`.
    pub const RBP: usize = 120;
    /// `REG_RSP`.
    pub const RSP: usize = 160;
    /// `REG_RIP`.
    pub const RIP: usize = 168;
    /// Where each general register is, by DWARF number.
    pub const BY_NUMBER: [usize; 17] = [
        144, 136, 152, 128, 112, 104, 120, 160, 40, 48, 56, 64, 72, 80, 88, 96, 168,
    ];
}

/// `mov $15, %rax; syscall`: how every restorer begins, whatever describes it.
pub const RESTORER: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];

/// Bytes before a return address that may hold its call.
pub const CALL_MAX_BYTES: usize = 7;

/// True if the last bytes before a return address can be a call.
pub fn ends_in_call(before: &[u8; CALL_MAX_BYTES]) -> bool {
    let byte = |back: usize| {
        before
            .len()
            .checked_sub(back)
            .and_then(|i| before.get(i))
            .copied()
            .unwrap_or(0)
    };
    // call rel32, or FF /2 with its possible lengths.
    byte(5) == 0xe8
        || [2, 3, 4, 6, 7]
            .iter()
            .any(|&n| byte(n) == 0xff && byte(n - 1) >> 3 & 7 == 2)
}

/// Bytes after a return address that [`epilogue`] looks at.
pub const EPILOGUE_BYTES: usize = 8;

/// The rule that the code at a return address amounts to, if all that it does is to leave: `add
/// $n, %rsp; ret` or `pop %rbp; ret`. Nobody describes generated code, but this will be executed.
pub fn epilogue(after: &[u8; EPILOGUE_BYTES]) -> Option<Rule> {
    let words = |bytes: i32| {
        let words = u32::try_from(bytes / 8).ok()?;
        (bytes > 0 && bytes % 8 == 0).then_some(Rule::Sp {
            cfa: words + 1,
            bp: 0,
        })
    };
    match *after {
        [0x48, 0x83, 0xc4, n, 0xc3, ..] => words(i32::from(n as i8)),
        [0x48, 0x81, 0xc4, a, b, c, d, 0xc3] => words(i32::from_le_bytes([a, b, c, d])),
        [0x5d, 0xc3, ..] => Some(Rule::Sp { cfa: 2, bp: 2 }),
        _ => None,
    }
}

/// Of two pairs the one that begins with `pc`, or else the second. Without a branch, as it cannot be
/// predicted, and with both pairs at hand before `pc` is, which a compiler would not do.
#[inline(always)]
pub fn choose(pc: usize, pcs: [usize; 2], rules: [u64; 2]) -> (usize, u64) {
    let [mut found, other] = pcs;
    let [mut rule, other_rule] = rules;
    // SAFETY: compares and moves between registers.
    unsafe {
        asm!(
            "cmp {found}, {pc}",
            "cmovne {rule}, {other_rule}",
            "cmovne {found}, {other}",
            pc = in(reg) pc,
            found = inout(reg) found,
            other = in(reg) other,
            rule = inout(reg) rule,
            other_rule = in(reg) other_rule,
            options(pure, nomem, nostack)
        );
    }
    (found, rule)
}

/// The registers of the function this is inlined into, as far as a callee must keep them, with the
/// others zero, indexed by DWARF number.
#[inline(always)]
pub fn own_registers() -> [usize; COLUMNS] {
    let mut registers = [0usize; COLUMNS];
    // SAFETY: stores eight registers into the array, which has room for DWARF numbers up to 16.
    unsafe {
        asm!(
            "mov [{r} + 3*8], rbx",
            "mov [{r} + 6*8], rbp",
            "mov [{r} + 7*8], rsp",
            "mov [{r} + 12*8], r12",
            "mov [{r} + 13*8], r13",
            "mov [{r} + 14*8], r14",
            "mov [{r} + 15*8], r15",
            "lea {pc}, [rip]",
            "mov [{r} + 16*8], {pc}",
            r = in(reg) registers.as_mut_ptr(),
            pc = out(reg) _,
            options(nostack, preserves_flags)
        );
    }
    registers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_only_leaves_says_where_to() {
        let sp = |cfa, bp| Some(Rule::Sp { cfa, bp });
        for (code, rule) in [
            (b"\x48\x83\xc4\x08\xc3\xcc\xcc\xcc", sp(2, 0)),
            (b"\x48\x83\xc4\x78\xc3\xcc\xcc\xcc", sp(16, 0)),
            (b"\x48\x81\xc4\x00\x01\x00\x00\xc3", sp(33, 0)),
            (b"\x5d\xc3\xcc\xcc\xcc\xcc\xcc\xcc", sp(2, 2)),
            (b"\x48\x83\xc4\xf8\xc3\xcc\xcc\xcc", None), // takes room instead
            (b"\x48\x83\xc4\x0c\xc3\xcc\xcc\xcc", None), // no whole words
            (b"\x48\x83\xc4\x08\x90\xc3\xcc\xcc", None), // does more
            (b"\xc3\xcc\xcc\xcc\xcc\xcc\xcc\xcc", None),
        ] {
            assert_eq!(epilogue(code), rule, "{code:x?}");
        }
    }
}
