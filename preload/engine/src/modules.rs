//! Owns the table of loaded objects: who they are, where they lie, and which one an address is in.
//!
//! Looking an address up takes no lock. Learning about objects asks the loader first and takes our
//! lock afterwards (or inside the loader's enumeration), never the other way round.

mod index;

use core::cell::UnsafeCell;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::arena::{self, AVec, Chunked};
use crate::elf::{Image, Phdr};
use crate::loader;
use crate::owned::Owned;
use crate::permit::{self, means::PATHS};
use crate::state;
use crate::sys;
use crate::unwind::rules;
use index::{Index, Range};

const BUILD_ID_MAX_BYTES: usize = 32;

/// An object by what it is: the same file loaded twice is one module. Never freed.
pub struct Module {
    /// Id, from 1.
    pub id: u32,
    /// Load generation in which it was first seen.
    pub generation: u32,
    /// When it was first seen, in milliseconds of recording.
    pub seen_ms: u64,
    /// Load bias when it was first seen.
    pub bias: usize,
    /// First mapped address when it was first seen.
    pub start: usize,
    /// One past the last mapped address when it was first seen.
    pub end: usize,
    gone_ms: AtomicU64,
    path: &'static [u8],
    build_id: [u8; BUILD_ID_MAX_BYTES],
    build_id_len: usize,
    /// Stands in for the build-id where there is none.
    fingerprint: u64,
}

impl Module {
    /// Path as the loader knows it, made absolute where that is possible.
    pub fn path(&self) -> &[u8] {
        self.path
    }

    /// GNU build-id; empty if there is none.
    pub fn build_id(&self) -> &[u8] {
        self.build_id.get(..self.build_id_len).unwrap_or(&[])
    }

    /// When it was unloaded, in milliseconds of recording; 0 while it is loaded.
    pub fn gone_ms(&self) -> u64 {
        self.gone_ms.load(Ordering::Relaxed)
    }
}

/// An object at a place. Never freed.
pub struct Placement {
    /// Number, from 0.
    pub number: u32,
    /// Id of the module.
    pub module: u32,
    /// Segments and tables; the memory behind it is there only while the object is loaded.
    pub image: Image,
    link_map: usize,
    /// How often it was loaded and unloaded; odd: it is there.
    changes: AtomicU32,
}

impl Placement {
    /// True unless the object was unloaded.
    pub fn is_loaded(&self) -> bool {
        is_odd(self.changes())
    }

    fn changes(&self) -> u32 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Notes that it was loaded or unloaded; under the table's lock.
    fn change(&self) {
        self.changes
            .store(self.changes().wrapping_add(1), Ordering::Relaxed);
    }

    /// Asks the loader whether this object still lies here: someone may have unloaded it behind
    /// our back and loaded another at the same address. Where libc cannot tell, it is believed.
    ///
    /// Reads the object, so nobody may be unloading it meanwhile: the calling thread runs in it, or
    /// the loader's lock is held ([`loader::for_each_object`]).
    pub fn is_current(&self) -> bool {
        if self.link_map == 0 {
            return true;
        }
        let Some(found) = loader::find_object(self.image.start) else {
            return false;
        };
        // In this order: a handle may be used again, and the build-id is read where it was.
        found.link_map == self.link_map
            && found.start <= self.image.start
            && (self.image.end <= found.end.next_multiple_of(arena::PAGE_BYTES)
                || self.reaches_its_end())
            && self.same_content()
    }

    /// Of an object with holes between its segments libc tells one segment at a time.
    fn reaches_its_end(&self) -> bool {
        let last_page = self.image.end.saturating_sub(1) / arena::PAGE_BYTES * arena::PAGE_BYTES;
        loader::find_object(last_page).is_some_and(|found| found.link_map == self.link_map)
    }

    fn same_content(&self) -> bool {
        let Some(module) = by_id(self.module) else {
            return false;
        };
        // SAFETY: the loader just said that an object is loaded at this place.
        let id = unsafe { self.image.build_id() };
        module.build_id().is_empty() || id == module.build_id()
    }
}

