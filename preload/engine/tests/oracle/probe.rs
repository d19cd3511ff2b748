//! Owns the probe: captures the stack with both unwinders and keeps what differs.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};

use leaktrack_engine::sites;
use leaktrack_engine::unwind::{self, Entry, MAX_DEPTH, Scratch, Walked};
use leaktrack_recording::Call;

const ORACLE_DEPTH: usize = 16_000;

/// How our stack has to relate to libgcc's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The same, to the end.
    Same,
    /// The same up to our depth.
    Cut,
    /// Ours goes on where libgcc's ends, and comes to a proper end.
    Longer,
    /// Ours ends early and says so.
    Broken,
}

struct Seen {
    ours: Vec<(usize, bool)>,
    theirs: Vec<(usize, bool)>,
    cut: bool,
    broken: bool,
    /// Found without a walk.
    recalled: bool,
}

/// Both stacks of every call of the probe since the scope began, on whatever thread. Scopes must
/// not overlap: each holds a lock.
pub struct Scope(#[allow(dead_code)] std::sync::MutexGuard<'static, ()>);

/// What the probe writes to: memory that exists before it runs, since it runs in signal handlers.
struct Log {
    scratch: Scratch,
    theirs: [(usize, bool); ORACLE_DEPTH],
    theirs_len: usize,
    seen: Vec<Seen>,
}

struct Shared(UnsafeCell<Option<Box<Log>>>);
// SAFETY: used by one thread at a time: the one that the test runs, or waits for.
unsafe impl Sync for Shared {}
static LOG: Shared = Shared(UnsafeCell::new(None));
static THREAD: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

impl Scope {
    pub fn begin() -> Scope {
        static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
        static ONCE: Once = Once::new();
        let guard = LOCK.lock().unwrap_or_else(|e| e.into_inner());
        ONCE.call_once(|| {
            leaktrack_engine::modules::init();
            unwind::init();
        });
        // SAFETY: the lock is held and no probe runs.
        unsafe {
            *LOG.0.get() = Some(Box::new(Log {
                scratch: Scratch::new(),
                theirs: [(0, false); ORACLE_DEPTH],
                theirs_len: 0,
                seen: Vec::with_capacity(100_000),
            }));
        }
        Scope(guard)
    }

    /// How many of the stacks seen since the last comparison were remembered as a whole and found
    /// without a walk.
    pub fn recalled(&self) -> usize {
        // SAFETY: the lock is held and no probe runs.
        let log = unsafe { (*LOG.0.get()).as_ref().unwrap() };
        log.seen.iter().filter(|seen| seen.recalled).count()
    }

    /// Compares what was seen since the last call.
    pub fn end(&self, what: &str, least: usize, expect: Expect) {
        // SAFETY: the lock is held and no probe runs.
        let log = unsafe { (*LOG.0.get()).as_mut().unwrap() };
        let seen = std::mem::replace(&mut log.seen, Vec::with_capacity(100_000));
        assert!(seen.len() >= least, "{what}: only {} probes", seen.len());
        for (number, case) in seen.iter().enumerate() {
            let (ours, theirs) = (&case.ours, &case.theirs);
            let good = match expect {
                Expect::Same => ours == theirs && !case.cut && !case.broken,
                Expect::Cut => ours[..] == theirs[..MAX_DEPTH] && case.cut && !case.broken,
                Expect::Longer => {
                    ours.len() > theirs.len() && ours.starts_with(theirs) && !case.broken
                }
                Expect::Broken => ours.starts_with(theirs) && case.broken,
            };
            if !good {
                let list = |name: &str, frames: &[(usize, bool)]| {
                    println!("{name}:");
                    frames
                        .iter()
                        .take(40)
                        .for_each(|&(pc, exact)| println!("  {} {exact}", describe(pc)));
                };
                list("ours", ours);
                list("theirs", theirs);
                panic!(
                    "{what}: probe {number} differs; cut {}, broken {}",
                    case.cut, case.broken
                );
            }
        }
    }
}

fn describe(pc: usize) -> String {
    let module = leaktrack_engine::modules::find(pc);
    match module.and_then(|p| Some((p, leaktrack_engine::modules::by_id(p.module)?))) {
        None => format!("{pc:#x}"),
        Some((placement, module)) => {
            let path = String::from_utf8_lossy(module.path()).into_owned();
            format!(
                "{}+{:#x}",
                path.rsplit('/').next().unwrap(),
                pc - placement.image.bias
            )
        }
    }
}

/// The trampoline of a hook: its body gets the registers at entry.
#[unsafe(naked)]
pub extern "C" fn probe() {
    core::arch::naked_asm!("mov rdi, rsp", "mov rsi, rbp", "jmp {body}", body = sym body);
}

unsafe extern "C" {
    fn _Unwind_Backtrace(
        trace: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, before: *mut c_int) -> usize;
}

extern "C" fn one_frame(context: *mut c_void, data: *mut c_void) -> c_int {
    // SAFETY: `body` passes the log.
    let log = unsafe { &mut *data.cast::<Log>() };
    let mut before = 0;
    // SAFETY: libgcc's context during its callback.
    let pc = unsafe { _Unwind_GetIPInfo(context, &mut before) };
    if log.theirs_len < ORACLE_DEPTH && pc != 0 {
        log.theirs[log.theirs_len] = (pc, before != 0);
        log.theirs_len += 1;
    }
    0
}

extern "C" fn body(sp: usize, bp: usize) {
    // SAFETY: one thread at a time, see `Shared`; the probe does not nest.
    let log = unsafe { (*LOG.0.get()).as_mut().unwrap() };
    let thread = leaktrack_engine::sys::thread_pointer() as *mut c_void;
    if THREAD.swap(thread, Ordering::Relaxed) != thread {
        // Not by way of the stack, which may be a small one.
        // SAFETY: zeroed memory is a valid scratch.
        unsafe { (&raw mut log.scratch).write_bytes(0, 1) };
    }
    log.theirs_len = 0;
    // SAFETY: the callback gets the log it expects.
    unsafe { _Unwind_Backtrace(one_frame, (&raw mut **log).cast()) };
    // SAFETY: at entry, SP points at the return address.
    let caller = unsafe { *(sp as *const usize) };
    let theirs = &log.theirs[..log.theirs_len];
    let from = theirs
        .iter()
        .position(|&(pc, _)| pc == caller)
        .expect("libgcc sees the probe's caller");
    // Learning rules, with the rules learnt, and until the whole stack is remembered.
    for _ in 0..8 {
        let entry = Entry { sp, bp };
        let generation = leaktrack_engine::modules::generation();
        let mut noted = None;
        // SAFETY: the trampoline passes its own registers.
        let recalled = unsafe { unwind::recall(&mut log.scratch, &entry, 0) };
        // SAFETY: as above.
        let quick = unsafe { unwind::walk_quickly(&mut log.scratch, &entry, MAX_DEPTH, 0) };
        // SAFETY: as above.
        let stack = unsafe { unwind::capture(&mut log.scratch, entry, MAX_DEPTH) };
        if generation == leaktrack_engine::modules::generation() {
            let site = sites::intern(&stack, sites::Kind::Heap, Call::Malloc, 0, 0);
            assert!(recalled == 0 || recalled == site);
            match quick {
                Walked::Site(remembered) => assert_eq!(remembered, site),
                Walked::Hash(hash, _) => assert_eq!(hash, stack.hash),
                Walked::Unknown => {}
            }
            noted = Some((quick, site));
        }
        let ours = stack
            .pcs
            .iter()
            .enumerate()
            .map(|(i, &pc)| (pc, stack.exact.get(i)))
            .collect();
        let seen = Seen {
            ours,
            theirs: theirs[from..].to_vec(),
            cut: stack.cut,
            broken: stack.broken,
            recalled: recalled != 0,
        };
        log.seen.push(seen);
        if let Some((Walked::Hash(_, Some(asked)), site)) = noted {
            // SAFETY: as above.
            unsafe { unwind::note_site(&mut log.scratch, &entry, MAX_DEPTH, asked, site) };
        }
    }
}
