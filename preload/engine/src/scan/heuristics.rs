//! Owns valgrind's four kinds of pointers into a block that hold it as well as a pointer to its
//! start: `stdstring`, `length64`, `newarray` and `multipleinheritance` of memcheck's manual
//! (`--leak-check-heuristics`).

use super::index::BlockIndex;
use super::memory::{Memory, Stop};
use super::regions::{self, Kind, Region};
use crate::arena::PAGE_BYTES;

const WORD: u64 = 8;
/// Words of a supposed table of virtual functions that are looked at.
const TABLE_WORDS: usize = 20;
/// Functions that make it one.
const TABLE_FUNCTIONS: usize = 2;

/// True if a pointer `offset` bytes into a block holds it.
pub fn holds(
    addr: usize,
    size: u64,
    offset: u64,
    index: &BlockIndex,
    regions: &[Region],
    memory: &mut Memory,
) -> Result<bool, Stop> {
    let Some(first) = memory.word(addr, index)? else {
        return Ok(false);
    };
    if offset == 3 * WORD {
        // Length, capacity, count of references, then the text and its end.
        let capacity = memory.word(addr + WORD as usize, index)?;
        if let Some(capacity) = capacity
            && first <= capacity
            && capacity.checked_add(3 * WORD + 1) == Some(size)
        {
            return Ok(true);
        }
    }
    if offset == WORD && first > 0 {
        // The number of bytes that follow, or the number of elements of an array of objects with
        // destructors.
        let rest = size.saturating_sub(WORD);
        if first == rest || rest.is_multiple_of(first) {
            return Ok(true);
        }
    }
    if !offset.is_multiple_of(WORD) || !may_be_table(first, regions) {
        return Ok(false);
    }
    // A part of an object whose class has several parents: both begin with a table of functions.
    let inner = memory.word(addr + offset as usize, index)?.unwrap_or(0);
    Ok(may_be_table(inner, regions)
        && is_table(inner, regions, memory)
        && is_table(first, regions, memory))
}

fn may_be_table(word: u64, regions: &[Region]) -> bool {
    word.is_multiple_of(WORD)
        && word >= PAGE_BYTES as u64
        && regions::at(regions, word as usize)
            .is_some_and(|region| region.kind == Kind::File && region.readable)
}

fn is_table(word: u64, regions: &[Region], memory: &Memory) -> bool {
    let mut functions = 0;
    for at in 0..TABLE_WORDS {
        let Some([entry]) = memory.words_at::<1>(word as usize + at * WORD as usize) else {
            return false;
        };
        if entry == 0 {
            continue;
        }
        let code = regions::at(regions, entry as usize)
            .is_some_and(|region| region.kind == Kind::File && region.executable);
        if !code {
            return false;
        }
        functions += 1;
        if functions == TABLE_FUNCTIONS {
            return true;
        }
    }
    false
}
