//! Owns the table of the library's options as flags of `run`, and writes `LEAKTRACK` from them.
//!
//! One table makes flags, help and checks. The library checks again: it can also be preloaded
//! without this command.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::units;

/// How a value is written.
enum Kind {
    Text,
    OneOf(&'static [&'static str]),
    /// A check, and what it allows.
    Checked(fn(&str) -> bool, &'static str),
}

struct LibraryOption {
    key: &'static str,
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

static OPTIONS: &[LibraryOption] = &[
    option(
        "output",
        "PATH",
        Kind::Text,
        "leaktrack.%e.%p.%t.ltk",
        "Recording; %e executable, %p pid, %h host, %t start time. Never overwrites: .2, .3 follow",
    ),
    option(
        "mode",
        "MODE",
        Kind::Checked(is_mode, "exact, sample:BYTES, budget:PERCENT or dormant"),
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
        Kind::Checked(|v| within(v.parse().ok(), 1, 256), "a number from 1 to 256"),
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
        Kind::OneOf(&["auto", "off"]),
        "auto",
        "Attribute page faults to allocation sites when the kernel allows",
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
        Kind::Checked(
            |v| !v.is_empty(),
            "patterns of executable names with : between them, such as nginx:python*",
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
        Kind::Checked(|v| v.find(':').is_some_and(|at| at > 0), "KEY:VALUE"),
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
        Kind::Text,
        "",
        "Command to run on an alert",
    ),
    option(
        "verbose",
        "N",
        Kind::OneOf(&["0", "1", "2"]),
        "0",
        "Messages of the library on stderr",
    ),
];

fn within(value: Option<u64>, least: u64, most: u64) -> bool {
    value.is_some_and(|value| (least..=most).contains(&value))
}

fn is_mode(value: &str) -> bool {
    match value.split_once(':') {
        None => value == "exact" || value == "dormant",
        Some(("sample", mean)) => within(units::size_bytes(mean), 1, u64::MAX),
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
    value == "off"
        || value
            .strip_suffix("/s")
            .unwrap_or(value)
            .parse::<u64>()
            .is_ok()
}

fn is_growth_rate(value: &str) -> bool {
    let per_time = |(size, unit): (&str, &str)| {
        units::size_bytes(size).is_some() && matches!(unit, "s" | "m" | "h" | "d")
    };
    value == "off" || value.split_once('/').is_some_and(per_time)
}

/// The library's options that were given as flags, in the order of the table.
#[derive(Clone, Debug, Default)]
pub struct LibraryOptions {
    given: Vec<(&'static str, OsString)>,
}

impl LibraryOptions {
    /// The last value given for `key`.
    pub fn get(&self, key: &str) -> Option<&OsStr> {
        self.given
            .iter()
            .rev()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.as_os_str())
    }

    /// Sets a value that was not given.
    pub fn set(&mut self, key: &'static str, value: impl Into<OsString>) {
        self.given.push((key, value.into()));
    }

    /// The value of `LEAKTRACK`: what the environment has, then the flags, which win.
    pub fn to_variable(&self, inherited: Option<&OsStr>) -> OsString {
        let mut text = inherited
            .map(|value| value.as_bytes().to_vec())
            .unwrap_or_default();
        for (key, value) in &self.given {
            if !text.is_empty() {
                text.push(b',');
            }
            text.extend_from_slice(key.as_bytes());
            text.push(b'=');
            for &byte in value.as_bytes() {
                if byte == b',' {
                    text.push(b'\\');
                }
                text.push(byte);
            }
        }
        OsString::from_vec(text)
    }
}

/// The first option of an environment that the library refuses, and what is allowed: `LEAKTRACK`'s
/// list and the single variables `LEAKTRACK_KEY`, in the order in which it reads them.
pub fn first_bad<'a>(
    list: &OsStr,
    singles: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let find = |key: &str| OPTIONS.iter().find(|option| option.key == key);
    let single = |(name, value): (&str, &str)| {
        let key = name.strip_prefix("LEAKTRACK_")?.to_ascii_lowercase();
        find(&key.replace('_', "-"))?.refuses(value)
    };
    let mut bad = singles.into_iter().find_map(single);
    for item in items(list.as_bytes()) {
        let item = String::from_utf8_lossy(&item).into_owned();
        let item = item.trim_ascii_start();
        let refused = |item: &str| {
            if item.is_empty() {
                return None;
            }
            let Some((key, value)) = item.split_once('=') else {
                return Some(format!("{item} is no key=value"));
            };
            find(key).map_or_else(
                || Some(format!("there is no option {key}")),
                |option| option.refuses(value),
            )
        };
        bad = bad.or_else(|| refused(item));
    }
    bad
}

/// The items of `key=value,key=value`, where `\,` is a comma.
pub fn items(list: &[u8]) -> Vec<Vec<u8>> {
    let mut items = vec![Vec::new()];
    let mut bytes = list.iter().peekable();
    while let Some(&byte) = bytes.next() {
        let Some(item) = items.last_mut() else {
            break;
        };
        match byte {
            b',' => items.push(Vec::new()),
            b'\\' if bytes.peek() == Some(&&b',') => {
                bytes.next();
                item.push(b',');
            }
            byte => item.push(byte),
        }
    }
    items
}

impl clap::Args for LibraryOptions {
    fn augment_args(command: Command) -> Command {
        command
            .next_help_heading("Recording")
            .args(OPTIONS.iter().map(LibraryOption::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for LibraryOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for option in OPTIONS {
            for value in matches
                .get_many::<OsString>(option.key)
                .into_iter()
                .flatten()
            {
                self.given.push((option.key, value.clone()));
            }
        }
        Ok(())
    }
}

impl LibraryOption {
    /// What is wrong with a value, and what is allowed.
    fn refuses(&self, value: &str) -> Option<String> {
        let allowed = match self.kind {
            Kind::Text => return None,
            Kind::OneOf(values) if values.contains(&value) => return None,
            Kind::OneOf(values) => values.join(", "),
            Kind::Checked(check, _) if check(value) => return None,
            Kind::Checked(_, allowed) => allowed.to_owned(),
        };
        Some(format!("{}={value}; allowed is {allowed}", self.key))
    }

    fn arg(&self) -> Arg {
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

    fn parser(&self) -> ValueParser {
        match self.kind {
            Kind::Text => clap::value_parser!(OsString),
            Kind::OneOf(values) => PossibleValuesParser::new(values).map(OsString::from).into(),
            Kind::Checked(check, allowed) => {
                ValueParser::from(move |value: &str| match check(value) {
                    true => Ok(OsString::from(value)),
                    false => Err(format!("allowed is {allowed}")),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn parse(arguments: &[&str]) -> Result<LibraryOptions, clap::Error> {
        let command = LibraryOptions::augment_args(Command::new("run").no_binary_name(true));
        LibraryOptions::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    #[test]
    fn flags_become_one_variable_with_commas_escaped() {
        let options = parse(&[
            "-o", "a,b.ltk", "--label", "x:1", "--label", "y:2", "--depth", "64",
        ])
        .unwrap();
        assert_eq!(
            options.to_variable(Some(OsStr::new("verbose=1"))),
            "verbose=1,output=a\\,b.ltk,depth=64,label=x:1,label=y:2"
        );
        assert_eq!(options.get("output"), Some(OsStr::new("a,b.ltk")));
    }

    #[test]
    fn what_the_library_would_refuse_is_refused() {
        for bad in [
            ["--mode", "sample"],
            ["--mode", "budget:0"],
            ["--interval", "1"],
            ["--disk", "1k"],
            ["--depth", "0"],
            ["--perm", "0444"],
            ["--label", "x"],
            ["--alert-growth", "1m"],
            ["--children", "maybe"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_first_bad_option_of_an_environment_is_told() {
        let bad = |list: &str| first_bad(OsStr::new(list), []);
        for (list, expected) in [
            ("", None),
            ("depth=64,, verbose=1,output=a\\,b", None),
            ("depth=64,deep=3", Some("there is no option deep")),
            ("deep", Some("deep is no key=value")),
            (
                "disk=1m,depth=0,mode=no",
                Some("depth=0; allowed is a number from 1 to 256"),
            ),
            (
                "scan=auto,faults=on",
                Some("faults=on; allowed is auto, off"),
            ),
        ] {
            assert_eq!(bad(list).as_deref(), expected, "{list}");
        }
        let singles = [
            ("LEAKTRACK_KEEP_SHORT", "1"),
            ("LEAKTRACK_FAMILY_DISK", "no"),
        ];
        assert_eq!(
            first_bad(OsStr::new("depth=0"), singles).as_deref(),
            Some("family-disk=no; allowed is a size from 256k, such as 64m or 1g")
        );
    }

    #[test]
    fn what_the_library_takes_is_taken() {
        for good in [
            ["--mode", "sample:512k"],
            ["--mode", "budget:0.5%"],
            ["--interval", "500ms"],
            ["--memory", "auto"],
            ["--perm", "640"],
            ["--alert-growth", "1m/h"],
            ["--scan", "10m"],
        ] {
            assert!(parse(&good).is_ok(), "{good:?}");
        }
    }
}
