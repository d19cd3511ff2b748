//! A small HTTP server for Prometheus to scrape: `GET /metrics`, one request at a time.
//!
//! Answers with what the recordings hold at the time of the request. Serves nothing else.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::Dialect;

/// A client that is slower than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a request that are read at most.
const LARGEST_REQUEST: u64 = 16 << 10;

/// Serves for ever; `metrics` gives the figures, or in a line why there are none.
pub fn serve(
    listener: &TcpListener,
    mut metrics: impl FnMut(Dialect) -> Result<Vec<u8>, String>,
) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // A client that goes away is its own affair.
        let _ = answer(&stream, &mut metrics);
    }
}

fn answer(
    stream: &TcpStream,
    metrics: &mut impl FnMut(Dialect) -> Result<Vec<u8>, String>,
) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.take(LARGEST_REQUEST)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut dialect = Dialect::Prometheus;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if line.starts_with("accept:") && line.contains("application/openmetrics-text") {
            dialect = Dialect::OpenMetrics;
        }
    }
    let mut words = request.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = target.split('?').next().unwrap_or_default();
    let (status, kind, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => match metrics(dialect) {
            Ok(body) => ("200 OK", dialect.content_type(), body),
            Err(why) => (
                "503 Service Unavailable",
                PLAIN,
                format!("{why}\n").into_bytes(),
            ),
        },
        ("GET" | "HEAD", _) => ("404 Not Found", PLAIN, b"only /metrics is here\n".to_vec()),
        _ => ("405 Method Not Allowed", PLAIN, b"only GET\n".to_vec()),
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if method != "HEAD" {
        stream.write_all(&body)?;
    }
    stream.flush()
}

const PLAIN: &str = "text/plain; charset=utf-8";
