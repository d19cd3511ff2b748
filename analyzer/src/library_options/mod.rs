//! Owns the library's options as flags of `run`, and writes `LEAKTRACK` from them.
//!
//! One table makes flags, help and checks. The library checks again: it can also be preloaded
//! without this command.

mod environment;
mod table;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{ArgMatches, Command};

pub use environment::{BadOption, Environment};
use table::{LibraryOption, OPTIONS};

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
    pub fn to_variable(&self, inherited: &OsStr) -> OsString {
        let mut list = inherited.as_bytes().to_vec();
        for (key, value) in &self.given {
            environment::append(&mut list, key, value);
        }
        OsString::from_vec(list)
    }
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
            options.to_variable(OsStr::new("verbose=1")),
            "verbose=1,output=a\\,b.ltk,depth=64,label=x:1,label=y:2"
        );
        assert_eq!(options.get("output"), Some(OsStr::new("a,b.ltk")));
    }

    #[test]
    fn what_the_library_would_refuse_is_refused() {
        for bad in [
            ["--mode", "sample"],
            ["--mode", "budget:0"],
            ["--output", "%z"],
            ["--depth", "+5"],
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
