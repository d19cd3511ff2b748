//! Owns what `munmap` and `mremap` take out of the table before the real call: the pieces, to be
//! settled or put back. It must never be kept beyond that call.

use super::Mapping;
use super::list::Piece;

/// Pieces of one range that can be put back should the kernel refuse.
const PIECES: usize = 16;

/// Pieces taken out of the table. Each keeps its part in the mapping that it was cut from, so that
/// this does not end while it may come back.
#[derive(Debug)]
pub struct Taken {
    /// With the number of repairs that the table had seen.
    pieces: [(Piece, u32); PIECES],
    count: usize,
}

impl Taken {
    /// Nothing yet.
    pub const fn new() -> Self {
        let none = Piece {
            start: 0,
            end: 0,
            site: 0,
            epoch: 0,
            origin: 0,
        };
        Taken {
            pieces: [(none, 0); PIECES],
            count: 0,
        }
    }

    /// The ranges, in order of address.
    pub fn mappings(&self) -> impl Iterator<Item = Mapping> {
        self.pieces().map(|(piece, _)| piece.mapping())
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = &(Piece, u32)> {
        self.pieces.iter().take(self.count)
    }

    pub(super) fn has_room(&self) -> bool {
        self.count < PIECES
    }

    pub(super) fn add(&mut self, piece: Piece, repairs: u32) {
        if let Some(slot) = self.pieces.get_mut(self.count) {
            *slot = (piece, repairs);
            self.count += 1;
        }
    }
}

impl Default for Taken {
    fn default() -> Self {
        Self::new()
    }
}
