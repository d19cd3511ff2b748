//! Owns the options as an environment has them: `LEAKTRACK`, and a variable `LEAKTRACK_KEY` for each.
//!
//! Judges as the library does, which reads the same variables in the same order and runs the
//! program untracked at the first option that it refuses.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::table::{self, OPTIONS};
use crate::{glob, spelling};

/// The variable that holds a list of options.
pub const LIST: &str = "LEAKTRACK";
const PREFIX: &str = "LEAKTRACK_";

/// Bytes of one `key=value` that the library takes.
const ITEM_BYTES: usize = 4_096;
/// Bytes of all labels, each with an end.
const LABELS_BYTES: usize = 2_048;

/// Variables with the prefix that are not the library's options, and what they are for.
const OTHERS: &[&str] = &[
    "LIB_DIR",    // where the command unpacks the library
    "KEEP_SHORT", // set by `run --report` for the library
    "ALERT",      // these three are set for the command of on-alert
    "ALERT_TEXT",
    "ALERT_PID",
];

/// Names that are easily taken for that of the list.
const LIST_GUESSES: &[&str] = &["OPTION", "OPTIONS", "OPTS", "ARGS", "FLAGS", "CONFIG"];

/// All variables of the project in an environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    list: Option<OsString>,
    /// Without the list, in their order.
    singles: Vec<(String, OsString)>,
}

impl Environment {
    /// That of this process.
    pub fn own() -> Self {
        Self::of(std::env::vars_os())
    }

    /// The variables of the project among these.
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut found = Self::default();
        for (name, value) in variables {
            if name == LIST {
                // Of two the library reads the first.
                found.list.get_or_insert(value);
            } else if let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) {
                found.singles.push((name.to_owned(), value));
            }
        }
        found
    }

    /// The same with another list.
    pub fn with_list(mut self, list: &OsStr) -> Self {
        self.list = Some(list.to_owned());
        self
    }

    /// The value of `LEAKTRACK`.
    pub fn list(&self) -> &OsStr {
        self.list.as_deref().unwrap_or_default()
    }

    /// The value in force for `key`: the last of the list, else that of its own variable.
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        let value = |item: &Vec<u8>| {
            let rest = item.trim_ascii_start().strip_prefix(key.as_bytes())?;
            Some(rest.strip_prefix(b"=")?.to_vec())
        };
        let listed = items(self.list().as_bytes())
            .iter()
            .filter_map(value)
            .next_back();
        let single = || {
            let mut singles = self.singles.iter().rev();
            singles
                .find(|(name, _)| key_of(name).as_deref() == Some(key))
                .map(|(_, value)| value.as_bytes().to_vec())
        };
        listed.or_else(single)
    }

    /// True if the option `only` lets a program be recorded: patterns with a slash are for the path
    /// of its executable, others for the name of that, or that it was started by.
    pub fn records(&self, executable: &Path, name: &[u8]) -> bool {
        let Some(list) = self.value("only") else {
            return true;
        };
        let executable = executable.to_string_lossy();
        let file = executable.rsplit('/').next().unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        let list = String::from_utf8_lossy(&list);
        let mut patterns = list.split(':').filter(|pattern| !pattern.is_empty());
        patterns.any(|pattern| match pattern.contains('/') {
            true => glob::matches(pattern, &executable),
            false => glob::matches(pattern, file) || glob::matches(pattern, &name),
        })
    }

    /// The first option that the library refuses, and what is allowed.
    pub fn first_bad(&self) -> Option<BadOption> {
        let mut labels = BTreeMap::new();
        for (name, value) in &self.singles {
            if let Some(key) = key_of(name)
                && let Some(problem) = refused(&key, value, &mut labels)
            {
                return Some(BadOption {
                    variable: name.clone(),
                    problem,
                });
            }
        }
        items(self.list().as_bytes()).into_iter().find_map(|item| {
            let problem = refused_item(item.trim_ascii_start(), &mut labels)?;
            Some(BadOption {
                variable: LIST.to_owned(),
                problem,
            })
        })
    }

    /// One line for each variable whose name is nearly that of one that is read.
    pub fn misspelt(&self) -> Vec<String> {
        let names = self.singles.iter().map(|(name, _)| name);
        names.filter_map(|name| misspelt(name)).collect()
    }
}

/// An option that the library refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOption {
    /// The variable that has it.
    pub variable: String,
    /// The option, its value and what is allowed.
    pub problem: String,
}

