//! Owns the load: one client thread per worker, each with one connection. Together they send
//! requests 0, 1, 2 … at the given rate, each number once.

use super::options::Options;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// An answer that takes longer means that a worker is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection per worker. They wait in the listener's queue until the workers accept them, so
/// that no worker can wait for a connection that never comes.
pub(super) fn connect(address: SocketAddr, options: &Options) -> std::io::Result<Vec<TcpStream>> {
    (0..options.workers)
        .map(|_| TcpStream::connect(address))
        .collect()
}

/// Starts a client on each connection; the thread returned waits for all of them.
pub(super) fn drive<'scope>(
    scope: &'scope Scope<'scope, '_>,
    connections: Vec<TcpStream>,
    options: &'scope Options,
) -> ScopedJoinHandle<'scope, Result<(), String>> {
    scope.spawn(move || {
        let next = AtomicU64::new(0);
        let start = Instant::now();
        std::thread::scope(|clients| {
            let (next, start) = (&next, start);
            let clients: Vec<_> = connections
                .into_iter()
                .map(|stream| clients.spawn(move || send_requests(stream, options, next, start)))
                .collect();
            clients.into_iter().try_for_each(|client| {
                client
                    .join()
                    .map_err(|_| "a client panicked".to_owned())?
                    .map_err(|e| format!("client: {e}"))
            })
        })
    })
}

/// Takes numbers from `next` until all are sent, each when it is due.
fn send_requests(
    mut stream: TcpStream,
    options: &Options,
    next: &AtomicU64,
    start: Instant,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= options.requests() {
            return Ok(());
        }
        let due = Duration::from_nanos(number.saturating_mul(1_000_000_000) / options.rate);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let request =
            format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\nCookie: user={number}\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        read_answer(&mut answers)?;
    }
}

/// Reads one answer and throws it away.
fn read_answer(answers: &mut impl std::io::BufRead) -> std::io::Result<()> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if answers.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.parse().map_err(|_| std::io::ErrorKind::InvalidData)?;
        }
    }
    std::io::copy(&mut answers.take(length), &mut std::io::sink())?;
    Ok(())
}
