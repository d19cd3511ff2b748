//! The server that `leaktrack demo` records: a small HTTP server on the loopback interface with its
//! load in the same process, and five planted behaviours, one per file.
//!
//! What it does depends on the number of requests alone, never on time or on the machine:
//! see [`Planted`].
//!
//! | file | behaviour | what must be reported |
//! |---|---|---|
//! | `headers.rs` | a parsed header is forgotten, every 4th request | lost (growing without a scan) |
//! | `sessions.rs` | a session is kept per request and never expires | growing, linear |
//! | `spool.rs` | a spool area is mapped and never unmapped, every 50th request | growing, kind `mmap` |
//! | `cache.rs` | 1,024 pages, each rendered once and kept | retained (a plateau) |
//! | `buffers.rs` | request and response buffers come and go | healthy |

pub mod buffers;
pub mod cache;
pub mod headers;
mod load;
mod options;
mod server;
pub mod sessions;
pub mod spool;

use options::Options;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Instant;

/// Bytes that the planted behaviours have left behind after so many requests. Request numbers run
/// from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Heap bytes that nothing points to any more.
    pub lost_header_bytes: u64,
    /// Heap bytes of sessions.
    pub session_bytes: u64,
    /// Mapped bytes of spool areas.
    pub spool_bytes: u64,
    /// Heap bytes of cached pages.
    pub cache_bytes: u64,
}

impl Planted {
    /// The amounts after `requests` requests.
    pub fn after(requests: u64) -> Planted {
        Planted {
            lost_header_bytes: headers::BYTES as u64 * requests.div_ceil(headers::EVERY),
            session_bytes: sessions::BYTES as u64 * requests,
            spool_bytes: spool::BYTES as u64 * requests.div_ceil(spool::EVERY),
            cache_bytes: cache::PAGE_BYTES as u64 * requests.min(cache::PAGES as u64),
        }
    }
}

/// Runs the server and its load, and returns an exit status. `args` are the options alone, without
/// a program name: `--seconds S` (8), `--rate REQUESTS_PER_SECOND` (500), `--workers N` (4).
pub fn main<A: AsRef<str>>(args: impl IntoIterator<Item = A>) -> i32 {
    match Options::parse(args).and_then(|options| run(&options)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("demo server: {error}");
            1
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(|e| format!("cannot listen on 127.0.0.1: {e}"))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    eprintln!(
        "demo server: {} workers on {address}, {} requests at {} per second",
        options.workers,
        options.requests(),
        options.rate
    );
    let connections =
        load::connect(address, options).map_err(|e| format!("cannot connect to {address}: {e}"))?;
    let started = Instant::now();
    let served = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.workers)
            .map(|n| server::spawn_worker(scope, &listener, n))
            .collect();
        let driven = load::drive(scope, connections, options);
        let mut served = 0;
        for worker in workers {
            served += worker
                .join()
                .map_err(|_| "a worker panicked".to_owned())??;
        }
        driven
            .join()
            .map_err(|_| "the load driver panicked".to_owned())??;
        Ok::<u64, String>(served)
    })?;
    eprintln!(
        "demo server: {served} requests served in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_follow_from_the_number_of_requests() {
        assert_eq!(
            Planted::after(4000),
            Planted {
                lost_header_bytes: 1000 * 512,
                session_bytes: 4000 * 1024,
                spool_bytes: 80 * 16384,
                cache_bytes: 1024 * 2048,
            }
        );
        assert_eq!(Planted::after(1).lost_header_bytes, 512);
        assert_eq!(Planted::after(10).cache_bytes, 10 * 2048);
    }

    #[test]
    fn a_short_run_serves_every_request() {
        assert_eq!(
            main(["--seconds", "1", "--rate", "200", "--workers", "2"]),
            0
        );
        assert_eq!(sessions::count(), 200);
        assert_eq!(cache::filled(), 200);
    }

    #[test]
    fn a_wrong_option_is_refused() {
        assert_eq!(main(["--rate", "none"]), 1);
        assert_eq!(main(["--sideways"]), 1);
    }
}
