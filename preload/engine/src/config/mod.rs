//! Owns the library's options: their names, defaults, notation and validation.
//!
//! Never allocates, never looks at anything but the bytes it is given. Options of `LEAKTRACK`
//! win over those of `LEAKTRACK_KEY`; other `LEAKTRACK_*` variables are not ours to judge
//! (Kubernetes makes `LEAKTRACK_PORT` for a service of that name).
#![allow(
    clippy::result_large_err,
    reason = "told once, at start, and there is no heap to box it on"
)]

pub mod glob;
mod keys;
mod spelling;
pub mod units;

use core::cell::UnsafeCell;

use crate::text::Text;
pub use keys::{Alerts, Argv, Memory, PageFaults, Scan};
pub use leaktrack_recording::Mode;

/// All options, with their defaults until [`Config::read`] changes them.
#[derive(Clone)]
pub struct Config {
    /// Template of the recording's path; empty: the default name in the default folder.
    pub output: Text<4000>,
    /// How allocations are chosen.
    pub mode: Mode,
    /// Time between snapshots.
    pub interval_ms: u64,
    /// leaktrack's own memory.
    pub memory: Memory,
    /// Most bytes of one recording.
    pub disk_bytes: u64,
    /// Most bytes of all recordings of a family.
    pub family_disk_bytes: u64,
    /// Frames kept of a stack.
    pub depth: u32,
    /// Reachability scans.
    pub scan: Scan,
    /// Attribute page faults when the kernel allows.
    pub faults: PageFaults,
    /// Record forked and executed children too.
    pub follow_children: bool,
    /// Globs of executables to record, `:` between them; empty: all.
    pub only: Text<1024>,
    /// Take snapshots in a background thread.
    pub helper: bool,
    /// What is kept of the arguments.
    pub argv: Argv,
    /// Permission bits of the recording.
    pub perm: u32,
    /// Labels, `key:value` each followed by a NUL.
    pub labels: Text<2048>,
    /// Thresholds.
    pub alerts: Alerts,
    /// Command to run on an alert; empty: none.
    pub on_alert: Text<1024>,
    /// How much to say on stderr.
    pub verbose: u32,
    /// The text of `LEAKTRACK` as given.
    pub given: Text<4096>,
}

/// An option that cannot be used: which, what was given, what is allowed.
#[derive(Clone, Debug)]
pub struct BadOption {
    /// Name of the option (or of the variable, when the text has no option in it).
    pub key: Text<64>,
    /// What was given, cut for display.
    pub value: Text<128>,
    /// What is allowed.
    pub allowed: &'static [u8],
    /// For an option that does not exist: the one that was probably meant.
    pub meant: Option<&'static [u8]>,
}

impl BadOption {
    fn new(key: &[u8], value: &[u8], allowed: &'static [u8]) -> BadOption {
        let mut bad = BadOption {
            key: Text::new(),
            value: Text::new(),
            allowed,
            meant: if keys::is_known(key) {
                None
            } else {
                spelling::nearest(key, keys::names())
            },
        };
        bad.key.push_shown(key, 48);
        bad.value.push_shown(value, 96);
        bad
    }

    /// One line without its end: `option depth=0: allowed is a number from 1 to 256`, or
    /// `option dept=3: there is no such option; did you mean depth?`.
    pub fn line<const N: usize>(&self, out: &mut Text<N>) {
        out.push_bytes(b"option ")
            .push_bytes(self.key.as_bytes())
            .push(b'=');
        out.push_bytes(self.value.as_bytes());
        match self.meant {
            Some(meant) => out
                .push_bytes(b": there is no such option; did you mean ")
                .push_bytes(meant)
                .push(b'?'),
            None => out.push_bytes(b": allowed is ").push_bytes(self.allowed),
        };
    }
}

impl Config {
    /// The defaults.
    pub const fn new() -> Config {
        Config {
            output: Text::new(),
            mode: Mode::Exact,
            interval_ms: 1_000,
            memory: Memory::Auto,
            disk_bytes: 64 << 20,
            family_disk_bytes: 1 << 30,
            depth: 128,
            scan: Scan::Auto,
            faults: PageFaults::Auto,
            follow_children: true,
            only: Text::new(),
            helper: true,
            argv: Argv::Masked,
            perm: 0o600,
            labels: Text::new(),
            alerts: Alerts::new(),
            on_alert: Text::new(),
            verbose: 0,
            given: Text::new(),
        }
    }

