//! Owns [`PieceList`], a sorted list of disjoint ranges in chunks, so that a change moves at most
//! one chunk however long the list is.
//! It must never leave a chunk empty, or change two things that [`PieceList::repair`] cannot tell
//! apart afterwards.

use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

use super::{Mapping, Removed};
use crate::arena::{self, AVec};

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
}

/// Pieces in a chunk.
const CHUNK: usize = 64;
const CHUNK_BYTES: usize = CHUNK * size_of::<Piece>();

/// `len` sorted pieces.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    pieces: *mut Piece,
    len: usize,
}

impl Chunk {
    fn new() -> Option<Chunk> {
        let pieces = arena::alloc(CHUNK_BYTES, align_of::<Piece>()) as *mut Piece;
        (!pieces.is_null()).then_some(Chunk { pieces, len: 0 })
    }

    fn free(self) {
        // SAFETY: allocated with this size; chunks are freed when they leave the list.
        unsafe { arena::dealloc(self.pieces as *mut u8, CHUNK_BYTES, align_of::<Piece>()) }
    }

    fn as_slice(&self) -> &[Piece] {
        // SAFETY: `len` pieces are initialised, and the list owns them.
        unsafe { core::slice::from_raw_parts(self.pieces, self.len) }
    }

    fn as_mut_slice(&mut self) -> &mut [Piece] {
        // SAFETY: as above, borrowed exclusively with the list.
        unsafe { core::slice::from_raw_parts_mut(self.pieces, self.len) }
    }

    /// Inserts before `at`; the chunk has room and `at <= len`.
    fn insert(&mut self, at: usize, piece: Piece) {
        if self.len >= CHUNK || at > self.len {
            return;
        }
        // SAFETY: both ranges lie in the chunk, which has room for one more.
        unsafe {
            let p = self.pieces.add(at);
            ptr::copy(p, p.add(1), self.len - at);
            p.write(piece);
        }
        compiler_fence(Ordering::SeqCst);
        self.len += 1;
    }

    fn remove(&mut self, at: usize) {
        if at >= self.len {
            return;
        }
        // SAFETY: both ranges lie in the chunk.
        unsafe {
            let p = self.pieces.add(at);
            ptr::copy(p.add(1), p, self.len - at - 1);
        }
        compiler_fence(Ordering::SeqCst);
        self.len -= 1;
    }

    /// Appends copies of `pieces`, as many as fit.
    fn extend(&mut self, pieces: &[Piece]) {
        let n = pieces.len().min(CHUNK - self.len);
        // SAFETY: the room is there, and a chunk never holds pieces of another one.
        unsafe { ptr::copy_nonoverlapping(pieces.as_ptr(), self.pieces.add(self.len), n) }
        self.len += n;
    }
}

/// Sorted, disjoint pieces.
#[derive(Debug)]
pub(super) struct PieceList {
    chunks: AVec<Chunk>,
    /// Number of pieces of each cut mapping; of a free entry, 1 + the next free one.
    origins: AVec<u32>,
    free_origin: u32,
    total_bytes: u64,
}

/// Where a piece is.
#[derive(Clone, Copy)]
struct At {
    chunk: usize,
    piece: usize,
}

impl PieceList {
    pub const fn new() -> Self {
        PieceList {
            chunks: AVec::new(),
            origins: AVec::new(),
            free_origin: 0,
            total_bytes: 0,
        }
    }

    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// The first piece that ends after `addr`.
    fn find(&self, addr: usize) -> Option<(At, Piece)> {
        let chunks = self.chunks.as_slice();
        let chunk = chunks.partition_point(|c| c.as_slice().last().is_none_or(|p| p.end <= addr));
        let pieces = chunks.get(chunk)?.as_slice();
        let piece = pieces.partition_point(|p| p.end <= addr);
        Some((At { chunk, piece }, *pieces.get(piece)?))
    }

