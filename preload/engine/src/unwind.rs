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
mod learn;
pub mod reader;
pub mod rule;
pub mod rules;
mod trail;
mod x86_64;

use crate::modules;
use bounds::Bounds;
use cfi::Machine;
use rule::Rule;
use rules::View;
use trail::{Ending, Trail, is_plausible};

pub use bounds::{forbid_probe, note_unmap};
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

/// What a thread needs to capture stacks. Zeroed memory is a valid one; it must be zeroed again
/// when another thread takes it over.
#[repr(C)]
pub struct Scratch {
    pcs: [usize; MAX_DEPTH],
    bounds: Bounds,
    machine: Machine,
}

impl Scratch {
    /// One that knows nothing yet.
    pub const fn new() -> Scratch {
        Scratch {
            pcs: [0; MAX_DEPTH],
            bounds: Bounds::new(),
            machine: Machine::new(),
        }
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

/// Captures the stack of the calling thread from a hook's entry outwards.
///
/// # Safety
/// `entry` holds the registers as they were at the first instruction of a function that has not
/// returned yet, on the calling thread. No lock of ours is held.
#[inline]
pub unsafe fn capture(scratch: &mut Scratch, entry: Entry, depth: usize) -> Stack<'_> {
    let depth = depth.clamp(1, MAX_DEPTH);
    let seed = u64::from(modules::generation()).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let pcs = scratch.pcs.as_mut_ptr();
    // SAFETY: `depth` is at most the length of `pcs`, which no one else uses meanwhile.
    let mut trail = unsafe { Trail::new(pcs, depth, seed) };
    // SAFETY: passed on to the caller.
    let mut ending = unsafe { walk(scratch, entry, &mut trail) };
    if ending == Ending::General {
        // SAFETY: as above; the first trail is not used any more.
        trail = unsafe { Trail::new(pcs, depth, seed) };
        // SAFETY: passed on to the caller.
        ending = unsafe { general::walk(scratch, entry, &mut trail) };
    }
    let (cut, broken) = (ending == Ending::Cut, ending == Ending::Broken);
    let hash = (trail.hash ^ u64::from(cut)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let pcs = scratch.pcs.get(..trail.len).unwrap_or(&[]);
    Stack {
        pcs,
        exact: trail.exact,
        hash: hash ^ hash >> 32,
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

/// The usual walk, by SP and RBP.
///
/// # Safety
/// As for [`capture`].
#[inline(always)]
unsafe fn walk(scratch: &mut Scratch, entry: Entry, trail: &mut Trail) -> Ending {
    // SAFETY: at the entry, SP points at the return address.
    let mut pc = unsafe { word(entry.sp) };
    let mut sp = entry.sp + 8;
    let mut bp = entry.bp;
    let mut exact = false;
    let Some(mut top) = scratch.bounds.top(entry.sp) else {
        trail.push(pc, exact);
        return Ending::Broken;
    };
    let mut view = View::now();
    loop {
        if !is_plausible(pc) {
            return if pc == 0 {
                Ending::Complete
            } else {
                Ending::Broken
            };
        }
        if trail.is_full() {
            return Ending::Cut;
        }
        let mut packed = view.get(pc, exact);
        if packed == 0 {
            // SAFETY: the pc is that of a frame of this thread.
            packed = unsafe { learn::learn(&mut scratch.machine, pc, exact) };
            view = View::now();
        }
        let (cfa, saved_bp) = match Rule::unpack(packed) {
            Rule::Sp { cfa, bp } => {
                let cfa = sp + cfa as usize * 8;
                (cfa, if bp == 0 { 0 } else { cfa - bp as usize * 8 })
            }
            Rule::Bp { cfa, bp: saved } => {
                let cfa = bp.wrapping_add(cfa as usize * 8);
                (
                    cfa,
                    if saved == 0 {
                        0
                    } else {
                        cfa.wrapping_sub(saved as usize * 8)
                    },
                )
            }
            Rule::Load { cfa, bp: saved } => {
                let holder = bp.wrapping_add_signed(cfa as isize * 8);
                if holder % 8 != 0 || holder < sp || holder >= top {
                    trail.push(pc, exact);
                    return Ending::Broken;
                }
                // SAFETY: just checked; aligned, so the whole word is below the top.
                (
                    unsafe { word(holder) },
                    bp.wrapping_add_signed(saved as isize * 8),
                )
            }
            Rule::Broken => return Ending::Broken,
            Rule::General => return Ending::General,
            rule => {
                trail.push(pc, exact);
                let from = Frame { sp, bp, top };
                // SAFETY: the registers are those of a frame of this thread.
                match unsafe { special(scratch, rule, from) } {
                    Ok((next, next_pc)) => {
                        Frame { sp, bp, top } = next;
                        pc = next_pc;
                        exact = rule == Rule::Signal;
                        continue;
                    }
                    Err(ending) => return ending,
                }
            }
        };
        trail.push(pc, exact);
        // The return address is the word below the CFA: both must lie on the stack.
        let mut low = sp;
        if cfa <= sp || cfa > top || cfa % 8 != 0 {
            match scratch.bounds.switch(sp, cfa) {
                Some(other) => (low, top) = other,
                None => return Ending::Broken,
            }
        }
        if saved_bp != 0 {
            if saved_bp < low || saved_bp >= top || saved_bp % 8 != 0 {
                return Ending::Broken;
            }
            // SAFETY: just checked; aligned, so the whole word is below the top.
            bp = unsafe { word(saved_bp) };
        }
        // SAFETY: the CFA is above SP and not above the top, or on another stack that `switch`
        // found readable.
        pc = unsafe { word(cfa - 8) };
        sp = cfa;
        exact = false;
    }
}

/// Where a walk is.
struct Frame {
    sp: usize,
    bp: usize,
    top: usize,
}

/// The steps that are rare.
///
/// # Safety
/// The frame is one of this thread's.
#[cold]
#[inline(never)]
unsafe fn special(
    scratch: &mut Scratch,
    rule: Rule,
    from: Frame,
) -> Result<(Frame, usize), Ending> {
    use x86_64::signal_frame;
    let bounds = &mut scratch.bounds;
    match rule {
        Rule::End => Err(Ending::Complete),
        Rule::Signal => {
            let end = from.sp + signal_frame::RIP + 8;
            if end > from.top {
                bounds.extend(end).ok_or(Ending::Broken)?;
            }
            // SAFETY (all three): the kernel's frame lies between SP and the top.
            let pc = unsafe { word(from.sp + signal_frame::RIP) };
            // SAFETY: as above.
            let bp = unsafe { word(from.sp + signal_frame::RBP) };
            // SAFETY: as above.
            let sp = unsafe { word(from.sp + signal_frame::RSP) };
            let top = bounds.top(sp).ok_or(Ending::Broken)?;
            Ok((Frame { sp, bp, top }, pc))
        }
        Rule::Chain => {
            let Frame { sp, bp, mut top } = from;
            let end = bp
                .checked_add(16)
                .filter(|_| bp >= sp && bp % 8 == 0)
                .ok_or(Ending::Broken)?;
            if end > top {
                (_, top) = bounds.switch(sp, end).ok_or(Ending::Broken)?;
            }
            // SAFETY (both): the two words lie above SP and below the top.
            let (next, pc) = unsafe { (word(bp), word(bp + 8)) };
            Ok((
                Frame {
                    sp: end,
                    bp: next,
                    top,
                },
                pc,
            ))
        }
        _ => Err(Ending::Broken),
    }
}
