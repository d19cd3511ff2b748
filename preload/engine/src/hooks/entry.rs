//! Owns where the exported `malloc`, `calloc`, `realloc` and `free` jump to: the recording hooks, the
//! sampling ones, or the originals themselves.
//!
//! Any mixture of them is sound, so that they can be changed one by one while threads call them.

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use super::real::ORIGINALS;
use super::{heap, sampled};
use crate::sampler::{self, filter};
use crate::state;

/// Where an exported function jumps to.
pub type Entry = AtomicPtr<()>;

/// Of `malloc`.
pub static MALLOC: Entry = AtomicPtr::new(heap::malloc as *mut ());
/// Of `calloc`.
pub static CALLOC: Entry = AtomicPtr::new(heap::calloc as *mut ());
/// Of `realloc`.
pub static REALLOC: Entry = AtomicPtr::new(heap::realloc as *mut ());
/// Of `free` and `cfree`.
pub static FREE: Entry = AtomicPtr::new(heap::free as *mut ());

/// Chooses anew, after something that the choice depends on has changed.
pub fn choose() {
    let mut malloc = heap::malloc as *mut ();
    let mut calloc = heap::calloc as *mut ();
    let mut realloc = heap::realloc as *mut ();
    let mut free = heap::free as *mut ();
    let direct = |slot: &AtomicUsize, otherwise| match slot.load(Relaxed) {
        0 => otherwise,
        addr => core::ptr::with_exposed_provenance_mut(addr),
    };
    if !state::tracking() {
        // The rare case; the hooks pass everything on.
    } else if state::is_paused() {
        // Without a helper the hooks look for requests.
        if !state::is_due() {
            malloc = direct(&ORIGINALS.malloc, malloc);
            calloc = direct(&ORIGINALS.calloc, calloc);
            if filter::is_on() {
                free = sampled::free_paused as *mut ();
            }
        }
    } else if sampler::is_on() {
        malloc = sampled::malloc as *mut ();
        calloc = sampled::calloc as *mut ();
        // Where sampling began with a full table a filter would say nothing: every free looks.
        if filter::is_on() {
            realloc = sampled::realloc as *mut ();
            free = sampled::free as *mut ();
        }
    }
    MALLOC.store(malloc, Relaxed);
    CALLOC.store(calloc, Relaxed);
    REALLOC.store(realloc, Relaxed);
    FREE.store(free, Relaxed);
}