struct State {
    /// Ranges of all loaded placements, sorted.
    ranges: AVec<Range>,
    /// What the loader counted when we looked last.
    adds: u64,
    subs: u64,
}

struct Table {
    lock: Owned,
    state: UnsafeCell<State>,
    modules: Chunked<Module>,
    placements: Chunked<Placement>,
    index: Index,
    generation: AtomicU32,
}

// SAFETY: `state` is reached only under the lock.
unsafe impl Sync for Table {}

static TABLE: Table = Table {
    lock: Owned::new(),
    state: UnsafeCell::new(State {
        ranges: AVec::new(),
        adds: 0,
        subs: 0,
    }),
    modules: Chunked::new(),
    placements: Chunked::new(),
    index: Index::new(),
    generation: AtomicU32::new(0),
};

fn is_odd(changes: u32) -> bool {
    changes % 2 == 1
}

/// Looks at everything loaded. Call from the constructor, on a thread of the host.
pub fn init() {
    loader::init();
    refresh();
}

/// Raised each time an object was unloaded: what was learnt about an address in an earlier
/// generation says nothing about it now.
#[inline(always)]
pub fn generation() -> u32 {
    TABLE.generation.load(Ordering::Relaxed)
}

/// The object at an address, among those known. Takes no lock.
pub fn find(addr: usize) -> Option<&'static Placement> {
    TABLE.placements.get(TABLE.index.find(addr)?)
}

/// As [`find`] for the frames of one stack: neighbours mostly lie in the same object.
#[derive(Default)]
pub struct Finder(Range);

impl Finder {
    /// True for an address in the object that was found last.
    #[inline(always)]
    pub fn holds(&self, addr: usize) -> bool {
        addr.wrapping_sub(self.0.start) < self.0.end - self.0.start
    }

    /// The object at an address, among those known at some time since this was made.
    pub fn find(&mut self, addr: usize) -> Option<&'static Placement> {
        if !self.holds(addr) {
            self.0 = TABLE.index.find_range(addr)?;
        }
        TABLE.placements.get(self.0.placement)
    }
}

/// The object at an address that has just been run: one that was unloaded unseen is not taken for
/// it. Its tables may be read. May take the loader's lock, so none of ours may be held.
pub fn find_current(addr: usize) -> Option<&'static Placement> {
    let known = find_or_learn(addr)?;
    if known.is_current() {
        return Some(known);
    }
    note_replaced();
    find_or_learn(addr).filter(|placement| placement.is_current())
}

/// The object at an address; asks the loader if no known one is there. May take the loader's lock
/// where libc is older than 2.35, so none of ours may be held.
pub fn find_or_learn(addr: usize) -> Option<&'static Placement> {
    find(addr).or_else(|| discover(addr))
}

#[cold]
#[inline(never)]
fn discover(addr: usize) -> Option<&'static Placement> {
    if !loader::can_find_object() {
        refresh();
        return find(addr);
    }
    let found = loader::find_object(addr)?;
    // SAFETY: the address is on the stack of this thread or was just run by it: its object stays.
    let (bias, name) = unsafe { found.identity() };
    // SAFETY: as above.
    let image = unsafe { image_at(&found, bias) };
    learn(&image, name, found.link_map);
    find(addr)
}

/// Reads the program headers of an object through its first page; without them, all of it counts
/// as one segment.
///
/// # Safety
/// The object must be loaded.
unsafe fn image_at(found: &loader::Found, bias: usize) -> Image {
    const HEADER_BYTES: usize = 64;
    let whole = Image::opaque(bias, found.start, found.end, found.eh_frame_hdr);
    if found.end - found.start < arena::PAGE_BYTES {
        return whole;
    }
    // SAFETY: the first page of an object's first segment is mapped, readable in all but
    // hand-made objects, which the loader itself could not have handled.
    let page = unsafe { core::slice::from_raw_parts(found.start as *const u8, arena::PAGE_BYTES) };
    let header = || -> Option<Image> {
        let elf = page.get(..HEADER_BYTES)?;
        let offset = u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?);
        let entry_bytes = u16::from_le_bytes(elf.get(54..56)?.try_into().ok()?);
        let count = u16::from_le_bytes(elf.get(56..58)?.try_into().ok()?);
        if elf.get(..4)? != b"\x7fELF" || usize::from(entry_bytes) != size_of::<Phdr>() {
            return None;
        }
        let offset = usize::try_from(offset).ok()?;
        let bytes =
            page.get(offset..offset.checked_add(usize::from(count) * size_of::<Phdr>())?)?;
        let phdrs = bytes.as_ptr().cast::<Phdr>();
        if !phdrs.is_aligned() {
            return None;
        }
        // SAFETY: the bytes are there and aligned; any pattern is a header.
        let phdrs = unsafe { core::slice::from_raw_parts(phdrs, usize::from(count)) };
        Image::new(bias, phdrs).filter(|image| image.start >= found.start && image.end <= found.end)
    };
    header().unwrap_or(whole)
}

