//! Owns the serving side: each worker takes one connection and answers its requests until the
//! client closes it. The planted behaviours are called from [`handle_request`].

use super::{buffers, cache, headers, sessions, spool};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Starts a worker; it ends with its connection and returns the number of requests it served.
pub(super) fn spawn_worker<'scope>(
    scope: &'scope Scope<'scope, '_>,
    listener: &'scope TcpListener,
    number: usize,
) -> ScopedJoinHandle<'scope, Result<u64, String>> {
    Builder::new()
        .name(format!("worker-{number}"))
        .spawn_scoped(scope, move || {
            let (stream, _) = listener
                .accept()
                .map_err(|e| format!("cannot accept: {e}"))?;
            serve_connection(stream).map_err(|e| format!("connection lost: {e}"))
        })
        .expect("the system has room for a few threads")
}

fn serve_connection(stream: TcpStream) -> std::io::Result<u64> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let mut served = 0;
    loop {
        let request = buffers::read_request(&mut reader)?;
        if request.is_empty() {
            return Ok(served);
        }
        writer.write_all(&handle_request(&request))?;
        served += 1;
    }
}

/// Answers one request.
#[inline(never)]
fn handle_request(request: &[u8]) -> Vec<u8> {
    let number = request_number(request);
    headers::parse_headers(number, request);
    sessions::remember(number);
    spool::open_spool(number);
    let page = cache::page(number);
    buffers::build_response(page)
}

/// The request line is `GET /NUMBER HTTP/1.1`.
fn request_number(request: &[u8]) -> u64 {
    let digits = request.strip_prefix(b"GET /").unwrap_or_default();
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// Reads up to and including the next line end; returns false at the end of the stream.
pub(super) fn read_line(reader: &mut impl BufRead, into: &mut Vec<u8>) -> std::io::Result<bool> {
    Ok(reader.read_until(b'\n', into)? > 0)
}

#[cfg(test)]
mod tests {
    use super::request_number;

    #[test]
    fn the_number_is_in_the_path() {
        assert_eq!(request_number(b"GET /42 HTTP/1.1\r\n"), 42);
        assert_eq!(request_number(b"POST"), 0);
    }
}
