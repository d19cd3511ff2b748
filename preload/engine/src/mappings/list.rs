//! Owns [`PieceList`], a sorted list of disjoint ranges in chunks, so that a change copies one
//! chunk however long the list is.
//! It must never leave the list unreadable at any instruction: a chunk, and the directory of
//! chunks, changes by copying it and then storing one pointer; a piece by storing one word.
//!
//! One chunk and one directory are kept in reserve, so that removing never needs memory.

use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

use super::Mapping;
use super::array::Array;
use super::taken::Taken;
use crate::arena::AVec;

/// A mapping or what was left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub start: usize,
    pub end: usize,
    pub site: u32,
    pub epoch: u32,
    /// 1 + index into `origins` for pieces of a cut mapping, 0 for whole ones.
    pub origin: u32,
}

impl Piece {
    pub fn mapping(&self) -> Mapping {
        Mapping {
            start: self.start,
            end: self.end,
            site: self.site,
            epoch: self.epoch,
        }
    }

    fn bytes(&self) -> u64 {
        self.mapping().bytes()
    }
}

type Chunk = *mut Array<Piece>;
type Directory = *mut Array<Chunk>;

/// Pieces in a chunk: what fits into 2 KiB with its head.
const CHUNK: usize = (2048 - size_of::<Array<Piece>>()) / size_of::<Piece>();
const FIRST_DIRECTORY: usize = 32;

/// Sorted, disjoint pieces.
#[derive(Debug)]
pub(super) struct PieceList {
    /// The current directory is `directories[current]`, the other one the reserve.
    directories: [Directory; 2],
    current: usize,
    /// The chunk that the next change is written to; null when there is none.
    reserve: Chunk,
    /// Number of pieces of each cut mapping; of a free entry, 1 + the next free one.
    origins: AVec<u32>,
    free_origin: u32,
    /// How often `origins` was counted again: what was taken before has no part in it.
    repairs: u32,
    total_bytes: u64,
}

/// Called with each piece that was removed, and whether nothing is left of its mapping.
type Gone<'a> = &'a mut dyn FnMut(Piece, bool);

/// Where a piece is: its chunk and its place there.
#[derive(Clone, Copy)]
struct At {
    chunk: usize,
    piece: usize,
}

fn pieces<'a>(chunk: Chunk) -> &'a [Piece] {
    // SAFETY: chunks in the directory are arrays, and callers hold the list's lock while they use
    // the slice, and no slice across a change of its chunk.
    unsafe { Array::values(chunk) }
}

impl PieceList {
    pub const fn new() -> Self {
        PieceList {
            directories: [ptr::null_mut(); 2],
            current: 0,
            reserve: ptr::null_mut(),
            origins: AVec::new(),
            free_origin: 0,
            repairs: 0,
            total_bytes: 0,
        }
    }

    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    fn directory(&self) -> Directory {
        let [a, b] = self.directories;
        if self.current == 0 { a } else { b }
    }

    fn spare_directory(&self) -> Directory {
        let [a, b] = self.directories;
        if self.current == 0 { b } else { a }
    }

    fn chunks<'a>(&self) -> &'a [Chunk] {
        let directory = self.directory();
        if directory.is_null() {
            return &[];
        }
        // SAFETY: directories are arrays; the rest as in `pieces`.
        unsafe { Array::values(directory) }
    }

    /// The first piece that ends after `addr`.
    fn find(&self, addr: usize) -> Option<(At, Piece)> {
        let chunks = self.chunks();
        let chunk = chunks.partition_point(|&c| pieces(c).last().is_none_or(|p| p.end <= addr));
        let pieces = pieces(*chunks.get(chunk)?);
        let piece = pieces.partition_point(|p| p.end <= addr);
        Some((At { chunk, piece }, *pieces.get(piece)?))
    }

    pub fn get(&self, addr: usize) -> Option<Mapping> {
        let (_, piece) = self.find(addr)?;
        (piece.start <= addr).then(|| piece.mapping())
    }

    pub fn for_each(&self, f: &mut dyn FnMut(&Piece)) {
        self.chunks()
            .iter()
            .flat_map(|&chunk| pieces(chunk))
            .for_each(f);
    }