/// Looks at everything loaded, if the loader added something since we looked last.
fn refresh() {
    let mut looked = false;
    let mut latest = (0, 0);
    loader::for_each_object(|object| {
        if !looked {
            looked = true;
            latest = (object.adds, object.subs);
            if TABLE.lock.with(|| state().adds) == Some(object.adds) && object.adds != 0 {
                return ControlFlow::Break(());
            }
        }
        let link_map = loader::find_object(object.image.start).map_or(0, |f| f.link_map);
        learn(&object.image, object.name, link_map);
        ControlFlow::Continue(())
    });
    TABLE.lock.with(|| (state().adds, state().subs) = latest);
}

/// The writer's state.
#[allow(clippy::mut_from_ref)]
fn state() -> &'static mut State {
    // SAFETY: called only inside `TABLE.lock.with`, which does not nest, and the reference is
    // gone before the lock is.
    unsafe { &mut *TABLE.state.get() }
}

/// Takes note of a loaded object.
fn learn(image: &Image, name: &[u8], link_map: usize) {
    // What needs system calls or reading comes before the lock.
    // SAFETY: the object is loaded, as the callers say.
    let build_id = unsafe { image.build_id() };
    let fingerprint = if build_id.is_empty() {
        // SAFETY: as above.
        unsafe { image.fingerprint() }
    } else {
        0
    };
    // Not on the host's stack: it may be a small one.
    let mut buffer = Buffer::new();
    let path = absolute(name, buffer.bytes());
    let seen_ms = state::now_ms();
    TABLE.lock.with(|| {
        let replaced = forget_overlapping(image, path, build_id, link_map)?;
        let module = module_like(path, build_id, fingerprint, image, seen_ms)?;
        module.gone_ms.store(0, Ordering::Relaxed);
        place(module.id, image, link_map)?;
        if replaced {
            new_generation();
        }
        publish();
        Some(())
    });
}

/// Marks what lay where the image lies now as gone: it must have been unloaded unseen. `None` if
/// this very object is known to be there, otherwise whether something went.
fn forget_overlapping(
    image: &Image,
    path: &[u8],
    build_id: &[u8],
    link_map: usize,
) -> Option<bool> {
    let mut replaced = false;
    for number in 0..TABLE.placements.len() {
        let Some(other) = TABLE.placements.get(number).filter(|p| p.is_loaded()) else {
            continue;
        };
        if other.image.start >= image.end || image.start >= other.image.end {
            continue;
        }
        let same = by_id(other.module).is_some_and(|m| m.path == path && m.build_id() == build_id);
        if same && other.image.start == image.start && other.link_map == link_map {
            return None;
        }
        retire(other);
        replaced = true;
    }
    Some(replaced)
}

/// The module with this identity, new if need be.
fn module_like(
    path: &[u8],
    build_id: &[u8],
    fingerprint: u64,
    image: &Image,
    seen_ms: u64,
) -> Option<&'static Module> {
    let build_id = build_id.get(..BUILD_ID_MAX_BYTES).unwrap_or(build_id);
    let known = (0..TABLE.modules.len())
        .filter_map(|i| TABLE.modules.get(i))
        .find(|m| {
            m.path == path
                && m.build_id() == build_id
                && m.fingerprint == fingerprint
                && m.end - m.start == image.end - image.start
        });
    if known.is_some() {
        return known;
    }
    let mut module = Module {
        id: TABLE.modules.len().checked_add(1)?,
        generation: generation(),
        seen_ms,
        bias: image.bias,
        start: image.start,
        end: image.end,
        gone_ms: AtomicU64::new(0),
        path: keep(path)?,
        build_id: [0; BUILD_ID_MAX_BYTES],
        build_id_len: build_id.len(),
        fingerprint,
    };
    module
        .build_id
        .get_mut(..build_id.len())?
        .copy_from_slice(build_id);
    let index = TABLE.modules.push(module)?;
    TABLE.modules.get(index)
}

