//! Owns learning the rule of a pc from the object it lies in.
//!
//! Reads call frame information in place. Takes no lock of ours while the loader is asked.

use super::bounds;
use super::cfi::{Machine, Row, Wanted};
use super::eh_frame;
use super::reader::Tables;
use super::rule::Rule;
use super::rules;
use super::x86_64::{CALL_MAX_BYTES, EPILOGUE_BYTES, RESTORER, RETURN, ends_in_call, epilogue};
use crate::arena;
use crate::modules::{self, Placement};

/// The mapped tables of an object.
pub struct Loaded<'a>(&'a Placement);

impl Tables for Loaded<'_> {
    fn bytes_from(&self, addr: usize) -> Option<&[u8]> {
        // SAFETY: whoever made this vouches for the object being loaded.
        unsafe { self.0.image.bytes_from(addr) }
    }
}

/// What describes the frame at a pc.
pub struct Described<'a> {
    /// The rule it amounts to.
    pub rule: Rule,
    /// All rules, where there are any, and the tables that their expressions are in.
    pub row: Option<(&'a Row, Loaded<'static>)>,
}

/// Finds out how to get from the frame at `pc` to its caller. `exact`: `pc` is the instruction
/// itself, not a return address. `wanted`: of the row; the rule is the same.
///
/// # Safety
/// The calling thread is executing a function at `pc`: what is loaded there stays loaded.
pub unsafe fn describe(
    machine: &mut Machine,
    pc: usize,
    exact: bool,
    wanted: Wanted,
) -> Described<'_> {
    let looked_up = pc - usize::from(!exact);
    let bare = |rule| Described { rule, row: None };
    let Some(placement) = modules::find_current(looked_up) else {
        if !exact && !follows_call(pc) {
            return bare(Rule::Broken);
        }
        let mut after = [0; EPILOGUE_BYTES];
        let leaves = !exact && bounds::read_unknown(pc, &mut after);
        let rule = leaves.then(|| epilogue(&after)).flatten();
        return bare(rule.unwrap_or(Rule::Chain));
    };
    let tables = Loaded(placement);
    let found = match placement.image.eh_frame_hdr {
        0 => None,
        header => eh_frame::find(&tables, header, looked_up),
    };
    let before = || {
        tables
            .bytes_from(pc - CALL_MAX_BYTES)
            .and_then(|b| b.first_chunk())
    };
    let called = || exact || before().is_some_and(ends_in_call);
    // Where a function begins there is nothing to return to: someone put the address there as the
    // bottom of a stack (`makecontext`).
    let bottom = || {
        let header = placement.image.eh_frame_hdr;
        !called() && eh_frame::find(&tables, header, pc).is_some_and(|frame| frame.start == pc)
    };
    let Some(frame) = found else {
        return bare(if bottom() {
            Rule::End
        } else if tables
            .bytes_from(pc)
            .is_some_and(|b| b.starts_with(&RESTORER))
        {
            Rule::Signal
        } else if called() && placement.image.is_text(looked_up) {
            Rule::Chain
        } else {
            Rule::Broken
        });
    };
    if frame.end == pc && bottom() {
        return bare(Rule::End);
    }
    let stuck = frame.return_column != RETURN as u64;
    // The kernel's frames are recognised by all their columns.
    let wanted = if frame.signal { Wanted::All } else { wanted };
    let row = machine.rules_at(&frame, looked_up, wanted);
    let Some(row) = row.filter(|_| !stuck) else {
        return bare(Rule::Stuck);
    };
    let rule = Rule::of_row(row, frame.signal, &tables);
    Described {
        rule,
        row: Some((row, Loaded(placement))),
    }
}

/// True if a call stands before `pc`, in memory that may not be readable.
fn follows_call(pc: usize) -> bool {
    let mut before = [0; CALL_MAX_BYTES];
    if bounds::read_unknown(pc - CALL_MAX_BYTES, &mut before) {
        return ends_in_call(&before);
    }
    // Generated code often begins where its mapping does: nothing need be readable before that.
    let page = (pc - 1) / arena::PAGE_BYTES * arena::PAGE_BYTES;
    let missing = CALL_MAX_BYTES.saturating_sub(pc - page);
    before
        .get_mut(missing..)
        .is_some_and(|part| bounds::read_unknown(page.max(pc - CALL_MAX_BYTES), part))
        && ends_in_call(&before)
}

/// The packed rule of a plausible pc: looked up wherever it may be, or else learnt for all threads.
///
/// # Safety
/// As for [`describe`].
pub unsafe fn find_or_learn(machine: &mut Machine, pc: usize, exact: bool) -> u64 {
    if let Some(packed) = rules::View::now().search(pc, exact) {
        return packed;
    }
    let generation = modules::generation();
    // SAFETY: passed on to the caller.
    let rule = unsafe { describe(machine, pc, exact, Wanted::Few) }.rule;
    rules::put(pc, exact, rule, generation);
    rule.pack()
}