/// The key that `LEAKTRACK_KEY` sets, if there is one.
fn key_of(variable: &str) -> Option<String> {
    let key = variable
        .strip_prefix(PREFIX)?
        .to_ascii_lowercase()
        .replace('_', "-");
    table::find(&key).map(|_| key)
}

type Labels = BTreeMap<Vec<u8>, usize>;

fn refused_item(item: &[u8], labels: &mut Labels) -> Option<String> {
    if item.is_empty() {
        return None;
    }
    let Some(equals) = item.iter().position(|&byte| byte == b'=') else {
        return Some(format!("{} is no key=value", shown(item)));
    };
    let (key, value) = (&item[..equals], OsStr::from_bytes(&item[equals + 1..]));
    if item.len() > ITEM_BYTES {
        return Some(format!(
            "{} is too long; allowed are 4000 bytes",
            shown(key)
        ));
    }
    refused(&shown(key), value, labels)
}

fn refused(key: &str, value: &OsStr, labels: &mut Labels) -> Option<String> {
    let Some(option) = table::find(key) else {
        let known = OPTIONS.iter().map(|option| option.key);
        let meant = match spelling::nearest(key, known.clone()) {
            Some(known) => format!("; did you mean {known}?"),
            None => format!("; there are {}", known.collect::<Vec<_>>().join(", ")),
        };
        return Some(format!("there is no option {key}{meant}"));
    };
    let mut allowed = option.refuses(value);
    if key == "label" && allowed.is_none() {
        let name = value.as_bytes().split(|&byte| byte == b':').next();
        labels.insert(name.unwrap_or_default().to_vec(), value.len() + 1);
        if labels.values().sum::<usize>() > LABELS_BYTES {
            allowed = Some("KEY:VALUE, at most 2000 bytes in all labels".to_owned());
        }
    }
    let value = shown(value.as_bytes());
    allowed.map(|allowed| format!("{key}={value}; allowed is {allowed}"))
}

/// What was given, on one line and not too long.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 96;
    let text = String::from_utf8_lossy(bytes);
    let cut = text.chars().count() > MOST;
    let mut shown = crate::host::printable(&text.chars().take(MOST).collect::<String>());
    if cut {
        shown.push_str("...");
    }
    shown
}

/// What is wrong with a variable's name; `None` for those that are read and for those that are
/// somebody else's: Kubernetes makes `LEAKTRACK_PORT` and more for a service of that name.
fn misspelt(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX)?;
    let is_of_a_service =
        name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_");
    let is_ours = name.starts_with("TEST_") || OTHERS.contains(&name);
    if key_of(variable).is_some() || is_ours || is_of_a_service {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let known: Vec<String> = OPTIONS
        .iter()
        .map(|option| option.key.to_ascii_uppercase().replace('-', "_"))
        .chain(["LIB_DIR".to_owned()])
        .collect();
    let guesses = LIST_GUESSES.iter().copied();
    let nearest = spelling::nearest(&upper, known.iter().map(String::as_str).chain(guesses))?;
    let meant = match LIST_GUESSES.contains(&nearest) {
        true => format!("{LIST}=KEY=VALUE,KEY=VALUE"),
        false => format!("{PREFIX}{nearest}"),
    };
    Some(format!(
        "nothing reads {variable}; did you mean {meant}? Known are {LIST} and, behind {PREFIX}, {}",
        known.join(", ")
    ))
}

