//! Owns the conversation with the dynamic loader: which objects are loaded, and which of them
//! defines a symbol.
//!
//! `dl_iterate_phdr` takes the loader's lock, so nothing here may be called while one of our locks
//! is held. `dlsym` is never called: it may allocate.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::{offset_of, size_of};
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::elf::{Image, Phdr};
use crate::facts::auxv;

/// `struct dl_phdr_info`, as far as we read it.
#[repr(C)]
struct PhdrInfo {
    bias: usize,
    name: *const c_char,
    phdrs: *const Phdr,
    phdr_count: u16,
    adds: u64,
    subs: u64,
}

type Callback = extern "C" fn(*const PhdrInfo, usize, *mut c_void) -> c_int;
type Iterate = unsafe extern "C" fn(Callback, *mut c_void) -> c_int;

unsafe extern "C" {
    fn dl_iterate_phdr(callback: Callback, data: *mut c_void) -> c_int;
}

/// libc's own `dl_iterate_phdr`, once found. Programs that define one of their own (to make
/// exceptions scale) may not see objects loaded later, and ThreadSanitizer's jumps into nowhere
/// before it has looked for the real one itself. 0: call whatever we were linked to.
static ITERATE: AtomicUsize = AtomicUsize::new(0);

/// One loaded object, in the loader's order.
pub struct Object<'a> {
    /// Where it lies.
    pub image: Image,
    /// Its path as the loader knows it: empty for the executable.
    pub name: &'a [u8],
    /// Objects ever added to the process.
    pub adds: u64,
    /// Objects ever removed from the process.
    pub subs: u64,
}

impl Object<'_> {
    /// True for the kernel's vDSO, which is no file and takes no part in symbol lookup.
    pub fn is_vdso(&self) -> bool {
        self.name.starts_with(b"linux-vdso.so") || self.name.starts_with(b"linux-gate.so")
    }

    fn file_name(&self) -> &[u8] {
        file_name(self.name)
    }
}

type Visit<'a> = &'a mut dyn FnMut(&Object) -> ControlFlow<()>;

/// Visits every loaded object of the main namespace, in the order of symbol lookup, holding the
/// loader's lock. The visitor must be quick and must call nothing outside this library.
pub fn for_each_object(mut visit: impl FnMut(&Object) -> ControlFlow<()>) {
    let mut visit: Visit = &mut visit;
    let data = (&raw mut visit).cast::<c_void>();
    let iterate: Iterate = match ITERATE.load(Relaxed) {
        0 => dl_iterate_phdr,
        // SAFETY: `init` stored the address of libc's function of this type.
        addr => unsafe { core::mem::transmute::<usize, Iterate>(addr) },
    };
    // SAFETY: `trampoline` gets `data` back during the call only.
    unsafe { iterate(trampoline, data) };
}

extern "C" fn trampoline(info: *const PhdrInfo, bytes: usize, data: *mut c_void) -> c_int {
    if bytes < offset_of!(PhdrInfo, adds) {
        return 1;
    }
    // SAFETY: the loader passes at least `bytes` bytes; the fields before `adds` are there.
    let (bias, name, phdrs, count) = unsafe {
        (
            (*info).bias,
            (*info).name,
            (*info).phdrs,
            (*info).phdr_count,
        )
    };
    let (adds, subs) = if bytes >= size_of::<PhdrInfo>() {
        // SAFETY: the structure is long enough for both.
        unsafe { ((*info).adds, (*info).subs) }
    } else {
        (0, 0)
    };
    if phdrs.is_null() {
        return 0;
    }
    // SAFETY: the loader keeps the headers of a loaded object mapped.
    let phdrs = unsafe { core::slice::from_raw_parts(phdrs, usize::from(count)) };
    let name = if name.is_null() {
        &[][..]
    } else {
        // SAFETY: the loader's names are NUL-terminated and live during the callback.
        unsafe { CStr::from_ptr(name) }.to_bytes()
    };
    let Some(image) = Image::new(bias, phdrs) else {
        return 0;
    };
    // SAFETY: `data` is the visitor that `for_each_object` borrowed for the call.
    let visit = unsafe { &mut *data.cast::<Visit>() };
    match visit(&Object {
        image,
        name,
        adds,
        subs,
    }) {
        ControlFlow::Continue(()) => 0,
        ControlFlow::Break(()) => 1,
    }
}

