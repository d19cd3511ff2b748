//! Stacks while other threads load and unload objects: always the same as libgcc's.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use leaktrack_engine::sites::{self, Kind};
use leaktrack_engine::unwind::{self, Entry, MAX_DEPTH, Scratch};
use leaktrack_recording::Call;

#[allow(dead_code)]
#[path = "oracle/library.rs"]
mod library;

mod probe {
    /// The trampoline of a hook: its body gets the registers at entry.
    #[unsafe(naked)]
    pub extern "C" fn probe() {
        core::arch::naked_asm!("mov rdi, rsp", "mov rsi, rbp", "jmp {body}", body = sym super::body);
    }
}

std::thread_local! {
    static SCRATCH: RefCell<Box<Scratch>> = RefCell::new(Box::new(Scratch::new()));
}

static CHECKED: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

type Trace = extern "C" fn(*mut c_void, *mut c_void) -> c_int;

unsafe extern "C" {
    fn _Unwind_Backtrace(trace: Trace, data: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

extern "C" fn one_frame(context: *mut c_void, data: *mut c_void) -> c_int {
    // SAFETY: `body` passes its vector, and libgcc its context.
    let (frames, pc) = unsafe { (&mut *data.cast::<Vec<usize>>(), _Unwind_GetIP(context)) };
    if pc != 0 {
        frames.push(pc);
    }
    0
}

extern "C" fn body(sp: usize, bp: usize) {
    let mut theirs: Vec<usize> = Vec::new();
    // SAFETY: the callback gets the vector it expects.
    unsafe { _Unwind_Backtrace(one_frame, (&raw mut theirs).cast()) };
    // SAFETY: at entry, SP points at the return address.
    let caller = unsafe { *(sp as *const usize) };
    let from = theirs.iter().position(|&pc| pc == caller).unwrap();
    SCRATCH.with_borrow_mut(|scratch| {
        // Between the moment when a library is gone and that when it is noted, another may run at its
        // place by its rules: such a stack is refused, and captured once more, as hooks do.
        for _ in 0..2 {
            // SAFETY: the trampoline passes its own registers.
            let stack = unsafe { unwind::capture(scratch, Entry { sp, bp }, MAX_DEPTH) };
            let site = sites::intern(&stack, Kind::Heap, Call::Malloc, 0, 0);
            if site != 0 {
                assert_eq!(stack.pcs, &theirs[from..]);
                return;
            }
        }
        REFUSED.fetch_add(1, Relaxed);
    });
    CHECKED.fetch_add(1, Relaxed);
}

#[inline(never)]
fn recurse(n: usize) -> usize {
    if n == 0 {
        probe::probe();
        return 0;
    }
    std::hint::black_box(recurse(n - 1)) + 1
}

#[test]
fn loading_and_unloading() {
    leaktrack_engine::modules::init();
    unwind::init();
    let done = AtomicBool::new(false);
    let rounds = 300;
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let done = &done;
            scope.spawn(move || {
                let mut n = worker;
                while !done.load(Relaxed) {
                    recurse(n % 40);
                    n += 1;
                }
            });
        }
        let loaders: Vec<_> = (0..2)
            .map(|loader| {
                scope.spawn(move || {
                    for round in 0..rounds {
                        let kind = (round * 7 + loader) % 5;
                        let frame = format!("-DFRAME={}", 128 + 64 * kind);
                        let name = format!("storm{loader}{kind}");
                        let build = library::Build {
                            source: "reused.c",
                            name: &name,
                            flags: &["-O2", &frame],
                        };
                        let library = library::Library::load(&build);
                        library.run("frame", 3);
                        library.run("frame", 4);
                        library.unload();
                        leaktrack_engine::modules::note_dlclose();
                    }
                })
            })
            .collect();
        loaders.into_iter().for_each(|l| l.join().unwrap());
        done.store(true, Relaxed);
    });
    let (checked, refused) = (CHECKED.load(Relaxed), REFUSED.load(Relaxed));
    println!(
        "{checked} stacks, {refused} refused, generation {}",
        leaktrack_engine::modules::generation()
    );
    assert!(checked > 4 * rounds && refused * 20 < checked);
    // The same five files at changing addresses are not new modules each time.
    assert!(
        leaktrack_engine::modules::len() < 40,
        "{}",
        leaktrack_engine::modules::len()
    );
}
