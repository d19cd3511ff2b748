//! Planted: mappings pile up. Every 50th request maps an area for an upload and never unmaps it.
//!
//! What must be reported: the site `map_spool_and_keep`, kind `mmap`, 16,384 bytes in one mapping
//! per 50th request, verdict *growing*.

use std::ffi::{c_int, c_long, c_void};

/// Size of one area.
pub const BYTES: usize = 16384;
/// One area is mapped in so many requests, the first (number 0) among them.
pub const EVERY: u64 = 50;

const PROT_READ_WRITE: c_int = 1 | 2;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x02 | 0x20;

// SAFETY: the signature is mmap(2)'s on 64-bit Linux.
unsafe extern "C" {
    fn mmap(
        addr: *mut c_void,
        len: usize,
        prot: c_int,
        flags: c_int,
        fd: c_int,
        off: c_long,
    ) -> *mut c_void;
}

/// Prepares for the upload of request `number`, if it has one.
pub(super) fn open_spool(number: u64) {
    if number.is_multiple_of(EVERY) {
        map_spool_and_keep();
    }
}

/// Where the memory goes.
#[inline(never)]
fn map_spool_and_keep() {
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches nothing else.
    let area = unsafe {
        mmap(
            std::ptr::null_mut(),
            BYTES,
            PROT_READ_WRITE,
            MAP_PRIVATE_ANONYMOUS,
            -1,
            0,
        )
    };
    if area as isize != -1 {
        // SAFETY: the mapping is ours, writable and BYTES long.
        unsafe { area.cast::<u8>().write_bytes(1, BYTES) };
    }
}
