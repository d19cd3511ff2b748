//! What a stack costs: nanoseconds per capture and per frame, with all rules learnt.
//!
//! `cargo bench -p leaktrack-engine --bench capture`

use std::hint::black_box;
use std::time::Instant;

use leaktrack_engine::sites::{self, Kind};
use leaktrack_engine::unwind::{self, Entry, MAX_DEPTH, Scratch};
use leaktrack_recording::Call;

struct Run {
    scratch: Scratch,
    captures: u64,
    frames: u64,
    site: u32,
    what: What,
}

/// What the hook does.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Nothing,
    Capture,
    Site,
}

/// The trampoline of a hook: its body gets the registers at entry.
#[unsafe(naked)]
extern "C" fn hook(run: &mut Run) {
    core::arch::naked_asm!("mov rsi, rsp", "mov rdx, rbp", "jmp {body}", body = sym body);
}

extern "C" fn body(run: &mut Run, sp: usize, bp: usize) {
    run.captures += 1;
    if run.what == What::Nothing {
        return;
    }
    // SAFETY: the trampoline passes its own registers.
    let stack = unsafe { unwind::capture(&mut run.scratch, Entry { sp, bp }, MAX_DEPTH) };
    run.frames += stack.pcs.len() as u64;
    run.site ^= if run.what == What::Site {
        sites::intern(&stack, Kind::Heap, Call::Malloc, 0, 0)
    } else {
        stack.hash as u32
    };
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Eight functions with frames of different sizes that call each other.
macro_rules! functions {
    ($($name:ident $words:literal),*) => {$(
        #[inline(never)]
        fn $name(run: &mut Run, depth: u32, state: &mut u64) -> u64 {
            let mut frame = [depth as u64; $words];
            black_box(&mut frame);
            if depth == 0 { hook(run) } else { call(run, depth - 1, state) };
            black_box(frame)[$words - 1]
        }
    )*
        #[inline(always)]
        fn call(run: &mut Run, depth: u32, state: &mut u64) {
            const ALL: &[fn(&mut Run, u32, &mut u64) -> u64] = &[$($name),*];
            ALL[(random(state) % ALL.len() as u64) as usize](run, depth, state);
        }
    };
}
functions!(f0 1, f1 2, f2 5, f3 8, f4 13, f5 3, f6 21, f7 34);

/// Nanoseconds per call of the hook, and frames of a stack.
fn measure(depth: u32, kinds: u64, what: What) -> (f64, f64) {
    let mut run = Run {
        scratch: Scratch::new(),
        captures: 0,
        frames: 0,
        site: 0,
        what,
    };
    let rounds = |count: u64, run: &mut Run| {
        for i in 0..count {
            let mut state = (i % kinds + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            call(run, depth, &mut state);
        }
    };
    rounds(kinds.max(20_000), &mut run);
    let mut best = f64::MAX;
    for _ in 0..100 {
        (run.captures, run.frames) = (0, 0);
        let began = Instant::now();
        rounds(2_000, &mut run);
        best = best.min(began.elapsed().as_nanos() as f64);
    }
    black_box(run.site);
    (
        best / run.captures as f64,
        run.frames as f64 / run.captures as f64,
    )
}

fn main() {
    leaktrack_engine::modules::init();
    unwind::init();
    for depth in [2, 8, 24, 64] {
        for kinds in [1, 1000] {
            let (base, _) = measure(depth, kinds, What::Nothing);
            let (capture, frames) = measure(depth, kinds, What::Capture);
            let (site, _) = measure(depth, kinds, What::Site);
            println!(
                "{kinds:5} stacks of {frames:5.1} frames: capture {:7.1} ns, {:5.2} a frame; its site {:5.1} ns",
                capture - base,
                (capture - base) / frames,
                site - capture,
            );
        }
    }
}