/// The items of `key=value,key=value`, where `\,` is a comma.
fn items(list: &[u8]) -> Vec<Vec<u8>> {
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

/// `key=value` at the end of a list, commas escaped.
pub fn append(list: &mut Vec<u8>, key: &str, value: &OsStr) {
    if !list.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(key.as_bytes());
    list.push(b'=');
    for &byte in value.as_bytes() {
        if byte == b',' {
            list.push(b'\\');
        }
        list.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(
            variables
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }

    fn problem(variables: &[(&str, &str)]) -> Option<(String, String)> {
        let bad = environment(variables).first_bad()?;
        Some((bad.variable, bad.problem))
    }

    #[test]
    fn the_first_bad_option_is_told() {
        let long = format!("label=a:{0},label=a:{0},label=b:{0}", "x".repeat(1_000));
        for (list, expected) in [
            ("", None),
            ("depth=64,, verbose=1,output=a\\,b", None),
            (
                "depth=64,dept=3",
                Some("there is no option dept; did you mean depth?"),
            ),
            ("deep", Some("deep is no key=value")),
            (
                "disk=1m,depth=0,mode=no",
                Some("depth=0; allowed is a number from 1 to 256"),
            ),
            (
                "depth=+5",
                Some("depth=+5; allowed is a number from 1 to 256"),
            ),
            (
                "scan=auto,faults=on",
                Some("faults=on; allowed is auto, every, off"),
            ),
            (
                "output=%z",
                Some(
                    "output=%z; allowed is a path of at most 4000 bytes, with %e %p %h %t for executable, pid, host and start time",
                ),
            ),
            (
                "alert-growth=17179869183g/s",
                Some(
                    "alert-growth=17179869183g/s; allowed is off, or a rate such as 1m/h (per s, m, h or d)",
                ),
            ),
            (&long, None),
        ] {
            let bad = problem(&[("LEAKTRACK", list)]);
            let expected = expected.map(|problem| ("LEAKTRACK".to_owned(), problem.to_owned()));
            assert_eq!(bad, expected, "{list}");
        }
        let longer = format!("{long},label=c:{}", "x".repeat(100));
        assert!(
            problem(&[("LEAKTRACK", &longer)])
                .unwrap()
                .1
                .contains("2000 bytes")
        );
        let unknown = problem(&[("LEAKTRACK", "colour=blue")]).unwrap().1;
        assert!(
            unknown.starts_with("there is no option colour; there are output, mode,"),
            "{unknown}"
        );
        let singles = [
            ("LEAKTRACK", "depth=0"),
            ("LEAKTRACK_KEEP_SHORT", "1"),
            ("LEAKTRACK_FAMILY_DISK", "no"),
        ];
        let expected = "family-disk=no; allowed is a size from 256k, such as 64m or 1g";
        assert_eq!(
            problem(&singles),
            Some(("LEAKTRACK_FAMILY_DISK".to_owned(), expected.to_owned()))
        );
    }

    #[test]
    fn the_value_in_force() {
        let both = environment(&[
            ("LEAKTRACK_ONLY", "c"),
            ("LEAKTRACK", "only=a,depth=3, only=b\\,c"),
        ]);
        assert_eq!(both.value("only").as_deref(), Some(&b"b,c"[..]));
        assert_eq!(both.value("mode"), None);
        let single = environment(&[("LEAKTRACK_ONLY", "c")]);
        assert_eq!(single.value("only").as_deref(), Some(&b"c"[..]));
    }

    #[test]
    fn who_is_recorded() {
        let records = |list: &str, executable: &str, name: &str| {
            environment(&[("LEAKTRACK", list)]).records(Path::new(executable), name.as_bytes())
        };
        assert!(records("", "/bin/a", "a"));
        assert!(records("only=x:a*", "/bin/abc", "sh"));
        assert!(records("only=sh", "/bin/dash", "sh"));
        assert!(records("only=/opt/*", "/opt/a/b", "b"));
        assert!(!records("only=/opt/*:b", "/bin/a", "a"));
    }

    #[test]
    fn names_that_nobody_reads() {
        for (name, meant) in [
            ("LEAKTRACK_OPTIONS", "LEAKTRACK=KEY"),
            ("LEAKTRACK_OPTONS", "LEAKTRACK=KEY"),
            ("LEAKTRACK_OUTPT", "LEAKTRACK_OUTPUT?"),
            ("LEAKTRACK_OUPTUT", "LEAKTRACK_OUTPUT?"),
            ("LEAKTRACK_MODES", "LEAKTRACK_MODE?"),
            ("LEAKTRACK_FAMILYDISK", "LEAKTRACK_FAMILY_DISK?"),
            ("LEAKTRACK_LIBDIR", "LEAKTRACK_LIB_DIR?"),
        ] {
            let lines = environment(&[(name, "1")]).misspelt();
            assert_eq!(lines.len(), 1, "{name}");
            let begin = format!("nothing reads {name}; did you mean {meant}");
            assert!(lines[0].starts_with(&begin), "{}", lines[0]);
            assert!(lines[0].contains("OUTPUT, MODE, INTERVAL"), "{}", lines[0]);
        }
        let fine = [
            "LEAKTRACK_OUTPUT",
            "LEAKTRACK_KEEP_SHORT",
            "LEAKTRACK_LIB_DIR",
            "LEAKTRACK_ALERT",
            "LEAKTRACK_ALERT_TEXT",
            "LEAKTRACK_TEST_RUN",
            "LEAKTRACK_PORT",
            "LEAKTRACK_PORT_80_TCP",
            "LEAKTRACK_SERVICE_HOST",
            "LEAKTRACK_URL_OF_OUR_DASHBOARD",
        ];
        let fine = fine.map(|name| (name, "1"));
        assert_eq!(environment(&fine).misspelt(), [] as [&str; 0]);
    }
}
