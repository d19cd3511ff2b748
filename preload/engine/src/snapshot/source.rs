//! Owns the view that snapshots have of the engine: sites, modules, live blocks, clock. A trait, so
//! that tests can put a made-up process in its place.

use core::cell::UnsafeCell;
use core::sync::atomic::{Ordering::Relaxed, compiler_fence};

use leaktrack_recording::{Coverage, Module, Node, Octaves, Sampling, Site, SiteKind};

use super::counts::Counts;
use crate::sampler::{self, Calls};
use crate::sites::tally::{Sizes, Sums};
use crate::{arena, faults, helper, modules, sites, state, thread};

/// What a snapshot reads.
pub trait Source {
    /// Milliseconds since recording began.
    fn now_ms(&self) -> u64;
    /// Begins the next epoch; its number.
    fn next_epoch(&self) -> u32;
    /// The current epoch.
    fn epoch(&self) -> u32;
    /// Blocks born in this epoch or before belong to the parent.
    fn fork_epoch(&self) -> u32;
    /// Sites so far.
    fn sites(&self) -> u32;
    /// A site.
    fn site(&self, id: u32) -> Option<Site>;
    /// Looks at the counters of all sites, where they are not in one place.
    fn refresh(&self) {}
    /// Its counters, as of the last refresh or later.
    fn counts(&self, id: u32) -> Counts;
    /// What the sums of the sites' counters lack, wrapping, to be exactly what the program called, as
    /// of the last refresh; `None` while they are exact.
    fn beyond_sites(&self) -> Option<Calls>;
    /// The frees among them are those of blocks among them.
    fn frees_are_exact(&self) -> bool;
    /// How blocks are sampled now, if they are.
    fn sampling(&self) -> Option<Sampling>;
    /// The largest mean that blocks were sampled with, in bytes.
    fn coarsest_bytes(&self) -> u64;
    /// Shows the site, size, epoch of birth and weight of every live block of the malloc family.
    fn for_each_block(&self, show: &mut dyn FnMut(u32, u64, u32, u64));
    /// Nodes so far.
    fn nodes(&self) -> u32;
    /// A node.
    fn node(&self, id: u32) -> Option<Node>;
    /// Modules so far.
    fn modules(&self) -> u32;
    /// Shows a module, and when it was unloaded (0: it is loaded).
    fn with_module(&self, id: u32, show: &mut dyn FnMut(&Module<'_>, u64));
    /// What could not be recorded.
    fn coverage(&self) -> Coverage;
    /// Bytes by which the program moved the break.
    fn brk_bytes(&self) -> u64;
    /// leaktrack's own memory.
    fn own_memory_bytes(&self) -> u64;
    /// leaktrack's own threads.
    fn own_threads(&self) -> u32;
    /// Blocks of a site that were freed, by their age in octaves of epochs, from 1 on; `None` if
    /// that could not be counted.
    fn freed(&self, id: u32) -> Option<Octaves>;
    /// How large blocks of all sites were; `None` without memory to look.
    fn sizes(&self) -> Option<Sizes>;
    /// Live blocks and mappings.
    fn live_blocks(&self) -> u64;
    /// Shows every live block and mapping: site and epoch of birth.
    fn for_each_live(&self, show: &mut dyn FnMut(u32, u32));
}

struct Read {
    sums: Sums,
    beyond: Option<Calls>,
}

struct Shared(UnsafeCell<Read>);

// SAFETY: reached only under the snapshots' lock.
unsafe impl Sync for Shared {}

static READ: Shared = Shared(UnsafeCell::new(Read {
    sums: Sums::new(),
    beyond: None,
}));

/// The process itself.
#[derive(Clone, Copy, Debug)]
pub struct Engine;

impl Source for Engine {
    fn now_ms(&self) -> u64 {
        state::tick()
    }

    fn next_epoch(&self) -> u32 {
        state::next_epoch()
    }

    fn epoch(&self) -> u32 {
        state::epoch()
    }

    fn fork_epoch(&self) -> u32 {
        state::fork_epoch()
    }

    fn sites(&self) -> u32 {
        sites::len()
    }

    fn site(&self, id: u32) -> Option<Site> {
        let site = sites::site(id)?;
        let kind = match site.kind {
            sites::Kind::Heap => SiteKind::Heap,
            sites::Kind::Mmap => SiteKind::Mmap,
        };
        let sites::SiteInfo {
            leaf,
            cut,
            folded,
            first_seen_ms,
            thread,
            call,
            kind: _,
        } = site;
        Some(Site {
            id,
            leaf,
            kind,
            cut,
            folded,
            first_seen_ms,
            thread,
            call,
        })
    }

    fn refresh(&self) {
        // SAFETY: whoever reads the engine for a snapshot holds the snapshots' lock.
        let read = unsafe { &mut *READ.0.get() };
        read.sums.read(sites::len());
        // At the same time, or samples taken meanwhile would stand on one side alone.
        read.beyond = sampler::is_on().then(|| sampler::beyond_sites(thread::countdowns()));
    }

    fn counts(&self, id: u32) -> Counts {
        // SAFETY: as above.
        if let Some(sum) = unsafe { &*READ.0.get() }.sums.get(id) {
            return Counts {
                allocations: sum.allocations,
                frees: sum.frees,
                allocated_bytes: sum.allocated_bytes,
                freed_bytes: sum.freed_bytes,
                temporary: sum.temporary,
            };
        }
        let Some(counters) = sites::counters(id) else {
            return Counts::default();
        };
        // Frees first: a block whose free is counted was counted as allocated before, so that no
        // site ever seems to have freed more than it allocated.
        let frees = counters.frees.load(Relaxed);
        let freed_bytes = counters.freed_bytes.load(Relaxed);
        compiler_fence(core::sync::atomic::Ordering::SeqCst);
        Counts {
            allocations: counters.allocations.load(Relaxed),
            frees,
            allocated_bytes: counters.allocated_bytes.load(Relaxed),
            freed_bytes,
            temporary: counters.temporary.load(Relaxed),
        }
    }

    fn beyond_sites(&self) -> Option<Calls> {
        // SAFETY: as above.
        unsafe { &*READ.0.get() }.beyond
    }

    fn frees_are_exact(&self) -> bool {
        state::fork_epoch() == 0 && !state::was_paused()
    }

    fn sampling(&self) -> Option<Sampling> {
        sampler::is_on().then(|| Sampling {
            mean_bytes: sampler::weight::mean_of(sampler::rate::class()),
            hooks_cpu_us: sampler::budget::hooks_ns() / 1_000,
            program_cpu_us: sampler::budget::program_ns() / 1_000,
        })
    }

    fn coarsest_bytes(&self) -> u64 {
        sampler::rate::coarsest_bytes()
    }

    fn for_each_block(&self, show: &mut dyn FnMut(u32, u64, u32, u64)) {
        state::LIVE.for_each(|addr, block| {
            let weight = sampler::weight::weight(block.class, block.size, addr);
            show(block.site, block.size, block.epoch, weight);
        });
    }

    fn nodes(&self) -> u32 {
        sites::nodes_len()
    }

    fn node(&self, id: u32) -> Option<Node> {
        let sites::Node {
            parent,
            module,
            offset,
            exact,
        } = sites::node(id)?;
        Some(Node {
            id,
            parent,
            module,
            offset,
            exact,
        })
    }

    fn modules(&self) -> u32 {
        modules::len()
    }

    fn with_module(&self, id: u32, show: &mut dyn FnMut(&Module<'_>, u64)) {
        let Some(module) = modules::by_id(id) else {
            return;
        };
        let record = Module {
            id,
            bias: module.bias as u64,
            start: module.start as u64,
            end: module.end as u64,
            generation: module.generation,
            at_ms: module.seen_ms,
            path: module.path(),
            build_id: module.build_id(),
        };
        show(&record, module.gone_ms());
    }

    fn coverage(&self) -> Coverage {
        state::COVERAGE.read()
    }

    fn brk_bytes(&self) -> u64 {
        state::brk_bytes()
    }

    fn own_memory_bytes(&self) -> u64 {
        arena::used_bytes().saturating_add(faults::ring_bytes())
    }

    fn own_threads(&self) -> u32 {
        u32::from(helper::is_running())
    }

    fn freed(&self, id: u32) -> Option<Octaves> {
        // Mappings end piece by piece: their lifetimes are not counted.
        match sites::site(id)?.kind {
            // A sample's life is that of many blocks, of which nothing else is known.
            sites::Kind::Heap if sampler::is_on() => None,
            sites::Kind::Heap => sites::lifetimes::freed(id),
            sites::Kind::Mmap => None,
        }
    }

    fn sizes(&self) -> Option<Sizes> {
        Sizes::read(sites::len())
    }

    fn live_blocks(&self) -> u64 {
        state::LIVE.len()
    }

    fn for_each_live(&self, show: &mut dyn FnMut(u32, u32)) {
        state::LIVE.for_each(|_, block| show(block.site, block.epoch));
        state::MAPPINGS.for_each(|mapping| {
            if let Some(site) = mapping.known_site() {
                show(site, mapping.epoch);
            }
        });
    }
}
