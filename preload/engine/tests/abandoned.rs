//! What a signal handler leaves behind that never returns (`siglongjmp`).
//!
//! Each operation is single-stepped. At every instruction a child is forked, which is what the
//! thread would be had a handler jumped out there: it gives the locks up and checks that the table
//! holds every block that the operation did not concern, once, and the one that it did as before
//! or as after.

use std::cell::UnsafeCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use leaktrack_engine::arena;
use leaktrack_engine::live::{Block, Insert, LiveTable};

/// Called in the child; true if all is well.
type Check = dyn Fn() -> bool;
struct CheckCell(UnsafeCell<Option<Box<Check>>>);
// SAFETY: only the test that holds `ONE_AT_A_TIME` touches it.
unsafe impl Sync for CheckCell {}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static CHECK: CheckCell = CheckCell(UnsafeCell::new(None));
static STEPS: AtomicU32 = AtomicU32::new(0);
static FAILED_AT: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

const TRAP_FLAG: i64 = 0x100;

extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    STEPS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the kernel passes a ucontext; the stepped code uses no lock that `fork` or the check
    // needs (the check gives up those of the engine); the child leaves without unwinding.
    unsafe {
        let registers = &mut (*(context as *mut libc::ucontext_t)).uc_mcontext.gregs;
        let child = libc::fork();
        if child == 0 {
            libc::alarm(10);
            let check = (*CHECK.0.get()).as_ref().unwrap();
            libc::_exit(i32::from(!check()));
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        if status != 0 {
            FAILED_AT.store(
                registers[libc::REG_RIP as usize] as *mut u8,
                Ordering::Relaxed,
            );
            registers[libc::REG_EFL as usize] &= !TRAP_FLAG;
        }
    }
}

fn set_trap_flag(on: bool) {
    // SAFETY: changes one flag; the kernel then raises SIGTRAP after each instruction.
    unsafe {
        if on {
            core::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq");
        } else {
            core::arch::asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq");
        }
    }
}

/// Runs `operation`, checking at each of its instructions that `check` holds for a process that
/// was torn out there.
fn torn_out_anywhere(operation: impl FnOnce(), check: impl Fn() -> bool + 'static) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    // SAFETY: `ONE_AT_A_TIME` is held; the handler has the right shape.
    unsafe {
        *CHECK.0.get() = Some(Box::new(check));
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_trap as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut());
    }
    STEPS.store(0, Ordering::Relaxed);
    FAILED_AT.store(std::ptr::null_mut(), Ordering::Relaxed);
    set_trap_flag(true);
    operation();
    set_trap_flag(false);
    let failed_at = FAILED_AT.load(Ordering::Relaxed);
    assert!(
        failed_at.is_null(),
        "torn out at {failed_at:?}, step {STEPS:?}"
    );
    assert!(STEPS.load(Ordering::Relaxed) > 50, "only {STEPS:?} steps");
}

fn block(addr: usize) -> Block {
    Block {
        size: addr as u64 & 0xFFFF,
        site: (addr >> 4) as u32 & 0xFFFF,
        epoch: 3,
    }
}

/// True if the table holds `certain` and perhaps `doubtful`, and works.
fn live_is_whole(table: &LiveTable, certain: &[usize], doubtful: usize) -> bool {
    // SAFETY: the thread that was stepped is gone.
    unsafe {
        arena::abandon();
        table.abandon();
    }
    let held = table.get(doubtful);
    let mut others = 0;
    let mut doubted = 0;
    table.for_each(|addr, found| {
        let right = found == block(addr);
        others += u32::from(right && addr != doubtful);
        doubted += u32::from(right && addr == doubtful);
    });
    certain
        .iter()
        .all(|&addr| table.get(addr) == Some(block(addr)))
        && others == certain.len() as u32
        && doubted == u32::from(held.is_some())
        && table.len() == u64::from(others + doubted)
        && table.remove(doubtful) == held
        && table.insert(doubtful, block(doubtful)) == Insert::New
        && table.remove(doubtful).is_some()
        && certain
            .iter()
            .all(|&addr| table.remove(addr) == Some(block(addr)))
        && table.is_empty()
}

fn addresses(n: usize) -> Vec<usize> {
    (0..n).map(|i| 0x7000_0000_1000 + i * 16).collect()
}

fn filled(n: usize) -> (&'static LiveTable, Vec<usize>) {
    let table: &LiveTable = Box::leak(Box::new(LiveTable::new()));
    let addresses = addresses(n);
    for &addr in &addresses {
        assert_eq!(table.insert(addr, block(addr)), Insert::New);
    }
    (table, addresses)
}

#[test]
fn inserting_the_first_block() {
    let (table, _) = filled(0);
    let new = 0x7000_0000_1000;
    let insert = || assert_eq!(table.insert(new, block(new)), Insert::New);
    torn_out_anywhere(insert, move || live_is_whole(table, &[], new));
}

#[test]
fn inserting_where_there_is_room_and_where_others_must_move_or_the_table_grow() {
    // From 7 on, every second table is about full; growth comes at 7, 13, 26 and 52.
    for n in [3, 6, 11, 12, 24, 25, 50, 51, 103] {
        let (table, certain) = filled(n);
        let new = 0x7000_0000_1000 + n * 16;
        let insert = || assert_eq!(table.insert(new, block(new)), Insert::New);
        torn_out_anywhere(insert, move || live_is_whole(table, &certain, new));
    }
}

#[test]
fn removing_with_and_without_shrinking() {
    for n in [1, 5, 30] {
        let (table, mut certain) = filled(n);
        let old = certain.remove(n / 2);
        let remove = || assert_eq!(table.remove(old), Some(block(old)));
        torn_out_anywhere(remove, move || live_is_whole(table, &certain, old));
    }
    // 64 entries for 27 blocks; the table shrinks when one of 16 goes.
    let (table, mut certain) = filled(27);
    certain
        .drain(16..)
        .for_each(|addr| assert!(table.remove(addr).is_some()));
    let old = certain.remove(3);
    let remove = || assert_eq!(table.remove(old), Some(block(old)));
    torn_out_anywhere(remove, move || live_is_whole(table, &certain, old));
}

#[test]
fn replacing() {
    let (table, mut certain) = filled(20);
    let old = certain.remove(7);
    let replace = || assert_eq!(table.insert(old, block(old)), Insert::Replaced(block(old)));
    torn_out_anywhere(replace, move || live_is_whole(table, &certain, old));
}
