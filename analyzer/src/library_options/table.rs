//! Owns the table: each option's key, notation, bounds, default and help. The library has the same
//! bounds in a table of its own, and the same words for them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction};

use crate::units;

/// How a value is written.
enum Kind {
    OneOf(&'static [&'static str]),
    /// A check, and what it allows.
    Checked(fn(&str) -> bool, &'static str),
    /// The same for what need not be UTF-8.
    Bytes(fn(&[u8]) -> bool, &'static str),
}

/// One option of the library.
pub struct LibraryOption {
    /// Its name in `LEAKTRACK`, and as a flag.
    pub key: &'static str,
    value_name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
}

const fn option(
    key: &'static str,
    value_name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> LibraryOption {
    LibraryOption {
        key,
        value_name,
        kind,
        default,
        help,
    }
}

/// All options, in the order of the documentation.
pub static OPTIONS: &[LibraryOption] = &[
    option(
        "output",
        "PATH",
        Kind::Bytes(
            is_template,
            "a path of at most 4000 bytes, with %e %p %h %t for executable, pid, host and start time",
        ),
        "leaktrack.%e.%p.%t.ltk",
        "Recording; %e executable, %p pid, %h host, %t start time. Never overwrites: .2, .3 follow",
    ),
    option(
        "mode",
        "MODE",
        Kind::Checked(
            is_mode,
            "exact, dormant, sample:BYTES from 1 to 1024g (such as sample:512k), or budget:PERCENT above 0 and up to 100 (such as budget:2)",
        ),
        "exact",
        "Record every allocation, a sample of them, a sample that fits a CPU budget, or nothing until enabled",
    ),
    option(
        "interval",
        "TIME",
        Kind::Checked(
            |v| within(units::duration_ms(v), 10, 86_400_000),
            "a time from 10ms to 1d, such as 500ms, 90s or 10m",
        ),
        "1s",
        "Time between snapshots",
    ),
    option(
        "memory",
        "SIZE",
        Kind::Checked(
            |v| v == "auto" || within(units::size_bytes(v), 1 << 20, u64::MAX),
            "auto, or a size from 1m, such as 256m or 1g",
        ),
        "auto",
        "leaktrack's own memory at most",
    ),
    option(
        "disk",
        "SIZE",
        Kind::Checked(
            |v| within(units::size_bytes(v), 256 << 10, 64 << 30),
            "a size from 256k to 64g, such as 64m or 1g",
        ),
        "64m",
        "Size of one recording at most",
    ),
    option(
        "family-disk",
        "SIZE",
        Kind::Checked(
            |v| within(units::size_bytes(v), 256 << 10, u64::MAX),
            "a size from 256k, such as 64m or 1g",
        ),
        "1g",
        "Size of all recordings of a family of processes at most",
    ),
    option(
        "depth",
        "N",
        Kind::Checked(|v| within(number(v), 1, 256), "a number from 1 to 256"),
        "128",
        "Frames kept of a stack",
    ),
    option(
        "scan",
        "WHEN",
        Kind::Checked(
            |v| v == "auto" || v == "off" || within(units::duration_ms(v), 1_000, u64::MAX),
            "auto, off, or a time from 1s, such as 10m or 2h",
        ),
        "auto",
        "Reachability scans: at exit and near the memory limit, never, or every so often",
    ),
    option(
        "faults",
        "WHEN",
        Kind::OneOf(&["auto", "every", "off"]),
        "auto",
        "Attribute page faults to allocation sites when the kernel allows: a sample of them, each one, or none",
    ),
    option(
        "children",
        "WHICH",
        Kind::OneOf(&["follow", "ignore"]),
        "follow",
        "Record processes that this one forks and execs, each in its own file",
    ),
    option(
        "only",
        "GLOB[:GLOB]",
        Kind::Bytes(
            |v| (1..=1_024).contains(&v.len()),
            "patterns of executable names with : between them, such as nginx:python*, at most 1024 bytes",
        ),
        "",
        "Record only executables with these names",
    ),
    option(
        "helper",
        "WHEN",
        Kind::OneOf(&["auto", "off"]),
        "auto",
        "Take snapshots in a background thread, or in the program's own threads",
    ),
    option(
        "argv",
        "HOW",
        Kind::OneOf(&["masked", "full", "none"]),
        "masked",
        "Arguments in the recording: secrets masked, in full, or none",
    ),
    option(
        "perm",
        "MODE",
        Kind::Checked(
            is_permission,
            "permission bits in octal that let the owner read and write, such as 0600 or 0640",
        ),
        "0600",
        "Permissions of the recording",
    ),
    option(
        "label",
        "KEY:VALUE",
        Kind::Bytes(is_label, "KEY:VALUE, at most 2000 bytes in all labels"),
        "",
        "Label to keep in the recording and every export; repeatable",
    ),
    option(
        "alert-minor-faults",
        "RATE",
        Kind::Checked(is_fault_rate, "off, or minor faults per second"),
        "1000",
        "Alert above this many minor faults per second",
    ),
    option(
        "alert-major-faults",
        "RATE",
        Kind::Checked(is_fault_rate, "off, or major faults per second"),
        "10",
        "Alert above this many major faults per second",
    ),
    option(
        "alert-mlocked",
        "PERCENT",
        Kind::Checked(
            |v| v == "off" || units::percent(v).is_some(),
            "off, or a percentage",
        ),
        "80",
        "Alert above this share of locked memory",
    ),
    option(
        "alert-growth",
        "RATE",
        Kind::Checked(
            is_growth_rate,
            "off, or a rate such as 1m/h (per s, m, h or d)",
        ),
        "off",
        "Alert when live bytes grow faster",
    ),
    option(
        "alert-limit",
        "TIME",
        Kind::Checked(
            |v| v == "off" || units::duration_ms(v).is_some(),
            "off, or a time such as 1h",
        ),
        "off",
        "Alert when the memory limit is nearer",
    ),
    option(
        "alert-repeat",
        "TIME",
        Kind::Checked(|v| units::duration_ms(v).is_some(), "a time such as 5m"),
        "5m",
        "Shortest time between two alerts of a kind",
    ),
    option(
        "on-alert",
        "COMMAND",
        Kind::Bytes(|v| v.len() <= 1_000, "a command of at most 1000 bytes"),
        "",
        "Command to run on an alert",
    ),
    option(
        "verbose",
        "N",
        Kind::Checked(|v| within(number(v), 0, 2), "0, 1 or 2"),
        "0",
        "Messages of the library on stderr",
    ),
];

fn within(value: Option<u64>, least: u64, most: u64) -> bool {
    value.is_some_and(|value| (least..=most).contains(&value))
}

/// Decimal digits only.
fn number(value: &str) -> Option<u64> {
    let only_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| value.parse().ok()).flatten()
}

/// A path whose `%` sequences are all known.
fn is_template(value: &[u8]) -> bool {
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' && !matches!(bytes.next(), Some(b'e' | b'p' | b'h' | b't' | b'%')) {
            return false;
        }
    }
    (1..=4_000).contains(&value.len())
}

