//! Owns capturing the stack of the calling thread: exact, to full depth, without frame pointers.
//!
//! The usual walk needs SP and RBP only and takes one lookup in the table of learnt rules per
//! frame. It reads nothing but stack that is known to be mapped, allocates nothing, and takes a
//! lock only to keep a rule that it had to learn.

pub mod bounds;
pub mod cfi;
pub mod eh_frame;
pub mod expression;
mod general;
mod guess;
mod learn;
mod memo;
mod quick;
pub mod reader;
pub mod rule;
pub mod rules;
mod trail;
mod x86_64;

use crate::modules;
use bounds::Bounds;
use cfi::Machine;
use quick::Steps;
use rule::Rule;
use rules::View;
use trail::{Ending, Trail, finish, is_plausible, seed};

pub use bounds::{forbid_probe, note_unmap};
pub use memo::Asked;
pub use quick::Walked;
pub use trail::ExactMask;

/// Frames kept of a stack at most.
pub const MAX_DEPTH: usize = 256;

/// Where a walk begins: the registers at the first instruction of a hook.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Stack pointer: the word there is the return address.
    pub sp: usize,
    /// Frame pointer register, whatever it holds.
    pub bp: usize,
}

/// What a thread needs to capture stacks. Zeroed memory is a valid one that knows nothing; when
/// another thread takes it over, [`Scratch::forget`] makes it so.
#[repr(C)]
pub struct Scratch {
    bounds: Bounds,
    steps: Steps,
    pcs: [usize; MAX_DEPTH],
    machine: Machine,
}

impl Scratch {
    /// One that knows nothing yet.
    pub const fn new() -> Scratch {
        Scratch {
            bounds: Bounds::new(),
            steps: Steps::new(),
            pcs: [0; MAX_DEPTH],
            machine: Machine::new(),
        }
    }
}

impl Scratch {
    /// Forgets what was learnt of stacks: they were another thread's, or a thread that was torn out of a
    /// walk may have left any of it half-written.
    pub fn forget(&mut self) {
        self.bounds = Bounds::new();
        self.steps.forget();
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

/// A captured stack.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    /// Innermost first: return addresses, but see `exact`.
    pub pcs: &'a [usize],
    /// Which of them are exact addresses: those of frames that a signal interrupted.
    pub exact: ExactMask,
    /// Over all of the above and the generation of modules.
    pub hash: u64,
    /// The generation of modules that it was captured in.
    pub generation: u32,
    /// There were more frames than asked for.
    pub cut: bool,
    /// It ended early: no rule was found, or one that led nowhere.
    pub broken: bool,
}

/// Learns where the main thread's stack ends. Call once, from the constructor, after
/// [`modules::init`].
pub fn init() {
    bounds::init();
}

/// The site of a stack that is remembered as a whole, found without walking it; 0 where
/// [`walk_quickly`] has to. `about`: what else the site depends on, 15 bits.
///
/// # Safety
/// As for [`capture`].
#[inline(always)]
pub unsafe fn recall(scratch: &mut Scratch, entry: &Entry, about: u64) -> u32 {
    let Scratch { bounds, steps, .. } = scratch;
    // SAFETY: passed on to the caller.
    unsafe { steps.recall(bounds, entry, modules::generation(), about) }
}

/// The site of a stack that is remembered as a whole, or the hash that [`capture`] would find, at a
/// fraction of its cost; neither for stacks that are not of the usual kind, deeper than asked for, or
/// have frames not met before. `about` as for [`recall`]; `depth` is the same at each call of a thread.
///
/// # Safety
/// As for [`capture`].
#[inline(always)]
pub unsafe fn walk_quickly(
    scratch: &mut Scratch,
    entry: &Entry,
    depth: usize,
    about: u64,
) -> Walked {
    let Scratch { bounds, steps, .. } = scratch;
    let depth = depth.clamp(1, MAX_DEPTH);
    // SAFETY: passed on to the caller.
    unsafe { steps.walk(bounds, entry, depth, modules::generation(), about) }
}

/// Tells to which site a stack led of which [`walk_quickly`] found the hash only: it may be worth
/// remembering.
///
/// # Safety
/// As for [`capture`], in the same call as the walk and with what was given to it.
#[inline(always)]
pub unsafe fn note_site(
    scratch: &mut Scratch,
    entry: &Entry,
    depth: usize,
    asked: Asked,
    site: u32,
) {
    let depth = depth.clamp(1, MAX_DEPTH);
    // SAFETY: passed on to the caller.
    unsafe { scratch.steps.note(asked, entry, depth, site) }
}

/// Captures the stack of the calling thread from a hook's entry outwards.
///
/// # Safety
/// `entry` holds the registers as they were at the first instruction of a function that has not
/// returned yet, on the calling thread. No lock of ours is held.
#[inline]
pub unsafe fn capture(scratch: &mut Scratch, entry: Entry, depth: usize) -> Stack<'_> {
    let depth = depth.clamp(1, MAX_DEPTH);
    let generation = modules::generation();
    let seed = seed(generation);
    let pcs = scratch.pcs.as_mut_ptr();
    // SAFETY: `depth` is at most the length of `pcs`, which no one else uses meanwhile.
    let trail = unsafe { Trail::new(pcs, depth, seed) };
    // SAFETY: passed on to the caller.
    let (mut trail, mut ending) = unsafe { walk(scratch, &entry, trail) };
    if ending == Ending::General {
        // SAFETY: as above; the first trail is not used any more.
        trail = unsafe { Trail::new(pcs, depth, seed) };
        // SAFETY: passed on to the caller.
        ending = unsafe { general::walk(scratch, entry, &mut trail) };
    }
    let (cut, broken) = (ending == Ending::Cut, ending == Ending::Broken);
    let pcs = scratch.pcs.get(..trail.len).unwrap_or(&[]);
    Stack {
        pcs,
        exact: trail.exact,
        hash: finish(trail.hash, cut),
        generation,
        cut,
        broken,
    }
}