    pub fn get(&self, addr: usize) -> Option<Mapping> {
        let (_, piece) = self.find(addr)?;
        (piece.start <= addr).then(|| piece.mapping())
    }

    pub fn for_each(&self, f: &mut dyn FnMut(&Piece)) {
        self.chunks
            .as_slice()
            .iter()
            .flat_map(Chunk::as_slice)
            .for_each(f);
    }

    /// Inserts a piece that overlaps none; false without memory.
    pub fn insert(&mut self, piece: Piece) -> bool {
        let mut at = match self.find(piece.start) {
            Some((at, _)) => at,
            // Behind all others: at the end of the last chunk.
            None => match self.chunks.as_slice().split_last() {
                Some((last, before)) => At {
                    chunk: before.len(),
                    piece: last.len,
                },
                None => {
                    let Some(chunk) = Chunk::new() else {
                        return false;
                    };
                    if !self.chunks.try_push(chunk) {
                        chunk.free();
                        return false;
                    }
                    At { chunk: 0, piece: 0 }
                }
            },
        };
        if self.chunks.get(at.chunk).is_some_and(|c| c.len == CHUNK) {
            if !self.split(at.chunk) {
                return false;
            }
            if at.piece > CHUNK / 2 {
                at = At {
                    chunk: at.chunk + 1,
                    piece: at.piece - CHUNK / 2,
                };
            }
        }
        let Some(chunk) = self.chunks.get_mut(at.chunk) else {
            return false;
        };
        chunk.insert(at.piece, piece);
        self.total_bytes += piece.mapping().bytes();
        true
    }

    /// Moves the upper half of a full chunk to a new one behind it.
    fn split(&mut self, at: usize) -> bool {
        let Some(mut upper) = Chunk::new() else {
            return false;
        };
        if let Some((_, half)) = self
            .chunks
            .get(at)
            .and_then(|c| c.as_slice().split_at_checked(CHUNK / 2))
        {
            upper.extend(half);
        }
        if !self.chunks.try_insert(at + 1, upper) {
            upper.free();
            return false;
        }
        if let Some(lower) = self.chunks.get_mut(at) {
            lower.len = CHUNK / 2;
        }
        true
    }

    /// Removes `[start, end)`. False if what lies behind it of a cut mapping had to go too.
    pub fn cut(&mut self, start: usize, end: usize, removed: Removed<'_>) -> bool {
        let mut complete = true;
        while let Some((at, piece)) = self.find(start) {
            if piece.start >= end {
                break;
            }
            let mut gone = Mapping {
                start: piece.start.max(start),
                end: piece.end.min(end),
                ..piece.mapping()
            };
            let mut whole = false;
            match (piece.start < gone.start, gone.end < piece.end) {
                (false, false) => {
                    whole = self.forget_origin(piece.origin);
                    self.remove_at(at);
                }
                (true, false) => self.change(at, |p| p.end = gone.start),
                (false, true) => self.change(at, |p| p.start = gone.end),
                (true, true) => {
                    let origin = self.share_origin(piece.origin);
                    let behind = Piece {
                        start: gone.end,
                        origin,
                        ..piece
                    };
                    self.change(at, |p| {
                        p.end = gone.start;
                        p.origin = origin;
                    });
                    if self.insert(behind) {
                        self.total_bytes -= behind.mapping().bytes();
                    } else {
                        self.forget_origin(origin);
                        gone.end = piece.end;
                        complete = false;
                    }
                }
            }
            self.total_bytes -= gone.bytes();
            removed(gone, whole);
        }
        complete
    }

    fn change(&mut self, at: At, f: impl FnOnce(&mut Piece)) {
        if let Some(piece) = self
            .chunks
            .get_mut(at.chunk)
            .and_then(|c| c.as_mut_slice().get_mut(at.piece))
        {
            f(piece);
        }
    }

