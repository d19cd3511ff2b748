//! Fetches one file over HTTP in a thread of its own, so that whatever hangs (a name server, a
//! connection, a slow transfer) is left behind when its time is over. Progress goes to stderr where
//! that is a terminal.

use std::io::{self, Read, Write};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::Config;
use super::cache::Target;
use crate::human;
use crate::progress::{Progress, SHOW};

/// A connection takes no longer where there is a server.
const CONNECT: Duration = Duration::from_secs(3);
const CHUNK_BYTES: usize = 1 << 16;

/// Why there is no file.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server does not have it.
    Absent,
    /// It has more bytes than are wanted.
    TooLarge(u64),
    /// The server does not answer, or not in this language.
    Dead(String),
}

/// Makes requests.
#[derive(Debug)]
pub struct Download {
    agent: Agent,
    patience: Duration,
    longest: Option<Duration>,
    largest_bytes: Option<u64>,
}

/// What the thread tells.
enum News {
    /// The server answers: so many bytes will come, if it says.
    Begins(Option<u64>),
    /// So many bytes are there.
    Came(u64),
    /// It is over.
    Ends(Result<Target, Failure>),
}

impl Download {
    /// With the patience that a configuration asks for.
    pub fn new(config: &Config) -> Self {
        let encrypted = config.servers.iter().any(|url| url.starts_with("https:"));
        let mut agent = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("leaktrack/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(config.patience))
            .timeout_global(config.longest);
        if encrypted {
            agent = agent.tls_config(tls());
        }
        Self {
            agent: agent.build().into(),
            patience: config.patience,
            longest: config.longest,
            largest_bytes: config.largest_bytes,
        }
    }

    /// Fetches `url` into `target`; `shown` is the module's name in progress.
    pub fn get(&self, url: &str, target: Target, shown: &str) -> Result<Target, Failure> {
        let (tell, news) = mpsc::channel();
        let (agent, address, largest) = (self.agent.clone(), url.to_owned(), self.largest_bytes);
        let fetch = move || {
            let result = fetch(&agent, &address, largest, target, &tell);
            let _ = tell.send(News::Ends(result)); // nobody listens any more: too late
        };
        let began = Instant::now();
        std::thread::Builder::new()
            .name("debuginfod".to_owned())
            .spawn(fetch)
            .map_err(|error| Failure::Dead(error.to_string()))?;
        let mut progress = Progress::since(began);
        let (mut bytes, mut of) = (0, None);
        let mut last_sign = began;
        loop {
            match news.recv_timeout(SHOW) {
                Ok(News::Ends(result)) => return result,
                Ok(News::Begins(total)) => (of, last_sign) = (total, Instant::now()),
                Ok(News::Came(so_far)) => (bytes, last_sign) = (so_far, Instant::now()),
                Err(mpsc::RecvTimeoutError::Timeout) if last_sign.elapsed() < self.patience => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let seconds = self.patience.as_secs();
                    return Err(Failure::Dead(format!(
                        "nothing came for {seconds} s (DEBUGINFOD_TIMEOUT)"
                    )));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Dead("the request failed".to_owned()));
                }
            }
            if self
                .longest
                .is_some_and(|longest| began.elapsed() > longest)
            {
                return Err(Failure::Dead(
                    "it takes longer than DEBUGINFOD_MAXTIME".to_owned(),
                ));
            }
            progress.show(|| {
                let of = of.map(|of| format!(" of {}", human::bytes(of)));
                let (bytes, of) = (human::bytes(bytes), of.unwrap_or_default());
                format!("debuginfod: {shown}: {bytes}{of}")
            });
        }
    }
}

fn fetch(
    agent: &Agent,
    url: &str,
    largest_bytes: Option<u64>,
    mut target: Target,
    tell: &mpsc::Sender<News>,
) -> Result<Target, Failure> {
    let dead = |error: &dyn std::fmt::Display| Failure::Dead(error.to_string());
    let response = agent.get(url).call().map_err(|error| dead(&error))?;
    match response.status().as_u16() {
        200 => {}
        404 | 410 => return Err(Failure::Absent),
        status => return Err(Failure::Dead(format!("it answers {status}"))),
    }
    let length = response.headers().get("content-length");
    let length = length.and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
    let too_large = |bytes| largest_bytes.is_some_and(|largest| bytes > largest);
    if let Some(bytes) = length.filter(|bytes| too_large(*bytes)) {
        return Err(Failure::TooLarge(bytes));
    }
    let _ = tell.send(News::Begins(length));
    let mut body = response.into_body().into_reader();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut so_far = 0;
    loop {
        let read = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(dead(&error)),
        };
        let part = chunk.get(..read).unwrap_or_default();
        target.file.write_all(part).map_err(|error| dead(&error))?;
        so_far += read as u64;
        if too_large(so_far) {
            return Err(Failure::TooLarge(so_far));
        }
        if tell.send(News::Came(so_far)).is_err() {
            return Err(Failure::Absent); // nobody waits for it any more
        }
    }
    match length {
        Some(length) if length != so_far => {
            Err(Failure::Dead(format!("{so_far} of {length} bytes came")))
        }
        _ if so_far == 0 => Err(Failure::Absent),
        _ => Ok(target),
    }
}

/// Trusts whom the system trusts.
fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    let roots = found.certs.iter();
    let roots: Vec<_> = roots
        .map(|root| Certificate::from_der(root.as_ref()).to_owned())
        .collect();
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}