/// Reads a word of stack.
///
/// # Safety
/// `addr` lies between SP and the known top of its stack.
#[inline(always)]
unsafe fn word(addr: usize) -> usize {
    // SAFETY: the caller's promise; other frames of this thread do not change meanwhile.
    unsafe { (addr as *const usize).read() }
}

/// Where a walk is.
#[derive(Clone, Copy)]
struct Frame {
    pc: usize,
    /// The pc is the instruction itself.
    exact: bool,
    sp: usize,
    /// Where the value of RBP in this frame is: on the stack, or the entry's. Most frames never ask.
    bp_slot: *const usize,
    /// One past the last byte of this stack that may be read.
    top: usize,
}

impl Frame {
    #[inline(always)]
    fn bp(&self) -> usize {
        // SAFETY: `bp_slot` is the entry's field or was found to lie on the stack.
        unsafe { *self.bp_slot }
    }
}

/// The usual walk, by SP and RBP.
///
/// What the loop changes is handed to the rare steps as copies: so it stays in registers, and a
/// frame costs little more than the two loads that each step has to wait for.
///
/// # Safety
/// As for [`capture`].
#[inline(always)]
unsafe fn walk(scratch: &mut Scratch, entry: &Entry, mut trail: Trail) -> (Trail, Ending) {
    // SAFETY: at the entry, SP points at the return address.
    let pc = unsafe { word(entry.sp) };
    let Some(top) = scratch.bounds.top(entry.sp) else {
        trail.push(pc);
        return (trail, Ending::Broken);
    };
    let mut at = Frame {
        pc,
        exact: false,
        sp: entry.sp + 8,
        bp_slot: &raw const entry.bp,
        top,
    };
    let mut view = View::now();
    loop {
        let packed = match view.get(at.pc) {
            Some(packed) if !at.exact => packed,
            _ => {
                // SAFETY: the pc is that of a frame of this thread.
                match unsafe { unusual(&mut scratch.machine, at.pc, at.exact) } {
                    Ok(packed) => {
                        view = View::now();
                        packed
                    }
                    Err(ending) => return (trail, ending),
                }
            }
        };
        if !trail.push(at.pc) {
            return (trail, Ending::Cut);
        }
        let cfa = if let Some(bytes) = Rule::packed_sp(packed) {
            at.sp + bytes
        } else if let Some(bytes) = Rule::packed_bp(packed)
            && let cfa = at.bp().wrapping_add(bytes)
            && cfa > at.sp
            && cfa.is_multiple_of(8)
        {
            cfa
        } else {
            usize::MAX
        };
        let saved_bp = Rule::packed_saved_bp(packed);
        let slot = cfa.wrapping_sub(saved_bp);
        // The return address is the word below the CFA; a saved RBP is not below SP.
        if cfa > at.top || slot < at.sp || at.exact {
            if at.exact {
                trail.mark_exact();
            }
            let here = at;
            // SAFETY: the frame is one of this thread's.
            match unsafe { step(scratch, packed, &here) } {
                Ok(next) => at = next,
                Err(ending) => return (trail, ending),
            }
            continue;
        }
        let slot = slot as *const usize;
        at.bp_slot = core::hint::select_unpredictable(saved_bp == 0, at.bp_slot, slot);
        // SAFETY: the CFA is above SP and not above the top.
        at.pc = unsafe { word(cfa - 8) };
        at.sp = cfa;
    }
}

