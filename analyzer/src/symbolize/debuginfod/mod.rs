//! Asks debuginfod servers for the files of a build-id, and keeps what they give.
//!
//! It must never hold up a report for long: a server that does not answer is asked once and then
//! left alone, and what no server has is not asked for again for some minutes.

mod cache;
mod config;
mod download;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use cache::{Cache, Held};
pub use config::Config;
use download::{Download, Failure};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artifact {
    /// The DWARF and the symbols.
    DebugInfo,
    /// The executable or library itself.
    Executable,
}

impl Artifact {
    fn name(self) -> &'static str {
        match self {
            Self::DebugInfo => "debuginfo",
            Self::Executable => "executable",
        }
    }
}

/// The servers, and what is known of them.
#[derive(Debug, Default)]
pub struct Debuginfod {
    config: Option<Config>,
    /// Servers by index that are not asked any more.
    given_up: RefCell<BTreeSet<usize>>,
    notes: RefCell<Vec<String>>,
    /// Made for the first request: reading the system's certificates takes a while.
    download: RefCell<Option<Download>>,
}

impl Debuginfod {
    /// Asks nobody without a configuration.
    pub fn new(config: Option<Config>) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// A file of this build-id: from the cache, else from the first server that has it. `shown` is
    /// the module's name in messages.
    pub fn file(&self, build_id: &[u8], artifact: Artifact, shown: &str) -> Option<PathBuf> {
        let config = self.config.as_ref().filter(|_| !build_id.is_empty())?;
        let cache = Cache::new(&config.cache, build_id, artifact);
        match cache.look() {
            Held::File(path) => return Some(path),
            Held::KnownMissing => return None,
            Held::Nothing => {}
        }
        let mut all_denied = true;
        for (index, server) in config.servers.iter().enumerate() {
            if self.given_up.borrow().contains(&index) {
                all_denied = false;
                continue;
            }
            let mut download = self.download.borrow_mut();
            let download = download.get_or_insert_with(|| Download::new(config));
            let url = format!(
                "{}/buildid/{}/{}",
                server.trim_end_matches('/'),
                super::hex(build_id),
                artifact.name()
            );
            let target = match cache.target() {
                Ok(target) => target,
                Err(error) => {
                    self.give_up(index, format!("debuginfod is not asked: {error}"));
                    return None;
                }
            };
            match download.get(&url, target, shown) {
                Ok(file) => match cache.keep(file) {
                    Ok(path) => return Some(path),
                    Err(error) => self.give_up(index, format!("debuginfod: {error}")),
                },
                Err(Failure::Absent) => {}
                Err(Failure::TooLarge(bytes)) => {
                    all_denied = false;
                    let text = format!(
                        "debuginfod: the {} of {shown} has {}, more than DEBUGINFOD_MAXSIZE allows",
                        artifact.name(),
                        crate::human::bytes(bytes)
                    );
                    self.notes.borrow_mut().push(text);
                }
                Err(Failure::Dead(why)) => {
                    all_denied = false;
                    self.give_up(
                        index,
                        format!("debuginfod server {server} is not asked any more: {why}; --no-debuginfod does without"),
                    );
                }
            }
        }
        if all_denied {
            cache.remember_missing();
        }
        None
    }

    /// What the reader should know: one line each.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.borrow_mut())
    }

    fn give_up(&self, server: usize, why: String) {
        self.given_up.borrow_mut().insert(server);
        self.notes.borrow_mut().push(why);
    }
}

#[cfg(test)]
mod tests;
