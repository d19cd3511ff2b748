//! What a signal handler leaves behind that never returns (`siglongjmp`).
//!
//! Each operation is single-stepped. At every instruction a child is forked, which is what the
//! thread would be had a handler jumped out there: it gives the locks up and checks that the table
//! holds every block that the operation did not concern, once, and the one that it did as before
//! or as after.

use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use leaktrack_engine::arena;
use leaktrack_engine::live::holder::{self, Holder};
use leaktrack_engine::live::{Block, Insert, LiveTable};
use leaktrack_engine::mappings::{Mapping, MappingTable};

/// Called in the child; true if all is well.
type Check = dyn Fn() -> bool;
struct CheckCell(UnsafeCell<Option<Box<Check>>>);
// SAFETY: only the test that holds `ONE_AT_A_TIME` touches it.
unsafe impl Sync for CheckCell {}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static CHECK: CheckCell = CheckCell(UnsafeCell::new(None));
static STEPS: AtomicU32 = AtomicU32::new(0);
static FAILED_AT: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// Unoptimised code has many times as many instructions for the same stores.
const SLOWNESS: u32 = if cfg!(debug_assertions) { 61 } else { 1 };
/// One of so many instructions is looked at.
static EVERY: AtomicU32 = AtomicU32::new(SLOWNESS);
const TRAP_FLAG: i64 = 0x100;