/// Notes that a module lies at a place, reusing an earlier note of the same.
fn place(module: u32, image: &Image, link_map: usize) -> Option<()> {
    let before = (0..TABLE.placements.len())
        .filter_map(|i| TABLE.placements.get(i))
        .find(|p| {
            !p.is_loaded()
                && p.module == module
                && p.image.start == image.start
                && p.link_map == link_map
        });
    let number = match before {
        Some(placement) => {
            placement.change();
            placement.number
        }
        None => {
            let number = TABLE.placements.len();
            let changes = AtomicU32::new(1);
            TABLE.placements.push(Placement {
                number,
                module,
                image: *image,
                link_map,
                changes,
            })?
        }
    };
    let ranges = &mut state().ranges;
    let at = ranges.as_slice().partition_point(|r| r.start < image.start);
    ranges
        .try_insert(
            at,
            Range {
                start: image.start,
                end: image.end,
                placement: number,
            },
        )
        .then_some(())
}

/// Marks a placement as gone; the caller publishes.
fn retire(placement: &Placement) {
    placement.change();
    let ranges = &mut state().ranges;
    if let Some(at) = ranges
        .as_slice()
        .iter()
        .position(|r| r.placement == placement.number)
    {
        ranges.remove(at);
    }
    let elsewhere = (0..TABLE.placements.len())
        .filter_map(|i| TABLE.placements.get(i))
        .any(|p| p.is_loaded() && p.module == placement.module);
    if let Some(module) = by_id(placement.module).filter(|_| !elsewhere) {
        module
            .gone_ms
            .store(state::now_ms().max(1), Ordering::Relaxed);
    }
}

/// A failure for want of memory leaves the old index, which misses the new object: its frames are
/// then in no module.
fn publish() {
    TABLE.index.publish(state().ranges.as_slice());
}

/// To be called under the table's lock, between taking away what is gone and publishing that. Who
/// finds nothing at an address, as it was published, then sees that what he concluded of it before
/// was of an earlier generation; and who begins in the new one waits for the lock before he learns.
fn new_generation() {
    // Who sees the new generation must not find rules of the old: release keeps the order.
    rules::flush(|| {
        TABLE.generation.fetch_add(1, Ordering::Release);
    });
}

/// To be called after `dlclose` (before it does no harm): finds out what went.
pub fn note_dlclose() {
    let mut subs = 0;
    loader::for_each_object(|object| {
        subs = object.subs;
        ControlFlow::Break(())
    });
    if TABLE
        .lock
        .with(|| core::mem::replace(&mut state().subs, subs) != subs)
        .unwrap_or(false)
    {
        note_replaced();
    }
}

/// Finds out which of the known objects are no longer there. No lock of ours may be held.
pub fn note_replaced() {
    let mut seen: AVec<usize> = AVec::new();
    let mut complete = true;
    loader::for_each_object(|object| {
        complete &= seen.try_push(object.image.start);
        ControlFlow::Continue(())
    });
    if !complete {
        return;
    }
    // Objects of other namespaces are not enumerated; those that have a handle can be asked about.
    let still_there = |p: &Placement| {
        (p.link_map != 0 || seen.as_slice().contains(&p.image.start)) && p.is_current()
    };
    let mut gone: AVec<(u32, u32)> = AVec::new();
    // The loader's lock is held in here: nothing that is being looked at can be unmapped meanwhile,
    // whichever thread closes it.
    loader::for_each_object(|_| {
        for number in 0..TABLE.placements.len() {
            if let Some(p) = TABLE.placements.get(number)
                && let changes = p.changes()
                && is_odd(changes)
                && !still_there(p)
            {
                gone.try_push((number, changes));
            }
        }
        ControlFlow::Break(())
    });
    // With nothing gone as well: another thread may have taken it away and be about to publish that.
    TABLE.lock.with(|| {
        let mut any = false;
        for &(number, changes) in gone.as_slice() {
            // Since then it may have been loaded again, and learnt by a thread that runs in it.
            let placement = TABLE.placements.get(number);
            if let Some(placement) = placement.filter(|p| p.changes() == changes) {
                retire(placement);
                any = true;
            }
        }
        if any {
            new_generation();
        }
        publish();
    });
}