    fn remove_at(&mut self, at: At) {
        let Some(chunk) = self.chunks.get_mut(at.chunk) else {
            return;
        };
        chunk.remove(at.piece);
        if chunk.len == 0 {
            if let Some(chunk) = self.chunks.remove(at.chunk) {
                chunk.free();
            }
        } else if chunk.len < CHUNK / 4 {
            self.merge(at.chunk);
        }
    }

    /// Joins a chunk with the one behind it if they are sparse.
    fn merge(&mut self, at: usize) {
        let Some([lower, upper]) = self.chunks.as_mut_slice().get_mut(at..at + 2) else {
            return;
        };
        if lower.len + upper.len > CHUNK * 3 / 4 {
            return;
        }
        lower.extend(upper.as_slice());
        if let Some(upper) = self.chunks.remove(at + 1) {
            upper.free();
        }
    }

    /// Origin for the two halves of a piece of `origin`; 0 without memory: then they count as two.
    fn share_origin(&mut self, origin: u32) -> u32 {
        if let Some(count) = origin
            .checked_sub(1)
            .and_then(|i| self.origins.get_mut(i as usize))
        {
            *count += 1;
            return origin;
        }
        if let Some(slot) = self
            .free_origin
            .checked_sub(1)
            .and_then(|i| self.origins.get_mut(i as usize))
        {
            let origin = self.free_origin;
            self.free_origin = *slot;
            *slot = 2;
            return origin;
        }
        if self.origins.try_push(2) {
            self.origins.len() as u32
        } else {
            0
        }
    }

    /// Takes one piece from an origin; true if it was the last.
    fn forget_origin(&mut self, origin: u32) -> bool {
        let Some(count) = origin
            .checked_sub(1)
            .and_then(|i| self.origins.get_mut(i as usize))
        else {
            return true;
        };
        *count = count.saturating_sub(1);
        if *count > 0 {
            return false;
        }
        *count = self.free_origin;
        self.free_origin = origin;
        true
    }

    /// After the holder of the lock was torn out: drops what is there twice or out of order, and
    /// counts again. What was being moved is found at one of its two places.
    #[cold]
    pub fn repair(&mut self) {
        self.drop_repeated_chunks();
        let mut last_end = 0;
        self.total_bytes = 0;
        self.origins.as_mut_slice().fill(0);
        self.free_origin = 0;
        for chunk in self.chunks.as_mut_slice() {
            let mut kept = 0;
            for from in 0..chunk.len {
                let Some(mut piece) = chunk.as_slice().get(from).copied() else {
                    break;
                };
                if piece.start < last_end || piece.start >= piece.end {
                    continue;
                }
                match piece
                    .origin
                    .checked_sub(1)
                    .and_then(|i| self.origins.as_mut_slice().get_mut(i as usize))
                {
                    Some(count) => *count += 1,
                    None => piece.origin = 0,
                }
                last_end = piece.end;
                self.total_bytes += piece.mapping().bytes();
                if let Some(to) = chunk.as_mut_slice().get_mut(kept) {
                    *to = piece;
                    kept += 1;
                }
            }
            chunk.len = kept;
        }
        let mut at = 0;
        while let Some(chunk) = self.chunks.get(at).copied() {
            if chunk.len == 0 {
                self.chunks.remove(at);
                chunk.free();
            } else {
                at += 1;
            }
        }
        for (i, count) in self.origins.as_mut_slice().iter_mut().enumerate() {
            if *count == 0 {
                *count = self.free_origin;
                self.free_origin = i as u32 + 1;
            }
        }
    }

    /// Inserting into and removing from the directory moves its entries by one: torn out, the same
    /// chunk is there twice in a row.
    fn drop_repeated_chunks(&mut self) {
        let mut at = 0;
        while let Some([a, b]) = self.chunks.as_slice().get(at..at + 2) {
            if a.pieces == b.pieces {
                self.chunks.remove(at + 1);
            } else {
                at += 1;
            }
        }
    }
}

impl Drop for PieceList {
    fn drop(&mut self) {
        self.chunks.as_slice().iter().for_each(|chunk| chunk.free());
    }
}
