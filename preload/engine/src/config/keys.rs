//! Owns the table of options: each key's notation, bounds and the sentence about what is allowed.

use super::{Config, units};
use crate::text::Text;
use leaktrack_recording::Mode;

/// leaktrack's own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A tenth of the room left under the limit in force, else 512 MiB.
    Auto,
    /// This many bytes.
    Bytes(u64),
}

/// When to scan for lost blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// At exit, and once when memory first passes 80% of the limit.
    Auto,
    /// Never.
    Off,
    /// Every so many milliseconds.
    EveryMs(u64),
}

/// Which page faults are attributed, where the kernel allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFaults {
    /// As many as cost next to nothing.
    Auto,
    /// Each of them, whatever it costs.
    Every,
    /// None.
    Off,
}

/// What is kept of the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argv {
    /// Secrets masked.
    Masked,
    /// As they are.
    Full,
    /// Nothing.
    None,
}

/// Thresholds of alerts; `None` is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// Minor faults per second.
    pub minor_per_s: Option<u64>,
    /// Major faults per second.
    pub major_per_s: Option<u64>,
    /// Share of locked memory, thousandths of a percent.
    pub mlocked_milli_percent: Option<u32>,
    /// Growth of live bytes per hour.
    pub growth_bytes_per_hour: Option<u64>,
    /// Time until the memory limit.
    pub limit_ms: Option<u64>,
    /// Shortest time between two alerts of a kind.
    pub repeat_ms: u64,
}

impl Alerts {
    /// The defaults.
    pub const fn new() -> Alerts {
        Alerts {
            minor_per_s: Some(1_000),
            major_per_s: Some(10),
            mlocked_milli_percent: Some(80_000),
            growth_bytes_per_hour: None,
            limit_ms: None,
            repeat_ms: 300_000,
        }
    }
}

impl Default for Alerts {
    fn default() -> Alerts {
        Alerts::new()
    }
}

/// Every key with what it allows, in the order of the documentation.
const KEYS: &[(&[u8], &[u8])] = &[
    (
        b"output",
        b"a path of at most 4000 bytes, with %e %p %h %t for executable, pid, host and start time",
    ),
    (b"mode", b"exact, dormant, sample:BYTES from 1 to 1024g (such as sample:512k), or budget:PERCENT above 0 and up to 100 (such as budget:2)"),
    (
        b"interval",
        b"a time from 10ms to 1d, such as 500ms, 90s or 10m",
    ),
    (b"memory", b"auto, or a size from 1m, such as 256m or 1g"),
    (b"disk", b"a size from 256k to 64g, such as 64m or 1g"),
    (b"family-disk", b"a size from 256k, such as 64m or 1g"),
    (b"depth", b"a number from 1 to 256"),
    (b"scan", b"auto, off, or a time from 1s, such as 10m or 2h"),
    (b"faults", b"auto, every or off"),
    (b"children", b"follow or ignore"),
    (
        b"only",
        b"patterns of executable names with : between them, such as nginx:python*, at most 1024 bytes",
    ),
    (b"helper", b"auto or off"),
    (b"argv", b"masked, full or none"),
    (
        b"perm",
        b"permission bits in octal that let the owner read and write, such as 0600 or 0640",
    ),
    (b"label", b"KEY:VALUE, at most 2000 bytes in all labels"),
    (b"alert-minor-faults", b"off, or minor faults per second"),
    (b"alert-major-faults", b"off, or major faults per second"),
    (b"alert-mlocked", b"off, or a percentage"),
    (
        b"alert-growth",
        b"off, or a rate such as 1m/h (per s, m, h or d)",
    ),
    (b"alert-limit", b"off, or a time such as 1h"),
    (b"alert-repeat", b"a time such as 5m"),
    (b"on-alert", b"a command of at most 1000 bytes"),
    (b"verbose", b"0, 1 or 2"),
];

/// The names of all options.
pub fn names() -> impl Iterator<Item = &'static [u8]> {
    KEYS.iter().map(|(name, _)| *name)
}

/// True for the name of an option.
pub fn is_known(key: &[u8]) -> bool {
    KEYS.iter().any(|(name, _)| *name == key)
}

/// What a key allows, in words; for an unknown key the list of keys.
pub fn allowed(key: &[u8]) -> &'static [u8] {
    KEYS.iter().find(|(name, _)| *name == key).map_or(
        b"one of output, mode, interval, memory, disk, family-disk, depth, scan, faults, children, only, \
helper, argv, perm, label, alert-minor-faults, alert-major-faults, alert-mlocked, alert-growth, alert-limit, alert-repeat, \
on-alert, verbose",
        |(_, allowed)| allowed,
    )
}

