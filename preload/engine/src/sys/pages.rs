//! Questions to the kernel about pages of this process: which are in memory, swapped out, or the
//! page of zeros. None of them touches a page.

use super::{Result, check, nr, syscall6};

/// Pages of one kind, as [`scan_pages`] finds them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageRange {
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// Categories asked for.
    pub categories: u64,
}

/// Categories of [`scan_pages`].
pub mod page {
    /// In memory.
    pub const PRESENT: u64 = 1 << 3;
    /// Swapped out.
    pub const SWAPPED: u64 = 1 << 4;
    /// The kernel's page of zeros.
    pub const ZERO: u64 = 1 << 5;
}

/// Finds runs of pages in any of `categories` (`PAGEMAP_SCAN`, Linux 6.7), passing over holes
/// quickly: the number of runs and where to go on.
pub fn scan_pages(
    pagemap: i32,
    start: u64,
    end: u64,
    categories: u64,
    found: &mut [PageRange],
) -> Result<(usize, u64)> {
    const PAGEMAP_SCAN: usize = 0xC060_6610;
    #[repr(C)]
    struct Arguments {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        vec: u64,
        vec_len: u64,
        max_pages: u64,
        category_inverted: u64,
        category_mask: u64,
        category_anyof_mask: u64,
        return_mask: u64,
    }
    let mut arguments = Arguments {
        size: size_of::<Arguments>() as u64,
        flags: 0,
        start,
        end,
        walk_end: 0,
        vec: found.as_mut_ptr() as u64,
        vec_len: found.len() as u64,
        max_pages: 0,
        category_inverted: 0,
        category_mask: 0,
        category_anyof_mask: categories,
        return_mask: categories,
    };
    // SAFETY: the kernel writes at most `vec_len` ranges into the exclusive slice, and the end of
    // the walk into the arguments.
    let runs = check(unsafe {
        syscall6(
            nr::IOCTL,
            pagemap as isize as usize,
            PAGEMAP_SCAN,
            (&raw mut arguments).addr(),
            0,
            0,
            0,
        )
    })?;
    Ok((runs, arguments.walk_end))
}

/// Which pages of a range are in memory: a byte for each, of which the lowest bit counts. An error
/// if part of it is not mapped.
pub fn mincore(start: usize, bytes: usize, pages: &mut [u8]) -> Result<()> {
    let room = pages.len().saturating_mul(4096);
    let bytes = bytes.min(room);
    // SAFETY: the kernel writes a byte per page into the exclusive slice, which has room for all.
    check(unsafe {
        syscall6(
            nr::MINCORE,
            start,
            bytes,
            pages.as_mut_ptr() as usize,
            0,
            0,
            0,
        )
    })
    .map(drop)
}
