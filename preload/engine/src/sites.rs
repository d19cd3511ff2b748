//! Owns the stack tree, the sites (one per call stack and kind of memory) and their counters.
//!
//! Finding a known site takes no lock. Nodes and sites are never moved or freed, so the helper
//! reads them while others add. Nothing outside the engine is called under the lock.

mod by_hash;
mod histograms;
mod ids;
pub mod lifetimes;
mod path;
pub mod sizes;
pub mod tally;

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::arena::{self, Chunked};
use crate::modules::{self, Finder, Placement};
use crate::owned::Owned;
use crate::state::COVERAGE;
use crate::unwind::Stack;
use by_hash::ByHash;
use ids::Ids;
use leaktrack_recording::Call;
use path::Path;

/// What kind of memory a site hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The malloc family.
    Heap,
    /// The program's own mappings.
    Mmap,
}

/// One frame in the stack tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The frame that called this one; 0: this is the outermost.
    pub parent: u32,
    /// Id of the module, or 0 for code that is in none.
    pub module: u32,
    /// Address minus the module's bias; the absolute address outside of modules.
    pub offset: u64,
    /// `offset` is the instruction itself, not a return address.
    pub exact: bool,
}

/// One call stack that allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteInfo {
    /// The innermost frame; 0 when there is no stack.
    pub leaf: u32,
    /// Kind of memory.
    pub kind: Kind,
    /// The stack was deeper than asked for.
    pub cut: bool,
    /// The stack was shortened to a known part for want of memory.
    pub folded: bool,
    /// When it was first seen.
    pub first_seen_ms: u64,
    /// The thread that was there first.
    pub thread: u32,
    /// What it called then.
    pub call: Call,
}

/// Counters of a site, on a cache line of their own.
#[repr(align(64))]
#[derive(Default)]
pub struct SiteCounters {
    /// Blocks allocated.
    pub allocations: AtomicU64,
    /// Blocks freed.
    pub frees: AtomicU64,
    /// Bytes allocated.
    pub allocated_bytes: AtomicU64,
    /// Bytes freed.
    pub freed_bytes: AtomicU64,
    /// Blocks freed before their thread allocated or freed anything else.
    pub temporary: AtomicU64,
}