/// Applies one option; `None` when key or value is not allowed.
pub fn apply(config: &mut Config, key: &[u8], value: &[u8]) -> Option<()> {
    let alerts = &mut config.alerts;
    match key {
        b"output" => store(&mut config.output, value, is_template(value))?,
        b"mode" => config.mode = mode(value)?,
        b"interval" => config.interval_ms = within(units::duration_ms(value)?, 10, 86_400_000)?,
        b"memory" if value == b"auto" => config.memory = Memory::Auto,
        b"memory" => {
            config.memory = Memory::Bytes(within(units::size_bytes(value)?, 1 << 20, u64::MAX)?)
        }
        b"disk" => config.disk_bytes = within(units::size_bytes(value)?, 256 << 10, 64 << 30)?,
        b"family-disk" => {
            config.family_disk_bytes = within(units::size_bytes(value)?, 256 << 10, u64::MAX)?
        }
        b"depth" => config.depth = within(units::number(value)?, 1, 256)? as u32,
        b"scan" => {
            config.scan = match value {
                b"auto" => Scan::Auto,
                b"off" => Scan::Off,
                time => Scan::EveryMs(within(units::duration_ms(time)?, 1_000, u64::MAX)?),
            }
        }
        b"faults" => {
            config.faults = match value {
                b"auto" => PageFaults::Auto,
                b"every" => PageFaults::Every,
                b"off" => PageFaults::Off,
                _ => return None,
            }
        }
        b"children" => config.follow_children = either(value, b"follow", b"ignore")?,
        b"only" => store(&mut config.only, value, !value.is_empty())?,
        b"helper" => config.helper = either(value, b"auto", b"off")?,
        b"argv" => {
            config.argv = match value {
                b"masked" => Argv::Masked,
                b"full" => Argv::Full,
                b"none" => Argv::None,
                _ => return None,
            }
        }
        b"perm" => {
            config.perm =
                units::octal(value).filter(|bits| bits & 0o600 == 0o600 && *bits <= 0o777)?
        }
        b"label" => add_label(&mut config.labels, value)?,
        b"alert-minor-faults" => {
            alerts.minor_per_s =
                or_off(value, |v| units::number(v.strip_suffix(b"/s").unwrap_or(v)))?
        }
        b"alert-major-faults" => {
            alerts.major_per_s =
                or_off(value, |v| units::number(v.strip_suffix(b"/s").unwrap_or(v)))?
        }
        b"alert-mlocked" => alerts.mlocked_milli_percent = or_off(value, units::milli_percent)?,
        b"alert-growth" => alerts.growth_bytes_per_hour = or_off(value, units::bytes_per_hour)?,
        b"alert-limit" => alerts.limit_ms = or_off(value, units::duration_ms)?,
        b"alert-repeat" => alerts.repeat_ms = units::duration_ms(value)?,
        b"on-alert" => store(&mut config.on_alert, value, value.len() <= 1_000)?,
        b"verbose" => config.verbose = within(units::number(value)?, 0, 2)? as u32,
        _ => return None,
    }
    Some(())
}

fn within(number: u64, least: u64, most: u64) -> Option<u64> {
    (least..=most).contains(&number).then_some(number)
}

fn either(value: &[u8], yes: &[u8], no: &[u8]) -> Option<bool> {
    (value == yes || value == no).then_some(value == yes)
}

fn or_off<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if value == b"off" {
        Some(None)
    } else {
        parse(value).map(Some)
    }
}

fn store<const N: usize>(to: &mut Text<N>, value: &[u8], valid: bool) -> Option<()> {
    if !valid || value.contains(&0) {
        return None;
    }
    to.clear();
    to.push_bytes(value);
    (!to.is_cut()).then_some(())
}

fn mode(value: &[u8]) -> Option<Mode> {
    match value {
        b"exact" => Some(Mode::Exact),
        b"dormant" => Some(Mode::Dormant),
        _ => {
            if let Some(mean) = value.strip_prefix(b"sample:") {
                let mean_bytes = within(units::size_bytes(mean)?, 1, 1 << 40)?;
                return Some(Mode::Sample { mean_bytes });
            }
            let milli_percent = units::milli_percent(value.strip_prefix(b"budget:")?)?;
            Some(Mode::Budget { milli_percent })
        }
    }
}

/// A path whose `%` sequences are all known.
fn is_template(value: &[u8]) -> bool {
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' && !matches!(bytes.next(), Some(b'e' | b'p' | b'h' | b't' | b'%')) {
            return false;
        }
    }
    !value.is_empty()
}

/// Adds `KEY:VALUE`; a label given again is replaced.
fn add_label(labels: &mut Text<2048>, value: &[u8]) -> Option<()> {
    let colon = value
        .iter()
        .position(|&byte| byte == b':')
        .filter(|at| *at > 0)?;
    if value.contains(&0) {
        return None;
    }
    let key = value.get(..=colon)?;
    let old = *labels;
    labels.clear();
    for label in old.as_bytes().split(|&byte| byte == 0) {
        if !label.is_empty() && !label.starts_with(key) {
            labels.push_bytes(label).push(0);
        }
    }
    labels.push_bytes(value).push(0);
    (!labels.is_cut()).then_some(())
}
