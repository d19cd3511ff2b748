//! Owns the stack that was added last, as a path through the tree: the next one mostly shares its outer
//! frames, which need not be looked up again.
//!
//! At any instruction what it holds is a path: whoever is torn out of here leaves a shorter one.

use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

use crate::unwind::{MAX_DEPTH, Stack};

/// Outermost frame first.
pub struct Path {
    len: usize,
    /// Generation of modules that it belongs to.
    generation: u32,
    pcs: [usize; MAX_DEPTH],
    nodes: [u32; MAX_DEPTH],
}

impl Path {
    /// An empty one.
    pub const fn new() -> Path {
        Path {
            len: 0,
            generation: 0,
            pcs: [0; MAX_DEPTH],
            nodes: [0; MAX_DEPTH],
        }
    }

    /// Shortens the path to what it shares with a stack: the number of these frames and the node that
    /// they end at.
    pub fn begin(&mut self, stack: &Stack, generation: u32) -> (usize, u32) {
        if self.generation != generation {
            self.len = 0;
            compiler_fence(SeqCst);
            self.generation = generation;
        }
        let frames = stack.pcs.len();
        let outer = stack.pcs.iter().enumerate().rev();
        let shared = outer
            .zip(self.pcs.iter().take(self.len))
            .take_while(|((frame, pc), known)| pc == known && !stack.exact.get(*frame))
            .count()
            .min(frames);
        self.len = shared;
        compiler_fence(SeqCst);
        let last = shared.checked_sub(1).and_then(|last| self.nodes.get(last));
        (shared, last.copied().unwrap_or(0))
    }

    /// Goes on from the frame `outer` frames inside the outermost, if the path reaches so far.
    pub fn push(&mut self, outer: usize, pc: usize, node: u32) {
        if outer != self.len {
            return;
        }
        if let (Some(known), Some(known_node)) =
            (self.pcs.get_mut(outer), self.nodes.get_mut(outer))
        {
            *known = pc;
            *known_node = node;
            compiler_fence(SeqCst);
            self.len = outer + 1;
        }
    }
}