    /// Makes every piece one of epoch 0.
    pub fn forget_births(&mut self) {
        for &chunk in self.chunks() {
            for place in 0..pieces(chunk).len() {
                // SAFETY: below the length; the lock is held, and no slice of the chunk is.
                unsafe { (*Array::place(chunk, place)).epoch = 0 }
            }
        }
    }

    /// Inserts a piece that overlaps none; false without memory.
    pub fn insert(&mut self, piece: Piece) -> bool {
        let at = match (self.find(piece.start), self.chunks()) {
            (Some((at, _)), _) => at,
            // Behind all others: at the end of the last chunk.
            (None, [before @ .., last]) => At {
                chunk: before.len(),
                piece: pieces(*last).len(),
            },
            (None, []) => {
                let chunk = Array::alloc(CHUNK);
                if !self.change_directory(0, 0, &[chunk]) {
                    // SAFETY: published nowhere.
                    unsafe { Array::free(chunk) };
                    return false;
                }
                At { chunk: 0, piece: 0 }
            }
        };
        let done = self.replace(at, 0, &[piece]);
        if done {
            self.total_bytes += piece.bytes();
        }
        done
    }

    /// Removes `[start, end)`. False if what lies behind it of a cut mapping had to go too, or if
    /// after a holder was torn out there is not even the reserve to remove with.
    ///
    /// Pieces for which `taken` has room go there and keep their part in their mapping; the others
    /// are `removed`.
    pub fn cut(
        &mut self,
        start: usize,
        end: usize,
        taken: Option<&mut Taken>,
        removed: Gone<'_>,
    ) -> bool {
        let mut complete = true;
        let mut taken = taken;
        while let Some((at, piece)) = self.find(start) {
            if piece.start >= end {
                break;
            }
            let held = taken.as_ref().is_some_and(|taken| taken.has_room());
            let mut gone = Piece {
                start: piece.start.max(start),
                end: piece.end.min(end),
                ..piece
            };
            let mut whole = false;
            match (piece.start < gone.start, gone.end < piece.end) {
                (false, false) => {
                    if !self.replace(at, 1, &[]) {
                        return false;
                    }
                    whole = !held && self.forget_origin(piece.origin);
                }
                (before, behind) => {
                    if held {
                        gone.origin = self.share_origin(piece.origin);
                        self.set_origin(at, gone.origin);
                    }
                    let rest = Piece {
                        origin: gone.origin,
                        ..piece
                    };
                    match (before, behind) {
                        (true, false) => self.set_end(at, gone.start),
                        (false, _) => self.set_start(at, gone.end),
                        (true, true) => {
                            let split = self.split_piece(at, &rest, gone.start, gone.end);
                            if !split {
                                gone.end = piece.end;
                                complete = false;
                            }
                        }
                    }
                }
            }
            self.total_bytes = self.total_bytes.saturating_sub(gone.mapping().bytes());
            match taken.as_mut().filter(|_| held) {
                Some(taken) => taken.add(gone, self.repairs),
                None => removed(gone, whole),
            }
        }
        complete
    }

    /// Cuts `[start, end)` out of the middle of a piece; without memory what lies behind goes too,
    /// and that is false.
    fn split_piece(&mut self, at: At, piece: &Piece, start: usize, end: usize) -> bool {
        let origin = self.share_origin(piece.origin);
        let before = Piece {
            end: start,
            origin,
            ..*piece
        };
        let behind = Piece {
            start: end,
            origin,
            ..*piece
        };
        let done = self.replace(at, 1, &[before, behind]);
        if !done {
            self.set_end(at, start);
            self.unshare_origin(piece.origin, origin);
        }
        done
    }

    /// Ends the part that a taken piece has in its mapping; true if it was the last.
    pub fn end_part(&mut self, piece: &Piece, repairs: u32) -> bool {
        // What was counted again since counts it no more.
        repairs != self.repairs || self.forget_origin(piece.origin)
    }

    /// Puts a taken piece back where nothing overlaps it; false without memory.
    pub fn put_back(&mut self, piece: &Piece, repairs: u32) -> bool {
        let known = repairs == self.repairs;
        let origin = if known { piece.origin } else { 0 };
        self.insert(Piece { origin, ..*piece })
    }

