//! A library to preload that compares every stack captured in `malloc`, `calloc` and `realloc`
//! with libgcc's, frame by frame, and says at the end what it saw. A tool for tests; slow.
//!
//! `LD_PRELOAD=.../libverify_stacks.so VERIFY_STACKS=/tmp/report program`

#![allow(missing_docs)]

use std::ffi::{c_int, c_void};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};

use leaktrack_engine::unwind::{self, Entry, MAX_DEPTH, Scratch, Walked};
use leaktrack_engine::{loader, modules, sites, sys};
use leaktrack_recording::Call;

const ORACLE_DEPTH: usize = 2000;
const THREADS: usize = 256;

struct Thread {
    pointer: usize,
    scratch: Scratch,
}

struct Checker {
    threads: [Thread; THREADS],
    theirs: [(usize, bool); ORACLE_DEPTH],
    theirs_len: usize,
}

/// Thread pointer of the thread in the checker; 0: none.
static OWNER: AtomicUsize = AtomicUsize::new(0);
static CHECKER: AtomicUsize = AtomicUsize::new(0);
static READY: AtomicBool = AtomicBool::new(false);
static REAL: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

static CHECKED: AtomicU64 = AtomicU64::new(0);
static FRAMES: AtomicU64 = AtomicU64::new(0);
static SKIPPED: AtomicU64 = AtomicU64::new(0);
static LONGER: AtomicU64 = AtomicU64::new(0);
static BROKEN: AtomicU64 = AtomicU64::new(0);
static QUICK: AtomicU64 = AtomicU64::new(0);
static REMEMBERED: AtomicU64 = AtomicU64::new(0);
/// Of these, without a walk.
static RECALLED: AtomicU64 = AtomicU64::new(0);
static CUT: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);

macro_rules! trampoline {
    ($($name:ident => $body:ident, $sp:literal, $bp:literal);* $(;)?) => {$(
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub extern "C" fn $name() {
            core::arch::naked_asm!(
                concat!("mov ", $sp, ", rsp"), concat!("mov ", $bp, ", rbp"), "jmp {body}",
                body = sym $body
            );
        }
    )*};
}
trampoline! {
    malloc => malloc_body, "rsi", "rdx";
    calloc => calloc_body, "rdx", "rcx";
    realloc => realloc_body, "rdx", "rcx";
}

fn real(which: usize) -> usize {
    if REAL[which].load(Relaxed) == 0 {
        let own = real as *const () as usize;
        for (slot, name) in REAL.iter().zip([&b"malloc"[..], b"calloc", b"realloc"]) {
            slot.store(loader::resolve_next(name, own).unwrap(), Relaxed);
        }
    }
    REAL[which].load(Relaxed)
}

extern "C" fn malloc_body(bytes: usize, sp: usize, bp: usize) -> *mut c_void {
    check(Entry { sp, bp });
    // SAFETY: the next malloc has this type.
    unsafe { core::mem::transmute::<usize, extern "C" fn(usize) -> *mut c_void>(real(0))(bytes) }
}

extern "C" fn calloc_body(count: usize, bytes: usize, sp: usize, bp: usize) -> *mut c_void {
    check(Entry { sp, bp });
    type Calloc = extern "C" fn(usize, usize) -> *mut c_void;
    // SAFETY: the next calloc has this type.
    unsafe { core::mem::transmute::<usize, Calloc>(real(1))(count, bytes) }
}

extern "C" fn realloc_body(block: *mut c_void, bytes: usize, sp: usize, bp: usize) -> *mut c_void {
    check(Entry { sp, bp });
    type Realloc = extern "C" fn(*mut c_void, usize) -> *mut c_void;
    // SAFETY: the next realloc has this type.
    unsafe { core::mem::transmute::<usize, Realloc>(real(2))(block, bytes) }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

extern "C" fn begin() {
    modules::init();
    unwind::init();
    let bytes = size_of::<Checker>();
    CHECKER.store(sys::map_anonymous(bytes).unwrap() as usize, Relaxed);
    // SAFETY: a function of this library, which stays.
    unsafe { libc::atexit(report) };
    READY.store(true, Release);
}

extern "C" fn report() {
    READY.store(false, Relaxed);
    let Ok(path) = std::env::var("VERIFY_STACKS") else {
        return;
    };
    let Ok(mut file) = std::fs::File::options()
        .append(true)
        .create(true)
        .open(path)
    else {
        return;
    };
    let program = std::env::args().next().unwrap_or_default();
    let frames = FRAMES.load(Relaxed) as f64 / CHECKED.load(Relaxed).max(1) as f64;
    let all = [
        &CHECKED,
        &QUICK,
        &REMEMBERED,
        &RECALLED,
        &WRONG,
        &LONGER,
        &BROKEN,
        &CUT,
        &SKIPPED,
    ];
    let [
        checked,
        quick,
        remembered,
        recalled,
        wrong,
        longer,
        broken,
        cut,
        skipped,
    ] = all.map(|c| c.load(Relaxed));
    let sites = sites::len();
    let _ = writeln!(
        file,
        "{program}: checked {checked} quick {quick} remembered {remembered} recalled {recalled} frames {frames:.1} sites {sites} wrong {wrong} longer {longer} \
         broken {broken} cut {cut} skipped {skipped}"
    );
}

type Trace = extern "C" fn(*mut c_void, *mut c_void) -> c_int;

unsafe extern "C" {
    fn _Unwind_Backtrace(trace: Trace, data: *mut c_void) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, before: *mut c_int) -> usize;
}