    /// Takes the options from an environment; stops at the first bad one.
    pub fn read<'a, I>(&mut self, environment: I) -> Result<(), BadOption>
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        for (name, value) in environment.clone() {
            let mut key = Text::<32>::new();
            if let Some(suffix) = name.strip_prefix(b"LEAKTRACK_") {
                for &byte in suffix {
                    key.push(if byte == b'_' {
                        b'-'
                    } else {
                        byte.to_ascii_lowercase()
                    });
                }
                if !key.is_cut() && keys::is_known(key.as_bytes()) {
                    self.set(key.as_bytes(), value)?;
                }
            }
        }
        match environment.clone().find(|(name, _)| *name == b"LEAKTRACK") {
            Some((_, value)) => self.read_list(value),
            None => Ok(()),
        }
    }

    /// Takes `key=value,key=value`; `\,` is a comma within a value.
    pub fn read_list(&mut self, text: &[u8]) -> Result<(), BadOption> {
        self.given.clear();
        self.given.push_bytes(text);
        let mut item = Text::<4096>::new();
        let mut bytes = text.iter().copied().peekable();
        loop {
            item.clear();
            loop {
                match bytes.next() {
                    None | Some(b',') => break,
                    Some(b'\\') if bytes.peek() == Some(&b',') => {
                        bytes.next();
                        item.push(b',');
                    }
                    Some(byte) => {
                        item.push(byte);
                    }
                }
            }
            self.set_item(&item)?;
            if bytes.peek().is_none() {
                return Ok(());
            }
        }
    }

    fn set_item(&mut self, item: &Text<4096>) -> Result<(), BadOption> {
        let text = item.as_bytes().trim_ascii_start();
        if text.trim_ascii().is_empty() {
            return Ok(()); // a trailing comma, or `LEAKTRACK=` in a unit file
        }
        let Some(equals) = text.iter().position(|&byte| byte == b'=') else {
            let allowed: &[u8] = if keys::is_known(text.trim_ascii()) {
                keys::allowed(text.trim_ascii())
            } else {
                b"a list of key=value with commas between them"
            };
            return Err(BadOption::new(text, b"", allowed));
        };
        let (key, value) = text.split_at_checked(equals).unwrap_or((text, &[]));
        let value = value.get(1..).unwrap_or(&[]);
        if item.is_cut() {
            return Err(BadOption::new(key, value, b"at most 4000 bytes"));
        }
        self.set(key, value)
    }

    /// Sets one option.
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), BadOption> {
        match keys::apply(self, key, value) {
            Some(()) => Ok(()),
            None => Err(BadOption::new(key, value, keys::allowed(key))),
        }
    }

    /// True if an executable is to be recorded (option `only`).
    pub fn records(&self, exe: &[u8]) -> bool {
        self.only.is_empty() || glob::list_matches(self.only.as_bytes(), exe)
    }

    /// The labels, key and value.
    pub fn labels(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.labels
            .as_bytes()
            .split(|&byte| byte == 0)
            .filter_map(|label| {
                let colon = label.iter().position(|&byte| byte == b':')?;
                let (key, value) = label.split_at_checked(colon)?;
                Some((key, value.get(1..).unwrap_or(&[])))
            })
    }
}

struct Cell(UnsafeCell<Config>);

// SAFETY: written before other threads of the library exist (see `init`), then only read.
unsafe impl Sync for Cell {}

static IN_FORCE: Cell = Cell(UnsafeCell::new(Config::new()));

/// The options in force.
pub fn get() -> &'static Config {
    // SAFETY: nobody writes after `init`.
    unsafe { &*IN_FORCE.0.get() }
}

/// The options in force, to be filled in.
///
/// # Safety
/// For the constructor alone: nothing has called [`get`] yet, and the reference is gone before
/// anything does.
pub unsafe fn init() -> &'static mut Config {
    // SAFETY: the caller's promise.
    unsafe { &mut *IN_FORCE.0.get() }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

#[cfg(test)]
mod tests;
