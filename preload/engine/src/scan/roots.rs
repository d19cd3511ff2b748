//! Owns the answer to "where may a pointer lie that keeps a block alive?": ranges of memory, and
//! single words.
//!
//! All memory that the program can reach counts, but for what is known not to: heaps (their live
//! blocks are reached one by one), dead parts of stacks, leaktrack's own memory, code.

use super::heap;
use super::index::BlockIndex;
use super::listing;
use super::memory::{Manner, Memory, Stop};
use super::ranges::Ranges;
use super::regions::{self, Kind, Region};
use super::room::Room;
use super::stacks;
use super::threads::{Doing, Thread};
use super::x86_64::{ALL_REGISTERS, PRESERVED};
use crate::arena::{self, AVec, PAGE_BYTES};
use crate::mappings::MappingTable;
use crate::state::{self, HELD, LIVE, MAPPINGS};
use crate::{helper, hooks, loader, modules};

/// A range to be read for pointers.
#[derive(Clone, Copy, Debug)]
pub struct RootRange {
    /// First address.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// How.
    pub manner: Manner,
}

/// See the module.
pub struct Roots {
    /// Memory.
    pub ranges: AVec<RootRange>,
    /// Registers and pointers known by themselves.
    pub words: AVec<usize>,
    /// Blocks that only registers may point to which could not be read: at most so many.
    pub hidden: u64,
    /// Threads whose registers could not be read.
    pub unread_threads: u32,
    /// What allocators own, if not all memory counts.
    pub heaps: Option<Ranges>,
}

/// Finds the roots. `all`: heaps count too, since not every block in them is known. `own_file`: an
/// address in leaktrack's recording. `None`: no memory.
pub fn find(
    regions: &[Region],
    threads: &[Thread],
    index: &BlockIndex,
    memory: &mut Memory,
    all: bool,
    own_file: Option<usize>,
) -> Result<Option<Roots>, Stop> {
    let mut roots = Roots {
        ranges: AVec::new(),
        words: AVec::new(),
        hidden: 0,
        unread_threads: 0,
        heaps: None,
    };
    let mut out = Ranges::new();
    if !own(&mut out) {
        return Ok(None);
    }
    out.tidy();
    if !all {
        let mut owned = Ranges::new();
        if !heaps(regions, index, memory, &out, &mut owned) {
            return Ok(None);
        }
        owned.tidy();
        if !owned.as_slice().iter().all(|&(from, to)| out.add(from, to)) {
            return Ok(None);
        }
        roots.heaps = Some(owned);
    }
    let words = &mut roots.words;
    if !heap::account(&mut out) {
        return Ok(None);
    }
    let known = stacks::find(regions, threads, memory, &mut out, |p| words.try_push(p))?;
    if !known || !roots.registers(threads, index) {
        return Ok(None);
    }
    out.tidy();
    let own_file = own_file
        .and_then(|addr| regions::at(regions, addr))
        .map(|region| region.file);
    for region in regions {
        if !may_hold_roots(region) || (region.shared && Some(region.file) == own_file) {
            continue;
        }
        let manner = Manner::of(region);
        let ranges = &mut roots.ranges;
        let added = out.without(region.start, region.end, |start, end| {
            ranges.try_push(RootRange { start, end, manner })
        });
        if !added {
            return Ok(None);
        }
    }
    Ok(Some(roots))
}

impl Roots {
    /// Takes in what is known of registers, and counts what is not.
    fn registers(&mut self, threads: &[Thread], index: &BlockIndex) -> bool {
        let mut whole = true;
        for thread in threads {
            let (sp, known): (_, &[usize]) = match &thread.doing {
                Doing::Waits(registers) => (registers.sp, &registers.preserved),
                Doing::Sleeps { sp, args } => {
                    self.unread_threads += 1;
                    // A call clobbers or is given all that it does not preserve; a fault does not.
                    self.hidden += if args.is_some() {
                        PRESERVED
                    } else {
                        ALL_REGISTERS
                    };
                    (*sp, args.as_ref().map_or(&[], |args| args.as_slice()))
                }
                Doing::Runs => {
                    self.unread_threads += 1;
                    self.hidden += ALL_REGISTERS;
                    (0, &[])
                }
            };
            for &word in known {
                whole &= self.words.try_push(word);
            }
            // A stack may be a block of the heap.
            let stack = index.find(sp).and_then(|hit| index.block(hit.block));
            whole &= stack.is_none_or(|(addr, _)| self.words.try_push(addr));
        }
        whole
    }
}