extern "C" fn one_frame(context: *mut c_void, data: *mut c_void) -> c_int {
    // SAFETY: `check` passes the checker.
    let checker = unsafe { &mut *data.cast::<Checker>() };
    let mut before = 0;
    // SAFETY: libgcc's context during its callback.
    let pc = unsafe { _Unwind_GetIPInfo(context, &mut before) };
    if checker.theirs_len == ORACLE_DEPTH {
        return 4;
    }
    if pc != 0 {
        checker.theirs[checker.theirs_len] = (pc, before != 0);
        checker.theirs_len += 1;
    }
    0
}

fn check(entry: Entry) {
    let here = sys::thread_pointer();
    if !READY.load(Acquire) || OWNER.load(Relaxed) == here {
        return;
    }
    while OWNER.compare_exchange(0, here, Acquire, Relaxed).is_err() {
        sys::sched_yield();
    }
    // SAFETY: zeroed memory of this type, used by the owner alone.
    compare(
        unsafe { &mut *(CHECKER.load(Relaxed) as *mut Checker) },
        here,
        entry,
    );
    OWNER.store(0, Release);
}

fn compare(checker: &mut Checker, here: usize, entry: Entry) {
    checker.theirs_len = 0;
    // SAFETY: the callback gets the checker it expects.
    unsafe { _Unwind_Backtrace(one_frame, (&raw mut *checker).cast()) };
    // SAFETY: at entry, SP points at the return address.
    let caller = unsafe { *(entry.sp as *const usize) };
    let theirs = &checker.theirs[..checker.theirs_len];
    let from = theirs.iter().position(|&(pc, _)| pc == caller);
    let thread = checker
        .threads
        .iter_mut()
        .find(|t| t.pointer == here || t.pointer == 0);
    let (Some(from), Some(thread)) = (from, thread) else {
        SKIPPED.fetch_add(1, Relaxed);
        return;
    };
    thread.pointer = here;
    let theirs = &theirs[from..];
    let generation = modules::generation();
    // As a hook does it.
    // SAFETY: the trampoline passes its own registers.
    let recalled = unsafe { unwind::recall(&mut thread.scratch, &entry, 0) };
    let quick = if recalled != 0 {
        Walked::Site(recalled)
    } else {
        // SAFETY: as above.
        unsafe { unwind::walk_quickly(&mut thread.scratch, &entry, MAX_DEPTH, 0) }
    };
    // SAFETY: as above.
    let stack = unsafe { unwind::capture(&mut thread.scratch, entry, MAX_DEPTH) };
    let hash = stack.hash;
    let site = sites::intern(&stack, sites::Kind::Heap, Call::Unknown, 0, 0);
    let quick_is_right = match quick {
        Walked::Site(remembered) => remembered == site,
        Walked::Hash(quick, _) => quick == hash,
        Walked::Unknown => true,
    } || generation != modules::generation();
    QUICK.fetch_add((!matches!(quick, Walked::Unknown)).into(), Relaxed);
    RECALLED.fetch_add((recalled != 0).into(), Relaxed);
    REMEMBERED.fetch_add(matches!(quick, Walked::Site(_)).into(), Relaxed);
    CHECKED.fetch_add(1, Relaxed);
    FRAMES.fetch_add(stack.pcs.len() as u64, Relaxed);
    BROKEN.fetch_add(stack.broken.into(), Relaxed);
    CUT.fetch_add(stack.cut.into(), Relaxed);
    let same = |n: usize| (0..n).all(|i| (stack.pcs[i], stack.exact.get(i)) == theirs[i]);
    let (ours, oracle) = (stack.pcs.len(), theirs.len());
    let good = match stack.cut {
        true => oracle >= ours && same(ours),
        false => ours >= oracle && same(oracle),
    };
    if good && quick_is_right {
        // libgcc ends where nothing describes the code.
        LONGER.fetch_add((ours > oracle).into(), Relaxed);
        if let Walked::Hash(_, Some(asked)) = quick {
            // SAFETY: as above.
            unsafe { unwind::note_site(&mut thread.scratch, &entry, MAX_DEPTH, asked, site) };
        }
        return;
    }
    if WRONG.fetch_add(1, Relaxed) < 5 {
        let mut text = format!(
            "wrong, cut {} broken {} quick {quick_is_right}\n",
            stack.cut, stack.broken
        );
        for i in 0..ours.max(oracle) {
            let (a, b) = (
                stack.pcs.get(i).copied().unwrap_or(0),
                theirs.get(i).map_or(0, |f| f.0),
            );
            let mark = if a == b { "" } else { "<" };
            text += &format!("  {a:#14x} {b:#14x} {} {mark}\n", place(a));
        }
        eprint!("{text}");
    }
}

fn place(pc: usize) -> String {
    let Some(placement) = modules::find(pc) else {
        return String::new();
    };
    let path = modules::by_id(placement.module).map_or(&b""[..], |m| m.path());
    format!(
        "{}+{:#x}",
        String::from_utf8_lossy(path),
        pc - placement.image.bias
    )
}