extern "C" fn on_trap(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if !STEPS
        .fetch_add(1, Ordering::Relaxed)
        .is_multiple_of(EVERY.load(Ordering::Relaxed))
    {
        return;
    }
    // SAFETY: the kernel passes a ucontext; the stepped code uses no lock that `fork` or the check
    // needs (the check gives up those of the engine); the child leaves without unwinding.
    unsafe {
        let registers = &mut (*(context as *mut libc::ucontext_t)).uc_mcontext.gregs;
        let child = libc::fork();
        if child == 0 {
            libc::alarm(240);
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

/// For a whole test: a child would wait for ever for what another thread holds.
fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner())
}

/// Runs `operation`, checking at each of its instructions that `check` holds for a process that
/// was torn out there.
fn torn_out_anywhere(operation: impl FnOnce(), check: impl Fn() -> bool + 'static) {
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
    assert!(STEPS.load(Ordering::Relaxed) > 20, "only {STEPS:?} steps");
}

fn block(addr: usize) -> Block {
    Block {
        size: addr as u64 & 0xFFFF,
        site: (addr >> 4) as u32 & 0xFFFF,
        epoch: 3,
        class: 0,
    }
}

/// Who steps: nobody in particular, who takes locks, or the owner of what it touches.
type Who = Option<&'static Holder>;

static HOLDER: Holder = Holder::new();

fn everybody() -> [Who; 2] {
    static ENLISTED: std::sync::Once = std::sync::Once::new();
    // SAFETY: a static, once.
    ENLISTED.call_once(|| unsafe { Holder::enlist(&raw const HOLDER) });
    holder::allow(true);
    [None, Some(&HOLDER)]
}

/// True if the table holds `certain` and perhaps `doubtful`, and works.
fn live_is_whole(table: &LiveTable, who: Who, certain: &[usize], doubtful: usize) -> bool {
    // SAFETY: the thread that was stepped is gone.
    unsafe {
        arena::abandon();
        table.abandon(who);
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
        && table.remove_by(who, doubtful) == held
        && table.insert_by(who, doubtful, block(doubtful)) == Insert::New
        && table.remove_by(who, doubtful).is_some()
        && certain
            .iter()
            .all(|&addr| table.remove_by(who, addr) == Some(block(addr)))
        && table.is_empty()
}

fn addresses(n: usize) -> Vec<usize> {
    (0..n).map(|i| 0x7000_0000_1000 + i * 16).collect()
}

fn filled(who: Who, n: usize) -> (&'static LiveTable, Vec<usize>) {
    let table: &LiveTable = Box::leak(Box::new(LiveTable::new()));
    let addresses = addresses(n);
    for &addr in &addresses {
        assert_eq!(table.insert_by(who, addr, block(addr)), Insert::New);
    }
    (table, addresses)
}

fn look_at_one_in(instructions: u32) {
    EVERY.store(instructions * SLOWNESS, Ordering::Relaxed);
}

#[test]
fn inserting_the_first_block() {
    let _one = alone();
    for who in everybody() {
        let (table, _) = filled(who, 0);
        let new = 0x7000_0000_1000;
        let insert = || assert_eq!(table.insert_by(who, new, block(new)), Insert::New);
        torn_out_anywhere(insert, move || live_is_whole(table, who, &[], new));
    }
}

#[test]
fn inserting_where_there_is_room_and_where_others_must_move() {
    let _one = alone();
    // A bucket is the place of 16 of these and has room for six.
    for who in everybody() {
        for n in [3, 6, 11, 12, 103, 301] {
            let (table, certain) = filled(who, n);
            let new = 0x7000_0000_1000 + n * 16;
            let insert = || assert_eq!(table.insert_by(who, new, block(new)), Insert::New);
            torn_out_anywhere(insert, move || live_is_whole(table, who, &certain, new));
        }
    }
}

#[test]
fn inserting_where_the_table_must_grow() {
    let _one = alone();
    look_at_one_in(67);
    for who in everybody() {
        let (table, certain) = filled(who, 348);
        let new = 0x7000_0000_1000 + 348 * 16;
        let insert = || assert_eq!(table.insert_by(who, new, block(new)), Insert::New);
        torn_out_anywhere(insert, move || live_is_whole(table, who, &certain, new));
    }
    look_at_one_in(1);
}

#[test]
fn removing_with_and_without_shrinking() {
    let _one = alone();
    for who in everybody() {
        for n in [1, 5, 30, 200] {
            let (table, mut certain) = filled(who, n);
            let old = certain.remove(n / 2);
            let remove = || assert_eq!(table.remove_by(who, old), Some(block(old)));
            torn_out_anywhere(remove, move || live_is_whole(table, who, &certain, old));
        }
        // 768 entries for 349 blocks; the table shrinks when one of 192 goes.
        look_at_one_in(67);
        let (table, mut certain) = filled(who, 349);
        certain
            .drain(192..)
            .for_each(|addr| assert!(table.remove_by(who, addr).is_some()));
        let old = certain.remove(3);
        let remove = || assert_eq!(table.remove_by(who, old), Some(block(old)));
        torn_out_anywhere(remove, move || live_is_whole(table, who, &certain, old));
        look_at_one_in(1);
    }
}

#[test]
fn replacing() {
    let _one = alone();
    for who in everybody() {
        let (table, mut certain) = filled(who, 20);
        let old = certain.remove(7);
        let replaced = Insert::Replaced(block(old));
        let replace = || assert_eq!(table.insert_by(who, old, block(old)), replaced);
        torn_out_anywhere(replace, move || live_is_whole(table, who, &certain, old));
    }
}

/// Blocks that their group does not take: at odd addresses.
#[test]
fn changing_what_lies_aside() {
    let _one = alone();
    // From 7 on, every second table is about full; growth comes at 7, 13, 26 and 52.
    for n in [0, 3, 6, 11, 12, 24, 25, 50, 51] {
        let (table, _) = filled(None, 5);
        let odd = |i: usize| 0x7000_0000_1008 + i * 16;
        let mut certain = addresses(5);
        for i in 0..n {
            assert_eq!(table.insert(odd(i), block(odd(i))), Insert::New);
            certain.push(odd(i));
        }
        let new = odd(n);
        let kept = certain.clone();
        let insert = || assert_eq!(table.insert(new, block(new)), Insert::New);
        torn_out_anywhere(insert, move || live_is_whole(table, None, &kept, new));
        let remove = || assert_eq!(table.remove(new), Some(block(new)));
        torn_out_anywhere(remove, move || live_is_whole(table, None, &certain, new));
    }
}

const PAGE: usize = 4096;
const BASE: usize = 0x7100_0000_0000;

/// True if the mappings are sorted and disjoint, add up, and are `certain` outside of `doubtful`.
fn mappings_are_whole(
    table: &MappingTable,
    certain: &BTreeMap<usize, u32>,
    doubtful: (usize, usize),
) -> bool {
    // SAFETY: the thread that was stepped is gone.
    unsafe {
        arena::abandon();
        table.abandon();
    }
    let (mut last_end, mut total, mut whole) = (0, 0, true);
    let mut pages = 0;
    table.for_each(|m: Mapping| {
        whole &= m.start >= last_end && m.start < m.end;
        last_end = m.end;
        total += m.bytes();
        for page in (m.start..m.end).step_by(PAGE) {
            let doubted = page >= doubtful.0 && page < doubtful.1;
            pages += usize::from(!doubted);
            whole &= doubted || certain.get(&page) == Some(&m.site);
        }
    });
    let kept = certain
        .keys()
        .filter(|&&p| p < doubtful.0 || p >= doubtful.1)
        .count();
    let mut removed = 0;
    table.remove(0, usize::MAX - PAGE, &mut |m, _| removed += m.bytes());
    whole && pages == kept && removed == total && table.total_bytes() == 0
}

/// `n` mappings of two pages with a page between them, and the site of each page.
fn mapped(n: usize) -> (&'static MappingTable, BTreeMap<usize, u32>) {
    let table: &MappingTable = Box::leak(Box::new(MappingTable::new()));
    let mut pages = BTreeMap::new();
    for i in 0..n {
        let start = BASE + i * 3 * PAGE;
        assert!(table.insert(start, 2 * PAGE, i as u32, 1, &mut |_, _| ()));
        pages.extend([(start, i as u32), (start + PAGE, i as u32)]);
    }
    (table, pages)
}

#[test]
fn mapping_and_unmapping() {
    let _one = alone();
    // 64 fill a chunk; 129 need a third one.
    for n in [0, 1, 20, 64, 129] {
        let (table, pages) = mapped(n);
        let at = (
            BASE + n / 2 * 3 * PAGE + 2 * PAGE,
            BASE + n / 2 * 3 * PAGE + 3 * PAGE,
        );
        let insert = || assert!(table.insert(at.0, PAGE, 7, 1, &mut |_, _| ()));
        torn_out_anywhere(insert, move || mappings_are_whole(table, &pages, at));
    }
    for (from, len) in [(0, 2), (1, 3), (0, 1), (0, 9), (0, 3 * 40)] {
        let (table, pages) = mapped(70);
        let at = (BASE + (30 + from) * PAGE, BASE + (30 + from + len) * PAGE);
        let remove = || assert!(table.remove(at.0, at.1 - at.0, &mut |_, _| ()));
        torn_out_anywhere(remove, move || mappings_are_whole(table, &pages, at));
    }
}

#[test]
fn cutting_a_mapping_in_two() {
    let _one = alone();
    let (table, mut pages) = mapped(64);
    assert!(table.insert(BASE - 9 * PAGE, 8 * PAGE, 99, 1, &mut |_, _| ()));
    pages.extend((1..9).map(|i| (BASE - i * PAGE - PAGE, 99)));
    let at = (BASE - 6 * PAGE, BASE - 5 * PAGE);
    let remove = || assert!(table.remove(at.0, PAGE, &mut |_, _| ()));
    torn_out_anywhere(remove, move || mappings_are_whole(table, &pages, at));
}

/// True if pieces of all sizes can be had, zeroed, apart from each other and from `held`.
fn arena_is_whole(held: &[(usize, usize)]) -> bool {
    // SAFETY: the thread that was stepped is gone.
    unsafe { arena::abandon() };
    let mut all = held.to_vec();
    for size in [16usize, 64, 512, 2048, 9000] {
        for _ in 0..40_000 / size {
            let p = arena::alloc(size, 16);
            // SAFETY: the piece has this size.
            let zero = !p.is_null()
                && unsafe { std::slice::from_raw_parts(p, size) }
                    .iter()
                    .all(|&b| b == 0);
            if !zero {
                return false;
            }
            // SAFETY: as above.
            unsafe { p.write_bytes(0xA5, size) };
            all.push((p as usize, size));
        }
    }
    all.sort_unstable();
    all.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0)
}

#[test]
fn allocating_and_giving_back() {
    let _one = alone();
    let alloc = |size| (arena::alloc(size, 16) as usize, size);
    let step_alloc = |held: &mut Vec<_>, size| {
        let before = held.clone();
        // The stepped code must not use the allocator, which `fork` locks.
        held.reserve(1);
        torn_out_anywhere(|| held.push(alloc(size)), move || arena_is_whole(&before));
    };
    // The arena's list of its mappings has its page from here on.
    alloc(5000);
    // Up to the first piece of a chunk, whose size is known then, and on to its last one.
    let (used, mut held) = (arena::used_bytes(), vec![]);
    while arena::used_bytes() == used {
        held.push(alloc(2048));
    }
    let chunk_bytes = (arena::used_bytes() - used) as usize;
    held.extend((1..chunk_bytes / 2048).map(|_| alloc(2048)));
    assert_eq!(arena::used_bytes() as usize, used as usize + chunk_bytes);
    // A piece from a new chunk, from a page begun, from a new page, and a large one.
    for size in [2048, 2048, 2048, 5000] {
        step_alloc(&mut held, size);
    }
    assert!(arena::used_bytes() as usize > used as usize + chunk_bytes + 8192);
    for at in [0, held.len() - 2] {
        let (p, size) = held.remove(at);
        let others = held.clone();
        // SAFETY: allocated above.
        let give_back = || unsafe { arena::dealloc(p as *mut u8, size, 16) };
        torn_out_anywhere(give_back, move || arena_is_whole(&others));
        step_alloc(&mut held, size);
    }
}