    fn set_origin(&mut self, at: At, origin: u32) {
        if let Some(piece) = self.place(at) {
            // SAFETY: `place` points to a piece, and the lock is held.
            unsafe { (*piece).origin = origin }
        }
    }

    fn set_start(&mut self, at: At, start: usize) {
        if let Some(piece) = self.place(at) {
            // SAFETY: `place` points to a piece, and the lock is held.
            unsafe { (*piece).start = start }
        }
    }

    fn set_end(&mut self, at: At, end: usize) {
        if let Some(piece) = self.place(at) {
            // SAFETY: as above.
            unsafe { (*piece).end = end }
        }
    }

    fn place(&self, at: At) -> Option<*mut Piece> {
        let &chunk = self.chunks().get(at.chunk)?;
        // SAFETY: just compared with the length.
        (at.piece < pieces(chunk).len()).then(|| unsafe { Array::place(chunk, at.piece) })
    }

    /// Puts `new` in the place of `old` pieces at `at`; false without memory, which removing one
    /// does not need.
    fn replace(&mut self, at: At, old: usize, new: &[Piece]) -> bool {
        let Some(&chunk) = self.chunks().get(at.chunk) else {
            return false;
        };
        let all = pieces(chunk);
        let (before, rest) = all.split_at(at.piece.min(all.len()));
        let behind = rest.get(old..).unwrap_or_default();
        match before.len() + new.len() + behind.len() {
            0 => {
                if !self.change_directory(at.chunk, 1, &[]) {
                    return false;
                }
                self.retire(chunk);
                true
            }
            len if len <= CHUNK => self.rewrite(at.chunk, chunk, &[before, new, behind]),
            _ => {
                self.split(at, chunk) && {
                    let half = all.len() / 2;
                    let at = if at.piece >= half {
                        At {
                            chunk: at.chunk + 1,
                            piece: at.piece - half,
                        }
                    } else {
                        at
                    };
                    self.replace(at, old, new)
                }
            }
        }
    }

    /// Copies `parts` to the reserve and puts that in the place of `chunk`.
    fn rewrite(&mut self, at: usize, chunk: Chunk, parts: &[&[Piece]]) -> bool {
        if self.reserve.is_null() {
            self.reserve = Array::alloc(CHUNK);
        }
        let next = self.reserve;
        // SAFETY: the reserve is published nowhere; the directory has a place `at`.
        unsafe {
            if next.is_null() || !Array::fill(next, parts) {
                return false;
            }
            // Torn out between these stores, the list is whole and a chunk is lost.
            self.reserve = ptr::null_mut();
            compiler_fence(Ordering::SeqCst);
            *Array::place(self.directory(), at) = next;
        }
        compiler_fence(Ordering::SeqCst);
        self.reserve = chunk;
        true
    }

    /// Puts the halves of a full chunk in its place.
    fn split(&mut self, at: At, chunk: Chunk) -> bool {
        let (lower, upper) = pieces(chunk).split_at(pieces(chunk).len() / 2);
        let (one, two) = (Array::alloc(CHUNK), Array::alloc(CHUNK));
        // SAFETY: both are new.
        let filled = !one.is_null()
            && !two.is_null()
            && unsafe { Array::fill(one, &[lower]) && Array::fill(two, &[upper]) };
        if filled && self.change_directory(at.chunk, 1, &[one, two]) {
            self.retire(chunk);
            return true;
        }
        // SAFETY: published nowhere.
        unsafe {
            Array::free(one);
            Array::free(two);
        }
        false
    }

    /// Frees a chunk that has left the directory, or keeps it for the next change.
    fn retire(&mut self, chunk: Chunk) {
        if self.reserve.is_null() {
            self.reserve = chunk;
        } else {
            // SAFETY: it left the directory.
            unsafe { Array::free(chunk) }
        }
    }

    /// Puts `new` in the place of `old` chunks at `at`; false without memory, which removing one
    /// does not need, and if `new` has a null in it.
    fn change_directory(&mut self, at: usize, old: usize, new: &[Chunk]) -> bool {
        if new.iter().any(|chunk| chunk.is_null()) {
            return false;
        }
        let len = self.chunks().len() - old.min(self.chunks().len()) + new.len();
        if !self.reserve_directories(len) {
            return false;
        }
        let chunks = self.chunks();
        let (before, rest) = chunks.split_at(at.min(chunks.len()));
        self.switch_directory(&[before, new, rest.get(old..).unwrap_or_default()])
    }