impl SiteCounters {
    /// Counts an allocation.
    #[inline]
    pub fn add_alloc(&self, bytes: u64) {
        self.allocations.fetch_add(1, Relaxed);
        self.allocated_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts a free.
    #[inline]
    pub fn add_free(&self, bytes: u64) {
        self.add_frees(1, bytes);
    }

    /// Counts allocations that a sampled one stands for.
    #[inline]
    pub fn add_allocs(&self, blocks: u64, bytes: u64) {
        self.allocations.fetch_add(blocks, Relaxed);
        self.allocated_bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts frees that that of a sampled block stands for.
    #[inline]
    pub fn add_frees(&self, blocks: u64, bytes: u64) {
        self.frees.fetch_add(blocks, Relaxed);
        self.freed_bytes.fetch_add(bytes, Relaxed);
    }
}

/// Site ids fit in 24 bits.
const MOST_SITES: u32 = (1 << 24) - 1;
/// At this many sites those for what cannot be kept are added, while there is memory.
const EARLY_SITES: u32 = 1024;

/// Share of leaktrack's memory that stacks may take, whatever the program does (generated code has
/// addresses without end): the live table needs the rest.
fn is_full(sites: bool) -> bool {
    const NODE_BYTES: u64 = (size_of::<Node>() + 2 * size_of::<u32>()) as u64;
    const SITE_BYTES: u64 =
        (size_of::<SiteInfo>() + size_of::<SiteCounters>() + 4 * size_of::<u64>()) as u64;
    let used = u64::from(nodes_len()) * NODE_BYTES + u64::from(len()) * SITE_BYTES;
    // A quarter by this count is up to half of the memory: storage grows in doublings.
    let share = arena::hook_limit_bytes() / 4;
    // Nodes stop first, so that shortened stacks still get sites.
    used >= if sites { share } else { share / 8 * 7 }
}

struct State {
    nodes: Ids,
    sites: Ids,
    last: Path,
}

struct Tables {
    lock: Owned,
    state: UnsafeCell<State>,
    nodes: Chunked<Node>,
    sites: Chunked<SiteInfo>,
    counters: Chunked<SiteCounters>,
    by_hash: ByHash,
    /// Generation of modules that `by_hash` belongs to.
    generation: AtomicU32,
}

// SAFETY: `state` is reached only under the lock.
unsafe impl Sync for Tables {}

static TABLES: Tables = Tables {
    lock: Owned::new(),
    state: UnsafeCell::new(State {
        nodes: Ids::new(),
        sites: Ids::new(),
        last: Path::new(),
    }),
    nodes: Chunked::new(),
    sites: Chunked::new(),
    counters: Chunked::new(),
    by_hash: ByHash::new(),
    generation: AtomicU32::new(0),
};

impl Kind {
    /// The hash of a stack as a site of this kind.
    #[inline(always)]
    fn of(self, hash: u64) -> u64 {
        match self {
            Kind::Heap => hash,
            Kind::Mmap => hash.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ 1,
        }
    }
}

/// The site of the stack with this hash; 0 if it is not known.
#[inline(always)]
pub fn find(hash: u64, kind: Kind) -> u32 {
    TABLES.by_hash.get(kind.of(hash))
}

/// The site of a stack, from 1; 0 if it cannot be kept for want of memory, or objects were unloaded
/// since it was captured.
pub fn intern(stack: &Stack, kind: Kind, call: Call, now_ms: u64, tid: u32) -> u32 {
    let hash = kind.of(stack.hash);
    match TABLES.by_hash.get(hash) {
        0 => add(stack, kind, call, now_ms, tid, hash),
        site => site,
    }
}

#[cold]
#[inline(never)]
fn add(stack: &Stack, kind: Kind, call: Call, now_ms: u64, tid: u32, hash: u64) -> u32 {
    if !is_current(stack) {
        modules::note_replaced();
        return 0;
    }
    let seen = SiteInfo {
        leaf: 0,
        kind,
        cut: stack.cut,
        folded: false,
        first_seen_ms: now_ms,
        thread: tid,
        call,
    };
    let site = TABLES.lock.with(|| {
        // SAFETY: under the lock.
        let state = unsafe { &mut *TABLES.state.get() };
        let generation = modules::generation();
        if generation != stack.generation {
            // Rules of an object that is gone may have led through it.
            return None;
        }
        if TABLES.generation.swap(generation, Relaxed) != generation {
            TABLES.by_hash.clear();
        }
        if len() == EARLY_SITES {
            state.add_roots(seen);
        }
        let (leaf, folded) = state.leaf(stack, generation);
        let whole = SiteInfo {
            leaf,
            folded,
            ..seen
        };
        let site = state.site(whole).or_else(|| state.site(seen.root()))?;
        TABLES.by_hash.put(hash, site);
        Some((site, folded))
    });
    let (site, folded) = site.flatten().unwrap_or((0, false));
    if site != 0 {
        COVERAGE.folded_stacks.fetch_add(u64::from(folded), Relaxed);
        COVERAGE.cut_stacks.fetch_add(u64::from(stack.cut), Relaxed);
        COVERAGE
            .broken_stacks
            .fetch_add(u64::from(stack.broken), Relaxed);
    }
    site
}

/// True if every frame lies in the object that we know there. Objects can be unloaded without
/// anyone telling us, so a stack not seen before is checked before it is believed.
fn is_current(stack: &Stack) -> bool {
    let mut finder = Finder::default();
    // Neighbours mostly lie in the same object, which is asked for once.
    let is_current = |pc| finder.holds(pc) || finder.find(pc).is_none_or(Placement::is_current);
    stack.pcs.iter().copied().all(is_current)
}

fn mix(words: [u64; 3]) -> u64 {
    let hash = words.iter().fold(0, |h: u64, w| {
        let h = (h ^ w).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        h ^ h >> 32
    });
    hash.wrapping_mul(0xd6e8_feb8_6659_fd93)
}

impl Node {
    fn hash(&self) -> u64 {
        mix([
            self.parent.into(),
            u64::from(self.module) << 1 | u64::from(self.exact),
            self.offset,
        ])
    }
}

impl SiteInfo {
    fn hash(&self) -> u64 {
        mix([
            self.leaf.into(),
            u64::from(self.kind == Kind::Mmap),
            u64::from(self.cut) << 1 | u64::from(self.folded),
        ])
    }

    /// What takes the stacks of this kind that cannot be kept even in part.
    fn root(self) -> SiteInfo {
        SiteInfo {
            leaf: 0,
            cut: false,
            folded: true,
            call: Call::Unknown,
            ..self
        }
    }

    fn is_like(&self, other: &SiteInfo) -> bool {
        (self.leaf, self.kind, self.cut, self.folded)
            == (other.leaf, other.kind, other.cut, other.folded)
    }
}

impl State {
    /// Adds the sites that every kind falls back to.
    fn add_roots(&mut self, seen: SiteInfo) {
        for kind in [Kind::Heap, Kind::Mmap] {
            self.site(SiteInfo {
                kind,
                ..seen.root()
            });
        }
    }

    /// The tree's node for a whole stack, and whether it is a shorter one for want of memory: then
    /// the outer part of the stack.
    fn leaf(&mut self, stack: &Stack, generation: u32) -> (u32, bool) {
        let (shared, mut parent) = self.last.begin(stack, generation);
        let mut finder = Finder::default();
        let outer_first = stack.pcs.iter().enumerate().rev().enumerate();
        for (outer, (frame, &pc)) in outer_first.skip(shared) {
            let exact = stack.exact.get(frame);
            let placement = finder.find(pc - usize::from(!exact));
            let (module, bias) = placement.map_or((0, 0), |p| (p.module, p.image.bias));
            let offset = pc.wrapping_sub(bias) as u64;
            match self.node(Node {
                parent,
                module,
                offset,
                exact,
            }) {
                Some(node) => parent = node,
                None => return (parent, true),
            }
            // Code of no object may be an object's once the loader is asked.
            if placement.is_some() && !exact {
                self.last.push(outer, pc, parent);
            }
        }
        (parent, false)
    }

    fn node(&mut self, node: Node) -> Option<u32> {
        let hash = node.hash();
        if let Some(id) = self.nodes.find(hash, |id| self::node(id) == Some(node)) {
            return Some(id);
        }
        if is_full(false) {
            return None;
        }
        let room = self
            .nodes
            .reserve(|id| self::node(id).map_or(0, |n| n.hash()));
        let id = TABLES.nodes.push(node).filter(|_| room)?.checked_add(1)?;
        self.nodes.put(hash, id);
        Some(id)
    }

    fn site(&mut self, seen: SiteInfo) -> Option<u32> {
        let hash = seen.hash();
        if let Some(id) = self
            .sites
            .find(hash, |id| site(id).is_some_and(|s| s.is_like(&seen)))
        {
            return Some(id);
        }
        if is_full(true) {
            return None;
        }
        let room = self.sites.reserve(|id| site(id).map_or(0, |s| s.hash()));
        let id = TABLES
            .sites
            .len()
            .checked_add(1)
            .filter(|&id| room && id <= MOST_SITES)?;
        // Counters first: whoever can see a site can count in it.
        if TABLES.counters.len() < id {
            TABLES.counters.push(SiteCounters::default())?;
        }
        TABLES.sites.push(seen)?;
        self.sites.put(hash, id);
        Some(id)
    }
}

/// Sites so far; ids run from 1 to this.
pub fn len() -> u32 {
    TABLES.sites.len()
}

/// A site by its id.
pub fn site(id: u32) -> Option<SiteInfo> {
    TABLES.sites.get(id.checked_sub(1)?).copied()
}

/// Counters of a site.
#[inline]
pub fn counters(id: u32) -> Option<&'static SiteCounters> {
    TABLES.counters.get(id.wrapping_sub(1))
}

/// Nodes so far; ids run from 1 to this.
pub fn nodes_len() -> u32 {
    TABLES.nodes.len()
}

/// A node by its id.
pub fn node(id: u32) -> Option<Node> {
    TABLES.nodes.get(id.checked_sub(1)?).copied()
}

/// Lets go of what this thread held when it was torn out of the engine by `siglongjmp`.
///
/// # Safety
/// The calling thread is not inside [`intern`] except in calls that never return.
pub unsafe fn abandon() {
    // SAFETY: the caller's promise; a torn insertion loses an entry at most.
    unsafe {
        TABLES.lock.abandon();
        lifetimes::FREED.abandon();
        sizes::COMMON.abandon();
        sizes::LARGE.abandon();
    }
}

/// Lets go in a forked child for the thread that was adding a site in the parent.
///
/// # Safety
/// The calling thread is the only one and is not adding a site.
pub unsafe fn abandon_in_child() {
    // SAFETY: the caller's promise; a torn insertion loses an entry at most.
    unsafe {
        TABLES.lock.abandon_in_child();
        lifetimes::FREED.abandon_in_child();
        sizes::COMMON.abandon_in_child();
        sizes::LARGE.abandon_in_child();
    }
}

#[cfg(test)]
mod tests;
