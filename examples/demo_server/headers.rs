//! Planted: a block is lost. Every 4th request's header block is parsed into a box that is
//! forgotten, as happens with a raw pointer handed to C and never taken back.
//!
//! What must be reported: the site `forget_parsed_header`, 512 bytes in one block per 4th
//! request, verdict *lost*; *growing* when no reachability scan ran.

use std::hint::black_box;

/// Size of one lost block.
pub const BYTES: usize = 512;
/// One block is lost in so many requests, the first (number 0) among them.
pub const EVERY: u64 = 4;

/// Parses the headers of request `number`; some of the results are lost.
pub(super) fn parse_headers(number: u64, request: &[u8]) {
    if number.is_multiple_of(EVERY) {
        forget_parsed_header(request);
    }
}

/// Where the memory goes.
#[inline(never)]
fn forget_parsed_header(request: &[u8]) {
    let mut parsed = Box::new([0_u8; BYTES]);
    for (to, from) in parsed.iter_mut().zip(request) {
        *to = from.to_ascii_lowercase();
    }
    std::mem::forget(black_box(parsed));
}