fn may_hold_roots(region: &Region) -> bool {
    match region.kind {
        Kind::Foreign => false,
        // What was written and then protected still counts; code that nobody may write to never holds
        // blocks. Data may be executable, too: before Linux 5.8 all of a program with such a stack is.
        Kind::File if region.shared => region.writable,
        Kind::File => region.readable && (region.writable || !region.executable),
        Kind::Anonymous | Kind::Break | Kind::MainStack => true,
    }
}

/// leaktrack's own memory.
fn own(out: &mut Ranges) -> bool {
    let mut whole = true;
    let (start, bytes) = helper::memory();
    whole &= out.add(start, start + bytes);
    let (boot, boot_end) = hooks::boot_memory();
    if let Some(placement) = modules::find(own as *const () as usize) {
        whole &= out.add(placement.image.start, boot) && out.add(boot_end, placement.image.end);
    }
    let mut count = 0;
    arena::for_each_mapping(&mut |_, _| count += 1);
    // What is mapped meanwhile is ours, too.
    let Some(mut mappings) = Room::of(count + 64) else {
        return false;
    };
    arena::for_each_mapping(&mut |start, bytes| whole &= mappings.push((start, bytes)));
    while let Some((start, bytes)) = mappings.pop() {
        whole &= out.add(start, start + bytes);
    }
    whole
}

/// Adds to `out` what allocators own, of which `own`, leaktrack's memory, is nothing.
fn heaps(
    regions: &[Region],
    index: &BlockIndex,
    memory: &Memory,
    own: &Ranges,
    out: &mut Ranges,
) -> bool {
    let mut not_theirs = Ranges::new();
    let mut whole = own
        .as_slice()
        .iter()
        .all(|&(start, end)| not_theirs.add(start, end));
    whole &= add_all(&MAPPINGS, &mut not_theirs);
    for region in regions.iter().filter(|region| is_private(region)) {
        if let Some(end) = image_end(region.start) {
            whole &= not_theirs.add(region.start, end);
        }
    }
    not_theirs.tidy();
    let mut held = Ranges::new();
    whole &= add_all(&HELD, &mut held);
    held.tidy();
    // Blocks are looked up.
    let _calm = heap::is_glibc().then(|| listing::hold(&LIVE));
    for region in regions.iter().filter(|region| is_private(region)) {
        let is_break = region.kind == Kind::Break;
        whole &= if is_break && state::was_break_moved() {
            true // the program has a share in it: all of it counts
        } else if is_break && heap::is_glibc() {
            not_theirs.without(region.start, region.end, |start, end| out.add(start, end))
        } else {
            not_theirs.without(region.start, region.end, |start, end| {
                heap::find(start, end, index, memory, &held, out)
            })
        };
    }
    whole
}

fn is_private(region: &Region) -> bool {
    matches!(region.kind, Kind::Anonymous | Kind::Break) && !region.shared && region.writable
}

/// Where the object ends whose data lie here: of its last pages, which are of no file, the kernel makes one
/// region with what is mapped behind them. Any object, also one that nobody has come by yet.
fn image_end(addr: usize) -> Option<usize> {
    let end = match loader::find_object(addr) {
        Some(found) => found.end,
        None => modules::find(addr)?.image.end,
    };
    end.checked_next_multiple_of(PAGE_BYTES)
}

/// Adds all mappings of a table. False: no memory.
fn add_all(table: &MappingTable, ranges: &mut Ranges) -> bool {
    // Under the table's lock nothing is allocated.
    let mut count = 0;
    table.for_each(|_| count += 1);
    let Some(mut room) = Room::of(count + count / 8 + 64) else {
        return false;
    };
    let mut whole = true;
    table.for_each(|mapping| whole &= room.push((mapping.start, mapping.end)));
    while let Some((start, end)) = room.pop() {
        whole &= ranges.add(start, end);
    }
    whole
}
