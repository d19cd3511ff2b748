//! Owns the question which part of a stack is in use: what lies below a stack pointer, and the
//! stacks that glibc keeps of threads that have ended, hold no roots.
//! It must never leave out memory of which it does not know that it is a dead part of a stack.

use super::memory::{Manner, Memory, Stop};
use super::ranges::Ranges;
use super::regions::{self, Kind, Region};
use super::threads::{self, Doing, Thread};
use super::x86_64::RED_ZONE_BYTES;

/// Words of a control block: its own address, the vector of thread-local blocks, its own address.
const VECTOR_AT: usize = 8;
/// glibc's pointer to that vector leads to its second entry.
pub const VECTOR_HEAD_BYTES: usize = 16;

/// The stack pointer, where it is known.
pub fn stack_pointer(thread: &Thread) -> Option<usize> {
    match thread.doing {
        Doing::Sleeps { sp, .. } => Some(sp),
        Doing::Waits(registers) => Some(registers.sp),
        Doing::Runs => None,
    }
}

/// First address of the part of its stack that a thread uses, where it is known. Only a function that
/// calls no other keeps words below the stack pointer: one that makes a system call may, one that
/// called in here has none.
fn used_from(thread: &Thread) -> Option<usize> {
    match thread.doing {
        Doing::Sleeps { sp, .. } => Some(sp.saturating_sub(RED_ZONE_BYTES)),
        Doing::Waits(registers) => Some(registers.sp),
        Doing::Runs => None,
    }
}

/// Adds the dead parts of stacks to `dead`, and the addresses of all vectors of thread-local blocks
/// to `pointers`. False: no memory.
pub fn find(
    regions: &[Region],
    threads: &[Thread],
    memory: &mut Memory,
    dead: &mut Ranges,
    mut pointer: impl FnMut(usize) -> bool,
) -> Result<bool, Stop> {
    let vector = |memory: &Memory, block: usize| {
        memory
            .words_at::<1>(block.wrapping_add(VECTOR_AT))
            .map(|[word]| (word as usize).wrapping_sub(VECTOR_HEAD_BYTES))
    };
    for thread in threads.iter().filter(|thread| thread.control_block != 0) {
        if vector(memory, thread.control_block).is_some_and(|vector| !pointer(vector)) {
            return Ok(false);
        }
    }
    let mut before: Option<&Region> = None;
    for region in regions {
        let guarded = before.is_some_and(|before| is_guard(before, region));
        before = Some(region);
        let in_region = |addr: usize| region.start <= addr && addr < region.end;
        let in_use = |owner: &dyn Fn(&Thread) -> bool| {
            let owner = threads.iter().find(|thread| owner(thread));
            owner.and_then(used_from).filter(|&used| in_region(used))
        };
        let end = if region.kind == Kind::MainStack {
            in_use(&|thread| stack_pointer(thread).is_some_and(in_region))
        } else if guarded {
            let alive = threads
                .iter()
                .map(|thread| thread.control_block)
                .filter(|&block| in_region(block))
                .min();
            let ended = find_ended(region.start, alive.unwrap_or(region.end), memory)?;
            match ended {
                Some(block) => {
                    if vector(memory, block).is_some_and(|vector| !pointer(vector)) {
                        return Ok(false);
                    }
                    Some(block)
                }
                None => in_use(&|thread| Some(thread.control_block) == alive),
            }
        } else {
            None
        };
        if end.is_some_and(|end| !dead.add(region.start, end)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Shows the whole stack of every thread that was not there when `before` was read, or slept then
/// and has run since: of those, parts were left out. Others move pointers while they are looked
/// for, but hide none here.
pub fn woken(
    regions: &[Region],
    before: &[Thread],
    now: &[Thread],
    memory: &mut Memory,
    show: &mut dyn FnMut(&[u64]),
) -> Result<(), Stop> {
    for thread in now {
        let earlier = before.iter().find(|earlier| earlier.tid == thread.tid);
        let sp = match earlier {
            Some(earlier) if thread.slept_since(earlier) => continue,
            Some(Thread {
                doing: Doing::Runs, ..
            }) => continue,
            Some(earlier) => stack_pointer(earlier),
            None => stack_pointer(thread),
        };
        let anywhere = sp.unwrap_or(thread.control_block);
        let stack = regions::at(regions, anywhere).filter(|region| {
            let stack = matches!(region.kind, Kind::Anonymous | Kind::MainStack);
            stack && region.writable && !region.shared
        });
        if let Some(stack) = stack {
            let manner = Manner::of(stack);
            memory.each(stack.start, stack.end, manner, &mut |_, words| show(words))?;
        }
    }
    Ok(())
}

/// True if a region looks like a stack of the thread library: private memory right above a page
/// that nobody may touch.
fn is_guard(before: &Region, region: &Region) -> bool {
    region.kind == Kind::Anonymous
        && region.writable
        && !region.shared
        && before.end == region.start
        && before.kind == Kind::Anonymous
        && !before.readable
        && !before.writable
}

/// Places that look like a control block at first sight, and are looked at.
const MOST_CANDIDATES: usize = 16;

/// The control block of a thread that has ended, if there is one in the range.
///
/// Two words that hold their own address do not make one: so does a ring that is empty, on the stack
/// of a thread that is alive. It has glibc's list head at its place as well, and an id that the kernel
/// has cleared, or `pthread_join` has replaced by -1. Ids are not compared with those of the threads
/// that there are: in a namespace of its own the process has other ones than those which `/proc` shows.
fn find_ended(start: usize, end: usize, memory: &mut Memory) -> Result<Option<usize>, Stop> {
    let Some(layout) = threads::layout() else {
        return Ok(None);
    };
    let mut candidates = [0; MOST_CANDIDATES];
    let mut count = 0;
    let manner = Manner {
        shared: false,
        file: false,
        hidden: false,
    };
    memory.each(start, end, manner, &mut |addr, words| {
        for (at, three) in words.windows(3).enumerate() {
            let here = (addr + at * 8) as u64;
            if three == [here, three.get(1).copied().unwrap_or(0), here]
                && let Some(slot) = candidates.get_mut(count)
            {
                *slot = here as usize;
                count += 1;
            }
        }
    })?;
    let has_ended = |block: &usize| {
        let tid = memory.words_at::<1>(block.wrapping_add(layout.tid_at));
        let list = memory.words_at::<2>(block.wrapping_add(layout.list_at));
        list.is_some_and(|[_, offset]| offset == layout.list_offset)
            && tid.is_some_and(|[word]| matches!(word as u32, 0 | u32::MAX))
    };
    let candidates = candidates.get(..count).unwrap_or_default();
    Ok(candidates.iter().copied().find(has_ended))
}