/// The packed rule of a pc that is not in its place in the table, or how the walk ends there.
///
/// # Safety
/// The frame is one of this thread's.
#[cold]
#[inline(never)]
unsafe fn unusual(machine: &mut Machine, pc: usize, exact: bool) -> Result<u64, Ending> {
    if !is_plausible(pc) {
        return Err(if pc == 0 {
            Ending::Complete
        } else {
            Ending::Broken
        });
    }
    // SAFETY: passed on to the caller.
    let packed = unsafe { learn::find_or_learn(machine, pc, exact) };
    match Rule::unpack(packed) {
        Rule::Broken => Err(Ending::Broken),
        _ => Ok(packed),
    }
}

/// Any step, with all that may happen; the frame itself is on the trail.
///
/// # Safety
/// The frame is one of this thread's.
#[cold]
#[inline(never)]
unsafe fn step(scratch: &mut Scratch, packed: u64, at: &Frame) -> Result<Frame, Ending> {
    let bounds = &mut scratch.bounds;
    let bp = at.bp();
    let saved_at = |cfa: usize, words: u32| match words {
        0 => None,
        _ => Some(cfa.wrapping_sub(words as usize * 8)),
    };
    // The CFA, and where RBP is saved if it is.
    let (cfa, saved_bp) = match Rule::unpack(packed) {
        Rule::Sp { cfa, bp: saved } => {
            let cfa = at.sp + cfa as usize * 8;
            (cfa, saved_at(cfa, saved))
        }
        Rule::Bp { cfa, bp: saved } => {
            let cfa = bp.wrapping_add(cfa as usize * 8);
            (cfa, saved_at(cfa, saved))
        }
        Rule::Load { cfa, bp: saved } => {
            let holder = bp.wrapping_add_signed(cfa as isize * 8);
            if !holder.is_multiple_of(8) || holder < at.sp || holder >= at.top {
                return Err(Ending::Broken);
            }
            // SAFETY: just checked; aligned, so the whole word is below the top.
            (
                unsafe { word(holder) },
                Some(bp.wrapping_add_signed(saved as isize * 8)),
            )
        }
        Rule::Chain => {
            if bp < at.sp {
                return Err(Ending::Broken);
            }
            (bp.wrapping_add(16), Some(bp))
        }
        Rule::Signal => return interrupted(bounds, at),
        Rule::End => return Err(Ending::Complete),
        Rule::General => return Err(Ending::General),
        Rule::Stuck | Rule::Broken => return Err(Ending::Broken),
    };
    let (mut low, mut top) = (at.sp, at.top);
    if cfa <= at.sp || cfa > top || !cfa.is_multiple_of(8) {
        (low, top) = bounds.switch(at.sp, cfa).ok_or(Ending::Broken)?;
    }
    let bp_slot = match saved_bp {
        None => at.bp_slot,
        Some(slot) if slot >= low && slot < top && slot.is_multiple_of(8) => slot as *const usize,
        Some(_) => return Err(Ending::Broken),
    };
    // SAFETY: the CFA is above SP and not above the top, or on another stack that `switch` found
    // readable.
    let pc = unsafe { word(cfa - 8) };
    Ok(Frame {
        pc,
        exact: false,
        sp: cfa,
        bp_slot,
        top,
    })
}

/// From the kernel's frame for a signal to what it interrupted, maybe on another stack.
fn interrupted(bounds: &mut Bounds, at: &Frame) -> Result<Frame, Ending> {
    use x86_64::signal_frame;
    let end = at.sp + signal_frame::RIP + 8;
    if end > at.top {
        bounds.extend(end).ok_or(Ending::Broken)?;
    }
    let offsets = [signal_frame::RIP, signal_frame::RSP];
    // SAFETY: the kernel's frame lies between SP and the top.
    let [pc, sp] = offsets.map(|offset| unsafe { word(at.sp + offset) });
    let bp_slot = (at.sp + signal_frame::RBP) as *const usize;
    let top = bounds.top(sp).ok_or(Ending::Broken)?;
    Ok(Frame {
        pc,
        exact: true,
        sp,
        bp_slot,
        top,
    })
}
