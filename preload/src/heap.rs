//! Exports of the malloc family.

use leaktrack_engine::hooks::heap as imp;

use leaktrack_engine::hooks::entry;

use crate::{hook, hook_by_entry};

hook_by_entry!(/** Records after the real call. */ malloc => entry::MALLOC, "rsi", "rdx");
hook_by_entry!(/** Records after the real call. */ calloc => entry::CALLOC, "rdx", "rcx");
hook_by_entry!(/** Forgets before the real call, records after it. */ realloc => entry::REALLOC, "rdx", "rcx");
hook!(/** As `realloc` of the product. */ reallocarray => imp::reallocarray, "rcx", "r8");
hook_by_entry!(/** Forgets before the real call. */ free => entry::FREE, "rsi", "rdx");
hook_by_entry!(/** The same as `free`. */ cfree => entry::FREE, "rsi", "rdx");
hook!(/** Forgets before the real call. */ free_sized => imp::free_sized, "rdx", "rcx");
hook!(/** Forgets before the real call. */ free_aligned_sized => imp::free_aligned_sized, "rcx", "r8");
hook!(/** Records after the real call. */ posix_memalign => imp::posix_memalign, "rcx", "r8");
hook!(/** Records after the real call. */ aligned_alloc => imp::aligned_alloc, "rdx", "rcx");
hook!(/** Records after the real call. */ memalign => imp::memalign, "rdx", "rcx");
hook!(/** Records after the real call. */ valloc => imp::valloc, "rsi", "rdx");
hook!(/** Records after the real call. */ pvalloc => imp::pvalloc, "rsi", "rdx");

/// Passes through.
///
/// # Safety
/// As the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(p: *mut u8) -> usize {
    // SAFETY: passed on.
    unsafe { imp::malloc_usable_size(p) }
}