/// A module by its id.
pub fn by_id(id: u32) -> Option<&'static Module> {
    TABLE.modules.get(id.checked_sub(1)?)
}

/// Modules known so far; ids run from 1 to this.
pub fn len() -> u32 {
    TABLE.modules.len()
}

/// Visits all modules known, in the order of their ids.
pub fn for_each(mut visit: impl FnMut(&Module)) {
    (0..TABLE.modules.len())
        .filter_map(|i| TABLE.modules.get(i))
        .for_each(&mut visit);
}

/// Lets go of what this thread held when it was torn out of the engine by `siglongjmp`.
///
/// # Safety
/// The calling thread is not inside this module or the unwinder except in calls that never return.
pub unsafe fn abandon() {
    // SAFETY: the caller's promise; torn changes lose an entry at most.
    unsafe { rules::lock().abandon() }
    // SAFETY: as above.
    unsafe { TABLE.lock.abandon() }
}

/// Lets go in a forked child for threads that were learning in the parent.
///
/// # Safety
/// The calling thread is the only one and is not learning a module or a rule.
pub unsafe fn abandon_in_child() {
    // SAFETY: the caller's promise; torn changes lose an entry at most.
    unsafe {
        rules::lock().abandon_in_child();
        TABLE.lock.abandon_in_child();
    }
}

/// Copies bytes into memory that is never freed.
fn keep(bytes: &[u8]) -> Option<&'static [u8]> {
    if bytes.is_empty() {
        return Some(&[]);
    }
    let copy = arena::alloc(bytes.len(), 1);
    if copy.is_null() {
        return None;
    }
    // SAFETY: fresh memory of this length, never freed, not written again.
    unsafe {
        copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        Some(core::slice::from_raw_parts(copy, bytes.len()))
    }
}

/// A page of scratch memory.
struct Buffer(*mut u8);

impl Buffer {
    fn new() -> Buffer {
        Buffer(arena::alloc(arena::PAGE_BYTES, 8))
    }

    /// Empty if there is no memory.
    fn bytes(&mut self) -> &mut [u8] {
        if self.0.is_null() {
            return &mut [];
        }
        // SAFETY: a piece of this size, borrowed exclusively with `self`.
        unsafe { core::slice::from_raw_parts_mut(self.0, arena::PAGE_BYTES) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this size; the borrow has ended.
        unsafe { arena::dealloc(self.0, arena::PAGE_BYTES, 8) };
    }
}

/// The executable's name is empty to the loader, and others may be relative to the folder that the
/// process was in; what cannot be found out stays as it is.
fn absolute<'a>(name: &'a [u8], buffer: &'a mut [u8]) -> &'a [u8] {
    if !permit::allows(PATHS) {
        return name;
    }
    if name.is_empty() {
        let len = sys::readlink(c"/proc/self/exe", buffer).unwrap_or(0);
        return buffer.get(..len).unwrap_or(&[]);
    }
    if name.starts_with(b"/") || !name.contains(&b'/') {
        return name;
    }
    let Some(len) = sys::getcwd(buffer).ok().and_then(|len| len.checked_sub(1)) else {
        return name;
    };
    let end = len + 1 + name.len();
    let Some(tail) = buffer.get_mut(len..end) else {
        return name;
    };
    if let Some((slash, rest)) = tail.split_first_mut() {
        *slash = b'/';
        rest.copy_from_slice(name);
    }
    buffer.get(..end).unwrap_or(name)
}

#[cfg(test)]
mod tests;