/// Finds libc's own functions that tell what is loaded. Call once, before anything is looked up.
pub fn init() {
    ITERATE.store(libc_iterate().unwrap_or(0), Relaxed);
    FIND_OBJECT.store(resolve_libc(b"_dl_find_object").unwrap_or(0), Relaxed);
}

/// libc's `dl_iterate_phdr`, by way of the list that the loader keeps for debuggers: to ask for it
/// by its name may lead to somebody else's.
fn libc_iterate() -> Option<usize> {
    let base = auxv::loader_base()?;
    // SAFETY: the kernel says that the loader lies there.
    let debug = unsafe { Image::at(base)?.symbol(b"_r_debug") }?.addr as *const RDebug;
    // SAFETY: the loader's own structure, filled in before it runs any code of others; it holds its
    // lock, or is alone, while the list of the objects that the program began with changes.
    unsafe {
        let mut map = (*debug).map;
        while let Some(object) = map.as_ref() {
            let name = match object.name.is_null() {
                true => &[],
                false => CStr::from_ptr(object.name).to_bytes(),
            };
            if file_name(name).starts_with(b"libc.so.") {
                let symbol = Image::at(object.bias)?.symbol(b"dl_iterate_phdr")?;
                return (!symbol.indirect).then_some(symbol.addr);
            }
            map = object.next;
        }
    }
    None
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// The next definition of `name` behind the object that contains the address `after`, as
/// `dlsym(RTLD_NEXT, name)` called from there would find it; its callable address.
pub fn resolve_next(name: &[u8], after: usize) -> Option<usize> {
    let mut passed = false;
    resolve_where(name, |object| {
        let eligible = passed;
        passed |= object.image.contains(after);
        eligible
    })
}

/// The C library's own definition of `name`, whatever functions of that name others have.
pub fn resolve_libc(name: &[u8]) -> Option<usize> {
    const PARTS: [&[u8]; 3] = [b"libc.so.", b"libpthread.so.", b"ld-linux"];
    resolve_where(name, |object| {
        let file = object.file_name();
        PARTS.iter().any(|part| file.starts_with(part))
    })
}

/// The first definition of `name` in any loaded object.
pub fn resolve_any(name: &[u8]) -> Option<usize> {
    resolve_where(name, |_| true)
}

fn resolve_where(name: &[u8], mut eligible: impl FnMut(&Object) -> bool) -> Option<usize> {
    let mut found = None;
    for_each_object(|object| {
        if !eligible(object) || object.is_vdso() {
            return ControlFlow::Continue(());
        }
        // SAFETY: the object is loaded while it is visited.
        found = unsafe { object.image.symbol(name) };
        if found.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    // SAFETY: the definition's object is one of those loaded at start, relocated before any
    // constructor runs.
    found.map(|symbol| unsafe { symbol.resolve() })
}

/// What `_dl_find_object` fills in (`struct dl_find_object`, x86-64).
#[repr(C)]
#[derive(Default)]
struct RawFound {
    flags: u64,
    map_start: usize,
    map_end: usize,
    link_map: usize,
    eh_frame_hdr: usize,
    reserved: [u64; 7],
}

/// The public part of `struct link_map`.
#[repr(C)]
struct LinkMap {
    bias: usize,
    name: *const c_char,
    dynamic: usize,
    next: *const LinkMap,
}

/// The beginning of `struct r_debug`.
#[repr(C)]
struct RDebug {
    version: c_int,
    map: *const LinkMap,
}

/// The loaded object at an address, in any namespace.
#[derive(Clone, Copy)]
pub struct Found {
    /// First mapped address.
    pub start: usize,
    /// One past the last mapped address.
    pub end: usize,
    /// The loader's handle, which tells objects apart while they are loaded.
    pub link_map: usize,
    /// Address of `.eh_frame_hdr`, or 0.
    pub eh_frame_hdr: usize,
}

impl Found {
    /// Load bias and path of the object.
    ///
    /// # Safety
    /// The object must be loaded, and stay so while the path is used.
    pub unsafe fn identity<'a>(&self) -> (usize, &'a [u8]) {
        // SAFETY: the handle of a loaded object.
        let map = unsafe { &*(self.link_map as *const LinkMap) };
        if map.name.is_null() {
            return (map.bias, &[]);
        }
        // SAFETY: the loader's names are NUL-terminated and live as long as the object.
        (map.bias, unsafe { CStr::from_ptr(map.name) }.to_bytes())
    }
}

/// `_dl_find_object`, where libc has it (2.35 and later). 0: absent.
static FIND_OBJECT: AtomicUsize = AtomicUsize::new(0);

/// Goes on as if libc had no `_dl_find_object`; for tests.
#[doc(hidden)]
pub fn forget_find_object() {
    FIND_OBJECT.store(0, Relaxed);
}

/// True if [`find_object`] can be asked.
pub fn can_find_object() -> bool {
    FIND_OBJECT.load(Relaxed) != 0
}

/// The loaded object at an address, without any lock; `None` also where libc cannot tell.
pub fn find_object(addr: usize) -> Option<Found> {
    type Find = unsafe extern "C" fn(usize, *mut RawFound) -> c_int;
    let find = match FIND_OBJECT.load(Relaxed) {
        0 => return None,
        // SAFETY: `init` stored the address of libc's function of this type.
        f => unsafe { core::mem::transmute::<usize, Find>(f) },
    };
    let mut raw = RawFound::default();
    // SAFETY: the structure has libc's layout; the address is only compared.
    if unsafe { find(addr, &mut raw) } != 0 || raw.link_map == 0 {
        return None;
    }
    let RawFound {
        map_start: start,
        map_end: end,
        link_map,
        eh_frame_hdr,
        ..
    } = raw;
    Some(Found {
        start,
        end,
        link_map,
        eh_frame_hdr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::vec::Vec;

    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    }

    fn dlsym_any(name: &str) -> usize {
        let name = CString::new(name).unwrap();
        // SAFETY: a NUL-terminated name; handle 0 is RTLD_DEFAULT.
        unsafe { dlsym(core::ptr::null_mut(), name.as_ptr()) as usize }
    }

    #[test]
    fn agrees_with_dlsym() {
        let names = [
            "malloc",
            "free",
            "calloc",
            "realloc",
            "posix_memalign",
            "mmap",
            "memcpy",
            "strlen",
            "dlclose",
            "pthread_create",
            "environ",
            "_dl_find_object",
            "__libc_stack_end",
            "mallinfo2",
            "_exit",
            "gettimeofday",
        ];
        for name in names {
            assert_eq!(
                resolve_any(name.as_bytes()).unwrap_or(0),
                dlsym_any(name),
                "{name}"
            );
        }
        assert_eq!(resolve_any(b"no_such_symbol_anywhere"), None);
        assert_eq!(resolve_any(b"mallo"), None);
    }

    #[test]
    fn next_starts_behind_the_given_object() {
        let malloc = resolve_any(b"malloc").unwrap();
        let here = next_starts_behind_the_given_object as *const () as usize;
        assert_eq!(resolve_next(b"malloc", here), Some(malloc));
        assert_eq!(resolve_next(b"malloc", malloc), None);
    }

    #[test]
    fn objects_are_seen_with_build_ids() {
        init();
        assert_ne!(ITERATE.load(Relaxed), 0);
        let mut names = Vec::new();
        for_each_object(|object| {
            // SAFETY: the object is loaded while it is visited.
            let id = unsafe { object.image.build_id() };
            names.push((object.name.to_vec(), id.len()));
            ControlFlow::Continue(())
        });
        assert!(names[0].0.is_empty());
        let libc = names.iter().find(|n| n.0.ends_with(b"libc.so.6")).unwrap();
        assert_eq!(libc.1, 20);
    }
}