fn is_label(value: &[u8]) -> bool {
    value
        .iter()
        .position(|&byte| byte == b':')
        .is_some_and(|at| at > 0)
        && value.len() < 2_048
}

fn is_mode(value: &str) -> bool {
    match value.split_once(':') {
        None => value == "exact" || value == "dormant",
        Some(("sample", mean)) => within(units::size_bytes(mean), 1, 1 << 40),
        Some(("budget", share)) => units::percent(share).is_some(),
        Some(_) => false,
    }
}

fn is_permission(value: &str) -> bool {
    let bits = u32::from_str_radix(value, 8)
        .ok()
        .filter(|_| value.len() <= 4 && !value.starts_with('+'));
    bits.is_some_and(|bits| bits & 0o600 == 0o600 && bits <= 0o777)
}

fn is_fault_rate(value: &str) -> bool {
    value == "off" || number(value.strip_suffix("/s").unwrap_or(value)).is_some()
}

fn is_growth_rate(value: &str) -> bool {
    let per_time = |(size, unit): (&str, &str)| {
        let per_hour = match unit {
            "s" => 3_600,
            "m" => 60,
            "h" | "d" => 1,
            _ => return false,
        };
        units::size_bytes(size).is_some_and(|bytes| bytes.checked_mul(per_hour).is_some())
    };
    value == "off" || value.split_once('/').is_some_and(per_time)
}

impl LibraryOption {
    /// What is allowed, if it refuses `value`.
    pub fn refuses(&self, value: &OsStr) -> Option<String> {
        let text = value.to_str();
        let (fits, allowed) = match self.kind {
            Kind::OneOf(values) => (
                text.is_some_and(|text| values.contains(&text)),
                values.join(", "),
            ),
            Kind::Checked(check, allowed) => (text.is_some_and(check), allowed.to_owned()),
            Kind::Bytes(check, allowed) => (check(value.as_bytes()), allowed.to_owned()),
        };
        (!fits).then_some(allowed)
    }

    /// The flag of `run`.
    pub fn arg(&'static self) -> Arg {
        let help = match self.default {
            "" => self.help.to_owned(),
            default => format!("{} [default: {default}]", self.help),
        };
        let arg = Arg::new(self.key)
            .long(self.key)
            .value_name(self.value_name)
            .value_parser(self.parser())
            .action(if self.key == "label" {
                ArgAction::Append
            } else {
                ArgAction::Set
            })
            .help(help);
        if self.key == "output" {
            arg.short('o').value_hint(clap::ValueHint::FilePath)
        } else {
            arg
        }
    }

    fn parser(&'static self) -> ValueParser {
        if let Kind::OneOf(values) = self.kind {
            return PossibleValuesParser::new(values).map(OsString::from).into();
        }
        let check = move |value: OsString| match self.refuses(&value) {
            None => Ok(value),
            Some(allowed) => Err(format!("allowed is {allowed}")),
        };
        OsStringValueParser::new().try_map(check).into()
    }
}

/// The option of this name.
pub fn find(key: &str) -> Option<&'static LibraryOption> {
    OPTIONS.iter().find(|option| option.key == key)
}
