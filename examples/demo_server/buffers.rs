//! Planted: healthy churn. Each request is read into one buffer and answered from another; both
//! are freed when the answer is out.
//!
//! What must be reported: the sites `read_request` and `build_response`, as many frees as
//! allocations, nothing live at the end: verdict *healthy*, shown only with `--show healthy`.

use super::server::read_line;
use std::io::BufRead;

/// Capacity of a request's buffer.
pub const REQUEST_BYTES: usize = 8192;

/// Reads one request up to its empty line; empty at the end of the connection.
#[inline(never)]
pub(super) fn read_request(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::with_capacity(REQUEST_BYTES);
    while read_line(reader, &mut request)? && !request.ends_with(b"\r\n\r\n") {}
    Ok(request)
}

/// Puts a page behind its header.
#[inline(never)]
pub(super) fn build_response(page: &[u8]) -> Vec<u8> {
    let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
    let mut response = Vec::with_capacity(header.len() + page.len());
    response.extend_from_slice(header.as_bytes());
    response.extend_from_slice(page);
    response
}
