//! The walk against libgcc's unwinder, from the same point.

use super::*;
use std::cell::RefCell;
use std::vec::Vec;

struct Case {
    ours: Vec<usize>,
    theirs: Vec<usize>,
    cut: bool,
    broken: bool,
}

std::thread_local! {
    static SCRATCH: RefCell<std::boxed::Box<Scratch>> = RefCell::new(std::boxed::Box::new(Scratch::new()));
    static SEEN: RefCell<Vec<Case>> = const { RefCell::new(Vec::new()) };
}

/// The trampoline of a hook: its body gets the registers at entry.
#[unsafe(naked)]
extern "C" fn probe() {
    core::arch::naked_asm!("mov rdi, rsp", "mov rsi, rbp", "jmp {body}", body = sym body);
}

extern "C" fn body(sp: usize, bp: usize) {
    let mut theirs = Vec::new();
    // SAFETY: nothing else traces this thread meanwhile.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            theirs.push(frame.ip() as usize);
            true
        });
    }
    SCRATCH.with_borrow_mut(|scratch| {
        // SAFETY: the trampoline passes its own registers.
        let stack = unsafe { capture(scratch, Entry { sp, bp }, MAX_DEPTH) };
        // SAFETY: at entry, SP points at the return address.
        let first = unsafe { *(sp as *const usize) };
        let from = theirs
            .iter()
            .position(|&pc| pc == first)
            .expect("the oracle sees the caller");
        while theirs.last() == Some(&0) {
            theirs.pop();
        }
        let case = Case {
            ours: stack.pcs.to_vec(),
            theirs: theirs[from..].to_vec(),
            cut: stack.cut,
            broken: stack.broken,
        };
        SEEN.with_borrow_mut(|seen| seen.push(case));
    });
}

fn check() {
    let seen = SEEN.with_borrow_mut(core::mem::take);
    assert!(!seen.is_empty());
    for case in seen {
        assert_eq!(case.ours, case.theirs);
        assert!(!case.broken && !case.cut);
    }
}

fn setup() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        modules::init();
        init();
    });
}

#[inline(never)]
fn recurse(n: usize) -> usize {
    if n == 0 {
        probe();
        return 1;
    }
    std::hint::black_box(recurse(n - 1)) + 1
}

#[test]
fn recursion() {
    setup();
    for depth in [0, 1, 5, 50, 200] {
        recurse(depth);
    }
    check();
}