    /// Makes the spare directory hold `parts` and the current one.
    fn switch_directory(&mut self, parts: &[&[Chunk]]) -> bool {
        // SAFETY: the spare directory is published nowhere.
        let filled = unsafe { Array::fill(self.spare_directory(), parts) };
        compiler_fence(Ordering::SeqCst);
        if filled {
            self.current ^= 1;
        }
        filled
    }

    /// Makes sure that both directories have room for `len` chunks.
    fn reserve_directories(&mut self, len: usize) -> bool {
        while self.spare_capacity() < len {
            let next = Array::alloc((len * 2).max(FIRST_DIRECTORY));
            if next.is_null() {
                return false;
            }
            // SAFETY: the spare one was replaced and is published nowhere.
            unsafe { Array::free(self.replace_spare(next)) };
            // Once more for the other one, unless it is large enough.
            let chunks = self.chunks();
            self.switch_directory(&[chunks]);
        }
        true
    }

    fn spare_capacity(&self) -> usize {
        let spare = self.spare_directory();
        if spare.is_null() {
            return 0;
        }
        // SAFETY: what is not null is an array.
        unsafe { (*spare).capacity() }
    }

    fn replace_spare(&mut self, next: Directory) -> Directory {
        let [a, b] = &mut self.directories;
        core::mem::replace(if self.current == 0 { b } else { a }, next)
    }

    /// Origin for the two halves of a piece of `origin`; 0 without memory: then they count as two.
    fn share_origin(&mut self, origin: u32) -> u32 {
        if let Some(count) = self.origin(origin) {
            *count += 1;
            return origin;
        }
        let free = self.free_origin;
        if let Some(slot) = self.origin(free) {
            let next = core::mem::replace(slot, 2);
            self.free_origin = next;
            return free;
        }
        if self.origins.try_push(2) {
            self.origins.len() as u32
        } else {
            0
        }
    }

    /// Takes back `share_origin(old) == new`. The piece may keep its own origin 0 only if it never
    /// got another.
    fn unshare_origin(&mut self, old: u32, new: u32) {
        self.forget_origin(new);
        if old == 0 {
            self.forget_origin(new);
        }
    }

    /// Takes one piece from an origin; true if it was the last.
    fn forget_origin(&mut self, origin: u32) -> bool {
        let free = self.free_origin;
        let Some(count) = self.origin(origin) else {
            return true;
        };
        *count = count.saturating_sub(1);
        if *count > 0 {
            return false;
        }
        *count = free;
        self.free_origin = origin;
        true
    }

    fn origin(&mut self, origin: u32) -> Option<&mut u32> {
        self.origins.get_mut(origin.checked_sub(1)? as usize)
    }

    /// After the holder of the lock was torn out: counts again, and removes what it may have left.
    #[cold]
    pub fn repair(&mut self) {
        while let Some(at) = self
            .chunks()
            .iter()
            .position(|&chunk| pieces(chunk).is_empty())
        {
            let chunk = self.chunks().get(at).copied();
            if !self.change_directory(at, 1, &[]) {
                break;
            }
            chunk.into_iter().for_each(|chunk| self.retire(chunk));
        }
        self.total_bytes = 0;
        self.repairs = self.repairs.wrapping_add(1);
        self.origins.as_mut_slice().fill(0);
        self.free_origin = 0;
        for &chunk in self.chunks() {
            for piece in pieces(chunk) {
                self.total_bytes += piece.bytes();
                if let Some(count) = self.origin(piece.origin) {
                    *count += 1;
                }
            }
        }
        for (i, count) in self.origins.as_mut_slice().iter_mut().enumerate() {
            if *count == 0 {
                *count = self.free_origin;
                self.free_origin = i as u32 + 1;
            }
        }
    }
}

impl Drop for PieceList {
    fn drop(&mut self) {
        // SAFETY: all go with the list.
        unsafe {
            self.chunks().iter().for_each(|&chunk| Array::free(chunk));
            Array::free(self.reserve);
            self.directories
                .iter()
                .for_each(|&directory| Array::free(directory));
        }
    }
}
